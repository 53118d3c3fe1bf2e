package volume

import (
	"errors"
	"sync"

	"tempestkv/kv/base"
)

// OpenDamaged opens what is left of a volume, to read it, and changes nothing on
// dev. Where Open would refuse it for damage, the newest catalog that is whole
// counts, wherever it lies; damage is why then, nil where Open would not. What
// that catalog names may have been overwritten since.
//
// Errors are those of Open; base.ErrCorruption where there is no whole catalog.
func OpenDamaged(dev Device) (v *Volume, damage, err error) {
	size, err := dev.Size()
	if err != nil {
		return nil, nil, hostError("size of the volume", err)
	}
	v, damage = Open(&overlay{dev: dev, end: size, size: size, pages: map[int64][]byte{}}, nil)
	switch {
	case damage == nil:
		return v, nil, nil
	case !errors.Is(damage, base.ErrCorruption):
		return nil, nil, damage
	}
	v = newVolume(dev, nil)
	v.size, v.failed = size, damage
	best, err := v.newestCatalog()
	if err != nil {
		return nil, nil, err
	}
	if best.gen == 0 {
		return nil, nil, damage
	}
	v.adopt(best)
	return v, damage, nil
}

// newestCatalog returns the state of the newest whole catalog on the device;
// its generation is 0 where there is none.
func (v *Volume) newestCatalog() (best state, err error) {
	header := make([]byte, catalogHeaderSize)
	for page := uint32(superblockPages); page < v.filePages(); page++ {
		n, err := v.dev.ReadAt(header, int64(page)*PageSize)
		if err != nil {
			return state{}, hostError("look for a catalog", err)
		}
		h, ok := decodeCatalogHeader(header[:n])
		// Of one generation the one with the highest epoch counts: see findNext.
		if !ok || h.gen < best.gen || h.gen == best.gen && h.epoch <= best.epoch {
			continue
		}
		switch st, err := v.readCatalog(page, h.size); {
		case err == nil:
			best = st
		case !errors.Is(err, base.ErrCorruption):
			return state{}, err
		}
	}
	return best, nil
}

// overlay is a Device whose changes stay in memory.
type overlay struct {
	dev   Device
	mu    sync.Mutex // guards the rest
	end   int64      // where what counts of dev ends
	size  int64
	pages map[int64][]byte // changed ones, by number
}

// ReadAt implements Device.
func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if off >= o.size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), o.size-off)]
	for done := 0; done < len(p); {
		at := off + int64(done)
		part := p[done:]
		part = part[:min(int64(len(part)), PageSize-at%PageSize)]
		if page, ok := o.pages[at/PageSize]; ok {
			copy(part, page[at%PageSize:])
		} else if err := o.below(part, at); err != nil {
			return done, err
		}
		done += len(part)
	}
	return len(p), nil
}

// below fills p from dev; zeros are behind its end. Needs mu.
func (o *overlay) below(p []byte, off int64) error {
	clear(p)
	if off >= o.end {
		return nil
	}
	_, err := o.dev.ReadAt(p[:min(int64(len(p)), o.end-off)], off)
	return err
}

// WriteAt implements Device.
func (o *overlay) WriteAt(p []byte, off int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.size = max(o.size, off+int64(len(p)))
	for len(p) > 0 {
		num := off / PageSize
		page, ok := o.pages[num]
		if !ok {
			page = make([]byte, PageSize)
			if err := o.below(page, num*PageSize); err != nil {
				return err
			}
			o.pages[num] = page
		}
		n := copy(page[off%PageSize:], p)
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// Sync implements Device.
func (o *overlay) Sync() error { return nil }

// Size implements Device.
func (o *overlay) Size() (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size, nil
}

// Truncate implements Device.
func (o *overlay) Truncate(size int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for num, page := range o.pages {
		switch {
		case num*PageSize >= size:
			delete(o.pages, num)
		case size < (num+1)*PageSize:
			clear(page[size-num*PageSize:])
		}
	}
	o.end, o.size = min(o.end, size), size
	return nil
}

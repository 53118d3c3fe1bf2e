package volume

import (
	"sync"

	"tempestkv/kv/base"
)

// Draft is a Device for a volume that is to count only as a whole: what is made
// on it stays in its superblocks' place in memory, and on dev stands that there
// is none, until Publish. Power lost before leaves a device that Open takes for
// an empty one.
type Draft struct {
	dev  Device
	mu   sync.Mutex // guards head
	head [superblockPages][superblockSize]byte
}

var _ Device = (*Draft)(nil)

// NewDraft begins a draft on dev, which the caller keeps for it alone. Errors
// are those of NewImporter.
func NewDraft(dev Device) (*Draft, error) {
	if err := begin(dev); err != nil {
		return nil, err
	}
	// So reads behind the superblocks end where the device does.
	if err := dev.Truncate(superblockPages * PageSize); err != nil {
		return nil, hostError("begin the import", err)
	}
	return &Draft{dev: dev}, nil
}

// ReadAt implements Device.
func (d *Draft) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.dev.ReadAt(p, off)
	d.overlap(p[:n], off, func(p, kept []byte) { copy(p, kept) })
	return n, err
}

// WriteAt implements Device.
func (d *Draft) WriteAt(p []byte, off int64) error {
	if off >= superblockPages*PageSize {
		return d.dev.WriteAt(p, off)
	}
	if off%PageSize+int64(len(p)) > superblockSize {
		return base.Wrap(base.ErrInvalidArgument, "more than a superblock in its page", nil)
	}
	d.overlap(p, off, func(p, kept []byte) { copy(kept, p) })
	return nil
}

// overlap calls f with each part of p, which stands at off, that belongs to a
// superblock, and with what is kept of that.
func (d *Draft) overlap(p []byte, off int64, f func(p, kept []byte)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for page := range d.head {
		start := int64(page) * PageSize
		from, to := max(off, start), min(off+int64(len(p)), start+superblockSize)
		if from < to {
			f(p[from-off:to-off], d.head[page][from-start:to-start])
		}
	}
}

// Sync implements Device.
func (d *Draft) Sync() error { return d.dev.Sync() }

// Size implements Device.
func (d *Draft) Size() (int64, error) {
	n, err := d.dev.Size()
	if n == superblockPages*PageSize {
		n = 0 // nothing was written yet
	}
	return n, err
}

// Truncate implements Device.
func (d *Draft) Truncate(size int64) error {
	return d.dev.Truncate(max(size, superblockPages*PageSize))
}

// Publish makes the volume one, durably. It was closed before.
func (d *Draft) Publish() error {
	if err := d.dev.Sync(); err != nil {
		return hostError("sync the import", err)
	}
	// Page 0 last: it says until then that there is no volume. One with the
	// superblock of page 1 alone is whole too (see "A damaged superblock").
	for page := superblockPages - 1; page >= 0; page-- {
		if isZero(d.head[page][:]) {
			continue
		}
		if err := d.dev.WriteAt(d.head[page][:], int64(page)*PageSize); err != nil {
			return hostError("write the superblock", err)
		}
		if err := d.dev.Sync(); err != nil {
			return hostError("sync the import", err)
		}
	}
	return nil
}

// Abort gives the draft up and empties the device.
func (d *Draft) Abort() error { return empty(d.dev) }

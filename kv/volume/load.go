package volume

import (
	"errors"

	"tempestkv/kv/base"
)

// state is what a superblock and its catalog say.
type state struct {
	gen     uint64
	epoch   uint64
	catalog extent
	entries []entry
	space   space
}

// load reads the volume, or makes one on an empty device, up to the point
// where commit can go on. It writes only where there is nothing yet.
func (v *Volume) load() error {
	var sb [superblockPages]superblock
	var errs [superblockPages]error
	var blank [superblockPages]bool
	for page := range sb {
		p := make([]byte, superblockSize)
		n, err := v.dev.ReadAt(p, int64(page)*PageSize)
		if err != nil {
			return hostError("read the superblock", err)
		}
		sb[page], errs[page] = decodeSuperblock(p[:n], page)
		if errors.Is(errs[page], base.ErrNotSupported) {
			return errs[page]
		}
		blank[page] = isZero(p[:n])
	}
	newest := 0
	switch {
	case errs[0] != nil && errs[1] != nil:
		return v.format(errors.Join(errs[:]...))
	case errs[0] != nil, errs[1] == nil && sb[1].gen > sb[0].gen:
		newest = 1
	}
	other := 1 - newest
	st, err := v.readState(sb[newest])
	if err != nil {
		return err
	}
	switch fresh := sb[newest].gen == firstGeneration && blank[other]; {
	case errs[other] == nil:
		// The newest superblock may be one that a program wrote and did not
		// live to sync, so the older one still counts.
		older, err := v.readState(sb[other])
		if err == nil {
			v.keepBoth(&st, &older)
		} else if !errors.Is(err, base.ErrCorruption) {
			return err
		}
	case !fresh:
		next, found, err := v.findNext(&st, errs[other])
		if err != nil {
			return err
		}
		if found {
			st = next
		} else if err := v.replaceOlder(sb[newest]); err != nil {
			return err
		}
	}
	v.adopt(st)
	v.gen = sb[newest].gen
	if st.gen > v.gen {
		// The coming commit makes this generation anew, with another catalog:
		// then no superblock needs this one.
		v.given = append(v.given, givenUp{v.catalog, v.gen})
		v.catalog = extent{}
	}
	return nil
}

// adopt makes the volume what a state says.
func (v *Volume) adopt(st state) {
	v.gen, v.epoch, v.catalog, v.space = st.gen, st.epoch, st.catalog, st.space
	v.files = make([]*file, len(st.entries))
	for i, e := range st.entries {
		v.files[i] = &file{
			v: v, fd: e.fd, extents: e.extents, pages: pagesFor(e.size), size: e.size, flushed: e.size,
			named: true, inCatalog: true, committed: e.size,
		}
	}
}

// format writes the first superblock of a new volume. The device must be
// empty, or hold what a power loss left of an earlier attempt or of an import
// (see vacant). Anything else is not ours to overwrite; then damage, what is
// wrong with the superblocks, is returned.
func (v *Volume) format(damage error) error {
	ok, err := vacant(v.dev, v.size)
	if err != nil {
		return err
	}
	if !ok {
		return damage
	}
	if v.size > PageSize {
		if err := empty(v.dev); err != nil {
			return err
		}
		v.size = 0
	}
	first := superblock{gen: firstGeneration}
	want := first.encode()
	if err := v.write(want[:], first.offset()); err != nil {
		return hostError("write the first superblock", err)
	}
	if err := v.sync(); err != nil {
		return err
	}
	v.gen = first.gen
	v.space.take(extent{0, superblockPages})
	return nil
}

// readState reads the state that a whole superblock names. Its catalog was
// durable before it, so a fault in it is damage.
func (v *Volume) readState(sb superblock) (state, error) {
	if sb.catalogPage == 0 {
		st := state{gen: sb.gen, epoch: sb.epoch}
		st.space.take(extent{0, superblockPages})
		return st, nil
	}
	st, err := v.readCatalog(sb.catalogPage, sb.catalogSize)
	if err != nil {
		return state{}, err
	}
	if checksum(v.buf[:len(v.buf)-4]) != sb.catalogChecksum {
		return state{}, base.Corruption("volume", int64(sb.catalogPage)*PageSize, "not the catalog the superblock names")
	}
	st.gen = sb.gen // which replaceOlder makes one less than the catalog's
	return st, nil
}

// readCatalog reads the catalog of size bytes at page, through v.buf, and
// checks that its files are inside the device and apart.
func (v *Volume) readCatalog(page, size uint32) (state, error) {
	if int64(page)*PageSize+int64(size) > v.size {
		return state{}, base.Corruption("volume", v.size, "the file ends before its catalog")
	}
	v.buf = make([]byte, size)
	if err := v.read(v.buf, int64(page)*PageSize); err != nil {
		return state{}, hostError("read the catalog", err)
	}
	h, entries, err := decodeCatalog(v.buf)
	if err != nil {
		return state{}, err
	}
	st := state{gen: h.gen, epoch: h.epoch, catalog: extent{page, pagesFor(int64(size))}, entries: entries}
	st.space.take(extent{0, superblockPages})
	st.space.take(st.catalog)
	for _, e := range entries {
		left := e.size
		for _, x := range e.extents {
			n := min(left, int64(x.count)*PageSize)
			left -= n
			// What is left of a damaged volume may be cut off.
			if int64(x.page)*PageSize+n > v.size && v.failed == nil {
				return state{}, base.Corruption("volume", v.size, "the file ends before its "+e.fd.String())
			}
			if st.space.anyTaken(x) {
				return state{}, base.Corruption("volume", int64(x.page)*PageSize, e.fd.String()+" overlaps another file")
			}
			st.space.take(x)
		}
	}
	return st, nil
}

// findNext looks in the pages that st leaves free for the catalog of the
// generation behind it, whose superblock may be the damaged one; see "A
// damaged superblock" in the package comment. found is false where there is
// none.
//
// An attempt to commit that a power loss cut short leaves a catalog of the
// same generation, and the next Open writes another one with a higher epoch.
// So of those that are whole the highest epoch counts; two of one epoch were
// both written by Open, which changes no file, and say the same. A damaged one
// beside a whole one is what a power loss during that Open left.
func (v *Volume) findNext(st *state, damage error) (next state, found bool, err error) {
	var damaged error
	header := make([]byte, catalogHeaderSize)
	for page := st.space.nextFree(0); page < v.filePages(); page = st.space.nextFree(page + 1) {
		n, err := v.dev.ReadAt(header, int64(page)*PageSize)
		if err != nil {
			return state{}, false, hostError("look for a catalog", err)
		}
		h, ok := decodeCatalogHeader(header[:n])
		if !ok || h.gen != st.gen+1 || h.epoch < max(st.epoch, next.epoch) {
			continue
		}
		candidate, err := v.readCatalog(page, h.size)
		switch {
		case errors.Is(err, base.ErrCorruption):
			damaged = err
		case err != nil:
			return state{}, false, err
		default:
			next = candidate
		}
	}
	switch {
	case next.gen != 0:
		v.keepBoth(&next, st)
		return next, true, nil
	case damaged != nil:
		return state{}, false, errors.Join(damage, damaged)
	}
	return state{}, false, nil
}

// replaceOlder writes a superblock over the damaged one, which is known to be
// older than newest: that of the generation before, with the same catalog.
// Without it a power loss during the coming commit could leave a torn catalog
// beside a damaged superblock, which is what the loss of the newest state
// looks like. newest is made durable before: what is written over may be what
// says that an import is under way, and with neither there would be a volume that
// is damaged, not one that is empty.
func (v *Volume) replaceOlder(newest superblock) error {
	if err := v.sync(); err != nil {
		return err
	}
	older := newest
	older.gen--
	p := older.encode()
	if newest.gen == firstGeneration {
		clear(p[:]) // as it was
	}
	if err := v.write(p[:], older.offset()); err != nil {
		return hostError("write the superblock", err)
	}
	return v.sync()
}

// keepBoth takes, in next's space, what older uses besides, until a commit
// after generation next.gen.
func (v *Volume) keepBoth(next, older *state) {
	used := []extent{older.catalog}
	for _, e := range older.entries {
		used = append(used, e.extents...)
	}
	for _, x := range used {
		for p := x.page; p < x.end(); p++ {
			if !next.space.taken(p) {
				one := extent{p, 1}
				next.space.take(one)
				v.given = append(v.given, givenUp{one, next.gen})
			}
		}
	}
}

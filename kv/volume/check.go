package volume

import (
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// Check verifies the volume: that the superblock and catalog on the device are
// those in memory, that no two files share a page and none lies outside the
// device, and that exactly the other pages are free. It reads the catalog, not
// the files. The error is base.ErrCorruption, or that of a failed read. While
// it reads, other calls wait.
func (v *Volume) Check() error {
	v.commits.Lock()
	defer v.commits.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return base.ErrClosed
	}
	if err := v.checkSpace(); err != nil {
		return err
	}
	if v.failed != nil {
		// What is on the device is not known.
		return nil
	}
	return v.checkDevice()
}

// checkSpace compares who uses pages with the pages marked as taken.
func (v *Volume) checkSpace() error {
	var seen space
	bad := func(e extent, what string) error {
		return base.Corruption("volume", int64(e.page)*PageSize, what)
	}
	take := func(e extent, who string) error {
		if e.count == 0 {
			return bad(e, who+" has an empty extent")
		}
		if seen.anyTaken(e) {
			return bad(e, who+" shares pages")
		}
		seen.take(e)
		return nil
	}
	takeFile := func(f *file) error {
		var pages uint32
		for _, e := range f.extents {
			if err := take(e, f.fd.String()); err != nil {
				return err
			}
			pages += e.count
		}
		for _, e := range f.growing {
			if err := take(e, "the growth of "+f.fd.String()); err != nil {
				return err
			}
		}
		for _, g := range f.left {
			if err := take(g.extent, "what "+f.fd.String()+" had"); err != nil {
				return err
			}
		}
		if pages != f.pages || f.size > f.space() {
			return base.Corruption(f.fd.String(), f.size, "its extents do not fit its size")
		}
		return nil
	}
	if err := take(extent{0, superblockPages}, "the superblocks"); err != nil {
		return err
	}
	if err := take(v.catalog, "the catalog"); err != nil {
		return err
	}
	for _, e := range []extent{v.ahead.catalog, v.ahead.single} {
		if e.count == 0 {
			continue
		}
		if err := take(e, "what is kept for a catalog"); err != nil {
			return err
		}
		if e.end() > v.wholePages() {
			return bad(e, "what is kept for a catalog is behind the file")
		}
	}
	for _, e := range v.reserve {
		if err := take(e, "what is kept back"); err != nil {
			return err
		}
		if e.end() > v.wholePages() {
			return bad(e, "what is kept back is behind the file")
		}
	}
	for _, f := range v.files {
		if err := takeFile(f); err != nil {
			return err
		}
	}
	for f := range v.held {
		if err := takeFile(f); err != nil {
			return err
		}
	}
	for _, g := range v.given {
		if err := take(g.extent, "what generation "+strconv.FormatUint(g.gen, 10)+" gave up"); err != nil {
			return err
		}
	}
	for page := uint32(0); ; page++ {
		page = min(seen.nextTaken(page), v.space.nextTaken(page))
		if page == maxPages {
			return nil
		}
		if seen.taken(page) != v.space.taken(page) {
			return bad(extent{page, 1}, "a page is free and used, or taken and unused")
		}
	}
}

// checkDevice compares the device with what is in memory.
func (v *Volume) checkDevice() error {
	for gen := v.gen - 1; gen <= v.gen; gen++ {
		p := make([]byte, superblockSize)
		if err := v.read(p, int64(gen%2)*PageSize); err != nil {
			return hostError("read the superblock", err)
		}
		sb, err := decodeSuperblock(p, int(gen%2))
		if err != nil {
			return err
		}
		if sb.gen != gen {
			return base.Corruption("superblock "+strconv.Itoa(int(gen%2)), 16, "not the generation written last")
		}
		if gen != v.gen {
			continue
		}
		st, err := v.readState(sb)
		if err != nil {
			return err
		}
		if sb.epoch != v.epoch || sb.catalogExtent() != v.catalog || len(st.entries) != v.cataloguedFiles() {
			return base.Corruption("superblock "+strconv.Itoa(int(gen%2)), 32, "not what was written last")
		}
		for _, e := range st.entries {
			if err := v.checkEntry(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// cataloguedFiles counts the files that the newest catalog has. Needs mu.
func (v *Volume) cataloguedFiles() (count int) {
	for _, f := range v.files {
		if f.inCatalog {
			count++
		}
	}
	return count
}

// checkEntry compares a file of the catalog with the one in memory, which may
// have grown since.
func (v *Volume) checkEntry(e entry) error {
	bad := func(what string) error { return base.Corruption("catalog", 0, e.fd.String()+" "+what) }
	f, err := v.lookup(e.fd)
	if err != nil {
		return bad("is not in memory")
	}
	if e.fd.Type == vfs.TypeLog {
		if e.size != f.space() {
			return bad("has other space in memory")
		}
	} else if e.size != f.committed {
		return bad("has another length in memory")
	}
	head, _ := splitExtents(f.extents, pagesFor(e.size))
	if len(head) != len(e.extents) {
		return bad("has other extents in memory")
	}
	for i, x := range e.extents {
		if head[i] != x {
			return bad("has other extents in memory")
		}
	}
	return nil
}

package volume

// UsedPages returns the pages that the superblock in page slot, its catalog and
// its files use, and those of the catalog alone. ok is false where they are
// not whole.
func UsedPages(dev Device, slot int) (gen uint64, used, catalog map[int64]bool, ok bool) {
	p := make([]byte, superblockSize)
	v := Volume{dev: dev}
	var err error
	if v.size, err = dev.Size(); err != nil {
		return 0, nil, nil, false
	}
	n, err := dev.ReadAt(p, int64(slot)*PageSize)
	if err != nil {
		return 0, nil, nil, false
	}
	sb, err := decodeSuperblock(p[:n], slot)
	if err != nil {
		return 0, nil, nil, false
	}
	st, err := v.readState(sb)
	if err != nil {
		return 0, nil, nil, false
	}
	used, catalog = make(map[int64]bool), make(map[int64]bool)
	for page := st.catalog.page; page < st.catalog.end(); page++ {
		used[int64(page)], catalog[int64(page)] = true, true
	}
	for _, e := range st.entries {
		for _, x := range e.extents {
			for page := x.page; page < x.end(); page++ {
				used[int64(page)] = true
			}
		}
	}
	return sb.gen, used, catalog, true
}

// Extents returns how many extents the files of v have, and how many files.
func Extents(v *Volume) (extents, files int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.files {
		extents += len(f.extents)
	}
	return extents, len(v.files)
}

// CatalogSize returns the size of the newest catalog in bytes.
func CatalogSize(v *Volume) int {
	v.commits.Lock()
	defer v.commits.Unlock()
	return len(v.buf)
}

// FinishCopy returns what m would return if these bytes came next, and were
// the last. m may go on, as long as its own bytes come.
func FinishCopy(m *Importer, rest ...byte) error {
	c := *m
	if _, err := c.Write(rest); err != nil {
		return err
	}
	return c.Finish()
}

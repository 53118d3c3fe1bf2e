package sst

import "tempestkv/kv/base"

// verifyBytes is how much of the file Verify reads at once.
const verifyBytes = 256 << 10

// Verify reads the whole table from the file, past the cache, and checks what
// reading alone does not: that all keys ascend, that restarts are where entries
// start and share nothing, that the blocks follow each other, that the index
// divides them, and that the filters know every key. It returns what the table
// has, to be compared with what the manifest says.
func (r *Reader) Verify() (Meta, error) {
	opts := r.opts
	opts.Cache = nil
	r, err := Open(r.f, opts)
	if err != nil {
		return Meta{}, err
	}
	it := newIter(r, verifyBytes)
	it.begin()
	index, data := &it.index, &it.data
	if !checkRestarts(index) {
		return Meta{}, r.corrupt(r.indexAt, badRestarts)
	}
	meta := Meta{Size: r.size}
	var bound base.InternalKey // the last key, or the one that the index has for it
	end, first := int64(0), true
	for ok := index.first(); ok; ok = index.next() {
		h, err := r.handle(index)
		if err != nil {
			return Meta{}, err
		}
		if h.off < end {
			return Meta{}, r.corrupt(r.indexAt, "blocks do not follow each other")
		}
		end = h.end()
		if !it.load(false) {
			return Meta{}, it.err
		}
		if !checkRestarts(data) {
			return Meta{}, r.corrupt(h.off, badRestarts)
		}
		before := meta.Entries
		for ok := data.first(); ok; ok = data.next() {
			k, ok := data.entry()
			switch {
			case !ok:
				return Meta{}, r.corrupt(h.off, badKey)
			case !first && r.opts.Comparer.CompareInternal(bound, k) >= 0:
				return Meta{}, r.corrupt(h.off, "keys do not ascend")
			case !r.filter.mayContain(h.off, filterHash(k.UserKey)):
				return Meta{}, r.corrupt(h.off, "the filter lacks a key")
			}
			if meta.Entries == 0 {
				meta.Smallest = copyKey(meta.Smallest, k)
			}
			meta.add(k.Trailer)
			bound, first = copyKey(bound, k), false
		}
		if meta.Entries > before {
			meta.Largest = copyKey(meta.Largest, bound)
		}
		k, ok := base.DecodeInternalKey(index.key)
		if !ok || !first && r.opts.Comparer.CompareInternal(bound, k) > 0 {
			return Meta{}, r.corrupt(r.indexAt, "a key of the index does not follow its block")
		}
		bound, first = copyKey(bound, k), false
	}
	return meta, nil
}

// copyKey returns a copy of k, in the bytes of dst if they are enough.
func copyKey(dst, k base.InternalKey) base.InternalKey {
	return base.InternalKey{UserKey: append(dst.UserKey[:0], k.UserKey...), Trailer: k.Trailer}
}

// checkRestarts reports whether all entries of a block can be read, and a
// restart is at the start of one that shares nothing.
func checkRestarts(b *blockIter) bool {
	i, n := 0, len(b.restarts)/4
	for ok := b.first(); ok; ok = b.next() {
		if i < n && b.restart(i) == b.off {
			if b.shared != 0 {
				return false
			}
			i++
		}
	}
	return b.bad == "" && i == n
}

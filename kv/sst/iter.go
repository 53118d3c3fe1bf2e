package sst

import (
	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// place tells where an iterator is.
type place uint8

const (
	unpositioned place = iota
	beforeFirst
	onEntry
	afterLast
)

// Iter is an iterator over a table. It walks the index, and in it the data block
// of the current index entry.
type Iter struct {
	r           *Reader
	index, data blockIter
	loaded      handle // the block in data; its offset is -1 for none
	place       place
	key         base.InternalKey
	err         error
	closed      bool

	ahead int64 // least size of a piece; 0 to read block by block, and cache
	piece piece
}

var _ iterator.Batcher = (*Iter)(nil)

// NewIter returns an iterator that reads block by block, through the cache: the
// one for seeking. A positioning call fails with what Get fails with.
func (r *Reader) NewIter() *Iter { return newIter(r, 0) }

// NewIterWithReadAhead returns an iterator that reads the file in pieces of at
// least the given size in bytes, and of at least 64 KiB, in the direction it is
// walked: the one for long scans. It takes blocks from the cache, but adds none
// and does not count as use.
func (r *Reader) NewIterWithReadAhead(bytes int) *Iter {
	return newIter(r, max(int64(bytes), pieceBytes))
}

func newIter(r *Reader, ahead int64) *Iter {
	return &Iter{r: r, ahead: ahead, loaded: handle{off: -1}}
}

// begin starts an absolute move.
func (it *Iter) begin() bool {
	it.place, it.err = unpositioned, nil
	if it.closed {
		it.err = base.ErrClosed
		return false
	}
	if it.index.data == nil {
		it.index.init(it.r.index)
	}
	return true
}

// fail ends a move with an error.
func (it *Iter) fail(err error) bool {
	it.place, it.err = unpositioned, err
	return false
}

// load brings the data block of the current index entry.
func (it *Iter) load(reverse bool) bool {
	h, err := it.r.handle(&it.index)
	if err != nil {
		return it.fail(err)
	}
	if h == it.loaded {
		return true
	}
	it.loaded.off = -1
	var b []byte
	if it.ahead == 0 {
		b, _, err = it.r.block(h, &it.piece)
	} else {
		b, err = it.scan(h, reverse)
	}
	if err != nil {
		return it.fail(err)
	}
	it.data.init(b)
	it.loaded = h
	return true
}

// scan returns the contents of a data block, valid until the next call: from
// the cache, or from a large piece of the file.
func (it *Iter) scan(h handle, reverse bool) ([]byte, error) {
	r := it.r
	if c := r.opts.Cache; c != nil {
		if b := c.peek(r.opts.FileNum, h.off); b != nil {
			return b, nil
		}
	}
	if it.piece.slice(h) == nil {
		start, end := h.off, h.end()
		if reverse {
			start = min(start, max(0, end-it.ahead))
		} else {
			end = max(end, min(start+it.ahead, r.dataEnd))
		}
		if err := it.piece.read(r.f, start, end); err != nil {
			return nil, err
		}
	}
	return r.view(h, &it.piece)
}

// take ends a move inside the data block, which came to an entry if ok. If not
// it goes on to the next block, or the one before.
func (it *Iter) take(ok, reverse bool) bool {
	for !ok {
		if it.data.bad != "" {
			return it.fail(it.r.corrupt(it.loaded.off, it.data.bad))
		}
		if reverse {
			ok = it.index.prev()
		} else {
			ok = it.index.next()
		}
		if !ok {
			return it.end(reverse)
		}
		if !it.load(reverse) {
			return false
		}
		if reverse {
			ok = it.data.last()
		} else {
			ok = it.data.first()
		}
	}
	if it.key, ok = it.data.entry(); !ok {
		return it.fail(it.r.corrupt(it.loaded.off, badKey))
	}
	it.place = onEntry
	return true
}

// end ends a move for which the index has no more blocks.
func (it *Iter) end(reverse bool) bool {
	if it.index.bad != "" {
		return it.fail(it.r.corrupt(it.r.indexAt, it.index.bad))
	}
	it.place = afterLast
	if reverse {
		it.place = beforeFirst
	}
	return false
}

// SeekGE implements iterator.Internal.
func (it *Iter) SeekGE(key []byte) bool {
	if !it.begin() {
		return false
	}
	cmp := it.r.opts.Comparer
	if !it.index.seek(cmp, key, maxTrailer) {
		return it.end(false)
	}
	return it.load(false) && it.take(it.data.seek(cmp, key, maxTrailer), false)
}

// SeekLT implements iterator.Internal.
func (it *Iter) SeekLT(key []byte) bool {
	if !it.begin() {
		return false
	}
	cmp := it.r.opts.Comparer
	if !it.index.seek(cmp, key, maxTrailer) {
		if it.index.bad != "" || !it.index.last() {
			return it.end(true)
		}
		return it.load(true) && it.take(it.data.last(), true)
	}
	if !it.load(true) {
		return false
	}
	it.data.seek(cmp, key, maxTrailer)
	return it.take(it.data.bad == "" && it.data.prev(), true)
}

// First implements iterator.Internal.
func (it *Iter) First() bool {
	if !it.begin() {
		return false
	}
	if !it.index.first() {
		return it.end(false)
	}
	return it.load(false) && it.take(it.data.first(), false)
}

// Last implements iterator.Internal.
func (it *Iter) Last() bool {
	if !it.begin() {
		return false
	}
	if !it.index.last() {
		return it.end(true)
	}
	return it.load(true) && it.take(it.data.last(), true)
}

// Next implements iterator.Internal.
func (it *Iter) Next() bool {
	switch it.place {
	case onEntry:
		return it.take(it.data.next(), false)
	case beforeFirst:
		return it.First()
	}
	return false
}

// Prev implements iterator.Internal.
func (it *Iter) Prev() bool {
	switch it.place {
	case onEntry:
		return it.take(it.data.prev(), true)
	case afterLast:
		return it.Last()
	}
	return false
}

// Batch implements iterator.Batcher: it does not go beyond the current block.
func (it *Iter) Batch(b *iterator.Batch, most int) {
	it.data.batch(b, most)
	it.key, _ = it.data.entry()
}

// Valid implements iterator.Internal.
func (it *Iter) Valid() bool { return it.place == onEntry }

// Key implements iterator.Internal.
func (it *Iter) Key() base.InternalKey { return it.key }

// Value implements iterator.Internal.
func (it *Iter) Value() []byte { return it.data.value }

// Error implements iterator.Internal.
func (it *Iter) Error() error { return it.err }

// Close implements iterator.Internal.
func (it *Iter) Close() error {
	if !it.closed {
		*it = Iter{err: it.err, closed: true}
	}
	return it.err
}

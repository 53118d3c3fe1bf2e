package kv

import (
	"sort"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/sst"
)

// levelIter walks tables that follow each other as one, and holds one of them
// open at a time (Pebble: level_iter.go).
type levelIter struct {
	cache     *tableCache
	files     []*manifest.FileMeta
	readAhead int

	at    int // index of the table, len(files) behind the end, -1 before the start
	table *table
	it    *sst.Iter // over files[at], nil where it is not open
	begun bool      // there was an absolute call
	err   error
	end   error // the first error of closing
}

var _ iterator.Batcher = (*levelIter)(nil)

func newLevelIter(c *tableCache, files []*manifest.FileMeta, readAhead int) *levelIter {
	return &levelIter{cache: c, files: files, readAhead: readAhead, at: -1}
}

// open makes files[i] the current table. false where there is none or it
// cannot be opened.
func (l *levelIter) open(i int) bool {
	if i == l.at && l.it != nil {
		return true
	}
	l.leave()
	l.at = max(-1, min(i, len(l.files)))
	if l.at < 0 || l.at == len(l.files) {
		return false
	}
	t, err := l.cache.acquire(l.files[l.at])
	if err != nil {
		l.err = err
		return false
	}
	l.table = t
	if l.readAhead > 0 {
		l.it = t.reader.NewIterWithReadAhead(l.readAhead)
	} else {
		l.it = t.reader.NewIter()
	}
	return true
}

// leave closes the current table.
func (l *levelIter) leave() {
	if l.it == nil {
		return
	}
	if err := l.it.Close(); err != nil && l.end == nil {
		l.end = err
	}
	l.cache.release(l.table)
	l.it, l.table = nil, nil
}

// start begins an absolute call.
func (l *levelIter) start() { l.begun, l.err = true, nil }

// forward keeps what a positioning call of the current table said, or goes on to
// the next table where that one ran off its end.
func (l *levelIter) forward(ok bool) bool {
	for !ok {
		if l.failed() || !l.open(l.at+1) {
			return false
		}
		ok = l.it.First()
	}
	return true
}

// backward is forward in the other direction.
func (l *levelIter) backward(ok bool) bool {
	for !ok {
		if l.failed() || !l.open(l.at-1) {
			return false
		}
		ok = l.it.Last()
	}
	return true
}

// failed takes over an error of the current table.
func (l *levelIter) failed() bool {
	if l.err == nil && l.it != nil {
		l.err = l.it.Error()
	}
	return l.err != nil
}

// SeekGE implements iterator.Internal.
func (l *levelIter) SeekGE(key []byte) bool {
	l.start()
	i := sort.Search(len(l.files), func(i int) bool { return l.cache.cmp.Compare(l.files[i].Largest.UserKey, key) >= 0 })
	return l.open(i) && l.forward(l.it.SeekGE(key))
}

// SeekLT implements iterator.Internal.
func (l *levelIter) SeekLT(key []byte) bool {
	l.start()
	i := sort.Search(len(l.files), func(i int) bool { return l.cache.cmp.Compare(l.files[i].Smallest.UserKey, key) >= 0 })
	return l.open(i-1) && l.backward(l.it.SeekLT(key))
}

// First implements iterator.Internal.
func (l *levelIter) First() bool {
	l.start()
	return l.open(0) && l.forward(l.it.First())
}

// Last implements iterator.Internal.
func (l *levelIter) Last() bool {
	l.start()
	return l.open(len(l.files)-1) && l.backward(l.it.Last())
}

// Next implements iterator.Internal.
func (l *levelIter) Next() bool {
	switch {
	case !l.begun || l.err != nil:
		return false
	case l.it != nil:
		return l.it.Next() || l.forward(false)
	case l.at < 0:
		return l.open(0) && l.forward(l.it.First())
	}
	return false
}

// Prev implements iterator.Internal.
func (l *levelIter) Prev() bool {
	switch {
	case !l.begun || l.err != nil:
		return false
	case l.it != nil:
		return l.backward(l.it.Prev())
	case l.at == len(l.files):
		return l.open(len(l.files)-1) && l.backward(l.it.Last())
	}
	return false
}

// Batch implements iterator.Batcher.
func (l *levelIter) Batch(b *iterator.Batch, most int) { l.it.Batch(b, most) }

// Valid implements iterator.Internal.
func (l *levelIter) Valid() bool { return l.err == nil && l.it != nil && l.it.Valid() }

// Key implements iterator.Internal.
func (l *levelIter) Key() base.InternalKey {
	if l.it == nil {
		return base.InternalKey{}
	}
	return l.it.Key()
}

// Value implements iterator.Internal.
func (l *levelIter) Value() []byte {
	if l.it == nil {
		return nil
	}
	return l.it.Value()
}

// Error implements iterator.Internal.
func (l *levelIter) Error() error {
	l.failed()
	return l.err
}

// Close implements iterator.Internal.
func (l *levelIter) Close() error {
	l.leave()
	l.files, l.begun = nil, false
	return l.end
}

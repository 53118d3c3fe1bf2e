package iterator

import (
	"encoding/binary"
	"slices"

	"tempestkv/kv/base"
)

// Rows walks what a reader sees once, in one direction, and hands it out in
// runs: of each entry, uvarint length and bytes of its key, then of its value.
// It belongs to one goroutine.
type Rows interface {
	// Append appends entries to dst until it has at least so many bytes, or
	// count entries are appended. It returns how many were: 0 at the end or
	// after an error. keysOnly leaves the values empty.
	Append(dst []byte, bytes, count int, keysOnly bool) (run []byte, n int)

	// Skip goes past count entries. It returns past how many it came: fewer at
	// the end or after an error.
	Skip(count int) int

	// Error returns what ended the walk, nil if the range did.
	Error() error

	// Close closes the sources. Twice is fine. It returns the first error.
	Close() error
}

// NewRows returns what NewUser shows, from the first entry to the last, or from
// the last to the first. It owns the sources.
func NewRows(cmp *base.Comparer, o UserOptions, reverse bool, sources ...Internal) Rows {
	if reverse || cmp.HasSuffix {
		return &layered{it: NewUser(cmp, o, sources...), reverse: reverse}
	}
	return newForward(cmp, o, sources)
}

// layered gets rows from the stack of layers.
type layered struct {
	it      Iterator
	reverse bool
	begun   bool
}

func (l *layered) next() bool {
	begun := l.begun
	l.begun = true
	switch {
	case !begun && l.reverse:
		return l.it.Last()
	case !begun:
		return l.it.First()
	case l.reverse:
		return l.it.Prev()
	}
	return l.it.Next()
}

func (l *layered) Append(dst []byte, bytes, count int, keysOnly bool) (run []byte, n int) {
	for n < count && len(dst) < bytes && l.next() {
		var value []byte
		if !keysOnly {
			value = l.it.Value()
		}
		dst = appendRow(dst, l.it.Key(), value)
		n++
	}
	return dst, n
}

func (l *layered) Skip(count int) int {
	n := 0
	for n < count && l.next() {
		n++
	}
	return n
}

func (l *layered) Error() error { return l.it.Error() }
func (l *layered) Close() error { return l.it.Close() }

// appendRow appends an entry of a run.
func appendRow(dst, key, value []byte) []byte {
	at := len(dst)
	size := len(key) + len(value)
	if cap(dst)-at < size+2*binary.MaxVarintLen32 {
		dst = slices.Grow(dst, size+2*binary.MaxVarintLen32)
	}
	if len(key) < 0x80 && len(value) < 0x80 {
		dst = dst[:at+size+2]
		dst[at] = byte(len(key))
		at += 1 + copy(dst[at+1:], key)
		dst[at] = byte(len(value))
		copy(dst[at+1:], value)
		return dst
	}
	dst = append(binary.AppendUvarint(dst, uint64(len(key))), key...)
	return append(binary.AppendUvarint(dst, uint64(len(value))), value...)
}

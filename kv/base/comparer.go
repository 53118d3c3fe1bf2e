package base

import (
	"bytes"
	"encoding/binary"
)

// Comparer orders user keys and says which of them are versions of one
// logical key. Split divides a key into a prefix, the identity, and a suffix,
// the version. The physical order is prefix, then suffix; two keys are
// logically equal where their prefixes are.
//
// The name is stored with the data: a store is opened only with the comparer
// that wrote it.
type Comparer struct {
	// Name identifies the order. Two comparers with one name must agree.
	Name string

	// Compare orders whole user keys: negative, zero or positive. Only keys of
	// the same bytes are equal.
	Compare func(a, b []byte) int

	// Split returns the length of key's prefix. The keys of one prefix lie
	// together: no key of another prefix orders between two of them.
	Split func(key []byte) int

	// Abbreviate returns eight bytes that order like the key, as far as they
	// go: Abbreviate(a) < Abbreviate(b) implies Compare(a, b) < 0. It lets a
	// memtable compare most keys without touching their bytes.
	Abbreviate func(key []byte) uint64

	// HasSuffix says whether Split ever leaves a suffix. Where it is false a
	// logical key has exactly one user key, and lookups are exact.
	HasSuffix bool
}

// SameLogicalKey reports whether a and b are versions of one logical key.
func (c *Comparer) SameLogicalKey(a, b []byte) bool {
	return bytes.Equal(a[:c.Split(a)], b[:c.Split(b)])
}

// CompareInternal orders internal keys: user key ascending, trailer
// descending.
func (c *Comparer) CompareInternal(a, b InternalKey) int {
	if x := c.Compare(a.UserKey, b.UserKey); x != 0 {
		return x
	}
	switch {
	case a.Trailer > b.Trailer:
		return -1
	case a.Trailer < b.Trailer:
		return 1
	}
	return 0
}

// Bytewise is the default: keys order as bytes and have no suffix. It has the
// name, and the order, of LevelDB's default comparator.
var Bytewise = &Comparer{
	Name:       "leveldb.BytewiseComparator",
	Compare:    bytes.Compare,
	Split:      func(key []byte) int { return len(key) },
	Abbreviate: abbreviate,
}

// FixedSuffix returns a comparer for keys that end in a version of n bytes,
// big-endian, newest (largest) first. A key shorter than n bytes is all
// prefix, and sorts before the versions of that prefix. n must be from 1 to
// 255; other values panic, since the comparer is a constant of the program.
func FixedSuffix(n int) *Comparer {
	if n < 1 || n > 255 {
		panic("tempestkv: FixedSuffix wants 1 to 255 bytes")
	}
	split := func(key []byte) int {
		if len(key) < n {
			return len(key)
		}
		return len(key) - n
	}
	name := []byte("tempestkv.FixedSuffix.000")
	for i, v := len(name)-1, n; v > 0; i, v = i-1, v/10 {
		name[i] = byte('0' + v%10)
	}
	return &Comparer{
		Name: string(name),
		Compare: func(a, b []byte) int {
			i, j := split(a), split(b)
			if x := bytes.Compare(a[:i], b[:j]); x != 0 {
				return x
			}
			switch noA, noB := i == len(a), j == len(b); {
			case noA && noB:
				return 0
			case noA:
				return -1
			case noB:
				return 1
			}
			return bytes.Compare(b[j:], a[i:])
		},
		Split:      split,
		Abbreviate: func(key []byte) uint64 { return abbreviate(key[:split(key)]) },
		HasSuffix:  true,
	}
}

// abbreviate returns the first eight bytes of key as a big-endian word, zeros
// behind a shorter key.
func abbreviate(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var v uint64
	for _, b := range key {
		v = v<<8 | uint64(b)
	}
	return v << (8 * (8 - uint(len(key))))
}

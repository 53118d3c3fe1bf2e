package base

import (
	"bytes"
	"encoding/binary"
	"math/bits"
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

	// Abbreviate returns sixteen bytes that order like the key, as far as they
	// go: Abbreviate(a) before Abbreviate(b) implies Compare(a, b) < 0. It
	// lets a memtable compare most keys without touching their bytes.
	Abbreviate func(key []byte) Abbreviation

	// HasSuffix says whether Split ever leaves a suffix. Where it is false a
	// logical key has exactly one user key, and lookups are exact.
	HasSuffix bool

	// Separator appends to dst a short user key s with a <= s < b, for a < b;
	// where b is nil any s with a <= s. It makes the index blocks of tables
	// small. nil: a itself is taken.
	Separator func(dst, a, b []byte) []byte
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
	Compare:    compareBytes,
	Split:      func(key []byte) int { return len(key) },
	Abbreviate: abbreviate,
	Separator:  separator,
}

// compareBytes is bytes.Compare, which in WebAssembly is four calls deep. Most keys
// differ in their first eight bytes.
func compareBytes(a, b []byte) int {
	if len(a) >= 8 && len(b) >= 8 {
		if x := binary.LittleEndian.Uint64(a) ^ binary.LittleEndian.Uint64(b); x != 0 {
			i := bits.TrailingZeros64(x) / 8
			return int(a[i]) - int(b[i])
		}
	}
	return bytes.Compare(a, b)
}

// separator is LevelDB's FindShortestSeparator, and its FindShortSuccessor
// where b is nil (util/comparator.cc).
func separator(dst, a, b []byte) []byte {
	i, limit := 0, byte(0xff)
	if b == nil {
		for i < len(a) && a[i] == 0xff {
			i++
		}
	} else {
		for i < len(a) && i < len(b) && a[i] == b[i] {
			i++
		}
		if i == len(b) {
			return append(dst, a...)
		}
		limit = b[i] - 1
	}
	if i == len(a) || a[i] >= limit {
		return append(dst, a...)
	}
	return append(append(dst, a[:i]...), a[i]+1)
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
		Abbreviate: func(key []byte) Abbreviation { return abbreviate(key[:split(key)]) },
		HasSuffix:  true,
	}
}

// Abbreviation is the first sixteen bytes of a key as two big-endian words,
// zeros behind a shorter key. Sixteen, since keys like "user:0001" agree in
// their first eight.
type Abbreviation struct{ Hi, Lo uint64 }

// Less reports whether a sorts before b.
func (a Abbreviation) Less(b Abbreviation) bool {
	return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo
}

func abbreviate(key []byte) Abbreviation {
	if len(key) >= 16 {
		return Abbreviation{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])}
	}
	if len(key) >= 8 {
		return Abbreviation{binary.BigEndian.Uint64(key), abbreviateWord(key[8:])}
	}
	return Abbreviation{Hi: abbreviateWord(key)}
}

// abbreviateWord is abbreviate for less than eight bytes.
func abbreviateWord(key []byte) uint64 {
	var v uint64
	for _, b := range key {
		v = v<<8 | uint64(b)
	}
	return v << (8 * (8 - uint(len(key))))
}

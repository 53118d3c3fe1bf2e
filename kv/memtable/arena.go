package memtable

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/google/btree"

	"tempestkv/kv/base"
)

const (
	// chunkBytes is the size of a chunk. An entry of more than half of it gets
	// a chunk of its own, so a chunk is never closed less than half full.
	chunkBytes = 256 << 10

	// refUnit is the alignment of entries, which lets 16 bits address a chunk.
	refUnit = chunkBytes >> 16

	// headerBytes is the size of what stands before a key: trailer, ref of the
	// next older version, length of the key and of the value.
	headerBytes = 8 + 4 + 4 + 4
)

// Refs that are no place in a chunk. Their chunk index, the largest, is never
// given to one.
const (
	maxChunks = 0xffff

	// refProbe is a key that an iterator seeks.
	refProbe = 0xffff_0000

	// noRef ends a chain of versions.
	noRef = 0xffff_ffff
)

// item stands for an entry in a run and in the tree. It has no pointers.
type item struct {
	abbr    base.Abbreviation
	trailer base.Trailer
	ref     uint32
	keyLen  uint32
}

// arena holds the bytes of the entries and orders items by them. The tree
// calls it both for the owner, which adds, and for readers of views.
type arena struct {
	cmp *base.Comparer

	// chunks belongs to the owner, as all of this does but for shared and the
	// probe. ends says how many bytes of each are used.
	chunks [][]byte
	ends   []uint32
	open   uint32 // index of the chunk being filled; maxChunks before there is one

	// shared is chunks for readers, who resolve refs while the owner adds a
	// chunk.
	shared atomic.Pointer[[][]byte]

	// The tree takes items only, so a key that an iterator seeks lies here,
	// guarded by probeMu, and an item with refProbe stands for it.
	probeMu sync.Mutex
	probe   []byte
}

func newArena(cmp *base.Comparer) *arena {
	a := &arena{cmp: cmp, open: maxChunks}
	a.shared.Store(new([][]byte))
	return a
}

// entrySize returns the bytes that an entry takes in a chunk.
func entrySize(keyLen, valueLen int) int {
	return (headerBytes + keyLen + valueLen + refUnit - 1) &^ (refUnit - 1)
}

// take returns the place for an entry of so many bytes, and its ref.
func (a *arena) take(size int) (ref uint32, dst []byte) {
	if int(a.open) < len(a.chunks) {
		if from := a.ends[a.open]; int(from)+size <= chunkBytes {
			a.ends[a.open] = from + uint32(size)
			return a.open<<16 | from/refUnit, a.chunks[a.open][from:]
		}
	}
	if size > chunkBytes/2 {
		return a.grow(size, size) << 16, a.chunks[len(a.chunks)-1]
	}
	a.open = a.grow(chunkBytes, size)
	return a.open << 16, a.chunks[a.open]
}

// grow adds a chunk of which used bytes are, and returns its index.
func (a *arena) grow(size, used int) uint32 {
	index := len(a.chunks)
	if index == maxChunks {
		panic("tempestkv: memtable over MaxBytes")
	}
	a.chunks = append(a.chunks, make([]byte, size))
	a.ends = append(a.ends, uint32(used))
	a.shared.Store(new(a.chunks))
	return uint32(index)
}

// mark tells what an arena had at a moment: all of its first chunks, but of the
// one being filled only the bytes before end.
type mark struct {
	chunks    int
	open, end uint32
}

func (a *arena) mark() mark {
	m := mark{chunks: len(a.chunks), open: a.open}
	if int(m.open) < m.chunks {
		m.end = a.ends[m.open]
	}
	return m
}

// appendSince appends the items of the entries that were added since m.
func (a *arena) appendSince(items []item, m mark) []item {
	if int(m.open) < m.chunks {
		items = appendItems(items, a.cmp, a.chunks, m.open, m.end, a.ends[m.open])
	}
	for i := m.chunks; i < len(a.chunks); i++ {
		items = appendItems(items, a.cmp, a.chunks, uint32(i), 0, a.ends[i])
	}
	return items
}

// appendItems appends the items of the entries in a part of a chunk.
func appendItems(items []item, cmp *base.Comparer, chunks [][]byte, index, from, to uint32) []item {
	chunk := chunks[index]
	for from < to {
		e := chunk[from:]
		key := entryKey(e)
		items = append(items, item{
			abbr:    cmp.Abbreviate(key),
			trailer: entryTrailer(e),
			ref:     index<<16 | from/refUnit,
			keyLen:  uint32(len(key)),
		})
		from += uint32(entrySize(len(key), int(binary.LittleEndian.Uint32(e[16:]))))
	}
	return items
}

// entryAt returns the bytes from an entry's header on.
func entryAt(chunks [][]byte, ref uint32) []byte {
	return chunks[ref>>16][ref&0xffff*refUnit:]
}

// keyOf returns the user key of an item that is in chunks.
func keyOf(chunks [][]byte, it *item) []byte {
	end := headerBytes + it.keyLen
	return entryAt(chunks, it.ref)[headerBytes:end:end]
}

// putEntry writes an entry to its place.
func putEntry(dst []byte, trailer base.Trailer, older uint32, key, value []byte) {
	n := headerBytes + len(key)
	dst = dst[:n+len(value)]
	binary.LittleEndian.PutUint64(dst, uint64(trailer))
	binary.LittleEndian.PutUint32(dst[8:], older)
	binary.LittleEndian.PutUint32(dst[12:], uint32(len(key)))
	binary.LittleEndian.PutUint32(dst[16:], uint32(len(value)))
	copy(dst[headerBytes:], key)
	copy(dst[n:], value)
}

func entryTrailer(e []byte) base.Trailer { return base.Trailer(binary.LittleEndian.Uint64(e)) }

func entryOlder(e []byte) uint32 { return binary.LittleEndian.Uint32(e[8:]) }

func entryKey(e []byte) []byte {
	end := headerBytes + binary.LittleEndian.Uint32(e[12:])
	return e[headerBytes:end:end]
}

func entryValue(e []byte) []byte {
	start := headerBytes + binary.LittleEndian.Uint32(e[12:])
	end := start + binary.LittleEndian.Uint32(e[16:])
	return e[start:end:end]
}

// key returns the user key of an item or a probe.
func (a *arena) key(chunks [][]byte, it *item) []byte {
	if it.ref == refProbe {
		return a.probe
	}
	return keyOf(chunks, it)
}

// lessKey is the order of items of the same abbreviation: that of internal keys.
func (a *arena) lessKey(x, y *item) bool {
	chunks := *a.shared.Load()
	if c := a.cmp.Compare(a.key(chunks, x), a.key(chunks, y)); c != 0 {
		return c < 0
	}
	return x.trailer > y.trailer
}

// newTree returns an empty tree in the order of internal keys.
func (a *arena) newTree(degree int) *btree.BTreeG[item] {
	less := func(x, y item) bool {
		if x.abbr.Hi != y.abbr.Hi {
			return x.abbr.Hi < y.abbr.Hi
		}
		if x.abbr.Lo != y.abbr.Lo {
			return x.abbr.Lo < y.abbr.Lo
		}
		return a.lessKey(&x, &y)
	}
	// Nothing is ever deleted, so a list of free nodes stays empty.
	return btree.NewWithFreeListG(degree, less, btree.NewFreeListG[item](0))
}

package memtable

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

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

// item is an entry of the tree. It has no pointers.
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

	// chunks is replaced as a whole, since readers of views resolve refs
	// through it while the owner adds a chunk.
	chunks atomic.Pointer[[][]byte]
	open   uint32 // index of the chunk being filled
	fill   uint32 // bytes used in it; chunkBytes before there is one

	// The tree takes items only, so a key that an iterator seeks lies here,
	// guarded by probeMu, and an item with refProbe stands for it.
	probeMu sync.Mutex
	probe   []byte
}

func newArena(cmp *base.Comparer) *arena {
	a := &arena{cmp: cmp, fill: chunkBytes}
	a.chunks.Store(new([][]byte))
	return a
}

// add copies an entry into the arena and returns its ref and the bytes it
// takes there.
func (a *arena) add(trailer base.Trailer, key, value []byte) (ref uint32, size int) {
	size = (headerBytes + len(key) + len(value) + refUnit - 1) &^ (refUnit - 1)
	var dst []byte
	switch {
	case size > chunkBytes/2:
		index := a.grow(size)
		ref, dst = index<<16, (*a.chunks.Load())[index]
	default:
		if int(a.fill)+size > chunkBytes {
			a.open, a.fill = a.grow(chunkBytes), 0
		}
		ref, dst = a.open<<16|a.fill/refUnit, (*a.chunks.Load())[a.open][a.fill:]
		a.fill += uint32(size)
	}
	binary.LittleEndian.PutUint64(dst, uint64(trailer))
	binary.LittleEndian.PutUint32(dst[8:], noRef)
	binary.LittleEndian.PutUint32(dst[12:], uint32(len(key)))
	binary.LittleEndian.PutUint32(dst[16:], uint32(len(value)))
	n := headerBytes + copy(dst[headerBytes:], key)
	copy(dst[n:], value)
	return ref, size
}

// grow adds a chunk and returns its index.
func (a *arena) grow(size int) uint32 {
	chunks := *a.chunks.Load()
	index := len(chunks)
	if index == maxChunks {
		panic("tempestkv: memtable over MaxBytes")
	}
	chunks = append(chunks, make([]byte, size))
	a.chunks.Store(&chunks)
	return uint32(index)
}

// entryAt returns the bytes from an entry's header on.
func entryAt(chunks [][]byte, ref uint32) []byte {
	return chunks[ref>>16][ref&0xffff*refUnit:]
}

// keyOf returns the user key of an item that is in chunks.
func keyOf(chunks [][]byte, it item) []byte {
	end := headerBytes + it.keyLen
	return entryAt(chunks, it.ref)[headerBytes:end:end]
}

// valueOf returns the value of an item that is in chunks.
func valueOf(chunks [][]byte, it item) []byte { return entryValue(entryAt(chunks, it.ref)) }

func entryTrailer(e []byte) base.Trailer { return base.Trailer(binary.LittleEndian.Uint64(e)) }

func entryOlder(e []byte) uint32 { return binary.LittleEndian.Uint32(e[8:]) }

func setEntryOlder(e []byte, ref uint32) { binary.LittleEndian.PutUint32(e[8:], ref) }

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
func (a *arena) key(chunks [][]byte, it item) []byte {
	if it.ref == refProbe {
		return a.probe
	}
	return keyOf(chunks, it)
}

// compareKeys orders the user keys of two items.
func (a *arena) compareKeys(x, y item) int {
	if x.abbr != y.abbr {
		if x.abbr.Less(y.abbr) {
			return -1
		}
		return 1
	}
	chunks := *a.chunks.Load()
	return a.cmp.Compare(a.key(chunks, x), a.key(chunks, y))
}

// less is the order of the tree, that of internal keys.
func (a *arena) less(x, y item) bool {
	if x.abbr.Hi != y.abbr.Hi {
		return x.abbr.Hi < y.abbr.Hi
	}
	if x.abbr.Lo != y.abbr.Lo {
		return x.abbr.Lo < y.abbr.Lo
	}
	if c := a.compareKeys(x, y); c != 0 {
		return c < 0
	}
	return x.trailer > y.trailer
}

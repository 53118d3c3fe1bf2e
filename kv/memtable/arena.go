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

	// headerBytes is the size of the value length before a key.
	headerBytes = 4
)

// Refs of keys that are being sought and are in no chunk. Their chunk index,
// the largest, is never given to a chunk.
const (
	refProbeOwner = 0xffff_0000 + iota // by the owner of the table
	refProbeView                       // by an iterator, which holds probeMu
	maxChunks     = 0xffff
)

// item is an entry of the tree. It has no pointers.
type item struct {
	abbr    uint64
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

	// The tree takes items only, so a key being sought lies here and an item
	// with a probe's ref stands for it.
	probeOwner []byte
	probeMu    sync.Mutex
	probeView  []byte
}

func newArena(cmp *base.Comparer) *arena {
	a := &arena{cmp: cmp, fill: chunkBytes}
	a.chunks.Store(new([][]byte))
	return a
}

// add copies an entry into the arena and returns its ref and the bytes it
// takes there.
func (a *arena) add(key, value []byte) (ref uint32, size int) {
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
	binary.LittleEndian.PutUint32(dst, uint32(len(value)))
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

// keyOf returns the user key of an item that is in chunks.
func keyOf(chunks [][]byte, it item) []byte {
	at := it.ref & 0xffff * refUnit
	start, end := at+headerBytes, at+headerBytes+it.keyLen
	return chunks[it.ref>>16][start:end:end]
}

// valueOf returns the value of an item that is in chunks.
func valueOf(chunks [][]byte, it item) []byte {
	entry := chunks[it.ref>>16][it.ref&0xffff*refUnit:]
	start := headerBytes + it.keyLen
	end := start + binary.LittleEndian.Uint32(entry)
	return entry[start:end:end]
}

// key returns the user key of an item or a probe.
func (a *arena) key(it item) []byte {
	switch it.ref {
	case refProbeOwner:
		return a.probeOwner
	case refProbeView:
		return a.probeView
	}
	return keyOf(*a.chunks.Load(), it)
}

// compareKeys orders the user keys of two items.
func (a *arena) compareKeys(x, y item) int {
	if x.abbr != y.abbr {
		if x.abbr < y.abbr {
			return -1
		}
		return 1
	}
	return a.cmp.Compare(a.key(x), a.key(y))
}

// less is the order of the tree, that of internal keys.
func (a *arena) less(x, y item) bool {
	if x.abbr != y.abbr {
		return x.abbr < y.abbr
	}
	if c := a.cmp.Compare(a.key(x), a.key(y)); c != 0 {
		return c < 0
	}
	return x.trailer > y.trailer
}

package sst

import (
	"encoding/binary"
	"math/bits"
)

// filterShift: there is a filter for each 2 KiB of the file, as the offset of
// a block counts. Part of the format.
const filterShift = 11

// maxProbes is the largest count of bits a key; filters that say more are of
// a kind still to come, and match everything.
const maxProbes = 30

// filterHash is LevelDB's hash of a key for its bloom filters (util/hash.cc).
func filterHash(key []byte) uint32 {
	const seed, m = 0xbc9f1d34, 0xc6a4a793
	h := seed ^ uint32(len(key))*m
	for ; len(key) >= 4; key = key[4:] {
		h += binary.LittleEndian.Uint32(key)
		h *= m
		h ^= h >> 16
	}
	if len(key) > 0 {
		for i, b := range key {
			h += uint32(b) << (8 * i)
		}
		h *= m
		h ^= h >> 24
	}
	return h
}

// filterBuilder makes the filter block. It keeps a hash of each key, not the
// key. The zero value with bitsPerKey set is ready for use.
type filterBuilder struct {
	bitsPerKey int
	hashes     []uint32 // of the keys since the last filter
	buf        []byte
	offsets    []uint32
}

func (f *filterBuilder) add(key []byte) { f.hashes = append(f.hashes, filterHash(key)) }

// reset begins another filter block.
func (f *filterBuilder) reset() {
	f.hashes, f.buf, f.offsets = f.hashes[:0], f.buf[:0], f.offsets[:0]
}

// startBlock is called before the keys of the data block at offset.
func (f *filterBuilder) startBlock(offset int64) {
	for int64(len(f.offsets)) < offset>>filterShift {
		f.cut()
	}
}

// cut ends a filter. One with no keys has no bytes, and matches nothing.
func (f *filterBuilder) cut() {
	f.offsets = append(f.offsets, uint32(len(f.buf)))
	if len(f.hashes) == 0 {
		return
	}
	start := len(f.buf)
	size := (max(64, len(f.hashes)*f.bitsPerKey) + 7) / 8
	for range size {
		f.buf = append(f.buf, 0)
	}
	filter, count := f.buf[start:], uint32(size*8)
	probes := min(max(f.bitsPerKey*69/100, 1), maxProbes)
	for _, h := range f.hashes {
		delta := bits.RotateLeft32(h, -17)
		for range probes {
			bit := h % count
			filter[bit/8] |= 1 << (bit % 8)
			h += delta
		}
	}
	f.buf = append(f.buf, byte(probes))
	f.hashes = f.hashes[:0]
}

// finish returns the contents of the filter block.
func (f *filterBuilder) finish() []byte {
	if len(f.hashes) > 0 {
		f.cut()
	}
	end := uint32(len(f.buf))
	for _, off := range f.offsets {
		f.buf = binary.LittleEndian.AppendUint32(f.buf, off)
	}
	f.buf = binary.LittleEndian.AppendUint32(f.buf, end)
	return append(f.buf, filterShift)
}

// size returns about how many bytes finish will return.
func (f *filterBuilder) size() int {
	return len(f.buf) + len(f.hashes)*f.bitsPerKey/8 + 4*len(f.offsets) + 5
}

// filterReader asks a filter block. The zero value has no filters.
type filterReader struct {
	filters []byte
	offsets []byte // u32 each: the starts of the filters, then the end of the last
	shift   uint8
}

// newFilterReader returns a reader of the contents of a filter block; ok is
// false where they are none.
func newFilterReader(b []byte) (f filterReader, ok bool) {
	n := len(b) - 5
	if n < 0 {
		return filterReader{}, false
	}
	end := uint64(binary.LittleEndian.Uint32(b[n:]))
	if end > uint64(n) || (uint64(n)-end)%4 != 0 {
		return filterReader{}, false
	}
	f = filterReader{filters: b[:end], offsets: b[end : n+4], shift: b[n+4]}
	last := uint32(0)
	for i := 0; i < len(f.offsets); i += 4 {
		off := binary.LittleEndian.Uint32(f.offsets[i:])
		if off < last {
			return filterReader{}, false
		}
		last = off
	}
	return f, true
}

// mayContain reports whether a key with the given hash may be in the data
// block at offset. A block that the filters do not know may have any key.
func (f *filterReader) mayContain(offset int64, h uint32) bool {
	index := uint64(offset) >> f.shift
	if len(f.offsets) == 0 || index >= uint64(len(f.offsets)/4-1) {
		return true
	}
	at := f.offsets[4*index:]
	filter := f.filters[binary.LittleEndian.Uint32(at):binary.LittleEndian.Uint32(at[4:])]
	n := len(filter) - 1
	if n < 1 {
		return false
	}
	if filter[n] > maxProbes {
		return true
	}
	count, delta := uint32(n)*8, bits.RotateLeft32(h, -17)
	for range filter[n] {
		bit := h % count
		if filter[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
		h += delta
	}
	return true
}

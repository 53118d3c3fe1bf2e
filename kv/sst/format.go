package sst

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"tempestkv/kv/base"
)

// Constants of the format.
const (
	footerSize  = 48
	handlesSize = 40 // of the footer, for two handles
	trailerSize = 5  // behind each block
	magic       = 0xdb4775248b80fb57

	filterName = "filter.leveldb.BuiltinBloomFilter2"
)

// Types of blocks.
const (
	typePlain  = 0
	typeSnappy = 1
	typeZstd   = 2
)

// maxContents is the largest block we take, in bytes. The format ends at twice
// that; a Writer makes half.
const maxContents = math.MaxInt32

// maxExpansion is the most that Snappy makes of a byte: a copy of 64 bytes
// takes three. What claims more is damage, found before memory is taken.
const maxExpansion = 22

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the masked checksum of b: contents and type of a block.
// LevelDB masks it because a checksum of bytes that hold checksums is weak.
func checksum(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// isEntry reports whether an entry may have this kind and this value.
func isEntry(kind base.Kind, value []byte) bool {
	return kind.IsEntry() && (kind != base.KindPutExpiring || len(value) >= base.ExpirySize)
}

// handle is the place of a block: the offset of its contents in the file and
// their size in bytes, without the trailer.
type handle struct {
	off, size int64
}

// end returns the offset behind the block's trailer.
func (h handle) end() int64 { return h.off + h.size + trailerSize }

func (h handle) appendTo(dst []byte) []byte {
	return appendVarint(appendVarint(dst, uint64(h.off)), uint64(h.size))
}

// appendVarint is binary.AppendUvarint, but one copy of it: inlined, its seven
// calls take 5 kB of wasm.
//
//go:noinline
func appendVarint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

// decodeHandle returns the handle in front of b and its size in bytes. ok is
// false where there is none, or the block would end behind limit.
func decodeHandle(b []byte, limit int64) (h handle, n int, ok bool) {
	off, n := binary.Uvarint(b)
	if n <= 0 {
		return handle{}, 0, false
	}
	size, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return handle{}, 0, false
	}
	room := uint64(max(limit-trailerSize, 0))
	if off > room || size > room-off || size > maxContents || limit < trailerSize {
		return handle{}, 0, false
	}
	return handle{int64(off), int64(size)}, n + m, true
}

// appendFooter appends the footer to dst.
func appendFooter(dst []byte, metaindex, index handle) []byte {
	var b [footerSize]byte
	index.appendTo(metaindex.appendTo(b[:0]))
	binary.LittleEndian.PutUint64(b[handlesSize:], magic)
	return append(dst, b[:]...)
}

// decodeFooter is the reverse of appendFooter. The blocks must end before
// limit, where the footer starts. It takes only what a writer writes, so that
// no byte of a footer can be damaged unseen. reason says what is wrong with
// it.
func decodeFooter(b []byte, limit int64) (metaindex, index handle, reason string) {
	if binary.LittleEndian.Uint64(b[handlesSize:]) != magic {
		return handle{}, handle{}, "not a table: its last eight bytes are not a table's"
	}
	metaindex, n, ok := decodeHandle(b[:handlesSize], limit)
	if ok {
		index, _, ok = decodeHandle(b[n:handlesSize], limit)
	}
	if !ok || string(appendFooter(nil, metaindex, index)) != string(b) {
		return handle{}, handle{}, "damaged footer"
	}
	return metaindex, index, ""
}

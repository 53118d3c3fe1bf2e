// Package wal reads and writes logs in LevelDB's format (doc/log_format.md):
// records of bytes, cut into fragments so that none crosses a block of 32 KiB.
// The write-ahead log keeps a batch a record, the manifest a version edit.
// The layout is part of the format; integers are little-endian:
//
//	block, 32,768 bytes (the last of a file may be shorter)
//	+----------+----------+-----+------------------------+
//	| fragment | fragment | ... | trailer: 0 to 6 zeros  |
//	+----------+----------+-----+------------------------+
//
//	fragment
//	+--------------------+--------------+-----------+------+
//	| checksum (u32)     | length (u16) | type (u8) | data |
//	+--------------------+--------------+-----------+------+
//
//	type 1 full: a whole record      2 first   3 middle   4 last: its parts
//
// The checksum is CRC32C over type and data, masked: rotated right by 15 bits,
// plus 0xa282ead8. No fragment starts in the last six bytes of a block; one
// with no data may fill the last seven. Readers do not look at a trailer.
//
// A log may be followed by zeros to the end of its file, which is space
// prepared ahead: no fragment has type 0.
package wal

import (
	"hash/crc32"

	"tempestkv/kv/base"
)

// BlockSize is the size of a block in bytes. It is part of the format.
const BlockSize = 32 << 10

// MaxRecordBytes is the largest record: a whole batch and room for what may
// come to stand beside it.
const MaxRecordBytes = base.MaxBatchBytes + 1<<20

// headerSize is the size of a fragment without its data. Part of the format.
const headerSize = 7

// Types of fragments. Part of the format.
const (
	typeFull   = 1
	typeFirst  = 2
	typeMiddle = 3
	typeLast   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the masked checksum of b: type and data of a fragment.
// LevelDB masks it because a checksum of bytes that hold checksums is weak.
func checksum(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// Package sst reads and writes sorted tables in LevelDB's format
// (doc/table_format.md): internal keys and values in order, in blocks, with an
// index over the blocks and a bloom filter for each. The layout is part of the
// format; integers are little-endian:
//
//	table
//	+------------+-----+--------------+-----------------+-------------+--------+
//	| data block | ... | filter block | metaindex block | index block | footer |
//	+------------+-----+--------------+-----------------+-------------+--------+
//
//	in the file each block is followed by a trailer of 5 bytes
//	+----------------------+-----------+----------------------------------+
//	| contents, compressed | type (u8) | checksum (u32): contents, type   |
//	+----------------------+-----------+----------------------------------+
//
//	type 0 plain   1 Snappy   2 Zstd, which we do not read
//
//	contents of a data, index or metaindex block
//	+-------+-----+------------------------+-----+-----------------------+
//	| entry | ... | offset of restart, u32 | ... | count of restarts u32 |
//	+-------+-----+------------------------+-----+-----------------------+
//
//	entry: the first shared bytes of the key are those of the entry before
//	+-----------------+-------------------+-------------------+-----+-------+
//	| shared (varint) | unshared (varint) | value size (vint) | key | value |
//	+-----------------+-------------------+-------------------+-----+-------+
//
//	contents of the filter block: a filter for each 2 KiB of the file
//	+--------+-----+-----------------------+-----+------------------------+---------+
//	| filter | ... | offset of filter, u32 | ... | offset of offsets, u32 | 11 (u8) |
//	+--------+-----+-----------------------+-----+------------------------+---------+
//
//	footer, 48 bytes
//	+------------------+--------------+---------------+-------------------------+
//	| metaindex handle | index handle | zeros, to 40  | 0xdb4775248b80fb57, u64 |
//	+------------------+--------------+---------------+-------------------------+
//
// A handle is the offset and the size of a block, without its trailer, as two
// varints. The index has an entry a data block: a key not before the last of
// the block and before the first of the next, and the block's handle. The
// metaindex has the name of the filter and its handle. At a restart an entry
// shares nothing: every 16 entries, in the index every one. Checksums are
// CRC32C, masked: rotated right by 15 bits, plus 0xa282ead8; they are always
// checked.
package sst

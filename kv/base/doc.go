// Package base holds what every other package of the engine may use and that
// itself uses nothing of ours: sequence numbers, kinds, internal keys,
// comparers, limits and errors.
//
// An internal key is a user key and a trailer of 64 bits, little-endian, as in
// LevelDB (doc/impl.md, db/dbformat.h). The layout is part of the format:
//
//	+-----------------+--------------------------+
//	| user key, bytes | seqnum << 8 | kind (u64) |
//	+-----------------+--------------------------+
//
// Internal keys sort by user key ascending, then by trailer descending, so the
// newest version of a key comes first. The value of a KindPutExpiring is, also
// part of the format,
//
//	+----------------------------------+---------------------+
//	| milliseconds since 1970 (u64)    | user's value, bytes |
//	+----------------------------------+---------------------+
package base

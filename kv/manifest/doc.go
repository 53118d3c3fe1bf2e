// Package manifest keeps which tables a store consists of: immutable versions,
// the edits that lead from one to the next, and the log of those edits, in
// LevelDB's format (db/version_edit.cc).
//
// A manifest is a log of package wal; a record is a version edit. The first is
// a snapshot: it makes a whole version out of none. An edit is a row of fields,
// a tag each and what the tag says. The layout is part of the format; all
// numbers are varints, and bytes are a length and so many bytes:
//
//	+----+-------------------------------------------+
//	|  1 | name of the comparer: bytes               |
//	|  2 | log number                                |
//	|  9 | previous log number                       |
//	|  3 | next file number                          |
//	|  4 | last sequence number                      |
//	|  5 | compact pointer: level, internal key      |
//	|  6 | deleted file: level, number               |
//	|  7 | new file: level, number, size in bytes,   |
//	|    |   smallest and largest internal key       |
//	| 84 | feature: ten bytes ff and a name, bytes   |
//	| 85 | range tombstone: sequence number, made,   |
//	|    |   until, start and end, bytes             |
//	| 86 | deleted range tombstone: sequence number  |
//	+----+-------------------------------------------+
//
// An internal key is bytes, as package base has it. Tags 84 to 86 are ours:
// whoever does not know them must not read the store, and LevelDB refuses a tag it
// does not know. Features stand first in the first record. goleveldb passes over tags it
// does not know, byte by byte; there it meets ten bytes that are no varint,
// gives the record up, and refuses the manifest since it has no comparer then.
//
// goleveldb's first record after opening a store is the whole version together
// with the edit that led to it: new tables stand in it twice, and deleted ones are
// none of it.
//
// A range tombstone is what a range delete leaves behind once its log is in
// tables, which have none. It stays until no table has entries that it hides: see
// RangeTombstone.
//
// Every edit is synced before it counts, and only then the next record begins.
// Behind it comes a sync marker, an edit of a next file number only, so that a
// bad record that had been synced has an intact one behind it, the last edit
// too: then it is corruption. Without one it is the torn tail of an edit that
// nobody was told of.
package manifest

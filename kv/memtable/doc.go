// Package memtable keeps the newest writes sorted in memory: google/btree over
// an arena of bytes.
//
// The tree holds items of 32 bytes without pointers, so that the garbage
// collector, which stops the world in wasm, has next to nothing to look at:
//
//	+------------------------+---------------+-----------+------------------+
//	| abbreviated key (16 B) | trailer (u64) | ref (u32) | key length (u32) |
//	+------------------------+---------------+-----------+------------------+
//
// Most comparisons end at the abbreviated key. The ref leads to the entry in
// the arena: the chunk's index in its upper 16 bits, the offset inside the
// chunk, in units of four bytes, in its lower 16. An entry is
//
//	+---------------+---------------------------+------------------+--
//	| trailer (u64) | ref of older version (u32) | key length (u32) |
//	+---------------+---------------------------+------------------+--
//	--+--------------------+------------+--------------+---------------+
//	  | value length (u32) | key, bytes | value, bytes | 0 to 3 unused |
//	--+--------------------+------------+--------------+---------------+
//
// A hash index beside the tree leads from a user key to its newest version,
// and the entries chain the older ones: point reads use it, iterators the tree.
//
// Entries are only ever added. A View is a lazy copy of the tree together with
// the list of chunks of that moment; it may be read by other goroutines while
// the owner goes on adding.
package memtable

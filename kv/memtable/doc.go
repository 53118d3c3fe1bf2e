// Package memtable keeps the newest writes in memory, in an arena of bytes.
//
// A write copies its entry into the arena and enters it into a hash index, which
// leads from a user key to its newest version; the entries chain the older ones.
// Point reads need no more. Order is made when somebody asks for a View: of all
// there is, by sorting it (a run), or, of the little that came since a run was
// made, in a tree, google/btree. An iterator merges the two.
//
// The ref of an entry leads to it in the arena: the chunk's index in its upper
// 16 bits, the offset inside the chunk, in units of four bytes, in its lower 16.
// An entry is
//
//	+---------------+---------------------------+------------------+--
//	| trailer (u64) | ref of older version (u32) | key length (u32) |
//	+---------------+---------------------------+------------------+--
//	--+--------------------+------------+--------------+---------------+
//	  | value length (u32) | key, bytes | value, bytes | 0 to 3 unused |
//	--+--------------------+------------+--------------+---------------+
//
// so that the chunks can be walked from entry to entry. A run and the tree hold
// items of 32 bytes without pointers, so that the garbage collector, which stops
// the world in wasm, has next to nothing to look at:
//
//	+------------------------+---------------+-----------+------------------+
//	| abbreviated key (16 B) | trailer (u64) | ref (u32) | key length (u32) |
//	+------------------------+---------------+-----------+------------------+
//
// Most comparisons end at the abbreviated key.
//
// Entries are only ever added. A View has a run, a lazy copy of the tree and the
// list of chunks of that moment; it may be read by other goroutines while the
// owner goes on adding. The run is sorted by the first of them.
package memtable

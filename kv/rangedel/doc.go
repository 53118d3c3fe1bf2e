// Package rangedel keeps range tombstones in memory: what a range delete leaves
// behind, which hides the older versions of every key in its range.
//
// The question is always the same: which is the newest range tombstone over a
// key that a reader at some sequence number sees? A version of the key that is
// older is hidden.
//
// A Set answers it by bisection. It cuts the tombstones, which may overlap, into
// fragments that do not:
//
//	c..........#9........h             tombstones, and their sequence numbers
//	a.....#5.....e
//
//	a.#5.c.#9 #5.e..#9...h             fragments
//
// A Set does not change. A List is what a memtable has: it takes tombstones one
// by one, and hands out Sets of what it has at a moment.
package rangedel

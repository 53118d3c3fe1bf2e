// Package iterator turns sorted sources of internal keys into what a reader
// sees. It is a stack of small layers:
//
//	sources → merging → mask → snapshot → dedup → filter → bounds
//
// Merging brings several sources into one order. Mask shows what range tombstones
// cover, and what has expired, as tombstones. Snapshot shows, of each user
// key, the newest version that is not newer than the reader, tombstones
// included. Dedup shows, of each logical key (the user keys of one prefix, see
// base.Comparer), only the physically first entry, and hides the logical key
// where that entry is a tombstone. Filter hides what the store's Filter says.
// Bounds end the walk at the ends of a range.
//
// # Rows
//
// A layer costs as much for each entry as reading it does, above all in
// WebAssembly, where calls are dear. So a scan, which goes one way, takes NewRows:
// going forward with a comparer without suffixes it has no layers. It takes
// entries from the sources in batches, where these are Batchers, and does what
// the layers do in one loop; what it shows is the same. Everything else gets its
// rows from the layers. Merge is the lower half of that: what NewMerging shows, for
// compactions, which go forward too.
//
// # What is in the set
//
// Each layer shows a fixed, ordered set of entries. The set depends on the
// sources and the layer's parameters, never on how the iterator was moved: a
// forward walk from First and a backward walk from Last meet the same entries,
// and SeekGE(k) comes to the first entry of the set at or after k in physical
// order, SeekLT(k) to the last one before k.
//
// So dedup judges a logical key by all its entries that the reader's snapshot
// shows, also by those before the key of a seek or outside the bounds. Say the
// versions of x are x@9, x@7 and x@3, newest first. The set has x@9. SeekGE
// with x@9 or anything before it comes to x@9; SeekGE(x@8) comes to the next
// logical key, for x@9 lies before x@8 and the others are not in the set; SeekLT
// with anything from x@8 on comes to x@9. A scan with the lower bound x@8 does
// not show x. Reading x as of version 8 is another question, and is answered
// one layer below: SeekGE(x@8) on a snapshot iterator comes to x@7, and
// base.Comparer.SameLogicalKey tells whether it is still x.
//
// Filter sees what dedup leaves: where it hides the newest version of a
// logical key, no older version takes its place.
package iterator

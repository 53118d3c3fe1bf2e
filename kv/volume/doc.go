// Package volume keeps the files of a store inside one file of the host: a
// browser gives out one file quickly and many slowly, and syncs no names.
//
// The file is a row of pages of 64 KiB. Everything is little-endian; varints
// are LEB128; checksums are plain CRC32C (Castagnoli). docs/FORMAT.md has the
// whole description and an example; all of it is part of the format.
//
//	page 0         page 1         page 2 ...
//	+--------------+--------------+--------+--------+---------+--------+----
//	| superblock,  | superblock,  | data   | data   | catalog | free   |
//	| even gen.    | odd gen.     |        |        |         |        |
//	+--------------+--------------+--------+--------+---------+--------+----
//
// A superblock is 64 bytes at the start of its page; zeros fill the page.
//
//	+---------------+----------------+---------------+
//	| 0 magic (8)   | 8 version u32  | 12 page u32   |
//	+---------------+----------------+---------------+-----------------+
//	| 16 generation u64              | 24 writer epoch u64             |
//	+--------------------------------+---------------+-----------------+
//	| 32 page of the catalog u64     | 40 size u32   | 44 its checksum |
//	+--------------------------------+---------------+-----------------+
//	| 48 size of the image u64       | 56 ver. u32   | 60 checksum u32 |
//	+------------------------------------------------+-----------------+
//
// The catalog lists the files. It lies in neighbouring pages.
//
//	+---------------+----------------+----------------+--------------+-------------+
//	| 0 magic (8)   | 8 gen. u64     | 16 epoch u64   | 24 size u32  | 28 count u32|
//	+---------------+----------------+----------------+--------------+-------------+
//	| count times, in order of number, then type:                                  |
//	|   type u8 | number varint | length varint | extents varint | each: first page|
//	|   varint, pages varint                                                       |
//	+---------------------------------------------------------------+--------------+
//	                                                                | checksum u32 |
//	                                                                +--------------+
//
// # Commit
//
// Files come, go and grow by a commit: the next catalog is written to free
// pages and synced, then the superblock of the next generation is written over
// that of the generation before last, and synced. So at any moment one of the
// two superblocks is whole, and a power loss leaves the state before or after
// the commit.
//
// A page is free for reuse only when neither superblock's generation uses it:
// what generation g gives up is handed out after generation g+1 is durable.
//
// # Logs
//
// A file of vfs.TypeLog has its space ahead, zeroed before the commit that
// names it is in force, so that an append needs no commit, only a write and a
// sync. After a power loss zeros follow what was written, never the bytes of
// a file that had the page before.
//
// # Space
//
// The lowest free pages are taken first, so that holes fill and the end of the
// file becomes free, which is cut off. A table's pages are chosen ahead, in few
// runs, and what it did not need is free again when it is closed. Where holes
// are left between files all the same, as after most of a store was deleted,
// Volume.Shrink moves what lies behind them.
//
// Removing a file takes a catalog, so a host that lets the file grow no more
// must not leave it without a place for one. While there is space, pages inside
// the file are kept for that: one more than the newest catalog has. They are of
// nobody as far as the format goes, and stay free where anything else will do;
// a catalog that takes them has the one given up last in their place, and the
// one more is also for a manifest that notes what was deleted. And where
// the host has no space for data, any hole does, if need be after a commit that
// frees what the older superblock's generation alone still uses.
//
// Volume.Reserve keeps more pages in the same way, for whoever knows when they are
// needed most.
//
// # Images
//
// A backup is an image: a volume written from its start to its end, whose files
// follow each other in order, and behind them, in pages of nobody, a seal with a
// checksum for each MiB before it.
//
//	page 0, 1        page 2     ...
//	+----------------+---------+--------+--------+-----+---------+
//	| superblocks    | catalog | file   | file   | ... | seal    |
//	| of gen. 6, 5   |         |        |        |     |         |
//	+----------------+---------+--------+--------+-----+---------+
//
//	+---------------+-----------------+--------------+--------------+
//	| 0 magic (8)   | 8 image's size  | 16 piece u32 | 20 count u32 |
//	|               |   u64           |              |              |
//	+---------------+-----------------+--------------+--------------+
//	| count times: checksum of a piece u32           | checksum u32 |
//	+------------------------------------------------+--------------+
//
// NewImage writes one, an Importer reads one and makes a volume of it.
//
// # A damaged superblock
//
// Where both superblocks are whole, the newer one counts. Where one is bad, it
// is either the newest, torn by a power loss or damaged later, or the older
// one. Falling back to the other without asking would lose acknowledged files
// in the second of the three cases, so Open looks in the free pages for the
// catalog of the generation that follows. It was synced before its superblock
// was touched, and its page is not reused while the other superblock stands:
// if it was ever acknowledged, it is there. Found whole, it is the state.
// Found damaged, Open fails with base.ErrCorruption. Not found, the bad
// superblock was the older one, and nothing is lost. So one fault never loses
// what was acknowledged; a damaged superblock together with its catalog, so
// damaged that it is none any more, goes unseen.
package volume

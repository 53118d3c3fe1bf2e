// Package kv is an embedded, ordered key-value store: a log-structured merge
// tree with LevelDB's formats on disk, written so that it runs as well in a
// single-threaded WebAssembly host as natively.
//
// A DB is a handle. One goroutine, the worker, owns all state that changes;
// calls reach it through bounded channels, one each for writes, gets and
// scans. The worker commits all the writes that wait as one group: one append
// to the log, one sync if any of them is strict, then the memtable, then the
// visible sequence number, then the answers.
//
//	Put, Delete, Apply ──▶ writes ─┐
//	Get, GetMany       ──▶ gets   ─┼─▶ worker ──▶ log, memtable, manifest
//	Scan               ──▶ scans  ─┘   │  ▲
//	   ▲                               │  └─▶ flush, compaction ──▶ tables
//	   │                               └─▶ a goroutine a scan, at a read state
//	   └────────── runs of entries, channel of 64 ─────┘
//
// A memtable that is full is flushed to a table of level 0, and tables are
// compacted level by level, both by goroutines of their own that change nothing
// but hand the worker what they made.
//
// A read sees every write that was acknowledged, or sent by the same
// goroutine, before it. A scan sees one moment, that of its start.
//
// A DB may be used from any number of goroutines. A context ends only the wait
// for a place in a queue. Nothing below kv knows of
// JavaScript.
package kv

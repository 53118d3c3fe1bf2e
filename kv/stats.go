package kv

import (
	"tempestkv/kv/base"
	"tempestkv/kv/manifest"
	"tempestkv/kv/sst"
)

// Metrics count what a DB has done since it was opened.
type Metrics struct {
	Flushes        uint64
	FlushedBytes   uint64 // in the tables they made
	Compactions    uint64 // moves not counted
	Moves          uint64 // of a table to the next level as it is
	CompactedBytes uint64 // read by compactions
	WrittenBytes   uint64 // by compactions
	Stalls         uint64 // times that writes had to wait
}

// Level is what a level of the tree has.
type Level struct {
	Tables int
	Bytes  uint64
}

// Stats are figures about a DB at one moment.
type Stats struct {
	Sequence      base.SeqNum // of the last write
	OpenScans     int
	Memtables     int   // mutable one included
	MemtableBytes int64 // in all memtables
	Logs          int
	LogBytes      int64 // in all logs, headers included
	Snapshots     int
	Watches       int

	RangeTombstones int // in the manifest

	Levels      [manifest.NumLevels]Level
	BlockCache  sst.CacheStats
	OpenTables  int
	TableBytes  int64 // memory for indexes and filters
	TableHits   uint64
	TableMisses uint64
	Metrics

	// BackgroundError is why the last flush or compaction failed, nil where
	// it did not.
	BackgroundError error
}

// Stats returns figures about the DB.
func (db *DB) Stats(ctx Context) (Stats, error) {
	var s Stats
	err := db.do(ctx, func() {
		s.Sequence = db.visible
		s.OpenScans = int(db.openScans.Load())
		s.Memtables = len(db.imm) + 1
		s.MemtableBytes = int64(db.mem.bytes())
		for _, l := range db.imm {
			s.MemtableBytes += int64(l.bytes())
		}
		s.Logs = len(db.imm) + 1
		s.LogBytes = db.oldLogs + db.log.Offset()
		v := db.manifest.Version()
		for level := range s.Levels {
			s.Levels[level] = Level{Tables: len(v.Files(level)), Bytes: v.LevelBytes(level)}
		}
		s.Metrics = db.metrics
		s.Snapshots, s.Watches, s.RangeTombstones = len(db.snapshots), len(db.watches), len(v.RangeTombstones())
		s.BackgroundError = db.backgroundErr
	})
	s.BlockCache = db.tables.blocks.Stats()
	s.OpenTables, s.TableBytes, s.TableHits, s.TableMisses = db.tables.stats()
	return s, err
}

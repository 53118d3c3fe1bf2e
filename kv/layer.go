package kv

import (
	"tempestkv/kv/base"
	"tempestkv/kv/memtable"
)

// layer is a memtable and what belongs to it: the log that has the same writes.
type layer struct {
	table    *memtable.Table
	logNum   uint64
	logBytes int64       // size of the log, once the layer is immutable
	first    base.SeqNum // the sequence number before its first write
	last     base.SeqNum // of its last write, once it is immutable
}

func (db *DB) newLayer(logNum uint64) *layer {
	return &layer{table: memtable.New(db.cmp), logNum: logNum, first: db.visible}
}

func (l *layer) empty() bool { return l.table.Empty() }

// bytes is what the layer takes in memory.
func (l *layer) bytes() int { return l.table.ApproximateBytes() }

package kv

import (
	"tempestkv/kv/base"
	"tempestkv/kv/memtable"
	"tempestkv/kv/rangedel"
)

// layer is a memtable and what belongs to it: its range tombstones, and the log
// that has the same writes.
type layer struct {
	table    *memtable.Table
	ranges   *rangedel.List
	logNum   uint64
	logBytes int64       // size of the log, once the layer is immutable
	first    base.SeqNum // the sequence number before its first write
	last     base.SeqNum // of its last write, once it is immutable
}

func (db *DB) newLayer(logNum uint64) *layer {
	return &layer{table: memtable.New(db.cmp), ranges: rangedel.NewList(db.cmp), logNum: logNum, first: db.visible}
}

// add applies an operation.
func (l *layer) add(seq base.SeqNum, kind base.Kind, key, value []byte, snapshots []base.SeqNum) {
	if kind == base.KindRangeDelete {
		l.ranges.Add(rangedel.Tombstone{Start: key, End: value, Seq: seq}, snapshots)
		return
	}
	l.table.Add(seq, kind, key, value)
}

func (l *layer) empty() bool { return l.table.Empty() && l.ranges.Empty() }

// bytes is what the layer takes in memory.
func (l *layer) bytes() int { return l.table.ApproximateBytes() + l.ranges.ApproximateBytes() }

package kv

import (
	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/rangedel"
)

// check returns nil where c holds, ErrConflict where it does not, or where that
// can no longer be told. It runs on the worker.
//
// What was written is in the memtables, most often; they are asked first. Where
// they do not reach back as far as c, the tables are. Compaction may have
// dropped tombstones from them, though none of a key that is newer than a live
// snapshot: a transaction that holds one is told of a conflict that is none only
// where something was cleared meanwhile.
func (db *DB) check(c *Condition) error {
	for _, key := range c.Keys {
		newest, err := db.newestWrite(key, c.Since)
		if err != nil {
			return err
		}
		if newest > c.Since {
			return ErrConflict
		}
	}
	for _, b := range c.Ranges {
		changed, err := db.isWritten(b, c.Since)
		if err != nil {
			return err
		}
		if changed {
			return ErrConflict
		}
	}
	return nil
}

// newestWrite returns the sequence number of the newest write to a user key, if
// it is above since; else any that is not.
func (db *DB) newestWrite(key []byte, since base.SeqNum) (base.SeqNum, error) {
	l := db.getMemory(key, db.visible)
	if !l.ok && since < db.oldest().first {
		l.Entry, l.ok, l.err = db.tables.get(db.manifest.Version(), key, db.visible)
		if l.err != nil {
			return 0, l.err
		}
		l.Release()
		if !l.ok && since < db.dropped {
			return 0, base.Wrap(ErrConflict, "what was read is too old to tell", nil)
		}
	}
	return max(l.Trailer.SeqNum(), l.covering), nil
}

// oldest returns the layer that has the oldest writes.
func (db *DB) oldest() *layer {
	if len(db.imm) > 0 {
		return db.imm[0]
	}
	return db.mem
}

// isWritten reports whether a key within b was written after since.
func (db *DB) isWritten(b iterator.Bounds, since base.SeqNum) (bool, error) {
	ranges := db.memoryRanges()
	var its []iterator.Internal
	if since < db.oldest().first {
		if since < db.dropped {
			return false, base.Wrap(ErrConflict, "what was read is too old to tell", nil)
		}
		ranges = append(ranges, db.ranges)
		its = db.tables.iters(db.manifest.Version(), b, 0)
	}
	if db.visible > db.mem.first && db.visible > since {
		its = append(its, db.mem.table.View().NewIter())
	}
	for _, l := range db.imm {
		if l.last > since {
			its = append(its, l.table.View().NewIter())
		}
	}
	written := isCleared(ranges, b, since)
	for _, it := range its {
		it = iterator.NewBounds(db.cmp, it, b)
		for ok := it.First(); ok && !written; ok = it.Next() {
			written = it.Key().SeqNum() > since
		}
		err := it.Error()
		if e := it.Close(); err == nil {
			err = e
		}
		if err != nil {
			return false, err
		}
	}
	return written, nil
}

// isCleared reports whether something within b was cleared after since.
func isCleared(sets []*rangedel.Set, b iterator.Bounds, since base.SeqNum) bool {
	for _, set := range sets {
		if set.LargestSeq() > since && set.NewestIn(b.Lower, b.Upper, b.UpperInclusive) > since {
			return true
		}
	}
	return false
}

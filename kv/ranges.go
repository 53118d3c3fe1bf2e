package kv

import (
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/manifest"
	"tempestkv/kv/rangedel"
)

// Range tombstones do not lie in tables. One begins in the log and the
// memtable; when that is flushed it goes to the manifest, with two file numbers
// that say which tables it still matters to (manifest.RangeTombstone), and
// stays until compaction has written all of those anew.

// maxRangeTombstones is how many range tombstones a version may have before
// tables are written anew only to be rid of them.
const maxRangeTombstones = 64

// nameFeatures makes the manifest say what a store needs its reader to know,
// before the first such operation goes to the log.
func (db *DB) nameFeatures(kinds batch.Kinds) error {
	if !kinds.Has(base.KindRangeDelete) && !kinds.Has(base.KindPutExpiring) {
		return nil
	}
	var e manifest.VersionEdit
	known := db.manifest.State().Features
	for _, f := range []struct {
		kind base.Kind
		name string
	}{{base.KindRangeDelete, manifest.FeatureRangeDelete}, {base.KindPutExpiring, manifest.FeatureExpiry}} {
		if kinds.Has(f.kind) && !slices.Contains(known, f.name) {
			e.Features = append(e.Features, f.name)
		}
	}
	if len(e.Features) > 0 {
		if err := db.edit(&e); err != nil {
			return err
		}
	}
	db.isMasked = true
	return nil
}

// installRanges takes over the range tombstones of the current version.
func (db *DB) installRanges() {
	db.isMasked = len(db.manifest.State().Features) > 0
	ts := db.manifest.Version().RangeTombstones()
	list := make([]rangedel.Tombstone, len(ts))
	for i, t := range ts {
		list[i] = t.Tombstone
	}
	db.ranges = rangedel.New(db.cmp, list, db.snapshotSeqs())
}

// flushRanges adds to e, which adds what job j made of layer l, what becomes of
// the layer's range tombstones. One that no table needs is left out.
func (db *DB) flushRanges(e *manifest.VersionEdit, l *layer, j *job) {
	v := db.manifest.Version()
	for _, cleared := range rangedel.Tombstones(rangedel.New(db.cmp, rangedel.Tombstones(l.ranges.View()...), db.snapshotSeqs())) {
		t := manifest.RangeTombstone{Tombstone: cleared, Made: j.first}
		// A compaction that began before the flush may have made tables of
		// older entries with any number.
		for level := range manifest.NumLevels {
			for _, f := range v.Files(level) {
				if f.Num >= t.Until && db.overlaps(t, f) {
					t.Until = f.Num + 1
				}
			}
		}
		for _, f := range j.made {
			if len(j.snapshots) > 0 && j.snapshots[0] < t.Seq && f.Num >= t.Until && db.overlaps(t, f) {
				t.Until = f.Num + 1
			}
		}
		if t.Until > 0 {
			e.AddRange(t)
		} else {
			db.dropped = max(db.dropped, t.Seq)
		}
	}
}

// raiseRanges adds to the edit of a compaction that range tombstones still
// matter to tables that it made: they came while it ran, or a snapshot sees what
// they hide.
func (db *DB) raiseRanges(e *manifest.VersionEdit, c *compaction) {
	if len(e.New) == 0 {
		return
	}
	next := db.manifest.State().NextFileNum
	known := c.version.RangeTombstones()
	for _, t := range db.manifest.Version().RangeTombstones() {
		isKnown := slices.ContainsFunc(known, func(k manifest.RangeTombstone) bool { return k.Seq == t.Seq })
		if isKnown && (len(c.snapshots) == 0 || c.snapshots[0] >= t.Seq) {
			continue
		}
		if !isKnown && !db.isSeen(t) {
			// It is newer than all that the compaction has read.
			e.New = slices.DeleteFunc(e.New, func(n manifest.NewFile) bool {
				if !db.isInside(t, n.File) {
					return false
				}
				db.remove(true, n.File.Desc())
				return true
			})
		}
		for _, n := range e.New {
			if db.overlaps(t, n.File) {
				t.Until = next
				e.DeleteRange(t.Seq)
				e.AddRange(t)
				break
			}
		}
	}
}

// overlaps reports whether a table may have keys in the range of t.
func (db *DB) overlaps(t manifest.RangeTombstone, f *manifest.FileMeta) bool {
	return db.cmp.Compare(f.Largest.UserKey, t.Start) >= 0 && db.cmp.Compare(f.Smallest.UserKey, t.End) < 0
}

// isSeen reports whether a snapshot sees what t hides.
func (db *DB) isSeen(t manifest.RangeTombstone) bool {
	return len(db.snapshots) > 0 && db.snapshots[0].seq < t.Seq
}

// sweepRanges removes range tombstones that no table needs, and tables of which
// nothing is left. It runs after each edit, and where a snapshot is closed.
func (db *DB) sweepRanges() {
	v := db.manifest.Version()
	if len(v.RangeTombstones()) == 0 {
		return
	}
	var e manifest.VersionEdit
	for _, seq := range v.ObsoleteRanges() {
		e.DeleteRange(seq)
		db.dropped = max(db.dropped, seq)
	}
	swept := map[uint64]bool{}
	for _, t := range v.RangeTombstones() {
		if db.isSeen(t) {
			continue
		}
		for level := range manifest.NumLevels {
			for _, f := range v.Files(level) {
				if f.Num < t.Made && !swept[f.Num] && db.isInside(t, f) && !db.isCompacting(f) {
					swept[f.Num] = true
					e.Delete(level, f.Num)
				}
			}
		}
	}
	if len(e.Deleted)+len(e.DeletedRanges) == 0 {
		return
	}
	if err := db.edit(&e); err != nil {
		db.backgroundFailed("clearing", err)
	}
}

// sweepTables removes the tables of which newly written range tombstones leave
// nothing: whatever is in tables is older than what is in memory. Nothing is lost
// with them once the log is durable.
func (db *DB) sweepTables(cleared []rangedel.Tombstone) {
	if len(db.snapshots) > 0 {
		return
	}
	var e manifest.VersionEdit
	v := db.manifest.Version()
	for level := range manifest.NumLevels {
		for _, f := range v.Files(level) {
			inside := slices.ContainsFunc(cleared, func(t rangedel.Tombstone) bool {
				return db.isInside(manifest.RangeTombstone{Tombstone: t}, f)
			})
			switch {
			case !inside:
			case db.isCompacting(f):
				db.sweeps = true
			default:
				e.Delete(level, f.Num)
			}
		}
	}
	if len(e.Deleted) == 0 || db.syncLog() != nil {
		return
	}
	if err := db.edit(&e); err != nil {
		db.sweeps = true
		db.backgroundFailed("clearing", err)
	}
}

// sweepLeft does what sweepTables had to leave.
func (db *DB) sweepLeft() {
	if db.sweeps && db.compacting == nil {
		db.sweeps = false
		db.sweepTables(rangedel.Tombstones(db.memoryRanges()...))
	}
}

// isInside reports whether all keys of a table are in the range of t.
func (db *DB) isInside(t manifest.RangeTombstone, f *manifest.FileMeta) bool {
	return db.cmp.Compare(f.Smallest.UserKey, t.Start) >= 0 && db.cmp.Compare(f.Largest.UserKey, t.End) < 0
}

// isCompacting reports whether f is an input of the compaction under way.
func (db *DB) isCompacting(f *manifest.FileMeta) bool {
	c := db.compacting
	return c != nil && (slices.Contains(c.inputs, f) || slices.Contains(c.below, f))
}

// pickRange returns a compaction of a table that holds up one of too many range
// tombstones, nil where there is none.
func (db *DB) pickRange(v *manifest.Version) *compaction {
	ts := v.RangeTombstones()
	if len(ts) <= maxRangeTombstones {
		return nil
	}
	for _, t := range ts {
		if db.isSeen(t) {
			continue
		}
		for level := range manifest.NumLevels {
			for _, f := range v.Files(level) {
				if f.Num >= t.Until || !db.overlaps(t, f) {
					continue
				}
				if level == 0 {
					return db.newCompaction(v, 0, []*manifest.FileMeta{f})
				}
				return db.rewrite(v, level, f)
			}
		}
	}
	return nil
}

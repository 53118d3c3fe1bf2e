package kv

import (
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/sst"
)

// Shape of the tree (LevelDB: db/version_set.cc).
const (
	// l0CompactFiles is how many tables level 0 may have before it is
	// compacted.
	l0CompactFiles = 4

	// l0SlowFiles is where writes begin to wait for compaction, step by step.
	l0SlowFiles = 8

	// l0StopFiles is where a memtable that is full stays so.
	l0StopFiles = 12

	// levelFactor is how many times as large a level is as the one above it.
	levelFactor = 10

	// maxGrandparentFactor bounds the overlap of a table with the level after
	// the next, in tables, so that compacting it later stays cheap.
	maxGrandparentFactor = 10

	// expandFactor bounds the inputs of a compaction that are taken because
	// they come for free, in tables.
	expandFactor = 25

	// maxTableShift: tables double from level to level, so many times.
	maxTableShift = 3
)

// compaction merges tables of a level into the next.
type compaction struct {
	level, output int
	inputs        []*manifest.FileMeta // of level
	below         []*manifest.FileMeta // of output, where that is another level
	grandparents  []*manifest.FileMeta // of the level after output
	version       *manifest.Version    // referenced while it runs
	snapshots     []base.SeqNum
	now           int64 // see DB.expired

	newer *newer // of a step of a rescue, else nil: see rescue.go
}

// levelBytes is how large a level from 1 on may get.
func (o *Options) levelBytes(level int) uint64 {
	size := uint64(o.Level1Bytes)
	for ; level > 1; level-- {
		size *= levelFactor
	}
	return size
}

// tableBytes is how large the tables of a level are made.
func (o *Options) tableBytes(level int) int64 {
	return int64(o.TableBytes) << min(max(level-1, 0), maxTableShift)
}

// score says how much a level is over its bound; from 1 on it needs
// compaction.
func (db *DB) score(v *manifest.Version, level int) float64 {
	if level == 0 {
		return float64(len(v.Files(0))) / l0CompactFiles
	}
	return float64(v.LevelBytes(level)) / float64(db.opts.levelBytes(level))
}

// pickCompaction returns the compaction that is due most, nil where none is.
func (db *DB) pickCompaction() *compaction {
	v := db.manifest.Version()
	for len(db.manuals) > 0 {
		if c := db.manuals[0].next(db, v); c != nil {
			return c
		}
		db.manuals = db.manuals[1:]
	}
	best, level := 0.0, 0
	for l := range manifest.NumLevels - 1 {
		if s := db.score(v, l); s > best {
			best, level = s, l
		}
	}
	if best < 1 {
		return db.pickRange(v)
	}
	files := v.Files(level)
	if level > 0 {
		files = files[db.cheapest(v, level):][:1]
	}
	return db.newCompaction(v, level, files)
}

// cheapest returns the index of the table of a level of which a compaction into
// the next level rewrites least for what it moves (RocksDB:
// kMinOverlappingRatio).
func (db *DB) cheapest(v *manifest.Version, level int) int {
	best, least := 0, -1.0
	for i, f := range v.Files(level) {
		overlap := manifest.TotalBytes(v.Overlapping(level+1, rangeOf(db.cmp, []*manifest.FileMeta{f})))
		if ratio := float64(overlap) / float64(f.Size); least < 0 || ratio < least {
			best, least = i, ratio
		}
	}
	return best
}

// newCompaction returns the compaction of at least files, of one level, into
// the next.
func (db *DB) newCompaction(v *manifest.Version, level int, files []*manifest.FileMeta) *compaction {
	c := &compaction{level: level, output: level + 1, version: v, snapshots: db.snapshotSeqs(), now: db.expired()}
	b := rangeOf(db.cmp, files)
	c.inputs = v.Inputs(level, b.Lower, b.Upper)
	b = rangeOf(db.cmp, c.inputs)
	c.below = v.Inputs(c.output, b.Lower, b.Upper)
	if len(c.below) > 0 {
		// More of this level, where that takes no more of the next.
		all := rangeOf(db.cmp, slices.Concat(c.inputs, c.below))
		more := v.Inputs(level, all.Lower, all.Upper)
		if len(more) > len(c.inputs) &&
			manifest.TotalBytes(more)+manifest.TotalBytes(c.below) <= expandFactor*uint64(db.opts.tableBytes(c.output)) {
			r := rangeOf(db.cmp, more)
			if below := v.Inputs(c.output, r.Lower, r.Upper); len(below) == len(c.below) {
				c.inputs = more
			}
		}
	}
	if c.output+1 < manifest.NumLevels {
		c.grandparents = v.Overlapping(c.output+1, rangeOf(db.cmp, slices.Concat(c.inputs, c.below)))
	}
	return c
}

// rewrite returns the compaction of a table into its own level, from 1 on, with the
// neighbours that have versions of its keys: LevelDB divides a key's versions.
func (db *DB) rewrite(v *manifest.Version, level int, f *manifest.FileMeta) *compaction {
	return &compaction{
		level: level, output: level, inputs: v.Inputs(level, f.Smallest.UserKey, f.Largest.UserKey),
		version: v, snapshots: db.snapshotSeqs(), now: db.expired(),
	}
}

// rangeOf returns the range of user keys of files, of which there is one.
func rangeOf(cmp *base.Comparer, files []*manifest.FileMeta) iterator.Bounds {
	b := iterator.Bounds{Lower: files[0].Smallest.UserKey, Upper: files[0].Largest.UserKey, UpperInclusive: true}
	for _, f := range files[1:] {
		if cmp.Compare(f.Smallest.UserKey, b.Lower) < 0 {
			b.Lower = f.Smallest.UserKey
		}
		if cmp.Compare(f.Largest.UserKey, b.Upper) > 0 {
			b.Upper = f.Largest.UserKey
		}
	}
	return b
}

// compression of the tables of a level. Those of level 0 are read once or twice
// before a compaction rewrites them: to pack them costs more than it saves
// (RocksDB: compression_per_level).
func (o *Options) compression(level int) sst.Compression {
	if level == 0 {
		return sst.NoCompression
	}
	return o.Compression
}

// isMove reports whether c may leave the bytes where they are, and put its one
// table into the next level as it is. One that is not packed would stay so.
func (c *compaction) isMove(o *Options) bool {
	return len(c.inputs) == 1 && len(c.below) == 0 && c.output > c.level &&
		o.compression(c.level) == o.compression(c.output) &&
		manifest.TotalBytes(c.grandparents) <= maxGrandparentFactor*uint64(o.tableBytes(c.output))
}

// edit returns what c leads to.
func (c *compaction) edit(made []*manifest.FileMeta) *manifest.VersionEdit {
	var e manifest.VersionEdit
	for _, f := range c.inputs {
		e.Delete(c.level, f.Num)
	}
	for _, f := range c.below {
		e.Delete(c.output, f.Num)
	}
	for _, f := range made {
		e.Add(c.output, f)
	}
	return &e
}

// startCompaction carries out c. It runs on the worker.
func (db *DB) startCompaction(c *compaction) {
	if c.newer == nil && c.isMove(&db.opts) {
		db.metrics.Moves++
		if err := db.edit(c.edit(c.inputs)); err != nil {
			db.backgroundFailed("compaction", err)
			return
		}
		db.schedule()
		return
	}
	c.version.Ref()
	db.compacting = c
	j := &job{db: db, freed: db.freed, isLow: true}
	db.spawn(func() {
		var err error
		if c.newer != nil {
			err = j.rescue(c)
		} else {
			err = j.compact(c)
		}
		c.version.Unref()
		if !db.tell(func() { db.compacted(c, j, err) }) {
			db.discard(j.made)
		}
	})
}

// compact writes the tables of c.
func (j *job) compact(c *compaction) error {
	db := j.db
	its := db.tables.appendIters(nil, c.level, c.inputs, compactionReadAhead)
	its = db.tables.appendIters(its, c.output, c.below, compactionReadAhead)
	it := c.iter(db, iterator.NewMerge(db.cmp, its...))
	target := db.opts.tableBytes(c.output)
	defer func() { j.dropped = it.dropped }()
	err := j.write(it, c.output, target, c.grandparentLimit(db.cmp, maxGrandparentFactor*uint64(target)))
	if e := it.it.Close(); err == nil {
		err = e
	}
	return err
}

// iter returns what c keeps of the entries of it.
func (c *compaction) iter(db *DB, it compactionInput) *compactionIter {
	kept := &compactionIter{
		cmp: db.cmp, it: it, snapshots: c.snapshots,
		isBase: isBase(c.version, db.cmp, c.output), now: c.now, filter: db.opts.Filter,
	}
	var sets []*rangedel.Set
	if c.newer != nil {
		sets = slices.Clone(c.newer.ranges)
	}
	if ts := c.version.RangeTombstones(); len(ts) > 0 {
		list := make([]rangedel.Tombstone, len(ts))
		for i, t := range ts {
			list[i] = t.Tombstone
		}
		sets = append(sets, rangedel.New(db.cmp, list, c.snapshots))
	}
	if len(sets) > 0 {
		kept.ranges = rangedel.NewCursor(sets...)
	}
	return kept
}

// compactionReadAhead is in bytes. A compaction reads a dozen tables at once.
const compactionReadAhead = 128 << 10

// grandparentLimit returns a function that says, of keys that ascend, before
// which of them a table must end so that it does not overlap more than limit
// bytes of the level after its own.
func (c *compaction) grandparentLimit(cmp *base.Comparer, limit uint64) func(key []byte) bool {
	at, overlap := 0, uint64(0)
	begun := false
	return func(key []byte) bool {
		for at < len(c.grandparents) && cmp.Compare(c.grandparents[at].Largest.UserKey, key) < 0 {
			if begun {
				overlap += c.grandparents[at].Size
			}
			at++
		}
		begun = true
		if overlap > limit {
			overlap = 0
			return true
		}
		return false
	}
}

// compacted installs what a compaction made, or notes why it failed.
func (db *DB) compacted(c *compaction, j *job, err error) {
	if c.newer != nil {
		db.rescueStepped(c, j, err)
		return
	}
	db.compacting = nil
	if err != nil {
		db.discard(j.made)
		db.sweepLeft()
		db.backgroundFailed("compaction", err)
		j.tryAgain(err)
		return
	}
	e := c.edit(j.made)
	db.raiseRanges(e, c)
	db.dropped = max(db.dropped, j.dropped)
	if err := db.edit(e); err != nil {
		db.backgroundFailed("compaction", err)
		return
	}
	db.countCompaction(c, j)
	db.sweepLeft()
}

// countCompaction tells of a compaction that was installed.
func (db *DB) countCompaction(c *compaction, j *job) {
	read := manifest.TotalBytes(c.inputs) + manifest.TotalBytes(c.below)
	written := manifest.TotalBytes(j.made)
	db.opts.Event(Event{Type: EventCompaction, Level: c.level, ReadBytes: read, WrittenBytes: written})
	db.metrics.Compactions++
	db.metrics.CompactedBytes += read
	db.metrics.WrittenBytes += written
}

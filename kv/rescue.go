package kv

import (
	"errors"
	"slices"
	"sort"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/memtable"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/vfs"
)

// A store that is full to the brim has no room for a flush, and none for what a
// compaction makes before it gives back what it read. So some space is kept back
// (vfs.Reserver), which no put gets: a memtable begins only once the reserve is
// whole. Where deletes, Flush or Compact find no space it is lent to them and to
// background work, and puts wait or fail until it has been taken back.
//
// The first use of it is a rescue: tables are written anew in their own level
// without what something newer hides, be that still in memory, and each such step
// gives back more than it takes. Then the memtables that wait are flushed, without
// the tombstones that have nothing to hide any more.

// spaceUnit is the page of a volume. A table takes whole ones, and what gives
// back less than one gives nothing.
const spaceUnit = 64 << 10

// units64 returns how many units so many bytes take.
func units64(bytes int64) int64 { return (bytes + spaceUnit - 1) / spaceUnit }

// unitsOf returns how many units tables take.
func unitsOf(files []*manifest.FileMeta) (units int64) {
	for _, f := range files {
		units += units64(int64(f.Size))
	}
	return units
}

// rescue is where a rescue stands.
type rescue struct {
	level  int    // whose tables come next; 0 comes last
	from   []byte // the smallest user key of the next; nil: the first of the level
	isOver bool   // all tables were seen

	gained  int64 // units
	before  int64 // of them, those of earlier rounds
	missed  bool  // a step of this round found no room for what it makes
	noFlush bool  // a flush found none
	cause   error // to tell of, where nothing is gained

	seen seen // of the next one
}

// reserveBytes is how much is kept back: a flushed memtable, or the largest table
// where that is one of level 1 or at most a hundredth of the store, and their ends.
func (db *DB) reserveBytes() int64 {
	v := db.manifest.Version()
	var largest uint64
	for level := range manifest.NumLevels {
		for _, f := range v.Files(level) {
			largest = max(largest, f.Size)
		}
	}
	return max(int64(db.opts.MemtableBytes), int64(min(largest, max(v.Bytes()/100, uint64(db.opts.TableBytes)))), 6*spaceUnit) + 2*spaceUnit
}

// reserve keeps so many bytes back, where the store can do that. It may be called
// from any goroutine.
func (db *DB) reserve(bytes int64) error {
	if fs, ok := db.fs.(vfs.Reserver); ok {
		return fs.Reserve(bytes)
	}
	return nil
}

// release keeps no more than bytes back.
func (db *DB) release(bytes int64) {
	if fs, ok := db.fs.(vfs.Reserver); ok {
		fs.Release(bytes)
	}
}

// lend gives the reserve, but for kept bytes of it, to deletes and background work.
// Puts get no space until takeBack has succeeded.
func (db *DB) lend(kept int64) {
	db.isLent, db.takeBackDue = true, false
	db.release(kept)
	db.backoff = false
}

// takeBack begins to make the reserve whole again. Where that cannot be, it stays
// lent.
func (db *DB) takeBack() {
	db.takeBackDue, db.isTakingBack = false, true
	bytes, isLent := db.reserveBytes(), db.isLent
	db.spawn(func() {
		err := db.reserve(bytes)
		if err != nil && isLent {
			db.release(bytes / 2)
		}
		db.tell(func() {
			db.isTakingBack = false
			db.isLent = isLent && err != nil
			if err == nil {
				db.backoff = false
			}
			if db.rescue != nil {
				db.endRescue()
			}
			if err != nil && !errors.Is(err, ErrQuota) {
				db.backgroundFailed("keeping space back", err)
			}
		})
	})
}

// awaitsSpace reports whether background work is under way that may give back the
// space that a part of a group lacks, or has been begun for it.
func (db *DB) awaitsSpace(part []writeRequest) bool {
	switch deletes := areDeletes(part); {
	case db.isWorking():
		return deletes || db.isLent
	case deletes:
		return db.relieve()
	}
	return db.deleted > db.rescued && db.startRescue()
}

// relieve begins what may help where nothing is under way and there is no space:
// a rescue, if anything was written since the last one, else what is due anew,
// with the reserve lent to it. false where both have been tried in vain.
func (db *DB) relieve() bool {
	if db.startRescue() {
		return true
	}
	if progress := uint64(db.visible) + db.edits; progress > db.lentFor {
		db.lentFor = progress
		// Tombstones must not take what a rescue needs to drop what they hide.
		db.lend(db.reserveBytes() / 2)
		db.schedule()
		// Whoever waits tries again, even where nothing was due.
		db.spawn(func() { db.tell(func() {}) })
		return true
	}
	return false
}

// startRescue begins a rescue, unless nothing was written since the last one.
func (db *DB) startRescue() bool {
	if db.rescue != nil || db.visible <= db.rescued {
		return false
	}
	db.rescued = db.visible
	db.rescue = &rescue{level: 1, cause: db.backgroundErr, seen: seen{db.visible, db.manifest.State().NextFileNum}}
	db.lend(0)
	db.schedule()
	return true
}

// goOnRescue begins the next step of the rescue, or ends it. It runs on the
// worker.
func (db *DB) goOnRescue() {
	if db.isStepping() {
		return
	}
	r := db.rescue
	if c := db.nextRescue(); c != nil {
		db.startCompaction(c)
		return
	}
	if len(db.imm) > 0 && !r.noFlush {
		db.startFlush(db.imm[0])
		return
	}
	if r.gained > r.before && (r.missed || r.noFlush && len(db.imm) > 0) {
		// There is more room now than when it was tried.
		r.level, r.from, r.isOver, r.before, r.missed, r.noFlush = 1, nil, false, r.gained, false, false
		db.goOnRescue()
		return
	}
	// The reserve comes first; what follows is as usual.
	db.takeBack()
}

// endRescue ends the rescue, once as much of the reserve is back as there is.
func (db *DB) endRescue() {
	r := db.rescue
	if !r.missed {
		db.seen = r.seen
	}
	db.rescue, db.backoff = nil, false
	if r.gained == 0 {
		if db.backgroundErr == nil {
			db.backgroundErr = r.cause
		}
		db.backoff = db.backgroundErr != nil
	}
}

// isStepping reports whether something is under way that takes or gives back
// space.
func (db *DB) isStepping() bool {
	return db.next.making || db.isTakingBack || db.flushDone.Load() != nil || db.compacting != nil || db.bg.isCollecting()
}

// nextRescue returns the next step of the rescue, nil where all tables have been
// seen.
func (db *DB) nextRescue() *compaction {
	v, r := db.manifest.Version(), db.rescue
	if r.isOver || db.cmp.HasSuffix {
		return nil // with suffixes a newer entry may hide more than its own key
	}
	for ; r.level > 0; r.level, r.from = (r.level+1)%manifest.NumLevels, nil {
		files := v.Files(r.level)
		for len(files) > 0 && r.from != nil && db.cmp.Compare(files[0].Smallest.UserKey, r.from) < 0 {
			files = files[1:]
		}
		if len(files) > 0 {
			return db.newRescue(v, r.level, files)
		}
	}
	// Tables of level 0 stand in the order in which they were written, so none
	// can be written anew there. The oldest go to level 1.
	if files := v.Files(0); len(files) > 0 {
		files = slices.Clone(files)
		sort.Slice(files, func(i, k int) bool { return files[i].Num < files[k].Num })
		return db.newRescue(v, 0, files)
	}
	return nil
}

// newer is what a step of a rescue merges its tables with, to see what it hides of
// them, and what the step comes to.
type newer struct {
	views  []*memtable.View
	ranges []*rangedel.Set
	seen   seen
	most   int64 // bytes of what a run of tables may come to
	least  int64 // units that it must give back

	// Set by the step: the inputs that are written anew, and where the next
	// step begins; nil: with the next level.
	chosen []*manifest.FileMeta
	from   []byte
}

// seen says what the last rescue knew: entries up to a sequence number, and tables
// below a number.
type seen struct {
	seq  base.SeqNum
	file uint64
}

// newRescue returns the step of the rescue that looks at files, of one level.
func (db *DB) newRescue(v *manifest.Version, level int, files []*manifest.FileMeta) *compaction {
	c := &compaction{
		level: level, output: max(level, 1), inputs: files,
		version: v, snapshots: db.snapshotSeqs(), now: db.expired(),
		newer: &newer{seen: db.seen, most: db.reserveBytes() / 2, least: 1},
	}
	if fs, ok := db.fs.(vfs.SpaceReporter); ok {
		if s, err := fs.Space(); err == nil {
			c.newer.most = max(c.newer.most, s.FreeBytes)
		}
	}
	if level == 0 {
		b := rangeOf(db.cmp, files)
		c.below = v.Inputs(c.output, b.Lower, b.Upper)
		if len(v.Files(0)) >= l0CompactFiles {
			c.newer.least = 0 // there are too many
		}
	}
	// What is in memory hides something for good only once its log is durable.
	if db.syncLog() == nil {
		c.newer.ranges = db.memoryRanges()
		c.newer.views = append(c.newer.views, db.mem.table.View())
		for _, l := range db.imm {
			c.newer.views = append(c.newer.views, l.table.View())
		}
	}
	return c
}

// rescueStepped installs what a step of the rescue made, if that is less than it
// was made of.
func (db *DB) rescueStepped(c *compaction, j *job, err error) {
	db.compacting = nil
	c.inputs = c.newer.chosen
	gained := unitsOf(c.inputs) + unitsOf(c.below) - unitsOf(j.made)
	if err == nil && len(c.inputs) > 0 && gained >= c.newer.least {
		e := c.edit(j.made)
		db.raiseRanges(e, c)
		db.dropped = max(db.dropped, j.dropped)
		if err = db.edit(e); err == nil {
			db.countCompaction(c, j)
		}
	} else {
		db.discard(j.made)
		gained, c.inputs = 0, nil
	}
	db.sweepLeft()
	r := db.rescue
	switch {
	case err == nil:
		r.gained += gained
	case errors.Is(err, ErrQuota):
		r.missed = true
	default:
		r.isOver = true
		db.backgroundFailed("rewriting tables", err)
	}
	switch r.from = c.newer.from; {
	case c.level > 0 && r.from == nil:
		r.level = (c.level + 1) % manifest.NumLevels
	case c.level == 0 && (err != nil || len(c.inputs) == 0):
		r.isOver = true
	}
}

// group is tables of which none or all are written anew.
type group struct {
	files       []*manifest.FileMeta
	units, kept int64 // what they take, and about how many bytes would be left
	isSame      bool  // nothing of them is hidden
}

// isNowhere returns a function that says whether no table of v has a user key. It
// is for a flush where tombstones of keys that a rescue has removed would take the
// space that it gave back.
func (j *job) isNowhere(v *manifest.Version) (isNowhere func(key []byte) bool, end func() error) {
	its := j.db.tables.iters(v, iterator.Bounds{}, 0)
	isNowhere = func(key []byte) bool {
		// In bytes, a seek is about a kibibyte's worth of work. That the DB has
		// ended shows in the next step of the flush.
		_ = j.step(int64(len(its)) << 10)
		for _, it := range its {
			if it.SeekGE(key) && j.db.cmp.Compare(it.Key().UserKey, key) == 0 || it.Error() != nil {
				return false
			}
		}
		return true
	}
	end = func() (err error) {
		for _, it := range its {
			if e := it.Close(); err == nil {
				err = e
			}
		}
		return err
	}
	return isNowhere, end
}

// rescueShare is the part of what is written anew, one in so many, that a step of
// the rescue has to give back.
const rescueShare = 16

// rescueTarget is the size of the tables that a step of the rescue makes: with
// their indexes they end within their last unit.
func (c *compaction) rescueTarget(o *Options) int64 {
	size := o.tableBytes(c.output)
	return 2*size - size/8
}

// gained returns about how many units it gives back to write groups anew.
func (c *compaction) gained(o *Options, groups []group) (gained, units, kept int64) {
	for _, g := range groups {
		units, kept = units+g.units, kept+g.kept
	}
	target := c.rescueTarget(o)
	return units - kept/target*units64(target) - units64(kept%target), units, kept
}

// rescue looks through the tables of c for the first neighbours that are worth to
// be written anew, and does that.
func (j *job) rescue(c *compaction) error {
	if c.level == 0 {
		return j.rescueLevel0(c)
	}
	var run []group
	for rest := c.inputs; len(rest) > 0; {
		n := 1
		for n < len(rest) && j.db.cmp.Compare(rest[n-1].Largest.UserKey, rest[n].Smallest.UserKey) == 0 {
			n++ // LevelDB divides a key's versions
		}
		g, err := j.measure(c, rest[:n], nil)
		if err != nil {
			return err
		}
		rest = rest[n:]
		if run = append(run, g); g.isSame {
			run = nil
			continue
		}
		gained, units, kept := c.gained(&j.db.opts, run)
		for len(run) > 1 && kept > c.newer.most {
			run = run[1:]
			gained, units, kept = c.gained(&j.db.opts, run)
		}
		if gained < max(c.newer.least, units/rescueShare) {
			continue
		}
		for _, g := range run {
			c.newer.chosen = append(c.newer.chosen, g.files...)
		}
		if len(rest) > 0 {
			c.newer.from = rest[0].Smallest.UserKey
		}
		return j.rewrite(c)
	}
	return nil
}

// rescueLevel0 writes the oldest tables of level 0, as many as there is room for,
// and what they overlap of level 1 to level 1.
func (j *job) rescueLevel0(c *compaction) error {
	g, err := j.measure(c, nil, c.below)
	if err != nil {
		return err
	}
	groups := []group{g}
	for i := range c.inputs {
		if g, err = j.measure(c, c.inputs[i:i+1], nil); err != nil {
			return err
		}
		groups = append(groups, g)
		gained, _, kept := c.gained(&j.db.opts, groups)
		if i > 0 && kept > c.newer.most {
			break
		}
		if gained >= c.newer.least {
			c.newer.chosen = c.inputs[:i+1]
		}
	}
	if len(c.newer.chosen) == 0 {
		return nil
	}
	return j.rewrite(c)
}

// rewrite writes what was chosen anew.
func (j *job) rewrite(c *compaction) error {
	it := c.iter(j.db, j.hiding(c, c.newer.chosen, c.below))
	err := j.write(it, c.output, c.rescueTarget(&j.db.opts), nil)
	j.dropped = it.dropped
	if e := it.it.Close(); err == nil {
		err = e
	}
	return err
}

// measure finds out what would be left of tables of c.
func (j *job) measure(c *compaction, files, below []*manifest.FileMeta) (group, error) {
	size := int64(manifest.TotalBytes(files) + manifest.TotalBytes(below))
	g := group{files: files, units: unitsOf(files) + unitsOf(below), kept: size, isSame: true}
	if size == 0 || c.isSeen(j.db.cmp, files) {
		return g, j.giveWay()
	}
	h := j.hiding(c, files, below)
	it := c.iter(j.db, h)
	var kept, stepped int64
	var err error
	for err == nil && it.next() {
		kept += int64(len(it.key.UserKey)+len(it.value)) + base.TrailerSize
		err = j.step(h.bytes - stepped)
		stepped = h.bytes
	}
	if err == nil {
		err = h.Error()
	}
	if e := h.Close(); err == nil {
		err = e
	}
	if kept < h.bytes {
		g.kept, g.isSame = int64(float64(size)*float64(kept)/float64(h.bytes)), false
	}
	return g, err
}

// isSeen reports whether the last rescue has looked at files, of a level from 1 on,
// and nothing newer that overlaps them has come since.
func (c *compaction) isSeen(cmp *base.Comparer, files []*manifest.FileMeta) bool {
	known := c.newer.seen
	isNew := func(f *manifest.FileMeta) bool { return f.Num >= known.file }
	if c.level == 0 || known.seq == 0 || slices.ContainsFunc(files, isNew) || len(c.version.RangeTombstones()) > 0 {
		return false
	}
	b := rangeOf(cmp, files)
	for level := range c.level {
		if slices.ContainsFunc(c.version.Overlapping(level, b), isNew) {
			return false
		}
	}
	for _, s := range c.newer.ranges {
		if !s.Empty() {
			return false
		}
	}
	for _, view := range c.newer.views {
		it := view.NewIter()
		for ok := it.SeekGE(b.Lower); ok && cmp.Compare(it.Key().UserKey, b.Upper) <= 0; ok = it.Next() {
			if it.Key().SeqNum() > known.seq {
				return false
			}
		}
	}
	return true
}

// hiding returns the entries of tables of c, files of its level and those below,
// that nothing newer hides.
func (j *job) hiding(c *compaction, files, below []*manifest.FileMeta) *hiding {
	db, v := j.db, c.version
	its := db.tables.appendIters(nil, c.level, files, compactionReadAhead)
	its = db.tables.appendIters(its, c.output, below, compactionReadAhead)
	var above []iterator.Internal
	for _, view := range c.newer.views {
		above = append(above, view.NewIter())
	}
	if c.level == 0 {
		newest := uint64(0)
		for _, f := range files {
			newest = max(newest, f.Num)
		}
		level0 := v.Files(0)
		for i, f := range level0 {
			if f.Num > newest {
				above = db.tables.appendIters(above, 0, level0[i:i+1], compactionReadAhead)
			}
		}
	}
	for level := range c.level {
		above = db.tables.appendIters(above, level, v.Files(level), compactionReadAhead)
	}
	h := &hiding{Internal: iterator.NewMerging(db.cmp, its...), cmp: db.cmp, snapshots: c.snapshots}
	if len(above) > 0 {
		h.above = iterator.NewMerging(db.cmp, above...)
	}
	return h
}

// hiding walks the entries of tables that no newer one of their own stripe hides:
// see compactionIter.
type hiding struct {
	iterator.Internal                   // over the tables
	above             iterator.Internal // over all that is newer; nil for nothing
	cmp               *base.Comparer
	snapshots         []base.SeqNum

	user    []byte // the user key of newest, where begun
	begun   bool
	newest  []base.SeqNum // of the newer entries of user, newest first
	isAbove bool          // above is at an entry
	bytes   int64         // of the entries seen
}

// First implements iterator.Internal.
func (h *hiding) First() bool {
	ok := h.Internal.First()
	h.begun = false
	if ok && h.above != nil {
		h.isAbove = h.above.SeekGE(h.Internal.Key().UserKey)
	}
	return h.skip(ok)
}

// Next implements iterator.Internal.
func (h *hiding) Next() bool { return h.skip(h.Internal.Next()) }

// Error implements iterator.Internal.
func (h *hiding) Error() error {
	if err := h.Internal.Error(); err != nil || h.above == nil {
		return err
	}
	return h.above.Error()
}

// Close implements iterator.Internal.
func (h *hiding) Close() error {
	err := h.Internal.Close()
	if h.above != nil {
		if e := h.above.Close(); err == nil {
			err = e
		}
	}
	return err
}

// skip goes on to an entry that is not hidden.
func (h *hiding) skip(ok bool) bool {
	for ; ok; ok = h.Internal.Next() {
		key := h.Internal.Key()
		h.bytes += int64(len(key.UserKey)+len(h.Internal.Value())) + base.TrailerSize
		if !h.isHidden(key) {
			return true
		}
	}
	return false
}

func (h *hiding) isHidden(key base.InternalKey) bool {
	if !h.begun || h.cmp.Compare(key.UserKey, h.user) != 0 {
		h.move(key.UserKey)
	}
	for _, seq := range h.newest {
		if seq > key.SeqNum() && stripeOf(h.snapshots, seq) == stripeOf(h.snapshots, key.SeqNum()) {
			return true
		}
	}
	return false
}

// move reads the newer entries of another user key, which is behind the last one.
func (h *hiding) move(user []byte) {
	h.user, h.newest, h.begun = append(h.user[:0], user...), h.newest[:0], true
	for h.isAbove {
		key := h.above.Key()
		c := h.cmp.Compare(key.UserKey, user)
		if c > 0 {
			return
		}
		if c == 0 {
			h.newest = append(h.newest, key.SeqNum())
		}
		h.isAbove = h.above.Next()
	}
}

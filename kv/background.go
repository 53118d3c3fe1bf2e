package kv

import (
	"errors"
	"runtime"
	"slices"
	"sync"

	"tempestkv/kv/base"
	"tempestkv/kv/manifest"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
)

// stepBytes is how many bytes of entries a background job works through before
// it gives way. It is counted in bytes and never in time: the clock of an edge
// worker stands still. In a browser it is some 1 to 2 ms of work.
const stepBytes = 64 << 10

// errStopped ends a background job of a DB that closes.
var errStopped = errors.New("tempestkv: background job stopped")

// background is what the worker's helpers share with it: goroutines that write
// tables, prepare logs and remove files. They tell the worker by functions for
// it to run.
type background struct {
	results chan func()    // for the worker
	running sync.WaitGroup // of all goroutines that use the files
	stepped chan struct{}  // a job has worked through another step

	garbageMu  sync.Mutex // guards what follows
	garbage    []vfs.FileDesc
	remaining  []vfs.FileDesc // could not be removed
	collecting bool
	freeing    bool // what is removed gives back space that was in use
	unheard    int  // times that all was removed, and the worker is still to be told
}

func newBackground() *background {
	return &background{results: make(chan func()), stepped: make(chan struct{}, 1)}
}

// tell runs f on the worker. false where that has ended.
func (db *DB) tell(f func()) bool {
	select {
	case db.bg.results <- f:
		return true
	case <-db.ended:
		return false
	}
}

// spawn runs f in a goroutine that Close waits for. A panic in it makes the
// worker panic, since no caller would hear of it.
func (db *DB) spawn(f func()) {
	db.bg.running.Add(1)
	db.busy.Add(1)
	go func() {
		defer db.bg.running.Done()
		defer db.busy.Add(-1)
		defer func() {
			if p := recover(); p != nil {
				db.tell(func() { panic(p) })
			}
		}()
		f()
	}()
}

// job is a flush or a compaction under way.
type job struct {
	db        *DB
	isLow     bool   // gives way to flushes
	first     uint64 // what it makes has this number or a higher one
	snapshots []base.SeqNum
	freed     uint64 // DB.freed when it began
	since     int64
	made      []*manifest.FileMeta

	dropped base.SeqNum // the newest tombstone that it left out
}

// step counts n bytes of work, and gives way where they make a step.
func (j *job) step(n int64) error {
	if j.since += n; j.since < stepBytes {
		return nil
	}
	j.since = 0
	return j.giveWay()
}

func (j *job) giveWay() error {
	db := j.db
	select {
	case db.bg.stepped <- struct{}{}:
	default:
	}
	if db.opts.Yield == nil {
		runtime.Gosched()
	} else {
		db.yield()
	}
	for j.isLow && db.opts.Yield != nil {
		// With one thread, what a compaction takes a flush lacks.
		flushed := db.flushDone.Load()
		if flushed == nil {
			break
		}
		db.busy.Add(-1)
		select {
		case <-*flushed:
			db.busy.Add(1)
		case <-db.ended:
			// Of a flush that ended too late to be told of there is no more news.
			db.busy.Add(1)
			return errStopped
		}
	}
	select {
	case <-db.ended:
		return errStopped
	default:
		return nil
	}
}

// yield gives the host its turn.
func (db *DB) yield() {
	db.busy.Add(-1)
	db.opts.Yield(db.ended)
	db.busy.Add(1)
}

// newFileNum asks the worker for a number.
func (j *job) newFileNum() (uint64, error) {
	num := make(chan uint64, 1)
	if !j.db.tell(func() { num <- j.db.manifest.NewFileNum() }) {
		return 0, errStopped
	}
	select {
	case n := <-num:
		return n, nil
	case <-j.db.ended: // by a panic, before it came to that
		return 0, errStopped
	}
}

// output is a table being written.
type output struct {
	num  uint64
	file vfs.File
	w    *sst.Writer
}

func (j *job) create(level int, reserve int64) (*output, error) {
	num, err := j.newFileNum()
	if err != nil {
		return nil, err
	}
	f, err := j.db.fs.Create(vfs.FileDesc{Type: vfs.TypeTable, Num: num}, reserve)
	if err != nil {
		return nil, err
	}
	// From here on the file is j's to remove.
	j.made = append(j.made, &manifest.FileMeta{Num: num})
	w := sst.NewWriter(f, sst.WriterOptions{
		Comparer:    j.db.cmp,
		BlockBytes:  j.db.opts.BlockBytes,
		Compression: j.db.opts.compression(level),
	})
	return &output{num: num, file: f, w: w}, nil
}

// finish makes the table durable and notes what it has.
func (j *job) finish(o *output) error {
	meta, err := o.w.Finish()
	if err == nil {
		err = o.file.Sync()
	}
	if e := o.file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	j.made[len(j.made)-1] = &manifest.FileMeta{
		Num: o.num, Size: uint64(meta.Size), Smallest: meta.Smallest, Largest: meta.Largest,
	}
	return j.giveWay()
}

// write puts what c keeps into tables of a level, of about targetBytes each.
// Versions of one user key stay together. endBefore, which may be nil, is asked for each new
// user key whether the table must end before it.
func (j *job) write(c *compactionIter, level int, targetBytes int64, endBefore func(key []byte) bool) error {
	var o *output
	var last []byte
	var seen int64
	for c.next() {
		if err := j.step(c.bytes - seen); err != nil {
			return j.abandon(o, err)
		}
		seen = c.bytes
		isNew := o == nil || j.db.cmp.Compare(last, c.key.UserKey) != 0
		// endBefore counts on being asked for every key.
		if isNew && (endBefore != nil && endBefore(c.key.UserKey) || o != nil && o.w.EstimatedBytes() >= targetBytes) && o != nil {
			if err := j.finish(o); err != nil {
				return err
			}
			o = nil
		}
		if o == nil {
			var err error
			if o, err = j.create(level, targetBytes); err != nil {
				return err
			}
		}
		if isNew {
			last = append(last[:0], c.key.UserKey...)
		}
		if err := o.w.Add(c.key, c.value); err != nil {
			return j.abandon(o, err)
		}
	}
	if err := c.it.Error(); err != nil {
		return j.abandon(o, err)
	}
	if o != nil {
		return j.finish(o)
	}
	return nil
}

// abandon closes an output that will not be finished.
func (j *job) abandon(o *output, err error) error {
	if o != nil {
		o.file.Close()
	}
	return err
}

// schedule begins the background work that is due. It runs on the worker.
func (db *DB) schedule() {
	defer db.wakeWaiters()
	if db.closing || db.failed != nil {
		return
	}
	if !db.backoff {
		db.sweepLeft()
	}
	if db.rescue != nil {
		db.stopShrink.Store(true)
		db.goOnRescue()
		return
	}
	if len(db.imm) > 0 && db.flushDone.Load() == nil && !db.backoff {
		db.startFlush(db.imm[0])
	}
	isFull := db.isLent || errors.Is(db.backgroundErr, ErrQuota)
	if db.compacting == nil && !db.backoff && !(isFull && db.flushDone.Load() != nil) {
		// Where there is no space left, a flush needs less of it, and may
		// give some back.
		if c := db.pickCompaction(); c != nil {
			db.startCompaction(c)
		}
	}
	if db.isLent && db.takeBackDue && !db.isStepping() {
		db.takeBack()
	}
	isIdle := len(db.imm) == 0 && db.compacting == nil
	db.stopShrink.Store(!isIdle)
	if fs, ok := db.fs.(vfs.Shrinker); ok && isIdle && db.shrinkDue && !db.isShrinking && !db.backoff {
		db.startShrink(fs)
	}
}

// backgroundFailed notes the error of a job. The next rotation, or a write that
// has to wait for one, tries again: another write may have made room.
func (db *DB) backgroundFailed(what string, err error) {
	if errors.Is(err, errStopped) {
		return
	}
	db.backgroundErr, db.backoff = err, true
	db.opts.Event(Event{Type: EventError, Err: err})
	db.opts.Logger(LogError, what+": "+err.Error())
}

// tryAgain lets a job that failed for want of space begin again at once where
// space was given back meanwhile.
func (j *job) tryAgain(err error) {
	if errors.Is(err, ErrQuota) && j.db.freed != j.freed {
		j.db.backoff = false
	}
}

// discard removes the tables that a job made in vain.
func (db *DB) discard(made []*manifest.FileMeta) {
	for _, f := range made {
		db.remove(false, f.Desc())
	}
}

// edit makes e durable and current. It runs on the worker.
//
// After an error its tables are removed. Where nobody knows whether it will be in
// force when the store is opened again, they stay until another edit has decided
// that.
func (db *DB) edit(e *manifest.VersionEdit) error {
	err := db.manifest.Append(e)
	if errors.Is(err, ErrQuota) && db.dropNextLog() {
		err = db.manifest.Append(e)
	}
	if err != nil {
		for _, f := range e.New {
			// One that is only moved is needed either way.
			isMoved := slices.ContainsFunc(e.Deleted, func(d manifest.DeletedFile) bool { return d.Num == f.File.Num })
			switch {
			case isMoved:
			case db.manifest.InDoubt():
				db.doubtful = append(db.doubtful, f.File)
			default:
				db.remove(false, f.File.Desc())
			}
		}
		return err
	}
	for _, f := range db.doubtful {
		db.remove(true, f.Desc())
	}
	db.doubtful = nil
	db.backgroundErr, db.backoff = nil, false
	db.edits++
	db.takeBackDue = true
	if len(e.NewRanges)+len(e.DeletedRanges)+len(db.manifest.Version().RangeTombstones()) > 0 {
		db.installRanges()
		db.sweepRanges()
	}
	return nil
}

// remove deletes files some time later, since each takes a host a while. frees
// says that the store was larger for them; those of a job that failed made it so
// only for a moment.
func (db *DB) remove(frees bool, files ...vfs.FileDesc) {
	b := db.bg
	b.garbageMu.Lock()
	b.garbage = append(b.garbage, files...)
	b.freeing = b.freeing || frees && len(files) > 0
	begin := !b.collecting && len(b.garbage) > 0
	if begin {
		b.garbage = append(b.garbage, b.remaining...)
		b.remaining = nil
	}
	b.collecting = b.collecting || begin
	b.garbageMu.Unlock()
	if begin {
		b.running.Add(1)
		db.busy.Add(1)
		go db.collect()
	}
}

// startShrink gives back space between the files, as far as the place can do
// that, until other work comes up.
func (db *DB) startShrink(fs vfs.Shrinker) {
	db.shrinkDue, db.isShrinking = false, true
	db.stopShrink.Store(false)
	j := &job{db: db, isLow: true}
	db.spawn(func() {
		var err error
		for err == nil && !db.stopShrink.Load() {
			var moved int64
			if moved, err = fs.Shrink(stepBytes); moved == 0 {
				break
			}
			if err == nil {
				err = j.giveWay()
			}
		}
		isStopped := db.stopShrink.Load()
		db.tell(func() {
			db.isShrinking = false
			db.shrinkDue = db.shrinkDue || isStopped
			if err != nil && !errors.Is(err, errStopped) {
				db.opts.Logger(LogWarning, "giving space back: "+err.Error())
			}
		})
	})
}

// collect removes the garbage, to its end even where the DB closes. What
// cannot be removed is tried again with what comes next, or is an orphan for the
// next Open.
func (db *DB) collect() {
	defer db.bg.running.Done()
	defer db.busy.Add(-1)
	b := db.bg
	for {
		b.garbageMu.Lock()
		if len(b.garbage) == 0 {
			freed := b.freeing
			b.collecting, b.freeing = false, false
			b.unheard++
			b.garbageMu.Unlock()
			go db.tell(func() { db.collected(freed) })
			return
		}
		files := b.garbage
		b.garbage = nil
		b.garbageMu.Unlock()
		if vfs.RemoveAll(db.fs, files) != nil {
			db.removeEach(files)
		}
		if db.opts.Yield != nil {
			db.yield()
		}
	}
}

// removeEach removes what can be removed of files, some of which may be gone.
func (db *DB) removeEach(files []vfs.FileDesc) {
	for _, fd := range files {
		if err := db.fs.Remove(fd); err != nil && !errors.Is(err, vfs.ErrNotExist) {
			db.bg.garbageMu.Lock()
			db.bg.remaining = append(db.bg.remaining, fd)
			db.bg.garbageMu.Unlock()
			db.warn("removing " + fd.String() + ": " + err.Error())
		}
	}
}

// isCollecting reports whether files are being removed, or the worker has still to
// hear that they are gone.
func (b *background) isCollecting() bool {
	b.garbageMu.Lock()
	defer b.garbageMu.Unlock()
	return b.collecting || b.unheard > 0
}

// collected runs when the garbage has been removed. What failed for want of
// space is tried again where there is more now than when it began.
func (db *DB) collected(freed bool) {
	db.bg.garbageMu.Lock()
	db.bg.unheard--
	db.bg.garbageMu.Unlock()
	db.shrinkDue = true
	db.sweepLeft()
	if !freed {
		return
	}
	db.freed++
	db.takeBackDue = true
	if errors.Is(db.backgroundErr, ErrQuota) {
		db.backoff = false
	}
}

// warn logs a line from a goroutine that is not the worker.
func (db *DB) warn(text string) {
	go db.tell(func() { db.opts.Logger(LogWarning, text) })
}

// obsolete is told of tables that no reader needs any more, by whoever was the
// last.
func (db *DB) obsolete(files []*manifest.FileMeta) {
	for _, f := range files {
		db.tables.evict(f.Num)
		db.remove(true, f.Desc())
	}
}

// startFlush writes l, the oldest immutable layer, as a table of level 0.
func (db *DB) startFlush(l *layer) {
	done := make(chan struct{})
	db.flushDone.Store(&done)
	j := &job{db: db, freed: db.freed, first: db.manifest.State().NextFileNum, snapshots: db.snapshotSeqs()}
	sets := l.ranges.View()
	if db.synced || errors.Is(db.backgroundErr, ErrQuota) && db.syncLog() == nil {
		// What was cleared since needs no space any more. Its log is durable,
		// so that no power loss can take the clear and leave what it did.
		sets = db.memoryRanges()
	}
	c := &compactionIter{
		cmp: db.cmp, it: l.table.View().NewIter(), snapshots: j.snapshots,
		isBase: func([]byte) bool { return false },
		ranges: rangedel.NewCursor(sets...), now: db.expired(), filter: db.opts.Filter,
	}
	var v *manifest.Version
	if db.isLent || l.last <= db.rescued {
		// Tombstones of what a rescue has removed need no space either.
		v = db.manifest.Version()
		v.Ref()
	}
	size := int64(l.bytes())
	db.spawn(func() {
		end := func() error { return nil }
		if v != nil {
			defer v.Unref()
			c.isBase, end = j.isNowhere(v)
		}
		err := j.giveWay()
		if err == nil {
			err = j.write(c, 0, size, nil)
		}
		if e := errors.Join(c.it.Close(), end()); err == nil {
			err = e
		}
		j.dropped = c.dropped
		if !db.tell(func() { db.flushed(l, j, err); close(done) }) {
			db.discard(j.made)
			close(done)
		}
	})
}

// flushed installs the tables of a flush, or notes why there are none.
func (db *DB) flushed(l *layer, j *job, err error) {
	db.flushDone.Store(nil)
	if err != nil {
		db.discard(j.made)
		db.backgroundFailed("flush", err)
		if errors.Is(err, ErrQuota) && db.dropNextLog() {
			db.freed++
		}
		j.tryAgain(err)
		if db.rescue != nil {
			db.rescue.noFlush = true
		}
		return
	}
	var e manifest.VersionEdit
	next := db.mem
	if len(db.imm) > 1 {
		next = db.imm[1]
	}
	e.SetLogNum(next.logNum)
	e.SetLastSeq(l.last)
	for _, f := range j.made {
		e.Add(0, f)
		db.metrics.FlushedBytes += f.Size
	}
	db.flushRanges(&e, l, j)
	if err := db.edit(&e); err != nil {
		db.backgroundFailed("flush", err)
		if db.rescue != nil {
			db.rescue.noFlush = true
		}
		return
	}
	if db.rescue != nil {
		db.rescue.gained++ // at least the rest of the log
	}
	db.metrics.Flushes++
	db.opts.Event(Event{Type: EventFlush, WrittenBytes: manifest.TotalBytes(j.made)})
	db.dropped = max(db.dropped, j.dropped)
	db.imm = db.imm[1:]
	db.oldLogs -= l.logBytes
	db.remove(true, vfs.FileDesc{Type: vfs.TypeLog, Num: l.logNum})
}

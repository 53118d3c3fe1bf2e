package kv

import (
	"errors"
	"runtime"
	"slices"
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// work is the worker's loop. Nothing else touches the state that changes, but a
// caller who has the turn meanwhile: see tryTurn.
func (db *DB) work() {
	defer db.end()
	db.turn.Lock()
	for !db.closing && db.dying == nil {
		var writes chan writeRequest
		if len(db.held) < QueueLength {
			writes = db.writes
		}
		db.turn.Unlock()
		select {
		case w := <-writes:
			if db.resume(1) {
				db.write(w)
			} else {
				db.held = append(db.held, w)
			}
		case g := <-db.gets:
			if db.resume(1) {
				db.serveGets(g)
			} else {
				db.parkedGets = append(db.parkedGets, g)
			}
		case s := <-db.scans: // where it is not started, its caller watches ended
			if db.resume(1) {
				db.afterWrites(func() { db.startScan(s) })
			}
		case f := <-db.control: // its caller watches ended too
			if db.resume(1) {
				f()
			}
		case f := <-db.bg.results:
			if db.resume(0) {
				f()
				db.needsSpace = false
				db.schedule()
				db.writeHeld()
			}
		case <-db.bg.stepped:
			if db.resume(0) {
				db.owed = max(0, db.owed-stepBytes)
				db.writeHeld()
			}
		}
	}
	if db.dying != nil {
		panic(db.dying)
	}
}

// resume takes the turn back, and counts calls as taken. false where a caller
// died who had it.
func (db *DB) resume(taken uint64) bool {
	db.turn.Lock()
	db.taken += taken
	return db.dying == nil
}

// tryTurn gives the caller the turn, if nobody has it and no call waits: then
// the caller may do its own call, in the worker's place, and need not be put to
// sleep and woken for it. It ends with endTurn, deferred.
//
// The order of calls stays as it is: each call that was sent before has been
// carried out.
func (db *DB) tryTurn() bool {
	if !db.turn.TryLock() {
		return false
	}
	if db.sent.Load() != db.taken || len(db.held) > 0 || db.dying != nil {
		db.turn.Unlock()
		return false
	}
	return true
}

// inPlaceBytes is after how many bytes of calls carried out in the worker's place
// other goroutines get their turn: with one thread nobody else would see to that.
// A write counts for writeBytes and its operations, and each key of a get for
// getBytes: in all a few milliseconds.
const (
	inPlaceBytes = 128 << 10
	writeBytes   = 64
	getBytes     = 512
)

// endTurn gives the turn back. A panic becomes the worker's, which answers who
// waits.
func (db *DB) endTurn() {
	p := recover()
	if p != nil {
		db.dying = p
	}
	giveWay := db.inPlace >= inPlaceBytes
	if giveWay {
		db.inPlace = 0
	}
	db.turn.Unlock()
	if p != nil {
		db.tell(func() {})
	}
	if giveWay {
		runtime.Gosched()
	}
}

// end runs when the worker leaves its loop, in order or by a panic. It keeps the
// turn, makes the fate known, answers every call that was still queued, waits for whoever
// uses the files and closes them.
func (db *DB) end() {
	db.fate = ErrClosed
	if p := recover(); p != nil {
		db.fate = base.Wrap(ErrWorkerDied, panicText(p), nil)
		db.opts.Logger(LogError, db.fate.Error())
	}
	for _, w := range db.watches {
		w.wake()
	}
	close(db.ended)
	for _, w := range db.watches {
		w.closeBacklog()
	}
	db.answerRest()
	db.bg.running.Wait()
	db.closeFiles()
	close(db.closed)
}

// answerRest tells every call that has no answer yet of the DB's fate.
func (db *DB) answerRest() {
	db.sending.Lock()
	defer db.sending.Unlock()
	for _, w := range db.unanswered {
		w.sink.WriteDone(w.id, 0, db.fate)
	}
	for _, w := range db.held {
		w.sink.WriteDone(w.id, 0, db.fate)
	}
	if db.serving.sink != nil {
		db.serving.fail(db.served, db.fate)
	}
	for _, g := range db.parkedGets {
		g.fail(0, db.fate)
	}
	for {
		select {
		case w := <-db.writes:
			w.sink.WriteDone(w.id, 0, db.fate)
		case g := <-db.gets:
			g.fail(0, db.fate)
		case <-db.scans: // its caller watches ended
		default:
			return
		}
	}
}

func panicText(p any) string {
	switch p := p.(type) {
	case error:
		return p.Error()
	case string:
		return p
	}
	return "panic"
}

// commitWaiting commits the writes that wait now, so that a read sees every
// write sent before it. Writes that keep coming do not hold the read up. Those
// for which there is no room are held.
func (db *DB) commitWaiting() {
	for waiting := len(db.writes); waiting > 0; {
		w := <-db.writes
		db.taken++
		waiting -= db.write(w)
	}
}

// write commits first, and what waits behind it, as one group, or holds it
// where there is no room. It returns how many writes it took.
func (db *DB) write(first writeRequest) int {
	if db.backoff && db.failed == nil && db.mem.bytes() >= db.opts.MemtableBytes &&
		!(first.deletes() && errors.Is(db.backgroundErr, ErrQuota)) {
		// What failed is tried again for each write that needs it. Deletes can do
		// without: see mayExceed and relieve.
		db.backoff = false
		db.schedule()
	}
	if db.isLent && !first.deletes() && !db.isWorking() {
		// Others may have left space meanwhile.
		db.takeBack()
	}
	if len(db.held) > 0 || !db.hasRoom() {
		db.held = append(db.held, first)
		db.stall()
		db.writeHeld()
		return 1
	}
	group, size := append(db.group[:0], first), len(first.ops)
take:
	for size < maxGroupBytes {
		select {
		case w := <-db.writes:
			db.taken++
			group = append(group, w)
			size += len(w.ops)
		default:
			break take
		}
	}
	db.commit(group, size)
	return len(group)
}

// stall notes that writes have begun to wait.
func (db *DB) stall() {
	if !db.isStalled.Swap(true) {
		db.metrics.Stalls++
		db.opts.Event(Event{Type: EventStall})
	}
}

// writeHeld commits held writes while there is room for them, then lets the
// reads go on that waited for them.
func (db *DB) writeHeld() {
	for len(db.held) > 0 && db.hasRoom() {
		group, size := db.group[:0], 0
		for len(group) < len(db.held) && size < maxGroupBytes {
			w := db.held[len(group)]
			group = append(group, w)
			size += len(w.ops)
		}
		db.held = append(db.held[:0], db.held[len(group):]...)
		db.commit(group, size)
	}
	if len(db.held) == 0 && db.isStalled.Load() {
		db.isStalled.Store(false)
		db.opts.Event(Event{Type: EventResume})
	}
	db.goOn()
}

// hasRoom reports whether a write may be committed, be it only to fail.
//
// A memtable that is full waits for the flush of others, or for level 0 to be
// compacted. Long before, writes slow down: each waits for as many bytes of
// compaction as bring it down as far as the write will bring it up. After a
// failure of the background they fail instead of waiting.
func (db *DB) hasRoom() bool {
	switch {
	case db.failed != nil || db.closing:
		return true
	case db.needsSpace:
		return false
	case db.mem.bytes() >= db.opts.MemtableBytes:
		return db.hasNextLog() || db.isStuck()
	}
	return db.owed < stepBytes || db.compacting == nil
}

// hasNextLog reports whether another memtable may begin, and its log is there; else
// it sees to it that it will be.
func (db *DB) hasNextLog() bool {
	if db.canRotate() {
		db.prepareLog()
	}
	return db.canRotate() && db.next.file != nil
}

// isStuck reports whether the background has failed, and nothing is under way
// that may help.
func (db *DB) isStuck() bool { return db.backoff && !db.isWorking() }

// isWorking reports whether background work is under way, of which the worker will
// hear.
func (db *DB) isWorking() bool {
	return db.rescue != nil || db.isStepping()
}

// canRotate reports whether there is room for another immutable memtable.
func (db *DB) canRotate() bool {
	most := l0StopFiles
	if db.isLent {
		most *= 2 // deletes must not wait for a compaction that finds no space
	}
	return len(db.imm) < db.opts.MaxImmutables && len(db.manifest.Version().Files(0)) < most && !db.next.making
}

// commit carries a group of writes out, of which the operations have size bytes,
// and answers them.
func (db *DB) commit(group []writeRequest, size int) {
	// A panic must find those that have no answer yet.
	db.unanswered = group
	isFull := db.isLent || db.mem.bytes() >= db.opts.MemtableBytes
	for rest := group; len(rest) > 0; {
		// What a condition depends on must be committed before. Where a write
		// may fail for want of space, one that only deletes does not with it.
		n := 1
		for n < len(rest) && rest[n].cond == nil && (!isFull || rest[n].deletes() == rest[0].deletes()) {
			n++
		}
		if !db.commitPart(rest[:n], len(rest) == len(group)) {
			db.held = append(slices.Clone(db.unanswered), db.held...)
			db.unanswered = nil
			db.stall()
			break
		}
		rest = rest[n:]
		db.unanswered = rest
	}
	clear(group) // let go of the callers' bytes
	db.group = group
	if len(db.manifest.Version().Files(0)) >= l0SlowFiles {
		db.owed += int64(size) * slowFactor
	} else {
		db.owed = 0
	}
}

// commitPart commits writes of which only the first may have a condition, and
// answers them. false where there was no space for them, and background work under
// way may give some back: they, and what comes behind them, have to wait for it.
func (db *DB) commitPart(part []writeRequest, isFirst bool) bool {
	if c := part[0].cond; c != nil {
		if err := db.check(c); err != nil {
			w := part[0]
			db.unanswered = db.unanswered[1:]
			w.sink.WriteDone(w.id, 0, err)
			part = part[1:]
		}
	}
	if len(part) == 0 {
		return true
	}
	err := db.commitGroup(part, isFirst)
	if errors.Is(err, ErrQuota) && db.failed == nil && !db.closing && db.awaitsSpace(part) {
		db.needsSpace = true
		return false
	}
	seq := db.visible
	if err == nil {
		for _, w := range part {
			seq -= base.SeqNum(w.count)
		}
	}
	for _, w := range part {
		db.unanswered = db.unanswered[1:]
		if err != nil {
			w.sink.WriteDone(w.id, 0, err)
		} else {
			seq += base.SeqNum(w.count)
			if len(db.watches) > 0 && w.count > 0 {
				db.publish(seq-base.SeqNum(w.count)+1, &w)
			}
			w.sink.WriteDone(w.id, seq, nil)
		}
	}
	return true
}

// slowFactor is how many bytes of compaction a byte written waits for where
// level 0 is too full.
const slowFactor = 4

// commitGroup does the work of commit in the order that makes it safe: log,
// sync, memtable, visible sequence number.
func (db *DB) commitGroup(group []writeRequest, isFirst bool) error {
	if db.failed != nil {
		return base.Wrap(ErrReadOnly, "", db.failed)
	}
	if db.isLent && !db.closing && !areDeletes(group) {
		return base.Wrap(ErrQuota, "the space that is left is kept for deletes", db.backgroundErr)
	}
	full := db.makeRoom(isFirst)
	if full != nil && !db.mayExceed(group, full) {
		return full
	}
	// At two bytes an operation and more, no group comes near 2^32 of them.
	var count uint64
	var kinds batch.Kinds
	strict := false
	for _, w := range group {
		count += uint64(w.count)
		strict = strict || w.strict
		kinds |= w.kinds
	}
	if uint64(db.visible)+count > uint64(base.MaxSeqNum) {
		return base.Wrap(ErrReadOnly, "sequence numbers are used up", nil)
	}
	if err := db.nameFeatures(kinds); err != nil {
		return err
	}
	if count > 0 {
		if err := db.appendGroup(group, uint32(count)); err != nil {
			return err
		}
	}
	if strict {
		if err := db.syncLog(); err != nil {
			return err
		}
	}
	var snapshots []base.SeqNum
	if kinds.Has(base.KindRangeDelete) {
		snapshots = db.snapshotSeqs()
	}
	var cleared []rangedel.Tombstone
	seq := db.visible
	for _, w := range group {
		r := batch.MakeReader(w.ops)
		for {
			kind, key, value, ok := r.Next()
			if !ok {
				break
			}
			seq++
			db.mem.add(seq, kind, key, value, snapshots)
			if kind == base.KindRangeDelete {
				cleared = append(cleared, rangedel.Tombstone{Start: key, End: value, Seq: seq})
			}
		}
	}
	db.visible = seq
	if kinds.Has(base.KindDelete) || kinds.Has(base.KindRangeDelete) {
		db.deleted = seq
	}
	if len(cleared) > 0 {
		db.sweepTables(cleared)
	}
	switch {
	case kinds.Has(base.KindRangeDelete) && (full != nil || errors.Is(db.backgroundErr, ErrQuota)):
		// What was cleared needs no space any more.
		db.backoff = false
		db.schedule()
	case db.mem.bytes() >= db.opts.MemtableBytes/2:
		db.prepareLog()
	}
	return nil
}

// makeRoom begins another memtable where this one is full. Where that cannot be,
// the background has failed; or an earlier part of the same group has filled it,
// and then the rest goes there too.
func (db *DB) makeRoom(isFirst bool) error {
	switch {
	case db.mem.bytes() < db.opts.MemtableBytes || db.closing:
		return nil
	case db.hasNextLog():
		return db.rotate()
	case isFirst:
		return base.Wrap(db.backgroundErr, "no room for more writes", nil)
	}
	return nil
}

// maxExceed is how many bytes of deletes go into a memtable that is full, because
// there is no space for another.
const maxExceed = 16 << 10

// mayExceed reports whether a group goes into a memtable that is full because of
// err: what deletes must not wait for space.
func (db *DB) mayExceed(group []writeRequest, err error) bool {
	if !errors.Is(err, ErrQuota) || db.failed != nil {
		return false
	}
	size := db.exceeded
	for _, w := range group {
		size += len(w.ops)
	}
	if size > maxExceed || !areDeletes(group) {
		return false
	}
	db.exceeded = size
	return true
}

// deletes reports whether a write puts nothing.
func (w *writeRequest) deletes() bool {
	return !w.kinds.Has(base.KindPut) && !w.kinds.Has(base.KindPutExpiring)
}

// areDeletes reports whether none of a group puts anything.
func areDeletes(group []writeRequest) bool {
	for i := range group {
		if !group[i].deletes() {
			return false
		}
	}
	return true
}

// appendGroup appends the group to the log as one record of one batch.
//
// A batch in the log is the unit of all-or-nothing, so joining several only
// widens it. Where the log has been synced since the last append a sync marker
// goes before it in the same write: an empty batch whose presence proves to
// recovery that all before it was durable once, so that damage there is
// corruption and not a torn tail.
func (db *DB) appendGroup(group []writeRequest, count uint32) error {
	batch.PutHeader(db.header[:], db.visible+1, count)
	record := append(db.record[:0], db.header[:])
	for _, w := range group {
		record = append(record, w.ops)
	}
	var err error
	end, marked := db.log.Offset(), db.synced && db.marked
	if db.synced && !db.marked {
		batch.PutHeader(db.marker[:], db.visible+1, 0)
		err = db.log.AddRecords(db.marker[:], slices.Concat(record...))
	} else {
		err = db.log.AddRecord(record...)
	}
	clear(record) // let go of the callers' bytes
	db.record = record
	db.synced, db.marked = false, false
	if errors.Is(err, ErrQuota) && db.cutLog(end, marked) {
		return err
	}
	if err != nil {
		return db.fail(err)
	}
	return nil
}

// cutLog takes back an append for which there was no space, so that the DB stays
// writable. It reports whether that went well.
func (db *DB) cutLog(end int64, marked bool) bool {
	f, err := db.fs.Reopen(vfs.FileDesc{Type: vfs.TypeLog, Num: db.mem.logNum}, end)
	if err != nil {
		return false
	}
	db.logFile.Close()
	db.useLog(f, end, marked)
	return true
}

// syncLog makes the log durable.
func (db *DB) syncLog() error {
	if db.synced {
		return nil
	}
	if err := db.logFile.Sync(); err != nil {
		return db.fail(err)
	}
	db.synced = true
	return nil
}

// fail makes the DB read-only: after a failed append or sync nobody knows what
// the log's tail holds (LevelDB: RecordBackgroundError).
func (db *DB) fail(err error) error {
	if db.failed == nil {
		db.failed = err
		db.opts.Event(Event{Type: EventError, Err: err})
		db.opts.Logger(LogError, "read-only until reopened: "+err.Error())
	}
	return err
}

// rotate goes on in the next log and another memtable; see hasNextLog. The old log
// is synced first: a power loss may take the end of the last log, never of an
// earlier one.
func (db *DB) rotate() error {
	if err := db.syncLog(); err != nil {
		return err
	}
	num, f := db.next.num, db.next.file
	db.next, db.exceeded = preparedLog{}, 0
	old, full := db.logFile, db.mem
	full.logBytes, full.last = db.log.Offset(), db.visible
	db.oldLogs += full.logBytes
	db.imm = append(db.imm, full)
	db.mem = db.newLayer(num)
	db.useLog(f, 0, true)
	if err := old.Close(); err != nil {
		db.opts.Logger(LogWarning, "closing a log: "+err.Error())
	}
	db.backoff = false
	db.schedule()
	return nil
}

// preparedLog is the log for the next memtable, made ahead by a goroutine: its
// space takes a host a while to reserve.
type preparedLog struct {
	making bool
	num    uint64
	file   vfs.File // nil where there is none
}

// prepareLog begins to make the next log, unless that has been done. Before it gets
// space the reserve does. Where there is not so much, and the reserve is lent, a log
// of the least size is for deletes.
func (db *DB) prepareLog() {
	if db.next.making || db.next.file != nil || db.failed != nil || db.backoff || db.closing || db.rescue != nil || db.isTakingBack {
		return
	}
	num := db.manifest.NewFileNum()
	db.next = preparedLog{making: true, num: num}
	j := &job{db: db, freed: db.freed}
	bytes, isLent := db.reserveBytes(), db.isLent
	// A compaction that finds no space needs the reserve more.
	isShort := isLent && len(db.manifest.Version().Files(0)) >= l0StopFiles
	db.spawn(func() {
		var f vfs.File
		var err error
		if !isShort {
			if err = db.reserve(bytes); err == nil {
				f, err = db.createLog(num, db.logBytes())
			}
			isShort = isLent && errors.Is(err, ErrQuota)
		}
		if isShort {
			db.release(bytes / 2)
			f, err = db.createLog(num, 0)
		}
		told := db.tell(func() {
			db.next = preparedLog{num: num, file: f}
			db.isLent = db.isLent && (isShort || err != nil)
			if err != nil {
				db.next = preparedLog{}
				db.backgroundFailed("preparing a log", err)
				j.tryAgain(err)
			}
		})
		if !told && err == nil {
			f.Close()
			db.remove(false, vfs.FileDesc{Type: vfs.TypeLog, Num: num})
		}
	})
}

// dropNextLog gives up the log that was prepared, if there is one, since something
// else needs its space more.
func (db *DB) dropNextLog() bool {
	f := db.next.file
	if f == nil {
		return false
	}
	f.Close()
	fd := vfs.FileDesc{Type: vfs.TypeLog, Num: db.next.num}
	db.next = preparedLog{}
	if err := db.fs.Remove(fd); err != nil {
		db.remove(true, fd)
		return false
	}
	return true
}

// logBytes is how much space a log gets that expects a memtable's worth of writes.
func (db *DB) logBytes() int64 {
	// A memtable has entries of more bytes than their records only where they
	// are small; a log that outgrows its space has to wait for more.
	return int64(db.opts.MemtableBytes) + int64(db.opts.MemtableBytes)/4
}

// createLog makes a log with so much space. It may be called from any goroutine.
func (db *DB) createLog(num uint64, bytes int64) (vfs.File, error) {
	return db.fs.Create(vfs.FileDesc{Type: vfs.TypeLog, Num: num}, bytes)
}

// useLog appends to f from size on. All of f is durable now (vfs.FS, Create and
// Reopen); marked says whether a sync marker stands at its end.
func (db *DB) useLog(f vfs.File, size int64, marked bool) {
	db.logFile, db.log = f, wal.NewWriter(f, size)
	db.synced, db.marked = true, marked
}

// seal makes the log durable and says so in it, so that a store that was
// closed in order can tell damage from a torn tail up to its last byte. It
// returns why the DB is read-only, if it is. A marker that cannot be written
// costs no data, only that proof.
func (db *DB) seal() error {
	if db.failed == nil && db.syncLog() == nil && !db.marked {
		batch.PutHeader(db.marker[:], db.visible+1, 0)
		err := db.log.AddRecord(db.marker[:])
		if err == nil {
			err = db.logFile.Sync()
		}
		if err != nil {
			db.opts.Logger(LogWarning, "closing without a sync marker: "+err.Error())
		}
	}
	if err := db.logFile.Close(); err != nil {
		db.opts.Logger(LogWarning, "closing a log: "+err.Error())
	}
	return db.failed
}

// closeFiles ends the use of all files. After a panic nothing more is written.
func (db *DB) closeFiles() {
	if db.fate == ErrClosed {
		db.closeErr = db.seal()
		if f := db.next.file; f != nil {
			f.Close()
			if err := db.fs.Remove(vfs.FileDesc{Type: vfs.TypeLog, Num: db.next.num}); err != nil {
				db.opts.Logger(LogWarning, "removing a log: "+err.Error())
			}
		}
		if err := db.manifest.Close(); err != nil {
			db.opts.Logger(LogWarning, "closing the manifest: "+err.Error())
		}
	}
	db.tables.close()
}

func u64(n uint64) string { return strconv.FormatUint(n, 10) }

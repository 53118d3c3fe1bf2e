package kv

import (
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// work is the worker's loop. Nothing else touches the state that changes.
func (db *DB) work() {
	defer db.end()
	for !db.closing {
		var writes chan writeRequest
		if len(db.held) < QueueLength {
			writes = db.writes
		}
		select {
		case w := <-writes:
			db.write(w)
		case g := <-db.gets:
			db.serveGets(g)
		case s := <-db.scans:
			db.afterWrites(func() { db.startScan(s) })
		case f := <-db.control:
			f()
		case f := <-db.bg.results:
			f()
			db.schedule()
			db.writeHeld()
		case <-db.bg.stepped:
			db.owed = max(0, db.owed-stepBytes)
			db.writeHeld()
		}
	}
}

// end runs when the worker leaves its loop, in order or by a panic. It makes
// the fate known, answers every call that was still queued, waits for whoever
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
		waiting -= db.write(<-db.writes)
	}
}

// write commits first, and what waits behind it, as one group, or holds it
// where there is no room. It returns how many writes it took.
func (db *DB) write(first writeRequest) int {
	if len(db.held) > 0 || !db.hasRoom() {
		if len(db.held) == 0 {
			db.metrics.Stalls++
			db.isStalled.Store(true)
			db.opts.Event(Event{Type: EventStall})
		}
		db.held = append(db.held, first)
		// What failed is tried again for each write that needs it.
		db.backoff = false
		db.schedule()
		db.writeHeld()
		return 1
	}
	group, size := append(db.group[:0], first), len(first.ops)
take:
	for size < maxGroupBytes {
		select {
		case w := <-db.writes:
			group = append(group, w)
			size += len(w.ops)
		default:
			break take
		}
	}
	db.commit(group, size)
	return len(group)
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
	case db.mem.bytes() >= db.opts.MemtableBytes:
		return db.canRotate() || db.backgroundErr != nil && !db.next.making
	}
	return db.owed < stepBytes || db.compacting == nil
}

// canRotate reports whether there is room for another immutable memtable.
func (db *DB) canRotate() bool {
	return len(db.imm) < db.opts.MaxImmutables && len(db.manifest.Version().Files(0)) < l0StopFiles && !db.next.making
}

// commit carries a group of writes out, of which the operations have size bytes,
// and answers them.
func (db *DB) commit(group []writeRequest, size int) {
	// A panic must find those that have no answer yet.
	db.unanswered = group
	for rest := group; len(rest) > 0; {
		// What a condition depends on must be committed before.
		n := 1
		for n < len(rest) && rest[n].cond == nil {
			n++
		}
		db.commitPart(rest[:n])
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
// answers them.
func (db *DB) commitPart(part []writeRequest) {
	if c := part[0].cond; c != nil {
		if err := db.check(c); err != nil {
			w := part[0]
			db.unanswered = db.unanswered[1:]
			w.sink.WriteDone(w.id, 0, err)
			part = part[1:]
		}
	}
	if len(part) == 0 {
		return
	}
	err := db.commitGroup(part)
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
}

// slowFactor is how many bytes of compaction a byte written waits for where
// level 0 is too full.
const slowFactor = 4

// commitGroup does the work of commit in the order that makes it safe: log,
// sync, memtable, visible sequence number.
func (db *DB) commitGroup(group []writeRequest) error {
	if db.failed != nil {
		return base.Wrap(ErrReadOnly, "", db.failed)
	}
	if db.mem.bytes() >= db.opts.MemtableBytes && !db.closing {
		if !db.canRotate() {
			return base.Wrap(db.backgroundErr, "no room for more writes", nil)
		}
		if err := db.rotate(); err != nil {
			return err
		}
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
			return db.fail(err)
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
	empties := false
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
			empties = empties || kind == base.KindRangeDelete && db.emptiesTable(key, value)
		}
	}
	db.visible = seq
	if empties && db.canRotate() {
		// The write is done, whatever becomes of this.
		if err := db.rotate(); err != nil {
			db.opts.Logger(LogWarning, "beginning a log: "+err.Error())
		}
	}
	if db.mem.bytes() >= db.opts.MemtableBytes/2 {
		db.prepareLog()
	}
	return nil
}

// appendGroup appends the group to the log as one record of one batch.
//
// A batch in the log is the unit of all-or-nothing, so joining several only
// widens it. Where the log has been synced since the last append a sync marker
// goes before it in the same write: an empty batch whose presence proves to
// recovery that all before it was durable once, so that damage there is
// corruption and not a torn tail.
func (db *DB) appendGroup(group []writeRequest, count uint32) error {
	p := append(db.payload[:0], make([]byte, batch.HeaderSize)...)
	batch.PutHeader(p, db.visible+1, count)
	for _, w := range group {
		p = append(p, w.ops...)
	}
	var err error
	if db.synced && !db.marked {
		batch.PutHeader(db.marker[:], db.visible+1, 0)
		err = db.log.AddRecords(db.marker[:], p)
	} else {
		err = db.log.AddRecord(p)
	}
	db.synced, db.marked = false, false
	if db.payload = p; cap(p) > 2*maxGroupBytes {
		db.payload = nil
	}
	return err
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

// rotate begins a new log and memtable. The old log is synced first: a power
// loss may take the end of the last log, never of an earlier one. A rotation
// that fails before the new log exists leaves everything as it was.
func (db *DB) rotate() error {
	if err := db.syncLog(); err != nil {
		return err
	}
	num, f := db.next.num, db.next.file
	if f == nil {
		num = db.manifest.NewFileNum()
		var err error
		if f, err = db.createLog(num); err != nil {
			return err
		}
	}
	db.next = preparedLog{}
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

// prepareLog begins to make the next log, unless that has been done.
func (db *DB) prepareLog() {
	if db.next.making || db.next.file != nil || db.failed != nil || db.backoff || db.closing {
		return
	}
	num := db.manifest.NewFileNum()
	db.next = preparedLog{making: true, num: num}
	db.spawn(func() {
		f, err := db.createLog(num)
		told := db.tell(func() {
			db.next = preparedLog{num: num, file: f}
			if err != nil {
				db.next = preparedLog{}
				db.backgroundFailed("preparing a log", err)
			}
		})
		if !told && err == nil {
			f.Close()
			db.remove(vfs.FileDesc{Type: vfs.TypeLog, Num: num})
		}
	})
}

// createLog makes a log that expects a memtable's worth of writes. It may be
// called from any goroutine.
func (db *DB) createLog(num uint64) (vfs.File, error) {
	// A memtable has entries of more bytes than their records only where they
	// are small; a log that outgrows its space has to wait for more.
	reserve := int64(db.opts.MemtableBytes) + int64(db.opts.MemtableBytes)/4
	return db.fs.Create(vfs.FileDesc{Type: vfs.TypeLog, Num: num}, reserve)
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

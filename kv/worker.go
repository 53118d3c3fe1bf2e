package kv

import (
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/memtable"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// work is the worker's loop. Nothing else touches the state that changes.
func (db *DB) work() {
	defer db.end()
	for !db.closing {
		select {
		case w := <-db.writes:
			db.commit(w)
		case g := <-db.gets:
			db.serveGets(g)
		case s := <-db.scans:
			db.commitWaiting()
			db.startScan(s)
		case f := <-db.control:
			db.commitWaiting()
			f()
		}
	}
}

// end runs when the worker leaves its loop, in order or by a panic. It makes
// the fate known, then answers every call that was still queued.
func (db *DB) end() {
	db.fate = ErrClosed
	if p := recover(); p != nil {
		db.fate = base.Wrap(ErrWorkerDied, panicText(p), nil)
		db.opts.Logger(LogError, db.fate.Error())
	}
	close(db.ended)
	db.sending.Lock()
	defer db.sending.Unlock()
	for _, w := range db.unanswered {
		w.sink.WriteDone(w.id, 0, db.fate)
	}
	if db.serving.sink != nil {
		db.serving.fail(db.served, db.fate)
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
// write sent before it. Writes that keep coming do not hold the read up.
func (db *DB) commitWaiting() {
	for waiting := len(db.writes); waiting > 0; {
		waiting -= db.commit(<-db.writes)
	}
}

// commit writes first, and what waits behind it, as one group. It returns the
// length of the group.
func (db *DB) commit(first writeRequest) int {
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
	// A panic must find those that have no answer yet.
	db.unanswered = group
	err := db.commitGroup(group)
	seq := db.visible
	if err == nil {
		for _, w := range group {
			seq -= base.SeqNum(w.count)
		}
	}
	for i, w := range group {
		db.unanswered = group[i+1:]
		if err != nil {
			w.sink.WriteDone(w.id, 0, err)
		} else {
			seq += base.SeqNum(w.count)
			w.sink.WriteDone(w.id, seq, nil)
		}
	}
	clear(group) // let go of the callers' bytes
	db.group = group
	return len(group)
}

// commitGroup does the work of commit in the order that makes it safe: log,
// sync, memtable, visible sequence number.
func (db *DB) commitGroup(group []writeRequest) error {
	if db.failed != nil {
		return base.Wrap(ErrReadOnly, "", db.failed)
	}
	if db.mem.ApproximateBytes() >= db.opts.MemtableBytes {
		if err := db.rotate(); err != nil {
			return err
		}
	}
	// At two bytes an operation and more, no group comes near 2^32 of them.
	var count uint64
	strict := false
	for _, w := range group {
		count += uint64(w.count)
		strict = strict || w.strict
	}
	if uint64(db.visible)+count > uint64(base.MaxSeqNum) {
		return base.Wrap(ErrReadOnly, "sequence numbers are used up", nil)
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
	seq := db.visible
	for _, w := range group {
		r := batch.MakeReader(w.ops)
		for {
			kind, key, value, ok := r.Next()
			if !ok {
				break
			}
			seq++
			db.mem.Add(seq, kind, key, value)
		}
	}
	db.visible = seq
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
	num := db.logNum + 1
	f, err := db.createLog(num)
	if err != nil {
		return err
	}
	old := db.logFile
	db.oldLogs += db.log.Offset()
	db.imm = append(db.imm, db.mem)
	db.mem = memtable.New(db.cmp)
	db.useLog(num, f, 0, true)
	if err := old.Close(); err != nil {
		db.opts.Logger(LogWarning, "closing a log: "+err.Error())
	}
	return nil
}

func (db *DB) createLog(num uint64) (vfs.File, error) {
	// A store's first log starts small, since the store may stay so.
	reserve := int64(0)
	if num > 1 {
		reserve = int64(db.opts.MemtableBytes)
	}
	return db.fs.Create(vfs.FileDesc{Type: vfs.TypeLog, Num: num}, reserve)
}

// useLog appends to f from size on. All of f is durable now (vfs.FS, Create and
// Reopen); marked says whether a sync marker stands at its end.
func (db *DB) useLog(num uint64, f vfs.File, size int64, marked bool) {
	db.logNum, db.logFile, db.log = num, f, wal.NewWriter(f, size)
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

// serveWaiting answers the calls of all kinds that wait now.
func (db *DB) serveWaiting() {
	if len(db.gets) > 0 {
		db.serveGets(<-db.gets)
	}
	for range len(db.scans) {
		db.startScan(<-db.scans)
	}
}

// serveGets answers first and the gets that wait behind it now, each after the
// writes that were sent before it.
func (db *DB) serveGets(first getRequest) {
	waiting := len(db.gets)
	for g := first; ; waiting-- {
		db.commitWaiting()
		// From here on a panic, of a filter say, must find the call to answer.
		db.serving, db.served = g, 0
		if g.keys == nil {
			db.serveKey(g, g.key)
		}
		for _, key := range g.keys {
			db.serveKey(g, key)
		}
		db.serving = getRequest{}
		if waiting == 0 {
			return
		}
		g = <-db.gets
	}
}

func (db *DB) serveKey(g getRequest, key []byte) {
	value, err := db.get(key)
	db.served++
	g.sink.GetDone(g.id, value, err)
}

// fail answers the keys from number served on with err.
func (g getRequest) fail(served int, err error) {
	n := len(g.keys)
	if g.keys == nil {
		n = 1
	}
	for ; served < n; served++ {
		g.sink.GetDone(g.id, nil, err)
	}
}

// get looks key up at the visible sequence number. It runs on the worker, so
// it reads the memtable itself and needs no view of it.
func (db *DB) get(key []byte) ([]byte, error) {
	if db.cmp.HasSuffix {
		return db.getLogical(key)
	}
	value, trailer, ok := db.mem.Get(key, db.visible)
	for i := len(db.imm) - 1; i >= 0 && !ok; i-- {
		value, trailer, ok = db.imm[i].Get(key, db.visible)
	}
	if !ok {
		return nil, ErrNotFound
	}
	return db.show(base.InternalKey{UserKey: key, Trailer: trailer}, value)
}

// getLogical finds the newest version of key's logical key at or behind key,
// which is how a reader asks for a moment of the past. It looks one layer below
// what a scan shows, since a scan shows only the newest version of all.
func (db *DB) getLogical(key []byte) ([]byte, error) {
	rs := db.acquireReadState()
	it := iterator.NewSnapshot(iterator.NewMerging(rs.cmp, rs.sources()...), rs.seq)
	defer it.Close()
	if !it.SeekGE(key) {
		if err := it.Error(); err != nil {
			return nil, err
		}
		return nil, ErrNotFound
	}
	if !db.cmp.SameLogicalKey(it.Key().UserKey, key) {
		return nil, ErrNotFound
	}
	// The value lives in an arena, which outlives the iterator.
	return db.show(it.Key(), it.Value())
}

// show returns the value of an entry, ErrNotFound where readers may not see it.
func (db *DB) show(key base.InternalKey, value []byte) ([]byte, error) {
	if key.Kind() == base.KindDelete || db.opts.Filter != nil && !db.opts.Filter(key, value) {
		return nil, ErrNotFound
	}
	return value, nil
}

// readState is what a reader needs to see one moment without the worker: the
// visible sequence number and the memtables, newest first. Holding it keeps
// them alive (Pebble: read_state.go).
type readState struct {
	cmp   *base.Comparer
	seq   base.SeqNum
	views []*memtable.View
}

func (db *DB) acquireReadState() *readState {
	rs := &readState{cmp: db.cmp, seq: db.visible, views: make([]*memtable.View, 0, len(db.imm)+1)}
	rs.views = append(rs.views, db.mem.View())
	for i := len(db.imm) - 1; i >= 0; i-- {
		rs.views = append(rs.views, db.imm[i].View())
	}
	return rs
}

// sources returns an iterator over each of the read state's memtables, newest
// first.
func (rs *readState) sources() []iterator.Internal {
	its := make([]iterator.Internal, len(rs.views))
	for i, v := range rs.views {
		its[i] = v.NewIter()
	}
	return its
}

func u64(n uint64) string { return strconv.FormatUint(n, 10) }

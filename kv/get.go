package kv

import (
	"bytes"
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/memtable"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/sst"
)

// serveWaiting answers the calls of all kinds that wait now.
func (db *DB) serveWaiting() {
	if len(db.gets) > 0 {
		g := <-db.gets
		db.taken++
		db.serveGets(g)
	}
	for range len(db.scans) {
		s := <-db.scans
		db.taken++
		db.afterWrites(func() { db.startScan(s) })
	}
	db.commitWaiting()
}

// serveGets answers first and the gets that wait behind it now, each after the
// writes that were sent before it.
func (db *DB) serveGets(first getRequest) {
	waiting := len(db.gets)
	for g := first; ; waiting-- {
		db.commitWaiting()
		if len(db.held) > 0 && db.isHeld(g) {
			db.parkedGets = append(db.parkedGets, g)
		} else {
			db.serveGet(g)
		}
		if waiting == 0 {
			return
		}
		g = <-db.gets
		db.taken++
	}
}

// isHeld reports whether a write that waits for room was sent before g and
// touches one of its keys. Other gets need not wait for room.
func (db *DB) isHeld(g getRequest) bool {
	for _, w := range db.held {
		for r := batch.MakeReader(w.ops); ; {
			kind, key, end, ok := r.Next()
			if !ok {
				break
			}
			for i := range g.len() {
				wanted := g.key(i)
				same := bytes.Equal(key, wanted) || db.cmp.HasSuffix && db.cmp.SameLogicalKey(key, wanted)
				if kind == base.KindRangeDelete {
					same = (same || db.cmp.Compare(key, wanted) <= 0) && db.cmp.Compare(wanted, end) < 0
				}
				if same {
					return true
				}
			}
		}
	}
	return false
}

// afterWrites runs f once the writes sent before it are committed: now, unless
// some of them wait for room.
func (db *DB) afterWrites(f func()) {
	db.commitWaiting()
	if len(db.held) == 0 {
		f()
		return
	}
	db.parked = append(db.parked, f)
}

// goOn carries out the reads that waited for held writes, when there are none
// left.
func (db *DB) goOn() {
	if len(db.held) > 0 || len(db.parked)+len(db.parkedGets) == 0 {
		return
	}
	gets, parked := db.parkedGets, db.parked
	db.parkedGets, db.parked = nil, nil
	for i, g := range gets {
		db.parkedGets = gets[i+1:]
		db.serveGet(g)
	}
	db.parkedGets = nil
	for _, f := range parked {
		f()
	}
}

func (g *getRequest) len() int {
	if g.keys == nil {
		return 1
	}
	return len(g.keys)
}

func (g *getRequest) key(i int) []byte {
	if g.keys == nil {
		return g.single
	}
	return g.keys[i]
}

// fail answers the keys from number served on with err.
func (g *getRequest) fail(served int, err error) {
	for n := g.len(); served < n; served++ {
		g.sink.GetDone(g.id, nil, 0, err)
	}
}

// serveGet answers g. A panic meanwhile, of a filter say, must find the call.
func (db *DB) serveGet(g getRequest) {
	db.serving, db.served = g, 0
	db.answer(g)
	db.serving = getRequest{}
}

// answer answers g, or hands it over to a goroutine where it needs tables and
// the worker is not to wait for them.
func (db *DB) answer(g getRequest) {
	if err := g.at.check(); err != nil {
		db.served = g.len()
		g.fail(0, err)
		return
	}
	m := db.momentOf(g.at)
	for i := range g.len() {
		if db.cmp.HasSuffix {
			db.handOver(g, i)
			return
		}
		key := g.key(i)
		l := db.getMemory(key, m.seq)
		if !l.ok && !db.opts.ReadInPlace && db.manifest.Version().Bytes() > 0 {
			db.handOver(g, i)
			return
		}
		if !l.ok {
			l.Entry, l.ok, l.err = db.tables.get(db.manifest.Version(), key, m.seq)
		}
		value, seq, err := db.show(key, l, m)
		db.served++
		g.sink.GetDone(g.id, value, seq, err)
		l.Release()
	}
}

// moment is what a reader sees the store at.
type moment struct {
	seq base.SeqNum
	now int64
}

// momentOf returns that of a snapshot, or the present one for nil.
func (db *DB) momentOf(s *Snapshot) moment {
	switch {
	case s != nil:
		return moment{s.seq, s.now}
	case !db.isMasked:
		return moment{seq: db.visible}
	}
	return moment{db.visible, db.now()}
}

// lookup is what was found of a key: its newest version, and the newest range
// tombstone over it.
type lookup struct {
	sst.Entry
	ok       bool
	err      error
	covering base.SeqNum
}

// getMemory looks key up in the memtables, and among the range tombstones. It
// runs on the worker, so it reads them as they are and needs no view.
func (db *DB) getMemory(key []byte, at base.SeqNum) (l lookup) {
	l.Value, l.Trailer, l.ok = db.mem.table.Get(key, at)
	for i := len(db.imm) - 1; i >= 0 && !l.ok; i-- {
		l.Value, l.Trailer, l.ok = db.imm[i].table.Get(key, at)
	}
	if db.isMasked {
		l.covering = db.covering(key, at)
	}
	return l
}

// covering returns the sequence number of the newest range tombstone over key
// that a reader at at sees, 0 where there is none.
func (db *DB) covering(key []byte, at base.SeqNum) base.SeqNum {
	newest := max(db.mem.ranges.Newest(key, at), db.ranges.Newest(key, at))
	for _, l := range db.imm {
		newest = max(newest, l.ranges.Newest(key, at))
	}
	return newest
}

// show returns what readers see of a lookup, and the sequence number that goes
// with it.
func (db *DB) show(key []byte, l lookup, m moment) ([]byte, base.SeqNum, error) {
	if l.err != nil {
		return nil, 0, l.err
	}
	if !l.ok {
		return nil, m.seq, ErrNotFound
	}
	value, live := iterator.Show(l.Trailer, l.Value, l.covering, m.now)
	if !live {
		return nil, m.seq, ErrNotFound
	}
	if f := db.opts.Filter; f != nil && !f(base.MakeInternalKey(key, l.Trailer.SeqNum(), base.KindPut), value) {
		return nil, m.seq, ErrNotFound
	}
	return value, l.Trailer.SeqNum(), nil
}

// pending is a get that goes on elsewhere than on the worker: what the memtables
// have of its keys from number from on, and the read state for the rest.
type pending struct {
	db    *DB
	get   getRequest
	from  int
	found []lookup
	rs    readState
	one   [1]lookup // space for found
}

// handOver leaves the keys of g from number from on to another goroutine: the
// caller's where that waits, a new one elsewhere.
func (db *DB) handOver(g getRequest, from int) {
	p := &pending{db: db, get: g, from: from}
	if db.cmp.HasSuffix {
		p.rs.acquire(db, g.at)
	} else {
		// Tables are read without the memtables: a view of those would make
		// the next writes copy.
		p.rs.acquireTables(db, g.at)
		p.found = p.one[:0]
		for i := from; i < g.len(); i++ {
			p.found = append(p.found, db.getMemory(g.key(i), p.rs.seq))
		}
	}
	db.served = g.len()
	db.bg.running.Add(1)
	if w, ok := g.sink.(*waiter); ok {
		// Its goroutine waits for the answer, and so can go on itself.
		w.resume(p)
	} else {
		go p.finish()
	}
}

// finish answers the rest of a get.
func (p *pending) finish() {
	defer p.db.bg.running.Done()
	defer p.rs.release()
	served := p.from
	defer func() {
		if x := recover(); x != nil {
			p.get.fail(served, base.Wrap(ErrWorkerDied, "get: "+panicText(x), nil))
		}
	}()
	for i := p.from; i < p.get.len(); i++ {
		l, value, seq, err := p.lookup(p.get.key(i), i-p.from)
		served++
		p.get.sink.GetDone(p.get.id, value, seq, err)
		l.Release()
	}
}

// lookup returns what readers see of a key, of which found[i] is known, and the
// lookup to release afterwards.
func (p *pending) lookup(key []byte, i int) (l lookup, value []byte, seq base.SeqNum, err error) {
	if p.db.cmp.HasSuffix {
		value, seq, err = p.rs.getLogical(key)
		return lookup{}, value, seq, err
	}
	l = p.found[i]
	if !l.ok {
		l.Entry, l.ok, l.err = p.db.tables.get(p.rs.version, key, p.rs.seq)
	}
	value, seq, err = p.db.show(key, l, p.rs.moment)
	return l, value, seq, err
}

// getLogical finds the newest version of key's logical key at or behind key,
// which is how a reader asks for a moment of the past. It looks one layer below
// what a scan shows, since a scan shows only the newest version of all.
func (rs *readState) getLogical(key []byte) ([]byte, base.SeqNum, error) {
	cmp := rs.db.cmp
	it := iterator.NewSnapshot(iterator.NewMerging(cmp, rs.sources(iterator.Bounds{Lower: key}, 0)...), rs.seq)
	defer it.Close()
	if !it.SeekGE(key) {
		if err := it.Error(); err != nil {
			return nil, 0, err
		}
		return nil, rs.seq, ErrNotFound
	}
	found := it.Key()
	if !cmp.SameLogicalKey(found.UserKey, key) {
		return nil, rs.seq, ErrNotFound
	}
	l := lookup{Entry: sst.Entry{Value: it.Value(), Trailer: found.Trailer}, ok: true}
	for _, set := range rs.ranges {
		l.covering = max(l.covering, set.Newest(found.UserKey, rs.seq))
	}
	value, seq, err := rs.db.show(found.UserKey, l, rs.moment)
	return bytes.Clone(value), seq, err
}

// readState is what a reader needs to see one moment without the worker: the
// visible sequence number, the memtables, newest first, the tables, and the
// range tombstones. Holding it keeps them (Pebble: read_state.go).
type readState struct {
	moment
	db      *DB
	views   []*memtable.View
	version *manifest.Version
	ranges  []*rangedel.Set
}

// acquireTables makes rs that of a snapshot, or of the present for nil, without
// the memtables and the range tombstones.
func (rs *readState) acquireTables(db *DB, at *Snapshot) {
	rs.moment, rs.db, rs.version = db.momentOf(at), db, db.manifest.Version()
	rs.version.Ref()
}

func (db *DB) acquireReadState(at *Snapshot) *readState {
	rs := new(readState)
	rs.acquire(db, at)
	return rs
}

// acquire makes rs that of a snapshot, or of the present for nil.
func (rs *readState) acquire(db *DB, at *Snapshot) {
	rs.acquireTables(db, at)
	rs.views = make([]*memtable.View, 0, len(db.imm)+1)
	rs.views = append(rs.views, db.mem.table.View())
	for i := len(db.imm) - 1; i >= 0; i-- {
		rs.views = append(rs.views, db.imm[i].table.View())
	}
	if db.isMasked {
		rs.ranges = append(db.memoryRanges(), db.ranges)
	}
}

// memoryRanges returns the range tombstones of the memtables.
func (db *DB) memoryRanges() []*rangedel.Set {
	sets := slices.Clone(db.mem.ranges.View())
	for _, l := range db.imm {
		sets = append(sets, l.ranges.View()...)
	}
	return sets
}

// mask returns what hides entries from the reader, nil where nothing does.
func (rs *readState) mask() *iterator.Mask {
	if rs.ranges == nil {
		return nil
	}
	return &iterator.Mask{Now: rs.now, Ranges: rangedel.NewCursor(rs.ranges...)}
}

// release gives the read state up. Its iterators must have been closed.
func (rs *readState) release() { rs.version.Unref() }

// sources returns iterators over the memtables and over the tables that have
// something within b, newest first. readAhead is in bytes, 0 for reading block
// by block.
func (rs *readState) sources(b iterator.Bounds, readAhead int) []iterator.Internal {
	its := make([]iterator.Internal, 0, len(rs.views)+8)
	for _, v := range rs.views {
		if v.Len() > 0 {
			its = append(its, v.NewIter())
		}
	}
	return append(its, rs.db.tables.iters(rs.version, b, readAhead)...)
}

package kv

import (
	"bytes"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/memtable"
)

// serveWaiting answers the calls of all kinds that wait now.
func (db *DB) serveWaiting() {
	if len(db.gets) > 0 {
		db.serveGets(<-db.gets)
	}
	for range len(db.scans) {
		s := <-db.scans
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
				wanted := g.at(i)
				if kind == base.KindRangeDelete {
					if db.cmp.Compare(key, wanted) <= 0 && db.cmp.Compare(wanted, end) < 0 {
						return true
					}
				} else if bytes.Equal(key, wanted) || db.cmp.HasSuffix && db.cmp.SameLogicalKey(key, wanted) {
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

func (g *getRequest) at(i int) []byte {
	if g.keys == nil {
		return g.key
	}
	return g.keys[i]
}

// fail answers the keys from number served on with err.
func (g *getRequest) fail(served int, err error) {
	for n := g.len(); served < n; served++ {
		g.sink.GetDone(g.id, nil, err)
	}
}

// serveGet answers g, or hands it over to a goroutine where it needs tables and
// the worker is not to wait for them.
func (db *DB) serveGet(g getRequest) {
	// From here on a panic, of a filter say, must find the call to answer.
	db.serving, db.served = g, 0
	for i := range g.len() {
		if db.cmp.HasSuffix {
			db.handOver(g, i)
			break
		}
		key := g.at(i)
		value, trailer, ok := db.getMemory(key)
		if !ok && !db.opts.ReadInPlace && db.manifest.Version().Bytes() > 0 {
			db.handOver(g, i)
			break
		}
		var err error
		if !ok {
			value, trailer, ok, err = db.tables.get(db.manifest.Version(), key, db.visible)
		}
		value, err = db.show(key, trailer, value, ok, err)
		db.served++
		g.sink.GetDone(g.id, value, err)
	}
	db.serving = getRequest{}
}

// getMemory looks key up in the memtables. It runs on the worker, so it reads
// them as they are and needs no view.
func (db *DB) getMemory(key []byte) (value []byte, trailer base.Trailer, ok bool) {
	value, trailer, ok = db.mem.table.Get(key, db.visible)
	for i := len(db.imm) - 1; i >= 0 && !ok; i-- {
		value, trailer, ok = db.imm[i].table.Get(key, db.visible)
	}
	return value, trailer, ok
}

// show returns the value of what a lookup found, ErrNotFound where readers may
// not see it.
func (db *DB) show(key []byte, trailer base.Trailer, value []byte, ok bool, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if !ok || trailer.Kind() == base.KindDelete {
		return nil, ErrNotFound
	}
	if f := db.opts.Filter; f != nil && !f(base.InternalKey{UserKey: key, Trailer: trailer}, value) {
		return nil, ErrNotFound
	}
	return value, nil
}

// pending is a get that goes on elsewhere than on the worker: what the memtables
// have of its keys from number from on, and the read state for the rest.
type pending struct {
	db    *DB
	get   getRequest
	from  int
	found []lookup
	rs    *readState
}

type lookup struct {
	value   []byte
	trailer base.Trailer
	ok      bool
}

// resumer is a sink whose goroutine waits for the answer, and so can go on with
// the lookup itself.
type resumer interface {
	resume(p *pending)
}

// handOver leaves the keys of g from number from on to another goroutine: the
// caller's where that waits, a new one elsewhere.
func (db *DB) handOver(g getRequest, from int) {
	p := &pending{db: db, get: g, from: from}
	if db.cmp.HasSuffix {
		p.rs = db.acquireReadState()
	} else {
		// Tables are read without the memtables: a view of those would make
		// the next writes copy.
		p.rs = db.acquireTables()
		p.found = make([]lookup, 0, g.len()-from)
		for i := from; i < g.len(); i++ {
			value, trailer, ok := db.getMemory(g.at(i))
			p.found = append(p.found, lookup{value, trailer, ok})
		}
	}
	db.served = g.len()
	db.bg.running.Add(1)
	if r, ok := g.sink.(resumer); ok {
		r.resume(p)
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
		value, err := p.lookup(p.get.at(i), i-p.from)
		served++
		p.get.sink.GetDone(p.get.id, value, err)
	}
}

func (p *pending) lookup(key []byte, i int) ([]byte, error) {
	if p.db.cmp.HasSuffix {
		return p.db.getLogical(p.rs, key)
	}
	f := p.found[i]
	var err error
	if !f.ok {
		f.value, f.trailer, f.ok, err = p.db.tables.get(p.rs.version, key, p.rs.seq)
	}
	return p.db.show(key, f.trailer, f.value, f.ok, err)
}

// getLogical finds the newest version of key's logical key at or behind key,
// which is how a reader asks for a moment of the past. It looks one layer below
// what a scan shows, since a scan shows only the newest version of all.
func (db *DB) getLogical(rs *readState, key []byte) ([]byte, error) {
	it := iterator.NewSnapshot(iterator.NewMerging(rs.cmp, rs.sources(iterator.Bounds{Lower: key}, 0)...), rs.seq)
	defer it.Close()
	if !it.SeekGE(key) {
		if err := it.Error(); err != nil {
			return nil, err
		}
		return nil, ErrNotFound
	}
	found := it.Key()
	if !db.cmp.SameLogicalKey(found.UserKey, key) {
		return nil, ErrNotFound
	}
	value, err := db.show(found.UserKey, found.Trailer, it.Value(), true, nil)
	return bytes.Clone(value), err
}

// readState is what a reader needs to see one moment without the worker: the
// visible sequence number, the memtables, newest first, and the tables. Holding
// it keeps them (Pebble: read_state.go).
type readState struct {
	db      *DB
	cmp     *base.Comparer
	seq     base.SeqNum
	views   []*memtable.View
	version *manifest.Version
}

// acquireTables returns a read state without the memtables.
func (db *DB) acquireTables() *readState {
	rs := &readState{db: db, cmp: db.cmp, seq: db.visible, version: db.manifest.Version()}
	rs.version.Ref()
	return rs
}

func (db *DB) acquireReadState() *readState {
	rs := db.acquireTables()
	rs.views = make([]*memtable.View, 0, len(db.imm)+1)
	rs.views = append(rs.views, db.mem.table.View())
	for i := len(db.imm) - 1; i >= 0; i-- {
		rs.views = append(rs.views, db.imm[i].table.View())
	}
	return rs
}

// release gives the read state up. Its iterators must have been closed.
func (rs *readState) release() { rs.version.Unref() }

// sources returns iterators over the memtables and over the tables that have
// something within b, newest first. readAhead is in bytes, 0 for reading block
// by block.
func (rs *readState) sources(b iterator.Bounds, readAhead int) []iterator.Internal {
	its := make([]iterator.Internal, 0, len(rs.views)+8)
	for _, v := range rs.views {
		its = append(its, v.NewIter())
	}
	return append(its, rs.db.tables.iters(rs.version, b, readAhead)...)
}

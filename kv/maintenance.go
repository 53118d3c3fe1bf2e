package kv

import (
	"errors"
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
)

// await is a call that waits for background work.
type await struct {
	isDone func() (bool, error)
	done   chan error
}

// wait runs begin on the worker, behind the writes sent so far, and waits until
// isDone, which the worker asks after each background job, says so.
func (db *DB) wait(ctx Context, begin func(), isDone func() (bool, error)) error {
	a := &await{isDone: isDone, done: make(chan error, 1)}
	err := db.doAfterWrites(ctx, func() {
		db.backgroundErr, db.backoff = nil, false
		begin()
		db.waiters = append(db.waiters, a)
		db.schedule()
	})
	if err != nil {
		return err
	}
	var cancelled <-chan struct{}
	if ctx != nil {
		cancelled = ctx.Done()
	}
	select {
	case err := <-a.done:
		return err
	case <-db.ended:
		return db.fate
	case <-cancelled:
		return ctx.Err()
	}
}

// wakeWaiters answers the calls whose work is done, or has failed.
func (db *DB) wakeWaiters() {
	if db.waking {
		return // a waiter's rotation scheduled its flush
	}
	db.waking = true
	defer func() { db.waking = false }()
	left := db.waiters[:0]
	for _, a := range db.waiters {
		done, err := a.isDone()
		for !done && err == nil && db.isStuck() {
			if !errors.Is(db.backgroundErr, ErrQuota) || !db.relieve() {
				err = db.backgroundErr
				break
			}
			done, err = a.isDone()
		}
		if !done && err == nil && db.failed != nil {
			err = base.Wrap(ErrReadOnly, "", db.failed)
		}
		if done || err != nil {
			a.done <- err
			continue
		}
		left = append(left, a)
	}
	clear(db.waiters[len(left):])
	db.waiters = left
}

// Flush returns when every write sent before it is in tables. ctx ends only the
// waiting. Errors are those of the file system: ErrQuota, ErrIO; ErrReadOnly.
func (db *DB) Flush(ctx Context) error {
	var until base.SeqNum
	return db.wait(ctx, func() { until = db.visible }, func() (bool, error) {
		if db.mem.first < until && !db.mem.empty() {
			if !db.hasNextLog() {
				return false, nil
			}
			if err := db.rotate(); err != nil {
				return false, err
			}
		}
		return len(db.imm) == 0 || db.imm[0].first >= until, nil
	})
}

// Compact writes the tables of a range anew, down to the deepest level that has
// some of it: what was overwritten, deleted or has expired takes no space then,
// unless a snapshot sees it. It flushes first. ctx ends only the waiting.
// Errors are those of Flush, and ErrCorruption where a table is damaged.
func (db *DB) Compact(ctx Context, b iterator.Bounds) error {
	if err := db.Flush(ctx); err != nil {
		return err
	}
	m := &manual{bounds: b}
	err := db.wait(ctx, func() { db.manuals = append(db.manuals, m) }, func() (bool, error) { return m.isOver, nil })
	if err != nil {
		db.do(nil, func() {
			db.manuals = slices.DeleteFunc(db.manuals, func(x *manual) bool { return x == m })
			m.isOver = true // nobody waits for it
		})
	}
	return err
}

// manual is a compaction that was asked for: it pushes what there is of a range
// down level by level, then writes the deepest level anew.
type manual struct {
	bounds  iterator.Bounds
	level   int
	deepest int
	before  uint64 // tables from this number on are the results
	begun   bool
	isOver  bool
}

func (m *manual) begin(db *DB, v *manifest.Version) {
	m.begun = true
	m.before = db.manifest.State().NextFileNum
	m.deepest = 1
	for level := 2; level < manifest.NumLevels; level++ {
		if len(v.Overlapping(level, m.bounds)) > 0 {
			m.deepest = level
		}
	}
}

// next returns the next compaction, nil where nothing is left to do.
func (m *manual) next(db *DB, v *manifest.Version) *compaction {
	if !m.begun {
		m.begin(db, v)
	}
	for ; m.level <= m.deepest; m.level++ {
		for _, f := range v.Overlapping(m.level, m.bounds) {
			switch {
			case m.level == m.deepest && f.Num < m.before:
				return db.rewrite(v, m.level, f)
			case m.level < m.deepest && (m.level > 0 || f.Num < m.before):
				return db.newCompaction(v, m.level, []*manifest.FileMeta{f})
			}
		}
	}
	m.isOver = true
	return nil
}

// ApproximateSize returns about how many bytes the entries of a range take, in
// tables as they lie there, compressed, and in memtables.
func (db *DB) ApproximateSize(ctx Context, b iterator.Bounds) (uint64, error) {
	var rs *readState
	var memory uint64
	err := db.doAfterWrites(ctx, func() {
		rs = db.acquireReadState(nil)
		db.bg.running.Add(1)
	})
	if err != nil {
		return 0, err
	}
	defer db.bg.running.Done()
	defer rs.release()
	for _, v := range rs.views {
		it := iterator.NewBounds(db.cmp, v.NewIter(), b)
		for ok := it.First(); ok; ok = it.Next() {
			memory += uint64(len(it.Key().UserKey) + len(it.Value()))
		}
	}
	size := memory
	for level := range manifest.NumLevels {
		for _, f := range rs.version.Overlapping(level, b) {
			n, err := db.tableRangeSize(f, b)
			if err != nil {
				return 0, err
			}
			size += n
		}
	}
	return size, nil
}

func (db *DB) tableRangeSize(f *manifest.FileMeta, b iterator.Bounds) (uint64, error) {
	t, err := db.tables.acquire(f)
	if err != nil {
		return 0, err
	}
	defer db.tables.release(t)
	start, end := int64(0), t.reader.Size()
	if b.Lower != nil {
		start = t.reader.ApproximateOffset(b.Lower)
	}
	if b.Upper != nil {
		end = t.reader.ApproximateOffset(b.Upper)
	}
	return uint64(max(0, end-start)), nil
}

// Count returns how many keys there are within b, at a snapshot or at present
// (nil). It walks them.
func (db *DB) Count(ctx Context, at *Snapshot, b iterator.Bounds) (uint64, error) {
	s, err := db.requestScan(ctx, scanRequest{opts: ScanOptions{Bounds: b}, at: at, isCount: true})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	s.NextRun() // there is none: this waits for the end
	if err := s.Error(); err != nil {
		return 0, err
	}
	return s.counted, nil
}

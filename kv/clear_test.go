package kv_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
)

const end = "\xff\xff"

// loaded opens a store of 300 keys in many tables.
func loaded(t testing.TB, opts *kv.Options) (*kv.DB, *vfs.MemFS) {
	t.Helper()
	fs := vfs.NewMem()
	db := open(t, fs, opts)
	for i := range 300 {
		put(t, db, fmt.Sprintf("%03d", i), string(noise(i, 1000)))
	}
	compact(t, db)
	if s := stats(t, db); tables(s) < 10 {
		t.Fatalf("%+v: want tables", s.Levels)
	}
	return db, fs
}

func countOf(t testing.TB, db *kv.DB, at *kv.Snapshot) int {
	t.Helper()
	n, err := db.Count(ctx, at, iterator.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func snapshot(t testing.TB, db *kv.DB) *kv.Snapshot {
	t.Helper()
	s, err := db.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAClearDropsWholeTablesWithoutReadingThem, nor writing any.
func TestAClearDropsWholeTablesWithoutReadingThem(t *testing.T) {
	for _, layer := range layers[:2] {
		db, fs := loaded(t, smallOptions())
		before := stats(t, db)
		clearRange(t, db, "", end)
		layer.sink(t, db)
		after := stats(t, db)
		if tables(after) != 0 || after.RangeTombstones != 0 {
			t.Errorf("clear in %s: %+v, %d range tombstones are left", layer.name, after.Levels, after.RangeTombstones)
		}
		if after.TableMisses != before.TableMisses || after.BlockCache.Misses != before.BlockCache.Misses ||
			after.CompactedBytes != before.CompactedBytes || after.FlushedBytes != before.FlushedBytes {
			t.Errorf("clear in %s: tables were read or written:\n%+v, before\n%+v", layer.name, after, before)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if files, err := fs.List(); err != nil || len(files) > 2 {
			t.Errorf("clear in %s: %v are left, %v", layer.name, files, err)
		}
		db = open(t, fs, nil)
		if n := countOf(t, db, nil); n != 0 {
			t.Errorf("clear in %s: %d keys came back", layer.name, n)
		}
	}
}

// TestAPartlyClearedTableIsRewrittenByCompaction, and then the range tombstone is
// needed no more.
func TestAPartlyClearedTableIsRewrittenByCompaction(t *testing.T) {
	db, fs := loaded(t, smallOptions())
	before := stats(t, db)
	clearRange(t, db, "0105", "2005")
	flush(t, db)
	s := stats(t, db)
	if s.RangeTombstones != 1 || tables(s) >= tables(before)/2 {
		t.Errorf("%d range tombstones, %d tables of %d", s.RangeTombstones, tables(s), tables(before))
	}
	for range 2 {
		if n := countOf(t, db, nil); n != 300-190 {
			t.Errorf("%d keys", n)
		}
		wantValue(t, db, "010", string(noise(10, 1000)))
		wantMissing(t, db, "011")
		wantMissing(t, db, "200")
		wantValue(t, db, "201", string(noise(201, 1000)))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, fs, smallOptions())
	}
	compact(t, db)
	if s := stats(t, db); s.RangeTombstones != 0 {
		t.Errorf("%d range tombstones after a compaction", s.RangeTombstones)
	}
	if n := countOf(t, db, nil); n != 300-190 {
		t.Errorf("%d keys after a compaction", n)
	}
}

// TestTooManyRangeTombstonesAreCompactedAway without anyone asking for it.
func TestTooManyRangeTombstonesAreCompactedAway(t *testing.T) {
	db, _ := loaded(t, smallOptions())
	most := 0
	for i := range 150 {
		clearRange(t, db, fmt.Sprintf("%03d", 2*i), fmt.Sprintf("%03d", 2*i+1))
		flush(t, db)
		most = max(most, stats(t, db).RangeTombstones)
	}
	for stats(t, db).RangeTombstones > 64 {
		runtime.Gosched()
	}
	if most < 30 {
		t.Errorf("there were never more than %d", most)
	}
	if n := countOf(t, db, nil); n != 150 {
		t.Errorf("%d keys", n)
	}
}

// TestAClearDuringACompaction: what the compaction makes of the older entries does
// not come back, and takes no space.
func TestAClearDuringACompaction(t *testing.T) {
	for _, c := range []struct {
		name       string
		start, end string
		flushes    bool
		snapshot   bool
	}{
		{"all", "", end, false, false},
		{"all, flushed meanwhile", "", end, true, false},
		{"a part", "0505", "2505", false, false},
		{"a part, flushed meanwhile", "0505", "2505", true, false},
		{"all, seen by a snapshot", "", end, false, true},
		{"all, seen by a snapshot, flushed meanwhile", "", end, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHoldOne()
			opts := smallOptions()
			opts.Yield, opts.MaxImmutables = h.yield, 4
			db, fs := loaded(t, opts)
			for i := range 300 {
				put(t, db, fmt.Sprintf("%03d", i), string(noise(-i, 1000)))
			}
			flush(t, db)
			kept := 300
			if c.start != "" {
				kept = 100
			}
			h.arm()
			compacted := make(chan error, 1)
			go func() { compacted <- db.Compact(ctx, iterator.Bounds{}) }()
			<-h.held
			var s *kv.Snapshot
			if c.snapshot {
				s = snapshot(t, db)
			}
			clearRange(t, db, c.start, c.end)
			put(t, db, "100", "newer")
			kept++
			if c.start == "" {
				kept = 1
			}
			check := func() {
				t.Helper()
				if n := countOf(t, db, nil); n != kept {
					t.Fatalf("%d keys, want %d", n, kept)
				}
				wantValue(t, db, "100", "newer")
				if c.snapshot {
					if n := countOf(t, db, s); n != 300 {
						t.Fatalf("the snapshot sees %d keys", n)
					}
				}
			}
			check()
			flushed := make(chan error, 1)
			if c.flushes {
				// The flush of a host of one thread goes first; its compaction
				// waits.
				go func() { flushed <- db.Flush(ctx) }()
				if err := <-flushed; err != nil {
					t.Fatal(err)
				}
			}
			check()
			close(h.release)
			if err := <-compacted; err != nil {
				t.Fatal(err)
			}
			flush(t, db)
			check()
			if c.snapshot {
				s.Close()
				c.snapshot = false
				compact(t, db)
				check()
			}
			if c.start == "" {
				if s := stats(t, db); tables(s) > 1 || s.RangeTombstones != 0 {
					t.Errorf("%+v, %d range tombstones are left", s.Levels, s.RangeTombstones)
				}
			} else {
				compact(t, db)
				if s := stats(t, db); s.RangeTombstones != 0 {
					t.Errorf("%d range tombstones are left", s.RangeTombstones)
				}
			}
			check()
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(t, fs, nil)
			check()
		})
	}
}

// TestASnapshotThatIsOlderThanAClear sees what was cleared, through flush and
// compaction; when it is closed the space comes back.
func TestASnapshotThatIsOlderThanAClear(t *testing.T) {
	db, _ := loaded(t, smallOptions())
	s := snapshot(t, db)
	clearRange(t, db, "", end)
	for i, sink := range []func(testing.TB, *kv.DB){layers[0].sink, flush, compact, flush, compact} {
		sink(t, db)
		if n := countOf(t, db, nil); n != i {
			t.Fatalf("step %d: %d keys", i, n)
		}
		if n := countOf(t, db, s); n != 300 {
			t.Fatalf("step %d: the snapshot sees %d keys", i, n)
		}
		if v, err := s.Get(ctx, []byte("123")); err != nil || string(v) != string(noise(123, 1000)) {
			t.Fatalf("step %d: %.20q, %v", i, v, err)
		}
		put(t, db, fmt.Sprint("new", i), "v")
	}
	if tables(stats(t, db)) < 10 {
		t.Error("the tables that the snapshot sees are gone")
	}
	s.Close()
	compact(t, db)
	if s := stats(t, db); tables(s) > 5 || s.RangeTombstones != 0 {
		t.Errorf("%+v, %d range tombstones", s.Levels, s.RangeTombstones)
	}
	if n := countOf(t, db, nil); n != 5 {
		t.Errorf("%d keys", n)
	}
}

func TestOddRangesOfAClear(t *testing.T) {
	for _, layer := range layers {
		db := open(t, vfs.NewMem(), nil)
		for _, k := range []string{"", "a", "b", "b\x00", "c"} {
			put(t, db, k, "v")
		}
		layer.sink(t, db)
		clearRange(t, db, "b", "b") // nothing
		clearRange(t, db, "c", "a") // nothing
		clearRange(t, db, "", "")   // nothing
		if n := countOf(t, db, nil); n != 5 {
			t.Errorf("%s: %d keys", layer.name, n)
		}
		clearRange(t, db, "b", "b\x00")
		if got := entries(t, db, nil); got != "=v a=v b\x00=v c=v" {
			t.Errorf("%s: %q", layer.name, got)
		}
		clearRange(t, db, "", "a")
		if got := entries(t, db, nil); got != "a=v b\x00=v c=v" {
			t.Errorf("%s: %q", layer.name, got)
		}
		if _, err := db.DeleteRange(ctx, []byte(end), []byte(end), nil); err != nil {
			t.Error(err)
		}
		if _, err := db.DeleteRange(ctx, nil, []byte(end+"x"), nil); !errors.Is(err, kv.ErrInvalidKey) {
			t.Error(err)
		}
	}
}

// clockOptions have a clock that the test sets.
func clockOptions() (*kv.Options, *atomic.Int64) {
	var clock atomic.Int64
	clock.Store(1000)
	opts := smallOptions()
	opts.Now = clock.Load
	return opts, &clock
}

func putExpiring(t testing.TB, db *kv.DB, key, value string, at uint64) {
	t.Helper()
	var b batch.Batch
	if err := b.PutExpiring([]byte(key), []byte(value), at); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(ctx, &b, nil); err != nil {
		t.Fatal(err)
	}
}

// TestAValueIsHiddenFromTheMomentItExpires in every layer, over an older version in
// every layer, which does not come back then nor after a compaction.
func TestAValueIsHiddenFromTheMomentItExpires(t *testing.T) {
	for _, below := range layers {
		for _, above := range layers {
			what := "in " + above.name + ", over " + below.name
			opts, clock := clockOptions()
			fs := vfs.NewMem()
			db := open(t, fs, opts)
			put(t, db, "k", "old")
			below.sink(t, db)
			putExpiring(t, db, "k", "v", 2000)
			putExpiring(t, db, "past", "v", 1000)
			above.sink(t, db)
			clock.Store(1999)
			wantMissing(t, db, "past")
			wantValue(t, db, "k", "v")
			if got := entries(t, db, nil); got != "k=v" {
				t.Errorf("%s: %q before", what, got)
			}
			s := snapshot(t, db)
			open, err := db.Scan(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			clock.Store(2000)
			for _, sink := range []func(testing.TB, *kv.DB){layers[0].sink, flush, compact} {
				sink(t, db)
				wantMissing(t, db, "k")
				if got := entries(t, db, nil); got != "" || countOf(t, db, nil) != 0 {
					t.Errorf("%s: %q then", what, got)
				}
				if v, err := s.Get(ctx, []byte("k")); err != nil || string(v) != "v" || countOf(t, db, s) != 1 {
					t.Errorf("%s: the snapshot sees %q, %v, %d keys", what, v, err, countOf(t, db, s))
				}
				clock.Store(500) // it does not go back
			}
			if !open.Next() || string(open.Value()) != "v" || open.Next() {
				t.Errorf("%s: the scan sees %q, %v", what, open.Value(), open.Error())
			}
			open.Close()
			s.Close()
			clock.Store(3000)
			compact(t, db)
			if s := stats(t, db); tables(s) != 0 {
				t.Errorf("%s: %+v is left", what, s.Levels)
			}
			wantMissing(t, db, "k")
			put(t, db, "k", "again")
			wantValue(t, db, "k", "again")
			db.Close()
		}
	}
}

// TestConditionsAcrossFlushAndCompaction: what was read at a snapshot and has
// changed since is found wherever it has gone.
func TestConditionsAcrossFlushAndCompaction(t *testing.T) {
	changes := map[string]func(t testing.TB, db *kv.DB){
		"put":          func(t testing.TB, db *kv.DB) { put(t, db, "k", "new") },
		"same value":   func(t testing.TB, db *kv.DB) { put(t, db, "k", "old") },
		"delete":       func(t testing.TB, db *kv.DB) { del(t, db, "k") },
		"clear":        func(t testing.TB, db *kv.DB) { clearRange(t, db, "j", "l") },
		"put, cleared": func(t testing.TB, db *kv.DB) { put(t, db, "k", "new"); clearRange(t, db, "", end) },
	}
	for name, change := range changes {
		for _, holds := range []bool{true, false} { // the snapshot until the end
			for _, layer := range layers {
				what := fmt.Sprintf("%s, in %s, snapshot held %t", name, layer.name, holds)
				db := open(t, vfs.NewMem(), smallOptions())
				put(t, db, "k", "old")
				put(t, db, "other", "old")
				compact(t, db)
				s := snapshot(t, db)
				if !holds {
					s.Close()
				}
				apply := func(c kv.Condition) error {
					c.Since = s.Seq()
					_, err := db.Put(ctx, []byte("result"), nil, &kv.WriteOptions{If: &c})
					return err
				}
				change(t, db)
				layer.sink(t, db)
				for _, c := range []kv.Condition{
					{Keys: [][]byte{[]byte("other"), []byte("k")}},
					{Ranges: []iterator.Bounds{{Lower: []byte("k"), Upper: []byte("k"), UpperInclusive: true}}},
					{Ranges: []iterator.Bounds{{Lower: []byte("x")}, {Upper: []byte("kk")}}},
				} {
					if err := apply(c); !errors.Is(err, kv.ErrConflict) {
						t.Errorf("%s: %+v: %v", what, c, err)
					}
				}
				wantMissing(t, db, "result")
				if !holds || strings.Contains(name, "clear") {
					continue // it may be too old to tell
				}
				if err := apply(kv.Condition{Keys: [][]byte{[]byte("other"), []byte("never")}}); err != nil {
					t.Errorf("%s: of other keys: %v", what, err)
				}
				if err := apply(kv.Condition{Ranges: []iterator.Bounds{{Lower: []byte("l"), Upper: []byte("p")}}}); err != nil {
					t.Errorf("%s: of another range: %v", what, err)
				}
			}
		}
	}
}

// TestWriteSkewAndPhantomsAreConflicts: two transactions read what the other
// writes; one of them wins, also where both come in one group.
func TestWriteSkewAndPhantomsAreConflicts(t *testing.T) {
	everything := []iterator.Bounds{{Lower: []byte("doctor"), Upper: []byte("doctos")}}
	for name, conds := range map[string][2]kv.Condition{
		"the other's key": {{Keys: [][]byte{[]byte("doctor2")}}, {Keys: [][]byte{[]byte("doctor1")}}},
		"all keys":        {{Ranges: everything}, {Ranges: everything}},
	} {
		db := open(t, vfs.NewMem(), nil)
		put(t, db, "other", "v")
		s := snapshot(t, db)
		// Hold the worker, so that both wait for it at once.
		hold, held := make(chan struct{}), make(chan struct{})
		var first batch.Batch
		first.Put([]byte("first"), nil)
		if err := db.SendWrite(ctx, first.Repr()[batch.HeaderSize:], 1, nil, 0, blockingSink{held, hold}); err != nil {
			t.Fatal(err)
		}
		<-held
		a := newAnswers()
		for i, c := range conds {
			c.Since = s.Seq()
			var b batch.Batch
			b.Put(fmt.Append(nil, "doctor", i+1), []byte("off duty"))
			a.send(t, db, uint64(i), &b, &kv.WriteOptions{If: &c})
		}
		var last batch.Batch
		last.Put([]byte("unconditional"), nil)
		a.send(t, db, 2, &last, nil)
		close(hold)
		a.open.Wait()
		if a.errs[0] != nil || !errors.Is(a.errs[1], kv.ErrConflict) || a.errs[2] != nil {
			t.Errorf("%s: %v", name, a.errs)
		}
		if a.seqs[0] != 3 || a.seqs[2] != 4 {
			t.Errorf("%s: sequence numbers %v", name, a.seqs)
		}
		wantValue(t, db, "doctor1", "off duty")
		wantMissing(t, db, "doctor2")
		wantValue(t, db, "unconditional", "")
	}
}

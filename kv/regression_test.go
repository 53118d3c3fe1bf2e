package kv_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
)

// Each of these was wrong in the crate that the shape of the engine comes from.

func flush(t testing.TB, db *kv.DB) {
	t.Helper()
	if err := db.Flush(ctx); err != nil {
		t.Fatal("flush:", err)
	}
}

func compact(t testing.TB, db *kv.DB) {
	t.Helper()
	if err := db.Compact(ctx, iterator.Bounds{}); err != nil {
		t.Fatal("compact:", err)
	}
}

func del(t testing.TB, db *kv.DB, key string) {
	t.Helper()
	if _, err := db.Delete(ctx, []byte(key), nil); err != nil {
		t.Fatalf("delete %q: %v", key, err)
	}
}

func clearRange(t testing.TB, db *kv.DB, start, end string) {
	t.Helper()
	if _, err := db.DeleteRange(ctx, []byte(start), []byte(end), nil); err != nil {
		t.Fatalf("clear %q to %q: %v", start, end, err)
	}
}

func stats(t testing.TB, db *kv.DB) kv.Stats {
	t.Helper()
	s, err := db.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tables returns how many there are at all levels.
func tables(s kv.Stats) (n int) {
	for _, l := range s.Levels {
		n += l.Tables
	}
	return n
}

// layers are ways to move what was written into a deeper layer.
var layers = []struct {
	name string
	sink func(t testing.TB, db *kv.DB)
}{
	{"memtable", func(testing.TB, *kv.DB) {}},
	{"level 0", flush},
	{"level 1", compact},
}

func TestATombstoneInANewerLayerHidesOlderLayers(t *testing.T) {
	for _, below := range layers {
		for _, above := range layers {
			fs := vfs.NewMem()
			db := open(t, fs, nil)
			put(t, db, "a", "1")
			put(t, db, "k", "old")
			put(t, db, "z", "1")
			below.sink(t, db)
			del(t, db, "k")
			above.sink(t, db)
			for range 2 {
				what := "tombstone in " + above.name + ", put in " + below.name
				wantMissing(t, db, "k")
				for _, reverse := range []bool{false, true} {
					want := map[bool]string{false: "a=1 z=1", true: "z=1 a=1"}[reverse]
					if got := entries(t, db, &kv.ScanOptions{Reverse: reverse}); got != want {
						t.Errorf("%s: %q", what, got)
					}
				}
				if n, err := db.Count(ctx, nil, iterator.Bounds{}); err != nil || n != 2 {
					t.Errorf("%s: %d keys, %v", what, n, err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = open(t, fs, nil)
			}
		}
	}
}

func TestTheNewestTableWins(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, nil)
	version := 0
	for _, sink := range []func(testing.TB, *kv.DB){compact, flush, flush, flush, compact, flush, flush, layers[0].sink} {
		version++
		put(t, db, "k", fmt.Sprint(version))
		put(t, db, fmt.Sprint("own", version), "v")
		sink(t, db)
		wantValue(t, db, "k", fmt.Sprint(version))
		if got := entries(t, db, &kv.ScanOptions{Bounds: iterator.Bounds{Upper: []byte("l")}}); got != fmt.Sprint("k=", version) {
			t.Errorf("version %d: %q", version, got)
		}
	}
	db.Close()
	wantValue(t, open(t, fs, nil), "k", fmt.Sprint(version))
}

func TestPrefixesShorterThanFiveBytes(t *testing.T) {
	for _, cmp := range []*base.Comparer{base.Bytewise, base.FixedSuffix(8)} {
		for _, layer := range layers {
			db := open(t, vfs.NewMem(), &kv.Options{Comparer: cmp})
			keys := []string{"", "a", "ab", "abc", "abcd", "abcde", "abcdef", "b", "\x00", "\x00\x00", "\xfe"}
			for _, k := range keys {
				put(t, db, k, "value of "+k)
			}
			layer.sink(t, db)
			for _, k := range keys {
				wantValue(t, db, k, "value of "+k)
				b := iterator.Bounds{Lower: []byte(k), Upper: []byte(k), UpperInclusive: true}
				if n, err := db.Count(ctx, nil, b); err != nil || n != 1 {
					t.Errorf("%s, %s: %d keys from %q to %q, %v", cmp.Name, layer.name, n, k, k, err)
				}
			}
			wantMissing(t, db, "abce")
			if n, err := db.Count(ctx, nil, iterator.Bounds{}); err != nil || int(n) != len(keys) {
				t.Errorf("%s, %s: %d keys, %v", cmp.Name, layer.name, n, err)
			}
		}
	}
}

func TestCompactionKeepsVersionsThatASnapshotSees(t *testing.T) {
	db := open(t, vfs.NewMem(), smallOptions())
	var snapshots []*kv.Snapshot
	for version := range 4 {
		for i := range 50 {
			if version == 2 {
				del(t, db, fmt.Sprintf("%02d", i))
			} else {
				put(t, db, fmt.Sprintf("%02d", i), string(noise(version*50+i, 500)))
			}
		}
		s, err := db.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		snapshots = append(snapshots, s)
		compact(t, db)
	}
	size := make([]uint64, 0, 5)
	for len(snapshots) > 0 {
		for n, s := range snapshots {
			version := n + 4 - len(snapshots)
			for i := range 50 {
				got, err := s.Get(ctx, fmt.Appendf(nil, "%02d", i))
				if version == 2 {
					if err != kv.ErrNotFound {
						t.Fatalf("version 2 of %d: %v", i, err)
					}
				} else if err != nil || string(got) != string(noise(version*50+i, 500)) {
					t.Fatalf("version %d of %d: %v", version, i, err)
				}
			}
		}
		n, err := db.ApproximateSize(ctx, iterator.Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		size = append(size, n)
		snapshots[0].Close()
		snapshots = snapshots[1:]
		compact(t, db)
	}
	// Three versions, then two; the tombstone is nothing; then one.
	if size[0] < 70_000 || size[1] > 60_000 || size[3] > 30_000 {
		t.Errorf("sizes as the snapshots were closed: %d", size)
	}
}

func TestTombstonesAreDropped(t *testing.T) {
	db := open(t, vfs.NewMem(), smallOptions())
	for round := range 3 {
		for i := range 500 {
			put(t, db, fmt.Sprintf("%03d", i), string(noise(i, 300)))
		}
		compact(t, db)
		if s := stats(t, db); tables(s) < 5 {
			t.Fatalf("round %d: %+v: want tables", round, s.Levels)
		}
		for i := range 500 {
			del(t, db, fmt.Sprintf("%03d", i))
		}
		compact(t, db)
		if s := stats(t, db); tables(s) != 0 {
			t.Errorf("round %d: %+v: tombstones are left", round, s.Levels)
		}
	}
}

func TestPutAndDeleteOfOneKeyInOneBatchThroughFlushAndCompaction(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, nil)
	for _, below := range layers {
		put(t, db, "old", "v")
		put(t, db, "gone", "v")
		put(t, db, "cleared", "v")
		below.sink(t, db)
		for _, above := range layers {
			var b batch.Batch
			b.Put([]byte("gone"), []byte("v"))
			b.Delete([]byte("gone"))
			b.Delete([]byte("old"))
			b.Put([]byte("old"), []byte("new"))
			b.Put([]byte("cleared"), []byte("v"))
			b.DeleteRange([]byte("cleared"), []byte("cleared0"))
			b.DeleteRange([]byte("kept"), []byte("kept0"))
			b.Put([]byte("kept"), []byte("v"))
			if _, err := db.Apply(ctx, &b, nil); err != nil {
				t.Fatal(err)
			}
			above.sink(t, db)
			for range 2 {
				if got := entries(t, db, nil); got != "kept=v old=new" {
					t.Errorf("batch in %s over puts in %s: %q", above.name, below.name, got)
				}
				wantMissing(t, db, "gone")
				wantMissing(t, db, "cleared")
				wantValue(t, db, "old", "new")
				wantValue(t, db, "kept", "v")
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = open(t, fs, nil)
			}
		}
	}
}

// TestASlowScanBlocksNoWritesWhileACompactionRuns holds the compaction, and reads
// on in the scan only at the end.
func TestASlowScanBlocksNoWritesWhileACompactionRuns(t *testing.T) {
	h := newHoldOne()
	opts := smallOptions()
	opts.Yield, opts.MaxImmutables = h.yield, 8
	db := open(t, vfs.NewMem(), opts)
	const count = 200
	for i := range count {
		put(t, db, fmt.Sprintf("%03d", i), string(noise(i, 3000)))
	}
	compact(t, db)
	scan, err := db.Scan(ctx, &kv.ScanOptions{RunBytes: 1})
	if err != nil || !scan.Next() {
		t.Fatal(err)
	}
	defer scan.Close()
	put(t, db, "another", "")
	flush(t, db)
	h.arm()
	compacted := make(chan error, 1)
	go func() { compacted <- db.Compact(ctx, iterator.Bounds{}) }()
	<-h.held
	for i := range count {
		put(t, db, fmt.Sprintf("%03d", i), "newer")
	}
	wantValue(t, db, "000", "newer")
	close(h.release)
	if err := <-compacted; err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if string(scan.Key()) != fmt.Sprintf("%03d", i) || string(scan.Value()) != string(noise(i, 3000)) {
			t.Fatalf("entry %d is %q=%.20q, %v", i, scan.Key(), scan.Value(), scan.Error())
		}
		scan.Next()
	}
	if scan.Next() || scan.Error() != nil {
		t.Error("behind the end:", scan.Error())
	}
}

// holdOne is an Options.Yield that keeps one call waiting, the first after arm.
type holdOne struct {
	mu      sync.Mutex
	armed   bool
	held    chan struct{} // closed when one is held
	release chan struct{} // closed by the test
}

func newHoldOne() *holdOne {
	return &holdOne{held: make(chan struct{}), release: make(chan struct{})}
}

func (h *holdOne) arm() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed = true
}

func (h *holdOne) yield(stop <-chan struct{}) {
	h.mu.Lock()
	holds := h.armed
	h.armed = false
	h.mu.Unlock()
	if !holds {
		return
	}
	close(h.held)
	select {
	case <-h.release:
	case <-stop:
	}
}

func TestSequenceNumberAfterRecoveryCoversFlushedLogs(t *testing.T) {
	fs := vfs.NewMem()
	want := base.SeqNum(0)
	for round := range 4 {
		db := open(t, fs, smallOptions())
		if r := db.Recovery(); r.Sequence != want {
			t.Fatalf("round %d: %+v, want %d", round, r, want)
		}
		for i := range 100 {
			want++
			if seq, err := db.Put(ctx, fmt.Append(nil, i), []byte(strings.Repeat("v", 1500)), strict); err != nil || seq != want {
				t.Fatal(seq, err, want)
			}
		}
		flush(t, db)
		switch round {
		case 0: // all is in tables, and the log is empty
		case 1:
			compact(t, db)
		default:
			want++
			if seq, err := db.Put(ctx, []byte("in the log"), nil, strict); err != nil || seq != want {
				t.Fatal(seq, err)
			}
		}
		if s := stats(t, db); s.Flushes < 2 {
			t.Fatalf("%+v", s)
		}
		if round%2 == 0 {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			fs = fs.CrashClone(nil) // killed
		}
	}
}

// TestNoGoroutineOutlivesClose also where scans and snapshots are left open and
// background work is under way.
func TestNoGoroutineOutlivesClose(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		db, err := kv.Open(vfs.NewMem(), smallOptions())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			put(t, db, fmt.Sprint(i), strings.Repeat("v", 1000))
			if i%50 == 0 {
				scan, err := db.Scan(ctx, nil)
				if err != nil || !scan.Next() {
					t.Fatal(err)
				}
				if _, err := db.Snapshot(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// They have nothing left to wait for, but may not have returned yet.
	for range 1_000_000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines, there were %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
}

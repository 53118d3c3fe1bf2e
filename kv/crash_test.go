package kv_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

// history is a load of numbered batches, and what each of them leaves: puts,
// deletes, clears and values that expire, over few keys, so that they hide each
// other in every layer.
type history struct {
	batches []*batch.Batch
	states  []modelState // states[n] is left by n batches
}

// clockAt is the time while batch n is written.
func clockAt(n int) int64 { return 1000 + int64(n) }

func newHistory(count int) *history {
	rng := rand.New(rand.NewPCG(7, uint64(count)))
	h := &history{states: []modelState{{0, map[string]modelValue{}}}}
	random := noise(7, 8000)
	key := func() []byte { return fmt.Appendf(nil, "key%02d", rng.IntN(60)) }
	for n := range count {
		var b batch.Batch
		last := h.states[n]
		state, seq := maps.Clone(last.state), last.seq
		for range 1 + rng.IntN(4) {
			k := key()
			// Sizes vary, so that records end everywhere in blocks and pages.
			at := rng.IntN(len(random) - 3000)
			value := random[at : at+rng.IntN(3000)]
			switch rng.IntN(20) {
			case 0, 1, 2:
				b.Delete(k)
				delete(state, string(k))
			case 3:
				end := key()
				if rng.IntN(4) == 0 {
					k, end = nil, []byte("\xff\xff")
				}
				b.DeleteRange(k, end)
				maps.DeleteFunc(state, func(x string, _ modelValue) bool {
					return within([]byte(x), iterator.Bounds{Lower: k, Upper: end})
				})
			case 4, 5:
				ends := clockAt(n) + int64(rng.IntN(40)) - 5
				b.PutExpiring(k, value, uint64(ends))
				state[string(k)] = modelValue{string(value), ends}
			default:
				b.Put(k, value)
				state[string(k)] = modelValue{value: string(value)}
			}
			seq++
		}
		h.batches, h.states = append(h.batches, &b), append(h.states, modelState{seq, state})
	}
	return h
}

// find returns how many batches lead to a sequence number; -1 where it is inside
// of one.
func (h *history) find(seq base.SeqNum) int {
	return slices.IndexFunc(h.states, func(s modelState) bool { return s.seq == seq })
}

// crashRun writes a history to a store, and tells at any moment what a crash may
// leave.
type crashRun struct {
	*history
	attempted, acked, strict atomic.Int64 // counts of batches
	clock                    atomic.Int64
}

func newCrashRun(count int) *crashRun {
	r := &crashRun{history: newHistory(count)}
	r.clock.Store(clockAt(0))
	return r
}

func (r *crashRun) options() *kv.Options {
	opts := smallOptions()
	opts.Now = r.clock.Load
	return opts
}

// write opens fs, writes batches up to count and closes it, with snapshots,
// flushes and compactions meanwhile. It returns what the DB did.
func (r *crashRun) write(t *testing.T, fs vfs.FS, count int) kv.Stats {
	t.Helper()
	db, err := kv.Open(fs, r.options())
	if err != nil {
		t.Fatal(err)
	}
	var snapshot *kv.Snapshot
	for n := int(r.acked.Load()); n < count; n++ {
		r.clock.Store(clockAt(n))
		r.attempted.Store(int64(n + 1))
		strict := n%4 == 0
		seq, err := db.Apply(ctx, r.batches[n], &kv.WriteOptions{Strict: strict})
		if err != nil || seq != r.states[n+1].seq {
			t.Fatalf("batch %d: %d, %v, want %d", n, seq, err, r.states[n+1].seq)
		}
		r.acked.Store(int64(n + 1))
		if strict {
			r.strict.Store(int64(n + 1))
		}
		switch n % 50 {
		case 10:
			if snapshot, err = db.Snapshot(ctx); err != nil {
				t.Fatal(err)
			}
		case 20:
			if err := db.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		case 30:
			if err := db.Compact(ctx, iterator.Bounds{}); err != nil {
				t.Fatal(err)
			}
		case 40:
			snapshot.Close()
		}
	}
	s, err := db.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r.strict.Store(r.acked.Load()) // Close syncs
	return s
}

// check opens what a crash has left. Batches from atLeast to atMost must be there,
// each whole, and a scan and a get of each key must give what they leave at a time
// that is not before the crash. Then the store must verify, and take more.
func (r *crashRun) check(fs vfs.FS, atLeast, atMost, clock int64) error {
	opts := smallOptions()
	opts.Now = func() int64 { return clock }
	for range 2 {
		db, err := kv.Open(fs, opts)
		if err != nil {
			return err
		}
		n := r.find(db.Recovery().Sequence)
		if n < int(atLeast) || n > int(atMost) {
			db.Close()
			return fmt.Errorf("%+v: batch %d, want %d to %d", db.Recovery(), n, atLeast, atMost)
		}
		atLeast, atMost = int64(n), int64(n)
		if err := r.compare(db, n, clock); err != nil {
			db.Close()
			return fmt.Errorf("batch %d: %w", n, err)
		}
		report, err := db.Verify(ctx)
		if err != nil || len(report.Problems) > 0 {
			db.Close()
			return fmt.Errorf("batch %d: %+v, %w", n, report, err)
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	return nil
}

// compare compares db with what n batches leave.
func (r *crashRun) compare(db *kv.DB, n int, clock int64) error {
	left := live(r.states[n].state, clock)
	s, err := db.Scan(ctx, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	count := 0
	for ; s.Next(); count++ {
		if v, ok := left[string(s.Key())]; !ok || v != string(s.Value()) {
			return fmt.Errorf("%q is %.20q, want %.20q, %t", s.Key(), s.Value(), v, ok)
		}
	}
	if s.Error() != nil || count != len(left) {
		return fmt.Errorf("%d keys, want %d, %w", count, len(left), s.Error())
	}
	for i := range 60 {
		key := fmt.Sprintf("key%02d", i)
		v, err := db.Get(ctx, []byte(key))
		if want, ok := left[key]; ok != (err == nil) || string(v) != want || !ok && err != kv.ErrNotFound {
			return fmt.Errorf("get %q: %.20q, %w, want %.20q, %t", key, v, err, want, ok)
		}
	}
	return nil
}

// atEach calls check for a crash now: crash makes a copy of the files.
func (r *crashRun) atEach(t *testing.T, what string, crash func() (fs vfs.FS, closed func() error, err error)) {
	// A batch that is acknowledged while the copy is made may be in it.
	atLeast := r.strict.Load()
	fs, closed, err := crash()
	if err == nil {
		if err = r.check(fs, atLeast, r.attempted.Load(), r.clock.Load()); err == nil {
			err = closed()
		}
	}
	if err != nil {
		t.Errorf("crash at %s: %v", what, err)
	}
}

// hookFS calls before each operation that changes something.
type hookFS struct {
	*vfs.MemFS
	before func(what string)
}

type hookFile struct {
	vfs.File
	fs *hookFS
	fd vfs.FileDesc
}

func (fs *hookFS) Create(fd vfs.FileDesc, reserveBytes int64) (vfs.File, error) {
	fs.before("create " + fd.String())
	f, err := fs.MemFS.Create(fd, reserveBytes)
	return &hookFile{f, fs, fd}, err
}

func (fs *hookFS) Reopen(fd vfs.FileDesc, size int64) (vfs.File, error) {
	fs.before("reopen " + fd.String())
	f, err := fs.MemFS.Reopen(fd, size)
	return &hookFile{f, fs, fd}, err
}

func (fs *hookFS) Remove(fd vfs.FileDesc) error {
	fs.before("remove " + fd.String())
	return fs.MemFS.Remove(fd)
}

func (fs *hookFS) SetCurrent(fd vfs.FileDesc) error {
	fs.before("current " + fd.String())
	return fs.MemFS.SetCurrent(fd)
}

func (f *hookFile) Append(p []byte) error {
	f.fs.before("append to " + f.fd.String())
	return f.File.Append(p)
}

func (f *hookFile) Sync() error {
	f.fs.before("sync " + f.fd.String())
	return f.File.Sync()
}

// wantWork fails where a run was not what it should test.
func wantWork(t *testing.T, s kv.Stats) {
	t.Helper()
	if s.Flushes < 3 || s.Compactions < 3 {
		t.Errorf("%+v: want flushes and compactions", s)
	}
}

// TestCrashAtEveryFileCall copies what a power loss would leave before each
// create, append, sync, remove and change of the manifest, on the worker and in
// the background, and what the death of the program would leave.
func TestCrashAtEveryFileCall(t *testing.T) {
	r := newCrashRun(300)
	var mu sync.Mutex // one check at a time
	var calls uint64
	fs := &hookFS{MemFS: vfs.NewMem()}
	fs.before = func(what string) {
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() {
			return // one is enough
		}
		calls++
		for seed := range max(1, *crashSeeds/3) {
			r.atEach(t, what, func() (vfs.FS, func() error, error) {
				return fs.CrashClone(rand.New(rand.NewPCG(seed, calls))), func() error { return nil }, nil
			})
		}
		atLeast := r.acked.Load()
		if err := r.check(fs.Clone(), atLeast, r.attempted.Load(), r.clock.Load()); err != nil {
			t.Errorf("killed at %s: %v", what, err)
		}
	}
	wantWork(t, r.write(t, fs, 150))
	wantWork(t, r.write(t, fs, 300))
	if calls < 300 {
		t.Errorf("only %d calls", calls)
	}
	t.Log(calls, "calls")
}

// hookDevice calls before each call that changes something.
type hookDevice struct {
	*devicetest.Device
	before func(what string)
}

func (d *hookDevice) WriteAt(p []byte, off int64) error {
	d.before("write")
	return d.Device.WriteAt(p, off)
}

func (d *hookDevice) Sync() error {
	d.before("sync")
	return d.Device.Sync()
}

func (d *hookDevice) Truncate(size int64) error {
	d.before("truncate")
	return d.Device.Truncate(size)
}

// TestPowerLossDuringFlushAndCompaction is the same on a volume, at each device
// call: bytes beyond the last sync are kept, lost or torn, page by page.
func TestPowerLossDuringFlushAndCompaction(t *testing.T) {
	r := newCrashRun(300)
	var mu sync.Mutex // one check at a time
	var calls uint64
	dev := &hookDevice{Device: devicetest.New()}
	dev.before = func(what string) {
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() {
			return // one is enough
		}
		calls++
		for seed := range max(1, *crashSeeds/3) {
			r.atEach(t, what, func() (vfs.FS, func() error, error) {
				left := dev.Crash(rand.New(rand.NewPCG(seed, calls)))
				v, err := volume.Open(left, nil)
				if err != nil {
					return nil, nil, err
				}
				return v, v.Check, nil
			})
		}
	}
	for _, count := range []int{150, 300} {
		v, err := volume.Open(dev, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantWork(t, r.write(t, v, count))
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(calls, "calls")
}

// TestAFlushLeavesNothingOutForAClearThatMayBeLost flushes a memtable while a
// newer one has a clear of it that is not durable. Where a power loss then takes
// the clear, what it cleared must be there.
func TestAFlushLeavesNothingOutForAClearThatMayBeLost(t *testing.T) {
	fs := vfs.NewMem()
	begin, flushed := make(chan struct{}), make(chan struct{}, 10)
	db := open(t, fs, &kv.Options{
		MemtableBytes: 1, MaxImmutables: 4,
		Yield: func(ended <-chan struct{}) {
			select {
			case <-begin:
			case <-ended:
			}
		},
		Event: func(e kv.Event) {
			if e.Type == kv.EventFlush {
				flushed <- struct{}{}
			}
		},
	})
	// Three memtables: the first flush waits, so the second has not begun when the
	// clear comes to the third.
	var want []string
	for i := 0; stats(t, db).Memtables < 3; i++ {
		key := fmt.Sprintf("k%06d", i)
		if _, err := db.Put(ctx, []byte(key), []byte(strings.Repeat("v", 1000)), strict); err != nil {
			t.Fatal(err)
		}
		want = append(want, key+"=")
	}
	if _, err := db.DeleteRange(ctx, []byte("k"), []byte("l"), nil); err != nil {
		t.Fatal(err)
	}
	close(begin)
	<-flushed
	<-flushed
	left := open(t, fs.CrashClone(nil), nil)
	if got := entries(t, left, &kv.ScanOptions{KeysOnly: true}); got != strings.Join(want, " ") {
		t.Errorf("without the clear there is %q, want %q", got, want)
	}
}

package kv_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/errorfs"
)

// answers is a sink that keeps the answers of writes by id.
type answers struct {
	open sync.WaitGroup
	mu   sync.Mutex
	errs map[uint64]error
	seqs map[uint64]base.SeqNum
}

func newAnswers() *answers {
	return &answers{errs: map[uint64]error{}, seqs: map[uint64]base.SeqNum{}}
}

func (a *answers) WriteDone(id uint64, seq base.SeqNum, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errs[id], a.seqs[id] = err, seq
	a.open.Done()
}

func (a *answers) GetDone(uint64, []byte, base.SeqNum, error) { panic("no get was sent") }

// send sends a batch without waiting for the answer.
func (a *answers) send(t testing.TB, db *kv.DB, id uint64, b *batch.Batch, opts *kv.WriteOptions) {
	t.Helper()
	a.open.Add(1)
	if err := db.SendWrite(ctx, b.Repr()[batch.HeaderSize:], b.Count(), opts, id, a); err != nil {
		t.Fatal(err)
	}
}

// count returns how many writes were answered.
func (a *answers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.errs)
}

// wantAll waits for all answers, which must be err.
func (a *answers) wantAll(t testing.TB, want error) {
	t.Helper()
	a.open.Wait()
	for id, err := range a.errs {
		if !errors.Is(err, want) {
			t.Fatalf("write %d: %v, want %v", id, err, want)
		}
	}
}

func heldKey(i int) string   { return fmt.Sprintf("held%03d", i) }
func heldValue(i int) string { return fmt.Sprint(i, strings.Repeat("v", 2000)) }

// fillUntilHeld sends puts of heldKey, while no flush ends, until some of them wait
// for room in the two memtables. It returns how many it has sent.
func fillUntilHeld(t testing.TB, db *kv.DB, a *answers) int {
	t.Helper()
	for i, more := 0, -1; ; i++ {
		var b batch.Batch
		b.Put([]byte(heldKey(i)), []byte(heldValue(i)))
		a.send(t, db, uint64(i), &b, nil)
		if more--; more == 0 {
			return i + 1
		}
		s, err := db.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if s.Memtables == 2 && s.MemtableBytes >= 128<<10 && more < 0 {
			more = 3
		}
	}
}

// TestCloseWhileWritesWaitForRoomCommitsThem: they were sent before Close.
func TestCloseWhileWritesWaitForRoomCommitsThem(t *testing.T) {
	fs := vfs.NewMem()
	opts := noFlush()
	opts.MaxImmutables = 1
	db := open(t, fs, opts)
	a := newAnswers()
	sent := fillUntilHeld(t, db, a)
	if a.count() == sent {
		t.Fatal("no write waits")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	a.wantAll(t, nil)
	db = open(t, fs, nil)
	for i := range sent {
		wantValue(t, db, heldKey(i), heldValue(i))
	}
}

// gate is an Options.Yield that holds background jobs while it is shut.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed where the gate is open
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) yield(stop <-chan struct{}) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
	case <-stop:
	}
}

// gated returns small options with a gate in them.
func gated() (*kv.Options, *gate) {
	g := newGate()
	opts := smallOptions()
	opts.Yield = g.yield
	return opts, g
}

func TestWritesThatWaitForRoomAreCommittedOnceThereIsSome(t *testing.T) {
	opts, g := gated()
	db := open(t, vfs.NewMem(), opts)
	put(t, db, "other", "v")
	g.shut()
	a := newAnswers()
	sent := fillUntilHeld(t, db, a)
	if a.count() == sent {
		t.Fatal("no write waits")
	}
	// Gets of other keys are answered meanwhile, a get of a key that waits is
	// not, and a scan neither.
	wantValue(t, db, "other", "v")
	last := heldKey(sent - 1)
	var readers sync.WaitGroup
	read := make(chan string, 3)
	readers.Go(func() {
		v, err := db.Get(ctx, []byte(last))
		if err != nil || string(v) != heldValue(sent-1) {
			t.Errorf("get of what waits: %.20q, %v", v, err)
		}
		read <- "get"
	})
	readers.Go(func() {
		if n, err := db.Count(ctx, nil, iterator.Bounds{}); err != nil || n != uint64(sent+1) {
			t.Errorf("count: %d, %v, want %d", n, err, sent+1)
		}
		read <- "count"
	})
	readers.Go(func() {
		s, err := db.Snapshot(ctx)
		if err != nil || int(s.Seq()) != sent+1 {
			t.Errorf("snapshot: %v, want one at %d", err, sent+1)
		}
		s.Close()
		read <- "snapshot"
	})
	wantValue(t, db, "other", "v")
	wantMissing(t, db, "no such key")
	if len(read) > 0 || a.count() == sent {
		t.Error(<-read, "did not wait")
	}
	g.lift()
	a.wantAll(t, nil)
	readers.Wait()
	if s, err := db.Stats(ctx); err != nil || s.Stalls == 0 || s.Flushes == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestWritesThatWaitFailWithTheFlush: they fail with its error, and the very
// next write succeeds once the fault is lifted.
func TestWritesThatWaitFailWithTheFlush(t *testing.T) {
	for _, kind := range []error{base.ErrIO, base.ErrQuota} {
		injected := base.Wrap(kind, "injected", nil)
		faulty := errorfs.Wrap(vfs.NewMem())
		opts, g := gated()
		db := open(t, faulty, opts)
		g.shut()
		a := newAnswers()
		sent := fillUntilHeld(t, db, a)
		answered := a.count()
		faulty.Inject(errorfs.Fault{Ops: errorfs.OpCreate, Err: injected, Lasting: true})
		g.lift()
		a.open.Wait()
		failed := 0
		for id, err := range a.errs {
			switch {
			case err == nil:
				wantValue(t, db, heldKey(int(id)), heldValue(int(id)))
			case errors.Is(err, injected):
				failed++
				wantMissing(t, db, heldKey(int(id)))
			default:
				t.Fatalf("%v: write %d: %v", kind, id, err)
			}
		}
		if failed == 0 || answered+failed > sent {
			t.Fatalf("%v: of %d writes %d were answered, then %d failed", kind, sent, answered, failed)
		}
		if s, _ := db.Stats(ctx); !errors.Is(s.BackgroundError, injected) {
			t.Errorf("%v: the background error is %v", kind, s.BackgroundError)
		}
		for n := range 3 {
			if _, err := db.Put(ctx, []byte("next"), nil, nil); !errors.Is(err, injected) {
				t.Fatalf("%v: put %d: %v", kind, n, err)
			}
		}
		faulty.Inject(errorfs.Fault{Index: -1})
		if _, err := db.Put(ctx, []byte("next"), []byte("v"), nil); err != nil {
			t.Fatalf("%v: after the fault: %v", kind, err)
		}
		if s, _ := db.Stats(ctx); s.BackgroundError != nil {
			t.Errorf("%v: the background error is still %v", kind, s.BackgroundError)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConditionalWritesOfOneGroupNeedNoRoomEach: the first fills the memtable, and
// those behind it in the same group must not fail for that.
func TestConditionalWritesOfOneGroupNeedNoRoomEach(t *testing.T) {
	opts, g := gated()
	db := open(t, vfs.NewMem(), opts)
	g.shut()
	// Fill the immutable memtables, and most of the other.
	for s, err := db.Stats(ctx); s.Memtables < 2 || s.MemtableBytes < 126<<10; s, err = db.Stats(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		put(t, db, fmt.Sprint("fill", s.Sequence), heldValue(0)[:500])
	}
	// Hold the worker, so that all wait for it at once.
	hold, held := make(chan struct{}), make(chan struct{})
	var b batch.Batch
	b.Put([]byte("first"), nil)
	if err := db.SendWrite(ctx, b.Repr()[batch.HeaderSize:], 1, nil, 0, blockingSink{held, hold}); err != nil {
		t.Fatal(err)
	}
	<-held
	a := newAnswers()
	for i := range 10 {
		var b batch.Batch
		b.Put(fmt.Append(nil, "own", i), []byte(heldValue(i)))
		a.send(t, db, uint64(i), &b, &kv.WriteOptions{If: &kv.Condition{Since: base.MaxSeqNum}})
	}
	close(hold)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	a.wantAll(t, nil)
}

// blockingSink tells that it is called, and keeps its caller waiting.
type blockingSink struct{ called, hold chan struct{} }

func (s blockingSink) WriteDone(uint64, base.SeqNum, error) {
	close(s.called)
	<-s.hold
}

func (s blockingSink) GetDone(uint64, []byte, base.SeqNum, error) {}

// TestAGetWaitsForAClearOfTheVersionThatItWouldFind: with suffixes a get finds a
// version behind its key, and a clear may begin between them.
func TestAGetWaitsForAClearOfTheVersionThatItWouldFind(t *testing.T) {
	opts, g := gated()
	opts.Comparer = base.FixedSuffix(1)
	db := open(t, vfs.NewMem(), opts)
	put(t, db, "k\x03", "v")
	put(t, db, "l\x03", "v")
	g.shut()
	a := newAnswers()
	sent := fillUntilHeld(t, db, a)
	var b batch.Batch
	b.DeleteRange([]byte("k\x04"), []byte("k\x01"))
	a.send(t, db, uint64(sent), &b, nil)
	got := make(chan error)
	go func() {
		_, err := db.Get(ctx, []byte("k\x09"))
		got <- err
	}()
	wantValue(t, db, "l\x09", "v")
	g.lift()
	if err := <-got; err != kv.ErrNotFound {
		t.Error("what was cleared before is found:", err)
	}
	a.wantAll(t, nil)
}

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
	"tempestkv/kv/vfs"
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

// fillUntilHeld sends puts of heldKey until some of them wait for room. It
// returns how many it has sent.
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
		if s.Stalls > 0 && more < 0 {
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

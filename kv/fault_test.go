package kv_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/errorfs"
)

var errInjected = base.Wrap(base.ErrIO, "injected", nil)

// TestAFailedMoveKeepsItsTable: the edit that moves a table to another level
// fails, so nobody knows at which level it will be found; it is needed either
// way.
func TestAFailedMoveKeepsItsTable(t *testing.T) {
	mem := vfs.NewMem()
	faulty := errorfs.Wrap(mem)
	db := open(t, faulty, nil)
	put(t, db, "k", "v")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	faulty.Inject(errorfs.Fault{Ops: errorfs.OpAppend, Err: errInjected})
	if err := db.Compact(ctx, iterator.Bounds{}); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	// The next edit decides what became of the failed one.
	put(t, db, "other", "v")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, mem, nil)
	wantValue(t, db, "k", "v")
	wantValue(t, db, "other", "v")
}

// TestAnAppendForWhichThereIsNoSpaceIsTakenBack: the DB stays writable, nothing of
// the failed batch is left, and the log can be replayed.
func TestAnAppendForWhichThereIsNoSpaceIsTakenBack(t *testing.T) {
	full := base.Wrap(base.ErrQuota, "injected", nil)
	mem := vfs.NewMem()
	faulty := errorfs.Wrap(mem)
	db := open(t, faulty, nil)
	for round := range 6 {
		key := fmt.Sprint("good", round)
		// A sync lets the next append begin with a sync marker.
		if _, err := db.Put(ctx, []byte(key), []byte("v"), &kv.WriteOptions{Strict: round%2 == 0}); err != nil {
			t.Fatal(err)
		}
		faulty.Inject(errorfs.Fault{Ops: errorfs.OpAppend, Err: full, ShortAppend: round%3 > 0})
		if _, err := db.Put(ctx, []byte("bad"), []byte(strings.Repeat("v", 40_000)), nil); !errors.Is(err, full) || errors.Is(err, kv.ErrReadOnly) {
			t.Fatal(err)
		}
		wantMissing(t, db, "bad")
	}
	left := mem.CrashClone(nil)
	for _, fs := range []*vfs.MemFS{left, mem.Clone()} {
		again := open(t, fs, nil)
		if r := again.Recovery(); r.Sequence < 5 || r.Text != "" {
			t.Errorf("%+v", r)
		}
		wantMissing(t, again, "bad")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, mem, nil)
	for round := range 6 {
		wantValue(t, db, fmt.Sprint("good", round), "v")
	}
	wantMissing(t, db, "bad")
}

// TestAnEditForWhichThereIsNoSpaceLeavesNoFiles: it is taken back, so nobody has to
// keep its tables until another edit decides. Flush tries again before it fails.
func TestAnEditForWhichThereIsNoSpaceLeavesNoFiles(t *testing.T) {
	full := base.Wrap(base.ErrQuota, "injected", nil)
	mem := vfs.NewMem()
	faulty := errorfs.Wrap(mem)
	failures := 0
	db := open(t, faulty, &kv.Options{Event: func(e kv.Event) {
		if errors.Is(e.Err, full) {
			failures++
		}
	}})
	put(t, db, "k", "v")
	// Appends of a flush: a table's, then that of the manifest.
	faulty.Inject(errorfs.Fault{Index: -1, Ops: errorfs.OpAppend})
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	last := faulty.Count() - 2 // behind it comes the sync marker
	put(t, db, "k2", "v2")
	faulty.Inject(errorfs.Fault{Index: last, Ops: errorfs.OpAppend, Err: full, ShortAppend: true})
	if err := db.Flush(ctx); err != nil || failures != 1 {
		t.Fatalf("%v, after %d failures", err, failures)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := mem.List()
	if err != nil || len(files) != 4 {
		t.Errorf("%v, %v: want two tables, a log and a manifest", files, err)
	}
	wantValue(t, open(t, mem, nil), "k2", "v2")
}

// TestAFeatureThatCouldNotBeNamedIsNamedAgain: without it in the manifest no
// operation that needs it may go to the log, and readers must know of it.
func TestAFeatureThatCouldNotBeNamedIsNamedAgain(t *testing.T) {
	for _, fault := range []errorfs.Fault{
		{Ops: errorfs.OpCreate, Err: errInjected},
		{Ops: errorfs.OpAppend, Err: errInjected},
		{Ops: errorfs.OpSync, Err: errInjected},
		{Ops: errorfs.OpSetCurrent, Err: errInjected},
		{Ops: errorfs.OpAppend, Index: 1, Err: errInjected}, // the edit behind the snapshot
	} {
		mem := vfs.NewMem()
		faulty := errorfs.Wrap(mem)
		opts := &kv.Options{Now: func() int64 { return 5 }}
		db := open(t, faulty, opts)
		var b batch.Batch
		b.PutExpiring([]byte("k"), []byte("v"), 10)
		faulty.Inject(fault)
		if _, err := db.Apply(ctx, &b, nil); !errors.Is(err, errInjected) {
			t.Fatalf("%+v: %v", fault, err)
		}
		if _, err := db.Apply(ctx, &b, nil); err != nil {
			t.Fatalf("%+v: again: %v", fault, err)
		}
		for range 2 {
			wantValue(t, db, "k", "v")
			if got := entries(t, db, nil); got != "k=v" {
				t.Errorf("%+v: %q", fault, got)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(t, mem, opts)
		}
	}
}

// faultRun writes a history and does not stop at errors. What failed for want of
// space, or in the background, did not happen; what an append or a sync failed
// may have.
type faultRun struct {
	*history
	state map[string]modelValue
	maybe map[string]modelValue // what the write that made the DB read-only leads to; nil for none
}

// apply does batch n of the history to the state.
func (h *history) apply(state map[string]modelValue, n int) map[string]modelValue {
	next := maps.Clone(state)
	for r := batch.MakeReader(h.batches[n].Repr()[batch.HeaderSize:]); ; {
		kind, key, value, ok := r.Next()
		if !ok {
			return next
		}
		switch kind {
		case base.KindPut:
			next[string(key)] = modelValue{value: string(value)}
		case base.KindDelete:
			delete(next, string(key))
		case base.KindPutExpiring:
			ends, user, _ := base.CutExpiry(value)
			next[string(key)] = modelValue{string(user), int64(ends)}
		case base.KindRangeDelete:
			maps.DeleteFunc(next, func(k string, _ modelValue) bool {
				return within([]byte(k), iterator.Bounds{Lower: key, Upper: value})
			})
		}
	}
}

// write opens fs and writes the batches. Errors must be err, or of a DB that err has
// made read-only.
func (r *faultRun) write(fs vfs.FS, want error) error {
	opts := smallOptions()
	opts.Now = func() int64 { return clockAt(0) }
	db, err := kv.Open(fs, opts)
	if err != nil {
		if !errors.Is(err, want) {
			return fmt.Errorf("open: %w", err)
		}
		return nil
	}
	defer db.Close()
	for n := range r.batches {
		_, err := db.Apply(ctx, r.batches[n], &kv.WriteOptions{Strict: n%4 == 0})
		switch {
		case err == nil:
			r.state = r.apply(r.state, n)
		case !errors.Is(err, want):
			return fmt.Errorf("batch %d: %w", n, err)
		case !errors.Is(err, kv.ErrReadOnly):
			// Is it read-only now? Then the batch may be in the log.
			if _, err := db.Put(ctx, []byte("zzz"), nil, nil); errors.Is(err, kv.ErrReadOnly) {
				r.maybe = r.apply(r.state, n)
			} else if err == nil {
				r.state = maps.Clone(r.state)
				r.state["zzz"] = modelValue{}
			} else if !errors.Is(err, want) {
				return fmt.Errorf("put behind batch %d: %w", n, err)
			}
		}
		if n%20 == 19 {
			if err := r.read(db, want); err != nil {
				return fmt.Errorf("batch %d: %w", n, err)
			}
		}
		if n == len(r.batches)/2 {
			if err := db.Compact(ctx, iterator.Bounds{}); err != nil && !errors.Is(err, want) {
				return fmt.Errorf("compact: %w", err)
			}
		}
	}
	return nil
}

// read wants all that was acknowledged, and nothing else, or an error.
func (r *faultRun) read(db *kv.DB, want error) error {
	found, err := scanAll(db)
	if err != nil && errors.Is(err, want) {
		return nil
	}
	if err != nil {
		return err
	}
	if left := live(r.state, clockAt(0)); !maps.Equal(found, left) {
		return fmt.Errorf("found %d keys, want %d: %s", len(found), len(left), differ(found, left))
	}
	return nil
}

// scanAll returns what is in a DB.
func scanAll(db *kv.DB) (map[string]string, error) {
	s, err := db.Scan(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	found := map[string]string{}
	for s.Next() {
		found[string(s.Key())] = string(s.Value())
	}
	return found, s.Error()
}

// differ names a key that is not the same in a and b.
func differ(a, b map[string]string) string {
	for k, v := range b {
		if w, ok := a[k]; w != v || !ok {
			return fmt.Sprintf("%q is %.20q, %t, want %.20q", k, w, ok, v)
		}
	}
	for k, v := range a {
		if _, ok := b[k]; !ok {
			return fmt.Sprintf("%q is %.20q, want none", k, v)
		}
	}
	return ""
}

// TestAFaultAtEveryOperationOfEachKind: the operation fails once, or from then on,
// by an I/O error or for want of space, on the worker or in the background. The
// errors are clear, nothing acknowledged is lost, nothing else appears, and when
// the fault is over the store opens, verifies and takes writes.
func TestAFaultAtEveryOperationOfEachKind(t *testing.T) {
	h := newHistory(100)
	for _, kind := range []struct {
		name  string
		ops   errorfs.Op
		short bool
	}{
		{"create", errorfs.OpCreate, false}, {"append", errorfs.OpAppend, false}, {"short append", errorfs.OpAppend, true},
		{"sync", errorfs.OpSync, false}, {"remove", errorfs.OpRemove, false}, {"open", errorfs.OpOpen, false},
		{"read", errorfs.OpReadAt, false}, {"reopen, list, size or current", errorfs.OpReopen | errorfs.OpList | errorfs.OpSize | errorfs.OpSetCurrent | errorfs.OpCurrent, false},
	} {
		for _, of := range []error{base.ErrIO, base.ErrQuota} {
			for _, lasting := range []bool{false, true} {
				name := fmt.Sprintf("%s, %v, lasting %t", kind.name, of, lasting)
				t.Run(name, func(t *testing.T) {
					injected := base.Wrap(of, "injected", nil)
					step := 1
					if *crashSeeds <= 3 {
						step = 7
					}
					for i := 0; ; i += step {
						mem := vfs.NewMem()
						faulty := errorfs.Wrap(mem)
						faulty.Inject(errorfs.Fault{Index: i, Ops: kind.ops, Err: injected, Lasting: lasting, ShortAppend: kind.short})
						r := faultRun{history: h, state: map[string]modelValue{}}
						if err := r.write(faulty, injected); err != nil {
							t.Fatalf("fault %d: %v", i, err)
						}
						if err := r.reopen(mem); err != nil {
							t.Fatalf("fault %d: when it is over: %v", i, err)
						}
						if faulty.Hits() == 0 {
							return
						}
					}
				})
			}
		}
	}
}

// reopen opens what a run has left.
func (r *faultRun) reopen(fs vfs.FS) error {
	opts := smallOptions()
	opts.Now = func() int64 { return clockAt(0) }
	db, err := kv.Open(fs, opts)
	if err != nil {
		return err
	}
	defer db.Close()
	found, err := scanAll(db)
	if err != nil {
		return err
	}
	if left := live(r.state, clockAt(0)); !maps.Equal(found, left) && (r.maybe == nil || !maps.Equal(found, live(r.maybe, clockAt(0)))) {
		return fmt.Errorf("found %d keys, want %d: %s", len(found), len(left), differ(found, left))
	}
	if report, err := db.Verify(ctx); err != nil || len(report.Problems) > 0 {
		return fmt.Errorf("verify: %+v, %w", report, err)
	}
	if _, err := db.Put(ctx, []byte("more"), nil, strict); err != nil {
		return err
	}
	if err := db.Compact(ctx, iterator.Bounds{}); err != nil {
		return err
	}
	return db.Close()
}

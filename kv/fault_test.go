package kv_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
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
// keep its tables until another edit decides.
func TestAnEditForWhichThereIsNoSpaceLeavesNoFiles(t *testing.T) {
	full := base.Wrap(base.ErrQuota, "injected", nil)
	mem := vfs.NewMem()
	faulty := errorfs.Wrap(mem)
	db := open(t, faulty, nil)
	put(t, db, "k", "v")
	// Appends of a flush: a table's, then that of the manifest.
	faulty.Inject(errorfs.Fault{Index: -1, Ops: errorfs.OpAppend})
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	last := faulty.Count() - 2 // behind it comes the sync marker
	put(t, db, "k", "v2")
	faulty.Inject(errorfs.Fault{Index: last, Ops: errorfs.OpAppend, Err: full, ShortAppend: true})
	if err := db.Flush(ctx); !errors.Is(err, full) {
		t.Fatal(err)
	}
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := mem.List()
	if err != nil || len(files) != 4 {
		t.Errorf("%v, %v: want two tables, a log and a manifest", files, err)
	}
	wantValue(t, open(t, mem, nil), "k", "v2")
}

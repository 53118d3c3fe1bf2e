package kv_test

import (
	"errors"
	"testing"

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

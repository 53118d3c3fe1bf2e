package kv

import (
	"context"
	"sync/atomic"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/iterator/itertest"
	"tempestkv/kv/manifest"
	"tempestkv/kv/vfs"
)

// TestATableThatSharesAKeyIsNotRewrittenAlone: LevelDB may end a table with a
// version of a key and begin the next one with an older version. A tombstone of
// the first is needed while the second is there.
func TestATableThatSharesAKeyIsNotRewrittenAlone(t *testing.T) {
	fs := vfs.NewMem()
	row := func(key string, seq base.SeqNum, kind base.Kind) itertest.Row {
		return itertest.Row{Key: base.MakeInternalKey([]byte(key), seq, kind)}
	}
	var e manifest.VersionEdit
	e.SetLogNum(0)
	e.SetLastSeq(9)
	e.Add(1, writeTable(t, fs, base.Bytewise, 1, []itertest.Row{row("a", 1, base.KindPut), row("k", 9, base.KindDelete)}))
	e.Add(1, writeTable(t, fs, base.Bytewise, 2, []itertest.Row{row("k", 5, base.KindPut), row("z", 2, base.KindPut)}))
	m, err := manifest.Create(fs, 3, &e, manifest.Options{Comparer: base.Bytewise})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, b := range []iterator.Bounds{{}, {Upper: []byte("b")}, {}} {
		if err := db.Compact(nil, b); err != nil {
			t.Fatal(err)
		}
		if v, err := db.Get(nil, []byte("k")); err != ErrNotFound {
			t.Fatalf("a deleted key came back: %q, %v", v, err)
		}
		if n, err := db.Count(nil, nil, iterator.Bounds{}); err != nil || n != 2 {
			t.Fatalf("%d keys, %v", n, err)
		}
	}
}

// TestACompactionThatNobodyWaitsForLeavesNothingBehind: its caller's context ended.
func TestACompactionThatNobodyWaitsForLeavesNothingBehind(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	db, err := Open(vfs.NewMem(), &Options{Yield: func(<-chan struct{}) {
		if armed.Swap(false) {
			close(held)
			<-release
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range 2 {
		if _, err := db.Put(nil, []byte("k"), nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.Compact(nil, iterator.Bounds{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.do(nil, func() { armed.Store(true) }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- db.Compact(ctx, iterator.Bounds{}) }()
	<-held
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Error(err)
	}
	close(release)
	if _, err := db.Put(nil, []byte("k"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(nil); err != nil {
		t.Fatal(err)
	}
	if err := db.do(nil, func() {
		if len(db.waiters)+len(db.manuals) > 0 {
			t.Errorf("%d waiters and %d compactions are left", len(db.waiters), len(db.manuals))
		}
	}); err != nil {
		t.Fatal(err)
	}
}

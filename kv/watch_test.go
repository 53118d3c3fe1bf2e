package kv_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
)

// changes reads commits as words, such as 5:put k=v, and returns the sequence
// number of the last.
func changes(t testing.TB, commits []byte, values bool) (words []string, last base.SeqNum) {
	t.Helper()
	take := func() string {
		n, w := binary.Uvarint(commits)
		s := string(commits[w : w+int(n)])
		commits = commits[w+int(n):]
		return s
	}
	for len(commits) > 0 {
		seq, count := base.SeqNum(binary.LittleEndian.Uint64(commits)), binary.LittleEndian.Uint32(commits[8:])
		if seq <= last {
			t.Fatalf("commit %d behind %d", seq, last)
		}
		last, commits = seq, commits[12:]
		for range count {
			kind := base.Kind(commits[0])
			commits = commits[1:]
			word := fmt.Sprint(seq, ":", kind, " ", take())
			if kind == base.KindRangeDelete || kind != base.KindDelete && values {
				word += "=" + take()
			}
			words = append(words, word)
		}
	}
	return words, last
}

// tell reads commits until seq has been told.
func tell(t testing.TB, w *kv.Watch, seq base.SeqNum) (words []string) {
	t.Helper()
	for last := base.SeqNum(0); last < seq; {
		commits, gap, _, err := w.Next(ctx, 1000)
		if err != nil || gap {
			t.Fatal(gap, err)
		}
		var more []string
		more, last = changes(t, commits, true)
		words = append(words, more...)
	}
	return words
}

func TestAWatchTellsWhatItWatches(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	put(t, db, "before", "1")
	w, err := db.Watch(ctx, &kv.WatchOptions{Values: true, Ranges: []iterator.Bounds{{Lower: []byte("b"), Upper: []byte("d")}}})
	if err != nil || w.Seq() != 1 {
		t.Fatal(w.Seq(), err)
	}
	put(t, db, "a", "1")
	put(t, db, "b", "2")
	var b batch.Batch
	b.Put([]byte("c"), []byte("3"))
	b.Put([]byte("d"), []byte("4"))
	b.Delete([]byte("b"))
	b.DeleteRange([]byte("a"), []byte("bb"))
	b.DeleteRange([]byte("a"), []byte("b"))
	if _, err := db.Apply(ctx, &b, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(tell(t, w, 8), " "), "3:1 b=2 8:1 c=3 8:0 b 8:2 a=bb"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.Close()
	if _, _, _, err := w.Next(ctx, 1000); !errors.Is(err, kv.ErrClosed) {
		t.Error(err)
	}
}

// TestAWatchResumes stops a watch again and again in a long stream of commits,
// and goes on behind the last it was told of: it must see each once.
func TestAWatchResumes(t *testing.T) {
	const commits = 100000
	db := open(t, vfs.NewMem(), &kv.Options{MemtableBytes: 64 << 20})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range commits {
			if _, err := db.Put(ctx, []byte(fmt.Sprint(i)), nil, nil); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	seen, last := 0, base.SeqNum(0)
	for round := 0; last < commits; round++ {
		w, err := db.Watch(ctx, &kv.WatchOptions{HasSince: true, Since: last})
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 50 && last < commits; n++ {
			told, gap, _, err := w.Next(ctx, 10000)
			if gap || err != nil {
				t.Fatal(gap, err)
			}
			words, to := changes(t, told, false)
			for _, word := range words {
				if _, key, _ := strings.Cut(word, " "); key != fmt.Sprint(seen) {
					t.Fatalf("%s, want key %d", word, seen)
				}
				seen++
			}
			last = to
		}
		w.Close()
	}
	<-done
	if seen != commits {
		t.Errorf("%d of %d", seen, commits)
	}
}

// TestASlowWatchReadsTheLogs lets more commits pass than are kept for it.
func TestASlowWatchReadsTheLogs(t *testing.T) {
	db := open(t, vfs.NewMem(), &kv.Options{MemtableBytes: 64 << 20})
	w, err := db.Watch(ctx, &kv.WatchOptions{Values: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range 300 {
		put(t, db, fmt.Sprint(i), strings.Repeat("v", 10000))
	}
	if words := tell(t, w, 300); len(words) != 300 {
		t.Errorf("%d changes", len(words))
	}
	put(t, db, "more", "")
	if words := tell(t, w, 301); len(words) != 1 || words[0] != "301:1 more=" {
		t.Errorf("%.50q", words)
	}
}

func TestAWatchIsToldOfAGap(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	put(t, db, "a", "1")
	put(t, db, "b", "2")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	w, err := db.Watch(ctx, &kv.WatchOptions{HasSince: true, Since: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, gap, from, err := w.Next(ctx, 1000); !gap || from != 2 || err != nil {
		t.Error(gap, from, err)
	}
	put(t, db, "c", "3")
	if words := tell(t, w, 3); len(words) != 1 {
		t.Error(words)
	}
}

func TestAClosedDBEndsItsWatches(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	put(t, db, "a", "1")
	put(t, db, "b", "2")
	w, err := db.Watch(ctx, &kv.WatchOptions{HasSince: true})
	if err != nil {
		t.Fatal(err)
	}
	// It holds a log open, and must not hold up the end.
	if _, _, _, err := w.Next(ctx, 1); err != nil {
		t.Fatal(err)
	}
	waiting, err := db.Watch(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, _, _, err := waiting.Next(ctx, 1000)
		ended <- err
	}()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, kv.ErrClosed) {
		t.Error(err)
	}
}

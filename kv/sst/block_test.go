package sst

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
)

func TestSharedPrefix(t *testing.T) {
	for n := range 20 {
		a := []byte(strings.Repeat("a", n))
		for m := range 20 {
			b := []byte(strings.Repeat("a", m))
			if got := sharedPrefix(a, b); got != min(n, m) {
				t.Errorf("%d and %d bytes share %d", n, m, got)
			}
			if got := sharedPrefix(append(a, 'x'), append(b, 'y')); got != min(n, m) {
				t.Errorf("%d and %d bytes and another share %d", n, m, got)
			}
		}
	}
}

// Blocks of any interval, walked back and forth, also over entries that share
// more with the one before than that shares with the one before it.
func TestBlockModel(t *testing.T) {
	cmp := base.Bytewise
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t, cmp)
		b := blockBuilder{interval: rapid.SampledFrom([]int{1, 2, 3, 16, 1000}).Draw(t, "interval")}
		for _, r := range rows {
			b.add(r.Key.AppendTo(nil), []byte(r.Value))
		}
		size := b.size()
		contents := b.finish()
		if len(contents) != size || !checkBlock(contents) {
			t.Fatalf("%d bytes, want %d", len(contents), size)
		}
		var it blockIter
		it.init(contents)
		if !checkRestarts(&it) {
			t.Fatal("restarts are not where entries start")
		}
		pos, ok := 0, it.first()
		key := drawKey()
		for range 50 {
			if want := pos >= 0 && pos < len(rows); ok != want || it.bad != "" {
				t.Fatalf("at %d of %d: %t, %s", pos, len(rows), ok, it.bad)
			}
			if ok {
				r := rows[pos]
				if !bytes.Equal(it.key, r.Key.AppendTo(nil)) || string(it.value) != r.Value {
					t.Fatalf("at %d: %q = %q, want %v", pos, it.key, it.value, r)
				}
			}
			move := rapid.IntRange(0, 10).Draw(t, "move")
			switch {
			case move == 0:
				pos, ok = 0, it.first()
			case move == 1:
				pos, ok = len(rows)-1, it.last()
			case move == 2 || pos < 0:
				k, seq := key.Draw(t, "key"), base.SeqNum(rapid.IntRange(0, 150).Draw(t, "sequence number"))
				target := base.MakeInternalKey(k, seq, base.KindPut)
				pos = slices.IndexFunc(rows, func(r row) bool { return cmp.CompareInternal(r.Key, target) >= 0 })
				if pos < 0 {
					pos = len(rows)
				}
				ok = it.seek(cmp, k, target.Trailer)
			case move < 6:
				pos, ok = min(pos+1, len(rows)), it.next()
			default:
				pos, ok = pos-1, it.prev()
			}
		}
	})
}

func TestPrevPutsKeysTogether(t *testing.T) {
	keys := []string{"a", "ab", "abc", "abcd", "abcdefgh", "abcdefghi", "abd", "b", "bb", "bbb", "bbbb", "bbbbbbbb", "bc", "c"}
	b := blockBuilder{interval: 100}
	for _, k := range keys {
		b.add([]byte(k), nil)
	}
	var it blockIter
	it.init(b.finish())
	var got []string
	for ok := it.last(); ok; ok = it.prev() {
		got = append(got, string(it.key))
	}
	slices.Reverse(got)
	if !slices.Equal(got, keys) {
		t.Errorf("%q, want %q", got, keys)
	}
}

func TestPrevFindsARestartInsideAnEntry(t *testing.T) {
	var it blockIter
	it.init(withRestarts(bare(entries(9, "k", "\x00\x00\x00\x00", "m", "v")), 6, 0))
	if !it.first() || !it.next() || string(it.key) != "m" {
		t.Fatal("damaged before the walk back")
	}
	if it.prev() || it.bad == "" {
		t.Errorf("came to %q", it.key)
	}
}

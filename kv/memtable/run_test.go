package memtable

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator/itertest"
)

// internalKeys returns the keys of items that are in chunks.
func internalKeys(chunks [][]byte, items []item) []base.InternalKey {
	keys := make([]base.InternalKey, len(items))
	for i := range items {
		keys[i] = base.InternalKey{UserKey: keyOf(chunks, &items[i]), Trailer: items[i].trailer}
	}
	return keys
}

// checkSorted adds keys to a table and compares its run with what a general
// sort makes of them.
func checkSorted(t rapid.TB, cmp *base.Comparer, keys [][]byte) {
	t.Helper()
	m := New(cmp)
	want := make([]base.InternalKey, len(keys))
	for i, key := range keys {
		want[i] = base.MakeInternalKey(key, base.SeqNum(i+1), base.KindPut)
		m.Add(want[i].SeqNum(), base.KindPut, key, key)
	}
	slices.SortFunc(want, cmp.CompareInternal)
	v := m.View()
	items := v.run.items()
	got := internalKeys(v.chunks, items)
	if !slices.EqualFunc(got, want, func(a, b base.InternalKey) bool {
		return bytes.Equal(a.UserKey, b.UserKey) && a.Trailer == b.Trailer
	}) {
		t.Fatalf("%s: sorted to %v\nwant %v", cmp.Name, got, want)
	}
	for i := range items {
		if items[i].abbr != cmp.Abbreviate(got[i].UserKey) {
			t.Fatalf("%s: the abbreviation of %q is another after sorting", cmp.Name, got[i].UserKey)
		}
	}
}

func TestRunIsSortedLikeInternalKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cmp := rapid.SampledFrom([]*base.Comparer{base.Bytewise, base.FixedSuffix(2)}).Draw(t, "comparer")
		part := rapid.SampledFrom([]string{"", "\x00", "a", "b", "\xff", "a prefix of sixteen bytes and more", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"})
		key := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 20),
			rapid.Map(rapid.SliceOfN(part, 0, 5), func(parts []string) []byte {
				var key []byte
				for _, p := range parts {
					key = append(key, p...)
				}
				return key
			}),
		)
		checkSorted(t, cmp, rapid.SliceOfN(key, 0, 300).Draw(t, "keys"))
	})
}

// TestSortingManyAndNestedKeys has more keys than a step, and keys that share
// more and more with others, deeper than keys are abbreviated anew.
func TestSortingManyAndNestedKeys(t *testing.T) {
	const many = 3 * stepItems
	var nested, numbers, ascending [][]byte
	for i := range 20 * maxDepth {
		nested = append(nested, bytes.Repeat([]byte("x"), 16*(i*7%(20*maxDepth))))
	}
	for i := range many {
		numbers = append(numbers, fmt.Appendf(nil, "rows of the same table/%d", i*7919%many))
		ascending = append(ascending, fmt.Appendf(nil, "%08d", i))
	}
	for _, cmp := range []*base.Comparer{base.Bytewise, base.FixedSuffix(2)} {
		checkSorted(t, cmp, nested)
		checkSorted(t, cmp, numbers)
		checkSorted(t, cmp, ascending)
	}
}

// TestViewsOfSeveralChunks adds entries of all sizes, so that runs and trees
// span chunks, and compares views with what was there when they were taken.
// They are read only after all was added.
func TestViewsOfSeveralChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type taken struct {
			view *View
			rows int
		}
		key := rapid.Map(rapid.IntRange(0, 60), func(i int) []byte { return fmt.Appendf(nil, "all keys share this/%02d", i) })
		m := New(base.Bytewise)
		var rows []itertest.Row
		var views []taken
		for i := range rapid.IntRange(1, 60).Draw(t, "adds") {
			k := base.MakeInternalKey(key.Draw(t, "key"), base.SeqNum(i+1), base.KindPut)
			size := rapid.SampledFrom([]int{0, 10, 1000, chunkBytes / 3, chunkBytes / 2, chunkBytes}).Draw(t, "size")
			value := string(bytes.Repeat([]byte{byte(i)}, size))
			m.Add(k.SeqNum(), k.Kind(), k.UserKey, []byte(value))
			rows = append(rows, itertest.Row{Key: k, Value: value})
			if rapid.IntRange(0, 4).Draw(t, "view") == 0 {
				views = append(views, taken{m.View(), len(rows)})
			}
		}
		for _, v := range append(views, taken{m.View(), len(rows)}) {
			if v.view.Len() != v.rows {
				t.Fatalf("a view of %d entries has %d", v.rows, v.view.Len())
			}
			want := slices.Clone(rows[:v.rows])
			slices.SortFunc(want, func(a, b itertest.Row) int { return base.Bytewise.CompareInternal(a.Key, b.Key) })
			itertest.Walk(t, base.Bytewise, v.view.NewIter(), want, key, 70)
		}
	})
}

func TestFewEntriesSinceTheLastViewGoIntoTheTree(t *testing.T) {
	m := filled(benchKeys(1000, true, true))
	first := m.View()
	m.Add(1001, base.KindPut, []byte("one more"), nil)
	second := m.View()
	if first.run.count != 1000 || second.run != first.run || second.tree.Len() != 1 {
		t.Errorf("run of %d, then %d in the tree; want 1000 and 1", first.run.count, second.tree.Len())
	}
	for seq := base.SeqNum(1002); m.tree.Len() > 0; seq++ {
		m.Add(seq, base.KindPut, []byte("one more"), nil)
		if m.View(); m.tree.Len() > m.run.count {
			t.Fatalf("%d entries in the tree, %d in the run", m.tree.Len(), m.run.count)
		}
	}
	if m.run.count != 2001 {
		t.Errorf("the second run has %d entries, want 2001", m.run.count)
	}
}

// TestOneViewIsFirstReadByManyGoroutines is for the race detector.
func TestOneViewIsFirstReadByManyGoroutines(t *testing.T) {
	m := filled(benchKeys(5000, true, true))
	v := m.View()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if n := len(collect(v.NewIter())); n != 5000 {
				t.Errorf("walked %d entries", n)
			}
		})
	}
	for i := range 5000 {
		m.Add(base.SeqNum(5001+i), base.KindPut, fmt.Appendf(nil, "later %d", i), benchValue)
	}
	wg.Wait()
}

func TestRunIsReadableAfterAComparerPanicked(t *testing.T) {
	cmp := *base.Bytewise
	isBroken := true
	cmp.Compare = func(a, b []byte) int {
		if isBroken {
			panic("broken")
		}
		return bytes.Compare(a, b)
	}
	m := New(&cmp)
	m.Add(1, base.KindPut, []byte("b"), nil)
	m.Add(2, base.KindPut, []byte("b\x00"), nil)
	m.Add(3, base.KindPut, []byte("a"), nil)
	it := m.View().NewIter()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the comparer did not panic")
			}
		}()
		it.First()
	}()
	isBroken = false
	want := []string{`"a"#3,PUT=""`, `"b"#1,PUT=""`, `"b\x00"#2,PUT=""`}
	if got := collect(it); !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

package memtable

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/iterator/itertest"
)

func collect(it iterator.Internal) []string {
	var rows []string
	for ok := it.First(); ok; ok = it.Next() {
		rows = append(rows, itertest.At(it).String())
	}
	return rows
}

func TestItemIsSmallAndWithoutPointers(t *testing.T) {
	if got := unsafe.Sizeof(item{}); got != 32 {
		t.Errorf("an item takes %d bytes, want 32", got)
	}
}

func TestGetReturnsTheNewestVersionThatIsNotTooNew(t *testing.T) {
	m := New(base.Bytewise)
	m.Add(1, base.KindPut, []byte("a"), []byte("a1"))
	m.Add(2, base.KindPut, []byte("b"), []byte("b2"))
	m.Add(4, base.KindDelete, []byte("b"), nil)
	m.Add(6, base.KindPut, []byte("b"), []byte("b6"))
	m.Add(7, base.KindPut, []byte("d"), nil)
	m.Add(8, base.KindPutExpiring, []byte("d"), []byte("expiry--d8"))
	for _, c := range []struct {
		key  string
		at   base.SeqNum
		want string
		kind base.Kind
		ok   bool
	}{
		{"a", 0, "", 0, false},
		{"a", 1, "a1", base.KindPut, true},
		{"a", base.MaxSeqNum, "a1", base.KindPut, true},
		{"b", 1, "", 0, false},
		{"b", 3, "b2", base.KindPut, true},
		{"b", 4, "", base.KindDelete, true},
		{"b", 5, "", base.KindDelete, true},
		{"b", 6, "b6", base.KindPut, true},
		{"c", base.MaxSeqNum, "", 0, false},
		{"d", 7, "", base.KindPut, true},
		{"d", 6, "", 0, false},
		{"d", 8, "expiry--d8", base.KindPutExpiring, true},
		{"", base.MaxSeqNum, "", 0, false},
		{"a\x00", base.MaxSeqNum, "", 0, false},
		{"e", base.MaxSeqNum, "", 0, false},
	} {
		value, trailer, ok := m.Get([]byte(c.key), c.at)
		kind := trailer.Kind()
		if string(value) != c.want || kind != c.kind || ok != c.ok {
			t.Errorf("Get(%q, %d) = %q, %d, %t; want %q, %d, %t",
				c.key, c.at, value, kind, ok, c.want, c.kind, c.ok)
		}
	}
}

func TestPutAndDeleteOfOneKeyInOneBatchEndAsWritten(t *testing.T) {
	m := New(base.Bytewise)
	m.Add(1, base.KindPut, []byte("gone"), []byte("x"))
	m.Add(2, base.KindDelete, []byte("gone"), nil)
	m.Add(3, base.KindDelete, []byte("kept"), nil)
	m.Add(4, base.KindPut, []byte("kept"), []byte("y"))
	if _, trailer, ok := m.Get([]byte("gone"), 4); !ok || trailer.Kind() != base.KindDelete {
		t.Errorf("after put, delete: kind %d, %t; want a tombstone", trailer, ok)
	}
	if value, trailer, ok := m.Get([]byte("kept"), 4); !ok || trailer.Kind() != base.KindPut || string(value) != "y" {
		t.Errorf("after delete, put: %q, kind %d, %t; want y", value, trailer, ok)
	}
}

func TestPrefixesShorterThanFiveBytes(t *testing.T) {
	for _, cmp := range []*base.Comparer{base.Bytewise, base.FixedSuffix(1), base.FixedSuffix(2)} {
		m := New(cmp)
		var keys []string
		for n := range 10 {
			for _, c := range "\x00a" {
				keys = append(keys, string(bytes.Repeat([]byte(string(c)), n)))
			}
		}
		keys = keys[1:] // n = 0 made the empty key twice
		for i, key := range keys {
			m.Add(base.SeqNum(i+1), base.KindPut, []byte(key), []byte(key))
		}
		for _, key := range keys {
			value, _, ok := m.Get([]byte(key), base.MaxSeqNum)
			if !ok || string(value) != key {
				t.Errorf("%s: Get(%q) = %q, %t", cmp.Name, key, value, ok)
			}
		}
	}
}

func TestEntriesOfEverySize(t *testing.T) {
	m := New(base.Bytewise)
	sizes := []int{0, 1, 2, 3, 4, 5, 127, 4096, chunkBytes/2 - headerBytes - 5, chunkBytes/2 - headerBytes - 4, chunkBytes/2 - headerBytes - 1,
		chunkBytes / 2, chunkBytes - headerBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes}
	longest := bytes.Repeat([]byte("k"), base.MaxKeyBytes)
	sum := 0
	for round := range 3 {
		for i, size := range sizes {
			value := bytes.Repeat([]byte{byte(i + 1)}, size)
			m.Add(base.SeqNum(round+1), base.KindPut, fmt.Appendf(nil, "%04d", i), value)
			sum += 4 + size
		}
	}
	m.Add(9, base.KindPut, longest, []byte("long"))
	m.Add(10, base.KindPut, nil, []byte("empty"))
	for round := range 3 {
		for i, size := range sizes {
			value, _, ok := m.Get(fmt.Appendf(nil, "%04d", i), base.SeqNum(round+1))
			if !ok || !bytes.Equal(value, bytes.Repeat([]byte{byte(i + 1)}, size)) {
				t.Errorf("round %d: the value of %d bytes came back with %d, %t", round, size, len(value), ok)
			}
		}
	}
	if value, _, _ := m.Get(longest, 9); string(value) != "long" {
		t.Errorf("the longest key's value came back as %q", value)
	}
	if value, _, _ := m.Get(nil, 10); string(value) != "empty" {
		t.Errorf("the empty key's value came back as %q", value)
	}
	if got := m.ApproximateBytes(); got < sum || got > sum+base.MaxKeyBytes+120*m.Len() {
		t.Errorf("ApproximateBytes = %d with %d bytes of keys and values", got, sum)
	}
}

func TestOneLargestValue(t *testing.T) {
	m := New(base.Bytewise)
	value := make([]byte, base.MaxValueBytes)
	value[len(value)-1] = 7
	m.Add(1, base.KindPut, []byte("k"), value)
	if got, _, ok := m.Get([]byte("k"), 1); !ok || !bytes.Equal(got, value) {
		t.Error("the largest value did not come back")
	}
}

func TestAddCopiesItsArguments(t *testing.T) {
	m := New(base.Bytewise)
	key, value := []byte("key"), []byte("value")
	m.Add(1, base.KindPut, key, value)
	copy(key, "xxx")
	copy(value, "xxxxx")
	if got, _, ok := m.Get([]byte("key"), 1); !ok || string(got) != "value" {
		t.Errorf("Get = %q, %t after the caller changed its bytes", got, ok)
	}
}

func TestViewIsReusedUntilTheNextAdd(t *testing.T) {
	m := New(base.Bytewise)
	empty := m.View()
	if m.View() != empty {
		t.Error("nothing was added, yet the view is another")
	}
	m.Add(1, base.KindPut, []byte("a"), nil)
	one := m.View()
	if one == empty || m.View() != one {
		t.Error("a view is made anew after an Add, and only then")
	}
	m.Add(2, base.KindPut, []byte("b"), nil)
	if empty.Len() != 0 || one.Len() != 1 || m.View().Len() != 2 || m.Len() != 2 {
		t.Errorf("views have %d, %d and %d entries, the table %d; want 0, 1, 2 and 2",
			empty.Len(), one.Len(), m.View().Len(), m.Len())
	}
	if got := collect(one.NewIter()); !slices.Equal(got, []string{`"a"#1,PUT=""`}) {
		t.Errorf("the view of one entry shows %v", got)
	}
}

func TestIteratorOfAnEmptyView(t *testing.T) {
	it := New(base.Bytewise).View().NewIter()
	if it.First() || it.Last() || it.SeekGE(nil) || it.SeekLT([]byte("x")) || it.Next() || it.Prev() || it.Valid() {
		t.Error("found an entry in an empty view")
	}
}

func TestClosedIteratorIsAtNoEntry(t *testing.T) {
	m := New(base.Bytewise)
	m.Add(1, base.KindPut, []byte("a"), nil)
	it := m.View().NewIter()
	it.First()
	if it.Close() != nil || it.Close() != nil {
		t.Error("Close failed")
	}
	if it.Valid() || it.Next() || it.Prev() || it.First() || it.Last() || it.SeekGE(nil) || it.SeekLT([]byte("b")) {
		t.Error("a closed iterator came to an entry")
	}
}

func TestRelativeMovesBeforeAnAbsoluteOneStayNowhere(t *testing.T) {
	m := New(base.Bytewise)
	m.Add(1, base.KindPut, []byte("a"), nil)
	it := m.View().NewIter()
	if it.Next() || it.Prev() || it.Valid() {
		t.Error("came to an entry without an absolute move")
	}
}

func TestReadsAllocateNothing(t *testing.T) {
	m := New(base.Bytewise)
	add := func(from, to int) {
		for i := from; i < to; i++ {
			m.Add(base.SeqNum(i+1), base.KindPut, fmt.Appendf(nil, "key%06d", i*7919%2000), []byte("value"))
		}
	}
	hit, miss := []byte("key001000"), []byte("key001000x")
	check := func(what string) {
		t.Helper()
		it := m.View().NewIter()
		it.First()
		for it.Next() {
		}
		if n := testing.AllocsPerRun(10, func() {
			for ok := it.SeekGE(hit); ok; ok = it.Next() {
				_, _ = it.Key(), it.Value()
			}
			for ok := it.SeekLT(hit); ok; ok = it.Prev() {
				_, _ = it.Key(), it.Value()
			}
		}); n != 0 {
			t.Errorf("a scan of %s allocates %v times", what, n)
		}
	}
	add(0, 1900)
	check("a run")
	add(1900, 2000)
	check("a run and a tree")
	if n := testing.AllocsPerRun(10, func() {
		m.Get(hit, base.MaxSeqNum)
		m.Get(miss, base.MaxSeqNum)
	}); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
}

// kinds are those of entries.
var kinds = []base.Kind{base.KindDelete, base.KindPut, base.KindPutExpiring}

// TestTableAgainstModel adds random entries, taking views in between, and
// compares lookups and walks with a sorted slice.
func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cmp := rapid.SampledFrom([]*base.Comparer{base.Bytewise, base.FixedSuffix(2)}).Draw(t, "comparer")
		key := rapid.OneOf(
			rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 'b', 0xff}), 0, 4),
			rapid.Map(rapid.IntRange(0, 30), func(i int) []byte { return fmt.Appendf(nil, "long/prefix/%02d", i) }),
		)
		m := New(cmp)
		var rows []itertest.Row
		for i := range rapid.IntRange(0, 400).Draw(t, "adds") {
			seq := base.SeqNum(i + 1)
			k := base.MakeInternalKey(key.Draw(t, "key"), seq, rapid.SampledFrom(kinds).Draw(t, "kind"))
			value := fmt.Appendf(nil, "v%d", seq)
			m.Add(k.SeqNum(), k.Kind(), k.UserKey, value)
			rows = append(rows, itertest.Row{Key: k, Value: string(value)})
			if rapid.IntRange(0, 20).Draw(t, "view") == 0 {
				m.View()
			}
		}
		slices.SortFunc(rows, func(a, b itertest.Row) int { return cmp.CompareInternal(a.Key, b.Key) })

		for range 20 {
			k := key.Draw(t, "get")
			at := base.SeqNum(rapid.IntRange(0, 400).Draw(t, "at"))
			want := itertest.Row{}
			i := slices.IndexFunc(rows, func(r itertest.Row) bool { return bytes.Equal(r.Key.UserKey, k) && r.Key.SeqNum() <= at })
			if i >= 0 {
				want = rows[i]
			}
			value, trailer, ok := m.Get(k, at)
			if ok != (i >= 0) || trailer != want.Key.Trailer || string(value) != want.Value {
				t.Fatalf("Get(%q, %d) = %q, %x, %t; want %v", k, at, value, trailer, ok, want)
			}
		}

		itertest.Walk(t, cmp, m.View().NewIter(), rows, key, 300)
	})
}

// TestViewsAreReadWhileTheOwnerAdds is for the race detector. Readers also
// check that their view does not change.
func TestViewsAreReadWhileTheOwnerAdds(t *testing.T) {
	const adds, readers = 6000, 3
	m := New(base.Bytewise)
	views := make(chan *View, 4)
	var wg sync.WaitGroup
	for range readers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for v := range views {
				it := v.NewIter()
				count := 0
				for ok := it.First(); ok; ok = it.Next() {
					if !bytes.Equal(it.Key().UserKey, it.Value()[:len(it.Key().UserKey)]) {
						t.Errorf("key %q with value %q", it.Key().UserKey, it.Value())
						return
					}
					count++
				}
				if count != v.Len() {
					t.Errorf("walked %d entries of %d", count, v.Len())
				}
				if v.Len() > 0 && (!it.SeekGE([]byte("same prefix 0")) || !it.SeekLT([]byte("same prefix ~"))) {
					t.Error("found nothing near a key that exists")
				}
			}
		}()
	}
	for i := range adds {
		key := fmt.Appendf(nil, "same prefix %d", i*7919%adds)
		m.Add(base.SeqNum(i+1), base.KindPut, key, append(key, make([]byte, 100)...))
		if i%100 == 0 {
			views <- m.View()
		}
		if _, _, ok := m.Get(key, base.MaxSeqNum); !ok {
			t.Fatalf("%q is gone", key)
		}
	}
	close(views)
	wg.Wait()
}

// TestIndexGrows adds and finds so many keys that the index grows often, with
// several versions of some.
func TestIndexGrows(t *testing.T) {
	m := New(base.Bytewise)
	const keys = 20000
	seq := base.SeqNum(0)
	for i := range keys {
		key := fmt.Appendf(nil, "%d", i)
		for v := range 1 + i%3 {
			seq++
			m.Add(seq, base.KindPut, key, fmt.Appendf(nil, "%d/%d", i, v))
		}
	}
	for i := range keys {
		newest := fmt.Sprintf("%d/%d", i, i%3)
		if value, _, ok := m.Get(fmt.Appendf(nil, "%d", i), seq); !ok || string(value) != newest {
			t.Fatalf("key %d: %q, %t", i, value, ok)
		}
		if _, _, ok := m.Get(fmt.Appendf(nil, "%d.", i), seq); ok {
			t.Fatalf("key %d.: found", i)
		}
	}
	if m.index.count != keys || len(m.index.slots) != 32768 {
		t.Errorf("%d keys in %d slots", m.index.count, len(m.index.slots))
	}
}

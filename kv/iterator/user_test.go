package iterator_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/memtable"
	"tempestkv/kv/rangedel"
)

// forward and reverse return the values that a walk meets.
func forward(it iterator.Iterator) (out []string) {
	for ok := it.First(); ok; ok = it.Next() {
		out = append(out, string(it.Value()))
	}
	return out
}

func reverse(it iterator.Iterator) (out []string) {
	for ok := it.Last(); ok; ok = it.Prev() {
		out = append(out, string(it.Value()))
	}
	return out
}

// expect walks what a reader at the newest sequence number sees, both ways.
func expect(t *testing.T, cmp *base.Comparer, groups [][]row, want ...string) {
	t.Helper()
	it := iterator.NewUser(cmp, iterator.UserOptions{At: base.MaxSeqNum}, iters(tables(cmp, groups))...)
	if got := forward(it); !slices.Equal(got, want) {
		t.Errorf("%s: forward %q, want %q", cmp.Name, got, want)
	}
	got := reverse(it)
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: reverse, turned round, %q, want %q", cmp.Name, got, want)
	}
	if err := it.Close(); err != nil {
		t.Error(err)
	}
}

func TestTombstoneInANewerLayerHidesOlderLayers(t *testing.T) {
	for _, cmp := range comparers {
		expect(t, cmp, [][]row{
			{parseRow("b@1#4,DEL")},
			{parseRow("a@1#1,PUT=a"), parseRow("b@1#3,PUT=newer")},
			{parseRow("b@1#2,PUT=older"), parseRow("c@1#1,PUT=c")},
		}, "a", "c")
	}
}

func TestPutAboveATombstoneIsSeen(t *testing.T) {
	for _, cmp := range comparers {
		expect(t, cmp, [][]row{
			{parseRow("b@1#3,PUT=again")},
			{parseRow("b@1#2,DEL")},
			{parseRow("b@1#1,PUT=first")},
		}, "again")
	}
}

func TestPutThenDeleteOfOneKeyInOneBatchLeavesNothing(t *testing.T) {
	for _, cmp := range comparers {
		expect(t, cmp, [][]row{{parseRow("k@1#1,PUT=x"), parseRow("k@1#2,DEL")}})
	}
}

func TestDeleteThenPutOfOneKeyInOneBatchLeavesTheValue(t *testing.T) {
	for _, cmp := range comparers {
		expect(t, cmp, [][]row{{parseRow("k@1#1,DEL"), parseRow("k@1#2,PUT=x")}}, "x")
	}
}

func TestScansDropTombstones(t *testing.T) {
	for _, cmp := range comparers {
		expect(t, cmp, [][]row{
			{parseRow("a@1#7,DEL"), parseRow("b@1#8,DEL"), parseRow("never@1#9,DEL")},
			{parseRow("a@1#1,PUT=a"), parseRow("b@1#2,PUT=b"), parseRow("c@1#3,PUT=c")},
		}, "c")
		expect(t, cmp, [][]row{{parseRow("a@1#1,DEL"), parseRow("b@1#2,DEL")}})
	}
}

func TestScansOfPrefixesShorterThanFiveBytes(t *testing.T) {
	for _, cmp := range append(comparers, base.FixedSuffix(1), base.FixedSuffix(8)) {
		m := memtable.New(cmp)
		var keys [][]byte
		for n := range 10 {
			keys = append(keys, bytes.Repeat([]byte("k"), n))
		}
		for i, key := range keys {
			m.Add(base.SeqNum(i+1), base.KindPut, key, key)
		}
		slices.SortFunc(keys, cmp.Compare)
		var want []string
		for i, key := range keys {
			if i == 0 || !cmp.SameLogicalKey(keys[i-1], key) {
				want = append(want, string(key))
			}
		}
		it := iterator.NewUser(cmp, iterator.UserOptions{At: base.MaxSeqNum}, m.View().NewIter())
		if got := forward(it); !slices.Equal(got, want) {
			t.Errorf("%s: forward %q, want %q", cmp.Name, got, want)
		}
		for _, key := range want {
			if !it.SeekGE([]byte(key)) || string(it.Key()) != key {
				t.Errorf("%s: SeekGE(%q) came to %q", cmp.Name, key, it.Key())
			}
		}
	}
}

func TestMergingOfNoSources(t *testing.T) {
	it := iterator.NewUser(base.Bytewise, iterator.UserOptions{At: base.MaxSeqNum})
	if it.First() || it.Last() || it.SeekGE(nil) || it.SeekLT([]byte("a")) || it.Next() || it.Prev() || it.Valid() {
		t.Error("came to an entry where there is none")
	}
	if it.Key() != nil || it.Value() != nil || it.Error() != nil || it.Close() != nil {
		t.Error("an iterator over nothing has a key, a value or an error")
	}
}

func TestEqualInternalKeysComeInTheOrderOfTheirSources(t *testing.T) {
	groups := [][]row{{parseRow("k#1,PUT=newer")}, {parseRow("k#1,PUT=older")}}
	it := iterator.NewMerging(base.Bytewise, iters(tables(base.Bytewise, groups))...)
	var got []string
	for ok := it.First(); ok; ok = it.Next() {
		got = append(got, string(it.Value()))
	}
	for ok := it.Prev(); ok; ok = it.Prev() {
		got = append(got, string(it.Value()))
	}
	if want := []string{"newer", "older", "older", "newer"}; !slices.Equal(got, want) {
		t.Errorf("there and back: %q, want %q", got, want)
	}
}

// countingSource counts relative moves.
type countingSource struct {
	iterator.Internal
	steps int
}

func (c *countingSource) Next() bool { c.steps++; return c.Internal.Next() }
func (c *countingSource) Prev() bool { c.steps++; return c.Internal.Prev() }

func TestTombstonesBehindABoundAreNotWalked(t *testing.T) {
	m := memtable.New(base.Bytewise)
	m.Add(1, base.KindPut, []byte("b"), []byte("b"))
	for i := range 1000 {
		m.Add(base.SeqNum(i+2), base.KindDelete, fmt.Appendf(nil, "a%04d", i), nil)
		m.Add(base.SeqNum(i+2), base.KindDelete, fmt.Appendf(nil, "c%04d", i), nil)
	}
	source := &countingSource{Internal: m.View().NewIter()}
	b := iterator.Bounds{Lower: []byte("b"), Upper: []byte("c")}
	it := iterator.NewUser(base.Bytewise, iterator.UserOptions{At: base.MaxSeqNum, Bounds: b}, source)
	if got := append(forward(it), reverse(it)...); !slices.Equal(got, []string{"b", "b"}) {
		t.Errorf("forward and reverse %q, want b twice", got)
	}
	if source.steps > 4 {
		t.Errorf("a scan of one entry made %d steps", source.steps)
	}
}

func TestShow(t *testing.T) {
	expiring := func(millis uint64) string { return string(base.AppendExpiry(nil, millis)) + "v" }
	for _, c := range []struct {
		name     string
		kind     base.Kind
		value    string
		covering base.SeqNum
		now      int64
		want     string
		live     bool
	}{
		{"a put", base.KindPut, "v", 0, 0, "v", true},
		{"a tombstone", base.KindDelete, "", 0, 0, "", false},
		{"covered by an older range", base.KindPut, "v", 6, 0, "v", true},
		{"covered by a newer range", base.KindPut, "v", 8, 0, "", false},
		{"a tombstone that is covered", base.KindDelete, "", 8, 0, "", false},
		{"not expired", base.KindPutExpiring, expiring(100), 6, 99, "v", true},
		{"just expired", base.KindPutExpiring, expiring(100), 0, 100, "", false},
		{"not expired and covered", base.KindPutExpiring, expiring(100), 8, 99, "", false},
		{"never to expire", base.KindPutExpiring, expiring(1<<64 - 1), 0, 1<<63 - 1, "v", true},
		{"before 1970", base.KindPutExpiring, expiring(0), 0, -1, "v", true},
		{"no expiry", base.KindPutExpiring, "short", 0, 0, "", false},
		{"a kind that no entry has", base.KindRangeDelete, "v", 0, 0, "", false},
	} {
		got, live := iterator.Show(base.MakeTrailer(7, c.kind), []byte(c.value), c.covering, c.now)
		if string(got) != c.want || live != c.live || !live && got != nil {
			t.Errorf("%s: %q, %t", c.name, got, live)
		}
	}
}

func TestScansAllocateNothingForEachEntry(t *testing.T) {
	var sources []iterator.Internal
	for i := range 3 {
		m := memtable.New(base.Bytewise)
		for j := range 1000 {
			kind := base.KindPut + base.Kind(j%2)*(base.KindPutExpiring-base.KindPut)
			m.Add(base.SeqNum(j+1), kind, fmt.Appendf(nil, "key%05d", 3*j+i), []byte("expiry--value"))
		}
		sources = append(sources, m.View().NewIter())
	}
	b := iterator.Bounds{Lower: []byte("key"), Upper: []byte("kez")}
	mask := iterator.Mask{Ranges: ranges(base.Bytewise, []rangedel.Tombstone{parseRange("key00100..key00200#500"), parseRange("key00150..key00300#900")})}
	o := iterator.UserOptions{At: base.MaxSeqNum, Bounds: b, Filter: hidesH, Mask: &mask}
	it := iterator.NewUser(base.Bytewise, o, sources...)
	both := func() {
		for ok := it.First(); ok; ok = it.Next() {
			_, _ = it.Key(), it.Value()
		}
		for ok := it.Prev(); ok; ok = it.Prev() {
			_, _ = it.Key(), it.Value()
		}
	}
	both()
	if n := testing.AllocsPerRun(5, both); n != 0 {
		t.Errorf("a scan of 6,000 entries allocates %v times", n)
	}
}

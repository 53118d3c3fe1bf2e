package sst

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"tempestkv/kv/base"
)

func TestGet(t *testing.T) {
	rows := []row{
		put("", 3, "empty key"), put("a", 9, "a9"), del("a", 5), put("a", 2, "a2"), put("b", 4, ""), put("ba", 1, "ba"),
	}
	for _, blockBytes := range []int{0, 1} {
		f, _ := write(t, WriterOptions{BlockBytes: blockBytes}, rows)
		r := open(t, f, ReaderOptions{Cache: NewCache(1 << 20)})
		for _, key := range []string{"", "a", "b", "ba", "0", "aa", "bb", "c", "\xff"} {
			for at := base.SeqNum(0); at <= 10; at++ {
				mustGet(t, r, rows, []byte(key), at)
			}
			mustGet(t, r, rows, []byte(key), base.MaxSeqNum)
			mustGet(t, r, rows, []byte(key), ^base.SeqNum(0))
		}
	}
}

// The index divides the versions of one key by one of them, and a get must
// look behind it.
func TestVersionsOfAKeyOverManyBlocks(t *testing.T) {
	var rows []row
	for seq := 500; seq > 0; seq-- {
		rows = append(rows, put("hot", base.SeqNum(2*seq), strings.Repeat("v", seq)))
	}
	for _, opts := range []WriterOptions{{BlockBytes: 1}, {BlockBytes: 700}, {}} {
		f, _ := write(t, opts, rows)
		r := open(t, f, ReaderOptions{})
		for at := base.SeqNum(0); at < 1002; at++ {
			mustGet(t, r, rows, []byte("hot"), at)
		}
		it := r.NewIter()
		if !it.SeekGE([]byte("hot")) || it.Key().SeqNum() != 1000 {
			t.Error("SeekGE does not come to the newest version")
		}
		if it.SeekLT([]byte("hot")) || !it.SeekLT([]byte("hot\x00")) || it.Key().SeqNum() != 2 {
			t.Error("SeekLT does not pass all versions")
		}
	}
	// Written by another: its index keys are user keys at their newest.
	var s sealed
	a := s.block(typePlain, entries(1, internal("hot", 5), "five"))
	b := s.block(typePlain, entries(1, internal("hot", 3), "three"))
	f := s.finish(nil, entries(1, internal("hot", 4), string(a.appendTo(nil)), internal("hot", 1), string(b.appendTo(nil))))
	mustGet(t, open(t, f, ReaderOptions{}), []row{put("hot", 5, "five"), put("hot", 3, "three")}, []byte("hot"), 4)
}

func TestLargeValues(t *testing.T) {
	var rows []row
	for i, size := range []int{3 << 20, 0, 200 << 10, 1 << 20, 10} {
		rows = append(rows, put(fmt.Sprint(i), 1, strings.Repeat(string(rune('a'+i)), size)))
	}
	for _, c := range []Compression{Snappy, NoCompression} {
		f, _ := write(t, WriterOptions{Compression: c}, rows)
		cache := NewCache(2 << 20)
		r := open(t, f, ReaderOptions{Cache: cache})
		for range 2 {
			for _, row := range rows {
				mustGet(t, r, rows, row.Key.UserKey, 1)
			}
		}
		mustScan(t, r, rows)
		if s := cache.Stats(); s.Bytes > 2<<20 || s.Hits == 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestFixedSuffix(t *testing.T) {
	cmp := base.FixedSuffix(1)
	rows := []row{put("a", 1, "short"), put("ab\x09", 2, "9"), put("ab\x03", 7, "3"), put("ac\x01", 1, "")}
	f, _ := write(t, WriterOptions{Comparer: cmp, BlockBytes: 1}, rows)
	r := open(t, f, ReaderOptions{Comparer: cmp})
	mustScan(t, r, rows)
	it := r.NewIter()
	if !it.SeekGE([]byte("ab\x08")) || it.Key().SeqNum() != 7 {
		t.Error("SeekGE does not come to the next older version")
	}
	if _, err := r.Verify(); err != nil {
		t.Error(err)
	}
	if _, err := open(t, f, ReaderOptions{}).Verify(); !isCorruption(err) {
		t.Errorf("read with another order: %v", err)
	}
}

func TestIteratorBeforeTheFirstAbsoluteMove(t *testing.T) {
	f, _ := write(t, WriterOptions{}, sequence(3, 10))
	it := open(t, f, ReaderOptions{}).NewIter()
	if it.Valid() || it.Next() || it.Prev() || it.Error() != nil {
		t.Error("an iterator moves before it has a place")
	}
}

func TestScansReadLargePiecesAndLeaveTheCacheAlone(t *testing.T) {
	rows := sequence(20_000, 100)
	f, meta := write(t, WriterOptions{Compression: NoCompression}, rows)
	cache := NewCache(1 << 20)
	r := open(t, f, ReaderOptions{Cache: cache})
	mustGet(t, r, rows, rows[5].Key.UserKey, base.MaxSeqNum)
	before := cache.Stats()
	for _, reverse := range []bool{false, true} {
		for ahead, most := range map[int]int64{0: meta.Size/(60<<10) + 2, 1 << 20: meta.Size/(1000<<10) + 2} {
			f.reads.Store(0)
			got, err := collect(r.NewIterWithReadAhead(ahead), reverse)
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, got, rows)
			if n := f.reads.Load(); n > most {
				t.Errorf("read-ahead %d: %d reads, want %d at most", ahead, n, most)
			}
		}
	}
	if after := cache.Stats(); after != before {
		t.Errorf("cache went from %+v to %+v", before, after)
	}
	// What the cache has is not read again.
	f.reads.Store(0)
	it := r.NewIterWithReadAhead(0)
	if !it.SeekGE(rows[5].Key.UserKey) || f.reads.Load() != 0 {
		t.Error("a block of the cache was read")
	}
}

func TestOpenNeedsFewReads(t *testing.T) {
	for count, most := range map[int]int64{10: 1, 10_000: 1, 200_000: 2} {
		f, _ := write(t, WriterOptions{}, sequence(count, 100))
		r := open(t, f, ReaderOptions{})
		if n := f.reads.Load(); n > most {
			t.Errorf("%d rows: %d reads", count, n)
		}
		if r.Size() != int64(len(f.bytes)) || r.MemoryBytes() > r.Size() || r.MemoryBytes() < int64(count*10/8) {
			t.Errorf("%d rows: size %d, %d bytes of memory", count, r.Size(), r.MemoryBytes())
		}
	}
}

func TestApproximateOffset(t *testing.T) {
	rows := sequence(5000, 100)
	f, _ := write(t, WriterOptions{Compression: NoCompression}, rows)
	r := open(t, f, ReaderOptions{})
	for i := 0; i < len(rows); i += 100 {
		want := int64(i) * r.dataEnd / int64(len(rows))
		if got := r.ApproximateOffset(rows[i].Key.UserKey); got < want-8000 || got > want+8000 {
			t.Errorf("row %d at %d, want about %d", i, got, want)
		}
	}
	if got := r.ApproximateOffset([]byte("z")); got != r.dataEnd {
		t.Errorf("behind all keys: %d, want %d", got, r.dataEnd)
	}
}

func TestCachedGetsDoNotAllocate(t *testing.T) {
	rows := sequence(20_000, 100)
	f, _ := write(t, WriterOptions{}, rows)
	r := open(t, f, ReaderOptions{Cache: NewCache(64 << 20)})
	missing := []byte("key0001000x")
	i := 0
	get := func() {
		if _, ok, err := r.Get(rows[i].Key.UserKey, base.MaxSeqNum); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if _, ok, err := r.Get(missing, base.MaxSeqNum); ok || err != nil {
			t.Fatal(ok, err)
		}
		i = (i + 37) % len(rows)
	}
	for range len(rows) {
		get()
	}
	if n := testing.AllocsPerRun(1000, get); n > 0 {
		t.Errorf("%v allocations a get", n)
	}
}

func TestScansAllocateLittle(t *testing.T) {
	rows := sequence(20_000, 100)
	f, _ := write(t, WriterOptions{}, rows)
	r := open(t, f, ReaderOptions{})
	for _, reverse := range []bool{false, true} {
		n := testing.AllocsPerRun(3, func() {
			it := r.NewIterWithReadAhead(0)
			if reverse {
				for ok := it.Last(); ok; ok = it.Prev() {
				}
			} else {
				for ok := it.First(); ok; ok = it.Next() {
				}
			}
		})
		if n > 50 {
			t.Errorf("reverse %t: %v allocations a scan", reverse, n)
		}
	}
}

func TestReadersOfSeveralGoroutines(t *testing.T) {
	rows := sequence(2000, 100)
	f, _ := write(t, WriterOptions{BlockBytes: 500}, rows)
	// Too small for all blocks: they come and go.
	cache := NewCache(20_000)
	r := open(t, f, ReaderOptions{Cache: cache, FileNum: 1})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range len(rows) {
				row := rows[(i*37+g*500)%len(rows)]
				e, ok, err := r.Get(row.Key.UserKey, base.MaxSeqNum)
				if !ok || err != nil || string(e.Value) != row.Value {
					t.Errorf("%v: %q, %t, %v", row, e.Value, ok, err)
					return
				}
				e.Release()
				if i%500 == 0 {
					cache.Evict(1)
				}
			}
			it := r.NewIter()
			if g%2 == 0 {
				it = r.NewIterWithReadAhead(0)
			}
			if got, err := collect(it, g < 2); err != nil || len(got) != len(rows) {
				t.Error(len(got), err)
			}
		})
	}
	wg.Wait()
	if s := cache.Stats(); s.Bytes > 20_000 || s.Hits+s.Misses < 8000 {
		t.Errorf("%+v", s)
	}
}

func ExampleReader() {
	f := &memFile{}
	w := NewWriter(f, WriterOptions{})
	for i, city := range []string{"Berlin", "Paris", "Rome"} {
		if err := w.Add(base.MakeInternalKey([]byte(city), 1, base.KindPut), fmt.Append(nil, i)); err != nil {
			panic(err)
		}
	}
	if _, err := w.Finish(); err != nil {
		panic(err)
	}
	r, err := Open(f, ReaderOptions{})
	if err != nil {
		panic(err)
	}
	e, ok, err := r.Get([]byte("Paris"), base.MaxSeqNum)
	fmt.Println(string(e.Value), ok, err)
	// Output: 1 true <nil>
}

package sst

import (
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/iterator/itertest"
)

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cmp := rapid.SampledFrom(comparers).Draw(t, "comparer")
		rows := drawRows(t, cmp)
		f, meta := write(t, drawWriterOptions(t, cmp), rows)
		checkMeta(t, meta, f, rows)
		opts := ReaderOptions{Comparer: cmp, FileNum: 7}
		if n := rapid.SampledFrom([]int64{-1, 0, 500, 3000, 1 << 20}).Draw(t, "cache bytes"); n >= 0 {
			opts.Cache = NewCache(n)
		}
		r := open(t, f, opts)
		if got, err := r.Verify(); err != nil {
			t.Fatal(err)
		} else {
			checkMeta(t, got, f, rows)
		}
		mustScan(t, r, rows)
		key := drawKey()
		for _, it := range []*Iter{r.NewIter(), r.NewIterWithReadAhead(1)} {
			itertest.Walk(t, cmp, it, rows, key, 30)
			walkBatches(t, cmp, it, rows, key)
		}
		for _, row := range rows {
			mustGet(t, r, rows, row.Key.UserKey, base.MaxSeqNum)
			mustGet(t, r, rows, row.Key.UserKey, row.Key.SeqNum())
			mustGet(t, r, rows, row.Key.UserKey, row.Key.SeqNum()-1)
		}
		for range 5 {
			mustGet(t, r, rows, key.Draw(t, "get"), base.SeqNum(rapid.IntRange(0, 200).Draw(t, "at")))
		}
		checkOffsets(t, r, rows)
	})
}

// walkBatches makes random moves on it, takes a batch after some of them, and
// compares with a cursor in rows, which goes through the batch step by step.
func walkBatches(t *rapid.T, cmp *base.Comparer, it *Iter, rows []row, key *rapid.Generator[[]byte]) {
	c := itertest.NewCursor(cmp, rows)
	var b iterator.Batch
	c.Move("first", nil)
	it.First()
	for range rapid.IntRange(1, 30).Draw(t, "moves") {
		name := rapid.SampledFrom([]string{"seek-ge", "seek-lt", "first", "next", "next", "prev"}).Draw(t, "move")
		k := key.Draw(t, "seek")
		want, wantOK := c.Move(name, k)
		if ok := itertest.Move(it, name, k); ok != wantOK || it.Error() != nil {
			t.Fatalf("%s %q: %t, %v; want %t", name, k, ok, it.Error(), wantOK)
		}
		if !wantOK {
			continue
		}
		if most := rapid.IntRange(0, 40).Draw(t, "batch"); most > 0 {
			it.Batch(&b, most)
			got := batchRows(&b)
			if len(got) == 0 || len(got) > most {
				t.Fatalf("a batch of %d rows, at most %d were wanted", len(got), most)
			}
			for i, r := range got {
				if i > 0 {
					want, wantOK = c.Move("next", nil)
				}
				if !wantOK || !r.Equal(want) {
					t.Fatalf("row %d of a batch is %v, want %v", i, r, want)
				}
			}
		}
		if got := itertest.At(it); !it.Valid() || !got.Equal(want) {
			t.Fatalf("at %v, want %v", got, want)
		}
	}
}

func checkMeta(t tester, got Meta, f *memFile, rows []row) {
	t.Helper()
	if got.Size != int64(len(f.bytes)) || got.Entries != len(rows) {
		t.Fatalf("size %d, %d entries; want %d, %d", got.Size, got.Entries, len(f.bytes), len(rows))
	}
	if want := countMeta(rows); got.SmallestSeq != want.SmallestSeq || got.LargestSeq != want.LargestSeq ||
		got.Tombstones != want.Tombstones || got.Expiring != want.Expiring {
		t.Fatalf("sequence numbers %d to %d, %d tombstones, %d expiring; want %+v",
			got.SmallestSeq, got.LargestSeq, got.Tombstones, got.Expiring, want)
	}
	var first, last row
	if len(rows) > 0 {
		first, last = rows[0], rows[len(rows)-1]
	}
	if !(row{Key: got.Smallest}).Equal(row{Key: first.Key}) || !(row{Key: got.Largest}).Equal(row{Key: last.Key}) {
		t.Fatalf("from %v to %v, want %v to %v", got.Smallest, got.Largest, first, last)
	}
}

// countMeta counts what Meta has besides.
func countMeta(rows []row) (m Meta) {
	for i, r := range rows {
		if seq := r.Key.SeqNum(); i == 0 || seq < m.SmallestSeq {
			m.SmallestSeq = seq
		}
		m.LargestSeq = max(m.LargestSeq, r.Key.SeqNum())
		switch r.Key.Kind() {
		case base.KindDelete:
			m.Tombstones++
		case base.KindPutExpiring:
			m.Expiring++
		}
	}
	return m
}

// checkOffsets wants offsets that ascend with the keys, inside the table.
func checkOffsets(t tester, r *Reader, rows []row) {
	t.Helper()
	last := int64(0)
	for _, row := range rows {
		off := r.ApproximateOffset(row.Key.UserKey)
		if off < last || off > r.dataEnd {
			t.Fatalf("%v at offset %d, those before at %d, the data ends at %d", row, off, last, r.dataEnd)
		}
		last = off
	}
}

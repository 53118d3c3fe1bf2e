package sst

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/iterator/itertest"
)

// tester is what helpers need of a *testing.T, *testing.F or *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// memFile is a table in memory. It counts the calls it gets, and fails one of
// them, counted from 0, where fail is set.
type memFile struct {
	bytes   []byte
	appends []int // their sizes
	reads   atomic.Int64
	fail    error
	failAt  int64
}

func (f *memFile) Append(p []byte) error {
	if f.fail != nil && int64(len(f.appends)) >= f.failAt {
		return f.fail
	}
	f.bytes = append(f.bytes, p...)
	f.appends = append(f.appends, len(p))
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if n := f.reads.Add(1); f.fail != nil && n-1 == f.failAt {
		return 0, f.fail
	}
	if off < 0 || off > int64(len(f.bytes)) {
		return 0, io.EOF
	}
	n := copy(p, f.bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Size() (int64, error) { return int64(len(f.bytes)), nil }

// row is an entry of a model.
type row = itertest.Row

func put(key string, seq base.SeqNum, value string) row {
	return row{Key: base.MakeInternalKey([]byte(key), seq, base.KindPut), Value: value}
}

func del(key string, seq base.SeqNum) row {
	return row{Key: base.MakeInternalKey([]byte(key), seq, base.KindDelete)}
}

// sequence returns count rows whose keys ascend.
func sequence(count, valueBytes int) []row {
	rows := make([]row, count)
	for i := range rows {
		v := strings.Repeat(strconv.Itoa(i)+"|", valueBytes)[:valueBytes]
		rows[i] = put(fmt.Sprintf("key%07d", i), base.SeqNum(i+1), v)
	}
	return rows
}

// write returns a table of the rows.
func write(t tester, opts WriterOptions, rows []row) (*memFile, Meta) {
	t.Helper()
	f := &memFile{}
	w := NewWriter(f, opts)
	for _, r := range rows {
		if err := w.Add(r.Key, []byte(r.Value)); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return f, meta
}

func open(t tester, f File, opts ReaderOptions) *Reader {
	t.Helper()
	r, err := Open(f, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// collect walks it to the end, in either direction, and returns the rows in
// order.
func collect(it iterator.Internal, reverse bool) (rows []row, err error) {
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		k := it.Key()
		rows = append(rows, row{Key: copyKey(base.InternalKey{}, k), Value: string(it.Value())})
	}
	if reverse {
		slices.Reverse(rows)
	}
	return rows, it.Error()
}

// collectBatches is collect from the first row on, in batches of at most so many.
func collectBatches(it *Iter, most int) (rows []row, err error) {
	var b iterator.Batch
	for ok := it.First(); ok; ok = it.Next() {
		it.Batch(&b, most)
		rows = append(rows, batchRows(&b)...)
	}
	return rows, it.Error()
}

// batchRows copies the rows of a batch.
func batchRows(b *iterator.Batch) (rows []row) {
	for _, e := range b.Entries {
		k := base.InternalKey{UserKey: b.Keys[e.KeyAt:e.KeyEnd], Trailer: e.Trailer}
		rows = append(rows, row{Key: copyKey(base.InternalKey{}, k), Value: string(b.Values[e.ValueAt:e.ValueEnd])})
	}
	return rows
}

func mustEqual(t tester, got, want []row) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range want {
		if !got[i].Equal(want[i]) {
			t.Fatalf("row %d: %v, want %v", i, got[i], want[i])
		}
	}
}

// mustScan wants a table to have just these rows, whichever way they are read.
func mustScan(t tester, r *Reader, want []row) {
	t.Helper()
	for i, it := range []*Iter{r.NewIter(), r.NewIterWithReadAhead(0)} {
		for _, most := range []int{1, 3, 1000} {
			got, err := collectBatches(it, most)
			if err != nil {
				t.Fatalf("iterator %d, batches of %d: %v", i, most, err)
			}
			mustEqual(t, got, want)
		}
		for _, reverse := range []bool{false, true} {
			got, err := collect(it, reverse)
			if err != nil {
				t.Fatalf("iterator %d, reverse %t: %v", i, reverse, err)
			}
			mustEqual(t, got, want)
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// modelGet is Get over rows.
func modelGet(rows []row, key []byte, at base.SeqNum) (row, bool) {
	for _, r := range rows {
		if bytes.Equal(r.Key.UserKey, key) && r.Key.SeqNum() <= at {
			return r, true
		}
	}
	return row{}, false
}

func mustGet(t tester, r *Reader, rows []row, key []byte, at base.SeqNum) {
	t.Helper()
	want, wantOK := modelGet(rows, key, at)
	e, ok, err := r.Get(key, at)
	defer e.Release()
	if err != nil || ok != wantOK || ok && (e.Trailer != want.Key.Trailer || string(e.Value) != want.Value) {
		t.Fatalf("Get(%q, %d) = %q, %d, %t, %v; want %v, %t", key, at, e.Value, e.Trailer, ok, err, want, wantOK)
	}
}

// drawKey draws user keys that often share a prefix, and are sometimes long.
func drawKey() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		k := []byte(rapid.StringMatching(`[ab\xff]{0,6}`).Draw(t, "key"))
		if rapid.IntRange(0, 19).Draw(t, "long") == 0 {
			k = append(bytes.Repeat([]byte{'a'}, 300), k...)
		}
		return k
	})
}

// drawRows draws rows in order, with versions, under any comparer.
func drawRows(t *rapid.T, cmp *base.Comparer) []row {
	n := rapid.IntRange(0, 150).Draw(t, "rows")
	rows := make([]row, 0, n)
	key := drawKey()
	for i := range n {
		k := key.Draw(t, "user key")
		r := row{Key: base.MakeInternalKey(k, base.SeqNum(i+1), base.KindPut)}
		switch rapid.IntRange(0, 9).Draw(t, "value") {
		case 2:
			r.Key.Trailer = base.MakeTrailer(base.SeqNum(i+1), base.KindPutExpiring)
			r.Value = "expiry--v" + strconv.Itoa(i)
		case 0:
			r.Key.Trailer = base.MakeTrailer(base.SeqNum(i+1), base.KindDelete)
		case 1:
			r.Value = strings.Repeat("large", rapid.IntRange(1, 500).Draw(t, "size"))
		default:
			r.Value = "v" + strconv.Itoa(i)
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.CompareInternal(a.Key, b.Key) })
	return rows
}

func drawWriterOptions(t *rapid.T, cmp *base.Comparer) WriterOptions {
	return WriterOptions{
		Comparer:         cmp,
		BlockBytes:       rapid.SampledFrom([]int{0, 1, 40, 200, 1000, 100_000}).Draw(t, "block bytes"),
		Compression:      rapid.SampledFrom([]Compression{Snappy, NoCompression}).Draw(t, "compression"),
		FilterBitsPerKey: rapid.SampledFrom([]int{0, 1, 10, 50, -1}).Draw(t, "bits per key"),
	}
}

var comparers = []*base.Comparer{base.Bytewise, base.FixedSuffix(2)}

func isCorruption(err error) bool { return errors.Is(err, base.ErrCorruption) }

var errInjected = errors.New("injected")

func isNotSupported(err error) bool { return errors.Is(err, base.ErrNotSupported) }

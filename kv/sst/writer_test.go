package sst

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tempestkv/kv/base"
)

func TestKeysMustAscend(t *testing.T) {
	for name, rows := range map[string][2]row{
		"a smaller user key":       {put("b", 1, ""), put("a", 2, "")},
		"a newer version":          {put("a", 1, ""), put("a", 2, "")},
		"a put behind its delete":  {del("a", 1), put("a", 1, "")},
		"the same key":             {put("a", 1, ""), put("a", 1, "")},
		"a prefix of the key":      {put("ab", 1, ""), put("a", 9, "")},
		"a block was just ended":   {put("b", 1, strings.Repeat("x", 5000)), put("a", 1, "")},
		"an unknown kind":          {put("a", 2, ""), {Key: base.MakeInternalKey([]byte("b"), 1, base.KindMax+1)}},
		"a range delete":           {put("a", 2, ""), {Key: base.MakeInternalKey([]byte("b"), 1, base.KindRangeDelete)}},
		"no expiry":                {put("a", 2, ""), {Key: base.MakeInternalKey([]byte("b"), 1, base.KindPutExpiring)}},
		"an empty key after a key": {put("a", 1, ""), put("", 2, "")},
	} {
		f := &memFile{}
		w := NewWriter(f, WriterOptions{})
		if err := w.Add(rows[0].Key, []byte(rows[0].Value)); err != nil {
			t.Fatal(err)
		}
		if err := w.Add(rows[1].Key, nil); !errors.Is(err, base.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
		// Nothing has changed.
		last := put("c", 1, "more")
		if err := w.Add(last.Key, []byte(last.Value)); err != nil {
			t.Fatal(err)
		}
		meta, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		want := []row{rows[0], last}
		checkMeta(t, meta, f, want)
		mustScan(t, open(t, f, ReaderOptions{}), want)
	}
}

func TestKeysOfTheCallerMayChange(t *testing.T) {
	f := &memFile{}
	w := NewWriter(f, WriterOptions{BlockBytes: 1})
	key := []byte("aa")
	for i := range 3 {
		key[1] = byte('a' + i)
		if err := w.Add(base.MakeInternalKey(key, 1, base.KindPut), key); err != nil {
			t.Fatal(err)
		}
	}
	key[0] = 'z'
	meta, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	want := []row{put("aa", 1, "aa"), put("ab", 1, "ab"), put("ac", 1, "ac")}
	checkMeta(t, meta, f, want)
	mustScan(t, open(t, f, ReaderOptions{}), want)
}

func TestEmptyTable(t *testing.T) {
	for _, opts := range []WriterOptions{{}, {Compression: NoCompression, FilterBitsPerKey: -1}} {
		f, meta := write(t, opts, nil)
		checkMeta(t, meta, f, nil)
		r := open(t, f, ReaderOptions{})
		mustScan(t, r, nil)
		mustGet(t, r, nil, []byte("a"), 1)
		if it := r.NewIter(); it.SeekGE(nil) || it.SeekLT([]byte("z")) || it.Error() != nil {
			t.Error("an empty table has entries")
		}
		if off := r.ApproximateOffset([]byte("a")); off != 0 {
			t.Errorf("offset %d", off)
		}
		if _, err := r.Verify(); err != nil {
			t.Error(err)
		}
	}
}

func TestAfterFinishTheWriterIsClosed(t *testing.T) {
	w := NewWriter(&memFile{}, WriterOptions{})
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(put("a", 1, "").Key, nil); !errors.Is(err, base.ErrClosed) {
		t.Error(err)
	}
	if _, err := w.Finish(); !errors.Is(err, base.ErrClosed) {
		t.Error(err)
	}
}

func TestAppendsAreLarge(t *testing.T) {
	f, _ := write(t, WriterOptions{Compression: NoCompression}, sequence(5000, 100))
	last := len(f.appends) - 1
	if last < 5 {
		t.Fatal("only", last, "appends")
	}
	// A piece ends with the block that fills it: data, or the filters.
	for i, n := range f.appends[:last] {
		if n < pieceBytes || n > 2*pieceBytes {
			t.Errorf("append %d has %d bytes", i, n)
		}
	}
}

func TestAFailedAppendEndsTheWriter(t *testing.T) {
	rows := sequence(3000, 100)
	f, _ := write(t, WriterOptions{Compression: NoCompression}, rows)
	for at := range f.appends {
		broken := &memFile{fail: errInjected, failAt: int64(at)}
		w := NewWriter(broken, WriterOptions{Compression: NoCompression})
		var err error
		for _, r := range rows {
			if err = w.Add(r.Key, []byte(r.Value)); err != nil {
				break
			}
		}
		if last := at == len(f.appends)-1; last != (err == nil) || err != nil && err != errInjected {
			t.Errorf("append %d fails, and Add gives %v", at, err)
		}
		for range 2 {
			if _, err := w.Finish(); err != errInjected {
				t.Errorf("append %d fails, and Finish gives %v", at, err)
			}
		}
		if len(broken.appends) != at {
			t.Errorf("append %d fails, and %d more were made", at, len(broken.appends)-at)
		}
	}
}

func TestEstimatedBytes(t *testing.T) {
	for _, opts := range []WriterOptions{{}, {Compression: NoCompression}, {FilterBitsPerKey: -1, BlockBytes: 200}} {
		w := NewWriter(&memFile{}, opts)
		last := w.EstimatedBytes()
		for _, r := range sequence(2000, 100) {
			if err := w.Add(r.Key, []byte(r.Value)); err != nil {
				t.Fatal(err)
			}
			// It falls where a block is packed.
			now := w.EstimatedBytes()
			if opts.Compression == NoCompression && now < last {
				t.Fatalf("the estimate falls from %d to %d", last, now)
			}
			last = now
		}
		meta, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if last < meta.Size*9/10 || last > meta.Size*6/5+int64(w.opts.BlockBytes) {
			t.Errorf("estimated %d bytes, came to %d", last, meta.Size)
		}
	}
}

func TestSnappyOnlyWhereItSavesAnEighth(t *testing.T) {
	value := func(random int) string {
		b := []byte(strings.Repeat("a", 4000))
		x := uint32(1)
		for i := range random {
			x = x*1664525 + 1013904223
			b[i] = byte(x >> 24)
		}
		return string(b)
	}
	for random, want := range map[int]byte{0: typeSnappy, 3000: typeSnappy, 3700: typePlain, 4000: typePlain} {
		f, _ := write(t, WriterOptions{}, []row{put("k", 1, value(random))})
		r := open(t, f, ReaderOptions{})
		if got := f.bytes[r.dataEnd-trailerSize]; got != want {
			t.Errorf("with %d random bytes of 4,000 the block has type %d", random, got)
		}
	}
}

func TestSeparatorsAreShort(t *testing.T) {
	f, _ := write(t, WriterOptions{BlockBytes: 1, FilterBitsPerKey: -1}, []row{
		put("the quick brown fox", 1, ""), put("the who", 2, ""), put("the who", 1, ""), put("them", 1, ""), put("\xff\xff\x01", 1, ""),
	})
	r := open(t, f, ReaderOptions{})
	var it blockIter
	it.init(r.index)
	var got []string
	for it.next() {
		k, _ := base.DecodeInternalKey(it.key)
		got = append(got, fmt.Sprintf("%q#%d", k.UserKey, k.SeqNum()))
	}
	newest := uint64(base.MaxSeqNum)
	want := []string{
		fmt.Sprintf(`"the r"#%d`, newest),
		`"the who"#2`,
		fmt.Sprintf(`"the!"#%d`, newest),
		fmt.Sprintf(`"u"#%d`, newest),
		`"\xff\xff\x01"#1`, // "\xff\xff\x02" would save nothing
	}
	if !slices.Equal(got, want) {
		t.Errorf("index has %v, want %v", got, want)
	}
}

func TestAWriterThatIsResetWritesTheSame(t *testing.T) {
	huge := []row{put("k", 1, strings.Repeat("x", 2*keptWriterBytes))}
	w := NewWriter(&memFile{fail: errInjected}, WriterOptions{Compression: NoCompression})
	for i, rows := range [][]row{sequence(3000, 100), huge, smallRows, nil, sequence(3000, 100)} {
		// What the table before came to does not matter.
		f := &memFile{}
		w.Reset(f)
		if i == 2 && cap(w.out)+cap(w.data.buf) > 2*keptWriterBytes {
			t.Errorf("%d and %d bytes are kept", cap(w.out), cap(w.data.buf))
		}
		for _, r := range rows {
			if err := w.Add(r.Key, []byte(r.Value)); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			continue // not finished
		}
		meta, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		want, _ := write(t, WriterOptions{Compression: NoCompression}, rows)
		if !slices.Equal(f.bytes, want.bytes) {
			t.Errorf("table %d is another than that of a new writer", i)
		}
		checkMeta(t, meta, f, rows)
	}
	w.Reset(&memFile{fail: errInjected})
	if _, err := w.Finish(); err != errInjected {
		t.Fatal(err)
	}
	w.Reset(&discard{})
	if _, err := w.Finish(); err != nil {
		t.Errorf("after a failed table: %v", err)
	}
}

func TestAWriterThatIsResetAllocatesLittle(t *testing.T) {
	w := NewWriter(&discard{}, WriterOptions{})
	rows := sequence(20_000, 100)
	value := []byte(rows[0].Value)
	table := func() {
		w.Reset(&discard{})
		for _, r := range rows {
			if err := w.Add(r.Key, value); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Finish(); err != nil {
			t.Fatal(err)
		}
	}
	table()
	// The file, and the first key and the last.
	if n := testing.AllocsPerRun(3, table); n > 6 {
		t.Errorf("%v allocations a table", n)
	}
}

func TestWriterAllocates(t *testing.T) {
	w := NewWriter(&discard{}, WriterOptions{})
	rows := sequence(20_000, 100)
	value := []byte(rows[0].Value)
	for _, r := range rows[:10_000] {
		if err := w.Add(r.Key, value); err != nil {
			t.Fatal(err)
		}
	}
	i := 10_000
	if n := testing.AllocsPerRun(5000, func() {
		if err := w.Add(rows[i].Key, value); err != nil {
			t.Fatal(err)
		}
		i++
	}); n != 0 {
		t.Errorf("%v allocations an entry", n)
	}
}

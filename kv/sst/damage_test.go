package sst

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/golang/snappy"

	"tempestkv/kv/base"
)

// smallRows make a table of three data blocks, of which Snappy packs one.
var smallRows = []row{
	put("apple", 9, "green"), del("apple", 4), put("apple", 2, "red"),
	put("banana", 3, strings.Repeat("yellow", 20)),
	put("cherry", 5, "dark"), del("date", 6),
}

var smallOptions = WriterOptions{BlockBytes: 60}

// readAll reads a table in every way there is, and wants right rows or
// corruption from each. It reports whether any found damage.
func readAll(t *testing.T, b []byte, rows []row) (damaged bool) {
	t.Helper()
	check := func(err error) {
		if err != nil && !isCorruption(err) {
			t.Fatalf("damage gives %v", err)
		}
		damaged = damaged || err != nil
	}
	r, err := Open(&memFile{bytes: b}, ReaderOptions{Cache: NewCache(1 << 20)})
	check(err)
	if err != nil {
		return damaged
	}
	for _, row := range rows {
		e, ok, err := r.Get(row.Key.UserKey, row.Key.SeqNum())
		check(err)
		if err == nil && (!ok || e.Trailer != row.Key.Trailer || string(e.Value) != row.Value) {
			t.Fatalf("Get came to %q, %d, %t; want %v", e.Value, e.Trailer, ok, row)
		}
	}
	for _, reverse := range []bool{false, true} {
		it := r.NewIterWithReadAhead(0)
		got, err := collect(it, reverse)
		check(err)
		if err == nil {
			mustEqual(t, got, rows)
		} else if reverse {
			mustEqual(t, got, rows[len(rows)-len(got):])
		} else {
			mustEqual(t, got, rows[:len(got)])
		}
		if err != nil && (it.Valid() || it.Next() || it.Prev() || it.Error() != err) {
			t.Fatal("an iterator goes on behind damage")
		}
	}
	_, err = r.Verify()
	check(err)
	return damaged
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	for _, opts := range []WriterOptions{smallOptions, {}, {BlockBytes: 60, Compression: NoCompression, FilterBitsPerKey: -1}} {
		f, _ := write(t, opts, smallRows)
		if readAll(t, f.bytes, smallRows) {
			t.Fatal("damage in a table without any")
		}
		for i := range f.bytes {
			for bit := range 8 {
				b := bytes.Clone(f.bytes)
				b[i] ^= 1 << bit
				if !readAll(t, b, smallRows) {
					t.Errorf("bit %d of byte %d of %d is flipped, and nothing tells", bit, i, len(b))
				}
			}
		}
	}
}

func TestEveryCutIsFound(t *testing.T) {
	f, _ := write(t, smallOptions, smallRows)
	for n := range f.bytes {
		for _, b := range [][]byte{f.bytes[:n], f.bytes[n+1:], append(make([]byte, len(f.bytes)-n), f.bytes[:n]...)} {
			if _, err := Open(&memFile{bytes: b}, ReaderOptions{}); !isCorruption(err) && !readAll(t, b, smallRows) {
				t.Errorf("%d of %d bytes: %v", n, len(f.bytes), err)
			}
		}
	}
}

func TestCorruptionNamesTableAndOffset(t *testing.T) {
	f, _ := write(t, smallOptions, smallRows)
	r := open(t, f, ReaderOptions{FileNum: 12})
	off := r.ApproximateOffset([]byte("banana"))
	f.bytes[off+3] ^= 1
	_, _, err := r.Get([]byte("banana"), base.MaxSeqNum)
	if want := (base.Corruption("table 12", off, "checksum does not match")); err == nil || err.Error() != want.Error() {
		t.Errorf("%v, want %v", err, want)
	}
}

// sealed is a table made by hand, with right checksums all over.
type sealed struct{ bytes []byte }

func (s *sealed) block(kind byte, contents []byte) handle {
	h := handle{int64(len(s.bytes)), int64(len(contents))}
	s.bytes = append(append(s.bytes, contents...), kind)
	s.bytes = binary.LittleEndian.AppendUint32(s.bytes, checksum(s.bytes[h.off:]))
	return h
}

// entries returns the contents of a block with the given interval.
func entries(interval int, pairs ...string) []byte {
	b := blockBuilder{interval: interval}
	for i := 0; i < len(pairs); i += 2 {
		b.add([]byte(pairs[i]), []byte(pairs[i+1]))
	}
	return b.finish()
}

func (s *sealed) finish(filter, index []byte) *memFile {
	metaindex := entries(1)
	if filter != nil {
		metaindex = entries(1, filterName, string(s.block(typePlain, filter).appendTo(nil)))
	}
	m := s.block(typePlain, metaindex)
	return &memFile{bytes: appendFooter(s.bytes, m, s.block(typePlain, index))}
}

// seal returns a table of the data blocks, each indexed by its string key.
func seal(filter []byte, blocks ...[]byte) *memFile {
	var s sealed
	index := blockBuilder{interval: 1}
	for i, b := range blocks {
		index.add([]byte(internal(string(rune('a'+i))+"~", 0)), s.block(typePlain, b).appendTo(nil))
	}
	return s.finish(filter, index.finish())
}

func internal(key string, seq base.SeqNum) string {
	return string(base.MakeInternalKey([]byte(key), seq, base.KindPut).AppendTo(nil))
}

// Damage that no checksum shows: a writer's mistake, or a checksum's collision.
func TestDamageUnderRightChecksums(t *testing.T) {
	good := entries(2, internal("a1", 1), "1", internal("a2", 1), "2", internal("a3", 1), "3")
	u32 := func(b []byte, at int, v uint32) []byte {
		b = bytes.Clone(b)
		if at < 0 {
			at += len(b)
		}
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	set := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b)
		b[at] = v
		return b
	}
	if _, err := open(t, seal(nil, good), ReaderOptions{}).Verify(); err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string][]byte{
		"no bytes":                             {},
		"three bytes":                          {0, 0, 0},
		"entries without a restart":            u32(good, -4, 0),
		"more restarts than bytes":             u32(good, -4, 1<<30),
		"the first restart not at the start":   u32(good, -12, 1),
		"restarts that descend":                u32(good, -8, 0),
		"a restart behind the entries":         u32(good, -8, 1000),
		"a restart inside an entry":            u32(good, -8, 5),
		"a restart that shares":                entriesSharing(good),
		"a first entry that shares":            set(good, 0, 1),
		"an entry beyond the block":            set(good, 1, 100),
		"a value beyond the block":             set(good, 2, 0x7f),
		"a length of more than five bytes":     append(bytes.Repeat([]byte{0xff}, 11), entries(2)...),
		"an unknown kind":                      entries(1, "k\x04\x00\x00\x00\x00\x00\x00\x00", ""),
		"a range delete":                       entries(1, "k\x02\x00\x00\x00\x00\x00\x00\x00", "z"),
		"an expiring put without its expiry":   entries(1, "k\x03\x00\x00\x00\x00\x00\x00\x00", "expiry-"),
		"a key too short for an internal key":  entries(1, "short", ""),
		"keys that do not ascend":              entries(2, internal("a2", 1), "2", internal("a1", 1), "1"),
		"versions that do not descend":         entries(2, internal("a1", 1), "", internal("a1", 2), ""),
		"the same key twice":                   entries(2, internal("a1", 1), "", internal("a1", 1), ""),
		"a key behind the one of the index":    entries(2, internal("a1", 1), "", internal("b", 1), ""),
		"an entry that ends inside its header": append([]byte{0}, entries(1)[4:]...),
	} {
		f := seal(nil, block, entries(1, internal("b1", 1), "value"))
		r := open(t, f, ReaderOptions{})
		if _, err := r.Verify(); !isCorruption(err) {
			t.Errorf("%s: Verify gives %v", name, err)
		}
		// Reading may not notice, but it ends, with an error of the right kind.
		for _, reverse := range []bool{false, true} {
			if rows, err := collect(r.NewIter(), reverse); err != nil && !isCorruption(err) || len(rows) > 5 {
				t.Errorf("%s: %d rows, %v", name, len(rows), err)
			}
		}
		rows, err := collect(r.NewIter(), false)
		for _, most := range []int{1, 2, 100} {
			got, batchErr := collectBatches(r.NewIter(), most)
			mustEqual(t, got, rows)
			if (err == nil) != (batchErr == nil) || err != nil && err.Error() != batchErr.Error() {
				t.Errorf("%s: batches of %d end with %v, want %v", name, most, batchErr, err)
			}
		}
		for _, key := range []string{"a", "a1", "a2", "a3", "k", "z"} {
			if _, _, err := r.Get([]byte(key), base.MaxSeqNum); err != nil && !isCorruption(err) {
				t.Errorf("%s: Get gives %v", name, err)
			}
			it := r.NewIter()
			for _, ok := range []bool{it.SeekGE([]byte(key)), it.SeekLT([]byte(key))} {
				if err := it.Error(); ok && err != nil || err != nil && !isCorruption(err) {
					t.Errorf("%s: seeking gives %t, %v", name, ok, err)
				}
			}
		}
	}
}

// entriesSharing lets the entry at the second restart share a byte.
func entriesSharing(block []byte) []byte {
	b := bytes.Clone(block)
	at := int(binary.LittleEndian.Uint32(b[len(b)-8:]))
	b[at], b[at+1] = 1, b[at+1]-1
	return slices.Delete(b, at+3, at+4)
}

func TestDamagedIndexUnderRightChecksums(t *testing.T) {
	data := func(s *sealed) (a, b string) {
		x := s.block(typePlain, entries(1, internal("a1", 1), "1"))
		y := s.block(typePlain, entries(1, internal("b1", 1), "2"))
		return string(x.appendTo(nil)), string(y.appendTo(nil))
	}
	for name, index := range map[string]func(a, b string) []byte{
		"a handle cut short":    func(a, b string) []byte { return entries(1, internal("a~", 0), a[:1]) },
		"no handle":             func(a, b string) []byte { return entries(1, internal("a~", 0), "") },
		"more than a handle":    func(a, b string) []byte { return entries(1, internal("a~", 0), a+"x") },
		"a handle of the whole": func(a, b string) []byte { return entries(1, internal("a~", 0), "\x00\xff\xff\x03") },
		"a handle beyond 64 bits": func(a, b string) []byte {
			return entries(1, internal("a~", 0), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x05")
		},
		"a handle of nothing": func(a, b string) []byte { return entries(1, internal("a~", 0), "\x00\x00") },
		"blocks out of order": func(a, b string) []byte { return entries(1, internal("a~", 0), b, internal("b~", 0), a) },
		"one block twice":     func(a, b string) []byte { return entries(1, internal("a~", 0), a, internal("b~", 0), a) },
		"a key before its block": func(a, b string) []byte {
			return entries(1, internal("a", 0), a, internal("b~", 0), b)
		},
		"a key behind the next block": func(a, b string) []byte {
			return entries(1, internal("b2", 0), a, internal("b~", 0), b)
		},
		"an entry beyond the index": func(a, b string) []byte {
			i := entries(1, internal("a~", 0), a, internal("b~", 0), b)
			i[1+3+10+len(a)]++
			return i
		},
		"a restart inside an entry": func(a, b string) []byte {
			return withRestarts(bare(entries(1, internal("a~", 0), a, internal("b~", 0), b)), 5, 0)
		},
		"a key too short": func(a, b string) []byte { return entries(1, "a~", a, internal("b~", 0), b) },
	} {
		var s sealed
		f := s.finish(nil, index(data(&s)))
		r := open(t, f, ReaderOptions{})
		if _, err := r.Verify(); !isCorruption(err) {
			t.Errorf("%s: Verify gives %v", name, err)
		}
		for _, reverse := range []bool{false, true} {
			if rows, err := collect(r.NewIter(), reverse); err != nil && !isCorruption(err) || len(rows) > 2 {
				t.Errorf("%s: %d rows, %v", name, len(rows), err)
			}
		}
		if _, _, err := r.Get([]byte("a1"), 1); err != nil && !isCorruption(err) {
			t.Errorf("%s: Get gives %v", name, err)
		}
		if off := r.ApproximateOffset([]byte("a1")); off < 0 || off > int64(len(f.bytes)) {
			t.Errorf("%s: offset %d", name, off)
		}
	}
}

func TestDamagedFiltersUnderRightChecksums(t *testing.T) {
	data := entries(1, internal("a1", 1), "1")
	for name, filter := range map[string][]byte{
		"no bytes":                    {},
		"four bytes":                  {0, 0, 0, 11},
		"offsets beyond the block":    {99, 0, 0, 0, 11},
		"an offset and a half":        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11},
		"a filter beyond the filters": {9, 0, 0, 0, 0, 0, 0, 0, 11},
	} {
		if _, err := Open(seal(filter, data), ReaderOptions{}); !isCorruption(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := open(t, seal([]byte{0, 0, 0, 0, 0, 0, 0, 0, 11}, data), ReaderOptions{})
	if _, err := r.Verify(); !isCorruption(err) {
		t.Errorf("a filter that lacks a key: %v", err)
	}
	for name, filter := range map[string][]byte{
		"no filters":           {0, 0, 0, 0, 11},
		"more probes than 30":  {0, 31, 0, 0, 0, 0, 2, 0, 0, 0, 11},
		"a filter a half-file": {0xff, 0xff, 2, 0, 0, 0, 0, 3, 0, 0, 0, 63},
	} {
		r := open(t, seal(filter, data), ReaderOptions{})
		if _, err := r.Verify(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok, err := r.Get([]byte("a1"), 1); !ok || err != nil {
			t.Errorf("%s: %t, %v", name, ok, err)
		}
	}
	// Filters of a kind we do not know are none.
	var s sealed
	h := s.block(typePlain, data)
	m := s.block(typePlain, entries(1, "filter.another", "?"))
	i := s.block(typePlain, entries(1, internal("a~", 0), string(h.appendTo(nil))))
	if _, err := open(t, &memFile{bytes: appendFooter(s.bytes, m, i)}, ReaderOptions{}).Verify(); err != nil {
		t.Errorf("another filter: %v", err)
	}
}

func TestDamagedMetaindexUnderRightChecksums(t *testing.T) {
	for name, metaindex := range map[string][]byte{
		"no bytes":                {},
		"a filter without handle": entries(1, filterName, ""),
		"filters beyond the file": entries(1, filterName, "\x00\xff\x7f"),
		"filters in the footer":   entries(1, filterName, "\x05\xff\x01"),
		"a damaged entry":         {0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0},
	} {
		var s sealed
		m := s.block(typePlain, metaindex)
		i := s.block(typePlain, entries(1))
		if _, err := Open(&memFile{bytes: appendFooter(s.bytes, m, i)}, ReaderOptions{}); !isCorruption(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var s sealed
	m := s.block(typePlain, entries(1))
	i := s.block(typePlain, []byte("no index"))
	if _, err := Open(&memFile{bytes: appendFooter(s.bytes, m, i)}, ReaderOptions{}); !isCorruption(err) {
		t.Errorf("a damaged index: %v", err)
	}
}

func TestBlockTypes(t *testing.T) {
	data := entries(1, internal("a1", 1), strings.Repeat("1", 100))
	bomb := binary.AppendUvarint(nil, 1<<31-1)
	for name, test := range map[string]struct {
		kind     byte
		contents []byte
		want     error
	}{
		"plain":                      {typePlain, data, nil},
		"Snappy":                     {typeSnappy, snappy.Encode(nil, data), nil},
		"Zstd":                       {typeZstd, data, base.ErrNotSupported},
		"unknown":                    {3, data, base.ErrCorruption},
		"not Snappy":                 {typeSnappy, data, base.ErrCorruption},
		"no Snappy":                  {typeSnappy, nil, base.ErrCorruption},
		"Snappy that claims 2 GiB":   {typeSnappy, append(bomb, data...), base.ErrCorruption},
		"Snappy with a wrong length": {typeSnappy, append([]byte{200, 1}, snappy.Encode(nil, data)[1:]...), base.ErrCorruption},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var s sealed
		h := s.block(test.kind, test.contents)
		f := s.finish(nil, entries(1, internal("a~", 0), string(h.appendTo(nil))))
		r := open(t, f, ReaderOptions{})
		_, _, err := r.Get([]byte("a1"), 1)
		_, scanErr := collect(r.NewIterWithReadAhead(0), false)
		for _, err := range []error{err, scanErr} {
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes of memory were taken", name, n)
		}
	}
}

func TestAFailedReadIsReportedAndForgotten(t *testing.T) {
	rows := sequence(3000, 100)
	// With so many blocks the index does not fit in the first piece of Open.
	f, _ := write(t, WriterOptions{Compression: NoCompression, BlockBytes: 1}, rows)
	// work reads in every way, and returns the first error.
	work := func() error {
		r, err := Open(f, ReaderOptions{})
		if err != nil {
			return err
		}
		for _, i := range []int{0, 1500, 2999} {
			if _, ok, err := r.Get(rows[i].Key.UserKey, base.MaxSeqNum); err != nil {
				return err
			} else if !ok {
				t.Fatal("a row is missing")
			}
		}
		it := r.NewIterWithReadAhead(0)
		for _, reverse := range []bool{false, true} {
			got, err := collect(it, reverse)
			if err != nil {
				if it.Valid() || it.Next() || it.Prev() || it.Error() != err {
					t.Fatal("an iterator goes on behind an error")
				}
				if !it.First() || it.Error() != nil {
					t.Fatal("an absolute move does not clear the error")
				}
				if it.Close() != nil || it.SeekGE(nil) || it.SeekLT(nil) || it.First() || it.Last() || !errors.Is(it.Error(), base.ErrClosed) {
					t.Fatal("a closed iterator moves")
				}
				return err
			}
			mustEqual(t, got, rows)
		}
		it = r.NewIter()
		for i := 0; i < len(rows); i += 500 {
			if !it.SeekGE(rows[i].Key.UserKey) && it.Error() != nil {
				if err := it.Error(); it.Close() != err || it.Close() != err {
					t.Fatal("Close does not return the first error")
				}
				return errInjected
			}
		}
		meta, err := r.Verify()
		if err == nil {
			checkMeta(t, meta, f, rows)
		}
		return err
	}
	failed := 0
	for at := int64(0); ; at++ {
		f.reads.Store(0)
		f.fail, f.failAt = base.Wrap(base.ErrIO, "read", errInjected), at
		err := work()
		if f.reads.Load() <= at {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		failed++
		if !errors.Is(err, errInjected) {
			t.Fatalf("read %d failed, and the work gives %v", at, err)
		}
		f.fail = nil
		if err := work(); err != nil {
			t.Fatal(err)
		}
	}
	if failed < 15 {
		t.Errorf("only %d reads", failed)
	}
}

// shortFile claims more than it has.
type shortFile struct{ *memFile }

func (f shortFile) Size() (int64, error) { return int64(len(f.bytes)) + 1, nil }

// sizeless cannot tell its size.
type sizeless struct{ *memFile }

func (f sizeless) Size() (int64, error) { return 0, errInjected }

func TestFilesThatDoNotWork(t *testing.T) {
	f, _ := write(t, smallOptions, smallRows)
	if _, err := Open(shortFile{f}, ReaderOptions{}); !errors.Is(err, base.ErrIO) {
		t.Errorf("a file shorter than its size gives %v", err)
	}
	if _, err := Open(sizeless{f}, ReaderOptions{}); err != errInjected {
		t.Errorf("a file without a size gives %v", err)
	}
}

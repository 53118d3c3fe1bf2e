package sst

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/golang/snappy"

	"tempestkv/kv/base"
)

// withRestarts makes contents of entries: restarts at 0, a and a+b where these
// are inside them.
func withRestarts(entries []byte, a, b uint16) []byte {
	contents, count := bytes.Clone(entries), uint32(0)
	for i, off := range []int{0, int(a), int(a) + int(b)} {
		if off < len(entries) && (i == 0 || a > 0) && (i < 2 || b > 0) {
			contents = binary.LittleEndian.AppendUint32(contents, uint32(off))
			count++
		}
	}
	return binary.LittleEndian.AppendUint32(contents, count)
}

// bare returns the entries of a block, for withRestarts.
func bare(contents []byte) []byte {
	var it blockIter
	it.init(contents)
	return it.data
}

// FuzzCheckBlock wants of any bytes: no panic, and what passes can be walked.
func FuzzCheckBlock(f *testing.F) {
	f.Add([]byte{})
	f.Add(entries(1))
	f.Add(entries(2, internal("a", 3), "3", internal("a", 1), "1", internal("b", 2), ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkBlock(b) {
			var it blockIter
			it.init(b)
			for ok := it.last(); ok; ok = it.prev() {
			}
		}
	})
}

// FuzzBlock wants of any entries: no panic, an end, no larger keys than their
// bytes allow, and where nothing is damaged the same in both directions.
func FuzzBlock(f *testing.F) {
	f.Add([]byte{}, uint16(0), uint16(0))
	f.Add(bare(entries(16, "a", "1", "ab", "2", "abc", "3", "b", "4")), uint16(0), uint16(0))
	f.Add(bare(entries(1, "a", "1", "ab", "2", "abc", "3")), uint16(5), uint16(6))
	f.Add(bare(entries(1, "a", "1", "ab", "2", "abc", "3")), uint16(4), uint16(1))
	f.Add(bare(entries(9, internal("a", 3), "3", internal("a", 1), "1", internal("b", 2), "")), uint16(0), uint16(0))
	f.Add(bare(entries(1, internal("a", 3), string(bytes.Repeat([]byte("x"), 300)), internal("b", 3), "")), uint16(313), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, r1, r2 uint16) {
		b = withRestarts(b, r1, r2)
		if !checkBlock(b) {
			t.Fatal("not a block")
		}
		var it blockIter
		it.init(b)
		var keys, values [][]byte
		for ok := it.first(); ok; ok = it.next() {
			if len(it.key) > len(b) {
				t.Fatalf("a key of %d bytes in %d", len(it.key), len(b))
			}
			keys, values = append(keys, bytes.Clone(it.key)), append(values, bytes.Clone(it.value))
		}
		whole := it.bad == "" && checkRestarts(&it)
		n := 0
		for ok := it.last(); ok; ok = it.prev() {
			n++
			if n > len(b) {
				t.Fatal("prev does not end")
			}
			if i := len(keys) - n; whole && (!bytes.Equal(it.key, keys[i]) || !bytes.Equal(it.value, values[i])) {
				t.Fatalf("entry %d is %q = %q, in reverse %q = %q", i, keys[i], values[i], it.key, it.value)
			}
		}
		if whole && (n != len(keys) || it.bad != "") {
			t.Fatalf("%d entries, in reverse %d, %s", len(keys), n, it.bad)
		}
		for i, k := range keys {
			user, _ := base.DecodeInternalKey(k)
			it.seek(base.Bytewise, user.UserKey, user.Trailer)
			if it.prev(); i%2 == 0 {
				it.next()
			}
		}
	})
}

// FuzzFooter wants: what is taken is what a writer writes.
func FuzzFooter(f *testing.F) {
	f.Add(appendFooter(nil, handle{100, 20}, handle{125, 300}), int64(430))
	f.Add(appendFooter(nil, handle{1 << 40, 1 << 30}, handle{0, 0}), int64(1<<50))
	f.Add(make([]byte, footerSize), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, limit int64) {
		if len(b) != footerSize {
			return
		}
		metaindex, index, reason := decodeFooter(b, limit)
		if reason != "" {
			return
		}
		for _, h := range []handle{metaindex, index} {
			if h.off < 0 || h.size < 0 || h.end() > limit || h.end() < 0 {
				t.Fatalf("%v ends behind %d", h, limit)
			}
		}
		if !bytes.Equal(appendFooter(nil, metaindex, index), b) {
			t.Fatal("written it is another")
		}
	})
}

// FuzzFilter wants of any bytes: no panic.
func FuzzFilter(f *testing.F) {
	for _, bitsPerKey := range []int{1, 10, 60} {
		b := filterBuilder{bitsPerKey: bitsPerKey}
		b.add([]byte("hello"))
		b.startBlock(5000)
		b.add([]byte("world"))
		f.Add(b.finish(), int64(4096), uint32(0xdeadbeef))
	}
	f.Add([]byte{0, 0, 0, 0, 11}, int64(0), uint32(0))
	f.Add([]byte{0xff, 31, 0, 0, 0, 0, 2, 0, 0, 0, 63}, int64(1<<62), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, offset int64, h uint32) {
		r, ok := newFilterReader(b)
		if !ok {
			return
		}
		r.mayContain(max(offset, 0), h)
		for i := range int64(len(b)) {
			r.mayContain(i<<(r.shift%63), h)
		}
	})
}

// readFuzzed reads a table in every way, and wants it to end, without other
// errors than those that damage gives.
func readFuzzed(t *testing.T, f *memFile) {
	t.Helper()
	check := func(err error) {
		if err != nil && !isCorruption(err) && !isNotSupported(err) {
			t.Fatal(err)
		}
	}
	r, err := Open(f, ReaderOptions{Cache: NewCache(1 << 20)})
	check(err)
	if err != nil {
		return
	}
	meta, verifyErr := r.Verify()
	check(verifyErr)
	for _, reverse := range []bool{false, true} {
		for _, it := range []*Iter{newIter(r, 0), newIter(r, pieceBytes)} {
			rows, err := collect(it, reverse)
			check(err)
			if !reverse {
				got, batchErr := collectBatches(it, 7)
				if mustEqual(t, got, rows); (err == nil) != (batchErr == nil) {
					t.Fatalf("batches end with %v, single entries with %v", batchErr, err)
				}
			}
			if verifyErr == nil && (err != nil || len(rows) != meta.Entries) {
				t.Fatalf("Verify counts %d entries, reverse %t finds %d, %v", meta.Entries, reverse, len(rows), err)
			}
			for i, row := range rows[:min(len(rows), 20)] {
				e, ok, err := r.Get(row.Key.UserKey, row.Key.SeqNum())
				check(err)
				// An order that Verify passes serves every get.
				if verifyErr == nil && (err != nil || !ok || e.Trailer.SeqNum() != row.Key.SeqNum()) {
					t.Fatalf("row %d, %v, is not found: %d, %t, %v", i, row, e.Trailer, ok, err)
				}
				it.SeekGE(row.Key.UserKey)
				check(it.Error())
				it.SeekLT(row.Key.UserKey)
				check(it.Error())
				r.ApproximateOffset(row.Key.UserKey)
			}
		}
	}
}

// FuzzTable takes any bytes for a file.
func FuzzTable(f *testing.F) {
	for _, opts := range []WriterOptions{{}, smallOptions, {Compression: NoCompression, FilterBitsPerKey: -1}} {
		table, _ := write(f, opts, smallRows)
		f.Add(table.bytes)
		f.Add(table.bytes[:len(table.bytes)-1])
	}
	empty, _ := write(f, WriterOptions{}, nil)
	f.Add(empty.bytes)
	f.Fuzz(func(t *testing.T, b []byte) { readFuzzed(t, &memFile{bytes: b}) })
}

// FuzzSealedTable takes any bytes for blocks, and puts right checksums behind
// them: it comes where FuzzTable cannot.
func FuzzSealedTable(f *testing.F) {
	a := bare(entries(16, internal("a1", 2), "1", internal("a1", 1), "2", internal("a3", 1), "3"))
	b := bare(entries(16, internal("b1", 2), "1", internal("b2", 1), "2"))
	first := handle{0, int64(len(a)) + 8}
	second := handle{first.end(), int64(len(b)) + 8}
	index := bare(entries(16, internal("a~", 0), string(first.appendTo(nil)), internal("b~", 0), string(second.appendTo(nil))))
	filter := filterBuilder{bitsPerKey: 10}
	for _, key := range []string{"a1", "a3", "b1", "b2"} {
		filter.add([]byte(key))
	}
	filters := filter.finish()
	f.Add(byte(typePlain), a, b, filters, index)
	f.Add(byte(typePlain), a, b, []byte{}, index)
	f.Add(byte(typePlain|17<<3), a, b, filters, index)
	f.Add(byte(typeSnappy|4), snappy.Encode(nil, withRestarts(a, 0, 0)), b, []byte{}, index)
	f.Add(byte(typePlain|4), []byte{}, b, filters, bare(entries(1, internal("a~", 0), "\x00\x00")))
	f.Add(byte(typePlain), a, b, []byte{0, 0, 0, 0, 0, 0, 0, 0, 11}, bare(entries(9, "x", "\x00\x00", internal("b~", 0), "\xff\xff\x03\x05")))
	f.Fuzz(func(t *testing.T, kind byte, a, b, filter, index []byte) {
		var s sealed
		if kind&4 == 0 {
			a = withRestarts(a, uint16(kind>>3), 0)
		}
		s.block(kind&3, a)
		s.block(typePlain, withRestarts(b, 0, 0))
		if len(filter) == 0 {
			filter = nil
		}
		readFuzzed(t, s.finish(filter, withRestarts(index, 0, 0)))
	})
}

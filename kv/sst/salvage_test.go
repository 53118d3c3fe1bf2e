package sst

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"tempestkv/kv/base"
)

// salvage returns what is left of a table.
func salvage(t tester, f File) ([]row, []Lost) {
	t.Helper()
	var rows []row
	lost, err := Salvage(f, ReaderOptions{}, func(k base.InternalKey, value []byte) error {
		rows = append(rows, row{Key: copyKey(base.InternalKey{}, k), Value: string(value)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, lost
}

// rowsOf returns the rows of a whole table by block.
func rowsOf(t tester, f File) (handles []handle, blocks [][]row) {
	t.Helper()
	r := open(t, f, ReaderOptions{})
	var index, data blockIter
	index.init(r.index)
	for ok := index.first(); ok; ok = index.next() {
		h, err := r.handle(&index)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := r.block(h, new(piece))
		if err != nil {
			t.Fatal(err)
		}
		handles, blocks = append(handles, h), append(blocks, nil)
		data.init(b)
		for ok := data.first(); ok; ok = data.next() {
			k, _ := data.entry()
			n := len(blocks) - 1
			blocks[n] = append(blocks[n], row{Key: copyKey(base.InternalKey{}, k), Value: string(data.value)})
		}
	}
	return handles, blocks
}

func sameRows(a, b []row) bool {
	return slices.EqualFunc(a, b, func(x, y row) bool {
		return base.Bytewise.CompareInternal(x.Key, y.Key) == 0 && x.Value == y.Value
	})
}

// salvageTables are the tables that are damaged: of several kinds of blocks, with
// and without filters, and one whose values look like handles.
func salvageTables(t tester) map[string]*memFile {
	tables := map[string]*memFile{}
	add := func(name string, opts WriterOptions, rows []row) {
		f, _ := write(t, opts, rows)
		tables[name] = f
	}
	add("compressed", WriterOptions{BlockBytes: 600}, sequence(400, 50))
	add("plain", WriterOptions{BlockBytes: 300, Compression: NoCompression}, sequence(150, 40))
	add("no filter", WriterOptions{BlockBytes: 400, FilterBitsPerKey: -1}, sequence(150, 40))
	add("one block", WriterOptions{}, sequence(20, 20))
	add("large values", WriterOptions{Compression: NoCompression}, sequence(6, 9000))
	handles := sequence(100, 0)
	for i := range handles {
		handles[i].Value = string(handle{int64(i) * 300, 295}.appendTo(nil))
	}
	add("handles", WriterOptions{BlockBytes: 300, Compression: NoCompression}, handles)
	return tables
}

func TestSalvageOfAWholeTableHasEverything(t *testing.T) {
	for name, f := range salvageTables(t) {
		_, blocks := rowsOf(t, f)
		if rows, lost := salvage(t, f); !sameRows(rows, slices.Concat(blocks...)) || len(lost) > 0 {
			t.Errorf("%s: %d rows, lost %v", name, len(rows), lost)
		}
	}
}

// TestSalvageFindsEveryBlockThatIsWhole damages bytes everywhere, with the index
// and without it.
func TestSalvageFindsEveryBlockThatIsWhole(t *testing.T) {
	for name, whole := range salvageTables(t) {
		handles, blocks := rowsOf(t, whole)
		dataEnd := handles[len(handles)-1].end()
		size := int64(len(whole.bytes))
		for _, noIndex := range []bool{false, true} {
			for off := int64(0); off < size; off += 1 + size/40 {
				f := &memFile{bytes: bytes.Clone(whole.bytes)}
				f.bytes[off] ^= 0x10
				if noIndex {
					f.bytes[size-20] ^= 1 // in the footer
				}
				var want []row
				damaged := int64(0)
				for i, h := range handles {
					if off >= h.off && off < h.end() {
						damaged = h.end() - h.off
						continue
					}
					want = append(want, blocks[i]...)
				}
				rows, lost := salvage(t, f)
				if !sameRows(rows, want) {
					t.Fatalf("%s, byte %d, no index %t: %d rows, want %d, lost %v", name, off, noIndex, len(rows), len(want), lost)
				}
				var n int64
				for _, l := range lost {
					if l.Offset < dataEnd {
						n += l.Bytes
					}
				}
				if off < dataEnd && n < damaged || off < dataEnd && len(lost) == 0 {
					t.Fatalf("%s, byte %d, no index %t: lost %v, a block of %d bytes", name, off, noIndex, lost, damaged)
				}
			}
		}
	}
}

func TestSalvageOfATruncatedTable(t *testing.T) {
	for name, whole := range salvageTables(t) {
		handles, blocks := rowsOf(t, whole)
		for size := int64(0); size < int64(len(whole.bytes)); size += 1 + int64(len(whole.bytes)/30) {
			var want []row
			for i, h := range handles {
				if h.end() <= size {
					want = append(want, blocks[i]...)
				}
			}
			rows, _ := salvage(t, &memFile{bytes: whole.bytes[:size:size]})
			if !sameRows(rows, want) {
				t.Fatalf("%s, %d bytes: %d rows, want %d", name, size, len(rows), len(want))
			}
		}
	}
}

func TestSalvageTellsOfReadsThatFail(t *testing.T) {
	whole, _ := write(t, WriterOptions{BlockBytes: 300}, sequence(400, 50))
	failure := errors.New("bad sector")
	for i := range int64(6) {
		f := &memFile{bytes: whole.bytes, fail: failure, failAt: i}
		rows, lost := salvage(t, f)
		if len(lost) == 0 && len(rows) < 400 {
			t.Errorf("read %d: %d rows and no loss", i, len(rows))
		}
	}
}

func TestSalvageEndsWithTheErrorOfItsCaller(t *testing.T) {
	f, _ := write(t, WriterOptions{}, sequence(20, 20))
	stop := errors.New("stop")
	if _, err := Salvage(f, ReaderOptions{}, func(base.InternalKey, []byte) error { return stop }); err != stop {
		t.Error(err)
	}
}

// FuzzSalvage wants of any bytes: no panic, an end, and entries in order.
func FuzzSalvage(f *testing.F) {
	for name, table := range salvageTables(f) {
		if name == "large values" {
			continue
		}
		f.Add(table.bytes[:min(len(table.bytes), 4000)])
		f.Add(table.bytes[max(0, len(table.bytes)-2000):])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, _ := salvage(t, &memFile{bytes: b})
		for i := range rows {
			if i > 0 && base.Bytewise.CompareInternal(rows[i-1].Key, rows[i].Key) >= 0 {
				t.Fatal(fmt.Sprint(rows[i-1].Key, " before ", rows[i].Key))
			}
		}
	})
}

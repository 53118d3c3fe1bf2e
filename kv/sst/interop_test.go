//go:build !js

// goleveldb does not build for js.

package sst

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/comparer"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/table"
	"github.com/syndtr/goleveldb/leveldb/util"
	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator/itertest"
)

// levelOrder is goleveldb's order of internal keys, which it does not export.
type levelOrder struct{ comparer.Comparer }

var order = levelOrder{comparer.DefaultComparer}

func user(key []byte) []byte { return key[:len(key)-8] }

func (levelOrder) Compare(a, b []byte) int {
	if c := bytes.Compare(user(a), user(b)); c != 0 {
		return c
	}
	x, y := binary.LittleEndian.Uint64(a[len(a)-8:]), binary.LittleEndian.Uint64(b[len(b)-8:])
	switch {
	case x > y:
		return -1
	case x < y:
		return 1
	}
	return 0
}

func (o levelOrder) Separator(dst, a, b []byte) []byte {
	return o.close(o.Comparer.Separator(dst, user(a), user(b)), a)
}

func (o levelOrder) Successor(dst, b []byte) []byte {
	return o.close(o.Comparer.Successor(dst, user(b)), b)
}

func (levelOrder) close(short, key []byte) []byte {
	if short == nil || len(short) >= len(user(key)) || bytes.Compare(user(key), short) >= 0 {
		return nil
	}
	return append(short, "\x01\xff\xff\xff\xff\xff\xff\xff"...)
}

// levelFilter is goleveldb's bloom filter on user keys, under LevelDB's name.
type levelFilter struct{ filter.Filter }

func (levelFilter) Name() string { return "leveldb.BuiltinBloomFilter2" }
func (f levelFilter) Contains(filter, key []byte) bool {
	return f.Filter.Contains(filter, user(key))
}
func (f levelFilter) NewGenerator() filter.FilterGenerator {
	return levelGenerator{f.Filter.NewGenerator()}
}

type levelGenerator struct{ filter.FilterGenerator }

func (g levelGenerator) Add(key []byte) { g.FilterGenerator.Add(user(key)) }

// levelOptions returns goleveldb's options for ours.
func levelOptions(o WriterOptions) *opt.Options {
	l := &opt.Options{Comparer: order, BlockSize: o.BlockBytes, Compression: opt.SnappyCompression, Strict: opt.StrictAll}
	if o.Compression == NoCompression {
		l.Compression = opt.NoCompression
	}
	if bits := o.FilterBitsPerKey; bits > 0 {
		l.Filter = levelFilter{filter.NewBloomFilter(bits)}
	} else if bits == 0 {
		l.Filter = levelFilter{filter.NewBloomFilter(defaultBitsPerKey)}
	}
	return l
}

func levelOpen(t tester, f *memFile, o *opt.Options) *table.Reader {
	t.Helper()
	r, err := table.NewReader(bytes.NewReader(f.bytes), int64(len(f.bytes)), storage.FileDesc{Type: storage.TypeTable, Num: 1}, nil, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func levelWrite(t tester, o *opt.Options, rows []row) *memFile {
	t.Helper()
	var out bytes.Buffer
	w := table.NewWriter(&out, o)
	for _, r := range rows {
		if err := w.Append(r.Key.AppendTo(nil), []byte(r.Value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &memFile{bytes: out.Bytes()}
}

func TestGoleveldbReadsOurTables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t, base.Bytewise)
		opts := drawWriterOptions(t, base.Bytewise)
		f, _ := write(t, opts, rows)
		r := levelOpen(t, f, levelOptions(opts))
		defer r.Release()
		it := r.NewIterator(nil, nil)
		defer it.Release()
		var got []row
		for it.Next() {
			k, ok := base.DecodeInternalKey(it.Key())
			if !ok {
				t.Fatalf("key %q", it.Key())
			}
			got = append(got, row{Key: copyKey(base.InternalKey{}, k), Value: string(it.Value())})
		}
		if err := it.Error(); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, got, rows)
		for _, row := range rows {
			// With the filter: it must know the key.
			key, value, err := r.Find(row.Key.AppendTo(nil), true, nil)
			if err != nil || !bytes.Equal(key, row.Key.AppendTo(nil)) || string(value) != row.Value {
				t.Fatalf("found %q = %q, %v; want %v", key, value, err, row)
			}
		}
	})
}

func TestWeReadGoleveldbsTables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t, base.Bytewise)
		if len(rows) == 0 {
			return // goleveldb writes an index key that is none
		}
		o := levelOptions(drawWriterOptions(t, base.Bytewise))
		o.BlockRestartInterval = rapid.SampledFrom([]int{1, 2, 16, 1000}).Draw(t, "restart interval")
		f := levelWrite(t, o, rows)
		r := open(t, f, ReaderOptions{})
		mustScan(t, r, rows)
		meta, err := r.Verify()
		if err != nil {
			t.Fatal(err)
		}
		checkMeta(t, meta, f, rows)
		itertest.Walk(t, base.Bytewise, r.NewIter(), rows, drawKey(), 30)
		for _, row := range rows {
			mustGet(t, r, rows, row.Key.UserKey, row.Key.SeqNum())
		}
	})
}

// goleveldb compresses a block also where that saves less than an eighth, so
// the bytes are the same only without compression.
func TestWeWriteGoleveldbsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t, base.Bytewise)
		if len(rows) == 0 {
			return // for which it writes an empty data block
		}
		opts := drawWriterOptions(t, base.Bytewise)
		opts.Compression = NoCompression
		f, _ := write(t, opts, rows)
		if want := levelWrite(t, levelOptions(opts), rows); !bytes.Equal(f.bytes, want.bytes) {
			t.Fatal("we write other bytes for the same rows")
		}
	})
}

// A store that goleveldb made, file by file: the rows of all tables together.
func TestWeReadTheTablesOfAGoleveldbStore(t *testing.T) {
	dir := t.TempDir()
	db, err := leveldb.OpenFile(dir, &opt.Options{WriteBuffer: 64 << 10, Filter: filter.NewBloomFilter(10)})
	if err != nil {
		t.Fatal(err)
	}
	const count = 5000
	for i := range count {
		if err := db.Put([]byte("key"+strconv.Itoa(i)), []byte("some value, not short: "+strconv.Itoa(i*i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.CompactRange(util.Range{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.ldb"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	found := map[string]bool{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r := open(t, &memFile{bytes: b}, ReaderOptions{})
		if _, err := r.Verify(); err != nil {
			t.Error(err)
		}
		rows, err := collect(r.NewIterWithReadAhead(0), true)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			i, err := strconv.Atoi(string(row.Key.UserKey[len("key"):]))
			if err != nil || row.Value != "some value, not short: "+strconv.Itoa(i*i) {
				t.Fatal(row)
			}
			found[string(row.Key.UserKey)] = true
		}
	}
	if len(found) != count {
		t.Errorf("%d keys, want %d", len(found), count)
	}
}

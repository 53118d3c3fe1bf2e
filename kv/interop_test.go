//go:build !js

// goleveldb does not build for js, nor has that a folder.

package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
	"pgregory.net/rapid"

	"tempestkv/kv"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs/osfs"
)

// interopStore is one folder that the engine and goleveldb write to in turn.
type interopStore struct {
	dir   string
	ours  kv.Options
	their opt.Options
	model map[string]string
}

// interopWrite is a put, or with a nil value a delete.
type interopWrite struct {
	key, value []byte
	endsBatch  bool
}

// interopWrites returns what one turn writes. It is drawn by its seed: shrinking
// thousands of values leads to nothing.
func interopWrites(t *rapid.T) []interopWrite {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	writes := make([]interopWrite, rapid.IntRange(0, 300).Draw(t, "writes"))
	for i := range writes {
		w := &writes[i]
		w.endsBatch = rng.IntN(2) == 0
		switch rng.IntN(3) {
		case 0:
			w.key = bytes.Repeat([]byte{byte(rng.IntN(255))}, rng.IntN(5))
		default:
			w.key = fmt.Appendf(nil, "user:%06d", rng.IntN(3000))
		}
		if rng.IntN(4) > 0 {
			w.value = bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(900))
		}
	}
	return writes
}

func (s *interopStore) note(writes []interopWrite) {
	for _, w := range writes {
		if w.value == nil {
			delete(s.model, string(w.key))
		} else {
			s.model[string(w.key)] = string(w.value)
		}
	}
}

// useOurs opens the store with the engine, checks what it has, and writes.
func (s *interopStore) useOurs(t *rapid.T, writes []interopWrite, compact bool) {
	fs, err := osfs.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	db, err := kv.Open(fs, &s.ours)
	if err != nil {
		t.Fatal(err)
	}
	s.checkOurs(t, db)
	var b batch.Batch
	for i, w := range writes {
		if w.value == nil {
			err = b.Delete(w.key)
		} else {
			err = b.Put(w.key, w.value)
		}
		if err == nil && (w.endsBatch || i == len(writes)-1) {
			_, err = db.Apply(ctx, &b, nil)
			b.Reset()
		}
		if err == nil && i == len(writes)/2 {
			err = db.Flush(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.note(writes)
	if compact {
		if err := db.Compact(ctx, iterator.Bounds{}); err != nil {
			t.Fatal(err)
		}
	}
	s.checkOurs(t, db)
	if err := errors.Join(db.Close(), fs.Close()); err != nil {
		t.Fatal(err)
	}
}

func (s *interopStore) checkOurs(t *rapid.T, db *kv.DB) {
	if r, err := db.Verify(ctx); err != nil || len(r.Problems) > 0 {
		t.Fatal(err, r.Problems)
	}
	for _, reverse := range []bool{false, true} {
		scan, err := db.Scan(ctx, &kv.ScanOptions{Reverse: reverse})
		if err != nil {
			t.Fatal(err)
		}
		defer scan.Close()
		keys := slices.Sorted(maps.Keys(s.model))
		if reverse {
			slices.Reverse(keys)
		}
		for _, key := range keys {
			if !scan.Next() || string(scan.Key()) != key || string(scan.Value()) != s.model[key] {
				t.Fatalf("scan: %q where %q should come: %v", scan.Key(), key, scan.Error())
			}
			if got, err := db.Get(ctx, []byte(key)); err != nil || string(got) != s.model[key] {
				t.Fatalf("get %q: %q, %v", key, got, err)
			}
		}
		if scan.Next() || scan.Error() != nil {
			t.Fatalf("scan: %q behind the end, %v", scan.Key(), scan.Error())
		}
	}
}

// useTheirs does with goleveldb what useOurs does with the engine.
func (s *interopStore) useTheirs(t *rapid.T, writes []interopWrite, compact bool) {
	o := s.their
	db, err := leveldb.OpenFile(s.dir, &o)
	if err != nil {
		t.Fatal(err)
	}
	s.checkTheirs(t, db)
	var b leveldb.Batch
	for i, w := range writes {
		if w.value == nil {
			b.Delete(w.key)
		} else {
			b.Put(w.key, w.value)
		}
		if w.endsBatch || i == len(writes)-1 {
			if err := db.Write(&b, nil); err != nil {
				t.Fatal(err)
			}
			b.Reset()
		}
	}
	s.note(writes)
	if compact {
		if err := db.CompactRange(util.Range{}); err != nil {
			t.Fatal(err)
		}
	}
	s.checkTheirs(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *interopStore) checkTheirs(t *rapid.T, db *leveldb.DB) {
	it := db.NewIterator(nil, nil)
	defer it.Release()
	for _, key := range slices.Sorted(maps.Keys(s.model)) {
		if !it.Next() || string(it.Key()) != key || string(it.Value()) != s.model[key] {
			t.Fatalf("goleveldb's scan: %q where %q should come: %v", it.Key(), key, it.Error())
		}
		if got, err := db.Get([]byte(key), nil); err != nil || string(got) != s.model[key] {
			t.Fatalf("goleveldb's get %q: %q, %v", key, got, err)
		}
	}
	if it.Next() || it.Error() != nil {
		t.Fatalf("goleveldb's scan: %q behind the end, %v", it.Key(), it.Error())
	}
}

// TestGoleveldbAndTheEngineInTurn lets both open what the other one wrote,
// whichever of them began.
func TestGoleveldbAndTheEngineInTurn(t *testing.T) {
	parent := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		blocks := rapid.SampledFrom([]int{1, 200, 1 << 10, 4 << 10, 64 << 10})
		s := &interopStore{
			dir:   fmt.Sprint(parent, "/", n),
			model: map[string]string{},
			ours:  kv.Options{MemtableBytes: 1, TableBytes: 8 << 10, Level1Bytes: 32 << 10, BlockBytes: blocks.Draw(t, "our blocks")},
			their: opt.Options{
				BlockSize: blocks.Draw(t, "their blocks"), WriteBuffer: 32 << 10,
				CompactionTableSize: 8 << 10, CompactionTotalSize: 32 << 10, Filter: filter.NewBloomFilter(10),
				Compression: opt.SnappyCompression, Strict: opt.StrictAll,
			},
		}
		if rapid.Bool().Draw(t, "uncompressed") {
			s.ours.Compression, s.their.Compression = sst.NoCompression, opt.NoCompression
		}
		isOurs := rapid.Bool().Draw(t, "we begin")
		for range 3 {
			writes, compact := interopWrites(t), rapid.Bool().Draw(t, "compact")
			if isOurs {
				s.useOurs(t, writes, compact)
			} else {
				s.useTheirs(t, writes, compact)
			}
			isOurs = !isOurs
		}
	})
}

// TestATableThatGoleveldbNamesTwice: the first record of its manifest has the
// tables of the edit that led to it once more.
func TestATableThatGoleveldbNamesTwice(t *testing.T) {
	dir := t.TempDir()
	useFolder(t, dir, func(db *kv.DB) { put(t, db, "a", "1") })
	useGoleveldb(t, dir, func(*leveldb.DB) error { return nil }) // brings the log into a table
	useFolder(t, dir, func(db *kv.DB) { wantValue(t, db, "a", "1") })
}

// TestALogThatGoleveldbNamesAndHasRemoved: it removes the log of an empty
// memtable, and leaves the manifest as it is.
func TestALogThatGoleveldbNamesAndHasRemoved(t *testing.T) {
	dir := t.TempDir()
	useGoleveldb(t, dir, func(db *leveldb.DB) error { return db.CompactRange(util.Range{}) })
	useFolder(t, dir, func(db *kv.DB) { put(t, db, "a", "1") })
	useGoleveldb(t, dir, func(db *leveldb.DB) error {
		got, err := db.Get([]byte("a"), nil)
		if string(got) != "1" {
			t.Errorf("goleveldb's get: %q", got)
		}
		return err
	})
}

func useFolder(t *testing.T, dir string, f func(db *kv.DB)) {
	t.Helper()
	fs, err := osfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	db, err := kv.Open(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	f(db)
	if err := errors.Join(db.Close(), fs.Close()); err != nil {
		t.Fatal(err)
	}
}

func useGoleveldb(t *testing.T, dir string, f func(db *leveldb.DB) error) {
	t.Helper()
	db, err := leveldb.OpenFile(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

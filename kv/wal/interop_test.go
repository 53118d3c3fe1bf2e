//go:build !js

// goleveldb does not build for js.

package wal

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/journal"
	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
)

func TestGoleveldbReadsOurLogs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		r := journal.NewReader(bytes.NewReader(write(t, records...)), nil, true, true)
		for i, want := range records {
			next, err := r.Next()
			if err != nil {
				t.Fatalf("record %d: %v", i, err)
			}
			got, err := io.ReadAll(next)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("record %d: %d bytes, want %d, %v", i, len(got), len(want), err)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatalf("behind the last record: %v", err)
		}
	})
}

func TestWeReadAndWriteGoleveldbsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		var log bytes.Buffer
		w := journal.NewWriter(&log)
		for _, p := range records {
			next, err := w.Next()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := next.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		mustRead(t, log.Bytes(), records...)
		if !bytes.Equal(write(t, records...), log.Bytes()) {
			t.Fatal("we write other bytes for the same records")
		}
	})
}

// A store whose log is ours, sync markers and zeros included.
func TestGoleveldbRecoversOurLog(t *testing.T) {
	dir := t.TempDir()
	db, err := leveldb.OpenFile(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs %v, %v", logs, err)
	}

	f := &memFile{}
	w := NewWriter(f, 0)
	seq := base.SeqNum(1)
	add := func(fill func(b *batch.Batch) error) {
		t.Helper()
		var b batch.Batch
		b.SetSeqNum(seq)
		if err := fill(&b); err != nil {
			t.Fatal(err)
		}
		if err := w.AddRecord(b.Repr()); err != nil {
			t.Fatal(err)
		}
		seq += base.SeqNum(b.Count())
	}
	marker := func(*batch.Batch) error { return nil }
	large := fill(1, 100_000)
	add(marker)
	add(func(b *batch.Batch) error { return b.Put([]byte("large"), large) })
	add(marker)
	add(func(b *batch.Batch) error { return b.Put([]byte("gone"), []byte("value")) })
	add(func(b *batch.Batch) error { return b.Delete([]byte("gone")) })
	add(marker)
	add(func(b *batch.Batch) error { return b.Put([]byte("last"), nil) })
	if err := os.WriteFile(logs[0], append(f.bytes, make([]byte, 50_000)...), 0o644); err != nil {
		t.Fatal(err)
	}

	if db, err = leveldb.OpenFile(dir, nil); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for key, want := range map[string][]byte{"large": large, "last": {}} {
		if got, err := db.Get([]byte(key), nil); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
	}
	if _, err := db.Get([]byte("gone"), nil); err != leveldb.ErrNotFound {
		t.Errorf("gone: %v", err)
	}
}

package wal

import (
	"bytes"
	"io"
	"testing"

	"github.com/syndtr/goleveldb/leveldb/journal"
	"pgregory.net/rapid"
)

// drawRecords draws records whose sizes favour the edges of blocks.
func drawRecords(t *rapid.T) [][]byte {
	size := rapid.OneOf(
		rapid.IntRange(0, 300),
		rapid.IntRange(room-20, room+20),
		rapid.IntRange(0, 3*room),
		rapid.Just(12),
	)
	sizes := rapid.SliceOfN(size, 0, 12).Draw(t, "sizes")
	seed := rapid.IntRange(0, 250).Draw(t, "seed")
	records := make([][]byte, len(sizes))
	for i, n := range sizes {
		records[i] = fill(seed+i, n)
	}
	return records
}

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

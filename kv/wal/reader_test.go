package wal

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

var _ io.ReaderAt = vfs.File(nil)

// countingFile notes how it is read, and may fail.
type countingFile struct {
	log   []byte
	reads []int
	end   int64
	err   error // of reads from failAt on
	fail  int64
}

func (f *countingFile) ReadAt(p []byte, off int64) (int, error) {
	f.reads = append(f.reads, len(p))
	f.end = max(f.end, off+int64(len(p)))
	if f.err != nil && off+int64(len(p)) > f.fail {
		return 0, f.err
	}
	return bytes.NewReader(f.log).ReadAt(p, off)
}

func TestReaderReadsInLargePieces(t *testing.T) {
	var records [][]byte
	for i := range 3000 {
		records = append(records, fill(i, 500))
	}
	log := write(t, append(records, fill(0, 200_000))...)
	f := &countingFile{log: log}
	r := NewReader(f, int64(len(log)))
	for {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if f.end != int64(len(log)) {
		t.Errorf("read to %d of %d", f.end, len(log))
	}
	total := 0
	for i, n := range f.reads {
		if total += n; i < len(f.reads)-1 && n < 64<<10 {
			t.Errorf("read %d is of %d bytes", i, n)
		}
	}
	if total != len(log) {
		t.Errorf("%d bytes read of a log of %d", total, len(log))
	}
}

func TestReaderPassesOnFailedReads(t *testing.T) {
	log := write(t, fill(1, 300_000), fill(2, 300_000), fill(3, 10))
	cause := base.Wrap(base.ErrIO, "unplugged", nil)
	for _, fail := range []int64{0, 300_000, 600_000} {
		r := NewReader(&countingFile{log: log, err: cause, fail: fail}, int64(len(log)))
		for range 4 {
			if _, err := r.Next(); err != nil && err != cause {
				t.Errorf("reads fail from %d: %v", fail, err)
			}
		}
		if err := r.Resync(); err != cause {
			t.Errorf("Resync after a failed read gives %v", err)
		}
	}
	t.Run("while looking for the end of zeros", func(t *testing.T) {
		r := NewReader(&countingFile{log: make([]byte, 1<<20), err: cause, fail: 600_000}, 1<<20)
		if _, err := r.Next(); err != cause {
			t.Error(err)
		}
	})
	t.Run("while looking for records behind damage", func(t *testing.T) {
		r := NewReader(&countingFile{log: fill(1, 1<<20), err: cause, fail: 600_000}, 1<<20)
		if _, err := r.Next(); !errors.Is(err, base.ErrCorruption) {
			t.Fatal(err)
		}
		if err := r.Resync(); err != cause {
			t.Error(err)
		}
		if _, err := r.Next(); err != cause {
			t.Error(err)
		}
	})
}

func TestReaderOfAFileShorterThanItsSize(t *testing.T) {
	log := write(t, fill(1, 10))
	_, err := NewReader(bytes.NewReader(log), 1<<60).Next()
	if !errors.Is(err, base.ErrIO) {
		t.Error(err)
	}
	if _, err := NewReader(bytes.NewReader(log), -1).Next(); err != io.EOF {
		t.Error(err)
	}
}

func TestResyncWithoutDamageChangesNothing(t *testing.T) {
	log := write(t, fill(1, 10), fill(2, 10))
	r := NewReader(bytes.NewReader(log), int64(len(log)))
	for i := range 2 {
		if err := r.Resync(); err != nil {
			t.Fatal(err)
		}
		if p, err := r.Next(); err != nil || !bytes.Equal(p, fill(i+1, 10)) {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	for range 2 {
		if _, err := r.Next(); err != io.EOF {
			t.Fatal(err)
		}
		if err := r.Resync(); err != io.EOF {
			t.Fatal(err)
		}
	}
}

func TestBadRecordErrorNamesTheOffset(t *testing.T) {
	err := error(&BadRecordError{Offset: 4711, Reason: "checksum does not match"})
	if want := "tempestkv: corruption: log record at offset 4711: checksum does not match"; err.Error() != want {
		t.Errorf("%q", err)
	}
}

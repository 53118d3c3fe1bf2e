package wal

import (
	"errors"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

var _ Appender = vfs.File(nil)

// failing is an Appender that fails after some appends.
type failing struct {
	memFile
	left int
	err  error
}

func (f *failing) Append(p []byte) error {
	if f.left--; f.left < 0 {
		f.appends++
		return f.err
	}
	return f.memFile.Append(p)
}

func TestWriterRefusesRecordsAfterAFailedAppend(t *testing.T) {
	cause := base.Wrap(base.ErrQuota, "disk full", nil)
	f := &failing{left: 1, err: cause}
	w := NewWriter(f, 0)
	if err := w.AddRecord([]byte("good")); err != nil {
		t.Fatal(err)
	}
	offset := w.Offset()
	if err := w.AddRecord([]byte("lost")); err != cause {
		t.Fatalf("failed append gives %v", err)
	}
	for name, add := range map[string]func() error{
		"AddRecord":  func() error { return w.AddRecord([]byte("late")) },
		"AddRecords": func() error { return w.AddRecords([]byte("late")) },
	} {
		if err := add(); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, cause) {
			t.Errorf("%s after a failure gives %v", name, err)
		}
	}
	if f.appends != 2 {
		t.Errorf("%d appends, want 2", f.appends)
	}
	if w.Offset() != offset {
		t.Errorf("Offset went from %d to %d", offset, w.Offset())
	}
	mustRead(t, f.bytes, []byte("good"))
}

func TestWriterRefusesWhatMakesNoSense(t *testing.T) {
	t.Run("a negative offset", func(t *testing.T) {
		f := &memFile{}
		if err := NewWriter(f, -1).AddRecord(nil); !errors.Is(err, base.ErrInvalidArgument) || f.appends != 0 {
			t.Errorf("%v, %d appends", err, f.appends)
		}
	})
	t.Run("a record over the limit", func(t *testing.T) {
		f := &memFile{}
		w := NewWriter(f, 0)
		huge := make([]byte, MaxRecordBytes+1)
		for _, err := range []error{w.AddRecord(huge), w.AddRecords([]byte("small"), huge)} {
			if !errors.Is(err, base.ErrInvalidArgument) {
				t.Error(err)
			}
		}
		if f.appends != 0 || w.Offset() != 0 {
			t.Errorf("%d appends, Offset %d", f.appends, w.Offset())
		}
		if err := w.AddRecord([]byte("small")); err != nil {
			t.Error(err)
		}
	})
	t.Run("no records are no append", func(t *testing.T) {
		f := &memFile{}
		if err := NewWriter(f, 0).AddRecords(); err != nil || f.appends != 0 {
			t.Errorf("%v, %d appends", err, f.appends)
		}
	})
}

func TestWriterAllocatesNothingOnceWarm(t *testing.T) {
	f := &discard{}
	w := NewWriter(f, 0)
	record := fill(1, 128)
	if n := testing.AllocsPerRun(1000, func() {
		if err := w.AddRecord(record); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

// discard is an Appender that keeps nothing.
type discard struct{}

func (*discard) Append([]byte) error { return nil }

func TestWriterBufferHoldsEveryRecordWithoutGrowing(t *testing.T) {
	for at := int64(0); at < BlockSize; at += 5 {
		for _, size := range []int{0, 1, room - 1, room, room + 1, 2 * room} {
			w := NewWriter(&discard{}, at)
			if err := w.AddRecord(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if n := w.Offset() - at; n > int64(framedSize(size)) {
				t.Fatalf("record of %d bytes at %d takes %d bytes, more than %d", size, at, n, framedSize(size))
			}
		}
	}
}

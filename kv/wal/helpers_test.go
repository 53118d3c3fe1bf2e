package wal

import (
	"bytes"
	"errors"
	"io"
)

// tester is what helpers need of a *testing.T, *testing.F or *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// memFile is a log in memory.
type memFile struct {
	bytes   []byte
	appends int
}

func (f *memFile) Append(p []byte) error {
	f.bytes = append(f.bytes, p...)
	f.appends++
	return nil
}

// fill returns size bytes that differ from place to place and from seed to
// seed, and of which none is zero.
func fill(seed, size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte((seed*31+i*7)%251 + 1)
	}
	return p
}

// write returns a log of the records.
func write(t tester, records ...[]byte) []byte {
	t.Helper()
	f := &memFile{}
	w := NewWriter(f, 0)
	for _, p := range records {
		if err := w.AddRecord(p); err != nil {
			t.Fatal(err)
		}
	}
	return f.bytes
}

// read returns the records up to the first error, the offset then reached, and
// that error, nil for io.EOF.
func read(log []byte) (records [][]byte, offset int64, err error) {
	r := NewReader(bytes.NewReader(log), int64(len(log)))
	for {
		p, err := r.Next()
		if err == io.EOF {
			return records, r.Offset(), nil
		}
		if err != nil {
			return records, r.Offset(), err
		}
		records = append(records, bytes.Clone(p))
	}
}

// mustRead wants the log to end in order, with these records.
func mustRead(t tester, log []byte, want ...[]byte) {
	t.Helper()
	got, offset, err := read(log)
	if err != nil {
		t.Fatalf("log of %d bytes: %v", len(log), err)
	}
	mustEqual(t, got, want)
	if offset > int64(len(log)) {
		t.Fatalf("Offset %d beyond %d bytes", offset, len(log))
	}
}

func mustEqual(t tester, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("record %d: %d bytes, want %d, or other ones", i, len(got[i]), len(want[i]))
		}
	}
}

func isBad(err error) (*BadRecordError, bool) {
	var bad *BadRecordError
	return bad, errors.As(err, &bad)
}

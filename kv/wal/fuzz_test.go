package wal

import (
	"bytes"
	"testing"
)

// FuzzReader wants of any bytes: no panic, an end, no record made of nothing,
// and a log that can be continued where reading stopped.
func FuzzReader(f *testing.F) {
	// Small seeds keep fuzzing fast; one goes over the edge of a block.
	small := write(f, fill(1, 10), nil, fill(2, 30), fill(3, 12))
	edge := write(f, fill(1, room-9), fill(2, 12))
	f.Add([]byte(nil))
	f.Add(make([]byte, 100))
	f.Add(small)
	f.Add(small[:len(small)-3])
	f.Add([]byte(raw(small).flip(5)))
	f.Add([]byte(raw(small).zeros(30).fragment(typeFull, fill(2, 12))))
	f.Add([]byte(raw(nil).fragment(typeMiddle, fill(1, 20)).fragment(typeLast, fill(2, 12)).fragment(typeFirst, nil)))
	f.Add(edge)
	f.Add(edge[:BlockSize])
	f.Add([]byte(raw(edge).flip(BlockSize + 6)))
	f.Fuzz(func(t *testing.T, log []byte) {
		records, offset, err := read(log)
		if offset < 0 || offset > int64(len(log)) {
			t.Fatalf("Offset %d of %d bytes", offset, len(log))
		}
		size := 0
		for _, p := range records {
			size += len(p)
		}
		if size > len(log) {
			t.Fatalf("%d bytes of records in %d of log", size, len(log))
		}
		if _, ok := isBad(err); err != nil && !ok {
			t.Fatal(err)
		}
		resync(t, log)

		// The same records again, alone, and with one more.
		mustRead(t, log[:offset], records...)
		more := fill(5, 33)
		mustRead(t, continueLog(t, log[:offset:offset], more), append(records, bytes.Clone(more))...)
	})
}

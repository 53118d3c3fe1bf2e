package wal

import (
	"bytes"
	"testing"
)

func FuzzReader(f *testing.F) {
	log := write(f, fill(1, 10), nil, fill(2, room), fill(3, 2*room+5), fill(4, 12))
	f.Add([]byte(nil))
	f.Add(make([]byte, 100))
	f.Add(log)
	f.Add(log[:len(log)-3])
	f.Add(append(log[:BlockSize:BlockSize], make([]byte, BlockSize)...))
	f.Add([]byte(raw(log).flip(5)))
	f.Add([]byte(raw(log).flip(BlockSize + 6)))
	f.Add([]byte(raw(nil).fragment(typeFull, fill(1, 20)).zeros(30).fragment(typeFull, fill(2, 12))))
	f.Add([]byte(raw(nil).fragment(typeMiddle, fill(1, 20)).fragment(typeLast, fill(2, 12)).fragment(typeFirst, nil)))
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

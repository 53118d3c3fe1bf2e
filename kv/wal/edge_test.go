package wal

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// room is the most data of a fragment.
const room = BlockSize - headerSize

func TestRecordsAroundBlockEdgesReadBack(t *testing.T) {
	for _, size := range []int{
		0, 1, 127, 128, room - 14, room - 13, room - 8, room - 7, room - 6, room - 1,
		room, room + 1, room + 6, room + 7, room + 8, 2*room - 1, 2 * room, 2*room + 1, 3*room + 5, 300_000,
	} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			for _, next := range []int{0, 1, 5, room, room + 1} {
				records := [][]byte{fill(1, size), fill(2, next), fill(3, 9), nil}
				log := write(t, records...)
				mustRead(t, log, records...)

				// The same bytes, whether records come alone or together.
				f := &memFile{}
				if err := NewWriter(f, 0).AddRecords(records...); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(f.bytes, log) {
					t.Error("AddRecords writes other bytes than AddRecord")
				}
				if f.appends != 1 {
					t.Errorf("AddRecords made %d appends", f.appends)
				}
			}
		})
	}
}

// The bytes were put together by hand from LevelDB's doc/log_format.md; the
// checksums come from a bit-by-bit CRC32C that gives e3069283 for "123456789".
func TestBytesOnDisk(t *testing.T) {
	for _, c := range []struct {
		name    string
		records []string
		at      int // offset of want, which goes to the end of the log
		want    string
	}{
		{"an empty record is a header", []string{""}, 0, "052b2843 0000 01"},
		{"a full record", []string{"hello"}, 0, "0bb95758 0500 01 68656c6c6f"},
		{"a header fills the last seven bytes", []string{strings.Repeat("x", room-7), "abc"}, room,
			"6451d0e9 0000 02" + "adb57570 0300 04 616263"},
		{"an empty record fills the last seven bytes", []string{strings.Repeat("x", room-7), ""}, room, "052b2843 0000 01"},
		{"six bytes left are a trailer", []string{strings.Repeat("x", room-6), "abc"}, room + 1,
			"000000000000" + "f270e89d 0300 01 616263"},
		{"eight bytes left take one of data", []string{strings.Repeat("x", room-8), "abc"}, room - 1,
			"ea753d51 0100 02 61" + "c242bf86 0200 04 6263"},
		{"no bytes left", []string{strings.Repeat("x", room), "abc"}, BlockSize, "f270e89d 0300 01 616263"},
		{"a last fragment of two", []string{strings.Repeat("a", 2*room+2)}, 2 * BlockSize, "2be764f7 0200 04 6161"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var records [][]byte
			for _, s := range c.records {
				records = append(records, []byte(s))
			}
			log := write(t, records...)
			want := strings.ReplaceAll(c.want, " ", "")
			if got := hex.EncodeToString(log[c.at:]); got != want {
				t.Errorf("bytes from %d are %.80s, want %s", c.at, got, want)
			}
			mustRead(t, log, records...)
		})
	}

	t.Run("first and middle fragments that fill their blocks", func(t *testing.T) {
		log := write(t, []byte(strings.Repeat("a", 2*room+2)))
		for block, want := range []string{"660a1dd5f97f02", "314d8b27f97f03"} {
			if got := hex.EncodeToString(log[block*BlockSize:][:headerSize]); got != want {
				t.Errorf("header of block %d is %s, want %s", block, got, want)
			}
		}
	})
}

func TestEmptyLogEndsAtOnce(t *testing.T) {
	mustRead(t, nil)
	mustRead(t, make([]byte, 1))
	mustRead(t, make([]byte, 3*BlockSize+5))
	if _, offset, _ := read(make([]byte, 2*BlockSize)); offset != 0 {
		t.Errorf("Offset of an empty log is %d", offset)
	}
}

// continueLog appends records at the Offset a reader reports for log, over
// whatever stands behind it.
func continueLog(t tester, log []byte, records ...[]byte) []byte {
	t.Helper()
	_, offset, _ := read(log)
	f := &memFile{bytes: bytes.Clone(log[:offset])}
	w := NewWriter(f, offset)
	if err := w.AddRecords(records...); err != nil {
		t.Fatal(err)
	}
	if w.Offset() != int64(len(f.bytes)) {
		t.Fatalf("Writer is at %d of %d bytes", w.Offset(), len(f.bytes))
	}
	if len(log) > len(f.bytes) {
		f.bytes = append(f.bytes, make([]byte, len(log)-len(f.bytes))...)
	}
	return f.bytes
}

func TestLogIsContinuedAtOffset(t *testing.T) {
	for _, size := range []int{0, 1, room - 14, room - 8, room - 7, room - 6, room - 5, room - 1, room, room + 1, 3 * room} {
		for _, zeros := range []int{0, 1, 6, 7, 8, 2 * BlockSize} {
			t.Run(fmt.Sprintf("%d bytes and %d zeros", size, zeros), func(t *testing.T) {
				first := fill(1, size)
				log := append(write(t, first), make([]byte, zeros)...)
				if _, offset, _ := read(log); offset != int64(len(log)-zeros) {
					t.Fatalf("Offset %d, want %d", offset, len(log)-zeros)
				}
				more := [][]byte{fill(2, 20), fill(3, room), fill(4, 3)}
				mustRead(t, continueLog(t, log, more...), append([][]byte{first}, more...)...)
			})
		}
	}
}

package frames_test

import (
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"tempestkv/workers/frames"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestRequestsAreWhatTheProtocolSays(t *testing.T) {
	var r frames.Request
	r.Add(frames.OpStats, 0)
	r.Add(frames.OpWrite, frames.WriteConditional)
	r.U64(1 << 40)
	r.U32(0x01020304)
	r.U8(7)
	r.Bytes([]byte("ab"))
	r.Raw([]byte("c"))
	r.Add(frames.OpScanNext, 0)
	r.SetID(99)
	want := "01 01 0000 00000000 03000000 45000000" +
		"00000000 07 00 0000 00000000" +
		"01000000 01 02 0000 11000000 0000000000010000 04030201 07 026162 63" +
		"63000000 05 00 0000 00000000"
	if got := hex.EncodeToString(r.Finish()); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("%s\nwant %s", got, strings.ReplaceAll(want, " ", ""))
	}
	var empty frames.Request
	if got := hex.EncodeToString(empty.Finish()); got != "01010000000000000000000010000000" {
		t.Error(got)
	}
}

const (
	aReply  = "01 02 0000 09090909 01000000 1d000000  05000000 00 01 0000 01000000 78"
	twoIn1  = "01 02 0000 00000000 02000000 2b000000  01000000 01 00 0000 00000000  02000000 02 00 0000 03000000 01 41 00"
	aNoCall = "01 02 0000 00000000 00000000 10000000"
)

func TestRepliesAreReadAcrossFrames(t *testing.T) {
	r := frames.Reader{Frames: unhex(aReply + aNoCall + twoIn1)}
	first, err := r.Next()
	if err != nil || first.ID != 5 || first.Status != frames.StatusOK || first.Flags != 1 || string(first.Body) != "x" {
		t.Error(first, err)
	}
	second, err := r.Next()
	if err != nil || second.ID != 1 || second.Status != frames.StatusNotFound || len(second.Body) != 0 || second.Err() != nil {
		t.Error(second, err)
	}
	third, err := r.Next()
	var e *frames.Error
	if err != nil || !errors.As(third.Err(), &e) || e.Code != "A" || e.Message != "" {
		t.Error(third, err)
	}
	for range 2 {
		if _, err := r.Next(); err != io.EOF {
			t.Error(err)
		}
	}
}

func TestMalformedRepliesAreRefused(t *testing.T) {
	for name, frame := range map[string]string{
		"half a header":             "01 02 0000 00000000",
		"another version":           "02 02 0000 00000000 00000000 10000000",
		"a request":                 "01 01 0000 00000000 00000000 10000000",
		"a size below the header":   "01 02 0000 00000000 00000000 0f000000",
		"a size over what came":     "01 02 0000 00000000 00000000 11000000",
		"a huge size":               "01 02 0000 00000000 00000000 ffffffff",
		"fewer entries than said":   "01 02 0000 00000000 02000000 1c000000  05000000 00 00 0000 00000000",
		"more entries than said":    "01 02 0000 00000000 00000000 1c000000  05000000 00 00 0000 00000000",
		"an entry cut short":        "01 02 0000 00000000 01000000 14000000  05000000",
		"a body cut short":          "01 02 0000 00000000 01000000 1d000000  05000000 00 00 0000 02000000 00",
		"a huge body":               "01 02 0000 00000000 01000000 1c000000  05000000 00 00 0000 ffffffff",
		"a status that is none":     "01 02 0000 00000000 01000000 1c000000  05000000 03 00 0000 00000000",
		"an error without its text": "01 02 0000 00000000 01000000 1d000000  05000000 02 00 0000 01000000 05",
	} {
		r := frames.Reader{Frames: unhex(frame)}
		reply, err := r.Next()
		for err == nil {
			if err = reply.Err(); err == nil {
				reply, err = r.Next()
			}
		}
		if !errors.Is(err, frames.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACursorReadsNothingThatIsNotThere(t *testing.T) {
	for name, b := range map[string]string{
		"nothing":                     "",
		"a length without its bytes":  "03 00 00",
		"a length that goes on":       "80",
		"a length of too many bytes":  "80 80 80 80 80 00",
		"a length that is everything": "ff ff ff ff 0f",
	} {
		c := frames.Cursor{B: unhex(b)}
		if got, ok := c.Bytes(); ok {
			t.Errorf("%s: read %x", name, got)
		}
		if len(c.B) != len(unhex(b)) {
			t.Errorf("%s: %d bytes were taken", name, len(unhex(b))-len(c.B))
		}
	}
	c := frames.Cursor{B: []byte{1, 2, 3}}
	if _, ok := c.U32(); ok {
		t.Error("read four bytes of three")
	}
	if _, ok := c.U64(); ok {
		t.Error("read eight bytes of three")
	}
}

func FuzzReader(f *testing.F) {
	for _, seed := range []string{"", aReply, aNoCall, twoIn1, aReply + twoIn1, "01 02 0000 00000000 01000000 1c000000  05000000 00 00 0000 ffffffff"} {
		f.Add(unhex(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		size := 0
		r := frames.Reader{Frames: b}
		for {
			reply, err := r.Next()
			if err != nil {
				if err != io.EOF && !errors.Is(err, frames.ErrMalformed) {
					t.Fatal(err)
				}
				return
			}
			_ = reply.Err()
			if size += len(reply.Body) + 12; size > len(b) {
				t.Fatal("more was read than is there")
			}
		}
	})
}

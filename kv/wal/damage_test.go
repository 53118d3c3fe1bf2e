package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"tempestkv/kv/base"
)

// resync reads the whole log, going on behind damage. It returns the records
// before any damage, those found behind it, and the reports of damage.
func resync(t tester, log []byte) (before, behind [][]byte, bad []*BadRecordError) {
	t.Helper()
	r := NewReader(bytes.NewReader(log), int64(len(log)))
	for steps := 0; ; steps++ {
		if steps > len(log)+2 {
			t.Fatal("reader does not come to an end")
		}
		p, err := r.Next()
		if err == io.EOF {
			return before, behind, bad
		}
		if b, ok := isBad(err); ok {
			if !errors.Is(err, base.ErrCorruption) {
				t.Fatalf("%v is no corruption", err)
			}
			if _, again := r.Next(); again != err {
				t.Fatalf("Next after %v gives %v", err, again)
			}
			if bad = append(bad, b); b.Offset < r.Offset() {
				t.Fatalf("damage at %d, before Offset %d", b.Offset, r.Offset())
			}
			if err := r.Resync(); err == io.EOF {
				return before, behind, bad
			} else if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(bad) == 0 {
			before = append(before, bytes.Clone(p))
		} else {
			behind = append(behind, bytes.Clone(p))
		}
	}
}

// raw is a log made of fragments, put where the caller wants them.
type raw []byte

func (l raw) fragment(kind byte, data []byte) raw { return appendFragment(l, kind, data) }
func (l raw) zeros(n int) raw                     { return append(l, make([]byte, n)...) }
func (l raw) bytes(p ...byte) raw                 { return append(l, p...) }
func (l raw) toBlockEnd() raw                     { return l.zeros((BlockSize - len(l)%BlockSize) % BlockSize) }

func (l raw) flip(at int) raw {
	l = slices.Clone(l)
	l[at] ^= 0x10
	return l
}

func TestDamage(t *testing.T) {
	one, two, marker := fill(1, 40), fill(2, 50), fill(3, 12)
	block := fill(4, room)
	good := raw(nil).fragment(typeFull, one)
	at := int64(len(good)) // where damage begins, unless said otherwise

	// A record over three blocks, its first fragment behind good.
	head := fill(5, room-len(good))
	long := good.fragment(typeFirst, head).fragment(typeMiddle, block).fragment(typeLast, two)
	whole := slices.Concat(head, block, two)

	for _, c := range []struct {
		name   string
		log    raw
		reason string // none: the log ends in order
		behind [][]byte
	}{
		{name: "nothing is wrong", log: good},
		{name: "zeros follow", log: good.zeros(3 * BlockSize)},
		{name: "fewer zeros than a header follow", log: good.zeros(3)},

		{name: "a header is cut off", log: good.bytes(1, 2, 3), reason: "cut off by the end of the file"},
		{name: "a record is cut off", log: good.fragment(typeFull, two)[:at+20], reason: "cut off by the end of the file"},
		{name: "a cut record is followed by zeros", log: good.fragment(typeFull, two)[:at+20].zeros(90), reason: "checksum does not match"},
		{name: "a cut header is followed by zeros", log: good.fragment(typeFull, two)[:at+5].zeros(90), reason: "unknown type of fragment"},
		{name: "an unknown type", log: good.fragment(5, two), reason: "unknown type of fragment"},
		{name: "a type zero with a length", log: good.fragment(0, two), reason: "unknown type of fragment"},
		{name: "a length beyond the block", log: good.bytes(1, 2, 3, 4, 0xff, 0xff, typeFull).zeros(BlockSize), reason: "length reaches beyond the block"},

		{name: "a payload is changed", log: good.fragment(typeFull, two).flip(int(at)+20).fragment(typeFull, marker),
			reason: "checksum does not match", behind: [][]byte{marker}},
		{name: "a length is changed", log: good.fragment(typeFull, two).flip(int(at)+4).fragment(typeFull, marker),
			reason: "checksum does not match", behind: [][]byte{marker}},
		{name: "a long length is changed", log: good.fragment(typeFull, two).flip(int(at)+5).fragment(typeFull, marker).zeros(2 * BlockSize),
			reason: "checksum does not match", behind: [][]byte{marker}},
		{name: "a type is changed", log: good.fragment(typeFull, two).flip(int(at)+6).fragment(typeFull, marker).fragment(typeFull, one),
			reason: "unknown type of fragment", behind: [][]byte{marker, one}},
		{name: "a block is lost", log: good.fragment(typeFirst, head).zeros(BlockSize).fragment(typeFull, marker),
			reason: "zeros in place of a later part", behind: [][]byte{marker}},
		{name: "zeros in the middle of a block", log: good.zeros(100).fragment(typeFull, marker),
			reason: "zeros in the middle of the log", behind: [][]byte{marker}},
		{name: "zeros before a fragment that begins with zeros", log: good.zeros(100).bytes(0, 0, 0, 9, 0, 0, typeFull).fragment(typeFull, marker),
			reason: "zeros in the middle of the log", behind: [][]byte{marker}},
		{name: "blocks of zeros in the middle", log: good.toBlockEnd().zeros(9*BlockSize).fragment(typeFull, marker),
			reason: "zeros in the middle of the log", behind: [][]byte{marker}},
		{name: "zeros to the last bytes of a block", log: good.toBlockEnd()[:BlockSize-2].bytes(1, 1).fragment(typeFull, marker),
			reason: "zeros in the middle of the log", behind: [][]byte{marker}},
		{name: "zeros and then no record", log: good.zeros(20 * BlockSize).bytes(7), reason: "zeros in the middle of the log"},

		{name: "a middle without a first", log: good.fragment(typeMiddle, two).fragment(typeFull, marker),
			reason: "a later part without the first", behind: [][]byte{marker}},
		{name: "a last without a first", log: good.fragment(typeLast, two).fragment(typeFull, marker),
			reason: "a later part without the first", behind: [][]byte{marker}},
		{name: "a first is changed", log: long.flip(int(at)+50).fragment(typeFull, marker),
			reason: "checksum does not match", behind: [][]byte{marker}},
		{name: "a middle is changed", log: long.flip(BlockSize+50).fragment(typeFull, marker),
			reason: "checksum does not match", behind: [][]byte{marker}},
		{name: "a last is changed", log: long.flip(2*BlockSize+20).fragment(typeFull, marker),
			reason: "checksum does not match", behind: [][]byte{marker}},
		{name: "a last is cut off", log: long[:2*BlockSize+20], reason: "cut off by the end of the file"},
		{name: "the end of a last is zeros", log: long[: 2*BlockSize+20 : 2*BlockSize+20].zeros(50), reason: "checksum does not match"},
		{name: "a last is all zeros", log: long[: 2*BlockSize : 2*BlockSize].zeros(BlockSize), reason: "zeros in place of a later part"},
		{name: "the file ends behind a first", log: long[:BlockSize], reason: "the file ends inside it"},
		{name: "the file ends behind a middle", log: long[:2*BlockSize], reason: "the file ends inside it"},
		{name: "few zeros behind a middle", log: long[: 2*BlockSize : 2*BlockSize].zeros(3), reason: "zeros in place of a later part"},
		{name: "few bytes behind a middle", log: long[:2*BlockSize:2*BlockSize].bytes(1, 2, 3), reason: "cut off by the end of the file"},
		{name: "a full in place of a last", log: long[:2*BlockSize:2*BlockSize].fragment(typeFull, marker),
			reason: "another record in place of a later part", behind: [][]byte{marker}},
		{name: "a first in place of a middle", log: append(long[:BlockSize:BlockSize], write(t, whole)...),
			reason: "another record in place of a later part", behind: [][]byte{whole}},
		{name: "an empty first without a rest", log: good.fragment(typeFirst, nil).fragment(typeFull, marker),
			reason: "another record in place of a later part", behind: [][]byte{marker}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, behind, bad := resync(t, c.log)
			mustEqual(t, before, [][]byte{one})
			if _, offset, _ := read(c.log); offset != at {
				t.Errorf("Offset %d, want %d", offset, at)
			}
			if c.reason == "" {
				if len(bad) != 0 {
					t.Fatal(bad[0])
				}
				return
			}
			if len(bad) == 0 {
				t.Fatal("the damage is not seen")
			}
			if bad[0].Offset != at || bad[0].Reason != c.reason {
				t.Errorf("%v, want offset %d: %s", bad[0], at, c.reason)
			}
			mustEqual(t, behind, c.behind)

			// What is good is kept, and the log goes on behind it.
			mustRead(t, continueLog(t, c.log[:at:at], marker), one, marker)
		})
	}
}

func TestDamageTwice(t *testing.T) {
	p := func(i int) []byte { return fill(i, 1000) }
	log := raw(write(t, p(0), p(1), p(2), p(3), p(4)))
	log = log.flip(1007 + 30).flip(3*1007 + 30)
	before, behind, bad := resync(t, log)
	mustEqual(t, before, [][]byte{p(0)})
	mustEqual(t, behind, [][]byte{p(2), p(4)})
	if len(bad) != 2 || bad[0].Offset != 1007 || bad[1].Offset != 3*1007 {
		t.Errorf("damage: %v", bad)
	}
}

// A trailer holds nothing, so damage to it costs nothing; LevelDB does not
// look at it either.
func TestTrailerIsNotLookedAt(t *testing.T) {
	records := [][]byte{fill(1, room-3), fill(2, 10)}
	log := raw(write(t, records...)).flip(BlockSize - 2)
	mustRead(t, log, records...)
	mustRead(t, log[:BlockSize-1], records[0])
	more := fill(3, 77)
	mustRead(t, continueLog(t, log[:BlockSize-1], more), records[0], more)
}

func TestRecordOverTheLimitIsBad(t *testing.T) {
	huge := fill(1, MaxRecordBytes)
	f := &memFile{}
	w := NewWriter(f, 0)
	if err := w.AddRecord(huge); err != nil {
		t.Fatal(err)
	}
	mustRead(t, f.bytes, huge)

	// One byte more, by a last fragment made by hand.
	at := len(f.bytes) - len(f.bytes)%BlockSize
	last := f.bytes[at+headerSize:]
	log := raw(f.bytes[:at:at]).fragment(typeLast, append(last[:len(last):len(last)], 1))
	marker := fill(2, 12)
	before, behind, bad := resync(t, log.fragment(typeFull, marker))
	mustEqual(t, before, nil)
	mustEqual(t, behind, [][]byte{marker})
	if want := fmt.Sprintf("larger than %d bytes", MaxRecordBytes); len(bad) != 1 || bad[0].Offset != 0 || bad[0].Reason != want {
		t.Errorf("damage: %v", bad)
	}
}

// Bytes made so that every place looks like a fragment must not cost the
// square of a block; the search gives up inside blocks, not behind them.
func TestResyncIsBounded(t *testing.T) {
	trap := raw(nil)
	for len(trap) < 8<<20 {
		trap = trap.bytes(0x00, 0x40, 1, 1)
	}
	marker := fill(1, 12)
	log := trap.toBlockEnd().fragment(typeFull, marker)
	r := NewReader(bytes.NewReader(log), int64(len(log)))
	if _, err := r.Next(); err == nil {
		t.Fatal("the trap reads as a record")
	}
	if err := r.Resync(); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Next(); err != nil || !bytes.Equal(p, marker) {
		t.Fatalf("%d bytes, %v", len(p), err)
	}
	if r.budget >= 0 {
		t.Errorf("the search ended with %d bytes to spare; the trap is no trap", r.budget)
	}
}

// The hole may seem longer than it is, where the checksum behind it begins
// with zeros.
func TestRecordBehindAHoleBeginsWithZeros(t *testing.T) {
	marker := []byte("\x01\x00\x00\x00")
	for checksum(append([]byte{typeFull}, marker...))&0xffff != 0 {
		n := binary.LittleEndian.Uint32(marker)
		binary.LittleEndian.PutUint32(marker, n+1)
	}
	for _, hole := range []int{7, 8, BlockSize, 2*BlockSize - 3} {
		log := raw(nil).zeros(hole).fragment(typeFull, marker)
		_, behind, bad := resync(t, log)
		if len(bad) != 1 || bad[0].Offset != 0 {
			t.Errorf("hole of %d bytes: damage %v", hole, bad)
		}
		if hole == 2*BlockSize-3 {
			// No header starts in a trailer.
			mustEqual(t, behind, nil)
			continue
		}
		mustEqual(t, behind, [][]byte{marker})
	}
}

// appendFragment appends a fragment of type kind to dst.
func appendFragment(dst []byte, kind byte, data []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(len(data)), byte(len(data)>>8), kind)
	dst = append(dst, data...)
	binary.LittleEndian.PutUint32(dst[at:], checksum(dst[at+6:]))
	return dst
}

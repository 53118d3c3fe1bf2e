package batch

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"tempestkv/kv/base"
)

func TestReadHeader(t *testing.T) {
	header := func(seq uint64, count uint32) []byte {
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(nil, seq), count)
	}
	const last = uint64(base.MaxSeqNum)
	for _, c := range []struct {
		name string
		repr []byte
		ok   bool
	}{
		{"nothing", nil, false},
		{"a byte short", header(1, 0)[:HeaderSize-1], false},
		{"an empty batch", header(1, 0), true},
		{"operations behind", append(header(1, 1), "\x00\x00"...), true},
		{"the last sequence number", header(last, 1), true},
		{"past the last sequence number", header(last, 2), false},
		{"more than 56 bits", header(last+1, 0), false},
		{"all bits", header(1<<64-1, 1<<32-1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, ok := ReadHeader(c.repr); ok != c.ok {
				t.Errorf("ok is %v", ok)
			}
		})
	}
}

func TestPutHeaderWritesOverAnyBytes(t *testing.T) {
	repr := []byte(strings.Repeat("x", HeaderSize) + "\x00\x01k")
	PutHeader(repr, 258, 1)
	if want := "\x02\x01\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x01k"; string(repr) != want {
		t.Errorf("bytes are %x, want %x", repr, want)
	}
}

func TestMalformedOperations(t *testing.T) {
	long := strings.Repeat("v", 200)
	for _, c := range []struct {
		name  string
		ops   string
		count uint32
		read  int   // operations before the fault
		fault error // of Check; nil: none
	}{
		{"nothing", "", 0, 0, nil},
		{"one of each", "\x01\x01k\x01v\x00\x01k\x02\x01a\x01b\x03\x01k\x09expiry--v", 4, 4, nil},
		{"a range of nothing", "\x02\x01b\x00", 1, 1, nil},
		{"a length longer than it need be", "\x01\x81\x00k\x81\x80\x80\x80\x00v", 1, 1, nil},
		{"a long value", "\x01\x01k\xc8\x01" + long, 1, 1, nil},

		{"too few", "\x00\x01k", 2, 1, errTooFew},
		{"none of one", "", 1, 0, errTooFew},
		{"too many", "\x00\x01k\x00\x01l", 1, 2, errTooMany},
		{"one of none", "\x00\x01k", 0, 1, errTooMany},

		{"an unknown kind", "\x00\x01k\x04\x01k", 2, 1, errUnknownKind},
		{"a range without an end", "\x02\x01a", 1, 0, errValueCut},
		{"no expiry", "\x03\x01k\x00", 1, 0, errExpiryCut},
		{"half an expiry", "\x03\x01k\x07expiry-", 1, 0, errExpiryCut},
		{"a cut expiry", "\x03\x01k\x09expiry--", 1, 0, errValueCut},
		{"a kind of all bits", "\xff", 1, 0, errUnknownKind},
		{"no key length", "\x00", 1, 0, errKeyCut},
		{"half a key length", "\x00\x80", 1, 0, errKeyCut},
		{"a cut key", "\x00\x03ke", 1, 0, errKeyCut},
		{"no value length", "\x01\x01k", 1, 0, errValueCut},
		{"half a value length", "\x01\x01k\xff", 1, 0, errValueCut},
		{"a cut value", "\x01\x01k\x03va", 1, 0, errValueCut},
		{"a length of six bytes", "\x00\x81\x80\x80\x80\x80\x00k", 1, 0, errKeyCut},
		{"a length of 33 bits", "\x00\x81\x80\x80\x80\x10k", 1, 0, errKeyCut},
		{"the longest length of 32 bits", "\x00\xff\xff\xff\xff\x0fk", 1, 0, errKeyCut},
		{"a length of 64 bits", "\x01\x01k\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 1, 0, errValueCut},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := list([]byte(c.ops))
			if len(got) != c.read {
				t.Errorf("%d operations read, want %d", len(got), c.read)
			}
			if structural := c.fault != errTooFew && c.fault != errTooMany; structural && err != c.fault {
				t.Errorf("Reader: %v, want %v", err, c.fault)
			}
			if err := Check([]byte(c.ops), c.count); err != c.fault {
				t.Errorf("Check: %v, want %v", err, c.fault)
			}
			_, err = Validate([]byte(c.ops), c.count)
			if c.fault == nil && err != nil {
				t.Errorf("Validate: %v", err)
			}
			if c.fault != nil && (!errors.Is(err, base.ErrInvalidArgument) || !errors.Is(err, c.fault)) {
				t.Errorf("Validate: %v, want %v", err, c.fault)
			}
			if errors.Is(err, base.ErrCorruption) {
				t.Error("a caller's mistake is called corruption")
			}
		})
	}
}

func TestReaderStaysAtMalformedBytes(t *testing.T) {
	r := MakeReader([]byte("\x07\x00\x00"))
	for range 2 {
		if _, _, _, ok := r.Next(); ok || r.Err() != errUnknownKind {
			t.Fatalf("ok %v, %v", ok, r.Err())
		}
	}
}

func TestValidateEnforcesLimits(t *testing.T) {
	bytesOf := func(size int) string {
		return string(binary.AppendUvarint(nil, uint64(size))) + strings.Repeat("b", size)
	}
	for _, c := range []struct {
		name  string
		ops   string
		count uint32
		want  error
		text  string
	}{
		{"the largest key", "\x00" + bytesOf(base.MaxKeyBytes), 1, nil, ""},
		{"a larger key", "\x00\x00\x00" + bytesOf(base.MaxKeyBytes+1), 2, base.ErrInvalidKey,
			"tempestkv: invalid key: operation 1: key larger than 65536 bytes"},
		{"a reserved key", "\x01\x03\xff\xffk\x00", 1, base.ErrInvalidKey,
			"tempestkv: invalid key: operation 0: key begins with the reserved bytes FF FF"},
		{"the largest value", "\x01\x00" + bytesOf(base.MaxValueBytes), 1, nil, ""},
		{"a larger value", "\x01\x00" + bytesOf(base.MaxValueBytes+1), 1, base.ErrInvalidValue,
			"tempestkv: invalid value: operation 0: value larger than 67108864 bytes"},
		{"the largest expiring value", "\x03\x00" + bytesOf(base.MaxValueBytes+base.ExpirySize), 1, nil, ""},
		{"a larger expiring value", "\x03\x00" + bytesOf(base.MaxValueBytes+base.ExpirySize+1), 1, base.ErrInvalidValue,
			"tempestkv: invalid value: operation 0: value larger than 67108864 bytes"},
		{"a reserved key that expires", "\x03\x03\xff\xffk\x08expiry--", 1, base.ErrInvalidKey,
			"tempestkv: invalid key: operation 0: key begins with the reserved bytes FF FF"},
		{"a range of everything", "\x02\x00\x02\xff\xff", 1, nil, ""},
		{"a range of reserved keys", "\x02\x03\xff\xffk\x00", 1, base.ErrInvalidKey,
			"tempestkv: invalid key: operation 0: key begins with the reserved bytes FF FF"},
		{"a range into the reserved keys", "\x02\x00\x03\xff\xffk", 1, base.ErrInvalidKey,
			"tempestkv: invalid key: operation 0: key begins with the reserved bytes FF FF"},
		{"a range to a larger key", "\x02\x00" + bytesOf(base.MaxKeyBytes+1), 1, base.ErrInvalidKey,
			"tempestkv: invalid key: operation 0: key larger than 65536 bytes"},
		{"an expiring put without its expiry", "\x03\x00\x07expiry-", 1, base.ErrInvalidArgument,
			"tempestkv: invalid argument: operation 0: value of an expiring put has no expiry"},
		{"a larger batch", strings.Repeat("\x00\x00", base.MaxBatchBytes/2), base.MaxBatchBytes / 2, base.ErrInvalidArgument,
			"tempestkv: invalid argument: batch larger than 67174464 bytes"},
		{"an unknown kind", "\x09", 1, base.ErrInvalidArgument,
			"tempestkv: invalid argument: operation 0: unknown kind of operation"},
		{"a wrong count", "", 1, base.ErrInvalidArgument,
			"tempestkv: invalid argument: batch: fewer operations than counted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Validate([]byte(c.ops), c.count)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err != nil && err.Error() != c.text {
				t.Errorf("%q, want %q", err, c.text)
			}
		})
	}

	// A log may hold keys of the store itself.
	if err := Check([]byte("\x01\x03\xff\xffk\x00"), 1); err != nil {
		t.Error(err)
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	var b Batch
	key, value := []byte("a key of 16 byte"), make([]byte, 100)
	fillIt := func() {
		b.Reset()
		for range 100 {
			if err := b.Put(key, value); err != nil {
				t.Fatal(err)
			}
		}
		b.SetSeqNum(1)
	}
	fillIt()
	if n := testing.AllocsPerRun(100, fillIt); n != 0 {
		t.Errorf("filling a batch again: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		_, count, _ := ReadHeader(b.Repr())
		if kinds, err := Validate(b.Repr()[HeaderSize:], count); err != nil || kinds != 1<<base.KindPut || Check(b.Repr()[HeaderSize:], count) != nil {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("reading a batch: %v allocations", n)
	}
}

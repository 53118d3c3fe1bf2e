package batch

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
)

func put(t tester, b *Batch, key, value string) {
	t.Helper()
	if err := b.Put([]byte(key), []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func del(t tester, b *Batch, key string) {
	t.Helper()
	if err := b.Delete([]byte(key)); err != nil {
		t.Fatal(err)
	}
}

func clearRange(t tester, b *Batch, start, end string) {
	t.Helper()
	if err := b.DeleteRange([]byte(start), []byte(end)); err != nil {
		t.Fatal(err)
	}
}

func putExpiring(t tester, b *Batch, key, value string, expiresAt uint64) {
	t.Helper()
	if err := b.PutExpiring([]byte(key), []byte(value), expiresAt); err != nil {
		t.Fatal(err)
	}
}

// tester is what helpers need of a *testing.T, *testing.F or *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
}

// op is one operation, as the model has it.
type op struct {
	kind       base.Kind
	key, value string
}

// list walks ops to the end or to malformed bytes.
func list(ops []byte) ([]op, error) {
	r := MakeReader(ops)
	var got []op
	for {
		kind, key, value, ok := r.Next()
		if !ok {
			return got, r.Err()
		}
		got = append(got, op{kind, string(key), string(value)})
	}
}

// The vectors are written by hand from LevelDB's db/write_batch.cc; those of
// kinds 2 and 3 from the package comment.
func TestBytesOnDisk(t *testing.T) {
	for _, c := range []struct {
		name string
		fill func(b *Batch)
		want string
	}{
		{"the zero value", func(*Batch) {}, "0000000000000000 00000000"},
		{"a sequence number and no operations", func(b *Batch) { b.SetSeqNum(0x0102030405) }, "0504030201000000 00000000"},
		{"put and delete", func(b *Batch) {
			b.SetSeqNum(7)
			put(t, b, "key", "value")
			del(t, b, "old")
		}, "0700000000000000 02000000" + "01 03 6b6579 05 76616c7565" + "00 03 6f6c64"},
		{"empty key and value", func(b *Batch) {
			put(t, b, "", "")
			del(t, b, "")
		}, "0000000000000000 02000000" + "01 00 00" + "00 00"},
		{"range delete", func(b *Batch) {
			clearRange(t, b, "a", "b\x00")
			clearRange(t, b, "", "\xff\xff")
		}, "0000000000000000 02000000" + "02 01 61 02 6200" + "02 00 02 ffff"},
		{"expiring put", func(b *Batch) {
			putExpiring(t, b, "k", "v", 0x0102030405)
			putExpiring(t, b, "", "", 1<<64-1)
		}, "0000000000000000 02000000" + "03 01 6b 09 0504030201000000 76" + "03 00 08 ffffffffffffffff"},
		{"an expiring put whose length the expiry makes two bytes", func(b *Batch) { putExpiring(t, b, "k", strings.Repeat("\xaa", 120), 1) },
			"0000000000000000 01000000" + "03 01 6b 8001 0100000000000000" + strings.Repeat("aa", 120)},
		{"a length of two bytes", func(b *Batch) { put(t, b, "k", strings.Repeat("\xaa", 128)) },
			"0000000000000000 01000000" + "01 01 6b 8001" + strings.Repeat("aa", 128)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Batch
			c.fill(&b)
			if got, want := hex.EncodeToString(b.Repr()), strings.ReplaceAll(c.want, " ", ""); got != want {
				t.Errorf("bytes are %s, want %s", got, want)
			}
			if b.Len() != len(b.Repr()) {
				t.Errorf("Len %d of %d bytes", b.Len(), len(b.Repr()))
			}
		})
	}
}

func TestZeroBatch(t *testing.T) {
	var b Batch
	if b.Count() != 0 || !b.Empty() || b.Len() != HeaderSize || b.SeqNum() != 0 || len(b.Repr()) != HeaderSize {
		t.Errorf("count %d, empty %v, %d bytes, sequence number %d", b.Count(), b.Empty(), b.Len(), b.SeqNum())
	}
}

func TestRefusedCallsLeaveTheBatchUnchanged(t *testing.T) {
	bytesOf := func(n int) []byte { return make([]byte, n) }
	for _, c := range []struct {
		name string
		call func(b *Batch) error
		want error // nil: the call is allowed
	}{
		{"put with the largest key", func(b *Batch) error { return b.Put(bytesOf(base.MaxKeyBytes), nil) }, nil},
		{"delete with the largest key", func(b *Batch) error { return b.Delete(bytesOf(base.MaxKeyBytes)) }, nil},
		{"put with a larger key", func(b *Batch) error { return b.Put(bytesOf(base.MaxKeyBytes+1), nil) }, base.ErrInvalidKey},
		{"delete with a larger key", func(b *Batch) error { return b.Delete(bytesOf(base.MaxKeyBytes + 1)) }, base.ErrInvalidKey},
		{"put with the first reserved key", func(b *Batch) error { return b.Put([]byte("\xff\xff"), nil) }, base.ErrInvalidKey},
		{"delete with a reserved key", func(b *Batch) error { return b.Delete([]byte("\xff\xffx")) }, base.ErrInvalidKey},
		{"put with the last key that is not reserved", func(b *Batch) error { return b.Put([]byte("\xff\xfe\xff"), nil) }, nil},
		{"put with half of the reserved prefix", func(b *Batch) error { return b.Put([]byte("\xff"), nil) }, nil},
		{"put with a larger value", func(b *Batch) error { return b.Put(nil, bytesOf(base.MaxValueBytes+1)) }, base.ErrInvalidValue},
		{"expiring put with the largest key", func(b *Batch) error { return b.PutExpiring(bytesOf(base.MaxKeyBytes), nil, 0) }, nil},
		{"expiring put with a larger key", func(b *Batch) error { return b.PutExpiring(bytesOf(base.MaxKeyBytes+1), nil, 0) }, base.ErrInvalidKey},
		{"expiring put with a reserved key", func(b *Batch) error { return b.PutExpiring([]byte("\xff\xff"), nil, 0) }, base.ErrInvalidKey},
		{"expiring put with a larger value", func(b *Batch) error { return b.PutExpiring(nil, bytesOf(base.MaxValueBytes+1), 0) }, base.ErrInvalidValue},
		{"range of everything", func(b *Batch) error { return b.DeleteRange(nil, []byte("\xff\xff")) }, nil},
		{"range that ends before it begins", func(b *Batch) error { return b.DeleteRange([]byte("b"), []byte("a")) }, nil},
		{"range from the first reserved key", func(b *Batch) error { return b.DeleteRange([]byte("\xff\xff"), nil) }, nil},
		{"range from behind the first reserved key", func(b *Batch) error { return b.DeleteRange([]byte("\xff\xff\x00"), nil) }, base.ErrInvalidKey},
		{"range to behind the first reserved key", func(b *Batch) error { return b.DeleteRange(nil, []byte("\xff\xff\x00")) }, base.ErrInvalidKey},
		{"range from a larger key", func(b *Batch) error { return b.DeleteRange(bytesOf(base.MaxKeyBytes+1), nil) }, base.ErrInvalidKey},
		{"range to a larger key", func(b *Batch) error { return b.DeleteRange(nil, bytesOf(base.MaxKeyBytes+1)) }, base.ErrInvalidKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Batch
			for range 2 { // on the zero value, then on a filled batch
				before, count := bytes.Clone(b.Repr()), b.Count()
				err := c.call(&b)
				if !errors.Is(err, c.want) {
					t.Fatalf("%v, want %v", err, c.want)
				}
				if err != nil && !bytes.Equal(b.Repr(), before) {
					t.Error("the batch changed")
				}
				if err == nil && b.Count() != count+1 {
					t.Errorf("count went from %d to %d", count, b.Count())
				}
				put(t, &b, "key", "value")
			}
		})
	}
}

func TestBatchIsBounded(t *testing.T) {
	var b Batch
	key, value := make([]byte, base.MaxKeyBytes), make([]byte, base.MaxValueBytes)
	if err := b.PutExpiring(key, value, 1); err != nil {
		t.Fatalf("the largest key with the largest value: %v", err)
	}
	if _, err := Validate(b.Repr()[HeaderSize:], 1); err != nil {
		t.Fatal(err)
	}
	for range base.MaxBatchBytes - b.Len() - 2 {
		if err := b.Delete(nil); err != nil {
			break
		}
	}
	size, count := b.Len(), b.Count()
	if base.MaxBatchBytes-size > 1 {
		t.Errorf("full at %d of %d bytes", size, base.MaxBatchBytes)
	}
	for name, err := range map[string]error{
		"put": b.Put(nil, nil), "delete": b.Delete(nil), "expiring put": b.PutExpiring(nil, nil, 0), "range": b.DeleteRange(nil, nil),
	} {
		if !errors.Is(err, base.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b.Len() != size || b.Count() != count {
		t.Errorf("%d bytes and %d operations became %d and %d", size, count, b.Len(), b.Count())
	}
	if _, err := Validate(b.Repr()[HeaderSize:], count); err != nil {
		t.Error(err)
	}

	b.Reset()
	if cap(b.repr) > maxKeptBytes {
		t.Errorf("Reset keeps %d bytes", cap(b.repr))
	}
}

func TestResetBatchIsAsNew(t *testing.T) {
	var b Batch
	b.SetSeqNum(9)
	put(t, &b, "key", "value")
	kept := cap(b.repr)
	b.Reset()
	if b.Count() != 0 || b.SeqNum() != 0 || b.Len() != HeaderSize {
		t.Errorf("count %d, sequence number %d, %d bytes", b.Count(), b.SeqNum(), b.Len())
	}
	if cap(b.repr) != kept {
		t.Errorf("buffer of %d bytes became %d", kept, cap(b.repr))
	}
	del(t, &b, "k")
	if want := "0000000000000000010000000001" + "6b"; hex.EncodeToString(b.Repr()) != want {
		t.Errorf("bytes are %x, want %s", b.Repr(), want)
	}
}

func TestBatchHoldsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Batch
		var want []op
		var wantKinds Kinds
		seq := base.SeqNum(rapid.Uint64Range(0, uint64(base.MaxSeqNum)-100).Draw(t, "seqnum"))
		if rapid.Bool().Draw(t, "set sequence number first") {
			b.SetSeqNum(seq)
		}
		for range rapid.IntRange(0, 20).Draw(t, "operations") {
			key := string(rapid.SliceOfN(rapid.ByteMax(0xfe), 0, 200).Draw(t, "key"))
			value := string(rapid.SliceOfN(rapid.ByteMax(0xfe), 0, 300).Draw(t, "value"))
			kind := base.Kind(rapid.IntRange(0, int(base.KindMax)).Draw(t, "kind"))
			switch kind {
			case base.KindDelete:
				value = ""
				del(t, &b, key)
			case base.KindPut:
				put(t, &b, key, value)
			case base.KindRangeDelete:
				clearRange(t, &b, key, value)
			case base.KindPutExpiring:
				at := rapid.Uint64().Draw(t, "expiry")
				putExpiring(t, &b, key, value, at)
				value = string(base.AppendExpiry(nil, at)) + value
			}
			want = append(want, op{kind, key, value})
			wantKinds |= 1 << kind
		}
		b.SetSeqNum(seq)

		gotSeq, count, ok := ReadHeader(b.Repr())
		if !ok || gotSeq != seq || b.SeqNum() != seq || int(count) != len(want) || b.Count() != count {
			t.Fatalf("header: %d, %d, %v; want %d, %d", gotSeq, count, ok, seq, len(want))
		}
		ops := b.Repr()[HeaderSize:]
		got, err := list(ops)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d operations of %d: %v", len(got), len(want), err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("operation %d is %v, want %v", i, got[i], want[i])
			}
		}
		if err := Check(ops, count); err != nil {
			t.Fatal(err)
		}
		kinds, err := Validate(ops, count)
		if err != nil || kinds != wantKinds {
			t.Fatalf("kinds %b, want %b: %v", kinds, wantKinds, err)
		}
		for kind := range base.KindMax + 1 {
			if has := slices.ContainsFunc(want, func(o op) bool { return o.kind == kind }); kinds.Has(kind) != has {
				t.Fatalf("Has(%d) is %t", kind, !has)
			}
		}
	})
}

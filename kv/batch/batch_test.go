package batch

import (
	"bytes"
	"encoding/hex"
	"errors"
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

// The vectors are written by hand from LevelDB's db/write_batch.cc.
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
	if err := b.Put(key, value); err != nil {
		t.Fatalf("the largest key with the largest value: %v", err)
	}
	if err := Validate(b.Repr()[HeaderSize:], 1); err != nil {
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
	for name, err := range map[string]error{"put": b.Put(nil, nil), "delete": b.Delete(nil)} {
		if !errors.Is(err, base.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b.Len() != size || b.Count() != count {
		t.Errorf("%d bytes and %d operations became %d and %d", size, count, b.Len(), b.Count())
	}
	if err := Validate(b.Repr()[HeaderSize:], count); err != nil {
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
		seq := base.SeqNum(rapid.Uint64Range(0, uint64(base.MaxSeqNum)-100).Draw(t, "seqnum"))
		if rapid.Bool().Draw(t, "set sequence number first") {
			b.SetSeqNum(seq)
		}
		for range rapid.IntRange(0, 20).Draw(t, "operations") {
			key := rapid.SliceOfN(rapid.ByteMax(0xfe), 0, 200).Draw(t, "key")
			if rapid.Bool().Draw(t, "put") {
				value := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")
				put(t, &b, string(key), string(value))
				want = append(want, op{base.KindPut, string(key), string(value)})
			} else {
				del(t, &b, string(key))
				want = append(want, op{base.KindDelete, string(key), ""})
			}
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
		if err := Validate(ops, count); err != nil {
			t.Fatal(err)
		}
	})
}

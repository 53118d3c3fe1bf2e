package batch

import (
	"bytes"
	"errors"
	"testing"

	"tempestkv/kv/base"
)

// FuzzBatch wants of any bytes: no panic, Check and Validate agree, and what
// they accept can be written again to the same operations.
func FuzzBatch(f *testing.F) {
	var b Batch
	f.Add(bytes.Clone(b.Repr()))
	put(f, &b, "key", "value")
	del(f, &b, "old")
	b.SetSeqNum(42)
	f.Add(bytes.Clone(b.Repr()))
	f.Add(b.Repr()[:b.Len()-2])
	f.Add([]byte(nil))
	b.Reset()
	clearRange(f, &b, "a", "\xff\xff")
	putExpiring(f, &b, "key", "value", 1_000_000)
	f.Add(bytes.Clone(b.Repr()))
	f.Add(b.Repr()[:b.Len()-6])
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x81\x00k\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, repr []byte) {
		seq, count, ok := ReadHeader(repr)
		if !ok {
			return
		}
		ops := repr[HeaderSize:]
		checked := Check(ops, count)
		_, valid := Validate(ops, count)
		if checked != nil && !errors.Is(valid, checked) &&
			!errors.Is(valid, base.ErrInvalidKey) && !errors.Is(valid, base.ErrInvalidValue) {
			t.Fatalf("Check: %v; Validate: %v", checked, valid)
		}

		// What is valid can be written again, to the same operations.
		var again Batch
		r := MakeReader(ops)
		for n := uint32(0); ; n++ {
			kind, key, value, ok := r.Next()
			if !ok {
				if n > count && checked == nil {
					t.Fatalf("%d operations of %d", n, count)
				}
				break
			}
			var err error
			switch kind {
			case base.KindDelete:
				err = again.Delete(key)
			case base.KindPut:
				err = again.Put(key, value)
			case base.KindRangeDelete:
				err = again.DeleteRange(key, value)
			case base.KindPutExpiring:
				at, rest, ok := base.CutExpiry(value)
				if !ok {
					t.Fatal("an expiring put without its expiry")
				}
				err = again.PutExpiring(key, rest, at)
			}
			if err != nil && valid == nil {
				t.Fatal(err)
			}
		}
		if valid != nil {
			return
		}
		again.SetSeqNum(seq)
		want, _ := list(ops)
		got, err := list(again.Repr()[HeaderSize:])
		if err != nil || len(got) != len(want) || again.Count() != count || again.SeqNum() != seq {
			t.Fatalf("%d operations became %d: %v", len(want), len(got), err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("operation %d became %v", i, got[i])
			}
		}
		if again.Len() > len(repr) {
			t.Fatalf("%d bytes became %d", len(repr), again.Len())
		}
	})
}

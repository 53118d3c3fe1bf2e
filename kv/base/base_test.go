package base

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestTrailerHoldsSequenceNumberAndKind(t *testing.T) {
	for _, seq := range []SeqNum{0, 1, 255, 256, 1 << 55, MaxSeqNum} {
		for _, kind := range []Kind{KindDelete, KindPut, KindRangeDelete, KindPutExpiring} {
			tr := MakeTrailer(seq, kind)
			if tr.SeqNum() != seq || tr.Kind() != kind {
				t.Errorf("MakeTrailer(%d, %d) holds %d, %d", seq, kind, tr.SeqNum(), tr.Kind())
			}
		}
	}
	if got := MakeTrailer(MaxSeqNum+2, KindPut).SeqNum(); got != 1 {
		t.Errorf("of a sequence number of 57 bits %d remains, want its low 56 bits, 1", got)
	}
}

func TestEncodedInternalKeyIsLevelDBs(t *testing.T) {
	// db/dbformat_test.cc's layout: the user key, then the trailer, low byte
	// first.
	got := MakeInternalKey([]byte("foo"), 0x0102030405, KindPut).AppendTo([]byte("-"))
	want := []byte("-foo\x01\x05\x04\x03\x02\x01\x00\x00")
	if !bytes.Equal(got, want) {
		t.Errorf("encoded %q, want %q", got, want)
	}
}

func TestInternalKeyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := MakeInternalKey(
			rapid.SliceOf(rapid.Byte()).Draw(t, "user key"),
			SeqNum(rapid.Uint64Range(0, uint64(MaxSeqNum)).Draw(t, "sequence number")),
			rapid.SampledFrom([]Kind{KindDelete, KindPut, KindPutExpiring}).Draw(t, "kind"))
		b := k.AppendTo(nil)
		if len(b) != len(k.UserKey)+TrailerSize {
			t.Fatalf("a user key of %d bytes takes %d encoded", len(k.UserKey), len(b))
		}
		got, ok := DecodeInternalKey(b)
		if !ok || !bytes.Equal(got.UserKey, k.UserKey) || got.SeqNum() != k.SeqNum() || got.Kind() != k.Kind() {
			t.Fatalf("%v came back as %v, %t", k, got, ok)
		}
		if cap(got.UserKey) != len(got.UserKey) {
			t.Fatal("appending to a decoded user key would overwrite its trailer")
		}
	})
}

func TestDecodeInternalKeyRefusesDamage(t *testing.T) {
	for _, b := range [][]byte{
		nil,
		make([]byte, TrailerSize-1),
		{2, 0, 0, 0, 0, 0, 0, 0}, // a range delete is no entry
		{4, 0, 0, 0, 0, 0, 0, 0},
		{'k', 0xff, 0, 0, 0, 0, 0, 0, 0},
	} {
		if k, ok := DecodeInternalKey(b); ok {
			t.Errorf("%q was taken for %v", b, k)
		}
	}
}

func TestExpiryIsTheFrontOfTheValue(t *testing.T) {
	value := AppendExpiry([]byte("-"), 0x0102030405060708)
	if string(value) != "-\x08\x07\x06\x05\x04\x03\x02\x01" {
		t.Errorf("encoded %q", value)
	}
	for value, want := range map[string]struct {
		millis uint64
		rest   string
		ok     bool
	}{
		"":                                     {},
		"\x01\x00\x00\x00\x00\x00\x00":         {},
		"\x01\x01\x00\x00\x00\x00\x00\x00":     {257, "", true},
		"\xff\xff\xff\xff\xff\xff\xff\xffrest": {1<<64 - 1, "rest", true},
	} {
		millis, rest, ok := CutExpiry([]byte(value))
		if millis != want.millis || string(rest) != want.rest || ok != want.ok {
			t.Errorf("%q: %d, %q, %t", value, millis, rest, ok)
		}
	}
}

func FuzzDecodeInternalKey(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("short"))
	f.Add(MakeInternalKey([]byte("key"), 7, KindPut).AppendTo(nil))
	f.Add(MakeInternalKey(nil, MaxSeqNum, KindDelete).AppendTo(nil))
	f.Add(MakeInternalKey([]byte("k"), 1, KindRangeDelete).AppendTo(nil))
	f.Add(MakeInternalKey([]byte("k"), 1, KindPutExpiring).AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, ok := DecodeInternalKey(b)
		if ok && !bytes.Equal(k.AppendTo(nil), b) {
			t.Errorf("%q decodes to %v, which encodes otherwise", b, k)
		}
	})
}

func TestNewestVersionSortsFirst(t *testing.T) {
	want := []InternalKey{
		MakeInternalKey([]byte("a"), 1, KindPut),
		MakeInternalKey([]byte("b"), MaxSeqNum, KindMax),
		MakeInternalKey([]byte("b"), 9, KindPutExpiring),
		MakeInternalKey([]byte("b"), 9, KindPut),
		MakeInternalKey([]byte("b"), 9, KindDelete),
		MakeInternalKey([]byte("b"), 8, KindPut),
		MakeInternalKey([]byte("b\x00"), 10, KindPut),
	}
	for i := range want {
		for j := range want {
			got := Bytewise.CompareInternal(want[i], want[j])
			if (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("CompareInternal(%v, %v) = %d", want[i], want[j], got)
			}
		}
	}
}

var comparers = []*Comparer{Bytewise, FixedSuffix(1), FixedSuffix(2), FixedSuffix(8)}

// drawKey draws keys of few different bytes and of lengths about those of
// suffixes and of abbreviated keys, so that they often share a prefix.
func drawKey(t *rapid.T, name string) []byte {
	return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xff}), 0, 18).Draw(t, name)
}

func sign(x int) int {
	switch {
	case x < 0:
		return -1
	case x > 0:
		return 1
	}
	return 0
}

func TestComparerLaws(t *testing.T) {
	for _, cmp := range comparers {
		t.Run(cmp.Name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				a, b, c := drawKey(t, "a"), drawKey(t, "b"), drawKey(t, "c")
				if rapid.Bool().Draw(t, "same prefix") {
					b = append(bytes.Clone(a[:cmp.Split(a)]), b[cmp.Split(b):]...)
				}
				ab := sign(cmp.Compare(a, b))
				if ab != -sign(cmp.Compare(b, a)) {
					t.Fatal("Compare is not antisymmetric")
				}
				if (ab == 0) != bytes.Equal(a, b) {
					t.Fatal("keys are equal that are not the same bytes, or the other way round")
				}
				if bc := sign(cmp.Compare(b, c)); ab*bc >= 0 {
					want := ab
					if ab == 0 {
						want = bc
					}
					if got := sign(cmp.Compare(a, c)); got != want {
						t.Fatalf("Compare is not transitive: a %d b %d c, but a %d c", ab, bc, got)
					}
				}
				x, y := cmp.Abbreviate(a), cmp.Abbreviate(b)
				if x.Less(y) && ab >= 0 || y.Less(x) && ab <= 0 {
					t.Fatalf("Abbreviate orders %x, %x, Compare %d", x, y, ab)
				}
				for _, key := range [][]byte{a, b, c} {
					if n := cmp.Split(key); n < 0 || n > len(key) || !cmp.HasSuffix && n != len(key) {
						t.Fatalf("Split of %d bytes is %d", len(key), n)
					}
				}

				keys := [][]byte{a, b, c}
				slices.SortFunc(keys, cmp.Compare)
				if cmp.SameLogicalKey(keys[0], keys[2]) && !cmp.SameLogicalKey(keys[0], keys[1]) {
					t.Fatalf("%q orders between two versions of another logical key", keys[1])
				}
				if cmp.SameLogicalKey(a, b) != cmp.SameLogicalKey(b, a) || !cmp.SameLogicalKey(a, a) {
					t.Fatal("SameLogicalKey is no equivalence")
				}
				if !cmp.HasSuffix && cmp.SameLogicalKey(a, b) != (ab == 0) {
					t.Fatal("without a suffix, a logical key has two user keys")
				}
			})
		})
	}
}

func TestFixedSuffixSortsNewestFirst(t *testing.T) {
	want := [][]byte{
		[]byte(""), // shorter than a suffix: all prefix
		[]byte("\x00\x09"),
		[]byte("\x00\x08"),
		[]byte("x"),
		[]byte("x\x01\x00"),
		[]byte("x\x00\xff"),
		[]byte("x\x00\x00"),
		[]byte("xy\x00\x01"),
		[]byte("y"),
	}
	cmp := FixedSuffix(2)
	for i := range want {
		for j := range want {
			if got := sign(cmp.Compare(want[i], want[j])); got != sign(i-j) {
				t.Errorf("Compare(%q, %q) = %d", want[i], want[j], got)
			}
		}
	}
	if !cmp.SameLogicalKey([]byte("x"), []byte("x\x00\x01")) || cmp.SameLogicalKey([]byte("x"), []byte("xy\x00\x01")) {
		t.Error("versions of x are those with the prefix x")
	}
}

func TestComparerNames(t *testing.T) {
	for name, cmp := range map[string]*Comparer{
		"leveldb.BytewiseComparator": Bytewise,
		"tempestkv.FixedSuffix.001":  FixedSuffix(1),
		"tempestkv.FixedSuffix.012":  FixedSuffix(12),
		"tempestkv.FixedSuffix.255":  FixedSuffix(255),
	} {
		if cmp.Name != name {
			t.Errorf("the name is %q, want %q", cmp.Name, name)
		}
	}
}

func TestFixedSuffixRefusesOtherSizes(t *testing.T) {
	for _, n := range []int{-1, 0, 256} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("FixedSuffix(%d) returned", n)
				}
			}()
			FixedSuffix(n)
		}()
	}
}

func TestWrapIsFoundAsKindAndCause(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
		is   []error
	}{
		{Wrap(ErrIO, "000012.log", io.ErrUnexpectedEOF), "tempestkv: i/o error: 000012.log: unexpected EOF", []error{ErrIO, io.ErrUnexpectedEOF}},
		{Wrap(ErrIO, "", io.EOF), "tempestkv: i/o error: EOF", []error{ErrIO, io.EOF}},
		{Wrap(ErrBusy, "64 scans", nil), "tempestkv: busy: 64 scans", []error{ErrBusy}},
		{Wrap(ErrBusy, "", nil), "tempestkv: busy", []error{ErrBusy}},
		{Wrap(ErrReadOnly, "write", Wrap(ErrQuota, "log", io.EOF)),
			"tempestkv: read-only after a failed write; open again: write: tempestkv: no space left: log: EOF",
			[]error{ErrReadOnly, ErrQuota, io.EOF}},
		{Corruption("000012.log", 4096, "bad checksum"), "tempestkv: corruption: 000012.log at offset 4096: bad checksum", []error{ErrCorruption}},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("reads %q, want %q", got, c.want)
		}
		for _, target := range c.is {
			if !errors.Is(c.err, target) {
				t.Errorf("%q is not %q", c.err, target)
			}
		}
		if errors.Is(c.err, ErrNotFound) || errors.Is(c.err, io.ErrClosedPipe) {
			t.Errorf("%q is what it does not wrap", c.err)
		}
	}
}

func TestSeparatorsAreLevelDBs(t *testing.T) {
	for _, test := range []struct{ a, b, want string }{
		{"the quick brown fox", "the who", "the r"},
		{"abc", "abcd", "abc"},           // one is the start of the other
		{"abc", "abd", "abc"},            // nothing between
		{"abc", "abd0", "abc"},           // "abd" would do, but LevelDB does not look so far
		{"a\xffz", "c", "b"},             //
		{"abz", "b\xff", "abz"},          // nothing between the first bytes
		{"\xfe\xfe", "\xff", "\xfe\xfe"}, //
		{"", "a", ""},
		{"same", "same", "same"},
	} {
		if got := Bytewise.Separator([]byte("dst"), []byte(test.a), []byte(test.b)); string(got) != "dst"+test.want {
			t.Errorf("between %q and %q: %q, want %q", test.a, test.b, got, test.want)
		}
	}
	for a, want := range map[string]string{"abc": "b", "\xff\xff\x01z": "\xff\xff\x02", "\xff\xff": "\xff\xff", "": ""} {
		if got := Bytewise.Separator(nil, []byte(a), nil); string(got) != want {
			t.Errorf("behind %q: %q, want %q", a, got, want)
		}
	}
}

func TestSeparatorsSeparate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 0, 5)
		a, b := key.Draw(t, "a"), key.Draw(t, "b")
		if bytes.Compare(a, b) > 0 {
			a, b = b, a
		}
		s := Bytewise.Separator(nil, a, b)
		if bytes.Compare(a, s) > 0 || bytes.Compare(s, b) >= 0 && !bytes.Equal(a, b) || len(s) > len(a) {
			t.Fatalf("%q does not separate %q and %q", s, a, b)
		}
		if s := Bytewise.Separator(nil, a, nil); bytes.Compare(a, s) > 0 || len(s) > len(a) {
			t.Fatalf("%q is before %q", s, a)
		}
	})
}

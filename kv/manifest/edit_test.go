package manifest

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/rangedel"
)

// fullText is an edit with every field.
const fullText = `feature known
comparer leveldb.BytewiseComparator
log 3
prev-log 2
next-file 300
last-seq 72057594037927935
compact L1 k#5,PUT
delete L0 4
add L6 7 2000 a#3,PUT z#1,EXP
delete-range 9
range 300 made 3 until 5 a..cd
`

// golden is what fullText is in bytes.
var golden = []byte("" +
	"\x54\x0f" + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" + "known" +
	"\x01\x1a" + "leveldb.BytewiseComparator" +
	"\x02\x03" +
	"\x09\x02" +
	"\x03\xac\x02" +
	"\x04\xff\xff\xff\xff\xff\xff\xff\x7f" +
	"\x05\x01" + "\x09" + "k\x01\x05\x00\x00\x00\x00\x00\x00" +
	"\x06\x00\x04" +
	"\x07\x06\x07\xd0\x0f" + "\x09" + "a\x01\x03\x00\x00\x00\x00\x00\x00" + "\x09" + "z\x03\x01\x00\x00\x00\x00\x00\x00" +
	"\x56\x09" +
	"\x55\xac\x02\x03\x05" + "\x01" + "a" + "\x02" + "cd")

func TestEditGoldenBytes(t *testing.T) {
	if got := parseEdit(t, fullText).AppendTo([]byte("-")); string(got) != "-"+string(golden) {
		t.Errorf("encoded\n%q, want\n%q", got, golden)
	}
	var e VersionEdit
	p := bytes.Clone(golden)
	must(t, e.Decode(p))
	clear(p)
	if got := dumpEdit(&e); got != fullText {
		t.Errorf("decoded\n%s, want\n%s", got, fullText)
	}
	must(t, e.Decode(nil))
	if got := dumpEdit(&e); got != "" {
		t.Errorf("an empty record is the edit\n%s", got)
	}
}

func TestAnEditCutOffIsCorruption(t *testing.T) {
	whole := map[int]bool{} // where a field ends
	for n := 0; n <= len(golden); n++ {
		var e VersionEdit
		err := e.Decode(golden[:n])
		if whole[n] = err == nil; err != nil {
			wantErr(t, err, base.ErrCorruption)
		}
	}
	fields := 0
	for _, ok := range whole {
		if ok {
			fields++
		}
	}
	if want := 1 + strings.Count(fullText, "\n"); fields != want {
		t.Errorf("%d of the %d cuts are fields", fields, want)
	}
}

func TestMalformedEdits(t *testing.T) {
	const key = "\x09k\x01\x05\x00\x00\x00\x00\x00\x00"
	for name, c := range map[string]struct {
		p    string
		want error
		text string
	}{
		"unknown tag":                 {"\x02\x03\x0a\x01", base.ErrNotSupported, "at offset 2: this version does not know the tag 10"},
		"large value, once LevelDB's": {"\x08\x01", base.ErrNotSupported, "tag 8"},
		"tag 0":                       {"\x00", base.ErrCorruption, "malformed tag"},
		"endless tag":                 {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", base.ErrCorruption, "malformed tag"},
		"level 7":                     {"\x06\x07\x04", base.ErrCorruption, "malformed level"},
		"huge level":                  {"\x07\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", base.ErrCorruption, "malformed level"},
		"sequence over 56 bits":       {"\x04\x80\x80\x80\x80\x80\x80\x80\x80\x01", base.ErrCorruption, "malformed sequence number"},
		"file number over its limit":  {"\x03\x80\x80\x80\x80\x80\x80\x80\x80\x40", base.ErrCorruption, "malformed next file number"},
		"table number 0":              {"\x07\x00\x00\x01" + key + key, base.ErrCorruption, "file number 0"},
		"size over its limit":         {"\x07\x00\x01\x80\x80\x80\x80\x80\x80\x40" + key + key, base.ErrCorruption, "malformed size"},
		"key of seven bytes":          {"\x05\x01\x071234567", base.ErrCorruption, "malformed internal key"},
		"key of an unknown kind":      {"\x05\x01\x09k\x04\x05\x00\x00\x00\x00\x00\x00", base.ErrCorruption, "malformed internal key"},
		"key of a range delete":       {"\x05\x01\x09k\x02\x05\x00\x00\x00\x00\x00\x00", base.ErrCorruption, "malformed internal key"},
		"range over 56 bits":          {"\x55\x80\x80\x80\x80\x80\x80\x80\x80\x01\x01\x01\x01a\x01b", base.ErrCorruption, "malformed sequence number"},
		"range made by no number":     {"\x55\x01\x80\x80\x80\x80\x80\x80\x80\x80\x40\x01\x01a\x01b", base.ErrCorruption, "malformed file number"},
		"range until no number":       {"\x55\x01\x01\x80\x80\x80\x80\x80\x80\x80\x80\x40\x01a\x01b", base.ErrCorruption, "malformed file number"},
		"range without an end":        {"\x55\x01\x01\x01\x01a", base.ErrCorruption, "malformed range"},
		"range beyond the end":        {"\x55\x01\x01\x01\x01a\x02b", base.ErrCorruption, "malformed range"},
		"deleted range over 56 bits":  {"\x56\x80\x80\x80\x80\x80\x80\x80\x80\x01", base.ErrCorruption, "malformed sequence number"},
		"tag 87":                      {"\x57\x01", base.ErrNotSupported, "tag 87"},
		"second key missing":          {"\x07\x00\x01\x01" + key, base.ErrCorruption, "malformed internal key"},
		"length beyond the end":       {"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", base.ErrCorruption, "malformed comparer"},
		"feature without a guard":     {"\x54\x05known", base.ErrCorruption, "malformed feature"},
		"feature without a name":      {"\x54\x0a" + featureGuard, base.ErrCorruption, "malformed feature"},
	} {
		t.Run(name, func(t *testing.T) {
			var e VersionEdit
			err := e.Decode([]byte(c.p))
			wantErr(t, err, c.want)
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %q in it", err, c.text)
			}
		})
	}
}

func drawKey(t *rapid.T, name string) base.InternalKey {
	return base.MakeInternalKey(
		[]byte(rapid.StringOfN(rapid.SampledFrom([]rune("abc")), 0, 3, -1).Draw(t, name)),
		base.SeqNum(rapid.Uint64Range(0, 3).Draw(t, "sequence number")),
		rapid.SampledFrom([]base.Kind{base.KindDelete, base.KindPut, base.KindPutExpiring}).Draw(t, "kind"))
}

func drawLevel(t *rapid.T) int { return rapid.IntRange(0, NumLevels-1).Draw(t, "level") }

func drawEdit(t *rapid.T) *VersionEdit {
	number := rapid.Uint64Range(0, MaxFileNum)
	e := &VersionEdit{
		Has:         Fields(rapid.IntRange(0, int(hasAll|HasPrevLogNum)).Draw(t, "fields")),
		Features:    rapid.SliceOfN(rapid.SampledFrom([]string{"known", "other", "a"}), 0, 2).Draw(t, "features"),
		Comparer:    rapid.String().Draw(t, "comparer"),
		LogNum:      number.Draw(t, "log"),
		PrevLogNum:  number.Draw(t, "previous log"),
		NextFileNum: number.Draw(t, "next file"),
		LastSeq:     base.SeqNum(rapid.Uint64Range(0, uint64(base.MaxSeqNum)).Draw(t, "last sequence")),
	}
	for range rapid.IntRange(0, 3).Draw(t, "compact pointers") {
		e.CompactPointers = append(e.CompactPointers, CompactPointer{drawLevel(t), drawKey(t, "key")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "deletes") {
		e.Delete(drawLevel(t), number.Draw(t, "number"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "adds") {
		e.Add(drawLevel(t), &FileMeta{
			Num: 1 + number.Draw(t, "number")/2, Size: rapid.Uint64Range(0, MaxFileBytes).Draw(t, "size"),
			Smallest: drawKey(t, "smallest"), Largest: drawKey(t, "largest"),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "deleted ranges") {
		e.DeleteRange(base.SeqNum(rapid.Uint64Range(0, uint64(base.MaxSeqNum)).Draw(t, "sequence number")))
	}
	for range rapid.IntRange(0, 2).Draw(t, "ranges") {
		e.AddRange(drawRange(t, base.SeqNum(rapid.Uint64Range(0, uint64(base.MaxSeqNum)).Draw(t, "sequence number"))))
	}
	return e
}

func drawRange(t *rapid.T, seq base.SeqNum) RangeTombstone {
	number := rapid.Uint64Range(0, 20)
	start, end := drawKey(t, "start").UserKey, drawKey(t, "end").UserKey
	return RangeTombstone{rangedel.Tombstone{Start: start, End: end, Seq: seq}, number.Draw(t, "made"), number.Draw(t, "until")}
}

func TestEditRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEdit(t)
		var got VersionEdit
		must(t, got.Decode(e.AppendTo(nil)))
		if dumpEdit(&got) != dumpEdit(e) || got.Has != e.Has {
			t.Fatalf("decoded\n%s, want\n%s", dumpEdit(&got), dumpEdit(e))
		}
	})
}

// FuzzDecodeEdit wants of any bytes: no panic, an error of the right kind, or an
// edit that comes back from its own bytes.
func FuzzDecodeEdit(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(golden)
	f.Add(golden[17:])
	f.Add([]byte("\x08\x01"))
	f.Add([]byte("\x06\x07\x04"))
	f.Add([]byte("\x56\x07\x55\x07\x01\x02\x00\x02\xff\xff"))
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		p := bytes.Clone(golden)
		p[rng.IntN(len(p))] ^= 1 << rng.IntN(8)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var e, again VersionEdit
		if err := e.Decode(p); err != nil {
			if strings.Contains(err.Error(), "does not know") {
				wantErr(t, err, base.ErrNotSupported)
			} else {
				wantErr(t, err, base.ErrCorruption)
			}
			return
		}
		must(t, again.Decode(e.AppendTo(nil)))
		if dumpEdit(&again) != dumpEdit(&e) {
			t.Fatalf("decoded\n%s, want\n%s", dumpEdit(&again), dumpEdit(&e))
		}
	})
}

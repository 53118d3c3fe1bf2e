package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// TestVersion runs testdata/version. Commands:
//
//	apply          edit, a field a line; shows the version, or the error
//	find level=<n> key=<internal key>
//	overlapping level=<n> [lower=<key>] [upper=<key>] [exclusive] [inclusive]
//	is-base     level=<n>, and the same
//	inputs      level=<n> [lower=<key>] [upper=<key>]
//	sizes
//	obsolete       the range tombstones that are
func TestVersion(t *testing.T) {
	v := NewVersion(base.Bytewise, nil)
	datadriven.RunTest(t, "testdata/version", func(t *testing.T, d *datadriven.TestData) string {
		var level int
		if d.HasArg("level") {
			d.ScanArgs(t, "level", &level)
		}
		b := iterator.Bounds{LowerExclusive: d.HasArg("exclusive"), UpperInclusive: d.HasArg("inclusive")}
		for name, bound := range map[string]*[]byte{"lower": &b.Lower, "upper": &b.Upper} {
			if d.HasArg(name) {
				var s string
				d.ScanArgs(t, name, &s)
				*bound = []byte(s)
			}
		}
		switch d.Cmd {
		case "reset":
			v = NewVersion(base.Bytewise, nil)
			return ""
		case "apply":
			next, err := v.Apply(parseEdit(t, d.Input))
			if err != nil {
				return err.Error()
			}
			v = next
			return dumpVersion(v)
		case "find":
			i := v.Find(level, parseKey(t, d.CmdArgs[1].Vals[0]+","+d.CmdArgs[1].Vals[1]))
			if i == len(v.Files(level)) {
				return "none"
			}
			return fmt.Sprint(v.Files(level)[i].Num)
		case "overlapping":
			return dumpFiles(v.Overlapping(level, b))
		case "inputs":
			return dumpFiles(v.Inputs(level, b.Lower, b.Upper))
		case "is-base":
			return fmt.Sprint(v.IsBase(level, b))
		case "obsolete":
			return fmt.Sprint(v.ObsoleteRanges())
		case "sizes":
			var s string
			for level := range NumLevels {
				s += fmt.Sprint(v.LevelBytes(level), " ")
			}
			return s + fmt.Sprint("= ", v.Bytes())
		}
		d.Fatalf(t, "no such command: %s", d.Cmd)
		return ""
	})
}

// naive is a version as a table of numbers.
type naive map[uint64]NewFile

func (n naive) apply(e *VersionEdit) (naive, bool) {
	next := maps.Clone(n)
	for _, d := range e.Deleted {
		if f, ok := next[d.Num]; !ok || f.Level != d.Level {
			return nil, false
		}
		delete(next, d.Num)
	}
	for _, f := range e.New {
		if _, ok := next[f.File.Num]; ok || base.Bytewise.CompareInternal(f.File.Smallest, f.File.Largest) > 0 {
			return nil, false
		}
		next[f.File.Num] = f
	}
	for _, f := range next {
		for _, g := range next {
			if f.File.Num != g.File.Num && f.Level == g.Level && f.Level > 0 &&
				base.Bytewise.CompareInternal(f.File.Smallest, g.File.Largest) <= 0 &&
				base.Bytewise.CompareInternal(g.File.Smallest, f.File.Largest) <= 0 {
				return nil, false
			}
		}
	}
	return next, true
}

func (n naive) level(level int) []*FileMeta {
	var files []*FileMeta
	for _, f := range n {
		if f.Level == level {
			files = append(files, f.File)
		}
	}
	slices.SortFunc(files, func(f, g *FileMeta) int {
		if level == 0 {
			return int(g.Num) - int(f.Num)
		}
		return base.Bytewise.CompareInternal(f.Smallest, g.Smallest)
	})
	return files
}

// contains reports whether some key of b is in the range of f, for keys of
// drawn ones and of those just behind them.
func contains(b iterator.Bounds, f *FileMeta) bool {
	for _, key := range universe {
		if bytes.Compare(key, f.Smallest.UserKey) < 0 || bytes.Compare(key, f.Largest.UserKey) > 0 {
			continue
		}
		if b.Lower != nil && (bytes.Compare(key, b.Lower) < 0 || b.LowerExclusive && bytes.Equal(key, b.Lower)) {
			continue
		}
		if b.Upper != nil && (bytes.Compare(key, b.Upper) > 0 || !b.UpperInclusive && bytes.Equal(key, b.Upper)) {
			continue
		}
		return true
	}
	return false
}

// universe has every key that is drawn, and one between each and the next.
var universe = func() (keys [][]byte) {
	var grow func(key string)
	grow = func(key string) {
		keys = append(keys, []byte(key), []byte(key+"\x00"))
		for _, c := range "abc" {
			if len(key) < 3 {
				grow(key + string(c))
			}
		}
	}
	grow("")
	return keys
}()

func drawBounds(t *rapid.T) iterator.Bounds {
	b := iterator.Bounds{LowerExclusive: rapid.Bool().Draw(t, "exclusive"), UpperInclusive: rapid.Bool().Draw(t, "inclusive")}
	if rapid.IntRange(0, 3).Draw(t, "has lower") > 0 {
		b.Lower = drawKey(t, "lower").UserKey
	}
	if rapid.IntRange(0, 3).Draw(t, "has upper") > 0 {
		b.Upper = drawKey(t, "upper").UserKey
	}
	return b
}

// TestVersionsAgainstAModel applies random edits, some of which fit and some
// not, keeps some of the versions and lets others go, and asks them.
func TestVersionsAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type held struct {
			v    *Version
			want naive
		}
		gone := map[uint64]bool{}
		cur := held{NewVersion(base.Bytewise, func(files []*FileMeta) {
			for _, f := range files {
				if gone[f.Num] {
					t.Fatalf("table %d became obsolete twice", f.Num)
				}
				gone[f.Num] = true
			}
		}), naive{}}
		var kept []held
		made := map[uint64]bool{}
		next := uint64(1)
		// wantGone wants those tables to be obsolete that no version has.
		wantGone := func() {
			t.Helper()
			for num := range made {
				in := func(h held) bool { _, ok := h.want[num]; return ok }
				if live := in(cur) || slices.ContainsFunc(kept, in); live == gone[num] {
					t.Fatalf("table %d: in a version %t, obsolete %t", num, live, gone[num])
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				e := &VersionEdit{}
				for num, f := range sortedFiles(cur.want) {
					switch rapid.IntRange(0, 5).Draw(t, "fate") {
					case 0:
						e.Delete(f.Level, num)
					case 1: // A move; the table may be known by a copy.
						e.Delete(f.Level, num)
						copied := &FileMeta{Num: num, Size: f.File.Size, Smallest: f.File.Smallest, Largest: f.File.Largest}
						if rapid.Bool().Draw(t, "the same") {
							copied = f.File
						}
						e.Add(drawLevel(t), copied)
					}
				}
				for range rapid.IntRange(0, 3).Draw(t, "adds") {
					a, b := drawKey(t, "smallest"), drawKey(t, "largest")
					if base.Bytewise.CompareInternal(a, b) > 0 && rapid.IntRange(0, 9).Draw(t, "order") > 0 {
						a, b = b, a
					}
					e.Add(drawLevel(t), &FileMeta{Num: next, Size: next * 10, Smallest: a, Largest: b})
					next++
				}
				if rapid.IntRange(0, 9).Draw(t, "spoil") == 0 {
					e.Delete(drawLevel(t), rapid.Uint64Range(1, next).Draw(t, "number"))
				}
				want, fits := cur.want.apply(e)
				v, err := cur.v.Apply(e)
				if fits != (err == nil) {
					t.Fatalf("fits %t, error %v:\n%s%s", fits, err, dumpVersion(cur.v), dumpEdit(e))
				}
				if err != nil {
					wantErr(t, err, base.ErrCorruption)
					return
				}
				for num := range want {
					made[num] = true
				}
				old := cur
				cur = held{v, want}
				if rapid.Bool().Draw(t, "keep") {
					kept = append(kept, old)
				} else {
					old.v.Unref()
				}
			},
			"keep the current version": func(t *rapid.T) {
				cur.v.Ref()
				kept = append(kept, cur)
			},
			"let a version go": func(t *rapid.T) {
				if len(kept) == 0 {
					return
				}
				i := rapid.IntRange(0, len(kept)-1).Draw(t, "index")
				h := kept[i]
				kept = slices.Delete(kept, i, i+1)
				h.v.Unref()
			},
			"ask": func(t *rapid.T) {
				h := cur
				if len(kept) > 0 && rapid.Bool().Draw(t, "an older one") {
					h = kept[0]
				}
				level, b, key := drawLevel(t), drawBounds(t), drawKey(t, "key")
				checkAnswers(t, h.v, h.want.level(level), level, b, key)
				base := true
				for _, f := range h.want {
					base = base && (f.Level <= level || !contains(b, f.File))
				}
				if got := h.v.IsBase(level, b); got && !base {
					t.Fatalf("IsBase(%d, %v) of\n%s", level, b, dumpVersion(h.v))
				}
			},
			"": func(t *rapid.T) {
				var total uint64
				for level := range NumLevels {
					files := cur.want.level(level)
					if got := cur.v.Files(level); dumpFiles(got) != dumpFiles(files) {
						t.Fatalf("level %d has%s, want%s", level, dumpFiles(got), dumpFiles(files))
					}
					if got := cur.v.LevelBytes(level); got != TotalBytes(files) {
						t.Fatalf("level %d has %d bytes", level, got)
					}
					total += TotalBytes(files)
				}
				if cur.v.Bytes() != total {
					t.Fatalf("%d bytes, want %d", cur.v.Bytes(), total)
				}
				wantGone()
			},
		})
	})
}

func sortedRanges(m map[base.SeqNum]RangeTombstone) []RangeTombstone {
	return slices.SortedFunc(maps.Values(m), func(a, b RangeTombstone) int { return int(a.Seq) - int(b.Seq) })
}

// TestRangeTombstonesAgainstAModel applies edits, some of which fit, and asks for
// those that no table needs.
func TestRangeTombstonesAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := NewVersion(base.Bytewise, nil)
		want := map[base.SeqNum]RangeTombstone{}
		var files []*FileMeta
		for range rapid.IntRange(1, 20).Draw(t, "edits") {
			e := &VersionEdit{}
			next, fits := maps.Clone(want), true
			for range rapid.IntRange(0, 2).Draw(t, "deletes") {
				seq := base.SeqNum(rapid.IntRange(0, 9).Draw(t, "seq"))
				if _, there := next[seq]; !there && rapid.IntRange(0, 9).Draw(t, "keep") > 0 {
					continue
				}
				e.DeleteRange(seq)
				_, there := next[seq]
				fits = fits && there
				delete(next, seq)
			}
			for range rapid.IntRange(0, 2).Draw(t, "adds") {
				r := drawRange(t, base.SeqNum(rapid.IntRange(0, 9).Draw(t, "seq")))
				_, there := next[r.Seq]
				if (there || bytes.Compare(r.Start, r.End) >= 0) && rapid.IntRange(0, 9).Draw(t, "keep") > 0 {
					continue
				}
				e.AddRange(r)
				fits = fits && !there && bytes.Compare(r.Start, r.End) < 0
				next[r.Seq] = r
			}
			if rapid.Bool().Draw(t, "table") {
				a, b := drawKey(t, "smallest"), drawKey(t, "largest")
				if base.Bytewise.CompareInternal(a, b) > 0 {
					a, b = b, a
				}
				files = append(files, &FileMeta{Num: uint64(len(files) + 1), Smallest: a, Largest: b})
				e.Add(0, files[len(files)-1])
			}
			got, err := v.Apply(e)
			if fits != (err == nil) {
				t.Fatalf("fits %t, error %v:\n%s%s", fits, err, dumpVersion(v), dumpEdit(e))
			}
			if err != nil {
				wantErr(t, err, base.ErrCorruption)
				files = files[:len(files)-len(e.New)]
				continue
			}
			old := v.RangeTombstones()
			same := len(old) == len(got.RangeTombstones()) && (len(old) == 0 || &old[0] == &got.RangeTombstones()[0])
			if changes := len(e.DeletedRanges) + len(e.NewRanges); changes == 0 && !same || changes > 0 && len(old) > 0 && same {
				t.Fatalf("after %d changes the slice is the same: %t", changes, same)
			}
			if dumpRanges(old) != dumpRanges(sortedRanges(want)) {
				t.Fatalf("the version before has%s", dumpRanges(old))
			}
			v, want = got, next
			if g, w := dumpRanges(v.RangeTombstones()), dumpRanges(sortedRanges(want)); g != w {
				t.Fatalf("range tombstones%s, want%s", g, w)
			}
			var obsolete []base.SeqNum
			for _, r := range sortedRanges(want) {
				needed := func(f *FileMeta) bool {
					return f.Num < r.Until && bytes.Compare(f.Smallest.UserKey, r.End) < 0 && bytes.Compare(f.Largest.UserKey, r.Start) >= 0
				}
				if !slices.ContainsFunc(files, needed) {
					obsolete = append(obsolete, r.Seq)
				}
			}
			if got := v.ObsoleteRanges(); !slices.Equal(got, obsolete) {
				t.Fatalf("obsolete %d, want %d, of\n%s", got, obsolete, dumpVersion(v))
			}
		}
	})
}

func sortedFiles(n naive) func(yield func(uint64, NewFile) bool) {
	return func(yield func(uint64, NewFile) bool) {
		for _, num := range slices.Sorted(maps.Keys(n)) {
			if !yield(num, n[num]) {
				return
			}
		}
	}
}

// checkAnswers compares what v says of a level with a look at each of its
// tables.
func checkAnswers(t *rapid.T, v *Version, files []*FileMeta, level int, b iterator.Bounds, key base.InternalKey) {
	got := v.Overlapping(level, b)
	for _, f := range files {
		if contains(b, f) && !slices.ContainsFunc(got, f.same) {
			t.Fatalf("Overlapping(%d, %v):%s, without %d", level, b, dumpFiles(got), f.Num)
		}
	}
	for _, f := range got {
		// Of an open interval it need not know that no key is in it.
		whole := b
		whole.LowerExclusive, whole.UpperInclusive = false, true
		if !slices.ContainsFunc(files, f.same) || !contains(whole, f) {
			t.Fatalf("Overlapping(%d, %v):%s, with %d", level, b, dumpFiles(got), f.Num)
		}
	}

	if level > 0 {
		want := slices.IndexFunc(files, func(f *FileMeta) bool { return base.Bytewise.CompareInternal(f.Largest, key) >= 0 })
		if want < 0 {
			want = len(files)
		}
		if i := v.Find(level, key); i != want {
			t.Fatalf("Find(%d, %s) = %d, want %d", level, showKey(key), i, want)
		}
	}

	if b.Lower != nil && b.Upper != nil && bytes.Compare(b.Lower, b.Upper) > 0 {
		return
	}
	// The smallest set that has what overlaps, and what overlaps that.
	in := map[uint64]bool{}
	for again := true; again; {
		again = false
		for _, f := range files {
			share := contains(iterator.Bounds{Lower: b.Lower, Upper: b.Upper, UpperInclusive: true}, f)
			for _, g := range files {
				share = share || in[g.Num] && contains(iterator.Bounds{Lower: g.Smallest.UserKey, Upper: g.Largest.UserKey, UpperInclusive: true}, f)
			}
			if share && !in[f.Num] {
				in[f.Num], again = true, true
			}
		}
	}
	inputs := v.Inputs(level, b.Lower, b.Upper)
	for _, f := range inputs {
		if !in[f.Num] {
			t.Fatalf("Inputs(%d, %q, %q) takes %d:%s", level, b.Lower, b.Upper, f.Num, dumpFiles(inputs))
		}
	}
	if len(inputs) != len(in) {
		t.Fatalf("Inputs(%d, %q, %q):%s, want %v", level, b.Lower, b.Upper, dumpFiles(inputs), in)
	}
}

// TestVersionsAreLetGoFromSeveralGoroutines: each table becomes obsolete once,
// with the last version that has it.
func TestVersionsAreLetGoFromSeveralGoroutines(t *testing.T) {
	var mu sync.Mutex
	gone := map[uint64]int{}
	v := NewVersion(base.Bytewise, func(files []*FileMeta) {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range files {
			gone[f.Num]++
		}
	})
	var wg sync.WaitGroup
	const tables = 50
	for num := uint64(1); num <= tables; num++ {
		e := parseEdit(t, fmt.Sprintf("add L0 %d 1 a#1,PUT b#1,PUT", num))
		if num > 5 {
			e.Delete(0, num-5)
		}
		next, err := v.Apply(e)
		must(t, err)
		old := v
		v = next
		old.Ref()
		wg.Go(old.Unref)
		wg.Go(old.Unref)
	}
	wg.Wait()
	for num := uint64(1); num <= tables; num++ {
		if want := num <= tables-5; want != (gone[num] == 1) || gone[num] > 1 {
			t.Errorf("table %d became obsolete %d times", num, gone[num])
		}
	}
}

// TestAMoveOfAnotherTable: a table is known by its number, so an edit that moves
// one must say what it was.
func TestAMoveOfAnotherTable(t *testing.T) {
	v := NewVersion(base.Bytewise, nil)
	v, err := v.Apply(parseEdit(t, "add L0 1 100 a#1,PUT b#2,PUT"))
	must(t, err)
	_, err = v.Apply(parseEdit(t, "delete L0 1\nadd L1 1 101 a#1,PUT b#2,PUT"))
	wantErr(t, err, base.ErrCorruption)
	next, err := v.Apply(parseEdit(t, "delete L0 1\nadd L1 1 100 a#1,PUT b#2,PUT"))
	must(t, err)
	if next.Files(1)[0] != v.Files(0)[0] {
		t.Error("a moved table is another one")
	}
}

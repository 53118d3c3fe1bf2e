package rangedel

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
)

var comparers = []*base.Comparer{base.Bytewise, base.FixedSuffix(1)}

// naive is a list of tombstones that is asked one by one.
type naive struct {
	cmp *base.Comparer
	ts  []Tombstone
}

func (n naive) newest(key []byte, at base.SeqNum) (newest base.SeqNum) {
	for _, t := range n.ts {
		if t.Seq <= at && n.cmp.Compare(t.Start, key) <= 0 && n.cmp.Compare(key, t.End) < 0 {
			newest = max(newest, t.Seq)
		}
	}
	return newest
}

// key draws keys of few bytes, so that bounds meet.
var key = rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 'b', 0xff}), 0, 3)

func drawTombstone(t *rapid.T, seq base.SeqNum) Tombstone {
	return Tombstone{key.Draw(t, "start"), key.Draw(t, "end"), seq}
}

// check asks every key for which an answer may differ, at every sequence number
// that may be asked for.
func check(t *rapid.T, want naive, ats []base.SeqNum, ask func(key []byte, at base.SeqNum) base.SeqNum) {
	t.Helper()
	keys := map[string]bool{"": true, "\xff\xff\xff\xff": true}
	for _, tomb := range want.ts {
		for _, b := range [][]byte{tomb.Start, tomb.End} {
			keys[string(b)], keys[string(b)+"\x00"] = true, true
		}
	}
	for key := range keys {
		key := []byte(key)
		for _, at := range ats {
			if got, want := ask(key, at), want.newest(key, at); got != want {
				t.Fatalf("over %q at %d is %d, want %d", key, at, got, want)
			}
		}
	}
}

// checkSet wants fragments in order, each with fewer sequence numbers than
// snapshots and one, newest first, and other ones than the fragment before.
func checkSet(t *rapid.T, s *Set, snapshots int) {
	t.Helper()
	if s == nil {
		return
	}
	var before []base.SeqNum
	for i := range s.points {
		own := s.over(i)
		if i > 0 && s.cmp.Compare(s.key(i-1), s.key(i)) >= 0 {
			t.Fatalf("point %d is not behind the one before", i)
		}
		if len(own) > snapshots+1 || slices.Equal(own, before) || !slices.IsSortedFunc(own, func(a, b base.SeqNum) int { return int(b) - int(a) }) {
			t.Fatalf("fragment %d has %d, the one before %d, with %d snapshots", i, own, before, snapshots)
		}
		before = own
	}
	if len(before) != 0 {
		t.Fatalf("behind the last point is %d", before)
	}
}

func TestSetAgainstANaiveList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := naive{cmp: rapid.SampledFrom(comparers).Draw(t, "comparer")}
		count := rapid.IntRange(0, 30).Draw(t, "tombstones")
		for i := range count {
			want.ts = append(want.ts, drawTombstone(t, base.SeqNum(2*i+1)))
		}
		snapshots := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 2*count+1), func(i int) base.SeqNum { return base.SeqNum(i) }), 0, 5).Draw(t, "snapshots")
		given := rapid.Permutation(want.ts).Draw(t, "given")
		s := New(want.cmp, given, snapshots)
		checkSet(t, s, len(snapshots))
		ats := append(slices.Clone(snapshots), base.SeqNum(2*count+1), base.MaxSeqNum)
		check(t, want, ats, s.Newest)
		check(t, want, ats, NewCursor(s, nil).Newest)

		// What it is made up of makes the same again, also for fewer snapshots.
		again := New(want.cmp, Tombstones(s), snapshots)
		if fmt.Sprint(again) != fmt.Sprint(s) {
			t.Fatalf("%v became %v", s, again)
		}
		check(t, want, ats[len(ats)-2:], New(want.cmp, Tombstones(s), nil).Newest)
		seqs := map[base.SeqNum]bool{}
		for _, tomb := range Tombstones(s) {
			if seqs[tomb.Seq] {
				t.Fatalf("%d comes back twice", tomb.Seq)
			}
			seqs[tomb.Seq] = true
		}

		lower, upper := key.Draw(t, "lower"), key.Draw(t, "upper")
		inclusive := rapid.Bool().Draw(t, "inclusive")
		var in base.SeqNum
		for _, tomb := range want.ts {
			behind := want.cmp.Compare(tomb.Start, upper)
			if want.cmp.Compare(tomb.Start, tomb.End) < 0 && want.cmp.Compare(tomb.End, lower) > 0 && (behind < 0 || behind == 0 && inclusive) {
				in = max(in, tomb.Seq)
			}
		}
		if want.cmp.Compare(lower, upper) < 0 {
			if got := s.NewestIn(lower, upper, inclusive); got != in {
				t.Fatalf("NewestIn(%q, %q, %t) is %d, want %d", lower, upper, inclusive, got, in)
			}
		}
		if got := s.NewestIn(nil, nil, false); got != s.LargestSeq() {
			t.Fatalf("NewestIn of all is %d, want %d", got, s.LargestSeq())
		}
	})
}

func TestCursorAlongWalks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cmp := rapid.SampledFrom(comparers).Draw(t, "comparer")
		var sets []*Set
		want := naive{cmp: cmp}
		seq := base.SeqNum(0)
		var seqs []base.SeqNum
		for range rapid.IntRange(0, 4).Draw(t, "sets") {
			var ts []Tombstone
			for range rapid.IntRange(0, 10).Draw(t, "tombstones") {
				seq++
				seqs = append(seqs, seq)
				ts = append(ts, drawTombstone(t, seq))
			}
			want.ts = append(want.ts, ts...)
			sets = append(sets, New(cmp, ts, seqs))
		}
		c := NewCursor(sets...)
		if c.Empty() != (c.LargestSeq() == 0) || c.LargestSeq() != want.largest() {
			t.Fatalf("the newest is %d, empty %t, want %d", c.LargestSeq(), c.Empty(), want.largest())
		}
		for range 4 {
			walk := rapid.SliceOfN(key, 0, 20).Draw(t, "keys")
			switch rapid.IntRange(0, 2).Draw(t, "order") {
			case 0:
				slices.SortFunc(walk, cmp.Compare)
			case 1:
				slices.SortFunc(walk, func(a, b []byte) int { return cmp.Compare(b, a) })
			}
			for _, key := range walk {
				at := base.SeqNum(rapid.IntRange(0, int(seq)+1).Draw(t, "at"))
				if got, want := c.Newest(key, at), want.newest(key, at); got != want {
					t.Fatalf("over %q at %d is %d, want %d", key, at, got, want)
				}
			}
		}
	})
}

// largest returns the newest sequence number that covers a key.
func (n naive) largest() (newest base.SeqNum) {
	for _, t := range n.ts {
		if n.cmp.Compare(t.Start, t.End) < 0 {
			newest = max(newest, t.Seq)
		}
	}
	return newest
}

// TestListAgainstANaiveList adds tombstones, opens and closes snapshots and keeps
// views, each of which must go on to say what the list said.
func TestListAgainstANaiveList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cmp := rapid.SampledFrom(comparers).Draw(t, "comparer")
		l, want := NewList(cmp), naive{cmp: cmp}
		var snapshots []base.SeqNum
		type held struct {
			view []*Set
			want naive
			ats  []base.SeqNum
		}
		var views []held
		seq := base.SeqNum(0)
		// ats are the sequence numbers that are read at now.
		ats := func() []base.SeqNum { return append(slices.Clone(snapshots), seq, base.MaxSeqNum) }
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.SampledFrom([]int{1, 1, 1, 10, 40}).Draw(t, "times") {
					seq++
					tomb := drawTombstone(t, seq)
					want.ts = append(want.ts, Tombstone{slices.Clone(tomb.Start), slices.Clone(tomb.End), seq})
					l.Add(tomb, snapshots)
					for _, b := range [][]byte{tomb.Start, tomb.End} {
						for i := range b {
							b[i] = 'z' // the list has copied it
						}
					}
				}
			},
			"snapshot": func(*rapid.T) { snapshots = append(snapshots, seq) },
			"release": func(t *rapid.T) {
				if len(snapshots) > 0 {
					i := rapid.IntRange(0, len(snapshots)-1).Draw(t, "index")
					snapshots = slices.Delete(snapshots, i, i+1)
				}
			},
			"view": func(t *rapid.T) {
				v := l.View()
				if again := l.View(); len(again) != len(v) || len(v) > 0 && &again[0] != &v[0] {
					t.Fatal("a second view without an Add between is another")
				}
				views = append(views, held{v, naive{cmp, slices.Clone(want.ts)}, ats()})
			},
			"flush": func(t *rapid.T) {
				check(t, want, ats(), New(cmp, Tombstones(l.View()...), snapshots).Newest)
			},
			"ask": func(t *rapid.T) { check(t, want, ats(), l.Newest) },
			"": func(t *rapid.T) {
				if l.LargestSeq() != want.largest() || l.Empty() != (want.largest() == 0) {
					t.Fatalf("the newest is %d, empty %t, want %d", l.LargestSeq(), l.Empty(), want.largest())
				}
			},
		})
		for _, h := range views {
			check(t, h.want, h.ats, NewCursor(h.view...).Newest)
		}
	})
}

func TestThousandsOfClearsOfOneRangeAreOne(t *testing.T) {
	l := NewList(base.Bytewise)
	snapshots := []base.SeqNum{100, 5000}
	for i := range base.SeqNum(10_000) {
		l.Add(Tombstone{[]byte("a"), []byte("b"), i + 1}, snapshots)
	}
	count := 0
	for _, s := range l.View() {
		count += s.Len()
	}
	if count > 3+maxRecent {
		t.Errorf("the list keeps %d sequence numbers", count)
	}
	s := New(base.Bytewise, Tombstones(l.View()...), snapshots)
	for at, want := range map[base.SeqNum]base.SeqNum{100: 100, 5000: 5000, base.MaxSeqNum: 10_000} {
		if got := s.Newest([]byte("a"), at); got != want || s.Len() != 3 {
			t.Errorf("at %d is %d; %d numbers are kept", at, got, s.Len())
		}
	}
	if got := New(base.Bytewise, Tombstones(s), nil).Len(); got != 1 {
		t.Errorf("without snapshots %d numbers are kept", got)
	}
}

func TestApproximateBytesGrowsWithTheRanges(t *testing.T) {
	const count = 10_000 // of two keys of ten and eleven bytes
	if got := manySets(count).ApproximateBytes(); got < count*40 || got > count*100 {
		t.Errorf("%d bytes", got)
	}
	if got := NewList(base.Bytewise).ApproximateBytes(); got != 0 {
		t.Errorf("an empty list takes %d bytes", got)
	}
}

func TestEmptySets(t *testing.T) {
	s := New(base.Bytewise, []Tombstone{{[]byte("b"), []byte("b"), 1}, {[]byte("b"), []byte("a"), 2}}, nil)
	if s != nil || !s.Empty() || s.Len() != 0 || s.LargestSeq() != 0 || s.Newest([]byte("a"), 9) != 0 || s.NewestIn(nil, nil, true) != 0 {
		t.Error("a set of nothing is not empty")
	}
	c := NewCursor(nil, s)
	if !c.Empty() || c.LargestSeq() != 0 || c.Newest([]byte("a"), 9) != 0 || len(Tombstones(s, nil)) != 0 {
		t.Error("a cursor of nothing is not empty")
	}
	l := NewList(base.Bytewise)
	l.Add(Tombstone{[]byte("b"), []byte("a"), 1}, nil)
	if !l.Empty() || len(l.View()) != 0 || l.Newest([]byte("a"), 9) != 0 {
		t.Error("a list of nothing is not empty")
	}
}

// manySets is what a busy store may have: count small ranges.
func manySets(count int) *List {
	l := NewList(base.Bytewise)
	for i := range count {
		n := i * 7919 % count
		l.Add(Tombstone{fmt.Appendf(nil, "key%07d", n), fmt.Appendf(nil, "key%07dz", n), base.SeqNum(i + 1)}, nil)
	}
	return l
}

func TestQuestionsAllocateNothing(t *testing.T) {
	l := manySets(1000)
	c, key := NewCursor(l.View()...), []byte("key0000500")
	if n := testing.AllocsPerRun(100, func() {
		if l.Newest(key, base.MaxSeqNum) == 0 || c.Newest(key, base.MaxSeqNum) == 0 || len(l.View()) == 0 {
			t.Error("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, count := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			for b.Loop() {
				manySets(count)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(count), "ns/add")
		})
	}
}

func BenchmarkNewest(b *testing.B) {
	for _, count := range []int{1, 32, 10_000} {
		l := manySets(count)
		keys := make([][]byte, 1000)
		for i := range keys {
			keys[i] = fmt.Appendf(nil, "key%07d", i*count/1000)
		}
		c := NewCursor(l.View()...)
		for name, ask := range map[string]func([]byte, base.SeqNum) base.SeqNum{"list": l.Newest, "cursor": c.Newest} {
			b.Run(fmt.Sprintf("%s/%d", name, count), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					ask(keys[i%1000], base.MaxSeqNum)
				}
			})
		}
	}
}

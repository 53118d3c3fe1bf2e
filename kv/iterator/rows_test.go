package iterator_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// strict is a source whose bytes live just as long as the contract says: each
// positioning call overwrites what was handed out before. From row failAt on it
// has an error in place of rows.
type strict struct {
	cmp    *base.Comparer
	rows   []row
	pos    int
	failAt int
	err    error
	closed error

	key, value   []byte
	keys, values []byte // of the last batch
}

var _ iterator.Internal = (*strict)(nil)

func (s *strict) move(pos int, absolute bool) bool {
	if absolute {
		s.err = nil
	}
	for _, b := range [][]byte{s.key, s.value, s.keys, s.values} {
		for i := range b {
			b[i] = 0xee
		}
	}
	if s.err != nil {
		return false
	}
	s.pos = max(-1, min(pos, len(s.rows)))
	if s.pos >= s.failAt {
		s.err = base.Wrap(base.ErrIO, "", errInjected)
	}
	if !s.Valid() {
		return false
	}
	s.key = append(s.key[:0], s.rows[s.pos].Key.UserKey...)
	s.value = append(s.value[:0], s.rows[s.pos].Value...)
	return true
}

// Close returns closed, where that is set, else the error of the walk.
func (s *strict) Close() error {
	if s.closed != nil {
		return s.closed
	}
	return s.err
}

func (s *strict) find(key []byte) int {
	i, _ := slices.BinarySearchFunc(s.rows, key, func(r row, key []byte) int {
		if s.cmp.Compare(r.Key.UserKey, key) < 0 {
			return -1
		}
		return 1
	})
	return i
}

func (s *strict) SeekGE(key []byte) bool { return s.move(s.find(key), true) }
func (s *strict) SeekLT(key []byte) bool { return s.move(s.find(key)-1, true) }
func (s *strict) First() bool            { return s.move(0, true) }
func (s *strict) Last() bool             { return s.move(len(s.rows)-1, true) }
func (s *strict) Next() bool             { return s.move(s.pos+1, false) }
func (s *strict) Prev() bool             { return s.move(s.pos-1, false) }
func (s *strict) Valid() bool            { return s.err == nil && s.pos >= 0 && s.pos < len(s.rows) }
func (s *strict) Value() []byte          { return s.value }
func (s *strict) Error() error           { return s.err }
func (s *strict) Key() base.InternalKey {
	return base.InternalKey{UserKey: s.key, Trailer: s.rows[s.pos].Key.Trailer}
}

// batching is strict that hands out batches of up to size rows.
type batching struct {
	strict
	size int
}

var _ iterator.Batcher = (*batching)(nil)

func (s *batching) Batch(b *iterator.Batch, most int) {
	end := min(s.pos+s.size, s.pos+most, s.failAt, len(s.rows))
	rows := s.rows[s.pos:end]
	s.move(end-1, false)
	b.Entries, b.Keys, b.Values = b.Entries[:0], b.Keys[:0], b.Values[:0]
	for _, r := range rows {
		e := iterator.Entry{Trailer: r.Key.Trailer, KeyAt: uint32(len(b.Keys)), ValueAt: uint32(len(b.Values))}
		b.Keys, b.Values = append(b.Keys, r.Key.UserKey...), append(b.Values, r.Value...)
		e.KeyEnd, e.ValueEnd = uint32(len(b.Keys)), uint32(len(b.Values))
		b.Entries = append(b.Entries, e)
	}
	s.keys, s.values = b.Keys, b.Values
}

// readRun takes a run apart.
func readRun(t *rapid.T, run []byte) []row {
	var out []row
	for len(run) > 0 {
		var part [2][]byte
		for i := range part {
			n, w := binary.Uvarint(run)
			if w <= 0 || n > uint64(len(run)-w) {
				t.Fatalf("no entry: %q", run)
			}
			part[i], run = run[w:w+int(n)], run[w+int(n):]
		}
		out = append(out, row{Key: userKey(part[0]), Value: string(part[1])})
	}
	return out
}

// drawSources returns the sources of d twice: as they are, and some of them with
// batches. Unless reverse, some fail.
func drawSources(t *rapid.T, d db, reverse bool) (plain, sources []iterator.Internal) {
	for _, rows := range d.groups {
		rows = modelMerging(d.cmp, [][]row{rows})
		s := strict{cmp: d.cmp, rows: rows, pos: -1, failAt: math.MaxInt}
		if !reverse && rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
			s.failAt = rapid.IntRange(0, len(rows)).Draw(t, "fail at")
		}
		twin := s
		plain = append(plain, &twin)
		if rapid.Bool().Draw(t, "batches") {
			sources = append(sources, &batching{strict: s, size: rapid.IntRange(1, 9).Draw(t, "batch size")})
		} else {
			sources = append(sources, &s)
		}
	}
	return plain, sources
}

func TestMergeIsWhatNewMergingShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDB(t)
		plain, sources := drawSources(t, d, false)
		want, got := iterator.NewMerging(d.cmp, plain...), iterator.NewMerge(d.cmp, sources...)
		wantOK, ok := want.First(), got.First()
		for wantOK && ok {
			a := row{Key: want.Key(), Value: string(want.Value())}
			if b := (row{Key: got.Key(), Value: string(got.Value())}); !b.Equal(a) {
				t.Fatalf("came to %v, want %v", b, a)
			}
			wantOK, ok = want.Next(), got.Next()
		}
		if ok || wantOK || got.Next() {
			t.Fatalf("goes on %t, want %t", ok, wantOK)
		}
		if a, b := got.Error(), want.Error(); (a == nil) != (b == nil) || a != nil && !errors.Is(a, errInjected) {
			t.Fatalf("error %v, want %v", a, b)
		}
		if err := got.Error(); got.Close() != err || got.Next() || got.Close() != err {
			t.Fatal("Close does not return the first error")
		}
	})
}

// TestRowsAreWhatNewUserShows compares both, over sources that hand out entries
// one by one or in batches, and that may fail somewhere.
func TestRowsAreWhatNewUserShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDB(t)
		o := iterator.UserOptions{At: d.at, Bounds: d.bounds}
		if rapid.Bool().Draw(t, "filter") {
			o.Filter = hidesH
		}
		reverse := rapid.IntRange(0, 4).Draw(t, "direction") == 0
		plain, sources := drawSources(t, d, reverse)
		withMask := func() iterator.UserOptions {
			o := o
			m, _ := d.mask() // a cursor is for one walk
			o.Mask = &m
			return o
		}
		options := func() iterator.UserOptions { return o }
		if rapid.Bool().Draw(t, "mask") {
			options = withMask
		}

		user := iterator.NewUser(d.cmp, options(), plain...)
		first, next := user.First, user.Next
		if reverse {
			first, next = user.Last, user.Prev
		}
		var want []row
		for ok := first(); ok; ok = next() {
			want = append(want, row{Key: userKey(bytes.Clone(user.Key())), Value: string(user.Value())})
		}

		rows := iterator.NewRows(d.cmp, options(), reverse, sources...)
		for {
			count := rapid.IntRange(1, 12).Draw(t, "count")
			if rapid.IntRange(0, 3).Draw(t, "skip") == 0 {
				n := rows.Skip(count)
				if n != min(count, len(want)) {
					t.Fatalf("skipped %d of %d, want of %v", n, count, want)
				}
				if want = want[n:]; n < count {
					break
				}
				continue
			}
			keysOnly := rapid.Bool().Draw(t, "keys only")
			size := rapid.IntRange(1, 50).Draw(t, "bytes")
			prefix := []byte("run:")
			run, n := rows.Append(prefix, len(prefix)+size, count, keysOnly)
			got := readRun(t, run[len(prefix):])
			if n != len(got) || n > count || n > len(want) {
				t.Fatalf("%d rows of at most %d: %v, want of %v", n, count, got, want)
			}
			left := size
			for i, r := range got {
				w := want[i]
				if keysOnly {
					w.Value = ""
				}
				if !r.Equal(w) || left <= 0 {
					t.Fatalf("row %d is %v, want %v", i, r, want[i])
				}
				left -= len(r.Key.UserKey) + len(r.Value) + 2
			}
			if want = want[n:]; n < count && left > 0 {
				break
			}
		}
		if len(want) > 0 {
			t.Fatalf("ended before %v, %v", want, rows.Error())
		}
		if run, n := rows.Append(nil, 1, 1, false); len(run) > 0 || n > 0 || rows.Skip(1) > 0 {
			t.Fatal("went on after the end")
		}
		if a, b := rows.Error(), user.Error(); (a == nil) != (b == nil) || a != nil && !errors.Is(a, errInjected) {
			t.Fatalf("error %v, want %v", a, b)
		}
		if err := rows.Error(); rows.Close() != err || rows.Close() != err {
			t.Fatal("Close does not return the first error")
		}
	})
}

// TestRowsOfLongStretches has sources of which one is long before all others:
// batches grow there, and end anywhere.
func TestRowsOfLongStretches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cmp := base.Bytewise
		groups := make([][]row, rapid.IntRange(1, 4).Draw(t, "sources"))
		var want []row
		at := 0
		for at < 600 {
			i := rapid.IntRange(0, len(groups)-1).Draw(t, "source")
			for range rapid.SampledFrom([]int{1, 2, 40, 300}).Draw(t, "stretch") {
				r := row{Key: base.MakeInternalKey(fmt.Appendf(nil, "key%05d", at), 1, base.KindPut), Value: fmt.Sprint(at)}
				groups[i] = append(groups[i], r)
				want = append(want, row{Key: userKey(r.Key.UserKey), Value: r.Value})
				at++
			}
		}
		var sources []iterator.Internal
		for _, rows := range groups {
			s := strict{cmp: cmp, rows: rows, pos: -1, failAt: math.MaxInt}
			sources = append(sources, &batching{strict: s, size: rapid.IntRange(1, 200).Draw(t, "batch size")})
		}
		run, n := iterator.NewRows(cmp, iterator.UserOptions{At: 1}, false, sources...).Append(nil, math.MaxInt, math.MaxInt, false)
		got := readRun(t, run)
		if n != len(want) || !slices.EqualFunc(got, want, row.Equal) {
			t.Fatalf("%d rows, want %d: %v", n, len(want), got)
		}
	})
}

func TestRowsTakeTheEarlierOfTwoSources(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		var sources []iterator.Internal
		for _, value := range []string{"new", "old"} {
			rows := []row{{Key: base.MakeInternalKey([]byte("k"), 1, base.KindPut), Value: value}}
			sources = append(sources, &strict{cmp: base.Bytewise, rows: rows, pos: -1, failAt: math.MaxInt})
		}
		run, n := iterator.NewRows(base.Bytewise, iterator.UserOptions{At: 1}, reverse, sources...).Append(nil, 100, 100, false)
		if n != 1 || string(run) != "\x01k\x03new" {
			t.Errorf("reverse %t: %d rows, %q", reverse, n, run)
		}
	}
}

func TestRowsCloseAllSources(t *testing.T) {
	bad := &strict{cmp: base.Bytewise, pos: -1, failAt: math.MaxInt, closed: errInjected}
	after := &faulty{Internal: &strict{cmp: base.Bytewise, pos: -1, failAt: math.MaxInt}, calls: new(int), failAt: -1}
	rows := iterator.NewRows(base.Bytewise, iterator.UserOptions{At: 1}, false, bad, after)
	if err := rows.Close(); !errors.Is(err, errInjected) {
		t.Fatal("Close returned", err)
	}
	if rows.Skip(1) != 0 || *after.calls != 0 {
		t.Fatal("a closed walk moves a source")
	}
}

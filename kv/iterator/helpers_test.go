package iterator_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/memtable"
)

// row is an entry of a model.
type row struct {
	key   base.InternalKey
	value string
}

func (r row) String() string { return show(r.key, []byte(r.value)) }

// show prints an entry; a suffix of two bytes that a test wrote as @n is
// printed so too.
func show(k base.InternalKey, value []byte) string {
	if k.Kind() == base.KindDelete {
		return fmt.Sprintf("%s#%d,DEL", showKey(k.UserKey), k.SeqNum())
	}
	return fmt.Sprintf("%s#%d,PUT=%s", showKey(k.UserKey), k.SeqNum(), value)
}

func showKey(key []byte) string {
	if n := len(key) - 2; n >= 0 && key[n] == 0 {
		return fmt.Sprintf("%s@%d", key[:n], key[n+1])
	}
	return string(key)
}

// parseKey reads what showKey prints.
func parseKey(s string) []byte {
	prefix, version, ok := strings.Cut(s, "@")
	if !ok {
		return []byte(s)
	}
	n, err := strconv.ParseUint(version, 10, 8)
	if err != nil {
		panic(err)
	}
	return binary.BigEndian.AppendUint16([]byte(prefix), uint16(n))
}

// parseRow reads what show prints.
func parseRow(s string) row {
	key, rest, ok1 := strings.Cut(s, "#")
	number, rest, ok2 := strings.Cut(rest, ",")
	seq, err := strconv.ParseUint(number, 10, 56)
	kind, value, _ := strings.Cut(rest, "=")
	if !ok1 || !ok2 || err != nil || kind != "PUT" && kind != "DEL" {
		panic("not an entry: " + s)
	}
	k := base.KindPut
	if kind == "DEL" {
		k = base.KindDelete
	}
	return row{base.MakeInternalKey(parseKey(key), base.SeqNum(seq), k), value}
}

// tables makes a memtable of each group of rows.
func tables(cmp *base.Comparer, groups [][]row) []*memtable.Table {
	var out []*memtable.Table
	for _, rows := range groups {
		m := memtable.New(cmp)
		for _, r := range rows {
			m.Add(r.key.SeqNum(), r.key.Kind(), r.key.UserKey, []byte(r.value))
		}
		out = append(out, m)
	}
	return out
}

func iters(tables []*memtable.Table) []iterator.Internal {
	var out []iterator.Internal
	for _, m := range tables {
		out = append(out, m.View().NewIter())
	}
	return out
}

// The model: each layer as a function from all rows to the rows it shows.

func modelMerging(cmp *base.Comparer, groups [][]row) []row {
	all := slices.Concat(groups...)
	slices.SortFunc(all, func(a, b row) int { return cmp.CompareInternal(a.key, b.key) })
	return all
}

func modelSnapshot(rows []row, at base.SeqNum) []row {
	var out []row
	for _, r := range rows {
		if r.key.SeqNum() <= at && (len(out) == 0 || !bytes.Equal(out[len(out)-1].key.UserKey, r.key.UserKey)) {
			out = append(out, r)
		}
	}
	return out
}

func modelDedup(cmp *base.Comparer, rows []row) []row {
	var out []row
	for i, r := range rows {
		first := i == 0 || !cmp.SameLogicalKey(rows[i-1].key.UserKey, r.key.UserKey)
		if first && r.key.Kind() == base.KindPut {
			out = append(out, r)
		}
	}
	return out
}

func modelFilter(rows []row, f iterator.Filter) []row {
	var out []row
	for _, r := range rows {
		if f(r.key, []byte(r.value)) {
			out = append(out, r)
		}
	}
	return out
}

func modelBounds(cmp *base.Comparer, rows []row, b iterator.Bounds) []row {
	var out []row
	for _, r := range rows {
		if b.Lower != nil {
			if c := cmp.Compare(r.key.UserKey, b.Lower); c < 0 || c == 0 && b.LowerExclusive {
				continue
			}
		}
		if b.Upper != nil {
			if c := cmp.Compare(r.key.UserKey, b.Upper); c > 0 || c == 0 && !b.UpperInclusive {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// hidesH hides values that begin with h.
func hidesH(_ base.InternalKey, value []byte) bool { return !bytes.HasPrefix(value, []byte("h")) }

// asInternal lets the tests move an Iterator like an Internal; its keys have
// no trailer.
type asInternal struct{ iterator.Iterator }

func (a asInternal) Key() base.InternalKey { return base.InternalKey{UserKey: a.Iterator.Key()} }

// cursor is a position in a model: -1 before the first row, len(rows) behind
// the last one.
type cursor struct {
	cmp   *base.Comparer
	rows  []row
	pos   int
	moved bool
}

// move does what a positioning call does, and returns the row come to.
func (c *cursor) move(name string, key []byte) (row, bool) {
	switch name {
	case "seek-ge", "seek-lt":
		c.pos = slices.IndexFunc(c.rows, func(r row) bool { return c.cmp.Compare(r.key.UserKey, key) >= 0 })
		if c.pos < 0 {
			c.pos = len(c.rows)
		}
		if name == "seek-lt" {
			c.pos--
		}
		c.moved = true
	case "first":
		c.pos, c.moved = 0, true
	case "last":
		c.pos, c.moved = len(c.rows)-1, true
	case "next":
		if c.moved {
			c.pos = min(c.pos+1, len(c.rows))
		}
	case "prev":
		if c.moved {
			c.pos = max(c.pos-1, -1)
		}
	}
	if !c.moved || c.pos < 0 || c.pos >= len(c.rows) {
		return row{}, false
	}
	return c.rows[c.pos], true
}

// move makes a positioning call by name.
func move(it iterator.Internal, name string, key []byte) bool {
	switch name {
	case "seek-ge":
		return it.SeekGE(key)
	case "seek-lt":
		return it.SeekLT(key)
	case "first":
		return it.First()
	case "last":
		return it.Last()
	case "next":
		return it.Next()
	case "prev":
		return it.Prev()
	}
	panic("no such move: " + name)
}

var moveNames = []string{"next", "prev", "seek-ge", "seek-lt", "first", "last", "next", "prev", "next", "prev"}

// walk makes random moves on it and compares it with the model.
func walk(t *rapid.T, cmp *base.Comparer, it iterator.Internal, rows []row, key *rapid.Generator[[]byte]) {
	_, user := it.(asInternal)
	c := cursor{cmp: cmp, rows: rows}
	for range rapid.IntRange(1, 40).Draw(t, "moves") {
		name := rapid.SampledFrom(moveNames).Draw(t, "move")
		var k []byte
		if strings.HasPrefix(name, "seek") {
			k = key.Draw(t, "seek")
		}
		times := 1
		if name == "next" || name == "prev" {
			times = rapid.IntRange(1, 6).Draw(t, "times")
		}
		for range times {
			want, wantOK := c.move(name, k)
			ok := move(it, name, k)
			if ok != wantOK || it.Valid() != wantOK || it.Error() != nil {
				t.Fatalf("%s %q: returned %t, Valid %t, Error %v; want %t (%v)", name, k, ok, it.Valid(), it.Error(), wantOK, want)
			}
			if !ok {
				continue
			}
			if user {
				want.key.Trailer = it.Key().Trailer
			}
			if got := (row{it.Key(), string(it.Value())}); got.String() != want.String() {
				t.Fatalf("%s %q: came to %v, want %v", name, k, got, want)
			}
		}
	}
}

var errInjected = errors.New("injected")

// faulty fails positioning call number failAt, counted from 0 over all the
// iterators that share calls.
type faulty struct {
	iterator.Internal
	calls  *int
	failAt int
	err    error
}

func (f *faulty) do(absolute bool, m func() bool) bool {
	if absolute {
		f.err = nil
	}
	if f.err != nil {
		return false
	}
	*f.calls++
	if *f.calls-1 == f.failAt {
		f.err = base.Wrap(base.ErrIO, "", errInjected)
		return false
	}
	return m()
}

func (f *faulty) SeekGE(key []byte) bool {
	return f.do(true, func() bool { return f.Internal.SeekGE(key) })
}
func (f *faulty) SeekLT(key []byte) bool {
	return f.do(true, func() bool { return f.Internal.SeekLT(key) })
}
func (f *faulty) First() bool  { return f.do(true, f.Internal.First) }
func (f *faulty) Last() bool   { return f.do(true, f.Internal.Last) }
func (f *faulty) Next() bool   { return f.do(false, f.Internal.Next) }
func (f *faulty) Prev() bool   { return f.do(false, f.Internal.Prev) }
func (f *faulty) Valid() bool  { return f.err == nil && f.Internal.Valid() }
func (f *faulty) Error() error { return f.err }

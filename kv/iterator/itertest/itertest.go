// Package itertest compares iterators with a model: the rows they are to show,
// as a slice in order, and a position in it.
//
// Moves have names, so that tests can draw them and read them from text:
// first, last, next, prev, seek-ge and seek-lt.
package itertest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// Row is an entry of a model.
type Row struct {
	Key   base.InternalKey
	Value string
}

// At returns the row at which it stands. The key lives as long as it.Key().
func At(it iterator.Internal) Row { return Row{it.Key(), string(it.Value())} }

// Equal compares the key, its trailer and the value.
func (r Row) Equal(other Row) bool {
	return r.Key.Trailer == other.Key.Trailer && bytes.Equal(r.Key.UserKey, other.Key.UserKey) && r.Value == other.Value
}

// String prints a row as "key"#5,PUT="value".
func (r Row) String() string {
	kind := map[base.Kind]string{base.KindDelete: "DEL", base.KindPut: "PUT", base.KindPutExpiring: "EXP"}[r.Key.Kind()]
	return fmt.Sprintf("%q#%d,%s=%q", r.Key.UserKey, r.Key.SeqNum(), kind, r.Value)
}

// Cursor is a position in a model: at a row, before the first or behind the
// last. Until an absolute move it is nowhere.
type Cursor struct {
	cmp   *base.Comparer
	rows  []Row
	pos   int
	moved bool
}

// NewCursor returns a cursor in rows, which are in the order of cmp.
func NewCursor(cmp *base.Comparer, rows []Row) *Cursor { return &Cursor{cmp: cmp, rows: rows} }

// Move does what Move does with an iterator. It returns the row come to.
func (c *Cursor) Move(name string, key []byte) (Row, bool) {
	switch name {
	case "seek-ge", "seek-lt":
		c.pos = slices.IndexFunc(c.rows, func(r Row) bool { return c.cmp.Compare(r.Key.UserKey, key) >= 0 })
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
		return Row{}, false
	}
	return c.rows[c.pos], true
}

// Move makes a positioning call by name; only a seek looks at key. It panics at
// a name that is none.
func Move(it iterator.Internal, name string, key []byte) bool {
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

// drawn has relative moves more than once: they are what walks are made of.
var drawn = []string{"next", "prev", "seek-ge", "seek-lt", "first", "last", "next", "prev", "next", "prev"}

// Walk makes random moves on it and compares it with a cursor in rows after
// each. Seeks are to what key draws; a relative move is made up to mostTimes
// times in a row.
func Walk(t *rapid.T, cmp *base.Comparer, it iterator.Internal, rows []Row, key *rapid.Generator[[]byte], mostTimes int) {
	c := NewCursor(cmp, rows)
	for range rapid.IntRange(1, 60).Draw(t, "moves") {
		name := rapid.SampledFrom(drawn).Draw(t, "move")
		var k []byte
		if strings.HasPrefix(name, "seek") {
			k = key.Draw(t, "seek")
		}
		times := 1
		if name == "next" || name == "prev" {
			times = rapid.IntRange(1, mostTimes).Draw(t, "times")
		}
		for range times {
			want, wantOK := c.Move(name, k)
			ok := Move(it, name, k)
			if ok != wantOK || it.Valid() != wantOK || it.Error() != nil {
				t.Fatalf("%s %q: returned %t, Valid %t, Error %v; want %t (%v)", name, k, ok, it.Valid(), it.Error(), wantOK, want)
			}
			if !ok {
				continue
			}
			if got := At(it); !got.Equal(want) {
				t.Fatalf("%s %q: came to %v, want %v", name, k, got, want)
			}
		}
	}
}

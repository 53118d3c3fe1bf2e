package rangedel

import "tempestkv/kv/base"

// Cursor asks several sets at once, and remembers where in them it was: along a
// walk, in either direction, a question costs two comparisons of keys a set.
// A Cursor belongs to one goroutine.
type Cursor struct {
	parts  []part
	newest base.SeqNum
}

// part is a set and the point before the last key asked for.
type part struct {
	set *Set
	at  int
}

// NewCursor returns a cursor in the sets; empty ones cost nothing.
func NewCursor(sets ...*Set) *Cursor {
	c := &Cursor{}
	for _, s := range sets {
		if !s.Empty() {
			c.parts = append(c.parts, part{s, -1})
			c.newest = max(c.newest, s.newest)
		}
	}
	return c
}

// Empty reports whether no key is covered.
func (c *Cursor) Empty() bool { return len(c.parts) == 0 }

// LargestSeq returns the sequence number of the newest tombstone, 0 for none.
func (c *Cursor) LargestSeq() base.SeqNum { return c.newest }

// Newest returns the sequence number of the newest tombstone over key that is
// not above at, 0 where there is none. It does not allocate.
func (c *Cursor) Newest(key []byte, at base.SeqNum) base.SeqNum {
	var newest base.SeqNum
	for i := range c.parts {
		if p := &c.parts[i]; p.set.newest > newest {
			p.move(key)
			newest = max(newest, p.set.newestOf(p.at, at))
		}
	}
	return newest
}

// move goes to the point at or before key: where it is, next to that, or by
// bisection.
func (p *part) move(key []byte) {
	s, i := p.set, p.at
	before := func(i int) bool { return i < len(s.points) && s.cmp.Compare(s.key(i), key) <= 0 }
	switch {
	case i >= 0 && !before(i):
		if i == 0 || before(i-1) {
			p.at = i - 1
			return
		}
	case before(i + 1):
		if !before(i + 2) {
			p.at = i + 1
			return
		}
	default:
		return
	}
	p.at = s.find(key)
}

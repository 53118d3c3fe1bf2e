package iterator

import "tempestkv/kv/base"

// Bounds is a range of user keys in physical order. A nil bound is none; an
// empty one is the empty key. The lower bound is part of the range unless
// LowerExclusive, the upper one is not unless UpperInclusive. A range whose
// ends have crossed is empty.
type Bounds struct {
	Lower, Upper   []byte
	LowerExclusive bool
	UpperInclusive bool
}

// NewBounds shows the entries of it within b. Seeking before the lower bound
// comes to the first entry, SeekLT behind the upper one to the last. It owns
// it, and keeps b's bytes, which must not change.
func NewBounds(cmp *base.Comparer, it Internal, b Bounds) Internal {
	if b.Lower == nil && b.Upper == nil {
		return it
	}
	return &bounded{cmp: cmp, it: it, b: b}
}

// place tells where an iterator is.
type place uint8

const (
	unpositioned place = iota
	beforeFirst
	onEntry
	afterLast
	failed
)

type bounded struct {
	cmp   *base.Comparer
	it    Internal
	b     Bounds
	place place
	key   base.InternalKey
}

// below reports whether key is before the range.
func (r *bounded) below(key []byte) bool {
	if r.b.Lower == nil {
		return false
	}
	c := r.cmp.Compare(key, r.b.Lower)
	return c < 0 || c == 0 && r.b.LowerExclusive
}

// above reports whether key is behind the range.
func (r *bounded) above(key []byte) bool {
	if r.b.Upper == nil {
		return false
	}
	c := r.cmp.Compare(key, r.b.Upper)
	return c > 0 || c == 0 && !r.b.UpperInclusive
}

// forward takes the entry that a move forward came to, if ok. The move began
// inside the range, or at its lower bound.
func (r *bounded) forward(ok bool) bool {
	if !ok {
		return r.end(afterLast)
	}
	if r.key = r.it.Key(); r.above(r.key.UserKey) {
		r.place = afterLast
		return false
	}
	r.place = onEntry
	return true
}

// backward takes the entry that a move backward came to, if ok. The move began
// inside the range, or at its upper bound.
func (r *bounded) backward(ok bool) bool {
	if !ok {
		return r.end(beforeFirst)
	}
	if r.key = r.it.Key(); r.below(r.key.UserKey) {
		r.place = beforeFirst
		return false
	}
	r.place = onEntry
	return true
}

// end notes where a move ended that came to no entry.
func (r *bounded) end(p place) bool {
	r.place = p
	if r.it.Error() != nil {
		r.place = failed
	}
	return false
}

func (r *bounded) SeekGE(key []byte) bool {
	switch {
	case r.below(key):
		return r.First()
	case r.above(key):
		r.place = afterLast
		return false
	}
	return r.forward(r.it.SeekGE(key))
}

func (r *bounded) SeekLT(key []byte) bool {
	switch {
	case r.above(key):
		return r.Last()
	case r.below(key):
		r.place = beforeFirst
		return false
	}
	return r.backward(r.it.SeekLT(key))
}

func (r *bounded) First() bool {
	if r.b.Lower == nil {
		return r.forward(r.it.First())
	}
	ok := r.it.SeekGE(r.b.Lower)
	for ok && r.below(r.it.Key().UserKey) {
		ok = r.it.Next()
	}
	return r.forward(ok)
}

func (r *bounded) Last() bool {
	if r.b.Upper == nil {
		return r.backward(r.it.Last())
	}
	if !r.b.UpperInclusive {
		return r.backward(r.it.SeekLT(r.b.Upper))
	}
	// Versions of the bound itself are part of the range: go past them and
	// come back.
	ok := r.it.SeekGE(r.b.Upper)
	for ok && !r.above(r.it.Key().UserKey) {
		ok = r.it.Next()
	}
	return r.backward(r.it.Prev())
}

func (r *bounded) Next() bool {
	switch r.place {
	case onEntry:
		return r.forward(r.it.Next())
	case beforeFirst:
		return r.First()
	}
	return false
}

func (r *bounded) Prev() bool {
	switch r.place {
	case onEntry:
		return r.backward(r.it.Prev())
	case afterLast:
		return r.Last()
	}
	return false
}

func (r *bounded) Valid() bool           { return r.place == onEntry }
func (r *bounded) Key() base.InternalKey { return r.key }
func (r *bounded) Value() []byte         { return r.it.Value() }

// Error returns the source's error, unless an absolute move since then did not
// need the source.
func (r *bounded) Error() error {
	if r.place == failed {
		return r.it.Error()
	}
	return nil
}

func (r *bounded) Close() error {
	r.place = unpositioned
	return r.it.Close()
}

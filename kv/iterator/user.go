package iterator

import "tempestkv/kv/base"

// Iterator walks what a reader sees: live user keys, each logical key once,
// with their values. Its methods keep the contract of Internal.
type Iterator interface {
	// SeekGE moves to the first entry at or after key.
	SeekGE(key []byte) bool
	// SeekLT moves to the last entry before key.
	SeekLT(key []byte) bool
	First() bool
	Last() bool
	Next() bool
	Prev() bool
	Valid() bool
	Key() []byte
	Value() []byte
	Error() error
	Close() error
}

// NewUser puts the stack together: it merges the sources, newest first, and
// shows a reader at sequence number at what lies within b and passes f, which
// may be nil. It owns the sources, and keeps b's bytes, which must not change.
func NewUser(cmp *base.Comparer, at base.SeqNum, b Bounds, f Filter, sources ...Internal) Iterator {
	// Bounds are the last layer, yet a walk that ends at a bound should not
	// first cross all the tombstones behind it. So a bound is put below dedup
	// where that shows the same: the upper one always, since the entry shown
	// is the first of its logical key; the lower one where a logical key has
	// but one user key.
	below, above := b, Bounds{}
	if cmp.HasSuffix {
		below.Lower = nil
		above = Bounds{Lower: b.Lower, LowerExclusive: b.LowerExclusive}
	}
	it := NewBounds(cmp, NewMerging(cmp, sources...), below)
	it = newVisible(cmp, it, at)
	if f != nil {
		it = NewFilter(it, f)
	}
	return user{NewBounds(cmp, it, above)}
}

// user shows user keys in place of internal ones.
type user struct{ Internal }

// Key returns the user key, nil where there is no current entry.
func (u user) Key() []byte {
	if !u.Valid() {
		return nil
	}
	return u.Internal.Key().UserKey
}

// Value returns the value, nil where there is no current entry.
func (u user) Value() []byte {
	if !u.Valid() {
		return nil
	}
	return u.Internal.Value()
}

var _ Iterator = user{}

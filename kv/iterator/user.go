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

// UserOptions say what a reader sees.
type UserOptions struct {
	// At is the newest sequence number that is seen. 0 sees nothing.
	At base.SeqNum

	// Bounds limit the keys. Their bytes are kept, and must not change.
	Bounds Bounds

	// Filter, if not nil, hides entries.
	Filter Filter

	// Mask hides more. nil saves a layer, and is for sources of a store that has
	// never had a range delete or an expiring put.
	Mask *Mask
}

// NewUser puts the stack together: it merges the sources, newest first, and
// shows of them what o says. It owns the sources.
func NewUser(cmp *base.Comparer, o UserOptions, sources ...Internal) Iterator {
	// Bounds are the last layer, yet a walk that ends at a bound should not
	// first cross all the tombstones behind it. So a bound is put below dedup
	// where that shows the same: the upper one always, since the entry shown
	// is the first of its logical key; the lower one where a logical key has
	// but one user key.
	below, above := o.Bounds, Bounds{}
	if cmp.HasSuffix {
		above = Bounds{Lower: below.Lower, LowerExclusive: below.LowerExclusive}
		below.Lower = nil
	}
	it := NewBounds(cmp, NewMerging(cmp, sources...), below)
	if o.Mask != nil {
		it = NewMask(it, o.At, *o.Mask)
	}
	it = newVisible(cmp, it, o.At)
	if o.Filter != nil {
		it = NewFilter(it, o.Filter)
	}
	return &user{it: NewBounds(cmp, it, above)}
}

// user shows user keys in place of internal ones. It remembers whether there is
// a current entry: to ask the layers below for each key and each value would
// cost as much as a move.
type user struct {
	it    Internal
	valid bool
}

func (u *user) at(ok bool) bool {
	u.valid = ok
	return ok
}

func (u *user) SeekGE(key []byte) bool { return u.at(u.it.SeekGE(key)) }
func (u *user) SeekLT(key []byte) bool { return u.at(u.it.SeekLT(key)) }
func (u *user) First() bool            { return u.at(u.it.First()) }
func (u *user) Last() bool             { return u.at(u.it.Last()) }
func (u *user) Next() bool             { return u.at(u.it.Next()) }
func (u *user) Prev() bool             { return u.at(u.it.Prev()) }
func (u *user) Valid() bool            { return u.valid }
func (u *user) Error() error           { return u.it.Error() }

// Key returns the user key, nil where there is no current entry.
func (u *user) Key() []byte {
	if !u.valid {
		return nil
	}
	return u.it.Key().UserKey
}

// Value returns the value, nil where there is no current entry.
func (u *user) Value() []byte {
	if !u.valid {
		return nil
	}
	return u.it.Value()
}

func (u *user) Close() error {
	u.valid = false
	return u.it.Close()
}

var _ Iterator = (*user)(nil)

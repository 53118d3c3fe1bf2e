package iterator

import (
	"bytes"

	"tempestkv/kv/base"
)

// NewSnapshot shows, of each user key of it, the newest version with a
// sequence number of at most at. Tombstones are shown. It owns it.
func NewSnapshot(it Internal, at base.SeqNum) Internal {
	return &groups{it: it, at: at}
}

// NewDedup shows, of each logical key of it, the physically first entry, or
// nothing where that is a tombstone. It owns it, which must have at most one
// entry for each user key, as NewSnapshot leaves them.
func NewDedup(cmp *base.Comparer, it Internal) Internal {
	return newVisible(cmp, it, base.MaxSeqNum)
}

// newVisible does what NewDedup over NewSnapshot does, in one layer: internal
// keys order by user key, then newest first, so the first entry of a logical
// key that is not newer than at is also the newest such version of its user
// key.
func newVisible(cmp *base.Comparer, it Internal, at base.SeqNum) Internal {
	g := &groups{it: it, at: at, hideTombstones: true}
	if cmp.HasSuffix {
		g.logical = cmp.SameLogicalKey
	}
	return g
}

// groups shows one entry of each group of neighbours: the first that is not
// newer than at.
type groups struct {
	it Internal

	// logical tells whether two user keys are of one group, which may then have
	// several, so that a seek may come to the middle of one. nil where groups
	// are of one user key.
	logical func(a, b []byte) bool

	// at is the newest sequence number that is seen at all.
	at base.SeqNum

	// hideTombstones hides a group whose shown entry would be a tombstone.
	hideTombstones bool

	// valid says whether there is a current entry, and key is its key. Walking
	// forward, it is at that entry. In reverse the entry has to be found by
	// going past it: it is then at the last entry of the group before, and
	// skip and value hold copies of the current entry's key and value.
	valid   bool
	reverse bool
	key     base.InternalKey
	value   []byte

	// skip is the user key whose group a walk forward leaves behind.
	skip []byte
}

// same tells whether two user keys are of one group.
func (g *groups) same(a, b []byte) bool {
	if g.logical == nil {
		return bytes.Equal(a, b)
	}
	return g.logical(a, b)
}

// findNext goes forward to an entry to show, from the entry that it is at if
// ok. Where skipping, it first leaves the group of skip behind.
func (g *groups) findNext(ok, skipping bool) bool {
	g.reverse = false
	for ; ok; ok = g.it.Next() {
		k := g.it.Key()
		if k.SeqNum() > g.at || skipping && g.same(k.UserKey, g.skip) {
			continue
		}
		if !g.hideTombstones || k.Kind() != base.KindDelete {
			g.valid, g.key = true, k
			return true
		}
		skipping = true
		g.skip = append(g.skip[:0], k.UserKey...)
	}
	g.valid = false
	return false
}

// findPrev goes backward to an entry to show, from the entry that it is at if
// ok, which must be the last of its group, or be followed in it by none to
// show.
func (g *groups) findPrev(ok bool) bool {
	g.reverse, g.valid = true, false
	for ; ok; ok = g.it.Prev() {
		k := g.it.Key()
		if g.valid && !g.same(k.UserKey, g.key.UserKey) {
			if !g.hideTombstones || g.key.Kind() != base.KindDelete {
				return true
			}
			g.valid = false
		}
		if k.SeqNum() <= g.at {
			g.save(k)
		}
	}
	if g.it.Error() != nil || g.valid && g.hideTombstones && g.key.Kind() == base.KindDelete {
		g.valid = false
	}
	return g.valid
}

// save copies the entry that it is at.
func (g *groups) save(k base.InternalKey) {
	g.valid = true
	g.skip = append(g.skip[:0], k.UserKey...)
	g.key = base.InternalKey{UserKey: g.skip, Trailer: k.Trailer}
	if !g.hideTombstones || k.Kind() != base.KindDelete {
		g.value = append(g.value[:0], g.it.Value()...)
	}
}

func (g *groups) SeekGE(key []byte) bool {
	ok := g.it.SeekGE(key)
	if !ok || g.logical == nil || !g.same(g.it.Key().UserKey, key) {
		return g.findNext(ok, false)
	}
	// The seek came to a group that may have begun before key. If an entry
	// there is the one to show, the whole group lies behind.
	g.skip = append(g.skip[:0], key...)
	inside := false
	for g.it.Prev() {
		k := g.it.Key()
		if !g.same(k.UserKey, g.skip) {
			break
		}
		if k.SeqNum() <= g.at {
			inside = true
			break
		}
	}
	return g.findNext(g.it.Next(), inside)
}

func (g *groups) SeekLT(key []byte) bool { return g.findPrev(g.it.SeekLT(key)) }
func (g *groups) First() bool            { return g.findNext(g.it.First(), false) }
func (g *groups) Last() bool             { return g.findPrev(g.it.Last()) }

func (g *groups) Next() bool {
	if g.valid {
		g.skip = append(g.skip[:0], g.key.UserKey...)
	}
	return g.findNext(g.it.Next(), g.valid)
}

func (g *groups) Prev() bool {
	if g.reverse {
		return g.findPrev(g.it.Valid())
	}
	return g.findPrev(g.it.Prev())
}

func (g *groups) Valid() bool           { return g.valid }
func (g *groups) Key() base.InternalKey { return g.key }

func (g *groups) Value() []byte {
	if g.reverse {
		return g.value
	}
	return g.it.Value()
}

func (g *groups) Error() error { return g.it.Error() }

func (g *groups) Close() error {
	g.valid, g.value, g.skip = false, nil, nil
	return g.it.Close()
}

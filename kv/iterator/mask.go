package iterator

import "tempestkv/kv/base"

// RangeTombstones tell what range deletes hide; rangedel.Cursor does.
type RangeTombstones interface {
	// Newest returns the sequence number of the newest range tombstone over key
	// that is not above at, 0 where there is none.
	Newest(key []byte, at base.SeqNum) base.SeqNum

	// LargestSeq returns a sequence number that no range tombstone is above.
	LargestSeq() base.SeqNum
}

// Show returns what a reader sees of an entry with the given trailer and value:
// the user's value, or live false where it is a tombstone, is older than
// covering, the newest range tombstone over it that the reader sees (0 for
// none), or has expired at now, in milliseconds since 1970.
func Show(t base.Trailer, value []byte, covering base.SeqNum, now int64) (user []byte, live bool) {
	if t.SeqNum() < covering {
		return nil, false
	}
	switch t.Kind() {
	case base.KindPut:
		return value, true
	case base.KindPutExpiring:
		if expiry, rest, ok := base.CutExpiry(value); ok && (now < 0 || uint64(now) < expiry) {
			return rest, true
		}
	}
	return nil, false
}

// Mask is what hides an entry, beside a newer version of its key.
type Mask struct {
	// Now is the time in milliseconds since 1970. What expires then has expired.
	Now int64

	// Ranges, if not nil, are the range tombstones of all sources.
	Ranges RangeTombstones
}

// maskAt is a mask as a reader at a sequence number has it. The zero value hides
// nothing but what has expired.
type maskAt struct {
	Mask
	at base.SeqNum

	// newest is a sequence number from which on no range tombstone hides an
	// entry.
	newest base.SeqNum
}

func newMaskAt(m Mask, at base.SeqNum) maskAt {
	a := maskAt{Mask: m, at: at}
	if m.Ranges != nil {
		a.newest = min(m.Ranges.LargestSeq(), at)
	}
	return a
}

// covering returns what Show wants to know of an entry, and whether the entry may
// not be what it seems, so that Show has to be asked.
func (m *maskAt) covering(key []byte, t base.Trailer) (covering base.SeqNum, mayDiffer bool) {
	if t.SeqNum() < m.newest {
		covering = m.Ranges.Newest(key, m.at)
	}
	return covering, t.SeqNum() < covering || t.Kind() == base.KindPutExpiring
}

// see returns an entry as a put of the user's value or, where the reader does not
// see it, as a tombstone.
func (m *maskAt) see(t base.Trailer, value []byte, covering base.SeqNum) (base.Trailer, []byte) {
	value, live := Show(t, value, covering, m.Now)
	kind := base.KindDelete
	if live {
		kind = base.KindPut
	}
	return base.MakeTrailer(t.SeqNum(), kind), value
}

// NewMask shows each entry of it as a put of the user's value or, where Show says
// that a reader at sequence number at does not see it, as a tombstone without a
// value. It owns it.
func NewMask(it Internal, at base.SeqNum, m Mask) Internal {
	return &masked{Internal: it, mask: newMaskAt(m, at)}
}

type masked struct {
	Internal
	mask maskAt

	// key is the key of the current entry. Where changed, it has another kind
	// than that of Internal, and value is the value.
	key     base.InternalKey
	changed bool
	value   []byte
}

// take looks at the entry that a move came to, if ok.
func (m *masked) take(ok bool) bool {
	if !ok {
		return false
	}
	m.key = m.Internal.Key()
	var covering base.SeqNum
	if covering, m.changed = m.mask.covering(m.key.UserKey, m.key.Trailer); m.changed {
		m.key.Trailer, m.value = m.mask.see(m.key.Trailer, m.Internal.Value(), covering)
	}
	return true
}

func (m *masked) SeekGE(key []byte) bool { return m.take(m.Internal.SeekGE(key)) }
func (m *masked) SeekLT(key []byte) bool { return m.take(m.Internal.SeekLT(key)) }
func (m *masked) First() bool            { return m.take(m.Internal.First()) }
func (m *masked) Last() bool             { return m.take(m.Internal.Last()) }
func (m *masked) Next() bool             { return m.take(m.Internal.Next()) }
func (m *masked) Prev() bool             { return m.take(m.Internal.Prev()) }
func (m *masked) Key() base.InternalKey  { return m.key }

func (m *masked) Value() []byte {
	if m.changed {
		return m.value
	}
	return m.Internal.Value()
}

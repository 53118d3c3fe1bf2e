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

// NewMask shows each entry of it as a put of the user's value or, where Show says
// that a reader at sequence number at does not see it, as a tombstone without a
// value. It owns it.
func NewMask(it Internal, at base.SeqNum, m Mask) Internal {
	l := &masked{Internal: it, at: at, mask: m}
	if m.Ranges != nil {
		l.newest = min(m.Ranges.LargestSeq(), at)
	}
	return l
}

type masked struct {
	Internal
	at   base.SeqNum
	mask Mask

	// newest is a sequence number from which on no entry is hidden.
	newest base.SeqNum

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
	t := m.key.Trailer
	var covering base.SeqNum
	if t.SeqNum() < m.newest {
		covering = m.mask.Ranges.Newest(m.key.UserKey, m.at)
	}
	if m.changed = t.SeqNum() < covering || t.Kind() == base.KindPutExpiring; m.changed {
		kind := base.KindDelete
		if m.value, ok = Show(t, m.Internal.Value(), covering, m.mask.Now); ok {
			kind = base.KindPut
		}
		m.key.Trailer = base.MakeTrailer(t.SeqNum(), kind)
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

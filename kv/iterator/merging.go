package iterator

import "tempestkv/kv/base"

// NewMerging returns the entries of all iters in the order of internal keys.
// Where two sources have the same internal key, that of the earlier source
// comes first. An error of any source ends the walk. It owns iters and closes
// them.
func NewMerging(cmp *base.Comparer, iters ...Internal) Internal {
	if len(iters) == 1 {
		return iters[0]
	}
	m := &merging{cmp: cmp, sources: make([]source, len(iters)), heap: make([]*source, 0, len(iters))}
	for i, it := range iters {
		m.sources[i] = source{it: it, rank: i}
	}
	return m
}

// source is an input of merging, with what comparing its current entry needs.
type source struct {
	it   Internal
	rank int
	abbr base.Abbreviation
	key  base.InternalKey
}

// merging holds the sources that are at an entry in a binary heap. Walking
// forward, the first of the heap is the current entry and every other source is at
// its first entry behind it; in reverse, at its last entry before it.
type merging struct {
	cmp     *base.Comparer
	sources []source
	heap    []*source
	reverse bool
	err     error
}

// before reports whether a is walked before b.
func (m *merging) before(a, b *source) bool {
	if a.abbr != b.abbr {
		return a.abbr.Less(b.abbr) != m.reverse
	}
	c := m.cmp.CompareInternal(a.key, b.key)
	if c == 0 {
		c = a.rank - b.rank
	}
	return (c < 0) != m.reverse
}

// load reads the entry that a move of s came to. It returns false where s has
// come to none, and notes an error.
func (m *merging) load(s *source, ok bool) bool {
	if !ok {
		if err := s.it.Error(); err != nil && m.err == nil {
			m.err = err
		}
		return false
	}
	s.key = s.it.Key()
	s.abbr = m.cmp.Abbreviate(s.key.UserKey)
	return true
}

// siftDown restores the heap below index i.
func (m *merging) siftDown(i int) {
	h := m.heap
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && m.before(h[child+1], h[child]) {
			child++
		}
		if !m.before(h[child], h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// build makes the heap after all sources were moved.
func (m *merging) build() bool {
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.siftDown(i)
	}
	return m.Valid()
}

// begin starts an absolute move.
func (m *merging) begin(reverse bool) {
	m.reverse, m.err, m.heap = reverse, nil, m.heap[:0]
}

func (m *merging) SeekGE(key []byte) bool {
	m.begin(false)
	for i := range m.sources {
		if s := &m.sources[i]; m.load(s, s.it.SeekGE(key)) {
			m.heap = append(m.heap, s)
		}
	}
	return m.build()
}

func (m *merging) SeekLT(key []byte) bool {
	m.begin(true)
	for i := range m.sources {
		if s := &m.sources[i]; m.load(s, s.it.SeekLT(key)) {
			m.heap = append(m.heap, s)
		}
	}
	return m.build()
}

func (m *merging) First() bool {
	m.begin(false)
	for i := range m.sources {
		if s := &m.sources[i]; m.load(s, s.it.First()) {
			m.heap = append(m.heap, s)
		}
	}
	return m.build()
}

func (m *merging) Last() bool {
	m.begin(true)
	for i := range m.sources {
		if s := &m.sources[i]; m.load(s, s.it.Last()) {
			m.heap = append(m.heap, s)
		}
	}
	return m.build()
}

func (m *merging) Next() bool {
	if m.err != nil {
		return false
	}
	if m.reverse {
		return m.turn()
	}
	if len(m.heap) == 0 {
		return false
	}
	s := m.heap[0]
	return m.advance(m.load(s, s.it.Next()))
}

func (m *merging) Prev() bool {
	if m.err != nil {
		return false
	}
	if !m.reverse {
		return m.turn()
	}
	if len(m.heap) == 0 {
		return false
	}
	s := m.heap[0]
	return m.advance(m.load(s, s.it.Prev()))
}

// advance restores the heap after its first source has moved to another entry,
// or to none.
func (m *merging) advance(ok bool) bool {
	if !ok {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	m.siftDown(0)
	return m.Valid()
}

// turn changes the direction and moves by one. Each source is at the current
// entry or at its neighbour on the one side of it, so a single step brings it
// to its neighbour on the other side; one that ran off an end comes back.
func (m *merging) turn() bool {
	m.reverse = !m.reverse
	m.heap = m.heap[:0]
	for i := range m.sources {
		s := &m.sources[i]
		var ok bool
		if m.reverse {
			ok = s.it.Prev()
		} else {
			ok = s.it.Next()
		}
		if m.load(s, ok) {
			m.heap = append(m.heap, s)
		}
	}
	return m.build()
}

func (m *merging) Valid() bool { return len(m.heap) > 0 && m.err == nil }

func (m *merging) Key() base.InternalKey { return m.heap[0].key }
func (m *merging) Value() []byte         { return m.heap[0].it.Value() }
func (m *merging) Error() error          { return m.err }

func (m *merging) Close() error {
	m.heap = m.heap[:0]
	for i := range m.sources {
		if err := m.sources[i].it.Close(); err != nil && m.err == nil {
			m.err = err
		}
	}
	return m.err
}

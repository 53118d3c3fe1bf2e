package iterator

import (
	"bytes"

	"tempestkv/kv/base"
)

// Merge walks all entries of several sources once, forward, in the order of
// internal keys: what NewMerging shows, for a fraction of the time where sources
// are Batchers. First must be its first move. Key and Value are valid until the
// next move. It belongs to one goroutine.
type Merge struct{ merge }

// NewMerge returns the entries of all sources. Where two have the same internal
// key, that of the earlier source comes first. An error of any source ends the
// walk. It owns the sources.
func NewMerge(cmp *base.Comparer, sources ...Internal) *Merge {
	return &Merge{newMerge(cmp, Bounds{}, sources)}
}

// First moves to the first entry. It returns false where there is none, or on an
// error.
func (m *Merge) First() bool { return m.Next() }

// Next moves to the next entry. It returns false at the end or on an error.
func (m *Merge) Next() bool {
	if (len(m.feeds) == 0 || m.feeds[0].pos == m.limit) && !m.stretch() {
		return false
	}
	m.feeds[0].pos++
	return true
}

// Key returns the key of the current entry, of which there must be one.
func (m *Merge) Key() base.InternalKey {
	s := m.feeds[0]
	return s.batch.internalKey(s.pos - 1)
}

// Value returns the value of the current entry, of which there must be one.
func (m *Merge) Value() []byte {
	s := m.feeds[0]
	e := &s.batch.Entries[s.pos-1]
	return s.batch.Values[e.ValueAt:e.ValueEnd]
}

// merge finds stretches of entries: it takes them from the sources in batches,
// and says how many of the first source's come before all others.
type merge struct {
	cmp    *base.Comparer
	bounds Bounds

	// feeds are a heap by the next entry of each. The first has its entries up
	// to limit before those of all others.
	feeds []*feed
	all   []feed
	limit int
	begun bool
	err   error
}

// feed is a source of merge.
type feed struct {
	it      Internal
	batcher Batcher // it, where it is one
	batch   Batch
	most    int // how many entries to take next
	pos     int // of the next entry in batch
	rank    int
	isLast  bool // nothing behind batch is within the bounds

	// abbr is of the next entry, behind of the one at limit, of the first in the
	// heap. A source alone has none.
	abbr, behind base.Abbreviation
}

// Batches grow from firstBatch entries to maxBatch: a short scan takes little
// too much.
const (
	firstBatch = 8
	maxBatch   = 128
)

func newMerge(cmp *base.Comparer, b Bounds, sources []Internal) merge {
	m := merge{cmp: cmp, bounds: b, all: make([]feed, len(sources))}
	for i, it := range sources {
		b, _ := it.(Batcher)
		m.all[i] = feed{it: it, batcher: b, rank: i, most: firstBatch}
	}
	return m
}

// isAbove reports whether key is behind the upper bound, of which there is one.
func (m *merge) isAbove(key []byte) bool {
	c := m.cmp.Compare(key, m.bounds.Upper)
	return c > 0 || c == 0 && !m.bounds.UpperInclusive
}

// seek moves a source to the first entry within the lower bound.
func (m *merge) seek(it Internal) bool {
	b := &m.bounds
	if b.Lower == nil {
		return it.First()
	}
	ok := it.SeekGE(b.Lower)
	for ok && b.LowerExclusive && bytes.Equal(it.Key().UserKey, b.Lower) {
		ok = it.Next()
	}
	return ok
}

// take gets the next batch of s after a move, which came to an entry if ok. It
// returns false where s has no more within the bounds, and notes an error.
func (m *merge) take(s *feed, ok bool) bool {
	if !ok {
		if err := s.it.Error(); err != nil && m.err == nil {
			m.err = err
		}
		return false
	}
	if s.batcher == nil {
		s.batch.setOne(s.it)
	} else {
		s.batcher.Batch(&s.batch, s.most)
		s.most = min(2*s.most, maxBatch)
	}
	s.pos = 0
	if m.bounds.Upper != nil {
		if n := len(s.batch.Entries); m.isAbove(s.batch.userKey(n - 1)) {
			s.isLast = true
			lo, hi := 0, n-1
			for lo < hi {
				if mid := int(uint(lo+hi) / 2); m.isAbove(s.batch.userKey(mid)) {
					hi = mid
				} else {
					lo = mid + 1
				}
			}
			if s.batch.Entries = s.batch.Entries[:lo]; lo == 0 {
				return false
			}
		}
	}
	return true
}

// before reports whether the next entry of a comes before that of b.
func (m *merge) before(a, b *feed) bool {
	if a.abbr != b.abbr {
		return a.abbr.Less(b.abbr)
	}
	return m.isLess(a, a.pos, b)
}

// isLess is before for entry i of a, where abbreviations do not tell.
func (m *merge) isLess(a *feed, i int, b *feed) bool {
	c := m.cmp.CompareInternal(a.batch.internalKey(i), b.batch.internalKey(b.pos))
	return c < 0 || c == 0 && a.rank < b.rank
}

func (m *merge) siftDown(i int) {
	h := m.feeds
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

// begin moves all sources to their first entries.
func (m *merge) begin() {
	m.begun = true
	m.feeds = make([]*feed, 0, len(m.all))
	for i := range m.all {
		s := &m.all[i]
		if m.take(s, m.seek(s.it)) {
			m.feeds = append(m.feeds, s)
		}
	}
	if len(m.feeds) > 1 {
		for _, s := range m.feeds {
			s.abbr = m.cmp.Abbreviate(s.batch.userKey(0))
		}
		for i := len(m.feeds)/2 - 1; i >= 0; i-- {
			m.siftDown(i)
		}
	}
}

// stretch finds the next entries that are before those of all other sources,
// after the current ones were gone through.
func (m *merge) stretch() bool {
	if m.err != nil {
		return false
	}
	if !m.begun {
		m.begin()
	} else if len(m.feeds) > 0 {
		s := m.feeds[0]
		if s.pos < len(s.batch.Entries) {
			s.abbr = s.behind
		} else if !s.isLast && m.take(s, s.it.Next()) {
			if len(m.feeds) > 1 {
				s.abbr = m.cmp.Abbreviate(s.batch.userKey(0))
			}
		} else {
			n := len(m.feeds) - 1
			m.feeds[0] = m.feeds[n]
			m.feeds = m.feeds[:n]
		}
		m.siftDown(0)
	}
	if m.err != nil || len(m.feeds) == 0 {
		m.limit = 0
		m.feeds = m.feeds[:0]
		return false
	}
	m.reach()
	return true
}

// reach sets limit. It gallops, since sources take turns at every entry, or
// hardly ever.
func (m *merge) reach() {
	s := m.feeds[0]
	lo, hi := s.pos, len(s.batch.Entries)
	m.limit = hi
	if len(m.feeds) == 1 || lo+1 == hi {
		return
	}
	other := m.feeds[1]
	if len(m.feeds) > 2 && m.before(m.feeds[2], other) {
		other = m.feeds[2]
	}
	// Entry lo is before other. Entry hi is not, where there is one.
	for step := 1; lo+1 < hi; {
		i := lo + step
		if i >= hi {
			i = int(uint(lo+hi) / 2)
		}
		abbr := m.cmp.Abbreviate(s.batch.userKey(i))
		if abbr.Less(other.abbr) || abbr == other.abbr && m.isLess(s, i, other) {
			lo = i
			step *= 2
		} else {
			hi, s.behind = i, abbr
		}
	}
	m.limit = hi
}

// Error returns what ended the walk, nil if there are no more entries.
func (m *merge) Error() error { return m.err }

// Close closes the sources. Twice is fine. It returns the first error.
func (m *merge) Close() error {
	m.begun, m.feeds, m.limit = true, nil, 0
	for i := range m.all {
		if err := m.all[i].it.Close(); err != nil && m.err == nil {
			m.err = err
		}
	}
	return m.err
}

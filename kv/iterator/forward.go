package iterator

import (
	"bytes"

	"tempestkv/kv/base"
)

// forward is the stack of NewUser in one piece, for walks from the first entry
// to the last with a comparer without suffixes. A layer costs a scan as much as
// reading a row does, so here is none between the sources and the run: it takes
// entries from the sources in batches, finds how many of the first source's come
// before all others, and looks at these in one loop.
type forward struct {
	cmp    *base.Comparer
	at     base.SeqNum
	bounds Bounds
	filter Filter
	mask   *Mask

	// newest is a sequence number from which on no range tombstone hides an
	// entry.
	newest base.SeqNum

	// feeds are a heap by the next entry of each. The first has its entries up
	// to limit before those of all others.
	feeds []*feed
	all   []feed
	limit int
	begun bool

	// last is the user key of which the newest version that is seen was met,
	// and lies in the batch of a feed or in kept.
	last    []byte
	hasLast bool
	kept    []byte

	err error
}

// feed is a source of forward.
type feed struct {
	it      Internal
	batcher Batcher // it, where it is one
	batch   Batch
	most    int // how many entries to take next
	pos     int // of the next entry in batch
	rank    int
	isLast  bool // nothing behind batch is within the bounds
	abbr    base.Abbreviation
}

// Batches grow from firstBatch entries to maxBatch: a short scan takes little
// too much.
const (
	firstBatch = 8
	maxBatch   = 128
)

func newForward(cmp *base.Comparer, o UserOptions, sources []Internal) *forward {
	f := &forward{cmp: cmp, at: o.At, bounds: o.Bounds, filter: o.Filter, mask: o.Mask, all: make([]feed, len(sources))}
	if f.mask != nil && f.mask.Ranges != nil {
		f.newest = min(f.mask.Ranges.LargestSeq(), f.at)
	}
	for i, it := range sources {
		b, _ := it.(Batcher)
		f.all[i] = feed{it: it, batcher: b, rank: i, most: firstBatch}
	}
	return f
}

// isAbove reports whether key is behind the upper bound, of which there is one.
func (f *forward) isAbove(key []byte) bool {
	c := f.cmp.Compare(key, f.bounds.Upper)
	return c > 0 || c == 0 && !f.bounds.UpperInclusive
}

// seek moves a source to the first entry within the lower bound.
func (f *forward) seek(it Internal) bool {
	b := &f.bounds
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
func (f *forward) take(s *feed, ok bool) bool {
	if !ok {
		if err := s.it.Error(); err != nil && f.err == nil {
			f.err = err
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
	if f.bounds.Upper != nil {
		if n := len(s.batch.Entries); f.isAbove(s.batch.userKey(n - 1)) {
			s.isLast = true
			lo, hi := 0, n-1
			for lo < hi {
				if mid := int(uint(lo+hi) / 2); f.isAbove(s.batch.userKey(mid)) {
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
func (f *forward) before(a, b *feed) bool {
	if a.abbr != b.abbr {
		return a.abbr.Less(b.abbr)
	}
	return f.isBefore(a, a.pos, b)
}

// isBefore reports whether entry i of a comes before the next of b.
func (f *forward) isBefore(a *feed, i int, b *feed) bool {
	c := f.cmp.CompareInternal(a.batch.internalKey(i), b.batch.internalKey(b.pos))
	return c < 0 || c == 0 && a.rank < b.rank
}

func (f *forward) siftDown(i int) {
	h := f.feeds
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && f.before(h[child+1], h[child]) {
			child++
		}
		if !f.before(h[child], h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// begin moves all sources to their first entries.
func (f *forward) begin() {
	f.begun = true
	f.feeds = make([]*feed, 0, len(f.all))
	for i := range f.all {
		s := &f.all[i]
		if f.take(s, f.seek(s.it)) {
			f.feeds = append(f.feeds, s)
		}
	}
	if len(f.feeds) > 1 {
		for _, s := range f.feeds {
			s.abbr = f.cmp.Abbreviate(s.batch.userKey(0))
		}
		for i := len(f.feeds)/2 - 1; i >= 0; i-- {
			f.siftDown(i)
		}
	}
}

// stretch finds the next entries that are before those of all other sources,
// after the current ones were gone through.
func (f *forward) stretch() bool {
	if f.err != nil {
		return false
	}
	if !f.begun {
		f.begin()
	} else if len(f.feeds) > 0 {
		s := f.feeds[0]
		if s.pos == len(s.batch.Entries) {
			f.keepLast()
			if s.isLast || !f.take(s, s.it.Next()) {
				n := len(f.feeds) - 1
				f.feeds[0] = f.feeds[n]
				f.feeds = f.feeds[:n]
			}
		}
		if len(f.feeds) > 1 {
			s = f.feeds[0]
			s.abbr = f.cmp.Abbreviate(s.batch.userKey(s.pos))
			f.siftDown(0)
		}
	}
	if f.err != nil || len(f.feeds) == 0 {
		f.limit = 0
		f.feeds = f.feeds[:0]
		return false
	}
	f.reach()
	return true
}

// keepLast copies last, since the batch it lies in may be about to change.
func (f *forward) keepLast() {
	f.kept = append(f.kept[:0], f.last...)
	f.last = f.kept
}

// reach sets limit. It gallops, since sources take turns at every entry, or
// hardly ever.
func (f *forward) reach() {
	s := f.feeds[0]
	lo, hi := s.pos, len(s.batch.Entries)
	f.limit = hi
	if len(f.feeds) == 1 || lo+1 == hi {
		return
	}
	other := f.feeds[1]
	if len(f.feeds) > 2 && f.before(f.feeds[2], other) {
		other = f.feeds[2]
	}
	for step := 1; lo+step < hi; step *= 2 {
		if f.isBefore(s, lo+step, other) {
			lo += step
		} else {
			hi = lo + step
		}
	}
	for lo+1 < hi {
		if mid := int(uint(lo+hi) / 2); f.isBefore(s, mid, other) {
			lo = mid
		} else {
			hi = mid
		}
	}
	f.limit = hi
}

// next returns the next entry that the reader sees, valid until the next call.
func (f *forward) next() (key, value []byte, ok bool) {
	for {
		if len(f.feeds) > 0 {
			s := f.feeds[0]
			for s.pos < f.limit {
				e := &s.batch.Entries[s.pos]
				s.pos++
				t := e.Trailer
				if t.SeqNum() > f.at {
					continue
				}
				key = s.batch.Keys[e.KeyAt:e.KeyEnd]
				if f.hasLast && isSame(key, f.last) {
					continue
				}
				f.last, f.hasLast = key, true
				value = s.batch.Values[e.ValueAt:e.ValueEnd]
				if f.mask != nil {
					t, value = f.see(key, t, value)
				}
				if t.Kind() != base.KindDelete && (f.filter == nil || f.filter(base.InternalKey{UserKey: key, Trailer: t}, value)) {
					return key, value, true
				}
			}
		}
		if !f.stretch() {
			return nil, nil, false
		}
	}
}

// isSame compares user keys, which mostly differ in their last byte.
func isSame(a, b []byte) bool {
	n := len(a)
	return n == len(b) && (n == 0 || a[n-1] == b[n-1] && bytes.Equal(a, b))
}

// see returns an entry as the mask shows it.
func (f *forward) see(key []byte, t base.Trailer, value []byte) (base.Trailer, []byte) {
	var covering base.SeqNum
	if t.SeqNum() < f.newest {
		covering = f.mask.Ranges.Newest(key, f.at)
	}
	if t.SeqNum() >= covering && t.Kind() != base.KindPutExpiring {
		return t, value
	}
	value, live := Show(t, value, covering, f.mask.Now)
	kind := base.KindDelete
	if live {
		kind = base.KindPut
	}
	return base.MakeTrailer(t.SeqNum(), kind), value
}

func (f *forward) Append(dst []byte, bytes, count int, keysOnly bool) (run []byte, n int) {
	for n < count && len(dst) < bytes {
		key, value, ok := f.next()
		if !ok {
			break
		}
		if keysOnly {
			value = nil
		}
		dst = appendRow(dst, key, value)
		n++
	}
	return dst, n
}

func (f *forward) Skip(count int) int {
	n := 0
	for n < count {
		if _, _, ok := f.next(); !ok {
			break
		}
		n++
	}
	return n
}

func (f *forward) Error() error { return f.err }

func (f *forward) Close() error {
	f.begun, f.feeds, f.limit, f.last = true, nil, 0, nil
	for i := range f.all {
		if err := f.all[i].it.Close(); err != nil && f.err == nil {
			f.err = err
		}
	}
	return f.err
}

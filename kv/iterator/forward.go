package iterator

import (
	"bytes"

	"tempestkv/kv/base"
)

// forward is the stack of NewUser in one piece, for walks from the first entry
// to the last with a comparer without suffixes. A layer costs a scan as much as
// reading a row does, so here is none between merge and the run: one loop looks
// at all entries of a stretch.
type forward struct {
	merge
	at     base.SeqNum
	filter Filter
	mask   *maskAt // nil for none

	// last is the user key of which the newest version that is seen was met,
	// and lies in the batch of a feed or in kept.
	last    []byte
	hasLast bool
	kept    []byte
}

func newForward(cmp *base.Comparer, o UserOptions, sources []Internal) *forward {
	f := &forward{merge: newMerge(cmp, o.Bounds, sources), at: o.At, filter: o.Filter}
	if o.Mask != nil {
		m := newMaskAt(*o.Mask, o.At)
		f.mask = &m
	}
	return f
}

// keepLast copies last, since the batch it lies in may be about to change.
func (f *forward) keepLast() {
	f.kept = append(f.kept[:0], f.last...)
	f.last = f.kept
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
					if covering, mayDiffer := f.mask.covering(key, t); mayDiffer {
						t, value = f.mask.see(t, value, covering)
					}
				}
				if t.Kind() != base.KindDelete && (f.filter == nil || f.filter(base.InternalKey{UserKey: key, Trailer: t}, value)) {
					return key, value, true
				}
			}
			if s.pos == len(s.batch.Entries) {
				f.keepLast()
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

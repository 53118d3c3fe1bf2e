package rangedel

import (
	"slices"
	"unsafe"

	"tempestkv/kv/base"
)

// maxRecent is how many tombstones a List looks at one by one.
const maxRecent = 32

// List takes tombstones one by one. Adding one costs little, also among many and
// where gets and clears alternate: the latest are a plain list, and become a set
// once they are many; sets of like size become one. A List belongs to one
// goroutine; the sets that it hands out are for any.
type List struct {
	cmp    *base.Comparer
	sets   []*Set // each more than twice the one behind it
	recent []Tombstone
	newest base.SeqNum

	// view is what View returned, nil where a tombstone was added since.
	view []*Set
}

// NewList returns an empty list for keys in the order of cmp.
func NewList(cmp *base.Comparer) *List { return &List{cmp: cmp} }

// Add adds a tombstone, newer than those there are, and copies its bytes.
// snapshots are the sequence numbers that are still read at, other than from
// now on, in any order; see New.
func (l *List) Add(t Tombstone, snapshots []base.SeqNum) {
	if l.cmp.Compare(t.Start, t.End) >= 0 {
		return
	}
	n := len(t.Start)
	own := append(append(make([]byte, 0, n+len(t.End)), t.Start...), t.End...)
	l.recent = append(l.recent, Tombstone{own[:n:n], own[n:], t.Seq})
	l.newest, l.view = t.Seq, nil
	if len(l.recent) <= maxRecent {
		return
	}
	s := New(l.cmp, l.recent, snapshots)
	clear(l.recent)
	l.recent = l.recent[:0]
	for n := len(l.sets) - 1; n >= 0 && len(l.sets[n].points) <= 2*len(s.points); n-- {
		s = New(l.cmp, Tombstones(l.sets[n], s), snapshots)
		l.sets = l.sets[:n]
	}
	l.sets = append(l.sets, s)
}

// Empty reports whether no key is covered.
func (l *List) Empty() bool { return l.newest == 0 }

// LargestSeq returns the sequence number of the newest tombstone, 0 for none.
func (l *List) LargestSeq() base.SeqNum { return l.newest }

// ApproximateBytes returns about what the list takes in memory, in bytes.
func (l *List) ApproximateBytes() int {
	n := 0
	for _, s := range l.sets {
		n += len(s.keys) + int(unsafe.Sizeof(point{}))*len(s.points) + int(unsafe.Sizeof(base.SeqNum(0)))*len(s.seqs)
	}
	for _, t := range l.recent {
		n += int(unsafe.Sizeof(t)) + len(t.Start) + len(t.End)
	}
	return n
}

// Newest returns the sequence number of the newest tombstone over key that is
// not above at, 0 where there is none. It does not allocate.
func (l *List) Newest(key []byte, at base.SeqNum) base.SeqNum {
	for i := len(l.recent) - 1; i >= 0; i-- {
		t := &l.recent[i]
		if t.Seq <= at && l.cmp.Compare(t.Start, key) <= 0 && l.cmp.Compare(key, t.End) < 0 {
			return t.Seq // those in sets are older
		}
	}
	var newest base.SeqNum
	for _, s := range l.sets {
		if s.newest > newest {
			newest = max(newest, s.Newest(key, at))
		}
	}
	return newest
}

// View returns what the list has now as sets, which no sequence number is in two
// of. The slice must not be changed; until the next Add it is always the same.
func (l *List) View() []*Set {
	if l.view == nil && !l.Empty() {
		// Nobody says which snapshots there are, so it tells all apart.
		seqs := make([]base.SeqNum, len(l.recent))
		for i, t := range l.recent {
			seqs[i] = t.Seq
		}
		l.view = slices.Clone(l.sets)
		if s := New(l.cmp, l.recent, seqs); s != nil {
			l.view = append(l.view, s)
		}
	}
	return l.view
}

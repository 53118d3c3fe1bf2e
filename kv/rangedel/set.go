package rangedel

import (
	"slices"
	"sort"

	"tempestkv/kv/base"
)

// Tombstone hides the versions below sequence number Seq of the user keys from
// Start on and before End. No two have one sequence number.
type Tombstone struct {
	Start, End []byte
	Seq        base.SeqNum
}

// Set answers which tombstone of some is the newest over a key. It does not
// change, and any number of goroutines may read it. A nil Set is empty.
//
// A fragment goes from one point to the next. The points' keys lie in one slice
// and their sequence numbers in another, so that the garbage collector has
// little to follow.
type Set struct {
	cmp    *base.Comparer
	points []point // with ascending keys; the last one has no sequence numbers
	keys   []byte
	seqs   []base.SeqNum
	newest base.SeqNum
}

// point is where a fragment begins: its key ends at keys[key], and its sequence
// numbers, newest first, at seqs[seq]. Both begin where those of the point before
// end.
type point struct{ key, seq int }

// New returns the set of the tombstones, in any order, of which it copies the
// bytes; nil where none covers a key. Of the sequence numbers over a key it keeps
// those that a reader can tell apart: the newest of all, and for each of
// snapshots, in any order, the newest that is not above it. So it must be asked
// only for one of snapshots, or for a sequence number that is not below those of
// the tombstones.
func New(cmp *base.Comparer, tombstones []Tombstone, snapshots []base.SeqNum) *Set {
	ts := make([]Tombstone, 0, len(tombstones))
	bounds := make([][]byte, 0, 2*len(tombstones))
	for _, t := range tombstones {
		if cmp.Compare(t.Start, t.End) < 0 {
			ts = append(ts, t)
			bounds = append(bounds, t.Start, t.End)
		}
	}
	if len(ts) == 0 {
		return nil
	}
	sort.Slice(bounds, func(i, j int) bool { return cmp.Compare(bounds[i], bounds[j]) < 0 })
	bounds = slices.CompactFunc(bounds, func(a, b []byte) bool { return cmp.Compare(a, b) == 0 })
	sort.Slice(ts, func(i, j int) bool { return ts[i].Seq > ts[j].Seq })
	snapshots = slices.Clone(snapshots)
	sort.Slice(snapshots, func(i, j int) bool { return snapshots[i] < snapshots[j] })
	return assemble(cmp, bounds, paint(cmp, ts, bounds, snapshots))
}

// layer is a sequence number over the fragment that begins at a bound.
type layer struct {
	bound int
	seq   base.SeqNum
}

// paint returns the sequence numbers over each fragment, newest first. ts has
// the newest first; what a newer tombstone of the same snapshots has covered is
// passed over.
func paint(cmp *base.Comparer, ts []Tombstone, bounds [][]byte, snapshots []base.SeqNum) []layer {
	var layers []layer
	// open[i] leads to the first fragment from i on that is not covered. The
	// last bound begins none, and so ends every search.
	open := make([]int, len(bounds))
	find := func(i int) int {
		for open[i] != i {
			open[i] = open[open[i]]
			i = open[i]
		}
		return i
	}
	oldest := len(snapshots) // of snapshots, the first that sees the tombstone
	for n, t := range ts {
		sees := sort.Search(oldest, func(i int) bool { return snapshots[i] >= t.Seq })
		if n == 0 || sees != oldest {
			for i := range open {
				open[i] = i
			}
		}
		oldest = sees
		start := sort.Search(len(bounds), func(i int) bool { return cmp.Compare(bounds[i], t.Start) >= 0 })
		end := sort.Search(len(bounds), func(i int) bool { return cmp.Compare(bounds[i], t.End) >= 0 })
		for i := find(start); i < end; i = find(i) {
			layers = append(layers, layer{i, t.Seq})
			open[i] = i + 1
		}
	}
	return layers
}

// assemble returns the set of what paint made. Neighbours of the same sequence
// numbers become one fragment.
func assemble(cmp *base.Comparer, bounds [][]byte, layers []layer) *Set {
	ends := make([]int, len(bounds)) // of each bound's sequence numbers in seqs
	for _, l := range layers {
		ends[l.bound]++
	}
	n := 0
	for i, count := range ends {
		ends[i] = n // where they begin, until all are there
		n += count
	}
	seqs := make([]base.SeqNum, n)
	for _, l := range layers {
		seqs[ends[l.bound]] = l.seq
		ends[l.bound]++
	}
	s := &Set{cmp: cmp, newest: layers[0].seq}
	var before []base.SeqNum
	start := 0
	for i, end := range ends {
		own := seqs[start:end]
		start = end
		if slices.Equal(own, before) {
			continue
		}
		before = own
		s.keys = append(s.keys, bounds[i]...)
		s.seqs = append(s.seqs, own...)
		s.points = append(s.points, point{len(s.keys), len(s.seqs)})
	}
	return s
}

// Empty reports whether no key is covered.
func (s *Set) Empty() bool { return s == nil }

// Len returns how many sequence numbers the set has, over all its fragments.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.seqs)
}

// LargestSeq returns the sequence number of the newest tombstone, 0 for none.
func (s *Set) LargestSeq() base.SeqNum {
	if s == nil {
		return 0
	}
	return s.newest
}

// Newest returns the sequence number of the newest tombstone over key that is
// not above at, 0 where there is none. It does not allocate.
func (s *Set) Newest(key []byte, at base.SeqNum) base.SeqNum {
	if s == nil {
		return 0
	}
	return s.newestOf(s.find(key), at)
}

// NewestIn returns the sequence number of the newest tombstone over any key from
// lower on and before upper, or up to it if inclusive; 0 where there is none. A
// nil bound is none. Where there is no key between the bounds it may say more.
func (s *Set) NewestIn(lower, upper []byte, inclusive bool) base.SeqNum {
	var newest base.SeqNum
	if s == nil {
		return newest
	}
	i := 0
	if lower != nil {
		i = max(0, s.find(lower))
	}
	for ; i < len(s.points); i++ {
		if upper != nil {
			if c := s.cmp.Compare(s.key(i), upper); c > 0 || c == 0 && !inclusive {
				break
			}
		}
		newest = max(newest, s.newestOf(i, base.MaxSeqNum))
	}
	return newest
}

// newestOf is Newest for the keys of the fragment that begins at point i.
func (s *Set) newestOf(i int, at base.SeqNum) base.SeqNum {
	if i < 0 {
		return 0
	}
	for _, seq := range s.over(i) {
		if seq <= at {
			return seq
		}
	}
	return 0
}

// find returns the index of the point at or before key, -1 where there is none.
func (s *Set) find(key []byte) int {
	lo, hi := -1, len(s.points)
	for lo+1 < hi {
		if mid := int(uint(lo+hi) / 2); s.cmp.Compare(s.key(mid), key) <= 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// key returns the key of point i.
func (s *Set) key(i int) []byte {
	start := 0
	if i > 0 {
		start = s.points[i-1].key
	}
	end := s.points[i].key
	return s.keys[start:end:end]
}

// over returns the sequence numbers of the fragment that begins at point i.
func (s *Set) over(i int) []base.SeqNum {
	start := 0
	if i > 0 {
		start = s.points[i-1].seq
	}
	return s.seqs[start:s.points[i].seq]
}

// Tombstones returns tombstones that make up the sets, which have no sequence
// number in common; one for each sequence number, oldest first. They share the
// sets' bytes. New of them, with the snapshots there are now, may need fewer.
func Tombstones(sets ...*Set) []Tombstone {
	var out []Tombstone
	for _, s := range sets {
		out = s.appendTombstones(out)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Seq < out[j].Seq })
	return out
}

// appendTombstones appends the set's tombstones, in no order. A tombstone that
// newer ones cut in parts comes back whole: it did cover what lies between.
func (s *Set) appendTombstones(dst []Tombstone) []Tombstone {
	if s == nil {
		return dst
	}
	var layers []layer
	for i := range s.points {
		for _, seq := range s.over(i) {
			layers = append(layers, layer{i, seq})
		}
	}
	sort.Slice(layers, func(i, j int) bool {
		a, b := layers[i], layers[j]
		return a.seq < b.seq || a.seq == b.seq && a.bound < b.bound
	})
	for i, l := range layers {
		if i == 0 || layers[i-1].seq != l.seq {
			dst = append(dst, Tombstone{Start: s.key(l.bound), Seq: l.seq})
		}
		dst[len(dst)-1].End = s.key(l.bound + 1)
	}
	return dst
}

package memtable

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"tempestkv/kv/base"
)

// run is all that a table had at one moment, in order. Whoever reads it first
// puts it in order: the goroutine of a flush or of a scan most often, and not
// the owner of the table.
type run struct {
	cmp    *base.Comparer
	chunks [][]byte
	ends   []uint32
	count  int

	sorting sync.Mutex
	sorted  atomic.Pointer[[]item]
}

// newRun returns what a has now, which is count entries.
func newRun(a *arena, count int) *run {
	return &run{cmp: a.cmp, chunks: a.chunks, ends: slices.Clone(a.ends), count: count}
}

// items returns the run's items in order. They must not be changed.
func (r *run) items() []item {
	if p := r.sorted.Load(); p != nil {
		return *p
	}
	r.sorting.Lock()
	// Deferred, since a comparer that panics must not leave it locked.
	defer r.sorting.Unlock()
	if p := r.sorted.Load(); p != nil {
		return *p
	}
	items := make([]item, 0, r.count)
	for i := range r.chunks {
		items = appendItems(items, r.cmp, r.chunks, uint32(i), 0, r.ends[i])
	}
	s := &sorter{cmp: r.cmp, chunks: r.chunks, isBytewise: r.cmp == base.Bytewise}
	s.sort(items, make([]item, len(items)), level{})
	r.sorted.Store(&items)
	return items
}

// search returns the index of the first of the sorted items that is before
// neither key nor, where the key is the same, trailer.
func search(cmp *base.Comparer, chunks [][]byte, items []item, key []byte, trailer base.Trailer) int {
	abbr := cmp.Abbreviate(key)
	from, to := 0, len(items)
	for from < to {
		middle := int(uint(from+to) >> 1)
		x := &items[middle]
		isBefore := x.abbr.Less(abbr)
		if x.abbr == abbr {
			c := cmp.Compare(keyOf(chunks, x), key)
			isBefore = c < 0 || c == 0 && x.trailer > trailer
		}
		if isBefore {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from
}

// compareItems orders items like their internal keys, which no two share.
func compareItems(cmp *base.Comparer, chunks [][]byte, x, y *item) int {
	if x.abbr != y.abbr {
		if x.abbr.Less(y.abbr) {
			return -1
		}
		return 1
	}
	if c := cmp.Compare(keyOf(chunks, x), keyOf(chunks, y)); c != 0 {
		return c
	}
	if x.trailer > y.trailer {
		return -1
	}
	return 1
}

const (
	// fewItems are sorted by insertion.
	fewItems = 12

	// maxDigitBits bounds the table of counts.
	maxDigitBits = 11

	// maxDepth is how often keys are abbreviated anew. Recursion stays shallow:
	// in WebAssembly it takes the host's stack.
	maxDepth = 8

	// stepItems is after how many items sorting gives way to other goroutines,
	// which matters where there is one thread: there it is at most some
	// milliseconds.
	stepItems = 8192
)

// sorter sorts items: from the first bit on in which abbreviations differ, by
// one digit of them after another, and by whole keys where that ends.
type sorter struct {
	cmp        *base.Comparer
	chunks     [][]byte
	isBytewise bool
	done       int // items since it gave way
	counts     [1 << maxDigitBits]uint32
}

// level is how far into the keys sorting has come: the abbreviations are of
// what follows from on.
type level struct{ depth, from int }

// sort sorts items. It needs as much space in scratch.
func (s *sorter) sort(items, scratch []item, l level) {
	if len(items) <= fewItems {
		s.insert(items)
		return
	}
	s.giveWay(len(items))
	first := items[0].abbr
	var differ base.Abbreviation
	isSorted := true
	for i := 1; i < len(items); i++ {
		abbr := &items[i].abbr
		differ.Hi |= abbr.Hi ^ first.Hi
		differ.Lo |= abbr.Lo ^ first.Lo
		isSorted = isSorted && items[i-1].abbr.Less(*abbr)
	}
	if isSorted {
		return
	}
	bitsLeft, inLo := bits.Len64(differ.Hi), false
	if bitsLeft == 0 {
		bitsLeft, inLo = bits.Len64(differ.Lo), true
	}
	if bitsLeft == 0 {
		s.sortSame(items, scratch, l)
		return
	}
	digitBits := min(bits.Len(uint(len(items)))-2, maxDigitBits, bitsLeft)
	d := digits{inLo: inLo, shift: uint(bitsLeft - digitBits), mask: 1<<digitBits - 1}
	s.distribute(items, scratch, d)
	for from := 0; from < len(items); {
		to := from + 1
		for digit := d.of(&items[from]); to < len(items) && d.of(&items[to]) == digit; {
			to++
		}
		s.sort(items[from:to], scratch[from:to], l)
		from = to
	}
}

// digits picks a digit from abbreviations.
type digits struct {
	inLo  bool
	shift uint
	mask  uint64
}

func (d *digits) of(it *item) uint64 {
	word := it.abbr.Hi
	if d.inLo {
		word = it.abbr.Lo
	}
	return word >> (d.shift & 63) & d.mask
}

// distribute sorts items by a digit.
func (s *sorter) distribute(items, scratch []item, d digits) {
	counts := s.counts[:d.mask+1]
	clear(counts)
	for i := range items {
		counts[d.of(&items[i])]++
	}
	var sum uint32
	for i, n := range counts {
		counts[i] = sum
		sum += n
	}
	for i := range items {
		at := &counts[d.of(&items[i])]
		scratch[*at] = items[i]
		*at++
	}
	copy(items, scratch)
}

// sortSame sorts items of one abbreviation. Where keys order as bytes, what
// they share says nothing, and they are abbreviated from there on.
func (s *sorter) sortSame(items, scratch []item, l level) {
	const abbreviated = 16
	if s.isBytewise && l.depth < maxDepth {
		if shared := s.sharedBytes(items, l.from); shared >= l.from+abbreviated {
			abbr := items[0].abbr
			for i := range items {
				items[i].abbr = s.cmp.Abbreviate(keyOf(s.chunks, &items[i])[shared:])
			}
			s.sort(items, scratch, level{l.depth + 1, shared})
			for i := range items {
				items[i].abbr = abbr
			}
			return
		}
	}
	s.merge(items, scratch)
}

// merge sorts items by their keys alone. slices.SortFunc is no faster here, and
// takes 4 kB of what pages download.
func (s *sorter) merge(items, scratch []item) {
	if len(items) <= fewItems {
		s.insert(items)
		return
	}
	s.giveWay(len(items))
	middle := len(items) / 2
	s.merge(items[:middle], scratch)
	s.merge(items[middle:], scratch)
	if compareItems(s.cmp, s.chunks, &items[middle-1], &items[middle]) < 0 {
		return
	}
	left := scratch[:copy(scratch, items[:middle])]
	for at, right := 0, middle; len(left) > 0; at++ {
		if right < len(items) && compareItems(s.cmp, s.chunks, &items[right], &left[0]) < 0 {
			items[at] = items[right]
			right++
		} else {
			items[at] = left[0]
			left = left[1:]
		}
	}
}

// giveWay lets other goroutines run now and then. It is told of how many items
// come next.
func (s *sorter) giveWay(count int) {
	if s.done += count; s.done > stepItems {
		s.done = 0
		runtime.Gosched()
	}
}

// sharedBytes returns the length of what the keys of items have in common, of
// which so many bytes are known to be.
func (s *sorter) sharedBytes(items []item, known int) int {
	first := keyOf(s.chunks, &items[0])
	n := len(first)
	for i := 1; i < len(items); i++ {
		key := keyOf(s.chunks, &items[i])
		n = min(n, len(key))
		for j := known; j < n; j++ {
			if key[j] != first[j] {
				n = j
			}
		}
	}
	return n
}

// insert sorts a few items.
func (s *sorter) insert(items []item) {
	for i := 1; i < len(items); i++ {
		x := items[i]
		j := i
		for ; j > 0; j-- {
			y := &items[j-1]
			if x.abbr.Hi > y.abbr.Hi || x.abbr.Hi == y.abbr.Hi && compareItems(s.cmp, s.chunks, &x, y) > 0 {
				break
			}
			items[j] = *y
		}
		items[j] = x
	}
}

package memtable

import (
	"github.com/google/btree"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// View is a table as it was at one moment. It never changes, and any number of
// goroutines may read it.
type View struct {
	arena    *arena
	tree     *btree.BTreeG[item]
	chunks   [][]byte
	min, max item
}

// closedView is what a closed iterator reads.
var closedView = &View{tree: btree.NewG(degree, func(item, item) bool { return false })}

// Len returns how many entries the view has, all versions counted.
func (v *View) Len() int { return v.tree.Len() }

// NewIter returns an iterator over the view. The bytes it hands out stay as
// they are as long as anybody holds them, longer than the contract asks.
func (v *View) NewIter() iterator.Internal {
	it := &iter{view: v}
	it.buf = it.small[:0]
	it.take = it.collect
	return it
}

// Read-ahead grows from firstRun items to maxRun, doubling with each run that
// continues the one before: a short scan reads little too much, a long one
// descends the tree rarely.
const (
	firstRun = 4
	maxRun   = 128
)

// place tells where an iterator without an entry is.
type place uint8

const (
	unpositioned place = iota
	beforeFirst
	onEntry
	afterLast
)

// iter walks a view. The tree offers callbacks only, no cursor, so iter reads
// ahead runs of items and steps through them.
type iter struct {
	view *View

	// buf is a run of neighbours in the tree: ascending, or descending where
	// reverse is set. pos is the current one while place is onEntry.
	buf     []item
	pos     int
	reverse bool
	place   place

	// more says whether the tree may go on behind the end of buf.
	more bool

	// run is how many items to read next.
	run int

	// pivot, where set, is the item a run continues from; it is not part of
	// the run itself.
	pivot    item
	hasPivot bool

	// take is collect, bound once: a method value allocates.
	take btree.ItemIteratorG[item]

	// small is the buffer of short scans.
	small [4 * firstRun]item
}

var _ iterator.Internal = (*iter)(nil)

// collect adds an item to the run and reports whether it wants another.
func (it *iter) collect(x item) bool {
	if it.hasPivot {
		it.hasPivot = false
		if x == it.pivot {
			return true
		}
	}
	it.buf = append(it.buf, x)
	return len(it.buf) < it.run
}

// begin prepares buf for a run, of which the first after an absolute move is
// short.
func (it *iter) begin(reverse, absolute bool) {
	if absolute {
		it.run = firstRun
	} else {
		it.run = min(2*it.run, maxRun)
	}
	if it.run > cap(it.buf) {
		it.buf = make([]item, 0, maxRun)
	}
	it.buf = it.buf[:0]
	it.reverse = reverse
	it.hasPivot = false
}

// end makes the first item of the run the current one, if there is any.
func (it *iter) end() bool {
	it.pos = 0
	it.more = len(it.buf) == it.run
	switch {
	case len(it.buf) > 0:
		it.place = onEntry
	case it.reverse:
		it.place = beforeFirst
	default:
		it.place = afterLast
	}
	return it.place == onEntry
}

// continueFrom reads the run that follows pivot, which is in the tree.
func (it *iter) continueFrom(pivot item, reverse bool) bool {
	it.begin(reverse, false)
	it.pivot, it.hasPivot = pivot, true
	if reverse {
		it.view.tree.DescendLessOrEqual(pivot, it.take)
	} else {
		it.view.tree.AscendGreaterOrEqual(pivot, it.take)
	}
	return it.end()
}

// seek reads the run that starts at key, or before it in reverse.
func (it *iter) seek(key []byte, reverse bool) bool {
	it.begin(reverse, true)
	v := it.view
	if v.tree.Len() == 0 {
		return it.end()
	}
	// The probe sorts before every version of key, and equals none.
	probe := item{abbr: v.arena.cmp.Abbreviate(key), trailer: ^base.Trailer(0), ref: refProbe}
	v.arena.probeMu.Lock()
	// Deferred, since a comparer that panics must not leave it locked.
	defer v.arena.probeMu.Unlock()
	v.arena.probe = key
	switch belowAll, aboveAll := v.arena.less(probe, v.min), v.arena.less(v.max, probe); {
	case reverse && aboveAll:
		v.tree.Descend(it.take)
	case reverse && !belowAll:
		v.tree.DescendLessOrEqual(probe, it.take)
	case !reverse && belowAll:
		v.tree.Ascend(it.take)
	case !reverse && !aboveAll:
		v.tree.AscendGreaterOrEqual(probe, it.take)
	}
	v.arena.probe = nil
	return it.end()
}

func (it *iter) SeekGE(key []byte) bool { return it.seek(key, false) }
func (it *iter) SeekLT(key []byte) bool { return it.seek(key, true) }

func (it *iter) First() bool {
	it.begin(false, true)
	it.view.tree.Ascend(it.take)
	return it.end()
}

func (it *iter) Last() bool {
	it.begin(true, true)
	it.view.tree.Descend(it.take)
	return it.end()
}

func (it *iter) Next() bool {
	switch it.place {
	case onEntry:
		return it.step(false)
	case beforeFirst:
		return it.First()
	}
	return false
}

func (it *iter) Prev() bool {
	switch it.place {
	case onEntry:
		return it.step(true)
	case afterLast:
		return it.Last()
	}
	return false
}

// step moves by one, inside the run where it can. The run is kept when the
// direction changes.
func (it *iter) step(reverse bool) bool {
	if reverse == it.reverse {
		if it.pos+1 < len(it.buf) {
			it.pos++
			return true
		}
		if it.more {
			return it.continueFrom(it.buf[it.pos], reverse)
		}
		it.buf = it.buf[:0]
		return it.end()
	}
	if it.pos > 0 {
		it.pos--
		return true
	}
	it.run = firstRun / 2
	return it.continueFrom(it.buf[0], reverse)
}

func (it *iter) Valid() bool { return it.place == onEntry }

func (it *iter) Key() base.InternalKey {
	x := &it.buf[it.pos]
	return base.InternalKey{UserKey: keyOf(it.view.chunks, *x), Trailer: x.trailer}
}

func (it *iter) Value() []byte { return valueOf(it.view.chunks, it.buf[it.pos]) }

// Error returns nil: memory does not fail.
func (it *iter) Error() error { return nil }

func (it *iter) Close() error {
	it.view, it.buf, it.place = closedView, nil, unpositioned
	return nil
}

package memtable

import (
	"github.com/google/btree"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// View is a table as it was at one moment. It never changes, and any number of
// goroutines may read it.
type View struct {
	arena  *arena
	chunks [][]byte
	run    *run
	tree   *btree.BTreeG[item]
}

// closedView is what a closed iterator reads.
var closedView = New(base.Bytewise).View()

// Len returns how many entries the view has, all versions counted.
func (v *View) Len() int { return v.run.count + v.tree.Len() }

// NewIter returns an iterator over the view. The bytes it hands out stay as
// they are as long as anybody holds them, longer than the contract asks.
func (v *View) NewIter() iterator.Internal { return &iter{view: v} }

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

// newest is a trailer that sorts before those of all entries, and equals none.
const newest = ^base.Trailer(0)

// iter walks a view. Where there is only a run, it steps through that. The tree
// offers callbacks only, no cursor, so with one iter reads ahead stretches of
// items from both and steps through these.
type iter struct {
	view *View

	// buf has neighbours: ascending, or descending where reverse is set. pos is
	// the current one while place is onEntry.
	buf     []item
	pos     int
	reverse bool
	place   place

	// more says whether there may be items behind the end of buf.
	more bool

	// want is how many items to read ahead next, into space.
	want  int
	space []item

	// run is that of the view, and next the index of its item that is to be
	// read next.
	run  []item
	next int

	// pivot, where set, is the item that a stretch continues from; it is not
	// part of it.
	pivot    item
	hasPivot bool

	// take is collect, bound once: a method value allocates.
	take btree.ItemIteratorG[item]
}

var _ iterator.Internal = (*iter)(nil)

// collect adds an item of the tree, and those of the run before it, and reports
// whether it wants another.
func (it *iter) collect(x item) bool {
	if it.hasPivot {
		it.hasPivot = false
		if x == it.pivot {
			return true
		}
	}
	for it.inRun() {
		y := &it.run[it.next]
		isBefore := y.abbr.Hi < x.abbr.Hi
		if y.abbr.Hi == x.abbr.Hi {
			isBefore = compareItems(it.view.arena.cmp, it.view.chunks, y, &x) < 0
		}
		if isBefore == it.reverse {
			break
		}
		if !it.addNext() {
			return false
		}
	}
	it.space = append(it.space, x)
	return len(it.space) < it.want
}

// inRun reports whether there is an item at next.
func (it *iter) inRun() bool { return uint(it.next) < uint(len(it.run)) }

// addNext adds the item at next, and reports whether another is wanted.
func (it *iter) addNext() bool {
	it.space = append(it.space, it.run[it.next])
	if it.reverse {
		it.next--
	} else {
		it.next++
	}
	return len(it.space) < it.want
}

// begin prepares for reading ahead, which after an absolute move is little.
func (it *iter) begin(reverse, absolute bool) {
	if absolute {
		it.want = firstRun
	} else {
		it.want = min(2*it.want, maxRun)
	}
	switch {
	case it.take == nil:
		it.take = it.collect
		it.space = make([]item, 0, 4*firstRun)
	case it.want > cap(it.space):
		it.space = make([]item, 0, maxRun)
	}
	it.space = it.space[:0]
	it.reverse = reverse
	it.hasPivot = false
}

// end reads on in the run, behind the end of the tree, and makes the first item
// of the stretch the current one, if there is any.
func (it *iter) end() bool {
	for len(it.space) < it.want && it.inRun() {
		it.addNext()
	}
	it.more = len(it.space) == it.want
	return it.enter(it.space, 0, it.reverse)
}

// enter makes an item of a stretch the current one; pos is outside of it where
// there is none.
func (it *iter) enter(buf []item, pos int, toStart bool) bool {
	it.buf, it.pos = buf, pos
	switch {
	case uint(pos) < uint(len(buf)):
		it.place = onEntry
	case toStart:
		it.place = beforeFirst
	default:
		it.place = afterLast
	}
	return it.place == onEntry
}

// isRun reports whether the view has a run only, and takes the run up: every
// absolute move begins with it.
func (it *iter) isRun() bool {
	it.run = it.view.run.items()
	if it.view.tree.Len() > 0 {
		return false
	}
	it.reverse, it.more = false, false
	return true
}

// continueFrom reads the stretch that follows pivot. In the run, it starts at
// next.
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

// turn reads the stretch that follows the first item of this one in the other
// direction.
func (it *iter) turn() bool {
	v, pivot := it.view, it.buf[0]
	it.next = search(v.arena.cmp, v.chunks, it.run, keyOf(v.chunks, &pivot), pivot.trailer)
	switch {
	case !it.reverse:
		it.next--
	case it.inRun() && it.run[it.next] == pivot:
		it.next++
	}
	it.want = firstRun / 2
	return it.continueFrom(pivot, !it.reverse)
}

// seek reads the stretch that starts at key, or before it in reverse.
func (it *iter) seek(key []byte, reverse bool) bool {
	isRun := it.isRun()
	v := it.view
	it.next = search(v.arena.cmp, v.chunks, it.run, key, newest)
	if reverse {
		it.next--
	}
	if isRun {
		return it.enter(it.run, it.next, reverse)
	}
	it.begin(reverse, true)
	// A probe of the tree, which sorts before every version of key.
	probe := item{abbr: v.arena.cmp.Abbreviate(key), trailer: newest, ref: refProbe}
	v.arena.probeMu.Lock()
	// Deferred, since a comparer that panics must not leave it locked.
	defer v.arena.probeMu.Unlock()
	v.arena.probe = key
	if reverse {
		v.tree.DescendLessOrEqual(probe, it.take)
	} else {
		v.tree.AscendGreaterOrEqual(probe, it.take)
	}
	v.arena.probe = nil
	return it.end()
}

func (it *iter) SeekGE(key []byte) bool { return it.seek(key, false) }
func (it *iter) SeekLT(key []byte) bool { return it.seek(key, true) }

func (it *iter) First() bool {
	if it.isRun() {
		return it.enter(it.run, 0, false)
	}
	it.begin(false, true)
	it.next = 0
	it.view.tree.Ascend(it.take)
	return it.end()
}

func (it *iter) Last() bool {
	if it.isRun() {
		return it.enter(it.run, len(it.run)-1, true)
	}
	it.begin(true, true)
	it.next = len(it.run) - 1
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

// step moves by one, inside the stretch where it can. The stretch is kept when
// the direction changes.
func (it *iter) step(reverse bool) bool {
	if reverse == it.reverse {
		if it.pos+1 < len(it.buf) {
			it.pos++
			return true
		}
		if it.more {
			return it.continueFrom(it.buf[it.pos], reverse)
		}
		return it.enter(nil, 0, reverse)
	}
	if it.pos > 0 {
		it.pos--
		return true
	}
	if it.view.tree.Len() == 0 {
		return it.enter(nil, 0, reverse)
	}
	return it.turn()
}

func (it *iter) Valid() bool { return it.place == onEntry }

func (it *iter) Key() base.InternalKey {
	x := &it.buf[it.pos]
	return base.InternalKey{UserKey: keyOf(it.view.chunks, x), Trailer: x.trailer}
}

func (it *iter) Value() []byte { return entryValue(entryAt(it.view.chunks, it.buf[it.pos].ref)) }

// Error returns nil: memory does not fail.
func (it *iter) Error() error { return nil }

func (it *iter) Close() error {
	it.view, it.buf, it.run, it.place = closedView, nil, nil, unpositioned
	return nil
}

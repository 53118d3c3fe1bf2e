package memtable

import (
	"unsafe"

	"github.com/google/btree"

	"tempestkv/kv/base"
)

const (
	// MaxBytes is the size up to which a table may be filled, as
	// ApproximateBytes counts it. Its owner starts a new one long before.
	MaxBytes = 4 << 30

	// degree of the tree, chosen with BenchmarkDegree: 16 B keys with 100 B
	// values, 100,000 a table, added in random order; ns (and B allocated) an
	// operation; Go 1.26.8, AMD EPYC, natively and (wasm) under Node.
	//
	//	degree                               8          16          32          64
	//	a view after each             959/3119   1262/3618   1477/5149   1845/8634
	//	a view after each, wasm           4315        4563        5250        6180
	//	a view after 256              608/1135    578/1077    609/1384    637/1816
	//	a view after 256, wasm            1748        1546        1538        1519
	//
	// Small nodes are cheap to copy, large ones cheap to fill: 16 is near the
	// best in both.
	degree = 16

	// itemBytes is what the order of an entry is counted as: 32 bytes in a run,
	// as many beside them while it is sorted, or up to 64 in the tree, whose
	// nodes may be half full; and 16 in the index, which is three eighths to
	// three quarters full. The index is there from the start, the rest once
	// somebody reads the table in order, which the flush does at the latest.
	itemBytes = 2*int(unsafe.Sizeof(item{})) + 2*8

	// runShare: what is not in order yet goes into another run, and not into the
	// tree, from one in so many entries of the table on. To sort an entry takes
	// about an eighth of the time that adding it to the tree does.
	runShare = 8
)

// Table is a sorted map from internal keys to values. It belongs to one
// goroutine, its owner; others read it through a View.
type Table struct {
	arena *arena
	count int
	bytes int

	// index finds the newest version of a user key without any order.
	index index

	// What views read: run has the oldest entries, the tree those after them.
	// Those after ordered are in neither yet.
	run     *run
	tree    *btree.BTreeG[item]
	ordered mark
	added   []item // space for what is on its way into the tree

	// view is the view of the present content, nil where none was asked for.
	view *View
}

// New returns an empty table ordered by cmp.
func New(cmp *base.Comparer) *Table { return newTable(cmp, degree) }

func newTable(cmp *base.Comparer, degree int) *Table {
	a := newArena(cmp)
	return &Table{arena: a, index: newIndex(), run: newRun(a, 0), tree: a.newTree(degree), ordered: a.mark()}
}

// Add stores an entry, of which it copies the bytes. A key has at most
// base.MaxKeyBytes, a value at most base.MaxValueBytes; the caller has checked
// that. The versions of a key must be added in the order of their sequence
// numbers.
func (t *Table) Add(seq base.SeqNum, kind base.Kind, key, value []byte) {
	size := entrySize(len(key), len(value))
	ref, dst := t.arena.take(size)
	older := t.index.add(t.arena.chunks, key, ref)
	putEntry(dst, base.MakeTrailer(seq, kind), older, key, value)
	t.count++
	t.bytes += size + itemBytes
	t.view = nil
}

// Get returns the newest version of exactly this user key with a sequence
// number of at most at; ok is false where there is none. The value shares the
// table's memory: it must not be changed, and lives as long as anybody holds
// it. Get does not allocate.
func (t *Table) Get(key []byte, at base.SeqNum) (value []byte, trailer base.Trailer, ok bool) {
	if t.Empty() {
		return nil, 0, false // without hashing the key
	}
	chunks := t.arena.chunks
	for ref := t.index.get(chunks, key); ref != noRef; {
		e := entryAt(chunks, ref)
		if trailer = entryTrailer(e); trailer.SeqNum() <= at {
			return entryValue(e), trailer, true
		}
		ref = entryOlder(e)
	}
	return nil, 0, false
}

// View returns the table as it is now. The same View is returned until the next
// Add. A few entries added since the last View go into the tree, which copies
// the nodes that it touches and another View has. Many are left to the first
// reader of the View, who sorts the whole table.
func (t *Table) View() *View {
	if t.view == nil {
		t.order()
		t.view = &View{arena: t.arena, chunks: t.arena.chunks, run: t.run, tree: t.tree.Clone()}
	}
	return t.view
}

// order sees to it that run and tree have all entries. A run is faster to read,
// so the tree never becomes larger: a table is sorted at least as often as it
// doubles.
func (t *Table) order() {
	inTree := t.tree.Len()
	added := t.count - t.run.count - inTree
	if added >= t.count/runShare || inTree+added > t.run.count {
		t.run = newRun(t.arena, t.count)
		t.tree.Clear(false)
	} else {
		t.added = t.arena.appendSince(t.added[:0], t.ordered)
		for _, it := range t.added {
			t.tree.ReplaceOrInsert(it)
		}
	}
	t.ordered = t.arena.mark()
}

// Len returns how many entries the table has, all versions counted.
func (t *Table) Len() int { return t.count }

// Empty reports whether the table has no entries.
func (t *Table) Empty() bool { return t.count == 0 }

// ApproximateBytes returns what the table takes in memory, in bytes: its
// entries and what orders them.
func (t *Table) ApproximateBytes() int { return t.bytes }

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
	// values, 100,000 a table; ns (and B allocated) an operation; Go
	// 1.26.8, AMD EPYC, natively and (wasm) under Node.
	//
	//	degree                              16          32          64
	//	Add ascending                      143         128         122
	//	Add ascending, wasm                799         713         660
	//	Add, each after a view       1067/3724   1364/5593   1776/8101
	//	Add, each after a view, wasm 6283/3553   7210/5263   8069/7698
	//	Get                                274         282         290
	//	Get, wasm                         1091         945        1038
	//
	// Small nodes are cheap to copy, large ones cheap to fill: 32 is near the
	// best in both.
	degree = 32

	// itemBytes is what an item costs: nodes are half full after ascending
	// adds, two thirds after random ones.
	itemBytes = 2 * int(unsafe.Sizeof(item{}))
)

// Table is a sorted map from internal keys to values. It belongs to one
// goroutine, its owner; others read it through a View.
type Table struct {
	arena *arena
	tree  *btree.BTreeG[item]
	bytes int

	// smallest and largest item, while there are any.
	min, max item

	// view is the view of the present content, nil where none was asked for.
	view *View

	// found and take serve Get: the callback is made once, not with each call.
	found item
	hit   bool
	take  btree.ItemIteratorG[item]
}

// New returns an empty table ordered by cmp.
func New(cmp *base.Comparer) *Table {
	a := newArena(cmp)
	t := &Table{
		arena: a,
		// Nothing is ever deleted, so a list of free nodes stays empty.
		tree: btree.NewWithFreeListG(degree, a.less, btree.NewFreeListG[item](0)),
	}
	t.take = func(it item) bool {
		t.found, t.hit = it, true
		return false
	}
	return t
}

// Add stores an entry, of which it copies the bytes. A key has at most
// base.MaxKeyBytes, a value at most base.MaxValueBytes; the caller has checked
// that. No two entries may have the same key, sequence number and kind.
func (t *Table) Add(seq base.SeqNum, kind base.Kind, key, value []byte) {
	ref, size := t.arena.add(key, value)
	it := item{
		abbr:    t.arena.cmp.Abbreviate(key),
		trailer: base.MakeTrailer(seq, kind),
		ref:     ref,
		keyLen:  uint32(len(key)),
	}
	if t.Empty() {
		t.min, t.max = it, it
	} else if t.arena.less(t.max, it) {
		t.max = it
	} else if t.arena.less(it, t.min) {
		t.min = it
	}
	t.tree.ReplaceOrInsert(it)
	t.bytes += size + itemBytes
	t.view = nil
}

// Get returns the newest version of exactly this user key with a sequence
// number of at most at; ok is false where there is none. The value shares the
// table's memory: it must not be changed, and lives as long as anybody holds
// it. Get does not allocate.
func (t *Table) Get(key []byte, at base.SeqNum) (value []byte, kind base.Kind, ok bool) {
	if t.Empty() {
		return nil, 0, false
	}
	t.arena.probeOwner = key
	probe := item{
		abbr:    t.arena.cmp.Abbreviate(key),
		trailer: base.MakeTrailer(at, base.KindMax),
		ref:     refProbeOwner,
	}
	t.hit = false
	if t.arena.compareKeys(t.min, probe) <= 0 && !t.arena.less(t.max, probe) {
		t.tree.AscendGreaterOrEqual(probe, t.take)
	}
	ok = t.hit && t.arena.compareKeys(t.found, probe) == 0
	t.arena.probeOwner = nil
	if !ok {
		return nil, 0, false
	}
	return valueOf(*t.arena.chunks.Load(), t.found), t.found.trailer.Kind(), true
}

// View returns the table as it is now. It takes constant time, and the same
// View is returned until the next Add. Adding after it copies the nodes it
// touches, each once.
func (t *Table) View() *View {
	if t.view == nil {
		t.view = &View{
			arena:  t.arena,
			tree:   t.tree.Clone(),
			chunks: *t.arena.chunks.Load(),
			min:    t.min,
			max:    t.max,
		}
	}
	return t.view
}

// Len returns how many entries the table has, all versions counted.
func (t *Table) Len() int { return t.tree.Len() }

// Empty reports whether the table has no entries.
func (t *Table) Empty() bool { return t.tree.Len() == 0 }

// ApproximateBytes returns what the table takes in memory, in bytes: its
// entries and their items.
func (t *Table) ApproximateBytes() int { return t.bytes }

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
	//	Add ascending                      264         252         220
	//	Add ascending, wasm               1333         886         824
	//	Add random                         518         490         507
	//	Add random, wasm                  1453        1143        1013
	//	Add, each after a view       1965/4751   2782/6924  3865/10201
	//	Add, each after a view, wasm 6186/4758   7497/7007  9119/10060
	//
	// Small nodes are cheap to copy, large ones cheap to fill: 32 is near the
	// best in both.
	degree = 32

	// itemBytes is what an item costs in the tree, whose nodes are half full
	// after ascending adds and two thirds after random ones, and in the index,
	// which is three eighths to three quarters full.
	itemBytes = 2*int(unsafe.Sizeof(item{})) + 2*8
)

// Table is a sorted map from internal keys to values. It belongs to one
// goroutine, its owner; others read it through a View.
type Table struct {
	arena *arena
	tree  *btree.BTreeG[item]
	bytes int

	// index finds the newest version of a user key without the tree.
	index index

	// smallest and largest item, while there are any.
	min, max item

	// view is the view of the present content, nil where none was asked for.
	view *View
}

// New returns an empty table ordered by cmp.
func New(cmp *base.Comparer) *Table {
	a := newArena(cmp)
	return &Table{
		arena: a,
		index: newIndex(),
		// Nothing is ever deleted, so a list of free nodes stays empty.
		tree: btree.NewWithFreeListG(degree, a.less, btree.NewFreeListG[item](0)),
	}
}

// Add stores an entry, of which it copies the bytes. A key has at most
// base.MaxKeyBytes, a value at most base.MaxValueBytes; the caller has checked
// that. The versions of a key must be added in the order of their sequence
// numbers.
func (t *Table) Add(seq base.SeqNum, kind base.Kind, key, value []byte) {
	trailer := base.MakeTrailer(seq, kind)
	ref, size := t.arena.add(trailer, key, value)
	it := item{
		abbr:    t.arena.cmp.Abbreviate(key),
		trailer: trailer,
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
	t.index.add(*t.arena.chunks.Load(), key, ref)
	t.bytes += size + itemBytes
	t.view = nil
}

// Get returns the newest version of exactly this user key with a sequence
// number of at most at; ok is false where there is none. The value shares the
// table's memory: it must not be changed, and lives as long as anybody holds
// it. Get does not allocate.
func (t *Table) Get(key []byte, at base.SeqNum) (value []byte, trailer base.Trailer, ok bool) {
	chunks := *t.arena.chunks.Load()
	for ref := t.index.get(chunks, key); ref != noRef; {
		e := entryAt(chunks, ref)
		if trailer = entryTrailer(e); trailer.SeqNum() <= at {
			return entryValue(e), trailer, true
		}
		ref = entryOlder(e)
	}
	return nil, 0, false
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

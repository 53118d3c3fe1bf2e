package memtable

import (
	"bytes"
	"hash/maphash"
)

// index is a hash table from user keys to the ref of their newest version: a
// point read then touches one cache line of the table and the entry, where the
// tree would touch a node a level and compare a key at each. It belongs to the
// owner of the table; views do not see it.
//
// It has open addressing with linear probing. A slot has no pointers:
//
//	+---------------------------------------+-----------+
//	| upper half of the key's hash, not 0   | ref (u32) |
//	+---------------------------------------+-----------+
//
// An empty slot is 0. The hash is seeded anew for each table, so that nobody
// can choose keys that collide.
type index struct {
	seed  maphash.Seed
	slots []uint64
	count int
}

const indexSlots = 64 // of a new index; a power of two, as always

func newIndex() index {
	return index{seed: maphash.MakeSeed(), slots: make([]uint64, indexSlots)}
}

// slotHash returns the part of a key's hash that slots keep, which also says
// where probing starts. It is never 0.
func (x *index) slotHash(key []byte) uint64 {
	return maphash.Bytes(x.seed, key)>>32<<32 | 1<<32
}

// find returns the slot of key, or the empty one where it belongs.
func (x *index) find(chunks [][]byte, hash uint64, key []byte) *uint64 {
	mask := uint64(len(x.slots) - 1)
	for i := hash >> 33; ; i++ {
		slot := &x.slots[i&mask]
		if *slot == 0 {
			return slot
		}
		if *slot>>32 == hash>>32 && bytes.Equal(entryKey(entryAt(chunks, uint32(*slot))), key) {
			return slot
		}
	}
}

// get returns the ref of key's newest version, noRef where there is none.
func (x *index) get(chunks [][]byte, key []byte) uint32 {
	if slot := x.find(chunks, x.slotHash(key), key); *slot != 0 {
		return uint32(*slot)
	}
	return noRef
}

// add makes ref the newest version of key, and returns the one that was so far,
// noRef where there was none.
func (x *index) add(chunks [][]byte, key []byte, ref uint32) (older uint32) {
	hash := x.slotHash(key)
	slot := x.find(chunks, hash, key)
	if *slot != 0 {
		older = uint32(*slot)
		*slot = hash | uint64(ref)
		return older
	}
	*slot = hash | uint64(ref)
	if x.count++; x.count > len(x.slots)/4*3 {
		x.grow()
	}
	return noRef
}

// grow doubles the slots. What they keep of the hashes is enough to place them
// again, up to 2^31 slots; a table is full long before.
func (x *index) grow() {
	old := x.slots
	x.slots = make([]uint64, 2*len(old))
	mask := uint64(len(x.slots) - 1)
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		i := slot >> 33
		for x.slots[i&mask] != 0 {
			i++
		}
		x.slots[i&mask] = slot
	}
}

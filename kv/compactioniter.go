package kv

import (
	"bytes"
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/rangedel"
)

// compactionIter walks the entries that a compaction keeps: of the versions of
// a user key those that some reader can tell apart.
//
// The live snapshots cut history into stripes: two versions are in one stripe
// where no snapshot lies between them. Of each stripe readers see but the
// newest version. A tombstone of the oldest stripe has nothing to hide where
// nothing older of its key lies below (Pebble: compaction_iter.go).
//
// A comparer with suffixes makes a tombstone hide the whole logical key. There
// tombstones are kept, and what was cleared becomes one, as elsewhere only what
// has expired, or what the store's filter hides.
type compactionIter struct {
	cmp       *base.Comparer
	it        compactionInput
	snapshots []base.SeqNum // ascending

	// isBase reports whether nothing of a user key lies below the output.
	isBase func(key []byte) bool

	ranges *rangedel.Cursor // range tombstones, nil for none
	now    int64            // what has expired by then is gone
	filter iterator.Filter  // nil for none

	key   base.InternalKey
	value []byte

	user    []byte // of the entry seen last
	seen    bool
	stripe  int // of the entry seen last
	started bool
	dropped base.SeqNum // the newest of the tombstones left out
	bytes   int64       // of the entries seen
}

// compactionInput is what a compaction reads, forward and once: an
// iterator.Merge, or any iterator.Internal.
type compactionInput interface {
	First() bool
	Next() bool
	Key() base.InternalKey
	Value() []byte
	Error() error
	Close() error
}

// next moves to the next entry that is kept. Its key and value are valid until
// the next call.
func (c *compactionIter) next() bool {
	for ok := c.advance(); ok; ok = c.it.Next() {
		key, value := c.it.Key(), c.it.Value()
		c.bytes += int64(len(key.UserKey)+len(value)) + base.TrailerSize
		stripe := c.stripeOf(key.SeqNum())
		if c.seen && bytes.Equal(key.UserKey, c.user) {
			if stripe == c.stripe {
				continue
			}
		} else {
			c.user, c.seen = append(c.user[:0], key.UserKey...), true
		}
		c.stripe = stripe
		if c.isCovered(key, stripe) && !c.cmp.HasSuffix {
			// What it hides is hidden by the range tombstone too.
			continue
		}
		if c.isGone(key, value, stripe) {
			key, value = base.MakeInternalKey(key.UserKey, key.SeqNum(), base.KindDelete), nil
		}
		if key.Kind() == base.KindDelete && stripe == 0 && !c.cmp.HasSuffix && c.isBase(key.UserKey) {
			c.dropped = max(c.dropped, key.SeqNum())
			continue
		}
		c.key, c.value = key, value
		return true
	}
	return false
}

// isCovered reports whether a range tombstone of the entry's stripe hides it.
func (c *compactionIter) isCovered(key base.InternalKey, stripe int) bool {
	if c.ranges == nil {
		return false
	}
	end := base.MaxSeqNum
	if stripe < len(c.snapshots) {
		end = c.snapshots[stripe]
	}
	return c.ranges.Newest(key.UserKey, end) > key.SeqNum()
}

// isGone reports whether an entry that readers no longer see is to become a
// tombstone.
func (c *compactionIter) isGone(key base.InternalKey, value []byte, stripe int) bool {
	switch key.Kind() {
	case base.KindDelete:
		return false
	case base.KindPutExpiring:
		millis, user, ok := base.CutExpiry(value)
		if !ok || millis <= uint64(max(c.now, 0)) {
			return ok
		}
		value = user
	}
	return c.cmp.HasSuffix && c.isCovered(key, stripe) ||
		c.filter != nil && !c.filter(base.MakeInternalKey(key.UserKey, key.SeqNum(), base.KindPut), value)
}

func (c *compactionIter) advance() bool {
	if !c.started {
		c.started = true
		return c.it.First()
	}
	return c.it.Next()
}

// stripeOf returns how many snapshots are older than seq.
func (c *compactionIter) stripeOf(seq base.SeqNum) int { return stripeOf(c.snapshots, seq) }

func stripeOf(snapshots []base.SeqNum, seq base.SeqNum) int {
	if len(snapshots) == 0 {
		return 0
	}
	i, _ := slices.BinarySearch(snapshots, seq)
	return i
}

// isBase returns a function that says whether nothing of a user key lies below
// a level of v. It is for keys that ascend.
func isBase(v *manifest.Version, cmp *base.Comparer, level int) func(key []byte) bool {
	var at [manifest.NumLevels]int
	return func(key []byte) bool {
		for below := level + 1; below < manifest.NumLevels; below++ {
			files := v.Files(below)
			for at[below] < len(files) && cmp.Compare(files[at[below]].Largest.UserKey, key) < 0 {
				at[below]++
			}
			if at[below] < len(files) && cmp.Compare(files[at[below]].Smallest.UserKey, key) <= 0 {
				return false
			}
		}
		return true
	}
}

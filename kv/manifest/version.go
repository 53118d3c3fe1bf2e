package manifest

import (
	"bytes"
	"slices"
	"sort"
	"strconv"
	"sync/atomic"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
)

// FileMeta is what a version knows of a table. It does not change; it owns the
// bytes of its keys, and versions share it.
type FileMeta struct {
	Num      uint64
	Size     uint64 // bytes
	Smallest base.InternalKey
	Largest  base.InternalKey

	refs atomic.Int32 // versions that have it
}

// Desc returns the name of the table.
func (f *FileMeta) Desc() vfs.FileDesc { return vfs.FileDesc{Type: vfs.TypeTable, Num: f.Num} }

// same reports whether f and g say the same.
func (f *FileMeta) same(g *FileMeta) bool {
	return f.Num == g.Num && f.Size == g.Size && sameKey(f.Smallest, g.Smallest) && sameKey(f.Largest, g.Largest)
}

func sameKey(a, b base.InternalKey) bool {
	return a.Trailer == b.Trailer && bytes.Equal(a.UserKey, b.UserKey)
}

// TotalBytes returns the size of files in bytes.
func TotalBytes(files []*FileMeta) uint64 {
	var n uint64
	for _, f := range files {
		n += f.Size
	}
	return n
}

// Version is one set of tables by level. The tables of level 0 may overlap, and
// are ordered by number, newest first. Those of a deeper level are ordered by
// key, and no internal key is in the range of two: one user key may end a table
// and begin the next, older versions of it there.
//
// It does not change, and may be read from several goroutines by whoever holds
// a reference. Its tables stay while any version that has them is referenced.
type Version struct {
	cmp      *base.Comparer
	obsolete func([]*FileMeta)
	levels   [NumLevels][]*FileMeta
	bytes    [NumLevels]uint64
	ranges   []RangeTombstone // oldest first
	refs     atomic.Int32
}

// NewVersion returns a version without tables, with one reference. Versions
// made from it tell obsolete, which may be nil, of tables that no version has
// any more. It is called by the Unref that let the last one go, on its
// goroutine.
func NewVersion(cmp *base.Comparer, obsolete func([]*FileMeta)) *Version {
	v := &Version{cmp: cmp, obsolete: obsolete}
	v.refs.Store(1)
	return v
}

// Ref adds a reference. Only who has one, or keeps the current version from
// changing meanwhile, may call it.
func (v *Version) Ref() { v.refs.Add(1) }

// Unref gives up a reference. After the last one the version is no more.
func (v *Version) Unref() {
	if v.refs.Add(-1) > 0 {
		return
	}
	if gone := v.release(); len(gone) > 0 && v.obsolete != nil {
		v.obsolete(gone)
	}
}

// release takes the version's tables from it and returns those that no other
// version has.
func (v *Version) release() (gone []*FileMeta) {
	for _, files := range v.levels {
		for _, f := range files {
			if f.refs.Add(-1) == 0 {
				gone = append(gone, f)
			}
		}
	}
	return gone
}

// Files returns the tables of a level, for reading only.
func (v *Version) Files(level int) []*FileMeta { return v.levels[level] }

// LevelBytes returns the size of a level in bytes.
func (v *Version) LevelBytes(level int) uint64 { return v.bytes[level] }

// Bytes returns the size of all tables in bytes.
func (v *Version) Bytes() uint64 {
	var n uint64
	for _, b := range v.bytes {
		n += b
	}
	return n
}

// Find returns the index of the first table, of a level from 1 on, whose
// largest key is not before key; the count of tables where there is none. It
// alone can have key, and has it only if its smallest key is not behind key.
func (v *Version) Find(level int, key base.InternalKey) int {
	files := v.levels[level]
	return sort.Search(len(files), func(i int) bool { return v.cmp.CompareInternal(files[i].Largest, key) >= 0 })
}

// Overlapping returns the tables of a level, for reading only, whose ranges of
// user keys have something in common with b.
func (v *Version) Overlapping(level int, b iterator.Bounds) []*FileMeta {
	if b.Lower != nil && b.Upper != nil {
		if c := v.cmp.Compare(b.Lower, b.Upper); c > 0 || c == 0 && (b.LowerExclusive || !b.UpperInclusive) {
			return nil
		}
	}
	before := func(f *FileMeta) bool {
		if b.Lower == nil {
			return false
		}
		c := v.cmp.Compare(f.Largest.UserKey, b.Lower)
		return c < 0 || c == 0 && b.LowerExclusive
	}
	behind := func(f *FileMeta) bool {
		if b.Upper == nil {
			return false
		}
		c := v.cmp.Compare(f.Smallest.UserKey, b.Upper)
		return c > 0 || c == 0 && !b.UpperInclusive
	}
	files := v.levels[level]
	if level == 0 {
		var found []*FileMeta
		for _, f := range files {
			if !before(f) && !behind(f) {
				found = append(found, f)
			}
		}
		return found
	}
	files = files[sort.Search(len(files), func(i int) bool { return !before(files[i]) }):]
	return files[:sort.Search(len(files), func(i int) bool { return behind(files[i]) })]
}

// Inputs returns the tables of a level that a compaction of the user keys from
// lower to upper, both included and nil for no end, has to take: those that
// overlap the range, those that overlap them, and so on. What stays has no user
// key in common with what is taken, so that no older version of a key comes to
// lie above a newer one (LevelDB: GetOverlappingInputs, AddBoundaryInputs).
func (v *Version) Inputs(level int, lower, upper []byte) []*FileMeta {
	b := iterator.Bounds{Lower: lower, Upper: upper, UpperInclusive: true}
	for count := 0; ; {
		files := v.Overlapping(level, b)
		if len(files) == count {
			return files
		}
		count = len(files)
		for _, f := range files {
			if b.Lower != nil && v.cmp.Compare(f.Smallest.UserKey, b.Lower) < 0 {
				b.Lower = f.Smallest.UserKey
			}
			if b.Upper != nil && v.cmp.Compare(f.Largest.UserKey, b.Upper) > 0 {
				b.Upper = f.Largest.UserKey
			}
		}
	}
}

// IsBase reports whether no level below level has a table that overlaps b:
// nothing older of these keys lies there, so a compaction into level may drop
// their tombstones.
func (v *Version) IsBase(level int, b iterator.Bounds) bool {
	for below := level + 1; below < NumLevels; below++ {
		if len(v.Overlapping(below, b)) > 0 {
			return false
		}
	}
	return true
}

// RangeTombstones returns those of the version, for reading only, oldest first.
// Versions between which none came or went return the same slice.
func (v *Version) RangeTombstones() []RangeTombstone { return v.ranges }

// ObsoleteRanges returns the sequence numbers of the range tombstones that no
// table of the version needs any more: no table that overlaps the range has a
// number below Until.
func (v *Version) ObsoleteRanges() []base.SeqNum {
	var obsolete []base.SeqNum
	for _, t := range v.ranges {
		if !v.needs(t) {
			obsolete = append(obsolete, t.Seq)
		}
	}
	return obsolete
}

// needs reports whether some table may have entries that t hides.
func (v *Version) needs(t RangeTombstone) bool {
	for level := range NumLevels {
		for _, f := range v.Overlapping(level, iterator.Bounds{Lower: t.Start, Upper: t.End}) {
			if f.Num < t.Until {
				return true
			}
		}
	}
	return false
}

// Apply returns the version that e leads to, with one reference. A table that e
// moves from one level to another stays the same. base.ErrCorruption where e
// does not fit v, or what it leads to is no version.
func (v *Version) Apply(e *VersionEdit) (*Version, error) {
	b := newBuilder(v)
	if err := b.apply(e); err != nil {
		return nil, err
	}
	return b.finish()
}

// builder applies edits to a version, and checks once what they lead to.
type builder struct {
	base    *Version
	order   []NewFile                       // as they came, later deleted ones too
	added   [NumLevels]map[uint64]*FileMeta // those of order that count
	deleted [NumLevels]map[uint64]*FileMeta // of base
	ranges  []RangeTombstone                // of their own once changed; base's till then
	changed bool
}

func newBuilder(base *Version) *builder { return &builder{base: base, ranges: base.ranges} }

func noVersion(level int, num uint64, fault string) error {
	return base.Wrap(base.ErrCorruption, "version: level "+strconv.Itoa(level)+": table "+u64(num)+" "+fault, nil)
}

func (b *builder) apply(e *VersionEdit) error {
	for _, d := range e.Deleted {
		if b.added[d.Level][d.Num] != nil {
			delete(b.added[d.Level], d.Num)
			continue
		}
		f := b.inBase(d.Level, d.Num)
		if f == nil {
			return noVersion(d.Level, d.Num, "is to be deleted and not there")
		}
		put(&b.deleted[d.Level], f)
	}
	for _, n := range e.New {
		num := n.File.Num
		if b.base.cmp.CompareInternal(n.File.Smallest, n.File.Largest) > 0 {
			return noVersion(n.Level, num, "ends before it begins")
		}
		for level := range NumLevels {
			if b.added[level][num] != nil || b.inBase(level, num) != nil {
				return noVersion(n.Level, num, "is there twice")
			}
			if old := b.deleted[level][num]; old != nil {
				if !old.same(n.File) {
					return noVersion(n.Level, num, "is not what it was")
				}
				n.File = old
			}
		}
		put(&b.added[n.Level], n.File)
		b.order = append(b.order, n)
	}
	return b.applyRanges(e)
}

// applyRanges is apply for range tombstones.
func (b *builder) applyRanges(e *VersionEdit) error {
	if len(e.DeletedRanges)+len(e.NewRanges) == 0 {
		return nil
	}
	if !b.changed {
		b.ranges, b.changed = slices.Clone(b.ranges), true
	}
	fault := func(seq base.SeqNum, what string) error {
		return base.Wrap(base.ErrCorruption, "version: range tombstone "+u64(uint64(seq))+" "+what, nil)
	}
	find := func(seq base.SeqNum) (int, bool) {
		i := sort.Search(len(b.ranges), func(i int) bool { return b.ranges[i].Seq >= seq })
		return i, i < len(b.ranges) && b.ranges[i].Seq == seq
	}
	for _, seq := range e.DeletedRanges {
		i, found := find(seq)
		if !found {
			return fault(seq, "is to be deleted and not there")
		}
		b.ranges = slices.Delete(b.ranges, i, i+1)
	}
	for _, t := range e.NewRanges {
		i, found := find(t.Seq)
		if found {
			return fault(t.Seq, "is there twice")
		}
		if b.base.cmp.Compare(t.Start, t.End) >= 0 {
			return fault(t.Seq, "ends before it begins")
		}
		b.ranges = slices.Insert(b.ranges, i, t)
	}
	return nil
}

// inBase returns the table num of base, nil where it is not there or deleted.
func (b *builder) inBase(level int, num uint64) *FileMeta {
	if b.deleted[level][num] != nil {
		return nil
	}
	for _, f := range b.base.levels[level] {
		if f.Num == num {
			return f
		}
	}
	return nil
}

func put(m *map[uint64]*FileMeta, f *FileMeta) {
	if *m == nil {
		*m = make(map[uint64]*FileMeta)
	}
	(*m)[f.Num] = f
}

// finish returns the version, with one reference.
func (b *builder) finish() (*Version, error) {
	v := NewVersion(b.base.cmp, b.base.obsolete)
	v.ranges = b.ranges
	for level, files := range b.base.levels {
		if len(b.added[level])+len(b.deleted[level]) > 0 {
			files = slices.DeleteFunc(slices.Clone(files), func(f *FileMeta) bool { return b.deleted[level][f.Num] != nil })
		}
		v.levels[level] = files
	}
	for _, n := range b.order {
		if b.added[n.Level][n.File.Num] == n.File {
			v.insert(n.Level, n.File)
		}
	}
	for level, files := range v.levels {
		for i, f := range files {
			if i > 0 && level > 0 && v.cmp.CompareInternal(files[i-1].Largest, f.Smallest) >= 0 {
				return nil, noVersion(level, f.Num, "overlaps table "+u64(files[i-1].Num))
			}
		}
		v.bytes[level] = TotalBytes(files)
	}
	for _, files := range v.levels {
		for _, f := range files {
			f.refs.Add(1)
		}
	}
	return v, nil
}

// insert adds f to a level that is v's own. A snapshot has its tables in order,
// so that they come to the end.
func (v *Version) insert(level int, f *FileMeta) {
	files := append(v.levels[level], f)
	i := sort.Search(len(files)-1, func(i int) bool {
		if level == 0 {
			return files[i].Num < f.Num
		}
		return v.cmp.CompareInternal(files[i].Smallest, f.Smallest) > 0
	})
	copy(files[i+1:], files[i:])
	files[i] = f
	v.levels[level] = files
}

package manifest

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"

	"tempestkv/kv/base"
	"tempestkv/kv/rangedel"
)

// NumLevels is how many levels a version has. It is LevelDB's.
const NumLevels = 7

// Limits of what a version edit may say; over one it is corruption.
const (
	// MaxFileNum leaves room to count on, and is far beyond any counter.
	MaxFileNum = 1<<62 - 1

	// MaxFileBytes is far beyond any table, and keeps sums from overflowing.
	MaxFileBytes = 1<<48 - 1
)

// Tags of fields. Part of the format.
const (
	tagComparer       = 1
	tagLogNum         = 2
	tagNextFileNum    = 3
	tagLastSeq        = 4
	tagCompactPointer = 5
	tagDeletedFile    = 6
	tagNewFile        = 7
	tagPrevLogNum     = 9
	tagFeature        = 84
	tagRange          = 85
	tagDeletedRange   = 86
)

// Features: names of what a store may need its reader to know. Each is in the
// manifest before the first operation that needs it goes to a log. Part of the
// format.
const (
	// FeatureRangeDelete: logs have range deletes, the manifest range tombstones.
	FeatureRangeDelete = "tempestkv.range-delete"

	// FeatureExpiry: logs and tables have puts that expire.
	FeatureExpiry = "tempestkv.expiry"
)

// featureGuard stands before a feature's name. It is part of the format.
const featureGuard = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"

// Fields is a set of those fields of a VersionEdit that stand at most once.
type Fields uint8

// The fields that an edit may have or lack.
const (
	HasComparer Fields = 1 << iota
	HasLogNum
	HasPrevLogNum
	HasNextFileNum
	HasLastSeq

	// hasAll is what the records of a manifest have together. A previous log
	// number is not among it, since goleveldb writes none.
	hasAll = HasComparer | HasLogNum | HasNextFileNum | HasLastSeq
)

// VersionEdit is a change from one version to the next, and of the numbers
// that are kept with it. Deletions come before additions.
type VersionEdit struct {
	Has         Fields // which of the next five mean something
	Comparer    string
	LogNum      uint64 // logs before it are in tables
	PrevLogNum  uint64 // a log before LogNum that is needed still; 0 for none
	NextFileNum uint64
	LastSeq     base.SeqNum // of the last write that is in tables

	Features        []string // names, none empty
	CompactPointers []CompactPointer
	Deleted         []DeletedFile
	New             []NewFile
	DeletedRanges   []base.SeqNum // of range tombstones that leave
	NewRanges       []RangeTombstone
}

// CompactPointer says where the next compaction of a level begins: behind Key.
type CompactPointer struct {
	Level int
	Key   base.InternalKey
}

// DeletedFile is a table that leaves a level.
type DeletedFile struct {
	Level int
	Num   uint64
}

// NewFile is a table that comes to a level.
type NewFile struct {
	Level int
	File  *FileMeta
}

// RangeTombstone is a range tombstone that tables still need. It is known by its
// sequence number. It owns the bytes of its keys, and versions share it.
type RangeTombstone struct {
	rangedel.Tombstone

	// Made: tables with lower numbers are older than the tombstone, with all
	// their entries. One that lies inside the range has nothing else.
	Made uint64

	// Until: tables with lower numbers may have entries that the tombstone
	// hides. From this number on they have none: they were written without them.
	Until uint64
}

// SetLogNum says that logs before num are in tables.
func (e *VersionEdit) SetLogNum(num uint64) { e.Has, e.LogNum = e.Has|HasLogNum, num }

// SetLastSeq says that writes up to seq are in tables, or in logs to replay.
func (e *VersionEdit) SetLastSeq(seq base.SeqNum) { e.Has, e.LastSeq = e.Has|HasLastSeq, seq }

// Delete takes the table num out of level.
func (e *VersionEdit) Delete(level int, num uint64) {
	e.Deleted = append(e.Deleted, DeletedFile{level, num})
}

// Add puts the table f into level. f must not change from then on.
func (e *VersionEdit) Add(level int, f *FileMeta) { e.New = append(e.New, NewFile{level, f}) }

// AddRange adds a range tombstone. Its keys must not change from then on.
func (e *VersionEdit) AddRange(t RangeTombstone) { e.NewRanges = append(e.NewRanges, t) }

// DeleteRange takes the range tombstone with this sequence number away. To
// change one, delete it and add it in the same edit.
func (e *VersionEdit) DeleteRange(seq base.SeqNum) { e.DeletedRanges = append(e.DeletedRanges, seq) }

// forgive makes a first record of goleveldb one of ours. It is the whole version
// together with the edit that led to it: tables that are deleted are not there,
// and those that are new are there twice.
func (e *VersionEdit) forgive() {
	e.Deleted = nil
	type place struct {
		level int
		num   uint64
	}
	seen := make(map[place]*FileMeta, len(e.New))
	e.New = slices.DeleteFunc(e.New, func(n NewFile) bool {
		at := place{n.Level, n.File.Num}
		if old := seen[at]; old != nil && old.same(n.File) {
			return true
		}
		seen[at] = n.File
		return false
	})
}

// AppendTo appends the encoded edit to dst.
func (e *VersionEdit) AppendTo(dst []byte) []byte {
	w := encoder(dst)
	for _, name := range e.Features {
		w.numbers(tagFeature)
		w.bytes(featureGuard + name)
	}
	if e.Has&HasComparer != 0 {
		w.numbers(tagComparer)
		w.bytes(e.Comparer)
	}
	for i, v := range [...]uint64{e.LogNum, e.PrevLogNum, e.NextFileNum, uint64(e.LastSeq)} {
		if e.Has&(HasLogNum<<i) != 0 {
			w.numbers(uint64(numberTags[i]), v)
		}
	}
	for _, c := range e.CompactPointers {
		w.numbers(tagCompactPointer, uint64(c.Level))
		w.key(c.Key)
	}
	for _, d := range e.Deleted {
		w.numbers(tagDeletedFile, uint64(d.Level), d.Num)
	}
	for _, n := range e.New {
		w.numbers(tagNewFile, uint64(n.Level), n.File.Num, n.File.Size)
		w.key(n.File.Smallest)
		w.key(n.File.Largest)
	}
	for _, seq := range e.DeletedRanges {
		w.numbers(tagDeletedRange, uint64(seq))
	}
	for _, t := range e.NewRanges {
		w.numbers(tagRange, uint64(t.Seq), t.Made, t.Until)
		w.bytes(string(t.Start))
		w.bytes(string(t.End))
	}
	return w
}

// numberTags are the tags of the numbers, in the order of their Fields.
var numberTags = [...]byte{tagLogNum, tagPrevLogNum, tagNextFileNum, tagLastSeq}

// encoder is what was encoded so far.
type encoder []byte

// numbers is not inlined: AppendTo would be six times as large.
//
//go:noinline
func (w *encoder) numbers(vs ...uint64) {
	for _, v := range vs {
		*w = binary.AppendUvarint(*w, v)
	}
}

func (w *encoder) bytes(s string) {
	w.numbers(uint64(len(s)))
	*w = append(*w, s...)
}

func (w *encoder) key(k base.InternalKey) {
	w.numbers(uint64(len(k.UserKey) + base.TrailerSize))
	*w = k.AppendTo(*w)
}

// Decode sets e to the edit encoded in p, of which it keeps no bytes.
// base.ErrNotSupported where p has a tag that this version does not know,
// base.ErrCorruption where it is malformed; e then has the fields before that.
func (e *VersionEdit) Decode(p []byte) error {
	*e = VersionEdit{}
	d := decoder{p: p}
	for len(d.p) > 0 && d.fault == "" {
		at := len(p) - len(d.p)
		if d.field(e); d.unknown != 0 {
			return base.Wrap(base.ErrNotSupported, "version edit at offset "+strconv.Itoa(at)+
				": this version does not know the tag "+u64(d.unknown), nil)
		}
		if d.fault != "" {
			return base.Corruption("version edit", int64(at), d.fault)
		}
	}
	return nil
}

// decoder takes fields off the front of p. At the first fault it stops: p is
// empty then, and every value 0.
type decoder struct {
	p       []byte
	fault   string
	unknown uint64 // a tag
}

// field takes one field.
func (d *decoder) field(e *VersionEdit) {
	switch tag := d.number(math.MaxUint64, "malformed tag"); tag {
	case tagComparer:
		e.Comparer = string(d.bytes("malformed comparer"))
		e.Has |= HasComparer
	case tagLogNum:
		e.LogNum = d.number(MaxFileNum, "malformed log number")
		e.Has |= HasLogNum
	case tagPrevLogNum:
		e.PrevLogNum = d.number(MaxFileNum, "malformed previous log number")
		e.Has |= HasPrevLogNum
	case tagNextFileNum:
		e.NextFileNum = d.number(MaxFileNum, "malformed next file number")
		e.Has |= HasNextFileNum
	case tagLastSeq:
		e.LastSeq = d.seq()
		e.Has |= HasLastSeq
	case tagCompactPointer:
		level := d.level()
		key, _ := d.keys(1)
		e.CompactPointers = append(e.CompactPointers, CompactPointer{level, key})
	case tagDeletedFile:
		e.Delete(d.level(), d.number(MaxFileNum, "malformed file number"))
	case tagNewFile:
		level := d.level()
		f := &FileMeta{Num: d.number(MaxFileNum, "malformed file number"), Size: d.number(MaxFileBytes, "malformed size")}
		f.Smallest, f.Largest = d.keys(2)
		if f.Num == 0 {
			d.fail("file number 0")
		}
		e.Add(level, f)
	case tagFeature:
		name, ok := strings.CutPrefix(string(d.bytes("malformed feature")), featureGuard)
		if !ok || name == "" {
			d.fail("malformed feature")
		}
		e.Features = append(e.Features, name)
	case tagRange:
		var t RangeTombstone
		t.Seq = d.seq()
		t.Made = d.number(MaxFileNum, "malformed file number")
		t.Until = d.number(MaxFileNum, "malformed file number")
		t.Start = bytes.Clone(d.bytes("malformed range"))
		t.End = bytes.Clone(d.bytes("malformed range"))
		e.AddRange(t)
	case tagDeletedRange:
		e.DeleteRange(d.seq())
	case 0:
		d.fail("malformed tag")
	default:
		d.unknown = tag
	}
}

func (d *decoder) fail(fault string) {
	if d.fault == "" {
		d.fault = fault
	}
	d.p = nil
}

// number takes a number of at most limit.
func (d *decoder) number(limit uint64, fault string) uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 || v > limit {
		d.fail(fault)
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) level() int { return int(d.number(NumLevels-1, "malformed level")) }

func (d *decoder) seq() base.SeqNum {
	return base.SeqNum(d.number(uint64(base.MaxSeqNum), "malformed sequence number"))
}

// bytes takes a length and as many bytes, which it shares with p.
func (d *decoder) bytes(fault string) []byte {
	n := d.number(math.MaxUint64, fault)
	if n > uint64(len(d.p)) {
		d.fail(fault)
		return nil
	}
	b := d.p[:n:n]
	d.p = d.p[n:]
	return b
}

// keys takes one or two internal keys, in memory of their own.
func (d *decoder) keys(count int) (a, b base.InternalKey) {
	const fault = "malformed internal key"
	x := d.bytes(fault)
	var y []byte
	if count == 2 {
		y = d.bytes(fault)
	}
	own := append(append(make([]byte, 0, len(x)+len(y)), x...), y...)
	a, ok := base.DecodeInternalKey(own[:len(x)])
	if ok && count == 2 {
		b, ok = base.DecodeInternalKey(own[len(x):])
	}
	if !ok {
		d.fail(fault)
	}
	return a, b
}

func u64(n uint64) string { return strconv.FormatUint(n, 10) }

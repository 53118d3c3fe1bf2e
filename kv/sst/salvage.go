package sst

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"tempestkv/kv/base"
)

// Lost is a part of a damaged table of which nothing could be read.
type Lost struct {
	Offset, Bytes int64
	Reason        string // for people
}

// maxTries bounds how often a block is checked that turns out to be none. By
// chance hardly any does.
const maxTries = 1 << 12

// Salvage reads what can be read of a damaged table and calls add with each
// entry, in order; the entry's bytes are valid during the call. A block is taken
// whole or not at all. Where the index is whole it tells where the blocks are.
// Else they are searched for: a block has no mark at its start, but its checksum
// tells where it ends. That takes memory for the whole file.
//
// It returns what was lost of the data, and the error of add.
func Salvage(f File, opts ReaderOptions, add func(key base.InternalKey, value []byte) error) ([]Lost, error) {
	if opts.Comparer == nil {
		opts.Comparer = base.Bytewise
	}
	opts.Cache = nil
	size, err := f.Size()
	if err != nil {
		return []Lost{{Reason: err.Error()}}, nil
	}
	s := &salvager{r: &Reader{f: f, opts: opts, size: size}, add: add}
	if s.findIndex() {
		err = s.byIndex()
	} else {
		err = s.bySearch()
	}
	return s.lost, err
}

type salvager struct {
	r     *Reader
	add   func(base.InternalKey, []byte) error
	piece piece
	it    blockIter
	last  base.InternalKey // the entry added last
	begun bool
	lost  []Lost

	dataEnd int64 // the data blocks are before it; the file's size if unknown
	found   []handle
	tries   int
}

func (s *salvager) lose(off, end int64, reason string) {
	if n := len(s.lost) - 1; n >= 0 && s.lost[n].Offset+s.lost[n].Bytes == off && s.lost[n].Reason == reason {
		s.lost[n].Bytes += end - off
		return
	}
	s.lost = append(s.lost, Lost{off, end - off, reason})
}

// findIndex reads the footer and the index. It notes where the data ends, as far
// as it is known.
func (s *salvager) findIndex() bool {
	r := s.r
	s.dataEnd = r.size
	limit := r.size - footerSize
	if limit < 0 {
		return false
	}
	var tail piece
	if tail.read(r.f, limit, r.size) != nil {
		return false
	}
	metaindex, index, reason := decodeFooter(tail.bytes, limit)
	if reason != "" {
		return false
	}
	s.dataEnd = min(metaindex.off, index.off)
	if b, err := r.meta(&tail, metaindex); err == nil && checkBlock(b) {
		s.it.init(b)
		for s.it.next() {
			if h, _, ok := decodeHandle(s.it.value, limit); ok && string(s.it.key) == filterName {
				s.dataEnd = min(s.dataEnd, h.off)
			}
		}
	}
	r.indexAt = index.off
	var err error
	r.index, err = r.meta(&tail, index)
	return err == nil && checkBlock(r.index)
}

// byIndex takes the blocks of the index.
func (s *salvager) byIndex() error {
	var index blockIter
	index.init(s.r.index)
	end := int64(0)
	for ok := index.first(); ok; ok = index.next() {
		h, err := s.r.handle(&index)
		if err != nil || h.off < end {
			index.bad = "damaged index"
			break
		}
		end = h.end()
		reason := ""
		if err := s.piece.read(s.r.f, h.off, h.end()); err != nil {
			reason = err.Error()
		} else if b, err := s.r.view(h, &s.piece); err != nil {
			reason = err.Error()
		} else if reason = s.check(b); reason == "" {
			if err := s.take(b); err != nil {
				return err
			}
		}
		if reason != "" {
			s.lose(h.off, h.end(), reason)
		}
	}
	if index.bad != "" && end < s.dataEnd {
		s.lose(end, s.dataEnd, index.bad)
	}
	return nil
}

// check says why b is no data block that follows what was taken.
func (s *salvager) check(b []byte) string {
	last, begun := base.InternalKey{UserKey: append([]byte(nil), s.last.UserKey...), Trailer: s.last.Trailer}, s.begun
	s.it.init(b)
	for ok := s.it.first(); ok; ok = s.it.next() {
		k, ok := s.it.entry()
		if !ok {
			return badKey
		}
		if begun && s.r.opts.Comparer.CompareInternal(last, k) >= 0 {
			return "keys do not ascend"
		}
		last, begun = copyKey(last, k), true
	}
	return s.it.bad
}

// take adds the entries of b, which check has passed.
func (s *salvager) take(b []byte) error {
	s.it.init(b)
	for ok := s.it.first(); ok; ok = s.it.next() {
		k, _ := s.it.entry()
		s.last, s.begun = copyKey(s.last, k), true
		if err := s.add(k, s.it.value); err != nil {
			return err
		}
	}
	return nil
}

// bySearch finds the blocks by their checksums, from the start of the file.
func (s *salvager) bySearch() error {
	data := make([]byte, s.dataEnd)
	n, err := s.r.f.ReadAt(data, 0)
	if n < len(data) {
		reason := errShort.Error()
		if err != nil {
			reason = err.Error()
		}
		s.lose(int64(n), s.dataEnd, reason)
	}
	data = data[:n]
	var f *blockFinder
	for pos := 0; pos < n; {
		b := s.blockAt(data, pos, f)
		start := pos
		if b == nil {
			if f == nil {
				f = newBlockFinder(data, pos)
			}
			for start++; b == nil && start < n; start++ {
				b = s.blockAt(data, start, f)
			}
		}
		if b == nil {
			s.lose(int64(pos), int64(n), "no block is whole there")
			return nil
		}
		if int(b.off) > pos {
			s.lose(int64(pos), b.off, "no block is whole there")
		}
		pos = int(b.end())
		if s.isIndex(b) {
			return nil
		}
		if !checkBlock(b.contents) || s.check(b.contents) != "" {
			continue // of the filters, or the metaindex
		}
		s.found = append(s.found, b.handle)
		if err := s.take(b.contents); err != nil {
			return err
		}
	}
	return nil
}

// foundBlock is a block whose checksum is right.
type foundBlock struct {
	handle
	contents []byte
}

// blockAt returns the block that starts at data[pos], nil where there is none:
// no length has the checksum that follows. Without f it looks at all that
// follows.
func (s *salvager) blockAt(data []byte, pos int, f *blockFinder) *foundBlock {
	if f != nil {
		for _, end := range f.ends(pos) {
			if b := s.blockIn(data, pos, end); b != nil {
				return b
			}
		}
		return nil
	}
	crc := ^uint32(0)
	for end := pos; end+4 < len(data); {
		kind := data[end]
		crc = zeroByte(crc ^ uint32(kind))
		end++
		if kind <= typeSnappy && ^crc == storedChecksum(data[end:]) {
			if b := s.blockIn(data, pos, end); b != nil {
				return b
			}
		}
	}
	return nil
}

// blockIn returns the block whose contents and type are data[pos:end], nil where
// it is none.
func (s *salvager) blockIn(data []byte, pos, end int) *foundBlock {
	if s.tries++; s.tries-len(s.found) > maxTries {
		return nil
	}
	h := handle{off: int64(pos), size: int64(end - 1 - pos)}
	raw := data[pos : end+4]
	size, err := s.r.check(h, raw)
	if err != nil || size < 4 {
		return nil
	}
	b := make([]byte, size)
	if s.r.unpack(h, raw, b) != nil {
		return nil
	}
	return &foundBlock{h, b}
}

// storedChecksum returns the checksum that b begins with, unmasked.
func storedChecksum(b []byte) uint32 {
	c := binary.LittleEndian.Uint32(b) - 0xa282ead8
	return c>>17 | c<<15
}

// blockFinder answers where a block ends that starts at some place, without
// looking at what lies between.
//
// The state of a CRC over data[s:e], begun with I, is Z^(e-s)(I ^ P(s)) ^ P(e),
// where P(i) is the state over the first i bytes, begun with 0, and Z the step of
// a zero byte, which is linear and has an inverse. The block is whole where that
// is the state R(e) that the checksum at e asks for, so where
//
//	Z^-s(I ^ P(s)) = Z^-e(R(e) ^ P(e))
//
// The left side depends on s alone and the right one on e: those of all e are
// sorted, and each s is looked up.
type blockFinder struct {
	data  []byte
	right []blockEnd // in order
	at    int        // where the search is
	crcPlace
	unzero [256]byte
}

// blockEnd is a place where a block may end, and its right side.
type blockEnd struct {
	key uint32
	end int
}

// crcPlace has what it takes to tell the sides for a place.
type crcPlace struct {
	crc  uint32 // P
	back uint32 // the factor that is Z^-i
}

// move goes on behind the byte b. unzero has of the CRC's table where the entry
// with each highest byte is.
func (c *crcPlace) move(b byte, unzero *[256]byte) {
	c.crc = zeroByte(c.crc ^ uint32(b))
	i := unzero[c.back>>24]
	c.back = (c.back^castagnoli[i])<<8 | uint32(i)
}

// newBlockFinder prepares for blocks from data[from] on.
func newBlockFinder(data []byte, from int) *blockFinder {
	start := crcPlace{back: 1 << 31}
	f := &blockFinder{data: data, at: from, crcPlace: start}
	for i, x := range castagnoli {
		f.unzero[x>>24] = byte(i)
	}
	for i := from; i+trailerSize <= len(data); i++ {
		start.move(data[i], &f.unzero)
		if data[i] <= typeSnappy {
			key := multiply(start.back, ^storedChecksum(data[i+1:])^start.crc)
			f.right = append(f.right, blockEnd{key, i + 1})
		}
	}
	slices.SortFunc(f.right, func(a, b blockEnd) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.end, b.end)) })
	return f
}

// ends returns where blocks may end that start at pos, which does not go back.
func (f *blockFinder) ends(pos int) []int {
	for ; f.at < pos; f.at++ {
		f.move(f.data[f.at], &f.unzero)
	}
	key := multiply(f.back, ^f.crc)
	i, _ := slices.BinarySearchFunc(f.right, key, func(e blockEnd, key uint32) int { return cmp.Compare(e.key, key) })
	var ends []int
	for ; i < len(f.right) && f.right[i].key == key; i++ {
		if f.right[i].end > pos {
			ends = append(ends, f.right[i].end)
		}
	}
	return ends
}

// zeroByte is the step of a CRC for a zero byte.
func zeroByte(crc uint32) uint32 { return castagnoli[byte(crc)] ^ crc>>8 }

// multiply multiplies polynomials modulo that of the CRC. The highest bit is
// that of x^0 (zlib: multmodp).
func multiply(a, b uint32) uint32 {
	var product uint32
	for ; a != 0; a <<= 1 {
		if a>>31 != 0 {
			product ^= b
		}
		odd := b & 1
		if b >>= 1; odd != 0 {
			b ^= crc32.Castagnoli
		}
	}
	return product
}

// isIndex reports whether b is the index: its values are the handles of blocks
// that follow each other up to it, and some of those are the blocks that were found.
func (s *salvager) isIndex(b *foundBlock) bool {
	if !checkBlock(b.contents) {
		return false
	}
	s.it.init(b.contents)
	end, known := int64(0), len(s.found) == 0
	for ok := s.it.first(); ok; ok = s.it.next() {
		h, n, ok := decodeHandle(s.it.value, b.off)
		if !ok || n != len(s.it.value) || h.off != end {
			return false
		}
		end = h.end()
		for _, f := range s.found {
			known = known || f == h
		}
	}
	return s.it.bad == "" && known && end > 0
}

package sst

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/golang/snappy"

	"tempestkv/kv/base"
)

// File is a table's file; vfs.File is one. Several goroutines may read it at
// once.
type File interface {
	io.ReaderAt
	// Size returns the size in bytes.
	Size() (int64, error)
}

// ReaderOptions are the options of a Reader. The zero value is valid.
type ReaderOptions struct {
	// Comparer is the one the table was written with. Default: base.Bytewise.
	Comparer *base.Comparer

	// Cache keeps data blocks, together with those of other tables. nil: each
	// read goes to the file.
	Cache *Cache

	// FileNum names the table in the cache and in errors.
	FileNum uint64
}

// Reader reads a table. It keeps the index and the filters in memory, and
// nothing that has to be closed: the file is the caller's, and must stay open
// as long as the Reader and its iterators are used. Any number of goroutines
// may use a Reader.
//
// Errors of the file are returned as they are. Bytes that are not what a
// Writer wrote give base.ErrCorruption, with the table and an offset in it; a
// block compressed in a way we do not read gives base.ErrNotSupported.
type Reader struct {
	f       File
	opts    ReaderOptions
	size    int64
	dataEnd int64 // the data blocks are before it
	indexAt int64
	index   []byte
	filter  filterReader
}

// errShort: the file has fewer bytes than its size.
var errShort = errors.New("table is shorter than its size")

// tailPart is the part of a table that Open reads at first: index and filters
// are seldom more than a thirtieth of it.
const tailPart = 30

// Open reads the footer, the index and the filters of a table, most often with
// a single read of the file.
func Open(f File, opts ReaderOptions) (*Reader, error) {
	if opts.Comparer == nil {
		opts.Comparer = base.Bytewise
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	r := &Reader{f: f, opts: opts, size: size}
	if size < footerSize {
		return nil, r.corrupt(0, "too short for a table")
	}
	var tail piece
	if err := tail.read(f, max(0, size-max(pieceBytes, size/tailPart)), size); err != nil {
		return nil, err
	}
	limit := size - footerSize
	metaindex, index, reason := decodeFooter(tail.bytes[len(tail.bytes)-footerSize:], limit)
	if reason != "" {
		return nil, r.corrupt(limit, reason)
	}
	r.dataEnd, r.indexAt = min(metaindex.off, index.off), index.off
	b, err := r.meta(&tail, metaindex)
	if err == nil && !checkBlock(b) {
		err = r.corrupt(metaindex.off, "damaged metaindex")
	}
	if err != nil {
		return nil, err
	}
	var it blockIter
	it.init(b)
	for it.next() {
		if string(it.key) != filterName {
			continue
		}
		h, _, ok := decodeHandle(it.value, limit)
		if !ok {
			return nil, r.corrupt(metaindex.off, "damaged handle of the filters")
		}
		if b, err = r.meta(&tail, h); err != nil {
			return nil, err
		}
		if r.filter, ok = newFilterReader(b); !ok {
			return nil, r.corrupt(h.off, "damaged filters")
		}
		r.dataEnd = min(r.dataEnd, h.off)
	}
	if it.bad != "" {
		return nil, r.corrupt(metaindex.off, it.bad)
	}
	if r.index, err = r.meta(&tail, index); err == nil && !checkBlock(r.index) {
		err = r.corrupt(index.off, "damaged index")
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Size returns the size of the file in bytes.
func (r *Reader) Size() int64 { return r.size }

// MemoryBytes returns how much memory the index and the filters take.
func (r *Reader) MemoryBytes() int64 {
	return int64(len(r.index) + len(r.filter.filters) + len(r.filter.offsets))
}

// scratch is what a read needs and does not hand out.
type scratch struct {
	index, data blockIter
	piece       piece
}

// scratches has what reads left for others: as many as there ever were at one
// time. A sync.Pool would take 4 kB of wasm.
var scratches struct {
	mu   sync.Mutex // guards free
	free []*scratch
}

// maxKeptBytes is the largest buffer kept for other reads.
const maxKeptBytes = 64 << 10

func newScratch() *scratch {
	p := &scratches
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free) - 1
	if n < 0 {
		return new(scratch)
	}
	s := p.free[n]
	p.free = p.free[:n]
	return s
}

func (s *scratch) release() {
	s.index.release()
	s.data.release()
	s.piece.trim()
	p := &scratches
	p.mu.Lock()
	p.free = append(p.free, s)
	p.mu.Unlock()
}

// Entry is what Get found: a put or a tombstone.
type Entry struct {
	// Value must not be changed, and is valid until Release.
	Value   []byte
	Trailer base.Trailer

	block *buffer
}

// Release lets the cache use the value's memory for something else. Without it
// the value stays as it is for good.
func (e *Entry) Release() {
	if e.block != nil {
		e.block.release()
		e.block = nil
	}
}

// Get returns the newest version of a user key that is not newer than at, put
// or tombstone. ok is false where there is none.
func (r *Reader) Get(key []byte, at base.SeqNum) (e Entry, ok bool, err error) {
	s := newScratch()
	e, ok, err = r.get(s, key, base.MakeTrailer(min(at, base.MaxSeqNum), base.KindMax))
	s.release()
	return e, ok, err
}

func (r *Reader) get(s *scratch, key []byte, at base.Trailer) (e Entry, ok bool, err error) {
	index := &s.index
	hash := filterHash(key)
	index.init(r.index)
	for found := index.seek(r.opts.Comparer, key, at); found; found = index.next() {
		h, err := r.handle(index)
		if err != nil {
			return Entry{}, false, err
		}
		if r.filter.mayContain(h.off, hash) {
			e, ok, past, err := r.getFrom(s, h, key, at)
			if ok || past || err != nil {
				return e, ok, err
			}
		}
		// The versions of one key may go on in the next block.
		if k, _ := base.DecodeInternalKey(index.key); !bytes.Equal(k.UserKey, key) {
			return Entry{}, false, nil
		}
	}
	if index.bad != "" {
		return Entry{}, false, r.corrupt(r.indexAt, index.bad)
	}
	return Entry{}, false, nil
}

// getFrom is get in one block. past says that the block has a key behind key, so
// that no other can have it.
func (r *Reader) getFrom(s *scratch, h handle, key []byte, at base.Trailer) (e Entry, ok, past bool, err error) {
	block, cached, err := r.block(h, &s.piece)
	if err != nil {
		return Entry{}, false, false, err
	}
	e.block = cached
	data := &s.data
	data.init(block)
	if data.seek(r.opts.Comparer, key, at) {
		k, ok := data.entry()
		if ok && bytes.Equal(k.UserKey, key) {
			e.Value, e.Trailer = data.value, k.Trailer
			if cached == nil {
				e.Value = bytes.Clone(data.value)
			}
			return e, true, false, nil
		}
		if past = ok; !ok {
			err = r.corrupt(h.off, badKey)
		}
	} else if data.bad != "" {
		err = r.corrupt(h.off, data.bad)
	}
	e.Release()
	return Entry{}, false, past, err
}

// ApproximateOffset returns about where in the file the entries of key are, or
// would be: the offset of a block, or the end of the data where all keys are
// before key. The difference of two is about the size of a range.
func (r *Reader) ApproximateOffset(key []byte) int64 {
	s := newScratch()
	defer s.release()
	s.index.init(r.index)
	if s.index.seek(r.opts.Comparer, key, maxTrailer) {
		if h, err := r.handle(&s.index); err == nil {
			return h.off
		}
	}
	return r.dataEnd
}

// maxTrailer sorts before every version of its user key.
var maxTrailer = base.MakeTrailer(base.MaxSeqNum, base.KindMax)

const badKey = "not an internal key, or no value of its kind"

// corrupt reports damage.
func (r *Reader) corrupt(offset int64, what string) error {
	return base.Corruption("table "+strconv.FormatUint(r.opts.FileNum, 10), offset, what)
}

// handle returns the handle of the data block at which index is.
func (r *Reader) handle(index *blockIter) (handle, error) {
	h, n, ok := decodeHandle(index.value, r.size-footerSize)
	if !ok || n != len(index.value) {
		return handle{}, r.corrupt(r.indexAt, "damaged handle of a block")
	}
	return h, nil
}

// block returns the contents of a data block: from the cache, or by way of p and
// then into the cache, with a buffer that is to be released some time, or never.
// Without a cache they are valid until p changes, and there is no buffer.
func (r *Reader) block(h handle, p *piece) ([]byte, *buffer, error) {
	c := r.opts.Cache
	if c != nil {
		if b := c.get(r.opts.FileNum, h.off); b != nil {
			return b.bytes, b, nil
		}
	}
	if err := p.read(r.f, h.off, h.end()); err != nil {
		return nil, nil, err
	}
	if c == nil {
		b, err := r.view(h, p)
		return b, nil, err
	}
	size, err := r.check(h, p.bytes)
	if err != nil {
		return nil, nil, err
	}
	b := c.newBuffer(size)
	if err = r.unpack(h, p.bytes, b.bytes); err == nil && !checkBlock(b.bytes) {
		err = r.corrupt(h.off, badRestarts)
	}
	if err != nil {
		return nil, nil, err
	}
	c.put(r.opts.FileNum, h.off, b)
	return b.bytes, b, nil
}

// view returns the contents of a data block of which p has the bytes, valid
// until p changes.
func (r *Reader) view(h handle, p *piece) ([]byte, error) {
	raw := p.slice(h)
	size, err := r.check(h, raw)
	if err != nil {
		return nil, err
	}
	b := raw[:h.size]
	if raw[h.size] != typePlain {
		if cap(p.unpacked) < size {
			p.unpacked = make([]byte, size)
		}
		b = p.unpacked[:size]
		if err := r.unpack(h, raw, b); err != nil {
			return nil, err
		}
	}
	if !checkBlock(b) {
		return nil, r.corrupt(h.off, badRestarts)
	}
	return b, nil
}

const badRestarts = "damaged restarts of a block"

// meta returns the contents of a block, which tail may have.
func (r *Reader) meta(tail *piece, h handle) ([]byte, error) {
	raw := tail.slice(h)
	if raw == nil {
		var own piece
		if err := own.read(r.f, h.off, h.end()); err != nil {
			return nil, err
		}
		raw = own.bytes
	}
	size, err := r.check(h, raw)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	return b, r.unpack(h, raw, b)
}

// check checks raw, a block and its trailer as they lie in the file, and returns
// the size of its contents.
func (r *Reader) check(h handle, raw []byte) (size int, err error) {
	n := len(raw) - trailerSize
	if binary.LittleEndian.Uint32(raw[n+1:]) != checksum(raw[:n+1]) {
		return 0, r.corrupt(h.off, "checksum does not match")
	}
	switch raw[n] {
	case typePlain:
		return n, nil
	case typeSnappy:
		size, err := snappy.DecodedLen(raw[:n])
		if err != nil || size > maxContents || size/maxExpansion > n {
			return 0, r.corrupt(h.off, "block claims more than Snappy can have packed")
		}
		return size, nil
	case typeZstd:
		return 0, base.Wrap(base.ErrNotSupported, "table block compressed with Zstd", nil)
	}
	return 0, r.corrupt(h.off, "unknown type of block")
}

// unpack makes dst, of the size that check returned, the contents of raw.
func (r *Reader) unpack(h handle, raw, dst []byte) error {
	n := len(raw) - trailerSize
	if raw[n] == typePlain {
		copy(dst, raw)
		return nil
	}
	if _, err := snappy.Decode(dst, raw[:n]); err != nil {
		return r.corrupt(h.off, err.Error())
	}
	return nil
}

// piece is a part of a file in memory.
type piece struct {
	bytes    []byte
	at       int64
	unpacked []byte // what a block of it was unpacked to
}

// read fills the piece with the file's bytes from start to end.
func (p *piece) read(f File, start, end int64) error {
	n := int(end - start)
	if cap(p.bytes) < n {
		p.bytes = make([]byte, n)
	}
	p.bytes, p.at = p.bytes[:n], start
	got, err := f.ReadAt(p.bytes, start)
	if got == n {
		return nil
	}
	p.bytes = p.bytes[:0]
	if err == nil || err == io.EOF {
		return base.Wrap(base.ErrIO, "read at offset "+strconv.FormatInt(start+int64(got), 10), errShort)
	}
	return err
}

// slice returns a block and its trailer, nil where the piece does not have
// them.
func (p *piece) slice(h handle) []byte {
	if h.off < p.at || h.end() > p.at+int64(len(p.bytes)) {
		return nil
	}
	return p.bytes[h.off-p.at : h.end()-p.at]
}

// trim lets go of large buffers.
func (p *piece) trim() {
	if cap(p.bytes)+cap(p.unpacked) > maxKeptBytes {
		*p = piece{}
	}
}

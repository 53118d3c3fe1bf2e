package sst

import (
	"encoding/binary"
	"slices"

	"github.com/golang/snappy"

	"tempestkv/kv/base"
)

// Appender takes the bytes of a table; vfs.File is one.
type Appender interface {
	// Append writes p behind the last byte, and does not keep p. The Writer
	// makes no further call after one that failed.
	Append(p []byte) error
}

// Compression says what a Writer does with blocks.
type Compression uint8

const (
	// Snappy compresses the blocks of which it saves an eighth.
	Snappy Compression = iota
	// NoCompression leaves them as they are.
	NoCompression
)

// pieceBytes is how much a Writer gathers before it calls Append, and the
// least that a reader reads ahead: on some hosts every call costs the same,
// whatever its size.
const pieceBytes = 64 << 10

const (
	defaultBlockBytes = 4 << 10
	maxBlockBytes     = 4 << 20

	defaultBitsPerKey = 10

	// keptWriterBytes is the largest buffer that Reset keeps.
	keptWriterBytes = 512 << 10

	// maxEntryBytes is the largest key and value together. With the largest
	// block they stay far from what 32 bits can count.
	maxEntryBytes = 1 << 30
)

// WriterOptions are the options of a Writer. The zero value is valid.
type WriterOptions struct {
	// Comparer orders the user keys. Default: base.Bytewise.
	Comparer *base.Comparer

	// BlockBytes is the size at which a data block ends, before compression,
	// in bytes: a block is smaller by less than an entry, or as large as its
	// only entry. Larger blocks take less space and make a get read more.
	// Default: 4,096. At most 4 MiB.
	BlockBytes int

	// Compression of the blocks. Default: Snappy.
	Compression Compression

	// FilterBitsPerKey is the size of the bloom filter: 10 bits let one get
	// in a hundred of a missing key read a block, each 5 bits more a tenth of
	// that. Default: 10. Negative: no filter.
	FilterBitsPerKey int
}

// Meta is what a table has.
type Meta struct {
	// Size of the file in bytes.
	Size int64
	// Entries is their count, all versions and tombstones counted.
	Entries int
	// Smallest and Largest are the first key and the last. Without entries
	// they are zero.
	Smallest, Largest base.InternalKey
	// SmallestSeq and LargestSeq are the ends of the range of their sequence
	// numbers. Without entries they are 0.
	SmallestSeq, LargestSeq base.SeqNum
	// Tombstones and Expiring count the entries of base.KindDelete and of
	// base.KindPutExpiring.
	Tombstones, Expiring int
}

// add counts an entry.
func (m *Meta) add(t base.Trailer) {
	seq := t.SeqNum()
	if m.Entries == 0 || seq < m.SmallestSeq {
		m.SmallestSeq = seq
	}
	m.LargestSeq = max(m.LargestSeq, seq)
	switch t.Kind() {
	case base.KindDelete:
		m.Tombstones++
	case base.KindPutExpiring:
		m.Expiring++
	}
	m.Entries++
}

// Writer writes a table. It neither syncs nor closes the file. A Writer
// belongs to one goroutine.
type Writer struct {
	f        Appender
	opts     WriterOptions
	out      []byte // blocks that Append has not taken yet
	appended int64
	data     blockBuilder
	index    blockBuilder
	filter   filterBuilder
	pending  handle // the data block that the index lacks; no size for none
	key      []byte // scratch
	meta     Meta
	err      error
}

// NewWriter returns a Writer of a table that starts with the first byte that
// f gets.
func NewWriter(f Appender, opts WriterOptions) *Writer {
	if opts.Comparer == nil {
		opts.Comparer = base.Bytewise
	}
	if opts.BlockBytes <= 0 {
		opts.BlockBytes = defaultBlockBytes
	}
	opts.BlockBytes = min(opts.BlockBytes, maxBlockBytes)
	if opts.FilterBitsPerKey == 0 {
		opts.FilterBitsPerKey = defaultBitsPerKey
	}
	w := &Writer{f: f, opts: opts}
	w.data.interval, w.index.interval = dataInterval, indexInterval
	w.filter.bitsPerKey = opts.FilterBitsPerKey
	return w
}

// Add appends an entry. Keys must ascend: user keys, then trailers downwards.
// One that does not, an entry of more than 1 GiB, a kind that is none of an
// entry, or an expiring put without its expiry gives base.ErrInvalidArgument and
// changes nothing. A failed Append is returned as it is, by this and every later
// call; the file is then of no use.
func (w *Writer) Add(key base.InternalKey, value []byte) error {
	if w.err != nil {
		return w.err
	}
	if len(key.UserKey)+len(value) > maxEntryBytes || !isEntry(key.Kind(), value) {
		return base.Wrap(base.ErrInvalidArgument, "table entry larger than 1 GiB or of unknown kind", nil)
	}
	if w.meta.Entries == 0 {
		w.meta.Smallest = copyKey(base.InternalKey{}, key)
	} else if w.opts.Comparer.CompareInternal(w.last(), key) >= 0 {
		return base.Wrap(base.ErrInvalidArgument, "table keys do not ascend", nil)
	}
	if w.pending.size > 0 {
		w.addIndex(key.UserKey)
	}
	w.key = key.AppendTo(w.key[:0])
	w.data.add(w.key, value)
	if w.opts.FilterBitsPerKey > 0 {
		w.filter.add(key.UserKey)
	}
	w.meta.add(key.Trailer)
	if w.data.size() >= w.opts.BlockBytes {
		w.finishData()
	}
	return w.err
}

// EstimatedBytes returns about how large the table would be if it were
// finished now. It counts the block that is not full yet as if Snappy saved
// nothing.
func (w *Writer) EstimatedBytes() int64 {
	size := w.offset() + int64(w.data.size()+w.index.size()+footerSize+3*trailerSize)
	if w.opts.FilterBitsPerKey > 0 {
		size += int64(w.filter.size())
	}
	return size
}

// Finish writes the rest of the table and returns what it has. A table may be
// empty. It is whole once the file is synced. Later calls of Add and Finish
// give base.ErrClosed, until Reset.
func (w *Writer) Finish() (Meta, error) {
	if w.err != nil {
		return Meta{}, w.err
	}
	if w.meta.Entries > 0 {
		w.meta.Largest = copyKey(base.InternalKey{}, w.last())
		if len(w.data.restarts) > 0 {
			w.finishData()
		}
		w.addIndex(nil)
	}
	w.data.reset()
	if w.opts.FilterBitsPerKey > 0 {
		h := w.writeBlock(w.filter.finish(), NoCompression)
		w.data.add([]byte(filterName), h.appendTo(w.key[:0]))
	}
	metaindex := w.writeBlock(w.data.finish(), w.opts.Compression)
	index := w.writeBlock(w.index.finish(), w.opts.Compression)
	w.out = appendFooter(w.out, metaindex, index)
	w.meta.Size = w.offset()
	w.append()
	if w.err != nil {
		return Meta{}, w.err
	}
	w.err = base.ErrClosed
	return w.meta, nil
}

// Reset makes w a Writer of another table, with the same options: as NewWriter,
// but it keeps its buffers, some 200 KB for a table of 2 MB, unless a large entry
// made them huge. The table before need not be finished.
func (w *Writer) Reset(f Appender) {
	w.f, w.appended, w.pending, w.meta, w.err = f, 0, handle{}, Meta{}, nil
	w.data.reset()
	w.index.reset()
	w.filter.reset()
	for _, b := range []*[]byte{&w.out, &w.key, &w.data.buf, &w.data.last, &w.index.buf, &w.index.last, &w.filter.buf} {
		if *b = (*b)[:0]; cap(*b) > keptWriterBytes {
			*b = nil
		}
	}
}

// offset returns where the next block will start.
func (w *Writer) offset() int64 { return w.appended + int64(len(w.out)) }

// last returns the key added last; it shares the builder's bytes.
func (w *Writer) last() base.InternalKey {
	k, _ := base.DecodeInternalKey(w.data.last)
	return k
}

// finishData ends the data block.
func (w *Writer) finishData() {
	w.pending = w.writeBlock(w.data.finish(), w.opts.Compression)
	w.data.reset()
	w.filter.startBlock(w.offset())
}

// addIndex adds the pending data block to the index, under a short key from
// its last key on and before next, the first user key behind it; nil for none.
// The rules are those of LevelDB's InternalKeyComparator (db/dbformat.cc).
func (w *Writer) addIndex(next []byte) {
	key, last := w.data.last, w.last()
	if cmp := w.opts.Comparer; cmp.Separator != nil {
		user := cmp.Separator(w.key[:0], last.UserKey, next)
		if len(user) < len(last.UserKey) && cmp.Compare(last.UserKey, user) < 0 {
			// It has no entry, so it stands before all that it could have.
			// LevelDB seeks with the kind of a put and knows none above it.
			key = base.MakeInternalKey(nil, base.MaxSeqNum, base.KindPut).AppendTo(user)
		}
		w.key = user
	}
	var value [2 * 10]byte
	w.index.add(key, w.pending.appendTo(value[:0]))
	w.pending = handle{}
}

// writeBlock takes the contents of a block and returns where they will be.
func (w *Writer) writeBlock(contents []byte, c Compression) handle {
	start := len(w.out)
	h := handle{off: w.offset()}
	w.out = slices.Grow(w.out, snappy.MaxEncodedLen(len(contents))+trailerSize)
	kind := byte(typeSnappy)
	room := w.out[start:cap(w.out)]
	if n := len(contents); c != Snappy {
		kind = typePlain
	} else if packed := snappy.Encode(room, contents); len(packed) < n-n/8 {
		w.out = w.out[:start+len(packed)]
	} else {
		kind = typePlain
	}
	if kind == typePlain {
		w.out = append(w.out, contents...)
	}
	h.size = int64(len(w.out) - start)
	w.out = append(w.out, kind)
	w.out = binary.LittleEndian.AppendUint32(w.out, checksum(w.out[start:]))
	if len(w.out) >= pieceBytes {
		w.append()
	}
	return h
}

// append hands the gathered blocks to the file.
func (w *Writer) append() {
	if w.err == nil {
		w.err = w.f.Append(w.out)
	}
	w.appended += int64(len(w.out))
	w.out = w.out[:0]
}

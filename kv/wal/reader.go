package wal

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"

	"tempestkv/kv/base"
)

// pieceBytes is how much a Reader reads at once: whole blocks, and many, since
// on some hosts a small read costs as much as a large one.
const pieceBytes = 8 * BlockSize

// scanBytes bounds the bytes that a Reader checksums in vain while it tries
// every place of a damaged block. Ordinary damage takes a small part of it; it
// keeps bytes made to be slow from being so.
const scanBytes = 64 << 20

// BadRecordError tells of bytes in a log that are no record. errors.Is finds
// it as base.ErrCorruption; whether it is that, or the tail of a write that a
// crash cut short, is for the caller to find out: see Reader.Resync.
type BadRecordError struct {
	// Offset is where the bad record starts, in bytes from the start of the
	// log: the place of its first fragment, even where a later one is bad.
	Offset int64
	// Reason says what is wrong, for people.
	Reason string
}

// Error returns the reason and the offset.
func (e *BadRecordError) Error() string {
	return base.ErrCorruption.Error() + ": log record at offset " + strconv.FormatInt(e.Offset, 10) + ": " + e.Reason
}

// Unwrap returns base.ErrCorruption.
func (e *BadRecordError) Unwrap() error { return base.ErrCorruption }

// errShort: the file has fewer bytes than its size.
var errShort = errors.New("log is shorter than its size")

// Reader reads the records of a log in order. It holds one piece of the file
// and the record it put together last. A Reader belongs to one goroutine.
//
// A reader that recovers a log goes on behind damage to learn what it is:
//
//	for {
//		payload, err := r.Next()
//		if bad := (*wal.BadRecordError)(nil); errors.As(err, &bad) {
//			err = r.Resync() // from here on: records behind damage
//			…
//		}
//	}
type Reader struct {
	f    io.ReaderAt
	size int64

	piece   []byte // bytes of the file from pieceAt, which is the start of a block
	pieceAt int64
	record  []byte // a record of several fragments

	start  int64 // where the record that Next returned last begins
	pos    int64 // where the next record is looked for
	end    int64 // behind the last record before any damage
	damage int64 // where Resync starts
	whole  bool  // no damage so far
	budget int64 // what is left of scanBytes
	err    error // what ended reading
}

// NewReader returns a Reader of the log in the first size bytes of f.
func NewReader(f io.ReaderAt, size int64) *Reader {
	return &Reader{f: f, size: size, whole: true, budget: scanBytes}
}

// Offset returns the end of the last good record before any damage: a Writer
// may continue there once everything behind is dropped.
func (r *Reader) Offset() int64 { return r.end }

// Start returns where the record that Next returned last begins, in bytes from
// the start of the log.
func (r *Reader) Start() int64 { return r.start }

// End returns where that record ends.
func (r *Reader) End() int64 { return r.pos }

// Next returns the next record; its bytes are valid until the next call.
//
// io.EOF where the log ends in order: at the end of the file, or where only
// zeros follow. A *BadRecordError where something else follows, as a record
// that the end of the file cuts off, or zeros with other bytes behind them.
// Any other error is that of the file. Once it has failed, Next returns the
// same error until Resync finds a place to go on from.
func (r *Reader) Next() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	payload, err := r.next()
	if err != nil {
		r.err = err
		return nil, err
	}
	if r.whole {
		r.end = r.pos
	}
	return payload, nil
}

func (r *Reader) next() ([]byte, error) {
	r.record = r.record[:0]
	inRecord := false
	for {
		at, b, err := r.block(r.pos)
		if err != nil {
			return nil, err
		}
		if !inRecord {
			r.start = at
		}
		if len(b) == 0 {
			if inRecord {
				return nil, r.bad(r.start, at, "the file ends inside it")
			}
			return nil, io.EOF
		}
		if isZero(b[:min(len(b), headerSize)]) {
			if inRecord {
				return nil, r.bad(r.start, at, "zeros in place of a later part")
			}
			return nil, r.zeros(at)
		}
		kind, data, reason := parse(at, b)
		if reason != "" {
			return nil, r.bad(r.start, at, reason)
		}
		switch {
		case !inRecord && (kind == typeMiddle || kind == typeLast):
			return nil, r.bad(r.start, at, "a later part without the first")
		case inRecord && (kind == typeFull || kind == typeFirst):
			return nil, r.bad(r.start, at, "another record in place of a later part")
		case len(r.record)+len(data) > MaxRecordBytes:
			return nil, r.bad(r.start, at, "larger than "+strconv.Itoa(MaxRecordBytes)+" bytes")
		}
		r.pos = at + headerSize + int64(len(data))
		if kind == typeFull {
			return data, nil
		}
		r.record = append(r.record, data...)
		if kind == typeLast {
			return r.record, nil
		}
		inRecord = true
	}
}

// bad reports the record at start; Resync is to go on at damage.
func (r *Reader) bad(start, damage int64, reason string) error {
	r.whole, r.damage = false, damage
	return &BadRecordError{Offset: start, Reason: reason}
}

// zeros decides what zeros at a place for a header are: the end of the log,
// or a hole in it.
func (r *Reader) zeros(at int64) error {
	for pos := at; ; {
		next, b, err := r.block(pos)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return io.EOF
		}
		if !isZero(b) {
			i := 0
			for b[i] == 0 {
				i++
			}
			// The first byte that is not zero may be any of a header.
			return r.bad(at, max(next, next+int64(i)-headerSize+1), "zeros in the middle of the log")
		}
		pos = next + int64(len(b))
	}
}

// Resync looks behind the damage that Next reported for the next intact
// fragment that begins a record. It returns nil where there is one: Next goes
// on there, and may report damage again. It returns io.EOF where there is
// none, or the error of the file. Without damage it returns what Next did last.
//
// It goes over intact fragments that do not begin a record. Where there is no
// intact one it tries every place up to the end of the block, and then goes on
// at the next block, where a fragment always starts. So it may also find a
// record inside the payload of a damaged one, such as a copy of a log kept as
// a value. Such a record is followed by others to the end of the block only by
// chance: see what Next says behind it. What Resync finds serves to tell a torn
// tail from damage in the middle, and is not to be applied.
func (r *Reader) Resync() error {
	if _, ok := r.err.(*BadRecordError); !ok {
		return r.err
	}
	for pos := r.damage; ; {
		at, b, err := r.block(pos)
		if err != nil {
			r.err = err
			return err
		}
		if len(b) == 0 {
			r.err = io.EOF
			return io.EOF
		}
		if i, ok := r.find(at, b); ok {
			r.pos, r.err = at+int64(i), nil
			return nil
		}
		pos = at + int64(len(b))
	}
}

// find returns the index of the first intact full or first fragment in b, the
// rest of a block from at. b may begin with damage or with a fragment.
func (r *Reader) find(at int64, b []byte) (int, bool) {
	i := 0
	for i+headerSize <= len(b) {
		kind, data, reason := parse(at+int64(i), b[i:])
		if reason != "" {
			break
		}
		if kind == typeFull || kind == typeFirst {
			return i, true
		}
		i += headerSize + len(data)
	}
	for i++; i+headerSize <= len(b); i++ {
		kind, end := b[i+6], i+headerSize+int(binary.LittleEndian.Uint16(b[i+4:]))
		// A first fragment goes to the end of its block.
		if end > len(b) || kind != typeFull && (kind != typeFirst || (at+int64(end))%BlockSize != 0) {
			continue
		}
		if r.budget -= int64(end - i); r.budget < 0 {
			break
		}
		if _, _, reason := parse(at+int64(i), b[i:]); reason == "" {
			return i, true
		}
	}
	return 0, false
}

// parse returns the fragment at the front of b, the rest of a block from at,
// or the reason why there is none.
func parse(at int64, b []byte) (kind byte, data []byte, reason string) {
	const cut = "cut off by the end of the file"
	if len(b) < headerSize {
		return 0, nil, cut
	}
	size := int(binary.LittleEndian.Uint16(b[4:]))
	if kind = b[6]; kind < typeFull || kind > typeLast {
		return 0, nil, "unknown type of fragment"
	}
	if headerSize+size > BlockSize-int(at%BlockSize) {
		return 0, nil, "length reaches beyond the block"
	}
	if headerSize+size > len(b) {
		return 0, nil, cut
	}
	if binary.LittleEndian.Uint32(b) != checksum(b[6:headerSize+size]) {
		return 0, nil, "checksum does not match"
	}
	return kind, b[headerSize : headerSize+size : headerSize+size], ""
}

// block returns the bytes from pos to the end of its block or of the file,
// none at the end of the file. Where pos is in a trailer at is the start of
// the next block, else it is pos.
func (r *Reader) block(pos int64) (at int64, b []byte, err error) {
	at = pos
	if room := BlockSize - pos%BlockSize; room < headerSize {
		at += room
	}
	if at >= r.size {
		return at, nil, nil
	}
	start := at - at%BlockSize
	if start < r.pieceAt || start >= r.pieceAt+int64(len(r.piece)) {
		if err := r.read(start); err != nil {
			return 0, nil, err
		}
	}
	b = r.piece[start-r.pieceAt:]
	return at, b[at-start : min(len(b), BlockSize)], nil
}

// read fills the piece from start, the start of a block.
func (r *Reader) read(start int64) error {
	n := int(min(pieceBytes, r.size-start))
	if cap(r.piece) < n {
		r.piece = make([]byte, n)
	}
	r.piece, r.pieceAt = r.piece[:n], start
	got, err := r.f.ReadAt(r.piece, start)
	if got == n {
		return nil
	}
	r.piece = r.piece[:0]
	if err == nil || err == io.EOF {
		return base.Wrap(base.ErrIO, "read at offset "+strconv.FormatInt(start+int64(got), 10), errShort)
	}
	return err
}

// isZero reports whether b holds only zeros.
func isZero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

package wal

import (
	"encoding/binary"
	"slices"
	"strconv"

	"tempestkv/kv/base"
)

// Appender takes the bytes of a log; vfs.File is one.
type Appender interface {
	// Append writes p behind the last byte. The Writer makes no further call
	// after one that failed.
	Append(p []byte) error
}

// maxKeptBytes is the largest buffer a Writer keeps between calls.
const maxKeptBytes = 1 << 20

// Writer appends records to a log. It neither syncs nor closes the file. A
// Writer belongs to one goroutine.
type Writer struct {
	f      Appender
	offset int64
	buf    []byte
	err    error
}

// NewWriter returns a Writer whose first byte goes to offset, counted in bytes
// from the start of the log: 0 for a new log, Reader.Offset to continue one.
// f must stand there, since the place decides how records are cut.
func NewWriter(f Appender, offset int64) *Writer {
	w := &Writer{f: f, offset: offset}
	if offset < 0 {
		w.err = base.Wrap(base.ErrInvalidArgument, "negative log offset", nil)
	}
	return w
}

// Offset returns the offset in bytes behind the last record written.
func (w *Writer) Offset() int64 { return w.offset }

// AddRecord appends one record, of all parts together, with one call of Append.
// The record may be empty. One larger than MaxRecordBytes gives
// base.ErrInvalidArgument and changes nothing. A failed Append is returned as it
// is; how much of the record the file then holds is unknown, so every later call
// gives base.ErrReadOnly.
func (w *Writer) AddRecord(parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if err := w.check(size); err != nil {
		return err
	}
	w.begin(framedSize(size))
	w.frame(size, parts)
	return w.append()
}

// AddRecords appends records in order, with one call of Append for all of
// them; none where there are no records. Errors are those of AddRecord. After
// a failed Append any of them may be in the file, whole or in part.
func (w *Writer) AddRecords(payloads ...[]byte) error {
	size := 0
	for _, p := range payloads {
		if err := w.check(len(p)); err != nil {
			return err
		}
		size += framedSize(len(p))
	}
	if len(payloads) == 0 {
		return nil
	}
	w.begin(size)
	for i, p := range payloads {
		w.frame(len(p), payloads[i:i+1])
	}
	return w.append()
}

func (w *Writer) check(size int) error {
	if w.err != nil {
		return base.Wrap(base.ErrReadOnly, "log failed before", w.err)
	}
	if size > MaxRecordBytes {
		return base.Wrap(base.ErrInvalidArgument, "log record larger than "+strconv.Itoa(MaxRecordBytes)+" bytes", nil)
	}
	return nil
}

// framedSize returns the most bytes a record of size bytes can take: a header
// a block it touches, one of them perhaps behind a trailer.
func framedSize(size int) int {
	const perBlock = BlockSize - headerSize
	return size + (size/perBlock+2)*headerSize + headerSize
}

// begin empties the buffer and makes room for size bytes.
func (w *Writer) begin(size int) { w.buf = slices.Grow(w.buf[:0], size) }

// frame appends the fragments of one record, of size bytes, to the buffer.
func (w *Writer) frame(size int, parts [][]byte) {
	var part []byte // what is left of the first of those that are begun
	for first := true; ; first = false {
		room := BlockSize - int((w.offset+int64(len(w.buf)))%BlockSize)
		if room < headerSize {
			var trailer [headerSize]byte
			w.buf = append(w.buf, trailer[:room]...)
			room = BlockSize
		}
		n := min(size, room-headerSize)
		last := n == size
		var kind byte
		switch {
		case first && last:
			kind = typeFull
		case first:
			kind = typeFirst
		case last:
			kind = typeLast
		default:
			kind = typeMiddle
		}
		at := len(w.buf)
		w.buf = append(w.buf, 0, 0, 0, 0, byte(n), byte(n>>8), kind)
		for left := n; left > 0; {
			if len(part) == 0 {
				part, parts = parts[0], parts[1:]
			}
			taken := min(left, len(part))
			w.buf = append(w.buf, part[:taken]...)
			part = part[taken:]
			left -= taken
		}
		binary.LittleEndian.PutUint32(w.buf[at:], checksum(w.buf[at+6:]))
		if last {
			return
		}
		size -= n
	}
}

// append hands the buffer to the file.
func (w *Writer) append() error {
	if w.err = w.f.Append(w.buf); w.err != nil {
		w.buf = nil
		return w.err
	}
	w.offset += int64(len(w.buf))
	if cap(w.buf) > maxKeptBytes {
		w.buf = nil
	}
	return nil
}

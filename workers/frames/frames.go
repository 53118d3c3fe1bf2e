// Package frames builds request frames and reads reply frames: the bytes in
// which the engine is spoken to, wherever it runs. docs/PROTOCOL.md describes
// them; all integers are little-endian:
//
//	frame: | version (u8) | type (u8) | 0 (u16) | session (u32) | count (u32) | size (u32) | entries |
//	entry: | id (u32) | op or status (u8) | flags (u8) | 0 (u16) | size (u32) | body |
package frames

import (
	"encoding/binary"
	"errors"
	"io"
)

// Sizes and values of the format.
const (
	version     = 1
	typeRequest = 1
	typeReply   = 2

	headerSize = 16
	entrySize  = 12

	// MaxBytes is the largest size in bytes of a frame that the object takes.
	MaxBytes = 16 << 20
)

// Op is what a request asks for.
type Op uint8

// The operations that the router uses.
const (
	OpWrite     Op = 1
	OpGet       Op = 2
	OpScan      Op = 4
	OpScanNext  Op = 5
	OpStats     Op = 7
	OpWatch     Op = 16
	OpWatchNext Op = 17
)

// Flags of requests, by operation.
const (
	WriteConditional = 2

	GetSequence = 1

	ScanReverse  = 1
	ScanKeysOnly = 32

	// BoundLower to BoundInclusiveUpper say which bounds a range has.
	BoundLower          = 2
	BoundExclusiveLower = 4
	BoundUpper          = 8
	BoundInclusiveUpper = 16

	WatchSince  = 1
	WatchValues = 2
)

// Flags of replies.
const (
	// ScanEnded: the run is the scan's last.
	ScanEnded = 1
	// WatchGap: commits before these were lost.
	WatchGap = 1
)

// Status is how a request ended.
type Status uint8

// The statuses of a reply.
const (
	StatusOK       Status = 0
	StatusNotFound Status = 1
	StatusError    Status = 2
)

// ErrMalformed is the error of whoever reads bytes that are no reply frame, or
// no body of the kind that was asked for.
var ErrMalformed = errors.New("tempestkv: malformed reply frame")

// Error is the engine's own, as an error reply tells it.
type Error struct {
	Code    string // such as TEMPEST_CORRUPTION, stable
	Message string // for people
}

func (e *Error) Error() string { return e.Message }

// Request builds a request frame. The zero value is an empty one.
type Request struct {
	buf   []byte
	count uint32
	entry int // where the last entry begins
}

// Add begins an entry. What is appended until the next Add, or Finish, is its
// body. Entries are numbered from 0 in the order they were added; the number
// is the entry's id.
func (r *Request) Add(op Op, flags uint8) (id uint32) {
	if r.count == 0 {
		r.buf = append(r.buf[:0], make([]byte, headerSize)...)
	}
	r.end()
	id = r.count
	r.count++
	r.entry = len(r.buf)
	r.buf = binary.LittleEndian.AppendUint32(r.buf, id)
	r.buf = append(r.buf, byte(op), flags, 0, 0, 0, 0, 0, 0)
	return id
}

// SetID gives the last entry another id than its number.
func (r *Request) SetID(id uint32) { binary.LittleEndian.PutUint32(r.buf[r.entry:], id) }

// end fills in the size of the last entry.
func (r *Request) end() {
	if r.entry > 0 {
		binary.LittleEndian.PutUint32(r.buf[r.entry+8:], uint32(len(r.buf)-r.entry-entrySize))
	}
}

// U8 appends a byte to the body of the last entry.
func (r *Request) U8(v uint8) { r.buf = append(r.buf, v) }

// U32 appends an integer to the body of the last entry.
func (r *Request) U32(v uint32) { r.buf = binary.LittleEndian.AppendUint32(r.buf, v) }

// U64 appends an integer to the body of the last entry.
func (r *Request) U64(v uint64) { r.buf = binary.LittleEndian.AppendUint64(r.buf, v) }

// Raw appends b, without its length, to the body of the last entry.
func (r *Request) Raw(b []byte) { r.buf = append(r.buf, b...) }

// Bytes appends a length and b to the body of the last entry.
func (r *Request) Bytes(b []byte) { r.buf = append(binary.AppendUvarint(r.buf, uint64(len(b))), b...) }

// Finish returns the frame. The Request must not be used afterwards.
func (r *Request) Finish() []byte {
	r.end()
	if r.count == 0 {
		r.buf = make([]byte, headerSize)
	}
	r.buf[0], r.buf[1] = version, typeRequest
	binary.LittleEndian.PutUint32(r.buf[8:], r.count)
	binary.LittleEndian.PutUint32(r.buf[12:], uint32(len(r.buf)))
	return r.buf
}

// IsRequest reports whether b has the header of a request frame that is as long
// as it says. The object looks at the entries.
func IsRequest(b []byte) bool {
	return len(b) >= headerSize && len(b) <= MaxBytes && b[0] == version && b[1] == typeRequest &&
		uint64(binary.LittleEndian.Uint32(b[12:])) == uint64(len(b))
}

// Reply is one entry of a reply frame.
type Reply struct {
	ID     uint32
	Status Status
	Flags  uint8
	Body   []byte
}

// Err returns the error that the reply tells of, nil where it tells of none.
// Its kind is *Error, or ErrMalformed where even the error is none.
func (r Reply) Err() error {
	if r.Status != StatusError {
		return nil
	}
	c := Cursor{r.Body}
	code, ok1 := c.Bytes()
	message, ok2 := c.Bytes()
	if !ok1 || !ok2 {
		return ErrMalformed
	}
	return &Error{Code: string(code), Message: string(message)}
}

// Reader reads reply frames, one behind the other, entry by entry.
type Reader struct {
	// Frames is what has not been read yet of the frames behind this one.
	Frames []byte

	frame []byte // what is left of this frame
	count uint32 // entries left in it
}

// Next returns the next entry; its body shares the bytes of the frames. io.EOF
// behind the last frame, ErrMalformed where the bytes are no frames.
func (r *Reader) Next() (Reply, error) {
	for r.count == 0 {
		if len(r.frame) > 0 {
			return Reply{}, ErrMalformed
		}
		if len(r.Frames) == 0 {
			return Reply{}, io.EOF
		}
		if err := r.cutFrame(); err != nil {
			return Reply{}, err
		}
	}
	if len(r.frame) < entrySize {
		return Reply{}, ErrMalformed
	}
	size := binary.LittleEndian.Uint32(r.frame[8:])
	if uint64(size) > uint64(len(r.frame)-entrySize) {
		return Reply{}, ErrMalformed
	}
	end := entrySize + int(size)
	reply := Reply{
		ID:     binary.LittleEndian.Uint32(r.frame),
		Status: Status(r.frame[4]),
		Flags:  r.frame[5],
		Body:   r.frame[entrySize:end:end],
	}
	if reply.Status > StatusError {
		return Reply{}, ErrMalformed
	}
	r.frame = r.frame[end:]
	r.count--
	return reply, nil
}

func (r *Reader) cutFrame() error {
	b := r.Frames
	if len(b) < headerSize {
		return ErrMalformed
	}
	size := binary.LittleEndian.Uint32(b[12:])
	if b[0] != version || b[1] != typeReply || size < headerSize || uint64(size) > uint64(len(b)) {
		return ErrMalformed
	}
	r.count = binary.LittleEndian.Uint32(b[8:])
	r.frame, r.Frames = b[headerSize:size:size], b[size:]
	return nil
}

// Cursor reads the body of an entry from its front. ok is false, and nothing
// read, where B is too short or malformed.
type Cursor struct{ B []byte }

// U8 reads a byte.
func (c *Cursor) U8() (v uint8, ok bool) {
	if len(c.B) < 1 {
		return 0, false
	}
	v, c.B = c.B[0], c.B[1:]
	return v, true
}

// U32 reads an integer.
func (c *Cursor) U32() (v uint32, ok bool) {
	if len(c.B) < 4 {
		return 0, false
	}
	v, c.B = binary.LittleEndian.Uint32(c.B), c.B[4:]
	return v, true
}

// U64 reads an integer.
func (c *Cursor) U64() (v uint64, ok bool) {
	if len(c.B) < 8 {
		return 0, false
	}
	v, c.B = binary.LittleEndian.Uint64(c.B), c.B[8:]
	return v, true
}

// Bytes reads a length and as many bytes, which share B's.
func (c *Cursor) Bytes() (b []byte, ok bool) {
	size, n := binary.Uvarint(c.B[:min(len(c.B), binary.MaxVarintLen32)])
	if n <= 0 || size > uint64(len(c.B)-n) {
		return nil, false
	}
	end := n + int(size)
	b, c.B = c.B[n:end:end], c.B[end:]
	return b, true
}

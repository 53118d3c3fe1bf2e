//go:build js && wasm

package main

import (
	"encoding/binary"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// The frame format; docs/PROTOCOL.md describes it.
const (
	frameVersion    = 1
	frameRequest    = 1
	frameReply      = 2
	frameHeaderSize = 16
	entryHeaderSize = 12
	maxFrameBytes   = 128 << 20

	// maxReplyBody leaves room in the largest frame for headers and for the
	// answers that may stand before it.
	maxReplyBody = maxFrameBytes - replyBytes - frameHeaderSize - entryHeaderSize

	badFrameID = 0xffffffff
	noticeID   = 0xfffffffe

	statusOK       = 0
	statusNotFound = 1
	statusError    = 2

	opOpen            = 0
	opWrite           = 1
	opGet             = 2
	opGetMany         = 3
	opScan            = 4
	opScanNext        = 5
	opScanClose       = 6
	opStats           = 7
	opClose           = 8
	opSnapshot        = 9
	opSnapshotClose   = 10
	opCount           = 11
	opApproximateSize = 12
	opFlush           = 13
	opCompact         = 14
	opVerify          = 15
	opWatch           = 16
	opWatchNext       = 17
	opWatchClose      = 18
	opExport          = 19
	opExportNext      = 20
	opExportClose     = 21
	opImport          = 22
	opImportEnd       = 23
	opImportFile      = 24
	opImportFileNext  = 25
	opImportFilesEnd  = 26
	opExportFolder    = 27
	opRepair          = 28
	opPanic           = 127

	flagStrict      = 1
	flagConditional = 2

	getSequence = 1
	getSnapshot = 2

	scanSnapshot = 64

	watchHasSince = 1
	watchValues   = 2
	watchGap      = 1

	scanReverse        = 1
	scanHasLower       = 2
	scanLowerExclusive = 4
	scanHasUpper       = 8
	scanUpperInclusive = 16
	scanKeysOnly       = 32

	scanEnded = 1

	exportLast  = 1
	exportFile  = 2
	importAbort = 1

	importUnneeded = 1
	importMore     = 1

	folderDropExpiry = 1

	tagMemtableBytes = 1

	maxMemtableBytes = 256 << 20
	maxRunBytes      = 1 << 20
)

func malformed(what string) error {
	return base.Wrap(kv.ErrInvalidArgument, "malformed frame: "+what, nil)
}

// request is a frame of requests. It is the sink of its calls; when the last
// is answered its buffer goes back to the pool.
type request struct {
	bridge  *bridge
	buf     []byte
	session uint32
	left    int // entries not yet answered
}

// entry is one request of a frame; body shares the frame's bytes.
type entry struct {
	id    uint32
	op    byte
	flags byte
	body  []byte
}

// check validates the frame down to the sizes of its entries, so that a
// malformed one is refused whole, and counts them.
func (r *request) check() error {
	b := r.buf
	if len(b) < frameHeaderSize {
		return malformed("too short")
	}
	r.session = binary.LittleEndian.Uint32(b[4:])
	count := binary.LittleEndian.Uint32(b[8:])
	switch {
	case b[0] != frameVersion:
		return base.Wrap(kv.ErrNotSupported, "unknown version of frames", nil)
	case b[1] != frameRequest:
		return malformed("not a request")
	case len(b) > maxFrameBytes:
		return malformed("too large")
	case uint64(binary.LittleEndian.Uint32(b[12:])) != uint64(len(b)):
		return malformed("size is not what came")
	}
	b = b[frameHeaderSize:]
	for ; count > 0; count-- {
		if len(b) < entryHeaderSize {
			return malformed("an entry is cut short")
		}
		size := binary.LittleEndian.Uint32(b[8:])
		if uint64(size) > uint64(len(b)-entryHeaderSize) {
			return malformed("a body is cut short")
		}
		b = b[entryHeaderSize+size:]
		r.left++
	}
	if len(b) > 0 {
		return malformed("bytes behind the last entry")
	}
	return nil
}

// each calls f with the entries in order.
func (r *request) each(f func(entry)) {
	// The last answer gives the buffer back, maybe before f returns.
	for b, left := r.buf[frameHeaderSize:], r.left; left > 0; left-- {
		end := entryHeaderSize + int(binary.LittleEndian.Uint32(b[8:]))
		f(entry{id: binary.LittleEndian.Uint32(b), op: b[4], flags: b[5], body: b[entryHeaderSize:end:end]})
		b = b[end:]
	}
}

func (r *request) answer(id uint32, body []byte) {
	r.bridge.reply(r.session, id, statusOK, 0, body)
	r.done()
}

func (r *request) answerError(id uint32, err error) {
	r.bridge.fail(r.session, id, err)
	r.done()
}

// done counts one call as answered.
func (r *request) done() {
	r.bridge.unanswered--
	r.release()
}

// release tells that one call needs the frame's bytes no more.
func (r *request) release() {
	if r.left--; r.left == 0 {
		r.bridge.pool.put(r.buf)
		r.buf = nil
	}
}

// background lets a call go on without the frame's bytes, and without holding
// up settle for longer than it can help.
func (r *request) background(f func()) {
	r.bridge.slow++
	r.release()
	go func() {
		f()
		r.bridge.slow--
		r.bridge.unanswered--
	}()
}

// bufferPool keeps the buffers of frames that are done, for the next ones.
type bufferPool struct {
	bufs  [4][]byte
	count int
}

func (p *bufferPool) put(buf []byte) {
	if cap(buf) <= poolBytes && p.count < len(p.bufs) {
		p.bufs[p.count] = buf[:cap(buf)]
		p.count++
	}
}

// get returns a buffer of at least n bytes, or nil.
func (p *bufferPool) get(n uint32) []byte {
	if p.count == 0 || cap(p.bufs[p.count-1]) < int(n) {
		return nil
	}
	p.count--
	return p.bufs[p.count]
}

// replyWriter builds a reply frame.
type replyWriter struct {
	buf   []byte
	count uint32
}

// grow makes room for size bytes more and returns whether there was room
// already. Where there was none it allocates, which may let other goroutines
// run and write answers of their own: look at everything anew.
func (w *replyWriter) grow(size int) bool {
	size += frameHeaderSize
	if cap(w.buf)-len(w.buf) >= size {
		return true
	}
	grown := make([]byte, 0, max(2*cap(w.buf), len(w.buf)+size, 4096))
	if cap(grown) >= len(w.buf) {
		w.buf = append(grown, w.buf...)
	}
	return false
}

// add adds an entry. There is room for it, so nothing is allocated and no other
// goroutine sees it half written.
func (w *replyWriter) add(id uint32, status, flags byte, body []byte) {
	if w.count == 0 {
		w.buf = w.buf[:frameHeaderSize]
	}
	w.buf = binary.LittleEndian.AppendUint32(w.buf, id)
	w.buf = append(w.buf, status, flags, 0, 0)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(body)))
	w.buf = append(w.buf, body...)
	w.count++
}

// finish fills in the header and returns the frame. The next add reuses its
// bytes.
func (w *replyWriter) finish(session uint32) []byte {
	frame := w.buf
	clear(frame[:frameHeaderSize])
	frame[0], frame[1] = frameVersion, frameReply
	binary.LittleEndian.PutUint32(frame[4:], session)
	binary.LittleEndian.PutUint32(frame[8:], w.count)
	binary.LittleEndian.PutUint32(frame[12:], uint32(len(frame)))
	w.buf, w.count = frame[:0], 0
	if cap(w.buf) > poolBytes {
		w.buf = nil
	}
	return frame
}

// cursor reads the body of an entry.
type cursor struct{ b []byte }

func (c *cursor) u32() (uint32, bool) {
	if len(c.b) < 4 {
		return 0, false
	}
	v := binary.LittleEndian.Uint32(c.b)
	c.b = c.b[4:]
	return v, true
}

func (c *cursor) varint() (uint32, bool) {
	v, n := binary.Uvarint(c.b[:min(len(c.b), 5)])
	if n <= 0 || v > 0xffffffff {
		return 0, false
	}
	c.b = c.b[n:]
	return uint32(v), true
}

func (c *cursor) bytes() ([]byte, bool) {
	n, ok := c.varint()
	if !ok || uint64(n) > uint64(len(c.b)) {
		return nil, false
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b, true
}

func (c *cursor) u64() (uint64, bool) {
	if len(c.b) < 8 {
		return 0, false
	}
	v := binary.LittleEndian.Uint64(c.b)
	c.b = c.b[8:]
	return v, true
}

func (c *cursor) u8() (byte, bool) {
	if len(c.b) == 0 {
		return 0, false
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v, true
}

// bounds reads a range, whose flags are those of a scan. It copies the keys:
// the frame's buffer is reused when it has been answered, and most ranges live
// on.
func (c *cursor) bounds(flags byte) (iterator.Bounds, bool) {
	lower, ok1 := c.bytes()
	upper, ok2 := c.bytes()
	b := iterator.Bounds{
		LowerExclusive: flags&scanLowerExclusive != 0,
		UpperInclusive: flags&scanUpperInclusive != 0,
	}
	if flags&scanHasLower != 0 {
		b.Lower = append([]byte{}, lower...)
	}
	if flags&scanHasUpper != 0 {
		b.Upper = append([]byte{}, upper...)
	}
	return b, ok1 && ok2
}

// ranges reads a count and so many ranges, each with its flags.
func (c *cursor) ranges() ([]iterator.Bounds, bool) {
	n, ok := c.u32()
	// A range takes at least three bytes, so no count asks for more than came.
	if !ok || int64(n)*3 > int64(len(c.b)) {
		return nil, false
	}
	list := make([]iterator.Bounds, n)
	for i := range list {
		flags, ok1 := c.u8()
		b, ok2 := c.bounds(flags)
		if !ok1 || !ok2 {
			return nil, false
		}
		list[i] = b
	}
	return list, true
}

// keys reads a count and so many keys, which share the frame's bytes.
func (c *cursor) keys() ([][]byte, bool) {
	n, ok := c.u32()
	// A key takes at least one byte, so no count asks for more than came.
	if !ok || int64(n) > int64(len(c.b)) {
		return nil, false
	}
	list := make([][]byte, n)
	for i := range list {
		if list[i], ok = c.bytes(); !ok {
			return nil, false
		}
	}
	return list, true
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

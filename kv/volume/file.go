package volume

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// file is a file of the volume.
type file struct {
	v  *Volume
	fd vfs.FileDesc

	append sync.Mutex // held by who appends, and by Reopen

	// Volume.mu guards the rest.
	extents []extent // never changed in place: calls under way read them
	growing []extent // taken for a log and still to be zeroed
	pages   uint32   // in extents
	size    int64    // bytes appended; of a log found at Open, all its space
	flushed int64    // of size, bytes that are on the device
	buf     []byte   // the others; only a table has any

	// A file is named once the next catalog shall have it: a log when it has
	// its space, others when they are first synced.
	named     bool
	inCatalog bool   // the newest one
	committed int64  // size there; for a log without meaning
	encoded   int64  // size in the catalog of encodedBy
	encodedBy uint64 // generation
	written   uint64 // Volume.writes when it was last written
	broken    error  // a failed append
	removing  bool   // the commit under way leaves it out
	removed   uint64 // the generation that has it no more; 0 for none

	reserve  uint32    // pages expected at Create
	growth   uint32    // pages a log grew by last
	calls    int       // device calls under way on its pages
	left     []givenUp // pages that it has no more, but such a call may use
	handles  int
	appender *handle
}

// unnamedGeneration stands in file.removed for a file that no catalog has.
const unnamedGeneration = 1

// writeBytes is how much of a table is gathered before it is written: on some
// hosts a call costs the same whatever its size, on others a page written in
// parts costs as much as pages. It is a multiple of PageSize.
const writeBytes = 256 << 10

// maxSpare is how many buffers of writeBytes are kept for the next tables.
const maxSpare = 2

// clearBytes is the unit in which the end of a log is searched for what is not
// zero.
const clearBytes = 4 << 10

// handle is an open file.
type handle struct {
	f      *file
	closed bool
}

var _ vfs.File = (*handle)(nil)

// open returns a new handle; an appending one replaces the file's appender.
// Needs mu.
func (f *file) open(appends bool) *handle {
	h := &handle{f: f}
	f.handles++
	if appends {
		f.appender = h
		f.broken = nil
	}
	return h
}

// entry returns the file as a catalog has it. Pages chosen ahead for a table
// are not named before they are written.
func (f *file) entry() entry {
	if f.fd.Type == vfs.TypeLog {
		return entry{f.fd, f.space(), f.extents}
	}
	head, _ := splitExtents(f.extents, pagesFor(f.flushed))
	return entry{f.fd, f.flushed, head}
}

// space returns how many bytes the extents have room for.
func (f *file) space() int64 { return int64(f.pages) * PageSize }

// begin comes before device calls on the file's pages: they stay its own until
// end. Needs mu.
func (f *file) begin() {
	f.calls++
	f.v.enter()
}

// end comes after them. Needs mu.
func (f *file) end() {
	f.calls--
	f.v.leave()
	f.letGo()
}

// letGo frees what nobody can read any more. Needs mu.
func (f *file) letGo() {
	if f.calls > 0 {
		return
	}
	for _, g := range f.left {
		f.v.giveUp([]extent{g.extent}, g.gen)
	}
	f.left = nil
	if f.removed == 0 || f.handles > 0 {
		return
	}
	delete(f.v.held, f)
	f.v.giveUp(f.extents, f.removed)
	f.extents, f.pages = nil, 0
	f.dropBuffer()
}

// dropBuffer keeps the buffer for the next table. Needs mu.
func (f *file) dropBuffer() {
	if cap(f.buf) > 0 && len(f.v.spare) < maxSpare {
		f.v.spare = append(f.v.spare, f.buf[:0])
	}
	f.buf = nil
}

// growLog adds pages to a log and commits them, zeroed; where the device is
// full, need of them do. On error the log is as before. Needs append.
func (f *file) growLog(pages, need uint32) error {
	err := f.growLogBy(pages, f.v.takeAnywhere)
	if !errors.Is(err, base.ErrQuota) {
		return err
	}
	return f.v.fit(err, func() (bool, error) {
		fits := true
		err := f.growLogBy(need, func(extents []extent, n uint32) (result []extent, ok bool) {
			result, fits = f.v.space.takeAllHoles(extents, n, f.v.wholePages())
			return result, fits
		})
		return fits, err
	})
}

// takeAnywhere takes n pages and appends them to extents. Needs mu.
func (v *Volume) takeAnywhere(extents []extent, n uint32) (result []extent, ok bool) {
	return v.space.takePages(extents, n, v.filePages())
}

// fit goes on where the device refused, with full, to make the file larger: it
// calls try, which makes do with the pages inside, and tells whether there are
// enough. Where there are not, but some wait for a commit, it calls try again
// after one. Needs neither commits nor mu.
func (v *Volume) fit(full error, try func() (fits bool, err error)) error {
	fits, err := try()
	if fits {
		return err
	}
	freed, err := v.reclaim()
	if err != nil {
		return err
	}
	if freed {
		if fits, err = try(); fits {
			return err
		}
	}
	return full
}

// growLogBy is growLog by so many pages, which take finds with mu held.
func (f *file) growLogBy(pages uint32, take func([]extent, uint32) ([]extent, bool)) error {
	v := f.v
	v.mu.Lock()
	if err := v.writable(); err != nil {
		v.mu.Unlock()
		return err
	}
	v.waitForTrim()
	all, ok := take(slices.Clone(f.extents), pages)
	if !ok {
		v.mu.Unlock()
		return errTooLarge()
	}
	_, f.growing = splitExtents(all, f.pages)
	v.enter()
	v.mu.Unlock()
	err := f.zeroGrowing()
	if err == nil {
		err = f.commitGrowing(all, pages)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range f.growing {
		v.space.free(e)
	}
	f.growing = nil
	v.leave()
	return err
}

func (f *file) zeroGrowing() error {
	for _, e := range f.growing {
		if err := f.v.zero(e); err != nil {
			return hostError("reserve space for "+f.fd.String(), err)
		}
	}
	return nil
}

// commitGrowing makes all, which ends with the growing pages, the file's
// extents. The zeros need no sync of their own: the commit syncs before the
// superblock that puts the new extents in force.
func (f *file) commitGrowing(all []extent, pages uint32) error {
	v := f.v
	v.commits.Lock()
	defer v.commits.Unlock()
	v.mu.Lock()
	before, growing := f.extents, f.growing
	f.extents, f.growing, f.named = all, nil, true
	f.pages += pages
	gone := f.removed != 0
	v.mu.Unlock()
	if gone {
		return nil
	}
	if err := v.commit(); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		f.extents, f.growing, f.named = before, growing, f.inCatalog
		f.pages -= pages
		return err
	}
	return nil
}

// takePages adds n pages to a table or manifest, behind the others where that
// is possible. Needs mu.
func (f *file) takePages(n uint32) bool {
	f.v.waitForTrim()
	extents, ok := f.v.space.takePages(slices.Clone(f.extents), n, f.v.filePages())
	if ok {
		f.extents = extents
		f.pages += n
	}
	return ok
}

// dropPages frees the pages behind the first keep, which no catalog names.
// Needs mu.
func (f *file) dropPages(keep uint32) {
	head, tail := splitExtents(f.extents, keep)
	for _, e := range tail {
		f.v.space.free(e)
	}
	f.extents = head
	f.pages = keep
}

// makeRoom adds pages for n more bytes where they are needed. Only a log's
// take device calls. Needs append.
func (f *file) makeRoom(n int) error {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	end := f.size + int64(n)
	if end > maxPages*PageSize {
		return errTooLarge()
	}
	if end <= f.space() {
		return nil
	}
	need := pagesFor(end) - f.pages
	if f.fd.Type == vfs.TypeLog {
		f.growth = min(max(2*f.growth, minLogGrowth/PageSize), maxLogGrowth/PageSize)
		pages := max(need, f.growth)
		f.v.mu.Unlock()
		err := f.growLog(pages, need)
		f.v.mu.Lock()
		return err
	}
	want := min(f.pages, maxFileGrowth/PageSize)
	if f.pages == 0 {
		want = f.reserve
	}
	if !f.takePages(max(need, want)) {
		return errTooLarge()
	}
	return nil
}

// prepareCut begins a Reopen: it ends the right of the last appender, and puts
// on the device what is not there yet. Needs append.
func (f *file) prepareCut(size int64) error {
	f.v.mu.Lock()
	err := f.v.writable()
	switch {
	case err != nil:
	case f.removed != 0:
		err = base.Wrap(vfs.ErrNotExist, f.fd.String(), nil)
	case size < 0 || size > f.size:
		err = base.Wrap(base.ErrInvalidArgument, "reopen "+f.fd.String()+" beyond its end", nil)
	default:
		f.appender = nil
	}
	f.v.mu.Unlock()
	if err != nil {
		return err
	}
	return f.flush()
}

// cut drops what stands behind size. Needs append.
func (f *file) cut(size int64) error {
	if f.fd.Type == vfs.TypeLog {
		return f.cutLog(size)
	}
	v := f.v
	v.commits.Lock()
	defer v.commits.Unlock()
	v.mu.Lock()
	old := f.size
	f.size, f.flushed, f.named = size, size, true
	committed := f.inCatalog && size == f.committed
	v.mu.Unlock()
	if committed {
		return v.sync()
	}
	if err := v.commit(); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		f.size, f.flushed, f.named = old, old, f.inCatalog
		return err
	}
	v.mu.Lock()
	// The generation before this one still names the pages.
	head, tail := splitExtents(f.extents, pagesFor(size))
	f.extents, f.pages = head, pagesFor(size)
	for _, e := range tail {
		f.left = append(f.left, givenUp{e, v.gen})
	}
	f.letGo()
	v.mu.Unlock()
	v.trim()
	return nil
}

// cutLog drops what stands behind size by zeroing it: the space stays.
func (f *file) cutLog(size int64) error {
	v := f.v
	v.mu.Lock()
	extents, space := f.extents, f.space()
	f.begin()
	v.mu.Unlock()
	err := v.clear(extents, size, space)
	if err != nil {
		err = hostError("clear the end of "+f.fd.String(), err)
	} else {
		err = v.sync()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	f.end()
	if err == nil {
		f.size, f.flushed = size, size
	}
	return err
}

// clear zeroes what is not zero from off to end of a file with these extents.
func (v *Volume) clear(extents []extent, off, end int64) error {
	buf := make([]byte, min(end-off, int64(len(zeros))))
	for off < end {
		p := buf[:min(int64(len(buf)), end-off)]
		if err := v.readExtents(extents, p, off); err != nil {
			return err
		}
		for from := 0; from < len(p); {
			to := from
			for to < len(p) && !isZero(p[to:min(to+clearBytes, len(p))]) {
				to = min(to+clearBytes, len(p))
			}
			if to > from {
				if err := v.writeExtents(extents, zeros[:to-from], off+int64(from)); err != nil {
					return err
				}
			}
			from = to + clearBytes
		}
		off += int64(len(p))
	}
	return nil
}

// isZero reports whether p, at most clearBytes, is all zeros.
func isZero(p []byte) bool { return bytes.Equal(p, zeros[:len(p)]) }

// run returns where the bytes at off of a file with these extents are on the
// device, and how many follow each other there.
func run(extents []extent, off int64) (at, n int64) {
	for _, e := range extents {
		size := int64(e.count) * PageSize
		if off < size {
			return int64(e.page)*PageSize + off, size - off
		}
		off -= size
	}
	return 0, 0
}

// writeExtents writes p at off of a file with these extents, inside them.
func (v *Volume) writeExtents(extents []extent, p []byte, off int64) error {
	for len(p) > 0 {
		at, n := run(extents, off)
		n = min(n, int64(len(p)))
		if err := v.write(p[:n], at); err != nil {
			return err
		}
		p = p[n:]
		off += n
	}
	return nil
}

// readExtents fills p from off of a file with these extents, inside them.
func (v *Volume) readExtents(extents []extent, p []byte, off int64) error {
	for len(p) > 0 {
		at, n := run(extents, off)
		n = min(n, int64(len(p)))
		if err := v.read(p[:n], at); err != nil {
			return err
		}
		p = p[n:]
		off += n
	}
	return nil
}

// Append implements vfs.File. For a log or manifest it is one device call,
// unless p crosses to another extent or a log has to grow. A table is written
// in pieces of 256 KiB.
func (h *handle) Append(p []byte) error {
	f := h.f
	f.append.Lock()
	defer f.append.Unlock()
	f.v.mu.Lock()
	err := h.appendable()
	f.v.mu.Unlock()
	if err != nil {
		return err
	}
	if err = f.makeRoom(len(p)); err == nil {
		if f.fd.Type == vfs.TypeTable {
			err = f.gather(p)
		} else {
			err = f.write(p)
		}
	}
	if err != nil {
		f.v.mu.Lock()
		f.broken = err
		f.v.mu.Unlock()
	}
	return err
}

// appendable returns why h cannot append, nil where it can. Needs mu.
func (h *handle) appendable() error {
	f := h.f
	if h.closed {
		return base.ErrClosed
	}
	if err := f.v.writable(); err != nil {
		return err
	}
	if f.appender != h {
		return base.Wrap(base.ErrInvalidArgument, f.fd.String()+" is not open for appending", nil)
	}
	return f.broken
}

// write puts p behind what is on the device; there must be room for it, and no
// buffer. Where a table's or manifest's pages are behind the file, and the
// device is full, it takes others. Needs append.
func (f *file) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	err := f.zeroBehind(int64(len(p)))
	if err == nil {
		err = f.writeOnce(p)
	}
	if !errors.Is(err, base.ErrQuota) || f.fd.Type == vfs.TypeLog {
		return err
	}
	return f.v.fit(err, func() (bool, error) {
		if !f.moveInside(int64(len(p))) {
			return false, nil
		}
		return true, f.writeOnce(p)
	})
}

// zeroBehind makes the file of the host so large that the pages which n more bytes
// of a manifest begin are inside. Else the last of them may end where the host
// has no more space, and once it has some bytes in it nothing else can take its place.
// Needs append.
func (f *file) zeroBehind(n int64) error {
	if f.fd.Type != vfs.TypeManifest {
		return nil
	}
	v := f.v
	v.mu.Lock()
	keep := pagesFor(f.flushed)
	_, begun := splitExtents(f.extents, keep)
	begun, _ = splitExtents(begun, pagesFor(f.flushed+n)-keep)
	whole := v.wholePages()
	f.begin()
	v.mu.Unlock()
	var err error
	for _, e := range begun {
		if err == nil && e.end() > whole {
			err = v.zero(e)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	f.end()
	if err != nil {
		return hostError("append to "+f.fd.String(), err)
	}
	return nil
}

// moveInside exchanges the pages for the next n bytes, which no catalog names,
// for such as are inside the file, and reports whether there are so many. Those
// behind them stay as many, wherever they are. A manifest also gets what is kept
// beyond the need of a catalog. Needs append.
func (f *file) moveInside(n int64) bool {
	v := f.v
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waitForTrim()
	if v.writable() != nil {
		return false
	}
	keep := pagesFor(f.flushed)
	head, tail := splitExtents(f.extents, keep)
	for _, e := range tail {
		v.space.free(e)
	}
	need := pagesFor(f.flushed+n) - keep
	inside, ok := v.space.takeAllHoles(slices.Clone(head), need, v.wholePages())
	if !ok && f.fd.Type == vfs.TypeManifest {
		// Without a manifest a store cannot note what it deletes.
		var e extent
		if e, ok = v.lend(need); ok {
			inside = appendExtent(inside, e)
		}
	}
	if ok {
		if all, ok := v.takeAnywhere(inside, f.pages-keep-need); ok {
			f.extents = all
			return true
		}
		_, taken := splitExtents(inside, keep)
		for _, e := range taken {
			v.space.free(e)
		}
	}
	for _, e := range tail {
		v.space.take(e)
	}
	return false
}

// writeOnce is write to the pages that the file has.
func (f *file) writeOnce(p []byte) error {
	v := f.v
	v.mu.Lock()
	extents, off := f.extents, f.flushed
	f.begin()
	v.mu.Unlock()
	err := v.writeExtents(extents, p, off)
	v.mu.Lock()
	defer v.mu.Unlock()
	f.end()
	f.written = v.writes
	if err != nil {
		return hostError("append to "+f.fd.String(), err)
	}
	f.flushed += int64(len(p))
	f.size = max(f.size, f.flushed)
	return nil
}

// gather appends p to a table by way of its buffer. There must be room for it.
// Needs append.
func (f *file) gather(p []byte) error {
	v := f.v
	for len(p) > 0 {
		if len(f.buf) == 0 && len(p) >= writeBytes {
			n := len(p) / writeBytes * writeBytes
			if err := f.write(p[:n]); err != nil {
				return err
			}
			p = p[n:]
			continue
		}
		v.mu.Lock()
		if f.buf == nil {
			f.buf = v.takeBuffer()
		}
		n := min(len(p), cap(f.buf)-len(f.buf))
		f.buf = append(f.buf, p[:n]...)
		f.size += int64(n)
		full := len(f.buf) == cap(f.buf)
		v.mu.Unlock()
		p = p[n:]
		if full {
			if err := f.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeBuffer returns a buffer for a table. Needs mu.
func (v *Volume) takeBuffer() []byte {
	if n := len(v.spare); n > 0 {
		p := v.spare[n-1]
		v.spare = v.spare[:n-1]
		return p
	}
	return make([]byte, 0, writeBytes)
}

// flush writes what the buffer has, and leaves it there where that fails.
// Needs append, which keeps the buffer as it is.
func (f *file) flush() error {
	if err := f.write(f.buf); err != nil {
		return err
	}
	f.v.mu.Lock()
	f.buf = f.buf[:0]
	f.v.mu.Unlock()
	return nil
}

// ReadAt implements vfs.File.
func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	f := h.f
	v := f.v
	v.mu.Lock()
	if h.closed || v.closed {
		v.mu.Unlock()
		return 0, base.ErrClosed
	}
	if off < 0 {
		v.mu.Unlock()
		return 0, base.Wrap(base.ErrInvalidArgument, "read "+f.fd.String()+" before its start", nil)
	}
	n := int(min(int64(len(p)), max(f.size-off, 0)))
	written := int(min(int64(n), max(f.flushed-off, 0)))
	if written < n {
		copy(p[written:n], f.buf[off+int64(written)-f.flushed:])
	}
	if written > 0 {
		extents := f.extents
		f.begin()
		v.mu.Unlock()
		err := v.readExtents(extents, p[:written], off)
		v.mu.Lock()
		f.end()
		if err != nil {
			v.mu.Unlock()
			return 0, hostError("read "+f.fd.String(), err)
		}
	}
	v.mu.Unlock()
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Size implements vfs.File.
func (h *handle) Size() (int64, error) {
	h.f.v.mu.Lock()
	defer h.f.v.mu.Unlock()
	if h.closed || h.f.v.closed {
		return 0, base.ErrClosed
	}
	return h.f.size, nil
}

// Sync implements vfs.File. A log takes one sync of the device, or none where
// it was synced, with whatever file, since its last append. Other files take a
// commit where they have grown.
func (h *handle) Sync() error {
	f := h.f
	v := f.v
	if f.fd.Type == vfs.TypeTable {
		f.append.Lock()
		defer f.append.Unlock()
	}
	v.mu.Lock()
	err := h.syncable()
	v.mu.Unlock()
	if err != nil {
		return err
	}
	if f.fd.Type == vfs.TypeTable {
		if err := f.flush(); err != nil {
			v.mu.Lock()
			f.broken = err
			v.mu.Unlock()
			return err
		}
	}
	v.mu.Lock()
	grown, written := f.grown(), f.written
	v.mu.Unlock()
	if grown {
		return f.commit()
	}
	return v.syncTo(written)
}

// syncable returns why h cannot sync, nil where it can. Needs mu.
func (h *handle) syncable() error {
	if h.closed {
		return base.ErrClosed
	}
	if err := h.f.v.writable(); err != nil {
		return err
	}
	return h.f.broken
}

// grown reports whether a sync of the file takes a commit. Needs mu.
func (f *file) grown() bool {
	return f.fd.Type != vfs.TypeLog && f.removed == 0 && (!f.inCatalog || f.flushed != f.committed)
}

// commit makes what is on the device of a table or manifest durable, unless a
// commit of another did so while this one waited for it.
func (f *file) commit() error {
	v := f.v
	v.mu.Lock()
	f.named = true
	v.mu.Unlock()
	v.commits.Lock()
	defer v.commits.Unlock()
	v.mu.Lock()
	grown := f.grown()
	v.mu.Unlock()
	if !grown {
		return nil
	}
	if err := v.commit(); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		f.named = f.inCatalog
		return err
	}
	v.trim()
	return nil
}

// Close implements vfs.File.
func (h *handle) Close() error {
	f := h.f
	v := f.v
	v.mu.Lock()
	appends := f.appender == h && f.fd.Type != vfs.TypeLog
	v.mu.Unlock()
	var err error
	if appends {
		f.append.Lock()
		defer f.append.Unlock()
		err = h.closeAppender()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	h.close()
	return err
}

// close closes h, with mu held.
func (h *handle) close() {
	if h.closed {
		return
	}
	h.closed = true
	h.f.handles--
	if h.f.appender == h {
		h.f.appender = nil
	}
	h.f.letGo()
}

// closeAppender puts on the device what is not there yet, and gives back the
// pages chosen ahead. Needs append.
func (h *handle) closeAppender() error {
	f := h.f
	v := f.v
	v.mu.Lock()
	unread := f.removed != 0 && f.handles == 1
	writes := f.appender == h && f.broken == nil && v.writable() == nil && !unread
	v.mu.Unlock()
	var err error
	if writes {
		err = f.flush()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if f.appender != h {
		return nil
	}
	if err != nil {
		f.broken = err
	}
	if len(f.buf) == 0 || unread {
		f.dropBuffer()
	}
	f.dropPages(min(f.pages, pagesFor(f.size)))
	return err
}

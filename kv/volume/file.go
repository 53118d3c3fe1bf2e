package volume

import (
	"bytes"
	"io"
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// file is a file of the volume. Volume.mu guards it.
type file struct {
	v       *Volume
	fd      vfs.FileDesc
	extents []extent
	pages   uint32 // in extents
	size    int64  // bytes appended; of a log found at Open, all its space

	committed int64  // size in the newest catalog; for a log without meaning
	written   uint64 // Volume.syncs when it was last written
	broken    error  // a failed append
	removed   uint64 // the generation that has it no more; 0 for none

	reserve  uint32 // pages expected at Create
	growth   uint32 // pages a log grew by last
	handles  int
	appender *handle
}

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
	head, _ := splitExtents(f.extents, pagesFor(f.size))
	return entry{f.fd, f.size, head}
}

// space returns how many bytes the extents have room for.
func (f *file) space() int64 { return int64(f.pages) * PageSize }

// growLog adds pages to a log and commits them, zeroed. On error the log is as
// before.
func (f *file) growLog(pages uint32) error {
	v := f.v
	added, ok := f.takePages(pages)
	if !ok {
		return errTooLarge()
	}
	undo := func() { f.dropPages(f.pages - pages) }
	for _, e := range added {
		if err := v.zero(e); err != nil {
			undo()
			return hostError("reserve space for "+f.fd.String(), err)
		}
	}
	// The zeros need no sync of their own: the commit syncs before the
	// superblock that puts the new extents in force.
	if f.removed == 0 {
		if err := v.commit(); err != nil {
			undo()
			return err
		}
	}
	return nil
}

// takePages adds n pages, behind the others where that is possible, and
// returns the extents that were added.
func (f *file) takePages(n uint32) (added []extent, ok bool) {
	extents, ok := f.v.space.takePages(slices.Clone(f.extents), n, f.v.filePages())
	if !ok {
		return nil, false
	}
	_, added = splitExtents(extents, f.pages)
	f.extents = extents
	f.pages += n
	return added, true
}

// dropPages frees the pages behind the first keep, which no catalog names.
func (f *file) dropPages(keep uint32) {
	head, tail := splitExtents(f.extents, keep)
	for _, e := range tail {
		f.v.space.free(e)
	}
	f.extents = head
	f.pages = keep
}

// makeRoom adds pages for n more bytes where they are needed. Only a log's
// take device calls.
func (f *file) makeRoom(n int) error {
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
		return f.growLog(max(need, f.growth))
	}
	want := min(f.pages, maxFileGrowth/PageSize)
	if f.pages == 0 {
		want = f.reserve
	}
	if _, ok := f.takePages(max(need, want)); !ok {
		return errTooLarge()
	}
	return nil
}

// cutLog drops what stands behind size by zeroing it: the space stays.
func (f *file) cutLog(size int64) error {
	buf := make([]byte, min(f.space()-size, int64(len(zeros))))
	for off := size; off < f.space(); {
		p := buf[:min(int64(len(buf)), f.space()-off)]
		if err := f.readAt(p, off); err != nil {
			return err
		}
		for from := 0; from < len(p); {
			to := from
			for to < len(p) && !isZero(p[to:min(to+clearBytes, len(p))]) {
				to = min(to+clearBytes, len(p))
			}
			if to > from {
				if err := f.writeAt(zeros[:to-from], off+int64(from)); err != nil {
					return hostError("clear the end of "+f.fd.String(), err)
				}
			}
			from = to + clearBytes
		}
		off += int64(len(p))
	}
	if err := f.v.sync(); err != nil {
		return err
	}
	f.size = size
	return nil
}

// isZero reports whether p, at most clearBytes, is all zeros.
func isZero(p []byte) bool { return bytes.Equal(p, zeros[:len(p)]) }

// cut drops what stands behind size from a table or manifest.
func (f *file) cut(size int64) error {
	v := f.v
	old := f.size
	f.size = size
	if size == f.committed {
		return v.sync()
	}
	if err := v.commit(); err != nil {
		f.size = old
		return err
	}
	// The generation before this one still names the pages.
	head, tail := splitExtents(f.extents, pagesFor(size))
	f.extents, f.pages = head, pagesFor(size)
	v.giveUp(tail, v.gen)
	return nil
}

// run returns where the bytes at off are on the device, and how many follow
// each other there.
func (f *file) run(off int64) (at, n int64) {
	for _, e := range f.extents {
		size := int64(e.count) * PageSize
		if off < size {
			return int64(e.page)*PageSize + off, size - off
		}
		off -= size
	}
	return 0, 0
}

// writeAt writes p at off, inside the file's space.
func (f *file) writeAt(p []byte, off int64) error {
	f.written = f.v.syncs
	for len(p) > 0 {
		at, n := f.run(off)
		n = min(n, int64(len(p)))
		if err := f.v.write(p[:n], at); err != nil {
			return err
		}
		p = p[n:]
		off += n
	}
	return nil
}

// readAt fills p from off, inside the file's space.
func (f *file) readAt(p []byte, off int64) error {
	for len(p) > 0 {
		at, n := f.run(off)
		n = min(n, int64(len(p)))
		if err := f.v.read(p[:n], at); err != nil {
			return hostError("read "+f.fd.String(), err)
		}
		p = p[n:]
		off += n
	}
	return nil
}

// Append implements vfs.File. It is one device call, unless p crosses to
// another extent or a log has to grow.
func (h *handle) Append(p []byte) error {
	f := h.f
	v := f.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if h.closed {
		return base.ErrClosed
	}
	if err := v.writable(); err != nil {
		return err
	}
	if f.appender != h {
		return base.Wrap(base.ErrInvalidArgument, f.fd.String()+" is not open for appending", nil)
	}
	if f.broken != nil {
		return f.broken
	}
	if err := f.makeRoom(len(p)); err != nil {
		f.broken = err
		return err
	}
	if err := f.writeAt(p, f.size); err != nil {
		f.broken = hostError("append to "+f.fd.String(), err)
		return f.broken
	}
	f.size += int64(len(p))
	return nil
}

// ReadAt implements vfs.File.
func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	f := h.f
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if h.closed || f.v.closed {
		return 0, base.ErrClosed
	}
	if off < 0 {
		return 0, base.Wrap(base.ErrInvalidArgument, "read "+f.fd.String()+" before its start", nil)
	}
	n := int(min(int64(len(p)), max(f.size-off, 0)))
	if err := f.readAt(p[:n], off); err != nil {
		return 0, err
	}
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
	v.mu.Lock()
	defer v.mu.Unlock()
	if h.closed {
		return base.ErrClosed
	}
	if err := v.writable(); err != nil {
		return err
	}
	if f.broken != nil {
		return f.broken
	}
	if f.fd.Type != vfs.TypeLog && f.size != f.committed && f.removed == 0 {
		if err := v.commit(); err != nil {
			return err
		}
		v.trim()
		return nil
	}
	if f.written < v.syncs {
		return nil
	}
	return v.sync()
}

// Close implements vfs.File.
func (h *handle) Close() error {
	f := h.f
	v := f.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	f.handles--
	if f.appender == h {
		f.appender = nil
		if f.fd.Type != vfs.TypeLog {
			f.dropPages(min(f.pages, pagesFor(f.size)))
		}
	}
	if f.removed != 0 && f.handles == 0 {
		delete(v.held, f)
		v.giveUp(f.extents, f.removed)
	}
	return nil
}

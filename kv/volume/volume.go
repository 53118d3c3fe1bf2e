package volume

import (
	"errors"
	"slices"
	"sync"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// Growth, in bytes.
const (
	// A log grows by minLogGrowth, then twice as much each time, up to
	// maxLogGrowth: a growth costs a commit.
	minLogGrowth = 256 << 10
	maxLogGrowth = 2 << 20

	// maxFileGrowth bounds how far ahead a table's pages are chosen. They cost
	// nothing before they are written, but a run of neighbours reads faster.
	maxFileGrowth = 1 << 20

	// maxReserve bounds what Create sets aside, whatever it is asked for.
	maxReserve = 64 << 20

	// defaultKeepFree is the default of Options.KeepFreeBytes.
	defaultKeepFree = 4 << 20
)

// zeros is what zeroed pages are written from. It is never changed.
var zeros [256 << 10]byte

// Options tune a volume. nil stands for the defaults.
type Options struct {
	// KeepFreeBytes is how much free space at the end of the file is kept for
	// files to come, rounded up to pages. When more than twice as much is free
	// there, the file is cut down to it. 0 is 4 MiB; negative is none.
	KeepFreeBytes int64
}

// Volume is a vfs.FS inside one Device. It may be used from several
// goroutines; device calls are made one at a time, and who comes in between
// waits.
//
// After a failed commit or sync nobody knows what is on the device: the volume
// then reads only, and everything else is base.ErrReadOnly until it is opened
// again. A failure to get space, or to write a file's own bytes, harms the
// volume not.
type Volume struct {
	mu       sync.Mutex // guards everything, files and handles included
	dev      Device
	keepFree uint32 // pages
	closed   bool
	failed   error // why the volume is read-only

	files []*file            // in order of name
	held  map[*file]struct{} // removed, but open
	space space
	size  int64 // of the device; it may be larger after a failed call

	gen     uint64 // of the newest superblock
	epoch   uint64
	catalog extent // of gen
	given   []givenUp

	// syncs counts what the device has synced, from 1, so that a file can
	// tell whether it has been synced since it was written.
	syncs uint64
	dirty bool // something was written since the last sync
	buf   []byte
}

// givenUp is an extent that generations before gen still use.
type givenUp struct {
	extent
	gen uint64
}

var _ vfs.FS = (*Volume)(nil)

// Open opens the volume on dev, which the caller keeps for it alone, and
// raises the writer epoch. An empty device becomes an empty volume.
//
// base.ErrCorruption where dev holds something else or is damaged,
// base.ErrNotSupported where a newer version wrote it: dev is then as it was.
func Open(dev Device, opts *Options) (*Volume, error) {
	if opts == nil {
		opts = &Options{}
	}
	keepFree := opts.KeepFreeBytes
	if keepFree == 0 {
		keepFree = defaultKeepFree
	}
	v := &Volume{
		dev: dev, keepFree: pagesFor(min(max(keepFree, 0), maxPages*PageSize)),
		held: make(map[*file]struct{}), syncs: 1, dirty: true,
	}
	var err error
	if v.size, err = dev.Size(); err != nil {
		return nil, hostError("size of the volume", err)
	}
	if err := v.load(); err != nil {
		return nil, err
	}
	v.epoch++
	if err := v.commit(); err != nil {
		return nil, err
	}
	return v, nil
}

// hostError wraps an error of the device in the sentinel that tells the caller what
// to do.
func hostError(what string, err error) error {
	kind := base.ErrIO
	switch {
	case errors.Is(err, base.ErrFenced):
		kind = base.ErrFenced
	case errors.Is(err, base.ErrQuota):
		kind = base.ErrQuota
	case errors.Is(err, base.ErrCorruption):
		kind = base.ErrCorruption
	}
	return base.Wrap(kind, what, err)
}

// writable returns why the volume cannot be changed, nil where it can.
func (v *Volume) writable() error {
	if v.closed {
		return base.ErrClosed
	}
	if v.failed != nil {
		return base.Wrap(base.ErrReadOnly, "volume", v.failed)
	}
	return nil
}

// fail makes the volume read-only and returns the reason.
func (v *Volume) fail(what string, err error) error {
	v.failed = hostError(what, err)
	return v.failed
}

// read fills p, all of which lies inside the file.
func (v *Volume) read(p []byte, off int64) error {
	n, err := v.dev.ReadAt(p, off)
	if err != nil {
		return err
	}
	if n != len(p) {
		return base.Corruption("volume", off+int64(n), "the file ends")
	}
	return nil
}

// write writes p at off.
func (v *Volume) write(p []byte, off int64) error {
	v.dirty = true
	if err := v.dev.WriteAt(p, off); err != nil {
		return err
	}
	v.size = max(v.size, off+int64(len(p)))
	return nil
}

// zero writes zeros over e, so that its space is really there.
func (v *Volume) zero(e extent) error {
	return v.zeroBytes(int64(e.page)*PageSize, int64(e.end())*PageSize)
}

func (v *Volume) zeroBytes(off, end int64) error {
	for off < end {
		n := min(end-off, int64(len(zeros)))
		if err := v.write(zeros[:n], off); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// sync makes everything written durable, and does nothing where all is. A
// failed sync leaves open which of the writes before it are lost, whoever made
// them, and a later one would not tell: nothing more is written.
func (v *Volume) sync() error {
	if !v.dirty {
		return nil
	}
	if err := v.dev.Sync(); err != nil {
		return v.fail("sync the volume", err)
	}
	v.dirty = false
	v.syncs++
	return nil
}

// filePages returns how many pages the device's file touches.
func (v *Volume) filePages() uint32 { return pagesFor(v.size) }

// errTooLarge reports a volume of maxPages.
func errTooLarge() error {
	return base.Wrap(base.ErrQuota, "the volume has its largest size, 16 TiB", nil)
}

// commit makes the files as they are in memory durable, contents included, and
// the state of the next generation. An error before the catalog is written
// leaves the volume usable; the caller undoes its change. Any later one makes
// it read-only.
func (v *Volume) commit() error {
	next := superblock{gen: v.gen + 1, epoch: v.epoch}
	v.buf, next.catalogChecksum = v.encodeCatalog(v.buf[:0], next.gen)
	if len(v.buf) > maxCatalogSize {
		return base.Wrap(base.ErrNotSupported, "too many files for a catalog of 16 MiB", nil)
	}
	next.catalogSize = uint32(len(v.buf))
	e, ok := v.space.takeRun(pagesFor(int64(len(v.buf))), v.filePages())
	if !ok {
		return errTooLarge()
	}
	// Bytes inside the file can be written even where the host has no space
	// left, so once it has grown the commit itself does not run out of space.
	if end := int64(e.end()) * PageSize; end > v.size {
		if err := v.zeroBytes(max(v.size, int64(e.page)*PageSize), end); err != nil {
			v.space.free(e)
			return hostError("grow the volume", err)
		}
	}
	next.catalogPage = e.page
	if err := v.enforce(&next); err != nil {
		// Either catalog may be the one that is found at the next Open.
		v.given = append(v.given, givenUp{e, next.gen})
		return err
	}
	v.release()
	if v.catalog.count > 0 {
		v.given = append(v.given, givenUp{v.catalog, next.gen})
	}
	v.gen, v.catalog = next.gen, e
	for _, f := range v.files {
		f.committed = f.size
	}
	return nil
}

// enforce puts the catalog in v.buf in force: catalog, sync, superblock, sync.
func (v *Volume) enforce(next *superblock) error {
	if err := v.write(v.buf, int64(next.catalogPage)*PageSize); err != nil {
		return v.fail("write the catalog", err)
	}
	if err := v.sync(); err != nil {
		return err
	}
	sb := next.encode()
	if err := v.write(sb[:], next.offset()); err != nil {
		return v.fail("write the superblock", err)
	}
	return v.sync()
}

// encodeCatalog appends the catalog of the files to p.
func (v *Volume) encodeCatalog(p []byte, gen uint64) ([]byte, uint32) {
	p = beginCatalog(p, gen, v.epoch, len(v.files))
	for _, f := range v.files {
		p = appendEntry(p, f.entry())
	}
	return endCatalog(p)
}

// release frees what generations up to v.gen gave up: the one behind it has
// just become durable.
func (v *Volume) release() {
	v.given = slices.DeleteFunc(v.given, func(g givenUp) bool {
		if g.gen > v.gen {
			return false
		}
		v.space.free(g.extent)
		return true
	})
}

// giveUp frees extents as soon as neither superblock's generation uses them.
// gen is the first that does not.
func (v *Volume) giveUp(extents []extent, gen uint64) {
	for _, e := range extents {
		if gen < v.gen {
			v.space.free(e)
		} else {
			v.given = append(v.given, givenUp{e, gen})
		}
	}
}

// trim gives free space at the end of the file back to the host. It is tried
// after commits; where the host refuses, the space stays free, for us.
func (v *Volume) trim() {
	end := v.space.end()
	if v.filePages()-min(end, v.filePages()) <= 2*v.keepFree {
		return
	}
	size := int64(end+v.keepFree) * PageSize
	v.dirty = true
	// After an error the file may be larger than size says. That costs
	// growing it again, no more.
	_ = v.dev.Truncate(size)
	v.size = size
}

// find returns where fd is in v.files, or belongs.
func (v *Volume) find(fd vfs.FileDesc) (index int, found bool) {
	return slices.BinarySearchFunc(v.files, fd, func(f *file, fd vfs.FileDesc) int { return f.fd.Compare(fd) })
}

// lookup returns the file named fd.
func (v *Volume) lookup(fd vfs.FileDesc) (*file, error) {
	i, found := v.find(fd)
	if !found {
		return nil, base.Wrap(vfs.ErrNotExist, fd.String(), nil)
	}
	return v.files[i], nil
}

// Epoch returns the writer epoch, which each Open raises.
func (v *Volume) Epoch() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.epoch
}

// Create implements vfs.FS. A log's first space is reserveBytes, at least a
// page and at most 64 MiB; base.ErrQuota where there is no room for it.
func (v *Volume) Create(fd vfs.FileDesc, reserveBytes int64) (vfs.File, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.writable(); err != nil {
		return nil, err
	}
	if !fd.Valid() {
		return nil, base.Wrap(base.ErrInvalidArgument, "create "+fd.String(), nil)
	}
	i, found := v.find(fd)
	if found {
		return nil, base.Wrap(vfs.ErrExist, fd.String(), nil)
	}
	f := &file{v: v, fd: fd, reserve: pagesFor(min(max(reserveBytes, 1), maxReserve))}
	v.files = slices.Insert(v.files, i, f)
	var err error
	if fd.Type == vfs.TypeLog {
		err = f.growLog(f.reserve)
	} else {
		err = v.commit()
	}
	if err != nil {
		v.files = slices.Delete(v.files, i, i+1)
		return nil, err
	}
	v.trim()
	return f.open(true), nil
}

// Open implements vfs.FS.
func (v *Volume) Open(fd vfs.FileDesc) (vfs.File, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, base.ErrClosed
	}
	f, err := v.lookup(fd)
	if err != nil {
		return nil, err
	}
	return f.open(false), nil
}

// Reopen implements vfs.FS.
func (v *Volume) Reopen(fd vfs.FileDesc, size int64) (vfs.File, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.writable(); err != nil {
		return nil, err
	}
	f, err := v.lookup(fd)
	if err != nil {
		return nil, err
	}
	if size < 0 || size > f.size {
		return nil, base.Wrap(base.ErrInvalidArgument, "reopen "+fd.String()+" beyond its end", nil)
	}
	f.appender = nil
	cut := f.cut
	if fd.Type == vfs.TypeLog {
		cut = f.cutLog
	}
	if err := cut(size); err != nil {
		return nil, err
	}
	v.trim()
	return f.open(true), nil
}

// Remove implements vfs.FS.
func (v *Volume) Remove(fd vfs.FileDesc) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.writable(); err != nil {
		return err
	}
	i, found := v.find(fd)
	if !found {
		return base.Wrap(vfs.ErrNotExist, fd.String(), nil)
	}
	f := v.files[i]
	v.files = slices.Delete(v.files, i, i+1)
	if err := v.commit(); err != nil {
		v.files = slices.Insert(v.files, i, f)
		return err
	}
	f.removed = v.gen
	if f.handles > 0 {
		v.held[f] = struct{}{}
	} else {
		v.giveUp(f.extents, f.removed)
	}
	v.trim()
	return nil
}

// List implements vfs.FS.
func (v *Volume) List() ([]vfs.FileDesc, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, base.ErrClosed
	}
	fds := make([]vfs.FileDesc, len(v.files))
	for i, f := range v.files {
		fds[i] = f.fd
	}
	return fds, nil
}

// Close implements vfs.FS. It makes no device call: what was not synced is as
// durable as before. The device is the caller's again.
func (v *Volume) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	return nil
}

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
// goroutines, and makes device calls from several at once: a call that the
// device makes wait holds up nobody who works on another file. Two things
// queue: commits, and syncs, of which one serves all that wait for it.
//
// After a failed commit or sync nobody knows what is on the device: the volume
// then reads only, and everything else is base.ErrReadOnly until it is opened
// again. A failure to get space, or to write a file's own bytes, harms the
// volume not.
type Volume struct {
	dev      Device
	keepFree uint32 // pages

	// Locks are taken in this order: file.append, commits, syncing, mu. Device
	// calls are made under any of them but mu, Check's alone excepted.
	commits sync.Mutex // held during a commit; guards buf too
	syncing sync.Mutex // held during a sync of the device

	mu      sync.Mutex // guards the rest, files and handles included
	changed *sync.Cond // of mu: trimming or calls has changed
	closed  bool
	failed  error // why the volume is read-only
	calls   int   // operations that may be making device calls

	files []*file            // in order of name
	held  map[*file]struct{} // removed, but open
	space space
	size  int64 // of the device; it may be larger after a failed call

	// While the end of the file is cut off nobody may take pages there.
	trimming bool

	gen     uint64 // of the newest superblock
	epoch   uint64
	catalog extent // of gen
	ahead   ahead
	reserve []extent // see Reserve; all of them are inside the file
	given   []givenUp

	// writes counts writes that have returned; synced is how many of them a
	// sync has made durable.
	writes, synced uint64

	buf   []byte   // the catalog
	spare [][]byte // of writeBytes, for tables to come
}

// ahead are pages inside the file that are kept for when there are no others:
// see "Space" in the package comment.
type ahead struct {
	catalog extent // for one to come
	single  extent // one page, where catalog has none beyond the need
}

// givenUp is an extent that generations before gen still use.
type givenUp struct {
	extent
	gen uint64
}

var (
	_ vfs.FS            = (*Volume)(nil)
	_ vfs.BatchRemover  = (*Volume)(nil)
	_ vfs.Shrinker      = (*Volume)(nil)
	_ vfs.Reserver      = (*Volume)(nil)
	_ vfs.SpaceReporter = (*Volume)(nil)
)

// Open opens the volume on dev, which the caller keeps for it alone, and
// raises the writer epoch. An empty device becomes an empty volume.
//
// base.ErrCorruption where dev holds something else or is damaged,
// base.ErrNotSupported where a newer version wrote it: dev is then as it was.
func Open(dev Device, opts *Options) (*Volume, error) {
	v := newVolume(dev, opts)
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

func newVolume(dev Device, opts *Options) *Volume {
	if opts == nil {
		opts = &Options{}
	}
	keepFree := opts.KeepFreeBytes
	if keepFree == 0 {
		keepFree = defaultKeepFree
	}
	v := &Volume{
		dev: dev, keepFree: pagesFor(min(max(keepFree, 0), maxPages*PageSize)),
		held: make(map[*file]struct{}), writes: 1,
	}
	v.changed = sync.NewCond(&v.mu)
	return v
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
	case errors.Is(err, base.ErrClosed):
		kind = base.ErrClosed
	}
	return base.Wrap(kind, what, err)
}

// writable returns why the volume cannot be changed, nil where it can. Needs
// mu.
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
	err = hostError(what, err)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failed == nil {
		v.failed = err
	}
	return err
}

// enter begins an operation that makes device calls, so that Close waits for
// its end. Needs mu.
func (v *Volume) enter() { v.calls++ }

// leave ends it. Needs mu.
func (v *Volume) leave() {
	v.calls--
	if v.calls == 0 {
		v.changed.Broadcast()
	}
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
	err := v.dev.WriteAt(p, off)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wrote(off+int64(len(p)), err)
	return err
}

// wrote notes that a write up to end has returned err. Needs mu.
func (v *Volume) wrote(end int64, err error) {
	v.writes++
	if err == nil {
		v.size = max(v.size, end)
	}
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

// sync makes everything written before the call durable.
func (v *Volume) sync() error {
	v.mu.Lock()
	upTo := v.writes
	v.mu.Unlock()
	return v.syncTo(upTo)
}

// syncTo makes the first upTo writes durable, and does nothing where they are:
// who waits for a sync of others that began in time needs none of its own. A
// failed sync leaves open which of the writes before it are lost, whoever made
// them, and a later one would not tell: nothing more is written.
func (v *Volume) syncTo(upTo uint64) error {
	v.syncing.Lock()
	defer v.syncing.Unlock()
	v.mu.Lock()
	done, failed, writes := v.synced >= upTo, v.failed, v.writes
	v.mu.Unlock()
	if failed != nil {
		return base.Wrap(base.ErrReadOnly, "volume", failed)
	}
	if done {
		return nil
	}
	if err := v.dev.Sync(); err != nil {
		return v.fail("sync the volume", err)
	}
	v.mu.Lock()
	v.synced = writes
	v.mu.Unlock()
	return nil
}

// filePages returns how many pages the device's file touches.
func (v *Volume) filePages() uint32 { return pagesFor(v.size) }

// wholePages returns how many pages the device's file has to their ends.
func (v *Volume) wholePages() uint32 { return uint32(v.size / PageSize) }

// errTooLarge reports a volume of maxPages.
func errTooLarge() error {
	return base.Wrap(base.ErrQuota, "the volume has its largest size, 16 TiB", nil)
}

// commit makes the files as they are in memory durable, contents included, and
// the state of the next generation. An error before the catalog is written
// leaves the volume usable; the caller undoes its change. Any later one makes
// it read-only. Needs commits, and not mu.
func (v *Volume) commit() error {
	v.mu.Lock()
	if err := v.writable(); err != nil {
		v.mu.Unlock()
		return err
	}
	v.enter()
	next := superblock{gen: v.gen + 1, epoch: v.epoch}
	v.buf, next.catalogChecksum = v.encodeCatalog(v.buf[:0], next.gen)
	v.mu.Unlock()

	e, full, err := v.placeCatalog()
	placed := err == nil
	if placed {
		next.catalogPage, next.catalogSize = e.page, uint32(len(v.buf))
		err = v.enforce(&next)
	}

	v.mu.Lock()
	defer v.mu.Unlock()
	v.leave()
	if err != nil {
		if placed {
			// Either catalog may be the one that is found at the next Open.
			v.given = append(v.given, givenUp{e, next.gen})
		}
		return err
	}
	v.release()
	if v.catalog.count > 0 {
		v.given = append(v.given, givenUp{v.catalog, next.gen})
	}
	v.gen, v.catalog = next.gen, e
	for _, f := range v.files {
		if f.encodedBy == next.gen {
			f.committed, f.inCatalog = f.encoded, true
		}
	}
	v.ahead = v.space.moveAhead(v.ahead, e.count, v.wholePages())
	if v.ahead.catalog.count <= e.count && !full {
		v.growAhead(e.count + 1)
	}
	return nil
}

// placeCatalog takes pages for the catalog in v.buf, inside the file. full
// tells that the device refused to make it larger. Needs commits, and not mu.
func (v *Volume) placeCatalog() (e extent, full bool, err error) {
	if len(v.buf) > maxCatalogSize {
		return extent{}, false, base.Wrap(base.ErrNotSupported, "too many files for a catalog of 16 MiB", nil)
	}
	n := pagesFor(int64(len(v.buf)))
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err = v.takeZeroed(n)
	kept := &v.ahead.catalog
	if !errors.Is(err, base.ErrQuota) || kept.count < n {
		return e, false, err
	}
	e = extent{kept.page, n}
	*kept = extent{e.end(), kept.count - n}
	return e, true, nil
}

// takeZeroed takes n neighbouring pages and makes the file so large that they
// are inside: bytes there can be written even where the host has no space left.
// Needs commits and mu, and lets go of mu meanwhile.
func (v *Volume) takeZeroed(n uint32) (extent, error) {
	e, ok := v.space.takeRun(n, v.filePages())
	if !ok {
		return extent{}, errTooLarge()
	}
	size := v.size
	v.mu.Unlock()
	err := v.zeroBytes(max(size, int64(e.page)*PageSize), int64(e.end())*PageSize)
	v.mu.Lock()
	if err != nil {
		v.space.free(e)
		return extent{}, hostError("grow the volume", err)
	}
	return e, nil
}

// moveAhead frees the pages that were kept, and takes the first that there are
// below end: one more than need, the pages of the catalog now.
func (s *space) moveAhead(before ahead, need, end uint32) (now ahead) {
	s.free(before.catalog)
	s.free(before.single)
	var ok bool
	if now.catalog, ok = s.takeRunBelow(need+1, end); !ok {
		now.catalog, _ = s.takeRunBelow(need, end)
		now.single, _ = s.takeRunBelow(1, end)
	}
	return now
}

// lend takes n of the pages that are kept, such as the coming catalog does not
// need.
func (v *Volume) lend(n uint32) (e extent, ok bool) {
	kept := &v.ahead.catalog
	switch {
	case n <= v.ahead.single.count:
		e, v.ahead.single = v.ahead.single, extent{}
	case n+v.catalog.count <= kept.count:
		kept.count -= n
		e = extent{kept.end(), n}
	default:
		return extent{}, false
	}
	return e, true
}

// growAhead makes the file larger by n pages for a catalog to come, where the
// device lets it: nobody waits for them, so a refusal is no error, and of
// anything else the next call tells. Needs commits and mu, and lets go of mu
// meanwhile.
func (v *Volume) growAhead(n uint32) {
	if v.writable() != nil {
		return
	}
	v.enter()
	defer v.leave()
	if e, err := v.takeZeroed(n); err == nil {
		v.space.free(v.ahead.catalog)
		v.space.free(v.ahead.single)
		v.ahead = ahead{catalog: e}
	}
}

// reclaim makes a commit that changes nothing, so that what only waits for one
// becomes free; freed is false where nothing does. Needs neither commits nor mu.
func (v *Volume) reclaim() (freed bool, err error) {
	v.commits.Lock()
	defer v.commits.Unlock()
	v.mu.Lock()
	waiting := 0
	for _, g := range v.given {
		if g.gen <= v.gen {
			waiting++
		}
	}
	v.mu.Unlock()
	// One is the last catalog, whose place the next one takes.
	if waiting < 2 {
		return false, nil
	}
	return true, v.commit()
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

// encodeCatalog appends the catalog of the files to p. Needs mu.
func (v *Volume) encodeCatalog(p []byte, gen uint64) ([]byte, uint32) {
	count := 0
	p = beginCatalog(p, gen, v.epoch)
	for _, f := range v.files {
		if f.named && !f.removing {
			e := f.entry()
			p = appendEntry(p, e)
			f.encoded, f.encodedBy = e.size, gen
			count++
		}
	}
	return endCatalog(p, count)
}

// release frees what generations up to v.gen gave up: the one behind it has
// just become durable. Needs mu.
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
// gen is the first that does not. Needs mu.
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
// after commits; where the host refuses, the space stays free, for us. Needs
// commits, and not mu.
func (v *Volume) trim() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return
	}
	v.keepInside(v.kept())
	end := v.space.end()
	if !v.isLong(end) {
		return
	}
	size := int64(end+v.keepFree-min(v.keepFree, v.kept())) * PageSize
	v.trimming = true
	v.enter()
	v.mu.Unlock()
	// After an error the file may be larger than size says. That costs
	// growing it again, no more.
	_ = v.dev.Truncate(size)
	v.mu.Lock()
	v.writes++
	v.size = size
	v.trimming = false
	v.leave()
	v.changed.Broadcast()
}

// isLong reports whether so much is free behind end, up to where the file is in
// use, that its end should be cut off. Needs mu.
func (v *Volume) isLong(end uint32) bool {
	pages := v.filePages()
	return pages-min(end, pages) > 2*v.keepFree-min(v.keepFree, v.kept())
}

// waitForTrim returns once no page is being cut off that its caller could
// take. Needs mu, and lets go of it meanwhile.
func (v *Volume) waitForTrim() {
	for v.trimming {
		v.changed.Wait()
	}
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
// page and at most 64 MiB; base.ErrQuota where there is no room for it. Other
// files take a device call only once they are written.
func (v *Volume) Create(fd vfs.FileDesc, reserveBytes int64) (vfs.File, error) {
	f := &file{v: v, fd: fd, reserve: pagesFor(min(max(reserveBytes, 1), maxReserve))}
	if fd.Type == vfs.TypeLog {
		return v.createLog(f)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	i, err := v.place(fd)
	if err != nil {
		return nil, err
	}
	v.files = slices.Insert(v.files, i, f)
	return f.open(true), nil
}

// place returns where in v.files a new file belongs. Needs mu.
func (v *Volume) place(fd vfs.FileDesc) (int, error) {
	if err := v.writable(); err != nil {
		return 0, err
	}
	if !fd.Valid() {
		return 0, base.Wrap(base.ErrInvalidArgument, "create "+fd.String(), nil)
	}
	i, found := v.find(fd)
	if found {
		return 0, base.Wrap(vfs.ErrExist, fd.String(), nil)
	}
	return i, nil
}

// createLog gives f its space before a catalog names it, so that nobody waits
// while that is zeroed.
func (v *Volume) createLog(f *file) (vfs.File, error) {
	f.append.Lock()
	defer f.append.Unlock()
	v.mu.Lock()
	i, err := v.place(f.fd)
	if err != nil {
		v.mu.Unlock()
		return nil, err
	}
	v.files = slices.Insert(v.files, i, f)
	h := f.open(true)
	v.mu.Unlock()
	if err := f.growLog(f.reserve, f.reserve); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		if f.removed == 0 {
			v.drop(f)
			f.removed = unnamedGeneration
			v.held[f] = struct{}{}
		}
		h.close()
		return nil, err
	}
	v.commits.Lock()
	defer v.commits.Unlock()
	v.trim()
	return h, nil
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
	f, err := v.lookup(fd)
	v.mu.Unlock()
	if err != nil {
		return nil, err
	}
	f.append.Lock()
	defer f.append.Unlock()
	if err := f.prepareCut(size); err != nil {
		return nil, err
	}
	if err := f.cut(size); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return f.open(true), nil
}

// Remove implements vfs.FS.
func (v *Volume) Remove(fd vfs.FileDesc) error { return v.RemoveAll([]vfs.FileDesc{fd}) }

// RemoveAll implements vfs.BatchRemover: all of the files go in one commit, or
// none.
func (v *Volume) RemoveAll(fds []vfs.FileDesc) error {
	v.commits.Lock()
	defer v.commits.Unlock()
	files, named, err := v.markRemoved(fds)
	if err != nil {
		return err
	}
	if named {
		if err := v.commit(); err != nil {
			v.mu.Lock()
			defer v.mu.Unlock()
			for _, f := range files {
				f.removing = false
			}
			return err
		}
	}
	v.mu.Lock()
	for _, f := range files {
		v.drop(f)
		f.removed = unnamedGeneration
		if f.inCatalog {
			f.removed = v.gen
		}
		v.held[f] = struct{}{}
		f.letGo()
	}
	v.mu.Unlock()
	v.trim()
	return nil
}

// markRemoved makes the next catalog leave the files out; named tells whether
// one has any of them. Needs commits.
func (v *Volume) markRemoved(fds []vfs.FileDesc) (files []*file, named bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.writable(); err != nil {
		return nil, false, err
	}
	for _, fd := range fds {
		f, err := v.lookup(fd)
		if err != nil {
			return nil, false, err
		}
		if !slices.Contains(files, f) {
			files = append(files, f)
			named = named || f.inCatalog
		}
	}
	for _, f := range files {
		f.removing = true
	}
	return files, named, nil
}

// drop takes f's name away. Needs mu.
func (v *Volume) drop(f *file) {
	if i, found := v.find(f.fd); found {
		v.files = slices.Delete(v.files, i, i+1)
	}
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

// Close implements vfs.FS. It waits for the device calls of others, and makes
// none: what was not synced is as durable as before. The device is the
// caller's again.
func (v *Volume) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	for v.calls > 0 {
		v.changed.Wait()
	}
	return nil
}

// Space implements vfs.SpaceReporter.
func (v *Volume) Space() (vfs.Space, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return vfs.Space{}, base.ErrClosed
	}
	pages := v.filePages()
	s := vfs.Space{FileBytes: v.size, FreeBytes: int64(v.space.freeBelow(pages)) * PageSize, Files: len(v.files)}
	s.UsedBytes = max(v.size-s.FreeBytes, 0)
	for _, f := range v.files {
		s.LiveBytes += f.size
		if f.fd.Type == vfs.TypeLog {
			s.LiveBytes += f.space() - f.size
		}
	}
	return s, nil
}

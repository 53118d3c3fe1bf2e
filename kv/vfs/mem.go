package vfs

import (
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"tempestkv/kv/base"
)

// crashPieceBytes is the unit in which unsynced bytes survive a simulated
// power loss: the page of most operating systems.
const crashPieceBytes = 4 << 10

// MemFS keeps files in memory. It knows which bytes were synced, so that
// CrashClone can tell what a power loss would leave. It may be used from
// several goroutines.
type MemFS struct {
	mu      sync.Mutex // guards files and current
	files   map[FileDesc]*memNode
	current FileDesc // manifest; zero for none
	closed  atomic.Bool
}

// memNode is a file, named or removed and still open.
type memNode struct {
	fd           FileDesc
	reserveBytes int64

	mu       sync.RWMutex // guards the rest; taken after MemFS.mu
	data     chunks
	synced   int      // data[:synced] survives a power loss
	named    bool     // the name does, too
	appender *memFile // the handle that may append; nil for none
}

// memFile is an open handle.
type memFile struct {
	fs     *MemFS
	node   *memNode
	closed atomic.Bool
}

var (
	_ FS            = (*MemFS)(nil)
	_ CurrentSetter = (*MemFS)(nil)
	_ File          = (*memFile)(nil)
)

// NewMem returns an empty MemFS.
func NewMem() *MemFS {
	return &MemFS{files: make(map[FileDesc]*memNode)}
}

// CrashClone returns what a power loss at this moment would leave: all names
// but some of those that Create has made and no Sync followed, logs excepted,
// each file's bytes up to its last Sync, and a random part of the rest. The
// rest may end early; each piece of 4 KiB of it is kept, lost (zeros) or torn.
// A log created with reserveBytes may be followed by zeros. With a nil rng
// exactly the synced names and bytes are left.
//
// It may be called while the FS is in use, and after Close.
func (fs *MemFS) CrashClone(rng *rand.Rand) *MemFS {
	return fs.copy(func(n *memNode) ([]byte, bool) {
		if rng == nil {
			return n.data.prefix(n.synced), n.named
		}
		return n.crash(rng), n.named || rng.IntN(2) == 0
	})
}

// Clone returns a copy with all that was appended: what a crash of the
// program, but not of the machine, would leave. It may be called while the FS
// is in use, and after Close.
func (fs *MemFS) Clone() *MemFS {
	return fs.copy(func(n *memNode) ([]byte, bool) { return n.data.prefix(n.data.size), true })
}

// copy returns an FS with the names for which keep returns true, and the
// contents that it returns. It visits files in order of number, so that a seed leads to one result.
func (fs *MemFS) copy(keep func(*memNode) (data []byte, named bool)) *MemFS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	c := NewMem()
	c.current = fs.current
	for _, fd := range fs.list() {
		n := fs.files[fd]
		n.mu.RLock()
		data, named := keep(n)
		n.mu.RUnlock()
		if named {
			c.files[fd] = &memNode{fd: fd, reserveBytes: n.reserveBytes, data: chunksOf(data), synced: len(data), named: true}
		}
	}
	return c
}

// crash returns the synced bytes and a random part of the others.
func (n *memNode) crash(rng *rand.Rand) []byte {
	size := n.data.size
	if rng.IntN(2) == 0 {
		size = n.synced + rng.IntN(size-n.synced+1)
	}
	data := n.data.prefix(size)
	for from := n.synced; from < size; {
		to := min(size, from/crashPieceBytes*crashPieceBytes+crashPieceBytes)
		piece := data[from:to]
		switch rng.IntN(6) {
		case 0:
			clear(piece)
		case 1:
			clear(piece[rng.IntN(len(piece)):])
		case 2:
			clear(piece[:rng.IntN(len(piece))])
		}
		from = to
	}
	if n.fd.Type == TypeLog && n.reserveBytes > 0 && rng.IntN(2) == 0 {
		space := max(n.reserveBytes, int64(size)) + crashPieceBytes
		data = append(data, make([]byte, rng.Int64N(space-int64(size)+1))...)
	}
	return data
}

// Create implements FS. It models reserveBytes only in CrashClone.
func (fs *MemFS) Create(fd FileDesc, reserveBytes int64) (File, error) {
	if fs.closed.Load() {
		return nil, base.ErrClosed
	}
	if !fd.Valid() {
		return nil, base.Wrap(base.ErrInvalidArgument, "create "+fd.String(), nil)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.files[fd] != nil {
		return nil, base.Wrap(ErrExist, fd.String(), nil)
	}
	n := &memNode{fd: fd, reserveBytes: reserveBytes, named: fd.Type == TypeLog}
	n.appender = &memFile{fs: fs, node: n}
	fs.files[fd] = n
	return n.appender, nil
}

// lookup returns the file named fd.
func (fs *MemFS) lookup(fd FileDesc) (*memNode, error) {
	if fs.closed.Load() {
		return nil, base.ErrClosed
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.files[fd]
	if n == nil {
		return nil, base.Wrap(ErrNotExist, fd.String(), nil)
	}
	return n, nil
}

// Open implements FS.
func (fs *MemFS) Open(fd FileDesc) (File, error) {
	n, err := fs.lookup(fd)
	if err != nil {
		return nil, err
	}
	return &memFile{fs: fs, node: n}, nil
}

// Reopen implements FS.
func (fs *MemFS) Reopen(fd FileDesc, size int64) (File, error) {
	n, err := fs.lookup(fd)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if size < 0 || size > int64(n.data.size) {
		return nil, base.Wrap(base.ErrInvalidArgument, "reopen "+fd.String()+" beyond its end", nil)
	}
	n.data.truncate(int(size))
	n.synced, n.named = int(size), true
	n.appender = &memFile{fs: fs, node: n}
	return n.appender, nil
}

// Remove implements FS.
func (fs *MemFS) Remove(fd FileDesc) error {
	if fs.closed.Load() {
		return base.ErrClosed
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.files[fd] == nil {
		return base.Wrap(ErrNotExist, fd.String(), nil)
	}
	delete(fs.files, fd)
	return nil
}

// SetCurrent implements CurrentSetter.
func (fs *MemFS) SetCurrent(fd FileDesc) error {
	if fd.Type != TypeManifest {
		return base.Wrap(base.ErrInvalidArgument, fd.String()+" is no manifest", nil)
	}
	n, err := fs.lookup(fd)
	if err != nil {
		return err
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.named = true
	fs.current = fd
	return nil
}

// Current implements CurrentSetter.
func (fs *MemFS) Current() (FileDesc, error) {
	if fs.closed.Load() {
		return FileDesc{}, base.ErrClosed
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if !fs.current.Valid() {
		return FileDesc{}, base.Wrap(ErrNotExist, "current manifest", nil)
	}
	return fs.current, nil
}

// List implements FS.
func (fs *MemFS) List() ([]FileDesc, error) {
	if fs.closed.Load() {
		return nil, base.ErrClosed
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.list(), nil
}

func (fs *MemFS) list() []FileDesc {
	fds := make([]FileDesc, 0, len(fs.files))
	for fd := range fs.files {
		fds = append(fds, fd)
	}
	slices.SortFunc(fds, FileDesc.Compare)
	return fds
}

// Close implements FS. Clone and CrashClone still work.
func (fs *MemFS) Close() error {
	fs.closed.Store(true)
	return nil
}

func (f *memFile) usable() error {
	if f.closed.Load() || f.fs.closed.Load() {
		return base.ErrClosed
	}
	return nil
}

// Append implements File.
func (f *memFile) Append(p []byte) error {
	if err := f.usable(); err != nil {
		return err
	}
	n := f.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.appender != f {
		return base.Wrap(base.ErrInvalidArgument, n.fd.String()+" is not open for appending", nil)
	}
	n.data.append(p)
	return nil
}

// ReadAt implements File.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.usable(); err != nil {
		return 0, err
	}
	n := f.node
	n.mu.RLock()
	defer n.mu.RUnlock()
	if off < 0 {
		return 0, base.Wrap(base.ErrInvalidArgument, "read "+n.fd.String()+" before its start", nil)
	}
	count := n.data.readAt(p, off)
	if count < len(p) {
		return count, io.EOF
	}
	return count, nil
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	if err := f.usable(); err != nil {
		return 0, err
	}
	f.node.mu.RLock()
	defer f.node.mu.RUnlock()
	return int64(f.node.data.size), nil
}

// Sync implements File.
func (f *memFile) Sync() error {
	if err := f.usable(); err != nil {
		return err
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	f.node.synced, f.node.named = f.node.data.size, true
	return nil
}

// Close implements File.
func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	if f.node.appender == f {
		f.node.appender = nil
	}
	return nil
}

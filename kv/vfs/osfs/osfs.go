// Package osfs keeps the files of a store in a folder of the operating system,
// under the names LevelDB gives them, so that LevelDB and its tools can read
// the folder:
//
//	000003.log  000005.ldb  MANIFEST-000002  CURRENT  LOCK
//
// A table may also have its older name, 000005.sst. Names that are none of
// these are left alone. Names become durable by a sync of the folder, which
// Windows does by itself. On Windows a file that is open cannot be removed.
package osfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gofrs/flock"

	"tempestkv/kv/base"
	"tempestkv/kv/internal/osfile"
	"tempestkv/kv/vfs"
)

// lockName is the file whose lock means that the store is open.
const lockName = "LOCK"

// currentName is the file with the name of the current manifest and a newline.
// A new one is written beside it, under a name that no LevelDB takes for
// anything, and takes its place.
const (
	currentName     = "CURRENT"
	nextCurrentName = "CURRENT.dbtmp"
)

// FS is a folder. It may be used from several goroutines.
type FS struct {
	dir  string
	lock *flock.Flock

	mu        sync.Mutex // guards the rest
	open      map[*file]struct{}
	appenders map[vfs.FileDesc]*file
	closed    bool
}

// file is an open handle.
type file struct {
	fs *FS
	fd vfs.FileDesc
	os *os.File

	mu       sync.Mutex // guards the rest; taken after FS.mu where both are
	closed   bool
	appender bool
	size     int64 // where an appender appends
	failed   error // the first failed Append or Sync
}

var (
	_ vfs.FS            = (*FS)(nil)
	_ vfs.CurrentSetter = (*FS)(nil)
	_ vfs.File          = (*file)(nil)
)

// Open opens the folder dir, which it makes where there is none, and locks it
// until Close. base.ErrLocked where it is open already, in this process or in
// another one that locks with flock (LevelDB itself locks with fcntl, and the
// two do not see each other on every system).
func Open(dir string) (*FS, error) {
	made, err := makeDir(dir)
	if err != nil {
		return nil, osfile.Wrap("make folder "+dir, err)
	}
	lock := flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o644))
	held, err := lock.TryLock()
	if err != nil {
		return nil, osfile.Wrap("lock "+dir, err)
	}
	if !held {
		return nil, base.Wrap(base.ErrLocked, dir, nil)
	}
	for _, d := range made {
		if err := osfile.SyncDir(filepath.Dir(d)); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	return &FS{
		dir: dir, lock: lock,
		open: make(map[*file]struct{}), appenders: make(map[vfs.FileDesc]*file),
	}, nil
}

// makeDir makes dir and the folders above it that are missing, and returns
// those it made.
func makeDir(dir string) (made []string, err error) {
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, os.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	return made, os.MkdirAll(dir, 0o755)
}

// path returns where fd is: a table may have its older name.
func (fs *FS) path(fd vfs.FileDesc) string {
	path := filepath.Join(fs.dir, fd.String())
	if fd.Type == vfs.TypeTable {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			older := strings.TrimSuffix(path, ".ldb") + ".sst"
			if _, err := os.Stat(older); err == nil {
				return older
			}
		}
	}
	return path
}

// openFile opens fd and registers the handle. FS.mu is held.
func (fs *FS) openFile(fd vfs.FileDesc, flag int) (*file, error) {
	if fs.closed {
		return nil, base.ErrClosed
	}
	if !fd.Valid() {
		return nil, base.Wrap(base.ErrInvalidArgument, "open "+fd.String(), nil)
	}
	path := fs.path(fd)
	if flag&os.O_EXCL != 0 {
		if _, err := os.Stat(path); err == nil {
			return nil, base.Wrap(vfs.ErrExist, fd.String(), nil)
		}
	}
	f, err := os.OpenFile(path, flag, 0o644)
	if errors.Is(err, os.ErrNotExist) {
		return nil, base.Wrap(vfs.ErrNotExist, fd.String(), nil)
	}
	if err != nil {
		return nil, osfile.Wrap("open "+fd.String(), err)
	}
	h := &file{fs: fs, fd: fd, os: f}
	fs.open[h] = struct{}{}
	return h, nil
}

// appendWith makes h the one appender of its file. FS.mu is held.
func (fs *FS) appendWith(h *file, size int64) {
	if old := fs.appenders[h.fd]; old != nil {
		old.mu.Lock()
		old.appender = false
		old.mu.Unlock()
	}
	fs.appenders[h.fd] = h
	h.appender, h.size = true, size
}

// Create implements vfs.FS. It takes no notice of reserveBytes.
func (fs *FS) Create(fd vfs.FileDesc, reserveBytes int64) (vfs.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	h, err := fs.openFile(fd, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := osfile.SyncDir(fs.dir); err != nil {
		// Nobody may trust the name; the next try must not find it.
		return nil, errors.Join(err, fs.drop(h), os.Remove(h.os.Name()))
	}
	fs.appendWith(h, 0)
	return h, nil
}

// Open implements vfs.FS.
func (fs *FS) Open(fd vfs.FileDesc) (vfs.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	h, err := fs.openFile(fd, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Reopen implements vfs.FS.
func (fs *FS) Reopen(fd vfs.FileDesc, size int64) (vfs.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	h, err := fs.openFile(fd, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := h.cut(size); err != nil {
		return nil, errors.Join(err, fs.drop(h))
	}
	fs.appendWith(h, size)
	return h, nil
}

// cut drops what stands behind size, durably.
func (f *file) cut(size int64) error {
	info, err := f.os.Stat()
	if err != nil {
		return osfile.Wrap("reopen "+f.fd.String(), err)
	}
	if size < 0 || size > info.Size() {
		return base.Wrap(base.ErrInvalidArgument, "reopen "+f.fd.String()+" beyond its end", nil)
	}
	if size < info.Size() {
		if err := f.os.Truncate(size); err != nil {
			return osfile.Wrap("truncate "+f.fd.String(), err)
		}
	}
	if err := f.os.Sync(); err != nil {
		return osfile.Wrap("sync "+f.fd.String(), err)
	}
	return nil
}

// drop closes a handle that was not given out. FS.mu is held.
func (fs *FS) drop(h *file) error {
	delete(fs.open, h)
	return h.os.Close()
}

// Remove implements vfs.FS.
func (fs *FS) Remove(fd vfs.FileDesc) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return base.ErrClosed
	}
	err := os.Remove(fs.path(fd))
	if errors.Is(err, os.ErrNotExist) {
		return base.Wrap(vfs.ErrNotExist, fd.String(), nil)
	}
	if err != nil {
		return osfile.Wrap("remove "+fd.String(), err)
	}
	delete(fs.appenders, fd)
	return osfile.SyncDir(fs.dir)
}

// List implements vfs.FS.
func (fs *FS) List() ([]vfs.FileDesc, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return nil, base.ErrClosed
	}
	entries, err := os.ReadDir(fs.dir)
	if err != nil {
		return nil, osfile.Wrap("list "+fs.dir, err)
	}
	var fds []vfs.FileDesc
	for _, e := range entries {
		if fd, ok := vfs.ParseName(e.Name()); ok && e.Type().IsRegular() {
			fds = append(fds, fd)
		}
	}
	slices.SortFunc(fds, vfs.FileDesc.Compare)
	return slices.Compact(fds), nil
}

// SetCurrent implements vfs.CurrentSetter by a file that takes the place of
// CURRENT at once.
func (fs *FS) SetCurrent(fd vfs.FileDesc) error {
	if fd.Type != vfs.TypeManifest {
		return base.Wrap(base.ErrInvalidArgument, fd.String()+" is no manifest", nil)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return base.ErrClosed
	}
	if _, err := os.Stat(fs.path(fd)); errors.Is(err, os.ErrNotExist) {
		return base.Wrap(vfs.ErrNotExist, fd.String(), nil)
	}
	next := filepath.Join(fs.dir, nextCurrentName)
	err := writeSynced(next, fd.String()+"\n")
	if err == nil {
		err = os.Rename(next, filepath.Join(fs.dir, currentName))
	}
	if err != nil {
		return osfile.Wrap("set "+currentName, err)
	}
	return osfile.SyncDir(fs.dir)
}

// writeSynced makes the file at path hold text, durably.
func writeSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Current implements vfs.CurrentSetter. base.ErrCorruption where CURRENT holds
// anything but the name of a manifest.
func (fs *FS) Current() (vfs.FileDesc, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return vfs.FileDesc{}, base.ErrClosed
	}
	text, err := os.ReadFile(filepath.Join(fs.dir, currentName))
	if errors.Is(err, os.ErrNotExist) {
		return vfs.FileDesc{}, base.Wrap(vfs.ErrNotExist, currentName, nil)
	}
	if err != nil {
		return vfs.FileDesc{}, osfile.Wrap("read "+currentName, err)
	}
	name, whole := strings.CutSuffix(string(text), "\n")
	fd, ok := vfs.ParseName(name)
	if !whole || !ok || fd.Type != vfs.TypeManifest {
		return vfs.FileDesc{}, base.Corruption(currentName, 0, "no name of a manifest")
	}
	return fd, nil
}

// Close implements vfs.FS. It unlocks the folder; the file LOCK stays.
func (fs *FS) Close() error {
	fs.mu.Lock()
	if fs.closed {
		fs.mu.Unlock()
		return nil
	}
	fs.closed = true
	open := fs.open
	fs.open = nil
	fs.mu.Unlock()
	for h := range open {
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		// Only the lock matters now: a handle that fails to close was not
		// closed by its owner, who has been told of every failed write.
		_ = h.os.Close()
	}
	if err := fs.lock.Close(); err != nil {
		return osfile.Wrap("unlock "+fs.dir, err)
	}
	return nil
}

// Append implements vfs.File.
func (f *file) Append(p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return base.ErrClosed
	}
	if !f.appender {
		return base.Wrap(base.ErrInvalidArgument, f.fd.String()+" is not open for appending", nil)
	}
	if f.failed != nil {
		return f.failed
	}
	n, err := f.os.WriteAt(p, f.size)
	f.size += int64(n)
	if err != nil {
		f.failed = osfile.Wrap("append to "+f.fd.String(), err)
	}
	return f.failed
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, base.Wrap(base.ErrInvalidArgument, "read "+f.fd.String()+" before its start", nil)
	}
	n, err := f.os.ReadAt(p, off)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case errors.Is(err, os.ErrClosed):
		return n, base.ErrClosed
	}
	return n, osfile.Wrap("read "+f.fd.String(), err)
}

// Size implements vfs.File.
func (f *file) Size() (int64, error) {
	info, err := f.os.Stat()
	if err != nil {
		return 0, osfile.Wrap("size of "+f.fd.String(), err)
	}
	return info.Size(), nil
}

// Sync implements vfs.File. After a failed Sync the file takes no more
// appends, and later Syncs fail: the operating system may have dropped what it
// could not write.
func (f *file) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return base.ErrClosed
	}
	if f.failed != nil {
		return f.failed
	}
	if err := f.os.Sync(); err != nil {
		f.failed = osfile.Wrap("sync "+f.fd.String(), err)
	}
	return f.failed
}

// Close implements vfs.File.
func (f *file) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	f.mu.Unlock()
	f.fs.mu.Lock()
	delete(f.fs.open, f)
	if f.fs.appenders[f.fd] == f {
		delete(f.fs.appenders, f.fd)
	}
	f.fs.mu.Unlock()
	if err := f.os.Close(); err != nil {
		return osfile.Wrap("close "+f.fd.String(), err)
	}
	return nil
}

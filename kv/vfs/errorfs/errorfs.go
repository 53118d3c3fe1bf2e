// Package errorfs wraps a vfs.FS and makes chosen operations fail. A test runs
// the same work again and again, with the fault at operation 0, 1, 2 and so
// on, until a run ends before its fault comes (the habit is Pebble's,
// vfs/errorfs).
package errorfs

import (
	"sync"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// Op is a set of kinds of operations.
type Op uint16

// The kinds of operations. Closing is none: it cannot fail.
const (
	OpCreate Op = 1 << iota
	OpOpen
	OpReopen
	OpRemove
	OpList
	OpAppend
	OpReadAt
	OpSync
	OpSize
	OpSetCurrent
	OpCurrent

	OpAll    = OpCurrent<<1 - 1
	OpWrites = OpCreate | OpReopen | OpRemove | OpAppend | OpSync | OpSetCurrent
)

// Fault says which operation fails, and how.
type Fault struct {
	// Index, from 0, among the operations counted since Inject.
	Index int
	// Ops are the kinds that are counted. 0 is OpAll.
	Ops Op
	// Err is what the operation returns.
	Err error
	// Lasting makes every counted operation after Index fail too.
	Lasting bool
	// ShortAppend writes the first half of what a failing Append was given.
	// Without it a failing operation does nothing.
	ShortAppend bool
}

// FS is a vfs.FS whose operations can fail. It may be used from several
// goroutines.
type FS struct {
	inner vfs.FS

	mu    sync.Mutex // guards the rest
	fault Fault
	count int
	hits  int
}

type file struct {
	fs    *FS
	inner vfs.File
}

var (
	_ vfs.FS            = (*FS)(nil)
	_ vfs.CurrentSetter = (*FS)(nil)
	_ vfs.File          = (*file)(nil)
)

// Wrap returns an FS over inner without a fault: it counts only.
func Wrap(inner vfs.FS) *FS {
	return &FS{inner: inner, fault: Fault{Index: -1, Ops: OpAll}}
}

// Inject sets the fault, instead of an earlier one, and counts from 0 again.
// A Fault with a negative Index never comes.
func (fs *FS) Inject(fault Fault) {
	if fault.Ops == 0 {
		fault.Ops = OpAll
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.fault, fs.count, fs.hits = fault, 0, 0
}

// Count returns how many operations of the fault's kinds were made since
// Inject.
func (fs *FS) Count() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.count
}

// Hits returns how many operations have failed since Inject.
func (fs *FS) Hits() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.hits
}

// check counts an operation and returns the error it must fail with.
func (fs *FS) check(op Op) (short bool, err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if op&fs.fault.Ops == 0 {
		return false, nil
	}
	index := fs.count
	fs.count++
	if f := &fs.fault; f.Index >= 0 && (index == f.Index || (f.Lasting && index > f.Index)) {
		fs.hits++
		return f.ShortAppend, f.Err
	}
	return false, nil
}

func (fs *FS) open(op Op, call func() (vfs.File, error)) (vfs.File, error) {
	if _, err := fs.check(op); err != nil {
		return nil, err
	}
	f, err := call()
	if err != nil {
		return nil, err
	}
	return &file{fs: fs, inner: f}, nil
}

// Create implements vfs.FS.
func (fs *FS) Create(fd vfs.FileDesc, reserveBytes int64) (vfs.File, error) {
	return fs.open(OpCreate, func() (vfs.File, error) { return fs.inner.Create(fd, reserveBytes) })
}

// Open implements vfs.FS.
func (fs *FS) Open(fd vfs.FileDesc) (vfs.File, error) {
	return fs.open(OpOpen, func() (vfs.File, error) { return fs.inner.Open(fd) })
}

// Reopen implements vfs.FS.
func (fs *FS) Reopen(fd vfs.FileDesc, size int64) (vfs.File, error) {
	return fs.open(OpReopen, func() (vfs.File, error) { return fs.inner.Reopen(fd, size) })
}

// Remove implements vfs.FS.
func (fs *FS) Remove(fd vfs.FileDesc) error {
	if _, err := fs.check(OpRemove); err != nil {
		return err
	}
	return fs.inner.Remove(fd)
}

// List implements vfs.FS.
func (fs *FS) List() ([]vfs.FileDesc, error) {
	if _, err := fs.check(OpList); err != nil {
		return nil, err
	}
	return fs.inner.List()
}

// SetCurrent implements vfs.CurrentSetter.
func (fs *FS) SetCurrent(fd vfs.FileDesc) error {
	c, ok := fs.inner.(vfs.CurrentSetter)
	if !ok {
		return base.Wrap(base.ErrNotSupported, "current manifest", nil)
	}
	if _, err := fs.check(OpSetCurrent); err != nil {
		return err
	}
	return c.SetCurrent(fd)
}

// Current implements vfs.CurrentSetter.
func (fs *FS) Current() (vfs.FileDesc, error) {
	c, ok := fs.inner.(vfs.CurrentSetter)
	if !ok {
		return vfs.FileDesc{}, base.Wrap(base.ErrNotSupported, "current manifest", nil)
	}
	if _, err := fs.check(OpCurrent); err != nil {
		return vfs.FileDesc{}, err
	}
	return c.Current()
}

// Close implements vfs.FS.
func (fs *FS) Close() error { return fs.inner.Close() }

// Append implements vfs.File.
func (f *file) Append(p []byte) error {
	short, err := f.fs.check(OpAppend)
	if err == nil {
		return f.inner.Append(p)
	}
	if short {
		// The injected error is the one the caller sees.
		_ = f.inner.Append(p[:len(p)/2])
	}
	return err
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if _, err := f.fs.check(OpReadAt); err != nil {
		return 0, err
	}
	return f.inner.ReadAt(p, off)
}

// Size implements vfs.File.
func (f *file) Size() (int64, error) {
	if _, err := f.fs.check(OpSize); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	if _, err := f.fs.check(OpSync); err != nil {
		return err
	}
	return f.inner.Sync()
}

// Close implements vfs.File.
func (f *file) Close() error { return f.inner.Close() }

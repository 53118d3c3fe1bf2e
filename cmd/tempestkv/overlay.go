package main

import (
	"errors"
	"io"
	"slices"
	"sync"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// overlay is an FS over another that it does not change: what is written stays
// in memory. Opening a store writes: it goes on in the last log, brings older
// ones into tables and removes what is no longer needed.
type overlay struct {
	base vfs.FS
	mem  *vfs.MemFS

	mu      sync.Mutex // guards the rest, and what is in mem
	gone    map[vfs.FileDesc]bool
	current *vfs.FileDesc // nil: that of base
}

var (
	_ vfs.FS            = (*overlay)(nil)
	_ vfs.CurrentSetter = (*overlay)(nil)
)

func newOverlay(base vfs.FS) *overlay {
	return &overlay{base: base, mem: vfs.NewMem(), gone: map[vfs.FileDesc]bool{}}
}

// below opens a file of base that was not removed.
func (o *overlay) below(fd vfs.FileDesc) (vfs.File, error) {
	if o.gone[fd] {
		return nil, base.Wrap(vfs.ErrNotExist, fd.String(), nil)
	}
	return o.base.Open(fd)
}

func (o *overlay) Create(fd vfs.FileDesc, reserveBytes int64) (vfs.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f, err := o.below(fd); err == nil {
		f.Close()
		return nil, base.Wrap(vfs.ErrExist, fd.String(), nil)
	}
	return o.mem.Create(fd, reserveBytes)
}

func (o *overlay) Open(fd vfs.FileDesc) (vfs.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f, err := o.mem.Open(fd); !errors.Is(err, vfs.ErrNotExist) {
		return f, err
	}
	return o.below(fd)
}

// Reopen takes a copy of a file of base.
func (o *overlay) Reopen(fd vfs.FileDesc, size int64) (vfs.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f, err := o.mem.Reopen(fd, size); !errors.Is(err, vfs.ErrNotExist) {
		return f, err
	}
	from, err := o.below(fd)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	if whole, err := from.Size(); err != nil || size < 0 || size > whole {
		return nil, base.Wrap(base.ErrInvalidArgument, "reopen "+fd.String()+" beyond its end", err)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(from, 0, size), data); err != nil {
		return nil, base.Wrap(base.ErrInvalidArgument, "reopen "+fd.String(), err)
	}
	to, err := o.mem.Create(fd, 0)
	if err != nil {
		return nil, err
	}
	o.gone[fd] = true
	return to, to.Append(data)
}

func (o *overlay) Remove(fd vfs.FileDesc) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.mem.Remove(fd); !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	f, err := o.below(fd)
	if err != nil {
		return err
	}
	o.gone[fd] = true
	return f.Close()
}

func (o *overlay) List() ([]vfs.FileDesc, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fds, err := o.base.List()
	if err != nil {
		return nil, err
	}
	fds = slices.DeleteFunc(fds, func(fd vfs.FileDesc) bool { return o.gone[fd] })
	own, err := o.mem.List()
	if err != nil {
		return nil, err
	}
	fds = append(fds, own...)
	slices.SortFunc(fds, vfs.FileDesc.Compare)
	return fds, nil
}

func (o *overlay) SetCurrent(fd vfs.FileDesc) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if fd.Type != vfs.TypeManifest {
		return base.Wrap(base.ErrInvalidArgument, fd.String()+" is no manifest", nil)
	}
	f, err := o.mem.Open(fd)
	if errors.Is(err, vfs.ErrNotExist) {
		f, err = o.below(fd)
	}
	if err != nil {
		return err
	}
	o.current = &fd
	return f.Close()
}

func (o *overlay) Current() (vfs.FileDesc, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.mem.List(); err != nil {
		return vfs.FileDesc{}, err // it is closed
	}
	if o.current != nil {
		return *o.current, nil
	}
	if c, ok := o.base.(vfs.CurrentSetter); ok {
		return c.Current()
	}
	return vfs.FileDesc{}, base.Wrap(base.ErrNotSupported, "", nil)
}

func (o *overlay) Close() error { return errors.Join(o.mem.Close(), o.base.Close()) }

// Package filedevice gives a volume a file of the operating system.
package filedevice

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/gofrs/flock"

	"tempestkv/kv/base"
	"tempestkv/kv/volume"
)

// Device is an open file.
type Device struct {
	file *os.File
	lock *flock.Flock
}

var _ volume.Device = (*Device)(nil)

// Open opens the file at path, and makes it where there is none and create
// says so; else that is fs.ErrNotExist. The file is locked until Close:
// base.ErrLocked where it is open already, in this process or in another that
// locks with flock.
func Open(path string, create bool) (*Device, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE
	}
	file, err := os.OpenFile(path, flag, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, wrap("open "+path, err)
	}
	d := &Device{file: file, lock: flock.New(lockPath(path))}
	held, err := d.lock.TryLock()
	if err == nil && !held {
		err = base.Wrap(base.ErrLocked, path, nil)
	} else if err != nil {
		err = wrap("lock "+path, err)
	} else if create {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// lockPath returns which file is locked: the one itself. On Windows a lock also
// keeps out reads and writes through our own other handle, so there it is a file
// beside it.
func lockPath(path string) string {
	if runtime.GOOS == "windows" {
		return path + ".lock"
	}
	return path
}

// syncDir makes the names in a folder durable; Windows does so by itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return wrap("sync folder "+dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return wrap("sync folder "+dir, err)
	}
	return nil
}

// wrap gives an error of the operating system the sentinel that tells the
// caller what to do.
func wrap(what string, err error) error {
	switch {
	case errors.Is(err, os.ErrClosed):
		return base.Wrap(base.ErrClosed, what, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return base.Wrap(base.ErrQuota, what, err)
	}
	return base.Wrap(base.ErrIO, what, err)
}

// ReadAt implements volume.Device.
func (d *Device) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.file.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return n, wrap("read", err)
	}
	return n, nil
}

// WriteAt implements volume.Device.
func (d *Device) WriteAt(p []byte, off int64) error {
	if _, err := d.file.WriteAt(p, off); err != nil {
		return wrap("write", err)
	}
	return nil
}

// Sync implements volume.Device.
func (d *Device) Sync() error {
	if err := d.file.Sync(); err != nil {
		return wrap("sync", err)
	}
	return nil
}

// Size implements volume.Device.
func (d *Device) Size() (int64, error) {
	info, err := d.file.Stat()
	if err != nil {
		return 0, wrap("size", err)
	}
	return info.Size(), nil
}

// Truncate implements volume.Device.
func (d *Device) Truncate(size int64) error {
	if err := d.file.Truncate(size); err != nil {
		return wrap("truncate", err)
	}
	return nil
}

// Close closes the file and unlocks it. It does not sync.
func (d *Device) Close() error {
	if err := errors.Join(d.file.Close(), d.lock.Close()); err != nil {
		return wrap("close", err)
	}
	return nil
}

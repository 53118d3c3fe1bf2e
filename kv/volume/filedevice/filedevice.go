// Package filedevice gives a volume a file of the operating system.
package filedevice

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/gofrs/flock"

	"tempestkv/kv/base"
	"tempestkv/kv/internal/osfile"
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
		return nil, osfile.Wrap("open "+path, err)
	}
	d := &Device{file: file, lock: flock.New(lockPath(path))}
	held, err := d.lock.TryLock()
	if err == nil && !held {
		err = base.Wrap(base.ErrLocked, path, nil)
	} else if err != nil {
		err = osfile.Wrap("lock "+path, err)
	} else if create {
		err = osfile.SyncDir(filepath.Dir(path))
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

// ReadAt implements volume.Device.
func (d *Device) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.file.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return n, osfile.Wrap("read", err)
	}
	return n, nil
}

// WriteAt implements volume.Device.
func (d *Device) WriteAt(p []byte, off int64) error {
	if _, err := d.file.WriteAt(p, off); err != nil {
		return osfile.Wrap("write", err)
	}
	return nil
}

// Sync implements volume.Device.
func (d *Device) Sync() error {
	if err := d.file.Sync(); err != nil {
		return osfile.Wrap("sync", err)
	}
	return nil
}

// Size implements volume.Device.
func (d *Device) Size() (int64, error) {
	info, err := d.file.Stat()
	if err != nil {
		return 0, osfile.Wrap("size", err)
	}
	return info.Size(), nil
}

// Truncate implements volume.Device.
func (d *Device) Truncate(size int64) error {
	if err := d.file.Truncate(size); err != nil {
		return osfile.Wrap("truncate", err)
	}
	return nil
}

// Close closes the file and unlocks it. It does not sync.
func (d *Device) Close() error {
	if err := errors.Join(d.file.Close(), d.lock.Close()); err != nil {
		return osfile.Wrap("close", err)
	}
	return nil
}

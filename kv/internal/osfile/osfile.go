// Package osfile is what the places that keep their bytes in files of the
// operating system have in common.
package osfile

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"tempestkv/kv/base"
)

// SyncDir makes the names in a folder durable; Windows does so by itself.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return Wrap("sync folder "+dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return Wrap("sync folder "+dir, err)
	}
	return nil
}

// Wrap gives an error of the operating system, which came of what, the sentinel
// that tells the caller what to do: base.ErrClosed, base.ErrQuota or base.ErrIO.
func Wrap(what string, err error) error {
	switch {
	case errors.Is(err, os.ErrClosed):
		return base.Wrap(base.ErrClosed, what, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return base.Wrap(base.ErrQuota, what, err)
	}
	return base.Wrap(base.ErrIO, what, err)
}

//go:build !js

package filedevice_test

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/vfstest"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/filedevice"
)

func open(t *testing.T, path string) *filedevice.Device {
	t.Helper()
	d, err := filedevice.Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestVolumeOnAFile(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfs.FS {
		v, err := volume.Open(open(t, filepath.Join(t.TempDir(), "v.tkv")), nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}

func TestDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d")
	if _, err := filedevice.Open(path, false); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file that is not there:", err)
	}
	d := open(t, path)
	if err := d.WriteAt([]byte("abc"), 10); err != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte{'x'}, 20)
	if n, err := d.ReadAt(p, 8); n != 5 || err != nil || string(p[:n]) != "\x00\x00abc" {
		t.Errorf("%d %v %q", n, err, p)
	}
	if n, err := d.ReadAt(p, 100); n != 0 || err != nil {
		t.Error("behind the end:", n, err)
	}
	if err := errors.Join(d.Truncate(11), d.Sync()); err != nil {
		t.Fatal(err)
	}
	if size, err := d.Size(); size != 11 || err != nil {
		t.Error(size, err)
	}
	if _, err := filedevice.Open(path, false); !errors.Is(err, base.ErrLocked) {
		t.Error("while it is open:", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteAt(p, 0); !errors.Is(err, base.ErrClosed) {
		t.Error("write after Close:", err)
	}
	open(t, path)
}

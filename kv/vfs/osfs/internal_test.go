package osfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

func TestAFileThatFailedTakesNoMoreAppends(t *testing.T) {
	dir := t.TempDir()
	fs, err := Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	f, err := fs.Create(vfs.FileDesc{Type: vfs.TypeLog, Num: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// A descriptor that only reads makes the next write fail.
	h := f.(*file)
	good := h.os
	if h.os, err = os.Open(good.Name()); err != nil {
		t.Fatal(err)
	}
	if err := f.Append([]byte("x")); !errors.Is(err, base.ErrIO) {
		t.Fatalf("Append: %v", err)
	}
	if err := h.os.Close(); err != nil {
		t.Fatal(err)
	}
	h.os = good
	if err := f.Append([]byte("x")); !errors.Is(err, base.ErrIO) {
		t.Errorf("Append after a failed one: %v", err)
	}
	if err := f.Sync(); !errors.Is(err, base.ErrIO) {
		t.Errorf("Sync after a failed Append: %v", err)
	}
}

package main

import (
	"errors"
	"testing"

	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/vfstest"
)

func TestOverlay(t *testing.T) {
	vfstest.Run(t, func(*testing.T) vfs.FS { return newOverlay(vfs.NewMem()) })
}

func TestOverlayLeavesWhatIsBelow(t *testing.T) {
	below := vfs.NewMem()
	one, two := vfs.FileDesc{Type: vfs.TypeLog, Num: 1}, vfs.FileDesc{Type: vfs.TypeTable, Num: 2}
	for _, fd := range []vfs.FileDesc{one, two} {
		f, err := below.Create(fd, 0)
		if err := errors.Join(err, f.Append([]byte("below")), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	o := newOverlay(below)
	if _, err := o.Create(one, 0); !errors.Is(err, vfs.ErrExist) {
		t.Error(err)
	}
	f, err := o.Reopen(one, 2)
	if err := errors.Join(err, f.Append([]byte("!")), f.Close(), o.Remove(two)); err != nil {
		t.Fatal(err)
	}
	if err := o.Remove(two); !errors.Is(err, vfs.ErrNotExist) {
		t.Error(err)
	}
	if fds, err := o.List(); len(fds) != 1 || fds[0] != one || err != nil {
		t.Error(fds, err)
	}
	for fs, want := range map[vfs.FS]string{o: "be!", below: "below"} {
		f, err := fs.Open(one)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 9)
		if n, _ := f.ReadAt(p, 0); string(p[:n]) != want {
			t.Errorf("%q, want %q", p[:n], want)
		}
	}
	if fds, _ := below.List(); len(fds) != 2 {
		t.Error(fds)
	}
}

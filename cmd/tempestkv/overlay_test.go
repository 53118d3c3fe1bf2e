package main

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/vfstest"
	"tempestkv/kv/volume"
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

func TestOverlayDeviceAgainstOneInMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, want := volume.NewMemDevice(), volume.NewMemDevice()
		start := bytes.Repeat([]byte("below"), rapid.IntRange(0, 5000).Draw(t, "start"))
		for _, d := range []volume.Device{base, want} {
			if err := d.WriteAt(start, 0); err != nil {
				t.Fatal(err)
			}
		}
		over := newOverlayDevice(base)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			off := int64(rapid.IntRange(0, 40_000).Draw(t, "off"))
			n := rapid.IntRange(1, 20_000).Draw(t, "n")
			do := func(d volume.Device) error { return d.Truncate(off) }
			if rapid.Bool().Draw(t, "write") {
				p := bytes.Repeat([]byte{byte(n)}, n)
				do = func(d volume.Device) error { return d.WriteAt(p, off) }
			}
			if err := errors.Join(do(over), do(want)); err != nil {
				t.Fatal(err)
			}
			a, b := make([]byte, 70_000), make([]byte, 70_000)
			x, err1 := over.ReadAt(a, off/2)
			y, err2 := want.ReadAt(b, off/2)
			size1, err3 := over.Size()
			size2, err4 := want.Size()
			if err := errors.Join(err1, err2, err3, err4); err != nil || x != y || size1 != size2 || !bytes.Equal(a[:x], b[:y]) {
				t.Fatalf("%d and %d bytes of %d and %d, %v", x, y, size1, size2, err)
			}
		}
		if p := make([]byte, len(start)); len(start) > 0 {
			if n, err := base.ReadAt(p, 0); err != nil || !bytes.Equal(p[:n], start) {
				t.Fatal("what is below has changed", err)
			}
		}
	})
}

package volume_test

import (
	"bytes"
	"errors"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

// calls returns which device calls do makes.
func calls(dev *devicetest.Device, do func()) devicetest.Calls {
	before := dev.Calls()
	do()
	after := dev.Calls()
	return devicetest.Calls{
		Reads: after.Reads - before.Reads, Writes: after.Writes - before.Writes, Syncs: after.Syncs - before.Syncs,
		Sizes: after.Sizes - before.Sizes, Truncates: after.Truncates - before.Truncates,
		WrittenBytes: after.WrittenBytes - before.WrittenBytes,
	}
}

func wantCalls(t *testing.T, what string, got devicetest.Calls, writes, syncs int) {
	t.Helper()
	if got.Writes != writes || got.Syncs != syncs || got.All() != writes+syncs {
		t.Errorf("%s: %+v, want %d writes, %d syncs and nothing else", what, got, writes, syncs)
	}
}

func TestDeviceCallsAreFew(t *testing.T) {
	dev := devicetest.New()
	v := openVolume(t, dev, &volume.Options{KeepFreeBytes: 64 << 20})
	// The first commits make the file larger for their catalogs.
	for range 4 {
		addTable(t, v, 1, string(make([]byte, 5<<20)))
		must(t, v.Remove(table(1)))
	}

	var err error
	var l, m, tab vfs.File
	wantCalls(t, "create a log of 200 KiB: zeros, catalog, superblock", calls(dev, func() {
		l, err = v.Create(log(2), 200<<10)
		must(t, err)
	}), 3, 2)
	record := make([]byte, 128)
	for range 3 {
		wantCalls(t, "append to a log", calls(dev, func() { must(t, l.Append(record)) }), 1, 0)
	}
	wantCalls(t, "sync a log", calls(dev, func() { must(t, l.Sync()) }), 0, 1)
	wantCalls(t, "sync a clean log", calls(dev, func() { must(t, l.Sync()) }), 0, 0)

	wantCalls(t, "create a manifest", calls(dev, func() {
		m, err = v.Create(vfs.FileDesc{Type: vfs.TypeManifest, Num: 3}, 0)
		must(t, err)
	}), 0, 0)
	must(t, l.Append(record))
	wantCalls(t, "append to a manifest", calls(dev, func() { must(t, m.Append(record)) }), 1, 0)
	wantCalls(t, "sync a manifest", calls(dev, func() { must(t, m.Sync()) }), 2, 2)
	wantCalls(t, "sync a clean manifest", calls(dev, func() { must(t, m.Sync()) }), 0, 0)
	wantCalls(t, "sync a log that a commit has synced", calls(dev, func() { must(t, l.Sync()) }), 0, 0)

	wantCalls(t, "create a table of 4 MiB", calls(dev, func() {
		tab, err = v.Create(table(4), 4<<20)
		must(t, err)
	}), 0, 0)
	wantCalls(t, "append 1 MiB to a table, in blocks", calls(dev, func() {
		for range 256 {
			must(t, tab.Append(make([]byte, 4<<10)))
		}
	}), 4, 0)
	wantCalls(t, "append 1 MiB to a table, in pieces that do not divide it", calls(dev, func() {
		for left := 1 << 20; left > 0; left -= 65_000 {
			must(t, tab.Append(make([]byte, min(left, 65_000))))
		}
	}), 4, 0)
	wantCalls(t, "append 1 MiB to a table, at once", calls(dev, func() { must(t, tab.Append(make([]byte, 1<<20))) }), 1, 0)
	wantCalls(t, "append a little to a table", calls(dev, func() { must(t, tab.Append(record)) }), 0, 0)
	wantCalls(t, "sync and close a table", calls(dev, func() { must(t, tab.Sync(), tab.Close()) }), 3, 2)
	wantCalls(t, "remove a table", calls(dev, func() { must(t, v.Remove(table(4))) }), 2, 2)
	for num := uint64(5); num < 15; num++ {
		addTable(t, v, num, "x")
	}
	wantCalls(t, "remove ten tables", calls(dev, func() {
		var fds []vfs.FileDesc
		for num := uint64(5); num < 15; num++ {
			fds = append(fds, table(num))
		}
		must(t, vfs.RemoveAll(v, fds))
	}), 2, 2)
	wantCalls(t, "make and remove a table that is never synced", calls(dev, func() {
		tab, err = v.Create(table(15), 2<<20)
		must(t, err)
		must(t, tab.Append(record), v.Remove(table(15)), tab.Close())
	}), 0, 0)
	wantCalls(t, "close the volume", calls(dev, func() { must(t, v.Close()) }), 0, 0)

	read := calls(dev, func() { v = openVolume(t, dev, &volume.Options{KeepFreeBytes: 64 << 20}) })
	if read.Sizes != 1 || read.Reads > 4 || read.Writes != 2 || read.Syncs != 2 {
		t.Errorf("open: %+v", read)
	}
	must(t, v.Check())
}

func TestALogGrowsInDoublingSteps(t *testing.T) {
	dev := devicetest.New()
	v := openVolume(t, dev, nil)
	f, err := v.Create(log(1), 1)
	must(t, err)
	var steps []int64
	piece := make([]byte, 32<<10)
	for range 320 {
		c := calls(dev, func() { must(t, f.Append(piece)) })
		if c.Syncs > 0 {
			steps = append(steps, c.WrittenBytes>>18<<18)
		}
	}
	want := []int64{256 << 10, 512 << 10, 1 << 20, 2 << 20, 2 << 20, 2 << 20, 2 << 20, 2 << 20}
	for i, step := range steps {
		if i >= len(want) || step != want[i] {
			t.Fatalf("growth of %v bytes, want %v", steps, want)
		}
	}
	if len(steps) < 7 {
		t.Fatalf("growth of %v bytes", steps)
	}
	must(t, v.Check())
}

func TestReservedSpaceIsReallyThere(t *testing.T) {
	dev := devicetest.New()
	v := openVolume(t, dev, nil)
	f, err := v.Create(log(1), 1<<20)
	must(t, err)
	dev.SetQuota(1) // nothing more
	for range 256 {
		must(t, f.Append(make([]byte, 4096)), f.Sync())
	}
	if err := f.Append([]byte{1}); !errors.Is(err, base.ErrQuota) {
		t.Fatalf("Append behind the reserved space: %v", err)
	}
	if err := f.Append(nil); !errors.Is(err, base.ErrQuota) {
		t.Fatalf("Append after a failed one: %v", err)
	}
	// A log that cannot grow harms nobody else, and can be continued.
	must(t, v.Check())
	dev.SetQuota(0)
	f, err = v.Reopen(log(1), 1<<20)
	must(t, err)
	must(t, f.Append([]byte{1}), f.Sync(), v.Check())
}

func TestAFullDevice(t *testing.T) {
	dev := devicetest.New()
	v := openVolume(t, dev, &volume.Options{KeepFreeBytes: -1})
	addTable(t, v, 1, "one")
	dev.SetQuota(20 * volume.PageSize)
	var made []vfs.FileDesc
	for num := uint64(2); ; num++ {
		f, err := v.Create(log(num), 2*volume.PageSize)
		if err != nil {
			if !errors.Is(err, base.ErrQuota) || errors.Is(err, base.ErrReadOnly) {
				t.Fatalf("Create: %v", err)
			}
			break
		}
		must(t, f.Append([]byte{1}), f.Close())
		made = append(made, log(num))
	}
	if len(made) < 4 {
		t.Fatalf("only %d logs fit", len(made))
	}
	wantFiles(t, v, append([]vfs.FileDesc{table(1)}, made...)...)
	// One page logs fill what is left, until there is none for a catalog.
	for num := uint64(100); ; num++ {
		f, err := v.Create(log(num), 1)
		if errors.Is(err, base.ErrQuota) {
			break
		}
		must(t, err)
		must(t, f.Close(), v.Check())
		made = append(made, log(num))
	}
	wantFiles(t, v, append([]vfs.FileDesc{table(1)}, made...)...)
	// Full as it is, it can be opened, and files can be removed.
	must(t, v.Close())
	v = openVolume(t, dev, &volume.Options{KeepFreeBytes: -1})
	for _, fd := range made {
		must(t, v.Remove(fd), v.Check())
	}
	addTable(t, v, 200, "room again")
	wantFiles(t, v, table(1), table(200))
}

func TestFreeSpaceAtTheEndIsGivenBack(t *testing.T) {
	const keep = 16 * volume.PageSize
	dev := devicetest.New()
	v := openVolume(t, dev, &volume.Options{KeepFreeBytes: keep})
	var sizes []int64
	size := func() int64 {
		n, err := dev.Size()
		must(t, err)
		return n
	}
	for num := uint64(1); num <= 8; num++ {
		addTable(t, v, num, string(bytes.Repeat([]byte{byte(num)}, 1<<20)))
	}
	full := size()
	for num := uint64(8); num > 1; num-- {
		must(t, v.Remove(table(num)))
		sizes = append(sizes, size())
	}
	// The catalogs of the last generations were behind the tables.
	for range 3 {
		addTable(t, v, 2, "x")
		must(t, v.Remove(table(2)))
	}
	sizes = append(sizes, size())
	if end := sizes[len(sizes)-1]; end > 1<<20+2*keep+8*volume.PageSize || end < 1<<20+keep {
		t.Errorf("the file has %d bytes for a table of 1 MiB", end)
	}
	if truncates := dev.Calls().Truncates; full < 8<<20 || truncates < 1 || truncates > 5 {
		t.Errorf("from %d bytes it went to %v, in %d truncates", full, sizes, truncates)
	}
	wantTable(t, v, 1, string(bytes.Repeat([]byte{1}, 1<<20)))
	must(t, v.Check())
	// Steady work at one size truncates nothing.
	before := dev.Calls().Truncates
	for num := uint64(20); num < 40; num++ {
		addTable(t, v, num, string(make([]byte, 1<<20)))
		must(t, v.Remove(table(num)))
	}
	if dev.Calls().Truncates != before {
		t.Errorf("%d truncates", dev.Calls().Truncates-before)
	}
}

func TestAFileThatIsReadKeepsItsPages(t *testing.T) {
	dev := devicetest.New()
	v := openVolume(t, dev, nil)
	content := string(bytes.Repeat([]byte("read"), 50_000))
	addTable(t, v, 1, content)
	f, err := v.Open(table(1))
	must(t, err)
	must(t, v.Remove(table(1)))
	for num := uint64(2); num < 8; num++ {
		addTable(t, v, num, string(bytes.Repeat([]byte("write"), 50_000)))
		must(t, v.Remove(table(num)), v.Check())
	}
	got := make([]byte, len(content))
	_, err = f.ReadAt(got, 0)
	must(t, err)
	if string(got) != content {
		t.Fatal("the file has changed")
	}
	must(t, f.Close(), v.Check())
}

func TestAFencedVolumeSaysSo(t *testing.T) {
	dev := devicetest.New()
	v := openVolume(t, dev, nil)
	f, err := v.Create(log(1), 1)
	must(t, err)
	must(t, f.Append([]byte("x")))
	dev.FailAt(0, base.ErrFenced)
	if err := f.Sync(); !errors.Is(err, base.ErrFenced) {
		t.Fatalf("Sync: %v", err)
	}
	for range 2 {
		if err := f.Sync(); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, base.ErrFenced) {
			t.Fatalf("Sync after a failed one: %v", err)
		}
		if _, err := v.Create(log(2), 1); !errors.Is(err, base.ErrReadOnly) {
			t.Fatalf("Create after a failed Sync: %v", err)
		}
	}
	wantFiles(t, v, log(1))
}

// TestManyFilesNeedMoreThanOnePageForTheirCatalog also fragments the space.
func TestManyFilesNeedMoreThanOnePageForTheirCatalog(t *testing.T) {
	dev := volume.NewMemDevice()
	v := openVolume(t, dev, nil)
	const count = 5600
	files := make([]vfs.FileDesc, 0, count)
	for i := range uint64(count) {
		// Large numbers make large entries.
		fd := table(1<<62 + i)
		f, err := v.Create(fd, 0)
		must(t, err)
		must(t, f.Sync(), f.Close())
		files = append(files, fd)
	}
	wantFiles(t, v, files...)
	must(t, v.Close())
	v = openVolume(t, dev, nil)
	wantFiles(t, v, files...)
	for i, fd := range files[:100] {
		if i%2 == 0 {
			must(t, v.Remove(fd))
		}
	}
	must(t, v.Check())
}

// Package vfstest is the contract of vfs.FS as tests: every implementation
// runs the same suite. ReadFile is for tests of what stands on one.
package vfstest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// Run checks the FS that open returns, a new and empty one at each call.
func Run(t *testing.T, open func(t *testing.T) vfs.FS) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, fs vfs.FS)
	}{
		{"a created file is listed, read and removed", testLifecycle},
		{"a file exists once", testExist},
		{"a missing file is reported", testNotExist},
		{"a bad name is refused", testBadName},
		{"reads end with EOF at the end of the file", testReadAt},
		{"an open file can be read after its removal", testRemovedButOpen},
		{"a removed name can be used again", testNameReuse},
		{"many are removed at once", testRemoveAll},
		{"reopen drops what stands behind the size", testReopen},
		{"reopen beyond the end is refused", testReopenBeyondEnd},
		{"the last to open for appending appends", testOneAppender},
		{"reading handles do not append", testReaderDoesNotAppend},
		{"one manifest is current", testCurrent},
		{"use after close fails", testClosed},
		{"readers and an appender work at once", testConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs := open(t)
			defer func() {
				if err := fs.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			test.run(t, fs)
		})
	}
}

// ReadFile returns all that is in the file fd.
func ReadFile(t testing.TB, fs vfs.FS, fd vfs.FileDesc) []byte {
	t.Helper()
	f, err := fs.Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

func logFile(num uint64) vfs.FileDesc   { return vfs.FileDesc{Type: vfs.TypeLog, Num: num} }
func tableFile(num uint64) vfs.FileDesc { return vfs.FileDesc{Type: vfs.TypeTable, Num: num} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func create(t *testing.T, fs vfs.FS, fd vfs.FileDesc, content string) vfs.File {
	t.Helper()
	f, err := fs.Create(fd, 0)
	must(t, err)
	must(t, f.Append([]byte(content)))
	return f
}

// wantContent reads the file in one go and compares. Zeros may follow in a
// log.
func wantContent(t *testing.T, f vfs.File, fd vfs.FileDesc, want string) {
	t.Helper()
	size, err := f.Size()
	must(t, err)
	got := make([]byte, size)
	if n, err := f.ReadAt(got, 0); n != len(got) || (err != nil && err != io.EOF) {
		t.Fatalf("ReadAt of %d bytes: %d, %v", len(got), n, err)
	}
	if fd.Type == vfs.TypeLog {
		got = bytes.TrimRight(got, "\x00")
	}
	if string(got) != want {
		t.Fatalf("%v holds %q, want %q", fd, got, want)
	}
}

func testLifecycle(t *testing.T, fs vfs.FS) {
	var want []vfs.FileDesc
	for i, typ := range []vfs.FileType{vfs.TypeManifest, vfs.TypeLog, vfs.TypeTable} {
		fd := vfs.FileDesc{Type: typ, Num: uint64(9 + 99999991*i)}
		want = append(want, fd)
	}
	for _, i := range []int{2, 0, 1} {
		f, err := fs.Create(want[i], 100)
		must(t, err)
		must(t, f.Append(nil))
		must(t, f.Append([]byte("hello ")))
		must(t, f.Append([]byte("world")))
		wantContent(t, f, want[i], "hello world")
		must(t, f.Sync())
		must(t, f.Close())
	}
	fds, err := fs.List()
	must(t, err)
	if !slices.Equal(fds, want) {
		t.Fatalf("List: %v, want %v", fds, want)
	}
	for _, fd := range want {
		f, err := fs.Open(fd)
		must(t, err)
		wantContent(t, f, fd, "hello world")
		must(t, f.Close())
		must(t, fs.Remove(fd))
	}
	fds, err = fs.List()
	must(t, err)
	if len(fds) != 0 {
		t.Fatalf("List after removes: %v", fds)
	}
}

func testExist(t *testing.T, fs vfs.FS) {
	f := create(t, fs, logFile(1), "a")
	defer f.Close()
	_, err := fs.Create(logFile(1), 0)
	wantErr(t, err, vfs.ErrExist)
	g := create(t, fs, tableFile(1), "another type, another file")
	defer g.Close()
	wantContent(t, f, logFile(1), "a")
}

func testNotExist(t *testing.T, fs vfs.FS) {
	_, err := fs.Open(logFile(7))
	wantErr(t, err, vfs.ErrNotExist)
	_, err = fs.Reopen(logFile(7), 0)
	wantErr(t, err, vfs.ErrNotExist)
	wantErr(t, fs.Remove(logFile(7)), vfs.ErrNotExist)
}

func testBadName(t *testing.T, fs vfs.FS) {
	for _, fd := range []vfs.FileDesc{{}, {Type: vfs.TypeLog}, {Type: 9, Num: 1}} {
		_, err := fs.Create(fd, 0)
		wantErr(t, err, base.ErrInvalidArgument)
	}
}

func testReadAt(t *testing.T, fs vfs.FS) {
	f := create(t, fs, tableFile(1), "0123456789")
	defer f.Close()
	for _, test := range []struct {
		off  int64
		size int
		want string
		eof  bool
	}{
		{0, 10, "0123456789", false},
		{3, 4, "3456", false},
		{8, 4, "89", true},
		{10, 1, "", true},
		{1 << 40, 1, "", true},
	} {
		p := make([]byte, test.size)
		n, err := f.ReadAt(p, test.off)
		if string(p[:n]) != test.want || (err == io.EOF) != test.eof || (err != nil && err != io.EOF) {
			t.Errorf("ReadAt(%d, %d): %q, %v", test.size, test.off, p[:n], err)
		}
	}
	_, err := f.ReadAt(make([]byte, 1), -1)
	wantErr(t, err, base.ErrInvalidArgument)
}

func testRemovedButOpen(t *testing.T, fs vfs.FS) {
	content := string(bytes.Repeat([]byte("x"), 100_000))
	f := create(t, fs, tableFile(1), content)
	must(t, f.Sync())
	r, err := fs.Open(tableFile(1))
	must(t, err)
	must(t, f.Close())
	must(t, fs.Remove(tableFile(1)))
	for num := uint64(2); num < 6; num++ {
		g := create(t, fs, tableFile(num), string(bytes.Repeat([]byte("y"), 100_000)))
		must(t, g.Sync())
		must(t, g.Close())
	}
	wantContent(t, r, tableFile(1), content)
	must(t, r.Close())
}

func testNameReuse(t *testing.T, fs vfs.FS) {
	f := create(t, fs, logFile(1), "first")
	must(t, fs.Remove(logFile(1)))
	g := create(t, fs, logFile(1), "second")
	must(t, f.Close())
	wantContent(t, g, logFile(1), "second")
	must(t, g.Close())
}

func testRemoveAll(t *testing.T, fs vfs.FS) {
	fds := []vfs.FileDesc{logFile(1), tableFile(1), tableFile(2), logFile(3)}
	for _, fd := range fds {
		f := create(t, fs, fd, "x")
		must(t, f.Sync())
		must(t, f.Close())
	}
	must(t, vfs.RemoveAll(fs, nil))
	must(t, vfs.RemoveAll(fs, fds[1:]))
	got, err := fs.List()
	must(t, err)
	if !slices.Equal(got, fds[:1]) {
		t.Fatalf("List after RemoveAll: %v", got)
	}
	wantErr(t, vfs.RemoveAll(fs, []vfs.FileDesc{fds[3], fds[0]}), vfs.ErrNotExist)
	got, err = fs.List()
	must(t, err)
	if !slices.Equal(got, fds[:1]) {
		t.Fatalf("List after RemoveAll of a missing file: %v", got)
	}
}

func testReopen(t *testing.T, fs vfs.FS) {
	for _, fd := range []vfs.FileDesc{logFile(1), tableFile(2)} {
		f := create(t, fs, fd, "kept and dropped")
		must(t, f.Sync())
		must(t, f.Close())
		f, err := fs.Reopen(fd, 4)
		must(t, err)
		must(t, f.Append([]byte("!")))
		wantContent(t, f, fd, "kept!")
		must(t, f.Sync())
		must(t, f.Close())
		f, err = fs.Reopen(fd, 0)
		must(t, err)
		must(t, f.Close())
		f, err = fs.Open(fd)
		must(t, err)
		wantContent(t, f, fd, "")
		must(t, f.Close())
	}
}

func testReopenBeyondEnd(t *testing.T, fs vfs.FS) {
	f := create(t, fs, tableFile(1), "abc")
	must(t, f.Sync())
	must(t, f.Close())
	for _, size := range []int64{-1, 1 << 40} {
		_, err := fs.Reopen(tableFile(1), size)
		wantErr(t, err, base.ErrInvalidArgument)
	}
}

func testOneAppender(t *testing.T, fs vfs.FS) {
	f := create(t, fs, logFile(1), "abc")
	defer f.Close()
	g, err := fs.Reopen(logFile(1), 3)
	must(t, err)
	defer g.Close()
	wantErr(t, f.Append([]byte("x")), base.ErrInvalidArgument)
	must(t, g.Append([]byte("d")))
	wantContent(t, g, logFile(1), "abcd")
}

func testReaderDoesNotAppend(t *testing.T, fs vfs.FS) {
	f := create(t, fs, tableFile(1), "abc")
	defer f.Close()
	r, err := fs.Open(tableFile(1))
	must(t, err)
	defer r.Close()
	wantErr(t, r.Append([]byte("x")), base.ErrInvalidArgument)
	wantContent(t, r, tableFile(1), "abc")
}

func testCurrent(t *testing.T, fs vfs.FS) {
	c, ok := fs.(vfs.CurrentSetter)
	if !ok {
		return // It need not know.
	}
	_, err := c.Current()
	wantErr(t, err, vfs.ErrNotExist)
	wantErr(t, c.SetCurrent(logFile(1)), base.ErrInvalidArgument)
	for _, num := range []uint64{0, 9, 5} {
		fd := vfs.FileDesc{Type: vfs.TypeManifest, Num: num}
		wantErr(t, c.SetCurrent(fd), vfs.ErrNotExist)
		f := create(t, fs, fd, "")
		must(t, f.Close())
		must(t, c.SetCurrent(fd))
		got, err := c.Current()
		must(t, err)
		if got != fd {
			t.Fatalf("Current: %v, want %v", got, fd)
		}
	}
	fds, err := fs.List()
	must(t, err)
	if len(fds) != 3 {
		t.Fatalf("List: %v", fds)
	}
	must(t, fs.Close())
	_, err = c.Current()
	wantErr(t, err, base.ErrClosed)
	wantErr(t, c.SetCurrent(fds[0]), base.ErrClosed)
}

func testClosed(t *testing.T, fs vfs.FS) {
	f := create(t, fs, tableFile(1), "abc")
	g := create(t, fs, tableFile(2), "abc")
	must(t, f.Close())
	must(t, f.Close())
	must(t, fs.Close())
	for _, h := range []vfs.File{f, g} {
		wantErr(t, h.Append([]byte("x")), base.ErrClosed)
		wantErr(t, h.Sync(), base.ErrClosed)
		_, err := h.ReadAt(make([]byte, 1), 0)
		wantErr(t, err, base.ErrClosed)
		_, err = h.Size()
		wantErr(t, err, base.ErrClosed)
	}
	must(t, g.Close())
	_, err := fs.Create(logFile(1), 0)
	wantErr(t, err, base.ErrClosed)
	_, err = fs.Open(tableFile(1))
	wantErr(t, err, base.ErrClosed)
	_, err = fs.Reopen(tableFile(1), 0)
	wantErr(t, err, base.ErrClosed)
	wantErr(t, fs.Remove(tableFile(1)), base.ErrClosed)
	_, err = fs.List()
	wantErr(t, err, base.ErrClosed)
}

func testConcurrent(t *testing.T, fs vfs.FS) {
	const rounds, piece = 50, 3000
	f, err := fs.Create(logFile(1), 64<<10)
	must(t, err)
	defer f.Close()
	var wg sync.WaitGroup
	for range 3 {
		r, err := fs.Open(logFile(1))
		must(t, err)
		wg.Go(func() {
			defer r.Close()
			for range rounds {
				size, err := r.Size()
				if err != nil {
					t.Error(err)
					return
				}
				p := make([]byte, size)
				if _, err := r.ReadAt(p, 0); err != nil && err != io.EOF {
					t.Error(err)
					return
				}
				if i := bytes.IndexByte(p, 0); i >= 0 {
					t.Errorf("a byte inside the file is zero: %d of %d", i, size)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for num := uint64(2); num < 12; num++ {
			g, err := fs.Create(tableFile(num), 0)
			if err == nil {
				err = errors.Join(g.Append(make([]byte, 10)), g.Close(), fs.Remove(tableFile(num)))
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range rounds {
		must(t, f.Append(bytes.Repeat([]byte("z"), piece)))
	}
	must(t, f.Sync())
	wg.Wait()
}

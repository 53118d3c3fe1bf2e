package osfs_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/osfs"
	"tempestkv/kv/vfs/vfstest"
)

func open(t *testing.T, dir string) *osfs.FS {
	t.Helper()
	fs, err := osfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestFS(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfs.FS { return open(t, filepath.Join(t.TempDir(), "a", "b")) })
}

func TestAFolderIsLockedUntilClose(t *testing.T) {
	dir := t.TempDir()
	fs := open(t, dir)
	if _, err := osfs.Open(dir); !errors.Is(err, base.ErrLocked) {
		t.Fatalf("second Open: %v", err)
	}
	for range 2 {
		if err := fs.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLevelDBNamesAndStrangers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"000007.sst", "000008.ldb", "CURRENT", "LOG", "000009.dbtmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "000010.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	fs := open(t, dir)
	defer fs.Close()
	seven := vfs.FileDesc{Type: vfs.TypeTable, Num: 7}
	want := []vfs.FileDesc{seven, {Type: vfs.TypeTable, Num: 8}}
	if fds, err := fs.List(); !slices.Equal(fds, want) || err != nil {
		t.Fatalf("List: %v, %v", fds, err)
	}
	if _, err := fs.Create(seven, 0); !errors.Is(err, vfs.ErrExist) {
		t.Fatalf("Create over an older name: %v", err)
	}
	f, err := fs.Open(seven)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 16)
	if n, err := f.ReadAt(p, 0); string(p[:n]) != "000007.sst" || err != io.EOF {
		t.Fatalf("ReadAt: %q, %v", p[:n], err)
	}
	if err := errors.Join(f.Close(), fs.Remove(seven)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "000007.sst")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the removed table: %v", err)
	}
}

func TestFilesOutliveTheFS(t *testing.T) {
	dir := t.TempDir()
	fs := open(t, dir)
	fd := vfs.FileDesc{Type: vfs.TypeLog, Num: 3}
	f, err := fs.Create(fd, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Append([]byte("abc")), f.Sync(), fs.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "000003.log")); string(got) != "abc" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	fs = open(t, dir)
	defer fs.Close()
	f, err = fs.Reopen(fd, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Append([]byte("d")), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "000003.log")); string(got) != "abd" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestCurrentIsTheFileCURRENT(t *testing.T) {
	dir := t.TempDir()
	fs := open(t, dir)
	defer fs.Close()
	path := filepath.Join(dir, "CURRENT")
	for _, text := range []string{"", "MANIFEST-000003", "000003.log\n", "MANIFEST-000003\n\n", "../MANIFEST-000003\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if fd, err := fs.Current(); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("%q: %v, %v", text, fd, err)
		}
	}
	fd := vfs.FileDesc{Type: vfs.TypeManifest, Num: 3}
	f, err := fs.Create(fd, 0)
	if err != nil {
		t.Fatal(err)
	}
	// What an earlier crash left is written over.
	err = os.WriteFile(path+".dbtmp", []byte("MANIFEST-000002 and more\n"), 0o644)
	if err := errors.Join(err, f.Close(), fs.SetCurrent(fd)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); string(text) != "MANIFEST-000003\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(path + ".dbtmp"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestErrorsTellWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := osfs.Open(file); !errors.Is(err, base.ErrIO) {
		t.Errorf("Open of a file: %v", err)
	}
	if _, err := osfs.Open(filepath.Join(file, "below")); !errors.Is(err, base.ErrIO) {
		t.Errorf("Open below a file: %v", err)
	}
}

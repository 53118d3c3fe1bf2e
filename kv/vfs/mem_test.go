package vfs_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/vfstest"
)

func TestMemFS(t *testing.T) {
	vfstest.Run(t, func(*testing.T) vfs.FS { return vfs.NewMem() })
}

// tornFS has a log with 10,000 synced bytes 's' and 20,000 unsynced 'u', and a
// table that was never synced.
func tornFS(t *testing.T) (fs *vfs.MemFS, log, table vfs.FileDesc) {
	t.Helper()
	fs = vfs.NewMem()
	log, table = vfs.FileDesc{Type: vfs.TypeLog, Num: 1}, vfs.FileDesc{Type: vfs.TypeTable, Num: 2}
	f, err := fs.Create(log, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	g, err := fs.Create(table, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		f.Append(bytes.Repeat([]byte("s"), 10_000)), f.Sync(), f.Append(bytes.Repeat([]byte("u"), 20_000)),
		g.Append(bytes.Repeat([]byte("u"), 20_000)), f.Close(), g.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return fs, log, table
}

func TestCrashCloneWithoutRandomnessIsTheSyncedState(t *testing.T) {
	fs, log, table := tornFS(t)
	c := fs.CrashClone(nil)
	if got := vfstest.ReadFile(t, c, log); !bytes.Equal(got, bytes.Repeat([]byte("s"), 10_000)) {
		t.Errorf("log has %d bytes", len(got))
	}
	if f, err := c.Open(table); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("a table that was never synced: %v, %v", f, err)
	}
}

func TestCloneKeepsEverything(t *testing.T) {
	fs, log, table := tornFS(t)
	if err := fs.Close(); err != nil {
		t.Fatal(err)
	}
	c := fs.Clone()
	for _, fd := range []vfs.FileDesc{log, table} {
		if got := vfstest.ReadFile(t, c, fd); bytes.Count(got, []byte("u")) != 20_000 {
			t.Errorf("%v has %d bytes", fd, len(got))
		}
	}
}

func TestCrashCloneKeepsSyncedBytesAndSomeOthers(t *testing.T) {
	fs, log, table := tornFS(t)
	var whole, short, holes, tails, unnamed int
	for seed := range uint64(200) {
		c := fs.CrashClone(rand.New(rand.NewPCG(seed, 0)))
		got := vfstest.ReadFile(t, c, log)
		if len(got) < 10_000 || !bytes.Equal(got[:10_000], bytes.Repeat([]byte("s"), 10_000)) {
			t.Fatalf("seed %d: synced bytes are lost", seed)
		}
		if len(bytes.Trim(got[10_000:], "u\x00")) > 0 {
			t.Fatalf("seed %d: bytes nobody wrote", seed)
		}
		if len(got) > 30_000 {
			if len(bytes.Trim(got[30_000:], "\x00")) > 0 {
				t.Fatalf("seed %d: reserved space is not zero", seed)
			}
			tails++
		}
		if f, err := c.Open(table); errors.Is(err, vfs.ErrNotExist) {
			unnamed++
		} else if size, err := f.Size(); size > 20_000 || err != nil {
			t.Fatalf("seed %d: a table has grown to %d bytes, %v", seed, size, err)
		}
		switch kept := bytes.TrimRight(got, "\x00"); {
		case bytes.IndexByte(kept, 0) >= 0:
			holes++
		case len(kept) == 30_000:
			whole++
		default:
			short++
		}
		again := vfstest.ReadFile(t, fs.CrashClone(rand.New(rand.NewPCG(seed, 0))), log)
		if !bytes.Equal(got, again) {
			t.Fatalf("seed %d: two results", seed)
		}
	}
	if whole == 0 || short == 0 || holes == 0 || tails == 0 || unnamed == 0 || unnamed == 200 {
		t.Errorf("of 200 crashes %d whole, %d short, %d with holes, %d with a tail, %d without the table", whole, short, holes, tails, unnamed)
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct {
		fd   vfs.FileDesc
		name string
	}{
		{vfs.FileDesc{Type: vfs.TypeLog, Num: 1}, "000001.log"},
		{vfs.FileDesc{Type: vfs.TypeTable, Num: 123456}, "123456.ldb"},
		{vfs.FileDesc{Type: vfs.TypeManifest, Num: 1234567}, "MANIFEST-1234567"},
		{vfs.FileDesc{Type: vfs.TypeManifest}, "MANIFEST-000000"},
	} {
		if got := test.fd.String(); got != test.name {
			t.Errorf("%v is named %s", test.fd, got)
		}
		if got, ok := vfs.ParseName(test.name); got != test.fd || !ok {
			t.Errorf("ParseName(%q): %v, %t", test.name, got, ok)
		}
	}
	if got, ok := vfs.ParseName("000007.sst"); !ok || got != (vfs.FileDesc{Type: vfs.TypeTable, Num: 7}) {
		t.Errorf("ParseName of an older table: %v, %t", got, ok)
	}
	for _, name := range []string{
		"", ".", ".log", "CURRENT", "LOCK", "LOG", "000000.log", "1.txt", "x1.log", "1x.log", "+1.log", "-1.log",
		"1.log.bak", "MANIFEST-", "MANIFEST-x", "MANIFEST-1.log", "99999999999999999999.log",
	} {
		if fd, ok := vfs.ParseName(name); ok {
			t.Errorf("ParseName(%q): %v", name, fd)
		}
	}
}

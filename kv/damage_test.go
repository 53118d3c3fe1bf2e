package kv_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/osfs"
	"tempestkv/kv/vfs/vfstest"
	"tempestkv/kv/volume"
)

// damageOptions are those of a store that has something of all that a file can
// have, and is small.
func damageOptions() *kv.Options {
	return &kv.Options{MemtableBytes: 1, TableBytes: 1 << 10, Level1Bytes: 2 << 10, BlockBytes: 200, Now: func() int64 { return 1000 }}
}

// writeSmallStore writes a store of two levels, a range tombstone that matters to
// a table, values that expire, and a log of writes and clears, and closes it. It
// returns its entries.
func writeSmallStore(t *testing.T, fs vfs.FS) map[string]string {
	t.Helper()
	db := open(t, fs, damageOptions())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		put(t, db, fmt.Sprintf("key%02d", i), fmt.Sprint("value ", i, strings.Repeat("v", i)))
	}
	must(db.Compact(ctx, iterator.Bounds{}))
	for i := range 20 {
		put(t, db, fmt.Sprintf("key%02d", i*2), fmt.Sprint("newer ", i))
	}
	snapshot, err := db.Snapshot(ctx)
	must(err)
	_, err = db.DeleteRange(ctx, []byte("key11"), []byte("key15"), nil)
	must(err)
	must(db.Flush(ctx))
	must(snapshot.Close())
	_, err = db.DeleteRange(ctx, []byte("key31"), []byte("key33"), nil)
	must(err)
	_, err = db.Put(ctx, []byte("last"), []byte("one"), strict)
	must(err)
	_, err = db.Delete(ctx, []byte("key05"), nil)
	must(err)
	s, err := db.Stats(ctx)
	must(err)
	if s.Levels[0].Tables == 0 || s.Levels[1].Tables+s.Levels[2].Tables == 0 || s.RangeTombstones == 0 {
		t.Fatalf("%+v: want two levels and a range tombstone", s)
	}
	found, err := scanAll(db)
	must(err)
	must(db.Close())
	return found
}

// wantUnharmed opens a damaged store and reads everything, forwards and by key. A
// byte of it may be missing, for an error, but never another one be there.
func wantUnharmed(t *testing.T, what string, fs vfs.FS, want map[string]string) (opened bool) {
	t.Helper()
	db, err := kv.Open(fs, damageOptions())
	if err != nil {
		if !errors.Is(err, kv.ErrCorruption) && !errors.Is(err, kv.ErrNotSupported) {
			t.Errorf("%s: open: %v", what, err)
		}
		return false
	}
	defer db.Close()
	found, err := scanAll(db)
	switch {
	case err != nil && !errors.Is(err, kv.ErrCorruption):
		t.Errorf("%s: scan: %v", what, err)
	case err == nil && !maps.Equal(found, want):
		t.Errorf("%s: %s", what, differ(found, want))
	}
	for k, v := range found {
		if want[k] != v {
			t.Errorf("%s: before the error: %q is %q, want %q", what, k, v, want[k])
		}
	}
	for i := range 40 {
		key := fmt.Sprintf("key%02d", i)
		got, err := db.Get(ctx, []byte(key))
		if v, ok := want[key]; !errors.Is(err, kv.ErrCorruption) && (ok != (err == nil) || string(got) != v || !ok && err != kv.ErrNotFound) {
			t.Errorf("%s: get %q: %q, %v, want %q, %t", what, key, got, err, v, ok)
		}
	}
	if err := db.Compact(ctx, iterator.Bounds{}); err != nil && !errors.Is(err, kv.ErrCorruption) {
		t.Errorf("%s: compact: %v", what, err)
	}
	if found, err := scanAll(db); err == nil && !maps.Equal(found, want) {
		t.Errorf("%s: after a compaction: %s", what, differ(found, want))
	}
	return true
}

// sample returns how far apart the bytes are that a test damages: all of them for
// make soak.
func sample(every int) int {
	if *crashSeeds > 3 {
		return 1
	}
	return every
}

// TestAFlippedBitIsNeverReturnedAsData flips a bit of each file in turn.
func TestAFlippedBitIsNeverReturnedAsData(t *testing.T) {
	fs := vfs.NewMem()
	want := writeSmallStore(t, fs)
	files, err := fs.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range files {
		content := vfstest.ReadFile(t, fs, fd)
		opened, flips := 0, 0
		for at := 0; at < len(content) && !t.Failed(); at += sample(5) {
			b := append([]byte{}, content...)
			b[at] ^= 1 << (at % 8)
			flips++
			if wantUnharmed(t, fmt.Sprintf("bit flipped at %d of %s", at, fd), withFile(t, fs, fd, b), want) {
				opened++
			}
		}
		t.Log(fd, ":", len(content), "bytes,", flips, "flips,", opened, "opened")
	}
}

// TestAFlippedBitOfAVolumeIsNeverReturnedAsData flips a bit of the host's file. Most
// of its bytes are zeros that nothing needs; those that are not are tried more.
func TestAFlippedBitOfAVolumeIsNeverReturnedAsData(t *testing.T) {
	dev := &volume.MemDevice{}
	v, err := volume.Open(dev, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := writeSmallStore(t, v)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	size, err := dev.Size()
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, size)
	if n, err := dev.ReadAt(content, 0); n < len(content) {
		t.Fatal(n, err)
	}
	opened, flips := 0, 0
	for at, n := 0, 0; at < len(content) && !t.Failed(); at++ {
		if content[at] == 0 && at%(200*sample(20)) != 0 {
			continue
		}
		if n++; n%sample(20) != 0 {
			continue
		}
		flips++
		what := fmt.Sprintf("bit flipped at %d", at)
		damaged := &volume.MemDevice{}
		content[at] ^= 1 << (at % 8)
		err := damaged.WriteAt(content, 0)
		content[at] ^= 1 << (at % 8)
		if err != nil {
			t.Fatal(err)
		}
		v, err := volume.Open(damaged, nil)
		if err != nil {
			if !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrNotSupported) {
				t.Errorf("%s: volume: %v", what, err)
			}
			continue
		}
		if wantUnharmed(t, what, v, want) {
			opened++
		}
	}
	t.Log(size, "bytes,", flips, "flips,", opened, "opened")
}

// TestAFlippedBitOfCurrentIsNoOtherStore: the file CURRENT of a folder has no
// checksum.
func TestAFlippedBitOfCurrentIsNoOtherStore(t *testing.T) {
	if runtime.GOOS == "js" {
		t.Log("Node's files cannot be locked")
		return
	}
	dir := t.TempDir()
	folder := func() *osfs.FS {
		fs, err := osfs.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return fs
	}
	fs := folder()
	want := writeSmallStore(t, fs)
	fs.Close()
	name := filepath.Join(dir, "CURRENT")
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := range content {
		for bit := range 8 {
			b := append([]byte{}, content...)
			b[at] ^= 1 << bit
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			fs := folder()
			db, err := kv.Open(fs, damageOptions())
			if err == nil {
				found, err := scanAll(db)
				if err != nil || !maps.Equal(found, want) {
					t.Errorf("byte %d is %q: %v, %s", at, b[at], err, differ(found, want))
				}
				db.Close()
			} else if !errors.Is(err, kv.ErrCorruption) {
				t.Errorf("byte %d is %q: %v", at, b[at], err)
			}
			fs.Close()
		}
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	fs = folder()
	defer fs.Close()
	db := open(t, fs, damageOptions())
	if found, err := scanAll(db); err != nil || !maps.Equal(found, want) {
		t.Errorf("afterwards: %v, %s", err, differ(found, want))
	}
	db.Close()
}

// TestADamagedTableFailsCompactionAndNotWrites: reads of other keys and writes go
// on, and the damaged table stays as it is.
func TestADamagedTableFailsCompactionAndNotWrites(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, &kv.Options{Compression: sst.NoCompression})
	put(t, db, "a", strings.Repeat("a", 10_000))
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := fs.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range files {
		if fd.Type == vfs.TypeTable {
			b := vfstest.ReadFile(t, fs, fd)
			b[100] ^= 1
			fs = withFile(t, fs, fd, b)
		}
	}
	db = open(t, fs, nil)
	put(t, db, "a2", "v")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Compact(ctx, iterator.Bounds{}); !errors.Is(err, kv.ErrCorruption) {
		t.Fatal("compact:", err)
	}
	if _, err := db.Get(ctx, []byte("a")); !errors.Is(err, kv.ErrCorruption) {
		t.Fatal("get:", err)
	}
	put(t, db, "b", "w")
	wantValue(t, db, "b", "w")
	wantValue(t, db, "a2", "v")
	if s, err := db.Stats(ctx); err != nil || !errors.Is(s.BackgroundError, kv.ErrCorruption) {
		t.Errorf("%+v, %v", s, err)
	}
	if err := db.Flush(ctx); err != nil {
		t.Error("flush:", err)
	}
}

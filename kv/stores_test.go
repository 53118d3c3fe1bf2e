package kv_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/manifest"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
)

// storedEntries is what the programs in testdata/stores/make wrote, at a time
// when what is to expire first has.
func storedEntries(features bool) map[string]string {
	m := map[string]string{}
	for i := range 600 {
		m[fmt.Sprintf("key:%04d", i)] = fmt.Sprint("value ", i)
		if i%7 == 0 {
			m[fmt.Sprintf("key:%04d", i/2)] = fmt.Sprint("again ", i)
		}
		if i%5 == 0 {
			delete(m, fmt.Sprintf("key:%04d", i/3))
		}
		if features && i%50 == 49 {
			for j := i - 40; j < i-35; j++ {
				delete(m, fmt.Sprintf("key:%04d", j))
			}
			m[fmt.Sprintf("long:%04d", i)] = "there"
		}
	}
	return m
}

// folderFS returns the files of a folder.
func folderFS(t *testing.T, dir string) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var current []byte
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fd, ok := vfs.ParseName(e.Name())
		if !ok {
			current = data
			continue
		}
		f, err := fs.Create(fd, 0)
		if err := errors.Join(err, f.Append(data), f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if current != nil {
		fd, ok := vfs.ParseName(string(bytes.TrimSpace(current)))
		if err := fs.SetCurrent(fd); !ok || err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// packedVolume returns the device in a compressed file.
func packedVolume(t *testing.T, path string) *volume.MemDevice {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	dev := volume.NewMemDevice()
	if err := dev.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	return dev
}

// TestStoresOfEveryFormat opens the stores of testdata/stores.
func TestStoresOfEveryFormat(t *testing.T) {
	for name, features := range map[string]bool{"v1": false, "v2": false, "v2-features": true} {
		path := filepath.Join("testdata", "stores", name)
		dev := packedVolume(t, path+".tkv.gz")
		folder := folderFS(t, path+"-folder")
		for place, again := range map[string]func() vfs.FS{
			"folder": func() vfs.FS { return folder },
			"volume": func() vfs.FS { return openVolume(t, dev) },
		} {
			t.Run(name+" "+place, func(t *testing.T) {
				o := &kv.Options{Now: func() int64 { return 3000 }}
				want := storedEntries(features)
				fs := again()
				if have, report := repair(t, fs, o); len(report.Lost) > 0 || len(have) < len(want) {
					t.Errorf("repair: %d entries, lost %v", len(have), report.Lost)
				}
				db := open(t, fs, o)
				wantEntries(t, db, want)
				if r := verify(t, db); len(r.Problems) > 0 {
					t.Error(r.Problems)
				}
				put(t, db, "key:0001", "new")
				want["key:0001"] = "new"
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}

				fs = again()
				m, err := manifest.Open(fs, manifest.Options{
					Comparer: base.Bytewise, Features: []string{manifest.FeatureRangeDelete, manifest.FeatureExpiry},
				})
				if err != nil || len(m.State().Features) > 0 != features {
					t.Fatal("after it was opened the store has no manifest, or other features:", err)
				}
				db = open(t, fs, o)
				wantEntries(t, db, want)
				settle(t, db)
				db = open(t, again(), o)
				wantEntries(t, db, want)
				if r := verify(t, db); len(r.Problems) > 0 || r.Tables == 0 || r.Tombstones > 0 || r.RangeTombstones > 0 {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

package kv_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
)

// folderFile is a file of a folder.
type folderFile struct {
	name string
	data []byte
}

// readFolder gathers what an export gives out.
func readFolder(t testing.TB, next func() (kv.FolderPiece, error)) (files []folderFile) {
	t.Helper()
	sizes := map[string]int64{}
	for {
		p, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Name != "" {
			files = append(files, folderFile{name: p.Name})
			sizes[p.Name] = p.Size
		}
		last := &files[len(files)-1]
		last.data = append(last.data, p.Data...)
	}
	for _, f := range files {
		if size := sizes[f.name]; size >= 0 && size != int64(len(f.data)) {
			t.Errorf("%s has %d bytes, and said %d", f.name, len(f.data), size)
		}
	}
	if n := len(files); n < 2 || files[n-1].name != "CURRENT" {
		t.Fatal("CURRENT does not come last")
	}
	return files
}

func exportFolder(t testing.TB, db *kv.DB) []folderFile {
	t.Helper()
	x, err := db.ExportFolder(ctx)
	if err != nil {
		t.Fatal(err)
	}
	files := readFolder(t, func() (kv.FolderPiece, error) { return x.Next(1000) })
	size := int64(0)
	for _, f := range files {
		size += int64(len(f.data))
	}
	if size != x.Size() {
		t.Errorf("%d bytes, and said %d", size, x.Size())
	}
	if err := errors.Join(x.Close(), x.Close()); err != nil {
		t.Error(err)
	}
	return files
}

func copyFolder(t testing.TB, db *kv.DB, opts *kv.CopyOptions) []folderFile {
	t.Helper()
	x, err := db.CopyFolder(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	files := readFolder(t, func() (kv.FolderPiece, error) { return x.Next(3000) })
	if err := errors.Join(x.Close(), x.Close()); err != nil {
		t.Error(err)
	}
	return files
}

// importFolder imports files, CURRENT first, as a host does.
func importFolder(dev volume.Device, files []folderFile, opts *kv.Options) (kv.Recovery, error) {
	files = slices.Clone(files)
	if i := slices.IndexFunc(files, func(f folderFile) bool { return f.name == "CURRENT" }); i > 0 {
		files = slices.Concat(files[i:i+1], files[:i], files[i+1:])
	}
	draft, err := volume.NewDraft(dev)
	if err != nil {
		return kv.Recovery{}, err
	}
	vol, err := volume.Open(draft, nil)
	if err != nil {
		return kv.Recovery{}, err
	}
	m, err := kv.NewFolderImport(vol, opts)
	if err != nil {
		return kv.Recovery{}, err
	}
	for _, f := range files {
		needed, err := m.Begin(f.name, int64(len(f.data)))
		if err != nil {
			return kv.Recovery{}, err
		}
		for p := range slices.Chunk(f.data, 900) {
			if needed {
				if _, err := m.Write(p); err != nil {
					return kv.Recovery{}, err
				}
			}
		}
	}
	for left := 1; left > 0; {
		if left, err = m.Check(); err != nil {
			return kv.Recovery{}, err
		}
	}
	if err := vol.Close(); err != nil {
		return kv.Recovery{}, err
	}
	return m.Recovery(), draft.Publish()
}

func TestFolderOutAndIn(t *testing.T) {
	for _, features := range []bool{false, true} {
		t.Run(fmt.Sprint("features ", features), func(t *testing.T) {
			o := tiny
			src := open(t, vfs.NewMem(), &o)
			model := fill(t, src, features)
			var files []folderFile
			if features {
				if _, err := src.ExportFolder(ctx); !errors.Is(err, kv.ErrNotSupported) || !strings.Contains(err.Error(), "range-delete") {
					t.Fatal("a store with features as it is:", err)
				}
				files = copyFolder(t, src, &kv.CopyOptions{DropExpiry: true})
			} else {
				files = exportFolder(t, src)
				if got := copyFolder(t, src, nil); len(got) < 3 {
					t.Errorf("a copy of %d files", len(got))
				}
			}
			dev := volume.NewMemDevice()
			rec, err := importFolder(dev, append(files, folderFile{"LOG", []byte("text")}, folderFile{"LOCK", nil}), &o)
			if err != nil {
				t.Fatal(err)
			}
			before, _ := src.Stats(ctx)
			if rec.Sequence != before.Sequence || rec.DroppedBytes != 0 {
				t.Errorf("%+v, want sequence %d", rec, before.Sequence)
			}
			db := open(t, openVolume(t, dev), &o)
			wantEntries(t, db, model)
			if r := verify(t, db); len(r.Problems) > 0 {
				t.Errorf("%+v", r)
			}
			put(t, db, "more", "of it")
			wantValue(t, db, "more", "of it")
			if _, err := importFolder(dev, files, &o); !errors.Is(err, kv.ErrInvalidArgument) {
				t.Error("an import over a store:", err)
			}
		})
	}
}

func TestFolderThatIsNone(t *testing.T) {
	o := tiny
	src := open(t, vfs.NewMem(), &o)
	fill(t, src, false)
	whole := exportFolder(t, src)
	var manifestName, tableName string
	for _, f := range whole {
		switch {
		case strings.HasPrefix(f.name, "MANIFEST"):
			manifestName = f.name
		case strings.HasSuffix(f.name, ".ldb"):
			tableName = f.name
		}
	}
	change := func(name string, f func(*folderFile)) []folderFile {
		files := slices.Clone(whole)
		for i := range files {
			if files[i].name == name {
				files[i].data = bytes.Clone(files[i].data)
				f(&files[i])
			}
		}
		return slices.DeleteFunc(files, func(f folderFile) bool { return f.name == "" })
	}
	remove := func(name string) []folderFile {
		return change(name, func(f *folderFile) { f.name = "" })
	}
	tests := []struct {
		name  string
		files []folderFile
		want  error
		text  string
	}{
		{"nothing", nil, kv.ErrInvalidArgument, "no file CURRENT"},
		{"without CURRENT", remove("CURRENT"), kv.ErrInvalidArgument, "no file CURRENT"},
		{"CURRENT alone", []folderFile{whole[len(whole)-1]}, kv.ErrCorruption, "is missing"},
		{"without the manifest", remove(manifestName), kv.ErrCorruption, "no manifest"},
		{"without a table", remove(tableName), kv.ErrCorruption, tableName + " is missing"},
		{"a table twice", append(slices.Clone(whole), folderFile{tableName, nil}), kv.ErrInvalidArgument, "twice"},
		{"CURRENT twice", append(slices.Clone(whole), folderFile{"CURRENT", nil}), kv.ErrInvalidArgument, "twice"},
		{"CURRENT of something else", change("CURRENT", func(f *folderFile) { f.data = []byte("hello\n") }), kv.ErrCorruption, "no name of a manifest"},
		{"a long CURRENT", change("CURRENT", func(f *folderFile) { f.data = make([]byte, 5000) }), kv.ErrCorruption, "too long"},
		{"a bit of a table", change(tableName, func(f *folderFile) { f.data[len(f.data)/3] ^= 4 }), kv.ErrCorruption, tableName},
		{"a table cut off", change(tableName, func(f *folderFile) { f.data = f.data[:len(f.data)-1] }), kv.ErrCorruption, tableName},
		{"another table", change(tableName, func(f *folderFile) { f.data = bytes.Clone(whole[1].data) }), kv.ErrCorruption, ""},
		{"a bit of the manifest", change(manifestName, func(f *folderFile) { f.data[20] ^= 1 }), kv.ErrCorruption, ""},
		{"another compression", change(tableName, func(f *folderFile) { recompress(t, f.data) }), kv.ErrNotSupported, tableName + ": "},
		{"another comparer", change(manifestName, func(f *folderFile) {
			f.data = foreignManifest
		}), kv.ErrNotSupported, "idb_cmp1"},
	}
	if whole[1].name == tableName {
		t.Fatal("the tables are too few")
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dev := volume.NewMemDevice()
			_, err := importFolder(dev, test.files, &o)
			if !errors.Is(err, test.want) || kv.Code(err) != kv.Code(test.want) || !strings.Contains(err.Error(), test.text) {
				t.Fatal(err)
			}
			// Whatever was there already counts for nothing.
			db := open(t, openVolume(t, dev), &o)
			wantEntries(t, db, nil)
		})
	}
}

// recompress says of the first block of a table that Zstd has compressed it.
func recompress(t *testing.T, table []byte) {
	t.Helper()
	sum := func(n int) uint32 {
		c := crc32.Checksum(table[:n+1], crc32.MakeTable(crc32.Castagnoli))
		return (c>>15 | c<<17) + 0xa282ead8
	}
	for n := range len(table) - 5 {
		if binary.LittleEndian.Uint32(table[n+1:]) == sum(n) {
			table[n] = 2
			binary.LittleEndian.PutUint32(table[n+1:], sum(n))
			return
		}
	}
	t.Fatal("no block")
}

// foreignManifest is what Chromium begins a manifest of IndexedDB with.
var foreignManifest = []byte{
	0xf6, 0xd0, 0x17, 0xc7, 0x0a, 0x00, 0x01, 0x01, 0x08, 'i', 'd', 'b', '_', 'c', 'm', 'p', '1',
}

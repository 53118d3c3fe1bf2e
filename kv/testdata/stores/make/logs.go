//go:build ignore

// Command logs makes the stores of format version 1. It is for the version of
// this module at commit 0accccc, which had logs only; see ../README.md.
//
//	go run logs.go DIR
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"tempestkv/kv"
	"tempestkv/kv/batch"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/osfs"
	"tempestkv/kv/volume"
)

func main() {
	dir := os.Args[1]
	folder, err := osfs.Open(filepath.Join(dir, "v1-folder"))
	must(err)
	fill(folder)
	must(os.Remove(filepath.Join(dir, "v1-folder", "LOCK")))

	dev := &volume.MemDevice{}
	v, err := volume.Open(dev, nil)
	must(err)
	fill(v)
	size, err := dev.Size()
	must(err)
	data := make([]byte, size)
	_, err = dev.ReadAt(data, 0)
	must(err)
	must(os.WriteFile(filepath.Join(dir, "v1.tkv"), data, 0o644))
}

// fill writes so much that there are two logs.
func fill(fs vfs.FS) {
	db, err := kv.Open(fs, &kv.Options{MemtableBytes: 64 << 10})
	must(err)
	for i := range 600 {
		var b batch.Batch
		b.Put(fmt.Appendf(nil, "key:%04d", i), fmt.Appendf(nil, "value %d", i))
		if i%7 == 0 {
			b.Put(fmt.Appendf(nil, "key:%04d", i/2), fmt.Appendf(nil, "again %d", i))
		}
		if i%5 == 0 {
			b.Delete(fmt.Appendf(nil, "key:%04d", i/3))
		}
		_, err := db.Apply(nil, &b, &kv.WriteOptions{Strict: i%100 == 0})
		must(err)
	}
	must(db.Close())
	must(fs.Close())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

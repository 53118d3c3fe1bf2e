//go:build ignore

// Command tables makes the stores of format version 2: with a manifest, tables
// of two levels and a log, and once more with range deletes and values that
// expire; see ../README.md.
//
//	go run tables.go DIR
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"tempestkv/kv"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/osfs"
	"tempestkv/kv/volume"
)

func main() {
	dir := os.Args[1]
	for name, features := range map[string]bool{"v2": false, "v2-features": true} {
		folder, err := osfs.Open(filepath.Join(dir, name+"-folder"))
		must(err)
		fill(folder, features)
		must(os.Remove(filepath.Join(dir, name+"-folder", "LOCK")))

		dev := &volume.MemDevice{}
		v, err := volume.Open(dev, nil)
		must(err)
		fill(v, features)
		size, err := dev.Size()
		must(err)
		data := make([]byte, size)
		_, err = dev.ReadAt(data, 0)
		must(err)
		must(os.WriteFile(filepath.Join(dir, name+".tkv"), data, 0o644))
	}
}

// fill writes what logs.go writes; the first third goes to the deepest level that
// there is, the second to level 0, the rest stays in the log.
func fill(fs vfs.FS, features bool) {
	db, err := kv.Open(fs, &kv.Options{BlockBytes: 1 << 10})
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
		if features && i%50 == 49 {
			b.DeleteRange(fmt.Appendf(nil, "key:%04d", i-40), fmt.Appendf(nil, "key:%04d", i-35))
			b.PutExpiring(fmt.Appendf(nil, "short:%04d", i), []byte("gone"), 2000)
			b.PutExpiring(fmt.Appendf(nil, "long:%04d", i), []byte("there"), 1<<50)
		}
		_, err := db.Apply(nil, &b, &kv.WriteOptions{Strict: i%100 == 0})
		must(err)
		if i == 200 {
			must(db.Compact(nil, iterator.Bounds{}))
		}
		if i == 400 {
			must(db.Flush(nil))
		}
	}
	must(db.Close())
	must(fs.Close())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

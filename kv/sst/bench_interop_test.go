//go:build !js

// goleveldb does not build for js.

package sst

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/syndtr/goleveldb/leveldb/cache"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/table"
	"github.com/syndtr/goleveldb/leveldb/util"

	"tempestkv/kv/base"
)

// BenchmarkGoleveldb does with goleveldb's table package, on the same table,
// what the other benchmarks do with ours.
func BenchmarkGoleveldb(b *testing.B) {
	f, rows := benchTable(b)
	o := levelOptions(WriterOptions{})
	o.Strict = opt.StrictBlockChecksum
	levelReader := func(cached bool) *table.Reader {
		var blocks *cache.NamespaceGetter
		if cached {
			blocks = &cache.NamespaceGetter{Cache: cache.NewCache(cache.NewLRU(16 << 20)), NS: 1}
		}
		r, err := table.NewReader(bytes.NewReader(f.bytes), int64(len(f.bytes)), storage.FileDesc{Type: storage.TypeTable, Num: 1}, blocks, util.NewBufferPool(4<<10+5), o)
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	b.Run("Writer", func(b *testing.B) {
		keys, values := make([][]byte, len(rows)), make([][]byte, len(rows))
		for i, r := range rows {
			keys[i], values[i] = r.Key.AppendTo(nil), []byte(r.Value)
		}
		b.ReportAllocs()
		b.SetBytes(int64(len(f.bytes)))
		for b.Loop() {
			w := table.NewWriter(&discard{}, o)
			for i := range keys {
				if err := w.Append(keys[i], values[i]); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		}
		perRow(b, benchRows)
	})
	for _, cached := range []bool{true, false} {
		r := levelReader(cached)
		for miss, name := range []string{"hit", "miss"} {
			keys := benchKeys(miss)
			for i, k := range keys {
				keys[i] = base.MakeInternalKey(k, base.MaxSeqNum, base.KindMax).AppendTo(nil)
				if _, _, err := r.Find(keys[i], true, nil); err != nil && err != table.ErrNotFound {
					b.Fatal(err)
				}
			}
			b.Run(fmt.Sprintf("Get/%s/cached=%t", name, cached), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					key, _, err := r.Find(keys[i], true, nil)
					if err != nil && err != table.ErrNotFound || (err == nil && bytes.Equal(user(key), user(keys[i]))) != (miss == 0) {
						b.Fatal(err)
					}
					i = (i + 1) % len(keys)
				}
			})
		}
	}
	for _, cached := range []bool{true, false} {
		r := levelReader(cached)
		for _, reverse := range []bool{false, true} {
			b.Run(fmt.Sprintf("Scan/cached=%t/reverse=%t", cached, reverse), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					it := r.NewIterator(nil, nil)
					n := 0
					if reverse {
						for ok := it.Last(); ok; ok = it.Prev() {
							n++
						}
					} else {
						for it.Next() {
							n++
						}
					}
					it.Release()
					if n != benchRows {
						b.Fatal(n)
					}
				}
				perRow(b, benchRows)
			})
		}
	}
}

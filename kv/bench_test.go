package kv_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/volume"
)

const benchRows = 100_000

// benchKeys are 16 bytes each, in random order, and share their first ones as
// keys mostly do.
func benchKeys() [][]byte {
	keys := make([][]byte, benchRows)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key:%012d", i)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys
}

func benchDB(b *testing.B) *kv.DB {
	b.Helper()
	v, err := volume.Open(volume.NewMemDevice(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return open(b, v, nil)
}

func load(b *testing.B, db *kv.DB, keys [][]byte, perBatch int) {
	b.Helper()
	value := make([]byte, 100)
	var w batch.Batch
	for i, key := range keys {
		binary.LittleEndian.PutUint64(value, uint64(i))
		w.Put(key, value)
		if (i+1)%perBatch == 0 {
			if _, err := db.Apply(ctx, &w, nil); err != nil {
				b.Fatal(err)
			}
			w.Reset()
		}
	}
}

func perRow(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

// BenchmarkLoad writes 100,000 rows of 16 + 100 B in batches of 1,000.
func BenchmarkLoad(b *testing.B) {
	keys := benchKeys()
	for b.Loop() {
		db := benchDB(b)
		load(b, db, keys, 1000)
		db.Close()
	}
	perRow(b)
}

func BenchmarkPut(b *testing.B) {
	keys := benchKeys()
	db := benchDB(b)
	value := make([]byte, 100)
	i := 0
	for b.Loop() {
		if _, err := db.Put(ctx, keys[i%benchRows], value, nil); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// count is a Sink that counts.
type count struct {
	left int
	done chan struct{}
}

func (c *count) WriteDone(uint64, base.SeqNum, error)       { c.one() }
func (c *count) GetDone(uint64, []byte, base.SeqNum, error) { c.one() }
func (c *count) one() {
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// BenchmarkGet looks up keys of a loaded store, one at a time and a thousand
// under way.
func BenchmarkGet(b *testing.B) {
	keys := benchKeys()
	db := benchDB(b)
	load(b, db, keys, 1000)
	b.Run("one", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if _, err := db.Get(ctx, keys[i%benchRows]); err != nil {
				b.Fatal(err)
			}
			i += 31
		}
	})
	b.Run("thousand", func(b *testing.B) {
		i := 0
		for b.Loop() {
			c := &count{left: 1000, done: make(chan struct{})}
			for range 1000 {
				if err := db.SendGet(ctx, nil, keys[i%benchRows], 0, c); err != nil {
					b.Fatal(err)
				}
				i += 31
			}
			<-c.done
		}
	})
}

// BenchmarkScan reads a loaded store from end to end.
func BenchmarkScan(b *testing.B) {
	db := benchDB(b)
	load(b, db, benchKeys(), 1000)
	for b.Loop() {
		s, err := db.Scan(ctx, &kv.ScanOptions{RunBytes: 64 << 10})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for s.Next() {
			n++
		}
		s.Close()
		if n != benchRows {
			b.Fatal(n)
		}
	}
	perRow(b)
}

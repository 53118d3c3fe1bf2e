package sst

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tempestkv/kv/base"
)

// The data of the benchmarks: rows of 16 + 100 bytes, half of which Snappy
// saves, in a table of about 2 MiB.
const benchRows = 20_000

func benchKey(dst []byte, i int) []byte { return fmt.Appendf(dst[:0], "user:%011d", i) }

func benchTable(b *testing.B) (*memFile, []row) {
	r := rand.New(rand.NewPCG(1, 2))
	rows := make([]row, benchRows)
	value := make([]byte, 100)
	for i := range rows {
		for j := range 50 {
			value[j] = byte(r.Uint32())
		}
		// Odd numbers are missing keys.
		rows[i] = put(string(benchKey(nil, 2*i)), base.SeqNum(i+1), string(value))
	}
	f, _ := write(b, WriterOptions{}, rows)
	return f, rows
}

func BenchmarkWriter(b *testing.B) {
	f, rows := benchTable(b)
	values := make([][]byte, len(rows))
	for i, r := range rows {
		values[i] = []byte(r.Value)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(f.bytes)))
	for b.Loop() {
		w := NewWriter(&discard{}, WriterOptions{})
		for i := range rows {
			if err := w.Add(rows[i].Key, values[i]); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Finish(); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b, benchRows)
}

type discard struct{}

func (discard) Append([]byte) error { return nil }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func perRow(b *testing.B, rows int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
}

// benchKeys returns user keys in random order, of rows or, with miss, of none.
func benchKeys(miss int) [][]byte {
	keys := make([][]byte, benchRows)
	for i, j := range rand.New(rand.NewPCG(3, 4)).Perm(benchRows) {
		keys[i] = benchKey(nil, 2*j+miss)
	}
	return keys
}

func BenchmarkGet(b *testing.B) {
	f, _ := benchTable(b)
	for _, cached := range []bool{true, false} {
		opts := ReaderOptions{}
		if cached {
			opts.Cache = NewCache(16 << 20)
		}
		r := open(b, f, opts)
		for miss, name := range []string{"hit", "miss"} {
			keys := benchKeys(miss)
			for _, k := range keys {
				if _, _, err := r.Get(k, base.MaxSeqNum); err != nil {
					b.Fatal(err)
				}
			}
			b.Run(fmt.Sprintf("%s/cached=%t", name, cached), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, ok, err := r.Get(keys[i], base.MaxSeqNum); err != nil || ok != (miss == 0) {
						b.Fatal(ok, err)
					}
					i = (i + 1) % len(keys)
				}
			})
		}
	}
}

func BenchmarkScan(b *testing.B) {
	f, _ := benchTable(b)
	for _, name := range []string{"cached", "uncached", "read-ahead"} {
		opts := ReaderOptions{}
		if name == "cached" {
			opts.Cache = NewCache(16 << 20)
		}
		r := open(b, f, opts)
		scan := func(b *testing.B, reverse bool) {
			b.ReportAllocs()
			for b.Loop() {
				it := r.NewIter()
				if name == "read-ahead" {
					it = r.NewIterWithReadAhead(0)
				}
				n := 0
				if reverse {
					for ok := it.Last(); ok; ok = it.Prev() {
						n++
					}
				} else {
					for ok := it.First(); ok; ok = it.Next() {
						n++
					}
				}
				if err := it.Close(); n != benchRows || err != nil {
					b.Fatal(n, err)
				}
			}
			perRow(b, benchRows)
		}
		b.Run(name+"/forward", func(b *testing.B) { scan(b, false) })
		b.Run(name+"/reverse", func(b *testing.B) { scan(b, true) })
	}
}

func BenchmarkSeekGE(b *testing.B) {
	f, _ := benchTable(b)
	it := open(b, f, ReaderOptions{Cache: NewCache(16 << 20)}).NewIter()
	keys := benchKeys(1)[:benchRows-1]
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		it.SeekGE(keys[i])
		i = (i + 1) % len(keys)
	}
	if err := it.Error(); err != nil {
		b.Fatal(err)
	}
}

package iterator_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/memtable"
)

const benchEntries = 100_000

// benchSources spreads benchEntries entries of 18 + 100 bytes over memtables.
func benchSources(cmp *base.Comparer, count int) []*memtable.Table {
	tables := make([]*memtable.Table, count)
	for i := range tables {
		tables[i] = memtable.New(cmp)
	}
	r := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 100)
	for i := range benchEntries {
		tables[r.IntN(count)].Add(base.SeqNum(i+1), base.KindPut, fmt.Appendf(nil, "user/key:%07d\x00\x01", i), value)
	}
	return tables
}

func BenchmarkUser(b *testing.B) {
	bounds := iterator.Bounds{Lower: []byte("user/\x00\x00"), Upper: []byte("user0\x00\x00")}
	for _, cmp := range comparers {
		for _, count := range []int{1, 4} {
			sources := benchSources(cmp, count)
			name := fmt.Sprintf("%s/sources=%d", cmp.Name, count)
			perEntry := func(b *testing.B) {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEntries, "ns/entry")
			}
			b.Run("forward/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					it := iterator.NewUser(cmp, iterator.UserOptions{At: base.MaxSeqNum, Bounds: bounds}, iters(sources)...)
					for ok := it.First(); ok; ok = it.Next() {
						_, _ = it.Key(), it.Value()
					}
				}
				perEntry(b)
			})
			b.Run("rows/"+name, func(b *testing.B) {
				run := make([]byte, 0, 1<<14)
				b.ReportAllocs()
				for b.Loop() {
					rows := iterator.NewRows(cmp, iterator.UserOptions{At: base.MaxSeqNum, Bounds: bounds}, false, iters(sources)...)
					for n := 1; n > 0; {
						run, n = rows.Append(run[:0], 1<<14, benchEntries, false)
					}
				}
				perEntry(b)
			})
			b.Run("reverse/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					it := iterator.NewUser(cmp, iterator.UserOptions{At: base.MaxSeqNum, Bounds: bounds}, iters(sources)...)
					for ok := it.Last(); ok; ok = it.Prev() {
						_, _ = it.Key(), it.Value()
					}
				}
				perEntry(b)
			})
			b.Run("range-of-100/"+name, func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					it := iterator.NewUser(cmp, iterator.UserOptions{At: base.MaxSeqNum, Bounds: bounds}, iters(sources)...)
					n := 0
					for ok := it.SeekGE(fmt.Appendf(nil, "user/key:%07d\x00\x01", i*7919%benchEntries)); ok && n < 100; ok = it.Next() {
						n++
					}
					i++
				}
			})
		}
	}
}

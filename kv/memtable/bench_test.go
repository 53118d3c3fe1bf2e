package memtable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"tempestkv/kv/base"
)

const benchEntries = 100_000

var benchValue = make([]byte, 100)

// benchKeys returns keys of 16 bytes, ascending or shuffled. Their first eight
// bytes differ, as abbreviated keys want it, unless they share a prefix.
func benchKeys(count int, shuffled, prefix bool) [][]byte {
	keys := make([][]byte, count)
	for i := range keys {
		if prefix {
			keys[i] = fmt.Appendf(nil, "user/key:%07d", i)
		} else {
			keys[i] = binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b9)
			keys[i] = append(keys[i], "suffix--"...)
		}
	}
	if shuffled {
		r := rand.New(rand.NewPCG(1, 2))
		r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
	return keys
}

func filled(keys [][]byte) *Table {
	m := New(base.Bytewise)
	for i, key := range keys {
		m.Add(base.SeqNum(i+1), base.KindPut, key, benchValue)
	}
	return m
}

// benchAdd adds keys to tables of len(keys) entries, taking a view after each
// viewEvery of them.
func benchAdd(b *testing.B, keys [][]byte, degree, viewEvery int) {
	b.ReportAllocs()
	var m *Table
	n := 0
	for b.Loop() {
		if n%len(keys) == 0 {
			m, n = newTable(base.Bytewise, degree), 0
		}
		m.Add(base.SeqNum(n+1), base.KindPut, keys[n], benchValue)
		n++
		if viewEvery > 0 && n%viewEvery == 0 {
			m.View()
		}
	}
}

func benchGet(b *testing.B, m *Table, keys [][]byte, want bool) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, _, ok := m.Get(keys[i%len(keys)], base.MaxSeqNum); ok != want {
			b.Fatalf("Get found: %t", ok)
		}
		i++
	}
}

// BenchmarkDegree adds to the tree, which only happens between views.
func BenchmarkDegree(b *testing.B) {
	for _, order := range benchOrders[:2] {
		keys := benchKeys(benchEntries, order.shuffled, false)
		for _, degree := range []int{8, 16, 32, 64} {
			for _, viewEvery := range []int{1, 16, 256} {
				b.Run(fmt.Sprintf("%s/degree=%d/view-every=%d", order.name, degree, viewEvery), func(b *testing.B) {
					benchAdd(b, keys, degree, viewEvery)
				})
			}
		}
	}
}

type benchOrder struct {
	name             string
	shuffled, prefix bool
}

var benchOrders = []benchOrder{
	{"ascending", false, false},
	{"random", true, false},
	{"random-shared-prefix", true, true},
}

func BenchmarkAdd(b *testing.B) {
	for _, order := range benchOrders {
		keys := benchKeys(benchEntries, order.shuffled, order.prefix)
		for _, viewEvery := range []int{0, 1, 16, 256} {
			b.Run(fmt.Sprintf("%s/view-every=%d", order.name, viewEvery), func(b *testing.B) {
				benchAdd(b, keys, degree, viewEvery)
			})
		}
	}
}

func BenchmarkGet(b *testing.B) {
	for _, order := range benchOrders[1:] {
		keys := benchKeys(benchEntries, order.shuffled, order.prefix)
		missing := make([][]byte, len(keys))
		for i, key := range keys {
			missing[i] = append(bytes.Clone(key), 0)
		}
		m := filled(keys)
		b.Run("hit/"+order.name, func(b *testing.B) { benchGet(b, m, keys, true) })
		b.Run("miss/"+order.name, func(b *testing.B) { benchGet(b, m, missing, false) })
	}
}

func BenchmarkScan(b *testing.B) {
	b.Run("run-and-tree", func(b *testing.B) {
		m := filled(benchKeys(benchEntries*2/3, true, false))
		for i, key := range benchKeys(benchEntries/3, true, true) {
			m.Add(base.SeqNum(benchEntries+i), base.KindPut, key, benchValue)
			if i%1000 == 0 {
				m.View()
			}
		}
		it := m.View().NewIter()
		for b.Loop() {
			for ok := it.First(); ok; ok = it.Next() {
				_, _ = it.Key(), it.Value()
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEntries, "ns/entry")
	})
	for _, prefix := range []bool{false, true} {
		m := filled(benchKeys(benchEntries, true, prefix))
		it := m.View().NewIter()
		b.Run(fmt.Sprintf("forward/shared-prefix=%t", prefix), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for ok := it.First(); ok; ok = it.Next() {
					_, _ = it.Key(), it.Value()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEntries, "ns/entry")
		})
		b.Run(fmt.Sprintf("reverse/shared-prefix=%t", prefix), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for ok := it.Last(); ok; ok = it.Prev() {
					_, _ = it.Key(), it.Value()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEntries, "ns/entry")
		})
	}
}

func BenchmarkSeek(b *testing.B) {
	keys := benchKeys(benchEntries, true, false)
	v := filled(keys).View()
	b.Run("new-iterator-and-10-entries", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			it := v.NewIter()
			n := 0
			for ok := it.SeekGE(keys[i%len(keys)]); ok && n < 10; ok = it.Next() {
				n++
			}
			it.Close()
			i++
		}
	})
}

// BenchmarkSort sorts a table of 36,000 entries, as the flush of a full
// memtable does.
func BenchmarkSort(b *testing.B) {
	for _, order := range append(benchOrders, benchOrder{"random-long-prefix", true, true}) {
		keys := benchKeys(36_000, order.shuffled, order.prefix)
		if order.name == "random-long-prefix" {
			for i, key := range keys {
				keys[i] = append([]byte("/a/prefix/of/more/than/16/bytes/"), key...)
			}
		}
		for _, cmp := range []*base.Comparer{base.Bytewise, base.FixedSuffix(1)} {
			m := New(cmp)
			for i, key := range keys {
				m.Add(base.SeqNum(i+1), base.KindPut, key, benchValue)
			}
			b.Run(order.name+"/"+cmp.Name, func(b *testing.B) {
				for b.Loop() {
					newRun(m.arena, m.count).items()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(keys)), "ns/entry")
			})
		}
	}
}

// BenchmarkPutThenScan adds an entry to a table of 30,000 and reads ten, in
// turns.
func BenchmarkPutThenScan(b *testing.B) {
	keys := benchKeys(2*30_000, true, false)
	b.ReportAllocs()
	var m *Table
	n := 0
	for b.Loop() {
		if n == 0 {
			b.StopTimer()
			m, n = filled(keys[:30_000]), 30_000
			m.View().NewIter().First()
			b.StartTimer()
		}
		m.Add(base.SeqNum(n+1), base.KindPut, keys[n], benchValue)
		it := m.View().NewIter()
		read := 0
		for ok := it.SeekGE(keys[(n*7)%len(keys)]); ok && read < 10; ok = it.Next() {
			_, _ = it.Key(), it.Value()
			read++
		}
		it.Close()
		if n++; n == len(keys) {
			n = 0
		}
	}
}

// BenchmarkFill fills tables of 20,000 entries and walks them once, which is
// what loading does.
func BenchmarkFill(b *testing.B) {
	const entries = 20_000
	for _, order := range benchOrders {
		keys := benchKeys(entries, order.shuffled, order.prefix)
		b.Run(order.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				it := filled(keys).View().NewIter()
				for ok := it.First(); ok; ok = it.Next() {
					_, _ = it.Key(), it.Value()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/entries, "ns/entry")
		})
	}
}

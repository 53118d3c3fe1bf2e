package memtable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/btree"

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

func newWithDegree(degree int) *Table {
	m := New(base.Bytewise)
	m.tree = btree.NewWithFreeListG(degree, m.arena.less, btree.NewFreeListG[item](0))
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
			m, n = newWithDegree(degree), 0
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

func BenchmarkDegree(b *testing.B) {
	ascending, random := benchKeys(benchEntries, false, false), benchKeys(benchEntries, true, false)
	for _, degree := range []int{16, 32, 64} {
		b.Run(fmt.Sprintf("%d/add-ascending", degree), func(b *testing.B) { benchAdd(b, ascending, degree, 0) })
		b.Run(fmt.Sprintf("%d/add-random", degree), func(b *testing.B) { benchAdd(b, random, degree, 0) })
		b.Run(fmt.Sprintf("%d/add-view", degree), func(b *testing.B) { benchAdd(b, ascending, degree, 1) })
	}
}

var benchOrders = []struct {
	name             string
	shuffled, prefix bool
}{
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

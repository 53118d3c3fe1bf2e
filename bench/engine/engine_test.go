// Package engine compares the engine with goleveldb and with Pebble: the same
// rows, memory files, the same sizes of memtables, blocks, caches and filters.
// It is a module of its own, so that nobody else gets Pebble.
package engine

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"tempestkv/kv/iterator"
)

var (
	rowCount = flag.Int("rows", 200_000, "rows of the store")
	first    = flag.Int("first", 0, "which contestant is measured first")
)

const (
	isWasm = runtime.GOARCH == "wasm"

	keyBytes   = 16
	valueBytes = 100

	// batchRows is how many rows a bulk load and a getMany have at once.
	batchRows = 1000

	// warmUpRows is how many rows everything is done with before it is measured.
	warmUpRows = 40_000

	// callers is how many goroutines the concurrent benchmarks have.
	callers = 16
)

var everything = iterator.Bounds{}

// rows returns rows in random order: random keys, and values that compress to
// half, made as LevelDB's db_bench makes them (util/testutil.cc,
// CompressibleString): a random half, which is then repeated.
func rows(n int) (keys, values [][]byte) {
	r := rand.New(rand.NewChaCha8([32]byte{1}))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	keys, values = make([][]byte, n), make([][]byte, n)
	for i := range keys {
		// No key begins with FF FF: those are TempestKV's own.
		keys[i] = append([]byte{byte(r.IntN(255))}, random(keyBytes-1)...)
		half := random(valueBytes / 2)
		values[i] = append(half, half...)
	}
	return keys, values
}

var theRows = sync.OnceValues(func() (keys, values [][]byte) { return rows(*rowCount) })

func load(s store, keys, values [][]byte) error {
	for from := 0; from < len(keys); from += batchRows {
		to := min(from+batchRows, len(keys))
		if err := s.putBatch(keys[from:to], values[from:to]); err != nil {
			return err
		}
	}
	return nil
}

// checkScan scans s, which has so many rows.
func checkScan(s store, rows int) error {
	var last []byte
	n, isOrdered := 0, true
	err := s.scan(func(key, value []byte) {
		isOrdered = isOrdered && bytes.Compare(last, key) < 0 && len(value) == valueBytes
		last = append(last[:0], key...)
		n++
	})
	if err == nil && (n != rows || !isOrdered) {
		err = errRows
	}
	return err
}

// order returns the order in which so many rows are read.
func order(rows int) []int {
	orders.Lock()
	defer orders.Unlock()
	if orders.of[rows] == nil {
		orders.of[rows] = rand.New(rand.NewPCG(3, 4)).Perm(rows)
	}
	return orders.of[rows]
}

// orders has those that were asked for: they are not to be made while time
// counts.
var orders = struct {
	sync.Mutex
	of map[int][]int
}{of: map[int][]int{}}

// operation is a benchmark of each store. Its run does count things, which is
// what is timed.
type operation struct {
	name     string
	isLoaded bool // the rows are in tables before it
	run      func(s store, keys, values [][]byte) (count int, err error)
	check    func(s store, keys, values [][]byte) error
}

var operations = []operation{
	{"load", false, func(s store, keys, values [][]byte) (int, error) {
		return len(keys), load(s, keys, values)
	}, checkRows},
	{"put", false, func(s store, keys, values [][]byte) (int, error) {
		for i := range keys {
			if err := s.put(keys[i], values[i]); err != nil {
				return 0, err
			}
		}
		return len(keys), nil
	}, checkRows},
	{"loadSettled", false, func(s store, keys, values [][]byte) (int, error) {
		if err := load(s, keys, values); err != nil {
			return 0, err
		}
		return len(keys), s.settle()
	}, checkRows},
	{"get", true, func(s store, keys, values [][]byte) (int, error) {
		for _, i := range order(len(keys)) {
			v, err := s.get(keys[i])
			if err != nil {
				return 0, err
			}
			if !bytes.Equal(v, values[i]) {
				return 0, errRows
			}
		}
		return len(keys), nil
	}, nil},
	{"getMany", true, func(s store, keys, values [][]byte) (int, error) {
		ids := order(len(keys))
		wanted := make([][]byte, 0, batchRows)
		isSame := true
		for from := 0; from < len(ids); from += batchRows {
			part := ids[from:min(from+batchRows, len(ids))]
			wanted = wanted[:0]
			for _, i := range part {
				wanted = append(wanted, keys[i])
			}
			n := 0
			err := s.getMany(wanted, func(j int, v []byte) {
				isSame = isSame && bytes.Equal(v, values[part[j]])
				n++
			})
			if err != nil {
				return 0, err
			}
			if isSame = isSame && n == len(part); !isSame {
				return 0, errRows
			}
		}
		return len(keys), nil
	}, nil},
	{"scan", true, func(s store, keys, values [][]byte) (int, error) {
		n, bytes := 0, 0
		err := s.scan(func(key, value []byte) {
			n++
			bytes += len(key) + len(value)
		})
		if err == nil && (n != len(keys) || bytes != n*(keyBytes+valueBytes)) {
			err = errRows
		}
		return n, err
	}, nil},
}

// concurrent are the operations of several goroutines, which WebAssembly does
// not have.
var concurrent = []operation{
	{"putConcurrent", false, func(s store, keys, values [][]byte) (int, error) {
		return len(keys), parallel(len(keys), func(i int) error { return s.put(keys[i], values[i]) })
	}, checkRows},
	{"getConcurrent", true, func(s store, keys, values [][]byte) (int, error) {
		ids := order(len(keys))
		return len(keys), parallel(len(keys), func(i int) error {
			v, err := s.get(keys[ids[i]])
			if err == nil && !bytes.Equal(v, values[ids[i]]) {
				err = errRows
			}
			return err
		})
	}, nil},
}

// parallel calls f with the numbers below n from several goroutines.
func parallel(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for c := range callers {
		wg.Go(func() {
			for i := c; i < n; i += callers {
				if err := f(i); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func checkRows(s store, keys, _ [][]byte) error { return checkScan(s, len(keys)) }

// warmUp does everything once with fewer rows, so that a host that compiles what
// it runs often has done so, and whoever is first does not pay for the others.
func warmUp(ops []operation) error {
	keys, values := rows(warmUpRows)
	for _, op := range ops {
		for _, c := range contestants {
			s, err := c.open()
			if err != nil {
				return err
			}
			if op.isLoaded {
				if err := errors.Join(load(s, keys, values), s.settle()); err != nil {
					return err
				}
			}
			if _, err := op.run(s, keys, values); err != nil {
				return err
			}
			if err := s.close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// BenchmarkEngine measures each operation with each store, in turns.
func BenchmarkEngine(b *testing.B) {
	ops := operations
	if !isWasm {
		ops = append(ops[:len(ops):len(ops)], concurrent...)
	}
	if err := warmUp(ops); err != nil {
		b.Fatal(err)
	}
	for _, op := range ops {
		b.Run("op="+op.name, func(b *testing.B) {
			for i := range contestants {
				c := contestants[(*first+i)%len(contestants)]
				b.Run("store="+c.name, func(b *testing.B) { op.measure(b, c) })
			}
		})
	}
}

// measure times one run of an operation, in a store of its own: by the clock, and
// by the processor time of all threads, which says more on a busy machine.
func (op *operation) measure(b *testing.B, c contestant) {
	keys, values := theRows()
	order(len(keys))
	count := 0
	var cpu int64
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		s, err := c.open()
		if err != nil {
			b.Fatal(err)
		}
		if op.isLoaded {
			if err := load(s, keys, values); err != nil {
				b.Fatal(err)
			}
			if err := s.settle(); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		cpu -= cpuNanos()
		b.StartTimer()
		if count, err = op.run(s, keys, values); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		cpu += cpuNanos()
		if op.check != nil {
			if err := op.check(s, keys, values); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	perRow := 1 / float64(b.N) / float64(count)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())*perRow, "ns/row")
	b.ReportMetric(float64(cpu)*perRow, "cpu-ns/row")
}

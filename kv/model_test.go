package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
)

// model is a DB beside the map it should behave like. What each write left is
// kept too, since a crash may take a suffix of the relaxed ones.
type model struct {
	fs   *vfs.MemFS // nil for a volume
	dev  *volume.MemDevice
	opts *kv.Options
	db   *kv.DB

	now       map[string]modelValue
	seq       base.SeqNum
	history   []modelState // after each write since the last strict one
	scans     []modelScan
	snapshots []modelSnapshot
	clock     atomic.Int64
	rng       *rand.Rand
}

// modelValue is a value and when it ends, 0 for never.
type modelValue struct {
	value string
	ends  int64
}

// modelState is what a write left, and its sequence number.
type modelState struct {
	seq   base.SeqNum
	state map[string]modelValue
}

type modelSnapshot struct {
	snapshot *kv.Snapshot
	state    map[string]modelValue
	now      int64
}

type modelScan struct {
	scan *kv.Scan
	want []string
	at   int
}

func (m *model) open(t *rapid.T) {
	var fs vfs.FS = m.fs
	if m.fs == nil {
		v, err := volume.Open(m.dev, nil)
		if err != nil {
			t.Fatal(err)
		}
		fs = v
	}
	db, err := kv.Open(fs, m.opts)
	if err != nil {
		t.Fatal(err)
	}
	m.db = db
	m.scans, m.snapshots = nil, nil
	m.history = []modelState{{m.seq, m.now}}
}

// apply writes a batch, which leads to the state next.
func (m *model) apply(t *rapid.T, b *batch.Batch, next map[string]modelValue, opts *kv.WriteOptions) {
	seq, err := m.db.Apply(ctx, b, opts)
	if err != nil {
		t.Fatal(err)
	}
	m.wrote(seq, next, opts != nil && opts.Strict)
}

// wrote notes the state after a write.
func (m *model) wrote(seq base.SeqNum, next map[string]modelValue, strict bool) {
	m.seq, m.now = seq, next
	if strict {
		m.history = nil
	}
	m.history = append(m.history, modelState{seq, next})
}

func (m *model) copy() map[string]modelValue {
	return maps.Clone(m.now)
}

// within reports whether a key is within b.
func within(key []byte, b iterator.Bounds) bool {
	if b.Lower != nil {
		if c := bytes.Compare(key, b.Lower); c < 0 || c == 0 && b.LowerExclusive {
			return false
		}
	}
	if b.Upper != nil {
		if c := bytes.Compare(key, b.Upper); c > 0 || c == 0 && !b.UpperInclusive {
			return false
		}
	}
	return true
}

// live returns what of state had not expired.
func live(state map[string]modelValue, now int64) map[string]string {
	seen := map[string]string{}
	for k, v := range state {
		if v.ends == 0 || now < v.ends {
			seen[k] = v.value
		}
	}
	return seen
}

// want lists the entries of state within b, as a scan should give them.
func want(state map[string]modelValue, now int64, b iterator.Bounds, reverse bool, limit int) []string {
	var keys []string
	seen := live(state, now)
	for k := range seen {
		if within([]byte(k), b) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	if reverse {
		slices.Reverse(keys)
	}
	if limit > 0 && len(keys) > limit {
		keys = keys[:limit]
	}
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%q=%q", k, seen[k])
	}
	return keys
}

var keyGen = rapid.SliceOfN(rapid.ByteRange(0, 3), 0, 3)

// valueGen gives mostly small values, and some that fill the memtable and span
// blocks of the log.
var valueGen = rapid.Custom(func(t *rapid.T) []byte {
	if rapid.IntRange(0, 9).Draw(t, "size class") == 0 {
		return bytes.Repeat([]byte{1}, rapid.IntRange(1000, 40000).Draw(t, "size"))
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "value")
})

// TestModel drives a DB and a sorted map with the same operations, on a file
// system in memory and in a volume, and compares what they give.
func TestModel(t *testing.T) {
	for _, place := range []string{"files", "volume"} {
		t.Run(place, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := &model{
					dev:  &volume.MemDevice{},
					opts: &kv.Options{},
					now:  map[string]modelValue{},
					rng:  rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)),
				}
				if rapid.Bool().Draw(t, "tiny") {
					m.opts = &kv.Options{
						MemtableBytes: 1, MaxImmutables: 1, TableBytes: 1 << 10, Level1Bytes: 4 << 10, BlockBytes: 200,
						BlockCacheBytes: 4 << 10, TableCacheBytes: 1,
					}
				}
				m.opts.ReadInPlace = rapid.Bool().Draw(t, "read in place")
				m.opts.Now = m.clock.Load
				m.clock.Store(1000)
				if place == "files" {
					m.fs = vfs.NewMem()
				}
				m.open(t)
				defer func() { m.db.Close() }()
				t.Repeat(m.actions(place == "files"))
			})
		})
	}
}

func (m *model) actions(canCrash bool) map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			key, value := keyGen.Draw(t, "key"), valueGen.Draw(t, "value")
			var b batch.Batch
			b.Put(key, value)
			next := m.copy()
			next[string(key)] = modelValue{value: string(value)}
			m.apply(t, &b, next, &kv.WriteOptions{Strict: rapid.Bool().Draw(t, "strict")})
		},
		"put expiring": func(t *rapid.T) {
			key, value := keyGen.Draw(t, "key"), valueGen.Draw(t, "value")
			ends := m.clock.Load() + rapid.Int64Range(-5, 20).Draw(t, "ttl")
			var b batch.Batch
			b.PutExpiring(key, value, uint64(ends))
			next := m.copy()
			next[string(key)] = modelValue{string(value), ends}
			m.apply(t, &b, next, nil)
		},
		"time passes": func(t *rapid.T) {
			m.clock.Add(rapid.Int64Range(0, 10).Draw(t, "milliseconds"))
		},
		"clear": func(t *rapid.T) {
			start, end := keyGen.Draw(t, "start"), keyGen.Draw(t, "end")
			if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
				start, end = nil, []byte("\xff\xff")
			}
			var b batch.Batch
			b.DeleteRange(start, end)
			next := m.copy()
			maps.DeleteFunc(next, func(k string, _ modelValue) bool {
				return within([]byte(k), iterator.Bounds{Lower: start, Upper: end})
			})
			m.apply(t, &b, next, nil)
		},
		"delete": func(t *rapid.T) {
			key := keyGen.Draw(t, "key")
			var b batch.Batch
			b.Delete(key)
			next := m.copy()
			delete(next, string(key))
			m.apply(t, &b, next, nil)
		},
		"batch": func(t *rapid.T) {
			var b batch.Batch
			next := m.copy()
			for range rapid.IntRange(0, 6).Draw(t, "count") {
				key := keyGen.Draw(t, "key")
				if rapid.Bool().Draw(t, "delete") {
					b.Delete(key)
					delete(next, string(key))
				} else {
					value := valueGen.Draw(t, "value")
					b.Put(key, value)
					next[string(key)] = modelValue{value: string(value)}
				}
			}
			m.apply(t, &b, next, &kv.WriteOptions{Strict: rapid.Bool().Draw(t, "strict")})
		},
		"get": func(t *rapid.T) {
			key := keyGen.Draw(t, "key")
			got, err := m.db.Get(ctx, key)
			if want, ok := live(m.now, m.clock.Load())[string(key)]; ok != (err == nil) || string(got) != want || !ok && err != kv.ErrNotFound {
				t.Fatalf("get %q: %q, %v, want %q, %t", key, got, err, want, ok)
			}
		},
		"scan": func(t *rapid.T) {
			opts := scanOptionsGen.Draw(t, "scan options")
			s, err := m.db.Scan(ctx, &opts)
			if err != nil {
				t.Fatal(err)
			}
			m.scans = append(m.scans, modelScan{scan: s, want: want(m.now, m.clock.Load(), opts.Bounds, opts.Reverse, opts.Limit)})
			if len(m.scans) > 5 {
				m.finish(t, 0)
			}
		},
		"snapshot": func(t *rapid.T) {
			s, err := m.db.Snapshot(ctx)
			if err != nil {
				t.Fatal(err)
			}
			m.snapshots = append(m.snapshots, modelSnapshot{s, m.now, m.clock.Load()})
			if len(m.snapshots) > 3 {
				m.snapshots[0].snapshot.Close()
				m.snapshots = m.snapshots[1:]
			}
		},
		"read a snapshot": func(t *rapid.T) {
			if len(m.snapshots) == 0 {
				return
			}
			s := m.snapshots[rapid.IntRange(0, len(m.snapshots)-1).Draw(t, "snapshot")]
			key := keyGen.Draw(t, "key")
			got, err := s.snapshot.Get(ctx, key)
			if want, ok := live(s.state, s.now)[string(key)]; ok != (err == nil) || string(got) != want || !ok && err != kv.ErrNotFound {
				t.Fatalf("get %q at a snapshot: %q, %v, want %q, %t", key, got, err, want, ok)
			}
			opts := scanOptionsGen.Draw(t, "scan options")
			scan, err := s.snapshot.Scan(ctx, &opts)
			if err != nil {
				t.Fatal(err)
			}
			m.scans = append(m.scans, modelScan{scan: scan, want: want(s.state, s.now, opts.Bounds, opts.Reverse, opts.Limit)})
			m.finish(t, len(m.scans)-1)
		},
		"count": func(t *rapid.T) {
			opts := scanOptionsGen.Draw(t, "bounds")
			n, err := m.db.Count(ctx, nil, opts.Bounds)
			if want := len(want(m.now, m.clock.Load(), opts.Bounds, false, 0)); err != nil || n != uint64(want) {
				t.Fatalf("count %v: %d, %v, want %d", opts.Bounds, n, err, want)
			}
		},
		"write on condition": func(t *rapid.T) {
			if len(m.snapshots) == 0 {
				return
			}
			s := m.snapshots[rapid.IntRange(0, len(m.snapshots)-1).Draw(t, "snapshot")]
			c := &kv.Condition{Since: s.snapshot.Seq()}
			changed := false
			if rapid.Bool().Draw(t, "of a key") {
				key := keyGen.Draw(t, "read key")
				c.Keys = append(c.Keys, key)
				changed = m.hasChanged(s, string(key))
			} else {
				b := scanOptionsGen.Draw(t, "read range").Bounds
				c.Ranges = append(c.Ranges, b)
				for _, state := range []map[string]modelValue{m.now, s.state} {
					for k := range state {
						changed = changed || within([]byte(k), b) && m.hasChanged(s, k)
					}
				}
			}
			key := keyGen.Draw(t, "key")
			var b batch.Batch
			b.Put(key, []byte("on condition"))
			seq, err := m.db.Apply(ctx, &b, &kv.WriteOptions{If: c})
			if changed && !errors.Is(err, kv.ErrConflict) {
				t.Fatalf("what was read has changed: %v", err)
			}
			if err == nil {
				next := m.copy()
				next[string(key)] = modelValue{value: "on condition"}
				m.wrote(seq, next, false)
			} else if !errors.Is(err, kv.ErrConflict) {
				t.Fatal(err)
			}
		},
		"flush": func(t *rapid.T) {
			if err := m.db.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		},
		"compact": func(t *rapid.T) {
			if err := m.db.Compact(ctx, scanOptionsGen.Draw(t, "bounds").Bounds); err != nil {
				t.Fatal(err)
			}
		},
		"read on": func(t *rapid.T) {
			if len(m.scans) > 0 {
				s := &m.scans[rapid.IntRange(0, len(m.scans)-1).Draw(t, "scan")]
				if s.at < len(s.want) {
					m.step(t, s)
				}
			}
		},
		"finish a scan": func(t *rapid.T) {
			if len(m.scans) > 0 {
				m.finish(t, rapid.IntRange(0, len(m.scans)-1).Draw(t, "scan"))
			}
		},
		"reopen": func(t *rapid.T) {
			if err := m.db.Close(); err != nil {
				t.Fatal(err)
			}
			m.open(t)
		},
	}
	if canCrash {
		actions["crash"] = func(t *rapid.T) {
			possible := m.history
			m.fs = m.fs.CrashClone(m.rng)
			m.db.Close() // on the files that are lost now
			m.open(t)
			left, seq := m.readAll(t), m.db.Recovery().Sequence
			found := slices.IndexFunc(possible, func(s modelState) bool { return s.seq == seq })
			if found < 0 {
				t.Fatalf("after the crash: sequence number %d, which no write since the last strict one had: %v", seq, possible)
			}
			m.seq, m.now = seq, possible[found].state
			if want := live(m.now, m.clock.Load()); !maps.Equal(want, left) {
				t.Fatalf("after the crash, at sequence number %d:\n%v, want\n%v", seq, left, want)
			}
			// What survived is durable now: recovery synced the log's files.
			m.history = []modelState{{seq, m.now}}
		}
	}
	return actions
}

// hasChanged reports whether k was written since a snapshot so that a reader can
// see it.
func (m *model) hasChanged(s modelSnapshot, k string) bool {
	before, was := live(s.state, s.now)[k]
	after, is := live(m.now, m.clock.Load())[k]
	return s.state[k] != m.now[k] && (was != is || before != after)
}

var scanOptionsGen = rapid.Custom(func(t *rapid.T) kv.ScanOptions {
	opts := kv.ScanOptions{
		Bounds: iterator.Bounds{
			LowerExclusive: rapid.Bool().Draw(t, "lower exclusive"),
			UpperInclusive: rapid.Bool().Draw(t, "upper inclusive"),
		},
		Reverse:  rapid.Bool().Draw(t, "reverse"),
		Limit:    rapid.IntRange(0, 5).Draw(t, "limit"),
		RunBytes: rapid.IntRange(0, 50).Draw(t, "run bytes"),
	}
	if rapid.Bool().Draw(t, "has lower") {
		opts.Lower = keyGen.Draw(t, "lower")
	}
	if rapid.Bool().Draw(t, "has upper") {
		opts.Upper = keyGen.Draw(t, "upper")
	}
	return opts
})

func (m *model) readAll(t *rapid.T) map[string]string {
	s, err := m.db.Scan(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all := map[string]string{}
	for s.Next() {
		all[string(s.Key())] = string(s.Value())
	}
	if s.Error() != nil {
		t.Fatal(s.Error())
	}
	return all
}

func (m *model) step(t *rapid.T, s *modelScan) {
	if !s.scan.Next() {
		t.Fatalf("scan ended at %d, %v, want %v", s.at, s.scan.Error(), s.want)
	}
	if got := fmt.Sprintf("%q=%q", s.scan.Key(), s.scan.Value()); got != s.want[s.at] {
		t.Fatalf("scan entry %d: %s, want %s", s.at, got, s.want[s.at])
	}
	s.at++
}

func (m *model) finish(t *rapid.T, i int) {
	s := m.scans[i]
	for s.at < len(s.want) {
		m.step(t, &s)
	}
	if s.scan.Next() || s.scan.Error() != nil {
		t.Fatalf("behind the end: %q, %v", s.scan.Key(), s.scan.Error())
	}
	s.scan.Close()
	m.scans = slices.Delete(m.scans, i, i+1)
}

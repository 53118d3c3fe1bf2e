package kv_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv"
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

	now     map[string]string
	history []map[string]string // after each write since the last strict one
	scans   []modelScan
	rng     *rand.Rand
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
	m.scans = nil
	m.history = []map[string]string{m.now}
}

// wrote notes the state after a write.
func (m *model) wrote(next map[string]string, strict bool) {
	m.now = next
	if strict {
		m.history = nil
	}
	m.history = append(m.history, next)
}

func (m *model) copy() map[string]string {
	return maps.Clone(m.now)
}

// want lists the entries within b, as a scan should give them.
func (m *model) want(b iterator.Bounds, reverse bool, limit int) []string {
	var keys []string
	for k := range m.now {
		key := []byte(k)
		if b.Lower != nil {
			if c := bytes.Compare(key, b.Lower); c < 0 || c == 0 && b.LowerExclusive {
				continue
			}
		}
		if b.Upper != nil {
			if c := bytes.Compare(key, b.Upper); c > 0 || c == 0 && !b.UpperInclusive {
				continue
			}
		}
		keys = append(keys, k)
	}
	sort.Strings(keys)
	if reverse {
		slices.Reverse(keys)
	}
	if limit > 0 && len(keys) > limit {
		keys = keys[:limit]
	}
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%q=%q", k, m.now[k])
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
					opts: &kv.Options{MemtableBytes: rapid.SampledFrom([]int{1, 0}).Draw(t, "memtable")},
					now:  map[string]string{},
					rng:  rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)),
				}
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
			strict := rapid.Bool().Draw(t, "strict")
			if _, err := m.db.Put(ctx, key, value, &kv.WriteOptions{Strict: strict}); err != nil {
				t.Fatal(err)
			}
			next := m.copy()
			next[string(key)] = string(value)
			m.wrote(next, strict)
		},
		"delete": func(t *rapid.T) {
			key := keyGen.Draw(t, "key")
			if _, err := m.db.Delete(ctx, key, nil); err != nil {
				t.Fatal(err)
			}
			next := m.copy()
			delete(next, string(key))
			m.wrote(next, false)
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
					next[string(key)] = string(value)
				}
			}
			strict := rapid.Bool().Draw(t, "strict")
			if _, err := m.db.Apply(ctx, &b, &kv.WriteOptions{Strict: strict}); err != nil {
				t.Fatal(err)
			}
			m.wrote(next, strict)
		},
		"get": func(t *rapid.T) {
			key := keyGen.Draw(t, "key")
			got, err := m.db.Get(ctx, key)
			if want, ok := m.now[string(key)]; ok != (err == nil) || string(got) != want || !ok && err != kv.ErrNotFound {
				t.Fatalf("get %q: %q, %v, want %q, %t", key, got, err, want, ok)
			}
		},
		"scan": func(t *rapid.T) {
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
			s, err := m.db.Scan(ctx, &opts)
			if err != nil {
				t.Fatal(err)
			}
			m.scans = append(m.scans, modelScan{scan: s, want: m.want(opts.Bounds, opts.Reverse, opts.Limit)})
			if len(m.scans) > 5 {
				m.finish(t, 0)
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
			m.now = m.readAll(t)
			// What survived is durable now: recovery synced the log's files.
			m.history = []map[string]string{m.now}
			if !slices.ContainsFunc(possible, func(s map[string]string) bool { return maps.Equal(s, m.now) }) {
				t.Fatalf("after the crash: %v\nno state since the last strict write is like it: %v", m.now, possible)
			}
		}
	}
	return actions
}

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

package kv

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator/itertest"
	"tempestkv/kv/manifest"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
)

// fatal is what testing.T and rapid.T have in common.
type fatal interface {
	Helper()
	Fatal(args ...any)
}

// writeTable writes rows as the table num.
func writeTable(t fatal, fs vfs.FS, cmp *base.Comparer, num uint64, rows []itertest.Row) *manifest.FileMeta {
	t.Helper()
	f, err := fs.Create(vfs.FileDesc{Type: vfs.TypeTable, Num: num}, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := sst.NewWriter(f, sst.WriterOptions{Comparer: cmp, BlockBytes: 64})
	for _, r := range rows {
		if err := w.Add(r.Key, []byte(r.Value)); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := w.Finish()
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return &manifest.FileMeta{Num: num, Size: uint64(meta.Size), Smallest: meta.Smallest, Largest: meta.Largest}
}

// countingFS counts its open files, and fails opens where it is told to.
type countingFS struct {
	*vfs.MemFS
	open   atomic.Int32
	most   atomic.Int32
	opened atomic.Int32 // times in all
	fails  atomic.Bool
}

type countingFile struct {
	vfs.File
	fs   *countingFS
	once sync.Once
}

var errOpen = base.Wrap(base.ErrIO, "injected", nil)

func (fs *countingFS) Open(fd vfs.FileDesc) (vfs.File, error) {
	fs.opened.Add(1)
	if fs.fails.Load() {
		return nil, errOpen
	}
	f, err := fs.MemFS.Open(fd)
	if err != nil {
		return nil, err
	}
	n := fs.open.Add(1)
	for most := fs.most.Load(); n > most && !fs.most.CompareAndSwap(most, n); most = fs.most.Load() {
	}
	return &countingFile{File: f, fs: fs}, nil
}

func (f *countingFile) Close() error {
	f.once.Do(func() { f.fs.open.Add(-1) })
	return f.File.Close()
}

// TestLevelIterAgainstACursor walks random rows, cut into tables anywhere, also
// between two versions of a key, and compares with a position in the rows.
func TestLevelIterAgainstACursor(t *testing.T) {
	keys := rapid.SliceOfN(rapid.SampledFrom([]byte{'a', 'b', 'c'}), 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		cmp := base.Bytewise
		var rows []itertest.Row
		for n := range rapid.IntRange(0, 40).Draw(t, "rows") {
			rows = append(rows, itertest.Row{
				Key:   base.MakeInternalKey(keys.Draw(t, "key"), base.SeqNum(n+1), base.KindPut),
				Value: fmt.Sprint(n),
			})
		}
		slices.SortFunc(rows, func(a, b itertest.Row) int { return cmp.CompareInternal(a.Key, b.Key) })
		fs := &countingFS{MemFS: vfs.NewMem()}
		var files []*manifest.FileMeta
		for from := 0; from < len(rows); {
			to := min(len(rows), from+rapid.IntRange(1, 12).Draw(t, "size"))
			files = append(files, writeTable(t, fs, cmp, uint64(len(files)+1), rows[from:to]))
			from = to
		}
		cache := newTableCache(fs, cmp, 1, 0)
		it := newLevelIter(cache, files, rapid.SampledFrom([]int{0, 1 << 10}).Draw(t, "read ahead"))
		if it.Next() || it.Prev() || it.Valid() {
			t.Fatal("it is somewhere before it was moved")
		}
		itertest.Walk(t, cmp, it, rows, keys, 20)
		if err := errors.Join(it.Close(), it.Close()); err != nil {
			t.Fatal(err)
		}
		cache.close()
		if fs.open.Load() != 0 || fs.most.Load() > 2 {
			t.Fatalf("%d files are open, there were %d at once", fs.open.Load(), fs.most.Load())
		}
	})
}

// testTables writes count tables of a key each: "key000" and so on.
func testTables(t *testing.T, fs vfs.FS, count int) []*manifest.FileMeta {
	var files []*manifest.FileMeta
	for i := range count {
		row := itertest.Row{Key: base.MakeInternalKey(fmt.Appendf(nil, "key%03d", i), 1, base.KindPut), Value: fmt.Sprint(i)}
		files = append(files, writeTable(t, fs, base.Bytewise, uint64(i+1), []itertest.Row{row}))
	}
	return files
}

func TestLevelIterTellsThatATableCannotBeOpened(t *testing.T) {
	fs := &countingFS{MemFS: vfs.NewMem()}
	files := testTables(t, fs, 3)
	it := newLevelIter(newTableCache(fs, base.Bytewise, 1, 0), files, 0)
	if !it.First() {
		t.Fatal(it.Error())
	}
	fs.fails.Store(true)
	if it.Next() || it.Valid() || !errors.Is(it.Error(), errOpen) {
		t.Fatal("the error is", it.Error())
	}
	if it.Next() || it.Prev() || !errors.Is(it.Error(), errOpen) {
		t.Fatal("a relative move forgets the error:", it.Error())
	}
	fs.fails.Store(false)
	if !it.Last() || it.Error() != nil || string(it.Key().UserKey) != "key002" {
		t.Fatal("an absolute move keeps the error:", it.Error())
	}
	if err := it.Close(); err != nil || it.Valid() {
		t.Error(err)
	}
}

func TestTableCacheIsBounded(t *testing.T) {
	fs := &countingFS{MemFS: vfs.NewMem()}
	files := testTables(t, fs, 50)
	// What one takes says how many fit.
	probe := newTableCache(fs, base.Bytewise, 1<<20, 0)
	one, err := probe.acquire(files[0])
	if err != nil {
		t.Fatal(err)
	}
	probe.release(one)
	probe.close()
	c := newTableCache(fs, base.Bytewise, 10*one.bytes, 0)
	for round := range 3 {
		for i, f := range files {
			e, ok, err := c.getFrom(f, fmt.Appendf(nil, "key%03d", i), base.MaxSeqNum)
			if err != nil || !ok || string(e.Value) != fmt.Sprint(i) {
				t.Fatalf("round %d, table %d: %q, %t, %v", round, i, e.Value, ok, err)
			}
			// The one used last is there still.
			misses := c.misses
			if _, _, err := c.getFrom(f, files[i].Smallest.UserKey, 1); err != nil || c.misses != misses {
				t.Fatalf("table %d was not kept: %v", i, err)
			}
		}
	}
	open, bytes, _, _ := c.stats()
	if open != 10 || bytes != 10*one.bytes || int(fs.open.Load()) != 10 {
		t.Errorf("%d tables of %d bytes are open, %d files", open, bytes, fs.open.Load())
	}
	c.close()
	if fs.open.Load() != 0 {
		t.Errorf("%d files are open", fs.open.Load())
	}
}

// TestTableInUseOutlivesItsEviction: its last user closes it.
func TestTableInUseOutlivesItsEviction(t *testing.T) {
	for name, evict := range map[string]func(c *tableCache, files []*manifest.FileMeta){
		"evicted":     func(c *tableCache, files []*manifest.FileMeta) { c.evict(files[0].Num) },
		"cache ended": func(c *tableCache, files []*manifest.FileMeta) { c.close() },
		"no room": func(c *tableCache, files []*manifest.FileMeta) {
			// Those in use stay; it goes once it is not.
			for _, f := range files[1:] {
				table, err := c.acquire(f)
				if err != nil {
					t.Fatal(err)
				}
				c.release(table)
			}
		},
	} {
		fs := &countingFS{MemFS: vfs.NewMem()}
		files := testTables(t, fs, 4)
		c := newTableCache(fs, base.Bytewise, 1, 0)
		table, err := c.acquire(files[0])
		if err != nil {
			t.Fatal(err)
		}
		evict(c, files)
		if e, ok, err := table.reader.Get([]byte("key000"), 1); err != nil || !ok || string(e.Value) != "0" {
			t.Errorf("%s: %q, %t, %v", name, e.Value, ok, err)
		}
		c.release(table)
		c.evict(files[0].Num) // twice is fine
		c.close()
		if n := fs.open.Load(); n != 0 {
			t.Errorf("%s: %d files are open", name, n)
		}
	}
}

// TestTableThatCannotBeOpenedIsTriedAgain: an error is not kept.
func TestTableThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	fs := &countingFS{MemFS: vfs.NewMem()}
	files := testTables(t, fs, 1)
	c := newTableCache(fs, base.Bytewise, 1<<20, 0)
	fs.fails.Store(true)
	for range 2 {
		if _, err := c.acquire(files[0]); !errors.Is(err, errOpen) {
			t.Fatal(err)
		}
	}
	fs.fails.Store(false)
	table, err := c.acquire(files[0])
	if err != nil {
		t.Fatal(err)
	}
	c.release(table)
	wrong := files[0] // the manifest says another size
	other := &manifest.FileMeta{Num: wrong.Num, Size: wrong.Size + 1, Smallest: wrong.Smallest, Largest: wrong.Largest}
	c.evict(wrong.Num)
	if _, err := c.acquire(other); !errors.Is(err, base.ErrCorruption) {
		t.Error("a table of another size:", err)
	}
	if _, err := c.acquire(&manifest.FileMeta{Num: 99}); !errors.Is(err, vfs.ErrNotExist) {
		t.Error("a table that is not there:", err)
	}
	c.close()
	if open, bytes, _, _ := c.stats(); open != 0 || bytes != 0 || fs.open.Load() != 0 {
		t.Errorf("%d tables, %d bytes, %d files are left", open, bytes, fs.open.Load())
	}
}

func TestTableCacheFromManyGoroutines(t *testing.T) {
	fs := &countingFS{MemFS: vfs.NewMem()}
	files := testTables(t, fs, 20)
	c := newTableCache(fs, base.Bytewise, 3*tableOverhead, 1<<10)
	var users sync.WaitGroup
	for user := range 8 {
		users.Go(func() {
			for n := range 300 {
				i := (n*7 + user*3) % len(files)
				if n%50 == 49 {
					c.evict(files[i].Num)
					continue
				}
				it := newLevelIter(c, files[i:i+1], 0)
				if !it.First() || !bytes.Equal(it.Key().UserKey, files[i].Smallest.UserKey) {
					t.Errorf("table %d: %v", i, it.Error())
				}
				it.Close()
			}
		})
	}
	users.Wait()
	c.close()
	if open, bytes, hits, misses := c.stats(); open != 0 || bytes != 0 || fs.open.Load() != 0 || hits+misses == 0 || int32(misses) != fs.opened.Load() {
		t.Errorf("%d tables, %d bytes, %d files are left; %d hits, %d misses, %d opened", open, bytes, fs.open.Load(), hits, misses, fs.opened.Load())
	}
}

// TestOneTableIsOpenedOnce, however many ask for it at once.
func TestOneTableIsOpenedOnce(t *testing.T) {
	fs := &countingFS{MemFS: vfs.NewMem()}
	files := testTables(t, fs, 1)
	c := newTableCache(fs, base.Bytewise, 1<<20, 0)
	var users sync.WaitGroup
	for range 16 {
		users.Go(func() {
			table, err := c.acquire(files[0])
			if err != nil {
				t.Error(err)
				return
			}
			c.release(table)
		})
	}
	users.Wait()
	if n := fs.opened.Load(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	c.close()
}

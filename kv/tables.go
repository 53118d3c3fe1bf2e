package kv

import (
	"sync"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
)

// tableCache keeps tables open: the file, the index and the filters. It is
// bounded by the memory these take; the table used longest ago goes first. Any
// number of goroutines may use it.
type tableCache struct {
	fs       vfs.FS
	cmp      *base.Comparer
	blocks   *sst.Cache
	capacity int64

	mu     sync.Mutex // guards what follows, and the fields of tables; see table.isOpen
	tables map[uint64]*table
	bytes  int64
	first  table // of a ring in order of use, newest next to it
	hits   uint64
	misses uint64
}

// table is an open table. While users hold it, it stays open.
type table struct {
	num    uint64
	file   vfs.File
	reader *sst.Reader
	bytes  int64
	users  int
	gone   bool // no longer in the cache: the last user closes it
	isOpen bool // file and reader stay as they are
	opened chan struct{}
	err    error

	newer, older *table
}

// tableOverhead is what an open table takes beside its index and filters, in
// bytes, roughly.
const tableOverhead = 512

func newTableCache(fs vfs.FS, cmp *base.Comparer, capacity, blockBytes int64) *tableCache {
	c := &tableCache{fs: fs, cmp: cmp, capacity: capacity, blocks: sst.NewCache(max(0, blockBytes)), tables: map[uint64]*table{}}
	c.first.newer, c.first.older = &c.first, &c.first
	return c
}

// acquire returns the table f, open. The caller releases it. The version that
// has f must be referenced meanwhile.
func (c *tableCache) acquire(f *manifest.FileMeta) (*table, error) {
	c.mu.Lock()
	t := c.tables[f.Num]
	if t != nil {
		t.users++
		t.unlink()
		c.link(t)
		c.hits++
		isOpen := t.isOpen
		c.mu.Unlock()
		if isOpen {
			return t, nil
		}
		// Another goroutine is opening it.
		<-t.opened
		if t.err != nil {
			c.release(t)
			return nil, t.err
		}
		return t, nil
	}
	c.misses++
	t = &table{num: f.Num, users: 1, opened: make(chan struct{})}
	c.tables[f.Num] = t
	c.link(t)
	c.mu.Unlock()

	t.err = c.open(t, f)
	close(t.opened)
	c.mu.Lock()
	if t.err != nil {
		c.forget(t)
	} else {
		t.isOpen = true
		t.bytes = t.reader.MemoryBytes() + tableOverhead
		if !t.gone {
			c.bytes += t.bytes
		}
	}
	closing := c.shrink()
	c.mu.Unlock()
	closeAll(closing)
	if t.err != nil {
		c.release(t)
		return nil, t.err
	}
	return t, nil
}

func (c *tableCache) open(t *table, f *manifest.FileMeta) error {
	file, err := c.fs.Open(f.Desc())
	if err != nil {
		return err
	}
	r, err := sst.Open(file, sst.ReaderOptions{Comparer: c.cmp, Cache: c.blocks, FileNum: f.Num})
	if err == nil && uint64(r.Size()) != f.Size {
		err = base.Corruption(f.Desc().String(), 0, "has "+u64(uint64(r.Size()))+" bytes, the manifest says "+u64(f.Size))
	}
	if err != nil {
		file.Close()
		return err
	}
	t.file, t.reader = file, r
	return nil
}

// release gives back what acquire returned.
func (c *tableCache) release(t *table) {
	c.mu.Lock()
	t.users--
	last := t.gone && t.users == 0
	c.mu.Unlock()
	if last && t.file != nil {
		t.file.Close()
	}
}

// shrink takes tables that nobody uses out of the cache until it is within its
// bounds, and returns their files for closing.
func (c *tableCache) shrink() []vfs.File {
	var closing []vfs.File
	for t := c.first.newer; c.bytes > c.capacity && t != &c.first; {
		next := t.newer
		if t.users == 0 {
			c.forget(t)
			closing = append(closing, t.file)
		}
		t = next
	}
	return closing
}

// evict closes the table num, and drops its blocks.
func (c *tableCache) evict(num uint64) {
	c.mu.Lock()
	t := c.tables[num]
	if t != nil {
		c.forget(t)
	}
	unused := t != nil && t.users == 0
	c.mu.Unlock()
	if unused {
		t.file.Close()
	}
	c.blocks.Evict(num)
}

// close closes the tables that nobody uses; those in use are closed by their
// last user.
func (c *tableCache) close() {
	c.mu.Lock()
	var closing []vfs.File
	for _, t := range c.tables {
		c.forget(t)
		if t.users == 0 {
			closing = append(closing, t.file)
		}
	}
	c.mu.Unlock()
	closeAll(closing)
}

func closeAll(files []vfs.File) {
	for _, f := range files {
		f.Close()
	}
}

// forget takes t out of the cache.
func (c *tableCache) forget(t *table) {
	if !t.gone {
		delete(c.tables, t.num)
		t.unlink()
		t.gone = true
		c.bytes -= t.bytes
	}
}

// link puts t where the newest are: before the ring's first, as its older.
func (c *tableCache) link(t *table) {
	t.newer, t.older = &c.first, c.first.older
	t.newer.older, t.older.newer = t, t
}

func (t *table) unlink() {
	t.newer.older, t.older.newer = t.older, t.newer
}

// get looks key up in the tables of v, newest first.
func (c *tableCache) get(v *manifest.Version, key []byte, at base.SeqNum) (e sst.Entry, ok bool, err error) {
	for _, f := range v.Files(0) {
		if c.cmp.Compare(key, f.Smallest.UserKey) < 0 || c.cmp.Compare(key, f.Largest.UserKey) > 0 {
			continue
		}
		if e, ok, err = c.getFrom(f, key, at); ok || err != nil {
			return e, ok, err
		}
	}
	target := base.MakeInternalKey(key, at, base.KindMax)
	for level := 1; level < manifest.NumLevels; level++ {
		files := v.Files(level)
		if len(files) == 0 {
			continue
		}
		i := v.Find(level, target)
		if i == len(files) || c.cmp.Compare(key, files[i].Smallest.UserKey) < 0 {
			continue
		}
		if e, ok, err = c.getFrom(files[i], key, at); ok || err != nil {
			return e, ok, err
		}
	}
	return sst.Entry{}, false, nil
}

func (c *tableCache) getFrom(f *manifest.FileMeta, key []byte, at base.SeqNum) (e sst.Entry, ok bool, err error) {
	t, err := c.acquire(f)
	if err != nil {
		return sst.Entry{}, false, err
	}
	defer c.release(t)
	return t.reader.Get(key, at)
}

// iters returns an iterator over each table of level 0 and one over each deeper
// level of v, newest first, as far as they have something within b. readAhead
// is in bytes, 0 for reading block by block. v must be referenced until they
// are closed.
func (c *tableCache) iters(v *manifest.Version, b iterator.Bounds, readAhead int) []iterator.Internal {
	var its []iterator.Internal
	for level := range manifest.NumLevels {
		its = c.appendIters(its, level, v.Overlapping(level, b), readAhead)
	}
	return its
}

// appendIters appends to its iterators over files of a level, as iters.
func (c *tableCache) appendIters(its []iterator.Internal, level int, files []*manifest.FileMeta, readAhead int) []iterator.Internal {
	n := max(1, len(files))
	if level == 0 {
		n = 1
	}
	for ; len(files) > 0; files = files[n:] {
		its = append(its, newLevelIter(c, files[:n:n], readAhead))
	}
	return its
}

// stats returns how many tables are open, the memory they take in bytes, and
// how often a table was found open or not.
func (c *tableCache) stats() (open int, bytes int64, hits, misses uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.tables), c.bytes, c.hits, c.misses
}

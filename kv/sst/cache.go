package sst

import (
	"slices"
	"sync"
	"sync/atomic"
)

// entryBytes is what a block in a cache costs beside its contents.
const entryBytes = 64

// Cache keeps decoded blocks by file number and offset, so that reading them
// again needs neither the file nor Snappy. It is bounded in bytes; the block
// used longest ago goes first. One cache serves all tables of a store, and any
// number of goroutines.
//
// The blocks lie in one slice, joined to lists by index: the garbage collector
// has one pointer a block to follow. What a block that goes leaves behind serves
// the next, unless somebody still reads it: a store that reads more than the cache
// holds would otherwise collect garbage all the time.
type Cache struct {
	capacity int64

	mu      sync.Mutex // guards the rest
	entries []cacheEntry
	heads   []int32 // by hash, the first of a list joined by chain; 0 for none
	free    int32   // list joined by chain
	bytes   int64
	count   int
	hits    uint64
	misses  uint64
	spare   []*buffer // at most maxSpare
}

// buffer has the contents of a block.
type buffer struct {
	bytes []byte
	// users is how many read the bytes now. It is raised under the cache's mu.
	users atomic.Int32
}

// size is what the block takes in the cache.
func (b *buffer) size() int64 { return int64(cap(b.bytes)) + entryBytes }

// release ends what get, or newBuffer, began.
func (b *buffer) release() { b.users.Add(-1) }

// Blocks differ in size by less than an entry; their buffers are of sizes that
// are multiples of spareUnit, so that most fit each other.
const (
	maxSpare  = 8
	spareUnit = 512
)

// cacheEntry is a block. Entry 0 is none: its newer and older are the block
// used longest ago and the one used last.
type cacheEntry struct {
	file   uint64
	offset int64
	block  *buffer // nil where the entry is free
	newer  int32
	older  int32
	chain  int32
}

// CacheStats is what a cache has, and what it was asked.
type CacheStats struct {
	Blocks       int    // count of blocks
	Bytes        int64  // what they take
	Hits, Misses uint64 // lookups since the cache was made
}

// NewCache returns an empty cache of at most capacity bytes: the blocks and
// 64 bytes for each.
func NewCache(capacity int64) *Cache {
	return &Cache{capacity: capacity, entries: make([]cacheEntry, 1), heads: make([]int32, 64)}
}

// Stats returns the cache's figures.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CacheStats{Blocks: c.count, Bytes: c.bytes, Hits: c.hits, Misses: c.misses}
}

// Evict drops all blocks of a file that is gone. It takes time in proportion
// to the whole cache.
func (c *Cache) Evict(fileNum uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.entries {
		if e := &c.entries[i]; e.block != nil && e.file == fileNum {
			c.drop(int32(i))
		}
	}
}

// newBuffer returns a buffer for so many bytes, with a user.
func (c *Cache) newBuffer(size int) *buffer {
	space := (size + spareUnit - 1) / spareUnit * spareUnit
	var b *buffer
	c.mu.Lock()
	if i := slices.IndexFunc(c.spare, func(b *buffer) bool { return cap(b.bytes) == space }); i >= 0 {
		last := len(c.spare) - 1
		b, c.spare[i] = c.spare[i], c.spare[last]
		c.spare = c.spare[:last]
	}
	c.mu.Unlock()
	if b == nil {
		b = &buffer{bytes: make([]byte, space)}
	}
	b.bytes = b.bytes[:size]
	b.users.Store(1)
	return b
}

// get returns a block, which must not be changed, or nil. Who has it releases it.
func (c *Cache) get(file uint64, offset int64) *buffer {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := *c.find(file, offset)
	if i == 0 {
		c.misses++
		return nil
	}
	c.hits++
	c.unlink(i)
	c.link(i)
	b := c.entries[i].block
	b.users.Add(1)
	return b
}

// peek is get for a scan: it leaves the order and the figures as they are. The
// bytes stay as they are for good.
func (c *Cache) peek(file uint64, offset int64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.entries[*c.find(file, offset)].block
	if b == nil {
		return nil
	}
	b.users.Add(1) // never to be released
	return b.bytes
}

// put adds a block, which the caller goes on to read, and drops others for it. One
// larger than the cache is not kept.
func (c *Cache) put(file uint64, offset int64, block *buffer) {
	size := block.size()
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > c.capacity || *c.find(file, offset) != 0 {
		return // or another goroutine has read it at the same time
	}
	for c.bytes+size > c.capacity {
		c.drop(c.entries[0].newer)
	}
	i := c.free
	if i != 0 {
		c.free = c.entries[i].chain
	} else {
		i = int32(len(c.entries))
		c.entries = append(c.entries, cacheEntry{})
		if len(c.entries) > len(c.heads) {
			c.grow()
		}
	}
	head := c.head(file, offset)
	c.entries[i] = cacheEntry{file: file, offset: offset, block: block, chain: *head}
	*head = i
	c.link(i)
	c.bytes += size
	c.count++
}

// head returns the start of the list where a block belongs.
func (c *Cache) head(file uint64, offset int64) *int32 {
	h := (file*0x9e3779b97f4a7c15 ^ uint64(offset)) * 0xd6e8feb86659fd93
	return &c.heads[h>>32&uint64(len(c.heads)-1)]
}

// find returns what refers to a block in its list: 0 at the list's end where
// the block is not there.
func (c *Cache) find(file uint64, offset int64) *int32 {
	p := c.head(file, offset)
	for *p != 0 {
		e := &c.entries[*p]
		if e.offset == offset && e.file == file {
			break
		}
		p = &e.chain
	}
	return p
}

// grow doubles the lists. Every entry but the last, which is new, is in use.
func (c *Cache) grow() {
	c.heads = make([]int32, 2*len(c.heads))
	for i := 1; i < len(c.entries)-1; i++ {
		e := &c.entries[i]
		head := c.head(e.file, e.offset)
		e.chain, *head = *head, int32(i)
	}
}

// link makes entry i the one used last.
func (c *Cache) link(i int32) {
	last := c.entries[0].older
	c.entries[i].newer, c.entries[i].older = 0, last
	c.entries[last].newer = i
	c.entries[0].older = i
}

func (c *Cache) unlink(i int32) {
	e := &c.entries[i]
	c.entries[e.newer].older = e.older
	c.entries[e.older].newer = e.newer
}

// drop takes entry i out.
func (c *Cache) drop(i int32) {
	e := &c.entries[i]
	c.unlink(i)
	*c.find(e.file, e.offset) = e.chain
	c.bytes -= e.block.size()
	c.count--
	// Nobody can find it any more, so one without users stays so.
	if e.block.users.Load() == 0 && len(c.spare) < maxSpare {
		c.spare = append(c.spare, e.block)
	}
	*e = cacheEntry{chain: c.free}
	c.free = i
}

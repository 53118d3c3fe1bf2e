package sst

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func bufferOf(b []byte) *buffer { return &buffer{bytes: b} }

func TestCacheIsBoundedAndDropsTheOldest(t *testing.T) {
	c := NewCache(3 * (100 + entryBytes))
	for i := range 3 {
		c.put(1, int64(i), bufferOf(make([]byte, 100)))
	}
	c.get(1, 0)
	c.peek(1, 1) // does not count as use
	c.put(1, 3, bufferOf(make([]byte, 100)))
	for i, want := range []bool{true, false, true, true} {
		if got := c.peek(1, int64(i)) != nil; got != want {
			t.Errorf("block %d: %t", i, got)
		}
	}
	// A large block takes the place of several; one too large of none.
	c.put(2, 0, bufferOf(make([]byte, 200+entryBytes)))
	c.put(2, 1, bufferOf(make([]byte, 1000)))
	want := CacheStats{Blocks: 2, Bytes: 3 * (100 + entryBytes), Hits: 1}
	if got := c.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if c.get(1, 3) == nil || c.get(2, 0) == nil || c.get(2, 1) != nil {
		t.Error("other blocks than those used last")
	}
}

func TestEvict(t *testing.T) {
	c := NewCache(1 << 20)
	for i := range 300 {
		c.put(uint64(i%3), int64(i), bufferOf([]byte{byte(i)}))
	}
	c.Evict(1)
	c.Evict(77)
	for i := range 300 {
		if b := c.get(uint64(i%3), int64(i)); (b == nil) != (i%3 == 1) || b != nil && b.bytes[0] != byte(i) {
			t.Fatalf("block %d: %v", i, b)
		}
	}
	if got, want := c.Stats(), (CacheStats{Blocks: 200, Bytes: 200 * (1 + entryBytes), Hits: 200, Misses: 100}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestCacheWithoutRoom(t *testing.T) {
	for _, capacity := range []int64{0, -1, entryBytes} {
		c := NewCache(capacity)
		c.put(1, 1, bufferOf([]byte("x")))
		if c.get(1, 1) != nil {
			t.Errorf("a cache of %d bytes keeps a block", capacity)
		}
	}
}

// The model is a slice of blocks, the one used last at its end. What is read of
// them stays as it is until it is released, whatever happens to the cache.
func TestCacheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type block struct {
			file   uint64
			offset int64
			bytes  string
		}
		type reading struct {
			*buffer
			want string
		}
		var model []block
		var readings []reading
		space := func(b block) int64 { return (int64(len(b.bytes))+spareUnit-1)/spareUnit*spareUnit + entryBytes }
		size := func() (n int64) {
			for _, b := range model {
				n += space(b)
			}
			return n
		}
		capacity := rapid.SampledFrom([]int64{100, 3000, 40_000}).Draw(t, "capacity")
		c := NewCache(capacity)
		var want CacheStats
		for i := range rapid.IntRange(1, 400).Draw(t, "calls") {
			file, offset := uint64(rapid.IntRange(0, 3).Draw(t, "file")), rapid.Int64Range(0, 80).Draw(t, "offset")
			at := slices.IndexFunc(model, func(b block) bool { return b.file == file && b.offset == offset })
			switch rapid.IntRange(0, 20).Draw(t, "call") {
			case 0:
				c.Evict(file)
				model = slices.DeleteFunc(model, func(b block) bool { return b.file == file })
			case 1, 2, 3, 4, 5, 6, 7, 8, 9:
				b := block{file, offset, fmt.Sprintf("%*d", rapid.IntRange(1, 1200).Draw(t, "size"), i)}
				made := c.newBuffer(len(b.bytes))
				copy(made.bytes, b.bytes)
				c.put(file, offset, made)
				readings = append(readings, reading{made, b.bytes})
				if at < 0 && space(b) <= capacity {
					model = append(model, b)
					for size() > capacity {
						model = model[1:]
					}
				}
			case 10:
				if got := c.peek(file, offset); (got != nil) != (at >= 0) || got != nil && string(got) != model[at].bytes {
					t.Fatalf("peek(%d, %d) = %q", file, offset, got)
				}
			default:
				got := c.get(file, offset)
				if at < 0 {
					want.Misses++
				} else {
					want.Hits++
				}
				if (got != nil) != (at >= 0) || got != nil && string(got.bytes) != model[at].bytes {
					t.Fatalf("get(%d, %d) = %v", file, offset, got)
				}
				if got != nil {
					readings = append(readings, reading{got, model[at].bytes})
				}
				if at >= 0 {
					b := model[at]
					model = append(slices.Delete(model, at, at+1), b)
				}
			}
			for _, r := range readings {
				if string(r.bytes) != r.want {
					t.Fatalf("a block of %q has become %q", r.want, r.bytes)
				}
			}
			if n := len(readings); n > 0 && rapid.Bool().Draw(t, "release") {
				i := rapid.IntRange(0, n-1).Draw(t, "which")
				readings[i].release()
				readings = slices.Delete(readings, i, i+1)
			}
			want.Blocks, want.Bytes = len(model), size()
			if got := c.Stats(); got != want {
				t.Fatalf("%+v, want %+v", got, want)
			}
		}
	})
}

package sst

import (
	"encoding/binary"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFilterHashIsLevelDBs(t *testing.T) {
	// util/hash_test.cc, where the seed is the same.
	for key, want := range map[string]uint32{
		"":                 0xbc9f1d34,
		"\x62":             0xef1345c4,
		"\xc3\x97":         0x5b663814,
		"\xe2\x99\xa5":     0x323c078f,
		"\xe1\x80\xb9\x32": 0xed21633a,
	} {
		if got := filterHash([]byte(key)); got != want {
			t.Errorf("hash of %q is %#x, want %#x", key, got, want)
		}
	}
}

func TestFilterIsLevelDBs(t *testing.T) {
	// util/bloom_test.cc has these keys. Written by goleveldb: two keys, so 64
	// bits, and 6 probes.
	f := filterBuilder{bitsPerKey: 10}
	f.startBlock(0)
	f.add([]byte("hello"))
	f.add([]byte("world"))
	want := "\x11\x40\x00\x41\x44\x10\x40\x10\x06" + "\x00\x00\x00\x00" + "\x09\x00\x00\x00" + "\x0b"
	if got := f.finish(); string(got) != want {
		t.Errorf("filter block %x, want %x", got, want)
	}
}

func keyOf(i int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(i)) }

func TestFalsePositives(t *testing.T) {
	for _, count := range []int{1, 10, 100, 1000, 10_000} {
		f := filterBuilder{bitsPerKey: 10}
		for i := range count {
			f.add(keyOf(i))
		}
		r, ok := newFilterReader(f.finish())
		if !ok {
			t.Fatal("not a filter block")
		}
		for i := range count {
			if !r.mayContain(0, filterHash(keyOf(i))) {
				t.Fatalf("of %d keys the filter lacks key %d", count, i)
			}
		}
		wrong := 0
		for i := range 10_000 {
			if r.mayContain(2047, filterHash(keyOf(i+1_000_000_000))) {
				wrong++
			}
		}
		// LevelDB's own bound; about 1 % is usual.
		if wrong > 200 {
			t.Errorf("of %d keys, %d in 10,000 false positives", count, wrong)
		}
	}
}

// Blocks of any size, with or without keys: each has its keys, and the filter
// of one says nothing about the next.
func TestFilterModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := filterBuilder{bitsPerKey: rapid.IntRange(1, 60).Draw(t, "bits per key")}
		type block struct {
			offset int64
			keys   []int
		}
		var blocks []block
		offset, key := int64(0), 0
		for range rapid.IntRange(0, 20).Draw(t, "blocks") {
			b := block{offset: offset}
			for range rapid.IntRange(0, 5).Draw(t, "keys") {
				f.add(keyOf(key))
				b.keys = append(b.keys, key)
				key++
			}
			blocks = append(blocks, b)
			offset += rapid.Int64Range(1, 9000).Draw(t, "size")
			f.startBlock(offset)
		}
		estimate := f.size()
		contents := f.finish()
		if len(contents) > estimate+20 {
			t.Fatalf("%d bytes, estimated %d", len(contents), estimate)
		}
		r, ok := newFilterReader(contents)
		if !ok {
			t.Fatal("not a filter block")
		}
		for _, b := range blocks {
			for _, k := range b.keys {
				if !r.mayContain(b.offset, filterHash(keyOf(k))) {
					t.Fatalf("the filter at %d lacks key %d", b.offset, k)
				}
			}
		}
		if r.mayContain(offset+1<<30, 0) != true {
			t.Fatal("a block that no filter knows cannot have a key")
		}
	})
}

func TestBlocksWithoutKeysMatchNothing(t *testing.T) {
	f := filterBuilder{bitsPerKey: 10}
	f.add([]byte("first"))
	f.startBlock(5000)
	f.startBlock(9000)
	f.add([]byte("last"))
	r, _ := newFilterReader(f.finish())
	for offset, want := range map[int64]string{0: "first", 2047: "first", 2048: "", 4096: "", 6144: "", 8192: "last", 10239: "last"} {
		var got []string
		for _, key := range []string{"first", "last"} {
			if r.mayContain(offset, filterHash([]byte(key))) {
				got = append(got, key)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("at %d: %q, want %q", offset, got, want)
		}
	}
}

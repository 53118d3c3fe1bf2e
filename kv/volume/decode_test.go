package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// sampleCatalog has a file of each type, one in two pieces.
func sampleCatalog() ([]byte, []entry) {
	entries := []entry{
		{vfs.FileDesc{Type: vfs.TypeLog, Num: 3}, 2 * PageSize, []extent{{9, 2}}},
		{vfs.FileDesc{Type: vfs.TypeTable, Num: 3}, 2*PageSize + 1, []extent{{4, 1}, {6, 2}}},
		{vfs.FileDesc{Type: vfs.TypeManifest, Num: 1 << 60}, 0, nil},
	}
	p := beginCatalog(nil, 17, 5)
	for _, e := range entries {
		p = appendEntry(p, e)
	}
	p, _ = endCatalog(p, len(entries))
	return p, entries
}

func TestCatalogRoundTrip(t *testing.T) {
	p, want := sampleCatalog()
	h, got, err := decodeCatalog(p)
	if err != nil {
		t.Fatal(err)
	}
	if h.gen != 17 || h.epoch != 5 || int(h.size) != len(p) || h.count != 3 {
		t.Errorf("header %+v", h)
	}
	for i := range want {
		if got[i].fd != want[i].fd || got[i].size != want[i].size || len(got[i].extents) != len(want[i].extents) {
			t.Errorf("entry %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	for n := range len(p) {
		if _, _, err := decodeCatalog(p[:n]); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
		d := bytes.Clone(p)
		d[n] ^= 1
		if _, _, err := decodeCatalog(d); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("byte %d changed: %v", n, err)
		}
	}
}

// TestImpossibleCatalogs have a right checksum.
func TestImpossibleCatalogs(t *testing.T) {
	type file = entry
	log, table := vfs.FileDesc{Type: vfs.TypeLog, Num: 1}, vfs.FileDesc{Type: vfs.TypeTable, Num: 1}
	for name, files := range map[string][]file{
		"files out of order":         {{table, 0, nil}, {log, 0, nil}},
		"a name twice":               {{table, 0, nil}, {table, 0, nil}},
		"number 0":                   {{vfs.FileDesc{Type: vfs.TypeTable}, 0, nil}},
		"unknown type":               {{vfs.FileDesc{Type: 4, Num: 1}, 0, nil}},
		"too few pages":              {{table, PageSize + 1, []extent{{2, 1}}}},
		"too many pages":             {{table, 1, []extent{{2, 2}}}},
		"a log that ends in a page":  {{log, 1, []extent{{2, 1}}}},
		"a superblock's page":        {{table, 1, []extent{{1, 1}}}},
		"an empty extent":            {{table, 1, []extent{{2, 0}, {3, 1}}}},
		"an extent behind the limit": {{table, 2 * PageSize, []extent{{maxPages - 1, 2}}}},
		"a negative length":          {{table, -1, nil}},
	} {
		p := beginCatalog(nil, 3, 1)
		for _, f := range files {
			p = appendEntry(p, f)
		}
		p, _ = endCatalog(p, len(files))
		if _, _, err := decodeCatalog(p); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, count := range map[string]int{"a file is missing": 4, "a file too many": 2, "very many files": 1 << 31} {
		p, entries := sampleCatalog()
		p, _ = endCatalog(p[:len(p)-4], count)
		if _, _, err := decodeCatalog(p); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("%s than %d: %v", name, len(entries), err)
		}
	}
}

func TestSuperblockRoundTrip(t *testing.T) {
	for _, s := range []superblock{
		{gen: firstGeneration},
		{gen: 1<<64 - 1, epoch: 1<<64 - 1, catalogPage: maxPages - 1, catalogSize: maxCatalogSize, catalogChecksum: 1<<32 - 1},
		{gen: 4, epoch: 1, catalogPage: 2, catalogSize: minCatalogSize},
	} {
		p := s.encode()
		got, err := decodeSuperblock(p[:], int(s.gen%2))
		if got != s || err != nil {
			t.Errorf("%+v became %+v, %v", s, got, err)
		}
		if _, err := decodeSuperblock(p[:], 1-int(s.gen%2)); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("in the other page: %v", err)
		}
	}
	for name, s := range map[string]superblock{
		"generation before the first": {gen: 0},
		"no catalog":                  {gen: 4},
		"catalog in a superblock":     {gen: 4, catalogPage: 1, catalogSize: 100},
		"catalog behind the limit":    {gen: 4, catalogPage: maxPages, catalogSize: 100},
		"catalog too small":           {gen: 4, catalogPage: 2, catalogSize: minCatalogSize - 1},
		"catalog too large":           {gen: 4, catalogPage: 2, catalogSize: maxCatalogSize + 1},
		"size without a catalog":      {gen: 2, catalogSize: 100},
	} {
		p := s.encode()
		if _, err := decodeSuperblock(p[:], int(s.gen%2)); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// reseal makes the checksum right, so that fuzzing comes past it.
func reseal(p []byte) []byte {
	p = bytes.Clone(p)
	if n := len(p) - 4; n >= 0 {
		binary.LittleEndian.PutUint32(p[n:], checksum(p[:n]))
	}
	return p
}

func FuzzSuperblock(f *testing.F) {
	s := superblock{gen: 6, epoch: 2, catalogPage: 3, catalogSize: 40}
	p := s.encode()
	f.Add(p[:], 0)
	f.Add(p[:10], 1)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, p []byte, page int) {
		page &= 1
		for _, p := range [][]byte{p, reseal(p)} {
			s, err := decodeSuperblock(p, page)
			if err != nil {
				if !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrNotSupported) {
					t.Fatalf("unexpected kind of error: %v", err)
				}
				continue
			}
			q := s.encode()
			if again, err := decodeSuperblock(q[:], page); again != s || err != nil {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
	})
}

func FuzzCatalog(f *testing.F) {
	p, _ := sampleCatalog()
	f.Add(p)
	f.Add(p[:40])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 28 {
			q := bytes.Clone(p)
			binary.LittleEndian.PutUint32(q[24:], uint32(len(q)))
			p = reseal(q)
		}
		h, entries, err := decodeCatalog(p)
		if err != nil {
			if !errors.Is(err, base.ErrCorruption) {
				t.Fatalf("unexpected kind of error: %v", err)
			}
			return
		}
		q := beginCatalog(nil, h.gen, h.epoch)
		for _, e := range entries {
			q = appendEntry(q, e)
		}
		q, _ = endCatalog(q, len(entries))
		h2, entries2, err := decodeCatalog(q)
		if h.size = uint32(len(q)); h2 != h || err != nil || !reflect.DeepEqual(entries, entries2) {
			t.Fatalf("%+v %+v became %+v %+v, %v", h, entries, h2, entries2, err)
		}
	})
}

// FuzzOpen opens anything: whatever it is, Open must return.
func FuzzOpen(f *testing.F) {
	p, _ := sampleCatalog()
	s := superblock{gen: 6, epoch: 2, catalogPage: 3, catalogSize: uint32(len(p))}
	sb := s.encode()
	s.gen++
	sb1 := s.encode()
	f.Add(sb[:], sb1[:], p, 12*PageSize)
	f.Add(sb[:], []byte("damaged"), p, 12*PageSize)
	f.Add([]byte{}, []byte{}, []byte{}, 0)
	f.Fuzz(func(t *testing.T, sb0, sb1, catalog []byte, size int) {
		dev := NewMemDevice()
		sb0, sb1, catalog = bytes.Clone(sb0), bytes.Clone(sb1), reseal(catalog)
		for _, sb := range [][]byte{sb0, sb1} {
			if len(sb) == superblockSize && len(catalog) >= 4 {
				binary.LittleEndian.PutUint32(sb[44:], binary.LittleEndian.Uint32(catalog[len(catalog)-4:]))
			}
		}
		for i, p := range [][]byte{reseal(sb0), reseal(sb1), {}, catalog} {
			if len(p) > PageSize {
				return
			}
			if err := dev.WriteAt(p, int64(i)*PageSize); err != nil {
				t.Fatal(err)
			}
		}
		if err := dev.Truncate(int64(uint(size) % (64 * PageSize))); err != nil {
			t.Fatal(err)
		}
		v, err := Open(dev, nil)
		if err == nil {
			err = v.Check()
		}
		if err != nil && !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrNotSupported) {
			t.Fatalf("unexpected kind of error: %v", err)
		}
	})
}

// TestACatalogIsSoughtByTheSuperblocksGeneration: a repaired superblock has
// the generation before that of the catalog it names, and the catalog that
// follows it is the one that counts; one of an earlier epoch does not.
func TestACatalogIsSoughtByTheSuperblocksGeneration(t *testing.T) {
	for _, test := range []struct {
		epoch uint64
		want  int // files
	}{{8, 1}, {7, 1}, {6, 0}} {
		dev := NewMemDevice()
		named, _ := endCatalog(beginCatalog(nil, 11, 7), 0)
		sum := binary.LittleEndian.Uint32(named[len(named)-4:])
		sb := superblock{gen: 10, epoch: 7, catalogPage: 2, catalogSize: uint32(len(named)), catalogChecksum: sum}
		p := sb.encode()
		next := beginCatalog(nil, 11, test.epoch)
		next = appendEntry(next, entry{vfs.FileDesc{Type: vfs.TypeTable, Num: 5}, 0, nil})
		next, _ = endCatalog(next, 1)
		for off, p := range map[int64][]byte{0: p[:], PageSize: []byte("damaged"), 2 * PageSize: named, 4 * PageSize: next} {
			if err := dev.WriteAt(p, off); err != nil {
				t.Fatal(err)
			}
		}
		v, err := Open(dev, nil)
		if err != nil {
			t.Fatal(err)
		}
		if fds, err := v.List(); len(fds) != test.want || err != nil {
			t.Errorf("a catalog of epoch %d beside epoch 7: files %v, %v, want %d", test.epoch, fds, err, test.want)
		}
		if err := v.Check(); err != nil {
			t.Error(err)
		}
	}
}

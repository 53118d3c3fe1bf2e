package volume

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

func pagesOf(extents []extent) (pages []uint32) {
	for _, e := range extents {
		for p := e.page; p < e.end(); p++ {
			pages = append(pages, p)
		}
	}
	return pages
}

func TestSpaceAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s space
		taken := map[uint32]bool{}
		claim := func(extents []extent) {
			for _, p := range pagesOf(extents) {
				if taken[p] {
					t.Fatalf("page %d is taken twice", p)
				}
				taken[p] = true
			}
		}
		s.take(extent{0, 2})
		claim([]extent{{0, 2}})
		var files [][]extent
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := uint32(rapid.IntRange(1, 40).Draw(t, "pages"))
			fileEnd := uint32(rapid.IntRange(0, 200).Draw(t, "fileEnd"))
			switch op := rapid.IntRange(0, 3).Draw(t, "op"); {
			case op == 0:
				e, ok := s.takeRun(n, fileEnd)
				if !ok || e.count != n {
					t.Fatalf("takeRun(%d): %v, %t", n, e, ok)
				}
				claim([]extent{e})
				files = append(files, []extent{e})
			case op == 1 || len(files) == 0:
				extents, ok := s.takePages(nil, n, fileEnd)
				if pages := pagesOf(extents); !ok || len(pages) != int(n) {
					t.Fatalf("takePages(%d): %v, %t", n, extents, ok)
				}
				claim(extents)
				files = append(files, extents)
			case op == 2:
				i := rapid.IntRange(0, len(files)-1).Draw(t, "file")
				before := pagesOf(files[i])
				extents, ok := s.takePages(slices.Clone(files[i]), n, fileEnd)
				head, tail := splitExtents(extents, uint32(len(before)))
				if !ok || !slices.Equal(pagesOf(head), before) || len(pagesOf(tail)) != int(n) {
					t.Fatalf("takePages(%v, %d): %v, %t", files[i], n, extents, ok)
				}
				claim(tail)
				files[i] = extents
			default:
				i := rapid.IntRange(0, len(files)-1).Draw(t, "file")
				for _, e := range files[i] {
					s.free(e)
				}
				for _, p := range pagesOf(files[i]) {
					delete(taken, p)
				}
				files = slices.Delete(files, i, i+1)
			}
			var end, free uint32
			for p := range uint32(4000) {
				if s.taken(p) != taken[p] {
					t.Fatalf("page %d: taken %t, want %t", p, s.taken(p), taken[p])
				}
				if taken[p] {
					end = p + 1
				} else if p < fileEnd {
					free++
				}
			}
			if s.end() != end || s.freeBelow(fileEnd) != free {
				t.Fatalf("end %d, want %d; %d free below %d, want %d", s.end(), end, s.freeBelow(fileEnd), fileEnd, free)
			}
		}
	})
}

func TestSpaceHasALimit(t *testing.T) {
	var s space
	s.take(extent{0, 100})
	if _, ok := s.takeRun(maxPages, 100); ok {
		t.Error("takeRun of everything")
	}
	if _, ok := s.takePages(nil, maxPages, 100); ok {
		t.Error("takePages of everything")
	}
	if s.end() != 100 {
		t.Errorf("end %d after two refusals", s.end())
	}
}

func TestTablesTakeLargeRuns(t *testing.T) {
	var s space
	s.take(extent{0, 100})
	s.free(extent{10, 3})
	s.free(extent{20, 9})
	s.free(extent{40, 2})
	for _, test := range []struct {
		n    uint32
		want []extent
	}{
		{3, []extent{{10, 3}}},
		{10, []extent{{20, 9}, {100, 1}}},
		{4, []extent{{101, 4}}},
		{2, []extent{{40, 2}}},
	} {
		if got, ok := s.takePages(nil, test.n, 100); !ok || !slices.Equal(got, test.want) {
			t.Errorf("takePages(%d): %v, want %v", test.n, got, test.want)
		}
	}
	// Where holes are a large part of the file they are used.
	for page := uint32(0); page < 100; page += 2 {
		s.free(extent{page, 1})
	}
	if got, _ := s.takePages(nil, 3, 105); !slices.Equal(got, []extent{{0, 1}, {2, 1}, {4, 1}}) {
		t.Errorf("takePages from holes: %v", got)
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	open := func() (*Volume, *MemDevice) {
		dev := NewMemDevice()
		v, err := Open(dev, nil)
		if err != nil {
			t.Fatal(err)
		}
		for num := uint64(1); num < 4; num++ {
			f, err := v.Create(vfs.FileDesc{Type: vfs.TypeTable, Num: num}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Append(make([]byte, 100_000)), f.Sync(), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.Check(); err != nil {
			t.Fatal(err)
		}
		return v, dev
	}
	for name, harm := range map[string]func(*Volume, *MemDevice) error{
		"two files share a page":   func(v *Volume, _ *MemDevice) error { v.files[0].extents = v.files[1].extents; return nil },
		"a file is in a free page": func(v *Volume, _ *MemDevice) error { v.space.free(v.files[0].extents[0]); return nil },
		"a page is lost":           func(v *Volume, _ *MemDevice) error { v.space.take(extent{90, 1}); return nil },
		"a page is given up twice": func(v *Volume, _ *MemDevice) error { v.given = append(v.given, v.given...); return nil },
		"an empty extent":          func(v *Volume, _ *MemDevice) error { v.given = append(v.given, givenUp{}); return nil },
		"a file is larger than its extents": func(v *Volume, _ *MemDevice) error {
			v.files[0].size = v.files[0].space() + 1
			return nil
		},
		"a file is not in memory":     func(v *Volume, _ *MemDevice) error { v.files[0].fd.Num = 99; return nil },
		"another length":              func(v *Volume, _ *MemDevice) error { v.files[0].committed--; return nil },
		"another epoch":               func(v *Volume, _ *MemDevice) error { v.epoch++; return nil },
		"another generation":          func(v *Volume, _ *MemDevice) error { v.gen += 2; return nil },
		"a damaged superblock":        func(v *Volume, d *MemDevice) error { return d.WriteAt([]byte("x"), 40) },
		"a damaged second superblock": func(v *Volume, d *MemDevice) error { return d.WriteAt([]byte("x"), PageSize+40) },
		"a damaged catalog":           func(v *Volume, d *MemDevice) error { return d.WriteAt([]byte("x"), int64(v.catalog.page)*PageSize+40) },
		"the device is cut off":       func(_ *Volume, d *MemDevice) error { return d.Truncate(PageSize) },
	} {
		v, dev := open()
		if err := harm(v, dev); err != nil {
			t.Fatal(err)
		}
		if err := v.Check(); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

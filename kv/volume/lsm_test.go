package volume_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
)

// sink is a device that keeps superblocks and catalogs alone: these volumes are
// too large for memory, and what is in the files does not matter.
type sink struct {
	kept          map[int64][]byte // by offset
	size          int64
	writes, syncs int64
}

func (d *sink) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(d.size-off, 0)))
	clear(p[copy(p[:n], d.kept[off]):n])
	return n, nil
}

func (d *sink) WriteAt(p []byte, off int64) error {
	d.writes++
	if len(p) < volume.PageSize {
		d.kept[off] = bytes.Clone(p)
	}
	d.size = max(d.size, off+int64(len(p)))
	return nil
}

func (d *sink) Sync() error               { d.syncs++; return nil }
func (d *sink) Size() (int64, error)      { return d.size, nil }
func (d *sink) Truncate(size int64) error { d.size = size; return nil }

// lsm makes and removes tables as a leveled compaction does.
type lsm struct {
	t      testing.TB
	dev    *sink
	v      *volume.Volume
	rng    *rand.Rand
	num    uint64
	levels [5][]tableOf
	log    vfs.File
	logNum uint64
	piece  []byte

	tables, bytes int64 // made
	perMille      int   // of the bytes of a compaction, what is left
}

type tableOf struct {
	num  uint64
	size int64
}

func newLSM(t testing.TB, seed uint64) *lsm {
	dev := &sink{kept: map[int64][]byte{}}
	v, err := volume.Open(dev, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &lsm{t: t, dev: dev, v: v, rng: rand.New(rand.NewPCG(seed, 0)), piece: make([]byte, 1<<20), perMille: 1000}
}

func (l *lsm) check(err error) {
	if err != nil {
		l.t.Helper()
		l.t.Fatal(err)
	}
}

// write makes tables of about size bytes each out of all bytes, two at a time.
func (l *lsm) write(level int, all, size int64) {
	var open []vfs.File
	for all > 0 {
		n := min(all, size-l.rng.Int64N(size/4))
		all -= n
		l.num++
		fd := table(l.num)
		f, err := l.v.Create(fd, size)
		l.check(err)
		for left := n; left > 0; left -= int64(len(l.piece)) {
			l.check(f.Append(l.piece[:min(left, int64(len(l.piece)))]))
		}
		l.check(f.Sync())
		if open = append(open, f); len(open) == 2 {
			l.check(open[0].Close())
			open = open[1:]
		}
		l.levels[level] = append(l.levels[level], tableOf{l.num, n})
		l.tables++
		l.bytes += n
	}
	for _, f := range open {
		l.check(f.Close())
	}
}

// take takes count tables of level away, from a random place on.
func (l *lsm) take(level, count int) (taken []tableOf) {
	tables := l.levels[level]
	count = min(count, len(tables))
	from := l.rng.IntN(len(tables) - count + 1)
	taken = slices.Clone(tables[from : from+count])
	l.levels[level] = slices.Delete(tables, from, from+count)
	return taken
}

func sum(tables []tableOf) (n int64) {
	for _, t := range tables {
		n += t.size
	}
	return n
}

// flush rotates the log, whose successor was made ahead, and writes a table.
func (l *lsm) flush() {
	l.num++
	next, err := l.v.Create(log(l.num), 4<<20)
	l.check(err)
	old := l.logNum
	if l.log != nil {
		l.check(l.log.Close())
	}
	l.log, l.logNum = next, l.num
	l.write(0, 3<<20+l.rng.Int64N(1<<20), 4<<20)
	if old != 0 {
		l.check(l.v.Remove(log(old)))
	}
	if len(l.levels[0]) >= 4 {
		l.compact(0, len(l.levels[0]))
	}
	for level := int64(1); level < 4; level++ {
		for limit := int64(10<<20) * pow10(level-1); sum(l.levels[level]) > limit; {
			l.compact(int(level), 1)
		}
	}
}

func pow10(n int64) int64 {
	p := int64(1)
	for ; n > 0; n-- {
		p *= 10
	}
	return p
}

// compact joins count tables of level with those below that they overlap.
func (l *lsm) compact(level, count int) {
	overlap := 10
	if level == 0 {
		overlap = len(l.levels[1])
	}
	inputs := append(l.take(level, count), l.take(level+1, l.rng.IntN(overlap+1))...)
	size := int64(2<<20) << min(level, 3)
	l.write(level+1, sum(inputs)*int64(l.perMille)/1000, size)
	var fds []vfs.FileDesc
	for _, t := range inputs {
		fds = append(fds, table(t.num))
	}
	l.check(l.v.RemoveAll(fds))
}

func (l *lsm) live() (n int64) {
	for _, tables := range l.levels {
		n += sum(tables)
	}
	return n
}

// shrink does what an engine does when it is idle, and returns how many bytes
// that moved.
func (l *lsm) shrink() (moved int64) {
	for {
		n, err := l.v.Shrink(2 << 20)
		l.check(err)
		if n == 0 {
			return moved
		}
		moved += n
	}
}

// wantSize checks that the file takes no more than its part of the live bytes.
func (l *lsm) wantSize(what string, most float64) {
	l.t.Helper()
	l.check(l.v.Check())
	s, err := l.v.Space()
	l.check(err)
	ratio := float64(s.FileBytes) / float64(s.LiveBytes)
	l.t.Logf("%s: %.2f of %d MiB live, %d files", what, ratio, s.LiveBytes>>20, s.Files)
	if ratio > most || s.LiveBytes < l.live() {
		l.t.Errorf("%s: the file is %.2f of the live bytes, want %.2f: %+v", what, ratio, most, s)
	}
}

// TestTheFileIsLittleLargerThanItsFiles while a store grows, at rest, and after
// most of it was deleted.
func TestTheFileIsLittleLargerThanItsFiles(t *testing.T) {
	for seed := range uint64(3) {
		l := newLSM(t, seed)
		for l.live() < 600<<20 {
			l.flush()
		}
		extents, files := volume.Extents(l.v)
		t.Logf("seed %d: %d tables, %.1f extents a file, catalog of %d bytes; a table took %.1f writes and %.1f syncs", seed, l.tables,
			float64(extents)/float64(files), volume.CatalogSize(l.v), float64(l.dev.writes)/float64(l.tables), float64(l.dev.syncs)/float64(l.tables))
		l.wantSize("loaded", 1.2)
		if extents > 8*files {
			t.Errorf("%d files have %d extents", files, extents)
		}
		for range 200 {
			l.perMille = 930 // the rest was written over
			l.flush()
		}
		l.wantSize("written over", 1.2)
		l.shrink()
		l.wantSize("at rest", 1.2)

		// Nine tables of ten go, wherever they are.
		var gone []vfs.FileDesc
		for level, tables := range l.levels {
			l.levels[level] = slices.DeleteFunc(tables, func(x tableOf) bool {
				if l.rng.IntN(10) == 0 {
					return false
				}
				gone = append(gone, table(x.num))
				return true
			})
		}
		l.check(l.v.RemoveAll(gone))
		before, _ := l.v.Space()
		moved := l.shrink()
		t.Logf("%d MiB of a file of %d MiB were moved", moved>>20, before.FileBytes>>20)
		l.wantSize("most deleted", 1.2+float64(8<<20)/float64(l.live()))
		if moved > before.LiveBytes*3/2 {
			t.Errorf("%d bytes were moved", moved)
		}
	}
}

// BenchmarkTable makes a table of 1.5 MiB in pieces of 64 KiB beside a thousand
// others of 10 pages in several runs, and removes it.
func BenchmarkTable(b *testing.B) {
	l := newLSM(b, 1)
	l.write(0, 2000*600<<10, 800<<10)
	var odd []vfs.FileDesc
	for i, t := range l.levels[0] {
		if i%2 == 1 {
			odd = append(odd, table(t.num))
		}
	}
	l.check(l.v.RemoveAll(odd))
	l.write(1, 400*2<<20, 2<<20)
	extents, files := volume.Extents(l.v)
	l.piece = l.piece[:64<<10]
	before := *l.dev
	b.ReportAllocs()
	for b.Loop() {
		l.write(2, 3<<19, 2<<20)
		t := l.take(2, 1)[0]
		l.check(l.v.Remove(table(t.num)))
	}
	n := float64(b.N)
	b.ReportMetric(float64(files), "files")
	b.ReportMetric(float64(extents), "extents")
	b.ReportMetric(float64(volume.CatalogSize(l.v)), "catalog-B")
	b.ReportMetric(float64(l.dev.writes-before.writes)/n, "writes/op")
	b.ReportMetric(float64(l.dev.syncs-before.syncs)/n, "syncs/op")
}

package volume_test

import (
	"fmt"
	"testing"

	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

// guard is a device that refuses to let one of the two superblocks' states be
// harmed.
type guard struct {
	*devicetest.Device
	t       *testing.T
	checked int
}

// WriteAt checks that p goes to no catalog in force, to no page that only the
// older generation uses, and over the older superblock only.
func (g *guard) WriteAt(p []byte, off int64) error {
	view := g.Device.Clone()
	gen0, used0, catalog0, ok0 := volume.UsedPages(view, 0)
	gen1, used1, catalog1, ok1 := volume.UsedPages(view, 1)
	if ok0 && ok1 {
		g.checked++
		newer, older, newest := used0, used1, int64(0)
		if gen1 > gen0 {
			newer, older, newest = used1, used0, 1
		}
		for page := off / volume.PageSize; page*volume.PageSize < off+int64(len(p)); page++ {
			switch {
			case page == newest:
				g.t.Fatalf("a write over the newest superblock")
			case catalog0[page] || catalog1[page]:
				g.t.Fatalf("a write over a catalog in force, page %d", page)
			case older[page] && !newer[page]:
				g.t.Fatalf("a write over page %d, which the older generation uses", page)
			}
		}
	}
	return g.Device.WriteAt(p, off)
}

// Truncate checks that nothing is cut off that either generation uses.
func (g *guard) Truncate(size int64) error {
	for slot := range 2 {
		_, used, _, _ := volume.UsedPages(g.Device.Clone(), slot)
		for page := range used {
			if (page+1)*volume.PageSize > size {
				g.t.Fatalf("page %d of superblock %d is cut off", page, slot)
			}
		}
	}
	return g.Device.Truncate(size)
}

func TestNeitherGenerationIsOverwritten(t *testing.T) {
	for _, w := range workloads {
		t.Run(fmt.Sprint("workload ", w.seed), func(t *testing.T) {
			t.Parallel()
			w.steps *= 5
			g := &guard{Device: devicetest.New(), t: t}
			h := newHarness(t, g, w.opts, picker(w.seed))
			if !w.run(h) {
				t.Fatal("an operation failed")
			}
			h.compare()
			if g.checked < 100 {
				t.Errorf("only %d writes were checked", g.checked)
			}
		})
	}
}

func TestNeitherGenerationIsOverwrittenAfterARepair(t *testing.T) {
	whole := twoTables(t).Bytes()
	for slot := range 2 {
		content := append([]byte(nil), whole...)
		content[slot*volume.PageSize+30] ^= 1
		g := &guard{Device: devicetest.FromBytes(content), t: t}
		v := openVolume(t, g, nil)
		for num := uint64(10); num < 14; num++ {
			addTable(t, v, num, "more")
		}
		wantFiles(t, v, table(2), table(10), table(11), table(12), table(13))
	}
}

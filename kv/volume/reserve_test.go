package volume_test

import (
	"errors"
	"fmt"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

// TestWhatIsKeptBackIsTakenByNobody fills volumes of which some space is kept back,
// and then that too.
func TestWhatIsKeptBackIsTakenByNobody(t *testing.T) {
	const kept = 5
	for quota := int64(20 * volume.PageSize); quota < 24*volume.PageSize; quota += volume.PageSize - 5000 {
		t.Run(fmt.Sprint(quota, " bytes"), func(t *testing.T) {
			dev := devicetest.New()
			dev.SetQuota(quota)
			v := openVolume(t, dev, noKeep)
			must(t, v.Reserve(kept*volume.PageSize-1), v.Check())
			made, err := fillVolume(v, 1)
			must(t, err, v.Check())
			must(t, v.Reserve(kept*volume.PageSize), v.Check())
			if err := v.Reserve((kept + 3) * volume.PageSize); !errors.Is(err, base.ErrQuota) || errors.Is(err, base.ErrReadOnly) {
				t.Fatalf("a full volume kept more back: %v", err)
			}
			must(t, v.Check())
			v.Release(2 * volume.PageSize)
			must(t, v.Check(), writeTable(v, table(1000), (kept-2)*volume.PageSize), v.Check())
			v.Release(0)
			must(t, v.Check(), writeTable(v, table(1001), 2*volume.PageSize), v.Check())
			if err := v.Reserve(kept * volume.PageSize); !errors.Is(err, base.ErrQuota) {
				t.Fatalf("there was still space: %v", err)
			}
			// What waits for a commit counts.
			must(t, v.Remove(table(1000)), v.Remove(table(1001)), v.Reserve(kept*volume.PageSize), v.Check())
			if more, err := fillVolume(v, 2000); err != nil || len(more) > 1 {
				t.Fatalf("%d more files, %v", len(more), err)
			}
			fds, err := v.List()
			must(t, err, v.RemoveAll(fds), v.Check(), v.Close())
			// Nothing of it is on the device.
			v = openVolume(t, dev, noKeep)
			must(t, v.Check())
			again, err := fillVolume(v, 1)
			if err != nil || len(again) <= len(made) {
				t.Fatalf("%d files where %d fitted beside what was kept back, %v", len(again), len(made), err)
			}
			must(t, v.Check(), v.Close())
		})
	}
}

// TestWhatIsKeptBackDoesNotKeepTheFileLarge: it moves to the start with the files.
func TestWhatIsKeptBackDoesNotKeepTheFileLarge(t *testing.T) {
	const kept = 5
	dev := devicetest.New()
	v := openVolume(t, dev, noKeep)
	for num := range uint64(20) {
		must(t, writeTable(v, table(1+num), 4*volume.PageSize))
	}
	must(t, v.Reserve(kept*volume.PageSize), v.Check())
	for num := range uint64(18) {
		must(t, v.Remove(table(1+num)), v.Check())
	}
	for {
		moved, err := v.Shrink(1 << 20)
		must(t, err, v.Check())
		if moved == 0 {
			break
		}
	}
	s, err := v.Space()
	must(t, err)
	if pages := s.FileBytes / volume.PageSize; pages > 2*4+kept+8 {
		t.Errorf("%d pages for 8 of files and %d kept back", pages, kept)
	}
	must(t, v.Reserve(kept*volume.PageSize), v.Close())
}

// TestAManifestBeginsNoPageThatTheHostCutsShort: it would be stuck in it, since what
// it has of the page cannot be given up.
func TestAManifestBeginsNoPageThatTheHostCutsShort(t *testing.T) {
	dev := devicetest.New()
	dev.SetQuota(20*volume.PageSize + 3000)
	must(t, openVolume(t, dev, noKeep).Close())
	v := openVolume(t, dev, noKeep)
	if err := v.Reserve(30 * volume.PageSize); !errors.Is(err, base.ErrQuota) {
		t.Fatal(err)
	}
	m, err := v.Create(vfs.FileDesc{Type: vfs.TypeManifest, Num: 1}, 0)
	must(t, err)
	for range 100 {
		must(t, m.Append(make([]byte, 100)), m.Sync(), v.Check())
	}
	must(t, m.Close(), v.Close())
}

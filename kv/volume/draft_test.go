package volume_test

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

// draftAll makes a volume with these tables as a draft.
func draftAll(dev volume.Device, contents map[vfs.FileDesc][]byte) error {
	d, err := volume.NewDraft(dev)
	if err != nil {
		return err
	}
	v, err := volume.Open(d, nil)
	if err != nil {
		return err
	}
	for _, fd := range slices.SortedFunc(maps.Keys(contents), vfs.FileDesc.Compare) {
		content := contents[fd]
		f, err := v.Create(fd, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Append(content), f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if err := v.Close(); err != nil {
		return err
	}
	return d.Publish()
}

// TestPowerLossInADraft leaves an empty volume, or all of it. With one file more
// the newest superblock is the other one.
func TestPowerLossInADraft(t *testing.T) {
	contents := map[vfs.FileDesc][]byte{manifest(1): []byte("a manifest"), table(2): bytes.Repeat([]byte("t"), 700_000)}
	testPowerLossInADraft(t, contents)
	contents[table(3)] = []byte("end")
	testPowerLossInADraft(t, contents)
}

func testPowerLossInADraft(t *testing.T, contents map[vfs.FileDesc][]byte) {
	empty, complete := 0, 0
	for stop := 0; ; stop++ {
		dev := devicetest.New()
		dev.StopAt(stop)
		err := draftAll(dev, contents)
		for seed := range uint64(16) {
			rng := rand.New(rand.NewPCG(seed, uint64(stop)))
			left := dev.Crash(rng)
			if seed%2 == 0 {
				left = dev.Clone()
			}
			left = openAndCrash(left, nil, rng)
			v, openErr := volume.Open(left, nil)
			if openErr != nil {
				t.Fatalf("stop %d, seed %d: %v", stop, seed, openErr)
			}
			fds, listErr := v.List()
			must(t, listErr, v.Close())
			if len(fds) > 0 || err == nil {
				complete++
				wantContents(t, left, contents)
				continue
			}
			empty++
			must(t, left.Truncate(0), draftAll(left, contents))
			wantContents(t, left, contents)
		}
		if err == nil {
			break
		}
	}
	if empty == 0 || complete == 0 {
		t.Errorf("%d times nothing was left, %d times everything", empty, complete)
	}
}

func TestADraftThatIsGivenUp(t *testing.T) {
	dev := devicetest.New()
	d, err := volume.NewDraft(dev)
	must(t, err)
	v := openVolume(t, d, nil)
	addTable(t, v, 1, "one")
	wantTable(t, v, 1, "one")
	must(t, v.Close(), d.Abort())
	if len(dev.Bytes()) != 0 {
		t.Errorf("%d bytes are left", len(dev.Bytes()))
	}
	// A draft over one that was cut off is fine, over a volume it is not.
	_, err = volume.NewDraft(dev)
	must(t, err, draftAll(dev, map[vfs.FileDesc][]byte{table(1): []byte("one")}))
	before := dev.Bytes()
	if _, err := volume.NewDraft(dev); !errors.Is(err, base.ErrInvalidArgument) || !bytes.Equal(before, dev.Bytes()) {
		t.Error(err)
	}
}

func TestOpenDamaged(t *testing.T) {
	whole := twoTables(t).Bytes()
	newer, older := slots(whole)
	at, size := catalogAt(whole, newer)
	tests := []struct {
		name   string
		change func(p []byte) []byte
		damage bool
		files  []vfs.FileDesc
	}{
		{"whole", func(p []byte) []byte { return p }, false, []vfs.FileDesc{table(2)}},
		{"a superblock", func(p []byte) []byte { p[newer*volume.PageSize+9] ^= 1; return p }, false, []vfs.FileDesc{table(2)}},
		{"both superblocks", func(p []byte) []byte {
			clear(p[:64])
			clear(p[volume.PageSize:][:64])
			return p
		}, true, []vfs.FileDesc{table(2)}},
		{"the newest catalog", func(p []byte) []byte { p[at+size/2] ^= 1; return p }, true, []vfs.FileDesc{table(1), table(2)}},
		{"both superblocks, and the newest catalog", func(p []byte) []byte {
			p[20] ^= 1
			p[older*volume.PageSize+20] ^= 1
			p[newer*volume.PageSize+20] ^= 1
			p[at+size/2] ^= 1
			return p
		}, true, []vfs.FileDesc{table(1), table(2)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			content := test.change(slices.Clone(whole))
			dev := devicetest.FromBytes(content)
			v, damage, err := volume.OpenDamaged(dev)
			must(t, err)
			if (damage != nil) != test.damage || damage != nil && !errors.Is(damage, base.ErrCorruption) {
				t.Errorf("damage: %v", damage)
			}
			wantFiles(t, v, test.files...)
			wantTable(t, v, 2, "two")
			if damage != nil {
				if _, err := v.Create(table(9), 0); !errors.Is(err, base.ErrReadOnly) {
					t.Error("a new file:", err)
				}
			}
			must(t, v.Close())
			if !bytes.Equal(content, dev.Bytes()) {
				t.Error("the device was changed")
			}
		})
	}
}

func TestOpenDamagedOfWhatIsNoVolume(t *testing.T) {
	for name, content := range map[string][]byte{
		"text":          bytes.Repeat([]byte("text "), 50_000),
		"another magic": append([]byte("SQLite format 3\x00"), make([]byte, 300_000)...),
	} {
		if _, _, err := volume.OpenDamaged(devicetest.FromBytes(content)); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One that was cut off still has what lies before.
	dev := devicetest.New()
	v := openVolume(t, dev, nil)
	addTable(t, v, 1, "one")
	addTable(t, v, 2, string(bytes.Repeat([]byte("2"), 900_000)))
	must(t, v.Close())
	content := dev.Bytes()
	v, damage, err := volume.OpenDamaged(devicetest.FromBytes(content[:len(content)-400_000]))
	must(t, err)
	if !errors.Is(damage, base.ErrCorruption) {
		t.Error(damage)
	}
	wantTable(t, v, 1, "one")
	must(t, v.Close())
}

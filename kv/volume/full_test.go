package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

// noKeep gives all free space at the end of the file back.
var noKeep = &volume.Options{KeepFreeBytes: -1}

// fillVolume makes files, logs of one page and tables of two in turn, until
// there is not a page left for either, and returns them.
func fillVolume(v *volume.Volume, first uint64) (made []vfs.FileDesc, err error) {
	for num := first; ; num += 2 {
		fd := log(num)
		f, err := v.Create(fd, 1)
		if err == nil {
			made = append(made, fd)
			if err = f.Close(); err != nil {
				return made, err
			}
			fd = table(num + 1)
			if err = writeTable(v, fd, 2*volume.PageSize-1); err == nil {
				made = append(made, fd)
				continue
			}
			if errors.Is(err, base.ErrQuota) {
				if removed := v.Remove(fd); removed != nil {
					return made, removed
				}
				continue // a log may still fit
			}
		}
		if !errors.Is(err, base.ErrQuota) || errors.Is(err, base.ErrReadOnly) {
			return made, err
		}
		return made, nil
	}
}

// writeTable makes a table of so many bytes.
func writeTable(v *volume.Volume, fd vfs.FileDesc, size int) error {
	f, err := v.Create(fd, 0)
	if err != nil {
		return err
	}
	if err = f.Append(bytes.Repeat([]byte{byte(fd.Num)}, size)); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// TestFilesOfAFullVolumeCanBeRemoved fills volumes of several sizes, ones that
// end inside a page too, until not a page is free, and makes room again.
func TestFilesOfAFullVolumeCanBeRemoved(t *testing.T) {
	for quota := int64(12 * volume.PageSize); quota < 24*volume.PageSize; quota += volume.PageSize - 5000 {
		for _, reopen := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, reopened %t", quota, reopen), func(t *testing.T) {
				dev := devicetest.New()
				dev.SetQuota(quota)
				v := openVolume(t, dev, noKeep)
				least := 0
				for round := range uint64(6) {
					made, err := fillVolume(v, 1+round*100)
					must(t, err, v.Check())
					if round == 0 {
						least = len(made)
					}
					if len(made) < 2 || len(made) < least {
						t.Fatalf("round %d: %d files, %d at first", round, len(made), least)
					}
					if reopen {
						must(t, v.Close())
						v = openVolume(t, dev, noKeep)
						must(t, v.Check())
					}
					// Every other one by one, the rest at once.
					var rest []vfs.FileDesc
					for i, fd := range made {
						if i%2 == 1 {
							rest = append(rest, fd)
							continue
						}
						must(t, v.Remove(fd), v.Check())
					}
					must(t, v.RemoveAll(rest), v.Check())
				}
				must(t, v.Close())
			})
		}
	}
}

// TestWhatWasJustRemovedMakesRoom: its pages wait for one more commit, which a
// write that finds no other space makes.
func TestWhatWasJustRemovedMakesRoom(t *testing.T) {
	for _, kind := range []vfs.FileType{vfs.TypeLog, vfs.TypeTable, vfs.TypeManifest} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			dev := devicetest.New()
			v := openVolume(t, dev, noKeep)
			must(t, writeTable(v, table(1), 8*volume.PageSize))
			s, err := v.Space()
			must(t, err)
			dev.SetQuota(s.FileBytes)
			made, err := fillVolume(v, 2)
			must(t, err)
			for round := range uint64(5) {
				gone := table(1)
				if round > 0 {
					gone = vfs.FileDesc{Type: kind, Num: 1000 + round - 1}
				}
				must(t, v.Remove(gone))
				f, err := v.Create(vfs.FileDesc{Type: kind, Num: 1000 + round}, 8*volume.PageSize)
				must(t, err)
				must(t, f.Append(make([]byte, 8*volume.PageSize)), f.Sync(), f.Close(), v.Check())
			}
			must(t, v.RemoveAll(made), v.Check())
		})
	}
}

// TestPowerLossInAFullVolume loses power at every device call while a full
// volume is emptied and filled again. What was removed stays so, what was
// there is, and it goes on.
func TestPowerLossInAFullVolume(t *testing.T) {
	const quota = 16*volume.PageSize + 1000
	full := devicetest.New()
	full.SetQuota(quota)
	v := openVolume(t, full, noKeep)
	made, err := fillVolume(v, 1)
	must(t, err, v.Close())
	for stop := 0; ; stop++ {
		dev := full.Clone()
		dev.StopAt(stop)
		removed := 0
		work := func() error {
			v, err := volume.Open(dev, noKeep)
			if err != nil {
				return err
			}
			for _, fd := range made {
				if err := v.Remove(fd); err != nil {
					return err
				}
				removed++
			}
			if _, err = fillVolume(v, 100); err != nil {
				return err
			}
			return v.Close()
		}
		err := work()
		if err == nil {
			if stop < 40 {
				t.Errorf("only %d device calls", stop)
			}
			return
		}
		if !errors.Is(err, base.ErrIO) {
			t.Fatalf("stop %d: %v", stop, err)
		}
		for seed := range uint64(4) {
			left := dev.Crash(rand.New(rand.NewPCG(seed, uint64(stop))))
			label := labelled{t, fmt.Sprintf("stop %d, seed %d", stop, seed)}
			v, err := volume.Open(left, noKeep)
			if err == nil {
				err = v.Check()
			}
			if err != nil {
				label.Fatalf("%v", err)
			}
			fds, err := v.List()
			must(t, err)
			for i, fd := range made {
				f, err := v.Open(fd)
				if found := err == nil; found != (i >= removed) && i != removed {
					label.Fatalf("file %d of %d, of which %d were removed: %v", i, len(made), removed, err)
				}
				if err == nil {
					checkContent(label, f, fd)
				}
			}
			if err := v.RemoveAll(fds); err != nil {
				label.Fatalf("remove what is left: %v", err)
			}
			again, err := fillVolume(v, 200)
			if err == nil {
				err = v.Check()
			}
			if err != nil || len(again) < len(made)-1 {
				label.Fatalf("%d files in place of %d: %v", len(again), len(made), err)
			}
		}
	}
}

// checkContent checks a file of fillVolume, and closes it.
func checkContent(t tb, f vfs.File, fd vfs.FileDesc) {
	t.Helper()
	size, err := f.Size()
	if err != nil {
		t.Fatalf("%v: %v", fd, err)
	}
	want := make([]byte, size)
	if fd.Type == vfs.TypeTable {
		want = bytes.Repeat([]byte{byte(fd.Num)}, 2*volume.PageSize-1)
	}
	got := make([]byte, size)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatalf("%v: %v", fd, err)
	}
	if err := f.Close(); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v has other bytes, %v", fd, err)
	}
}

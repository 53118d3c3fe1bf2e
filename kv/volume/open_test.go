package volume_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func table(num uint64) vfs.FileDesc { return vfs.FileDesc{Type: vfs.TypeTable, Num: num} }
func log(num uint64) vfs.FileDesc   { return vfs.FileDesc{Type: vfs.TypeLog, Num: num} }

// addTable makes a table that is synced and closed.
func addTable(t *testing.T, v *volume.Volume, num uint64, content string) {
	t.Helper()
	f, err := v.Create(table(num), int64(len(content)))
	must(t, err)
	must(t, f.Append([]byte(content)), f.Sync(), f.Close())
}

func wantFiles(t *testing.T, v *volume.Volume, want ...vfs.FileDesc) {
	t.Helper()
	must(t, v.Check())
	fds, err := v.List()
	must(t, err)
	if !slices.Equal(fds, want) {
		t.Fatalf("files %v, want %v", fds, want)
	}
}

func wantTable(t *testing.T, v *volume.Volume, num uint64, want string) {
	t.Helper()
	f, err := v.Open(table(num))
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	got := make([]byte, size)
	_, err = f.ReadAt(got, 0)
	must(t, err)
	if string(got) != want {
		t.Fatalf("table %d has %d bytes, want %d, or they differ", num, len(got), len(want))
	}
}

// wantRefused opens the volume on these bytes and expects an error, and no
// change.
func wantRefused(t *testing.T, content []byte, want error) {
	t.Helper()
	dev := devicetest.FromBytes(content)
	_, err := volume.Open(dev, nil)
	if !errors.Is(err, want) {
		t.Fatalf("Open: %v, want %v", err, want)
	}
	if calls := dev.Calls(); calls.Writes+calls.Truncates > 0 || !bytes.Equal(dev.Bytes(), content) {
		t.Fatalf("Open refused the device and changed it: %+v", calls)
	}
}

// twoTables returns a volume of which generations 3 to 8 are: opened, table 1
// made, written, table 2 made, written, table 1 removed.
func twoTables(t *testing.T) *devicetest.Device {
	t.Helper()
	dev := devicetest.New()
	v := openVolume(t, dev, nil)
	addTable(t, v, 1, "one")
	addTable(t, v, 2, "two")
	must(t, v.Remove(table(1)), v.Close())
	return dev
}

func generation(content []byte, slot int) uint64 {
	return binary.LittleEndian.Uint64(content[slot*volume.PageSize+16:])
}

// slots returns the pages of the newer and of the older superblock.
func slots(content []byte) (newer, older int) {
	if generation(content, 0) > generation(content, 1) {
		return 0, 1
	}
	return 1, 0
}

func TestEachOpenRaisesTheEpoch(t *testing.T) {
	dev := volume.NewMemDevice()
	for want := uint64(1); want < 5; want++ {
		v := openVolume(t, dev, nil)
		if got := v.Epoch(); got != want {
			t.Errorf("epoch %d, want %d", got, want)
		}
		must(t, v.Close())
	}
}

func TestAForeignFileIsLeftAlone(t *testing.T) {
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(i*7 + i/256)
	}
	whole := twoTables(t).Bytes()
	first := whole[:64]
	for name, content := range map[string][]byte{
		"text":                          []byte("Dear diary,"),
		"one byte":                      {7},
		"noise":                         noise,
		"zeros, too many for a format":  make([]byte, volume.PageSize+1),
		"the magic and something else":  append(slices.Clone(first[:8]), "and then?"...),
		"text behind half a superblock": append(append(slices.Clone(first[:40]), make([]byte, 100)...), 'x'),
		"a volume with its head cut":    whole[volume.PageSize/2:],
		"a volume with both superblocks zeroed": append(make([]byte, 2*volume.PageSize),
			whole[2*volume.PageSize:]...),
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, content, base.ErrCorruption) })
	}
}

func TestAnInterruptedFormatIsBegunAgain(t *testing.T) {
	dev := devicetest.New()
	dev.StopAt(4) // Size, ReadAt, ReadAt, WriteAt, then Sync
	if _, err := volume.Open(dev, nil); !errors.Is(err, devicetest.ErrPower) {
		t.Fatalf("Open: %v", err)
	}
	first := dev.Bytes()
	if len(first) != 64 {
		t.Fatalf("a format begins with %d bytes", len(first))
	}
	for n := range len(first) + 1 {
		for _, content := range [][]byte{
			first[:n],
			append(make([]byte, n), first[n:]...),
			append(slices.Clone(first[:n]), make([]byte, 4096-n)...),
		} {
			v := openVolume(t, devicetest.FromBytes(content), nil)
			wantFiles(t, v)
			addTable(t, v, 1, "one")
		}
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	for slot := range 2 {
		content := twoTables(t).Bytes()
		sb := content[slot*volume.PageSize:][:64]
		binary.LittleEndian.PutUint32(sb[8:], volume.FormatVersion+1)
		binary.LittleEndian.PutUint32(sb[60:], crc32.Checksum(sb[:60], crc32.MakeTable(crc32.Castagnoli)))
		wantRefused(t, content, base.ErrNotSupported)
	}
}

// damages are what can become of 64 bytes.
func damages(p []byte) map[string][]byte {
	m := map[string][]byte{"zeros": make([]byte, len(p)), "ones": bytes.Repeat([]byte{0xff}, len(p))}
	for i := range p {
		d := slices.Clone(p)
		d[i] ^= 0x10
		m[fmt.Sprint("byte ", i)] = d
	}
	return m
}

// TestOneDamagedSuperblockLosesNothing damages either superblock in each way
// after each number of commits: every acknowledged change is still there, and
// stays there when power is lost at any call of the Open that repairs it.
func TestOneDamagedSuperblockLosesNothing(t *testing.T) {
	dev := devicetest.New()
	v := openVolume(t, dev, nil)
	var want []vfs.FileDesc
	for num := uint64(1); num < 6; num++ {
		switch num {
		case 3:
			must(t, v.Remove(table(1)))
			want = want[1:]
		case 5:
			must(t, v.Close())
			v = openVolume(t, dev, nil)
		default:
			addTable(t, v, num, fmt.Sprint("table ", num))
			want = append(want, table(num))
		}
		for slot := range 2 {
			content := dev.Bytes()
			at := slot * volume.PageSize
			for name, damaged := range damages(content[at:][:64]) {
				copy(content[at:], damaged)
				for stop := 0; ; stop++ {
					d := devicetest.FromBytes(content)
					d.StopAt(stop)
					_, err := volume.Open(d, nil)
					left := d.Crash(rand.New(rand.NewPCG(uint64(stop), num)))
					w, err2 := volume.Open(left, nil)
					if err2 != nil {
						t.Fatalf("commit %d, superblock %d, %s, power lost at %d: %v", num, slot, name, stop, err2)
					}
					wantFiles(t, w, want...)
					for _, fd := range want {
						wantTable(t, w, fd.Num, fmt.Sprint("table ", fd.Num))
					}
					if err == nil || stop > 0 && name != "zeros" && name != "byte 33" {
						break // every stop for two of them is enough
					}
				}
			}
		}
	}
}

func TestBothSuperblocksDamaged(t *testing.T) {
	content := twoTables(t).Bytes()
	content[20] ^= 1
	content[volume.PageSize+60] ^= 1
	wantRefused(t, content, base.ErrCorruption)
}

// catalogAt returns where the catalog of a superblock is, and its size.
func catalogAt(content []byte, slot int) (at, size int) {
	sb := content[slot*volume.PageSize:]
	return int(binary.LittleEndian.Uint64(sb[32:])) * volume.PageSize, int(binary.LittleEndian.Uint32(sb[40:]))
}

func TestADamagedCatalogIsNotReplacedByAnOlderOne(t *testing.T) {
	whole := twoTables(t).Bytes()
	newer, _ := slots(whole)
	at, size := catalogAt(whole, newer)
	for i := range size {
		content := slices.Clone(whole)
		content[at+i] ^= 4
		wantRefused(t, content, base.ErrCorruption)
	}
}

func TestASuperblockAndItsCatalogDamaged(t *testing.T) {
	content := twoTables(t).Bytes()
	newer, _ := slots(content)
	at, size := catalogAt(content, newer)
	content[newer*volume.PageSize] ^= 1
	content[at+size-1] ^= 1
	wantRefused(t, content, base.ErrCorruption)
}

func TestAFileCutOffIsCorruption(t *testing.T) {
	dev := devicetest.New()
	v := openVolume(t, dev, nil)
	addTable(t, v, 1, string(bytes.Repeat([]byte("t"), 200_000)))
	_, err := v.Create(log(2), 100_000)
	must(t, err)
	must(t, v.Close())
	whole := dev.Bytes()
	refused := 0
	for size := len(whole); size > volume.PageSize+64; size -= 10_000 {
		v, err := volume.Open(devicetest.FromBytes(whole[:size]), nil)
		if err == nil {
			// What was cut off was free.
			wantFiles(t, v, table(1), log(2))
			wantTable(t, v, 1, string(bytes.Repeat([]byte("t"), 200_000)))
			continue
		}
		refused++
		wantRefused(t, whole[:size], base.ErrCorruption)
	}
	if refused < 10 {
		t.Errorf("only %d short files refused", refused)
	}
}

// TestAnAttemptOfAnEarlierProgramIsNotTaken: a commit that power loss cut off
// leaves a whole catalog of generation g. The next program commits another
// generation g, which counts, even when its superblock is damaged later.
func TestAnAttemptOfAnEarlierProgramIsNotTaken(t *testing.T) {
	attempts := 0
	for stop := range 20 {
		dev := devicetest.New()
		v := openVolume(t, dev, nil)
		addTable(t, v, 1, "one")
		before := dev.Bytes()
		dev.StopAt(stop)
		if v.Remove(table(1)) == nil {
			break
		}
		// All that was written is there, but for the superblock.
		content := dev.Bytes()
		copy(content[:64], before[:64])
		copy(content[volume.PageSize:][:64], before[volume.PageSize:])
		if !bytes.Equal(content, before) {
			attempts++
		}
		dev = devicetest.FromBytes(content)
		v = openVolume(t, dev, nil)
		wantFiles(t, v, table(1))
		must(t, v.Close())
		content = dev.Bytes()
		newer, _ := slots(content)
		content[newer*volume.PageSize+16] ^= 1
		wantFiles(t, openVolume(t, devicetest.FromBytes(content), nil), table(1))
	}
	if attempts == 0 {
		t.Error("no attempt left anything")
	}
}

// TestDamageAfterAnInterruptedRepair: a superblock is damaged, the Open that
// repairs it loses power, and the other one is damaged before and after the
// next commits. Each is one fault at a time, so nothing may be lost.
func TestDamageAfterAnInterruptedRepair(t *testing.T) {
	whole := twoTables(t).Bytes()
	newer, older := slots(whole)
	content := slices.Clone(whole)
	content[older*volume.PageSize+30] ^= 1
	repaired := 0
	for stop := 0; ; stop++ {
		dev := devicetest.FromBytes(content)
		dev.StopAt(stop)
		_, err := volume.Open(dev, nil)
		left := dev.Crash(nil).Bytes()
		// The older one is whole again, and the commit has not come yet.
		if generation(left, newer) == generation(left, older)+1 && !bytes.Equal(left[older*volume.PageSize:][:64], content[older*volume.PageSize:][:64]) {
			repaired++
			left[newer*volume.PageSize+30] ^= 1
			dev = devicetest.FromBytes(left)
			v := openVolume(t, dev, nil)
			wantFiles(t, v, table(2))
			must(t, v.Close())
			// That Open's own commit, damaged.
			left = dev.Bytes()
			last, _ := slots(left)
			left[last*volume.PageSize+30] ^= 1
			wantFiles(t, openVolume(t, devicetest.FromBytes(left), nil), table(2))
			// A commit of a later session, damaged.
			v = openVolume(t, dev, nil)
			addTable(t, v, 3, "three")
			must(t, v.Close())
			left = dev.Bytes()
			last, _ = slots(left)
			left[last*volume.PageSize+30] ^= 1
			v = openVolume(t, devicetest.FromBytes(left), nil)
			wantFiles(t, v, table(2), table(3))
			wantTable(t, v, 3, "three")
		}
		if err == nil {
			break
		}
	}
	if repaired == 0 {
		t.Error("no Open was interrupted after the repair")
	}
}

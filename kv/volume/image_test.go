package volume_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

func manifest(num uint64) vfs.FileDesc { return vfs.FileDesc{Type: vfs.TypeManifest, Num: num} }

// imageOf returns the image of files with these contents.
func imageOf(t tb, contents map[vfs.FileDesc][]byte) []byte {
	t.Helper()
	var files []volume.ImageFile
	for fd, p := range contents {
		files = append(files, volume.ImageFile{Desc: fd, Size: int64(len(p)), Content: bytes.NewReader(p)})
	}
	m, err := volume.NewImage(files)
	if err != nil {
		t.Fatalf("NewImage: %v", err)
	}
	p, err := io.ReadAll(m)
	if err != nil || int64(len(p)) != m.Size() {
		t.Fatalf("an image of %d bytes, not %d: %v", len(p), m.Size(), err)
	}
	return p
}

// smallImage has a file of each type, in five pages and a seal.
func smallImage(t tb) ([]byte, map[vfs.FileDesc][]byte) {
	contents := map[vfs.FileDesc][]byte{manifest(1): []byte("a manifest"), log(2): []byte("a log"), table(3): nil}
	return imageOf(t, contents), contents
}

// importAll writes p to dev, in pieces as pick says, and finishes.
func importAll(dev volume.Device, p []byte, pick func(int) int) error {
	m, err := volume.NewImporter(dev)
	if err != nil {
		return err
	}
	for len(p) > 0 {
		n := 1 + pick(len(p))
		c, err := m.Write(p[:n])
		if err != nil {
			return err
		}
		if c != n {
			return io.ErrShortWrite
		}
		p = p[n:]
	}
	return m.Finish()
}

// whole is for importAll: one piece.
func whole(n int) int { return n - 1 }

// wantContents opens the volume on dev and compares all of it.
func wantContents(t tb, dev volume.Device, contents map[vfs.FileDesc][]byte) {
	t.Helper()
	v, err := volume.Open(dev, nil)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if err := v.Check(); err != nil {
		t.Fatalf("Check: %v", err)
	}
	fds, err := v.List()
	if err != nil || len(fds) != len(contents) {
		t.Fatalf("files %v, %v, want %d", fds, err, len(contents))
	}
	for _, fd := range fds {
		f, err := v.Open(fd)
		if err != nil {
			t.Fatalf("Open of %v: %v", fd, err)
		}
		size, _ := f.Size()
		got := make([]byte, size)
		if _, err := f.ReadAt(got, 0); err != nil && err != io.EOF {
			t.Fatalf("ReadAt of %v: %v", fd, err)
		}
		want := contents[fd]
		if fd.Type == vfs.TypeLog {
			got, want = trimZeros(got), trimZeros(want)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%v has %d bytes, want %d, or they differ", fd, len(got), len(want))
		}
	}
}

func TestImageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
		contents := map[vfs.FileDesc][]byte{}
		for range rapid.IntRange(0, 6).Draw(t, "files") {
			fd := vfs.FileDesc{Type: vfs.FileType(1 + pick(3)), Num: uint64(1 + pick(300))}
			size := rapid.SampledFrom([]int{0, 1, volume.PageSize - 1, volume.PageSize, volume.PageSize + 1, 1 << 20}).Draw(t, "size")
			contents[fd] = bytes.Repeat([]byte{byte(1 + pick(255))}, size)
		}
		image := imageOf(t, contents)

		// It is a volume as it is.
		wantContents(t, devicetest.FromBytes(image), contents)

		dev := devicetest.New()
		if err := importAll(dev, image, func(n int) int { return min(n-1, 1000+pick(1<<20)) }); err != nil {
			t.Fatalf("import: %v", err)
		}
		imported := dev.Clone()
		wantContents(t, dev, contents)

		// An image of what was imported is the same again.
		v, err := volume.Open(imported, nil)
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		var files []volume.ImageFile
		for fd := range contents {
			f, err := v.Open(fd)
			if err != nil {
				t.Fatalf("Open of %v: %v", fd, err)
			}
			size, _ := f.Size()
			files = append(files, volume.ImageFile{Desc: fd, Size: size, Content: f})
		}
		m, err := volume.NewImage(files)
		if err != nil {
			t.Fatalf("NewImage: %v", err)
		}
		var again bytes.Buffer
		if _, err := io.CopyBuffer(struct{ io.Writer }{&again}, struct{ io.Reader }{m}, make([]byte, 1000+pick(1<<20))); err != nil {
			t.Fatalf("the image of the import: %v", err)
		}
		if !bytes.Equal(again.Bytes(), image) {
			t.Fatalf("the image of the import is another")
		}
	})
}

// nowhere is a device that takes everything and keeps nothing.
type nowhere struct{ volume.MemDevice }

func (*nowhere) WriteAt([]byte, int64) error { return nil }

func TestAnImageIsAReader(t *testing.T) {
	image := imageOf(t, map[vfs.FileDesc][]byte{table(1): []byte("one")})
	m, err := volume.NewImage([]volume.ImageFile{{Desc: table(1), Size: 3, Content: bytes.NewReader([]byte("one"))}})
	must(t, err)
	must(t, iotest.TestReader(m, image))
}

// TestEveryAlteredOrMissingByteIsFound alters each byte of an image, padding
// and seal too, and cuts the image off before it.
func TestEveryAlteredOrMissingByteIsFound(t *testing.T) {
	image := imageOf(t, map[vfs.FileDesc][]byte{table(1): []byte("a table")})
	m, err := volume.NewImporter(&nowhere{})
	must(t, err)
	for i, b := range image {
		if err := volume.FinishCopy(m); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
		image[i] ^= 1 << (i % 8)
		if err := volume.FinishCopy(m, image[i:]...); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("byte %d: %v", i, err)
		}
		image[i] = b
		_, err := m.Write(image[i : i+1])
		must(t, err)
	}
	if err := volume.FinishCopy(m, 0); !errors.Is(err, base.ErrCorruption) {
		t.Errorf("a byte too many: %v", err)
	}
	must(t, m.Finish())
}

func TestWhatACutLeaves(t *testing.T) {
	image, contents := smallImage(t)
	// What a cut leaves is not a volume, and does not stand in the way of one.
	for n := 0; n < len(image); n += 9_999 {
		dev := devicetest.New()
		if err := importAll(dev, image[:n], whole); err == nil {
			t.Fatal("a cut image")
		}
		wantContents(t, dev.Clone(), nil)
		must(t, importAll(dev, image, whole))
		wantContents(t, dev, contents)
	}
}

// TestAnAlteredPieceIsNamed in an image of several.
func TestAnAlteredPieceIsNamed(t *testing.T) {
	image := imageOf(t, map[vfs.FileDesc][]byte{table(1): bytes.Repeat([]byte("piece"), 1<<20)})
	image[3<<20+12345] ^= 1
	err := importAll(&nowhere{}, image, whole)
	if !errors.Is(err, base.ErrCorruption) || !bytes.Contains([]byte(err.Error()), []byte("offset 3145728")) {
		t.Errorf("got %v", err)
	}
}

func resealSuperblocks(image []byte, change func(sb []byte)) []byte {
	image = bytes.Clone(image)
	for slot := range 2 {
		sb := image[slot*volume.PageSize:][:64]
		change(sb)
		binary.LittleEndian.PutUint32(sb[60:], crc32.Checksum(sb[:60], crc32.MakeTable(crc32.Castagnoli)))
	}
	return image
}

func TestWhatIsNoImage(t *testing.T) {
	image, _ := smallImage(t)
	for name, test := range map[string]struct {
		p    []byte
		want error
	}{
		"nothing":  {nil, base.ErrCorruption},
		"text":     {bytes.Repeat([]byte("text"), 100), base.ErrCorruption},
		"a volume": {twoTables(t).Bytes(), base.ErrCorruption},
		"a newer image": {resealSuperblocks(image, func(sb []byte) {
			binary.LittleEndian.PutUint32(sb[56:], volume.ImageVersion+1)
		}), base.ErrNotSupported},
		"a newer volume": {resealSuperblocks(image, func(sb []byte) {
			binary.LittleEndian.PutUint32(sb[8:], volume.FormatVersion+1)
		}), base.ErrNotSupported},
		"version 0": {resealSuperblocks(image, func(sb []byte) {
			binary.LittleEndian.PutUint32(sb[56:], 0)
		}), base.ErrCorruption},
		"another size": {resealSuperblocks(image, func(sb []byte) { sb[48]++ }), base.ErrCorruption},
		"a huge size": {resealSuperblocks(image, func(sb []byte) {
			binary.LittleEndian.PutUint64(sb[48:], 1<<63)
		}), base.ErrCorruption},
		"another generation": {resealSuperblocks(image, func(sb []byte) { sb[16] += 2 }), base.ErrCorruption},
		"another catalog":    {resealSuperblocks(image, func(sb []byte) { sb[44]++ }), base.ErrCorruption},
		"a longer catalog":   {resealSuperblocks(image, func(sb []byte) { sb[40]++ }), base.ErrCorruption},
	} {
		dev := devicetest.New()
		if err := importAll(dev, test.p, whole); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		wantContents(t, dev, nil)
	}
}

func TestAnImportNeedsAnEmptyDevice(t *testing.T) {
	image, contents := smallImage(t)
	for name, content := range map[string][]byte{
		"a store":        twoTables(t).Bytes(),
		"text":           []byte("Dear diary,"),
		"a lost store":   append(make([]byte, 2*volume.PageSize), twoTables(t).Bytes()[2*volume.PageSize:]...),
		"an older image": image,
	} {
		dev := devicetest.FromBytes(content)
		if _, err := volume.NewImporter(dev); !errors.Is(err, base.ErrInvalidArgument) || !bytes.Equal(dev.Bytes(), content) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dev := devicetest.New()
	m, err := volume.NewImporter(dev)
	must(t, err)
	_, err = m.Write(image[:200_000])
	must(t, err, m.Abort(), m.Abort())
	if n, err := dev.Size(); n != 0 || err != nil {
		t.Errorf("after Abort there are %d bytes, %v", n, err)
	}
	if _, err := m.Write(image[200_000:]); !errors.Is(err, base.ErrClosed) {
		t.Errorf("Write after Abort: %v", err)
	}
	if err := m.Finish(); !errors.Is(err, base.ErrClosed) {
		t.Errorf("Finish after Abort: %v", err)
	}
	// Finished is finished.
	m, err = volume.NewImporter(dev)
	must(t, err)
	_, err = m.Write(image)
	must(t, err, m.Finish(), m.Finish(), m.Abort())
	wantContents(t, dev, contents)
}

// TestPowerLossInAnImport leaves an empty volume, or all of it.
func TestPowerLossInAnImport(t *testing.T) {
	contents := map[vfs.FileDesc][]byte{manifest(1): []byte("a manifest"), table(2): bytes.Repeat([]byte("t"), 700_000)}
	image := imageOf(t, contents)
	for _, before := range [][]byte{nil, image[:300_000]} {
		empty, complete := 0, 0
		for stop := 0; ; stop++ {
			dev := devicetest.New()
			if err := importAll(dev, before, whole); err == nil {
				t.Fatal("a cut image")
			}
			dev.StopAt(stop)
			err := importAll(dev, image, func(n int) int { return min(n-1, 99_999) })
			for seed := range uint64(8) {
				rng := rand.New(rand.NewPCG(seed, uint64(stop)))
				left := dev.Crash(rng)
				if seed == 0 {
					left = dev.Clone()
				}
				// Opening it loses power, too.
				left = openAndCrash(left, nil, rng)
				v, openErr := volume.Open(left, nil)
				if openErr != nil {
					t.Fatalf("stop %d, seed %d: %v", stop, seed, openErr)
				}
				fds, listErr := v.List()
				must(t, listErr, v.Close())
				if len(fds) == 0 && err != nil {
					empty++
					must(t, importAllAgain(left, image))
				} else {
					complete++
				}
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
}

// importAllAgain imports to a device that has an empty volume, which only the
// caller knows.
func importAllAgain(dev *devicetest.Device, image []byte) error {
	if err := dev.Truncate(0); err != nil {
		return err
	}
	return importAll(dev, image, whole)
}

// TestFaultsInAnImport fails each device call in turn.
func TestFaultsInAnImport(t *testing.T) {
	image, contents := smallImage(t)
	for _, kind := range []error{base.ErrIO, base.ErrQuota, base.ErrFenced} {
		injected := base.Wrap(kind, "injected", nil)
		for i := 0; ; i++ {
			dev := devicetest.New()
			dev.FailAt(i, injected)
			err := importAll(dev, image, whole)
			if !dev.Failed() {
				must(t, err)
				break
			}
			if !errors.Is(err, injected) || !errors.Is(err, kind) {
				t.Fatalf("fault %d: %v", i, err)
			}
			must(t, importAllAgain(dev, image))
			wantContents(t, dev, contents)
		}
	}
	dev := devicetest.New()
	dev.SetQuota(200_000)
	m, err := volume.NewImporter(dev)
	must(t, err)
	if _, err = m.Write(image); err == nil {
		err = m.Finish()
	}
	if !errors.Is(err, base.ErrQuota) {
		t.Errorf("over the quota: %v", err)
	}
	must(t, m.Abort())
	wantContents(t, dev, nil)
}

func TestFilesThatMakeNoImage(t *testing.T) {
	file := func(fd vfs.FileDesc, size int64) volume.ImageFile {
		return volume.ImageFile{Desc: fd, Size: size, Content: bytes.NewReader([]byte("content"))}
	}
	for name, files := range map[string][]volume.ImageFile{
		"no name":         {file(vfs.FileDesc{}, 1)},
		"a name twice":    {file(table(1), 1), file(log(1), 1), file(table(1), 1)},
		"a negative size": {file(table(1), -1)},
	} {
		if _, err := volume.NewImage(files); !errors.Is(err, base.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := volume.NewImage([]volume.ImageFile{file(table(1), 1<<44)}); !errors.Is(err, base.ErrNotSupported) {
		t.Errorf("a file of 16 TiB: %v", err)
	}
	m, err := volume.NewImage([]volume.ImageFile{file(table(1), 8)})
	must(t, err)
	if _, err := io.Copy(io.Discard, m); !errors.Is(err, base.ErrIO) {
		t.Errorf("a file that is shorter: %v", err)
	}
	failing := errors.New("failing")
	m, err = volume.NewImage([]volume.ImageFile{{Desc: table(1), Size: 10, Content: failingReader{failing}}})
	must(t, err)
	for range 2 {
		if _, err := io.Copy(io.Discard, m); !errors.Is(err, failing) {
			t.Errorf("a file that fails: %v", err)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }

// TestAnImageOfManyFiles has a catalog of several pages.
func TestAnImageOfManyFiles(t *testing.T) {
	contents := map[vfs.FileDesc][]byte{}
	for i := range uint64(6000) {
		contents[table(1<<61+i)] = nil
	}
	contents[table(1)] = []byte("one")
	dev := devicetest.New()
	must(t, importAll(dev, imageOf(t, contents), whole))
	wantContents(t, dev, contents)
}

// FuzzImport imports anything in pieces: Finish succeeds only with what opens.
func FuzzImport(f *testing.F) {
	image, _ := smallImage(f)
	// The bytes that say something; zeros are put between them again.
	heads := [][]byte{image[:64], image[volume.PageSize:][:64], image[2*volume.PageSize:][:64], image[len(image)-32:]}
	f.Add(heads[0], heads[1], heads[2], heads[3], uint32(len(image)-32), uint16(70))
	f.Add(heads[0], heads[0], heads[2], []byte{}, uint32(len(image)), uint16(7))
	f.Fuzz(func(t *testing.T, sb0, sb1, catalog, seal []byte, end uint32, piece uint16) {
		p := make([]byte, min(end, 16*volume.PageSize))
		for i, part := range [][]byte{sb0, sb1, catalog} {
			copy(p[min(i*volume.PageSize, len(p)):], part)
		}
		p = append(p, seal...)
		dev := volume.NewMemDevice()
		err := importAll(dev, p, func(n int) int { return min(n-1, int(piece)*16) })
		if err != nil && !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrNotSupported) {
			t.Fatalf("unexpected kind of error: %v", err)
		}
		v, openErr := volume.Open(dev, nil)
		if openErr != nil {
			t.Fatalf("after %v, Open: %v", err, openErr)
		}
		if fds, _ := v.List(); err != nil && len(fds) > 0 {
			t.Fatalf("an import that failed left %v", fds)
		}
		if err := v.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkImageAndImport(b *testing.B) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	buf := make([]byte, 64<<10)
	for b.Loop() {
		m, err := volume.NewImage([]volume.ImageFile{{Desc: table(1), Size: int64(len(content)), Content: bytes.NewReader(content)}})
		if err != nil {
			b.Fatal(err)
		}
		in, err := volume.NewImporter(&nowhere{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{in}, struct{ io.Reader }{m}, slices.Clone(buf)); err != nil {
			b.Fatal(err)
		}
		if err := in.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}

package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"

	"tempestkv/kv/base"
)

// unfinishedMagic begins page 0 while an import is under way: the file is no
// volume, and may be begun again.
const unfinishedMagic = "TKVbegun"

// unfinished is what stands at the start of page 0 during an import.
func unfinished() (p [superblockSize]byte) {
	copy(p[:], unfinishedMagic)
	binary.LittleEndian.PutUint32(p[60:], checksum(p[:60]))
	return p
}

// vacant reports whether the device, of size bytes and without a whole
// superblock, has nothing to lose: it is empty, or a power loss left it when it
// was formatted or while an import was under way.
func vacant(dev Device, size int64) (bool, error) {
	begun := unfinished()
	p := make([]byte, min(size, PageSize))
	if n, err := dev.ReadAt(p, 0); err != nil {
		return false, hostError("read the volume", err)
	} else if n < len(p) {
		return false, nil
	}
	if bytes.HasPrefix(p, begun[:]) {
		return true, nil
	}
	first := superblock{gen: firstGeneration}
	want := first.encode()
	for i, b := range p {
		if b != 0 && (i >= superblockSize || b != want[i] && b != begun[i]) {
			return false, nil
		}
	}
	return size <= PageSize, nil
}

// empty makes the device empty, durably. What was written before is made durable
// first: a power loss could leave some of it, and take what says that it is
// nothing.
func empty(dev Device) error {
	if err := dev.Sync(); err != nil {
		return hostError("empty the device", err)
	}
	if err := dev.Truncate(0); err != nil {
		return hostError("empty the device", err)
	}
	if err := dev.Sync(); err != nil {
		return hostError("empty the device", err)
	}
	return nil
}

// begin makes dev, which must have nothing to lose, say that an import is under
// way.
func begin(dev Device) error {
	size, err := dev.Size()
	if err != nil {
		return hostError("size of the volume", err)
	}
	ok, err := vacant(dev, size)
	if err != nil {
		return err
	}
	// Between the last two syncs of an import it is a volume already.
	p := make([]byte, superblockSize)
	n, err := dev.ReadAt(p, PageSize)
	if err != nil {
		return hostError("read the superblock", err)
	}
	if _, err := decodeSuperblock(p[:n], 1); !ok || !errors.Is(err, base.ErrCorruption) {
		return base.Wrap(base.ErrInvalidArgument, "an import to a device that is not empty", nil)
	}
	if size > 0 {
		if err := empty(dev); err != nil {
			return err
		}
	}
	begun := unfinished()
	if err := dev.WriteAt(begun[:], 0); err != nil {
		return hostError("begin the import", err)
	}
	if err := dev.Sync(); err != nil {
		return hostError("begin the import", err)
	}
	return nil
}

// Importer makes a volume of an image that comes as a stream, in pieces of any
// size. What it writes is no volume before Finish: power lost, or a stream cut
// off, leaves a device that Open takes for an empty one. It keeps a buffer of
// 256 KiB, the catalog, and four bytes a MiB. It belongs to one goroutine.
type Importer struct {
	dev Device
	err error // of an earlier call
	off int64 // in the stream

	superblocks [superblockPages][superblockSize]byte
	newer       superblock
	catalog     []byte
	end         int64 // where the seal starts; 0 until it is known
	sums        pieceSums
	seal        []byte
	buf         []byte // what ends at off and is not written yet
	finished    bool
}

// NewImporter prepares an import to dev, which the caller keeps for it alone
// and which must be empty: base.ErrInvalidArgument where it is not, unless all
// it has is from an import that was not finished.
func NewImporter(dev Device) (*Importer, error) {
	if err := begin(dev); err != nil {
		return nil, err
	}
	return &Importer{dev: dev, buf: make([]byte, 0, writeBytes)}, nil
}

// Size returns the size of the whole image in bytes, 0 as long as its first 64
// have not come.
func (m *Importer) Size() int64 { return int64(m.newer.imageSize) }

// Write takes the next bytes of the image; it implements io.Writer.
// base.ErrCorruption where they are not those of an image or were altered,
// base.ErrNotSupported where a newer version wrote it, base.ErrQuota where
// there is no space for it. After an error every call returns it; Abort
// remains.
func (m *Importer) Write(p []byte) (int, error) {
	n := 0
	for m.err == nil && n < len(p) {
		c, err := m.take(p[n:])
		n += c
		m.off += int64(c)
		m.err = err
	}
	return n, m.err
}

// bad returns the error of an image that is wrong at off.
func (m *Importer) bad(off int64, what string) error { return base.Corruption("image", off, what) }

// take takes some bytes of p, all of one part of the image.
func (m *Importer) take(p []byte) (int, error) {
	const header = superblockPages * PageSize
	if m.off < header {
		return m.takeHeader(p[:min(int64(len(p)), header-m.off, PageSize-m.off%PageSize)])
	}
	if catalogEnd := header + int64(m.newer.catalogSize); m.off < catalogEnd {
		p = p[:min(int64(len(p)), catalogEnd-m.off)]
		m.catalog = append(m.catalog, p...)
		if err := m.keep(p); err != nil {
			return 0, err
		}
		if m.off+int64(len(p)) == catalogEnd {
			return len(p), m.checkCatalog()
		}
		return len(p), nil
	}
	if m.off < m.end {
		p = p[:min(int64(len(p)), m.end-m.off)]
		return len(p), m.keep(p)
	}
	if m.off >= m.Size() {
		return 0, m.bad(m.off, "bytes behind the image's end")
	}
	return m.takeSeal(p[:min(int64(len(p)), m.Size()-m.off)])
}

// takeHeader takes bytes of a superblock's page. They are written last.
func (m *Importer) takeHeader(p []byte) (int, error) {
	page, at := m.off/PageSize, m.off%PageSize
	if at < superblockSize {
		n := copy(m.superblocks[page][at:], p)
		m.sums.add(p[:n])
		if at+int64(n) == superblockSize {
			return n, m.checkSuperblock(int(page))
		}
		return n, nil
	}
	if !bytes.Equal(p, zeros[:len(p)]) {
		return 0, m.bad(m.off, "bytes behind a superblock are not zero")
	}
	m.sums.add(p)
	return len(p), nil
}

func (m *Importer) checkSuperblock(page int) error {
	sb, err := decodeSuperblock(m.superblocks[page][:], page)
	if err != nil {
		return err
	}
	if page == 1 {
		older := m.newer
		if older.gen--; sb != older {
			return m.bad(PageSize, "the superblocks do not belong together")
		}
		return nil
	}
	switch {
	case sb.imageSize == 0:
		return m.bad(48, "a volume, but not an image")
	case sb.imageVersion > ImageVersion:
		return base.Wrap(base.ErrNotSupported, "image format "+strconv.FormatUint(uint64(sb.imageVersion), 10)+
			" is newer than "+strconv.Itoa(ImageVersion)+", the newest this version reads", nil)
	case sb.imageVersion != ImageVersion:
		return m.bad(56, "no such image version")
	case sb.gen != imageGeneration || sb.epoch != imageEpoch || sb.catalogPage != superblockPages || sb.imageSize > maxPages*PageSize:
		return m.bad(16, "not the superblock of an image")
	}
	m.newer = sb
	return nil
}

// checkCatalog checks that the catalog, which has come whole, is that of an
// image, and so learns where the seal starts.
func (m *Importer) checkCatalog() error {
	_, entries, err := decodeCatalog(m.catalog)
	if err != nil {
		return err
	}
	want, sum, end, ok := layOut(entries)
	if !ok || sum != m.newer.catalogChecksum || !bytes.Equal(want, m.catalog) {
		return m.bad(superblockPages*PageSize, "not the catalog of an image")
	}
	if end+sealSize(end) != m.Size() {
		return m.bad(48, "the size does not fit the files")
	}
	m.end, m.catalog = end, nil
	return nil
}

// keep writes p, by way of the buffer.
func (m *Importer) keep(p []byte) error {
	m.sums.add(p)
	off := m.off
	for len(p) > 0 {
		n := min(len(p), cap(m.buf)-len(m.buf))
		m.buf = append(m.buf, p[:n]...)
		p, off = p[n:], off+int64(n)
		if len(m.buf) == cap(m.buf) {
			if err := m.flush(off); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes the buffer, which ends at end.
func (m *Importer) flush(end int64) error {
	if err := m.dev.WriteAt(m.buf, end-int64(len(m.buf))); err != nil {
		return hostError("write the volume", err)
	}
	m.buf = m.buf[:0]
	return nil
}

// takeSeal compares p with the seal as it must be.
func (m *Importer) takeSeal(p []byte) (int, error) {
	if m.seal == nil {
		m.seal = m.sums.seal(m.Size())
	}
	at := m.off - m.end
	want := m.seal[at:]
	for i, b := range p {
		if b == want[i] {
			continue
		}
		if sum := (at + int64(i) - sealHeaderSize) / 4; sum >= 0 && sum*sealPiece < m.end {
			return i, m.bad(sum*sealPiece, "wrong checksum of a piece of "+strconv.Itoa(sealPiece)+" bytes")
		}
		return i, m.bad(m.off+int64(i), "a damaged seal")
	}
	return len(p), nil
}

// Finish makes the volume, durably, once the whole image has come:
// base.ErrCorruption where some is missing. The device is the caller's again.
func (m *Importer) Finish() error {
	if m.err != nil {
		return m.err
	}
	if m.off < superblockSize || m.off < m.Size() {
		m.err = m.bad(m.off, "the image ends too early")
		return m.err
	}
	if m.finished {
		return nil
	}
	if m.err = m.finish(); m.err == nil {
		m.finished = true
	}
	return m.err
}

func (m *Importer) finish() error {
	if err := m.flush(m.end); err != nil {
		return err
	}
	if err := m.dev.Sync(); err != nil {
		return hostError("sync the import", err)
	}
	// What is written is no image any more: it has no seal.
	sb := m.newer
	sb.imageSize, sb.imageVersion = 0, 0
	older := sb
	older.gen--
	// With the first of them it is a volume; until it is durable, page 0 says
	// that it is none.
	for _, sb := range []superblock{older, sb} {
		p := sb.encode()
		if err := m.dev.WriteAt(p[:], sb.offset()); err != nil {
			return hostError("write the superblock", err)
		}
		if err := m.dev.Sync(); err != nil {
			return hostError("sync the import", err)
		}
	}
	return nil
}

// Abort ends an import that is not finished, and empties the device.
func (m *Importer) Abort() error {
	if m.finished {
		return nil
	}
	if m.err == nil {
		m.err = base.Wrap(base.ErrClosed, "the import was aborted", nil)
	}
	m.buf, m.catalog = nil, nil
	return empty(m.dev)
}

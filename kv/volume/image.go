package volume

import (
	"encoding/binary"
	"io"
	"slices"
	"sort"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// The format of images.
const (
	// ImageVersion is the version of images that this package writes, and the
	// newest it reads.
	ImageVersion = 1

	// The generation of an image's newer superblock, in page 0. The one before
	// it, in page 1, names the same catalog.
	imageGeneration = 6
	imageEpoch      = 1

	sealMagic      = "TKVimage"
	sealHeaderSize = 24

	// sealPiece is how many bytes of an image have one checksum.
	sealPiece = 1 << 20
)

// ImageFile is a file for an image.
type ImageFile struct {
	Desc vfs.FileDesc
	// Size in bytes. A log is given whole pages, of which the rest is zeros.
	Size int64
	// Content is read from 0 to Size, in order, and must not change; an
	// io.EOF at Size is fine. A vfs.File is one.
	Content io.ReaderAt
}

// Image makes a volume out of files as a stream: an io.Reader, whose bytes are
// a volume that can be opened as it is. It reads each file once, and keeps
// little more than the catalog. It belongs to one goroutine.
type Image struct {
	parts []imagePart // in order of start
	next  int         // the first part that does not end before off
	off   int64
	sums  pieceSums
	seal  []byte // made when all before it has been read
	end   int64  // where the seal starts
	size  int64
}

// imagePart is what an image has from start on; zeros are between parts.
type imagePart struct {
	start, size int64
	content     io.ReaderAt
}

var _ io.Reader = (*Image)(nil)

// NewImage returns the image of the files. base.ErrInvalidArgument where two
// have one name, or a name or size is invalid; base.ErrNotSupported where they
// are too many.
func NewImage(files []ImageFile) (*Image, error) {
	files = slices.Clone(files)
	sort.Slice(files, func(i, j int) bool { return files[i].Desc.Compare(files[j].Desc) < 0 })
	entries := make([]entry, len(files))
	for i, f := range files {
		if !f.Desc.Valid() || f.Size < 0 || f.Size > maxPages*PageSize || i > 0 && files[i-1].Desc == f.Desc {
			return nil, base.Wrap(base.ErrInvalidArgument, f.Desc.String()+" in an image", nil)
		}
		entries[i] = entry{fd: f.Desc, size: f.Size}
		if f.Desc.Type == vfs.TypeLog {
			entries[i].size = int64(pagesFor(f.Size)) * PageSize
		}
	}
	catalog, sum, end, ok := layOut(entries)
	if !ok {
		return nil, base.Wrap(base.ErrNotSupported, "the files are too many or too large for an image", nil)
	}
	m := &Image{end: end, size: end + sealSize(end)}
	newer := superblock{
		gen: imageGeneration, epoch: imageEpoch, catalogPage: superblockPages, catalogSize: uint32(len(catalog)),
		catalogChecksum: sum, imageSize: uint64(m.size), imageVersion: ImageVersion,
	}
	older := newer
	older.gen--
	for _, sb := range []superblock{newer, older} {
		p := sb.encode()
		m.parts = append(m.parts, imagePart{sb.offset(), superblockSize, byteReader(p[:])})
	}
	m.parts = append(m.parts, imagePart{superblockPages * PageSize, int64(len(catalog)), byteReader(catalog)})
	for i, f := range files {
		if f.Size > 0 {
			m.parts = append(m.parts, imagePart{int64(entries[i].extents[0].page) * PageSize, f.Size, f.Content})
		}
	}
	return m, nil
}

// layOut gives the files the pages that they have in an image, and returns its
// catalog and where its seal starts. ok is false where they do not fit.
func layOut(entries []entry) (catalog []byte, sum uint32, end int64, ok bool) {
	// The pages of the catalog depend on its size, and that on the numbers of
	// the pages behind it.
	for pages := uint32(1); ; {
		page := uint64(superblockPages + pages)
		catalog = beginCatalog(catalog[:0], imageGeneration, imageEpoch)
		for i := range entries {
			e := &entries[i]
			e.extents = nil
			if n := pagesFor(e.size); n > 0 {
				if page+uint64(n) > maxPages {
					return nil, 0, 0, false
				}
				e.extents = []extent{{uint32(page), n}}
				page += uint64(n)
			}
			catalog = appendEntry(catalog, *e)
		}
		catalog, sum = endCatalog(catalog, len(entries))
		if len(catalog) > maxCatalogSize {
			return nil, 0, 0, false
		}
		if need := pagesFor(int64(len(catalog))); need > pages {
			pages = need
			continue
		}
		return catalog, sum, int64(page) * PageSize, true
	}
}

// byteReader is an io.ReaderAt.
type byteReader []byte

func (b byteReader) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, b[min(off, int64(len(b))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Size returns the size of the image in bytes.
func (m *Image) Size() int64 { return m.size }

// Read implements io.Reader. An error of a file's Content is returned as it
// is, and again; base.ErrIO where a file ends before its size.
func (m *Image) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && m.off < m.size {
		if m.off >= m.end {
			if m.seal == nil {
				m.seal = m.sums.seal(m.size)
			}
			c := copy(p[n:], m.seal[m.off-m.end:])
			n += c
			m.off += int64(c)
			continue
		}
		q := p[n:]
		q = q[:min(int64(len(q)), m.end-m.off)]
		c, err := m.fill(q)
		if err != nil {
			return n, err
		}
		m.sums.add(q[:c])
		n += c
		m.off += int64(c)
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// fill fills some of q from off.
func (m *Image) fill(q []byte) (int, error) {
	for m.next < len(m.parts) && m.off >= m.parts[m.next].start+m.parts[m.next].size {
		m.next++
	}
	if m.next == len(m.parts) {
		clear(q)
		return len(q), nil
	}
	part := m.parts[m.next]
	if m.off < part.start {
		q = q[:min(int64(len(q)), part.start-m.off)]
		clear(q)
		return len(q), nil
	}
	at := m.off - part.start
	q = q[:min(int64(len(q)), part.size-at)]
	n, err := part.content.ReadAt(q, at)
	switch {
	case n == len(q):
		return n, nil
	case err == nil || err == io.EOF:
		return 0, base.Wrap(base.ErrIO, "a file of an image is shorter than it was", nil)
	}
	return 0, err
}

// sealSize returns the size of the seal of an image in which it starts at end.
func sealSize(end int64) int64 { return sealHeaderSize + 4*((end+sealPiece-1)/sealPiece) + 4 }

// pieceSums has the checksums of the pieces of a stream.
type pieceSums struct {
	done []uint32
	last uint32 // of a piece that is not whole
	size int64  // of it
}

// add goes on with p.
func (s *pieceSums) add(p []byte) {
	for len(p) > 0 {
		q := p[:min(int64(len(p)), sealPiece-s.size)]
		s.last = updateChecksum(s.last, q)
		s.size += int64(len(q))
		if s.size == sealPiece {
			s.done = append(s.done, s.last)
			s.last, s.size = 0, 0
		}
		p = p[len(q):]
	}
}

// seal returns the seal of an image of size bytes behind what was added.
func (s *pieceSums) seal(size int64) []byte {
	sums := s.done
	if s.size > 0 {
		sums = append(sums, s.last)
	}
	p := make([]byte, 0, sealHeaderSize+4*len(sums)+4)
	p = append(p, sealMagic...)
	p = binary.LittleEndian.AppendUint64(p, uint64(size))
	p = binary.LittleEndian.AppendUint32(p, sealPiece)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(sums)))
	for _, sum := range sums {
		p = binary.LittleEndian.AppendUint32(p, sum)
	}
	return binary.LittleEndian.AppendUint32(p, checksum(p))
}

package volume

import (
	"encoding/binary"
	"hash/crc32"
	"strconv"

	"tempestkv/kv/base"
)

// The format of superblocks.
const (
	// PageSize is the size of a page in bytes.
	PageSize = 64 << 10

	// FormatVersion is the version this package writes, and the newest it
	// reads.
	FormatVersion = 1

	superblockSize  = 64
	superblockPages = 2 // pages 0 and 1

	// firstGeneration is what a new volume begins with. It is even, so it
	// stands in page 0, and names no catalog.
	firstGeneration = 2

	// The first byte is no text, and line ends of both kinds follow: a
	// transfer that treats the file as text breaks the magic.
	superblockMagic = "\x89TKV\r\n\x1a\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// updateChecksum returns the checksum of what sum is that of, and then p.
func updateChecksum(sum uint32, p []byte) uint32 { return crc32.Update(sum, castagnoli, p) }

// superblock is the root: it says where the catalog is.
type superblock struct {
	gen             uint64 // stands in page gen % 2
	epoch           uint64 // how often the volume was opened
	catalogPage     uint32 // 0 where there is no catalog
	catalogSize     uint32 // bytes
	catalogChecksum uint32
	imageSize       uint64 // bytes; 0 where the file is no image
	imageVersion    uint32
}

// encode returns the bytes of s.
func (s *superblock) encode() [superblockSize]byte {
	var p [superblockSize]byte
	le := binary.LittleEndian
	copy(p[:], superblockMagic)
	le.PutUint32(p[8:], FormatVersion)
	le.PutUint32(p[12:], PageSize)
	le.PutUint64(p[16:], s.gen)
	le.PutUint64(p[24:], s.epoch)
	le.PutUint64(p[32:], uint64(s.catalogPage))
	le.PutUint32(p[40:], s.catalogSize)
	le.PutUint32(p[44:], s.catalogChecksum)
	le.PutUint64(p[48:], s.imageSize)
	le.PutUint32(p[56:], s.imageVersion)
	le.PutUint32(p[60:], checksum(p[:60]))
	return p
}

// offset returns where s stands in the file.
func (s *superblock) offset() int64 { return int64(s.gen%2) * PageSize }

// catalogExtent returns the pages of the catalog.
func (s *superblock) catalogExtent() extent {
	return extent{s.catalogPage, pagesFor(int64(s.catalogSize))}
}

// decodeSuperblock reads the superblock of a page, 0 or 1, from p. The error
// is base.ErrCorruption, or base.ErrNotSupported where a newer version wrote
// it: magic, version and checksum stay where they are in every version.
func decodeSuperblock(p []byte, page int) (superblock, error) {
	where := "superblock " + strconv.Itoa(page)
	bad := func(off int64, what string) (superblock, error) {
		return superblock{}, base.Corruption(where, off, what)
	}
	le := binary.LittleEndian
	switch {
	case len(p) < superblockSize:
		return bad(int64(len(p)), "the file ends")
	case string(p[:8]) != superblockMagic:
		return bad(0, "no magic")
	case le.Uint32(p[60:]) != checksum(p[:60]):
		return bad(60, "wrong checksum")
	}
	if version := le.Uint32(p[8:]); version > FormatVersion {
		return superblock{}, base.Wrap(base.ErrNotSupported, "volume format "+strconv.FormatUint(uint64(version), 10)+
			" is newer than "+strconv.Itoa(FormatVersion)+", the newest this version reads", nil)
	} else if version != FormatVersion {
		return bad(8, "no such format version")
	}
	s := superblock{
		gen:             le.Uint64(p[16:]),
		epoch:           le.Uint64(p[24:]),
		catalogSize:     le.Uint32(p[40:]),
		catalogChecksum: le.Uint32(p[44:]),
		imageSize:       le.Uint64(p[48:]),
		imageVersion:    le.Uint32(p[56:]),
	}
	catalogPage := le.Uint64(p[32:])
	switch {
	case le.Uint32(p[12:]) != PageSize:
		return bad(12, "unknown page size")
	case s.gen < firstGeneration || s.gen%2 != uint64(page):
		return bad(16, "generation in the wrong page")
	case catalogPage == 0 && (s.gen != firstGeneration || s.catalogSize != 0):
		return bad(32, "no catalog")
	case catalogPage != 0 && (catalogPage < superblockPages || catalogPage >= maxPages):
		return bad(32, "catalog outside the file")
	case catalogPage != 0 && (s.catalogSize < minCatalogSize || s.catalogSize > maxCatalogSize):
		return bad(40, "impossible size of the catalog")
	}
	s.catalogPage = uint32(catalogPage)
	return s, nil
}

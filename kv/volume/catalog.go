package volume

import (
	"encoding/binary"
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// The format of catalogs.
const (
	catalogMagic      = "TKVfiles"
	catalogHeaderSize = 32
	minCatalogSize    = catalogHeaderSize + 4

	// maxCatalogSize bounds what a damaged superblock can make us read. It
	// has room for some 500,000 files.
	maxCatalogSize = 16 << 20
)

// extent is a run of neighbouring pages.
type extent struct {
	page, count uint32
}

// end returns the page behind e.
func (e extent) end() uint32 { return e.page + e.count }

// entry is a file as the catalog has it.
type entry struct {
	fd      vfs.FileDesc
	size    int64 // bytes; for a log all of its space
	extents []extent
}

// catalogHeader is the fixed part of a catalog.
type catalogHeader struct {
	gen, epoch uint64
	size       uint32 // bytes of the whole catalog
	count      uint32 // files
}

// beginCatalog appends a header to p; endCatalog fills in what it leaves open.
func beginCatalog(p []byte, gen, epoch uint64) []byte {
	p = append(p, catalogMagic...)
	p = binary.LittleEndian.AppendUint64(p, gen)
	p = binary.LittleEndian.AppendUint64(p, epoch)
	return append(p, make([]byte, 8)...)
}

// appendEntry appends e to a catalog.
func appendEntry(p []byte, e entry) []byte {
	p = append(p, byte(e.fd.Type))
	p = binary.AppendUvarint(p, e.fd.Num)
	p = binary.AppendUvarint(p, uint64(e.size))
	p = binary.AppendUvarint(p, uint64(len(e.extents)))
	for _, x := range e.extents {
		p = binary.AppendUvarint(p, uint64(x.page))
		p = binary.AppendUvarint(p, uint64(x.count))
	}
	return p
}

// endCatalog sets size and count and appends the checksum, which it also
// returns.
func endCatalog(p []byte, count int) ([]byte, uint32) {
	binary.LittleEndian.PutUint32(p[24:], uint32(len(p)+4))
	binary.LittleEndian.PutUint32(p[28:], uint32(count))
	sum := checksum(p)
	return binary.LittleEndian.AppendUint32(p, sum), sum
}

// decodeCatalogHeader reads the header of a catalog. ok is false where p does
// not begin with one, or it names an impossible size.
func decodeCatalogHeader(p []byte) (h catalogHeader, ok bool) {
	if len(p) < catalogHeaderSize || string(p[:8]) != catalogMagic {
		return catalogHeader{}, false
	}
	le := binary.LittleEndian
	h = catalogHeader{gen: le.Uint64(p[8:]), epoch: le.Uint64(p[16:]), size: le.Uint32(p[24:]), count: le.Uint32(p[28:])}
	return h, h.size >= minCatalogSize && h.size <= maxCatalogSize
}

// decodeCatalog reads a whole catalog. It checks each file by itself; that
// files do not overlap and lie inside the device is for the caller. Errors
// are base.ErrCorruption, with an offset from the start of the catalog.
func decodeCatalog(p []byte) (catalogHeader, []entry, error) {
	fail := func(off int, what string) (catalogHeader, []entry, error) {
		return catalogHeader{}, nil, base.Corruption("catalog", int64(off), what)
	}
	h, ok := decodeCatalogHeader(p)
	if !ok {
		return fail(0, "no header")
	}
	if int64(h.size) != int64(len(p)) {
		return fail(24, "size is not "+strconv.Itoa(len(p)))
	}
	body := p[:len(p)-4]
	if binary.LittleEndian.Uint32(p[len(body):]) != checksum(body) {
		return fail(len(body), "wrong checksum")
	}
	off := catalogHeaderSize
	next := func() (uint64, bool) {
		v, n := binary.Uvarint(body[off:])
		off += max(n, 0)
		return v, n > 0
	}
	// A file takes at least four bytes, an extent two: damaged counts cannot
	// ask for more memory than the catalog's own size warrants.
	entries := make([]entry, 0, min(int(h.count), len(body)/4))
	for range h.count {
		at := off
		if off == len(body) {
			return fail(at, "files are missing")
		}
		e := entry{fd: vfs.FileDesc{Type: vfs.FileType(body[off])}}
		off++
		num, ok1 := next()
		size, ok2 := next()
		count, ok3 := next()
		e.fd.Num = num
		if !ok1 || !ok2 || !ok3 || !e.fd.Valid() || size > maxPages*PageSize || count > uint64(len(body)-off)/2 {
			return fail(at, "malformed file")
		}
		if i := len(entries); i > 0 && entries[i-1].fd.Compare(e.fd) >= 0 {
			return fail(at, "files out of order")
		}
		e.size = int64(size)
		e.extents = make([]extent, 0, count)
		var pages uint64
		for range count {
			page, ok1 := next()
			n, ok2 := next()
			if !ok1 || !ok2 || page < superblockPages || page >= maxPages || n == 0 || n > maxPages-page {
				return fail(at, "malformed extent of "+e.fd.String())
			}
			e.extents = append(e.extents, extent{uint32(page), uint32(n)})
			pages += n
		}
		if pages != uint64(pagesFor(e.size)) || (e.fd.Type == vfs.TypeLog && pages*PageSize != size) {
			return fail(at, "extents of "+e.fd.String()+" do not fit its length")
		}
		entries = append(entries, e)
	}
	if off != len(body) {
		return fail(off, "bytes behind the last file")
	}
	return h, entries, nil
}

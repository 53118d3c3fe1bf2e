package volume

import (
	"sync"

	"tempestkv/kv/base"
)

// memChunkBytes is the unit in which a MemDevice grows.
const memChunkBytes = 256 << 10

// MemDevice is a Device in memory. The zero value is empty and ready. Sync
// promises nothing.
type MemDevice struct {
	mu     sync.RWMutex
	chunks [][]byte // each memChunkBytes long; zeros behind size
	size   int64
}

var _ Device = (*MemDevice)(nil)

// NewMemDevice returns an empty MemDevice.
func NewMemDevice() *MemDevice { return new(MemDevice) }

// ReadAt implements Device.
func (d *MemDevice) ReadAt(p []byte, off int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if off < 0 {
		return 0, base.Wrap(base.ErrInvalidArgument, "negative offset", nil)
	}
	n := 0
	for n < len(p) && off < d.size {
		from := d.chunks[off/memChunkBytes][off%memChunkBytes:]
		c := copy(p[n:], from[:min(int64(len(from)), d.size-off)])
		n += c
		off += int64(c)
	}
	return n, nil
}

// WriteAt implements Device.
func (d *MemDevice) WriteAt(p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < 0 {
		return base.Wrap(base.ErrInvalidArgument, "negative offset", nil)
	}
	if end := off + int64(len(p)); len(p) > 0 && end > d.size {
		d.grow(end)
	}
	for len(p) > 0 {
		c := copy(d.chunks[off/memChunkBytes][off%memChunkBytes:], p)
		p = p[c:]
		off += int64(c)
	}
	return nil
}

func (d *MemDevice) grow(size int64) {
	for int64(len(d.chunks))*memChunkBytes < size {
		d.chunks = append(d.chunks, make([]byte, memChunkBytes))
	}
	d.size = size
}

// Sync implements Device.
func (d *MemDevice) Sync() error { return nil }

// Size implements Device.
func (d *MemDevice) Size() (int64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.size, nil
}

// Truncate implements Device.
func (d *MemDevice) Truncate(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if size < 0 {
		return base.Wrap(base.ErrInvalidArgument, "negative size", nil)
	}
	if size >= d.size {
		d.grow(size)
		return nil
	}
	keep := int((size + memChunkBytes - 1) / memChunkBytes)
	clear(d.chunks[keep:])
	d.chunks = d.chunks[:keep]
	if rest := size % memChunkBytes; rest > 0 {
		clear(d.chunks[keep-1][rest:])
	}
	d.size = size
	return nil
}

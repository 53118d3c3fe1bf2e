// Package devicetest has a volume.Device for tests: it loses power, fails and
// runs out of space where it is told to, and counts its calls.
//
// A test of power loss runs its work on a Device that stops at call 0, then 1
// and so on, and after each run opens what Crash leaves. It is done when a run
// ends without reaching its stop.
package devicetest

import (
	"math/rand/v2"
	"slices"
	"sync"

	"tempestkv/kv/base"
	"tempestkv/kv/volume"
)

// pieceBytes is the unit in which unsynced writes survive a power loss.
const pieceBytes = 4 << 10

// ErrPower is what every call returns once the power is off. It wraps
// base.ErrIO.
var ErrPower = base.Wrap(base.ErrIO, "the power is off", nil)

// Calls counts device calls by kind.
type Calls struct {
	Reads, Writes, Syncs, Sizes, Truncates int
	// WrittenBytes is the sum of all writes.
	WrittenBytes int64
}

// All returns how many calls were made.
func (c Calls) All() int { return c.Reads + c.Writes + c.Syncs + c.Sizes + c.Truncates }

// change is a write or truncate that was not synced.
type change struct {
	data     []byte
	off      int64 // of a write; else the size that was set
	truncate bool
}

// image is the content of a file, in pieces that are shared between images and
// never changed: a copy is cheap. A nil piece is zeros; bytes behind size in
// the last piece are zeros, too.
type image struct {
	pieces [][]byte
	size   int64
}

func (m image) clone() image { return image{slices.Clone(m.pieces), m.size} }

// resize sets the size; new bytes are zeros.
func (m *image) resize(size int64) {
	count := int((size + pieceBytes - 1) / pieceBytes)
	for len(m.pieces) < count {
		m.pieces = append(m.pieces, nil)
	}
	m.pieces = m.pieces[:count]
	if rest := size % pieceBytes; size < m.size && rest > 0 && m.pieces[count-1] != nil {
		piece := make([]byte, pieceBytes)
		copy(piece, m.pieces[count-1][:rest])
		m.pieces[count-1] = piece
	}
	m.size = size
}

// put writes p, which is not changed any more, at off.
func (m *image) put(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	if end := off + int64(len(p)); end > m.size {
		m.resize(end)
	}
	for len(p) > 0 {
		from := int(off % pieceBytes)
		n := min(len(p), pieceBytes-from)
		piece := p[:n:n]
		if n < pieceBytes {
			piece = make([]byte, pieceBytes)
			copy(piece, m.pieces[off/pieceBytes])
			copy(piece[from:], p[:n])
		}
		m.pieces[off/pieceBytes] = piece
		p, off = p[n:], off+int64(n)
	}
}

// readAt fills p from off as far as the content goes.
func (m *image) readAt(p []byte, off int64) int {
	if off >= m.size {
		return 0
	}
	p = p[:min(int64(len(p)), m.size-off)]
	for n := 0; n < len(p); {
		at := off + int64(n)
		piece, from := m.pieces[at/pieceBytes], at%pieceBytes
		if piece == nil {
			end := min(len(p), n+int(pieceBytes-from))
			clear(p[n:end])
			n = end
			continue
		}
		n += copy(p[n:], piece[from:])
	}
	return len(p)
}

// Device keeps its bytes in memory, and knows which of them were synced. The
// zero value is empty and ready. It may be used from several goroutines, so
// that a test may ask for Crash at any moment.
type Device struct {
	mu      sync.Mutex
	data    image
	synced  image
	changes []change // since the last sync
	calls   Calls
	off     bool

	stops   bool
	stopAt  int // in calls
	fails   bool
	failAt  int
	failErr error
	failed  bool
	quota   int64 // bytes; 0 for none
}

var _ volume.Device = (*Device)(nil)

// New returns an empty Device.
func New() *Device { return new(Device) }

// FromBytes returns a Device with this content, synced.
func FromBytes(p []byte) *Device {
	d := New()
	d.data.put(slices.Clone(p), 0)
	d.synced = d.data.clone()
	return d
}

// StopAt turns the power off at the call with this index, from 0, counted from
// now: a write or truncate is still under way, and Crash may find some of it;
// that call and all that follow fail with ErrPower.
func (d *Device) StopAt(index int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stops, d.stopAt = true, d.calls.All()+index
}

// Stopped reports whether the power went off.
func (d *Device) Stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// FailAt makes the call with this index, from 0, counted from now, fail with
// err. A failing write has written its first half; every other call has done
// nothing. Later calls work again.
func (d *Device) FailAt(index int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails, d.failAt, d.failErr, d.failed = true, d.calls.All()+index, err, false
}

// Failed reports whether the call of FailAt was made.
func (d *Device) Failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// SetQuota limits the size to size bytes: what would make the file larger
// fails with base.ErrQuota and does nothing. 0 is no limit.
func (d *Device) SetQuota(size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quota = size
}

// Calls returns how many calls were made, failed ones included.
func (d *Device) Calls() Calls {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Bytes returns a copy of the content, unsynced bytes included.
func (d *Device) Bytes() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := make([]byte, d.data.size)
	d.data.readAt(p, 0)
	return p
}

// Clone returns what a crash of the program, but not of the machine, leaves:
// every byte, of which those not synced still are not.
func (d *Device) Clone() *Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Device{data: d.data.clone(), synced: d.synced.clone(), changes: slices.Clone(d.changes), quota: d.quota}
}

// Crash returns what a power loss at this moment leaves: what was synced, and
// of the writes since a random part: each piece of 4 KiB is kept, lost or torn
// somewhere inside. A truncate is kept, lost, or comes at another moment among
// the writes. With a nil rng exactly the synced bytes are left.
func (d *Device) Crash(rng *rand.Rand) *Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &Device{data: d.synced.clone(), quota: d.quota}
	if rng != nil {
		// A power loss keeps all, nothing or a mixture of what was under way.
		keep := []int{0, 100, 20, 50, 80}[rng.IntN(5)]
		changes := slices.Clone(d.changes)
		for i := range changes {
			if changes[i].truncate && rng.IntN(2) == 0 {
				j := rng.IntN(len(changes))
				changes[i], changes[j] = changes[j], changes[i]
			}
		}
		for _, ch := range changes {
			if ch.truncate {
				if rng.IntN(100) < keep {
					c.data.resize(ch.off)
				}
				continue
			}
			c.data.putSome(ch, keep, rng)
		}
	}
	c.synced = c.data.clone()
	return c
}

// putSome puts each piece of a write with a chance of keep percent, and some in
// part.
func (m *image) putSome(ch change, keep int, rng *rand.Rand) {
	for len(ch.data) > 0 {
		n := min(len(ch.data), pieceBytes-int(ch.off%pieceBytes))
		piece, off := ch.data[:n], ch.off
		ch.data, ch.off = ch.data[n:], ch.off+int64(n)
		switch {
		case keep > 0 && keep < 100 && rng.IntN(5) == 0:
			if cut := rng.IntN(n); rng.IntN(2) == 0 {
				piece = piece[:cut]
			} else {
				piece, off = piece[cut:], off+int64(cut)
			}
		case rng.IntN(100) >= keep:
			continue
		}
		m.put(piece, off)
	}
}

// begin counts a call and returns whether it fails. stopping means that the
// power goes off in the middle of it.
func (d *Device) begin(kind *int) (stopping bool, err error) {
	if d.off {
		return false, ErrPower
	}
	index := d.calls.All()
	*kind++
	if d.stops && index >= d.stopAt {
		d.off = true
		return true, ErrPower
	}
	if d.fails && index == d.failAt {
		d.failed = true
		return false, d.failErr
	}
	return false, nil
}

// ReadAt implements volume.Device.
func (d *Device) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.begin(&d.calls.Reads); err != nil {
		return 0, err
	}
	return d.data.readAt(p, off), nil
}

// WriteAt implements volume.Device.
func (d *Device) WriteAt(p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	wasOff := d.off
	stopping, err := d.begin(&d.calls.Writes)
	if wasOff {
		return err
	}
	d.calls.WrittenBytes += int64(len(p))
	if d.quota > 0 && off+int64(len(p)) > max(d.quota, d.data.size) {
		return base.Wrap(base.ErrQuota, "the device is full", err)
	}
	if err != nil && !stopping {
		p = p[:len(p)/2]
	}
	p = slices.Clone(p)
	d.changes = append(d.changes, change{data: p, off: off})
	d.data.put(p, off)
	return err
}

// Sync implements volume.Device.
func (d *Device) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.begin(&d.calls.Syncs); err != nil {
		return err
	}
	d.synced = d.data.clone()
	d.changes = nil
	return nil
}

// Size implements volume.Device.
func (d *Device) Size() (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.begin(&d.calls.Sizes); err != nil {
		return 0, err
	}
	return d.data.size, nil
}

// Truncate implements volume.Device.
func (d *Device) Truncate(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	stopping, err := d.begin(&d.calls.Truncates)
	if err != nil && !stopping {
		return err
	}
	d.changes = append(d.changes, change{off: size, truncate: true})
	d.data.resize(size)
	return err
}

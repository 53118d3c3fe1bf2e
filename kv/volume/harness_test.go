package volume_test

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
)

// tb is what *testing.T and *rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// labelled says in which of many runs something was wrong.
type labelled struct {
	tb
	label string
}

func (l labelled) Fatalf(format string, args ...any) {
	l.Helper()
	l.tb.Fatalf(l.label+": "+format, args...)
}

// harness does random work on a volume and knows what must be in it, at once
// and after a crash.
type harness struct {
	t    tb
	dev  volume.Device
	opts *volume.Options
	pick func(n int) int // a number below n

	v       *volume.Volume
	files   map[vfs.FileDesc]*tracked
	next    uint64
	readers []*reader
}

// tracked is a file as it must be.
type tracked struct {
	fd     vfs.FileDesc
	f      vfs.File // the appender; nil for none
	data   []byte
	synced int // data[:synced] survives a power loss

	// What an operation that did not succeed may have left behind.
	mayExist, mayNotExist bool
	lost                  [][]byte // earlier contents, any byte of which a log may still have
	broken                bool     // takes no more appends
}

// reader holds a file open, which may have been removed since.
type reader struct {
	f    vfs.File
	fd   vfs.FileDesc
	data []byte
}

func newHarness(t tb, dev volume.Device, opts *volume.Options, pick func(int) int) *harness {
	return &harness{t: t, dev: dev, opts: opts, pick: pick, files: make(map[vfs.FileDesc]*tracked)}
}

// open opens the volume.
func (h *harness) open() error {
	v, err := volume.Open(h.dev, h.opts)
	if err != nil {
		return err
	}
	h.v = v
	return nil
}

// names returns the tracked files that are certain to exist, in order.
func (h *harness) names() []vfs.FileDesc {
	var fds []vfs.FileDesc
	for fd, m := range h.files {
		if !m.mayExist {
			fds = append(fds, fd)
		}
	}
	slices.SortFunc(fds, vfs.FileDesc.Compare)
	return fds
}

// any returns one of the files that match, nil where none does.
func (h *harness) any(match func(*tracked) bool) *tracked {
	var found []*tracked
	for _, fd := range h.names() {
		if m := h.files[fd]; match(m) {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[h.pick(len(found))]
}

// step does one random operation. The error is that of the volume.
func (h *harness) step() error {
	switch n := h.pick(100); {
	case n < 14 && len(h.files) < 8:
		return h.create()
	case n < 50:
		return h.append()
	case n < 70:
		return h.sync()
	case n < 76:
		return h.reopen()
	case n < 86:
		return h.remove()
	case n < 90:
		return h.hold()
	case n < 94:
		return h.letGo()
	case n < 97:
		return h.shrink()
	default:
		return h.restart()
	}
}

func (h *harness) create() error {
	h.next++
	types := []vfs.FileType{vfs.TypeLog, vfs.TypeLog, vfs.TypeTable, vfs.TypeManifest}
	m := &tracked{fd: vfs.FileDesc{Type: types[h.pick(len(types))], Num: h.next}, mayExist: true}
	h.files[m.fd] = m
	f, err := h.v.Create(m.fd, int64(h.pick(4))*50_000)
	if err != nil {
		return err
	}
	m.f, m.mayExist = f, false
	m.mayNotExist = m.fd.Type != vfs.TypeLog // until it is synced
	return nil
}

// content returns n bytes, none of them zero, that differ from file to file
// and from place to place.
func (h *harness) content(n int) []byte {
	p := make([]byte, n)
	x := uint32(h.pick(1<<16)) + 1
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x>>24) | 1
	}
	return p
}

func (h *harness) append() error {
	m := h.any(func(m *tracked) bool { return m.f != nil && !m.broken })
	if m == nil {
		return nil
	}
	size := h.pick(6000)
	if h.pick(8) == 0 {
		size = h.pick(200_000)
	}
	p := h.content(size)
	if err := m.f.Append(p); err != nil {
		m.lost = append(m.lost, append(slices.Clone(m.data), p...))
		m.broken = true
		return err
	}
	m.data = append(m.data, p...)
	return nil
}

func (h *harness) sync() error {
	m := h.any(func(m *tracked) bool { return m.f != nil })
	if m == nil {
		return nil
	}
	if err := m.f.Sync(); err != nil {
		return err
	}
	m.synced, m.mayNotExist = len(m.data), false
	return nil
}

func (h *harness) reopen() error {
	m := h.any(func(*tracked) bool { return true })
	if m == nil {
		return nil
	}
	size := len(m.data)
	if h.pick(2) == 0 {
		size = h.pick(size + 1)
	}
	old := m.data
	synced := m.synced
	m.synced = min(m.synced, size)
	f, err := h.v.Reopen(m.fd, int64(size))
	if err != nil {
		m.lost = append(m.lost, old)
		m.broken = true
		return err
	}
	if m.f != nil {
		if err := m.f.Close(); err != nil {
			return err
		}
	}
	if synced > size {
		// The generation that has the older length is out of force.
		synced = size
	}
	m.f, m.data, m.synced, m.broken, m.lost = f, slices.Clone(old[:size]), size, false, nil
	m.mayNotExist = false
	for _, r := range h.readers {
		if r.fd == m.fd {
			r.data = nil
		}
	}
	return nil
}

func (h *harness) remove() error {
	m := h.any(func(*tracked) bool { return true })
	if m == nil {
		return nil
	}
	if m.f != nil && h.pick(2) == 0 {
		if err := m.f.Close(); err != nil {
			return err
		}
		m.f = nil
	}
	if err := h.v.Remove(m.fd); err != nil {
		m.mayNotExist = true
		return err
	}
	delete(h.files, m.fd)
	if m.f != nil && !m.broken {
		// An appender of a removed file is a reader, too.
		h.readers = append(h.readers, &reader{m.f, m.fd, m.data})
	}
	return nil
}

// shrink moves a few pages, which changes nothing that can be seen.
func (h *harness) shrink() error {
	_, err := h.v.Shrink(int64(1+h.pick(8)) * volume.PageSize)
	return err
}

func (h *harness) hold() error {
	m := h.any(func(m *tracked) bool { return !m.broken })
	if m == nil || len(h.readers) > 3 {
		return nil
	}
	f, err := h.v.Open(m.fd)
	if err != nil {
		return err
	}
	h.readers = append(h.readers, &reader{f, m.fd, slices.Clone(m.data)})
	return nil
}

// letGo reads what a reader was opened on once more, and closes it.
func (h *harness) letGo() error {
	if len(h.readers) == 0 {
		return nil
	}
	i := h.pick(len(h.readers))
	r := h.readers[i]
	h.readers = slices.Delete(h.readers, i, i+1)
	p := make([]byte, len(r.data))
	if _, err := r.f.ReadAt(p, 0); err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(p, r.data) {
		h.t.Fatalf("a reader of %v sees other bytes", r.fd)
	}
	return r.f.Close()
}

// restart opens the volume anew without a crash. Open syncs all there is.
func (h *harness) restart() error {
	if err := h.v.Close(); err != nil {
		return err
	}
	h.readers = nil
	for _, m := range h.files {
		m.f = nil
	}
	if err := h.open(); err != nil {
		return err
	}
	err := h.adopt()
	if err != nil {
		// A single fault was in the reading; the work goes on.
		if again := h.adopt(); again != nil {
			return again
		}
	}
	return err
}

// adopt checks the volume, just opened, against what must and may be there,
// and takes it as the truth from here on. The error is that of a failed read.
func (h *harness) adopt() error {
	h.t.Helper()
	if err := h.v.Check(); errors.Is(err, base.ErrCorruption) {
		h.t.Fatalf("Check: %v", err)
	} else if err != nil {
		return err
	}
	fds, err := h.v.List()
	if err != nil {
		return err
	}
	for _, fd := range fds {
		m := h.files[fd]
		if m == nil {
			h.t.Fatalf("%v is back, or never was", fd)
		}
		if err := h.adoptFile(m); err != nil {
			return err
		}
	}
	for fd, m := range h.files {
		if _, found := slices.BinarySearchFunc(fds, fd, vfs.FileDesc.Compare); found {
			continue
		}
		if !m.mayExist && !m.mayNotExist {
			h.t.Fatalf("%v is lost", fd)
		}
		delete(h.files, fd)
	}
	return nil
}

func (h *harness) adoptFile(m *tracked) error {
	h.t.Helper()
	f, err := h.v.Open(m.fd)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	got := make([]byte, size)
	if _, err := f.ReadAt(got, 0); err != nil {
		return err
	}
	if len(got) < m.synced || !bytes.Equal(got[:m.synced], m.data[:m.synced]) {
		h.t.Fatalf("%v has lost synced bytes", m.fd)
	}
	contents := append([][]byte{m.data}, m.lost...)
	if m.fd.Type == vfs.TypeLog {
		for i := m.synced; i < len(got); {
			end := min(i+512, len(got))
			if !explained(got[i:end], i, contents) {
				h.t.Fatalf("%v has bytes at %d that are neither its own nor zero", m.fd, i)
			}
			i = end
		}
		got = trimZeros(got)
	} else if !slices.ContainsFunc(contents, func(c []byte) bool { return bytes.HasPrefix(c, got) }) {
		h.t.Fatalf("%v, %d bytes, has other bytes than were written", m.fd, len(got))
	}
	*m = tracked{fd: m.fd, data: got, synced: len(got)}
	return nil
}

// trimZeros drops zeros at the end, in large steps first: logs have many.
func trimZeros(p []byte) []byte {
	var zeros [4096]byte
	for bytes.HasSuffix(p, zeros[:]) {
		p = p[:len(p)-len(zeros)]
	}
	return bytes.TrimRight(p, "\x00")
}

// explained reports whether each byte of p, which was read at off, is zero or
// one that was written there.
func explained(p []byte, off int, contents [][]byte) bool {
	var zeros [512]byte
	if bytes.Equal(p, zeros[:len(p)]) {
		return true
	}
	for _, c := range contents {
		if off+len(p) <= len(c) && bytes.Equal(p, c[off:off+len(p)]) {
			return true
		}
	}
	for i, b := range p {
		if b != 0 && !slices.ContainsFunc(contents, func(c []byte) bool { return off+i < len(c) && c[off+i] == b }) {
			return false
		}
	}
	return true
}

// compare checks that the running volume has exactly what it must have.
func (h *harness) compare() {
	h.t.Helper()
	if err := h.v.Check(); err != nil {
		h.t.Fatalf("Check: %v", err)
	}
	fds, err := h.v.List()
	if err != nil {
		h.t.Fatalf("List: %v", err)
	}
	if want := h.names(); !slices.Equal(fds, want) {
		h.t.Fatalf("List: %v, want %v", fds, want)
	}
	for _, fd := range fds {
		m := h.files[fd]
		f, err := h.v.Open(fd)
		if err != nil {
			h.t.Fatalf("Open of %v: %v", fd, err)
		}
		size, err := f.Size()
		if err != nil {
			h.t.Fatalf("Size of %v: %v", fd, err)
		}
		got := make([]byte, size)
		if _, err := f.ReadAt(got, 0); err != nil {
			h.t.Fatalf("ReadAt of %v: %v", fd, err)
		}
		want := m.data
		if fd.Type == vfs.TypeLog {
			// Found at Open, it has all its space, and perhaps lost pieces.
			got, want = trimZeros(got), trimZeros(want)
		}
		if len(m.lost) == 0 && !bytes.Equal(got, want) {
			h.t.Fatalf("%v has %d bytes, want %d, or they differ", fd, len(got), len(want))
		}
		if err := f.Close(); err != nil {
			h.t.Fatalf("Close of %v: %v", fd, err)
		}
	}
}

// afterCrash opens the volume that a crash left on dev and checks it, then
// goes on working with it.
func (h *harness) afterCrash(dev volume.Device) {
	h.t.Helper()
	h.dev, h.readers = dev, nil
	for _, m := range h.files {
		m.f = nil
	}
	if err := h.open(); err != nil {
		h.t.Fatalf("Open after the crash: %v", err)
	}
	if err := h.adopt(); err != nil {
		h.t.Fatalf("reading after the crash: %v", err)
	}
	for range 4 {
		if err := h.step(); err != nil {
			h.t.Fatalf("work after the crash: %v", err)
		}
	}
	h.compare()
}

// clone returns a harness that expects the same of another device.
func (h *harness) clone(label string, pick func(int) int) *harness {
	c := *h
	c.t = labelled{h.t, label}
	c.pick = pick
	c.files = make(map[vfs.FileDesc]*tracked, len(h.files))
	for fd, m := range h.files {
		copied := *m
		c.files[fd] = &copied
	}
	return &c
}

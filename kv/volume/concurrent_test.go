package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

// gate is a device that makes the calls of one kind wait.
type gate struct {
	*devicetest.Device
	mu     sync.Mutex
	closed func(call string, size int) bool // whether a call waits; nil for none

	waits chan struct{} // a call has come to wait
	opens chan struct{} // closed to let it go
}

func newGate() *gate {
	return &gate{Device: devicetest.New(), waits: make(chan struct{}, 1), opens: make(chan struct{})}
}

// pass waits where the call is the first of the kind.
func (g *gate) pass(call string, size int) {
	g.mu.Lock()
	waits := g.closed != nil && g.closed(call, size)
	if waits {
		g.closed = nil
	}
	g.mu.Unlock()
	if waits {
		g.waits <- struct{}{}
		<-g.opens
	}
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	g.pass("read", len(p))
	return g.Device.ReadAt(p, off)
}

func (g *gate) WriteAt(p []byte, off int64) error {
	g.pass("write", len(p))
	return g.Device.WriteAt(p, off)
}

func (g *gate) Sync() error {
	g.pass("sync", 0)
	return g.Device.Sync()
}

func (g *gate) Truncate(size int64) error {
	g.pass("truncate", 0)
	return g.Device.Truncate(size)
}

// TestOneThatWaitsHoldsUpNobodyElse lets a device call of a background
// operation wait, and meanwhile appends, reads and looks at other files.
func TestOneThatWaitsHoldsUpNobodyElse(t *testing.T) {
	const size = 300_000
	is := func(call string, least int) func(string, int) bool {
		return func(c string, n int) bool { return c == call && n >= least }
	}
	for _, test := range []struct {
		name  string
		waits func(call string, size int) bool
		work  func(v *volume.Volume) error
	}{
		{"a log is zeroed", is("write", 256<<10), func(v *volume.Volume) error {
			f, err := v.Create(log(10), 1<<20)
			return errors.Join(err, f.Close())
		}},
		{"a log is made", is("sync", 0), func(v *volume.Volume) error {
			f, err := v.Create(log(10), 1<<20)
			return errors.Join(err, f.Close())
		}},
		{"a table is written", is("write", 512<<10), func(v *volume.Volume) error {
			f, err := v.Create(table(10), 1<<20)
			return errors.Join(err, f.Append(make([]byte, 512<<10)), f.Close())
		}},
		{"a table is synced", is("sync", 0), func(v *volume.Volume) error {
			f, err := v.Create(table(10), 1<<20)
			return errors.Join(err, f.Append(make([]byte, 512<<10)), f.Sync(), f.Close())
		}},
		{"a table is removed", is("write", 0), func(v *volume.Volume) error { return v.Remove(table(3)) }},
		{"the file is cut", is("truncate", 0), func(v *volume.Volume) error {
			f, err := v.Create(table(10), 0)
			return errors.Join(err, f.Sync(), f.Close(), v.Remove(table(4)), v.Remove(table(5)), v.Remove(table(10)))
		}},
		{"a table is read", is("read", size), func(v *volume.Volume) error {
			f, err := v.Open(table(3))
			if err != nil {
				return err
			}
			_, err = f.ReadAt(make([]byte, size), 0)
			return errors.Join(err, f.Close())
		}},
		{"a manifest is reopened", is("sync", 0), func(v *volume.Volume) error {
			f, err := v.Reopen(vfs.FileDesc{Type: vfs.TypeManifest, Num: 6}, 1)
			return errors.Join(err, f.Close())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGate()
			v := openVolume(t, g, &volume.Options{KeepFreeBytes: -1})
			l, err := v.Create(log(1), 1<<20)
			must(t, err)
			gathering, err := v.Create(table(7), 1<<20)
			must(t, err)
			must(t, gathering.Append([]byte("not")))
			m, err := v.Create(vfs.FileDesc{Type: vfs.TypeManifest, Num: 6}, 0)
			must(t, err)
			must(t, m.Append([]byte("manifest")), m.Sync())
			for num := uint64(2); num < 6; num++ {
				addTable(t, v, num, string(bytes.Repeat([]byte{byte(num)}, size)))
			}

			g.mu.Lock()
			g.closed = test.waits
			g.mu.Unlock()
			done := make(chan error)
			go func() { done <- test.work(v) }()
			select {
			case <-g.waits:
			case err := <-done:
				t.Fatal("nothing has waited:", err)
			}

			for range 3 {
				must(t, l.Append(bytes.Repeat([]byte("l"), 1000)))
			}
			wantTable(t, v, 2, string(bytes.Repeat([]byte{2}, size)))
			must(t, gathering.Append([]byte(" synced")))
			wantTable(t, v, 7, "not synced")
			_, err = v.List()
			must(t, err)
			_, err = v.Space()
			must(t, err)
			f, err := v.Create(table(8), 0)
			must(t, err)
			must(t, f.Close())

			close(g.opens)
			must(t, <-done, l.Sync(), gathering.Sync(), v.Check())
			wantTable(t, v, 2, string(bytes.Repeat([]byte{2}, size)))
			got := make([]byte, 3001)
			_, err = l.ReadAt(got, 0)
			if err != io.EOF || string(got) != string(bytes.Repeat([]byte("l"), 3000))+"\x00" {
				t.Errorf("the log, and then %v", err)
			}
		})
	}
}

// TestCloseWaitsForCallsUnderWay: the device is the caller's afterwards.
func TestCloseWaitsForCallsUnderWay(t *testing.T) {
	g := newGate()
	v := openVolume(t, g, nil)
	l, err := v.Create(log(1), 1<<20)
	must(t, err)
	g.mu.Lock()
	g.closed = func(call string, _ int) bool { return call == "write" }
	g.mu.Unlock()
	appended, closed := make(chan error), make(chan error)
	go func() { appended <- l.Append([]byte("x")) }()
	<-g.waits
	go func() { closed <- v.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("Close has not waited: %v", err)
	case g.opens <- struct{}{}:
	}
	must(t, <-appended, <-closed)
	if err := l.Append([]byte("y")); !errors.Is(err, base.ErrClosed) {
		t.Errorf("Append: %v", err)
	}
}

// TestARemovedFileKeepsItsPagesWhileItIsRead, even if it is closed meanwhile.
func TestARemovedFileKeepsItsPagesWhileItIsRead(t *testing.T) {
	g := newGate()
	v := openVolume(t, g, nil)
	content := bytes.Repeat([]byte("r"), 200_000)
	addTable(t, v, 1, string(content))
	f, err := v.Open(table(1))
	must(t, err)
	g.mu.Lock()
	g.closed = func(call string, _ int) bool { return call == "read" }
	g.mu.Unlock()
	got := make([]byte, len(content))
	done := make(chan error)
	go func() {
		_, err := f.ReadAt(got, 0)
		done <- err
	}()
	<-g.waits
	must(t, v.Remove(table(1)), f.Close())
	for num := uint64(2); num < 8; num++ {
		addTable(t, v, num, string(bytes.Repeat([]byte("w"), 200_000)))
	}
	must(t, v.Check())
	close(g.opens)
	must(t, <-done, v.Check())
	if !bytes.Equal(got, content) {
		t.Error("the file has changed")
	}
}

// crew is a writer of a log, which rotates, and writers of tables, at once.
type crew struct {
	v    *volume.Volume
	mu   sync.Mutex
	want map[vfs.FileDesc][]byte // synced, and not about to be removed
}

func (c *crew) acknowledge(fd vfs.FileDesc, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if content == nil {
		delete(c.want, fd)
	} else {
		c.want[fd] = content
	}
}

// logs appends to one log after another, each of which somebody else made.
func (c *crew) logs(rng *rand.Rand, rounds int) error {
	type made struct {
		f   vfs.File
		err error
	}
	prepare := func(num uint64) chan made {
		ready := make(chan made, 1)
		go func() {
			f, err := c.v.Create(log(num), 512<<10)
			if err == nil {
				c.acknowledge(log(num), []byte{})
			}
			ready <- made{f, err}
		}()
		return ready
	}
	next := prepare(1)
	for round := range uint64(rounds) {
		m := <-next
		if m.err != nil {
			return m.err
		}
		num := round + 1
		next = prepare(num + 1)
		var content []byte
		for range 12 {
			record := bytes.Repeat([]byte{byte(num)}, 1+rng.IntN(60_000))
			content = append(content, record...)
			if err := m.f.Append(record); err != nil {
				return errors.Join(err, (<-next).err)
			}
			if rng.IntN(2) == 0 {
				if err := m.f.Sync(); err != nil {
					return errors.Join(err, (<-next).err)
				}
				c.acknowledge(log(num), bytes.Clone(content))
			}
		}
		if num > 1 {
			c.acknowledge(log(num-1), nil)
			if err := c.v.Remove(log(num - 1)); err != nil {
				return errors.Join(err, (<-next).err)
			}
		}
		if err := m.f.Close(); err != nil {
			return errors.Join(err, (<-next).err)
		}
	}
	return (<-next).err
}

// tables writes tables, reads them while it does, and removes some.
func (c *crew) tables(rng *rand.Rand, first uint64, rounds int) error {
	var old []vfs.FileDesc
	for round := range uint64(rounds) {
		fd := table(first + round)
		f, err := c.v.Create(fd, int64(rng.IntN(500_000)))
		if err != nil {
			return err
		}
		var content []byte
		for range rng.IntN(8) {
			p := bytes.Repeat([]byte{byte(rng.IntN(255) + 1)}, rng.IntN(120_000))
			content = append(content, p...)
			if err := f.Append(p); err != nil {
				return err
			}
			got := make([]byte, len(content))
			if _, err := f.ReadAt(got, 0); err != nil {
				return err
			}
			if !bytes.Equal(got, content) {
				return fmt.Errorf("%v: other bytes are read than were appended", fd)
			}
		}
		if err := f.Sync(); err != nil {
			return err
		}
		c.acknowledge(fd, append([]byte{}, content...))
		if err := f.Close(); err != nil {
			return err
		}
		if old = append(old, fd); len(old) == 4 {
			for _, fd := range old[:3] {
				c.acknowledge(fd, nil)
			}
			if err := vfs.RemoveAll(c.v, old[:3]); err != nil {
				return err
			}
			old = old[3:]
			if _, err := c.v.Shrink(100_000); err != nil {
				return err
			}
		}
	}
	return nil
}

// work runs the crew to its end, or to a failure of each.
func (c *crew) work(seed uint64, rounds int) []error {
	errs := make([]error, 3)
	var wg sync.WaitGroup
	wg.Go(func() { errs[0] = c.logs(rand.New(rand.NewPCG(seed, 0)), rounds) })
	for i := range uint64(2) {
		wg.Go(func() { errs[1+i] = c.tables(rand.New(rand.NewPCG(seed, 1+i)), 1000*(1+i), 2*rounds) })
	}
	wg.Wait()
	return errs
}

// check looks whether all that was acknowledged is in v.
func (c *crew) check(t *testing.T, v *volume.Volume) {
	t.Helper()
	must(t, v.Check())
	for fd, want := range c.want {
		f, err := v.Open(fd)
		must(t, err)
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v has lost synced bytes: %v", fd, err)
		}
		must(t, f.Close())
	}
}

func TestManyAtOnce(t *testing.T) {
	dev := volume.NewMemDevice()
	opts := &volume.Options{KeepFreeBytes: volume.PageSize}
	c := &crew{v: openVolume(t, dev, opts), want: map[vfs.FileDesc][]byte{}}
	must(t, c.work(1, 20)...)
	c.check(t, c.v)
	must(t, c.v.Close())
	c.check(t, openVolume(t, dev, opts))
}

// TestPowerLossWhileManyWork loses power at one device call after another.
// Which operation it hits is chance; what was acknowledged must be there.
func TestPowerLossWhileManyWork(t *testing.T) {
	for stop := 4; ; stop += 7 {
		dev := devicetest.New()
		opts := &volume.Options{KeepFreeBytes: volume.PageSize}
		c := &crew{v: openVolume(t, dev, opts), want: map[vfs.FileDesc][]byte{}}
		dev.StopAt(stop)
		for _, err := range c.work(uint64(stop), 3) {
			if err != nil && !errors.Is(err, devicetest.ErrPower) {
				t.Fatal(err)
			}
		}
		for seed := range uint64(3) {
			left := dev.Crash(rand.New(rand.NewPCG(seed, uint64(stop))))
			c.check(t, openVolume(t, left, opts))
		}
		if !dev.Stopped() {
			if stop < 100 {
				t.Errorf("only %d device calls", stop)
			}
			return
		}
	}
}

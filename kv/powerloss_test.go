package kv_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

var crashSeeds = flag.Uint64("crashseeds", 3, "states to check after each power loss; make soak takes more")

// powerRun writes numbered batches to a store in a volume until the device
// fails. Batch n sets the same value under several keys, so that half a batch
// would show, and its own key.
type powerRun struct {
	attempted, acked, strict int // numbers of the last batches
}

const powerBatches = 60

func (p *powerRun) batch(n int) *batch.Batch {
	var b batch.Batch
	// Sizes vary, so that records end everywhere in blocks and pages.
	value := []byte(fmt.Sprint(n, " ", strings.Repeat("v", n*397%5000)))
	for _, key := range []string{"first", fmt.Sprint("own ", n), "second"} {
		b.Put([]byte(key), value)
	}
	b.Delete([]byte(fmt.Sprint("own ", n-3)))
	return &b
}

// write opens the store in dev and writes batches up to number last. It
// returns the first error.
func (p *powerRun) write(dev volume.Device, last int) error {
	v, err := volume.Open(dev, nil)
	if err != nil {
		return err
	}
	if err := p.writeFiles(v, last, func() {}); err != nil {
		return err
	}
	return v.Close()
}

// writeFiles is write for a store in fs. It calls each after every batch.
func (p *powerRun) writeFiles(fs vfs.FS, last int, each func()) error {
	db, err := kv.Open(fs, &kv.Options{MemtableBytes: 64 << 10})
	if err != nil {
		return err
	}
	for n := p.acked + 1; n <= last; n++ {
		p.attempted = n
		strict := n%4 == 0
		if _, err := db.Apply(ctx, p.batch(n), &kv.WriteOptions{Strict: strict}); err != nil {
			db.Close()
			return err
		}
		p.acked = n
		if strict {
			p.strict = n
		}
		each()
	}
	if err := db.Close(); err != nil {
		return err
	}
	p.strict = p.acked // Close syncs
	return nil
}

// check opens what a crash left and returns the number of the last batch in
// it. At least must be there, attempted at most, and every batch whole.
func (p *powerRun) check(t *testing.T, label string, dev volume.Device, atLeast int) int {
	t.Helper()
	v, err := volume.Open(dev, nil)
	if err != nil {
		t.Fatalf("%s: volume: %v", label, err)
	}
	n := p.checkFiles(t, label, v, atLeast)
	if err := v.Check(); err != nil {
		t.Fatalf("%s: %v", label, err)
	}
	return n
}

// checkFiles is check for a store in fs.
func (p *powerRun) checkFiles(t *testing.T, label string, fs vfs.FS, atLeast int) int {
	t.Helper()
	db, err := kv.Open(fs, &kv.Options{MemtableBytes: 64 << 10})
	if err != nil {
		t.Fatalf("%s: %v", label, err)
	}
	defer db.Close()
	seq := int(db.Recovery().Sequence)
	n := seq / 4
	if seq%4 != 0 || n < atLeast || n > p.attempted {
		t.Fatalf("%s: sequence %d of 4 a batch, want batch %d to %d", label, seq, atLeast, p.attempted)
	}
	want := map[string]string{}
	for i := 1; i <= n; i++ {
		r := batch.MakeReader(p.batch(i).Repr()[batch.HeaderSize:])
		for {
			kind, key, value, ok := r.Next()
			if !ok {
				break
			}
			if kind == base.KindPut {
				want[string(key)] = string(value)
			} else {
				delete(want, string(key))
			}
		}
	}
	s, err := db.Scan(ctx, nil)
	if err != nil {
		t.Fatalf("%s: %v", label, err)
	}
	defer s.Close()
	for s.Next() {
		key := string(s.Key())
		if want[key] != string(s.Value()) {
			t.Fatalf("%s: batch %d: %q is %.20q, want %.20q", label, n, key, s.Value(), want[key])
		}
		delete(want, key)
	}
	if s.Error() != nil || len(want) > 0 {
		t.Fatalf("%s: batch %d: missing %v, %v", label, n, want, s.Error())
	}
	return n
}

// TestPowerLossAtEveryDeviceCall: a store is written, closed, opened again and
// written on, with logs that rotate, and the power fails at each device call in
// turn. Of what was not synced a random part is left, page by page and torn.
// Every strict write must be there, every batch whole, nothing else, and the
// store must take writes that survive the next loss.
func TestPowerLossAtEveryDeviceCall(t *testing.T) {
	calls := 0
	for stop := 0; ; stop++ {
		dev := devicetest.New()
		dev.StopAt(stop)
		var p powerRun
		err := p.write(dev, powerBatches/2)
		if err == nil {
			err = p.write(dev, powerBatches)
		}
		if err == nil {
			calls = stop
			break
		}
		if !dev.Stopped() || !errors.Is(err, base.ErrIO) {
			t.Fatalf("stop %d: %v", stop, err)
		}
		for seed := range *crashSeeds {
			rng := rand.New(rand.NewPCG(seed, uint64(stop)))
			label := fmt.Sprintf("stop %d, seed %d", stop, seed)
			left := dev.Crash(rng)
			q := p
			q.acked = q.check(t, label, left, p.strict)
			// Once more, on top of the recovered log.
			left.StopAt(rng.IntN(60))
			q.strict = max(q.acked, p.strict)
			if q.write(left, powerBatches) == nil {
				left.StopAt(0)
			}
			q.check(t, label+", again", left.Crash(rng), q.strict)
		}
		// Without a power loss everything acknowledged is there.
		p.check(t, fmt.Sprintf("stop %d, killed", stop), devicetest.FromBytes(dev.Bytes()), p.acked)
	}
	if calls < 150 {
		t.Errorf("only %d device calls", calls)
	}
	t.Log(calls, "device calls")
}

// TestPowerLossOnFiles is the same on files of their own, of which a power loss
// can take the end of one and keep the next: a log must be synced before the
// log behind it takes a write.
func TestPowerLossOnFiles(t *testing.T) {
	fs := vfs.NewMem()
	var p powerRun
	err := p.writeFiles(fs, powerBatches, func() {
		for seed := range uint64(10) {
			left := fs.CrashClone(rand.New(rand.NewPCG(seed, uint64(p.acked))))
			p.checkFiles(t, fmt.Sprintf("batch %d, seed %d", p.acked, seed), left, p.strict)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAFaultAtEveryDeviceCall: a call fails once, by an I/O error or for want
// of space. The error is clear, what was acknowledged is there after opening
// again, and so are the writes that follow.
func TestAFaultAtEveryDeviceCall(t *testing.T) {
	for _, kind := range []error{base.ErrIO, base.ErrQuota} {
		for index := 0; ; index++ {
			dev := devicetest.New()
			dev.FailAt(index, base.Wrap(kind, "injected", nil))
			var p powerRun
			err := p.write(dev, powerBatches/2)
			if !dev.Failed() {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			if err != nil && !errors.Is(err, kind) {
				t.Fatalf("call %d: %v, want %v", index, err, kind)
			}
			label := fmt.Sprintf("call %d, %v", index, kind)
			p.acked = p.check(t, label, devicetest.FromBytes(dev.Bytes()), p.acked)
			if err := p.write(dev, powerBatches); err != nil {
				t.Fatalf("%s: after opening again: %v", label, err)
			}
			p.check(t, label, dev, powerBatches)
		}
	}
}

package volume_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

func picker(seed ...uint64) func(int) int {
	s := append(seed, 0, 0)
	return rand.New(rand.NewPCG(s[0], s[1]<<32|s[2])).IntN
}

// workload is random work that is the same for the same seed.
type workload struct {
	seed  uint64
	steps int
	opts  *volume.Options
}

var workloads = []workload{
	{seed: 1, steps: 80, opts: &volume.Options{KeepFreeBytes: -1}},
	{seed: 2, steps: 80, opts: &volume.Options{KeepFreeBytes: 256 << 10}},
	{seed: 3, steps: 80},
}

// run works on h until an operation fails; then it returns false.
func (w workload) run(h *harness) bool {
	if h.open() != nil {
		return false
	}
	for range w.steps {
		if h.step() != nil {
			return false
		}
	}
	return true
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dev := devicetest.New()
		opts := &volume.Options{KeepFreeBytes: int64(rapid.IntRange(-1, 4).Draw(t, "keepFreePages")) * volume.PageSize}
		h := newHarness(t, dev, opts, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })
		if err := h.open(); err != nil {
			t.Fatalf("Open: %v", err)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if err := h.step(); err != nil {
				t.Fatalf("step: %v", err)
			}
			h.compare()
		}
		seed := rapid.Uint64().Draw(t, "crash")
		h.afterCrash(dev.Crash(rand.New(rand.NewPCG(seed, 0))))
	})
}

// TestPowerLoss loses power at every device call of each workload, and checks
// several of the states that may be left; in each, power is lost once more
// while the volume is opened.
func TestPowerLoss(t *testing.T) {
	const seeds = 6
	for _, w := range workloads {
		t.Run(fmt.Sprint("workload ", w.seed), func(t *testing.T) {
			t.Parallel()
			for stop := 0; ; stop++ {
				dev := devicetest.New()
				dev.StopAt(stop)
				h := newHarness(labelled{t, fmt.Sprint("stop ", stop)}, dev, w.opts, picker(w.seed))
				ended := w.run(h)
				if ended && dev.Stopped() {
					t.Fatalf("stop %d: an operation hid a lost power", stop)
				}
				for seed := range uint64(seeds) {
					rng := rand.New(rand.NewPCG(seed, uint64(stop)))
					left := dev.Crash(nil)
					switch seed {
					case 0:
					case 1:
						// Only the program died: the next one sees unsynced bytes.
						left = openAndCrash(dev.Clone(), w.opts, rng)
					default:
						left = openAndCrash(dev.Crash(rng), w.opts, rng)
					}
					h.clone(fmt.Sprint("seed ", seed), picker(seed, uint64(stop))).afterCrash(left)
				}
				if ended {
					if stop < 100 {
						t.Errorf("only %d device calls", stop)
					}
					return
				}
			}
		})
	}
}

// openAndCrash opens the volume on dev, loses power at a random call of that,
// and returns what is left.
func openAndCrash(dev *devicetest.Device, opts *volume.Options, rng *rand.Rand) *devicetest.Device {
	dev.StopAt(rng.IntN(16))
	// Open fails, or the stop comes too late; either is fine.
	_, _ = volume.Open(dev, opts)
	return dev.Crash(rng)
}

// TestFault fails every device call of each workload in turn and goes on
// working: every error wraps the injected one, nothing acknowledged is lost,
// and what the volume has in memory stays sound.
func TestFault(t *testing.T) {
	for i, kind := range []error{base.ErrIO, base.ErrQuota, base.ErrFenced} {
		w := workloads[i]
		t.Run(fmt.Sprint("workload ", w.seed, " ", kind), func(t *testing.T) {
			t.Parallel()
			injected := base.Wrap(kind, "injected", nil)
			usable, readOnly := 0, 0
			for i := 0; ; i++ {
				dev := devicetest.New()
				dev.FailAt(i, injected)
				h := newHarness(labelled{t, fmt.Sprint("fault ", i)}, dev, w.opts, picker(w.seed))
				if err := h.open(); err != nil {
					wantInjected(t, i, err, injected)
					h.clone("program died", picker(1)).afterCrash(dev.Clone())
					continue
				}
				failing, refused := 0, false
				for range w.steps {
					err := h.step()
					if err != nil {
						failing++
						wantInjected(t, i, err, injected)
						refused = refused || errors.Is(err, base.ErrReadOnly)
						if errors.Is(h.v.Check(), base.ErrClosed) {
							break // a restart failed
						}
					}
				}
				if !dev.Failed() {
					if failing > 0 {
						t.Fatalf("%d operations failed without a fault", failing)
					}
					t.Logf("%d calls; after the fault the volume was usable %d times, read-only %d times", i, usable, readOnly)
					if usable == 0 || readOnly == 0 {
						t.Error("a fault always has the same result")
					}
					return
				}
				if err := h.v.Check(); !errors.Is(err, base.ErrClosed) {
					h.compare()
				}
				if refused {
					readOnly++
				} else {
					usable++
				}
				h.clone("program died", picker(1)).afterCrash(dev.Clone())
				h.clone("power lost", picker(2)).afterCrash(dev.Crash(rand.New(rand.NewPCG(uint64(i), 0))))
			}
		})
	}
}

func wantInjected(t *testing.T, i int, err, injected error) {
	t.Helper()
	if !errors.Is(err, injected) {
		t.Fatalf("fault %d: got %v, want one that wraps %v", i, err, injected)
	}
}

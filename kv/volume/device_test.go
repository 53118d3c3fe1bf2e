package volume_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

// TestDevicesAgainstASlice runs the devices in memory against the simplest
// one there is.
func TestDevicesAgainstASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := []volume.Device{volume.NewMemDevice(), devicetest.New()}
		var want []byte
		resize := func(size int) {
			if size > len(want) {
				want = append(want, make([]byte, size-len(want))...)
			}
			want = want[:size]
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			off := rapid.IntRange(0, 600_000).Draw(t, "off")
			n := rapid.IntRange(0, 300_000).Draw(t, "n")
			op := rapid.IntRange(0, 3).Draw(t, "op")
			p := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(t, "byte"))}, n)
			switch {
			case op == 0:
				resize(off)
			case op == 1 && n > 0:
				resize(max(len(want), off+n))
				copy(want[off:], p)
			}
			for _, d := range devices {
				var err error
				switch op {
				case 0:
					err = d.Truncate(int64(off))
				case 1:
					err = d.WriteAt(p, int64(off))
				case 2:
					err = d.Sync()
				case 3:
					got := make([]byte, n)
					var count int
					count, err = d.ReadAt(got, int64(off))
					part := want[min(off, len(want)):min(off+n, len(want))]
					if !bytes.Equal(got[:count], part) {
						t.Fatalf("%T: ReadAt(%d, %d) returns %d bytes, want %d, or they differ", d, off, n, count, len(part))
					}
				}
				if err != nil {
					t.Fatalf("%T: %v", d, err)
				}
				if size, err := d.Size(); size != int64(len(want)) || err != nil {
					t.Fatalf("%T: size %d, %v, want %d", d, size, err, len(want))
				}
			}
		}
	})
}

func TestMemDeviceRefusesNegativeOffsets(t *testing.T) {
	d := volume.NewMemDevice()
	_, err := d.ReadAt(nil, -1)
	for _, err := range []error{err, d.WriteAt(nil, -1), d.Truncate(-1)} {
		if !errors.Is(err, base.ErrInvalidArgument) {
			t.Errorf("got %v", err)
		}
	}
}

func TestACrashKeepsWhatWasSynced(t *testing.T) {
	d := devicetest.New()
	synced := bytes.Repeat([]byte("s"), 20_000)
	must(t, d.WriteAt(synced, 0), d.Sync())
	must(t, d.WriteAt(bytes.Repeat([]byte("u"), 9000), 10_000), d.WriteAt(bytes.Repeat([]byte("u"), 9000), 30_000))
	if got := d.Crash(nil).Bytes(); !bytes.Equal(got, synced) {
		t.Fatalf("without randomness %d bytes are left", len(got))
	}
	results := map[string]bool{}
	for seed := range uint64(100) {
		got := d.Crash(rand.New(rand.NewPCG(seed, 0))).Bytes()
		if !bytes.Equal(got[:10_000], synced[:10_000]) || !bytes.Equal(got[19_000:20_000], synced[19_000:]) {
			t.Fatalf("seed %d: synced bytes are lost", seed)
		}
		if len(bytes.Trim(got[10_000:], "su\x00")) > 0 {
			t.Fatalf("seed %d: bytes nobody wrote", seed)
		}
		results[string(got)] = true
	}
	if len(results) < 20 || !results[string(synced)] || !results[string(d.Bytes())] {
		t.Errorf("%d results of 100 crashes, or none that keeps nothing, or all", len(results))
	}
}

func TestFaultsOfADevice(t *testing.T) {
	d := devicetest.New()
	must(t, d.WriteAt([]byte("abcd"), 0))
	d.FailAt(1, base.ErrIO)
	must(t, d.Sync())
	if err := d.WriteAt([]byte("efgh"), 4); !errors.Is(err, base.ErrIO) || !d.Failed() {
		t.Fatalf("WriteAt: %v", err)
	}
	if got := d.Bytes(); string(got) != "abcdef" {
		t.Fatalf("a failing write left %q", got)
	}
	must(t, d.Sync())
	d.SetQuota(8)
	must(t, d.WriteAt([]byte("12345678"), 0))
	if err := d.WriteAt([]byte("9"), 8); !errors.Is(err, base.ErrQuota) {
		t.Fatalf("WriteAt over the quota: %v", err)
	}
	must(t, d.WriteAt([]byte("8"), 7))
	d.StopAt(1)
	must(t, d.Sync())
	for range 2 {
		if err := d.Sync(); !errors.Is(err, devicetest.ErrPower) || !d.Stopped() {
			t.Fatalf("Sync without power: %v", err)
		}
	}
}

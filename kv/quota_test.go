package kv_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
)

// smallOptions make logs, tables and levels small, so that a test of few writes
// sees flushes and compactions.
func smallOptions() *kv.Options {
	return &kv.Options{
		MemtableBytes: 64 << 10, MaxImmutables: 1, TableBytes: 16 << 10, Level1Bytes: 64 << 10, BlockBytes: 512,
		BlockCacheBytes: 32 << 10, TableCacheBytes: 8 << 10,
	}
}

// quotaFS is a MemFS that holds so many bytes and no more. A log takes the space
// that it reserves when it is created. The few bytes of a manifest always find
// room: a store that is full to the last byte could not note what is to go.
type quotaFS struct {
	*vfs.MemFS

	mu    sync.Mutex // guards the rest
	left  int64
	files map[vfs.FileDesc]*quotaNode
}

// quotaNode is what a file takes, of which its content fills used.
type quotaNode struct {
	fs          *quotaFS
	fd          vfs.FileDesc
	space, used int64
}

type quotaFile struct {
	vfs.File
	node *quotaNode
}

func newQuotaFS(size int64) *quotaFS {
	return &quotaFS{MemFS: vfs.NewMem(), left: size, files: map[vfs.FileDesc]*quotaNode{}}
}

// grow gives n room for so many more bytes. Needs fs.mu.
func (n *quotaNode) grow(bytes int64) error {
	more := max(0, n.used+bytes-n.space)
	if n.fd.Type != vfs.TypeManifest && more > n.fs.left {
		return base.Wrap(base.ErrQuota, "full", nil)
	}
	n.fs.left -= more
	n.space += more
	return nil
}

func (fs *quotaFS) Create(fd vfs.FileDesc, reserveBytes int64) (vfs.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := &quotaNode{fs: fs, fd: fd}
	if fd.Type == vfs.TypeLog {
		if err := n.grow(reserveBytes); err != nil {
			return nil, err
		}
	}
	fs.files[fd] = n
	f, err := fs.MemFS.Create(fd, reserveBytes)
	return &quotaFile{f, n}, err
}

func (fs *quotaFS) Reopen(fd vfs.FileDesc, size int64) (vfs.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.files[fd]
	n.used = size
	f, err := fs.MemFS.Reopen(fd, size)
	return &quotaFile{f, n}, err
}

func (fs *quotaFS) Remove(fd vfs.FileDesc) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := fs.MemFS.Remove(fd); err != nil {
		return err
	}
	fs.left += fs.files[fd].space
	delete(fs.files, fd)
	return nil
}

// Append writes half of what there is no room for.
func (f *quotaFile) Append(p []byte) error {
	f.node.fs.mu.Lock()
	defer f.node.fs.mu.Unlock()
	if err := f.node.grow(int64(len(p))); err != nil {
		_ = f.File.Append(p[:len(p)/2])
		return err
	}
	f.node.used += int64(len(p))
	return f.File.Append(p)
}

// noise returns incompressible bytes, the same for the same seed.
func noise(seed, size int) []byte {
	rng, b := rand.New(rand.NewPCG(uint64(seed), 1)), make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// fillUp puts values until one does not fit, and returns how many did.
func fillUp(t *testing.T, db *kv.DB, size int) int {
	t.Helper()
	for n := 0; ; n++ {
		if _, err := db.Put(ctx, fmt.Appendf(nil, "%08d", n), noise(n, size), nil); err != nil {
			if !errors.Is(err, kv.ErrQuota) || errors.Is(err, kv.ErrReadOnly) {
				t.Fatalf("put %d: %v", n, err)
			}
			return n
		}
	}
}

// TestAFullStoreIsFreedByClearing fills a store until a write fails for want of
// space, clears it and fills it again.
func TestAFullStoreIsFreedByClearing(t *testing.T) {
	const quota = 2 << 20
	for _, size := range []int{100, 3000, 40_000} {
		for _, reopen := range []bool{false, true} {
			t.Run(fmt.Sprintf("values of %d bytes, reopened %t", size, reopen), func(t *testing.T) {
				fs := newQuotaFS(quota)
				db := open(t, fs, smallOptions())
				full, tries := 0, 0
				for full < 4 {
					n := fillUp(t, db, size)
					// Right after a clear its space may not have come back yet.
					if n*size > quota/3 {
						full++
					} else if tries++; tries > 20 {
						t.Fatalf("only %d bytes fit", n*size)
					}
					if reopen {
						if err := db.Close(); err != nil {
							t.Fatal(err)
						}
						db = open(t, fs, smallOptions())
					}
					for i := 0; i < n; i += max(1, n/50) {
						wantValue(t, db, fmt.Sprintf("%08d", i), string(noise(i, size)))
					}
					wantMissing(t, db, fmt.Sprintf("%08d", n))
					if _, err := db.DeleteRange(ctx, nil, []byte("\xff\xff"), nil); err != nil {
						t.Fatalf("clear: %v", err)
					}
					if got := entries(t, db, nil); got != "" {
						t.Fatalf("after the clear there is %.40q", got)
					}
				}
			})
		}
	}
}

// TestAFullVolumeIsFreedByClearing fills a store in a volume whose host lets it
// grow no more until a write fails, clears it and fills it again, also after
// opening it anew. Quotas end between pages and inside them.
func TestAFullVolumeIsFreedByClearing(t *testing.T) {
	opts := smallOptions()
	opts.TableBytes = 64 << 10 // a page
	for _, quota := range []int64{64 * volume.PageSize, 66*volume.PageSize + 3000, 69*volume.PageSize + 40_000} {
		for _, size := range []int{100, 3000, 40_000} {
			for _, reopen := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d bytes, values of %d, reopened %t", quota, size, reopen), func(t *testing.T) {
					dev := devicetest.New()
					dev.SetQuota(quota)
					var v *volume.Volume
					var db *kv.DB
					begin := func() {
						var err error
						if v, err = volume.Open(dev, nil); err != nil {
							t.Fatal(err)
						}
						db = open(t, v, opts)
					}
					end := func() {
						t.Helper()
						if err := errors.Join(db.Close(), v.Check(), v.Close()); err != nil {
							t.Fatal(err)
						}
					}
					begin()
					for full, tries := 0, 0; full < 3; {
						n := fillUp(t, db, size)
						// Right after a clear its space may not have come back yet.
						if int64(n*size) > quota/4 {
							full++
						} else if tries++; tries > 20 {
							t.Fatalf("only %d bytes fit", n*size)
						}
						if reopen {
							end()
							begin()
						}
						for i := 0; i < n; i += max(1, n/50) {
							wantValue(t, db, fmt.Sprintf("%08d", i), string(noise(i, size)))
						}
						if _, err := db.DeleteRange(ctx, nil, []byte("\xff\xff"), nil); err != nil {
							t.Fatalf("clear: %v", err)
						}
						if got := entries(t, db, nil); got != "" {
							t.Fatalf("after the clear there is %.40q", got)
						}
					}
					end()
				})
			}
		}
	}
}

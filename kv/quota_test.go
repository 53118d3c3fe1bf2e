package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
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

// pageOptions are smallOptions with tables of a volume's page.
func pageOptions() *kv.Options {
	opts := smallOptions()
	opts.TableBytes = volume.PageSize
	return opts
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
	opts := pageOptions()
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

// fullStore is a store in a volume whose host lets it grow no more, and what was
// acknowledged of it: values by number, each under its own key.
type fullStore struct {
	t    *testing.T
	dev  *devicetest.Device
	opts *kv.Options
	v    *volume.Volume
	db   *kv.DB

	size int // of a value
	next int // number of the next value
	live map[int]bool
}

func newFullStore(t *testing.T, quota int64, size int, opts *kv.Options) *fullStore {
	s := &fullStore{t: t, dev: devicetest.New(), opts: opts, size: size, live: map[int]bool{}}
	s.dev.SetQuota(quota)
	s.open()
	return s
}

func (s *fullStore) open() {
	s.t.Helper()
	var err error
	if s.v, err = volume.Open(s.dev, nil); err != nil {
		s.t.Fatal(err)
	}
	s.db = open(s.t, s.v, s.opts)
}

func (s *fullStore) close() {
	s.t.Helper()
	if err := errors.Join(s.db.Close(), s.v.Check(), s.v.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// key scatters the numbers, so that what is put in a row does not lie in one.
func (s *fullStore) key(n int) []byte { return fmt.Appendf(nil, "%08x", uint32(n)*2654435761) }

// put puts values until there are count of them, or one does not fit, and returns
// how many fitted.
func (s *fullStore) put(count int) int {
	s.t.Helper()
	for n := range count {
		if _, err := s.db.Put(ctx, s.key(s.next), noise(s.next, s.size), nil); err != nil {
			if !errors.Is(err, kv.ErrQuota) || errors.Is(err, kv.ErrReadOnly) {
				s.t.Fatalf("put %d: %v", s.next, err)
			}
			return n
		}
		s.live[s.next] = true
		s.next++
	}
	return count
}

// numbers returns those of the live values in order of their keys.
func (s *fullStore) numbers() []int {
	return slices.SortedFunc(maps.Keys(s.live), func(a, b int) int { return bytes.Compare(s.key(a), s.key(b)) })
}

func (s *fullStore) delete(numbers []int) {
	s.t.Helper()
	for i, n := range numbers {
		if _, err := s.db.Delete(ctx, s.key(n), nil); err != nil {
			s.t.Fatalf("delete %d of %d: %v", i, len(numbers), err)
		}
		delete(s.live, n)
	}
}

// check compares all that the store has with what was acknowledged.
func (s *fullStore) check() {
	s.t.Helper()
	numbers := s.numbers()
	scan, err := s.db.Scan(ctx, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer scan.Close()
	for i := 0; scan.Next(); i++ {
		if i == len(numbers) || !bytes.Equal(scan.Key(), s.key(numbers[i])) || !bytes.Equal(scan.Value(), noise(numbers[i], s.size)) {
			s.t.Fatalf("entry %d of %d is %q", i, len(numbers), scan.Key())
		}
		if i == len(numbers)-1 {
			numbers = nil
		}
	}
	if scan.Error() != nil || len(numbers) > 0 {
		s.t.Fatalf("of %d entries some are missing, %v", len(numbers), scan.Error())
	}
	if r, err := s.db.Verify(ctx); err != nil || len(r.Problems) > 0 {
		s.t.Fatalf("%+v, %v", r, err)
	}
	if err := s.v.Check(); err != nil {
		s.t.Fatal(err)
	}
}

// TestAFullVolumeIsFreedBySingleDeletes fills a store until a write fails for want
// of space, deletes much of it key by key, compacts it and goes on putting; several
// times over.
func TestAFullVolumeIsFreedBySingleDeletes(t *testing.T) {
	opts := pageOptions()
	orders := []string{"by key", "by age", "at random"}
	n := 0
	for _, quota := range []int64{64 * volume.PageSize, 99*volume.PageSize + 40_000} {
		for _, size := range []int{100, 3000, 40_000} {
			for _, keep := range []int{2, 10} {
				for _, reopen := range []bool{false, true} {
					n++
					for i, order := range orders {
						// What takes long is done in one order each.
						if (quota/int64(size) > 2000 || reopen) && n%len(orders) != i {
							continue
						}
						if quota/int64(size) > 50_000 {
							continue
						}
						t.Run(fmt.Sprintf("%d bytes, values of %d, one in %d %s, %s, reopened %t", quota, size, keep, keptOrGone[keep], order, reopen), func(t *testing.T) {
							testSingleDeletes(newFullStore(t, quota, size, opts), keep, order, reopen)
						})
					}
				}
			}
		}
	}
}

// keptOrGone says what becomes of one in so many values.
var keptOrGone = map[int]string{2: "deleted", 10: "kept"}

func testSingleDeletes(s *fullStore, keep int, order string, reopen bool) {
	t := s.t
	again := func() {
		if reopen {
			s.close()
			s.open()
		}
	}
	for round := range 3 {
		s.put(math.MaxInt)
		again()
		all := s.numbers()
		var gone []int
		for i, n := range all {
			if (i%keep == 0) == (keptOrGone[keep] == "deleted") {
				gone = append(gone, n)
			}
		}
		switch order {
		case "by age":
			slices.Sort(gone)
		case "at random":
			rand.New(rand.NewPCG(1, uint64(round))).Shuffle(len(gone), func(i, j int) { gone[i], gone[j] = gone[j], gone[i] })
		}
		s.delete(gone[:len(gone)/2])
		again()
		s.delete(gone[len(gone)/2:])
		if err := s.db.Compact(ctx, iterator.Bounds{}); err != nil {
			t.Fatalf("round %d, compact: %v", round, err)
		}
		again()
		if want := len(gone) / 3; s.put(want) < want {
			t.Fatalf("round %d: of %d values, %d were deleted, and fewer than %d new ones fit", round, len(all), len(gone), want)
		}
		s.check()
	}
	s.close()
}

// TestPowerLossDuringARescue: a full store is reopened, half of it deleted key by key
// and compacted, and the power fails at some device call. No strict delete may be
// undone, nothing else be gone, and the store must be recoverable as before.
func TestPowerLossDuringARescue(t *testing.T) {
	opts := pageOptions()
	full := newFullStore(t, 40*volume.PageSize, 1000, opts)
	full.put(math.MaxInt)
	full.close()
	var gone []int
	for i, n := range full.numbers() {
		if i%2 == 0 {
			gone = append(gone, n)
		}
	}
	const stops = 50
	calls := 0 // of a run to the end
	for stop := range stops {
		dev := full.dev.Clone()
		if stop > 0 {
			dev.StopAt(calls * stop / stops)
		}
		acked, strict, refused := 0, 0, 0
		before := dev.Calls().All()
		work := func() error {
			v, err := volume.Open(dev, nil)
			if err != nil {
				return err
			}
			own := *opts
			own.Event = func(e kv.Event) {
				if errors.Is(e.Err, kv.ErrQuota) {
					refused++
				}
			}
			db, err := kv.Open(v, &own)
			if err != nil {
				return err
			}
			defer db.Close()
			for _, n := range gone {
				isStrict := acked%16 == 0
				if _, err := db.Delete(ctx, full.key(n), &kv.WriteOptions{Strict: isStrict}); err != nil {
					return err
				}
				if acked++; isStrict {
					strict = acked
				}
			}
			if err := db.Compact(ctx, iterator.Bounds{}); err != nil {
				return err
			}
			strict = acked // Compact flushes
			return db.Close()
		}
		err := work()
		if stop == 0 {
			if calls = dev.Calls().All() - before; err != nil || refused == 0 {
				t.Fatalf("%v, and space was refused %d times", err, refused)
			}
		} else if err != nil && !errors.Is(err, base.ErrIO) {
			t.Fatalf("stop %d: %v", stop, err)
		}
		check := func(label string, left *devicetest.Device, atLeast int) {
			t.Helper()
			left.SetQuota(40 * volume.PageSize)
			s := &fullStore{t: t, dev: left, opts: opts, size: full.size, next: full.next, live: maps.Clone(full.live)}
			s.open()
			for i, n := range gone {
				_, err := s.db.Get(ctx, s.key(n))
				if err == nil {
					gone := gone[i:]
					if i < atLeast || i > acked+1 { // the one that failed may be there
						t.Fatalf("%s: delete %d is undone, of %d that must be there", label, i, atLeast)
					}
					for _, n := range gone {
						if _, err := s.db.Get(ctx, s.key(n)); err != nil {
							t.Fatalf("%s: deletes are undone in another order: %v", label, err)
						}
					}
					break
				}
				if err != kv.ErrNotFound || i > acked {
					t.Fatalf("%s: %v of key %d, of which %d were deleted", label, err, i, acked)
				}
				delete(s.live, n)
			}
			s.check()
			s.delete(s.numbers()[:len(s.live)/2])
			if err := s.db.Compact(ctx, iterator.Bounds{}); err != nil {
				t.Fatalf("%s: compact: %v", label, err)
			}
			s.check()
			s.close()
		}
		for seed := range uint64(2) {
			check(fmt.Sprintf("stop %d, seed %d", stop, seed), dev.Crash(rand.New(rand.NewPCG(seed, uint64(stop)))), strict)
		}
		check(fmt.Sprintf("stop %d, killed", stop), devicetest.FromBytes(dev.Bytes()), acked)
	}
}

// TestAFullVolumeTakesPutsAfterDeletes: nobody has to ask for a compaction.
func TestAFullVolumeTakesPutsAfterDeletes(t *testing.T) {
	opts := pageOptions()
	s := newFullStore(t, 64*volume.PageSize, 3000, opts)
	for range 3 {
		s.put(math.MaxInt)
		gone := s.numbers()[:len(s.live)/2]
		s.delete(gone)
		if want := len(gone) / 3; s.put(want) < want {
			t.Fatalf("fewer than %d values fit where %d were deleted", want, len(gone))
		}
		s.check()
	}
	s.close()
}

// TestARescueKeepsWhatSnapshotsSee, and gives its space back once none does.
func TestARescueKeepsWhatSnapshotsSee(t *testing.T) {
	opts := pageOptions()
	s := newFullStore(t, 40*volume.PageSize, 3000, opts)
	s.put(math.MaxInt)
	snapshot := snapshot(t, s.db)
	before := s.numbers()
	gone := before[:len(before)*2/3]
	s.delete(gone)
	if err := s.db.Compact(ctx, iterator.Bounds{}); err != nil && !errors.Is(err, kv.ErrQuota) {
		t.Fatal(err)
	}
	s.put(math.MaxInt)
	for _, n := range before {
		if v, err := snapshot.Get(ctx, s.key(n)); err != nil || !bytes.Equal(v, noise(n, s.size)) {
			t.Fatalf("the snapshot sees %.20q, %v for %d", v, err, n)
		}
	}
	s.check()
	snapshot.Close()
	if err := s.db.Compact(ctx, iterator.Bounds{}); err != nil {
		t.Fatal(err)
	}
	if want := len(gone) / 3; s.put(want) < want {
		t.Error("without the snapshot there is no more space")
	}
	s.check()
	s.close()
}

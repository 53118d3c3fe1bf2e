package kv_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume"
)

// tiny makes many small tables, in several levels.
var tiny = kv.Options{MemtableBytes: 1, TableBytes: 4 << 10, Level1Bytes: 16 << 10, BlockBytes: 300}

// fill writes a store of several levels and a log, and returns what it has.
func fill(t testing.TB, db *kv.DB, features bool) map[string]string {
	t.Helper()
	model := map[string]string{}
	apply := func(b *batch.Batch) {
		if _, err := db.Apply(ctx, b, strict); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 6 {
		for i := 0; i < 400; i += 8 {
			var b batch.Batch
			for j := i; j < i+8; j++ {
				key := fmt.Sprintf("key:%05d", (j*7+round*131)%1500)
				switch {
				case (j+round)%5 == 0:
					b.Delete([]byte(key))
					delete(model, key)
				case features && (j+round)%7 == 0:
					b.PutExpiring([]byte(key), []byte("for long"), 1<<60)
					model[key] = "for long"
				default:
					value := fmt.Sprintf("%d %s", round, strings.Repeat("v", j%300))
					b.Put([]byte(key), []byte(value))
					model[key] = value
				}
			}
			if features && i == 200 {
				start, end := fmt.Sprintf("key:%05d", round*100), fmt.Sprintf("key:%05d", round*100+150)
				b.DeleteRange([]byte(start), []byte(end))
				for key := range model {
					if start <= key && key < end {
						delete(model, key)
					}
				}
			}
			apply(&b)
		}
		if round < 5 {
			if err := db.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	return model
}

func verify(t testing.TB, db *kv.DB) kv.VerifyReport {
	t.Helper()
	r, err := db.Verify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVerifyFindsNothingWrongWithAWholeStore(t *testing.T) {
	for _, features := range []bool{false, true} {
		for place, fs := range map[string]vfs.FS{"files": vfs.NewMem(), "volume": openVolume(t, volume.NewMemDevice())} {
			t.Run(fmt.Sprint(place, " ", features), func(t *testing.T) {
				var yields atomic.Int32
				o := tiny
				o.Yield = func(<-chan struct{}) { yields.Add(1) }
				db := open(t, fs, &o)
				fill(t, db, features)
				// What it sees keeps compactions from dropping the tombstones of the
				// second filling, however far they come.
				defer snapshot(t, db).Close()
				fill(t, db, features)
				r := verify(t, db)
				if len(r.Problems) > 0 || r.Tables < 5 || r.Entries < 1000 || r.Logs == 0 || r.LogOperations < 50 || r.TableBytes == 0 || r.LogBytes == 0 {
					t.Errorf("%+v", r)
				}
				if features && r.Expiring == 0 || r.Tombstones == 0 {
					t.Errorf("%+v", r)
				}
				if n := int(yields.Load()); n < r.Tables {
					t.Errorf("gave way %d times", n)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := db.Verify(ctx); err != kv.ErrClosed {
					t.Error("verify a closed store:", err)
				}
			})
		}
	}
}

// settle brings a store to rest, so that it has no files but those it needs, and
// closes it.
func settle(t testing.TB, db *kv.DB) {
	t.Helper()
	if err := db.Compact(ctx, iterator.Bounds{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func openVolume(t testing.TB, dev volume.Device) *volume.Volume {
	t.Helper()
	v, err := volume.Open(dev, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// rottenFS flips a bit of a file from the moment on that rot names one.
type rottenFS struct {
	vfs.FS
	rot func(fd vfs.FileDesc) (offset int64, ok bool)
}

type rottenFile struct {
	vfs.File
	offset int64
}

func (fs *rottenFS) Open(fd vfs.FileDesc) (vfs.File, error) {
	f, err := fs.FS.Open(fd)
	if err != nil || fs.rot == nil {
		return f, err
	}
	if offset, ok := fs.rot(fd); ok {
		return rottenFile{f, offset}, nil
	}
	return f, nil
}

func (f rottenFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if f.offset >= off && f.offset < off+int64(n) {
		p[f.offset-off] ^= 4
	}
	return n, err
}

// TestVerifyFindsEveryFlippedBit damages each file of an open store, somewhere
// else each time.
func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	fs := &rottenFS{FS: vfs.NewMem()}
	o := tiny
	db := open(t, fs, &o)
	fill(t, db, true)
	settle(t, db)
	db = open(t, fs, &o)
	put(t, db, "in the", "log")
	fds, err := fs.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		f, err := fs.FS.Open(fd)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(20) {
			offset := i * (size - 1) / 19
			fs.rot = func(other vfs.FileDesc) (int64, bool) { return offset, other == fd }
			if r := verify(t, db); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "corruption") {
				t.Errorf("%v, byte %d of %d: %q", fd, offset, size, r.Problems)
			}
		}
		fs.rot = nil
		f.Close()
	}
	if r := verify(t, db); len(r.Problems) > 0 {
		t.Error(r.Problems)
	}
}

func TestVerifyTellsOfAMissingTable(t *testing.T) {
	fs := vfs.NewMem()
	o := tiny
	o.TableCacheBytes = 1
	db := open(t, fs, &o)
	fill(t, db, false)
	settle(t, db)
	db = open(t, fs, &o)
	fds, _ := fs.List()
	lost := 0
	for _, fd := range fds {
		if fd.Type == vfs.TypeTable && fd.Num%3 == 0 {
			lost++
			if err := fs.Remove(fd); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := verify(t, db)
	if len(r.Problems) != lost || lost == 0 {
		t.Errorf("%d tables are gone: %q", lost, r.Problems)
	}
	// Whether the store may be closed in peace is not the question here.
	if _, err := db.Put(ctx, []byte("a"), nil, nil); err != nil {
		t.Error(err)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := db.Verify(done); err != context.Canceled {
		t.Error(err)
	}
}

// TestVerifyOfABusyStore verifies while others write, flush and compact.
func TestVerifyOfABusyStore(t *testing.T) {
	o := tiny
	db := open(t, openVolume(t, volume.NewMemDevice()), &o)
	done := make(chan struct{})
	go func() {
		defer close(done)
		value := bytes.Repeat([]byte("v"), 500)
		for i := range 2000 {
			if _, err := db.Put(ctx, fmt.Appendf(nil, "%06d", i*7919%5000), value, nil); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 15 {
		if r := verify(t, db); len(r.Problems) > 0 {
			t.Fatal(r.Problems)
		}
	}
	<-done
	if r := verify(t, db); len(r.Problems) > 0 {
		t.Fatal(r.Problems)
	}
	if db.Recovery().Sequence != base.SeqNum(0) {
		t.Error("the store was not new")
	}
}

// TestCloseEndsACompactionThatWaitsForAFlush: on a host of one thread a
// compaction lets a flush go first, and once span for ever where the DB was
// closed before it heard of the flush.
func TestCloseEndsACompactionThatWaitsForAFlush(t *testing.T) {
	for range 20 {
		o := tiny
		o.Yield = func(<-chan struct{}) { runtime.Gosched() }
		db := open(t, vfs.NewMem(), &o)
		fill(t, db, false)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

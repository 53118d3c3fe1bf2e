package kv_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/manifest"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/errorfs"
	"tempestkv/kv/volume"
)

// wantEntries compares everything in a store with a map.
func wantEntries(t testing.TB, db *kv.DB, want map[string]string) {
	t.Helper()
	var words []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		words = append(words, key+"="+want[key])
	}
	if got := entries(t, db, nil); got != strings.Join(words, " ") {
		t.Fatalf("%d entries, want %d; first difference in\n%.200s\n%.200s", strings.Count(got, "="), len(words), got, strings.Join(words, " "))
	}
}

func TestCopyHasEverythingAndKeepsSequenceNumbers(t *testing.T) {
	for _, features := range []bool{false, true} {
		t.Run(fmt.Sprint("features ", features), func(t *testing.T) {
			o := tiny
			src := open(t, vfs.NewMem(), &o)
			model := fill(t, src, features)
			for place, dst := range map[string]vfs.FS{"files": vfs.NewMem(), "volume": openVolume(t, volume.NewMemDevice())} {
				r, err := src.Copy(ctx, dst, nil)
				if err != nil || r.Entries != uint64(len(model)) || r.Tables < 3 || r.Bytes == 0 || r.Dropped != 0 {
					t.Fatalf("%s: %+v, %v", place, r, err)
				}
				db := open(t, dst, &o)
				wantEntries(t, db, model)
				if r := verify(t, db); len(r.Problems) > 0 || r.Tombstones > 0 || r.RangeTombstones > 0 {
					t.Errorf("%+v", r)
				}
				before, _ := src.Stats(ctx)
				after, _ := db.Stats(ctx)
				if before.Sequence != after.Sequence {
					t.Errorf("sequence number %d became %d", before.Sequence, after.Sequence)
				}
				put(t, db, "more", "of it")
				wantValue(t, db, "more", "of it")
				if _, err := src.Copy(ctx, dst, nil); !errors.Is(err, kv.ErrInvalidArgument) {
					t.Error("a copy over a store:", err)
				}
			}
		})
	}
}

func TestCopyOfAMoment(t *testing.T) {
	src := open(t, vfs.NewMem(), nil)
	put(t, src, "a", "1")
	put(t, src, "b", "2")
	s, err := src.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	put(t, src, "a", "later")
	if _, err := src.DeleteRange(ctx, nil, []byte("\xff\xff"), nil); err != nil {
		t.Fatal(err)
	}
	dst := vfs.NewMem()
	if _, err := src.Copy(ctx, dst, &kv.CopyOptions{At: s}); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, open(t, dst, nil), map[string]string{"a": "1", "b": "2"})
	s.Close()
	if _, err := src.Copy(ctx, vfs.NewMem(), &kv.CopyOptions{At: s}); !errors.Is(err, kv.ErrClosed) {
		t.Error("a copy of a closed snapshot:", err)
	}
}

func TestCopyOfValuesThatExpire(t *testing.T) {
	now := int64(1000)
	o := &kv.Options{Now: func() int64 { return now }}
	src := open(t, vfs.NewMem(), o)
	var b batch.Batch
	b.PutExpiring([]byte("long"), []byte("l"), 5000)
	b.PutExpiring([]byte("short"), []byte("s"), 1500)
	b.Put([]byte("ever"), []byte("e"))
	if _, err := src.Apply(ctx, &b, nil); err != nil {
		t.Fatal(err)
	}
	now = 2000

	dst := vfs.NewMem()
	if r, err := src.Copy(ctx, dst, nil); err != nil || r.Entries != 2 {
		t.Fatal(r, err)
	}
	db := open(t, dst, o)
	wantEntries(t, db, map[string]string{"ever": "e", "long": "l"})
	now = 5000
	wantEntries(t, db, map[string]string{"ever": "e"})
	now = 2000

	refused := vfs.NewMem()
	if _, err := src.Copy(ctx, refused, &kv.CopyOptions{LevelDB: true}); !errors.Is(err, kv.ErrNotSupported) || !strings.Contains(err.Error(), `"long"`) {
		t.Error(err)
	}
	if fds, _ := refused.List(); len(fds) > 0 {
		t.Error("a refused copy left", fds)
	}
	plain := vfs.NewMem()
	if r, err := src.Copy(ctx, plain, &kv.CopyOptions{LevelDB: true, DropExpiry: true}); err != nil || r.Dropped != 1 {
		t.Fatal(r, err)
	}
	m, err := manifest.Open(plain, manifest.Options{Comparer: base.Bytewise})
	if err != nil || len(m.State().Features) > 0 {
		t.Error(m, err)
	}
	now = 9000
	wantEntries(t, open(t, plain, o), map[string]string{"ever": "e", "long": "l"})

	versions := open(t, vfs.NewMem(), &kv.Options{Comparer: base.FixedSuffix(8)})
	if _, err := versions.Copy(ctx, vfs.NewMem(), &kv.CopyOptions{LevelDB: true}); !errors.Is(err, kv.ErrNotSupported) {
		t.Error("another comparer:", err)
	}
}

func TestCopyOfVersionedKeys(t *testing.T) {
	o := &kv.Options{Comparer: base.FixedSuffix(1)}
	src := open(t, vfs.NewMem(), o)
	for _, key := range []string{"a1", "a2", "b1", "b2"} {
		put(t, src, key, "of "+key)
	}
	if _, err := src.Delete(ctx, []byte("b2"), nil); err != nil {
		t.Fatal(err)
	}
	dst := vfs.NewMem()
	if _, err := src.Copy(ctx, dst, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := entries(t, open(t, dst, o), nil), entries(t, src, nil); got != want || want != "a2=of a2" {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestCopyLeavesNothingWhereItFails fails operation i of the copy's FS, for
// every i.
func TestCopyLeavesNothingWhereItFails(t *testing.T) {
	o := tiny
	src := open(t, vfs.NewMem(), &o)
	model := fill(t, src, true)
	failure := errors.New("injected")
	for i := 0; ; i++ {
		mem := vfs.NewMem()
		dst := errorfs.Wrap(mem)
		dst.Inject(errorfs.Fault{Index: i, Err: failure})
		_, err := src.Copy(ctx, dst, nil)
		if err == nil {
			// What failed was none of it, or a marker that is not needed.
			wantEntries(t, open(t, mem, &o), model)
			if dst.Hits() == 0 {
				break
			}
			continue
		}
		if !errors.Is(err, failure) {
			t.Fatalf("operation %d: %v", i, err)
		}
		if fds, _ := mem.List(); len(fds) > 0 {
			t.Fatalf("operation %d: %v is left", i, fds)
		}
	}
}

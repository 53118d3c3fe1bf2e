package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/manifest"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/vfstest"
	"tempestkv/kv/volume"
)

// copyFiles copies the files of an FS, but for what change says of them: nil
// leaves a file out.
func copyFiles(t testing.TB, fs vfs.FS, change func(fd vfs.FileDesc, data []byte) []byte) *vfs.MemFS {
	t.Helper()
	to := vfs.NewMem()
	fds, err := fs.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		data := change(fd, vfstest.ReadFile(t, fs, fd))
		if data == nil {
			continue
		}
		f, err := to.Create(fd, 0)
		if err == nil {
			err = errors.Join(f.Append(data), f.Sync(), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if c, ok := fs.(vfs.CurrentSetter); ok {
		if fd, err := c.Current(); err == nil {
			// What names a manifest that is gone is damage too, but no FS makes it.
			if err := to.SetCurrent(fd); err != nil && !errors.Is(err, vfs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	return to
}

// repair repairs src into a new store and returns what that has, after it was
// verified. src must be as it was.
func repair(t testing.TB, src vfs.FS, opts *kv.Options) (map[string]string, kv.RepairReport) {
	t.Helper()
	before := map[string]string{}
	fds, _ := src.List()
	for _, fd := range fds {
		before[fd.String()] = string(vfstest.ReadFile(t, src, fd))
	}
	dst := vfs.NewMem()
	report, err := kv.Repair(src, dst, opts)
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := src.List(); !slices.Equal(fds, after) {
		t.Fatal("the damaged store has other files now")
	}
	for _, fd := range fds {
		if before[fd.String()] != string(vfstest.ReadFile(t, src, fd)) {
			t.Fatal(fd, "was changed")
		}
	}
	db := open(t, dst, opts)
	if r := verify(t, db); len(r.Problems) > 0 {
		t.Fatal(r.Problems)
	}
	have := map[string]string{}
	s, err := db.Scan(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for s.Next() {
		have[string(s.Key())] = string(s.Value())
	}
	if err := s.Error(); err != nil || len(have) != int(report.Entries) {
		t.Fatalf("%d entries, the report says %d: %v", len(have), report.Entries, err)
	}
	put(t, db, "and it", "goes on")
	return have, report
}

// onceStore returns a closed store in which each key was written once, and so
// lies in one file alone, and which keys each file has.
func onceStore(t testing.TB) (*vfs.MemFS, map[string]string, map[vfs.FileDesc][]string) {
	t.Helper()
	fs := vfs.NewMem()
	o := tiny
	db := open(t, fs, &o)
	model := map[string]string{}
	for i := range 1500 {
		key, value := fmt.Sprintf("key:%05d", i*7919%100000), fmt.Sprint(i, strings.Repeat("v", i%80))
		model[key] = value
		put(t, db, key, value)
		if i == 1200 {
			settle(t, db)
			db = open(t, fs, &o)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	where := map[vfs.FileDesc][]string{}
	left := maps.Clone(model)
	m, err := manifest.Open(fs, manifest.Options{Comparer: base.Bytewise})
	if err != nil {
		t.Fatal(err)
	}
	for level := range manifest.NumLevels {
		for _, meta := range m.Version().Files(level) {
			f, err := fs.Open(meta.Desc())
			if err != nil {
				t.Fatal(err)
			}
			r, err := sst.Open(f, sst.ReaderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			it := r.NewIter()
			for ok := it.First(); ok; ok = it.Next() {
				key := string(it.Key().UserKey)
				where[meta.Desc()] = append(where[meta.Desc()], key)
				delete(left, key)
			}
			f.Close()
		}
	}
	fds, _ := fs.List()
	for _, fd := range fds {
		if fd.Type == vfs.TypeLog {
			where[fd] = slices.Collect(maps.Keys(left))
		}
	}
	if len(left) < 100 || len(where) < 10 {
		t.Fatalf("%d entries in logs, %d files", len(left), len(where))
	}
	return fs, model, where
}

// TestRepairKeepsEverythingThatIsWhole damages each file, in turn, in many ways.
func TestRepairKeepsEverythingThatIsWhole(t *testing.T) {
	fs, model, where := onceStore(t)
	o := tiny
	if have, report := repair(t, fs, &o); !maps.Equal(have, model) || len(report.Lost) > 0 {
		t.Fatalf("of a whole store: %d of %d entries, lost %v", len(have), len(model), report.Lost)
	}
	ways := map[string]func(data []byte) []byte{
		"removed":         func([]byte) []byte { return nil },
		"empty":           func([]byte) []byte { return []byte{} },
		"half":            func(b []byte) []byte { return b[:len(b)/2] },
		"without its end": func(b []byte) []byte { return b[:len(b)-1] },
		"zeros inside": func(b []byte) []byte {
			clear(b[len(b)/3 : len(b)/3+min(512, len(b)/8)])
			return b
		},
	}
	for part := range 6 {
		ways[fmt.Sprint("a bit at ", part, "/5")] = func(b []byte) []byte {
			b[part*(len(b)-1)/5] ^= 0x20
			return b
		}
	}
	// More of a file than a block or a batch may be lost only where more is damaged.
	few := func(way string) bool { return strings.HasPrefix(way, "a bit") || way == "without its end" }
	fds, _ := fs.List()
	for _, fd := range fds {
		for way, change := range ways {
			src := copyFiles(t, fs, func(other vfs.FileDesc, data []byte) []byte {
				if other == fd {
					return change(bytes.Clone(data))
				}
				return data
			})
			have, report := repair(t, src, &o)
			gone := 0
			for key, value := range model {
				if got, ok := have[key]; ok && got != value {
					t.Fatalf("%v %s: %q has become %q", fd, way, key, got)
				} else if !ok {
					gone++
					if !slices.Contains(where[fd], key) {
						t.Fatalf("%v %s: %q is gone, which was elsewhere", fd, way, key)
					}
				}
			}
			// A log that is empty might never have had anything.
			unseen := fd.Type == vfs.TypeLog && way == "empty"
			if gone > 0 && len(report.Lost) == 0 && !unseen || len(have)+gone != len(model) {
				t.Fatalf("%v %s: %d of %d entries are gone, lost %v", fd, way, gone, len(model), report.Lost)
			}
			if gone > 20 && few(way) {
				t.Fatalf("%v %s: %d entries are gone, lost %v", fd, way, gone, report.Lost)
			}
			if gone < len(where[fd]) && (way == "removed" || way == "empty") {
				t.Fatalf("%v %s: %d entries are gone of %d", fd, way, gone, len(where[fd]))
			}
			guess := uint64(0)
			for _, l := range report.Lost {
				guess += l.Writes
			}
			if fd.Type == vfs.TypeTable && gone > 20 && (guess < uint64(gone)/3 || guess > uint64(gone)*3) {
				t.Errorf("%v %s: %d entries are gone, guessed %d", fd, way, gone, guess)
			}
		}
	}
}

// TestRepairWithoutTheManifest: overwritten values stay hidden by newer ones,
// wherever they lie.
func TestRepairWithoutTheManifest(t *testing.T) {
	for _, features := range []bool{false, true} {
		fs := vfs.NewMem()
		o := tiny
		db := open(t, fs, &o)
		model := fill(t, db, features)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, fd := range []string{"CURRENT", "manifest"} {
			src := copyFiles(t, fs, func(other vfs.FileDesc, data []byte) []byte {
				if fd == "manifest" && other.Type == vfs.TypeManifest {
					return nil
				}
				return data
			})
			hidden := vfs.FS(src)
			if fd == "CURRENT" {
				hidden = lostCurrent{src}
			}
			have, report := repair(t, hidden, &o)
			if len(report.Lost) != 1 || (report.Manifest == "") != (fd == "manifest") {
				t.Errorf("without %s: %+v", fd, report)
			}
			for key, value := range model {
				if have[key] != value {
					t.Fatalf("features %t, without %s: %q is %.40q, not %.40q", features, fd, key, have[key], value)
				}
			}
			if fd == "CURRENT" && len(have) != len(model) {
				t.Errorf("features %t: %d entries, not %d", features, len(have), len(model))
			}
		}
	}
}

// lostCurrent has lost its file CURRENT.
type lostCurrent struct{ *vfs.MemFS }

func (lostCurrent) Current() (vfs.FileDesc, error) {
	return vfs.FileDesc{}, base.Wrap(vfs.ErrNotExist, "CURRENT", nil)
}

// TestRepairBehindDamageInALog: what follows counts, and the report says how
// many writes are missing.
func TestRepairBehindDamageInALog(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, nil)
	for i := range 4000 {
		put(t, db, fmt.Sprintf("%04d", i), strings.Repeat("v", 50))
	}
	// A copy of another log is no part of this one.
	other := vfs.NewMem()
	stranger := open(t, other, nil)
	for i := range 4100 {
		put(t, stranger, fmt.Sprint("stranger ", i), "")
	}
	stranger.Close()
	fds, _ := other.List()
	if err := func() error {
		_, err := db.Put(ctx, []byte("copy"), vfstest.ReadFile(t, other, fds[len(fds)-1]), strict)
		return err
	}(); err != nil {
		t.Fatal(err)
	}
	put(t, db, "last", "one")
	db.Close()
	for _, damage := range []int{3 << 15, 3<<15 + 20000, 300 << 10} {
		src := copyFiles(t, fs, func(fd vfs.FileDesc, data []byte) []byte {
			if fd.Type == vfs.TypeLog {
				data[damage] ^= 1
				if damage == 300<<10 {
					clear(data[damage : damage+40000])
				}
			}
			return data
		})
		if _, err := kv.Open(src, nil); !errors.Is(err, kv.ErrCorruption) {
			t.Fatal(err)
		}
		have, report := repair(t, src, nil)
		missing := 4002 - len(have)
		if missing == 0 || missing > 800 || len(report.Lost) != 1 || report.Lost[0].Writes != uint64(missing) {
			t.Errorf("damage at %d: %d are missing, lost %v", damage, missing, report.Lost)
		}
		if have["last"] != "one" {
			t.Error("what stands behind the damage does not count")
		}
		for key := range have {
			if strings.HasPrefix(key, "stranger") {
				t.Fatal("a copy of another log was taken for a part of this one")
			}
		}
	}
}

func TestRepairInAVolume(t *testing.T) {
	o := tiny
	dev := volume.NewMemDevice()
	db := open(t, openVolume(t, dev), &o)
	model := fill(t, db, true)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if have, report := repair(t, openVolume(t, dev), &o); !maps.Equal(have, model) || len(report.Lost) > 0 {
		t.Errorf("%d of %d entries, lost %v", len(have), len(model), report.Lost)
	}
}

func TestRepairRefuses(t *testing.T) {
	fs, _, _ := onceStore(t)
	if _, err := kv.Repair(fs, fs, nil); !errors.Is(err, kv.ErrInvalidArgument) {
		t.Error("into itself:", err)
	}
	if _, err := kv.Repair(fs, vfs.NewMem(), &kv.Options{Comparer: base.FixedSuffix(8)}); !errors.Is(err, kv.ErrInvalidArgument) {
		t.Error("with another comparer:", err)
	}
	newer := vfs.NewMem()
	var e manifest.VersionEdit
	e.SetLogNum(0)
	e.SetLastSeq(0)
	e.Features = []string{"of tomorrow"}
	if _, err := manifest.Create(newer, 1, &e, manifest.Options{Comparer: base.Bytewise}); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Repair(newer, vfs.NewMem(), nil); !errors.Is(err, kv.ErrNotSupported) {
		t.Error("of a newer version:", err)
	}
}

func TestRepairOfNothing(t *testing.T) {
	if have, report := repair(t, vfs.NewMem(), nil); len(have) > 0 || len(report.Lost) > 0 {
		t.Error(have, report)
	}
}

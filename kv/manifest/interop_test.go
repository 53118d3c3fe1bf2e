//go:build !js

// goleveldb does not build for js.

package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/osfs"
)

// small makes goleveldb spread few keys over tables of several levels.
var small = &opt.Options{WriteBuffer: 8 << 10, CompactionTableSize: 4 << 10, CompactionTotalSize: 16 << 10, CompactionL0Trigger: 3}

const theirKeys = 3000

// theirStore makes a store with goleveldb.
func theirStore(t *testing.T, dir string) {
	t.Helper()
	db, err := leveldb.OpenFile(dir, small)
	must(t, err)
	for i := range theirKeys {
		key := fmt.Sprintf("key %05d", i*7919%theirKeys)
		must(t, db.Put([]byte(key), []byte(strings.Repeat(key, 5)), nil))
		if i == theirKeys/2 {
			must(t, db.CompactRange(util.Range{Limit: []byte("key 01000")}))
		}
	}
	must(t, db.Close())
}

// theirTables returns what goleveldb knows of the tables in dir: number and
// size by level.
func theirTables(t *testing.T, dir string) string {
	t.Helper()
	db, err := leveldb.OpenFile(dir, &opt.Options{ReadOnly: true})
	must(t, err)
	defer db.Close()
	text, err := db.GetProperty("leveldb.sstables")
	must(t, err)
	return regexp.MustCompile(`(?m)\[.*$`).ReplaceAllString(text, "")
}

// ourTables returns the same of a version.
func ourTables(v *Version) string {
	last := NumLevels - 1
	for ; last > 0 && len(v.Files(last)) == 0; last-- {
	}
	var b strings.Builder
	for level := range last + 1 {
		fmt.Fprintf(&b, "--- level %d ---\n", level)
		for _, f := range v.Files(level) {
			fmt.Fprintf(&b, "%d:%d\n", f.Num, f.Size)
		}
	}
	return b.String()
}

func openFolder(t *testing.T, dir string) *osfs.FS {
	t.Helper()
	fs, err := osfs.Open(dir)
	must(t, err)
	return fs
}

func wantTheirKeys(t *testing.T, dir string) {
	t.Helper()
	db, err := leveldb.OpenFile(dir, small)
	must(t, err)
	defer db.Close()
	for i := range theirKeys {
		key := fmt.Sprintf("key %05d", i)
		if got, err := db.Get([]byte(key), nil); err != nil || string(got) != strings.Repeat(key, 5) {
			t.Fatalf("%s: %q, %v", key, got, err)
		}
	}
}

// TestAFolderGoesBackAndForth: goleveldb makes a store; we read its manifest, go
// on in it, and write one of our own; goleveldb reads ours each time.
func TestAFolderGoesBackAndForth(t *testing.T) {
	dir := t.TempDir()
	theirStore(t, dir)
	var desc vfs.FileDesc
	for round, rotate := range []int64{1 << 20, 1} {
		want := theirTables(t, dir)
		fs := openFolder(t, dir)
		l, err := Open(fs, Options{Comparer: base.Bytewise, RotateBytes: rotate})
		must(t, err)
		if got := ourTables(l.Version()); got != want || strings.Count(got, "level") < 2 || l.Torn() != "" {
			t.Fatalf("round %d: we read\n%s, goleveldb\n%s%s", round, got, want, l.Torn())
		}
		// An edit that moves a table down where nothing is, and some that say
		// little, so that ours rotate.
		deepest := 0
		for level := range NumLevels {
			if len(l.Version().Files(level)) > 0 {
				deepest = level
			}
		}
		f := l.Version().Files(deepest)[0]
		e := &VersionEdit{CompactPointers: []CompactPointer{{deepest, f.Largest}}}
		e.Delete(deepest, f.Num)
		e.Add(deepest+1, f)
		must(t, l.Append(e))
		for range 20 {
			e := &VersionEdit{}
			e.SetLastSeq(l.State().LastSeq)
			must(t, l.Append(e))
		}
		if rotated := l.Desc() != desc && round > 0; round > 0 && !rotated {
			t.Errorf("%v was not rotated", desc)
		}
		desc = l.Desc()
		must(t, l.Close())
		want = ourTables(l.Version())
		must(t, fs.Close())
		if text, err := os.ReadFile(filepath.Join(dir, "CURRENT")); err != nil || string(text) != desc.String()+"\n" {
			t.Errorf("CURRENT is %q, %v", text, err)
		}
		if got := theirTables(t, dir); got != want {
			t.Fatalf("round %d: goleveldb reads\n%s, want\n%s", round, got, want)
		}
	}
	wantTheirKeys(t, dir)
}

// TestGoleveldbReadsAManifestWeCreate gives a folder of goleveldb a manifest
// that is ours from its first byte.
func TestGoleveldbReadsAManifestWeCreate(t *testing.T) {
	dir := t.TempDir()
	theirStore(t, dir)
	want := theirTables(t, dir)
	fs := openFolder(t, dir)
	theirs, err := Open(fs, options)
	must(t, err)
	l, err := Create(fs, theirs.NewFileNum(), theirs.state.snapshot(theirs.version), options)
	must(t, err)
	must(t, fs.Remove(theirs.Desc()))
	if dumpLog(l) != dumpLog(theirs) {
		t.Errorf("we made\n%s, of\n%s", dumpLog(l), dumpLog(theirs))
	}
	must(t, l.Close())
	must(t, fs.Close())
	if got := theirTables(t, dir); got != want {
		t.Errorf("goleveldb reads\n%s, want\n%s", got, want)
	}
	wantTheirKeys(t, dir)
}

// TestTheirFirstManifestHasNumberZero: only goleveldb counts from there.
func TestTheirFirstManifestHasNumberZero(t *testing.T) {
	dir := t.TempDir()
	db, err := leveldb.OpenFile(dir, nil)
	must(t, err)
	must(t, db.Close())
	fs := openFolder(t, dir)
	defer fs.Close()
	l, err := Open(fs, Options{Comparer: base.Bytewise, RotateBytes: 1})
	must(t, err)
	if l.Desc() != manifestFile(0) {
		t.Fatalf("%v is current", l.Desc())
	}
	for range 20 {
		must(t, l.Append(&VersionEdit{}))
	}
	must(t, l.Close())
	if got := manifests(t, fs); len(got) != 1 || got[0] != l.Desc() || got[0].Num == 0 {
		t.Errorf("manifests %v, current %v", got, l.Desc())
	}
}

// TestGoleveldbRefusesAStoreWithFeatures, also where the feature comes to an
// existing store.
func TestGoleveldbRefusesAStoreWithFeatures(t *testing.T) {
	dir := t.TempDir()
	theirStore(t, dir)
	fs := openFolder(t, dir)
	l, err := Open(fs, options)
	must(t, err)
	must(t, l.Append(&VersionEdit{Features: []string{FeatureRangeDelete}}))
	must(t, l.Append(parseEdit(t, "range 1 made 1 until 2 a..b")))
	must(t, l.Close())
	must(t, fs.Close())
	for _, o := range []*opt.Options{nil, {Strict: opt.StrictAll}, {ReadOnly: true}} {
		if db, err := leveldb.OpenFile(dir, o); !errors.IsCorrupted(err) {
			t.Errorf("options %+v: %v", o, err)
			if err == nil {
				db.Close()
			}
		}
	}
	fs = openFolder(t, dir)
	defer fs.Close()
	if got := open(t, fs).State().Features; len(got) != 1 || got[0] != FeatureRangeDelete {
		t.Errorf("features %q", got)
	}
}

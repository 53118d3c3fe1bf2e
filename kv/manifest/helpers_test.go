package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tempestkv/kv/base"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/vfs"
)

// tester is what helpers need of a *testing.T, *testing.F or *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func must(t tester, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t tester, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// The text form: a field of an edit a line, such as
//
//	feature name
//	comparer name
//	log 3, prev-log 2, next-file 9, last-seq 12   (each on a line of its own)
//	compact L1 k#5,PUT
//	delete L0 4
//	add L1 7 2000 a#3,PUT z#1,DEL
//	delete-range 9
//	range 10 made 3 until 5 a..c
//
// A level of a version is a line of its tables, "L1 7:2000[a#3,PUT z#1,DEL]"; its
// range tombstones are one too, "ranges 10:3-5[a c)".

func showKey(k base.InternalKey) string {
	kind := map[base.Kind]string{base.KindDelete: "DEL", base.KindPut: "PUT", base.KindPutExpiring: "EXP"}[k.Kind()]
	return fmt.Sprintf("%s#%d,%s", k.UserKey, k.SeqNum(), kind)
}

func parseKey(t tester, s string) base.InternalKey {
	t.Helper()
	user, rest, ok := strings.Cut(s, "#")
	seq, kind, _ := strings.Cut(rest, ",")
	n, err := strconv.ParseUint(seq, 10, 56)
	k, known := map[string]base.Kind{"DEL": base.KindDelete, "PUT": base.KindPut, "EXP": base.KindPutExpiring}[kind]
	if !ok || err != nil || !known {
		t.Fatalf("no internal key: %q", s)
	}
	return base.MakeInternalKey([]byte(user), base.SeqNum(n), k)
}

func dumpEdit(e *VersionEdit) string {
	var b strings.Builder
	for _, name := range e.Features {
		fmt.Fprintf(&b, "feature %s\n", name)
	}
	for _, f := range []struct {
		has  Fields
		name string
		v    any
	}{
		{HasComparer, "comparer", e.Comparer}, {HasLogNum, "log", e.LogNum}, {HasPrevLogNum, "prev-log", e.PrevLogNum},
		{HasNextFileNum, "next-file", e.NextFileNum}, {HasLastSeq, "last-seq", uint64(e.LastSeq)},
	} {
		if e.Has&f.has != 0 {
			fmt.Fprintf(&b, "%s %v\n", f.name, f.v)
		}
	}
	for _, c := range e.CompactPointers {
		fmt.Fprintf(&b, "compact L%d %s\n", c.Level, showKey(c.Key))
	}
	for _, d := range e.Deleted {
		fmt.Fprintf(&b, "delete L%d %d\n", d.Level, d.Num)
	}
	for _, n := range e.New {
		fmt.Fprintf(&b, "add L%d %d %d %s %s\n", n.Level, n.File.Num, n.File.Size, showKey(n.File.Smallest), showKey(n.File.Largest))
	}
	for _, seq := range e.DeletedRanges {
		fmt.Fprintf(&b, "delete-range %d\n", seq)
	}
	for _, t := range e.NewRanges {
		fmt.Fprintf(&b, "range %d made %d until %d %s..%s\n", t.Seq, t.Made, t.Until, t.Start, t.End)
	}
	return b.String()
}

func parseEdit(t tester, text string) *VersionEdit {
	t.Helper()
	e := &VersionEdit{}
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		num := func(i int) uint64 {
			n, err := strconv.ParseUint(strings.TrimPrefix(w[i], "L"), 10, 64)
			must(t, err)
			return n
		}
		switch w[0] {
		case "feature":
			e.Features = append(e.Features, w[1])
		case "comparer":
			e.Has, e.Comparer = e.Has|HasComparer, w[1]
		case "log":
			e.SetLogNum(num(1))
		case "prev-log":
			e.Has, e.PrevLogNum = e.Has|HasPrevLogNum, num(1)
		case "next-file":
			e.Has, e.NextFileNum = e.Has|HasNextFileNum, num(1)
		case "last-seq":
			e.SetLastSeq(base.SeqNum(num(1)))
		case "compact":
			e.CompactPointers = append(e.CompactPointers, CompactPointer{int(num(1)), parseKey(t, w[2])})
		case "delete":
			e.Delete(int(num(1)), num(2))
		case "add":
			e.Add(int(num(1)), &FileMeta{Num: num(2), Size: num(3), Smallest: parseKey(t, w[4]), Largest: parseKey(t, w[5])})
		case "delete-range":
			e.DeleteRange(base.SeqNum(num(1)))
		case "range":
			start, end, _ := strings.Cut(w[6], "..")
			e.AddRange(RangeTombstone{rangedel.Tombstone{Start: []byte(start), End: []byte(end), Seq: base.SeqNum(num(1))}, num(3), num(5)})
		default:
			t.Fatalf("no field: %s", line)
		}
	}
	return e
}

func dumpFiles(files []*FileMeta) string {
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, " %d:%d[%s %s]", f.Num, f.Size, showKey(f.Smallest), showKey(f.Largest))
	}
	return b.String()
}

func dumpRanges(ranges []RangeTombstone) string {
	var b strings.Builder
	for _, t := range ranges {
		fmt.Fprintf(&b, " %d:%d-%d[%s %s)", t.Seq, t.Made, t.Until, t.Start, t.End)
	}
	return b.String()
}

func dumpVersion(v *Version) string {
	var b strings.Builder
	for level := range NumLevels {
		if files := v.Files(level); len(files) > 0 {
			fmt.Fprintf(&b, "L%d%s\n", level, dumpFiles(files))
		}
	}
	if len(v.RangeTombstones()) > 0 {
		fmt.Fprintf(&b, "ranges%s\n", dumpRanges(v.RangeTombstones()))
	}
	return b.String()
}

// dumpLog shows version and state, without the next file number: it grows by
// itself.
func dumpLog(l *Log) string {
	e := l.state.snapshot(l.version)
	e.Has &^= HasNextFileNum
	e.New, e.NewRanges = nil, nil
	return dumpEdit(e) + dumpVersion(l.version)
}

// plain is an FS that cannot say which manifest is current.
type plain struct{ vfs.FS }

// modes are the two ways to know the current manifest.
var modes = []struct {
	name string
	wrap func(vfs.FS) vfs.FS
}{
	{"CURRENT", func(fs vfs.FS) vfs.FS { return fs }},
	{"highest number", func(fs vfs.FS) vfs.FS { return plain{fs} }},
}

func manifestFile(num uint64) vfs.FileDesc { return vfs.FileDesc{Type: vfs.TypeManifest, Num: num} }
func tableFile(num uint64) vfs.FileDesc    { return vfs.FileDesc{Type: vfs.TypeTable, Num: num} }

// touch makes an empty file.
func touch(t tester, fs vfs.FS, fd vfs.FileDesc) {
	t.Helper()
	f, err := fs.Create(fd, 0)
	must(t, err)
	must(t, f.Close())
}

// writeFile gives the file fd, which may exist, the content b.
func writeFile(t tester, fs vfs.FS, fd vfs.FileDesc, b []byte) {
	t.Helper()
	f, err := fs.Create(fd, 0)
	if errors.Is(err, vfs.ErrExist) {
		f, err = fs.Reopen(fd, 0)
	}
	must(t, err)
	must(t, errors.Join(f.Append(b), f.Sync(), f.Close()))
}

// replayBytes reads a manifest without a file system.
func replayBytes(b []byte) (*Log, error) {
	l := newLog(nil, options)
	l.fd = manifestFile(1)
	return l, l.replay(bytes.NewReader(b), int64(len(b)))
}

var options = Options{Comparer: base.Bytewise, Features: []string{"known", "other", FeatureRangeDelete}}

func manifests(t tester, fs vfs.FS) []vfs.FileDesc {
	t.Helper()
	files, err := fs.List()
	must(t, err)
	return slices.DeleteFunc(files, func(fd vfs.FileDesc) bool { return fd.Type != vfs.TypeManifest })
}

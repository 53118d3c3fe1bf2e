package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/errorfs"
	"tempestkv/kv/vfs/vfstest"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/devicetest"
	"tempestkv/kv/wal"
)

// open opens the manifest in fs.
func open(t tester, fs vfs.FS) *Log {
	t.Helper()
	l, err := Open(fs, options)
	must(t, err)
	return l
}

// history is the life of a store's manifest: a creation, then edits. Each flush
// adds a table, some edits move or delete some.
type history struct {
	fs      vfs.FS
	opts    Options
	l       *Log
	states  []string // after the creation and each edit; the last may not count yet
	acked   int      // the last of states that was told to us, -1 for none
	created bool
}

const historyEdits = 12

// newHistory prepares a history in fs, with manifests that rotate soon.
func newHistory(t tester, fs vfs.FS) *history {
	h := &history{fs: fs, acked: -1, opts: options}
	h.opts.RotateBytes = 200
	h.opts.Obsolete = func(files []*FileMeta) {
		for _, f := range files {
			// One that a fault keeps from going is an orphan.
			_ = fs.Remove(f.Desc())
		}
	}
	return h
}

// edit returns the edit number n, from 1, and makes its table.
func (h *history) edit(n int) (*VersionEdit, error) {
	num := h.l.NewFileNum()
	f, err := h.fs.Create(tableFile(num), 0)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return nil, err
	}
	e := &VersionEdit{}
	e.SetLogNum(num)
	e.SetLastSeq(base.SeqNum(10 * n))
	key := []byte(fmt.Sprintf("key %03d", n))
	e.Add(0, &FileMeta{Num: num, Size: uint64(n), Smallest: base.MakeInternalKey(key, base.SeqNum(n), base.KindPut),
		Largest: base.MakeInternalKey(bytes.Repeat(key, 1+n%3*5), base.SeqNum(n), base.KindDelete)})
	if files := h.l.Version().Files(0); n%3 == 0 {
		e.Delete(0, files[0].Num)
		e.Add(1, files[0])
		e.CompactPointers = append(e.CompactPointers, CompactPointer{0, files[0].Largest})
	} else if n%5 == 0 {
		e.Delete(0, files[0].Num)
	}
	if n == 7 {
		e.Features = []string{"known", FeatureRangeDelete}
	}
	if n >= 7 {
		e.AddRange(RangeTombstone{rangedel.Tombstone{Start: key, End: append(key, '~'), Seq: base.SeqNum(10 * n)}, num, num + 1})
	}
	if n >= 9 && n%2 == 1 {
		e.DeleteRange(base.SeqNum(10 * (n - 1)))
		// The one before that is needed for longer.
		t := h.l.Version().RangeTombstones()[0]
		e.DeleteRange(t.Seq)
		t.Until = num
		e.AddRange(t)
	}
	return e, nil
}

// step creates the manifest, or appends the next edit. e is the edit to append
// again where an earlier attempt failed.
func (h *history) step(e *VersionEdit) (*VersionEdit, error) {
	if h.l == nil {
		files, err := h.fs.List()
		if err != nil {
			return nil, err
		}
		num := uint64(1)
		if len(files) > 0 {
			num = files[len(files)-1].Num + 1
		}
		h.states = []string{"log 5\nprev-log 0\nlast-seq 0\n"}
		snapshot := &VersionEdit{}
		snapshot.SetLogNum(5)
		if h.l, err = Create(h.fs, num, snapshot, h.opts); err != nil {
			h.l = nil
			return nil, err
		}
		h.states[0] = dumpLog(h.l)
		h.acked = 0
		return nil, nil
	}
	var err error
	if e == nil {
		if e, err = h.edit(h.acked + 1); err != nil {
			return nil, err
		}
		next, err := h.l.Version().Apply(e)
		if err != nil {
			return nil, err
		}
		s := h.l.State()
		s.apply(e)
		h.states = append(h.states, dumpLog(&Log{state: s, version: next}))
		next.release()
	}
	if err := h.l.Append(e); err != nil {
		return e, err
	}
	h.acked++
	return nil, nil
}

// check opens what a crash left in fs, wants a state that may be, and goes on.
func (h *history) check(t tester, label string, fs vfs.FS) {
	t.Helper()
	l, err := Open(fs, options)
	if h.acked < 0 && errors.Is(err, vfs.ErrNotExist) {
		files, err := fs.List()
		must(t, err)
		snapshot := &VersionEdit{}
		snapshot.SetLogNum(5)
		_, err = Create(fs, uint64(len(files)+1), snapshot, options)
		must(t, err)
		open(t, fs)
		return
	}
	if err != nil {
		t.Fatalf("%s: acknowledged %d: %v", label, h.acked, err)
	}
	got := dumpLog(l)
	// The states are those of before; features may be known before the edit
	// that needs them is.
	const features = "feature known\nfeature " + FeatureRangeDelete + "\n"
	fits := func(want string) bool { return got == want || got == features+want }
	if !slices.ContainsFunc(h.states[max(h.acked, 0):], fits) && h.acked >= 0 {
		t.Fatalf("%s: acknowledged %d, got\n%s", label, h.acked, got)
	}
	files, err := fs.List()
	must(t, err)
	for _, fd := range l.Orphans(files) {
		must(t, fs.Remove(fd))
	}
	must(t, l.Append(&VersionEdit{Has: HasLastSeq, LastSeq: 1000}))
	want := dumpLog(l)
	must(t, l.Close())
	if l = open(t, fs); dumpLog(l) != want || l.Torn() != "" {
		t.Fatalf("%s: opened again:\n%s, want\n%s%s", label, dumpLog(l), want, l.Torn())
	}
}

func TestTheManifestRotatesAndSnapshotsEverything(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			fs := mode.wrap(vfs.NewMem())
			h := newHistory(t, fs)
			seen := map[uint64]bool{}
			for h.acked < historyEdits {
				_, err := h.step(nil)
				must(t, err)
				if got := manifests(t, fs); !slices.Equal(got, []vfs.FileDesc{h.l.Desc()}) {
					t.Fatalf("manifests %v, current %v", got, h.l.Desc())
				}
				seen[h.l.Desc().Num] = true
				if got := dumpLog(h.l); got != h.states[h.acked] {
					t.Fatalf("got\n%s, want\n%s", got, h.states[h.acked])
				}
				opened := open(t, fs)
				if got := dumpLog(opened); got != h.states[h.acked] {
					t.Fatalf("opened\n%s, want\n%s", got, h.states[h.acked])
				}
				if opened.base != h.l.base {
					t.Fatalf("a snapshot of %d bytes, not %d", opened.base, h.l.base)
				}
			}
			if len(seen) < 3 || len(seen) > historyEdits/2 {
				t.Errorf("%d edits made %d manifests", historyEdits, len(seen))
			}
			files, err := fs.List()
			must(t, err)
			if orphans := h.l.Orphans(files); len(orphans) > 0 {
				t.Errorf("%v are left", orphans)
			}
		})
	}
}

// spy tells of each change to an FS, before it is made and after.
type spy struct {
	vfs.FS
	tell func(op string)
}

type spyFile struct {
	vfs.File
	tell func(op string)
}

func (s *spy) around(op string, f func() error) error {
	s.tell("before " + op)
	err := f()
	s.tell("after " + op)
	return err
}

func (s *spy) open(op string, open func() (vfs.File, error)) (f vfs.File, err error) {
	err = s.around(op, func() error { f, err = open(); return err })
	return &spyFile{f, s.tell}, err
}

func (s *spy) Create(fd vfs.FileDesc, n int64) (vfs.File, error) {
	return s.open("create "+fd.String(), func() (vfs.File, error) { return s.FS.Create(fd, n) })
}

func (s *spy) Reopen(fd vfs.FileDesc, n int64) (vfs.File, error) {
	return s.open("reopen "+fd.String(), func() (vfs.File, error) { return s.FS.Reopen(fd, n) })
}

func (s *spy) Remove(fd vfs.FileDesc) error {
	return s.around("remove "+fd.String(), func() error { return s.FS.Remove(fd) })
}

func (s *spy) SetCurrent(fd vfs.FileDesc) error {
	return s.around("set current "+fd.String(), func() error { return s.FS.(vfs.CurrentSetter).SetCurrent(fd) })
}

func (s *spy) Current() (vfs.FileDesc, error) { return s.FS.(vfs.CurrentSetter).Current() }

func (f *spyFile) Append(p []byte) error {
	defer f.tell("after append")
	return f.File.Append(p)
}

func (f *spyFile) Sync() error {
	defer f.tell("after sync")
	return f.File.Sync()
}

// TestCrashAtEveryOperation loses power, and kills the program, before and after
// each operation of a history in which manifests rotate.
func TestCrashAtEveryOperation(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			mem := vfs.NewMem()
			var h *history
			ops := uint64(0)
			h = newHistory(t, mode.wrap(&spy{mem, func(op string) {
				ops++
				label := fmt.Sprint("operation ", ops, ", ", op)
				h.check(t, label+", killed", mode.wrap(mem.Clone()))
				h.check(t, label+", synced only", mode.wrap(mem.CrashClone(nil)))
				for seed := range uint64(4) {
					h.check(t, label, mode.wrap(mem.CrashClone(rand.New(rand.NewPCG(seed, ops)))))
				}
			}}))
			for h.acked < historyEdits {
				_, err := h.step(nil)
				must(t, err)
				if h.acked%4 == 2 {
					// Go on in an opened one.
					must(t, h.l.Close())
					h.l, err = Open(h.fs, h.opts)
					must(t, err)
				}
			}
			if ops < 90 {
				t.Errorf("only %d operations", ops)
			}
		})
	}
}

// TestPowerLossOnAVolume is the same at every device call of a volume.
func TestPowerLossOnAVolume(t *testing.T) {
	for stop := 0; ; stop++ {
		dev := devicetest.New()
		dev.StopAt(stop)
		h := newHistory(t, nil)
		err := func() error {
			v, err := volume.Open(dev, nil)
			if err != nil {
				return err
			}
			h = newHistory(t, v)
			for h.acked < historyEdits {
				if _, err := h.step(nil); err != nil {
					return err
				}
			}
			return nil
		}()
		if !dev.Stopped() {
			must(t, err)
			if stop < 100 {
				t.Errorf("only %d device calls", stop)
			}
			return
		}
		v, err := volume.Open(dev.Crash(rand.New(rand.NewPCG(1, uint64(stop)))), nil)
		must(t, err)
		h.check(t, fmt.Sprint("call ", stop), v)
	}
}

var errInjected = errors.New("injected")

// TestAFaultAtEveryOperation fails each operation of a history in turn, once or
// from there on for a while. Every error is the injected one, what a crash
// would find then is a state that may be, trying again succeeds, and no table
// that is needed has gone.
func TestAFaultAtEveryOperation(t *testing.T) {
	for _, mode := range modes {
		for _, fault := range []errorfs.Fault{{}, {ShortAppend: true}, {Lasting: true, ShortAppend: true}} {
			t.Run(fmt.Sprintf("%s, %+v", mode.name, fault), func(t *testing.T) {
				fault.Err = errInjected
				for ; ; fault.Index++ {
					mem := vfs.NewMem()
					faulty := errorfs.Wrap(mem)
					h := newHistory(t, mode.wrap(faulty))
					faulty.Inject(fault)
					var again *VersionEdit
					var err error
					for steps := 0; h.acked < historyEdits; steps++ {
						if steps > 2*historyEdits {
							t.Fatalf("fault %d: it does not recover: %v", fault.Index, err)
						}
						if again, err = h.step(again); err != nil {
							wantErr(t, err, errInjected)
							label := fmt.Sprint("fault ", fault.Index)
							h.check(t, label, mode.wrap(mem.Clone()))
							h.check(t, label, mode.wrap(mem.CrashClone(rand.New(rand.NewPCG(1, uint64(fault.Index))))))
							faulty.Inject(errorfs.Fault{Index: -1})
						}
					}
					hits := faulty.Hits()
					faulty.Inject(errorfs.Fault{Index: -1})
					want := dumpLog(h.l)
					must(t, h.l.Close())
					if got := dumpLog(open(t, mode.wrap(mem))); got != want || got != h.states[len(h.states)-1] {
						t.Fatalf("fault %d: opened\n%s, want\n%s", fault.Index, got, want)
					}
					if err == nil && hits == 0 && fault.Index > 100 {
						break
					}
				}
			})
		}
	}
}

func TestAFaultWhileOpening(t *testing.T) {
	for _, mode := range modes {
		mem := vfs.NewMem()
		h := newHistory(t, mode.wrap(mem))
		for h.acked < historyEdits {
			_, err := h.step(nil)
			must(t, err)
		}
		for index := 0; ; index++ {
			faulty := errorfs.Wrap(mem)
			faulty.Inject(errorfs.Fault{Index: index, Err: errInjected})
			_, err := Open(mode.wrap(faulty), options)
			if faulty.Hits() == 0 {
				must(t, err)
				if index < 4 {
					t.Errorf("only %d operations", index)
				}
				break
			}
			wantErr(t, err, errInjected)
		}
	}
}

// closedStore is a small store that was closed in order.
func closedStore(t tester, fs vfs.FS) *history {
	h := newHistory(t, fs)
	h.opts.RotateBytes = 1 << 20
	for h.acked < 4 {
		_, err := h.step(nil)
		must(t, err)
	}
	// One that needs no number of a file.
	e := &VersionEdit{}
	e.SetLastSeq(77)
	must(t, h.l.Append(e))
	h.states = append(h.states, dumpLog(h.l))
	h.acked++
	must(t, h.l.Close())
	return h
}

// TestEveryBitFlipIsFound: of a manifest that was closed in order any flipped
// bit is corruption, but for those of the last sync marker, which says nothing
// that is not known.
func TestEveryBitFlipIsFound(t *testing.T) {
	for _, mode := range modes {
		mem := vfs.NewMem()
		h := closedStore(t, mode.wrap(mem))
		content := vfstest.ReadFile(t, mem, h.l.Desc())
		harmless := 0
		for bit := range 8 * len(content) {
			b := bytes.Clone(content)
			b[bit/8] ^= 1 << (bit % 8)
			writeFile(t, mem, h.l.Desc(), b)
			l, err := Open(mode.wrap(mem), options)
			if err != nil {
				if !errors.Is(err, base.ErrCorruption) || errors.Is(err, base.ErrNotSupported) || !strings.Contains(err.Error(), h.l.Desc().String()) {
					t.Fatalf("bit %d: %v", bit, err)
				}
				continue
			}
			if got := dumpLog(l); got != h.states[h.acked] || l.Torn() == "" {
				t.Fatalf("bit %d: opened\n%s", bit, got)
			}
			harmless++
		}
		if want := 8 * (7 + 2); harmless != want {
			t.Errorf("%d bits are harmless, want %d, those of the marker", harmless, want)
		}
	}
}

// TestATornTailIsCutOff cuts the last edit at every byte, and leaves zeros or
// rubbish behind.
func TestATornTailIsCutOff(t *testing.T) {
	for _, mode := range modes {
		mem := vfs.NewMem()
		h := newHistory(t, mode.wrap(mem))
		h.opts.RotateBytes = 1 << 20
		var end int64
		for h.acked < 3 {
			if h.l != nil {
				end = h.l.w.Offset()
			}
			_, err := h.step(nil)
			must(t, err)
		}
		content := vfstest.ReadFile(t, mem, h.l.Desc())
		last := h.l.w.Offset() - 9 // before the marker
		for size := end; size < last; size++ {
			for _, tail := range []string{"", strings.Repeat("\x00", 40), "rubbish of some length"} {
				b := append(bytes.Clone(content[:size]), tail...)
				if bytes.HasPrefix(b, content[:last]) {
					continue // The edit ends in zeros.
				}
				torn := mem.Clone()
				writeFile(t, torn, h.l.Desc(), b)
				l := open(t, mode.wrap(torn))
				if got := dumpLog(l); got != h.states[2] {
					t.Fatalf("cut at %d: opened\n%s", size, got)
				}
				if want := size > end || strings.HasPrefix(tail, "r"); (l.Torn() != "") != want {
					t.Fatalf("cut at %d: torn tail %q", size, l.Torn())
				}
			}
		}
		if end == 0 || last <= end {
			t.Errorf("the last edit is from %d to %d", end, last)
		}
	}
}

func TestOpenOfAStoreWithoutAManifest(t *testing.T) {
	damaged := func(h *history, fs vfs.FS) {
		writeFile(t, fs, h.l.Desc(), vfstest.ReadFile(t, fs, h.l.Desc())[:20])
	}
	for _, c := range []struct {
		name  string
		spoil func(h *history, fs vfs.FS)
		want  error // with CURRENT
		plain error // without
	}{
		{"an empty store", nil, vfs.ErrNotExist, vfs.ErrNotExist},
		{"only logs", func(_ *history, fs vfs.FS) { touch(t, fs, vfs.FileDesc{Type: vfs.TypeLog, Num: 1}) }, vfs.ErrNotExist, vfs.ErrNotExist},
		{"tables only", func(_ *history, fs vfs.FS) { touch(t, fs, tableFile(1)) }, base.ErrCorruption, base.ErrCorruption},
		{"a creation cut off", func(_ *history, fs vfs.FS) { writeFile(t, fs, manifestFile(1), []byte("\x01\x02")) }, vfs.ErrNotExist, vfs.ErrNotExist},
		{"the manifest is gone", func(h *history, fs vfs.FS) { must(t, fs.Remove(h.l.Desc())) }, base.ErrCorruption, base.ErrCorruption},
		{"the manifest is cut", damaged, base.ErrCorruption, base.ErrCorruption},
		{"the manifest is empty", func(h *history, fs vfs.FS) { writeFile(t, fs, h.l.Desc(), nil) }, base.ErrCorruption, base.ErrCorruption},
		{"a table is gone", func(h *history, fs vfs.FS) { must(t, fs.Remove(h.l.Version().Files(0)[0].Desc())) }, base.ErrCorruption, base.ErrCorruption},
		{"only CURRENT, and nothing in it", func(_ *history, fs vfs.FS) {
			touch(t, fs, manifestFile(1))
			must(t, fs.(vfs.CurrentSetter).SetCurrent(manifestFile(1)))
		}, base.ErrCorruption, vfs.ErrNotExist},
		{"a newer manifest was being made", func(h *history, fs vfs.FS) {
			writeFile(t, fs, manifestFile(99), vfstest.ReadFile(t, fs, h.l.Desc())[:20])
		}, nil, nil},
	} {
		for _, mode := range modes {
			t.Run(c.name+", "+mode.name, func(t *testing.T) {
				mem := vfs.NewMem()
				var h *history
				if c.spoil != nil && !strings.HasPrefix(c.name, "only") && !strings.Contains(c.name, "tables") && !strings.Contains(c.name, "creation") {
					h = closedStore(t, mode.wrap(mem))
				}
				if c.spoil != nil {
					c.spoil(h, mem)
				}
				want := c.want
				if mode.name != modes[0].name {
					want = c.plain
				}
				l, err := Open(mode.wrap(mem), options)
				if want != nil {
					wantErr(t, err, want)
					return
				}
				must(t, err)
				if got := dumpLog(l); got != h.states[h.acked] {
					t.Fatalf("opened\n%s", got)
				}
				if num := l.NewFileNum(); num != 100 {
					t.Errorf("the next file is %d, behind 99", num)
				}
			})
		}
	}
}

// TestAKeyThatLooksLikeAManifest: a key in a torn snapshot holds a copy of a
// record of an older manifest, which proves nothing about this one.
func TestAKeyThatLooksLikeAManifest(t *testing.T) {
	mem := vfs.NewMem()
	h := closedStore(t, plain{mem})
	var key, torn bytesLog
	must(t, wal.NewWriter(&key, 0).AddRecord((&VersionEdit{Has: HasNextFileNum, NextFileNum: 9}).AppendTo(nil)))
	e := h.l.state.snapshot(h.l.version)
	e.CompactPointers = []CompactPointer{{1, base.MakeInternalKey(key, 1, base.KindPut)}}
	must(t, wal.NewWriter(&torn, 0).AddRecord(e.AppendTo(nil)))
	torn[0] ^= 1
	writeFile(t, mem, manifestFile(99), torn)
	if got := dumpLog(open(t, plain{mem})); got != h.states[h.acked] {
		t.Errorf("opened\n%s", got)
	}
}

// TestCurrentDecides: a folder's CURRENT decides, whatever else there is.
func TestCurrentDecides(t *testing.T) {
	mem := vfs.NewMem()
	h := closedStore(t, mem)
	content := vfstest.ReadFile(t, mem, h.l.Desc())
	_, base, err := split(content)
	must(t, err)
	writeFile(t, mem, manifestFile(99), content[:base])
	if got := dumpLog(open(t, mem)); got != h.states[h.acked] {
		t.Errorf("opened\n%s", got)
	}
	if got := dumpLog(open(t, plain{mem})); got != h.states[0] {
		t.Errorf("without CURRENT opened\n%s", got)
	}
}

// split returns the first record of a manifest and where it ends.
func split(content []byte) ([]byte, int64, error) {
	r := wal.NewReader(bytes.NewReader(content), int64(len(content)))
	p, err := r.Next()
	return p, r.Offset(), err
}

func TestWhatANewerVersionWroteIsRefused(t *testing.T) {
	mem := vfs.NewMem()
	h := newHistory(t, mem)
	for h.acked < 8 {
		_, err := h.step(nil)
		must(t, err)
	}
	must(t, h.l.Close())
	o := options
	o.Features = []string{"other"}
	_, err := Open(mem, o)
	wantErr(t, err, base.ErrNotSupported)
	if !strings.Contains(err.Error(), `the feature "known"`) {
		t.Error(err)
	}
	first, _, err := split(vfstest.ReadFile(t, mem, h.l.Desc()))
	must(t, err)
	if !strings.HasPrefix(string(first), "\x54\x0f"+featureGuard+"known\x54\x20"+featureGuard+FeatureRangeDelete+"\x01") {
		t.Errorf("the features are not first: %q", first)
	}

	// A feature comes first: it may be why the rest looks wrong.
	var log bytesLog
	w := wal.NewWriter(&log, 0)
	must(t, w.AddRecord([]byte("\x54\x0e"+featureGuard+"mind"+"\x05\x01\x09k\x77\x05\x00\x00\x00\x00\x00\x00")))
	_, err = replayBytes(log)
	wantErr(t, err, base.ErrNotSupported)

	// A field of a newer version.
	log = nil
	w = wal.NewWriter(&log, 0)
	must(t, w.AddRecord([]byte("\x63\x01")))
	_, err = replayBytes(log)
	wantErr(t, err, base.ErrNotSupported)

	o = options
	o.Comparer = base.FixedSuffix(8)
	_, err = Open(mem, o)
	wantErr(t, err, base.ErrInvalidArgument)
	if !strings.Contains(err.Error(), `"leveldb.BytewiseComparator", not "tempestkv.FixedSuffix.008"`) {
		t.Error(err)
	}
}

type bytesLog []byte

func (b *bytesLog) Append(p []byte) error {
	*b = append(*b, p...)
	return nil
}

func TestAnEditThatDoesNotFitIsRefused(t *testing.T) {
	mem := vfs.NewMem()
	h := closedStore(t, mem)
	l := open(t, mem)
	content := vfstest.ReadFile(t, mem, l.Desc())
	wantErr(t, l.Append(parseEdit(t, "delete L3 1")), base.ErrCorruption)
	wantErr(t, l.Append(parseEdit(t, "add L1 0 1 a#1,PUT b#1,PUT")), base.ErrInvalidArgument)
	wantErr(t, l.Append(&VersionEdit{Features: []string{""}}), base.ErrInvalidArgument)
	wantErr(t, l.Append(parseEdit(t, "delete-range 1")), base.ErrCorruption)
	other := vfs.NewMem()
	plain, err := Create(other, 1, &VersionEdit{}, options)
	must(t, err)
	wantErr(t, plain.Append(parseEdit(t, "range 1 made 1 until 2 a..b")), base.ErrInvalidArgument)
	must(t, plain.Append(parseEdit(t, "feature "+FeatureRangeDelete+"\nrange 1 made 1 until 2 a..b")))
	must(t, plain.Append(parseEdit(t, "range 2 made 1 until 2 a..b")))
	must(t, plain.Close())
	if got := dumpVersion(open(t, other).Version()); got != "ranges 1:1-2[a b) 2:1-2[a b)\n" {
		t.Errorf("range tombstones are %s", got)
	}
	if got := vfstest.ReadFile(t, mem, l.Desc()); !bytes.Equal(got, content) || dumpLog(l) != h.states[h.acked] {
		t.Error("an edit that was refused changed something")
	}
	must(t, l.Append(&VersionEdit{Has: HasLastSeq, LastSeq: 99}))
	must(t, l.Close())
	must(t, l.Close())
}

// TestManifestsThatAreWholeAndWrong have right checksums and wrong contents.
func TestManifestsThatAreWholeAndWrong(t *testing.T) {
	const start = "comparer leveldb.BytewiseComparator\nlog 1\nnext-file 5\nlast-seq 0\n"
	for name, edits := range map[string][]string{
		"no comparer":                        {strings.Replace(start, "comparer leveldb.BytewiseComparator\n", "", 1)},
		"no log number":                      {strings.Replace(start, "log 1\n", "", 1)},
		"no next file number":                {strings.Replace(start, "next-file 5\n", "", 1)},
		"no sequence number":                 {strings.Replace(start, "last-seq 0\n", "", 1)},
		"a table twice":                      {start + "add L0 2 1 a#1,PUT b#1,PUT\n", "add L1 2 1 a#1,PUT b#1,PUT"},
		"a table that is not":                {start, "delete L1 2"},
		"a range without the feature":        {start + "range 1 made 1 until 2 a..b"},
		"a range twice":                      {start + "feature " + FeatureRangeDelete + "\nrange 1 made 1 until 2 a..b", "range 1 made 1 until 2 b..c"},
		"a range that is not":                {start + "feature " + FeatureRangeDelete, "delete-range 1"},
		"a range that ends before it begins": {start + "feature " + FeatureRangeDelete, "range 1 made 1 until 2 b..a"},
		"tables that overlap":                {start + "add L1 2 1 a#1,PUT b#1,PUT\n", "add L1 3 1 b#1,PUT c#1,PUT"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytesLog
			w := wal.NewWriter(&log, 0)
			for _, text := range edits {
				must(t, w.AddRecord(parseEdit(t, text).AppendTo(nil)))
			}
			_, err := replayBytes(log)
			if !errors.Is(err, base.ErrCorruption) || errors.Is(err, base.ErrNotSupported) || !strings.Contains(err.Error(), "MANIFEST-000001 at offset ") {
				t.Errorf("got error %v", err)
			}
		})
	}
}

// TestLogsAgainstAModel appends what fits, and opens again now and then.
func TestLogsAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := modes[rapid.IntRange(0, 1).Draw(t, "mode")].wrap(vfs.NewMem())
		o := options
		o.RotateBytes = rapid.Int64Range(0, 400).Draw(t, "rotate bytes")
		l, err := Create(fs, 1, &VersionEdit{Has: HasLogNum, LogNum: 2}, o)
		must(t, err)
		s := l.State()
		v := naive{}
		ranges := map[base.SeqNum]RangeTombstone{}
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			e := drawEdit(t)
			e.Has &^= HasNextFileNum
			e.New = slices.DeleteFunc(e.New, func(n NewFile) bool { return base.Bytewise.CompareInternal(n.File.Smallest, n.File.Largest) > 0 })
			e.Deleted = nil
			for num, f := range sortedFiles(v) {
				if rapid.IntRange(0, 3).Draw(t, "fate") == 0 {
					e.Delete(f.Level, num)
				}
			}
			for i := range e.New {
				e.New[i].File.Num = l.NewFileNum()
				touch(t, fs, e.New[i].File.Desc())
			}
			e.DeletedRanges = nil
			nextRanges := maps.Clone(ranges)
			for _, seq := range slices.Sorted(maps.Keys(ranges)) {
				if rapid.IntRange(0, 2).Draw(t, "fate of a range") == 0 {
					e.DeleteRange(seq)
					delete(nextRanges, seq)
				}
			}
			e.NewRanges = slices.DeleteFunc(e.NewRanges, func(r RangeTombstone) bool {
				_, twice := nextRanges[r.Seq]
				if !twice && bytes.Compare(r.Start, r.End) < 0 {
					nextRanges[r.Seq] = r
					return false
				}
				return true
			})
			if len(e.NewRanges) > 0 {
				e.Features = append(e.Features, FeatureRangeDelete)
			}
			next, fits := v.apply(e)
			if err := l.Append(e); fits != (err == nil) {
				t.Fatalf("fits %t, error %v", fits, err)
			}
			if fits {
				v, ranges = next, nextRanges
				s.apply(e)
			}
			if rapid.Bool().Draw(t, "open again") {
				must(t, l.Close())
				l, err = Open(fs, Options{Comparer: o.Comparer, Features: []string{"known", "other", "a", FeatureRangeDelete}, RotateBytes: o.RotateBytes})
				must(t, err)
				if l.Torn() != "" {
					t.Fatal(l.Torn())
				}
			}
			for level := range NumLevels {
				if got, want := dumpFiles(l.Version().Files(level)), dumpFiles(v.level(level)); got != want {
					t.Fatalf("level %d has%s, want%s", level, got, want)
				}
			}
			if got, want := dumpRanges(l.Version().RangeTombstones()), dumpRanges(sortedRanges(ranges)); got != want {
				t.Fatalf("range tombstones%s, want%s", got, want)
			}
			got, want := l.State(), s
			got.NextFileNum, want.NextFileNum = 0, 0
			if g, w := dumpEdit(got.snapshot(l.version)), dumpEdit(want.snapshot(l.version)); g != w {
				t.Fatalf("state\n%s, want\n%s", g, w)
			}
		}
	})
}

// FuzzReplay wants of any bytes as a manifest: no panic, an end, an error of the
// right kind, or a state whose snapshot leads to it.
func FuzzReplay(f *testing.F) {
	mem := vfs.NewMem()
	h := closedStore(f, mem)
	content := vfstest.ReadFile(f, mem, h.l.Desc())
	f.Add([]byte(nil))
	f.Add(content)
	f.Add(content[:len(content)-12])
	for _, at := range []int{3, 4, 6, 30, 80, len(content) - 20} {
		b := bytes.Clone(content)
		b[at] ^= 1
		f.Add(b)
	}
	var log bytesLog
	w := wal.NewWriter(&log, 0)
	must(f, w.AddRecord(golden))
	f.Add([]byte(log))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := replayBytes(b)
		if err != nil {
			if err != errNoSnapshot && !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrNotSupported) && !errors.Is(err, base.ErrInvalidArgument) {
				t.Fatal(err)
			}
			return
		}
		var again bytesLog
		must(t, wal.NewWriter(&again, 0).AddRecord(l.state.snapshot(l.version).AppendTo(nil)))
		l2, err := replayBytes(again)
		must(t, err)
		if dumpLog(l2) != dumpLog(l) {
			t.Fatalf("a snapshot leads to\n%s, not to\n%s", dumpLog(l2), dumpLog(l))
		}
	})
}

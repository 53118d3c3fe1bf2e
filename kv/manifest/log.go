package manifest

import (
	"errors"
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// defaultRotateBytes is the default of Options.RotateBytes. Reading so much
// takes some 10 ms in a browser.
const defaultRotateBytes = 1 << 20

// rotateFactor: a manifest may also grow to so many times its snapshot, so that
// a large store does not write it again and again.
const rotateFactor = 4

// Options are what a Log needs to know.
type Options struct {
	// Comparer orders the keys. It must be the one that wrote the store.
	Comparer *base.Comparer

	// Features are the names that the caller knows. A store that needs another
	// one is not opened.
	Features []string

	// RotateBytes is how large a manifest may grow before a new one begins. 0
	// is 1 MiB.
	RotateBytes int64

	// AllowMissing opens a store of which tables are missing, for a repair.
	AllowMissing bool

	// Obsolete, which may be nil, is told of tables that no version has any
	// more: see NewVersion.
	Obsolete func([]*FileMeta)
}

// Log is the manifest of an open store: the current version, and the file that
// each change of it goes to. It belongs to one goroutine; only versions are for
// others too.
//
// Which manifest is current? Where the FS is a vfs.CurrentSetter, what that
// says. Elsewhere the one with the highest number whose first record is whole.
// That is as safe: a new manifest begins with a snapshot that changes nothing,
// which is synced before an edit follows. So where the first record of a
// manifest is bad and none is intact behind it, no edit of it counted, and the
// manifest before it, removed only once the snapshot was durable, says the same.
type Log struct {
	fs      vfs.FS
	opts    Options
	fd      vfs.FileDesc
	state   State
	version *Version

	file   vfs.File
	w      *wal.Writer // nil: reopen at end, or where failed begin a new one
	end    int64       // where the edits read by Open end
	base   int64       // size of the snapshot
	failed bool        // an append failed, and nobody knows how much of it is there
	doubt  bool        // so did the last edit
	marked bool        // a sync marker was written, and not synced
	made   []vfs.FileDesc
	torn   string
	buf    []byte
}

// Create makes the manifest num of a store that has none, with snapshot as its
// first record. Comparer and next file number need not be set in it. num must
// be higher than that of any manifest there is, such as one whose making was
// cut off. When Create returns the manifest is durable and current.
func Create(fs vfs.FS, num uint64, snapshot *VersionEdit, opts Options) (*Log, error) {
	l := newLog(fs, opts)
	v, err := l.check(snapshot)
	if err != nil {
		return nil, err
	}
	l.version = v
	l.state.apply(snapshot)
	l.state.NextFileNum = max(l.state.NextFileNum, num+1)
	if err := l.begin(num); err != nil {
		return nil, errors.Join(err, l.closeFile())
	}
	l.mark()
	return l, nil
}

func newLog(fs vfs.FS, opts Options) *Log {
	return &Log{fs: fs, opts: opts, version: NewVersion(opts.Comparer, opts.Obsolete)}
}

// Desc returns the name of the current manifest.
func (l *Log) Desc() vfs.FileDesc { return l.fd }

// Version returns the current version. Who keeps it beyond the next Append
// takes a reference.
func (l *Log) Version() *Version { return l.version }

// State returns what is kept beside the version.
func (l *Log) State() State { return l.state }

// Torn says in words what Open found behind the last whole record and the next
// Append drops; empty where there was nothing.
func (l *Log) Torn() string { return l.torn }

// NewFileNum returns a number that no file has had.
func (l *Log) NewFileNum() uint64 {
	num := l.state.NextFileNum
	l.state.NextFileNum++
	return num
}

// Append makes e durable, then makes what it leads to the current version. It
// sets e's next file number, and leaves a comparer out.
//
// An error leaves the version as it was. Where InDoubt says so, e may still come
// into force when the store is opened again: its new tables must stay until a
// later Append, of e again or of another edit, has succeeded, which decides it
// for good. That one begins a new manifest.
//
// Errors are those of the FS; base.ErrCorruption where e does not fit the
// version, and base.ErrInvalidArgument where it could not be read back.
func (l *Log) Append(e *VersionEdit) error {
	e.Has = e.Has&^HasComparer | HasNextFileNum
	e.NextFileNum = l.state.NextFileNum
	l.doubt = false
	next, err := l.check(e)
	if err != nil {
		return err
	}
	if err := l.write(e); err != nil {
		// Its new tables are not obsolete: see above.
		next.release()
		return err
	}
	l.state.apply(e)
	old := l.version
	l.version = next
	l.mark()
	old.Unref()
	return nil
}

// InDoubt reports whether the last Append failed so that nobody knows whether its
// edit is there.
func (l *Log) InDoubt() bool { return l.doubt }

// check returns the version that e leads to, if it can be read back.
func (l *Log) check(e *VersionEdit) (*Version, error) {
	l.buf = e.AppendTo(l.buf[:0])
	if err := new(VersionEdit).Decode(l.buf); err != nil {
		return nil, base.Wrap(base.ErrInvalidArgument, "version edit", err)
	}
	if l.state.lacks(e) {
		return nil, base.Wrap(base.ErrInvalidArgument, "a range tombstone without the feature for it", nil)
	}
	return l.version.Apply(e)
}

// write makes e durable.
func (l *Log) write(e *VersionEdit) error {
	// What makes readers turn away stands in a first record: goleveldb skips a
	// later one that it cannot read. A feature that nothing needs does no harm,
	// should e fail.
	known := len(l.state.Features)
	l.state.apply(&VersionEdit{Features: e.Features})
	full := l.w != nil && l.w.Offset() >= max(l.opts.rotateBytes(), rotateFactor*l.base)
	var err error
	switch {
	case l.failed || full || len(l.state.Features) > known:
		err = l.begin(l.NewFileNum())
	case l.w == nil:
		err = l.reopen()
	}
	if err != nil {
		// Whoever asks again must not find them named.
		l.state.Features = l.state.Features[:known]
	}
	if err == nil && l.marked {
		// No record follows one that is not durable.
		err = l.file.Sync()
		l.marked = false
	}
	if err != nil {
		l.fail()
		return err
	}
	e.NextFileNum = l.state.NextFileNum
	end := l.w.Offset()
	if err = l.add(e); err != nil {
		l.doubt = !l.takeBack(end, err)
	}
	return err
}

// takeBack cuts off what was appended behind end before it failed with err, where
// that was for want of space: another manifest would take more of it. It reports
// whether that went well; else the manifest is given up.
func (l *Log) takeBack(end int64, err error) bool {
	if errors.Is(err, base.ErrQuota) {
		if f, err := l.fs.Reopen(l.fd, end); err == nil {
			l.closeFile()
			l.file, l.w = f, wal.NewWriter(f, end)
			return true
		}
	}
	l.fail()
	return false
}

func (o *Options) rotateBytes() int64 {
	if o.RotateBytes > 0 {
		return o.RotateBytes
	}
	return defaultRotateBytes
}

// add appends e and syncs.
func (l *Log) add(e *VersionEdit) error {
	l.buf = e.AppendTo(l.buf[:0])
	if err := l.w.AddRecord(l.buf); err != nil {
		return err
	}
	return l.file.Sync()
}

// mark appends a sync marker. It needs no sync of its own: lost, it proves
// nothing, no more.
func (l *Log) mark() {
	e := VersionEdit{Has: HasNextFileNum, NextFileNum: l.state.NextFileNum}
	l.buf = e.AppendTo(l.buf[:0])
	end := l.w.Offset()
	if err := l.w.AddRecord(l.buf); err != nil {
		l.takeBack(end, err)
		return
	}
	l.marked = true
}

// begin makes the manifest num of the state and version as they are.
func (l *Log) begin(num uint64) error {
	l.fail()
	fd := vfs.FileDesc{Type: vfs.TypeManifest, Num: num}
	f, err := l.fs.Create(fd, 0)
	if err != nil {
		return err
	}
	l.made = append(l.made, fd)
	l.file, l.w = f, wal.NewWriter(f, 0)
	if err := l.add(l.state.snapshot(l.version)); err != nil {
		// It would say nothing new, and takes space.
		if e := errors.Join(l.closeFile(), l.fs.Remove(fd)); e == nil {
			l.made = l.made[:len(l.made)-1]
		}
		return err
	}
	if c, ok := l.fs.(vfs.CurrentSetter); ok {
		if err := c.SetCurrent(fd); err != nil && !errors.Is(err, base.ErrNotSupported) {
			return err
		}
	}
	l.fd, l.base, l.failed = fd, l.w.Offset(), false
	// One that cannot be removed is tried again the next time, or at Open.
	l.made = slices.DeleteFunc(l.made, func(old vfs.FileDesc) bool {
		if old == fd {
			return false
		}
		err := l.fs.Remove(old)
		return err == nil || errors.Is(err, vfs.ErrNotExist)
	})
	return nil
}

// reopen goes on in the manifest that Open read.
func (l *Log) reopen() error {
	f, err := l.fs.Reopen(l.fd, l.end)
	if err != nil {
		return err
	}
	l.file, l.w, l.torn = f, wal.NewWriter(f, l.end), ""
	return nil
}

// fail gives the file up: the next append begins a new one.
func (l *Log) fail() {
	l.failed = true
	l.closeFile()
}

func (l *Log) closeFile() error {
	f := l.file
	l.file, l.w, l.marked = nil, nil, false
	if f == nil {
		return nil
	}
	return f.Close()
}

// Copy returns a manifest file that says what this one does, for a place that
// gets copies of the tables and of no logs, and its name, which no other file
// has.
func (l *Log) Copy() (vfs.FileDesc, []byte) {
	state := l.state
	state.LogNum, state.PrevLogNum = 0, 0
	// LevelDB writes its next manifest under the next number, which must not be
	// that of this one.
	desc := vfs.FileDesc{Type: vfs.TypeManifest, Num: state.NextFileNum}
	state.NextFileNum++
	var b appender
	// An append to memory does not fail, and an edit is never too large.
	wal.NewWriter(&b, 0).AddRecord(state.snapshot(l.version).AppendTo(nil))
	return desc, b
}

// appender is a file in memory.
type appender []byte

func (a *appender) Append(p []byte) error {
	*a = append(*a, p...)
	return nil
}

// Close makes the last sync marker durable and closes the file. Versions stay
// as they are.
func (l *Log) Close() error {
	var err error
	if l.marked {
		err = l.file.Sync()
	}
	return errors.Join(err, l.closeFile())
}

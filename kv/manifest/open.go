package manifest

import (
	"errors"
	"io"
	"slices"
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// errNoSnapshot: the first record of a manifest is bad, and nothing proves that
// it had ever been whole.
var errNoSnapshot = errors.New("tempestkv: manifest without a first record")

// Open reads the current manifest of a store. It changes nothing; a torn tail
// is cut off before the first Append.
//
// vfs.ErrNotExist where the store has neither a manifest nor tables: it is new,
// its making was cut off, or it has logs only. base.ErrNotSupported where it
// needs features that opts does not name, or was written by a newer version.
// base.ErrInvalidArgument where another comparer wrote it. base.ErrCorruption
// where the manifest is damaged, or it or a table it names is missing.
func Open(fs vfs.FS, opts Options) (*Log, error) {
	files, err := fs.List()
	if err != nil {
		return nil, err
	}
	var manifests []vfs.FileDesc // newest first
	for _, fd := range slices.Backward(files) {
		if fd.Type == vfs.TypeManifest {
			manifests = append(manifests, fd)
		}
	}
	candidates, named, err := current(fs, manifests)
	if err != nil {
		return nil, err
	}
	for _, fd := range candidates {
		l := newLog(fs, opts)
		err := l.read(fd)
		if err == errNoSnapshot && !named {
			continue
		}
		if err == errNoSnapshot || errors.Is(err, vfs.ErrNotExist) {
			err = base.Wrap(base.ErrCorruption, fd.String()+" is current", err)
		}
		if err == nil {
			err = l.meet(files)
		}
		if err != nil {
			return nil, err
		}
		l.made = manifests
		return l, nil
	}
	for _, fd := range files {
		if fd.Type == vfs.TypeTable {
			return nil, base.Wrap(base.ErrCorruption, "the store has tables and no manifest", nil)
		}
	}
	return nil, base.Wrap(vfs.ErrNotExist, "manifest", nil)
}

// current returns the one manifest that the FS names as current, or all of
// them, to be tried in turn, where it does not do so.
func current(fs vfs.FS, manifests []vfs.FileDesc) (candidates []vfs.FileDesc, named bool, err error) {
	c, ok := fs.(vfs.CurrentSetter)
	if !ok {
		return manifests, false, nil
	}
	fd, err := c.Current()
	switch {
	case err == nil:
		return []vfs.FileDesc{fd}, true, nil
	case errors.Is(err, base.ErrNotSupported):
		return manifests, false, nil
	case errors.Is(err, vfs.ErrNotExist):
		return nil, false, nil
	}
	return nil, false, err
}

// read makes l what the manifest fd says.
func (l *Log) read(fd vfs.FileDesc) error {
	f, err := l.fs.Open(fd)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	l.fd = fd
	return l.replay(f, size)
}

// replay makes l what the manifest in the first size bytes of f says.
func (l *Log) replay(f io.ReaderAt, size int64) error {
	r := wal.NewReader(f, size)
	b := newBuilder(l.version)
	for {
		record, err := r.Next()
		if bad, ok := errors.AsType[*wal.BadRecordError](err); ok {
			if err := l.judge(r, bad, size); err != nil {
				return err
			}
			break
		}
		if err == io.EOF {
			break
		}
		if err == nil {
			err = l.replayEdit(b, record)
		}
		if err != nil {
			return err
		}
		if l.end = r.Offset(); l.base == 0 {
			l.base = l.end
		}
	}
	if l.end == 0 {
		return errNoSnapshot
	}
	if l.state.has&hasAll != hasAll {
		return l.located(base.Wrap(base.ErrCorruption, "comparer, log number, next file number or last sequence number is missing", nil))
	}
	v, err := b.finish()
	if err != nil {
		return l.located(err)
	}
	l.version = v
	return nil
}

// replayEdit adds one record to what was read.
func (l *Log) replayEdit(b *builder, record []byte) error {
	var e VersionEdit
	err := e.Decode(record)
	// A feature may be the reason why something else looks wrong.
	for _, name := range e.Features {
		if !slices.Contains(l.opts.Features, name) {
			return base.Wrap(base.ErrNotSupported, "the store needs the feature \""+name+"\", which this version does not know", nil)
		}
	}
	if e.Has&HasComparer != 0 && e.Comparer != l.opts.Comparer.Name {
		return base.Wrap(base.ErrInvalidArgument, "the store was written with the comparer \""+e.Comparer+
			"\", not \""+l.opts.Comparer.Name+"\"", nil)
	}
	if err == nil && l.state.lacks(&e) {
		err = base.Wrap(base.ErrCorruption, "a range tombstone without the feature for it", nil)
	}
	if l.end == 0 {
		e.forgive()
	}
	if err == nil {
		err = b.apply(&e)
	}
	if err != nil {
		return l.located(err)
	}
	l.state.apply(&e)
	return nil
}

// located adds to an error where in the manifest it is.
func (l *Log) located(err error) error {
	kind := base.ErrCorruption
	if errors.Is(err, base.ErrNotSupported) {
		kind = base.ErrNotSupported
	}
	return base.Wrap(kind, l.fd.String()+" at offset "+strconv.FormatInt(l.end, 10), err)
}

// judge decides what a bad record means: nil where it is a torn tail. Since
// every record is synced before the next, an intact one behind it proves that it
// had been whole. It must be an edit whose next file number does not go back,
// which a key that is a copy of some older manifest has not.
func (l *Log) judge(r *wal.Reader, bad *wal.BadRecordError, size int64) error {
	next := max(l.state.NextFileNum, l.fd.Num)
	for {
		record, err := r.Next()
		if _, ok := errors.AsType[*wal.BadRecordError](err); ok {
			if err = r.Resync(); err == nil {
				continue
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		var e VersionEdit
		if e.Decode(record) == nil && e.Has&HasNextFileNum != 0 && e.NextFileNum >= next {
			return base.Corruption(l.fd.String(), bad.Offset, bad.Reason+"; the place had been synced, so no crash explains it")
		}
	}
	l.torn = l.fd.String() + ": a torn tail of " + strconv.FormatInt(size-l.end, 10) +
		" bytes at offset " + strconv.FormatInt(l.end, 10) + ": " + bad.Reason
	return nil
}

// meet checks that the store has all tables of the version, and lets no file
// have a number that is still to be given out.
func (l *Log) meet(files []vfs.FileDesc) error {
	for _, tables := range l.version.levels {
		for _, t := range tables {
			if _, found := slices.BinarySearchFunc(files, t.Desc(), vfs.FileDesc.Compare); !found && !l.opts.AllowMissing {
				return base.Wrap(base.ErrCorruption, t.Desc().String()+" is missing", nil)
			}
		}
	}
	if len(files) > 0 {
		l.state.NextFileNum = max(l.state.NextFileNum, files[len(files)-1].Num+1)
	}
	return nil
}

// Orphans returns those of files that nothing needs: other manifests, logs that
// are in tables, and tables that the current version does not have. It is for
// the time after Open, when there is no other version, and no table half made.
func (l *Log) Orphans(files []vfs.FileDesc) []vfs.FileDesc {
	live := map[vfs.FileDesc]bool{l.fd: true, {Type: vfs.TypeLog, Num: l.state.PrevLogNum}: true}
	for _, tables := range l.version.levels {
		for _, t := range tables {
			live[t.Desc()] = true
		}
	}
	var orphans []vfs.FileDesc
	for _, fd := range files {
		if !live[fd] && (fd.Type != vfs.TypeLog || fd.Num < l.state.LogNum) {
			orphans = append(orphans, fd)
		}
	}
	return orphans
}

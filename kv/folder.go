package kv

import (
	"errors"
	"io"
	"strings"

	"tempestkv/kv/base"
	"tempestkv/kv/manifest"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
)

// currentName is the file of a LevelDB folder that names its manifest.
const currentName = "CURRENT"

// FolderPiece is some of a file of a LevelDB folder.
type FolderPiece struct {
	// Name is that of the file, where it begins; empty where it goes on.
	Name string
	// Size is that of the whole file in bytes, -1 where nobody knows yet.
	Size int64
	// Data is valid until the next call.
	Data []byte
}

// FolderExport gives out a Backup as the files of a folder that LevelDB and its
// relatives open, byte for byte, CURRENT last.
type FolderExport struct {
	backup  *Backup
	next    int   // the file that is given out
	off     int64 // in it
	buf     []byte
	current string
}

// ExportFolder flushes, and returns the store as it is then. It must be closed,
// before the DB is. ErrNotSupported where it has features that LevelDB lacks,
// which it keeps once they were used (CopyFolder does without them), or its
// comparer is another; else the errors of Flush.
func (db *DB) ExportFolder(ctx Context) (*FolderExport, error) {
	b, err := db.Backup(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case len(b.Features) > 0:
		err = base.Wrap(ErrNotSupported, "the store has been used for what LevelDB lacks: "+strings.Join(b.Features, ", "), nil)
	case db.cmp.Name != base.Bytewise.Name:
		err = base.Wrap(ErrNotSupported, "LevelDB does not know the comparer \""+db.cmp.Name+"\"", nil)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	x := &FolderExport{backup: b}
	for _, f := range b.Files {
		if f.Desc.Type == vfs.TypeManifest {
			x.current = f.Desc.String() + "\n"
		}
	}
	b.Files = append(b.Files, BackupFile{Size: int64(len(x.current)), Content: bytesAt(x.current)})
	return x, nil
}

// Size returns the size of all files in bytes.
func (x *FolderExport) Size() int64 {
	n := int64(0)
	for _, f := range x.backup.Files {
		n += f.Size
	}
	return n
}

// Next returns the next piece, of at most maxBytes; io.EOF behind the last.
func (x *FolderExport) Next(maxBytes int) (FolderPiece, error) {
	if x.next == len(x.backup.Files) {
		return FolderPiece{}, io.EOF
	}
	f := x.backup.Files[x.next]
	p := FolderPiece{Size: f.Size}
	if x.off == 0 {
		if p.Name = f.Desc.String(); !f.Desc.Valid() {
			p.Name = currentName
		}
	}
	n := int(min(int64(maxBytes), f.Size-x.off))
	if cap(x.buf) < n {
		x.buf = make([]byte, n)
	}
	p.Data = x.buf[:n]
	if got, err := f.Content.ReadAt(p.Data, x.off); got < n {
		return FolderPiece{}, base.Wrap(ErrIO, "read "+f.Desc.String(), err)
	}
	if x.off += int64(n); x.off == f.Size {
		x.next, x.off = x.next+1, 0
	}
	return p, nil
}

// Close lets go of the store. Twice is fine. It returns nil.
func (x *FolderExport) Close() error { return x.backup.Close() }

// FolderImport makes a store of the files of a LevelDB folder, as they are. They
// come one after the other, CURRENT first, the others in any order. It belongs
// to one goroutine.
//
// The place is a store from the moment on that its manifest is there, whole or
// not: who wants all or nothing imports to a volume.Draft.
type FolderImport struct {
	fs   vfs.FS
	opts Options

	manifest vfs.FileDesc // that CURRENT names
	named    bool
	current  []byte
	file     vfs.File // that comes; nil for CURRENT, and before the first
	reads    bool     // it is CURRENT

	tables   []*manifest.FileMeta // still to be checked
	checked  bool                 // the manifest is
	recovery Recovery
}

// NewFolderImport begins an import to fs, which must be empty. opts is what the
// store will be opened with. ErrInvalidArgument where fs is not empty.
func NewFolderImport(fs vfs.FS, opts *Options) (*FolderImport, error) {
	fds, err := fs.List()
	if err != nil {
		return nil, err
	}
	if len(fds) > 0 {
		return nil, base.Wrap(ErrInvalidArgument, "an import to a place that has files", nil)
	}
	return &FolderImport{fs: fs, opts: opts.withDefaults()}, nil
}

// Begin ends the file before, and begins one of so many bytes, 0 where nobody
// knows. It reports whether a store needs it: what it holds is to be left out
// else. ErrInvalidArgument where CURRENT was not the first, or a file comes
// twice; ErrCorruption where CURRENT names no manifest; or an error of the FS.
func (m *FolderImport) Begin(name string, size int64) (needed bool, err error) {
	if err := m.end(); err != nil {
		return false, err
	}
	if name == currentName {
		if m.named {
			return false, base.Wrap(ErrInvalidArgument, "CURRENT comes twice", nil)
		}
		m.reads = true
		return true, nil
	}
	if !m.named {
		return false, base.Wrap(ErrInvalidArgument, "no file CURRENT: this is no LevelDB folder", nil)
	}
	fd, ok := vfs.ParseName(name)
	if !ok || fd.Type == vfs.TypeManifest && fd != m.manifest {
		return false, nil
	}
	m.file, err = m.fs.Create(fd, size)
	if errors.Is(err, vfs.ErrExist) {
		err = base.Wrap(ErrInvalidArgument, name+" comes twice", nil)
	}
	return err == nil, err
}

// Write takes the next bytes of the file.
func (m *FolderImport) Write(p []byte) (int, error) {
	switch {
	case m.reads && len(m.current)+len(p) > 64:
		return 0, base.Corruption(currentName, 64, "too long for the name of a manifest")
	case m.reads:
		m.current = append(m.current, p...)
		return len(p), nil
	case m.file == nil:
		return 0, base.Wrap(ErrInvalidArgument, "bytes of no file", nil)
	}
	if err := m.file.Append(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end ends the file that comes.
func (m *FolderImport) end() error {
	if m.reads {
		m.reads = false
		name, whole := strings.CutSuffix(string(m.current), "\n")
		fd, ok := vfs.ParseName(name)
		if !whole || !ok || fd.Type != vfs.TypeManifest {
			return base.Corruption(currentName, 0, "no name of a manifest")
		}
		m.manifest, m.named = fd, true
	}
	if m.file == nil {
		return nil
	}
	f := m.file
	m.file = nil
	return errors.Join(f.Sync(), f.Close())
}

// Check goes on with checking what came, by about a table a call, and returns
// how many of them are left; at the end it has opened the store, and made it one
// of this package. Table and log are checked to their last byte.
//
// ErrCorruption where something is damaged or missing, ErrNotSupported where
// another comparer or compression was used, or an error of the FS.
func (m *FolderImport) Check() (left int, err error) {
	if !m.checked {
		if err := m.begin(); err != nil {
			return 0, err
		}
		m.checked = true
	} else if n := len(m.tables) - 1; n >= 0 {
		f := m.tables[n]
		m.tables = m.tables[:n]
		if err := m.check(f); err != nil {
			return 0, err
		}
	}
	if len(m.tables) > 0 {
		return len(m.tables), nil
	}
	db, err := Open(m.fs, &m.opts)
	if err != nil {
		return 0, err
	}
	m.recovery = db.Recovery()
	return 0, db.Close()
}

// begin reads the manifest.
func (m *FolderImport) begin() error {
	if err := m.end(); err != nil {
		return err
	}
	if !m.named {
		return base.Wrap(ErrInvalidArgument, "no file CURRENT: this is no LevelDB folder", nil)
	}
	l, err := manifest.Open(m.fs, manifest.Options{
		Comparer: m.opts.Comparer, Features: []string{manifest.FeatureRangeDelete, manifest.FeatureExpiry},
	})
	switch {
	case errors.Is(err, vfs.ErrNotExist):
		return base.Wrap(ErrCorruption, m.manifest.String()+" is missing, which CURRENT names", nil)
	case errors.Is(err, ErrInvalidArgument):
		// It is no argument of the caller's.
		return base.Wrap(ErrNotSupported, err.Error(), nil)
	case err != nil:
		return err
	}
	for level := range manifest.NumLevels {
		m.tables = append(m.tables, l.Version().Files(level)...)
	}
	return l.Close()
}

// check reads a table from its start to its end.
func (m *FolderImport) check(f *manifest.FileMeta) error {
	file, err := m.fs.Open(f.Desc())
	if err != nil {
		return err
	}
	defer file.Close()
	var meta sst.Meta
	r, err := sst.Open(file, sst.ReaderOptions{Comparer: m.opts.Comparer, FileNum: f.Num})
	if err == nil {
		meta, err = r.Verify()
	}
	switch {
	case errors.Is(err, ErrNotSupported):
		return base.Wrap(ErrNotSupported, f.Desc().String(), err)
	case errors.Is(err, ErrCorruption):
		return base.Wrap(ErrCorruption, f.Desc().String(), err)
	case err != nil:
		return err
	}
	cmp := m.opts.Comparer
	if uint64(meta.Size) != f.Size || cmp.CompareInternal(meta.Smallest, f.Smallest) != 0 || cmp.CompareInternal(meta.Largest, f.Largest) != 0 {
		return base.Corruption(f.Desc().String(), 0, "its size or its keys are not what the manifest says")
	}
	return nil
}

// Recovery tells what Open found, once Check has come to the end.
func (m *FolderImport) Recovery() Recovery { return m.recovery }

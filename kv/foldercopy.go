package kv

import (
	"io"

	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// FolderCopy gives out a copy of the store at one moment (see DB.Copy) as the
// files of a folder that LevelDB and its relatives open, CURRENT last. It works
// as it is read, and holds about a piece.
type FolderCopy struct {
	k       *copier
	pieces  []FolderPiece // made, and not given out
	current string        // what CURRENT is to say
	over    bool          // nothing more is made
	closed  bool
}

// CopyFolder begins a copy, of whatever features the store has. It must be
// closed, before the DB is. Errors, also those of Next, are those of Copy.
func (db *DB) CopyFolder(ctx Context, opts *CopyOptions) (*FolderCopy, error) {
	o := CopyOptions{LevelDB: true}
	if opts != nil {
		o.At, o.DropExpiry = opts.At, opts.DropExpiry
	}
	x := &FolderCopy{}
	k, err := db.newCopier(ctx, folderFS{x}, &o)
	x.k = k
	return x, err
}

// Next returns the next piece, of about maxBytes; io.EOF behind the last.
func (x *FolderCopy) Next(maxBytes int) (FolderPiece, error) {
	if x.closed {
		return FolderPiece{}, ErrClosed
	}
	for !x.over && (len(x.pieces) == 0 || len(x.pieces) == 1 && len(x.pieces[0].Data) < maxBytes) {
		if err := x.step(); err != nil {
			return FolderPiece{}, err
		}
	}
	if len(x.pieces) == 0 {
		return FolderPiece{}, io.EOF
	}
	p := x.pieces[0]
	x.pieces = x.pieces[1:]
	return p, nil
}

// step copies an entry, or ends the copy.
func (x *FolderCopy) step() error {
	k := x.k
	if k.c.next() {
		return k.w.add(k.c.key, k.c.value, k.w.opts.tableBytes(k.w.level(k.w.report.Bytes)))
	}
	x.over = true
	if err := k.c.it.Error(); err != nil {
		return err
	}
	if err := k.w.finish(k.rs.seq); err != nil {
		return err
	}
	folderFS{x}.put(currentName, []byte(x.current))
	return nil
}

// Report tells what has been copied.
func (x *FolderCopy) Report() CopyReport { return x.k.w.report }

// Close lets go of the store. Twice is fine.
func (x *FolderCopy) Close() error {
	if x.closed {
		return nil
	}
	x.closed, x.over, x.pieces = true, true, nil
	err := x.k.c.it.Close()
	x.k.release()
	return err
}

// folderFS is the place that a FolderCopy is written to: a queue.
type folderFS struct{ x *FolderCopy }

var _ vfs.CurrentSetter = folderFS{}

// put adds bytes to the last file, or begins one that is named.
func (f folderFS) put(name string, p []byte) {
	if n := len(f.x.pieces); name == "" && n > 0 {
		last := &f.x.pieces[n-1]
		last.Data = append(last.Data, p...)
		return
	}
	f.x.pieces = append(f.x.pieces, FolderPiece{Name: name, Size: -1, Data: append([]byte(nil), p...)})
}

func (f folderFS) Create(fd vfs.FileDesc, _ int64) (vfs.File, error) {
	f.put(fd.String(), nil)
	return &folderFile{f: f}, nil
}

func (f folderFS) SetCurrent(fd vfs.FileDesc) error {
	// A sync marker may still follow in the manifest.
	f.x.current = fd.String() + "\n"
	return nil
}

// Nothing of a stream is read, removed or listed.
var errStream = base.Wrap(base.ErrInvalidArgument, "a stream can only be appended to", nil)

func (folderFS) Open(vfs.FileDesc) (vfs.File, error)          { return nil, errStream }
func (folderFS) Reopen(vfs.FileDesc, int64) (vfs.File, error) { return nil, errStream }
func (folderFS) Remove(vfs.FileDesc) error                    { return errStream }
func (folderFS) List() ([]vfs.FileDesc, error)                { return nil, nil }
func (folderFS) Current() (vfs.FileDesc, error)               { return vfs.FileDesc{}, errStream }
func (folderFS) Close() error                                 { return nil }

// folderFile is a file of a FolderCopy.
type folderFile struct {
	f    folderFS
	size int64
}

func (w *folderFile) Append(p []byte) error {
	w.f.put("", p)
	w.size += int64(len(p))
	return nil
}

func (*folderFile) ReadAt([]byte, int64) (int, error) { return 0, errStream }
func (w *folderFile) Size() (int64, error)            { return w.size, nil }
func (*folderFile) Sync() error                       { return nil }
func (*folderFile) Close() error                      { return nil }

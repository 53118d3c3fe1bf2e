package kv

import (
	"io"
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/manifest"
	"tempestkv/kv/vfs"
)

// Backup is the store of one moment as files: a manifest and the tables that it
// names. A place that has these is a store (package volume makes one file of
// them). It keeps the tables until it is closed, and takes no memory for them.
type Backup struct {
	// Seq is the sequence number of the last write in it.
	Seq base.SeqNum

	// Features are the names of what LevelDB lacks and its reader must know.
	Features []string

	// Files are to be read before Close.
	Files []BackupFile

	db      *DB
	version *manifest.Version
	closed  bool
}

// BackupFile is a file of a backup.
type BackupFile struct {
	Desc    vfs.FileDesc
	Size    int64 // bytes
	Content io.ReaderAt
}

// Backup flushes, and returns the store as it is in tables then: every write
// sent before it is in it. It must be closed, before the DB is. Errors are those
// of Flush.
func (db *DB) Backup(ctx Context) (*Backup, error) {
	if err := db.Flush(ctx); err != nil {
		return nil, err
	}
	b := &Backup{db: db}
	err := db.do(ctx, func() {
		b.version = db.manifest.Version()
		b.version.Ref()
		b.Seq = db.manifest.State().LastSeq
		b.Features = slices.Clone(db.manifest.State().Features)
		desc, content := db.manifest.Copy()
		b.Files = append(b.Files, BackupFile{desc, int64(len(content)), bytesAt(content)})
		db.bg.running.Add(1)
	})
	if err != nil {
		return nil, err
	}
	for level := range manifest.NumLevels {
		for _, f := range b.version.Files(level) {
			b.Files = append(b.Files, BackupFile{f.Desc(), int64(f.Size), tableContent{db.tables, f}})
		}
	}
	return b, nil
}

// Close lets go of the tables. Twice is fine. It returns nil.
func (b *Backup) Close() error {
	if !b.closed {
		b.closed = true
		b.version.Unref()
		b.db.bg.running.Done()
	}
	return nil
}

// tableContent reads a table's file, which it opens for each call: a store may
// have more tables than a host lets be open at once.
type tableContent struct {
	cache *tableCache
	meta  *manifest.FileMeta
}

func (t tableContent) ReadAt(p []byte, off int64) (int, error) {
	open, err := t.cache.acquire(t.meta)
	if err != nil {
		return 0, err
	}
	defer t.cache.release(open)
	return open.file.ReadAt(p, off)
}

// bytesAt is a file in memory.
type bytesAt []byte

func (b bytesAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

package kv

import (
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
)

// CopyOptions say what Copy does. nil is valid.
type CopyOptions struct {
	// At is the moment to copy; nil for the present one.
	At *Snapshot

	// LevelDB makes a store that LevelDB and its relatives open. Range
	// tombstones never get into a copy; but values that expire have no place
	// there, nor has a comparer other than base.Bytewise: ErrNotSupported where
	// there are some.
	LevelDB bool

	// DropExpiry makes values that expire ones that stay. Those that have
	// expired are left out all the same.
	DropExpiry bool
}

// CopyReport tells what Copy has written.
type CopyReport struct {
	Tables  int
	Bytes   uint64 // in tables
	Entries uint64
	// Dropped is how many of them lost their expiry.
	Dropped uint64
}

// Copy writes what the store has at one moment into dst, which must be empty, as
// a store of its own: tables of one level and a manifest, all durable when it
// returns. Each entry keeps its sequence number. Of what was overwritten,
// deleted, cleared or has expired nothing is left. Calls go on meanwhile.
//
// It creates and appends to one file of dst at a time, and neither reads nor
// renames any, so dst may as well be a stream. An error leaves no file behind
// where dst can remove it: ErrInvalidArgument where dst has files,
// ErrNotSupported (see CopyOptions), ErrCorruption, that of ctx, of a DB that
// was closed meanwhile, or of dst.
func (db *DB) Copy(ctx Context, dst vfs.FS, opts *CopyOptions) (CopyReport, error) {
	k, err := db.newCopier(ctx, dst, opts)
	if err != nil {
		return CopyReport{}, err
	}
	defer k.release()
	db.busy.Add(1)
	defer db.busy.Add(-1)
	err = k.w.begin()
	if err == nil {
		err = k.w.write(k.c)
	}
	if e := k.c.it.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = k.w.finish(k.rs.seq)
	}
	if err != nil {
		k.w.abandon()
		return CopyReport{}, err
	}
	return k.w.report, nil
}

// copier is a copy under way.
type copier struct {
	db *DB
	rs *readState
	c  *compactionIter
	w  *storeWriter
}

// newCopier takes hold of what is to be copied, up to release.
func (db *DB) newCopier(ctx Context, dst vfs.FS, opts *CopyOptions) (*copier, error) {
	if opts == nil {
		opts = &CopyOptions{}
	}
	if opts.LevelDB && db.cmp.Name != base.Bytewise.Name {
		return nil, base.Wrap(ErrNotSupported, "LevelDB does not know the comparer \""+db.cmp.Name+"\"", nil)
	}
	var rs *readState
	var closed error
	err := db.doAfterWrites(ctx, func() {
		if closed = opts.At.check(); closed == nil {
			rs = db.acquireReadState(opts.At)
			db.bg.running.Add(1)
		}
	})
	if err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	w := &storeWriter{
		fs: dst, opts: db.opts, plain: opts.LevelDB, dropExpiry: opts.DropExpiry,
		step: func() error { return db.giveWay(ctx) },
	}
	c := &compactionIter{
		cmp:       db.cmp,
		it:        iterator.NewSnapshot(iterator.NewMerging(db.cmp, rs.sources(iterator.Bounds{}, scanReadAhead)...), rs.seq),
		snapshots: []base.SeqNum{rs.seq},
		isBase:    func([]byte) bool { return true },
		ranges:    rangedel.NewCursor(rs.ranges...),
		now:       rs.now,
		filter:    db.opts.Filter,
	}
	return &copier{db: db, rs: rs, c: c, w: w}, nil
}

// release lets go of what is copied. Its iterator was closed before.
func (k *copier) release() {
	k.rs.release()
	k.db.bg.running.Done()
}

// storeWriter makes a store of entries that come in order, in an FS that is
// empty.
type storeWriter struct {
	fs         vfs.FS
	opts       Options
	plain      bool // nothing that LevelDB does not know
	dropExpiry bool
	step       func() error // gives way, and says why to stop

	num    uint64 // of the last file
	made   []vfs.FileDesc
	tables []*manifest.FileMeta
	file   vfs.File // nil between two tables
	w      *sst.Writer
	since  int64
	report CopyReport

	expires bool
}

// begin refuses an FS that is not empty.
func (s *storeWriter) begin() error {
	fds, err := s.fs.List()
	if err != nil {
		return err
	}
	if len(fds) > 0 {
		return base.Wrap(ErrInvalidArgument, "the place for a new store is not empty: it has "+fds[0].String(), nil)
	}
	return nil
}

// level returns the level that takes so many bytes.
func (s *storeWriter) level(bytes uint64) int {
	level := 1
	for level < manifest.NumLevels-1 && bytes > s.opts.levelBytes(level) {
		level++
	}
	return level
}

// write puts what c keeps into tables that grow with the store.
func (s *storeWriter) write(c *compactionIter) error {
	for seen := int64(0); c.next(); seen = c.bytes {
		if s.since += c.bytes - seen; s.since >= stepBytes {
			s.since = 0
			if err := s.step(); err != nil {
				return err
			}
		}
		if err := s.add(c.key, c.value, s.opts.tableBytes(s.level(s.report.Bytes))); err != nil {
			return err
		}
	}
	return c.it.Error()
}

// add appends an entry to the table of about targetBytes that is being written.
// No other has its user key.
func (s *storeWriter) add(key base.InternalKey, value []byte, targetBytes int64) error {
	if key.Kind() == base.KindPutExpiring {
		millis, user, _ := base.CutExpiry(value)
		switch {
		case s.dropExpiry:
			key, value = base.MakeInternalKey(key.UserKey, key.SeqNum(), base.KindPut), user
			s.report.Dropped++
		case s.plain:
			return base.Wrap(ErrNotSupported, "a value expires at "+u64(millis)+
				" (milliseconds since 1970), key "+strconv.Quote(string(key.UserKey))+"; LevelDB knows none that do", nil)
		}
		s.expires = s.expires || !s.dropExpiry
	}
	if s.file != nil && s.w.EstimatedBytes() >= targetBytes {
		if err := s.finishTable(); err != nil {
			return err
		}
	}
	if s.file == nil {
		if err := s.beginTable(targetBytes); err != nil {
			return err
		}
	}
	s.report.Entries++
	return s.w.Add(key, value)
}

func (s *storeWriter) beginTable(reserve int64) error {
	s.num++
	fd := vfs.FileDesc{Type: vfs.TypeTable, Num: s.num}
	f, err := s.fs.Create(fd, reserve)
	if err != nil {
		return err
	}
	s.made = append(s.made, fd)
	if s.file = f; s.w == nil {
		s.w = sst.NewWriter(f, sst.WriterOptions{
			Comparer: s.opts.Comparer, BlockBytes: s.opts.BlockBytes, Compression: s.opts.Compression,
		})
	} else {
		s.w.Reset(f)
	}
	return nil
}

// endTable makes the table that is being written durable.
func (s *storeWriter) endTable() (sst.Meta, error) {
	meta, err := s.w.Finish()
	if err == nil {
		err = s.file.Sync()
	}
	if e := s.file.Close(); err == nil {
		err = e
	}
	s.file = nil
	return meta, err
}

// finishTable ends a table and adds it to the store.
func (s *storeWriter) finishTable() error {
	meta, err := s.endTable()
	if err != nil {
		return err
	}
	s.tables = append(s.tables, &manifest.FileMeta{
		Num: s.num, Size: uint64(meta.Size), Smallest: meta.Smallest, Largest: meta.Largest,
	})
	s.report.Tables++
	s.report.Bytes += uint64(meta.Size)
	return nil
}

// finish makes the store: what was written is in force then.
func (s *storeWriter) finish(last base.SeqNum) error {
	if s.file != nil {
		if err := s.finishTable(); err != nil {
			return err
		}
	}
	var e manifest.VersionEdit
	e.SetLogNum(0)
	e.SetLastSeq(last)
	if s.expires {
		e.Features = append(e.Features, manifest.FeatureExpiry)
	}
	level := s.level(s.report.Bytes)
	for _, f := range s.tables {
		e.Add(level, f)
	}
	s.num++
	s.made = append(s.made, vfs.FileDesc{Type: vfs.TypeManifest, Num: s.num})
	m, err := manifest.Create(s.fs, s.num, &e, manifest.Options{Comparer: s.opts.Comparer})
	if err != nil {
		return err
	}
	return m.Close()
}

// abandon removes what was written, as far as that is possible.
func (s *storeWriter) abandon() {
	if s.file != nil {
		s.file.Close()
	}
	for _, fd := range s.made {
		// It reports an error already, and that one matters.
		_ = s.fs.Remove(fd)
	}
}

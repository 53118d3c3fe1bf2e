package kv

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/manifest"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// checker is an FS that can check itself; volume.Volume is one.
type checker interface{ Check() error }

// VerifyReport is what Verify found.
type VerifyReport struct {
	// Problems tells of each in a sentence; it is empty where all is well.
	Problems []string

	Tables     int
	TableBytes uint64
	Entries    uint64 // in tables: all versions, tombstones among them
	Tombstones uint64 // of those
	Expiring   uint64 // of those

	RangeTombstones int // in the manifest

	Logs          int
	LogBytes      int64
	LogBatches    uint64
	LogOperations uint64
}

// verification is a Verify under way: the store of one moment.
type verification struct {
	db       *DB
	ctx      Context
	rs       readState
	manifest *manifest.Check // nil where an append to it failed
	state    manifest.State
	logs     []logCheck
	report   VerifyReport
}

// logCheck is a log that is to be read again.
type logCheck struct {
	fd    vfs.FileDesc
	file  vfs.File
	end   int64       // in bytes
	first base.SeqNum // the sequence number before its first write
	last  base.SeqNum
}

// Verify reads the store as it is at this moment, past all caches, and checks
// it: every block of every table, and that each is what the manifest says; the
// manifest; every record of the logs, and that the sequence numbers follow each
// other; range tombstones; and the volume, where the store is in one. Calls go
// on meanwhile.
//
// What is wrong is in the report, files that cannot be read too. The error is
// that of ctx, or of a DB that was closed meanwhile.
func (db *DB) Verify(ctx Context) (VerifyReport, error) {
	v := &verification{db: db, ctx: ctx}
	if err := db.doAfterWrites(ctx, v.begin); err != nil {
		return VerifyReport{}, err
	}
	defer db.bg.running.Done()
	defer v.end()
	db.busy.Add(1)
	defer db.busy.Add(-1)
	err := v.run()
	return v.report, err
}

// begin takes hold of everything that is to be read. It runs on the worker.
func (v *verification) begin() {
	db := v.db
	db.bg.running.Add(1)
	v.rs.acquireTables(db, nil)
	v.state = db.manifest.State()
	v.state.Features = slices.Clone(v.state.Features)
	var err error
	if v.manifest, err = db.manifest.Check(); err != nil {
		v.problem(err)
	}
	for _, l := range db.imm {
		v.addLog(l.logNum, l.logBytes, l.first, l.last)
	}
	if db.failed != nil {
		v.problem(base.Wrap(ErrReadOnly, "the last log was not checked", db.failed))
		return
	}
	v.addLog(db.mem.logNum, db.log.Offset(), db.mem.first, db.visible)
}

func (v *verification) addLog(num uint64, end int64, first, last base.SeqNum) {
	fd := vfs.FileDesc{Type: vfs.TypeLog, Num: num}
	f, err := v.db.fs.Open(fd)
	if err != nil {
		v.problem(base.Wrap(ErrIO, "open "+fd.String(), err))
		return
	}
	v.logs = append(v.logs, logCheck{fd: fd, file: f, end: end, first: first, last: last})
}

func (v *verification) end() {
	if v.manifest != nil {
		v.manifest.Close()
	}
	for _, l := range v.logs {
		l.file.Close()
	}
	v.rs.release()
}

func (v *verification) problem(err error) {
	v.report.Problems = append(v.report.Problems, err.Error())
}

// step gives way, and says why to stop.
func (v *verification) step() error { return v.db.giveWay(v.ctx) }

// giveWay lets others run between two steps of a call that works in its
// caller's goroutine. It returns the error of a DB that was closed meanwhile, or
// of ctx.
func (db *DB) giveWay(ctx Context) error {
	if db.opts.Yield != nil {
		db.yield()
	} else {
		runtime.Gosched()
	}
	var cancelled <-chan struct{}
	if ctx != nil {
		cancelled = ctx.Done()
	}
	select {
	case <-db.ended:
		return db.fate
	case <-cancelled:
		return ctx.Err()
	default:
		return nil
	}
}

// stepFile makes each read of a file a step.
type stepFile struct {
	vfs.File
	step func() error
}

func (f stepFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.step(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (v *verification) run() error {
	if c, ok := v.db.fs.(checker); ok {
		if err := c.Check(); err != nil {
			v.problem(err)
		}
	}
	if v.manifest != nil {
		if err := v.manifest.Run(); err != nil {
			v.problem(err)
		}
	}
	v.ranges()
	for level := range manifest.NumLevels {
		for _, f := range v.rs.version.Files(level) {
			if err := v.step(); err != nil {
				return err
			}
			if err := v.table(level, f); err != nil {
				v.problem(err)
			}
		}
	}
	for _, l := range v.logs {
		if err := v.step(); err != nil {
			return err
		}
		if err := v.log(l); err != nil {
			v.problem(err)
		}
	}
	return v.step()
}

// ranges checks the range tombstones of the manifest.
func (v *verification) ranges() {
	ts := v.rs.version.RangeTombstones()
	v.report.RangeTombstones = len(ts)
	bad := func(t manifest.RangeTombstone, what string) {
		v.problem(base.Wrap(ErrCorruption, "range tombstone "+u64(uint64(t.Seq))+" "+what, nil))
	}
	if len(ts) > 0 && !v.has(manifest.FeatureRangeDelete) {
		bad(ts[0], "without the feature")
	}
	for _, t := range ts {
		switch {
		case t.Seq > v.rs.seq:
			bad(t, "is newer than the last write, "+u64(uint64(v.rs.seq)))
		case t.Made > v.state.NextFileNum || t.Until > v.state.NextFileNum:
			bad(t, "names files that are still to come")
		case v.db.cmp.Compare(t.Start, t.End) >= 0:
			bad(t, "ends before it begins")
		}
	}
}

func (v *verification) has(feature string) bool { return slices.Contains(v.state.Features, feature) }

// table reads a table, and compares it with what the manifest says of it.
func (v *verification) table(level int, f *manifest.FileMeta) error {
	v.report.Tables++
	v.report.TableBytes += f.Size
	where := func(err error) error {
		return base.Wrap(ErrCorruption, "level "+strconv.Itoa(level)+": "+f.Desc().String(), err)
	}
	file, err := v.db.fs.Open(f.Desc())
	if err != nil {
		return where(err)
	}
	defer file.Close()
	r, err := sst.Open(stepFile{file, v.step}, sst.ReaderOptions{Comparer: v.db.cmp, FileNum: f.Num})
	if err != nil {
		return where(err)
	}
	meta, err := r.Verify()
	if err != nil {
		return where(err)
	}
	v.report.Entries += uint64(meta.Entries)
	v.report.Tombstones += uint64(meta.Tombstones)
	v.report.Expiring += uint64(meta.Expiring)
	differs := ""
	switch {
	case uint64(meta.Size) != f.Size:
		differs = "size"
	case v.db.cmp.CompareInternal(meta.Smallest, f.Smallest) != 0:
		differs = "smallest key"
	case v.db.cmp.CompareInternal(meta.Largest, f.Largest) != 0:
		differs = "largest key"
	}
	switch {
	case differs != "":
		return where(base.Wrap(ErrCorruption, "its "+differs+" is not what the manifest says", nil))
	case meta.LargestSeq > v.rs.seq:
		return where(base.Wrap(ErrCorruption, "it has sequence number "+u64(uint64(meta.LargestSeq))+
			", and the last write was "+u64(uint64(v.rs.seq)), nil))
	case meta.Expiring > 0 && !v.has(manifest.FeatureExpiry):
		return where(base.Wrap(ErrCorruption, "it has values that expire, without the feature", nil))
	}
	return nil
}

// log reads a log up to where it ended when Verify began.
func (v *verification) log(l logCheck) error {
	v.report.Logs++
	v.report.LogBytes += l.end
	r := wal.NewReader(stepFile{l.file, v.step}, l.end)
	seq := l.first
	for {
		at := r.Offset()
		record, err := r.Next()
		if err == io.EOF {
			if seq != l.last {
				return base.Corruption(l.fd.String(), at, "ends with sequence number "+u64(uint64(seq))+" instead of "+u64(uint64(l.last)))
			}
			return nil
		}
		if bad, ok := errors.AsType[*wal.BadRecordError](err); ok {
			return base.Corruption(l.fd.String(), bad.Offset, bad.Reason)
		}
		if err != nil {
			return base.Wrap(ErrIO, l.fd.String(), err)
		}
		first, count, ok := batch.ReadHeader(record)
		if !ok {
			return base.Corruption(l.fd.String(), at, "a record is no batch")
		}
		kinds, err := kindsOf(record[batch.HeaderSize:], count)
		switch {
		case err != nil:
			return base.Corruption(l.fd.String(), at, err.Error())
		case first != seq+1:
			return base.Corruption(l.fd.String(), at, "sequence number "+u64(uint64(first))+" does not follow "+u64(uint64(seq)))
		case kinds.Has(base.KindRangeDelete) && !v.has(manifest.FeatureRangeDelete),
			kinds.Has(base.KindPutExpiring) && !v.has(manifest.FeatureExpiry):
			return base.Corruption(l.fd.String(), at, "an operation without the feature for it")
		}
		if count > 0 {
			v.report.LogBatches++
			v.report.LogOperations += uint64(count)
		}
		seq += base.SeqNum(count)
	}
}

// kindsOf returns which kinds of operations there are in a batch of a log. Those
// of LevelDB may be over our limits.
func kindsOf(ops []byte, count uint32) (batch.Kinds, error) {
	var kinds batch.Kinds
	for r := batch.MakeReader(ops); ; {
		kind, _, _, ok := r.Next()
		if !ok {
			return kinds, batch.Check(ops, count)
		}
		kinds |= 1 << kind
	}
}

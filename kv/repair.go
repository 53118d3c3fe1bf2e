package kv

import (
	"errors"
	"io"
	"math/bits"
	"runtime"
	"slices"
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/memtable"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// RepairReport tells what Repair found.
type RepairReport struct {
	// Manifest is the name of the one that was read; empty where there was none
	// to read.
	Manifest string

	Tables   int         // read, damaged ones among them
	Logs     int         // read
	Entries  uint64      // in the new store
	Sequence base.SeqNum // of the newest write that was found
	Lost     []Loss      // empty where nothing was
}

// Loss is something that could not be read.
type Loss struct {
	File          string
	Offset, Bytes int64 // 0 bytes where nobody knows how many

	// Writes is about how many operations were there, 0 where nobody knows.
	Writes uint64

	Reason string
}

// String returns the loss in a sentence.
func (l Loss) String() string {
	s := l.File
	if l.Bytes > 0 {
		s += ": " + strconv.FormatInt(l.Bytes, 10) + " bytes at offset " + strconv.FormatInt(l.Offset, 10)
	}
	if l.Writes > 0 {
		s += ", about " + u64(l.Writes) + " writes"
	}
	return s + ": " + l.Reason
}

// Repair makes a store in dst, which must be empty, of what can be read of the
// one in src, which it does not change. Of each key the newest version counts
// that is left.
//
// Where the manifest can be read, and all is there that it names, it says which
// tables and logs belong to the store. Elsewhere all of them do, and what was
// deleted or cleared long ago may be there again. Damaged blocks of tables are left out, and so are damaged
// records of logs; what stands behind those counts where its sequence numbers
// make sense. All that is in the report.
//
// opts is what the store was opened with; what has expired by its clock is left
// out. The error is ErrInvalidArgument where
// dst is not empty, or the comparer is another; ErrNotSupported where a newer
// version wrote the store; or it comes from dst.
func Repair(src, dst vfs.FS, opts *Options) (RepairReport, error) {
	o := opts.withDefaults()
	never := make(chan struct{})
	step := func() error {
		if o.Yield != nil {
			o.Yield(never)
		} else {
			runtime.Gosched()
		}
		return nil
	}
	r := &repairer{src: src, opts: o, w: &storeWriter{fs: dst, opts: o, step: step}, known: map[base.SeqNum]bool{}}
	r.srcTables = newTableCache(src, o.Comparer, o.TableCacheBytes, 0)
	r.dstTables = newTableCache(dst, o.Comparer, o.TableCacheBytes, 0)
	if err := r.w.begin(); err != nil {
		return RepairReport{}, err
	}
	if err := r.run(); err != nil {
		r.w.abandon()
		return RepairReport{}, err
	}
	return r.report, nil
}

type repairer struct {
	src  vfs.FS
	opts Options
	w    *storeWriter // to dst

	manifest *manifest.Log // nil where it cannot be read
	isBehind bool          // it may have lost its latest edits: a file that it names is gone
	files    []vfs.FileDesc

	srcTables, dstTables *tableCache
	whole                []*manifest.FileMeta // tables of src
	salvaged             []*manifest.FileMeta // what is left of others, in dst
	goodBytes, entries   uint64               // of tables

	logs  []*memtable.Table
	next  base.SeqNum // that the next batch of the logs should have, 0 if unknown
	clear []rangedel.Tombstone
	known map[base.SeqNum]bool // those of clear

	report RepairReport
}

func (r *repairer) lose(l Loss) { r.report.Lost = append(r.report.Lost, l) }

func (r *repairer) run() error {
	var err error
	if r.files, err = r.src.List(); err != nil {
		return err
	}
	if err := r.readManifest(); err != nil {
		return err
	}
	if err := r.readTables(); err != nil {
		return err
	}
	for _, fd := range r.files {
		if fd.Type == vfs.TypeLog && (r.manifest == nil || r.isBehind || fd.Num >= r.manifest.State().LogNum || fd.Num == r.manifest.State().PrevLogNum) {
			if err := r.w.step(); err != nil {
				return err
			}
			r.readLog(fd)
		}
	}
	return r.write()
}

// withoutCurrent hides which manifest an FS says is current.
type withoutCurrent struct{ vfs.FS }

// readManifest reads the manifest, if that is possible.
func (r *repairer) readManifest() error {
	o := manifest.Options{
		Comparer: r.opts.Comparer, AllowMissing: true,
		Features: []string{manifest.FeatureRangeDelete, manifest.FeatureExpiry},
	}
	m, err := manifest.Open(r.src, o)
	if err != nil && !isRefusal(err) && !errors.Is(err, vfs.ErrNotExist) {
		// CURRENT may be what is wrong.
		cause := err
		if m, err = manifest.Open(withoutCurrent{r.src}, o); err == nil {
			r.lose(Loss{File: "CURRENT", Reason: cause.Error() + "; " + m.Desc().String() + " was taken for it"})
		} else if !isRefusal(err) {
			r.lose(Loss{File: "manifest", Reason: cause.Error() + "; every table and log counts, and what was deleted may be there again"})
			return nil
		}
	}
	switch {
	case isRefusal(err):
		return err
	case err != nil:
		return nil // there are no tables
	}
	r.manifest = m
	r.report.Manifest = m.Desc().String()
	r.report.Sequence = m.State().LastSeq
	r.next = m.State().LastSeq + 1
	for _, t := range m.Version().RangeTombstones() {
		r.addRange(t.Tombstone)
	}
	state := m.State()
	if num := state.LogNum; num > 0 && !state.IsGoleveldbs() && !slices.Contains(r.files, vfs.FileDesc{Type: vfs.TypeLog, Num: num}) {
		r.lose(Loss{File: vfs.FileDesc{Type: vfs.TypeLog, Num: num}.String(), Reason: "it is missing"})
		r.isBehind = true
	}
	for level := range manifest.NumLevels {
		for _, f := range m.Version().Files(level) {
			r.isBehind = r.isBehind || !slices.Contains(r.files, f.Desc())
		}
	}
	return nil
}

// isRefusal reports whether err says that the store is none to be read with
// these options, damaged or not.
func isRefusal(err error) bool {
	return errors.Is(err, ErrNotSupported) || errors.Is(err, ErrInvalidArgument)
}

func (r *repairer) addRange(t rangedel.Tombstone) {
	if !r.known[t.Seq] {
		r.known[t.Seq] = true
		r.clear = append(r.clear, t)
	}
}

// readTables checks the tables, and salvages those that are damaged.
func (r *repairer) readTables() error {
	var lost []int // in report.Lost, of tables
	damaged := func(f *manifest.FileMeta, cause error) error {
		before := len(r.report.Lost)
		if err := r.salvage(f, cause); err != nil {
			return err
		}
		for i := before; i < len(r.report.Lost); i++ {
			lost = append(lost, i)
		}
		return nil
	}
	for _, f := range r.tables() {
		if err := r.w.step(); err != nil {
			return err
		}
		meta, err := r.checkTable(f)
		if err != nil {
			if err := damaged(f, err); err != nil {
				return err
			}
			continue
		}
		r.report.Tables++
		r.count(meta)
		if meta.Entries > 0 {
			r.whole = append(r.whole, &manifest.FileMeta{
				Num: f.Num, Size: uint64(meta.Size), Smallest: meta.Smallest, Largest: meta.Largest,
			})
		}
	}
	// What a lost byte held is guessed from what the others hold.
	for _, i := range lost {
		if l := &r.report.Lost[i]; r.goodBytes > 0 {
			high, low := bits.Mul64(uint64(l.Bytes), r.entries)
			l.Writes, _ = bits.Div64(high%r.goodBytes, low, r.goodBytes)
		}
	}
	return nil
}

func (r *repairer) count(meta sst.Meta) {
	r.goodBytes += uint64(meta.Size)
	r.entries += uint64(meta.Entries)
	r.report.Sequence = max(r.report.Sequence, meta.LargestSeq)
}

// tables returns the tables of the store: those of the manifest, and all where it
// is not to be trusted.
func (r *repairer) tables() []*manifest.FileMeta {
	var tables []*manifest.FileMeta
	named := map[vfs.FileDesc]bool{}
	if r.manifest != nil {
		for level := range manifest.NumLevels {
			for _, f := range r.manifest.Version().Files(level) {
				tables = append(tables, f)
				named[f.Desc()] = true
			}
		}
	}
	if r.manifest != nil && !r.isBehind {
		return tables
	}
	for _, fd := range r.files {
		if fd.Type == vfs.TypeTable && !named[fd] {
			tables = append(tables, &manifest.FileMeta{Num: fd.Num})
		}
	}
	return tables
}

func (r *repairer) checkTable(f *manifest.FileMeta) (sst.Meta, error) {
	file, err := r.src.Open(f.Desc())
	if err != nil {
		return sst.Meta{}, err
	}
	defer file.Close()
	t, err := sst.Open(stepFile{file, r.w.step}, sst.ReaderOptions{Comparer: r.opts.Comparer, FileNum: f.Num})
	if err != nil {
		return sst.Meta{}, err
	}
	return t.Verify()
}

// salvage writes what is left of a damaged table into one of dst.
func (r *repairer) salvage(f *manifest.FileMeta, cause error) error {
	name := f.Desc().String()
	file, err := r.src.Open(f.Desc())
	if err != nil {
		if errors.Is(err, vfs.ErrNotExist) {
			err = errors.New("it is missing")
		}
		r.lose(Loss{File: name, Bytes: int64(f.Size), Reason: err.Error()})
		return nil
	}
	defer file.Close()
	r.report.Tables++
	w := r.w
	var failed error
	lost, err := sst.Salvage(stepFile{file, w.step}, sst.ReaderOptions{Comparer: r.opts.Comparer, FileNum: f.Num}, func(k base.InternalKey, value []byte) error {
		if w.file == nil {
			if failed = w.beginTable(0); failed != nil {
				return failed
			}
		}
		failed = w.w.Add(k, value)
		return failed
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		lost = append(lost, sst.Lost{Bytes: int64(f.Size), Reason: err.Error()})
	}
	if size, err := file.Size(); err == nil && uint64(size) < f.Size {
		lost = append(lost, sst.Lost{Offset: size, Bytes: int64(f.Size) - size, Reason: "the file was longer"})
	}
	if len(lost) == 0 {
		// Only what leads to the data was damaged.
		lost = []sst.Lost{{Reason: cause.Error() + "; all its blocks were found"}}
	}
	for _, l := range lost {
		r.lose(Loss{File: name, Offset: l.Offset, Bytes: l.Bytes, Reason: l.Reason})
	}
	if w.file == nil {
		return nil
	}
	meta, err := w.endTable()
	if err != nil {
		return err
	}
	r.count(meta)
	r.salvaged = append(r.salvaged, &manifest.FileMeta{
		Num: w.num, Size: uint64(meta.Size), Smallest: meta.Smallest, Largest: meta.Largest,
	})
	return nil
}

// readLog reads what it can of a log.
func (r *repairer) readLog(fd vfs.FileDesc) {
	name := fd.String()
	f, err := r.src.Open(fd)
	if err != nil {
		r.lose(Loss{File: name, Reason: err.Error()})
		return
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		r.lose(Loss{File: name, Reason: err.Error()})
		return
	}
	r.report.Logs++
	table := memtable.New(r.opts.Comparer)
	w := wal.NewReader(f, size)
	good := int64(0) // where the last batch that counts ends
	why := ""        // why what follows does not count; empty where all does
	isFirst := true
	for {
		record, err := w.Next()
		if bad, ok := errors.AsType[*wal.BadRecordError](err); ok {
			if why == "" {
				why = bad.Reason
			}
			if err = w.Resync(); err == nil {
				continue
			}
		}
		if err != nil {
			if err != io.EOF {
				why = err.Error()
			}
			break
		}
		seq, count, fault := r.judge(record, w.Start()-good, isFirst, why != "")
		if fault != "" {
			if why == "" {
				why = fault
			}
			continue
		}
		if why != "" {
			l := Loss{File: name, Offset: good, Bytes: w.Start() - good, Reason: why}
			if r.next > 0 && seq > r.next {
				l.Writes = uint64(seq - r.next)
			}
			r.lose(l)
		} else if r.next > 0 && seq > r.next {
			r.lose(Loss{File: name, Offset: good, Writes: uint64(seq - r.next), Reason: "writes before it are missing"})
		}
		r.apply(table, seq, record[batch.HeaderSize:])
		why, isFirst = "", false
		good = w.End()
		r.next = seq + base.SeqNum(count)
		r.report.Sequence = max(r.report.Sequence, r.next-1)
	}
	if why != "" {
		end := size
		if used, err := usedBytes(f, good, size); err == nil {
			end = good + used
		}
		r.lose(Loss{File: name, Offset: good, Bytes: end - good, Reason: why})
	}
	if !table.Empty() {
		r.logs = append(r.logs, table)
	}
}

// judge returns the sequence number and the count of a batch, or why it does not
// count. skipped is how many bytes lie between it and the one before.
//
// Sequence numbers go up, and only as far as what lies between can have brought
// them: so a copy of an old log, kept as a value, is not taken for a part of this
// one where the record around it is damaged.
func (r *repairer) judge(record []byte, skipped int64, isFirst, isBehind bool) (seq base.SeqNum, count uint32, fault string) {
	seq, count, ok := batch.ReadHeader(record)
	if !ok {
		return 0, 0, "a record is no batch"
	}
	if err := batch.Check(record[batch.HeaderSize:], count); err != nil {
		return 0, 0, err.Error()
	}
	switch {
	case r.next == 0:
	case isFirst && !isBehind:
		// LevelDB may have flushed some of a log; and a log before it may be gone.
	case seq < r.next:
		return 0, 0, "sequence number " + u64(uint64(seq)) + " does not follow " + u64(uint64(r.next-1))
	case seq > r.next && int64(seq-r.next) > skipped/2:
		return 0, 0, "sequence number " + u64(uint64(seq)) + " is too far behind " + u64(uint64(r.next-1))
	}
	return seq, count, ""
}

func (r *repairer) apply(table *memtable.Table, seq base.SeqNum, ops []byte) {
	for b := batch.MakeReader(ops); ; seq++ {
		kind, key, value, ok := b.Next()
		if !ok {
			return
		}
		if kind == base.KindRangeDelete {
			r.addRange(rangedel.Tombstone{Start: slices.Clone(key), End: slices.Clone(value), Seq: seq})
			continue
		}
		table.Add(seq, kind, key, value)
	}
}

// runs divides tables into as few rows as possible of which each is in order.
func runs(cmp *base.Comparer, tables []*manifest.FileMeta) [][]*manifest.FileMeta {
	tables = slices.Clone(tables)
	slices.SortFunc(tables, func(a, b *manifest.FileMeta) int { return cmp.CompareInternal(a.Smallest, b.Smallest) })
	var rows [][]*manifest.FileMeta
	for _, f := range tables {
		i := slices.IndexFunc(rows, func(row []*manifest.FileMeta) bool {
			return cmp.Compare(row[len(row)-1].Largest.UserKey, f.Smallest.UserKey) < 0
		})
		if i < 0 {
			rows = append(rows, nil)
			i = len(rows) - 1
		}
		rows[i] = append(rows[i], f)
	}
	return rows
}

// write writes the new store.
func (r *repairer) write() error {
	cmp := r.opts.Comparer
	var sources []iterator.Internal
	for _, t := range r.logs {
		sources = append(sources, t.View().NewIter())
	}
	for _, row := range runs(cmp, r.whole) {
		sources = append(sources, newLevelIter(r.srcTables, row, scanReadAhead))
	}
	for _, row := range runs(cmp, r.salvaged) {
		sources = append(sources, newLevelIter(r.dstTables, row, scanReadAhead))
	}
	c := &compactionIter{
		cmp: cmp, it: iterator.NewMerging(cmp, sources...),
		isBase: func([]byte) bool { return true },
		ranges: rangedel.NewCursor(rangedel.New(cmp, r.clear, nil)),
	}
	if r.opts.Now != nil {
		c.now = r.opts.Now()
	}
	err := r.w.write(c)
	if e := c.it.Close(); err == nil {
		err = e
	}
	r.srcTables.close()
	r.dstTables.close()
	for _, f := range r.salvaged {
		if err == nil {
			err = r.w.fs.Remove(f.Desc())
		}
	}
	if err == nil {
		err = r.w.finish(r.report.Sequence)
	}
	r.report.Entries = r.w.report.Entries
	return err
}

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/manifest"
	"tempestkv/kv/memtable"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/osfs"
	"tempestkv/kv/wal"
)

// plan says what to write. Zero is none, or the default of package sst.
type plan struct {
	Seed     uint64 `json:"seed"`
	Ops      int    `json:"ops"`      // count of puts and deletes
	Keys     int    `json:"keys"`     // how many there are to choose from
	FlushOps int    `json:"flushOps"` // a table each so many; 0: all stays in logs
	KeepLogs bool   `json:"keepLogs"` // the last writes stay in two logs
	LogTail  int    `json:"logTail"`  // bytes of prepared space behind the last log

	BlockBytes       int  `json:"blockBytes"`
	Uncompressed     bool `json:"uncompressed"`
	FilterBitsPerKey int  `json:"filterBitsPerKey"`

	Features []string `json:"features"` // what a reader must know
	Suffix   int      `json:"suffix"`   // bytes of base.FixedSuffix; 0: base.Bytewise
}

// writer is a small engine: all in one goroutine, compacting at random.
type writer struct {
	plan  plan
	cmp   *base.Comparer
	rng   *rand.Rand
	fs    *osfs.FS
	log   *manifest.Log
	model map[string]string // what must be found

	mem     *memtable.Table
	wal     *wal.Writer
	walFile vfs.File
	logNums []uint64 // of the logs that are in no table
	seq     base.SeqNum
}

// write makes the plan come true in dir.
func write(dir string, p plan, out *bufio.Writer) error {
	w := &writer{plan: p, cmp: base.Bytewise, rng: rand.New(rand.NewPCG(p.Seed, 1)), model: map[string]string{}}
	if p.Suffix > 0 {
		w.cmp = base.FixedSuffix(p.Suffix)
	}
	w.mem = memtable.New(w.cmp)
	err := w.open(dir)
	if err == nil {
		err = w.fill()
	}
	if err == nil {
		err = errors.Join(w.walFile.Append(make([]byte, p.LogTail)), w.walFile.Close(), w.log.Close(), w.fs.Close())
	}
	if err != nil {
		return err
	}
	s := shape{Manifest: w.log.Desc().String(), Logs: len(w.logNums)}
	for level := range manifest.NumLevels {
		s.Tables = append(s.Tables, len(w.log.Version().Files(level)))
	}
	if err := printShape(out, s); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(w.model)) {
		if err := printEntry(out, []byte(key), []byte(w.model[key])); err != nil {
			return err
		}
	}
	return nil
}

// open makes a folder, or takes over one that is there.
func (w *writer) open(dir string) error {
	f, err := openFolder(dir)
	if err == nil {
		return w.takeOver(f)
	}
	if !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	if w.fs, err = osfs.Open(dir); err != nil {
		return err
	}
	snapshot := &manifest.VersionEdit{Features: w.plan.Features}
	snapshot.SetLogNum(0)
	snapshot.SetLastSeq(0)
	w.log, err = manifest.Create(w.fs, 1, snapshot, manifest.Options{Comparer: w.cmp, RotateBytes: 4 << 10})
	if err != nil {
		return err
	}
	return w.newLog()
}

// takeOver goes on in a folder: what is in its logs comes into tables.
func (w *writer) takeOver(f *folder) error {
	it := f.iter()
	for ok := it.First(); ok; ok = it.Next() {
		w.model[string(it.Key())] = string(it.Value())
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	w.fs, w.log, w.seq = f.fs, f.manifest, f.lastSeq
	files, err := w.fs.List()
	if err != nil {
		return err
	}
	for _, fd := range w.log.Orphans(files) {
		if err := w.fs.Remove(fd); err != nil {
			return err
		}
	}
	for _, fd := range files {
		if fd.Type == vfs.TypeLog && fd.Num >= w.log.State().LogNum {
			w.logNums = append(w.logNums, fd.Num)
		}
	}
	if err := w.newLog(); err != nil {
		return err
	}
	newest := len(w.logNums) - 1
	for i, mem := range f.logs {
		w.mem = mem
		if err := w.flush(w.logNums[min(i+1, newest)]); err != nil {
			return err
		}
	}
	return w.dropLogs()
}

// newLog begins a log; the ones before it stay.
func (w *writer) newLog() error {
	num := w.log.NewFileNum()
	f, err := w.fs.Create(vfs.FileDesc{Type: vfs.TypeLog, Num: num}, 0)
	if err != nil {
		return err
	}
	if w.walFile != nil {
		err = errors.Join(w.walFile.Sync(), w.walFile.Close())
	}
	w.wal, w.walFile, w.logNums = wal.NewWriter(f, 0), f, append(w.logNums, num)
	return err
}

// fill writes what the plan says, in batches.
func (w *writer) fill() error {
	keys := make([][]byte, w.plan.Keys)
	for i := range keys {
		keys[i] = w.key()
	}
	for done, flushed := 0, 0; done < w.plan.Ops; {
		n := min(1+w.rng.IntN(3)*w.rng.IntN(12), w.plan.Ops-done)
		if err := w.batch(keys, n); err != nil {
			return err
		}
		done += n
		if w.plan.FlushOps == 0 || done-flushed < w.plan.FlushOps && done < w.plan.Ops {
			continue
		}
		if w.plan.KeepLogs && done+w.plan.FlushOps > w.plan.Ops {
			break
		}
		if err := w.rotate(); err != nil {
			return err
		}
		flushed = done
	}
	if !w.plan.KeepLogs {
		return nil
	}
	for range 2 {
		if err := w.newLog(); err != nil {
			return err
		}
		for range 50 {
			if err := w.batch(keys, 1+w.rng.IntN(8)); err != nil {
				return err
			}
		}
	}
	return nil
}

// rotate brings what is in logs into a table, and compacts a few times.
func (w *writer) rotate() error {
	if err := w.newLog(); err != nil {
		return err
	}
	if err := w.flush(w.logNums[len(w.logNums)-1]); err != nil {
		return err
	}
	if err := w.dropLogs(); err != nil {
		return err
	}
	for range w.rng.IntN(6) {
		if err := w.compact(w.rng.IntN(5)); err != nil {
			return err
		}
	}
	return nil
}

// dropLogs removes all logs but the newest: they are in tables.
func (w *writer) dropLogs() error {
	newest := len(w.logNums) - 1
	for _, num := range w.logNums[:newest] {
		if err := w.fs.Remove(vfs.FileDesc{Type: vfs.TypeLog, Num: num}); err != nil {
			return err
		}
	}
	w.logNums = w.logNums[newest:]
	return nil
}

// batch writes n operations as one record, now and then behind a sync marker.
func (w *writer) batch(keys [][]byte, n int) error {
	if w.rng.IntN(3) == 0 {
		var marker batch.Batch
		marker.SetSeqNum(w.seq + 1)
		if err := w.wal.AddRecord(marker.Repr()); err != nil {
			return err
		}
	}
	var b batch.Batch
	b.SetSeqNum(w.seq + 1)
	for range n {
		key := keys[w.rng.IntN(len(keys))]
		w.seq++
		if w.rng.IntN(4) == 0 {
			if err := b.Delete(key); err != nil {
				return err
			}
			delete(w.model, string(key))
			w.mem.Add(w.seq, base.KindDelete, key, nil)
			continue
		}
		value := w.value()
		if err := b.Put(key, value); err != nil {
			return err
		}
		w.model[string(key)] = string(value)
		w.mem.Add(w.seq, base.KindPut, key, value)
	}
	return w.wal.AddRecord(b.Repr())
}

// key returns a key of one of several kinds: alike, long and alike, or of any
// bytes, which may be none. Keys that begin with ff ff are the store's own.
func (w *writer) key() []byte {
	switch w.rng.IntN(4) {
	case 0:
		return fmt.Appendf(nil, "user:%06d", w.rng.IntN(1e6))
	case 1:
		return fmt.Appendf(nil, "%s%d", strings.Repeat("long ", 30+w.rng.IntN(3)), w.rng.IntN(1e4))
	case 2:
		return bytes.Repeat([]byte{byte(w.rng.IntN(255))}, w.rng.IntN(5))
	}
	key := w.bytes(w.rng.IntN(20))
	if len(key) > 0 && key[0] == 0xff {
		key[0] = 0xfe
	}
	return key
}

// value returns a value, seldom one larger than a block of a table, or of a log.
func (w *writer) value() []byte {
	size := w.rng.IntN(100)
	switch w.rng.IntN(200) {
	case 0:
		size = 30<<10 + w.rng.IntN(70<<10)
	case 1, 2, 3:
		size = 4<<10 + w.rng.IntN(4<<10)
	}
	if w.rng.IntN(2) == 0 {
		return w.bytes(size)
	}
	return bytes.Repeat([]byte("again "), size/6)
}

func (w *writer) bytes(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	return b
}

// flush makes the memtable a table of level 0; logs before logNum are in tables
// then.
func (w *writer) flush(logNum uint64) error {
	e := &manifest.VersionEdit{}
	e.SetLogNum(logNum)
	e.SetLastSeq(w.seq)
	if !w.mem.Empty() {
		if err := w.tables(e, 0, w.mem.View().NewIter(), 1<<40, func(base.InternalKey, bool) bool { return true }); err != nil {
			return err
		}
	}
	w.mem = memtable.New(w.cmp)
	return w.log.Append(e)
}

// compact moves some tables of a level to the next.
func (w *writer) compact(level int) error {
	v := w.log.Version()
	files := v.Files(level)
	if len(files) == 0 {
		return nil
	}
	seed := files[w.rng.IntN(len(files))]
	upper := v.Inputs(level, seed.Smallest.UserKey, seed.Largest.UserKey)
	b := bounds(w.cmp, upper)
	lower := v.Inputs(level+1, b.Lower, b.Upper)
	e := &manifest.VersionEdit{}
	var sources []iterator.Internal
	for i, inputs := range [][]*manifest.FileMeta{upper, lower} {
		for _, m := range inputs {
			e.Delete(level+i, m.Num)
			f, err := w.fs.Open(m.Desc())
			if err != nil {
				return err
			}
			defer f.Close()
			r, err := sst.Open(f, sst.ReaderOptions{Comparer: w.cmp, FileNum: m.Num})
			if err != nil {
				return err
			}
			sources = append(sources, r.NewIterWithReadAhead(0))
		}
	}
	// Sometimes a snapshot needs everything.
	snapshot := w.rng.IntN(3) == 0
	isBase := v.IsBase(level+1, bounds(w.cmp, append(slices.Clone(upper), lower...)))
	keep := func(k base.InternalKey, newest bool) bool {
		return snapshot || newest && (k.Kind() == base.KindPut || !isBase)
	}
	if err := w.tables(e, level+1, iterator.NewMerging(w.cmp, sources...), 2<<10+w.rng.Int64N(60<<10), keep); err != nil {
		return err
	}
	e.CompactPointers = []manifest.CompactPointer{{Level: level, Key: seed.Largest}}
	if err := w.log.Append(e); err != nil {
		return err
	}
	for _, m := range append(upper, lower...) {
		if err := w.fs.Remove(m.Desc()); err != nil {
			return err
		}
	}
	return nil
}

// bounds returns the range of user keys of some tables.
func bounds(cmp *base.Comparer, files []*manifest.FileMeta) iterator.Bounds {
	b := iterator.Bounds{Lower: files[0].Smallest.UserKey, Upper: files[0].Largest.UserKey, UpperInclusive: true}
	for _, m := range files[1:] {
		if cmp.Compare(m.Smallest.UserKey, b.Lower) < 0 {
			b.Lower = m.Smallest.UserKey
		}
		if cmp.Compare(m.Largest.UserKey, b.Upper) > 0 {
			b.Upper = m.Largest.UserKey
		}
	}
	return b
}

// tables writes the entries of it that keep wants into tables of about the
// given size, and adds them to e. All versions of a key come into one: LevelDB
// 1.20 may compact the newer ones away from above the older ones otherwise.
func (w *writer) tables(e *manifest.VersionEdit, level int, it iterator.Internal, tableBytes int64, keep func(k base.InternalKey, newest bool) bool) error {
	var (
		num  uint64
		file vfs.File
		t    *sst.Writer
		last []byte
	)
	finish := func() error {
		meta, err := t.Finish()
		if err == nil {
			err = errors.Join(file.Sync(), file.Close())
		}
		e.Add(level, &manifest.FileMeta{Num: num, Size: uint64(meta.Size), Smallest: meta.Smallest, Largest: meta.Largest})
		t = nil
		return err
	}
	first := true
	for ok := it.First(); ok; ok = it.Next() {
		newest := first || !bytes.Equal(it.Key().UserKey, last)
		last, first = append(last[:0], it.Key().UserKey...), false
		if !keep(it.Key(), newest) {
			continue
		}
		if t != nil && newest && t.EstimatedBytes() >= tableBytes {
			if err := finish(); err != nil {
				return err
			}
		}
		if t == nil {
			var err error
			num = w.log.NewFileNum()
			if file, err = w.fs.Create(vfs.FileDesc{Type: vfs.TypeTable, Num: num}, 0); err != nil {
				return err
			}
			t = sst.NewWriter(file, w.tableOptions())
		}
		if err := t.Add(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	err := errors.Join(it.Error(), it.Close())
	if err == nil && t != nil {
		err = finish()
	}
	return err
}

func (w *writer) tableOptions() sst.WriterOptions {
	o := sst.WriterOptions{Comparer: w.cmp, BlockBytes: w.plan.BlockBytes, FilterBitsPerKey: w.plan.FilterBitsPerKey}
	if w.plan.Uncompressed {
		o.Compression = sst.NoCompression
	}
	return o
}

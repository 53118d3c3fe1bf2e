package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

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

// folder is an open LevelDB folder, all of it checked.
type folder struct {
	fs       *osfs.FS
	manifest *manifest.Log
	tables   map[uint64]*sst.Reader
	logs     []*memtable.Table // oldest first
	lastSeq  base.SeqNum
	shape    shape
}

// openFolder opens a folder and reads and checks every file the manifest needs.
func openFolder(dir string) (*folder, error) {
	fs, err := osfs.Open(dir)
	if err != nil {
		return nil, err
	}
	l, err := manifest.Open(fs, manifest.Options{Comparer: base.Bytewise})
	if err != nil {
		return nil, errors.Join(err, fs.Close())
	}
	f := &folder{fs: fs, manifest: l, tables: map[uint64]*sst.Reader{}, lastSeq: l.State().LastSeq}
	f.shape.Manifest = l.Desc().String()
	if l.Torn() != "" {
		return nil, errors.New(l.Torn())
	}
	for level := range manifest.NumLevels {
		files := l.Version().Files(level)
		f.shape.Tables = append(f.shape.Tables, len(files))
		for _, m := range files {
			if err := f.openTable(m); err != nil {
				return nil, fmt.Errorf("level %d, %v: %w", level, m.Desc(), err)
			}
		}
	}
	files, err := fs.List()
	if err != nil {
		return nil, err
	}
	orphans := l.Orphans(files)
	for _, fd := range files {
		if fd.Type == vfs.TypeLog && !slices.Contains(orphans, fd) {
			if err := f.openLog(fd); err != nil {
				return nil, fmt.Errorf("%v: %w", fd, err)
			}
		}
	}
	return f, nil
}

// openTable reads all of a table, and compares it with what the manifest says.
func (f *folder) openTable(m *manifest.FileMeta) error {
	file, err := f.fs.Open(m.Desc())
	if err != nil {
		return err
	}
	r, err := sst.Open(file, sst.ReaderOptions{FileNum: m.Num})
	if err != nil {
		return err
	}
	meta, err := r.Verify()
	if err != nil {
		return err
	}
	if uint64(meta.Size) != m.Size || !sameKey(meta.Smallest, m.Smallest) || !sameKey(meta.Largest, m.Largest) {
		return fmt.Errorf("the table is %+v, the manifest says %+v", meta, m)
	}
	f.tables[m.Num] = r
	f.shape.Versions += meta.Entries
	return nil
}

func sameKey(a, b base.InternalKey) bool {
	return bytes.Equal(a.UserKey, b.UserKey) && a.Trailer == b.Trailer
}

// openLog reads all of a log. Its writes may be older than the last sequence
// number of the manifest, which LevelDB also writes with a compaction.
func (f *folder) openLog(fd vfs.FileDesc) error {
	file, err := f.fs.Open(fd)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return err
	}
	mem := memtable.New(base.Bytewise)
	var last base.SeqNum
	r := wal.NewReader(file, size)
	for {
		record, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		seq, count, ok := batch.ReadHeader(record)
		if !ok {
			return fmt.Errorf("the record at %d is no batch", r.Start())
		}
		if err := batch.Check(record[batch.HeaderSize:], count); err != nil {
			return err
		}
		ops := batch.MakeReader(record[batch.HeaderSize:])
		for kind, key, value, ok := ops.Next(); ok; kind, key, value, ok = ops.Next() {
			if seq <= last {
				return fmt.Errorf("sequence number %d follows %d", seq, last)
			}
			mem.Add(seq, kind, key, value)
			last = seq
			seq++
		}
	}
	f.lastSeq = max(f.lastSeq, last)
	f.logs = append(f.logs, mem)
	f.shape.Logs++
	f.shape.Versions += mem.Len()
	f.shape.Pending += mem.Len()
	return nil
}

// iter shows what a reader of the folder sees.
func (f *folder) iter() iterator.Iterator {
	var sources []iterator.Internal
	for _, mem := range slices.Backward(f.logs) {
		sources = append(sources, mem.View().NewIter())
	}
	for level := range manifest.NumLevels {
		for _, m := range f.manifest.Version().Files(level) {
			sources = append(sources, f.tables[m.Num].NewIter())
		}
	}
	return iterator.NewUser(base.Bytewise, iterator.UserOptions{At: base.MaxSeqNum}, sources...)
}

func (f *folder) close() error { return errors.Join(f.manifest.Close(), f.fs.Close()) }

// read prints what is in a folder, walked both ways.
func read(dir string, blockBytes int, out *bufio.Writer) error {
	f, err := openFolder(dir)
	if err != nil {
		return err
	}
	if blockBytes > 0 {
		for num, r := range f.tables {
			if err := f.rewrite(r, num, blockBytes); err != nil {
				return err
			}
		}
	}
	if err := printShape(out, f.shape); err != nil {
		return err
	}
	it := f.iter()
	var keys [][]byte
	for ok := it.First(); ok; ok = it.Next() {
		keys = append(keys, bytes.Clone(it.Key()))
		if err := printEntry(out, it.Key(), it.Value()); err != nil {
			return err
		}
	}
	for ok := it.Error() == nil && it.Last(); ok; ok = it.Prev() {
		if len(keys) == 0 || !bytes.Equal(it.Key(), keys[len(keys)-1]) {
			return fmt.Errorf("backwards comes %x", it.Key())
		}
		keys = keys[:len(keys)-1]
	}
	if len(keys) > 0 {
		err = fmt.Errorf("backwards %d keys are missing", len(keys))
	}
	return errors.Join(err, it.Error(), it.Close(), f.close())
}

// buffer is a file to write to in memory.
type buffer []byte

func (b *buffer) Append(p []byte) error {
	*b = append(*b, p...)
	return nil
}

// rewrite writes the entries of a table into another and compares the files.
func (f *folder) rewrite(r *sst.Reader, num uint64, blockBytes int) error {
	var ours buffer
	w := sst.NewWriter(&ours, sst.WriterOptions{BlockBytes: blockBytes, Compression: sst.NoCompression})
	it := r.NewIter()
	for ok := it.First(); ok; ok = it.Next() {
		if err := w.Add(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	if _, err := w.Finish(); err != nil {
		return err
	}
	fd := vfs.FileDesc{Type: vfs.TypeTable, Num: num}
	file, err := f.fs.Open(fd)
	if err != nil {
		return err
	}
	defer file.Close()
	theirs := make([]byte, r.Size())
	if _, err := file.ReadAt(theirs, 0); err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(ours, theirs) {
		at := 0
		for at < min(len(ours), len(theirs)) && ours[at] == theirs[at] {
			at++
		}
		return fmt.Errorf("%v: we write %d bytes for %d, and another one at %d", fd, len(ours), len(theirs), at)
	}
	return nil
}

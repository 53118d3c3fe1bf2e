package kv

import (
	"errors"
	"io"
	"slices"
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/manifest"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// Recovery tells what Open found in the logs.
type Recovery struct {
	// Sequence is that of the last write found.
	Sequence base.SeqNum

	// DroppedBytes is how many bytes of a torn tail, up to the last that is
	// not zero, were cut off the last log. A power loss leaves no strict write
	// among them; damage behind the last sync marker may look the same.
	DroppedBytes int64

	// Text says in words where the torn tail was and why it was cut; empty
	// where nothing was.
	Text string
}

// recover reads the manifest and replays the logs that are not in tables,
// oldest first, each into a memtable of its own. It changes nothing before all
// of that went well.
//
// Sequence numbers leave no gaps, so every batch must follow the one before
// it, across logs too: a record or a whole log that went missing is found. Only
// the last log may end in a bad record, and only where a crash explains it.
func (db *DB) recover() error {
	m, err := manifest.Open(db.fs, db.manifestOptions())
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	files, listErr := db.fs.List()
	if listErr != nil {
		return listErr
	}
	isNew := err != nil
	var state manifest.State
	if !isNew {
		db.manifest, state = m, m.State()
	}
	end, unused, err := db.replayLogs(files, state)
	if err != nil {
		return err
	}
	if isNew {
		// A store that has logs only was written before there were tables.
		if err := db.createManifest(files); err != nil {
			return err
		}
	}
	for _, fd := range append(db.manifest.Orphans(files), unused...) {
		db.removeOrphan(fd)
	}
	if err := db.openLastLog(end); err != nil {
		return err
	}
	db.dropped = state.LastSeq
	db.installRanges()
	db.recovery.Sequence = db.visible
	for _, text := range []string{db.manifest.Torn(), db.recovery.Text} {
		if text != "" {
			db.opts.Logger(LogWarning, text)
		}
	}
	return nil
}

func (db *DB) manifestOptions() manifest.Options {
	return manifest.Options{
		Comparer: db.cmp,
		Features: []string{manifest.FeatureRangeDelete, manifest.FeatureExpiry},
		Obsolete: db.obsolete,
	}
}

// createManifest makes the manifest of a store that has none. Its number is
// higher than that of any of the files.
func (db *DB) createManifest(files []vfs.FileDesc) error {
	num := uint64(1)
	if len(files) > 0 {
		num = files[len(files)-1].Num + 1
	}
	var e manifest.VersionEdit
	e.SetLogNum(0)
	e.SetLastSeq(0)
	m, err := manifest.Create(db.fs, num, &e, db.manifestOptions())
	db.manifest = m
	return err
}

// removeOrphan removes a file that nothing needs. Where that fails it stays one.
func (db *DB) removeOrphan(fd vfs.FileDesc) {
	if err := db.fs.Remove(fd); err != nil {
		db.opts.Logger(LogWarning, "removing "+fd.String()+": "+err.Error())
	}
}

// replayLogs reads the logs that are not in tables. It returns where the last
// one ends, and the logs that were prepared ahead and never used.
func (db *DB) replayLogs(files []vfs.FileDesc, state manifest.State) (end logEnd, unused []vfs.FileDesc, err error) {
	logs, unused, err := db.findLogs(files, state)
	if err != nil {
		return end, nil, err
	}
	db.visible = state.LastSeq
	for i, fd := range logs {
		db.mem = db.newLayer(fd.Num)
		if end, err = db.replay(fd, i == 0, i == len(logs)-1); err != nil {
			return end, nil, err
		}
		db.mem.last, db.mem.logBytes = db.visible, end.offset
		db.imm = append(db.imm, db.mem)
		db.oldLogs += end.offset
	}
	// A sequence number that the manifest knows is never given out again.
	db.visible = max(db.visible, state.LastSeq)
	return end, unused, nil
}

// findLogs returns the logs to replay, and those that were prepared ahead and
// never used, which come last.
func (db *DB) findLogs(files []vfs.FileDesc, state manifest.State) (logs, unused []vfs.FileDesc, err error) {
	for _, fd := range files {
		if fd.Type == vfs.TypeLog && (fd.Num >= state.LogNum || fd.Num == state.PrevLogNum) {
			logs = append(logs, fd)
		}
	}
	if state.LogNum > 0 && !state.IsGoleveldbs() && !slices.ContainsFunc(logs, func(fd vfs.FileDesc) bool { return fd.Num == state.LogNum }) {
		fd := vfs.FileDesc{Type: vfs.TypeLog, Num: state.LogNum}
		return nil, nil, base.Wrap(base.ErrCorruption, fd.String()+" is missing", nil)
	}
	for len(logs) > 1 {
		last := logs[len(logs)-1]
		used, err := db.isUsed(last)
		if err != nil {
			return nil, nil, err
		}
		if used {
			break
		}
		logs, unused = logs[:len(logs)-1], append(unused, last)
	}
	return logs, unused, nil
}

// isUsed reports whether a log has anything but zeros.
func (db *DB) isUsed(fd vfs.FileDesc) (bool, error) {
	f, err := db.fs.Open(fd)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	used, err := usedBytes(f, 0, size)
	return used > 0, err
}

// openLastLog goes on in the last log that was replayed, or begins the first.
func (db *DB) openLastLog(end logEnd) error {
	if len(db.imm) == 0 {
		num := db.manifest.NewFileNum()
		// A store's first log starts small, since the store may stay so.
		f, err := db.fs.Create(vfs.FileDesc{Type: vfs.TypeLog, Num: num}, 0)
		if err != nil {
			return err
		}
		db.mem = db.newLayer(num)
		db.useLog(f, 0, true)
		return nil
	}
	last := len(db.imm) - 1
	db.mem, db.imm = db.imm[last], db.imm[:last]
	db.oldLogs -= db.mem.logBytes
	f, err := db.fs.Reopen(vfs.FileDesc{Type: vfs.TypeLog, Num: db.mem.logNum}, end.offset)
	if err != nil {
		return err
	}
	db.useLog(f, end.offset, end.marked)
	return nil
}

// logEnd is where a log's good records end, and whether the last of them is a
// sync marker.
type logEnd struct {
	offset int64
	marked bool
}

// replay reads one log into db.mem.
//
// The first log to replay may begin with what is in tables already: LevelDB
// notes the last sequence number of all when it has flushed some.
func (db *DB) replay(fd vfs.FileDesc, first, last bool) (logEnd, error) {
	f, err := db.fs.Open(fd)
	if err != nil {
		return logEnd{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return logEnd{}, err
	}
	r := wal.NewReader(f, size)
	var end logEnd
	for {
		record, err := r.Next()
		if err == io.EOF {
			return end, nil
		}
		if bad, ok := errors.AsType[*wal.BadRecordError](err); ok {
			return end, db.judge(fd, r, end, bad, f, size, last)
		}
		if err != nil {
			return end, err
		}
		seq, count, ok := batch.ReadHeader(record)
		if !ok {
			return end, base.Corruption(fd.String(), end.offset, "a record is no batch")
		}
		if first && end.offset == 0 && seq <= db.visible {
			db.visible = seq - 1
			db.mem.first = db.visible
		}
		if seq != db.visible+1 {
			bad := &wal.BadRecordError{Offset: end.offset, Reason: "sequence number " + u64(uint64(seq)) +
				" does not follow " + u64(uint64(db.visible))}
			if seq > db.visible {
				// Whole, and where it should be: it is what stood before it
				// that is gone, and a crash takes no beginnings.
				return end, base.Corruption(fd.String(), bad.Offset, bad.Reason+"; writes before it are missing")
			}
			return end, db.judge(fd, r, end, bad, f, size, last)
		}
		if err := db.apply(record[batch.HeaderSize:], count); err != nil {
			return end, base.Corruption(fd.String(), end.offset, err.Error())
		}
		end = logEnd{offset: r.Offset(), marked: count == 0}
	}
}

// apply adds the operations of one batch to the memtable.
func (db *DB) apply(ops []byte, count uint32) error {
	if err := batch.Check(ops, count); err != nil {
		return err
	}
	r := batch.MakeReader(ops)
	for {
		kind, key, value, ok := r.Next()
		if !ok {
			return r.Err()
		}
		db.visible++
		db.mem.add(db.visible, kind, key, value, nil)
	}
}

// judge decides what a bad record means. In an earlier log it is corruption:
// such a log was synced before the next one took a write. In the last log it
// is a torn tail, unless a sync marker stands somewhere behind it: then the
// bad place had once been durable, and no crash explains it.
func (db *DB) judge(fd vfs.FileDesc, r *wal.Reader, end logEnd, bad *wal.BadRecordError, f vfs.File, size int64, last bool) error {
	if !last {
		return base.Corruption(fd.String(), bad.Offset, bad.Reason+"; the log is not the last, so no crash explains it")
	}
	proof, err := db.findMarker(r)
	if err != nil {
		return err
	}
	if proof {
		return base.Corruption(fd.String(), bad.Offset, bad.Reason+"; the place had been synced, so no crash explains it")
	}
	dropped, err := usedBytes(f, end.offset, size)
	if err != nil {
		return err
	}
	db.recovery.DroppedBytes = dropped
	db.recovery.Text = fd.String() + ": cut a torn tail of " + strconv.FormatInt(dropped, 10) +
		" bytes at offset " + strconv.FormatInt(end.offset, 10) + ": " + bad.Reason
	return nil
}

// findMarker looks behind a bad record for a sync marker that is newer than
// what was replayed. An older one is left over from a reused place and proves
// nothing; nor does one whose sequence number is higher than the bytes since
// could have brought it.
//
// A damaged block is searched place by place, so a marker may also be part of a
// value, which is a copy of a log, in a batch that a crash tore. It counts only
// if good records lead from it out of its block, where fragments of the log
// itself begin, or to the log's end.
func (db *DB) findMarker(r *wal.Reader) (bool, error) {
	const none = -1
	candidate := int64(none)
	for {
		record, err := r.Next()
		if _, ok := errors.AsType[*wal.BadRecordError](err); ok {
			candidate = none
			if err = r.Resync(); err == nil {
				continue
			}
		}
		if err == io.EOF {
			return candidate != none, nil
		}
		if err != nil {
			return false, err
		}
		if candidate != none {
			if r.Start()/wal.BlockSize > candidate/wal.BlockSize {
				return true, nil
			}
			continue
		}
		seq, count, ok := batch.ReadHeader(record)
		ops := int64(seq) - int64(db.visible) - 1 // since what was replayed
		if ok && count == 0 && len(record) == batch.HeaderSize && ops >= 0 && ops <= (r.Start()-r.Offset())/2 {
			candidate = r.Start()
		}
	}
}

// usedBytes returns how many bytes there are from offset to the last one that
// is not zero.
func usedBytes(f vfs.File, offset, size int64) (int64, error) {
	var used int64
	buf := make([]byte, 64<<10)
	for at := offset; at < size; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && err != io.EOF {
			return 0, err
		}
		if n == 0 {
			break
		}
		for i := n - 1; i >= 0; i-- {
			if buf[i] != 0 {
				used = at + int64(i) + 1 - offset
				break
			}
		}
		at += int64(n)
	}
	return used, nil
}

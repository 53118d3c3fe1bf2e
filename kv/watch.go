package kv

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// WatchOptions say what a watch tells. nil is valid and means every key from
// now on, without values.
type WatchOptions struct {
	// Ranges limit the keys; none means all. They must not change while the
	// watch is open.
	Ranges []iterator.Bounds

	// HasSince makes the watch begin behind Since, a sequence number of the
	// past, as far as the logs still have what came after it.
	HasSince bool
	Since    base.SeqNum

	// Values tells values too.
	Values bool

	// OnIdle and OnWake, if not nil, are called when Next begins to wait, and
	// when that is over: a host of one thread knows by them whether to go on.
	OnIdle, OnWake func()
}

// Watch tells what is committed, in order and without holes: where its reader
// is so slow that something is lost, it is told of the gap. A watch must be
// closed. Its methods are for one goroutine, but Close may be called from any.
type Watch struct {
	db    *DB
	opts  WatchOptions
	start base.SeqNum
	once  sync.Once
	gone  chan struct{} // closed by Close
	ready chan struct{} // something has come to buf, or was lost
	idle  atomic.Bool   // Next waits

	mu     sync.Mutex  // guards what follows
	buf    []byte      // commits that are not taken yet
	seen   base.SeqNum // of the last commit that went to buf or past it
	isLost bool        // buf was full: what came since is in the logs alone

	// What follows belongs to the reader.
	told base.SeqNum // of the last commit that it was told of, or that was not for it

	backlogMu sync.Mutex // guards backlog
	backlog   backlog
}

// Watch begins to watch. Since, where it is given and newer than the last
// write, is taken for that.
//
// ErrBusy where MaxOpenWatches are open.
func (db *DB) Watch(ctx Context, opts *WatchOptions) (*Watch, error) {
	w := &Watch{db: db, gone: make(chan struct{}), ready: make(chan struct{}, 1)}
	if opts != nil {
		w.opts = *opts
	}
	var err error
	if e := db.doAfterWrites(ctx, func() {
		if len(db.watches) >= MaxOpenWatches {
			err = base.Wrap(ErrBusy, u64(MaxOpenWatches)+" watches are open", nil)
			return
		}
		w.start, w.seen = db.visible, db.visible
		if w.opts.HasSince && w.opts.Since < db.visible {
			w.start, w.isLost = w.opts.Since, true
		}
		w.told = w.start
		db.watches = append(db.watches, w)
	}); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Seq returns the sequence number behind which the watch begins.
func (w *Watch) Seq() base.SeqNum { return w.start }

// Next waits for commits and returns them, in the bytes in which they cross the
// bridge (docs/PROTOCOL.md, watchNext): of each the sequence number of its last
// operation, the count of its changes and the changes, as a batch has them, put
// and delete without values unless the watch wants them. It returns about
// maxBytes at once. Writes that went to the log together may come as one commit
// where they are read from there.
//
// gap tells that commits up to sequence number from were lost; the ones after
// it will be told. ErrClosed after Close.
func (w *Watch) Next(ctx Context, maxBytes int) (commits []byte, gap bool, from base.SeqNum, err error) {
	var cancelled <-chan struct{}
	if ctx != nil {
		cancelled = ctx.Done()
	}
	for {
		if commits, err = w.readBacklog(maxBytes); err != nil || len(commits) > 0 {
			return commits, false, 0, err
		}
		w.mu.Lock()
		commits, isLost := w.buf, w.isLost
		w.buf = nil
		if !isLost {
			w.told = w.seen
		}
		w.mu.Unlock()
		if isLost {
			gap, err := w.catchUp(ctx)
			if gap || err != nil {
				return nil, gap, w.told, err
			}
			continue
		}
		if len(commits) > 0 {
			return commits, false, 0, nil
		}
		w.sleep()
		select {
		case <-w.ready:
		case <-w.gone:
			err = base.Wrap(ErrClosed, "watch", nil)
		case <-w.db.ended:
			err = w.db.fate
		case <-cancelled:
			err = ctx.Err()
		}
		w.wake()
		if err != nil {
			return nil, false, 0, err
		}
	}
}

func (w *Watch) sleep() {
	w.idle.Store(true)
	if w.opts.OnIdle != nil {
		w.opts.OnIdle()
	}
}

// wake ends the wait of Next: it is called by whoever ends it, and by Next.
func (w *Watch) wake() {
	if w.idle.CompareAndSwap(true, false) && w.opts.OnWake != nil {
		w.opts.OnWake()
	}
}

// Close ends the watch. Twice is fine. It returns nil.
func (w *Watch) Close() error {
	w.once.Do(func() {
		w.wake()
		close(w.gone)
		w.closeBacklog()
		w.db.do(nil, func() {
			w.db.watches = slices.DeleteFunc(w.db.watches, func(x *Watch) bool { return x == w })
		})
	})
	return nil
}

// closeBacklog closes the logs that the watch has open.
func (w *Watch) closeBacklog() {
	w.backlogMu.Lock()
	defer w.backlogMu.Unlock()
	w.backlog.close()
}

// readBacklog returns commits of the backlog, none where it is at its end or
// the watch is.
func (w *Watch) readBacklog(maxBytes int) ([]byte, error) {
	w.backlogMu.Lock()
	defer w.backlogMu.Unlock()
	select {
	case <-w.gone:
		w.backlog.close()
	case <-w.db.ended:
		w.backlog.close()
	default:
	}
	return w.backlog.read(w, maxBytes)
}

// catchUp opens the logs that have what the watch was not told, or finds that
// they are gone.
func (w *Watch) catchUp(ctx Context) (gap bool, err error) {
	e := w.db.do(ctx, func() { gap, err = w.openBacklog() })
	return gap, errors.Join(e, err)
}

// openBacklog is catchUp on the worker.
func (w *Watch) openBacklog() (gap bool, err error) {
	db := w.db
	w.mu.Lock()
	w.buf, w.isLost, w.seen = nil, false, db.visible
	w.mu.Unlock()
	if w.told < db.oldest().first {
		w.told = db.visible
		return true, nil
	}
	b := backlog{isOpen: true, until: db.visible}
	for i, l := range append(slices.Clone(db.imm), db.mem) {
		last, size := l.last, l.logBytes
		if i == len(db.imm) {
			last, size = db.visible, db.log.Offset()
		}
		if last <= w.told {
			continue
		}
		f, err := db.fs.Open(vfs.FileDesc{Type: vfs.TypeLog, Num: l.logNum})
		if err != nil {
			b.close()
			return false, err
		}
		b.logs = append(b.logs, f)
		b.readers = append(b.readers, wal.NewReader(f, size))
	}
	w.backlogMu.Lock()
	defer w.backlogMu.Unlock()
	w.backlog = b
	return false, nil
}

// backlog is the part of the logs that a watch has still to read.
type backlog struct {
	isOpen  bool
	until   base.SeqNum // of the last commit in it
	logs    []vfs.File
	readers []*wal.Reader
}

// read returns commits of the backlog, none where it is at its end.
func (b *backlog) read(w *Watch, maxBytes int) (commits []byte, err error) {
	if !b.isOpen {
		return nil, nil
	}
	for len(commits) < maxBytes && w.told < b.until {
		if len(b.readers) == 0 {
			err = base.Wrap(ErrCorruption, "the logs end before sequence number "+u64(uint64(b.until)), nil)
			break
		}
		record, e := b.readers[0].Next()
		if e == io.EOF {
			b.readers = b.readers[1:]
			continue
		}
		if e != nil {
			err = e
			break
		}
		seq, count, ok := batch.ReadHeader(record)
		if !ok {
			err = base.Wrap(ErrCorruption, "a log's record is no batch", nil)
			break
		}
		if last := seq + base.SeqNum(count) - 1; count > 0 && last > w.told {
			commits = w.appendCommit(commits, seq, record[batch.HeaderSize:], count, w.told)
			w.told = last
		}
	}
	if err != nil || w.told >= b.until {
		b.close()
	}
	return commits, err
}

func (b *backlog) close() {
	closeAll(b.logs)
	*b = backlog{}
}

// publish tells the watches of a commit whose first operation has sequence
// number first. It runs on the worker.
func (db *DB) publish(first base.SeqNum, w *writeRequest) {
	for _, watch := range db.watches {
		watch.mu.Lock()
		if !watch.isLost {
			watch.buf = watch.appendCommit(watch.buf, first, w.ops, w.count, 0)
			watch.seen = first + base.SeqNum(w.count) - 1
			if len(watch.buf) > WatchBytesAhead {
				watch.buf, watch.isLost = nil, true
			}
		}
		watch.mu.Unlock()
		watch.wake()
		select {
		case watch.ready <- struct{}{}:
		default:
		}
	}
}

// appendCommit appends a commit, unless none of its operations behind sequence
// number behind is for the watch.
func (w *Watch) appendCommit(dst []byte, first base.SeqNum, ops []byte, count uint32, behind base.SeqNum) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(first)+uint64(count)-1)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	n := uint32(0)
	r := batch.MakeReader(ops)
	for seq := first; ; seq++ {
		kind, key, value, ok := r.Next()
		if !ok {
			break
		}
		if seq <= behind || !w.wants(kind, key, value) {
			continue
		}
		n++
		dst = appendBytes(append(dst, byte(kind)), key)
		if kind == base.KindRangeDelete || kind != base.KindDelete && w.opts.Values {
			dst = appendBytes(dst, value)
		}
	}
	if n == 0 {
		return dst[:start]
	}
	binary.LittleEndian.PutUint32(dst[start+8:], n)
	return dst
}

// wants reports whether an operation touches what is watched.
func (w *Watch) wants(kind base.Kind, key, value []byte) bool {
	if len(w.opts.Ranges) == 0 {
		return true
	}
	cmp := w.db.cmp
	for _, b := range w.opts.Ranges {
		after := 1 // of the change's end and the range's start
		if b.Lower != nil {
			if kind == base.KindRangeDelete {
				after = cmp.Compare(value, b.Lower)
			} else if after = cmp.Compare(key, b.Lower); after == 0 && !b.LowerExclusive {
				after = 1
			}
		}
		before := -1 // of the change's start and the range's end
		if b.Upper != nil {
			if before = cmp.Compare(key, b.Upper); before == 0 && b.UpperInclusive {
				before = -1
			}
		}
		if after > 0 && before < 0 {
			return true
		}
	}
	return false
}

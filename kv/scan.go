package kv

import (
	"encoding/binary"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// ScanOptions say what a scan returns. nil is valid and means everything.
type ScanOptions struct {
	// Bounds limit the keys; see iterator.Bounds. They must not change while
	// the scan is open.
	iterator.Bounds

	// Reverse returns the largest key first.
	Reverse bool

	// KeysOnly leaves the values out.
	KeysOnly bool

	// Limit is the most entries to return, 0 for no limit.
	Limit int

	// RunBytes is the size in bytes of the runs in which entries are read
	// ahead; a run exceeds it only by its last entry. Default 64 KiB.
	RunBytes int
}

// scanReadAhead is in bytes, for each table that a scan reads. One of at most
// shortScan entries reads block by block, through the cache.
const (
	scanReadAhead = 64 << 10
	shortScan     = 100
)

// firstRunBytes is the space that a scan's first run begins with: most scans
// are short.
const firstRunBytes = 2 << 10

// spareRuns is how many runs wait to be used again. A reader that is as fast as
// what it reads leaves one or two.
const spareRuns = 4

// Scan walks the entries of one moment. A goroutine of its own reads ahead, up
// to ScanRunsAhead runs and ScanBytesAhead bytes, so that a reader that stands still holds up nobody.
// It must be closed. Its methods are for one goroutine, but Close may be
// called from any.
type Scan struct {
	db   *DB
	opts ScanOptions
	runs chan []byte
	quit chan struct{}
	once sync.Once

	produced error // set before runs is closed

	// isCount makes it count the entries, and send none: counted is set before
	// runs is closed.
	isCount bool
	counted uint64

	// ahead is how many bytes of runs wait to be read; taken is signalled when
	// one is.
	ahead atomic.Int64
	taken chan struct{}

	// spare has runs that Next has walked, for others to come.
	spare chan []byte

	run           []byte // that Next walks
	after         int    // offset in it behind the current entry
	keyAt, keyEnd int    // of the current entry
	valueAt       int
	ended         bool
	err           error
}

type scanRequest struct {
	opts    ScanOptions
	at      *Snapshot // nil for the newest state
	isCount bool
	answer  chan scanAnswer
}

type scanAnswer struct {
	scan *Scan
	err  error
}

// Scan starts a scan at this moment. It sees every write sent before it by the
// calling goroutine, and none that comes after it.
//
// ErrBusy where MaxOpenScans are open, ErrInvalidArgument for a negative
// limit.
func (db *DB) Scan(ctx Context, opts *ScanOptions) (*Scan, error) { return db.scan(ctx, nil, opts) }

func (db *DB) scan(ctx Context, at *Snapshot, opts *ScanOptions) (*Scan, error) {
	r := scanRequest{at: at}
	if opts != nil {
		r.opts = *opts
	}
	return db.requestScan(ctx, r)
}

func (db *DB) requestScan(ctx Context, r scanRequest) (*Scan, error) {
	r.answer = make(chan scanAnswer, 1)
	if r.opts.Limit < 0 || r.opts.RunBytes < 0 {
		return nil, base.Wrap(ErrInvalidArgument, "a scan's limits are not negative", nil)
	}
	if r.opts.RunBytes == 0 {
		r.opts.RunBytes = 64 << 10
	}
	if err := send(ctx, db, db.scans, r); err != nil {
		return nil, err
	}
	select {
	case a := <-r.answer:
		return a.scan, a.err
	case <-db.ended:
		return nil, db.fate
	}
}

// startScan runs on the worker: it takes the read state and leaves the rest to
// the scan's own goroutine.
func (db *DB) startScan(r scanRequest) {
	if db.openScans.Load() >= MaxOpenScans {
		r.answer <- scanAnswer{err: base.Wrap(ErrBusy, u64(MaxOpenScans)+" scans are open", nil)}
		return
	}
	if err := r.at.check(); err != nil {
		r.answer <- scanAnswer{err: err}
		return
	}
	db.openScans.Add(1)
	s := &Scan{
		db:      db,
		opts:    r.opts,
		isCount: r.isCount,
		runs:    make(chan []byte, ScanRunsAhead),
		quit:    make(chan struct{}),
		taken:   make(chan struct{}, 1),
		spare:   make(chan []byte, spareRuns),
	}
	db.bg.running.Add(1)
	go s.produce(db.acquireReadState(r.at))
	r.answer <- scanAnswer{scan: s}
}

// produce fills the channel of runs until the range ends or nobody reads on.
func (s *Scan) produce(rs *readState) {
	defer s.db.bg.running.Done()
	defer close(s.runs)
	defer rs.release()
	defer func() {
		if p := recover(); p != nil {
			s.produced = base.Wrap(ErrWorkerDied, "scan: "+panicText(p), nil)
		}
	}()
	readAhead := scanReadAhead
	if s.opts.Limit > 0 && s.opts.Limit <= shortScan {
		readAhead = 0
	}
	needed := s.opts.Bounds
	if rs.db.cmp.HasSuffix {
		// What a logical key shows depends on the keys before the bound too.
		needed.Lower = nil
	}
	rows := iterator.NewRows(rs.db.cmp, iterator.UserOptions{
		At: rs.seq, Bounds: s.opts.Bounds, Filter: s.db.opts.Filter, Mask: rs.mask(),
	}, s.opts.Reverse, rs.sources(needed, readAhead)...)
	if s.isCount {
		s.produced = s.count(rows)
	} else {
		s.produced = s.walk(rows)
	}
	if err := rows.Close(); s.produced == nil {
		s.produced = err
	}
}

func (s *Scan) walk(rows iterator.Rows) error {
	left := s.opts.Limit
	if left == 0 {
		left = math.MaxInt
	}
	space := min(s.opts.RunBytes, firstRunBytes)
	for {
		run, n := rows.Append(s.space(space), s.opts.RunBytes, left, s.opts.KeysOnly)
		if err := rows.Error(); err != nil || n == 0 {
			return err
		}
		if err := s.send(run); err != nil {
			return err
		}
		if left -= n; left == 0 || len(run) < s.opts.RunBytes {
			return nil
		}
		space = min(len(run), s.opts.RunBytes) + firstRunBytes
		// A host with one thread must not wait for all that can be read
		// ahead before it hears of the first run.
		runtime.Gosched()
	}
}

// space returns an empty run with room for about so many bytes.
func (s *Scan) space(size int) []byte {
	select {
	case run := <-s.spare:
		if cap(run) <= 2*size {
			return run[:0]
		}
	default:
	}
	return make([]byte, 0, size)
}

// countStep is how many entries are counted before others have their turn.
const countStep = 1000

func (s *Scan) count(rows iterator.Rows) error {
	for {
		n := rows.Skip(countStep)
		if s.counted += uint64(n); n < countStep {
			return rows.Error()
		}
		select {
		case <-s.quit:
			return ErrClosed
		case <-s.db.ended:
			return s.db.fate
		default:
		}
		runtime.Gosched()
	}
}

// send gives the reader a run. It waits while there is too much that it has not
// read: a run is as large as its largest entry, so their number says little.
func (s *Scan) send(run []byte) error {
	for s.ahead.Load() > 0 && s.ahead.Load()+int64(len(run)) > ScanBytesAhead {
		select {
		case <-s.taken:
		case <-s.quit:
			return ErrClosed
		case <-s.db.ended:
			return s.db.fate
		}
	}
	s.ahead.Add(int64(len(run)))
	select {
	case s.runs <- run:
		return nil
	case <-s.quit:
		return ErrClosed
	case <-s.db.ended:
		return s.db.fate
	}
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// NextRun returns the next run of entries, each as varint32 length and bytes
// of its key, then of its value, as they cross the bridge. ok is false at the
// end or on an error; see Error. The run is the caller's. Do not mix with
// Next.
func (s *Scan) NextRun() (run []byte, ok bool) {
	if s.ended || s.err != nil {
		return nil, false
	}
	select {
	case <-s.quit:
		s.err = ErrClosed
		return nil, false
	case <-s.db.ended:
		s.err = s.db.fate
		return nil, false
	default:
	}
	select {
	case run, ok = <-s.runs:
		if !ok {
			s.ended, s.err = true, s.produced
			s.Close()
			return nil, false
		}
		s.ahead.Add(-int64(len(run)))
		select {
		case s.taken <- struct{}{}:
		default:
		}
		return run, true
	case <-s.quit:
		s.err = ErrClosed
	}
	return nil, false
}

// Next moves to the next entry. false means the end or an error; see Error.
func (s *Scan) Next() bool {
	if s.after == len(s.run) {
		if s.run != nil {
			select {
			case s.spare <- s.run:
			default:
			}
		}
		s.run, _ = s.NextRun()
		if s.after, s.keyAt, s.keyEnd, s.valueAt = 0, 0, 0, 0; len(s.run) == 0 {
			return false
		}
	}
	// Our own goroutine encoded it. Nearly all lengths are of one byte.
	n, at := int(s.run[s.after]), s.after+1
	if n >= 0x80 {
		n, at = cutLength(s.run, s.after)
	}
	s.keyAt, s.keyEnd = at, at+n
	if n, at = int(s.run[s.keyEnd]), s.keyEnd+1; n >= 0x80 {
		n, at = cutLength(s.run, s.keyEnd)
	}
	s.valueAt, s.after = at, at+n
	return true
}

// cutLength reads the length at an offset, and returns the offset behind it.
func cutLength(run []byte, at int) (n, after int) {
	length, w := binary.Uvarint(run[at:])
	return int(length), at + w
}

// Key returns the key of the entry. It must not be changed, and is valid until the
// next call of Next.
func (s *Scan) Key() []byte { return s.run[s.keyAt:s.keyEnd:s.keyEnd] }

// Value returns the value of the entry, as Key its key.
func (s *Scan) Value() []byte { return s.run[s.valueAt:s.after:s.after] }

// Error returns what ended the scan, nil if its range did. After Close it is
// ErrClosed only where entries were still wanted.
func (s *Scan) Error() error { return s.err }

// Close frees the scan's read state. Twice is fine. It returns nil.
func (s *Scan) Close() error {
	s.once.Do(func() {
		close(s.quit)
		s.db.openScans.Add(-1)
	})
	return nil
}

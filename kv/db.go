package kv

import (
	"sync"
	"sync/atomic"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/manifest"
	"tempestkv/kv/rangedel"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

// DB is a handle to an open store. See the package comment.
type DB struct {
	fs   vfs.FS
	opts Options
	cmp  *base.Comparer

	writes  chan writeRequest
	gets    chan getRequest
	scans   chan scanRequest
	control chan func()

	// sending is held for reading while a call is put on a channel, so that
	// the worker, when it ends, can wait for the last sender and then answer
	// whatever was left: no call is ever forgotten.
	sending sync.RWMutex
	ended   chan struct{} // closed when the worker has ended
	fate    error         // why it ended; set before ended is closed

	closed chan struct{} // closed when nothing uses the files any more

	openScans atomic.Int32
	recovery  Recovery
	tables    *tableCache
	bg        *background

	// flushDone is closed when the flush under way has ended; nil where there
	// is none.
	flushDone atomic.Pointer[chan struct{}]

	// isStalled says that writes wait for room; isBusy how many background
	// jobs do neither wait for their host nor for each other.
	isStalled  atomic.Bool
	stopShrink atomic.Bool // there is something better to do
	busy       atomic.Int32

	// turn is held by who carries a call out: the worker, or a caller in its
	// place. sent counts the calls that were put on a channel.
	turn sync.Mutex
	sent atomic.Uint64

	// What follows belongs to who has the turn.
	taken    uint64 // of the calls that were sent
	dying    any    // what a caller panicked with who had the turn
	inPlace  int    // bytes that calls in the worker's place count for, see inPlaceBytes
	idle     *call  // for the next of these calls; nil for none
	mem      *layer
	imm      []*layer // newest last
	manifest *manifest.Log
	logFile  vfs.File
	log      *wal.Writer
	visible  base.SeqNum
	synced   bool  // the log's bytes are all durable
	marked   bool  // a sync marker already says so
	failed   error // why the DB is read-only
	closing  bool
	closeErr error
	oldLogs  int64 // bytes in the logs of immutable memtables
	next     preparedLog
	exceeded int // bytes of deletes that mem has beyond its size

	compacting    *compaction // nil where none is under way
	backgroundErr error       // why the last job failed; nil after one that did not
	backoff       bool        // no job begins until a write needs one
	freed         uint64      // how often space was given back
	manuals       []*manual   // what Compact was asked for
	waiters       []*await
	waking        bool // the waiters are being asked
	shrinkDue     bool // files were removed since space was given back
	isShrinking   bool
	watches       []*Watch
	doubtful      []*manifest.FileMeta

	// See rescue.go.
	rescue       *rescue     // under way; nil where none is
	rescued      base.SeqNum // when the last one began
	deleted      base.SeqNum // of the last delete
	seen         seen
	edits        uint64 // of the manifest
	lentFor      uint64 // writes and edits when the reserve was lent last
	isLent       bool   // deletes and background work alone get space
	isTakingBack bool
	takeBackDue  bool // space was given back since that was tried

	metrics Metrics

	snapshots []*Snapshot   // live, oldest first
	clock     int64         // the latest time seen
	ranges    *rangedel.Set // the range tombstones of the version
	sweeps    bool          // there are tables left to sweepTables
	isMasked  bool          // the store may have range tombstones or values that expire

	// dropped is the newest sequence number of a tombstone that compaction may
	// have dropped: whoever finds nothing of a key knows nothing since.
	dropped base.SeqNum

	// Writes that wait for room, oldest first, and reads that wait for them.
	held       []writeRequest
	parked     []func()
	parkedGets []getRequest
	needsSpace bool  // they are deletes that wait for space, until background work tells of something
	owed       int64 // bytes of compaction to wait for before the next write

	// The calls being carried out, for end to answer should a panic end them.
	unanswered []writeRequest
	serving    getRequest
	served     int // keys of serving that were answered

	// Reused from group to group.
	group  []writeRequest
	record [][]byte // parts of the group's record in the log
	header [batch.HeaderSize]byte
	marker [batch.HeaderSize]byte
}

// Sink takes the answers of calls made with SendWrite and SendGet. Its methods
// must not wait and must not call the DB.
type Sink interface {
	// WriteDone tells of a write: the sequence number of its last operation,
	// or an error. It is called on the worker, or on a goroutine that has taken
	// its place, in the order in which writes
	// take effect.
	WriteDone(id uint64, seq base.SeqNum, err error)

	// GetDone tells of one key of a get, in the order of its keys. seq is the
	// sequence number of the write that put the value. The value is valid only
	// during the call. ErrNotFound for a missing key; seq is then that of the
	// last write that the get saw. It is called on the worker, or, where tables
	// had to be read without Options.ReadInPlace, on another goroutine.
	GetDone(id uint64, value []byte, seq base.SeqNum, err error)
}

type writeRequest struct {
	ops    []byte
	count  uint32
	kinds  batch.Kinds
	strict bool
	cond   *Condition
	id     uint64
	sink   Sink
}

type getRequest struct {
	single []byte
	keys   [][]byte  // instead of single, where not nil
	at     *Snapshot // nil for the newest state
	id     uint64
	sink   Sink
}

// Open opens the store in fs, and makes it if there is none. The caller keeps
// fs and closes it after the DB.
//
// ErrCorruption where the logs or the manifest are damaged in a place that a
// crash cannot explain, or a file is missing; nothing is changed then. What a
// crash did explain, a torn end of the last log, is cut off and told by
// Recovery. ErrNotSupported where a newer version wrote the store,
// ErrInvalidArgument where another comparer did.
func Open(fs vfs.FS, opts *Options) (*DB, error) {
	o := opts.withDefaults()
	db := &DB{
		fs:      fs,
		opts:    o,
		cmp:     o.Comparer,
		writes:  make(chan writeRequest, QueueLength),
		gets:    make(chan getRequest, QueueLength),
		scans:   make(chan scanRequest, QueueLength),
		control: make(chan func()),
		ended:   make(chan struct{}),
		closed:  make(chan struct{}),
		tables:  newTableCache(fs, o.Comparer, o.TableCacheBytes, o.BlockCacheBytes),
		bg:      newBackground(),
	}
	if err := db.recover(); err != nil {
		return nil, err
	}
	db.deleted = db.visible
	if db.manifest.Version().Bytes() > 0 {
		db.takeBack()
	}
	db.schedule()
	go db.work()
	return db, nil
}

// Recovery returns what Open found in the logs.
func (db *DB) Recovery() Recovery { return db.recovery }

// Ended returns a channel that is closed when the DB takes no more calls:
// after Close, or when its worker died.
func (db *DB) Ended() <-chan struct{} { return db.ended }

// Fate returns nil while the DB is open; then ErrClosed, or an error that
// wraps ErrWorkerDied.
func (db *DB) Fate() error {
	select {
	case <-db.ended:
		return db.fate
	default:
		return nil
	}
}

// IsStalled reports whether writes wait for background work.
func (db *DB) IsStalled() bool { return db.isStalled.Load() }

// IsBusy reports whether a background job has something to do before it calls
// Options.Yield: a host of one thread may let it.
func (db *DB) IsBusy() bool { return db.busy.Load() > 0 }

// Context is the part of context.Context that the engine uses, so that any
// context.Context will do, and nil, which never ends. The engine does not import
// the package itself: with it come time and its formatting, and every page
// would download them.
type Context interface {
	// Done is closed when the caller no longer wants to wait.
	Done() <-chan struct{}
	// Err says why.
	Err() error
}

// send puts r on ch. It waits while the queue is full, until ctx is done.
func send[T any](ctx Context, db *DB, ch chan<- T, r T) error {
	db.sending.RLock()
	defer db.sending.RUnlock()
	select {
	case <-db.ended:
		return db.fate
	default:
	}
	db.sent.Add(1)
	select {
	case ch <- r:
		return nil
	default:
	}
	var cancelled <-chan struct{}
	if ctx != nil {
		cancelled = ctx.Done()
	}
	var err error
	select {
	case ch <- r:
		return nil
	case <-db.ended:
		err = db.fate
	case <-cancelled:
		err = ctx.Err()
	}
	db.sent.Add(^uint64(0))
	return err
}

// SendWrite queues operations, in LevelDB's batch format without its header,
// to be applied all or nothing, and returns. count is how many there are; ops
// must not change until sink is told. It waits while the queue is full, until
// ctx is done. An error means that sink will not be called.
//
// ErrInvalidArgument, ErrInvalidKey or ErrInvalidValue where ops is not a
// well-formed batch. sink is told of ErrConflict where opts.If does not hold,
// and then nothing was written.
func (db *DB) SendWrite(ctx Context, ops []byte, count uint32, opts *WriteOptions, id uint64, sink Sink) error {
	r, err := newWrite(ops, count, opts, id, sink)
	if err != nil {
		return err
	}
	return send(ctx, db, db.writes, r)
}

func newWrite(ops []byte, count uint32, opts *WriteOptions, id uint64, sink Sink) (writeRequest, error) {
	kinds, err := batch.Validate(ops, count)
	r := writeRequest{ops: ops, count: count, kinds: kinds, id: id, sink: sink}
	if opts != nil {
		r.strict, r.cond = opts.Strict, opts.If
	}
	return r, err
}

// SendGet queues a lookup of one key at a snapshot, nil for the newest state,
// and returns. key must not change until sink is told. It waits while the queue
// is full, until ctx is done. An error means that sink will not be called.
func (db *DB) SendGet(ctx Context, at *Snapshot, key []byte, id uint64, sink Sink) error {
	return send(ctx, db, db.gets, getRequest{single: key, at: at, id: id, sink: sink})
}

// SendGetMany is SendGet for several keys, which are looked up at one moment.
// sink is told once for each key, in order.
func (db *DB) SendGetMany(ctx Context, at *Snapshot, keys [][]byte, id uint64, sink Sink) error {
	if len(keys) == 0 {
		return base.Wrap(ErrInvalidArgument, "no keys", nil)
	}
	return send(ctx, db, db.gets, getRequest{keys: keys, at: at, id: id, sink: sink})
}

// waiter is the Sink behind the calls that wait. Where the call is carried out in
// the worker's place, most often nobody has to be waited for, and it has no
// channels.
type waiter struct {
	done    chan struct{}
	rest    chan *pending // what the caller's goroutine is to finish
	pending *pending      // the same, without a channel
	isDone  bool
	left    int
	seq     base.SeqNum
	values  [][]byte
	err     error
	one     [1][]byte // space for values
}

// call is what a call with one key needs in the worker's place. Most of them are
// answered at once, and leave it for the next.
type call struct {
	waiter waiter
	batch  batch.Batch
}

// takeCall returns a call for whoever has the turn.
func (db *DB) takeCall() *call {
	c := db.idle
	db.idle = nil
	if c == nil {
		c = new(call)
	}
	return c
}

// leaveCall keeps c, of which nobody needs anything any more, for the next.
func (db *DB) leaveCall(c *call) {
	c.waiter = waiter{}
	c.batch.Reset()
	db.idle = c
}

func (w *waiter) WriteDone(_ uint64, seq base.SeqNum, err error) {
	w.seq, w.err = seq, err
	w.end()
}

func (w *waiter) GetDone(_ uint64, value []byte, _ base.SeqNum, err error) {
	switch {
	case err == nil:
		w.values = append(w.values, append([]byte{}, value...))
	case err == ErrNotFound:
		w.values = append(w.values, nil)
	default:
		w.err = err
	}
	if w.left--; w.left == 0 {
		w.end()
	}
}

func (w *waiter) end() {
	w.isDone = true
	if w.done != nil {
		close(w.done)
	}
}

func (w *waiter) resume(p *pending) {
	if w.rest == nil {
		w.pending = p
	} else {
		w.rest <- p
	}
}

// arm prepares for an answer that did not come in place.
func (w *waiter) arm() {
	if !w.isDone && w.pending == nil {
		w.done = make(chan struct{})
	}
}

// wait returns when the call has been answered. The worker answers every call
// that it was sent, so this needs no way out; a cancelled context could not
// take the call back anyway.
func (w *waiter) wait() {
	switch {
	case w.pending != nil:
		w.pending.finish()
	case w.done != nil:
		select {
		case <-w.done:
		case p := <-w.rest:
			p.finish()
		}
	}
}

// Apply commits b: all of its operations or none. It returns the sequence
// number of the last one. b may be reused afterwards. ctx ends the wait for a
// place in the queue; once queued the write happens.
//
// ErrConflict where opts.If does not hold; ErrReadOnly after an earlier write
// failed, ErrQuota, ErrIO, ErrClosed.
func (db *DB) Apply(ctx Context, b *batch.Batch, opts *WriteOptions) (base.SeqNum, error) {
	w := &waiter{}
	r, err := newWrite(b.Repr()[batch.HeaderSize:], b.Count(), opts, 0, w)
	if err != nil {
		return 0, err
	}
	if db.tryTurn() {
		db.writeInPlace(r, w)
	} else {
		w.done = make(chan struct{})
		if err := send(ctx, db, db.writes, r); err != nil {
			return 0, err
		}
	}
	w.wait()
	return w.seq, w.err
}

func (db *DB) writeInPlace(r writeRequest, w *waiter) {
	defer db.endTurn()
	defer w.arm()
	db.inPlace += writeBytes + len(r.ops)
	db.write(r)
}

// applyOne is Apply of the operation that fill adds to an empty batch.
func (db *DB) applyOne(ctx Context, opts *WriteOptions, fill func(*batch.Batch) error) (base.SeqNum, error) {
	if db.tryTurn() {
		c, seq, err := db.oneInPlace(opts, fill)
		if c != nil {
			c.waiter.wait()
			seq, err = c.waiter.seq, c.waiter.err
		}
		return seq, err
	}
	var b batch.Batch
	if err := fill(&b); err != nil {
		return 0, err
	}
	return db.Apply(ctx, &b, opts)
}

// oneInPlace is applyOne in the worker's place. It returns the call where that is
// still to be waited for.
func (db *DB) oneInPlace(opts *WriteOptions, fill func(*batch.Batch) error) (waiting *call, seq base.SeqNum, err error) {
	defer db.endTurn()
	c := db.takeCall()
	defer func() {
		if waiting != nil {
			waiting.waiter.arm()
		}
	}()
	if err := fill(&c.batch); err != nil {
		db.leaveCall(c)
		return nil, 0, err
	}
	ops := c.batch.Repr()[batch.HeaderSize:]
	r := writeRequest{ops: ops, count: 1, kinds: 1 << ops[0], sink: &c.waiter}
	if opts != nil {
		r.strict, r.cond = opts.Strict, opts.If
	}
	db.inPlace += writeBytes + len(ops)
	waiting = c // also where write panics
	db.write(r)
	if !c.waiter.isDone {
		return c, 0, nil
	}
	seq, err = c.waiter.seq, c.waiter.err
	db.leaveCall(c)
	return nil, seq, err
}

// Put sets the value of key and returns the sequence number of the write. See
// Apply for errors, and ErrInvalidKey, ErrInvalidValue over the limits of
// package base.
func (db *DB) Put(ctx Context, key, value []byte, opts *WriteOptions) (base.SeqNum, error) {
	return db.applyOne(ctx, opts, func(b *batch.Batch) error { return b.Put(key, value) })
}

// Delete removes key; removing one that is not there is no error. It returns
// the sequence number of the write. See Apply for errors.
func (db *DB) Delete(ctx Context, key []byte, opts *WriteOptions) (base.SeqNum, error) {
	return db.applyOne(ctx, opts, func(b *batch.Batch) error { return b.Delete(key) })
}

// DeleteRange removes all keys from start on and before end, however many there
// are, by one operation. It returns the sequence number of the write. See Apply
// for errors, and ErrInvalidKey for bounds over the limits of package base.
func (db *DB) DeleteRange(ctx Context, start, end []byte, opts *WriteOptions) (base.SeqNum, error) {
	return db.applyOne(ctx, opts, func(b *batch.Batch) error { return b.DeleteRange(start, end) })
}

// Get returns a copy of the value of key, or ErrNotFound. With a comparer that
// has suffixes it returns the newest version of the logical key at or behind
// key in the order.
func (db *DB) Get(ctx Context, key []byte) ([]byte, error) { return db.get(ctx, nil, key) }

func (db *DB) get(ctx Context, at *Snapshot, key []byte) (value []byte, err error) {
	g := getRequest{single: key, at: at}
	if db.tryTurn() {
		var c *call
		if c, value, err = db.oneGetInPlace(g); c != nil {
			c.waiter.wait()
			value, err = c.waiter.one[0], c.waiter.err
		}
	} else {
		var values [][]byte
		if values, err = db.ask(ctx, g); err == nil {
			value = values[0]
		}
	}
	if err == nil && value == nil {
		err = ErrNotFound
	}
	return value, err
}

// oneGetInPlace carries out a get of one key in the worker's place. It returns the
// call where that is still to be waited for.
func (db *DB) oneGetInPlace(g getRequest) (waiting *call, value []byte, err error) {
	defer db.endTurn()
	c := db.takeCall()
	defer func() {
		if waiting != nil {
			waiting.waiter.arm()
		}
	}()
	c.waiter.left, c.waiter.values = 1, c.waiter.one[:0]
	g.sink = &c.waiter
	db.inPlace += getBytes
	waiting = c // also where serveGets panics
	db.serveGets(g)
	if !c.waiter.isDone {
		return c, nil, nil
	}
	value, err = c.waiter.one[0], c.waiter.err
	db.leaveCall(c)
	return nil, value, err
}

// GetMany returns copies of the values of keys, all of one moment: nil for a
// missing key.
func (db *DB) GetMany(ctx Context, keys [][]byte) ([][]byte, error) {
	return db.getMany(ctx, nil, keys)
}

func (db *DB) getMany(ctx Context, at *Snapshot, keys [][]byte) ([][]byte, error) {
	if len(keys) == 0 {
		return nil, db.Fate()
	}
	return db.ask(ctx, getRequest{keys: keys, at: at})
}

// ask carries g out, or has it carried out, and returns the values.
func (db *DB) ask(ctx Context, g getRequest) ([][]byte, error) {
	w := &waiter{left: g.len()}
	w.values = w.one[:0]
	if g.keys != nil {
		w.values = make([][]byte, 0, len(g.keys))
	}
	g.sink = w
	if db.tryTurn() {
		db.getInPlace(g, w)
	} else {
		w.done, w.rest = make(chan struct{}), make(chan *pending, 1)
		if err := send(ctx, db, db.gets, g); err != nil {
			return nil, err
		}
	}
	w.wait()
	return w.values, w.err
}

func (db *DB) getInPlace(g getRequest, w *waiter) {
	defer db.endTurn()
	defer w.arm()
	db.inPlace += getBytes * g.len()
	db.serveGets(g)
}

// do runs f on the worker.
func (db *DB) do(ctx Context, f func()) error {
	done := make(chan struct{})
	if err := send(ctx, db, db.control, func() { f(); close(done) }); err != nil {
		return err
	}
	return db.await(done)
}

// await waits for done, which the worker closes. It may have ended right after.
func (db *DB) await(done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-db.ended:
	}
	select {
	case <-done:
		return nil
	default:
		return db.fate
	}
}

// doAfterWrites runs f on the worker, behind the writes sent so far.
func (db *DB) doAfterWrites(ctx Context, f func()) error {
	done := make(chan struct{})
	err := db.do(ctx, func() { db.afterWrites(func() { f(); close(done) }) })
	if err != nil {
		return err
	}
	return db.await(done)
}

// Close waits for the calls under way, makes everything durable and ends the
// worker. Open scans fail with ErrClosed. It returns the error of the last
// sync, if any; closing a closed DB is no error.
func (db *DB) Close() error {
	end := db.do(nil, func() {
		// From now on there is room for every write.
		db.closing = true
		db.writeHeld()
		db.serveWaiting()
	})
	<-db.closed
	if end != nil && db.fate != ErrClosed {
		return db.fate
	}
	if end != nil {
		return nil
	}
	return db.closeErr
}

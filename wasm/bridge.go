//go:build js && wasm

package main

import (
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/volume"
)

const (
	// frameQueue is how many request frames wait for the engine where the
	// device keeps it waiting; the calls of one more are answered with
	// TEMPEST_BUSY.
	frameQueue = 1024

	// replyBytes is the size at which a reply frame goes out before its turn
	// has ended.
	replyBytes = 1 << 20

	// maxTurns bounds how often settle gives way before it lets the host go
	// on and asks for a pump.
	maxTurns = 1 << 20

	// scanQueue is how many calls for runs may wait for one scan.
	scanQueue = 4

	// minTurns is how often settle gives way before it believes that what is
	// left waits for the host. A garbage collection may take some of them.
	minTurns = 16

	// poolBytes is the largest buffer that is kept for the next frame.
	poolBytes = 4 << 20
)

// ctx never ends (see kv.DB): the engine answers every call it takes, and a
// call that the client has given up is answered to nobody.
var ctx kv.Context

// bridge joins the host and the engine. All of its goroutines share the one
// thread of js/wasm, but any allocation may park the one that runs while garbage
// is collected. A field without a lock is therefore only touched in stretches
// that allocate nothing.
type bridge struct {
	host   host
	device volume.Device
	frames chan *request
	inbox  []byte // what alloc returned last
	pool   bufferPool

	vol    *volume.Volume
	db     *kv.DB
	closed bool

	mu        sync.Mutex // guards what follows, up to exports
	scans     map[callKey]*openScan
	snapshots map[callKey]*kv.Snapshot
	watches   map[callKey]*openWatch
	exports   map[callKey]*openExport

	importer *volume.Importer // nil where no import is under way
	tools    tools

	// turn lets background jobs go on, of which parked wait for it, or were
	// woken by it and have not run yet.
	turn   chan struct{}
	parked atomic.Int32
	woken  atomic.Int32

	// unanswered counts the requests under way. While it is above zero and
	// nothing waits for the host, settle keeps the engine running.
	unanswered int
	slow       int // those of them that may take many pumps

	out        replyWriter
	outSession uint32
}

// host is what the bridge asks of its host apart from the device.
type host interface {
	// reply takes a frame, whose bytes it must not keep.
	reply(frame []byte)
	// schedule asks for a pump from a later macrotask.
	schedule()
	// now returns the time in milliseconds since 1970.
	now() float64
	log(level kv.LogLevel, text string)
}

// callKey names a scan, a snapshot or a watch: by the call that began it.
type callKey struct{ session, id uint32 }

// openScan is a scan as the bridge holds it.
type openScan struct {
	key  callKey
	next chan scanNext
	quit chan struct{} // closed when the scan is
	scan *kv.Scan      // nil until it has begun
}

type scanNext struct {
	id       uint32
	maxBytes int
}

func newBridge(h host, d volume.Device) *bridge {
	return &bridge{
		host:   h,
		device: d,
		frames: make(chan *request, frameQueue),
		turn:   make(chan struct{}),

		scans:     map[callKey]*openScan{},
		snapshots: map[callKey]*kv.Snapshot{},
		watches:   map[callKey]*openWatch{},
		exports:   map[callKey]*openExport{},
	}
}

// alloc returns a buffer of n bytes and remembers it as the inbox.
func (b *bridge) alloc(n uint32) []byte {
	if b.inbox = b.pool.get(n); b.inbox == nil {
		b.inbox = make([]byte, max(n, 4096))
	}
	return b.inbox
}

// submit queues the frame in the inbox. It does not wait.
func (b *bridge) submit(n uint32) {
	r := &request{bridge: b, buf: b.inbox[:n]}
	b.inbox = nil
	if err := r.check(); err != nil {
		b.fail(r.session, badFrameID, err)
		return
	}
	b.unanswered += r.left
	select {
	case b.frames <- r:
	default:
		err := base.Wrap(kv.ErrBusy, "too many frames wait for the host", nil)
		r.each(func(e entry) { r.answerError(e.id, err) })
	}
}

// settle runs the engine until all calls are answered, and the step of each
// background job is done, or what is left waits for the host.
//
// Giving way once is not enough: a garbage collection that begins in the
// worker parks it, and nothing would run Go again until the next call.
func (b *bridge) settle() {
	for turn := 0; !b.isSettled(turn); turn++ {
		if turn == maxTurns {
			b.host.schedule()
			break
		}
		runtime.Gosched()
	}
	b.flush()
}

func (b *bridge) isSettled(turn int) bool {
	db := b.db
	if b.woken.Load() > 0 {
		// It counts as busy only once it runs.
		return false
	}
	if b.unanswered == 0 && (db == nil || !db.IsBusy()) {
		return true
	}
	if turn < minTurns {
		return false
	}
	// What waits for a background job waits for the pump.
	isStalled := b.slow > 0 || db != nil && db.IsStalled()
	return waiting.count.Load() > 0 || b.parked.Load() > 0 && isStalled && (db == nil || !db.IsBusy())
}

// yield is called by background jobs between two steps: it returns when the
// host has had its turn.
func (b *bridge) yield(stop <-chan struct{}) {
	b.parked.Add(1)
	b.host.schedule()
	select {
	case <-b.turn:
		b.woken.Add(-1)
	case <-stop:
	}
	b.parked.Add(-1)
}

// pump lets the background jobs that have yielded go on.
func (b *bridge) pump() {
	for range b.parked.Load() {
		select {
		case b.turn <- struct{}{}:
			b.woken.Add(1)
		default:
			// It is on its way to wait, and has asked for a pump.
		}
	}
}

// flush sends the answers of the turn.
func (b *bridge) flush() {
	if b.out.count > 0 {
		b.host.reply(b.out.finish(b.outSession))
	}
}

// serve carries out the frames in the order they came.
func (b *bridge) serve() {
	for r := range b.frames {
		r.each(func(e entry) { b.dispatch(r, e) })
	}
}

// reply adds an answer to those of the turn.
func (b *bridge) reply(session, id uint32, status, flags byte, body []byte) {
	for {
		if b.out.count > 0 && (session != b.outSession || len(b.out.buf) >= replyBytes) {
			b.flush()
		}
		if b.out.grow(entryHeaderSize + len(body)) {
			break
		}
	}
	b.outSession = session
	b.out.add(id, status, flags, body)
}

func (b *bridge) fail(session, id uint32, err error) {
	b.reply(session, id, statusError, 0, appendString(appendString(nil, kv.Code(err)), err.Error()))
}

// dispatch carries out one request or sends it on its way.
func (b *bridge) dispatch(r *request, e entry) {
	if err := b.start(r, e); err != nil {
		r.answerError(e.id, err)
	}
}

// start is dispatch; an error has not been answered yet.
func (b *bridge) start(r *request, e entry) error {
	if b.db == nil && e.op != opOpen && e.op != opPanic && e.op != opImport && e.op != opImportEnd && !isTool(e.op) {
		if b.closed {
			return kv.ErrClosed
		}
		return base.Wrap(kv.ErrInvalidArgument, "the engine has not been opened", nil)
	}
	switch e.op {
	case opOpen:
		return b.open(r, e)
	case opWrite:
		return b.write(r, e)
	case opGet:
		return b.get(r, e)
	case opGetMany:
		return b.getMany(r, e)
	case opScan:
		return b.scan(r, e)
	case opScanNext:
		if len(e.body) != 8 {
			return malformed("scanNext has no 8 bytes")
		}
		n := scanNext{id: e.id, maxBytes: runBytes(binary.LittleEndian.Uint32(e.body[4:]))}
		if err := b.askScan(callKey{r.session, binary.LittleEndian.Uint32(e.body)}, n); err != nil {
			return err
		}
		r.release()
	case opScanClose:
		if len(e.body) != 4 {
			return malformed("scanClose has no 4 bytes")
		}
		b.closeScans(func(s *openScan) bool {
			return s.key == callKey{r.session, binary.LittleEndian.Uint32(e.body)}
		})
		r.answer(e.id, nil)
	case opStats:
		b.stats(r, e.id)
	case opSnapshot, opCount, opApproximateSize, opFlush, opCompact, opVerify, opExport, opExportFolder:
		return b.maintain(r, e)
	case opSnapshotClose:
		return b.closeSnapshot(r, e)
	case opWatch:
		return b.watchCommits(r, e)
	case opWatchNext:
		return b.watchNext(r, e)
	case opWatchClose:
		return b.closeWatch(r, e)
	case opExportNext:
		return b.exportNext(r, e)
	case opExportClose:
		return b.closeExport(r, e)
	case opImport, opImportEnd:
		return b.importPiece(r, e)
	case opClose:
		b.close(r, e.id)
	case opPanic:
		panic("tempestkv: asked to panic")
	default:
		return b.tool(r, e)
	}
	return nil
}

// isInUse reports whether the device is a store's already.
func (b *bridge) isInUse() bool { return b.db != nil || b.closed || b.tools.isInUse() }

// open opens the volume on the host's device, and the DB in it.
func (b *bridge) open(r *request, e entry) error {
	if b.isInUse() || b.importer != nil {
		return base.Wrap(kv.ErrInvalidArgument, "the engine has been opened already", nil)
	}
	opts, err := readOpenOptions(e.body)
	if err == nil {
		b.vol, err = volume.Open(b.device, nil)
	}
	if err == nil {
		opts.Logger = b.host.log
		opts.Event = b.notice
		opts.Yield = b.yield
		opts.Now = b.millis
		// Opening the volume has read it: now it is known how the host answers.
		opts.ReadInPlace = !waiting.used.Load()
		b.db, err = kv.Open(b.vol, opts)
	}
	if err != nil {
		return err
	}
	go b.watch(b.db)
	r.answer(e.id, appendRecovery(nil, b.db.Recovery()))
	return nil
}

func appendRecovery(dst []byte, rec kv.Recovery) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(rec.Sequence))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(rec.DroppedBytes))
	return appendString(dst, rec.Text)
}

// millis returns the time in milliseconds since 1970.
func (b *bridge) millis() int64 { return int64(b.host.now()) }

// watch turns the death of the worker into the death of the program, so that
// the host has one way to hear of it and frees the file.
func (b *bridge) watch(db *kv.DB) {
	<-db.Ended()
	if err := db.Fate(); errors.Is(err, kv.ErrWorkerDied) {
		b.flush()
		panic(err.Error())
	}
}

func readOpenOptions(body []byte) (*kv.Options, error) {
	opts := &kv.Options{}
	for c := (cursor{body}); len(c.b) > 0; {
		tag, ok1 := c.varint()
		value, ok2 := c.varint()
		if !ok1 || !ok2 {
			return nil, malformed("options of open")
		}
		switch tag {
		case tagMemtableBytes:
			if value > maxMemtableBytes {
				return nil, base.Wrap(kv.ErrInvalidArgument, "a memtable of more than 256 MiB", nil)
			}
			opts.MemtableBytes = int(value)
			// Who wants small memtables wants little memory.
			opts.BlockCacheBytes = min(2*int64(value), 8<<20)
			opts.TableCacheBytes = min(8*int64(value), 32<<20)
		default:
			return nil, base.Wrap(kv.ErrNotSupported, "unknown option of open", nil)
		}
	}
	return opts, nil
}

func (b *bridge) getMany(r *request, e entry) error {
	c := cursor{e.body}
	at, err := b.snapshotOf(r, &c, e.flags&getSnapshot != 0)
	if err != nil {
		return err
	}
	keys, ok := c.keys()
	if !ok || len(c.b) > 0 {
		return malformed("keys of getMany")
	}
	if len(keys) == 0 {
		r.answer(e.id, nil)
		return nil
	}
	m := &manyGets{
		request: r, id: e.id, left: len(keys), hasSequence: e.flags&getSequence != 0, body: make([]byte, 0, len(e.body)),
	}
	return b.db.SendGetMany(ctx, at, keys, uint64(e.id), m)
}

// manyGets gathers the answer to a getMany. The engine answers its keys one
// after the other with nothing in between.
type manyGets struct {
	*request
	id          uint32
	left        int
	hasSequence bool
	body        []byte
	err         error
}

func (m *manyGets) GetDone(_ uint64, value []byte, seq base.SeqNum, err error) {
	switch {
	case m.err != nil:
	case errors.Is(err, kv.ErrNotFound):
		m.body = append(m.body, 0)
	case err != nil:
		m.err = err
	case len(m.body)+binary.MaxVarintLen32+8+len(value) > maxReplyBody:
		m.body, m.err = nil, base.Wrap(kv.ErrInvalidArgument, "the values of one getMany are larger than a frame", nil)
	default:
		m.body = binary.AppendUvarint(m.body, uint64(len(value))+1)
		if m.hasSequence {
			m.body = binary.LittleEndian.AppendUint64(m.body, uint64(seq))
		}
		m.body = append(m.body, value...)
	}
	if m.left--; m.left > 0 {
		return
	}
	if m.err != nil {
		m.answerError(m.id, m.err)
		return
	}
	m.answer(m.id, m.body)
}

// scan starts a scan and a goroutine that answers the calls for its runs.
func (b *bridge) scan(r *request, e entry) error {
	c := cursor{e.body}
	at, err := b.snapshotOf(r, &c, e.flags&scanSnapshot != 0)
	if err != nil {
		return err
	}
	limit, ok1 := c.u32()
	maxBytes, ok2 := c.u32()
	bounds, ok3 := c.bounds(e.flags)
	if !ok1 || !ok2 || !ok3 || len(c.b) > 0 || limit > math.MaxInt32 {
		return malformed("scan")
	}
	opts := kv.ScanOptions{
		Reverse:  e.flags&scanReverse != 0,
		KeysOnly: e.flags&scanKeysOnly != 0,
		Limit:    int(limit),
		RunBytes: runBytes(maxBytes),
		Bounds:   bounds,
	}
	s := &openScan{
		key:  callKey{r.session, e.id},
		next: make(chan scanNext, scanQueue),
		quit: make(chan struct{}),
	}
	if !b.addScan(s) {
		return base.Wrap(kv.ErrInvalidArgument, "the id is that of an open scan", nil)
	}
	s.next <- scanNext{id: e.id, maxBytes: opts.RunBytes}
	r.release()
	go b.serveScan(b.db, at, s, opts)
	return nil
}

// runBytes bounds what a client asks for.
func runBytes(n uint32) int { return int(min(max(n, 1), maxRunBytes)) }

func (b *bridge) addScan(s *openScan) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.scans[s.key] != nil {
		return false
	}
	b.scans[s.key] = s
	return true
}

// askScan queues a call for the next run of a scan. The lock keeps the queue
// from being closed meanwhile.
func (b *bridge) askScan(key callKey, n scanNext) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.scans[key]
	if s == nil {
		return base.Wrap(kv.ErrClosed, "no such scan", nil)
	}
	select {
	case s.next <- n:
		return nil
	default:
		return base.Wrap(kv.ErrBusy, "too many calls wait for one scan", nil)
	}
}

// closeScans forgets the scans that which names; their goroutines answer what
// still waits and end.
func (b *bridge) closeScans(which func(*openScan) bool) {
	var begun []*kv.Scan
	b.mu.Lock()
	for key, s := range b.scans {
		if which(s) {
			delete(b.scans, key)
			close(s.quit)
			close(s.next)
			if s.scan != nil {
				begun = append(begun, s.scan)
			}
		}
	}
	b.mu.Unlock()
	// Who waits for its next run waits no longer.
	for _, scan := range begun {
		scan.Close()
	}
}

// serveScan answers the calls for runs of one scan. It ends when the scan is
// closed and its last call answered.
func (b *bridge) serveScan(db *kv.DB, at *kv.Snapshot, s *openScan, opts kv.ScanOptions) {
	start := db.Scan
	if at != nil {
		start = at.Scan
	}
	scan, err := start(ctx, &opts)
	if err == nil {
		defer scan.Close()
		b.mu.Lock()
		s.scan = scan
		b.mu.Unlock()
	}
	var held []byte
	for n := range s.next {
		var run []byte
		var flags byte
		select {
		case <-s.quit:
			err = kv.ErrClosed
		default:
		}
		if err == nil {
			run, held, flags, err = nextRun(scan, held, n.maxBytes)
		}
		if flags&scanEnded != 0 || err != nil {
			b.closeScans(func(other *openScan) bool { return other == s })
		}
		if err != nil {
			b.fail(s.key.session, n.id, err)
		} else {
			b.reply(s.key.session, n.id, statusOK, flags, run)
		}
		b.unanswered--
	}
}

// nextRun joins the runs of a scan, the first of which may have been held back,
// until maxBytes are reached. It returns the run that did not fit any more.
func nextRun(scan *kv.Scan, first []byte, maxBytes int) (run, held []byte, flags byte, err error) {
	run = first
	for {
		next, ok := scan.NextRun()
		switch {
		case !ok:
			return run, nil, scanEnded, scan.Error()
		case len(run) == 0:
			run = next
		case len(run)+len(next) > maxBytes:
			return run, next, 0, nil
		default:
			run = append(run, next...)
		}
	}
}

func (b *bridge) stats(r *request, id uint32) {
	st, err := b.db.Stats(ctx)
	if err != nil {
		r.answerError(id, err)
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	tables, tableBytes := 0, uint64(0)
	figures := []figure{}
	for level, l := range st.Levels {
		tables, tableBytes = tables+l.Tables, tableBytes+l.Bytes
		prefix := "level" + strconv.Itoa(level)
		figures = append(figures, figure{prefix + "Tables", float64(l.Tables)}, figure{prefix + "Bytes", float64(l.Bytes)})
	}
	if space, err := b.vol.Space(); err == nil {
		figures = append(figures, figure{"fileBytes", float64(space.FileBytes)}, figure{"freeBytes", float64(space.FreeBytes)})
	}
	figures = append(figures, []figure{
		{"sequence", float64(st.Sequence)},
		{"openScans", float64(st.OpenScans)},
		{"maxOpenScans", kv.MaxOpenScans},
		{"memtables", float64(st.Memtables)},
		{"memtableBytes", float64(st.MemtableBytes)},
		{"logs", float64(st.Logs)},
		{"logBytes", float64(st.LogBytes)},
		{"tables", float64(tables)},
		{"tableBytes", float64(tableBytes)},
		{"openTables", float64(st.OpenTables)},
		{"openTableBytes", float64(st.TableBytes)},
		{"openTableHits", float64(st.TableHits)},
		{"openTableMisses", float64(st.TableMisses)},
		{"blockCacheBytes", float64(st.BlockCache.Bytes)},
		{"blockCacheHits", float64(st.BlockCache.Hits)},
		{"blockCacheMisses", float64(st.BlockCache.Misses)},
		{"flushes", float64(st.Flushes)},
		{"flushedBytes", float64(st.FlushedBytes)},
		{"compactions", float64(st.Compactions)},
		{"compactedBytes", float64(st.CompactedBytes)},
		{"compactionWrittenBytes", float64(st.WrittenBytes)},
		{"moves", float64(st.Moves)},
		{"stalls", float64(st.Stalls)},
		{"snapshots", float64(st.Snapshots)},
		{"watches", float64(st.Watches)},
		{"rangeTombstones", float64(st.RangeTombstones)},
		{"heapBytes", float64(m.HeapAlloc)},
		{"wasmBytes", float64(m.Sys)},
	}...)
	r.answer(id, appendFigures(nil, figures))
}

// figure is a number with its name.
type figure struct {
	name  string
	value float64
}

func appendFigures(dst []byte, figures []figure) []byte {
	for _, f := range figures {
		dst = appendString(dst, f.name)
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f.value))
	}
	return dst
}

// close ends the scans, then the DB, then the volume.
func (b *bridge) close(r *request, id uint32) {
	b.closeScans(func(*openScan) bool { return true })
	b.endWatches(func(callKey) bool { return true })
	b.endExports(func(callKey) bool { return true })
	b.mu.Lock()
	clear(b.snapshots)
	b.mu.Unlock()
	db := b.db
	b.db, b.closed = nil, true
	err := db.Close()
	if e := b.vol.Close(); err == nil {
		err = e
	}
	if err != nil {
		r.answerError(id, err)
		return
	}
	r.answer(id, nil)
}

var _ kv.Sink = (*request)(nil)

// WriteDone answers a write.
func (r *request) WriteDone(id uint64, seq base.SeqNum, err error) {
	if err != nil {
		r.answerError(uint32(id), err)
		return
	}
	var body [8]byte
	binary.LittleEndian.PutUint64(body[:], uint64(seq))
	r.answer(uint32(id), body[:])
}

// GetDone answers a get.
func (r *request) GetDone(id uint64, value []byte, _ base.SeqNum, err error) {
	switch {
	case err == nil:
		r.answer(uint32(id), value)
	case errors.Is(err, kv.ErrNotFound):
		r.bridge.reply(r.session, uint32(id), statusNotFound, 0, nil)
		r.done()
	default:
		r.answerError(uint32(id), err)
	}
}

// Package doortest has an object for tests: the engine itself, in memory,
// behind a Door. It answers the frames of docs/PROTOCOL.md as the Durable
// Object does.
package doortest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"sync"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
	"tempestkv/workers/api"
	"tempestkv/workers/frames"
	"tempestkv/workers/object"
)

// Object is a store behind a Door.
type Object struct {
	db *kv.DB

	mu   sync.Mutex // guards what follows
	log  []commit
	told chan struct{} // closed, and made anew, by a commit
	fail error
	open int // sessions

	visitors map[string]*session
}

type commit struct {
	seq uint64
	ops []byte
}

var _ object.Door = (*Object)(nil)

// New returns an empty store, which is closed at the end of the test. now is the
// clock by which values expire, in milliseconds since 1970.
func New(t testing.TB, now func() int64) *Object {
	t.Helper()
	db, err := kv.Open(vfs.NewMem(), &kv.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Object{db: db, told: make(chan struct{})}
}

// Fail makes all calls from now on fail to reach the object, until it is nil.
func (o *Object) Fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = err
}

// Sessions returns how many sessions are open.
func (o *Object) Sessions() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open
}

// Sequence returns the sequence number of the last write.
func (o *Object) Sequence() uint64 {
	stats, err := o.db.Stats(nil)
	if err != nil {
		return 0
	}
	return uint64(stats.Sequence)
}

// Call implements object.Door.
func (o *Object) Call(_ context.Context, frame []byte) ([]byte, error) {
	s := &session{object: o, quit: make(chan struct{})}
	defer s.Close()
	return s.Send(frame)
}

// Session implements object.Door.
func (o *Object) Session(context.Context) (object.Session, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return nil, o.fail
	}
	o.open++
	return &session{object: o, quit: make(chan struct{}), counted: true}, nil
}

// Visit implements object.Door. It counts no turns and knows no tokens.
func (o *Object) Visit(ctx context.Context, v *api.Visit) ([]byte, error) {
	o.mu.Lock()
	s, fail := o.visitors[v.Session], o.fail
	if s == nil && v.Does == api.VisitSend && v.Turn == 0 {
		s = &session{object: o, quit: make(chan struct{})}
		if o.visitors == nil {
			o.visitors = map[string]*session{}
		}
		o.visitors[v.Session] = s
	}
	if v.Does == api.VisitClose {
		delete(o.visitors, v.Session)
	}
	o.mu.Unlock()
	switch {
	case fail != nil:
		return nil, fail
	case s == nil:
		return nil, errors.New("the session has ended")
	case v.Does == api.VisitSend:
		return s.Send(v.Frame)
	case v.Does == api.VisitReceive:
		return s.Receive()
	default:
		s.Close()
		return nil, nil
	}
}

type session struct {
	object  *Object
	once    sync.Once
	quit    chan struct{}
	counted bool
	scan    *kv.Scan
	held    []byte // the scan's next run, read ahead to know whether there is one
	watch   *watch
	waiting uint32 // id of the watchNext that waits
}

type watch struct {
	since  uint64
	values bool
	bounds []iterator.Bounds
}

// Close implements object.Session.
func (s *session) Close() {
	s.once.Do(func() {
		close(s.quit)
		s.object.mu.Lock()
		defer s.object.mu.Unlock()
		if s.scan != nil {
			s.scan.Close()
		}
		if s.counted {
			s.object.open--
		}
	})
}

// Send implements object.Session. Each answer is in a frame of its own.
func (s *session) Send(frame []byte) ([]byte, error) {
	s.object.mu.Lock()
	fail := s.object.fail
	s.object.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	if len(frame) < 16 || frame[0] != 1 || frame[1] != 1 || int(binary.LittleEndian.Uint32(frame[12:])) != len(frame) {
		return answer(0xffffffff, frames.StatusError, 0, errorBody(base.ErrInvalidArgument)), nil
	}
	var out []byte
	rest := frame[16:]
	for n := binary.LittleEndian.Uint32(frame[8:]); n > 0; n-- {
		id, op, flags := binary.LittleEndian.Uint32(rest), frames.Op(rest[4]), rest[5]
		end := 12 + binary.LittleEndian.Uint32(rest[8:])
		status, flags, body, err := s.serve(id, op, flags, frames.Cursor{B: rest[12:end:end]})
		switch {
		case errors.Is(err, errWaits):
		case err != nil:
			out = append(out, answer(id, frames.StatusError, 0, errorBody(err))...)
		default:
			out = append(out, answer(id, status, flags, body)...)
		}
		rest = rest[end:]
	}
	return out, nil
}

var errWaits = errors.New("the answer comes later")

func errorBody(err error) []byte {
	return appendBytes(appendBytes(nil, []byte(kv.Code(err))), []byte(err.Error()))
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func answer(id uint32, status frames.Status, flags uint8, body []byte) []byte {
	b := []byte{1, 2, 0, 0, 9, 9, 9, 9, 1, 0, 0, 0}
	b = binary.LittleEndian.AppendUint32(b, uint32(16+12+len(body)))
	b = binary.LittleEndian.AppendUint32(b, id)
	b = append(b, byte(status), flags, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

var errMalformed = base.Wrap(base.ErrInvalidArgument, "malformed body", nil)

func (s *session) serve(id uint32, op frames.Op, flags uint8, c frames.Cursor) (frames.Status, uint8, []byte, error) {
	o := s.object
	switch op {
	case frames.OpWrite:
		seq, err := o.write(flags, c)
		return 0, 0, binary.LittleEndian.AppendUint64(nil, seq), err
	case frames.OpGet:
		var g got
		g.done.Add(1)
		if err := o.db.SendGet(nil, nil, c.B, 0, &g); err != nil {
			return 0, 0, nil, err
		}
		g.done.Wait()
		if errors.Is(g.err, kv.ErrNotFound) {
			return frames.StatusNotFound, 0, nil, nil
		}
		if flags&frames.GetSequence != 0 {
			g.value = append(binary.LittleEndian.AppendUint64(nil, uint64(g.version)), g.value...)
		}
		return 0, 0, g.value, g.err
	case frames.OpStats:
		body := binary.LittleEndian.AppendUint64(appendBytes(nil, []byte("openScans")), 0)
		body = appendBytes(body, []byte("sequence"))
		return 0, 0, binary.LittleEndian.AppendUint64(body, math.Float64bits(float64(o.Sequence()))), nil
	case frames.OpScan:
		return s.startScan(flags, c)
	case frames.OpScanNext:
		return s.nextRun()
	case frames.OpWatch:
		return s.startWatch(flags, c)
	case frames.OpWatchNext:
		s.waiting = id
		return s.news()
	}
	return 0, 0, nil, base.Wrap(base.ErrNotSupported, "operation "+strconv.Itoa(int(op)), nil)
}

// got is the answer to a get.
type got struct {
	done    sync.WaitGroup
	value   []byte
	version base.SeqNum
	err     error
}

var _ kv.Sink = (*got)(nil)

// WriteDone is never called.
func (g *got) WriteDone(uint64, base.SeqNum, error) {}

// GetDone takes the answer.
func (g *got) GetDone(_ uint64, value []byte, version base.SeqNum, err error) {
	g.value, g.version, g.err = bytes.Clone(value), version, err
	g.done.Done()
}

func (o *Object) write(flags uint8, c frames.Cursor) (uint64, error) {
	var opts kv.WriteOptions
	if flags&frames.WriteConditional != 0 {
		since, ok := c.U64()
		count, ok2 := c.U32()
		if !ok || !ok2 {
			return 0, errMalformed
		}
		opts.If = &kv.Condition{Since: base.SeqNum(since)}
		for ; count > 0; count-- {
			key, ok := c.Bytes()
			if !ok {
				return 0, errMalformed
			}
			opts.If.Keys = append(opts.If.Keys, key)
		}
		if ranges, ok := c.U32(); !ok || ranges != 0 {
			return 0, errMalformed
		}
	}
	count, ok := c.U32()
	if !ok {
		return 0, errMalformed
	}
	var b batch.Batch
	for r := batch.MakeReader(c.B); ; {
		kind, key, value, ok := r.Next()
		if !ok {
			break
		}
		switch kind {
		case base.KindPut:
			b.Put(key, value)
		case base.KindPutExpiring:
			expires, rest, _ := base.CutExpiry(value)
			b.PutExpiring(key, rest, expires)
		case base.KindDelete:
			b.Delete(key)
		case base.KindRangeDelete:
			b.DeleteRange(key, value)
		}
	}
	if b.Count() != count {
		return 0, errMalformed
	}
	// One at a time, so that the log has them in their order.
	o.mu.Lock()
	defer o.mu.Unlock()
	seq, err := o.db.Apply(nil, &b, &opts)
	if err != nil {
		return 0, err
	}
	o.log = append(o.log, commit{seq: uint64(seq), ops: bytes.Clone(c.B)})
	close(o.told)
	o.told = make(chan struct{})
	return uint64(seq), nil
}

func readBounds(flags uint8, c *frames.Cursor) (b iterator.Bounds, ok bool) {
	lower, ok1 := c.Bytes()
	upper, ok2 := c.Bytes()
	if flags&frames.BoundLower != 0 {
		b.Lower = append([]byte{}, lower...)
	}
	if flags&frames.BoundUpper != 0 {
		b.Upper = append([]byte{}, upper...)
	}
	b.LowerExclusive = flags&frames.BoundExclusiveLower != 0
	b.UpperInclusive = flags&frames.BoundInclusiveUpper != 0
	return b, ok1 && ok2
}

func (s *session) startScan(flags uint8, c frames.Cursor) (frames.Status, uint8, []byte, error) {
	limit, ok1 := c.U32()
	runBytes, ok2 := c.U32()
	bounds, ok3 := readBounds(flags, &c)
	if !ok1 || !ok2 || !ok3 || len(c.B) > 0 {
		return 0, 0, nil, errMalformed
	}
	var err error
	s.scan, err = s.object.db.Scan(nil, &kv.ScanOptions{
		Bounds:   bounds,
		Limit:    int(limit),
		RunBytes: int(runBytes),
		Reverse:  flags&frames.ScanReverse != 0,
		KeysOnly: flags&frames.ScanKeysOnly != 0,
	})
	if err != nil {
		return 0, 0, nil, err
	}
	return s.nextRun()
}

func (s *session) nextRun() (frames.Status, uint8, []byte, error) {
	run := s.held
	if run == nil {
		run, _ = s.scan.NextRun()
	}
	var more bool
	if s.held, more = s.scan.NextRun(); !more {
		return 0, frames.ScanEnded, run, s.scan.Error()
	}
	return 0, 0, run, nil
}

func (s *session) startWatch(flags uint8, c frames.Cursor) (frames.Status, uint8, []byte, error) {
	since, ok := c.U64()
	count, ok2 := c.U32()
	if !ok || !ok2 {
		return 0, 0, nil, errMalformed
	}
	s.watch = &watch{since: since, values: flags&frames.WatchValues != 0}
	if flags&frames.WatchSince == 0 {
		s.watch.since = s.object.Sequence()
	}
	for ; count > 0; count-- {
		f, ok := c.U8()
		bounds, ok2 := readBounds(f, &c)
		if !ok || !ok2 {
			return 0, 0, nil, errMalformed
		}
		s.watch.bounds = append(s.watch.bounds, bounds)
	}
	return 0, 0, binary.LittleEndian.AppendUint64(nil, s.watch.since), nil
}

func (w *watch) wants(kind base.Kind, key, value []byte) bool {
	if len(w.bounds) == 0 {
		return true
	}
	for _, b := range w.bounds {
		above := b.Lower == nil || string(key) >= string(b.Lower) || kind == base.KindRangeDelete && string(value) > string(b.Lower)
		below := b.Upper == nil || string(key) < string(b.Upper) || b.UpperInclusive && string(key) == string(b.Upper)
		if above && below {
			return true
		}
	}
	return false
}

// news answers a watchNext, later where there is nothing to tell. A since behind
// the last commit stands for one before the log.
func (s *session) news() (frames.Status, uint8, []byte, error) {
	var body []byte
	var flags uint8
	if s.watch.since > s.object.Sequence() {
		s.watch.since = s.object.Sequence()
		flags, body = frames.WatchGap, binary.LittleEndian.AppendUint64(nil, s.watch.since)
	}
	s.object.mu.Lock()
	defer s.object.mu.Unlock()
	for _, c := range s.object.log {
		if c.seq <= s.watch.since {
			continue
		}
		s.watch.since = c.seq
		var changes []byte
		n := uint32(0)
		for r := batch.MakeReader(c.ops); ; {
			kind, key, value, ok := r.Next()
			if !ok {
				break
			}
			if !s.watch.wants(kind, key, value) {
				continue
			}
			n++
			changes = appendBytes(append(changes, byte(kind)), key)
			if kind == base.KindRangeDelete || kind != base.KindDelete && s.watch.values {
				changes = appendBytes(changes, value)
			}
		}
		if n > 0 {
			body = binary.LittleEndian.AppendUint64(body, c.seq)
			body = append(binary.LittleEndian.AppendUint32(body, n), changes...)
		}
	}
	if body == nil {
		return 0, 0, nil, errWaits
	}
	return 0, flags, body, nil
}

// Receive implements object.Session: it waits for the answer to a watchNext.
func (s *session) Receive() ([]byte, error) {
	for {
		s.object.mu.Lock()
		told := s.object.told
		s.object.mu.Unlock()
		status, flags, body, err := s.news()
		id := s.waiting
		if err == nil {
			return answer(id, status, flags, body), nil
		}
		select {
		case <-told:
		case <-s.quit:
			return nil, errors.New("the session was closed")
		}
	}
}

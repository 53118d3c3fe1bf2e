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
	fail error
	open int // sessions

	visitors map[string]*session
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
	return &Object{db: db}
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

// Flush leaves nothing in the log that a watch could resume from.
func (o *Object) Flush() error { return o.db.Flush(nil) }

// Call implements object.Door.
func (o *Object) Call(_ context.Context, frame []byte) ([]byte, error) {
	s := &session{object: o}
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
	return &session{object: o, counted: true}, nil
}

// Visit implements object.Door. It counts no turns and knows no tokens.
func (o *Object) Visit(ctx context.Context, v *api.Visit) ([]byte, error) {
	o.mu.Lock()
	s, fail := o.visitors[v.Session], o.fail
	if s == nil && v.Does == api.VisitSend && v.Turn == 0 {
		s = &session{object: o}
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
	counted bool
	scan    *kv.Scan
	held    []byte // the scan's next run, read ahead to know whether there is one
	watch   *kv.Watch
	waiting uint32 // id of the watchNext that waits
}

// Close implements object.Session.
func (s *session) Close() {
	s.once.Do(func() {
		s.object.mu.Lock()
		defer s.object.mu.Unlock()
		if s.scan != nil {
			s.scan.Close()
		}
		if s.watch != nil {
			s.watch.Close()
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
		return 0, 0, nil, errWaits
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
	seq, err := o.db.Apply(nil, &b, &opts)
	return uint64(seq), err
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
	opts := kv.WatchOptions{
		HasSince: flags&frames.WatchSince != 0, Since: base.SeqNum(since), Values: flags&frames.WatchValues != 0,
	}
	for ; count > 0; count-- {
		f, ok := c.U8()
		bounds, ok2 := readBounds(f, &c)
		if !ok || !ok2 {
			return 0, 0, nil, errMalformed
		}
		opts.Ranges = append(opts.Ranges, bounds)
	}
	w, err := s.object.db.Watch(nil, &opts)
	if err != nil {
		return 0, 0, nil, err
	}
	s.watch = w
	return 0, 0, binary.LittleEndian.AppendUint64(nil, uint64(w.Seq())), nil
}

// watchBytes is about how much a watchNext is told at once.
const watchBytes = 1 << 20

// Receive implements object.Session: it waits for the answer to a watchNext.
func (s *session) Receive() ([]byte, error) {
	commits, gap, from, err := s.watch.Next(nil, watchBytes)
	switch {
	case err != nil:
		return nil, err
	case gap:
		return answer(s.waiting, 0, frames.WatchGap, binary.LittleEndian.AppendUint64(nil, uint64(from))), nil
	}
	return answer(s.waiting, 0, 0, commits), nil
}

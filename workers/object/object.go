// Package object speaks to the Durable Object that holds a store, in the frames
// of docs/PROTOCOL.md. How they get there is the Door's business, so that the
// package knows no Worker.
package object

import (
	"context"
	"errors"
	"io"
	"math"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/workers/api"
	"tempestkv/workers/frames"
)

const (
	// runBytes is how many bytes of rows are asked for at once, about.
	runBytes = 1 << 20

	// lineRunBytes is runBytes for a stream of rows: less, so that the first
	// come early.
	lineRunBytes = 128 << 10

	// newsBytes is how many bytes of commits are asked for at once, about.
	newsBytes = 1 << 20
)

// Door is the way to an object. Its errors are failures to reach it.
type Door interface {
	// Call sends a frame of requests and returns the frames of all replies. What
	// the requests leave open is closed.
	Call(ctx context.Context, frame []byte) ([]byte, error)

	// Session opens a session, in which scans and watches last.
	Session(ctx context.Context) (Session, error)

	// Visit does what api.Store says.
	Visit(ctx context.Context, v *api.Visit) ([]byte, error)
}

// Session is a session of an object. It must be closed. Its methods are for one
// goroutine, but Close may be called from any, and ends the wait of the others.
type Session interface {
	// Send sends a frame and returns the replies that are there at once.
	Send(frame []byte) ([]byte, error)

	// Receive waits for further replies.
	Receive() ([]byte, error)
	Close()
}

// Store is the store behind a door.
type Store struct{ Door Door }

var _ api.Store = (*Store)(nil)

// call sends the requests of r and returns the replies in their order.
func (s *Store) call(ctx context.Context, r *frames.Request, count int) ([]frames.Reply, error) {
	b, err := s.Door.Call(ctx, r.Finish())
	if err != nil {
		return nil, err
	}
	replies := make([]frames.Reply, count)
	seen := make([]bool, count)
	left := count
	for in := (frames.Reader{Frames: b}); ; left-- {
		reply, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		// A frame that is refused whole is answered by an id of its own.
		if err := reply.Err(); err != nil {
			return nil, err
		}
		if int64(reply.ID) >= int64(count) || seen[reply.ID] {
			return nil, frames.ErrMalformed
		}
		seen[reply.ID] = true
		replies[reply.ID] = reply
	}
	if left != 0 {
		return nil, frames.ErrMalformed
	}
	return replies, nil
}

// Get implements api.Store.
func (s *Store) Get(ctx context.Context, key []byte) (value []byte, version uint64, err error) {
	var r frames.Request
	r.Add(frames.OpGet, frames.GetSequence)
	r.Raw(key)
	replies, err := s.call(ctx, &r, 1)
	if err != nil {
		return nil, 0, err
	}
	return versioned(replies[0])
}

// versioned reads the reply to a get with its sequence number.
func versioned(reply frames.Reply) (value []byte, version uint64, err error) {
	if reply.Status == frames.StatusNotFound {
		return nil, 0, api.ErrMissing
	}
	c := frames.Cursor{B: reply.Body}
	version, ok := c.U64()
	if !ok || version == 0 {
		return nil, 0, frames.ErrMalformed
	}
	return c.B, version, nil
}

// Versions implements api.Store. The moment is the last sequence number before
// the first key was looked up.
func (s *Store) Versions(ctx context.Context, keys [][]byte) (moment uint64, versions []uint64, err error) {
	var r frames.Request
	r.Add(frames.OpStats, 0)
	for _, key := range keys {
		r.Add(frames.OpGet, frames.GetSequence)
		r.Raw(key)
	}
	replies, err := s.call(ctx, &r, 1+len(keys))
	if err != nil {
		return 0, nil, err
	}
	if moment, err = lastSequence(replies[0].Body); err != nil {
		return 0, nil, err
	}
	versions = make([]uint64, len(keys))
	for i, reply := range replies[1:] {
		if _, versions[i], err = versioned(reply); err != nil && !errors.Is(err, api.ErrMissing) {
			return 0, nil, err
		}
	}
	return moment, versions, nil
}

// lastSequence finds the sequence number among figures.
func lastSequence(stats []byte) (uint64, error) {
	for c := (frames.Cursor{B: stats}); len(c.B) > 0; {
		name, ok1 := c.Bytes()
		value, ok2 := c.U64()
		if !ok1 || !ok2 {
			break
		}
		if string(name) == "sequence" {
			return uint64(math.Float64frombits(value)), nil
		}
	}
	return 0, frames.ErrMalformed
}

// Write implements api.Store.
func (s *Store) Write(ctx context.Context, b *batch.Batch, condition *api.Condition) (seq uint64, err error) {
	var r frames.Request
	if condition == nil {
		r.Add(frames.OpWrite, 0)
	} else {
		r.Add(frames.OpWrite, frames.WriteConditional)
		r.U64(condition.Since)
		r.U32(uint32(len(condition.Keys)))
		for _, key := range condition.Keys {
			r.Bytes(key)
		}
		r.U32(0)
	}
	r.U32(b.Count())
	r.Raw(b.Repr()[batch.HeaderSize:])
	replies, err := s.call(ctx, &r, 1)
	if err != nil {
		return 0, err
	}
	c := frames.Cursor{B: replies[0].Body}
	seq, ok := c.U64()
	if !ok {
		return 0, frames.ErrMalformed
	}
	return seq, nil
}

// boundFlags returns the flags that say which bounds b has.
func boundFlags(b iterator.Bounds) (flags uint8) {
	if b.Lower != nil {
		flags |= frames.BoundLower
	}
	if b.LowerExclusive {
		flags |= frames.BoundExclusiveLower
	}
	if b.Upper != nil {
		flags |= frames.BoundUpper
	}
	if b.UpperInclusive {
		flags |= frames.BoundInclusiveUpper
	}
	return flags
}

func addScan(r *frames.Request, s *api.Scan, limit, bytes int) {
	flags := boundFlags(s.Bounds)
	if s.Reverse {
		flags |= frames.ScanReverse
	}
	if s.KeysOnly {
		flags |= frames.ScanKeysOnly
	}
	r.Add(frames.OpScan, flags)
	r.U32(uint32(limit))
	r.U32(uint32(bytes))
	r.Bytes(s.Lower)
	r.Bytes(s.Upper)
}

// readRun reads a run of rows.
func readRun(b []byte) (rows []api.Row, err error) {
	for c := (frames.Cursor{B: b}); len(c.B) > 0; {
		key, ok1 := c.Bytes()
		value, ok2 := c.Bytes()
		if !ok1 || !ok2 {
			return nil, frames.ErrMalformed
		}
		rows = append(rows, api.Row{Key: key, Value: value})
	}
	return rows, nil
}

// Page implements api.Store.
func (s *Store) Page(ctx context.Context, scan *api.Scan, limit int) (rows []api.Row, isEnd bool, err error) {
	var r frames.Request
	addScan(&r, scan, limit, runBytes)
	replies, err := s.call(ctx, &r, 1)
	if err != nil {
		return nil, false, err
	}
	rows, err = readRun(replies[0].Body)
	return rows, replies[0].Flags&frames.ScanEnded != 0, err
}

// conversation is a session in which one request waits at a time.
type conversation struct {
	session Session
	ready   frames.Reader
}

// ask sends a frame of one request and returns its reply.
func (c *conversation) ask(r *frames.Request) (frames.Reply, error) {
	b, err := c.session.Send(r.Finish())
	for err == nil {
		c.ready.Frames = append(c.ready.Frames, b...)
		reply, e := c.ready.Next()
		if e == nil {
			return reply, reply.Err()
		}
		if e != io.EOF {
			return reply, e
		}
		b, err = c.session.Receive()
	}
	return frames.Reply{}, err
}

// Close ends the session, and with it the wait for a reply.
func (c *conversation) Close() { c.session.Close() }

// rows is a scan in a session of its own.
type rows struct {
	conversation
	reply frames.Reply
	scan  uint32
}

// Scan implements api.Store.
func (s *Store) Scan(ctx context.Context, scan *api.Scan, limit int) (api.Rows, error) {
	session, err := s.Door.Session(ctx)
	if err != nil {
		return nil, err
	}
	out := &rows{conversation: conversation{session: session}}
	var r frames.Request
	addScan(&r, scan, limit, lineRunBytes)
	if out.reply, err = out.ask(&r); err != nil {
		out.Close()
		return nil, err
	}
	out.scan = out.reply.ID
	return out, nil
}

// Next implements api.Rows.
func (s *rows) Next() (run []api.Row, err error) {
	for {
		if run, err = readRun(s.reply.Body); err != nil || len(run) > 0 {
			s.reply.Body = nil
			return run, err
		}
		if s.reply.Flags&frames.ScanEnded != 0 {
			return nil, io.EOF
		}
		var r frames.Request
		// Another id than that of the scan, which is taken until it ends.
		r.Add(frames.OpScanNext, 0)
		r.SetID(s.scan + 1)
		r.U32(s.scan)
		r.U32(lineRunBytes)
		if s.reply, err = s.ask(&r); err != nil {
			return nil, err
		}
	}
}

// commits is a watch in a session of its own.
type commits struct {
	conversation
	watch      uint32
	since      uint64
	withValues bool
}

// Watch implements api.Store.
func (s *Store) Watch(ctx context.Context, w *api.Watch) (api.Commits, error) {
	session, err := s.Door.Session(ctx)
	if err != nil {
		return nil, err
	}
	out := &commits{conversation: conversation{session: session}, withValues: w.WithValues}
	var flags uint8
	var since uint64
	if w.Since != nil {
		flags, since = frames.WatchSince, *w.Since
	}
	if w.WithValues {
		flags |= frames.WatchValues
	}
	var r frames.Request
	r.Add(frames.OpWatch, flags)
	r.U64(since)
	if w.Lower == nil && w.Upper == nil {
		r.U32(0)
	} else {
		r.U32(1)
		r.U8(boundFlags(w.Bounds))
		r.Bytes(w.Lower)
		r.Bytes(w.Upper)
	}
	reply, err := out.ask(&r)
	if err == nil {
		c := frames.Cursor{B: reply.Body}
		var ok bool
		if out.since, ok = c.U64(); !ok {
			err = frames.ErrMalformed
		}
	}
	if err != nil {
		out.Close()
		return nil, err
	}
	out.watch = reply.ID
	return out, nil
}

// Visit implements api.Store.
func (s *Store) Visit(ctx context.Context, v *api.Visit) ([]byte, error) {
	return s.Door.Visit(ctx, v)
}

// Since implements api.Commits.
func (c *commits) Since() uint64 { return c.since }

// Next implements api.Commits.
func (c *commits) Next() (news api.News, err error) {
	var r frames.Request
	r.Add(frames.OpWatchNext, 0)
	r.SetID(c.watch + 1)
	r.U32(c.watch)
	r.U32(newsBytes)
	reply, err := c.ask(&r)
	if err != nil {
		return news, err
	}
	in := frames.Cursor{B: reply.Body}
	if news.Gap = reply.Flags&frames.WatchGap != 0; news.Gap {
		var ok bool
		if news.GapEnd, ok = in.U64(); !ok {
			return news, frames.ErrMalformed
		}
	}
	for len(in.B) > 0 {
		commit, ok := readCommit(&in, c.withValues)
		if !ok {
			return news, frames.ErrMalformed
		}
		news.Commits = append(news.Commits, commit)
	}
	return news, nil
}

// readCommit reads one commit.
func readCommit(in *frames.Cursor, withValues bool) (commit api.Commit, ok bool) {
	commit.Sequence, ok = in.U64()
	count, ok2 := in.U32()
	if !ok || !ok2 {
		return commit, false
	}
	for ; count > 0; count-- {
		kind, ok1 := in.U8()
		change := api.Change{Kind: base.Kind(kind)}
		if change.Key, ok = in.Bytes(); !ok || !ok1 || change.Kind > base.KindMax {
			return commit, false
		}
		if change.Kind == base.KindRangeDelete || withValues && change.Kind != base.KindDelete {
			if change.Value, ok = in.Bytes(); !ok {
				return commit, false
			}
		}
		commit.Changes = append(commit.Changes, change)
	}
	return commit, true
}

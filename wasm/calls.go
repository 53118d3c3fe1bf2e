//go:build js && wasm

package main

import (
	"encoding/binary"

	"tempestkv/kv"
	"tempestkv/kv/base"
)

// write queues a write, on a condition if it has one.
func (b *bridge) write(r *request, e entry) error {
	opts := kv.WriteOptions{Strict: e.flags&flagStrict != 0}
	c := cursor{e.body}
	if e.flags&flagConditional != 0 {
		since, ok1 := c.u64()
		keys, ok2 := c.keys()
		ranges, ok3 := c.ranges()
		if !ok1 || !ok2 || !ok3 {
			return malformed("condition of a write")
		}
		opts.If = &kv.Condition{Since: base.SeqNum(since), Keys: keys, Ranges: ranges}
	}
	count, ok := c.u32()
	if !ok {
		return malformed("a write has no count")
	}
	return b.db.SendWrite(ctx, c.b, count, &opts, uint64(e.id), r)
}

func (b *bridge) get(r *request, e entry) error {
	c := cursor{e.body}
	at, err := b.snapshotOf(r, &c, e.flags&getSnapshot != 0)
	if err != nil {
		return err
	}
	var sink kv.Sink = r
	if e.flags&getSequence != 0 {
		sink = sequenceGet{r}
	}
	return b.db.SendGet(ctx, at, c.b, uint64(e.id), sink)
}

// sequenceGet answers a get with the sequence number before the value.
type sequenceGet struct{ *request }

func (g sequenceGet) GetDone(id uint64, value []byte, seq base.SeqNum, err error) {
	if err != nil {
		g.request.GetDone(id, nil, seq, err)
		return
	}
	g.answer(uint32(id), append(binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(value)), uint64(seq)), value...))
}

// snapshotOf reads the snapshot that a call names, nil where it names none.
func (b *bridge) snapshotOf(r *request, c *cursor, has bool) (*kv.Snapshot, error) {
	if !has {
		return nil, nil
	}
	id, ok := c.u32()
	if !ok {
		return nil, malformed("a call names no snapshot")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.snapshots[callKey{r.session, id}]
	if s == nil {
		return nil, base.Wrap(kv.ErrClosed, "no such snapshot", nil)
	}
	return s, nil
}

func (b *bridge) closeSnapshot(r *request, e entry) error {
	c := cursor{e.body}
	id, ok := c.u32()
	if !ok {
		return malformed("snapshotClose has no 4 bytes")
	}
	key := callKey{r.session, id}
	b.mu.Lock()
	s := b.snapshots[key]
	delete(b.snapshots, key)
	b.mu.Unlock()
	if s != nil {
		s.Close()
	}
	r.answer(e.id, nil)
	return nil
}

// maintain carries out the calls that may take their time, each in a goroutine.
func (b *bridge) maintain(r *request, e entry) error {
	c := cursor{e.body}
	at, err := b.snapshotOf(r, &c, e.op == opCount && e.flags&scanSnapshot != 0)
	if err != nil {
		return err
	}
	var f func() ([]byte, error)
	db := b.db
	switch e.op {
	case opSnapshot:
		f = func() ([]byte, error) { return b.snapshot(db, callKey{r.session, e.id}) }
	case opFlush:
		f = func() ([]byte, error) { return nil, db.Flush(ctx) }
	case opVerify:
		f = func() ([]byte, error) { return verify(db) }
	case opExport:
		f = func() ([]byte, error) { return b.export(db, callKey{r.session, e.id}) }
	case opExportFolder:
		f = func() ([]byte, error) { return b.exportFolder(db, callKey{r.session, e.id}, e.flags) }
	default:
		bounds, ok := c.bounds(e.flags)
		if !ok {
			return malformed("range")
		}
		switch e.op {
		case opCount:
			f = func() ([]byte, error) {
				n, err := db.Count(ctx, at, bounds)
				return binary.LittleEndian.AppendUint64(nil, n), err
			}
		case opApproximateSize:
			f = func() ([]byte, error) {
				n, err := db.ApproximateSize(ctx, bounds)
				return binary.LittleEndian.AppendUint64(nil, n), err
			}
		case opCompact:
			f = func() ([]byte, error) { return nil, db.Compact(ctx, bounds) }
		}
	}
	r.background(func() {
		body, err := f()
		if err != nil {
			b.fail(r.session, e.id, err)
			return
		}
		b.reply(r.session, e.id, statusOK, 0, body)
	})
	return nil
}

func (b *bridge) snapshot(db *kv.DB, key callKey) ([]byte, error) {
	s, err := db.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	taken := b.snapshots[key] != nil
	if !taken {
		b.snapshots[key] = s
	}
	b.mu.Unlock()
	if taken {
		s.Close()
		return nil, base.Wrap(kv.ErrInvalidArgument, "the id is that of an open snapshot", nil)
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(s.Seq())), nil
}

func verify(db *kv.DB) ([]byte, error) {
	report, err := db.Verify(ctx)
	if err != nil {
		return nil, err
	}
	body := binary.LittleEndian.AppendUint32(nil, uint32(len(report.Problems)))
	for _, text := range report.Problems {
		body = appendString(body, text)
	}
	return appendFigures(body, []figure{
		{"tables", float64(report.Tables)},
		{"tableBytes", float64(report.TableBytes)},
		{"entries", float64(report.Entries)},
		{"logs", float64(report.Logs)},
		{"logBytes", float64(report.LogBytes)},
		{"tombstones", float64(report.Tombstones)},
		{"expiring", float64(report.Expiring)},
		{"rangeTombstones", float64(report.RangeTombstones)},
	}), nil
}

// notice tells the host of something that nobody asked for.
func (b *bridge) notice(e kv.Event) {
	var name string
	var figures []figure
	switch e.Type {
	case kv.EventFlush:
		name, figures = "flush", []figure{{"writtenBytes", float64(e.WrittenBytes)}}
	case kv.EventCompaction:
		name, figures = "compaction", []figure{
			{"level", float64(e.Level)}, {"readBytes", float64(e.ReadBytes)}, {"writtenBytes", float64(e.WrittenBytes)},
		}
	case kv.EventStall:
		name = "stall"
	case kv.EventResume:
		name = "resume"
	case kv.EventError:
		name = "error"
	}
	if name == "error" {
		// Its reply entry is an error's, with code and message.
		b.fail(0, noticeID, e.Err)
		return
	}
	b.reply(0, noticeID, statusOK, 0, appendFigures(appendString(nil, name), figures))
}

// openWatch is a watch as the bridge holds it.
type openWatch struct {
	watch *kv.Watch
	next  chan scanNext
}

func (b *bridge) watchCommits(r *request, e entry) error {
	c := cursor{e.body}
	since, ok1 := c.u64()
	ranges, ok2 := c.ranges()
	if !ok1 || !ok2 || len(c.b) > 0 {
		return malformed("watch")
	}
	opts := kv.WatchOptions{
		Ranges: ranges, HasSince: e.flags&watchHasSince != 0, Since: base.SeqNum(since), Values: e.flags&watchValues != 0,
		// A call that waits for a commit is not one to wait for.
		OnIdle: func() { b.unanswered-- },
		OnWake: func() { b.unanswered++ },
	}
	db, key := b.db, callKey{r.session, e.id}
	r.background(func() {
		w, err := db.Watch(ctx, &opts)
		if err == nil {
			err = b.addWatch(key, w)
		}
		if err != nil {
			b.fail(r.session, e.id, err)
			return
		}
		b.reply(r.session, e.id, statusOK, 0, binary.LittleEndian.AppendUint64(nil, uint64(w.Seq())))
	})
	return nil
}

func (b *bridge) addWatch(key callKey, w *kv.Watch) error {
	o := &openWatch{watch: w, next: make(chan scanNext, scanQueue)}
	b.mu.Lock()
	taken := b.watches[key] != nil
	if !taken {
		b.watches[key] = o
	}
	b.mu.Unlock()
	if taken {
		w.Close()
		return base.Wrap(kv.ErrInvalidArgument, "the id is that of an open watch", nil)
	}
	go b.serveWatch(key, o)
	return nil
}

func (b *bridge) watchNext(r *request, e entry) error {
	c := cursor{e.body}
	id, ok1 := c.u32()
	maxBytes, ok2 := c.u32()
	if !ok1 || !ok2 {
		return malformed("watchNext has no 8 bytes")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.watches[callKey{r.session, id}]
	if o == nil {
		return base.Wrap(kv.ErrClosed, "no such watch", nil)
	}
	select {
	case o.next <- scanNext{id: e.id, maxBytes: runBytes(maxBytes)}:
	default:
		return base.Wrap(kv.ErrBusy, "too many calls wait for one watch", nil)
	}
	r.release()
	return nil
}

// serveWatch answers the calls for commits of one watch. It ends when the watch
// is closed and its last call answered.
func (b *bridge) serveWatch(key callKey, o *openWatch) {
	defer o.watch.Close()
	for n := range o.next {
		commits, gap, from, err := o.watch.Next(ctx, n.maxBytes)
		switch {
		case err != nil:
			b.fail(key.session, n.id, err)
		case gap:
			b.reply(key.session, n.id, statusOK, watchGap, binary.LittleEndian.AppendUint64(nil, uint64(from)))
		default:
			b.reply(key.session, n.id, statusOK, 0, commits)
		}
		b.unanswered--
	}
}

func (b *bridge) closeWatch(r *request, e entry) error {
	c := cursor{e.body}
	id, ok := c.u32()
	if !ok {
		return malformed("watchClose has no 4 bytes")
	}
	b.endWatches(func(key callKey) bool { return key == callKey{r.session, id} })
	r.answer(e.id, nil)
	return nil
}

// endWatches closes the watches that which names; the calls that wait for them
// are answered.
func (b *bridge) endWatches(which func(callKey) bool) {
	var ended []*openWatch
	b.mu.Lock()
	for key, o := range b.watches {
		if which(key) {
			delete(b.watches, key)
			close(o.next)
			ended = append(ended, o)
		}
	}
	b.mu.Unlock()
	for _, o := range ended {
		o.watch.Close()
	}
}

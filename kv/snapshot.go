package kv

import (
	"slices"
	"sync"

	"tempestkv/kv/base"
)

// Snapshot is a moment of the store that stays readable. What it sees takes
// space until it is closed. It may be used from any number of goroutines.
type Snapshot struct {
	db   *DB
	seq  base.SeqNum
	now  int64 // what had expired by then is not seen
	once sync.Once
	gone chan struct{} // closed by Close
}

// Snapshot returns a snapshot of this moment. It sees every write sent before
// it by the calling goroutine. It must be closed.
func (db *DB) Snapshot(ctx Context) (*Snapshot, error) {
	var s *Snapshot
	err := db.doAfterWrites(ctx, func() {
		s = &Snapshot{db: db, seq: db.visible, now: db.now(), gone: make(chan struct{})}
		db.snapshots = append(db.snapshots, s)
	})
	return s, err
}

// Seq returns the sequence number of the last write that the snapshot sees.
func (s *Snapshot) Seq() base.SeqNum { return s.seq }

// Get is DB.Get at the snapshot. ErrClosed after Close.
func (s *Snapshot) Get(ctx Context, key []byte) ([]byte, error) {
	return s.db.get(ctx, s, key)
}

// GetMany is DB.GetMany at the snapshot. ErrClosed after Close.
func (s *Snapshot) GetMany(ctx Context, keys [][]byte) ([][]byte, error) {
	return s.db.getMany(ctx, s, keys)
}

// Scan is DB.Scan at the snapshot, which may be closed before the scan.
// ErrClosed after Close.
func (s *Snapshot) Scan(ctx Context, opts *ScanOptions) (*Scan, error) {
	return s.db.scan(ctx, s, opts)
}

// check returns ErrClosed after Close. A nil snapshot is the newest state.
func (s *Snapshot) check() error {
	if s != nil {
		select {
		case <-s.gone:
			return base.Wrap(ErrClosed, "snapshot", nil)
		default:
		}
	}
	return nil
}

// Close lets go of what only the snapshot sees. Twice is fine. It returns nil.
func (s *Snapshot) Close() error {
	s.once.Do(func() {
		close(s.gone)
		s.db.do(nil, func() {
			s.db.snapshots = slices.DeleteFunc(s.db.snapshots, func(x *Snapshot) bool { return x == s })
			s.db.rescued, s.db.seen = 0, seen{} // what it saw need not stay
			s.db.sweepRanges()
		})
	})
	return nil
}

// snapshotSeqs returns the sequence numbers of the live snapshots, ascending.
func (db *DB) snapshotSeqs() []base.SeqNum {
	if len(db.snapshots) == 0 {
		return nil
	}
	seqs := make([]base.SeqNum, len(db.snapshots))
	for i, s := range db.snapshots {
		seqs[i] = s.seq
	}
	return slices.Compact(seqs)
}

// now returns the time. It never goes back.
func (db *DB) now() int64 {
	if db.opts.Now != nil {
		db.clock = max(db.clock, db.opts.Now())
	}
	return db.clock
}

// expired returns the moment up to which what has expired may be dropped: that
// of the oldest snapshot.
func (db *DB) expired() int64 {
	t := db.now()
	for _, s := range db.snapshots {
		t = min(t, s.now)
	}
	return t
}

package api

import (
	"context"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
)

// Store is one store, as the handler needs it. Package object has the one that
// speaks to a Durable Object. Errors of the engine are *frames.Error; any other
// is a failure to reach it.
type Store interface {
	// Get returns the value of key, and the sequence number of the write that
	// put it there. ErrMissing where there is none.
	Get(ctx context.Context, key []byte) (value []byte, version uint64, err error)

	// Versions returns the sequence numbers of the writes that put the values of
	// keys there, 0 for a missing key, and a moment: what was written to a key
	// after it was looked up has a higher sequence number than moment.
	Versions(ctx context.Context, keys [][]byte) (moment uint64, versions []uint64, err error)

	// Write commits b all or nothing and returns the sequence number of its last
	// operation. Where condition is not nil and does not hold, nothing is written
	// and the error has the code TEMPEST_CONFLICT.
	Write(ctx context.Context, b *batch.Batch, condition *Condition) (seq uint64, err error)

	// Page returns the first rows of a scan: at least one unless there is none,
	// at most limit, which is above 0, and about a megabyte. isEnd: the range has
	// no more.
	Page(ctx context.Context, s *Scan, limit int) (rows []Row, isEnd bool, err error)

	// Scan starts a scan of one moment, with a limit of its own, 0 for none.
	Scan(ctx context.Context, s *Scan, limit int) (Rows, error)

	// Watch starts to tell of commits.
	Watch(ctx context.Context, w *Watch) (Commits, error)

	// Visit passes on a request of a client that speaks frames itself, and
	// returns reply frames, one behind the other.
	Visit(ctx context.Context, v *Visit) ([]byte, error)
}

// What a Visit does.
const (
	VisitSend    = "send"    // sends Frame, and returns what is answered at once
	VisitReceive = "receive" // waits for answers, some seconds; none is no error
	VisitClose   = "close"   // ends the session
	VisitDestroy = "destroy" // deletes the store
)

// Visit is a request in a session that lasts over many, of a client that nobody
// hears the end of. The object keeps the session, and ends it in time.
type Visit struct {
	Does    string
	Session string // its name, which the client has drawn at random

	// CanWrite: else the requests of Frame that write are refused, one by one.
	CanWrite bool

	// Frame is a request frame, and Turn its number in the session, from 0, which
	// begins it. A frame whose turn it is not ends the session.
	Turn  uint64
	Frame []byte
}

// Condition makes a write happen only if none of Keys was written after Since.
type Condition struct {
	Since uint64
	Keys  [][]byte
}

// Scan says which rows to return.
type Scan struct {
	iterator.Bounds
	Reverse  bool
	KeysOnly bool
}

// Row is a key and its value.
type Row struct{ Key, Value []byte }

// Rows are the rows of a scan. It must be closed.
type Rows interface {
	// Next returns some rows, at least one; io.EOF behind the last.
	Next() ([]Row, error)
	Close()
}

// Watch says which commits to tell of.
type Watch struct {
	iterator.Bounds
	WithValues bool

	// Since, if not nil, asks for the commits after this sequence number, else
	// for those from now on.
	Since *uint64
}

// Commits tells of what was written. It must be closed.
type Commits interface {
	// Since returns the sequence number after which all is told.
	Since() uint64

	// Next waits for a commit. It is not called again after an error. Close may
	// be called meanwhile, and ends the wait.
	Next() (News, error)
	Close()
}

// News are commits, or tell that some were lost.
type News struct {
	// Gap: commits were lost; from the one after GapEnd on all is told.
	Gap    bool
	GapEnd uint64

	Commits []Commit
}

// Commit is what was written at once.
type Commit struct {
	Sequence uint64 // of its last operation
	Changes  []Change
}

// Change is one operation, as in a batch.
type Change struct {
	Kind base.Kind
	Key  []byte

	// Value is nil where values were not asked for, but for a
	// base.KindRangeDelete, whose end it is. It begins with the expiry for a
	// base.KindPutExpiring.
	Value []byte
}

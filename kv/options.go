package kv

import (
	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/sst"
)

// Limits of a DB, each with its error. Those of keys, values and batches are
// in package base.
const (
	// QueueLength is how many calls of one kind (write, get, scan) wait for
	// the worker; further callers wait outside.
	QueueLength = 256

	// MaxOpenScans is how many scans may be open at once; one more is refused
	// with ErrBusy.
	MaxOpenScans = 64

	// MaxOpenWatches is how many watches may be open at once; one more is
	// refused with ErrBusy.
	MaxOpenWatches = 256

	// WatchBytesAhead is how many bytes of commits are kept for a watch whose
	// reader is slow; beyond, it reads them from the logs.
	WatchBytesAhead = 1 << 20

	// ScanRunsAhead is how many runs a scan reads ahead of its reader.
	ScanRunsAhead = 64

	// ScanBytesAhead is how many bytes of runs a scan reads ahead of its
	// reader; a single run may be larger.
	ScanBytesAhead = 1 << 20

	// maxGroupBytes is where a group commit stops taking more batches, so
	// that one append stays short. A single batch may be larger.
	maxGroupBytes = 1 << 20
)

// LogLevel says how grave a line of the log is.
type LogLevel uint32

// The levels of the log.
const (
	LogError   LogLevel = 1
	LogWarning LogLevel = 2
	LogInfo    LogLevel = 3
)

// Options configure a DB. The zero value, and nil, are valid.
type Options struct {
	// Comparer orders the keys. A store must always be opened with the
	// comparer that wrote it. Default base.Bytewise.
	Comparer *base.Comparer

	// Filter, if not nil, hides entries for which it returns false from every
	// reader. It must depend on its arguments alone, and is called from
	// several goroutines.
	Filter iterator.Filter

	// MemtableBytes is the size in bytes at which the memtable becomes
	// immutable and a new log begins. Default 4 MiB; what is below 64 KiB or
	// above 1 GiB is taken for that.
	MemtableBytes int

	// MaxImmutables is how many immutable memtables may wait for their flush
	// before writes have to. Default 4, at least 1.
	MaxImmutables int

	// TableBytes is the size in bytes of the tables of level 1; deeper ones
	// are up to eight times as large. Default 2 MiB.
	TableBytes int

	// Level1Bytes is the size in bytes of level 1; each deeper level is ten
	// times as large. Default 10 MiB.
	Level1Bytes int

	// BlockBytes is the size in bytes of the blocks of tables, see
	// sst.WriterOptions. Default 4,096.
	BlockBytes int

	// Compression of the blocks of tables from level 1 on. Default sst.Snappy.
	Compression sst.Compression

	// BlockCacheBytes bounds the memory that blocks of tables are kept in.
	// Default 8 MiB; negative is none.
	BlockCacheBytes int64

	// TableCacheBytes bounds the memory for indexes and filters of open
	// tables. Those in use stay whatever it says. Default 32 MiB.
	TableCacheBytes int64

	// ReadInPlace makes the worker read tables itself. It is for hosts of one
	// thread whose files answer at once; elsewhere a read from a table is
	// another goroutine's, so that it holds up no other call.
	ReadInPlace bool

	// Now returns the time in milliseconds since 1970, for values that expire.
	// nil: there is no clock, and nothing expires. Where it goes backwards, the
	// DB's time stands still.
	Now func() int64

	// Yield, if not nil, is called by background jobs between two steps, so
	// that a host of one thread gets its turn. It may wait, until stop is
	// closed at the latest.
	Yield func(stop <-chan struct{})

	// Event, if not nil, is told what background work does. It is called from
	// the worker, and must not call the DB.
	Event func(Event)

	// Logger, if not nil, is told what an operator may want to know: what
	// recovery found, why the DB became read-only. It is called by Open and
	// then from the worker, must not call the DB and must not panic.
	Logger func(level LogLevel, text string)
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Comparer == nil {
		c.Comparer = base.Bytewise
	}
	if c.MemtableBytes == 0 {
		c.MemtableBytes = 4 << 20
	}
	c.MemtableBytes = min(max(c.MemtableBytes, 64<<10), 1<<30)
	orDefault(&c.MaxImmutables, 4)
	orDefault(&c.TableBytes, 2<<20)
	orDefault(&c.Level1Bytes, 10<<20)
	orDefault(&c.TableCacheBytes, 32<<20)
	if c.BlockCacheBytes == 0 {
		c.BlockCacheBytes = 8 << 20
	}
	if c.Logger == nil {
		c.Logger = func(LogLevel, string) {}
	}
	if c.Event == nil {
		c.Event = func(Event) {}
	}
	return c
}

// orDefault gives n a value where it has none.
func orDefault[T int | int64](n *T, value T) {
	if *n <= 0 {
		*n = value
	}
}

// EventType says what an Event tells.
type EventType uint8

// The types of events.
const (
	EventFlush      EventType = iota // a memtable has become tables
	EventCompaction                  // tables have been merged
	EventStall                       // writes begin to wait for room
	EventResume                      // and go on
	EventError                       // background work has failed, or the DB has become read-only
)

// Event is something that background work did.
type Event struct {
	Type EventType

	// Level is that of the inputs of a compaction.
	Level int

	// ReadBytes and WrittenBytes are sizes of tables.
	ReadBytes, WrittenBytes uint64

	// Err is that of an EventError.
	Err error
}

// WriteOptions say how a write is done. nil is valid and means the defaults.
type WriteOptions struct {
	// Strict makes the write durable against power loss before it is
	// acknowledged. Without it (relaxed) an acknowledged write survives the
	// death of the program, tab or browser, and a power loss may take the
	// latest ones, always as a suffix of history: never a write and not an
	// earlier one.
	Strict bool

	// If, where not nil, lets the write happen only if its condition holds.
	If *Condition
}

// Condition holds while nobody has written to what was read: it makes reads at
// a sequence number and a write behind them one transaction (optimistic
// concurrency control, Kung and Robinson 1981).
type Condition struct {
	// Since is the sequence number that was read at: a Snapshot's, or that of
	// a value.
	Since base.SeqNum

	// Keys were read, and so were Ranges: a key that has come since to where
	// there was none is a change too.
	Keys   [][]byte
	Ranges []iterator.Bounds
}

package base

import (
	"errors"
	"strconv"
)

// The sentinels. Each tells the caller what to do; errors from below wrap one
// of them, so test with errors.Is. Package kv names them again for its users.
var (
	// ErrNotFound: the key has no value.
	ErrNotFound = errors.New("tempestkv: not found")

	// ErrClosed: the DB, scan or snapshot was closed; open again.
	ErrClosed = errors.New("tempestkv: closed")

	// ErrLocked: another process or context has the store open; wait for it.
	ErrLocked = errors.New("tempestkv: store is locked by another writer")

	// ErrFenced: a newer writer took the store over; find it, or open again.
	ErrFenced = errors.New("tempestkv: fenced by a newer writer")

	// ErrConflict: what a conditional write depends on has changed; read again
	// and retry.
	ErrConflict = errors.New("tempestkv: conflict with a later write")

	// ErrReadOnly: an earlier write failed and the log's tail is unknown;
	// close, open again and retry.
	ErrReadOnly = errors.New("tempestkv: read-only after a failed write; open again")

	// ErrBusy: a queue is full; slow down and retry.
	ErrBusy = errors.New("tempestkv: busy")

	// ErrQuota: the host has no space left; free some.
	ErrQuota = errors.New("tempestkv: no space left")

	// ErrIO: the host failed to read or write; retry once, then reopen.
	ErrIO = errors.New("tempestkv: i/o error")

	// ErrCorruption: stored bytes are not what was written; stop and restore.
	ErrCorruption = errors.New("tempestkv: corruption")

	// ErrInvalidKey: a key is too large, empty where that is refused, or
	// reserved; fix the call.
	ErrInvalidKey = errors.New("tempestkv: invalid key")

	// ErrInvalidValue: a value is too large; fix the call.
	ErrInvalidValue = errors.New("tempestkv: invalid value")

	// ErrInvalidArgument: the call makes no sense as it is; fix it.
	ErrInvalidArgument = errors.New("tempestkv: invalid argument")

	// ErrNotSupported: this store, host or version cannot do it.
	ErrNotSupported = errors.New("tempestkv: not supported")

	// ErrWorkerDied: the engine's worker ended by a panic; open again.
	ErrWorkerDied = errors.New("tempestkv: worker died")
)

// wrapped joins errors without fmt, which costs 80 kB of wasm.
type wrapped struct {
	text  string
	kind  error
	cause error
}

// Wrap returns an error that reads "kind: text: cause" and that errors.Is
// finds as both kind and cause. cause may be nil.
func Wrap(kind error, text string, cause error) error {
	return &wrapped{text: text, kind: kind, cause: cause}
}

func (w *wrapped) Error() string {
	s := w.kind.Error()
	if w.text != "" {
		s += ": " + w.text
	}
	if w.cause != nil {
		s += ": " + w.cause.Error()
	}
	return s
}

func (w *wrapped) Unwrap() []error {
	if w.cause == nil {
		return []error{w.kind}
	}
	return []error{w.kind, w.cause}
}

// Corruption returns an ErrCorruption that names where: a file or structure
// and an offset in bytes.
func Corruption(where string, offset int64, what string) error {
	return Wrap(ErrCorruption, where+" at offset "+strconv.FormatInt(offset, 10)+": "+what, nil)
}

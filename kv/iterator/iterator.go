package iterator

import "tempestkv/kv/base"

// Internal walks internal keys in order. The contract is Pebble's
// (internal/base/iterator.go):
//
// A positioning call returns whether it came to an entry; false means the end
// or an error, so check Error. SeekGE, SeekLT, First and Last are absolute:
// they clear an earlier error. Next and Prev are relative: they keep it, and
// return false. Running out is no error. Next on an iterator that ran off the
// front comes to the first entry, Prev on one that ran off the end comes to
// the last; before the first absolute call both return false.
//
// Key and Value are valid until the next positioning call or Close, and must
// not be changed. An iterator belongs to one goroutine. Close may be called
// twice and returns the first error.
type Internal interface {
	// SeekGE moves to the first entry whose user key is at or after key.
	SeekGE(key []byte) bool
	// SeekLT moves to the last entry whose user key is before key.
	SeekLT(key []byte) bool
	First() bool
	Last() bool
	Next() bool
	Prev() bool
	Valid() bool
	Key() base.InternalKey
	Value() []byte
	Error() error
	Close() error
}

package iterator

import "tempestkv/kv/base"

// Filter decides whether readers see an entry; false hides it. It must not
// keep or change the bytes, and must always say the same of the same entry.
type Filter func(key base.InternalKey, value []byte) bool

// NewFilter shows the entries of it that f lets pass. It owns it.
func NewFilter(it Internal, f Filter) Internal {
	return &filtered{Internal: it, pass: f}
}

type filtered struct {
	Internal
	pass Filter
}

func (f *filtered) forward(ok bool) bool {
	for ok && !f.pass(f.Key(), f.Value()) {
		ok = f.Internal.Next()
	}
	return ok
}

func (f *filtered) backward(ok bool) bool {
	for ok && !f.pass(f.Key(), f.Value()) {
		ok = f.Internal.Prev()
	}
	return ok
}

func (f *filtered) SeekGE(key []byte) bool { return f.forward(f.Internal.SeekGE(key)) }
func (f *filtered) SeekLT(key []byte) bool { return f.backward(f.Internal.SeekLT(key)) }
func (f *filtered) First() bool            { return f.forward(f.Internal.First()) }
func (f *filtered) Last() bool             { return f.backward(f.Internal.Last()) }
func (f *filtered) Next() bool             { return f.forward(f.Internal.Next()) }
func (f *filtered) Prev() bool             { return f.backward(f.Internal.Prev()) }

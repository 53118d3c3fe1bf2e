package iterator

import "tempestkv/kv/base"

// Batch is a stretch of neighbouring entries of one source, in order. Its bytes
// live until the next call of that source, and must not be changed.
type Batch struct {
	Entries []Entry

	// Keys and Values have the bytes of the entries, and more.
	Keys, Values []byte
}

// Entry is an entry of a batch: its trailer, and where its user key and its value
// begin and end. It has no pointers, so that filling a batch is cheap.
type Entry struct {
	Trailer           base.Trailer
	KeyAt, KeyEnd     uint32
	ValueAt, ValueEnd uint32
}

// Batcher is an Internal that hands out many entries in one call.
type Batcher interface {
	Internal

	// Batch fills b, of which it uses the memory again, with the current entry
	// and some of those behind it, at most so many, and moves to the last of
	// them. There must be a current entry. It does not fail: it stops before
	// what the next move will report.
	Batch(b *Batch, most int)
}

// userKey returns the user key of entry i.
func (b *Batch) userKey(i int) []byte {
	e := &b.Entries[i]
	return b.Keys[e.KeyAt:e.KeyEnd]
}

// internalKey returns the key of entry i.
func (b *Batch) internalKey(i int) base.InternalKey {
	return base.InternalKey{UserKey: b.userKey(i), Trailer: b.Entries[i].Trailer}
}

// setOne makes b the one entry at which it is.
func (b *Batch) setOne(it Internal) {
	k := it.Key()
	b.Keys, b.Values = k.UserKey, it.Value()
	b.Entries = append(b.Entries[:0], Entry{
		Trailer: k.Trailer, KeyEnd: uint32(len(b.Keys)), ValueEnd: uint32(len(b.Values)),
	})
}

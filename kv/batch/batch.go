// Package batch holds writes that are applied all or nothing, in the bytes of
// LevelDB's write batch (db/write_batch.cc). The same bytes are the payload of
// a log record. The layout is part of the format; integers are little-endian:
//
//	+-----------------+-------------+-----------+-----------+----
//	| seqnum (u64)    | count (u32) | operation | operation | ...
//	+-----------------+-------------+-----------+-----------+----
//
//	put    | 1 (u8) | key length (varint32) | key | value length (varint32) | value |
//	delete | 0 (u8) | key length (varint32) | key |
//
// Operation i, counted from 0, has sequence number seqnum + i.
//
// A varint32 is LEB128 of at most five bytes and 32 bits. This package writes
// the shortest form. It reads longer ones (80 00 for zero) too, as LevelDB
// does; a varint of more than 32 bits is malformed.
package batch

import (
	"encoding/binary"
	"strconv"

	"tempestkv/kv/base"
)

// HeaderSize is the size in bytes of the sequence number and the count that
// precede the operations. It is part of the format.
const HeaderSize = 12

// maxKeptBytes is the largest buffer Reset keeps for the next use.
const maxKeptBytes = 1 << 20

// What the limits refuse, in words.
var (
	keyTooLarge   = "key larger than " + strconv.Itoa(base.MaxKeyBytes) + " bytes"
	keyReserved   = "key begins with the reserved bytes FF FF"
	valueTooLarge = "value larger than " + strconv.Itoa(base.MaxValueBytes) + " bytes"
	batchTooLarge = "batch larger than " + strconv.Itoa(base.MaxBatchBytes) + " bytes"
)

// Batch collects puts and deletes, which take effect in the order they were
// added. The zero value is an empty batch. A Batch belongs to one goroutine.
type Batch struct {
	repr []byte // empty, or a header and operations
}

// Put adds a write of value under key and copies both. The empty key is a key.
// A key larger than base.MaxKeyBytes or with base.ReservedPrefix gives
// base.ErrInvalidKey, a value larger than base.MaxValueBytes
// base.ErrInvalidValue, a batch that would exceed base.MaxBatchBytes
// base.ErrInvalidArgument; the batch is then as before.
func (b *Batch) Put(key, value []byte) error {
	if fault := keyFault(key); fault != "" {
		return base.Wrap(base.ErrInvalidKey, fault, nil)
	}
	if len(value) > base.MaxValueBytes {
		return base.Wrap(base.ErrInvalidValue, valueTooLarge, nil)
	}
	if err := b.grow(1 + bytesSize(key) + bytesSize(value)); err != nil {
		return err
	}
	b.repr = append(b.repr, byte(base.KindPut))
	b.repr = appendBytes(b.repr, key)
	b.repr = appendBytes(b.repr, value)
	return nil
}

// Delete adds a tombstone for key. Errors are those of Put.
func (b *Batch) Delete(key []byte) error {
	if fault := keyFault(key); fault != "" {
		return base.Wrap(base.ErrInvalidKey, fault, nil)
	}
	if err := b.grow(1 + bytesSize(key)); err != nil {
		return err
	}
	b.repr = append(b.repr, byte(base.KindDelete))
	b.repr = appendBytes(b.repr, key)
	return nil
}

// Count returns how many operations the batch has.
func (b *Batch) Count() uint32 {
	if len(b.repr) == 0 {
		return 0
	}
	return binary.LittleEndian.Uint32(b.repr[8:])
}

// Empty reports whether the batch has no operations.
func (b *Batch) Empty() bool { return b.Count() == 0 }

// Len returns the size of Repr in bytes.
func (b *Batch) Len() int { return max(len(b.repr), HeaderSize) }

// SeqNum returns the sequence number of the first operation, 0 before
// SetSeqNum.
func (b *Batch) SeqNum() base.SeqNum {
	if len(b.repr) == 0 {
		return 0
	}
	return base.SeqNum(binary.LittleEndian.Uint64(b.repr))
}

// SetSeqNum sets the sequence number of the first operation.
func (b *Batch) SetSeqNum(seq base.SeqNum) {
	b.init()
	PutHeader(b.repr, seq, b.Count())
}

// Repr returns the bytes of the batch, header included. They belong to the
// batch and are valid until it is next changed.
func (b *Batch) Repr() []byte {
	b.init()
	return b.repr
}

// Reset makes the batch empty, with sequence number 0. It keeps the buffer for
// the next use unless that is huge.
func (b *Batch) Reset() {
	if cap(b.repr) > maxKeptBytes {
		b.repr = nil
	}
	b.repr = b.repr[:0]
}

// init gives an empty batch its header.
func (b *Batch) init() {
	if len(b.repr) == 0 {
		var header [HeaderSize]byte
		b.repr = append(b.repr, header[:]...)
	}
}

// grow counts one more operation, of size bytes, if there is room for it. Its
// bytes are to be appended next. The count cannot overflow: an operation takes
// two bytes at least.
func (b *Batch) grow(size int) error {
	if b.Len()+size > base.MaxBatchBytes {
		return base.Wrap(base.ErrInvalidArgument, batchTooLarge, nil)
	}
	b.init()
	binary.LittleEndian.PutUint32(b.repr[8:], b.Count()+1)
	return nil
}

// keyFault returns why key is refused, nothing where it is not.
func keyFault(key []byte) string {
	const reserved = base.ReservedPrefix
	if len(key) > base.MaxKeyBytes {
		return keyTooLarge
	}
	if len(key) >= len(reserved) && string(key[:len(reserved)]) == reserved {
		return keyReserved
	}
	return ""
}

// bytesSize returns the size of p behind its length.
func bytesSize(p []byte) int {
	n := len(p) + 1
	for v := len(p); v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

// Package batch holds writes that are applied all or nothing, in the bytes of
// LevelDB's write batch (db/write_batch.cc). The same bytes are the payload of
// a log record. The layout is part of the format; integers are little-endian:
//
//	+-----------------+-------------+-----------+-----------+----
//	| seqnum (u64)    | count (u32) | operation | operation | ...
//	+-----------------+-------------+-----------+-----------+----
//
//	delete       | 0 (u8) | key: bytes   |
//	put          | 1 (u8) | key: bytes   | value: bytes                    |
//	range delete | 2 (u8) | start: bytes | end: bytes                      |
//	put expiring | 3 (u8) | key: bytes   | expiry (u64) and value: bytes   |
//
//	bytes        | length (varint32) | so many bytes |
//
// Operation i, counted from 0, has sequence number seqnum + i. A range delete
// is of the user keys from start on and before end, and of what is older than
// it. An expiry is in milliseconds since 1970; the length counts it. Kinds 2 and
// 3 are ours: LevelDB takes a batch with one for damage, so the manifest names
// them as features first.
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
	expiryMissing = "value of an expiring put has no expiry"
	batchTooLarge = "batch larger than " + strconv.Itoa(base.MaxBatchBytes) + " bytes"
)

// Batch collects writes, which take effect in the order they were
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
	if err := b.growPut(key, value, 0); err != nil {
		return err
	}
	b.repr = append(b.repr, byte(base.KindPut))
	b.repr = appendBytes(b.repr, key)
	b.repr = appendBytes(b.repr, value)
	return nil
}

// PutExpiring is Put of a value that is there until expiresAt, in milliseconds
// since 1970, and from then on is not.
func (b *Batch) PutExpiring(key, value []byte, expiresAt uint64) error {
	if err := b.growPut(key, value, base.ExpirySize); err != nil {
		return err
	}
	b.repr = append(b.repr, byte(base.KindPutExpiring))
	b.repr = appendBytes(b.repr, key)
	b.repr = binary.AppendUvarint(b.repr, uint64(base.ExpirySize+len(value)))
	b.repr = base.AppendExpiry(b.repr, expiresAt)
	b.repr = append(b.repr, value...)
	return nil
}

// Delete adds a tombstone for key. Errors are those of Put.
func (b *Batch) Delete(key []byte) error {
	if fault := keyFault(key); fault != "" {
		return base.Wrap(base.ErrInvalidKey, fault, nil)
	}
	if err := b.grow(1 + bytesSize(len(key))); err != nil {
		return err
	}
	b.repr = append(b.repr, byte(base.KindDelete))
	b.repr = appendBytes(b.repr, key)
	return nil
}

// DeleteRange adds a range tombstone: it deletes the user keys from start on and
// before end, in the order of the store's comparer, as the operations before it
// left them. Where end is not behind start it deletes nothing. Each may also be
// base.ReservedPrefix itself: in the order of bytes, from the empty key to there
// is everything. Errors are otherwise those of Put.
func (b *Batch) DeleteRange(start, end []byte) error {
	fault := boundFault(start)
	if fault == "" {
		fault = boundFault(end)
	}
	if fault != "" {
		return base.Wrap(base.ErrInvalidKey, fault, nil)
	}
	if err := b.grow(1 + bytesSize(len(start)) + bytesSize(len(end))); err != nil {
		return err
	}
	b.repr = append(b.repr, byte(base.KindRangeDelete))
	b.repr = appendBytes(b.repr, start)
	b.repr = appendBytes(b.repr, end)
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

// growPut checks a put, whose value has extra bytes before it, and grows for it.
func (b *Batch) growPut(key, value []byte, extra int) error {
	if fault := keyFault(key); fault != "" {
		return base.Wrap(base.ErrInvalidKey, fault, nil)
	}
	if len(value) > base.MaxValueBytes {
		return base.Wrap(base.ErrInvalidValue, valueTooLarge, nil)
	}
	return b.grow(1 + bytesSize(len(key)) + bytesSize(extra+len(value)))
}

// grow counts one more operation, of size bytes, if there is room for it. Its
// bytes are to be appended next. The count cannot overflow: an operation takes
// two bytes at least.
func (b *Batch) grow(size int) error {
	if b.Len()+size > base.MaxBatchBytes {
		return base.Wrap(base.ErrInvalidArgument, batchTooLarge, nil)
	}
	if cap(b.repr) == 0 {
		// Most batches have one operation.
		b.repr = make([]byte, 0, HeaderSize+size)
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

// boundFault is keyFault for the start or the end of a range.
func boundFault(key []byte) string {
	if string(key) == base.ReservedPrefix {
		return ""
	}
	return keyFault(key)
}

// bytesSize returns the size of so many bytes and of their length before them.
func bytesSize(n int) int {
	size := n + 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

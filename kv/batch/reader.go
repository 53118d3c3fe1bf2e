package batch

import (
	"encoding/binary"
	"errors"
	"strconv"

	"tempestkv/kv/base"
)

// What can be wrong with the bytes of operations. These are causes without a
// kind: whoever knows where the bytes came from wraps them, as a caller's
// mistake or as corruption.
var (
	errUnknownKind = errors.New("unknown kind of operation")
	errKeyCut      = errors.New("key is cut off or its length malformed")
	errValueCut    = errors.New("value is cut off or its length malformed")
	errExpiryCut   = errors.New(expiryMissing)
	errTooFew      = errors.New("fewer operations than counted")
	errTooMany     = errors.New("more operations than counted")
)

// ReadHeader returns the sequence number and the count at the front of repr.
// ok is false where repr is shorter than a header, or where a sequence number
// of the batch would exceed base.MaxSeqNum.
func ReadHeader(repr []byte) (seq base.SeqNum, count uint32, ok bool) {
	if len(repr) < HeaderSize {
		return 0, 0, false
	}
	seq = base.SeqNum(binary.LittleEndian.Uint64(repr))
	count = binary.LittleEndian.Uint32(repr[8:])
	ok = seq <= base.MaxSeqNum && seq+base.SeqNum(count) <= base.MaxSeqNum+1
	return seq, count, ok
}

// PutHeader writes sequence number and count over the first HeaderSize bytes
// of repr, which must be there.
func PutHeader(repr []byte, seq base.SeqNum, count uint32) {
	binary.LittleEndian.PutUint64(repr, uint64(seq))
	binary.LittleEndian.PutUint32(repr[8:], count)
}

// Reader walks the operations of a batch. It checks their structure, not the
// limits of keys and values, and allocates nothing. A Reader belongs to one
// goroutine.
type Reader struct {
	rest []byte
	err  error
}

// MakeReader returns a Reader of ops: the bytes of a batch behind its header.
func MakeReader(ops []byte) Reader { return Reader{rest: ops} }

// Next returns the next operation. Value is nil for a delete, the end of the range
// for a base.KindRangeDelete, whose start is key, and begins with the expiry,
// whole, for a base.KindPutExpiring (base.CutExpiry). Key and value share the
// bytes of the batch. ok is false behind the last operation, or at
// malformed bytes: see Err.
func (r *Reader) Next() (kind base.Kind, key, value []byte, ok bool) {
	if len(r.rest) == 0 {
		return 0, nil, nil, false
	}
	kind = base.Kind(r.rest[0])
	if kind > base.KindMax {
		return r.fail(errUnknownKind)
	}
	key, rest, ok := cutBytes(r.rest[1:])
	if !ok {
		return r.fail(errKeyCut)
	}
	if kind != base.KindDelete {
		if value, rest, ok = cutBytes(rest); !ok {
			return r.fail(errValueCut)
		}
		if kind == base.KindPutExpiring && len(value) < base.ExpirySize {
			return r.fail(errExpiryCut)
		}
	}
	r.rest = rest
	return kind, key, value, true
}

func (r *Reader) fail(cause error) (base.Kind, []byte, []byte, bool) {
	r.rest, r.err = nil, cause
	return 0, nil, nil, false
}

// Err returns nil where the operations ended in order, else what is wrong with
// their bytes: a plain cause, to be wrapped by who knows whose bytes they are.
func (r *Reader) Err() error { return r.err }

// cutBytes takes a length and as many bytes off the front of p.
func cutBytes(p []byte) (b, rest []byte, ok bool) {
	if len(p) == 0 {
		return nil, nil, false
	}
	size, used := uint64(p[0]), 1
	if size >= 0x80 {
		size, used = binary.Uvarint(p[:min(len(p), binary.MaxVarintLen32)])
		if used <= 0 || size > 1<<32-1 {
			return nil, nil, false
		}
	}
	if p = p[used:]; size > uint64(len(p)) {
		return nil, nil, false
	}
	return p[:size:size], p[size:], true
}

// Check walks ops and reports what is wrong with their structure, or that
// they are not count operations: a plain cause, as Reader.Err. It is for bytes
// read from a log, whose reader wraps it as corruption, before any of the
// batch is applied.
func Check(ops []byte, count uint32) error {
	r := MakeReader(ops)
	var n uint32
	for {
		if _, _, _, ok := r.Next(); !ok {
			break
		}
		n++
	}
	if r.err != nil {
		return r.err
	}
	return checkCount(n, count)
}

func checkCount(n, count uint32) error {
	switch {
	case n < count:
		return errTooFew
	case n > count:
		return errTooMany
	}
	return nil
}

// Kinds is a set of kinds of operations.
type Kinds uint8

// Has reports whether kind is in the set.
func (k Kinds) Has(kind base.Kind) bool { return k>>kind&1 != 0 }

// Validate checks bytes that a caller of the store gives as count operations:
// structure, count, and the limits that Batch enforces. It returns which kinds of
// operations there are. base.ErrInvalidKey for a key over its limit or reserved,
// base.ErrInvalidValue for a value over its limit, base.ErrInvalidArgument for
// the rest.
func Validate(ops []byte, count uint32) (Kinds, error) {
	if HeaderSize+len(ops) > base.MaxBatchBytes {
		return 0, base.Wrap(base.ErrInvalidArgument, batchTooLarge, nil)
	}
	var kinds Kinds
	r := MakeReader(ops)
	for n := uint32(0); ; n++ {
		kind, key, value, ok := r.Next()
		if !ok {
			if r.err != nil {
				return 0, base.Wrap(base.ErrInvalidArgument, operation(n), r.err)
			}
			if err := checkCount(n, count); err != nil {
				return 0, base.Wrap(base.ErrInvalidArgument, "batch", err)
			}
			return kinds, nil
		}
		kinds |= 1 << kind
		fault, limit := "", base.MaxValueBytes
		switch kind {
		case base.KindRangeDelete:
			if fault = boundFault(key); fault == "" {
				fault = boundFault(value)
			}
		case base.KindPutExpiring:
			limit += base.ExpirySize
			fallthrough
		default:
			fault = keyFault(key)
		}
		if fault != "" {
			return 0, base.Wrap(base.ErrInvalidKey, operation(n)+": "+fault, nil)
		}
		if len(value) > limit {
			return 0, base.Wrap(base.ErrInvalidValue, operation(n)+": "+valueTooLarge, nil)
		}
	}
}

func operation(n uint32) string { return "operation " + strconv.FormatUint(uint64(n), 10) }

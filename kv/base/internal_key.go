package base

import "encoding/binary"

// SeqNum orders writes. It has 56 bits, so that it fits beside a Kind in the
// trailer of an internal key. The first write has sequence number 1.
type SeqNum uint64

// MaxSeqNum is the largest sequence number; a reader at MaxSeqNum sees every
// write.
const MaxSeqNum SeqNum = 1<<56 - 1

// Kind tells what an entry does to its key. Its values are part of the format.
type Kind uint8

const (
	// The kinds of LevelDB (db/dbformat.h, ValueType).
	KindDelete Kind = 0
	KindPut    Kind = 1

	// KindRangeDelete hides what is older in a range of user keys. It is a kind
	// of operation only: no entry of a memtable or of a table has it.
	KindRangeDelete Kind = 2

	// KindPutExpiring is a put that ends by itself. Its value begins with the
	// moment of that; see CutExpiry.
	KindPutExpiring Kind = 3

	// KindMax sorts before every other kind of the same user key and sequence
	// number: a lookup seeks with it.
	KindMax = KindPutExpiring
)

// IsEntry reports whether an entry of a memtable or of a table may have the
// kind.
func (k Kind) IsEntry() bool { return k <= KindMax && k != KindRangeDelete }

// TrailerSize is the size of an encoded trailer in bytes.
const TrailerSize = 8

// Trailer is a sequence number and a kind in one word.
type Trailer uint64

// MakeTrailer joins a sequence number, of which it takes the low 56 bits, and
// a kind.
func MakeTrailer(seq SeqNum, kind Kind) Trailer {
	return Trailer(seq)<<8 | Trailer(kind)
}

// SeqNum returns the sequence number.
func (t Trailer) SeqNum() SeqNum { return SeqNum(t >> 8) }

// Kind returns the kind.
func (t Trailer) Kind() Kind { return Kind(t) }

// InternalKey is one version of a user key. It does not own UserKey's bytes.
type InternalKey struct {
	UserKey []byte
	Trailer Trailer
}

// MakeInternalKey returns the version of user written as kind at seq.
func MakeInternalKey(user []byte, seq SeqNum, kind Kind) InternalKey {
	return InternalKey{UserKey: user, Trailer: MakeTrailer(seq, kind)}
}

// SeqNum returns the sequence number of the version.
func (k InternalKey) SeqNum() SeqNum { return k.Trailer.SeqNum() }

// Kind returns the kind of the version.
func (k InternalKey) Kind() Kind { return k.Trailer.Kind() }

// AppendTo appends the encoded key to dst.
func (k InternalKey) AppendTo(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, k.UserKey...), uint64(k.Trailer))
}

// DecodeInternalKey splits an encoded internal key; the result shares its
// bytes. ok is false where b is too short or its kind is none of an entry.
func DecodeInternalKey(b []byte) (k InternalKey, ok bool) {
	n := len(b) - TrailerSize
	if n < 0 {
		return InternalKey{}, false
	}
	t := Trailer(binary.LittleEndian.Uint64(b[n:]))
	return InternalKey{UserKey: b[:n:n], Trailer: t}, t.Kind().IsEntry()
}

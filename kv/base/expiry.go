package base

import "encoding/binary"

// ExpirySize is the size in bytes of what the value of a KindPutExpiring begins
// with. It is part of the format.
const ExpirySize = 8

// AppendExpiry appends the moment at which a value ends, in milliseconds since
// 1970, as a KindPutExpiring has it before the value.
func AppendExpiry(dst []byte, millis uint64) []byte {
	return binary.LittleEndian.AppendUint64(dst, millis)
}

// CutExpiry divides the value of a KindPutExpiring: it is there while the time,
// in milliseconds since 1970, is before millis, and rest is what the user put.
// ok is false where the value is too short for that.
func CutExpiry(value []byte) (millis uint64, rest []byte, ok bool) {
	if len(value) < ExpirySize {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint64(value), value[ExpirySize:], true
}

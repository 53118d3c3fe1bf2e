package base

// Limits of the engine. Reaching one is an error with a name, never a panic.
const (
	// MaxKeyBytes is the largest size of a user key in bytes.
	MaxKeyBytes = 64 << 10

	// MaxValueBytes is the largest size of a value in bytes.
	MaxValueBytes = 64 << 20

	// MaxBatchBytes is the largest size of an encoded batch in bytes. It has
	// room for one entry with the largest key and the largest value, and an
	// expiry.
	MaxBatchBytes = MaxValueBytes + MaxKeyBytes + 64
)

// ReservedPrefix begins the keys that belong to the store itself; users' keys
// may not begin with it.
const ReservedPrefix = "\xff\xff"

package volume

// Device is all that a host has to give: one file, as five calls. They may
// wait, and several goroutines make them at once: none reads, writes or cuts
// off bytes that another is writing, but two calls may touch bytes that are
// neighbours.
//
// Errors wrap base.ErrIO, base.ErrQuota where the host has no space left, or
// base.ErrFenced where a newer writer has taken the file.
type Device interface {
	// ReadAt fills p from off. It returns how many bytes it got, fewer than
	// len(p) only where the file ends, and no error for that.
	ReadAt(p []byte, off int64) (int, error)

	// WriteAt writes all of p at off, growing the file as needed. A gap
	// between the old end and off reads as zeros.
	WriteAt(p []byte, off int64) error

	// Sync makes durable what was written, and cut off, by calls that had
	// returned before it was made. No second Sync is made before it returns.
	Sync() error

	// Size returns the size of the file in bytes.
	Size() (int64, error)

	// Truncate sets the size of the file in bytes; new bytes are zeros.
	Truncate(size int64) error
}

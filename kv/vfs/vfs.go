// Package vfs is what the engine asks of a place to keep files: few calls,
// files named by type and number instead of path, since not every host has
// folders or an atomic rename (the idea is goleveldb's storage.FileDesc).
//
// Memory with crash copies is in this package, a folder of the operating
// system in osfs, fault injection in errorfs; package volume keeps a whole FS
// inside one host file.
package vfs

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
)

// FileType is the role of a file. Its values are part of the volume format.
type FileType uint8

// The types of files.
const (
	TypeLog      FileType = 1 // write-ahead log, grows by small appends
	TypeTable    FileType = 2 // sorted table, written once
	TypeManifest FileType = 3 // log of version edits
)

// FileDesc names a file. One counter numbers all files of a store, from 1; only
// the first manifest of a store that goleveldb made has number 0.
type FileDesc struct {
	Type FileType
	Num  uint64
}

// String returns the file's name in a LevelDB folder, such as "000012.log".
func (fd FileDesc) String() string {
	num := strconv.FormatUint(fd.Num, 10)
	if len(num) < 6 {
		num = "000000"[len(num):] + num
	}
	switch fd.Type {
	case TypeLog:
		return num + ".log"
	case TypeTable:
		return num + ".ldb"
	case TypeManifest:
		return "MANIFEST-" + num
	}
	return num + ".unknown"
}

// Valid reports whether fd names a file: a known type, and a number from 1, or
// a manifest's from 0.
func (fd FileDesc) Valid() bool {
	return fd.Type >= TypeLog && fd.Type <= TypeManifest && (fd.Num > 0 || fd.Type == TypeManifest)
}

// Compare orders by number, then by type.
func (fd FileDesc) Compare(other FileDesc) int {
	if x := cmp.Compare(fd.Num, other.Num); x != 0 {
		return x
	}
	return cmp.Compare(fd.Type, other.Type)
}

// ParseName is the reverse of FileDesc.String. It also takes tables under
// their older name, such as "000007.sst", as LevelDB does. ok is false for
// every other name.
func ParseName(name string) (fd FileDesc, ok bool) {
	digits := name
	if rest, found := strings.CutPrefix(name, "MANIFEST-"); found {
		digits, fd.Type = rest, TypeManifest
	} else if stem, ext, found := strings.Cut(name, "."); found {
		digits = stem
		switch ext {
		case "log":
			fd.Type = TypeLog
		case "ldb", "sst":
			fd.Type = TypeTable
		}
	}
	if digits == "" || digits[0] < '0' || digits[0] > '9' {
		return FileDesc{}, false
	}
	num, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return FileDesc{}, false
	}
	fd.Num = num
	return fd, fd.Valid()
}

// Errors of a file system. Failures of the host wrap base.ErrIO or
// base.ErrQuota instead.
var (
	ErrNotExist = errors.New("tempestkv: file does not exist")
	ErrExist    = errors.New("tempestkv: file exists already")
)

// FS holds files. Its methods, and those of its files, may be called from
// several goroutines, and calls on different files do not wait for each other's
// reads and writes. So a background goroutine can make the next log, write
// tables and remove what is no longer needed while another appends to the log:
// that one waits for no more than a Sync of theirs, and only in a Sync of its
// own or where its file has to grow.
//
// Names are durable: once Reopen or Remove has returned, or Create of a log, a
// power loss does not undo it. Another new file is there after a power loss
// once it was synced. Contents are durable once File.Sync has returned.
type FS interface {
	// Create makes an empty file and opens it for appending. reserveBytes, 0
	// for none, is how large it is expected to get; for a log that space may
	// be written, which takes its time. ErrExist where it exists.
	Create(fd FileDesc, reserveBytes int64) (File, error)

	// Open opens a file for reading. ErrNotExist where there is none.
	Open(fd FileDesc) (File, error)

	// Reopen opens a file for appending behind its first size bytes. What
	// stood behind them is dropped, durably, before Reopen returns; what is
	// left is durable too. A file has one appender: an earlier one's Append
	// fails from then on. base.ErrInvalidArgument where the file is shorter.
	// ErrNotExist where there is none.
	Reopen(fd FileDesc, size int64) (File, error)

	// Remove deletes a file. Readers that have it open may go on reading; the
	// space is reused when the last of them closes. ErrNotExist where there is
	// none.
	Remove(fd FileDesc) error

	// List returns all files, in order of number.
	List() ([]FileDesc, error)

	// Close gives the place back. Open files become unusable.
	Close() error
}

// CurrentSetter is an FS that can say which manifest is current, as the file
// CURRENT of a LevelDB folder does. An FS that passes calls on to one that is
// none returns base.ErrNotSupported.
type CurrentSetter interface {
	// SetCurrent makes fd, a manifest, the current one, durably when it
	// returns. After an error, or a power loss meanwhile, it is the current
	// one or the one before it is. base.ErrInvalidArgument where fd is no
	// manifest, ErrNotExist where it does not exist.
	SetCurrent(fd FileDesc) error

	// Current returns the current manifest. ErrNotExist where none was set.
	Current() (FileDesc, error)
}

// BatchRemover is an FS that removes many files at the price of one.
type BatchRemover interface {
	// RemoveAll removes the files, durably when it returns: all of them, or
	// with an error none. ErrNotExist where one does not exist.
	RemoveAll(fds []FileDesc) error
}

// RemoveAll removes the files of fs, in order, at once where it is a
// BatchRemover. Where it is not, an error leaves those before the failing one
// removed.
func RemoveAll(fs FS, fds []FileDesc) error {
	if b, ok := fs.(BatchRemover); ok {
		return b.RemoveAll(fds)
	}
	for _, fd := range fds {
		if err := fs.Remove(fd); err != nil {
			return err
		}
	}
	return nil
}

// Space is what an FS takes and holds.
type Space struct {
	// FileBytes is the size of the host's file.
	FileBytes int64
	// LiveBytes is what the files have in them. A log counts with all the space
	// that it was given.
	LiveBytes int64
	// UsedBytes of FileBytes cannot be used for something else now: pages of
	// files, and of those that are removed and still read, and what the FS needs
	// for itself.
	UsedBytes int64
	// FreeBytes of FileBytes are there for files to come.
	FreeBytes int64
	// Files is their count.
	Files int
}

// SpaceReporter is an FS that knows what it takes. The answer is from memory.
type SpaceReporter interface {
	Space() (Space, error)
}

// Shrinker is an FS that can give back space which lies between its files.
type Shrinker interface {
	// Shrink makes the host's file smaller, by a step in which about maxBytes
	// are read and written elsewhere, where so much of it is free that this is
	// worth it. It returns how many bytes it has moved, 0 when there is
	// nothing left to do. It is for idle times: others go on meanwhile.
	Shrink(maxBytes int64) (movedBytes int64, err error)
}

// Reserver is an FS that can keep space back, for a time when there is no other.
type Reserver interface {
	// Reserve makes the FS keep bytes of free space from everything that would
	// take it, in place of what it has kept until now. base.ErrQuota where there
	// is less: then it keeps what there is. What is kept is forgotten when the FS
	// is closed.
	Reserve(bytes int64) error

	// Release makes it keep no more than so many bytes, at once and without a
	// device call.
	Release(bytes int64)
}

// File is an open file: bytes that are appended and read anywhere.
type File interface {
	// Append writes p behind the last byte, where ReadAt finds it at once.
	// After an error nobody knows how much of p was written, and of what was
	// appended since the last Sync; the file takes no more appends.
	Append(p []byte) error

	// ReadAt fills p from off, as io.ReaderAt: io.EOF where the file ends
	// first.
	ReadAt(p []byte, off int64) (int, error)

	// Size returns the size in bytes. A file of TypeLog that was not closed
	// in order may be longer than what was appended: then zeros follow.
	Size() (int64, error)

	// Sync makes everything appended so far durable.
	Sync() error

	// Close releases the file, without syncing it. An error means that what
	// was appended since the last Sync may be lost. Twice is fine.
	Close() error
}

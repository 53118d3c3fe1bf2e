package kv

import (
	"errors"

	"tempestkv/kv/base"
)

// The errors of the engine; test for them with errors.Is. Errors from deeper
// down wrap one of them and add where and what. Each tells the caller what to
// do: see the comments in package base.
var (
	ErrNotFound        = base.ErrNotFound
	ErrClosed          = base.ErrClosed
	ErrLocked          = base.ErrLocked
	ErrFenced          = base.ErrFenced
	ErrConflict        = base.ErrConflict
	ErrReadOnly        = base.ErrReadOnly
	ErrBusy            = base.ErrBusy
	ErrQuota           = base.ErrQuota
	ErrIO              = base.ErrIO
	ErrCorruption      = base.ErrCorruption
	ErrInvalidKey      = base.ErrInvalidKey
	ErrInvalidValue    = base.ErrInvalidValue
	ErrInvalidArgument = base.ErrInvalidArgument
	ErrNotSupported    = base.ErrNotSupported
	ErrWorkerDied      = base.ErrWorkerDied
)

// errorCodes pairs each sentinel with its name in JavaScript. An error can
// wrap several sentinels: the first one found here names it, so the more
// telling ones stand first.
var errorCodes = []struct {
	err  error
	code string
}{
	{ErrWorkerDied, "TEMPEST_WORKER_DIED"},
	{ErrClosed, "TEMPEST_CLOSED"},
	{ErrReadOnly, "TEMPEST_READONLY"},
	{ErrLocked, "TEMPEST_LOCKED"},
	{ErrFenced, "TEMPEST_FENCED"},
	{ErrConflict, "TEMPEST_CONFLICT"},
	{ErrBusy, "TEMPEST_BUSY"},
	{ErrQuota, "TEMPEST_QUOTA_EXCEEDED"},
	{ErrCorruption, "TEMPEST_CORRUPTION"},
	{ErrInvalidKey, "TEMPEST_INVALID_KEY"},
	{ErrInvalidValue, "TEMPEST_INVALID_VALUE"},
	{ErrInvalidArgument, "TEMPEST_INVALID_ARGUMENT"},
	{ErrNotSupported, "TEMPEST_NOT_SUPPORTED"},
	{ErrNotFound, "TEMPEST_NOT_FOUND"},
	{ErrIO, "TEMPEST_IO_ERROR"},
}

// Code returns the name that JavaScript knows err by, such as
// "TEMPEST_CORRUPTION"; "TEMPEST_IO_ERROR" where err wraps none of ours.
func Code(err error) string {
	for _, c := range errorCodes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return "TEMPEST_IO_ERROR"
}

package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"tempestkv/kv/base"
	"tempestkv/workers/frames"
)

// ErrMissing is the error of a Store where a key has no value.
var ErrMissing = errors.New("tempestkv: not found")

// problem is an error as the caller is told it: a document of RFC 9457.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Code is for programs: that of the engine, or of the request itself.
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

func (p *problem) Error() string { return p.Detail }

// fault returns a problem of the request.
func fault(status int, code, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// Codes of requests that never reach the engine.
const (
	codeMalformed    = "MALFORMED_REQUEST"
	codeUnauthorized = "UNAUTHORIZED"
	codeForbidden    = "FORBIDDEN"
	codeNoRoute      = "NO_SUCH_ROUTE"
	codeMethod       = "METHOD_NOT_ALLOWED"
	codeAccept       = "NOT_ACCEPTABLE"
	codeMediaType    = "UNSUPPORTED_MEDIA_TYPE"
	codeTooLarge     = "TOO_LARGE"
	codeInternal     = "INTERNAL"
)

// Those of the engine's codes that are said here too.
const (
	codeNotFound   = "TEMPEST_NOT_FOUND"
	codeConflict   = "TEMPEST_CONFLICT"
	codeBusy       = "TEMPEST_BUSY"
	codeInvalidKey = "TEMPEST_INVALID_KEY"
	codeWorkerDied = "TEMPEST_WORKER_DIED"
)

func malformed(detail string) *problem { return fault(http.StatusBadRequest, codeMalformed, detail) }

// statuses pairs the engine's codes with what HTTP says for them. Those that
// are not here are 500.
var statuses = map[string]int{
	codeNotFound:               http.StatusNotFound,
	codeConflict:               http.StatusPreconditionFailed,
	codeInvalidKey:             http.StatusBadRequest,
	"TEMPEST_INVALID_VALUE":    http.StatusRequestEntityTooLarge,
	"TEMPEST_INVALID_ARGUMENT": http.StatusBadRequest,
	"TEMPEST_NOT_SUPPORTED":    http.StatusNotImplemented,
	"TEMPEST_QUOTA_EXCEEDED":   http.StatusInsufficientStorage,
	codeBusy:                   http.StatusServiceUnavailable,
	"TEMPEST_CLOSED":           http.StatusServiceUnavailable,
	"TEMPEST_FENCED":           http.StatusServiceUnavailable,
	"TEMPEST_LOCKED":           http.StatusServiceUnavailable,
	"TEMPEST_READONLY":         http.StatusServiceUnavailable,
	codeWorkerDied:             http.StatusServiceUnavailable,
}

// problemOf turns any error into a problem.
func problemOf(err error) *problem {
	var p *problem
	var e *frames.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &e):
		status := statuses[e.Code]
		if status == 0 {
			status = http.StatusInternalServerError
		}
		return fault(status, e.Code, e.Message)
	case errors.Is(err, ErrMissing):
		return fault(http.StatusNotFound, codeNotFound, "there is no value under this key")
	case errors.Is(err, base.ErrInvalidKey):
		return fault(http.StatusBadRequest, codeInvalidKey, err.Error())
	case errors.Is(err, base.ErrInvalidValue):
		return fault(http.StatusRequestEntityTooLarge, "TEMPEST_INVALID_VALUE", err.Error())
	case errors.Is(err, base.ErrInvalidArgument):
		return fault(http.StatusBadRequest, "TEMPEST_INVALID_ARGUMENT", err.Error())
	case errors.Is(err, frames.ErrMalformed):
		return fault(http.StatusInternalServerError, codeInternal, err.Error())
	}
	// The object could not be reached, or its engine died under the call. It is
	// rebuilt by the next one; whether a write happened is unknown.
	return fault(http.StatusServiceUnavailable, codeWorkerDied, err.Error())
}

// refuse answers with a problem.
func refuse(w http.ResponseWriter, err error) {
	p := problemOf(err)
	h := w.Header()
	for _, name := range []string{"ETag", "Content-Length"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(retrySeconds))
	}
	w.WriteHeader(p.Status)
	w.Write(p.line())
}

// retrySeconds is how long a caller should wait before it tries again.
const retrySeconds = 1

// line returns the problem as one line of JSON.
func (p *problem) line() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		return []byte("{}\n")
	}
	return append(b, '\n')
}

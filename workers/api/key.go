package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"tempestkv/kv/batch"
)

const (
	mediaBytes = "application/octet-stream"
	mediaJSON  = "application/json"

	// ttlHeader is how long a value is to be there, in seconds.
	ttlHeader = "Tempest-TTL"

	// maxTTLSeconds is a hundred years.
	maxTTLSeconds = 100 * 366 * 24 * 3600
)

// get answers GET and HEAD of a key.
func (c *call) get() error {
	p, err := readPreconditions(c.r)
	if err != nil {
		return err
	}
	value, version, err := c.store.Get(c.r.Context(), c.key)
	if err != nil && !errors.Is(err, ErrMissing) {
		return err
	}
	if !p.matches(version) {
		return conflict("the value is not of this version")
	}
	if err != nil {
		return err
	}
	header := c.w.Header()
	header.Add("Vary", "Accept")
	header.Set("ETag", etagOf(version))
	if !p.noneMatches(version) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	switch {
	case accepts(c.r, mediaJSON) && isJSON(value):
		header.Set("Content-Type", mediaJSON)
	case acceptsAlso(c.r, mediaBytes):
		header.Set("Content-Type", mediaBytes)
	case accepts(c.r, mediaJSON):
		return fault(http.StatusNotAcceptable, codeAccept, "the value is no JSON document")
	default:
		return fault(http.StatusNotAcceptable, codeAccept, "a value is "+mediaBytes+", or "+mediaJSON+" where it is a document")
	}
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return nil
	}
	c.w.Write(value)
	return nil
}

// put answers PUT of a key. The body is the value, as it is.
func (c *call) put() error {
	p, err := readPreconditions(c.r)
	if err != nil {
		return err
	}
	expires, err := c.expiry(headerOf(c.r, ttlHeader))
	if err != nil {
		return err
	}
	value, err := c.body()
	if err != nil {
		return err
	}
	if text := headerOf(c.r, "Content-Type"); text != "" {
		media, _, err := mime.ParseMediaType(text)
		if err != nil {
			return malformed("Content-Type is no media type")
		}
		if (media == mediaJSON || strings.HasSuffix(media, "+json")) && !isJSON(value) {
			return malformed("the body is no JSON document")
		}
	}
	var b batch.Batch
	if expires == 0 {
		err = b.Put(c.key, value)
	} else {
		err = b.PutExpiring(c.key, value, expires)
	}
	if err != nil {
		return err
	}
	seq, err := c.write(p, &b)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", etagOf(seq))
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// delete answers DELETE of a key. Deleting what is not there is no error.
func (c *call) delete() error {
	p, err := readPreconditions(c.r)
	if err != nil {
		return err
	}
	var b batch.Batch
	if err := b.Delete(c.key); err != nil {
		return err
	}
	if _, err := c.write(p, &b); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// expiry returns when a value with this time to live, in seconds, ends, in
// milliseconds since 1970; 0 where it is empty.
func (h *Handler) expiry(ttl string) (uint64, error) {
	if ttl == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseUint(ttl, 10, 64)
	if err != nil || seconds == 0 || seconds > maxTTLSeconds {
		return 0, malformed("a time to live is 1 to " + strconv.Itoa(maxTTLSeconds) + " seconds")
	}
	return uint64(h.config.Now().UnixMilli()) + seconds*1000, nil
}

// body reads the body of the request, all of it or an error.
func (c *call) body() ([]byte, error) {
	tooLarge := fault(http.StatusRequestEntityTooLarge, codeTooLarge,
		"a body is at most "+strconv.FormatInt(c.config.BodyBytes, 10)+" bytes")
	if c.r.ContentLength > c.config.BodyBytes {
		return nil, tooLarge
	}
	if e := headerOf(c.r, "Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, fault(http.StatusUnsupportedMediaType, codeMediaType, "an encoded body is not taken")
	}
	b, err := io.ReadAll(io.LimitReader(c.r.Body, c.config.BodyBytes+1))
	switch {
	case err != nil:
		return nil, malformed("the body broke off")
	case int64(len(b)) > c.config.BodyBytes:
		return nil, tooLarge
	case c.r.ContentLength > 0 && int64(len(b)) != c.r.ContentLength:
		return nil, malformed("the body is not as long as Content-Length says")
	}
	return b, nil
}

// isJSON reports whether b is one JSON document in UTF-8.
func isJSON(b []byte) bool { return utf8.Valid(b) && json.Valid(b) }

package api

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tempestkv/kv/batch"
	"tempestkv/workers/frames"
)

// etags is what If-Match or If-None-Match names.
type etags struct {
	given bool
	any   bool     // *
	list  []uint64 // versions named strongly
	weak  []uint64 // versions named as W/"…"
}

// etagOf returns a version as an entity tag.
func etagOf(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// readETags reads a header of entity tags (RFC 9110, section 13.1). A tag that
// is well formed but none of ours names no version.
func readETags(r *http.Request, name string) (e etags, err error) {
	text := strings.TrimSpace(headerOf(r, name))
	if len(r.Header.Values(name)) == 0 {
		return e, nil
	}
	e.given = true
	if text == "*" {
		e.any = true
		return e, nil
	}
	for text != "" {
		tag, isWeak := strings.CutPrefix(text, "W/")
		tag, ok := strings.CutPrefix(tag, `"`)
		end := strings.IndexByte(tag, '"')
		if !ok || end < 0 {
			return e, malformed(name + ` is * or a list of entity tags, such as "17"`)
		}
		if version, err := strconv.ParseUint(tag[:end], 10, 64); err == nil && etagOf(version) == `"`+tag[:end]+`"` {
			if isWeak {
				e.weak = append(e.weak, version)
			} else {
				e.list = append(e.list, version)
			}
		}
		text = strings.TrimLeft(tag[end+1:], " \t")
		if text != "" {
			if text, ok = strings.CutPrefix(text, ","); !ok {
				return e, malformed(name + " has entity tags without a comma between them")
			}
			text = strings.TrimLeft(text, " \t")
		}
	}
	return e, nil
}

// preconditions are the If-Match and If-None-Match of a request.
type preconditions struct{ match, noneMatch etags }

func readPreconditions(r *http.Request) (p preconditions, err error) {
	if p.match, err = readETags(r, "If-Match"); err != nil {
		return p, err
	}
	p.noneMatch, err = readETags(r, "If-None-Match")
	return p, err
}

func (p *preconditions) given() bool { return p.match.given || p.noneMatch.given }

// matches reports whether If-Match holds for a version, 0 where the key is
// missing.
func (p *preconditions) matches(version uint64) bool {
	return !p.match.given || version != 0 && (p.match.any || slices.Contains(p.match.list, version))
}

// noneMatches reports whether If-None-Match holds. It compares weakly.
func (p *preconditions) noneMatches(version uint64) bool {
	e := &p.noneMatch
	return !e.given || version == 0 || !e.any && !slices.Contains(e.list, version) && !slices.Contains(e.weak, version)
}

func conflict(detail string) *problem {
	return fault(http.StatusPreconditionFailed, codeConflict, detail)
}

// maxTries is how often a write is tried whose condition holds each time it is
// looked at, and is overtaken each time.
const maxTries = 16

// commit commits b if the condition that check returns holds, nil for none.
//
// A version that was looked up can be gone before the write comes, so the write
// asks that nothing was written to its keys since then. Where that fails check has
// another look: what was written may have left the key as it has to be, as the
// delete of a missing key does, and then it is no conflict.
func (c *call) commit(b *batch.Batch, check func() (*Condition, error)) (seq uint64, err error) {
	for range maxTries {
		condition, err := check()
		if err != nil {
			return 0, err
		}
		seq, err = c.store.Write(c.r.Context(), b, condition)
		var e *frames.Error
		if condition == nil || !errors.As(err, &e) || e.Code != codeConflict {
			return seq, err
		}
	}
	return 0, &frames.Error{Code: codeBusy, Message: "others keep writing to the same keys"}
}

// write commits b, which is about the key of the path, if the preconditions of
// the request hold.
func (c *call) write(p preconditions, b *batch.Batch) (seq uint64, err error) {
	keys := [][]byte{c.key}
	return c.commit(b, func() (*Condition, error) {
		if !p.given() {
			return nil, nil
		}
		moment, versions, err := c.store.Versions(c.r.Context(), keys)
		if err != nil {
			return nil, err
		}
		switch version := versions[0]; {
		case p.matches(version) && p.noneMatches(version):
			return &Condition{Since: moment, Keys: keys}, nil
		case version == 0:
			return nil, conflict("there is no value under this key")
		default:
			return nil, conflict("the value is of version " + etagOf(version))
		}
	})
}

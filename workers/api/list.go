package api

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

const mediaLines = "application/x-ndjson"

// cursorVersion is the first byte of a cursor; the key of the last row follows.
const cursorVersion = 1

// query reads the parameters of a request, each given at most once. It keeps
// the first error.
type query struct {
	values url.Values
	err    error
}

func readQuery(r *http.Request, names ...string) query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{err: malformed("the query is malformed")}
	}
	for name, v := range values {
		if !slices.Contains(names, name) {
			return query{err: malformed("there is no parameter " + strconv.Quote(name))}
		}
		if len(v) > 1 {
			return query{err: malformed("the parameter " + name + " is there twice")}
		}
	}
	return query{values: values}
}

func (q *query) fail(err error) {
	if q.err == nil {
		q.err = err
	}
}

// bytes returns a parameter that is a key, nil where it is missing.
func (q *query) bytes(name string) []byte {
	if !q.values.Has(name) {
		return nil
	}
	key := []byte(q.values.Get(name))
	if len(key) > base.MaxKeyBytes {
		q.fail(fault(http.StatusBadRequest, codeInvalidKey, "a key is at most 64 KiB"))
	}
	return append([]byte{}, key...)
}

// number returns a parameter from least to most, fallback where it is missing.
func (q *query) number(name string, fallback, least, most int) int {
	if !q.values.Has(name) {
		return fallback
	}
	n, err := strconv.Atoi(q.values.Get(name))
	if err != nil || n < least || n > most {
		q.fail(malformed(name + " is a number from " + strconv.Itoa(least) + " to " + strconv.Itoa(most)))
	}
	return n
}

func (q *query) bool(name string) bool {
	switch q.values.Get(name) {
	case "true":
		return true
	case "false":
		return false
	}
	if q.values.Has(name) {
		q.fail(malformed(name + " is true or false"))
	}
	return false
}

func (q *query) form() valuesForm {
	form, ok := valuesForms[q.values.Get("values")]
	if !ok {
		q.fail(malformed("values is json, base64 or none"))
	}
	return form
}

// rangeNames are the parameters that bounds reads.
var rangeNames = []string{"gt", "gte", "lt", "lte", "prefix"}

func (q *query) bounds() iterator.Bounds {
	b, err := makeBounds(q.bytes("gt"), q.bytes("gte"), q.bytes("lt"), q.bytes("lte"), q.bytes("prefix"))
	if err != nil {
		q.fail(err)
	}
	return b
}

// makeBounds returns the range that satisfies all of these. nil is none.
func makeBounds(gt, gte, lt, lte, prefix []byte) (b iterator.Bounds, err error) {
	if gt != nil && gte != nil || lt != nil && lte != nil {
		return b, malformed("a range has gt or gte, and lt or lte, not both")
	}
	if b.Lower = gte; gt != nil {
		b.Lower, b.LowerExclusive = gt, true
	}
	if b.Upper = lt; lte != nil {
		b.Upper, b.UpperInclusive = lte, true
	}
	if len(prefix) > 0 {
		if b.Lower == nil || string(b.Lower) < string(prefix) {
			b.Lower, b.LowerExclusive = prefix, false
		}
		if end := successor(prefix); end != nil && (b.Upper == nil || string(b.Upper) >= string(end)) {
			b.Upper, b.UpperInclusive = end, false
		}
	}
	return b, nil
}

// successor returns the least key that is greater than all that begin with
// prefix, nil where there is none.
func successor(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return nil
	}
	end[len(end)-1]++
	return end
}

// contains reports whether key is in the range.
func contains(b iterator.Bounds, key []byte) bool {
	k := string(key)
	if b.Lower != nil && (k < string(b.Lower) || b.LowerExclusive && k == string(b.Lower)) {
		return false
	}
	return b.Upper == nil || k < string(b.Upper) || b.UpperInclusive && k == string(b.Upper)
}

// goOn narrows a scan to what comes behind the cursor.
func goOn(s *Scan, cursor string) error {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) == 0 || b[0] != cursorVersion || len(b) > 1+base.MaxKeyBytes {
		return malformed("this is no cursor")
	}
	key := b[1:]
	if !contains(s.Bounds, key) {
		return malformed("the cursor is of another range")
	}
	if s.Reverse {
		s.Upper, s.UpperInclusive = key, false
	} else {
		s.Lower, s.LowerExclusive = key, true
	}
	return nil
}

func cursorOf(key []byte) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{cursorVersion}, key...))
}

// list answers GET of a store: a page of rows, or all of them as lines.
func (c *call) list() error {
	asLines := accepts(c.r, mediaLines)
	if !asLines && !acceptsAlso(c.r, mediaJSON) {
		return fault(http.StatusNotAcceptable, codeAccept, "rows are "+mediaJSON+" or "+mediaLines)
	}
	q := readQuery(c.r, append([]string{"limit", "reverse", "cursor", "values"}, rangeNames...)...)
	form := q.form()
	s := &Scan{Bounds: q.bounds(), Reverse: q.bool("reverse"), KeysOnly: form == valuesNone}
	mostRows := MaxPageLimit
	if asLines {
		mostRows = 1<<31 - 1
	}
	limit := q.number("limit", defaultPageLimit, 1, mostRows)
	if q.err == nil && q.values.Has("cursor") {
		q.fail(goOn(s, q.values.Get("cursor")))
	}
	if q.err != nil {
		return q.err
	}
	c.w.Header().Add("Vary", "Accept")
	if asLines {
		if !q.values.Has("limit") {
			limit = 0
		}
		return c.lines(s, limit, form)
	}
	return c.page(s, limit, form)
}

// page answers with one object: rows, and the cursor of the next page.
func (c *call) page(s *Scan, limit int, form valuesForm) error {
	// One row more than asked for tells whether there is another page.
	rows, isEnd, err := c.store.Page(c.r.Context(), s, limit+1)
	if err != nil {
		return err
	}
	if len(rows) > limit {
		rows, isEnd = rows[:limit], false
	}
	out := []byte(`{"items":[`)
	for i, row := range rows {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendRow(append(out, '\n'), row, form)
	}
	out = append(out, "\n],\"cursor\":"...)
	if isEnd || len(rows) == 0 {
		out = append(out, "null"...)
	} else {
		out = appendJSON(out, cursorOf(rows[len(rows)-1].Key))
	}
	c.w.Header().Set("Content-Type", mediaJSON)
	c.w.WriteHeader(http.StatusOK)
	c.w.Write(append(out, "}\n"...))
	return nil
}

// lines answers with a line for each row, of one moment. After what fails
// midway the last line is an error.
func (c *call) lines(s *Scan, limit int, form valuesForm) error {
	rows, err := c.store.Scan(c.r.Context(), s, limit)
	if err != nil {
		return err
	}
	defer rows.Close()
	run, err := rows.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	c.w.Header().Set("Content-Type", mediaLines)
	c.w.WriteHeader(http.StatusOK)
	var out []byte
	for ; err == nil; run, err = rows.Next() {
		out = out[:0]
		for _, row := range run {
			out = append(appendRow(out, row, form), '\n')
		}
		if !c.send(out) {
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		c.send(append(append([]byte(`{"error":`), strings.TrimSpace(string(problemOf(err).line()))...), "}\n"...))
	}
	return nil
}

// send writes a part of the body on its way; false where nobody listens any
// more.
func (c *call) send(b []byte) bool {
	if _, err := c.w.Write(b); err != nil {
		return false
	}
	if f, ok := c.w.(http.Flusher); ok {
		f.Flush()
	}
	return true
}

//go:build js && wasm

package main

import (
	"strconv"
	"strings"
	"syscall/js"
)

const (
	// batchCities is how many cities go into one batch.
	batchCities = 1000
	// batchesInFlight is how many batches may wait for their answer: the page prepares the next ones while the
	// engine, in its worker, writes the last.
	batchesInFlight = 8
)

// progress is how far the data set is loaded. It is the record under loadKey.
type progress struct {
	rows   int     // cities stored
	total  int     // cities in the data set; 0 before the first batch
	millis float64 // spent in storing them
}

func (p progress) complete() bool { return p.total > 0 && p.rows >= p.total }

func (s *store) progress() (progress, error) {
	value, err := s.get(loadKey)
	if err != nil || value.Type() != js.TypeObject {
		return progress{}, err
	}
	return progress{
		rows: value.Get("rows").Int(), total: value.Get("total").Int(), millis: value.Get("millis").Float(),
	}, nil
}

// load stores the cities from the one that p.rows names on. It calls stored after each acknowledged batch. A load that
// was cut short goes on where the store says it stopped: each batch carries the count of the cities stored with it, and
// batches take effect in the order they were sent. A load done twice ends in the same records.
func (s *store) load(text string, p progress, stored func(progress, []record)) (progress, error) {
	head, rest, _ := strings.Cut(text, "\n")
	total, err := strconv.Atoi(head)
	if err != nil {
		return p, errMalformedLine
	}
	lines := strings.Split(strings.TrimSuffix(rest, "\n"), "\n")
	if len(lines) != total {
		return p, errMalformedLine
	}
	if p.total != total { // another edition of the data, or none yet
		p = progress{total: total}
	}
	type flight struct {
		settled <-chan result
		after   progress
		records []record
	}
	var flights []flight
	land := func() error {
		f := flights[0]
		flights = flights[1:]
		if r := <-f.settled; r.err != nil {
			return r.err
		}
		p = f.after
		stored(p, f.records)
		return nil
	}
	before, start := p.millis, now()
	for next := p.rows; next < total; {
		end := min(next+batchCities, total)
		after := progress{rows: end, total: total, millis: before + now() - start}
		operations, records, err := loadBatch(lines[next:end], after)
		if err != nil {
			return p, err
		}
		flights = append(flights, flight{s.batch(operations), after, records})
		if len(flights) == batchesInFlight {
			if err := land(); err != nil {
				return p, err
			}
		}
		next = end
	}
	for len(flights) > 0 {
		if err := land(); err != nil {
			return p, err
		}
	}
	// The last batch could not know how long it would take.
	p.millis = before + now() - start
	r := <-call(s.db, "put", loadKey, p.object())
	return p, r.err
}

func (p progress) object() map[string]any {
	return map[string]any{"rows": p.rows, "total": p.total, "millis": p.millis}
}

// loadBatch returns the operations that store the lines' cities and their count.
func loadBatch(lines []string, after progress) (js.Value, []record, error) {
	names := make([]string, len(lines))
	records := make([]record, len(lines))
	for i, line := range lines {
		c, err := parseLine(line)
		if err != nil {
			return js.Value{}, nil, err
		}
		records[i].city, names[i] = c, c.name
	}
	folded := strings.Split(decompose(strings.Join(names, "\n")), "\n")
	text := make([]byte, 0, 256*len(lines))
	text = append(text, '[')
	for i := range records {
		r := &records[i]
		name := foldedName(folded[i])
		r.key = r.city.key(name)
		text = appendPut(text, &r.city, name)
	}
	text = append(text, `{"type":"put","key":"`+loadKey+`","value":null}]`...)
	operations := js.Global().Get("JSON").Call("parse", string(text))
	operations.Index(operations.Length()-1).Set("value", after.object())
	return operations, records, nil
}

// fetchText reads a text file of this site and calls received with the bytes so far and in all (0 where unknown).
func fetchText(address string, received func(bytes, total int)) (string, error) {
	response, err := await(js.Global(), "fetch", address)
	if err != nil {
		return "", err
	}
	if !response.Get("ok").Bool() {
		return "", &fetchError{address: response.Get("url").String(), status: response.Get("status").Int()}
	}
	total := 0
	if length := response.Get("headers").Call("get", "content-length"); length.Type() == js.TypeString {
		total, _ = strconv.Atoi(length.String()) // stays 0, unknown, where it is no number
	}
	text := make([]byte, 0, total)
	reader := response.Get("body").Call("getReader")
	for {
		r, err := await(reader, "read")
		if err != nil {
			return "", err
		}
		if r.Get("done").Bool() {
			return string(text), nil
		}
		chunk := r.Get("value")
		have := len(text)
		text = append(text, make([]byte, chunk.Length())...)
		js.CopyBytesToGo(text[have:], chunk)
		received(len(text), max(total, len(text)))
	}
}

type fetchError struct {
	address string
	status  int
}

func (e *fetchError) Error() string {
	return e.address + " answered " + strconv.Itoa(e.status)
}

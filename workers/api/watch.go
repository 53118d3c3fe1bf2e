package api

import (
	"net/http"
	"strconv"

	"tempestkv/kv/base"
)

const mediaEvents = "text/event-stream"

// watch answers GET of a store's watch: server-sent events, until the caller
// goes.
func (c *call) watch() error {
	q := readQuery(c.r, append([]string{"since", "values"}, rangeNames...)...)
	form := q.form()
	watch := &Watch{Bounds: q.bounds(), WithValues: form != valuesNone}
	// A page that was cut off says where it was; that is newer than its address.
	since := q.values.Get("since")
	isSince := q.values.Has("since")
	if len(c.r.Header.Values("Last-Event-ID")) > 0 {
		since, isSince = headerOf(c.r, "Last-Event-ID"), true
	}
	if isSince {
		n, err := strconv.ParseUint(since, 10, 64)
		if err != nil || n > uint64(base.MaxSeqNum) {
			q.fail(malformed("since is the id of an event"))
		}
		watch.Since = &n
	}
	if q.err != nil {
		return q.err
	}
	commits, err := c.store.Watch(c.r.Context(), watch)
	if err != nil {
		return err
	}
	defer commits.Close()
	c.w.Header().Set("Content-Type", mediaEvents)
	c.w.WriteHeader(http.StatusOK)
	if c.send(event("ready", commits.Since(), sequence(commits.Since()))) {
		c.tell(commits, form)
	}
	return nil
}

// tell sends events until the caller goes or the watch ends.
func (c *call) tell(commits Commits, form valuesForm) {
	type answer struct {
		News
		error
	}
	answers := make(chan answer)
	gone := c.r.Context().Done()
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		for {
			news, err := commits.Next()
			select {
			case answers <- answer{news, err}:
			case <-quit:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		var out []byte
		select {
		case a := <-answers:
			if a.error != nil {
				line := problemOf(a.error).line()
				c.send([]byte("event: error\ndata: " + string(line) + "\n"))
				return
			}
			if a.Gap {
				out = append(out, event("gap", a.GapEnd, sequence(a.GapEnd))...)
			}
			for _, commit := range a.Commits {
				out = append(out, event("commit", commit.Sequence, commitData(commit, form))...)
			}
		case <-c.config.Pause():
			// Only a write tells that the caller has gone.
			out = []byte(": alive\n\n")
		case <-gone:
			return
		}
		if !c.send(out) {
			return
		}
	}
}

func sequence(n uint64) []byte { return []byte(`{"sequence":` + strconv.FormatUint(n, 10) + `}`) }

// event returns an event whose id is a sequence number to go on from.
func event(name string, id uint64, data []byte) []byte {
	return []byte("id: " + strconv.FormatUint(id, 10) + "\nevent: " + name + "\ndata: " + string(data) + "\n\n")
}

// commitData returns a commit as one line of JSON.
func commitData(commit Commit, form valuesForm) []byte {
	out := []byte(`{"sequence":` + strconv.FormatUint(commit.Sequence, 10) + `,"changes":[`)
	for i, change := range commit.Changes {
		if i > 0 {
			out = append(out, ',')
		}
		switch change.Kind {
		case base.KindDelete:
			out = append(appendKey(append(out, `{"type":"delete","key":`...), change.Key), '}')
		case base.KindRangeDelete:
			out = appendKey(append(out, `{"type":"clear","gte":`...), change.Key)
			out = append(appendKey(append(out, `,"lt":`...), change.Value), '}')
		default:
			out = appendKey(append(out, `{"type":"put","key":`...), change.Key)
			value := change.Value
			if expires, rest, ok := base.CutExpiry(value); ok && change.Kind == base.KindPutExpiring {
				out = strconv.AppendUint(append(out, `,"expires":`...), expires, 10)
				value = rest
			}
			out = append(appendValue(out, value, form), '}')
		}
	}
	return append(out, "]}"...)
}

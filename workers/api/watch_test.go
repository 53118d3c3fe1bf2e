package api_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tempestkv/workers/api"
)

// listener reads server-sent events.
type listener struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel context.CancelFunc
	header http.Header
}

// serve serves the site until the end of the test, when its listeners have
// gone.
func (s *site) serve(t *testing.T) *httptest.Server {
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	return server
}

// listen starts a watch.
func (s *site) listen(t *testing.T, server *httptest.Server, query string, headers ...string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := s.request(ctx, "GET", "/v1/notes/watch"+query, nil, append(headers, "Accept: text/event-stream")...)
	r.URL.Scheme, r.URL.Host = "http", server.Listener.Addr().String()
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		response.Body.Close()
	})
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(response.Status, response.Header)
	}
	return &listener{t: t, lines: bufio.NewScanner(response.Body), cancel: cancel, header: response.Header}
}

// next returns the lines of the next event, or comment, joined by " | ".
func (l *listener) next() string {
	l.t.Helper()
	var lines []string
	for l.lines.Scan() {
		if l.lines.Text() == "" {
			break
		}
		lines = append(lines, l.lines.Text())
	}
	if len(lines) == 0 {
		l.t.Fatal("the events have ended: ", l.lines.Err())
	}
	return strings.Join(lines, " | ")
}

func (l *listener) want(event string) {
	l.t.Helper()
	if got := l.next(); got != event {
		l.t.Errorf("told %s\nwant %s", got, event)
	}
}

func TestAWatchTellsOfCommits(t *testing.T) {
	s := newSite(t)
	server := s.serve(t)
	s.must(204, "PUT", "/v1/notes/before", "0")
	l := s.listen(t, server, "")
	l.want(`id: 1 | event: ready | data: {"sequence":1}`)
	s.must(204, "PUT", "/v1/notes/a", "{\n}")
	l.want(`id: 2 | event: commit | data: {"sequence":2,"changes":[{"type":"put","key":"a","value":{}}]}`)
	s.must(204, "PUT", "/v1/notes/%FF", "\xff", "Tempest-TTL: 5")
	l.want(`id: 3 | event: commit | data: {"sequence":3,"changes":[{"type":"put","key":{"base64":"/w=="},"expires":1005000,"base64":"/w=="}]}`)
	s.must(200, "POST", "/v1/notes/batch", `{"operations":[{"type":"clear","prefix":"b"},{"type":"delete","key":"a"}]}`, "Content-Type: application/json")
	l.want(`id: 5 | event: commit | data: {"sequence":5,"changes":[{"type":"clear","gte":"b","lt":"c"},{"type":"delete","key":"a"}]}`)
	// What was written after the last event, the page hears when it comes back.
	l.cancel()
	s.must(204, "PUT", "/v1/notes/later", "1")
	l = s.listen(t, server, "?since=1&values=none", "Last-Event-ID: 5")
	l.want(`id: 5 | event: ready | data: {"sequence":5}`)
	l.want(`id: 6 | event: commit | data: {"sequence":6,"changes":[{"type":"put","key":"later"}]}`)
	l = s.listen(t, server, "?since=1&values=base64&lte=a")
	l.want(`id: 1 | event: ready | data: {"sequence":1}`)
	l.want(`id: 2 | event: commit | data: {"sequence":2,"changes":[{"type":"put","key":"a","base64":"ewp9"}]}`)
}

func TestAWatchThatLostCommitsSaysSo(t *testing.T) {
	s := newSite(t)
	server := s.serve(t)
	s.must(204, "PUT", "/v1/notes/a", "0")
	s.must(204, "PUT", "/v1/notes/a", "1")
	if err := s.object("notes").Flush(); err != nil {
		t.Fatal(err)
	}
	l := s.listen(t, server, "?since=1")
	l.want(`id: 1 | event: ready | data: {"sequence":1}`)
	l.want(`id: 2 | event: gap | data: {"sequence":2}`)
	s.must(204, "PUT", "/v1/notes/a", "2")
	l.want(`id: 3 | event: commit | data: {"sequence":3,"changes":[{"type":"put","key":"a","value":2}]}`)
}

func TestASilentWatchShowsThatItIsAlive(t *testing.T) {
	s := newSite(t)
	server := s.serve(t)
	l := s.listen(t, server, "")
	l.want(`id: 0 | event: ready | data: {"sequence":0}`)
	for range 3 {
		s.pause <- time.Time{}
		l.want(": alive")
	}
}

func TestAWatchEndsWithItsCaller(t *testing.T) {
	s := newSite(t)
	server := s.serve(t)
	for range 5 {
		l := s.listen(t, server, "")
		l.next()
		l.cancel()
	}
	server.Close() // waits for the requests
	if n := s.object("notes").Sessions(); n != 0 {
		t.Error(n, "sessions are open")
	}
}

// failing is a store whose watch fails after its first answer.
type failing struct{ api.Store }

func (f failing) Watch(context.Context, *api.Watch) (api.Commits, error) { return failing{}, nil }
func (failing) Since() uint64                                            { return 7 }
func (failing) Next() (api.News, error)                                  { return api.News{}, errors.New("the object was reset") }
func (failing) Close()                                                   {}

func TestAWatchTellsWhyItEnds(t *testing.T) {
	s := newSite(t, func(c *api.Config) { c.Open = func(string) (api.Store, error) { return failing{}, nil } })
	a := s.must(200, "GET", "/v1/notes/watch", "", "Accept: text/event-stream")
	want := "id: 7\nevent: ready\ndata: {\"sequence\":7}\n\n" +
		"event: error\ndata: {\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"TEMPEST_WORKER_DIED\",\"detail\":\"the object was reset\"}\n\n"
	if a.body != want {
		t.Errorf("%q\nwant %q", a.body, want)
	}
}

// Scan returns rows that break off.
func (f failing) Scan(context.Context, *api.Scan, int) (api.Rows, error) { return &breaking{}, nil }

type breaking struct{ runs int }

func (b *breaking) Close() {}
func (b *breaking) Next() ([]api.Row, error) {
	if b.runs++; b.runs > 1 {
		return nil, errors.New("the object was reset")
	}
	return []api.Row{{Key: []byte("a"), Value: []byte("1")}}, nil
}

func TestLinesThatBreakOffSaySo(t *testing.T) {
	s := newSite(t, func(c *api.Config) { c.Open = func(string) (api.Store, error) { return failing{}, nil } })
	a := s.must(200, "GET", "/v1/notes", "", "Accept: application/x-ndjson")
	want := "{\"key\":\"a\",\"value\":1}\n" +
		"{\"error\":{\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"TEMPEST_WORKER_DIED\",\"detail\":\"the object was reset\"}}\n"
	if a.body != want {
		t.Errorf("%q\nwant %q", a.body, want)
	}
}

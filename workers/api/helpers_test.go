package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tempestkv/workers/api"
	"tempestkv/workers/doortest"
	"tempestkv/workers/object"
)

const (
	token     = "write-token"
	readToken = "read-token"
	bodyLimit = 1 << 20
)

// site is a handler with stores behind it.
type site struct {
	t       testing.TB
	handler http.Handler
	pause   chan time.Time // a tick makes a silent watch show that it is alive
	now     atomic.Int64   // milliseconds since 1970

	mu     sync.Mutex // guards stores
	stores map[string]*doortest.Object
}

// newSite returns a handler that is asked as a Worker asks it, and checks every
// answer against docs/openapi.json.
func newSite(t testing.TB, change ...func(*api.Config)) *site {
	t.Helper()
	s := &site{t: t, pause: make(chan time.Time), stores: map[string]*doortest.Object{}}
	s.now.Store(1_000_000)
	config := api.Config{
		Open:       func(name string) (api.Store, error) { return &object.Store{Door: s.object(name)}, nil },
		Tokens:     []string{token, "old-token"},
		ReadTokens: []string{readToken},
		Origins:    []string{"https://app.example"},
		BodyBytes:  bodyLimit,
		Now:        func() time.Time { return time.UnixMilli(s.now.Load()) },
		Pause:      func() <-chan time.Time { return s.pause },
	}
	for _, f := range change {
		f(&config)
	}
	s.handler = api.New(config)
	return s
}

// object returns the object of a store.
func (s *site) object(name string) *doortest.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.stores[name]
	if o == nil {
		o = doortest.New(s.t, func() int64 { return s.now.Load() })
		s.stores[name] = o
	}
	return o
}

// writes returns how many operations all stores have taken.
func (s *site) writes() (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.stores {
		n += o.Sequence()
	}
	return n
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request, with the token unless headers say otherwise. Headers are
// "Name: value".
func (s *site) ask(method, path string, body io.Reader, headers ...string) answer {
	s.t.Helper()
	r := s.request(context.Background(), method, path, body, headers...)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	a := answer{w.Code, w.Result().Header, w.Body.String()}
	checkDeclared(s.t, r, a)
	return a
}

func (s *site) request(ctx context.Context, method, path string, body io.Reader, headers ...string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "https://kv.example"+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.Header.Set("Authorization", "Bearer "+token)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
		if value == "" {
			r.Header.Del(name)
		}
	}
	return r
}

// must is ask for what has to have this status.
func (s *site) must(status int, method, path, body string, headers ...string) answer {
	s.t.Helper()
	a := s.ask(method, path, strings.NewReader(body), headers...)
	if a.status != status {
		s.t.Fatalf("%s %.80s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}

// code returns the code of a problem, and fails where the answer is none.
func (s *site) code(a answer) string {
	s.t.Helper()
	var p struct {
		Title, Code, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Status != a.status || p.Title == "" || a.header.Get("Content-Type") != "application/problem+json" {
		s.t.Fatalf("%d %q %q is no problem", a.status, a.header.Get("Content-Type"), a.body)
	}
	return p.Code
}

// declared has the operations of docs/openapi.json: path and method, then
// status.
var declared = sync.OnceValue(func() map[string]map[string]map[string]json.RawMessage {
	b, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		panic(err)
	}
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		panic(err)
	}
	out := map[string]map[string]map[string]json.RawMessage{}
	for path, operations := range doc.Paths {
		out[path] = map[string]map[string]json.RawMessage{}
		for method, raw := range operations {
			var op struct {
				Responses map[string]json.RawMessage
			}
			if json.Unmarshal(raw, &op) == nil {
				out[path][strings.ToUpper(method)] = op.Responses
			}
		}
	}
	return out
})

// checkDeclared fails where the document does not say that this operation may
// answer so.
func checkDeclared(t testing.TB, r *http.Request, a answer) {
	t.Helper()
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/v1/")
	name, key, hasKey := strings.Cut(rest, "/")
	if !ok || name == "" || strings.Contains(key, "/") {
		return
	}
	path := "/v1/{store}"
	switch {
	case (key == "batch" || key == "frames") && r.Method == http.MethodPost, key == "watch" && strings.Contains(r.Header.Get("Accept"), "event-stream"):
		path += "/" + key
	case hasKey:
		path += "/{key}"
	}
	responses, ok := declared()[path][r.Method]
	if !ok {
		if a.status < 400 && r.Method != http.MethodOptions {
			t.Errorf("docs/openapi.json has no %s of %s, which answers %d", r.Method, path, a.status)
		}
		return
	}
	if _, ok := responses[strconv.Itoa(a.status)]; !ok {
		t.Errorf("docs/openapi.json: %s of %s does not answer %d", r.Method, path, a.status)
	}
}

package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/workers/api"
	"tempestkv/workers/object"
)

func TestValuesComeBackAsTheyWerePut(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct{ key, value string }{
		{"a", "value"},
		{"empty", ""},
		{"user:1", "\x00\xff binary"},
		{"%2F", "a slash"},
		{"a%2F..%2Fb", "dots inside"},
		{"%00", "a zero"},
		{"%FE%FF", "no UTF-8"},
		{"%252e%252e", "escaped once more than needed"},
		{"%2e%2e%2e", "three dots"},
		{"batch", "the name of another route"},
		{"watch", "and of another"},
		{"%C3%A4%20%2B+", "letters"},
		{strings.Repeat("k", base.MaxKeyBytes), "the longest key"},
		{"large", strings.Repeat("x", bodyLimit)},
	} {
		put := s.must(204, "PUT", "/v1/notes/"+test.key, test.value)
		a := s.must(200, "GET", "/v1/notes/"+test.key, "")
		if a.body != test.value || a.header.Get("ETag") != put.header.Get("ETag") || a.header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%.40s: %.40q, version %s of %s, %s", test.key, a.body, a.header.Get("ETag"), put.header.Get("ETag"), a.header.Get("Content-Type"))
		}
		s.must(200, "HEAD", "/v1/notes/"+test.key, "")
	}
	// What is escaped twice is another key than what is escaped once.
	if a := s.must(200, "GET", "/v1/notes?values=none&limit=1&prefix=%252e", ""); !strings.Contains(a.body, `"%2e%2e"`) {
		t.Error(a.body)
	}
}

func TestAMissingKeyIsNotFound(t *testing.T) {
	s := newSite(t)
	if code := s.code(s.must(404, "GET", "/v1/notes/a", "")); code != "TEMPEST_NOT_FOUND" {
		t.Error(code)
	}
	s.must(204, "PUT", "/v1/notes/a", "1")
	s.must(204, "DELETE", "/v1/notes/a", "")
	s.must(204, "DELETE", "/v1/notes/a", "")
	s.must(404, "GET", "/v1/notes/a", "")
	s.must(404, "GET", "/v1/other/a", "")
}

func TestNobodyIsLetInWithoutAToken(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/", "/v1/", "/v1/notes", "/v1/notes/a", "/v1/notes/batch", "/nothing", "/v1/..%2F"} {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"} {
			for _, header := range []string{
				"Authorization: ",
				"Authorization: Bearer",
				"Authorization: Bearer wrong",
				"Authorization: Bearer " + token + "x",
				"Authorization: Bearer " + token[1:],
				"Authorization: Basic " + token,
				"Authorization: " + token,
				"Authorization: Bearer " + token + " " + token,
			} {
				a := s.ask(method, path, strings.NewReader("1"), header)
				if a.status != 401 || s.code(a) != "UNAUTHORIZED" || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("%s %s with %q: %d", method, path, header, a.status)
				}
			}
		}
	}
	if len(s.stores) > 0 {
		t.Error("a store was opened for a stranger")
	}
	s.must(204, "PUT", "/v1/notes/a", "1", "Authorization: bearer  old-token")
}

func TestWithoutConfiguredTokensEverybodyIsAStranger(t *testing.T) {
	for _, tokens := range [][]string{nil, {}} {
		s := newSite(t, func(c *api.Config) { c.Tokens, c.ReadTokens = tokens, tokens })
		for _, header := range []string{"Authorization: ", "Authorization: Bearer ", "Authorization: Bearer", "Authorization: Bearer undefined"} {
			s.must(401, "GET", "/v1/notes/a", "", header)
		}
	}
}

func TestATokenForReadingDoesNotWrite(t *testing.T) {
	s := newSite(t)
	s.must(204, "PUT", "/v1/notes/a", "1")
	auth := "Authorization: Bearer " + readToken
	s.must(200, "GET", "/v1/notes/a", "", auth)
	s.must(200, "GET", "/v1/notes", "", auth)
	for _, method := range []string{"PUT", "DELETE"} {
		if code := s.code(s.must(403, method, "/v1/notes/a", "2", auth)); code != "FORBIDDEN" {
			t.Error(code)
		}
	}
	s.must(403, "POST", "/v1/notes/batch", `{"operations":[{"type":"delete","key":"a"}]}`, auth, "Content-Type: application/json")
	if a := s.must(200, "GET", "/v1/notes/a", ""); a.body != "1" {
		t.Error(a.body)
	}
}

// endless is a body that never ends.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	e.read += len(b)
	return len(b), nil
}

// broken is a body that breaks off.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestBadRequestsStoreNothing(t *testing.T) {
	const asJSON = "Content-Type: application/json"
	long := strings.Repeat("k", 10<<20)
	cursor := func(b string) string { return "/v1/notes?cursor=" + base64.RawURLEncoding.EncodeToString([]byte(b)) }
	for name, test := range map[string]struct {
		method, path string
		body         io.Reader
		headers      []string
		status       int
		code         string
	}{
		"another path":                        {"GET", "/", nil, nil, 404, "NO_SUCH_ROUTE"},
		"another version":                     {"PUT", "/v2/notes/a", nil, nil, 404, "NO_SUCH_ROUTE"},
		"no store":                            {"GET", "/v1/", nil, nil, 400, "MALFORMED_REQUEST"},
		"an empty store":                      {"PUT", "/v1//a", nil, nil, 400, "MALFORMED_REQUEST"},
		"dots for a store":                    {"PUT", "/v1/../a", nil, nil, 400, "MALFORMED_REQUEST"},
		"escaped dots for a store":            {"PUT", "/v1/%2e%2e/a", nil, nil, 400, "MALFORMED_REQUEST"},
		"a store that escapes a slash":        {"PUT", "/v1/notes%2Fa/a", nil, nil, 400, "MALFORMED_REQUEST"},
		"a store with a zero":                 {"PUT", "/v1/a%00/a", nil, nil, 400, "MALFORMED_REQUEST"},
		"a store escaped twice":               {"PUT", "/v1/%2561/a", nil, nil, 400, "MALFORMED_REQUEST"},
		"a store with a long name":            {"PUT", "/v1/" + strings.Repeat("a", 101) + "/a", nil, nil, 400, "MALFORMED_REQUEST"},
		"an empty key":                        {"PUT", "/v1/notes/", nil, nil, 400, "MALFORMED_REQUEST"},
		"dots for a key":                      {"PUT", "/v1/notes/..", nil, nil, 400, "MALFORMED_REQUEST"},
		"escaped dots for a key":              {"PUT", "/v1/notes/%2e%2e", nil, nil, 400, "MALFORMED_REQUEST"},
		"a dot for a key":                     {"PUT", "/v1/notes/%2E", nil, nil, 400, "MALFORMED_REQUEST"},
		"dots in the path":                    {"PUT", "/v1/notes/../other/a", nil, nil, 400, "MALFORMED_REQUEST"},
		"a slash in the key":                  {"PUT", "/v1/notes/a/b", nil, nil, 400, "MALFORMED_REQUEST"},
		"a slash behind the key":              {"PUT", "/v1/notes/a/", nil, nil, 400, "MALFORMED_REQUEST"},
		"a reserved key":                      {"PUT", "/v1/notes/%FF%FFa", nil, nil, 400, "TEMPEST_INVALID_KEY"},
		"a key of 64 KiB and a byte":          {"PUT", "/v1/notes/" + long[:base.MaxKeyBytes+1], nil, nil, 414, "TEMPEST_INVALID_KEY"},
		"a key of 10 MiB":                     {"PUT", "/v1/notes/" + long, nil, nil, 414, "TEMPEST_INVALID_KEY"},
		"a key of 10 MiB to read":             {"GET", "/v1/notes/" + long, nil, nil, 414, "TEMPEST_INVALID_KEY"},
		"a key of 10 MiB in a batch":          {"POST", "/v1/notes/batch", strings.NewReader(`{"operations":[{"type":"put","key":"` + long + `","value":1}]}`), []string{asJSON}, 413, "TOO_LARGE"},
		"a method of another time":            {"PATCH", "/v1/notes/a", nil, nil, 405, "METHOD_NOT_ALLOWED"},
		"post to a key":                       {"POST", "/v1/notes/a", nil, nil, 405, "METHOD_NOT_ALLOWED"},
		"delete of a store":                   {"DELETE", "/v1/notes", nil, nil, 405, "METHOD_NOT_ALLOWED"},
		"options without a preflight":         {"OPTIONS", "/v1/notes/a", nil, nil, 405, "METHOD_NOT_ALLOWED"},
		"a body over the limit":               {"PUT", "/v1/notes/a", strings.NewReader(strings.Repeat("x", bodyLimit+1)), nil, 413, "TOO_LARGE"},
		"an endless body":                     {"PUT", "/v1/notes/a", &endless{}, nil, 413, "TOO_LARGE"},
		"an endless batch":                    {"POST", "/v1/notes/batch", &endless{}, []string{asJSON}, 413, "TOO_LARGE"},
		"a body that breaks off":              {"PUT", "/v1/notes/a", broken{strings.NewReader("half")}, nil, 400, "MALFORMED_REQUEST"},
		"a compressed body":                   {"PUT", "/v1/notes/a", strings.NewReader("x"), []string{"Content-Encoding: gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		"JSON that is none":                   {"PUT", "/v1/notes/a", strings.NewReader("{"), []string{asJSON}, 400, "MALFORMED_REQUEST"},
		"JSON that is no UTF-8":               {"PUT", "/v1/notes/a", strings.NewReader("\"\xff\""), []string{asJSON}, 400, "MALFORMED_REQUEST"},
		"JSON of another family that is none": {"PUT", "/v1/notes/a", strings.NewReader("{"), []string{"Content-Type: application/geo+json; charset=utf-8"}, 400, "MALFORMED_REQUEST"},
		"a media type that is none":           {"PUT", "/v1/notes/a", strings.NewReader("1"), []string{"Content-Type: /"}, 400, "MALFORMED_REQUEST"},
		"a time to live of nothing":           {"PUT", "/v1/notes/a", nil, []string{"Tempest-TTL: 0"}, 400, "MALFORMED_REQUEST"},
		"a time to live below nothing":        {"PUT", "/v1/notes/a", nil, []string{"Tempest-TTL: -1"}, 400, "MALFORMED_REQUEST"},
		"a time to live of ages":              {"PUT", "/v1/notes/a", nil, []string{"Tempest-TTL: 99999999999"}, 400, "MALFORMED_REQUEST"},
		"a time to live in words":             {"PUT", "/v1/notes/a", nil, []string{"Tempest-TTL: 1h"}, 400, "MALFORMED_REQUEST"},
		"an ETag without quotes":              {"PUT", "/v1/notes/a", nil, []string{"If-Match: 17"}, 400, "MALFORMED_REQUEST"},
		"an ETag cut off":                     {"PUT", "/v1/notes/a", nil, []string{`If-Match: "17`}, 400, "MALFORMED_REQUEST"},
		"ETags without a comma":               {"DELETE", "/v1/notes/a", nil, []string{`If-None-Match: "17" "18"`}, 400, "MALFORMED_REQUEST"},
		"no media type for a batch":           {"POST", "/v1/notes/batch", strings.NewReader(`{"operations":[{"type":"put","key":"a","value":1}]}`), nil, 415, "UNSUPPORTED_MEDIA_TYPE"},
		"a cursor that is no base64":          {"GET", "/v1/notes?cursor=!!", nil, nil, 400, "MALFORMED_REQUEST"},
		"an empty cursor":                     {"GET", "/v1/notes?cursor=", nil, nil, 400, "MALFORMED_REQUEST"},
		"a cursor of another version":         {"GET", cursor("\x02a"), nil, nil, 400, "MALFORMED_REQUEST"},
		"a cursor of 10 MiB":                  {"GET", cursor("\x01" + long), nil, nil, 400, "MALFORMED_REQUEST"},
		"a cursor of another range":           {"GET", cursor("\x01a") + "&prefix=b", nil, nil, 400, "MALFORMED_REQUEST"},
		"a cursor before the range":           {"GET", cursor("\x01a") + "&gt=a", nil, nil, 400, "MALFORMED_REQUEST"},
		"a limit of nothing":                  {"GET", "/v1/notes?limit=0", nil, nil, 400, "MALFORMED_REQUEST"},
		"a limit over the most":               {"GET", "/v1/notes?limit=1001", nil, nil, 400, "MALFORMED_REQUEST"},
		"a limit in words":                    {"GET", "/v1/notes?limit=all", nil, nil, 400, "MALFORMED_REQUEST"},
		"a misspelt parameter":                {"GET", "/v1/notes?limt=1", nil, nil, 400, "MALFORMED_REQUEST"},
		"a parameter twice":                   {"GET", "/v1/notes?limit=1&limit=2", nil, nil, 400, "MALFORMED_REQUEST"},
		"a query with a broken escape":        {"GET", "/v1/notes?prefix=%zz", nil, nil, 400, "MALFORMED_REQUEST"},
		"gt and gte":                          {"GET", "/v1/notes?gt=a&gte=a", nil, nil, 400, "MALFORMED_REQUEST"},
		"lt and lte":                          {"GET", "/v1/notes?lt=a&lte=a", nil, nil, 400, "MALFORMED_REQUEST"},
		"a bound over 64 KiB":                 {"GET", "/v1/notes?gte=" + long[:base.MaxKeyBytes+1], nil, nil, 400, "TEMPEST_INVALID_KEY"},
		"reverse, maybe":                      {"GET", "/v1/notes?reverse=1", nil, nil, 400, "MALFORMED_REQUEST"},
		"values of another form":              {"GET", "/v1/notes?values=xml", nil, nil, 400, "MALFORMED_REQUEST"},
		"rows as a picture":                   {"GET", "/v1/notes", nil, []string{"Accept: image/png"}, 406, "NOT_ACCEPTABLE"},
		"rows not as JSON":                    {"GET", "/v1/notes", nil, []string{"Accept: application/json; q=0.0"}, 406, "NOT_ACCEPTABLE"},
		"a watch since a word":                {"GET", "/v1/notes/watch?since=now", nil, []string{"Accept: text/event-stream"}, 400, "MALFORMED_REQUEST"},
		"a watch since an impossible event":   {"GET", "/v1/notes/watch", nil, []string{"Accept: text/event-stream", "Last-Event-ID: 99999999999999999999"}, 400, "MALFORMED_REQUEST"},
		"a watch with a limit":                {"GET", "/v1/notes/watch?limit=1", nil, []string{"Accept: text/event-stream"}, 400, "MALFORMED_REQUEST"},
		"post to a watch":                     {"POST", "/v1/notes/watch", nil, []string{"Accept: text/event-stream"}, 405, "METHOD_NOT_ALLOWED"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			a := s.ask(test.method, test.path, test.body, test.headers...)
			if a.status != test.status || s.code(a) != test.code {
				t.Errorf("%d %s, want %d %s", a.status, a.body, test.status, test.code)
			}
			if a.status == 405 && a.header.Get("Allow") == "" {
				t.Error("nothing tells the methods that are allowed")
			}
			if n := s.writes(); n != 0 {
				t.Errorf("%d operations were stored", n)
			}
			if e, ok := test.body.(*endless); ok && e.read > 4*bodyLimit {
				t.Errorf("%d bytes were read", e.read)
			}
		})
	}
}

func TestABodyIsRefusedByItsLengthAlone(t *testing.T) {
	s := newSite(t)
	body := &endless{}
	r := s.request(t.Context(), "PUT", "/v1/notes/a", body)
	r.ContentLength = bodyLimit + 1
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code != 413 || body.read != 0 {
		t.Errorf("%d after %d bytes", w.Code, body.read)
	}
	r = s.request(t.Context(), "PUT", "/v1/notes/a", strings.NewReader("half"))
	r.ContentLength = 8
	w = httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code != 400 || s.writes() != 0 {
		t.Errorf("a body that is too short: %d", w.Code)
	}
}

func TestVersionsAreETags(t *testing.T) {
	s := newSite(t)
	const path = "/v1/notes/a"
	tag := func() string { return s.must(200, "GET", path, "").header.Get("ETag") }
	match := func(v string) string { return "If-Match: " + v }
	noneMatch := func(v string) string { return "If-None-Match: " + v }

	for _, refused := range []string{match("*"), match(`"1"`), match(`W/"1"`), match(`"x"`)} {
		if code := s.code(s.must(412, "PUT", path, "0", refused)); code != "TEMPEST_CONFLICT" {
			t.Error(code)
		}
		s.must(412, "DELETE", path, "", refused)
	}
	s.must(412, "GET", path, "", match("*"))

	first := s.must(204, "PUT", path, "1", noneMatch("*")).header.Get("ETag")
	if tag() != first {
		t.Errorf("%s was written, %s is there", first, tag())
	}
	s.must(412, "PUT", path, "2", noneMatch("*"))
	s.must(412, "PUT", path, "2", noneMatch(first))
	s.must(412, "PUT", path, "2", noneMatch("W/"+first))
	s.must(412, "PUT", path, "2", match("W/"+first))
	s.must(412, "PUT", path, "2", match(`"0"`))
	s.must(412, "PUT", path, "2", match(`"0`+first[1:]))
	s.must(412, "PUT", path, "2", match(first), noneMatch("*"))
	s.must(412, "PUT", path, "2", match(`"999999"`))

	s.must(204, "PUT", "/v1/notes/b", "another key")
	second := s.must(204, "PUT", path, "2", match(`"77", W/"78" ,`+first)).header.Get("ETag")
	s.must(412, "PUT", path, "3", match(first))
	s.must(204, "PUT", path, "2", match("*"))
	s.must(412, "DELETE", path, "", match(second))
	third := tag()

	if a := s.must(304, "GET", path, "", noneMatch(third)); a.body != "" || a.header.Get("ETag") != third {
		t.Errorf("%q %s", a.body, a.header.Get("ETag"))
	}
	s.must(304, "GET", path, "", noneMatch(`"1", W/`+third))
	s.must(304, "HEAD", path, "", noneMatch("*"))
	s.must(200, "GET", path, "", noneMatch(first))
	s.must(412, "GET", path, "", match(first))
	s.must(200, "GET", path, "", match(third))

	s.must(204, "DELETE", path, "", match(third))
	s.must(412, "PUT", path, "4", match(third))
	s.must(204, "PUT", path, "4", noneMatch("*"))
	s.must(204, "DELETE", path, "", noneMatch(third))
}

// meddler writes to a key between the look at its version and the write.
type meddler struct {
	api.Store
	times  int
	meddle func(*batch.Batch)
}

func (m *meddler) Write(ctx context.Context, b *batch.Batch, condition *api.Condition) (uint64, error) {
	if m.times > 0 {
		m.times--
		var own batch.Batch
		m.meddle(&own)
		if _, err := m.Store.Write(ctx, &own, nil); err != nil {
			return 0, err
		}
	}
	return m.Store.Write(ctx, b, condition)
}

func TestOnlyWhatBreaksAConditionIsAConflict(t *testing.T) {
	remove := func(b *batch.Batch) { b.Delete([]byte("a")) }
	clear := func(b *batch.Batch) { b.DeleteRange(nil, []byte("z")) }
	put := func(b *batch.Batch) { b.Put([]byte("a"), []byte("meddled")) }
	both := func(b *batch.Batch) { put(b); remove(b) }
	for name, test := range map[string]struct {
		times  int
		meddle func(*batch.Batch)
		status int
	}{
		"a delete of what is missing": {1, remove, 204},
		"a clear of nothing":          {3, clear, 204},
		"a value that came and went":  {1, both, 204},
		"a value":                     {1, put, 412},
		"deletes without an end":      {1000, remove, 503},
	} {
		s := newSite(t)
		s.must(204, "DELETE", "/v1/notes/a", "")
		m := &meddler{Store: &object.Store{Door: s.object("notes")}, times: test.times, meddle: test.meddle}
		s.handler = api.New(api.Config{Tokens: []string{token}, Open: func(string) (api.Store, error) { return m, nil }})
		s.must(test.status, "PUT", "/v1/notes/a", "1", "If-None-Match: *")
		if a := s.must(map[int]int{204: 200, 412: 200, 503: 404}[test.status], "GET", "/v1/notes/a", ""); (a.body == "1") != (test.status == 204) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

func TestValuesEnd(t *testing.T) {
	s := newSite(t)
	s.must(204, "PUT", "/v1/notes/a", "1", "Tempest-TTL: 60")
	s.must(200, "POST", "/v1/notes/batch", `{"operations":[{"type":"put","key":"b","value":1,"ttl":61}]}`, "Content-Type: application/json")
	s.now.Add(59_999)
	if a := s.must(200, "GET", "/v1/notes/a", ""); a.body != "1" {
		t.Error(a.body)
	}
	s.now.Add(1)
	s.must(404, "GET", "/v1/notes/a", "")
	s.must(412, "PUT", "/v1/notes/a", "2", "If-Match: *")
	s.must(200, "GET", "/v1/notes/b", "")
	s.now.Add(1000)
	s.must(404, "GET", "/v1/notes/b", "")
	s.must(204, "PUT", "/v1/notes/a", "2", "If-None-Match: *")
}

func TestDocumentsAreAskedForByTheirType(t *testing.T) {
	s := newSite(t)
	s.must(204, "PUT", "/v1/notes/doc", ` {"n": 1} `, "Content-Type: application/json; charset=utf-8")
	s.must(204, "PUT", "/v1/notes/bytes", "\xff")
	s.must(204, "PUT", "/v1/notes/page", "<script>", "Content-Type: text/html")
	for _, test := range []struct {
		key, accept, media string
		status             int
	}{
		{"doc", "", "application/octet-stream", 200},
		{"doc", "*/*", "application/octet-stream", 200},
		{"doc", "application/json", "application/json", 200},
		{"doc", "application/json, text/plain, */*", "application/json", 200},
		{"doc", "Application/JSON;q=0.5", "application/json", 200},
		{"doc", "application/octet-stream", "application/octet-stream", 200},
		{"bytes", "application/json", "", 406},
		{"bytes", "application/json, */*", "application/octet-stream", 200},
		{"bytes", "application/json, application/octet-stream;q=0", "", 406},
		{"page", "text/html", "", 406},
		{"page", "text/html, */*;q=0.8", "application/octet-stream", 200},
	} {
		a := s.must(test.status, "GET", "/v1/notes/"+test.key, "", "Accept: "+test.accept)
		if test.status == 200 && a.header.Get("Content-Type") != test.media {
			t.Errorf("%s as %q is %s", test.key, test.accept, a.header.Get("Content-Type"))
		}
		if a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Error("a browser may guess")
		}
	}
	if a := s.must(200, "GET", "/v1/notes/doc", "", "Accept: application/json"); a.body != ` {"n": 1} ` {
		t.Errorf("the document came back as %q", a.body)
	}
}

// page is a page of rows.
type page struct {
	Items []struct {
		Key    any
		Value  any
		Base64 *string
	}
	Cursor *string
}

func (s *site) page(path string) (p page) {
	s.t.Helper()
	a := s.must(200, "GET", path, "")
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.header.Get("Content-Type") != "application/json" {
		s.t.Fatal(err, a.body)
	}
	return p
}

func (s *site) fill(n int) (keys []string) {
	s.t.Helper()
	for i := range n {
		keys = append(keys, fmt.Sprintf("k%03d", i))
		s.must(204, "PUT", "/v1/notes/"+keys[i], fmt.Sprint(i))
	}
	return keys
}

func TestPagesFollowEachOther(t *testing.T) {
	s := newSite(t)
	all := s.fill(25)
	for _, test := range []struct {
		query string
		want  []string
	}{
		{"limit=10", all},
		{"limit=25", all},
		{"limit=24", all},
		{"limit=1&prefix=k01", all[10:20]},
		{"limit=3&gte=k005&lt=k015", all[5:15]},
		{"limit=3&gt=k005&lte=k015", all[6:16]},
		{"limit=4&prefix=k01&gt=k012", all[13:20]},
		{"limit=4&prefix=k01&lte=k012", all[10:13]},
		{"limit=7&values=none", all},
		{"limit=7&gte=", all},
		{"gte=k020&lt=k010", nil},
		{"lt=", nil},
		{"prefix=x", nil},
	} {
		for _, reverse := range []bool{false, true} {
			query, want := test.query, slices.Clone(test.want)
			if reverse {
				query += "&reverse=true"
				slices.Reverse(want)
			}
			var got []string
			for path := "/v1/notes?" + query; path != ""; {
				p := s.page(path)
				for _, item := range p.Items {
					got = append(got, item.Key.(string))
				}
				path = ""
				if p.Cursor != nil {
					if len(p.Items) == 0 {
						t.Fatalf("%s: an empty page is followed by another", query)
					}
					path = "/v1/notes?" + query + "&cursor=" + url.QueryEscape(*p.Cursor)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
	}
	if p := s.page("/v1/notes?limit=25"); p.Cursor != nil {
		t.Error("the last page has a cursor")
	}
}

func TestAPageOfLargeValuesIsCutByItsSize(t *testing.T) {
	s := newSite(t)
	value := strings.Repeat("x", bodyLimit-8)
	for i := range 4 {
		s.must(204, "PUT", fmt.Sprintf("/v1/notes/%d", i), value)
	}
	seen := 0
	for path := "/v1/notes?limit=100"; path != ""; {
		p := s.page(path)
		if seen += len(p.Items); len(p.Items) > 2 || p.Cursor == nil {
			break
		}
		path = "/v1/notes?limit=100&cursor=" + *p.Cursor
	}
	if seen != 4 {
		t.Error(seen, "rows were seen")
	}
}

func TestRowsShowWhatTheyHold(t *testing.T) {
	s := newSite(t)
	s.must(204, "PUT", "/v1/notes/%22%3C%0A", "{\n \"a\": [1, 2e3]\n}")
	s.must(204, "PUT", "/v1/notes/%FE", "\xff\x00")
	s.must(204, "PUT", "/v1/notes/text", "no document")
	s.must(204, "PUT", "/v1/notes/none", "")
	for form, want := range map[string]string{
		"json":   `{"key":"\"\u003c\n","value":{"a":[1,2e3]}} {"key":"none","base64":""} {"key":"text","base64":"bm8gZG9jdW1lbnQ="} {"key":{"base64":"/g=="},"base64":"/wA="}`,
		"base64": `{"key":"\"\u003c\n","base64":"ewogImEiOiBbMSwgMmUzXQp9"} {"key":"none","base64":""} {"key":"text","base64":"bm8gZG9jdW1lbnQ="} {"key":{"base64":"/g=="},"base64":"/wA="}`,
		"none":   `{"key":"\"\u003c\n"} {"key":"none"} {"key":"text"} {"key":{"base64":"/g=="}}`,
	} {
		lines := s.must(200, "GET", "/v1/notes?values="+form, "", "Accept: application/x-ndjson")
		if got := strings.ReplaceAll(strings.TrimSpace(lines.body), "\n", " "); got != want {
			t.Errorf("%s: %s\nwant %s", form, got, want)
		}
		page := s.must(200, "GET", "/v1/notes?values="+form, "")
		if got := strings.ReplaceAll(page.body, "\n", ""); got != `{"items":[`+strings.ReplaceAll(want, "} {", "},{")+`],"cursor":null}` {
			t.Errorf("%s: %s", form, got)
		}
	}
}

func TestLinesAreAllRowsOfOneMoment(t *testing.T) {
	s := newSite(t)
	s.fill(30)
	value := strings.Repeat("x", 64<<10)
	for i := range 20 {
		s.must(204, "PUT", fmt.Sprintf("/v1/notes/large%02d", i), value)
	}
	a := s.must(200, "GET", "/v1/notes", "", "Accept: application/x-ndjson")
	if n := strings.Count(a.body, "\n"); n != 50 || a.header.Get("Content-Type") != "application/x-ndjson" {
		t.Error(n, "lines of", a.header.Get("Content-Type"))
	}
	a = s.must(200, "GET", "/v1/notes?limit=7&reverse=true&lt=large", "", "Accept: application/x-ndjson")
	if n := strings.Count(a.body, "\n"); n != 7 || !strings.HasPrefix(a.body, `{"key":"k029","value":29}`) {
		t.Error(n, a.body)
	}
	if a = s.must(200, "GET", "/v1/empty", "", "Accept: application/x-ndjson"); a.body != "" {
		t.Error(a.body)
	}
	if n := s.object("notes").Sessions(); n != 0 {
		t.Error(n, "sessions are open")
	}
}

func TestABatchIsAllOrNothing(t *testing.T) {
	const asJSON = "Content-Type: application/json; charset=utf-8"
	s := newSite(t)
	s.must(204, "PUT", "/v1/notes/old1", "1")
	s.must(204, "PUT", "/v1/notes/old2", "2")
	tag := s.must(204, "PUT", "/v1/notes/counter", "1").header.Get("ETag")
	version := strings.Trim(tag, `"`)
	a := s.must(200, "POST", "/v1/notes/batch", `{
		"if": [{"key": "counter", "match": `+version+`}, {"key": "new", "match": null}],
		"operations": [
			{"type": "put", "key": "doc", "value": {"n": [1, null]}},
			{"type": "put", "key": "null", "value": null},
			{"type": "put", "key": "text", "text": "Ä\ud83d\ude00\n"},
			{"type": "put", "key": {"base64": "/gA="}, "base64": "/wA="},
			{"type": "put", "key": "", "text": ""},
			{"type": "clear", "prefix": "old", "lte": "old1"},
			{"type": "delete", "key": "counter"},
			{"type": "put", "key": "new", "value": 1}
		]}`, asJSON)
	var reply struct{ Sequence uint64 }
	if err := json.Unmarshal([]byte(a.body), &reply); err != nil || reply.Sequence != s.object("notes").Sequence() {
		t.Error(a.body)
	}
	for path, want := range map[string]string{
		"doc": `{"n": [1, null]}`, "null": "null", "text": "Ä\U0001F600\n", "%FE%00": "\xff\x00", "new": "1", "old2": "2",
	} {
		if a := s.must(200, "GET", "/v1/notes/"+path, ""); a.body != want {
			t.Errorf("%s is %q, want %q", path, a.body, want)
		}
	}
	s.must(404, "GET", "/v1/notes/old1", "")
	s.must(404, "GET", "/v1/notes/counter", "")
	if p := s.page("/v1/notes?limit=1"); p.Items[0].Key != "" {
		t.Error("the empty key is missing")
	}

	before := s.writes()
	for name, test := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"nothing":                           {``, 400, "MALFORMED_REQUEST"},
		"no operations":                     {`{}`, 400, "MALFORMED_REQUEST"},
		"an empty list":                     {`{"operations":[]}`, 400, "MALFORMED_REQUEST"},
		"a list":                            {`[]`, 400, "MALFORMED_REQUEST"},
		"half a document":                   {`{"operations":[{"type":"put","key":"x","value":1}`, 400, "MALFORMED_REQUEST"},
		"two documents":                     {`{"operations":[{"type":"put","key":"x","value":1}]}{}`, 400, "MALFORMED_REQUEST"},
		"something behind":                  {`{"operations":[{"type":"put","key":"x","value":1}]}]`, 400, "MALFORMED_REQUEST"},
		"an unknown member":                 {`{"operations":[{"type":"put","key":"x","value":1}],"iff":[]}`, 400, "MALFORMED_REQUEST"},
		"an unknown member of an operation": {`{"operations":[{"type":"put","key":"x","value":1,"until":1}]}`, 400, "MALFORMED_REQUEST"},
		"an unknown type":                   {`{"operations":[{"type":"merge","key":"x","value":1}]}`, 400, "MALFORMED_REQUEST"},
		"a put without a key":               {`{"operations":[{"type":"put","value":1}]}`, 400, "MALFORMED_REQUEST"},
		"a put without a value":             {`{"operations":[{"type":"put","key":"x"}]}`, 400, "MALFORMED_REQUEST"},
		"a put of two values":               {`{"operations":[{"type":"put","key":"x","value":1,"text":""}]}`, 400, "MALFORMED_REQUEST"},
		"a put with a range":                {`{"operations":[{"type":"put","key":"x","value":1,"gt":""}]}`, 400, "MALFORMED_REQUEST"},
		"a delete of a value":               {`{"operations":[{"type":"delete","key":"x","value":1}]}`, 400, "MALFORMED_REQUEST"},
		"a clear of a key":                  {`{"operations":[{"type":"clear","key":"x"}]}`, 400, "MALFORMED_REQUEST"},
		"a clear with two lower bounds":     {`{"operations":[{"type":"clear","gt":"x","gte":"x"}]}`, 400, "MALFORMED_REQUEST"},
		"a number for a key":                {`{"operations":[{"type":"put","key":1,"value":1}]}`, 400, "MALFORMED_REQUEST"},
		"null for a key":                    {`{"operations":[{"type":"put","key":null,"value":1}]}`, 400, "MALFORMED_REQUEST"},
		"a key of another form":             {`{"operations":[{"type":"put","key":{"hex":"00"},"value":1}]}`, 400, "MALFORMED_REQUEST"},
		"base64 that is none":               {`{"operations":[{"type":"put","key":"x","base64":"?"}]}`, 400, "MALFORMED_REQUEST"},
		"half of a pair":                    {`{"operations":[{"type":"put","key":"x\ud800","value":1}]}`, 400, "MALFORMED_REQUEST"},
		"the other half":                    {`{"operations":[{"type":"put","key":"x","text":"\udc00\ud800"}]}`, 400, "MALFORMED_REQUEST"},
		"bytes that are no UTF-8":           {"{\"operations\":[{\"type\":\"put\",\"key\":\"\xff\",\"value\":1}]}", 400, "MALFORMED_REQUEST"},
		"a time to live in halves":          {`{"operations":[{"type":"put","key":"x","value":1,"ttl":1.5}]}`, 400, "MALFORMED_REQUEST"},
		"a time to live in words":           {`{"operations":[{"type":"put","key":"x","value":1,"ttl":"soon"}]}`, 400, "MALFORMED_REQUEST"},
		"a reserved key":                    {`{"operations":[{"type":"put","key":"x","value":1},{"type":"put","key":{"base64":"//8="},"value":1}]}`, 400, "TEMPEST_INVALID_KEY"},
		"a key that is too long":            {`{"operations":[{"type":"put","key":"` + strings.Repeat("k", base.MaxKeyBytes+1) + `","value":1}]}`, 400, "TEMPEST_INVALID_KEY"},
		"too many conditions":               {`{"operations":[{"type":"put","key":"x","value":1}],"if":[` + strings.Repeat(`{"key":"x","match":null},`, 100) + `{"key":"x","match":null}]}`, 400, "MALFORMED_REQUEST"},
		"a condition without a key":         {`{"operations":[{"type":"put","key":"x","value":1}],"if":[{"match":1}]}`, 400, "MALFORMED_REQUEST"},
		"a condition without a match":       {`{"operations":[{"type":"put","key":"x","value":1}],"if":[{"key":"x"}]}`, 400, "MALFORMED_REQUEST"},
		"a condition of text":               {`{"operations":[{"type":"put","key":"x","value":1}],"if":[{"key":"x","match":"\"1\""}]}`, 400, "MALFORMED_REQUEST"},
		"a condition that does not hold":    {`{"operations":[{"type":"put","key":"x","value":1}],"if":[{"key":"new","match":null}]}`, 412, "TEMPEST_CONFLICT"},
		"a condition of an old version":     {`{"operations":[{"type":"put","key":"x","value":1}],"if":[{"key":"x","match":null},{"key":"old2","match":1}]}`, 412, "TEMPEST_CONFLICT"},
	} {
		a := s.ask("POST", "/v1/notes/batch", strings.NewReader(test.body), asJSON)
		if a.status != test.status || s.code(a) != test.code {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if s.writes() != before {
		t.Error("a batch that was refused was stored")
	}

	s.must(200, "POST", "/v1/notes/batch", `{"operations":[{"type":"clear"}]}`, asJSON)
	if p := s.page("/v1/notes"); len(p.Items) != 0 {
		t.Error("a clear without bounds left something")
	}
}

func TestPagesOfKnownOriginsMayCall(t *testing.T) {
	s := newSite(t)
	const origin = "Origin: https://app.example"
	preflight := "Access-Control-Request-Method: PUT"
	a := s.must(204, "OPTIONS", "/v1/notes/a", "", origin, preflight, "Authorization: ")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "https://app.example",
		"Access-Control-Allow-Methods": "GET, HEAD, PUT, POST, DELETE",
		"Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, Tempest-Session, Tempest-TTL, Tempest-Turn",
		"Vary":                         "Origin",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, other := range []string{"Origin: https://evil.example", "Origin: null", "Origin: https://app.example.evil.example", "Origin: "} {
		a := s.must(403, "OPTIONS", "/v1/notes/a", "", other, preflight, "Authorization: ")
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Error(other, "may call")
		}
		if a := s.must(404, "GET", "/v1/notes/a", "", other); a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Error(other, "may read")
		}
	}
	put := s.must(204, "PUT", "/v1/notes/a", "1", origin)
	if put.header.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.Contains(put.header.Get("Access-Control-Expose-Headers"), "ETag") {
		t.Error("a page cannot read its answer")
	}
	if a := s.must(401, "GET", "/v1/notes/a", "", origin, "Authorization: "); a.header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("a page cannot read why it was refused")
	}

	anyOrigin := newSite(t, func(c *api.Config) { c.Origins = []string{"*"} })
	anyOrigin.must(204, "OPTIONS", "/v1/notes/a", "", "Origin: https://any.example", preflight, "Authorization: ")
	none := newSite(t, func(c *api.Config) { c.Origins = nil })
	none.must(403, "OPTIONS", "/v1/notes/a", "", origin, preflight, "Authorization: ")
}

func TestAnObjectThatCannotBeReachedIsUnavailable(t *testing.T) {
	s := newSite(t)
	s.object("notes").Fail(errors.New("Error: the object was reset"))
	for _, ask := range []struct{ method, path, accept string }{
		{"GET", "/v1/notes/a", ""},
		{"PUT", "/v1/notes/a", ""},
		{"DELETE", "/v1/notes/a", ""},
		{"GET", "/v1/notes", ""},
		{"GET", "/v1/notes", "application/x-ndjson"},
		{"GET", "/v1/notes/watch", "text/event-stream"},
	} {
		a := s.must(503, ask.method, ask.path, "", "Accept: "+ask.accept)
		if s.code(a) != "TEMPEST_WORKER_DIED" || a.header.Get("Retry-After") != "1" || a.header.Get("ETag") != "" {
			t.Errorf("%s %s: %s", ask.method, ask.path, a.body)
		}
	}
	s.must(503, "POST", "/v1/notes/batch", `{"operations":[{"type":"delete","key":"a"}]}`, "Content-Type: application/json")
	s.object("notes").Fail(nil)
	s.must(404, "GET", "/v1/notes/a", "")
}

func TestAPanicIsAnswered(t *testing.T) {
	s := newSite(t, func(c *api.Config) { c.Open = func(string) (api.Store, error) { panic("x") } })
	if code := s.code(s.must(500, "GET", "/v1/notes/a", "")); code != "INTERNAL" {
		t.Error(code)
	}
}

func TestHeadersThatWereTornApartAreReadWhole(t *testing.T) {
	s := newSite(t)
	tag := s.must(204, "PUT", "/v1/notes/a", "1").header.Get("ETag")
	r := s.request(t.Context(), "GET", "/v1/notes/a", nil)
	r.Header["If-None-Match"] = []string{`"77"`, " " + tag}
	r.Header["Accept"] = []string{"image/png", " application/json"}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code != http.StatusNotModified {
		t.Error(w.Code)
	}
}

func TestTheSpecIsTheRoutes(t *testing.T) {
	var routes []string
	for path, operations := range declared() {
		for method := range operations {
			if method == strings.ToUpper(method) && method != "PARAMETERS" {
				routes = append(routes, method+" "+path)
			}
		}
	}
	slices.Sort(routes)
	want := []string{
		"DELETE /v1/{store}/{key}", "GET /v1/{store}", "GET /v1/{store}/watch", "GET /v1/{store}/{key}",
		"HEAD /v1/{store}/{key}", "POST /v1/{store}/batch", "POST /v1/{store}/frames", "PUT /v1/{store}/{key}",
	}
	if !slices.Equal(routes, want) {
		t.Errorf("docs/openapi.json has %v, want %v", routes, want)
	}
}

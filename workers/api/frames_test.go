package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"tempestkv/workers/api"
	"tempestkv/workers/frames"
)

const (
	asFrames = "Content-Type: application/x-tempestkv-frames"
	inOne    = "Tempest-Session: 0123456789abcdef0123456789abcdef"
	firstOne = "Tempest-Turn: 0"
)

// getFrame returns a request frame that asks for a key.
func getFrame(key string) string {
	var r frames.Request
	r.Add(frames.OpGet, 0)
	r.Raw([]byte(key))
	return string(r.Finish())
}

func TestFramesArePassedOn(t *testing.T) {
	s := newSite(t)
	s.must(204, "PUT", "/v1/notes/a", "value")
	for _, path := range []string{"/v1/notes/frames", "/v1/notes/frames?do=send"} {
		a := s.must(200, "POST", path, getFrame("a"), asFrames, inOne, firstOne)
		reply, err := (&frames.Reader{Frames: []byte(a.body)}).Next()
		if err != nil || string(reply.Body) != "value" || a.header.Get("Content-Type") != "application/x-tempestkv-frames" {
			t.Errorf("%s: %v, %q of %s", path, err, reply.Body, a.header.Get("Content-Type"))
		}
	}
	s.must(200, "POST", "/v1/notes/frames?do=close", "", inOne)
	a := s.must(503, "POST", "/v1/notes/frames?do=receive", "", inOne)
	if code := s.code(a); code != "TEMPEST_WORKER_DIED" {
		t.Error("a session that has ended is told by", code)
	}
	// A key of that name is a key like any other.
	s.must(204, "PUT", "/v1/notes/frames", "1")
	s.must(200, "GET", "/v1/notes/frames", "")
}

// recorder is a store that keeps who visits.
type recorder struct {
	api.Store
	visits []*api.Visit
}

// Visit implements api.Store.
func (r *recorder) Visit(_ context.Context, v *api.Visit) ([]byte, error) {
	r.visits = append(r.visits, v)
	return nil, nil
}

func TestAVisitSaysWhatItsTokenAllows(t *testing.T) {
	store := &recorder{}
	s := newSite(t, func(c *api.Config) { c.Open = func(string) (api.Store, error) { return store, nil } })
	reader := "Authorization: Bearer " + readToken
	s.must(200, "POST", "/v1/notes/frames", getFrame("a"), asFrames, inOne, "Tempest-Turn: 9007199254740991")
	s.must(200, "POST", "/v1/notes/frames", getFrame("a"), asFrames, inOne, firstOne, reader)
	s.must(403, "POST", "/v1/notes/frames?do=destroy", "", inOne, reader)
	s.must(200, "POST", "/v1/notes/frames?do=destroy", "", inOne)
	if len(store.visits) != 3 {
		t.Fatalf("%d visits", len(store.visits))
	}
	one, two, three := store.visits[0], store.visits[1], store.visits[2]
	if one.Does != "send" || !one.CanWrite || one.Turn != 1<<53-1 || one.Session != strings.TrimPrefix(inOne, "Tempest-Session: ") || string(one.Frame) != getFrame("a") {
		t.Errorf("%+v", one)
	}
	if two.CanWrite || three.Does != "destroy" || !three.CanWrite {
		t.Errorf("%+v, %+v", two, three)
	}
}

func TestRequestsThatCarryNoFramesAreRefused(t *testing.T) {
	frame := getFrame("a")
	for name, test := range map[string]struct {
		query, body string
		headers     []string
		status      int
	}{
		"no token":                    {"", frame, []string{asFrames, inOne, firstOne, "Authorization: "}, 401},
		"another token":               {"", frame, []string{asFrames, inOne, firstOne, "Authorization: Bearer wrong"}, 401},
		"no session":                  {"", frame, []string{asFrames, firstOne}, 400},
		"a short session":             {"", frame, []string{asFrames, "Tempest-Session: 0123", firstOne}, 400},
		"a session in capitals":       {"", frame, []string{asFrames, strings.ToUpper(inOne), firstOne}, 400},
		"no turn":                     {"", frame, []string{asFrames, inOne}, 400},
		"a turn below nothing":        {"", frame, []string{asFrames, inOne, "Tempest-Turn: -1"}, 400},
		"a turn past all counting":    {"", frame, []string{asFrames, inOne, "Tempest-Turn: 9007199254740992"}, 400},
		"no media type":               {"", frame, []string{inOne, firstOne}, 415},
		"another media type":          {"", frame, []string{inOne, firstOne, "Content-Type: application/octet-stream"}, 415},
		"no frame":                    {"", "", []string{asFrames, inOne, firstOne}, 400},
		"a frame cut short":           {"", frame[:len(frame)-1], []string{asFrames, inOne, firstOne}, 400},
		"a frame with something more": {"", frame + "x", []string{asFrames, inOne, firstOne}, 400},
		"a reply frame":               {"", "\x01\x02" + frame[2:], []string{asFrames, inOne, firstOne}, 400},
		"a frame of another version":  {"", "\x02" + frame[1:], []string{asFrames, inOne, firstOne}, 400},
		"a frame over the limit":      {"", getFrame(strings.Repeat("a", bodyLimit)), []string{asFrames, inOne, firstOne}, 413},
		"a compressed frame":          {"", frame, []string{asFrames, inOne, firstOne, "Content-Encoding: gzip"}, 415},
		"something else to do":        {"?do=dance", frame, []string{asFrames, inOne, firstOne}, 400},
		"a misspelt parameter":        {"?does=send", frame, []string{asFrames, inOne, firstOne}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			store := &recorder{}
			s := newSite(t, func(c *api.Config) { c.Open = func(string) (api.Store, error) { return store, nil } })
			s.code(s.must(test.status, "POST", "/v1/notes/frames"+test.query, test.body, test.headers...))
			if len(store.visits) > 0 {
				t.Error("it came through")
			}
		})
	}
}

func TestFramesThatDoNotReachTheObjectAreUnavailable(t *testing.T) {
	s := newSite(t)
	s.object("notes").Fail(errors.New("Error: the object was reset"))
	a := s.must(http.StatusServiceUnavailable, "POST", "/v1/notes/frames", getFrame("a"), asFrames, inOne, firstOne)
	if code := s.code(a); code != "TEMPEST_WORKER_DIED" {
		t.Error(code)
	}
}

package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"tempestkv/kv/batch"
	"tempestkv/workers/api"
	"tempestkv/workers/doortest"
	"tempestkv/workers/frames"
	"tempestkv/workers/object"
)

// fixed is a door that always answers the same.
type fixed struct {
	reply []byte
	err   error
}

func (f fixed) Call(context.Context, []byte) ([]byte, error) { return f.reply, f.err }
func (f fixed) Session(context.Context) (object.Session, error) {
	return &fixedSession{fixed: f}, f.err
}

func (f fixed) Visit(context.Context, *api.Visit) ([]byte, error) { return f.reply, f.err }

type fixedSession struct {
	fixed
	sent int
}

// Send answers from the second time on that nothing is there yet.
func (f *fixedSession) Send([]byte) ([]byte, error) {
	if f.sent++; f.sent == 1 {
		return f.reply, nil
	}
	return nil, nil
}
func (f *fixedSession) Receive() ([]byte, error) { return nil, errors.New("the object was reset") }
func (f *fixedSession) Close()                   {}

// calls are all the ways to ask.
func calls(s *object.Store) map[string]error {
	ctx := context.Background()
	var b batch.Batch
	b.Put([]byte("a"), nil)
	errs := map[string]error{}
	_, _, errs["get"] = s.Get(ctx, []byte("a"))
	_, _, errs["versions"] = s.Versions(ctx, [][]byte{[]byte("a")})
	_, errs["write"] = s.Write(ctx, &b, nil)
	_, _, errs["page"] = s.Page(ctx, &api.Scan{}, 1)
	rows, err := s.Scan(ctx, &api.Scan{}, 1)
	if err == nil {
		_, err = rows.Next()
	}
	errs["scan"] = err
	commits, err := s.Watch(ctx, &api.Watch{})
	if err == nil {
		_, err = commits.Next()
	}
	errs["watch"] = err
	return errs
}

func reply(id uint32, status, flags byte, body string) []byte {
	b := []byte{1, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, byte(28 + len(body)), 0, 0, 0}
	b = append(b, byte(id), byte(id>>8), byte(id>>16), byte(id>>24), status, flags, 0, 0, byte(len(body)), 0, 0, 0)
	return append(b, body...)
}

func TestWhatTheObjectFailsWithIsTold(t *testing.T) {
	lost := errors.New("the object was reset")
	if _, err := (&object.Store{Door: fixed{err: lost}}).Visit(context.Background(), &api.Visit{}); !errors.Is(err, lost) {
		t.Error("visit:", err)
	}
	for name, err := range calls(&object.Store{Door: fixed{err: lost}}) {
		if !errors.Is(err, lost) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []uint32{0, 0xffffffff} {
		for name, err := range calls(&object.Store{Door: fixed{reply: reply(id, 2, 0, "\x0fTEMPEST_IO_ERROR"[:16]+"\x05words")}}) {
			var e *frames.Error
			if !errors.As(err, &e) || e.Code != "TEMPEST_IO_ERRO" || e.Message != "words" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestAnswersToAnotherQuestionAreMalformed(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":        {},
		"no frame":       []byte("no frame at all, but bytes"),
		"another id":     reply(7, 0, 0, "12345678"),
		"two answers":    append(reply(0, 0, 0, "12345678"), reply(0, 0, 0, "12345678")...),
		"a short number": reply(0, 0, 0, "123"),
	} {
		for call, err := range calls(&object.Store{Door: fixed{reply: b}}) {
			// A session takes what comes as the answer: it has one question.
			if inSession := call == "scan" || call == "watch"; inSession && name != "no frame" {
				continue
			}
			if call == "page" && name == "a short number" {
				continue // which happens to be a row
			}
			if !errors.Is(err, frames.ErrMalformed) {
				t.Errorf("%s for %s: %v", name, call, err)
			}
		}
	}
}

func TestAScanReadsAllRuns(t *testing.T) {
	s := &object.Store{Door: doortest.New(t, nil)}
	want := 0
	for i := range 40 {
		var b batch.Batch
		b.Put(fmt.Appendf(nil, "%02d", i), bytes.Repeat([]byte{'x'}, 20<<10))
		if _, err := s.Write(t.Context(), &b, nil); err != nil {
			t.Fatal(err)
		}
		want++
	}
	rows, err := s.Scan(t.Context(), &api.Scan{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	// What is written meanwhile does not disturb.
	var b batch.Batch
	b.DeleteRange(nil, []byte("9"))
	if _, err := s.Write(t.Context(), &b, nil); err != nil {
		t.Fatal(err)
	}
	seen, runs := 0, 0
	for ; ; runs++ {
		run, err := rows.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range run {
			if string(row.Key) != fmt.Sprintf("%02d", seen) || len(row.Value) != 20<<10 {
				t.Fatalf("row %d is %q, %d bytes", seen, row.Key, len(row.Value))
			}
			seen++
		}
	}
	if seen != want || runs < 2 {
		t.Error(seen, "rows in", runs, "runs")
	}
}

func TestAConditionHoldsBackAWrite(t *testing.T) {
	s := &object.Store{Door: doortest.New(t, nil)}
	key := []byte("a")
	var b batch.Batch
	b.Put(key, []byte("1"))
	moment, versions, err := s.Versions(t.Context(), [][]byte{key, []byte("b")})
	if err != nil || moment != 0 || versions[0] != 0 {
		t.Fatal(moment, versions, err)
	}
	condition := &api.Condition{Since: moment, Keys: [][]byte{key}}
	seq, err := s.Write(t.Context(), &b, condition)
	if err != nil || seq != 1 {
		t.Fatal(seq, err)
	}
	_, err = s.Write(t.Context(), &b, condition)
	var e *frames.Error
	if !errors.As(err, &e) || e.Code != "TEMPEST_CONFLICT" || !strings.Contains(e.Error(), "conflict") {
		t.Error(err)
	}
	value, version, err := s.Get(t.Context(), key)
	if string(value) != "1" || version != 1 || err != nil {
		t.Error(value, version, err)
	}
}

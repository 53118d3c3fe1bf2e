package api_test

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// cell is one key as its users see it: its version and value, both empty where
// it is missing.
type cell struct{ tag, value string }

type cellInput struct {
	method    string
	condition string // a header, empty for none
	tag       string // that the condition names
	value     string
}

type cellOutput struct {
	status int
	cell
}

// cellModel says what a key may answer.
var cellModel = porcupine.Model{
	Init: func() any { return cell{} },
	Step: func(state, input, output any) (bool, any) {
		now, in, out := state.(cell), input.(cellInput), output.(cellOutput)
		holds := in.condition == "" || in.condition == "If-Match" && now.tag == in.tag || in.condition == "If-None-Match" && now.tag == ""
		switch {
		case in.method == "GET" && now.tag == "":
			return out.status == 404, now
		case in.method == "GET":
			return out.status == 200 && out.cell == now, now
		case !holds:
			return out.status == 412, now
		case in.method == "DELETE":
			return out.status == 204, cell{}
		default:
			return out.status == 204 && out.tag != now.tag, cell{out.tag, in.value}
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// do sends what in says.
func (s *site) do(in cellInput) cellOutput {
	var headers []string
	switch {
	case in.condition == "If-None-Match":
		headers = []string{"If-None-Match: *"}
	case in.condition != "":
		headers = []string{in.condition + ": " + in.tag}
	}
	r := s.request(s.t.Context(), in.method, "/v1/notes/cell", strings.NewReader(in.value), headers...)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	out := cellOutput{status: w.Code}
	if w.Code < 300 {
		out.cell = cell{w.Header().Get("ETag"), w.Body.String()}
	}
	return out
}

func TestOneKeyIsLinearizable(t *testing.T) {
	const users, calls = 6, 60
	s := newSite(t)
	var mu sync.Mutex
	var history []porcupine.Operation
	begin := time.Now()
	var wg sync.WaitGroup
	for user := range users {
		wg.Add(1)
		go func() {
			defer wg.Done()
			random := rand.New(rand.NewPCG(1, uint64(user)))
			seen := ""
			for i := range calls {
				in := cellInput{method: []string{"GET", "GET", "PUT", "PUT", "PUT", "DELETE"}[random.IntN(6)]}
				if in.method == "PUT" {
					in.value = fmt.Sprint(user, ".", i)
				}
				if in.method != "GET" && random.IntN(4) > 0 {
					if in.condition, in.tag = "If-Match", seen; seen == "" {
						in.condition = "If-None-Match"
					}
				}
				op := porcupine.Operation{ClientId: user, Input: in, Call: int64(time.Since(begin))}
				out := s.do(in)
				op.Output, op.Return = out, int64(time.Since(begin))
				seen = out.tag
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	if !porcupine.CheckOperations(cellModel, history) {
		t.Error("no order of the calls explains their answers")
	}
	succeeded := 0
	for _, op := range history {
		if op.Input.(cellInput).condition != "" && op.Output.(cellOutput).status == 204 {
			succeeded++
		}
	}
	if succeeded == 0 {
		t.Error("no conditional write ever happened")
	}
}

func TestConcurrentIncrementsAreAllCounted(t *testing.T) {
	const users, increments = 20, 10
	s := newSite(t)
	var wg sync.WaitGroup
	for range users {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for done := 0; done < increments; {
				now := s.do(cellInput{method: "GET"})
				n, _ := strconv.Atoi(now.value)
				in := cellInput{method: "PUT", condition: "If-Match", tag: now.tag, value: strconv.Itoa(n + 1)}
				if now.status == 404 {
					in.condition = "If-None-Match"
				}
				switch out := s.do(in); out.status {
				case 204:
					done++
				case 412:
				default:
					t.Error(out.status)
					return
				}
			}
		}()
	}
	wg.Wait()
	if got := s.do(cellInput{method: "GET"}).value; got != strconv.Itoa(users*increments) {
		t.Errorf("%s of %d", got, users*increments)
	}
}

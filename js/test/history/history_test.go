// Package history_test checks that what many clients of a store did and saw
// could have come of doing it one after the other, each thing at a moment
// between its call and its return: strict serialisability. record.mjs records
// histories; ../history.test.mjs runs both.
package history_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// An operation is a call or a transaction that took place. It read, then wrote.
type operation struct {
	Client int        `json:"client"`
	Call   int64      `json:"call"`
	Return int64      `json:"return"`
	Ranges []scanned  `json:"ranges"`
	Writes [][]string `json:"writes"`

	// Pairs of a key and a value, null where there was none.
	Reads [][]*string `json:"reads"`
}

// scanned is a range that was read, or the first entries of it.
type scanned struct {
	GTE     string      `json:"gte"`
	LT      string      `json:"lt"`
	Reverse bool        `json:"reverse"`
	Entries [][2]string `json:"entries"`
	IsWhole bool        `json:"isWhole"`
}

// A state is the store's entries, sorted by key. It is never changed.
type state struct {
	entries [][2]string
	text    string
}

func stateOf(entries [][2]string) *state {
	var text strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&text, "%q=%q\n", e[0], e[1])
	}
	return &state{entries, text.String()}
}

func (s *state) find(key string) (int, bool) {
	return slices.BinarySearchFunc(s.entries, key, func(e [2]string, k string) int { return strings.Compare(e[0], k) })
}

// shows reports whether an operation sees in s what op saw.
func (s *state) shows(op *operation) bool {
	for _, read := range op.Reads {
		i, ok := s.find(*read[0])
		if ok != (read[1] != nil) || ok && s.entries[i][1] != *read[1] {
			return false
		}
	}
	for _, r := range op.Ranges {
		from, _ := s.find(r.GTE)
		to, _ := s.find(r.LT)
		within := slices.Clone(s.entries[from:to])
		if r.Reverse {
			slices.Reverse(within)
		}
		if len(within) < len(r.Entries) || r.IsWhole && len(within) > len(r.Entries) {
			return false
		}
		if !slices.Equal(within[:len(r.Entries)], r.Entries) {
			return false
		}
	}
	return true
}

// after returns the state that op leaves behind.
func (s *state) after(op *operation) *state {
	if len(op.Writes) == 0 {
		return s
	}
	next := &state{entries: slices.Clone(s.entries)}
	for _, w := range op.Writes {
		i, ok := next.find(w[1])
		switch w[0] {
		case "put":
			e := [2]string{w[1], w[2]}
			if ok {
				next.entries[i] = e
			} else {
				next.entries = slices.Insert(next.entries, i, e)
			}
		case "delete":
			if ok {
				next.entries = slices.Delete(next.entries, i, i+1)
			}
		case "clear":
			to, _ := next.find(w[2])
			next.entries = slices.Delete(next.entries, i, to)
		}
	}
	return stateOf(next.entries)
}

var seed = maphash.MakeSeed()

var model = porcupine.Model{
	Init: func() any { return stateOf(nil) },
	Step: func(s, input, _ any) (bool, any) {
		op := input.(*operation)
		if !s.(*state).shows(op) {
			return false, s
		}
		return true, s.(*state).after(op)
	},
	Equal: func(a, b any) bool { return a.(*state).text == b.(*state).text },
	Hash:  func(s any) uint64 { return maphash.String(seed, s.(*state).text) },
}

func check(t *testing.T, history []*operation) porcupine.CheckResult {
	t.Helper()
	operations := make([]porcupine.Operation, len(history))
	for i, op := range history {
		operations[i] = porcupine.Operation{ClientId: op.Client, Input: op, Call: op.Call, Return: op.Return}
	}
	return porcupine.CheckOperationsTimeout(model, operations, time.Minute)
}

// parse reads a history, a line of JSON for each operation.
func parse(t *testing.T, text string) []*operation {
	t.Helper()
	var history []*operation
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		op := new(operation)
		if err := json.Unmarshal(lines.Bytes(), op); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		history = append(history, op)
	}
	return history
}

// TestRecordedHistories checks the files that HISTORIES names, separated by
// commas; none by default.
func TestRecordedHistories(t *testing.T) {
	for _, name := range strings.Split(os.Getenv("HISTORIES"), ",") {
		if name == "" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		history := parse(t, string(text))
		if len(history) == 0 {
			t.Errorf("%s is empty", name)
		}
		if got := check(t, history); got != porcupine.Ok {
			t.Errorf("the history of %d operations in %s is %s", len(history), name, got)
		}
	}
}

// TestTheCheckerTellsGoodHistoriesFromBad shows that what transactions must
// not allow would be found.
func TestTheCheckerTellsGoodHistoriesFromBad(t *testing.T) {
	const begin = `{"client":0,"call":0,"return":1,"writes":[["put","a","1"],["put","b","1"]]}` + "\n"
	for _, c := range []struct {
		name, history string
		want          porcupine.CheckResult
	}{
		{"one after the other", begin +
			`{"client":1,"call":2,"return":3,"reads":[["a","1"],["c",null]],"writes":[["put","a","2"]]}` + "\n" +
			`{"client":2,"call":4,"return":5,"ranges":[{"gte":"","lt":"~","entries":[["a","2"],["b","1"]],"isWhole":true}]}`, porcupine.Ok},
		{"at once, in the other order", begin +
			`{"client":1,"call":2,"return":5,"reads":[["a","2"]],"writes":[["delete","b"]]}` + "\n" +
			`{"client":2,"call":3,"return":4,"reads":[["b","1"]],"writes":[["put","a","2"]]}`, porcupine.Ok},
		{"a stale read", begin +
			`{"client":1,"call":2,"return":3,"writes":[["put","a","2"]]}` + "\n" +
			`{"client":2,"call":4,"return":5,"reads":[["a","1"]]}`, porcupine.Illegal},
		{"a lost update", begin +
			`{"client":1,"call":2,"return":5,"reads":[["a","1"]],"writes":[["put","a","2"]]}` + "\n" +
			`{"client":2,"call":3,"return":4,"reads":[["a","1"]],"writes":[["put","a","3"]]}`, porcupine.Illegal},
		{"write skew", begin +
			`{"client":1,"call":2,"return":5,"reads":[["a","1"],["b","1"]],"writes":[["put","a","0"]]}` + "\n" +
			`{"client":2,"call":3,"return":4,"reads":[["a","1"],["b","1"]],"writes":[["put","b","0"]]}`, porcupine.Illegal},
		{"a phantom", begin +
			`{"client":1,"call":2,"return":5,"ranges":[{"gte":"c","lt":"d","entries":[],"isWhole":true}],"writes":[["put","c1","x"]]}` + "\n" +
			`{"client":2,"call":3,"return":4,"ranges":[{"gte":"c","lt":"d","entries":[],"isWhole":true}],"writes":[["put","c2","x"]]}`, porcupine.Illegal},
		{"a phantom behind where a scan was left", begin +
			`{"client":1,"call":2,"return":5,"ranges":[{"gte":"","lt":"~","entries":[["a","1"]]}],"writes":[["put","c","x"]]}` + "\n" +
			`{"client":2,"call":3,"return":4,"ranges":[{"gte":"","lt":"~","reverse":true,"entries":[["b","1"]]}],"writes":[["delete","0"]]}`, porcupine.Ok},
		{"half of a batch", begin +
			`{"client":1,"call":2,"return":5,"writes":[["put","a","2"],["put","b","2"]]}` + "\n" +
			`{"client":2,"call":3,"return":4,"reads":[["a","2"],["b","1"]]}`, porcupine.Illegal},
		{"half of a cleared range", begin +
			`{"client":1,"call":2,"return":5,"writes":[["clear","a","c"]]}` + "\n" +
			`{"client":2,"call":3,"return":4,"reads":[["a",null],["b","1"]]}`, porcupine.Illegal},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := check(t, parse(t, c.history)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

//go:build js && wasm

package main

import (
	"syscall/js"
)

// A result is how a promise ended, and when by the page's clock, in milliseconds.
type result struct {
	value js.Value
	err   error
	at    float64
}

// follow returns a channel that gets the promise's result. The callbacks are released when it ends.
func follow(promise js.Value) <-chan result {
	settled := make(chan result, 1)
	var fulfilled, rejected js.Func
	end := func(r result) any {
		fulfilled.Release()
		rejected.Release()
		settled <- r
		return nil
	}
	fulfilled = js.FuncOf(func(_ js.Value, args []js.Value) any {
		return end(result{value: args[0], at: now()})
	})
	rejected = js.FuncOf(func(_ js.Value, args []js.Value) any {
		return end(result{err: js.Error{Value: args[0]}, at: now()})
	})
	promise.Call("then", fulfilled, rejected)
	return settled
}

// call calls a method that returns a promise and follows it; a method that throws counts as a promise that is rejected.
func call(object js.Value, method string, args ...any) <-chan result {
	promise, err := try(object, method, args...)
	if err != nil {
		failed := make(chan result, 1)
		failed <- result{err: err, at: now()}
		return failed
	}
	return follow(promise)
}

// try calls a method and returns what it throws as an error.
func try(object js.Value, method string, args ...any) (value js.Value, err error) {
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case js.Error:
			err = thrown
		default:
			panic(thrown)
		}
	}()
	return object.Call(method, args...), nil
}

// await calls a method that returns a promise and waits for it. It must not be called in an event handler, where
// waiting would stop the page.
func await(object js.Value, method string, args ...any) (js.Value, error) {
	r := <-call(object, method, args...)
	return r.value, r.err
}

// now is the page's monotonic clock in milliseconds.
func now() float64 {
	return js.Global().Get("performance").Call("now").Float()
}

// errorCode returns the code of an error of the package, or "" for any other.
func errorCode(err error) string {
	return errorField(err, "code")
}

// errorMessage returns what the error says, without the class name that js.Error puts before it.
func errorMessage(err error) string {
	if message := errorField(err, "message"); message != "" {
		return message
	}
	return err.Error()
}

func errorField(err error, name string) string {
	thrown, ok := err.(js.Error)
	if !ok || thrown.Type() != js.TypeObject {
		return ""
	}
	if field := thrown.Get(name); field.Type() == js.TypeString {
		return field.String()
	}
	return ""
}

// A queue runs the page's tasks one after another on one goroutine, so that what they share needs no locks. Event
// handlers only post to it: they never wait.
type queue struct {
	tasks []func()
	wake  chan struct{}
}

func newQueue() *queue {
	return &queue{wake: make(chan struct{}, 1)}
}

// post adds a task and never waits.
func (q *queue) post(task func()) {
	q.tasks = append(q.tasks, task)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run runs the tasks as they come, for ever.
func (q *queue) run() {
	for range q.wake {
		for len(q.tasks) > 0 {
			task := q.tasks[0]
			q.tasks = q.tasks[1:]
			task()
		}
	}
}

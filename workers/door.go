//go:build js && wasm

package main

import (
	"context"
	"errors"
	"sync"
	"syscall/js"

	"tempestkv/workers/api"
	"tempestkv/workers/object"
)

// door is the stub of an object. Its methods are those of TempestObject: the
// library's own stub knows only fetch, and moves a body 16 kB at a time.
type door struct{ stub js.Value }

var _ object.Door = door{}

// Call implements object.Door.
func (d door) Call(_ context.Context, frame []byte) ([]byte, error) {
	return callBytes(d.stub, nil, "tempestCall", toJS(frame))
}

// Session implements object.Door.
func (d door) Session(context.Context) (object.Session, error) {
	promise, err := try(func() any { return d.stub.Call("tempestSession") })
	if err != nil {
		return nil, err
	}
	stub, err := await(promise, nil)
	if err != nil {
		return nil, err
	}
	return &session{stub: stub, quit: make(chan struct{})}, nil
}

// Visit implements object.Door.
func (d door) Visit(ctx context.Context, v *api.Visit) ([]byte, error) {
	visit := map[string]any{"does": v.Does, "session": v.Session, "turn": float64(v.Turn), "canWrite": v.CanWrite}
	return callBytes(d.stub, ctx.Done(), "tempestVisit", visit, toJS(v.Frame))
}

// session is the stub of an object's session.
type session struct {
	stub js.Value
	once sync.Once
	quit chan struct{}
}

// Send implements object.Session.
func (s *session) Send(frame []byte) ([]byte, error) {
	return callBytes(s.stub, s.quit, "send", toJS(frame))
}

// Receive implements object.Session.
func (s *session) Receive() ([]byte, error) { return callBytes(s.stub, s.quit, "receive") }

// Close implements object.Session.
func (s *session) Close() {
	s.once.Do(func() {
		close(s.quit)
		// A session that cannot be disposed of ends with the request.
		_, _ = try(func() any {
			global := js.Global()
			dispose := global.Get("Reflect").Call("get", s.stub, global.Get("Symbol").Get("dispose"))
			return dispose.Call("call", s.stub)
		})
	})
}

var errClosed = errors.New("the session was closed")

// callBytes calls a method that promises bytes. quit, if it is not nil, ends the
// wait.
func callBytes(stub js.Value, quit <-chan struct{}, method string, args ...any) ([]byte, error) {
	promise, err := try(func() any { return stub.Call(method, args...) })
	if err != nil {
		return nil, err
	}
	buffer, err := await(promise, quit)
	if err != nil {
		return nil, err
	}
	view, err := try(func() any { return js.Global().Get("Uint8Array").New(buffer) })
	if err != nil {
		return nil, err
	}
	b := make([]byte, view.Length())
	js.CopyBytesToGo(b, view)
	return b, nil
}

func toJS(b []byte) js.Value {
	view := js.Global().Get("Uint8Array").New(len(b))
	js.CopyBytesToJS(view, b)
	return view
}

// try runs f and returns what JavaScript throws in it as an error.
func try(f func() any) (v js.Value, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case js.Error:
			err = p
		default:
			panic(p)
		}
	}()
	return js.ValueOf(f()), nil
}

// await waits until promise is settled, or quit is closed.
func await(promise js.Value, quit <-chan struct{}) (js.Value, error) {
	type outcome struct {
		value js.Value
		err   error
	}
	// There is room for the outcome, so that a callback never waits for us.
	settled := make(chan outcome, 1)
	fulfilled := js.FuncOf(func(_ js.Value, args []js.Value) any {
		settled <- outcome{value: args[0]}
		return nil
	})
	rejected := js.FuncOf(func(_ js.Value, args []js.Value) any {
		settled <- outcome{err: errors.New(js.Global().Call("String", args[0]).String())}
		return nil
	})
	release := func() {
		fulfilled.Release()
		rejected.Release()
	}
	if _, err := try(func() any { return promise.Call("then", fulfilled, rejected) }); err != nil {
		release()
		return js.Value{}, err
	}
	select {
	case o := <-settled:
		release()
		return o.value, o.err
	case <-quit:
		// The promise may still call back, so the callbacks stay.
		return js.Value{}, errClosed
	}
}

//go:build js && wasm

package main

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/volume"
)

//go:wasmimport tempest reply
func hostReply(ptr unsafe.Pointer, n uint32)

//go:wasmimport tempest schedule
func hostSchedule()

//go:wasmimport tempest log
func hostLog(level uint32, ptr unsafe.Pointer, n uint32)

//go:wasmimport tempest read
func hostRead(ptr unsafe.Pointer, n uint32, off float64) float64

//go:wasmimport tempest write
func hostWrite(ptr unsafe.Pointer, n uint32, off float64) float64

//go:wasmimport tempest sync
func hostSync(mode uint32) float64

//go:wasmimport tempest size
func hostSize() float64

//go:wasmimport tempest truncate
func hostTruncate(size float64) float64

//go:wasmimport tempest now
func hostNow() float64

//go:wasmimport tempest failure
func hostFailure(ptr unsafe.Pointer, n uint32) uint32

// Results of a device call, part of the protocol.
const (
	resultIO      = -1
	resultQuota   = -2
	resultFenced  = -3
	resultPending = -1000 // less the token
)

// hostDevice is the device that the host gives as imports.
type hostDevice struct{}

var _ volume.Device = hostDevice{}

func (hostDevice) ReadAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := finish("read", hostRead(unsafe.Pointer(&p[0]), uint32(len(p)), float64(off)))
	// The host may have filled p long after the import returned.
	runtime.KeepAlive(p)
	if err == nil && n > int64(len(p)) {
		return 0, base.Wrap(base.ErrIO, "the host says it read more than was asked", nil)
	}
	return int(n), err
}

func (hostDevice) WriteAt(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	n, err := finish("write", hostWrite(unsafe.Pointer(&p[0]), uint32(len(p)), float64(off)))
	runtime.KeepAlive(p)
	if err == nil && n != int64(len(p)) {
		return base.Wrap(base.ErrIO, "short write: "+strconv.FormatInt(n, 10)+" of "+strconv.Itoa(len(p))+" bytes", nil)
	}
	return err
}

func (hostDevice) Sync() error {
	_, err := finish("sync", hostSync(0))
	return err
}

func (hostDevice) Size() (int64, error) { return finish("size", hostSize()) }

func (hostDevice) Truncate(size int64) error {
	_, err := finish("truncate", hostTruncate(float64(size)))
	return err
}

// finish waits for a pending call, then turns its result into a number or an
// error.
func finish(call string, result float64) (int64, error) {
	if result <= resultPending {
		result = waiting.wait(uint32(resultPending - result))
	}
	if result >= 0 {
		return int64(result), nil
	}
	text := make([]byte, 512)
	text = text[:min(hostFailure(unsafe.Pointer(&text[0]), uint32(len(text))), uint32(len(text)))]
	kind := base.ErrIO
	switch result {
	case resultQuota:
		kind = base.ErrQuota
	case resultFenced:
		kind = base.ErrFenced
	}
	return 0, base.Wrap(kind, call+": "+string(text), nil)
}

// waitList holds the device calls that wait for the host, by token.
type waitList struct {
	count atomic.Int32
	used  atomic.Bool // a call has ever waited
	mu    sync.Mutex  // guards calls
	calls map[uint32]chan float64
}

var waiting = waitList{calls: map[uint32]chan float64{}}

func (l *waitList) wait(token uint32) float64 {
	c := make(chan float64, 1)
	l.mu.Lock()
	l.calls[token] = c
	l.mu.Unlock()
	l.count.Add(1)
	l.used.Store(true)
	return <-c
}

func (l *waitList) wake(token uint32, result float64) {
	l.mu.Lock()
	c, ok := l.calls[token]
	delete(l.calls, token)
	l.mu.Unlock()
	if !ok {
		panic("tempestkv: wake of a call that does not wait")
	}
	l.count.Add(-1)
	c <- result
}

// hostImports is the host of the bridge, by imports.
type hostImports struct{}

var _ host = hostImports{}

func (hostImports) reply(frame []byte) { hostReply(unsafe.Pointer(&frame[0]), uint32(len(frame))) }

func (hostImports) schedule() { hostSchedule() }

func (hostImports) now() float64 { return hostNow() }

func (hostImports) log(level kv.LogLevel, text string) {
	if text != "" {
		hostLog(uint32(level), unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
	}
}

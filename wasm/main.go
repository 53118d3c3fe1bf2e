//go:build js && wasm

// Command wasm is the engine as a WebAssembly module for JavaScript hosts.
// Requests come in as frames, answers go out as frames; docs/PROTOCOL.md has
// every byte. There is no syscall/js on the data path: a call through it costs
// a thousand times what an export costs.
package main

import "unsafe"

var engine = newBridge(hostImports{}, hostDevice{})

func main() {
	engine.serve()
}

// alloc returns a buffer of n bytes for the next request frame.
//
//go:wasmexport alloc
func alloc(n uint32) uint32 {
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(engine.alloc(n)))))
}

// submit takes the frame of n bytes that was written to the buffer at ptr,
// which alloc returned last.
//
//go:wasmexport submit
func submit(ptr, n uint32) {
	if buf := engine.inbox; uint32(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) != ptr || int(n) > cap(buf) {
		panic("tempestkv: submit of a buffer that alloc did not return")
	}
	engine.submit(n)
	engine.settle()
}

// wake ends the device call that waits under token.
//
//go:wasmexport wake
func wake(token uint32, result float64) {
	waiting.wake(token, result)
	engine.settle()
}

// pump goes on with what schedule asked for.
//
//go:wasmexport pump
func pump() {
	engine.pump()
	engine.settle()
}

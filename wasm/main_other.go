//go:build !(js && wasm)

// Command wasm is the engine as a WebAssembly module for JavaScript hosts; it
// does nothing elsewhere. Build it with GOOS=js GOARCH=wasm.
package main

func main() {}

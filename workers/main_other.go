//go:build !(js && wasm)

package main

// The router runs in a Worker only; this keeps go build and go vet working.
func main() {}

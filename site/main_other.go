//go:build !(js && wasm)

// The demo page's program runs in a browser. This file lets native `go build ./...` and `go vet ./...` pass over the
// folder, and gives the parts that need no browser (city.go, geo.go) a package to be tested in.
package main

func main() {
	println("site: build with GOOS=js GOARCH=wasm; see site/README.md")
}

//go:build js && wasm

package main

import (
	"strconv"
	"strings"

	"github.com/syumai/workers"
	"github.com/syumai/workers/cloudflare"

	"tempestkv/workers/api"
	"tempestkv/workers/frames"
	"tempestkv/workers/object"
)

// The bindings of the Worker; docs/HTTP.md lists them.
const (
	bindingObjects   = "TEMPEST"
	bindingToken     = "TEMPEST_TOKEN"
	bindingReadToken = "TEMPEST_READ_TOKEN"
	bindingOrigins   = "TEMPEST_ORIGINS"
	bindingBodyBytes = "TEMPEST_BODY_BYTES"
)

func main() {
	// What is no number is 0, which stands for the default.
	bodyBytes, _ := strconv.ParseInt(cloudflare.Getenv(bindingBodyBytes), 10, 64)
	workers.Serve(api.New(api.Config{
		Open:       open,
		Tokens:     strings.Fields(cloudflare.Getenv(bindingToken)),
		ReadTokens: strings.Fields(cloudflare.Getenv(bindingReadToken)),
		Origins:    strings.Fields(cloudflare.Getenv(bindingOrigins)),
		BodyBytes:  bodyBytes,
	}))
}

// open returns the store of this name.
func open(name string) (api.Store, error) {
	objects := cloudflare.GetBinding(bindingObjects)
	if objects.IsUndefined() {
		return nil, &frames.Error{Code: "TEMPEST_NOT_SUPPORTED", Message: "the Worker has no binding " + bindingObjects}
	}
	stub, err := try(func() any { return objects.Call("get", objects.Call("idFromName", name)) })
	if err != nil {
		return nil, err
	}
	return &object.Store{Door: door{stub}}, nil
}

//go:build js && wasm && !tools

package main

import (
	"tempestkv/kv"
	"tempestkv/kv/base"
)

// The engine that every page downloads does without what few pages need and only
// a store that is not open: see tools.go.

type tools struct{}

func (tools) isInUse() bool { return false }

func isTool(byte) bool { return false }

func (*bridge) tool(*request, entry) error {
	return base.Wrap(kv.ErrNotSupported, "unknown operation", nil)
}

// copyFolder refuses, with the reason that the store cannot be given out as it
// is.
func (*bridge) copyFolder(_ *kv.DB, _ callKey, _ byte, reason error) ([]byte, error) {
	return nil, reason
}

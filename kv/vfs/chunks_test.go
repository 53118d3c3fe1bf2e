package vfs

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// The model is a slice.
func TestChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c chunks
		var model []byte
		for i := range rapid.IntRange(1, 20).Draw(t, "calls") {
			switch n := rapid.SampledFrom([]int{0, 1, 100, chunkBytes - 1, chunkBytes, 3*chunkBytes + 5}).Draw(t, "size"); rapid.IntRange(0, 3).Draw(t, "call") {
			case 0, 1:
				p := bytes.Repeat([]byte{byte(i + 1)}, n)
				c.append(p)
				model = append(model, p...)
			case 2:
				n = min(n, len(model))
				c.truncate(n)
				model = model[:n]
			case 3:
				off := rapid.IntRange(0, len(model)+10).Draw(t, "offset")
				got := make([]byte, n)
				got = got[:c.readAt(got, int64(off))]
				from := min(off, len(model))
				if want := model[from:min(from+n, len(model))]; !bytes.Equal(got, want) {
					t.Fatalf("%d bytes at %d: got %d, want %d, or others", n, off, len(got), len(want))
				}
			}
			if n := rapid.IntRange(0, len(model)).Draw(t, "prefix"); c.size != len(model) || !bytes.Equal(c.prefix(n), model[:n]) {
				t.Fatalf("size %d, want %d, or other bytes", c.size, len(model))
			}
		}
	})
}

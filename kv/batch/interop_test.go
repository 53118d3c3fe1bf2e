//go:build !js

// goleveldb does not build for js.

package batch

import (
	"bytes"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"pgregory.net/rapid"
)

func TestGoleveldbWritesTheSameOperations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ours Batch
		var theirs leveldb.Batch
		for range rapid.IntRange(0, 20).Draw(t, "operations") {
			key := rapid.SliceOfN(rapid.ByteMax(0xfe), 0, 200).Draw(t, "key")
			if rapid.Bool().Draw(t, "put") {
				value := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")
				put(t, &ours, string(key), string(value))
				theirs.Put(key, value)
			} else {
				del(t, &ours, string(key))
				theirs.Delete(key)
			}
		}
		ops := ours.Repr()[HeaderSize:]
		if dump := theirs.Dump(); !bytes.Equal(dump, ops) {
			t.Fatalf("goleveldb writes %x, we %x", dump, ops)
		}
		if err := theirs.Load(ops); err != nil || theirs.Len() != int(ours.Count()) {
			t.Fatalf("goleveldb reads %d operations of %d: %v", theirs.Len(), ours.Count(), err)
		}
	})
}

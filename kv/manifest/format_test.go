package manifest

import (
	"bytes"
	"encoding/hex"
	"testing"

	"tempestkv/kv/internal/formatdoc"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/vfstest"
)

// TestManifestInTheFormatDocument makes the manifest that docs/FORMAT.md shows.
func TestManifestInTheFormatDocument(t *testing.T) {
	mem := vfs.NewMem()
	snapshot := &VersionEdit{}
	snapshot.SetLogNum(2)
	l, err := Create(mem, 1, snapshot, options)
	must(t, err)
	for range 3 { // log 2, then log 3 and table 4
		l.NewFileNum()
	}
	must(t, l.Append(parseEdit(t, "log 3\nlast-seq 3\nadd L0 4 243 city#1,PUT town#2,DEL")))
	must(t, l.Close())
	got := vfstest.ReadFile(t, mem, l.Desc())
	want := formatdoc.Dump(t, "### A manifest, byte by byte")
	if !bytes.Equal(got, want) {
		t.Errorf("the document has\n%s, we write\n%s", hex.Dump(want), hex.Dump(got))
	}
}

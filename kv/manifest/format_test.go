package manifest

import (
	"bytes"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"

	"tempestkv/kv/vfs"
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
	got := readFile(t, mem, l.Desc())

	doc, err := os.ReadFile("../../docs/FORMAT.md")
	must(t, err)
	_, text, found := strings.Cut(string(doc), "\n### A manifest, byte by byte\n")
	_, text, fenced := strings.Cut(text, "\n```\n")
	text, _, closed := strings.Cut(text, "\n```\n")
	if !found || !fenced || !closed {
		t.Fatalf("no hex dump; we write\n%s", hex.Dump(got))
	}
	var want []byte
	for line := range strings.Lines(text) {
		columns, _, _ := strings.Cut(line, "|")
		offset, digits, _ := strings.Cut(columns, " ")
		if at, err := strconv.ParseInt(offset, 16, 64); err != nil || at != int64(len(want)) {
			t.Fatalf("line %q is at offset %x", line, len(want))
		}
		p, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		must(t, err)
		want = append(want, p...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the document has\n%s, we write\n%s", hex.Dump(want), hex.Dump(got))
	}
}

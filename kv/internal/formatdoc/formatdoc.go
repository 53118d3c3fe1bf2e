// Package formatdoc lets tests hold docs/FORMAT.md against what the code
// writes and reads.
package formatdoc

import (
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Text returns docs/FORMAT.md, for a test whose package is a room of kv: tests
// run in the folder of their package, and the path is relative to that.
func Text(t testing.TB) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// Dump returns the bytes of the first fenced hex dump behind heading, a whole
// line such as "### A table, byte by byte". A line of the dump is the offset of
// its first byte, bytes, and words behind a bar. The test fails where there is
// no dump, or an offset is wrong.
func Dump(t testing.TB, heading string) []byte {
	t.Helper()
	_, text, found := strings.Cut(Text(t), "\n"+heading+"\n")
	_, text, fenced := strings.Cut(text, "\n```\n")
	text, _, closed := strings.Cut(text, "\n```\n")
	if !found || !fenced || !closed {
		t.Fatalf("no hex dump behind %q", heading)
	}
	var b []byte
	for line := range strings.Lines(text) {
		columns, _, _ := strings.Cut(line, "|")
		offset, digits, _ := strings.Cut(columns, " ")
		if at, err := strconv.ParseInt(offset, 16, 64); err != nil || at != int64(len(b)) {
			t.Fatalf("line %q is at offset %x", line, len(b))
		}
		p, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		b = append(b, p...)
	}
	return b
}

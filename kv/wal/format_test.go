package wal

import (
	"bytes"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
)

func document(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// dump returns the bytes of the first fenced hex dump behind heading in
// docs/FORMAT.md. A line is an offset, bytes, and words behind a bar.
func dump(t *testing.T, heading string) []byte {
	t.Helper()
	_, text, found := strings.Cut(document(t), "\n"+heading+"\n")
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

func TestLogInTheFormatDocument(t *testing.T) {
	want := dump(t, "### A log, byte by byte")

	var first, marker batch.Batch
	first.SetSeqNum(1)
	if err := first.Put([]byte("city"), []byte("Berlin")); err != nil {
		t.Fatal(err)
	}
	if err := first.Delete([]byte("town")); err != nil {
		t.Fatal(err)
	}
	marker.SetSeqNum(first.SeqNum() + base.SeqNum(first.Count()))
	if got := write(t, first.Repr(), marker.Repr()); !bytes.Equal(got, want) {
		t.Errorf("the document has\n%s, we write\n%s", hex.Dump(want), hex.Dump(got))
	}
	mustRead(t, want, first.Repr(), marker.Repr())
}

func TestLimitsInTheFormatDocument(t *testing.T) {
	// Other line breaks do no harm.
	text := strings.Join(strings.Fields(document(t)), " ")
	for what, limit := range map[string]int{
		"The largest is %s bytes: the largest batch and 1 MiB.": MaxRecordBytes,
		"key %s bytes,":                   base.MaxKeyBytes,
		"value %s bytes,":                 base.MaxValueBytes,
		"batch %s bytes, header included": base.MaxBatchBytes,
		"blocks of %s bytes":              BlockSize,
	} {
		digits := strconv.Itoa(limit)
		for i := len(digits) - 3; i > 0; i -= 3 {
			digits = digits[:i] + "," + digits[i:]
		}
		if want := strings.Replace(what, "%s", digits, 1); !strings.Contains(text, want) {
			t.Errorf("the document does not say %q", want)
		}
	}
}

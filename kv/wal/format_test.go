package wal

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/internal/formatdoc"
)

func TestLogInTheFormatDocument(t *testing.T) {
	want := formatdoc.Dump(t, "### A log, byte by byte")

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
	text := strings.Join(strings.Fields(formatdoc.Text(t)), " ")
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

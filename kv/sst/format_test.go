package sst

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

// dump returns the bytes of the first fenced hex dump behind heading in
// docs/FORMAT.md. A line is an offset, bytes, and words behind a bar.
func dump(t *testing.T, heading string) []byte {
	t.Helper()
	doc, err := os.ReadFile("../../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(doc), "\n"+heading+"\n")
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

func TestTableInTheFormatDocument(t *testing.T) {
	want := dump(t, "### A table, byte by byte")
	rows := []row{put("city", 1, "Berlin"), put("country", 3, "Germany"), del("town", 2)}
	f, _ := write(t, WriterOptions{}, rows)
	if !bytes.Equal(f.bytes, want) {
		t.Errorf("the document has\n%s, we write\n%s", hex.Dump(want), hex.Dump(f.bytes))
	}
	r := open(t, &memFile{bytes: want}, ReaderOptions{})
	mustScan(t, r, rows)
	if _, err := r.Verify(); err != nil {
		t.Error(err)
	}
}

func TestHandles(t *testing.T) {
	const huge = math.MaxInt64
	for _, test := range []struct {
		bytes string
		limit int64
		want  handle
		ok    bool
	}{
		{"\x00\x00", 5, handle{0, 0}, true},
		{"\x07\x80\x01rest", 140, handle{7, 128}, true},
		{"\x07\x80\x01", 139, handle{}, false},
		{"\x00\x00", 4, handle{}, false},
		{"\x01\x00", 5, handle{}, false},
		{"", huge, handle{}, false},
		{"\x00", huge, handle{}, false},
		{"\x00\x80", huge, handle{}, false},
		{"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x00", huge, handle{}, false},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", huge, handle{}, false},
		{"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", huge, handle{}, false},
		{"\x00\xff\xff\xff\xff\x07", huge, handle{0, maxContents}, true},
		{"\x00\x80\x80\x80\x80\x08", huge, handle{}, false},
	} {
		h, n, ok := decodeHandle([]byte(test.bytes), test.limit)
		if ok != test.ok || h != test.want || ok && !strings.HasPrefix(test.bytes, string(h.appendTo(nil))) || ok && n != len(h.appendTo(nil)) {
			t.Errorf("%x below %d: %v, %d, %t", test.bytes, test.limit, h, n, ok)
		}
	}
}

func TestFooters(t *testing.T) {
	good := appendFooter(nil, handle{100, 20}, handle{125, 300})
	if m, i, reason := decodeFooter(good, 430); m != (handle{100, 20}) || i != (handle{125, 300}) || reason != "" {
		t.Errorf("%v, %v, %s", m, i, reason)
	}
	largest := handle{math.MaxInt64 - maxContents - trailerSize, maxContents}
	if m, i, reason := decodeFooter(appendFooter(nil, largest, largest), math.MaxInt64); m != largest || i != largest || reason != "" {
		t.Errorf("%v, %v, %s", m, i, reason)
	}
	for name, b := range map[string][]byte{
		"another magic":       append(bytes.Clone(good[:47]), 0),
		"a wrong padding":     append(append(bytes.Clone(good[:20]), 1), good[21:]...),
		"a handle in excess":  appendFooter(nil, handle{100, 20}, handle{126, 300}),
		"a longer varint":     append(append([]byte{0xe4, 0x00}, good[1:39]...), good[40:]...),
		"zeros before a real": append(make([]byte, 40), good[40:]...),
	} {
		if _, _, reason := decodeFooter(b, 430); (reason == "") != (name == "zeros before a real") {
			t.Errorf("%s: %q", name, reason)
		}
	}
}

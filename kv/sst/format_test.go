package sst

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"tempestkv/kv/internal/formatdoc"
)

func TestTableInTheFormatDocument(t *testing.T) {
	want := formatdoc.Dump(t, "### A table, byte by byte")
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

//go:build js && wasm && tools

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"tempestkv/kv/volume"
)

// pair is a device that has the store to be repaired behind sourceOffset.
type pair struct {
	*volume.MemDevice
	source *volume.MemDevice
}

func (d pair) ReadAt(p []byte, off int64) (int, error) {
	if off >= sourceOffset {
		return d.source.ReadAt(p, off-sourceOffset)
	}
	return d.MemDevice.ReadAt(p, off)
}

// must makes a call and returns its answer, which must be ok.
func (e *engineTest) must(op, flags byte, body []byte) reply {
	e.host.t.Helper()
	r := e.call(call{id: 900, op: op, flags: flags, body: body})
	if len(r) != 1 || r[0].status != statusOK {
		e.host.t.Fatalf("op %d: %+v %s", op, r, r[0].body)
	}
	return r[0]
}

func importFileBody(name string, size int) []byte {
	return binary.LittleEndian.AppendUint64(appendString(nil, name), uint64(size))
}

// folderOf exports the store of e; the files are in order.
func folderOf(e *engineTest, flags byte) (names []string, files map[string][]byte) {
	e.call(call{id: 50, op: opExportFolder, flags: flags})
	files = map[string][]byte{}
	for {
		r := e.must(opExportNext, 0, u32s(50, 100))
		if r.flags&exportLast != 0 {
			break
		}
		if r.flags&exportFile != 0 {
			c := cursor{r.body}
			name, _ := c.bytes()
			names = append(names, string(name))
			c.u64()
			r.body = c.b
		}
		name := names[len(names)-1]
		files[name] = append(files[name], r.body...)
	}
	e.must(opExportClose, 0, u32s(50))
	return names, files
}

// importInto imports files, CURRENT first, and returns how often the end was
// asked for.
func importInto(e *engineTest, files map[string][]byte) (asked int) {
	e.must(opImportFile, 0, importFileBody("CURRENT", 0))
	e.must(opImportFileNext, 0, files["CURRENT"])
	for name, content := range files {
		if name != "CURRENT" {
			e.must(opImportFile, 0, importFileBody(name, len(content)))
			e.must(opImportFileNext, 0, content)
		}
	}
	if r := e.must(opImportFile, 0, importFileBody("LOG", 3)); r.flags != importUnneeded {
		e.host.t.Errorf("LOG is needed: %+v", r)
	}
	for {
		asked++
		if r := e.must(opImportFilesEnd, 0, nil); r.flags&importMore == 0 {
			return asked
		}
	}
}

func TestFoldersOverTheBridge(t *testing.T) {
	for _, features := range []bool{false, true} {
		t.Run(fmt.Sprint("features ", features), func(t *testing.T) {
			e := opened(t)
			e.must(opWrite, 0, putOps("a", "1", "b", "2"))
			e.must(opFlush, 0, nil)
			e.must(opWrite, 0, putOps("c", strings.Repeat("3", 500)))
			if features {
				e.must(opWrite, 0, append(u32s(1), "\x02\x01b\x01c"...))
			}
			names, files := folderOf(e, 0)
			if n := len(names); n < 3 || names[n-1] != "CURRENT" {
				t.Fatal(names)
			}

			dev := &volume.MemDevice{}
			to := start(t, dev)
			if asked := importInto(to, files); asked != len(files)-1 && !features {
				t.Errorf("asked %d times about %d files", asked, len(files))
			}
			to.must(opOpen, 0, nil)
			want := "\x01b\x012"
			if features {
				want = ""
			}
			r := to.must(opScan, 0, scanBody(0, 1<<16, "", ""))
			if !bytes.HasPrefix(r.body, []byte("\x01a\x011"+want+"\x01c\xf4\x033")) {
				t.Errorf("%.40q", r.body)
			}
			to.must(opClose, 0, nil)
		})
	}
}

func TestAnImportOfFilesThatIsGivenUp(t *testing.T) {
	dev := &volume.MemDevice{}
	e := start(t, dev)
	for _, c := range []call{
		{op: opImportFileNext, body: []byte("x")},
		{op: opImportFilesEnd},
		{op: opImportFilesEnd, flags: importAbort},
		{op: opImportFile, body: []byte{200}},
		{op: opImportFile, body: importFileBody("000001.log", 0)},
	} {
		if r := e.call(c); codeOf(r[0]) != "TEMPEST_INVALID_ARGUMENT" {
			t.Errorf("op %d: %s", c.op, codeOf(r[0]))
		}
	}
	e.must(opImportFilesEnd, importAbort, nil)
	e.must(opImportFile, 0, importFileBody("CURRENT", 0))
	for _, op := range []byte{opOpen, opImport, opRepair} {
		if r := e.call(call{op: op}); codeOf(r[0]) != "TEMPEST_INVALID_ARGUMENT" {
			t.Errorf("op %d during an import: %s", op, codeOf(r[0]))
		}
	}
	e.must(opImportFileNext, 0, []byte("MANIFEST-000001\n"))
	if r := e.call(call{op: opImportFilesEnd}); codeOf(r[0]) != "TEMPEST_CORRUPTION" {
		t.Error(codeOf(r[0]))
	}
	e.must(opImportFilesEnd, importAbort, nil)
	if size, _ := dev.Size(); size != 0 {
		t.Errorf("%d bytes are left", size)
	}
	e.must(opOpen, 0, nil)
	if r := e.call(call{op: opImportFile, body: importFileBody("CURRENT", 0)}); codeOf(r[0]) != "TEMPEST_INVALID_ARGUMENT" {
		t.Error(codeOf(r[0]))
	}
	e.must(opClose, 0, nil)
}

func TestRepairOverTheBridge(t *testing.T) {
	src := &volume.MemDevice{}
	e := start(t, src)
	e.must(opOpen, 0, nil)
	e.must(opWrite, 0, putOps("a", "1", "b", "2"))
	e.must(opClose, 0, nil)
	for _, page := range []int64{0, volume.PageSize} {
		if err := src.WriteAt(make([]byte, 64), page); err != nil {
			t.Fatal(err)
		}
	}
	dst := &volume.MemDevice{}
	e = start(t, pair{dst, src})
	r := e.must(opRepair, 0, nil)
	c := cursor{r.body}
	manifest, _ := c.bytes()
	count, _ := c.u32()
	file, _ := c.bytes()
	if !strings.HasPrefix(string(manifest), "MANIFEST-") || count != 1 || string(file) != "volume" {
		t.Errorf("%q", r.body)
	}
	e.must(opOpen, 0, nil)
	if r := e.must(opGet, 0, []byte("b")); string(r.body) != "2" {
		t.Errorf("%q", r.body)
	}
	e.must(opClose, 0, nil)

	// Nothing to repair, and nothing that could be: either leaves nothing.
	text := &volume.MemDevice{}
	if err := text.WriteAt(bytes.Repeat([]byte("text "), 50_000), 0); err != nil {
		t.Fatal(err)
	}
	for want, source := range map[string]*volume.MemDevice{"TEMPEST_INVALID_ARGUMENT": {}, "TEMPEST_CORRUPTION": text} {
		dst := &volume.MemDevice{}
		r := start(t, pair{dst, source}).call(call{op: opRepair})
		if size, _ := dst.Size(); codeOf(r[0]) != want || size != 0 {
			t.Errorf("%s, and %d bytes are left; want %s", codeOf(r[0]), size, want)
		}
	}
}

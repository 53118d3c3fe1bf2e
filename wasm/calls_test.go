//go:build js && wasm

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"tempestkv/kv/base"
	"tempestkv/kv/volume"
)

func u64s(v ...uint64) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b
}

// one makes a call and returns its only answer.
func (e *engineTest) one(t *testing.T, c call) reply {
	t.Helper()
	r := e.call(c)
	if len(r) != 1 || r[0].id != c.id {
		t.Fatalf("%+v", r)
	}
	return r[0]
}

func TestASnapshotStaysAsItIs(t *testing.T) {
	e := opened(t)
	e.call(call{id: 1, op: opWrite, body: putOps("k", "old")})
	if r := e.one(t, call{id: 2, op: opSnapshot}); !bytes.Equal(r.body, u64s(1)) {
		t.Fatalf("%+v", r)
	}
	e.call(call{id: 3, op: opWrite, body: putOps("k", "new", "l", "new")})
	if r := e.one(t, call{id: 4, op: opGet, flags: getSnapshot, body: append(u32s(2), 'k')}); string(r.body) != "old" {
		t.Errorf("%+v", r)
	}
	if r := e.one(t, call{id: 5, op: opGet, flags: getSequence, body: []byte("l")}); string(r.body) != string(u64s(3))+"new" {
		t.Errorf("%+v", r)
	}
	if r := e.one(t, call{id: 6, op: opCount, flags: scanSnapshot, body: append(u32s(2), 0, 0)}); !bytes.Equal(r.body, u64s(1)) {
		t.Errorf("%+v", r)
	}
	e.call(call{id: 7, op: opSnapshotClose, body: u32s(2)})
	if r := e.one(t, call{id: 8, op: opGet, flags: getSnapshot, body: append(u32s(2), 'k')}); codeOf(r) != "TEMPEST_CLOSED" {
		t.Errorf("%+v", r)
	}
}

func TestAWriteOnConditionIsRefusedAfterAChange(t *testing.T) {
	e := opened(t)
	e.call(call{id: 1, op: opWrite, body: putOps("k", "1")})
	ofKey := append(u64s(1), u32s(1)...)
	ofKey = append(appendString(ofKey, "k"), u32s(0)...)
	ofRange := append(u64s(1), u32s(0, 1)...)
	ofRange = appendString(appendString(append(ofRange, scanHasLower), "a"), "")
	for _, condition := range [][]byte{ofKey, ofRange} {
		write := call{id: 2, op: opWrite, flags: flagConditional, body: append(bytes.Clone(condition), putOps("k", "2")...)}
		if r := e.one(t, write); r.status != statusOK {
			t.Fatalf("%+v", r)
		}
		if r := e.one(t, write); codeOf(r) != "TEMPEST_CONFLICT" {
			t.Fatalf("%s", codeOf(r))
		}
		// Each condition begins at the write of the one before.
		binary.LittleEndian.PutUint64(ofRange, 2)
	}
}

func TestUpkeepEndsByPumps(t *testing.T) {
	e := opened(t)
	for i := range 50 {
		e.call(call{id: 1, op: opWrite, body: putOps("k"+string(rune('a'+i%26)), strings.Repeat("v", 20000))})
	}
	for _, c := range []call{{id: 2, op: opFlush}, {id: 3, op: opCompact, body: []byte{0, 0}}, {id: 4, op: opVerify}} {
		if r := e.one(t, c); r.status != statusOK {
			t.Errorf("%+v", r)
		}
	}
	if r := e.one(t, call{id: 5, op: opVerify}); !bytes.HasPrefix(r.body, u32s(0)) {
		t.Errorf("%+v", r)
	}
	if len(e.host.replies[0]) == 0 || e.host.replies[0][0].id != noticeID {
		t.Errorf("no notice of a flush: %+v", e.host.replies[0])
	}
}

func TestBackgroundWorkEndsWithoutFurtherCalls(t *testing.T) {
	e := start(t, &volume.MemDevice{})
	e.one(t, call{id: 1, op: opOpen, body: binary.AppendUvarint([]byte{tagMemtableBytes}, 64<<10)})
	for i := range 150 {
		frame := frameOf(7, call{id: 1, op: opWrite, body: putOps(fmt.Sprintf("k%03d", i), strings.Repeat("v", 10000))})
		copy(e.alloc(uint32(len(frame))), frame)
		e.submit(uint32(len(frame)))
		e.settle()
	}
	e.idle()
	if n := e.parked.Load(); n != 0 || e.db.IsBusy() {
		t.Errorf("%d jobs wait for a pump that nobody makes", n)
	}
	e.host.take()
	if s := statsOf(e.one(t, call{id: 2, op: opStats})); s["memtables"] != 1 || s["flushes"] < 5 {
		t.Errorf("%v memtables, %v flushes", s["memtables"], s["flushes"])
	}
}

func TestAWatchWaitsWithoutKeepingTheEngineRunning(t *testing.T) {
	e := opened(t)
	if r := e.one(t, call{id: 1, op: opWatch, flags: watchValues, body: append(u64s(0), u32s(0)...)}); !bytes.Equal(r.body, u64s(0)) {
		t.Fatalf("%+v", r)
	}
	if r := e.call(call{id: 2, op: opWatchNext, body: u32s(1, 1000)}); len(r) != 0 || e.unanswered != 0 {
		t.Fatalf("%+v, %d unanswered", r, e.unanswered)
	}
	var told []byte
	for _, r := range e.call(call{id: 3, op: opWrite, body: putOps("k", "v")}) {
		if r.id == 2 {
			told = r.body
		}
	}
	if want := append(u64s(1), "\x01\x00\x00\x00\x01\x01k\x01v"...); !bytes.Equal(told, want) {
		t.Errorf("%x, want %x", told, want)
	}
	e.call(call{id: 4, op: opWatchNext, body: u32s(1, 1000)})
	r := e.call(call{id: 5, op: opWatchClose, body: u32s(1)})
	if len(r) != 2 || e.unanswered != 0 {
		t.Errorf("%+v, %d unanswered", r, e.unanswered)
	}
}

func TestAnExportIsImported(t *testing.T) {
	e := opened(t)
	e.call(call{id: 1, op: opWrite, body: putOps("a", "1", "b", strings.Repeat("x", 300000))})
	if r := e.one(t, call{id: 2, op: opExport}); r.status != statusOK {
		t.Fatalf("%+v", r)
	}
	e.call(call{id: 3, op: opWrite, body: putOps("later", "1")})
	dev := &volume.MemDevice{}
	copied := start(t, dev)
	for last := false; !last; {
		r := e.one(t, call{id: 4, op: opExportNext, body: u32s(2, 100000)})
		last = r.flags&exportLast != 0
		if r := copied.one(t, call{id: 5, op: opImport, body: r.body}); r.status != statusOK {
			t.Fatalf("%s", codeOf(r))
		}
	}
	e.call(call{id: 6, op: opExportClose, body: u32s(2)})
	if r := copied.one(t, call{id: 7, op: opOpen}); codeOf(r) != "TEMPEST_INVALID_ARGUMENT" {
		t.Errorf("opened in the middle of an import: %+v", r)
	}
	for _, c := range []call{{id: 8, op: opImportEnd}, {id: 9, op: opOpen}} {
		if r := copied.one(t, c); r.status != statusOK {
			t.Fatalf("%s", codeOf(r))
		}
	}
	if r := copied.one(t, call{id: 10, op: opGet, body: []byte("b")}); len(r.body) != 300000 {
		t.Errorf("%+v", r)
	}
	if r := copied.one(t, call{id: 11, op: opGet, body: []byte("later")}); r.status != statusNotFound {
		t.Errorf("%+v", r)
	}
}

func TestWhatHasExpiredIsGone(t *testing.T) {
	e := opened(t)
	e.host.time = 1000
	value := append(base.AppendExpiry(nil, 2000), "v"...)
	ops := append(u32s(1), byte(base.KindPutExpiring))
	e.call(call{id: 1, op: opWrite, body: appendString(appendString(ops, "k"), string(value))})
	if r := e.one(t, call{id: 2, op: opGet, body: []byte("k")}); string(r.body) != "v" {
		t.Errorf("%+v", r)
	}
	e.host.time = 2000
	if r := e.one(t, call{id: 3, op: opGet, body: []byte("k")}); r.status != statusNotFound {
		t.Errorf("%+v", r)
	}
}

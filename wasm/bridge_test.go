//go:build js && wasm

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/volume"
)

// fakeHost keeps what the engine sends.
type fakeHost struct {
	t         *testing.T
	replies   map[uint32][]reply // by session
	frames    int
	largest   int // size of a frame
	scheduled int
	time      float64
	lines     []string
}

type reply struct {
	id            uint32
	status, flags byte
	body          []byte
}

func (h *fakeHost) reply(frame []byte) {
	h.frames++
	h.largest = max(h.largest, len(frame))
	if frame[0] != frameVersion || frame[1] != frameReply || int(binary.LittleEndian.Uint32(frame[12:])) != len(frame) {
		h.t.Fatalf("bad header of a reply: %x", frame[:frameHeaderSize])
	}
	session, count := binary.LittleEndian.Uint32(frame[4:]), binary.LittleEndian.Uint32(frame[8:])
	b := frame[frameHeaderSize:]
	for range count {
		end := entryHeaderSize + binary.LittleEndian.Uint32(b[8:])
		h.replies[session] = append(h.replies[session], reply{
			id: binary.LittleEndian.Uint32(b), status: b[4], flags: b[5], body: bytes.Clone(b[entryHeaderSize:end])})
		b = b[end:]
	}
	if len(b) != 0 {
		h.t.Fatal("bytes behind the last reply")
	}
}

func (h *fakeHost) schedule() { h.scheduled++ }

func (h *fakeHost) now() float64 { return h.time }

func (h *fakeHost) log(_ kv.LogLevel, text string) { h.lines = append(h.lines, text) }

// take returns the replies of session 7 since the last take.
func (h *fakeHost) take() []reply {
	r := h.replies[7]
	h.replies[7] = nil
	return r
}

type call struct {
	id        uint32
	op, flags byte
	body      []byte
}

func frameOf(session uint32, calls ...call) []byte {
	f := make([]byte, frameHeaderSize)
	f[0], f[1] = frameVersion, frameRequest
	binary.LittleEndian.PutUint32(f[4:], session)
	binary.LittleEndian.PutUint32(f[8:], uint32(len(calls)))
	for _, c := range calls {
		f = binary.LittleEndian.AppendUint32(f, c.id)
		f = append(f, c.op, c.flags, 0, 0)
		f = binary.LittleEndian.AppendUint32(f, uint32(len(c.body)))
		f = append(f, c.body...)
	}
	binary.LittleEndian.PutUint32(f[12:], uint32(len(f)))
	return f
}

func putOps(keysAndValues ...string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(keysAndValues)/2))
	for i := 0; i < len(keysAndValues); i += 2 {
		b = append(b, byte(base.KindPut))
		b = appendString(b, keysAndValues[i])
		b = appendString(b, keysAndValues[i+1])
	}
	return b
}

func scanBody(limit, maxBytes uint32, lower, upper string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, limit)
	b = binary.LittleEndian.AppendUint32(b, maxBytes)
	return appendString(appendString(b, lower), upper)
}

func u32s(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

type engineTest struct {
	*bridge
	host *fakeHost
}

func start(t *testing.T, d volume.Device) *engineTest {
	h := &fakeHost{t: t, replies: map[uint32][]reply{}}
	b := newBridge(h, d)
	go b.serve()
	return &engineTest{b, h}
}

// call submits calls as the exports do and returns the answers.
func (e *engineTest) call(calls ...call) []reply {
	e.raw(frameOf(7, calls...))
	return e.host.take()
}

func (e *engineTest) raw(frame []byte) {
	copy(e.alloc(uint32(len(frame))), frame)
	e.submit(uint32(len(frame)))
	e.settle()
	e.idle()
}

// idle pumps as the host does when it has nothing else to do.
func (e *engineTest) idle() {
	for e.host.scheduled > 0 {
		e.host.scheduled = 0
		e.pump()
		e.settle()
	}
}

func opened(t *testing.T) *engineTest {
	e := start(t, &volume.MemDevice{})
	if r := e.call(call{id: 1, op: opOpen}); len(r) != 1 || r[0].status != statusOK || len(r[0].body) != 17 {
		t.Fatalf("open: %+v", r)
	}
	return e
}

// codeOf returns the code of an error reply.
func codeOf(r reply) string {
	c := cursor{r.body}
	code, _ := c.bytes()
	if r.status != statusError {
		return fmt.Sprintf("status %d", r.status)
	}
	return string(code)
}

func TestACallIsAnsweredBeforeSubmitReturns(t *testing.T) {
	e := opened(t)
	r := e.call(
		call{id: 1, op: opWrite, body: putOps("a", "1", "b", "2")},
		call{id: 2, op: opWrite, flags: flagStrict, body: putOps("c", "3")},
		call{id: 3, op: opGet, body: []byte("b")},
		call{id: 4, op: opGet, body: []byte("missing")},
		call{id: 5, op: opGetMany, body: append(u32s(3), "\x01c\x01x\x01a"...)},
		call{id: 6, op: opScan, body: scanBody(0, 1<<16, "", "")},
		call{id: 7, op: opStats},
		call{id: 8, op: opGetMany, body: u32s(0)},
	)
	got := map[uint32]reply{}
	for _, x := range r {
		got[x.id] = x
	}
	if len(r) != 8 || len(got) != 8 || e.host.frames != 2 {
		t.Fatalf("%d replies to 8 calls in %d frames", len(r), e.host.frames-1)
	}
	for id, want := range map[uint32]reply{
		1: {status: statusOK, body: []byte{2, 0, 0, 0, 0, 0, 0, 0}},
		2: {status: statusOK, body: []byte{3, 0, 0, 0, 0, 0, 0, 0}},
		3: {status: statusOK, body: []byte("2")},
		4: {status: statusNotFound},
		5: {status: statusOK, body: []byte("\x023\x00\x021")},
		6: {status: statusOK, flags: scanEnded, body: []byte("\x01a\x011\x01b\x012\x01c\x013")},
		8: {status: statusOK},
	} {
		if g := got[id]; g.status != want.status || g.flags != want.flags || !bytes.Equal(g.body, want.body) {
			t.Errorf("%d: %+v, want %+v", id, g, want)
		}
	}
	stats := statsOf(got[7])
	if stats["sequence"] != 3 || stats["memtables"] != 1 || stats["logs"] != 1 {
		t.Error(stats)
	}
	if e.unanswered != 0 {
		t.Error("unanswered:", e.unanswered)
	}
}

func statsOf(r reply) map[string]float64 {
	m := map[string]float64{}
	for c := (cursor{r.body}); len(c.b) > 0; {
		name, _ := c.bytes()
		m[string(name)] = math.Float64frombits(binary.LittleEndian.Uint64(c.b))
		c.b = c.b[8:]
	}
	return m
}

// TestManyCallsWithCollections: a garbage collection that begins in the worker
// parks it; submit must not return before it has answered.
func TestManyCallsWithCollections(t *testing.T) {
	e := opened(t)
	for i := range 30000 {
		key := fmt.Sprintf("%08d", i)
		if i%1000 == 0 {
			go runtime.GC()
		}
		r := e.call(call{id: 1, op: opWrite, body: putOps(key, key)}, call{id: 2, op: opGet, body: []byte(key)})
		if len(r) != 2 || r[0].status != statusOK || string(r[1].body) != key {
			t.Fatalf("%d: %+v", i, r)
		}
	}
}

func TestAScanCrossesInRuns(t *testing.T) {
	e := opened(t)
	var want string
	for i := range 500 {
		k := fmt.Sprintf("%03d", i)
		e.call(call{id: 1, op: opWrite, body: putOps(k, "v")})
		want += "\x03" + k + "\x01v"
	}
	for _, maxBytes := range []uint32{0, 1, 50, 1000, 1 << 20, math.MaxUint32} {
		r := e.call(call{id: 9, op: opScan, body: scanBody(0, maxBytes, "", "")})
		var got []byte
		runs := 0
		for {
			if len(r) != 1 || r[0].status != statusOK {
				t.Fatalf("%+v", r)
			}
			runs++
			got = append(got, r[0].body...)
			if limit := max(int(maxBytes), 1); len(r[0].body) >= limit+6 {
				t.Fatalf("a run of %d bytes, limit %d", len(r[0].body), maxBytes)
			}
			if r[0].flags&scanEnded != 0 {
				break
			}
			r = e.call(call{id: 10, op: opScanNext, body: u32s(9, maxBytes)})
		}
		if string(got) != want {
			t.Fatalf("limit %d: %q", maxBytes, got)
		}
		if maxBytes == 50 && runs < 50 {
			t.Errorf("only %d runs", runs)
		}
		if r := e.call(call{id: 10, op: opScanNext, body: u32s(9, 1)}); codeOf(r[0]) != "TEMPEST_CLOSED" {
			t.Error("after the end:", codeOf(r[0]))
		}
	}
	if s := statsOf(e.call(call{id: 1, op: opStats})[0]); s["openScans"] != 0 {
		t.Error("scans left open:", s["openScans"])
	}
}

func TestScanBoundsAndFlags(t *testing.T) {
	e := opened(t)
	e.call(call{id: 1, op: opWrite, body: putOps("a", "1", "b", "2", "c", "3", "d", "4")})
	for _, c := range []struct {
		flags        byte
		limit        uint32
		lower, upper string
		want         string
	}{
		{scanHasLower, 0, "b", "", "\x01b\x012\x01c\x013\x01d\x014"},
		{scanHasLower | scanLowerExclusive, 0, "b", "", "\x01c\x013\x01d\x014"},
		{scanHasUpper, 0, "", "c", "\x01a\x011\x01b\x012"},
		{scanHasUpper | scanUpperInclusive, 0, "", "c", "\x01a\x011\x01b\x012\x01c\x013"},
		{scanHasUpper, 0, "", "", ""},
		{scanReverse | scanKeysOnly, 2, "", "", "\x01d\x00\x01c\x00"},
	} {
		r := e.call(call{id: 1, op: opScan, flags: c.flags, body: scanBody(c.limit, 1000, c.lower, c.upper)})
		if len(r) != 1 || r[0].flags != scanEnded || string(r[0].body) != c.want {
			t.Errorf("%+v: %+v", c, r)
		}
	}
}

func TestAScanClosedEarlyFreesItsPlace(t *testing.T) {
	e := opened(t)
	e.call(call{id: 1, op: opWrite, body: putOps("a", "1", "b", "2", "c", "3")})
	for range 3 * kv.MaxOpenScans {
		r := e.call(call{id: 5, op: opScan, body: scanBody(0, 1, "", "")})
		if len(r) != 1 || r[0].flags != 0 {
			t.Fatalf("%+v", r)
		}
		// A call for a run and the close in one frame: both are answered.
		r = e.call(call{id: 6, op: opScanNext, body: u32s(5, 1)}, call{id: 7, op: opScanClose, body: u32s(5)})
		if len(r) != 2 {
			t.Fatalf("%+v", r)
		}
		e.call(call{id: 8, op: opScanClose, body: u32s(5)})
	}
	// Opened and closed before it could begin.
	r := e.call(call{id: 5, op: opScan, body: scanBody(0, 1, "", "")}, call{id: 7, op: opScanClose, body: u32s(5)})
	if len(r) != 2 {
		t.Fatalf("%+v", r)
	}
	if s := statsOf(e.call(call{id: 1, op: opStats})[0]); s["openScans"] != 0 || len(e.scans) != 0 {
		t.Error("scans left open:", s["openScans"], len(e.scans))
	}
}

func TestTooManyScans(t *testing.T) {
	e := opened(t)
	e.call(call{id: 1, op: opWrite, body: putOps("a", "1", "b", "2", "c", "3")})
	for i := range uint32(kv.MaxOpenScans) {
		if r := e.call(call{id: i, op: opScan, body: scanBody(0, 1, "", "")}); r[0].status != statusOK {
			t.Fatal(codeOf(r[0]))
		}
	}
	if r := e.call(call{id: 100, op: opScan, body: scanBody(0, 1, "", "")}); codeOf(r[0]) != "TEMPEST_BUSY" {
		t.Error(codeOf(r[0]))
	}
	if r := e.call(call{id: 5, op: opScan, body: scanBody(0, 1, "", "")}); codeOf(r[0]) != "TEMPEST_INVALID_ARGUMENT" {
		t.Error(codeOf(r[0]))
	}
	next := call{id: 200, op: opScanNext, body: u32s(3, 1)}
	busy := 0
	for _, r := range e.call(next, next, next, next, next, next) {
		if codeOf(r) == "TEMPEST_BUSY" {
			busy++
		}
	}
	// The queue holds four, and the scan may have taken one off it meanwhile.
	if busy < 1 || busy > 2 {
		t.Errorf("%d of 6 calls for one scan were refused, want 1 or 2", busy)
	}
}

// TestAnswersAreWrittenWhole: while an answer grows, a collection may park its
// goroutine, and others answer meanwhile.
func TestAnswersAreWrittenWhole(t *testing.T) {
	e := opened(t)
	value := strings.Repeat("v", 100_000)
	for i := range 10 {
		e.call(call{id: 1, op: opWrite, body: putOps(fmt.Sprint(i), value)})
	}
	for range 10 {
		var calls []call
		for i := range uint32(60) {
			calls = append(calls, call{id: i, op: opScan, body: scanBody(0, 1<<20, "", "")})
			calls = append(calls, call{id: 100 + i, op: opGet, body: []byte("3")})
		}
		for len(calls) > 0 {
			answers := e.call(calls...)
			if len(answers) != len(calls) {
				t.Fatalf("%d answers to %d calls", len(answers), len(calls))
			}
			calls = calls[:0]
			for _, r := range answers {
				if r.status != statusOK || r.id >= 100 && string(r.body) != value {
					t.Fatalf("call %d: status %d, %d bytes", r.id, r.status, len(r.body))
				}
				if r.id < 100 && r.flags&scanEnded == 0 {
					calls = append(calls, call{id: r.id, op: opScanNext, body: u32s(r.id, 1<<20)})
				}
			}
		}
	}
}

func TestAScanAndTheCloseOfTheEngineInOneFrame(t *testing.T) {
	e := opened(t)
	e.call(call{id: 1, op: opWrite, body: putOps("a", "1", "b", "2")})
	r := e.call(call{id: 2, op: opScan, body: scanBody(0, 1, "", "")}, call{id: 3, op: opClose})
	if len(r) != 2 || e.unanswered != 0 {
		t.Errorf("%+v", r)
	}
}

func TestCallsBeforeTheCloseInOneFrameAreCarriedOut(t *testing.T) {
	for range 50 {
		e := opened(t)
		r := e.call(call{id: 1, op: opWrite, body: putOps("a", "1")}, call{id: 2, op: opGet, body: []byte("a")}, call{id: 3, op: opClose})
		for _, x := range r {
			if x.status != statusOK {
				t.Fatalf("call %d: %s", x.id, codeOf(x))
			}
		}
	}
}

func TestAGetManyLargerThanAFrameIsRefused(t *testing.T) {
	e := opened(t)
	e.call(call{id: 1, op: opWrite, body: putOps("a", strings.Repeat("v", 1<<20))})
	many := func(count int) []byte {
		return append(u32s(uint32(count)), strings.Repeat("\x01a", count)...)
	}
	r := e.call(call{id: 1, op: opGetMany, body: many(126)}, call{id: 2, op: opGetMany, body: many(200)}, call{id: 3, op: opGet, body: []byte("a")})
	got := map[uint32]string{}
	for _, x := range r {
		got[x.id] = codeOf(x)
	}
	if got[1] != "status 0" || got[2] != "TEMPEST_INVALID_ARGUMENT" || got[3] != "status 0" {
		t.Error(got)
	}
	if e.host.largest > maxFrameBytes {
		t.Errorf("a reply frame of %d bytes", e.host.largest)
	}
}

func TestSessionsAreAnsweredApart(t *testing.T) {
	e := opened(t)
	e.raw(frameOf(1, call{id: 5, op: opWrite, body: putOps("a", "1")}))
	e.raw(frameOf(2, call{id: 5, op: opScan, body: scanBody(0, 1, "", "")}, call{id: 6, op: opGet, body: []byte("a")}))
	if len(e.host.replies[1]) != 1 || len(e.host.replies[2]) != 2 {
		t.Error(e.host.replies)
	}
}

func TestMalformedBodiesAreRefusedOneByOne(t *testing.T) {
	e := opened(t)
	for _, c := range []call{
		{op: opWrite}, {op: opWrite, body: u32s(1)}, {op: opWrite, body: append(u32s(1), 9)},
		{op: opWrite, body: append(u32s(2), 0, 1, 'x')}, {op: opWrite, body: append(u32s(1), 0, 1, 'x', 'y')},
		{op: opGetMany}, {op: opGetMany, body: u32s(math.MaxUint32)}, {op: opGetMany, body: append(u32s(1), 5, 'x')},
		{op: opGetMany, body: append(u32s(1), 1, 'x', 'y')},
		{op: opScan}, {op: opScan, body: scanBody(math.MaxUint32, 0, "", "")}, {op: opScan, body: append(scanBody(0, 0, "", ""), 0)},
		{op: opScanNext}, {op: opScanClose}, {op: opOpen}, {op: opOpen, body: []byte{1}},
	} {
		r := e.call(c, call{id: 2, op: opStats})
		if len(r) != 2 || codeOf(r[0]) != "TEMPEST_INVALID_ARGUMENT" || statsOf(r[1])["sequence"] != 0 {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	if r := e.call(call{op: 99}); codeOf(r[0]) != "TEMPEST_NOT_SUPPORTED" {
		t.Error(codeOf(r[0]))
	}
	r := e.call(call{op: opWrite, body: putOps("\xff\xffx", "")}, call{op: opWrite, body: putOps(strings.Repeat("k", base.MaxKeyBytes+1), "")})
	if codeOf(r[0]) != "TEMPEST_INVALID_KEY" || codeOf(r[1]) != "TEMPEST_INVALID_KEY" {
		t.Error(codeOf(r[0]), codeOf(r[1]))
	}
}

// TestMalformedFramesAreRefusedWhole mutates good frames at random: the engine
// never panics, and goes on working.
func TestMalformedFramesAreRefusedWhole(t *testing.T) {
	e := opened(t)
	good := frameOf(7,
		call{id: 1, op: opWrite, body: putOps("a", "1")},
		call{id: 2, op: opGetMany, body: append(u32s(2), "\x01a\x01b"...)},
		call{id: 3, op: opScan, flags: scanHasLower, body: scanBody(3, 10, "a", "z")},
		call{id: 4, op: opScanClose, body: u32s(3)},
	)
	refused := 0
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		f := bytes.Clone(good)
		for range 1 + rng.IntN(3) {
			f[rng.IntN(len(f))] = byte(rng.Uint32())
		}
		if rng.IntN(4) == 0 {
			f = f[:rng.IntN(len(f))]
		}
		if bytes.IndexByte(opsOf(f), opPanic) >= 0 || bytes.IndexByte(opsOf(f), opClose) >= 0 {
			continue
		}
		e.raw(f)
		for _, rs := range e.host.replies {
			for _, r := range rs {
				if r.id == badFrameID {
					refused++
				}
			}
		}
		clear(e.host.replies)
		e.closeScans(func(*openScan) bool { return true })
		e.endWatches(func(callKey) bool { return true })
		e.settle()
	}
	if refused < 1000 {
		t.Error("only", refused, "frames were refused")
	}
	if r := e.call(call{id: 9, op: opStats}); len(r) != 1 || r[0].status != statusOK || e.unanswered != 0 {
		t.Errorf("%+v, %d unanswered", r, e.unanswered)
	}
}

// opsOf returns the ops of a frame as far as it can be read.
func opsOf(f []byte) (ops []byte) {
	if len(f) < frameHeaderSize {
		return nil
	}
	for b := f[frameHeaderSize:]; len(b) >= entryHeaderSize; {
		ops = append(ops, b[4])
		size := binary.LittleEndian.Uint32(b[8:])
		if uint64(size) > uint64(len(b)-entryHeaderSize) {
			break
		}
		b = b[entryHeaderSize+size:]
	}
	return ops
}

func TestCallsBeforeOpenAndAfterClose(t *testing.T) {
	d := &volume.MemDevice{}
	e := start(t, d)
	if r := e.call(call{id: 1, op: opGet}); codeOf(r[0]) != "TEMPEST_INVALID_ARGUMENT" {
		t.Error(codeOf(r[0]))
	}
	e.call(call{id: 1, op: opOpen}, call{id: 2, op: opWrite, body: putOps("a", "1", "b", "2")})
	e.call(call{id: 3, op: opScan, body: scanBody(0, 1, "", "")})
	r := e.call(call{id: 4, op: opScanNext, body: u32s(3, 1)}, call{id: 5, op: opClose}, call{id: 6, op: opGet}, call{id: 7, op: opClose})
	got := map[uint32]string{}
	for _, x := range r {
		got[x.id] = codeOf(x)
	}
	if got[5] != "status 0" || got[6] != "TEMPEST_CLOSED" || got[7] != "TEMPEST_CLOSED" || len(r) != 4 {
		t.Error(got)
	}
	e = start(t, d)
	r = e.call(call{id: 1, op: opOpen, body: []byte{tagMemtableBytes, 0x80, 0x80, 0x40}}, call{id: 2, op: opGet, body: []byte("b")})
	if len(r) != 2 || binary.LittleEndian.Uint64(r[0].body) != 2 || string(r[1].body) != "2" {
		t.Errorf("%+v", r)
	}
}

func TestAFailedOpenLeavesTheDeviceAlone(t *testing.T) {
	d := &volume.MemDevice{}
	foreign := bytes.Repeat([]byte("not a store "), 20000)
	if err := d.WriteAt(foreign, 0); err != nil {
		t.Fatal(err)
	}
	e := start(t, d)
	r := e.call(call{id: 1, op: opOpen}, call{id: 2, op: opGet})
	if r[0].status != statusError || codeOf(r[1]) != "TEMPEST_INVALID_ARGUMENT" {
		t.Errorf("%s %s", codeOf(r[0]), codeOf(r[1]))
	}
	got := make([]byte, len(foreign)+1)
	if n, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got[:n], foreign) {
		t.Error("the foreign file was changed")
	}
}

// pendingDevice answers like a host whose calls are promises: it waits until
// the test wakes it.
type pendingDevice struct {
	volume.MemDevice
	token uint32
}

func (d *pendingDevice) Sync() error {
	d.token++
	waiting.wait(d.token)
	return d.MemDevice.Sync()
}

func TestCallsWaitForAHostThatAnswersLater(t *testing.T) {
	e := start(t, &pendingDevice{})
	e.raw(frameOf(7, call{id: 1, op: opOpen}))
	e.raw(frameOf(7, call{id: 2, op: opWrite, flags: flagStrict, body: putOps("a", "1")}, call{id: 3, op: opGet, body: []byte("a")}))
	wakes := 0
	for len(waiting.calls) > 0 {
		for token := range waiting.calls {
			wakes++
			waiting.wake(token, 0)
		}
		e.settle()
	}
	r := e.host.take()
	if len(r) != 3 || r[1].status != statusOK || string(r[2].body) != "1" || wakes < 3 {
		t.Errorf("%+v after %d wakes", r, wakes)
	}
}

func TestTooManyFramesAreRefused(t *testing.T) {
	e := start(t, &pendingDevice{})
	e.raw(frameOf(7, call{id: 1, op: opOpen}))
	runtime.Gosched()
	for i := range uint32(frameQueue + 1) {
		e.raw(frameOf(7, call{id: 2 + i, op: opGet, body: []byte("a")}))
	}
	r := e.host.take()
	if len(r) != 1 || codeOf(r[0]) != "TEMPEST_BUSY" {
		t.Fatalf("%d replies", len(r))
	}
	for len(waiting.calls) > 0 {
		for token := range waiting.calls {
			waiting.wake(token, 0)
		}
		e.settle()
	}
	if r := e.host.take(); len(r) != 1+frameQueue {
		t.Errorf("%d replies", len(r))
	}
}

package kv_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"runtime"
	"strings"
	"sync"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/errorfs"
	"tempestkv/kv/vfs/osfs"
	"tempestkv/kv/volume"
)

var ctx = context.Background()

var strict = &kv.WriteOptions{Strict: true}

// open opens fs and closes the DB with the test.
func open(t testing.TB, fs vfs.FS, opts *kv.Options) *kv.DB {
	t.Helper()
	db, err := kv.Open(fs, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, kv.ErrWorkerDied) && db.Fate() == kv.ErrClosed {
			t.Error("close:", err)
		}
	})
	return db
}

func put(t testing.TB, db *kv.DB, key, value string) {
	t.Helper()
	if _, err := db.Put(ctx, []byte(key), []byte(value), nil); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

func wantValue(t testing.TB, db *kv.DB, key, want string) {
	t.Helper()
	got, err := db.Get(ctx, []byte(key))
	if err != nil || string(got) != want {
		t.Fatalf("get %q: %q, %v, want %q", key, got, err, want)
	}
}

func wantMissing(t testing.TB, db *kv.DB, key string) {
	t.Helper()
	if got, err := db.Get(ctx, []byte(key)); err != kv.ErrNotFound {
		t.Fatalf("get %q: %q, %v, want ErrNotFound", key, got, err)
	}
}

// entries reads a whole scan as "key=value" words.
func entries(t testing.TB, db *kv.DB, opts *kv.ScanOptions) string {
	t.Helper()
	s, err := db.Scan(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var words []string
	for s.Next() {
		words = append(words, string(s.Key())+"="+string(s.Value()))
	}
	if err := s.Error(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(words, " ")
}

// stores are the places a DB can live in; each call of again opens the same
// place anew.
func stores(t *testing.T) map[string]func() vfs.FS {
	mem, device, dir := vfs.NewMem(), &volume.MemDevice{}, t.TempDir()
	var folder *osfs.FS
	places := map[string]func() vfs.FS{
		"memory": func() vfs.FS { return mem },
		"volume": func() vfs.FS {
			v, err := volume.Open(device, nil)
			if err != nil {
				t.Fatal(err)
			}
			return v
		},
		"folder": func() vfs.FS {
			if folder != nil {
				folder.Close()
			}
			var err error
			if folder, err = osfs.Open(dir); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { folder.Close() })
			return folder
		},
	}
	if runtime.GOOS == "js" {
		delete(places, "folder") // Node's files cannot be locked
	}
	return places
}

func TestEveryStoreKeepsWhatWasWritten(t *testing.T) {
	for name, again := range stores(t) {
		t.Run(name, func(t *testing.T) {
			opts := &kv.Options{MemtableBytes: 64 << 10}
			db := open(t, again(), opts)
			put(t, db, "b", "1")
			put(t, db, "a", "2")
			put(t, db, "", "empty key")
			put(t, db, "empty value", "")
			large := strings.Repeat("x", 1<<20)
			put(t, db, "large", large)
			for i := range 3000 {
				put(t, db, fmt.Sprintf("key%05d", i), fmt.Sprint(i))
			}
			if _, err := db.Delete(ctx, []byte("b"), strict); err != nil {
				t.Fatal(err)
			}
			before, err := db.Stats(ctx)
			if err != nil || before.Flushes < 1 {
				t.Fatalf("%+v, %v: want flushes", before, err)
			}
			for round := range 3 {
				wantMissing(t, db, "b")
				wantValue(t, db, "a", "2")
				wantValue(t, db, "", "empty key")
				wantValue(t, db, "empty value", "")
				wantValue(t, db, "large", large)
				wantValue(t, db, "key02999", "2999")
				if got := strings.Count(entries(t, db, nil), "key0"); got != 3000 {
					t.Fatalf("round %d: %d keys", round, got)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = open(t, again(), opts)
				if r := db.Recovery(); r.Sequence != before.Sequence || r.Text != "" {
					t.Fatalf("recovery %+v, want sequence %d", r, before.Sequence)
				}
			}
		})
	}
}

func TestOpeningAndClosingDoesNotGrowTheLog(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, nil)
	put(t, db, "k", "v")
	before, _ := db.Stats(ctx)
	for range 3 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, fs, nil)
	}
	after, _ := db.Stats(ctx)
	if after.LogBytes != before.LogBytes+19 { // one sync marker, at the first close
		t.Errorf("logs grew from %d to %d bytes by opening and closing", before.LogBytes, after.LogBytes)
	}
}

func TestPutAndDeleteOfOneKeyInOneBatchInBothOrders(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, nil)
	put(t, db, "old", "v")
	var b batch.Batch
	b.Put([]byte("gone"), []byte("v"))
	b.Delete([]byte("gone"))
	b.Delete([]byte("old"))
	b.Put([]byte("old"), []byte("new"))
	seq, err := db.Apply(ctx, &b, nil)
	if err != nil || seq != 5 {
		t.Fatal(seq, err)
	}
	for range 2 {
		wantMissing(t, db, "gone")
		wantValue(t, db, "old", "new")
		db.Close()
		db = open(t, fs, nil)
	}
}

func TestGetManySeesOneMoment(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	keys := [][]byte{[]byte("a"), []byte("missing"), []byte("b")}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			var b batch.Batch
			b.Put(keys[0], []byte(fmt.Sprint(i)))
			b.Put(keys[2], []byte(fmt.Sprint(i)))
			if _, err := db.Apply(ctx, &b, nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 500 {
		v, err := db.GetMany(ctx, keys)
		if err != nil || !bytes.Equal(v[0], v[2]) || v[1] != nil {
			t.Errorf("%q, %v", v, err)
			break
		}
	}
	close(stop)
	writer.Wait()
}

// order records the answers it is told.
type order struct {
	mu    sync.Mutex
	words []string
	done  chan struct{}
	left  int
}

func (o *order) add(word string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.words = append(o.words, word)
	if o.left--; o.left == 0 {
		close(o.done)
	}
}

func (o *order) WriteDone(id uint64, seq base.SeqNum, err error) {
	o.add(fmt.Sprintf("write%d@%d:%v", id, seq, err))
}

func (o *order) GetDone(id uint64, value []byte, _ base.SeqNum, err error) {
	o.add(fmt.Sprintf("get%d=%s:%v", id, value, err))
}

func TestAReadSeesEveryWriteSentBeforeIt(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	const n = 2000
	o := &order{done: make(chan struct{}), left: 2 * n}
	for i := range uint64(n) {
		var b batch.Batch
		b.Put([]byte("k"), binary.BigEndian.AppendUint64(nil, i))
		if err := db.SendWrite(ctx, b.Repr()[batch.HeaderSize:], 1, nil, i, o); err != nil {
			t.Fatal(err)
		}
		if err := db.SendGet(ctx, nil, []byte("k"), i, &atLeast{t, i, o}); err != nil {
			t.Fatal(err)
		}
	}
	<-o.done
	for _, w := range o.words {
		if !strings.HasSuffix(w, "<nil>") {
			t.Fatal(w)
		}
	}
}

// atLeast checks that a get sees write number want or a later one.
type atLeast struct {
	t    *testing.T
	want uint64
	*order
}

func (a *atLeast) GetDone(id uint64, value []byte, _ base.SeqNum, err error) {
	if err != nil || binary.BigEndian.Uint64(value) < a.want {
		a.t.Errorf("get sent behind write %d saw %x, %v", a.want, value, err)
	}
	a.order.GetDone(id, nil, 0, err)
}

func TestScanBounds(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	for _, k := range []string{"a", "b", "c", "d", "e"} {
		put(t, db, k, strings.ToUpper(k))
	}
	db.Delete(ctx, []byte("c"), nil)
	bounds := func(lower, upper string, lowerEx, upperIn bool) iterator.Bounds {
		b := iterator.Bounds{LowerExclusive: lowerEx, UpperInclusive: upperIn}
		if lower != "" {
			b.Lower = []byte(lower)
		}
		if upper != "" {
			b.Upper = []byte(upper)
		}
		return b
	}
	for _, c := range []struct {
		opts kv.ScanOptions
		want string
	}{
		{kv.ScanOptions{}, "a=A b=B d=D e=E"},
		{kv.ScanOptions{Reverse: true}, "e=E d=D b=B a=A"},
		{kv.ScanOptions{Bounds: bounds("b", "e", false, false)}, "b=B d=D"},
		{kv.ScanOptions{Bounds: bounds("b", "e", true, true)}, "d=D e=E"},
		{kv.ScanOptions{Bounds: bounds("b", "e", false, false), Reverse: true}, "d=D b=B"},
		{kv.ScanOptions{Bounds: bounds("b", "e", true, true), Reverse: true}, "e=E d=D"},
		{kv.ScanOptions{Bounds: bounds("c", "", false, false)}, "d=D e=E"},
		{kv.ScanOptions{Bounds: bounds("", "c", false, true)}, "a=A b=B"},
		{kv.ScanOptions{Bounds: bounds("d", "b", false, false)}, ""},
		{kv.ScanOptions{Limit: 2}, "a=A b=B"},
		{kv.ScanOptions{Limit: 2, Reverse: true, RunBytes: 1}, "e=E d=D"},
		{kv.ScanOptions{KeysOnly: true, RunBytes: 1}, "a= b= d= e="},
	} {
		if got := entries(t, db, &c.opts); got != c.want {
			t.Errorf("%+v: %q, want %q", c.opts, got, c.want)
		}
	}
	if s, _ := db.Stats(ctx); s.OpenScans != 0 {
		t.Error("scans left open:", s.OpenScans)
	}
}

func TestASlowScanBlocksNoWritesAndSeesNoneOfThem(t *testing.T) {
	db := open(t, vfs.NewMem(), &kv.Options{MemtableBytes: 64 << 10})
	for i := range 5000 {
		put(t, db, fmt.Sprintf("%05d", i), "before")
	}
	s, err := db.Scan(ctx, &kv.ScanOptions{RunBytes: 256})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Next() // and stand still
	for i := range 10000 {
		put(t, db, fmt.Sprintf("%05d", i), "after")
	}
	n := 1
	for s.Next() {
		if string(s.Value()) != "before" {
			t.Fatalf("entry %d: %s=%s", n, s.Key(), s.Value())
		}
		n++
	}
	if n != 5000 || s.Error() != nil {
		t.Error(n, s.Error())
	}
}

func TestAScanLeftEarlyFreesItsReadState(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	for i := range 100 {
		put(t, db, fmt.Sprint(i), "v")
	}
	var scans []*kv.Scan
	for range kv.MaxOpenScans {
		s, err := db.Scan(ctx, &kv.ScanOptions{RunBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		s.Next()
		scans = append(scans, s)
	}
	if _, err := db.Scan(ctx, nil); !errors.Is(err, kv.ErrBusy) {
		t.Errorf("one scan too many: %v", err)
	}
	for _, s := range scans {
		s.Close()
		s.Close()
		if s.Next() && s.Next() || !errors.Is(s.Error(), kv.ErrClosed) {
			t.Fatal("a closed scan goes on:", s.Error())
		}
	}
	if s, _ := db.Stats(ctx); s.OpenScans != 0 {
		t.Error("scans left open:", s.OpenScans)
	}
	entries(t, db, nil)
}

func TestCallsAfterCloseAreRefused(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	put(t, db, "k", "v")
	s, err := db.Scan(ctx, &kv.ScanOptions{RunBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if s.Next(); s.Error() != kv.ErrClosed {
		t.Error("scan:", s.Error())
	}
	_, errPut := db.Put(ctx, nil, nil, nil)
	_, errGet := db.Get(ctx, nil)
	_, errScan := db.Scan(ctx, nil)
	_, errStats := db.Stats(ctx)
	for _, err := range []error{errPut, errGet, errScan, errStats, db.Fate()} {
		if err != kv.ErrClosed {
			t.Error(err)
		}
	}
}

func TestCloseAnswersEveryCallUnderWay(t *testing.T) {
	for range 50 {
		fs := vfs.NewMem()
		db := open(t, fs, nil)
		var callers sync.WaitGroup
		acked := make([]int, 8)
		for c := range acked {
			callers.Go(func() {
				for i := 0; ; i++ {
					if _, err := db.Put(ctx, []byte(fmt.Sprint(c, "/", i)), nil, nil); err != nil {
						if err != kv.ErrClosed {
							t.Error(err)
						}
						return
					}
					acked[c] = i + 1
				}
			})
		}
		db.Get(ctx, []byte("k"))
		db.Close()
		callers.Wait()
		db = open(t, fs, nil)
		for c, n := range acked {
			for i := range n {
				wantValue(t, db, fmt.Sprint(c, "/", i), "")
			}
		}
		db.Close()
	}
}

func TestCallsSentBeforeCloseAreCarriedOut(t *testing.T) {
	for range 100 {
		db := open(t, vfs.NewMem(), nil)
		put(t, db, "k", "v")
		o := &order{done: make(chan struct{}), left: 11}
		var b batch.Batch
		b.Delete([]byte("other"))
		for i := range uint64(10) {
			db.SendGet(ctx, nil, []byte("k"), i, o)
		}
		db.SendWrite(ctx, b.Repr()[batch.HeaderSize:], 1, nil, 10, o)
		db.Close()
		<-o.done
		for _, word := range o.words {
			if !strings.HasSuffix(word, ":<nil>") {
				t.Fatal(word)
			}
		}
	}
}

func TestNextBehindTheEndOfAScanKeepsItsError(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	put(t, db, "k", "v")
	s, err := db.Scan(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if s.Next() != (i == 0) || s.Error() != nil {
			t.Fatal(i, s.Error())
		}
	}
	s.Close()
	if s.Next() || s.Error() != nil {
		t.Error(s.Error())
	}
}

// TestAScanReadsAheadABoundedNumberOfBytes: a run is as large as its largest
// entry, so a number of runs alone bounds nothing.
func TestAScanReadsAheadABoundedNumberOfBytes(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	for i := range 40 {
		put(t, db, fmt.Sprint(i+10), strings.Repeat("v", 300<<10))
	}
	// From here on no job takes memory, or gives it back.
	if err := db.Compact(ctx, iterator.Bounds{}); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := db.Scan(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Next()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("a scan that stands still holds %d bytes", grown)
	}
	n := 1
	for s.Next() {
		n++
	}
	if n != 40 || s.Error() != nil {
		t.Error(n, s.Error())
	}
}

func TestBadCallsAreRefusedAndNothingIsWritten(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	key, value := make([]byte, base.MaxKeyBytes), make([]byte, base.MaxValueBytes)
	if _, err := db.Put(ctx, key, value, nil); err != nil {
		t.Fatal("largest key and value:", err)
	}
	_, errKey := db.Put(ctx, append(key, 0), nil, nil)
	_, errValue := db.Put(ctx, nil, append(value, 0), nil)
	_, errReserved := db.Put(ctx, []byte("\xff\xffx"), nil, nil)
	_, errDelete := db.Delete(ctx, append(key, 0), nil)
	_, errLimit := db.Scan(ctx, &kv.ScanOptions{Limit: -1})
	errBatch := db.SendWrite(ctx, []byte{7, 1, 'x'}, 1, nil, 0, nil)
	errCount := db.SendWrite(ctx, []byte{0, 1, 'x'}, 2, nil, 0, nil)
	for i, c := range []struct{ got, want error }{
		{errKey, kv.ErrInvalidKey}, {errValue, kv.ErrInvalidValue}, {errReserved, kv.ErrInvalidKey},
		{errDelete, kv.ErrInvalidKey}, {errLimit, kv.ErrInvalidArgument}, {errBatch, kv.ErrInvalidArgument},
		{errCount, kv.ErrInvalidArgument},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%d: %v, want %v", i, c.got, c.want)
		}
	}
	if s, _ := db.Stats(ctx); s.Sequence != 1 {
		t.Error("something was written: sequence", s.Sequence)
	}
}

func TestACancelledContextEndsTheWaitForTheQueue(t *testing.T) {
	// A filter that stands still holds the worker, so that the queue fills.
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	db := open(t, vfs.NewMem(), &kv.Options{Filter: func(base.InternalKey, []byte) bool {
		held <- struct{}{}
		<-hold
		return true
	}})
	put(t, db, "k", "v")
	o := &order{done: make(chan struct{}), left: 1 + kv.QueueLength}
	db.SendGet(ctx, nil, []byte("k"), 0, o)
	<-held
	var b batch.Batch
	b.Delete([]byte("k2"))
	for range kv.QueueLength {
		if err := db.SendWrite(ctx, b.Repr()[batch.HeaderSize:], 1, nil, 0, o); err != nil {
			t.Fatal(err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := db.Put(cancelled, []byte("x"), nil, nil); err != context.Canceled {
		t.Error(err)
	}
	close(hold)
	<-o.done
	wantMissing(t, db, "x")
}

func TestAPanicInTheWorkerEndsEveryCallWithErrWorkerDied(t *testing.T) {
	fs := vfs.NewMem()
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	db := open(t, fs, &kv.Options{Filter: func(base.InternalKey, []byte) bool {
		held <- struct{}{}
		<-hold
		panic("the filter is broken")
	}})
	put(t, db, "k", "v")
	o := &order{done: make(chan struct{}), left: 4}
	db.SendGetMany(ctx, nil, [][]byte{[]byte("missing"), []byte("k"), []byte("k")}, 1, o)
	<-held
	var b batch.Batch
	b.Delete([]byte("k"))
	db.SendWrite(ctx, b.Repr()[batch.HeaderSize:], 1, nil, 2, o)
	close(hold)
	<-o.done
	<-db.Ended()
	died := db.Fate()
	if !errors.Is(died, kv.ErrWorkerDied) || !strings.Contains(died.Error(), "the filter is broken") {
		t.Fatal(died)
	}
	want := fmt.Sprintf("get1=:%v get1=:%v get1=:%v write2@0:%v", kv.ErrNotFound, died, died, died)
	if got := strings.Join(o.words, " "); !strings.Contains(got, fmt.Sprintf("write2@0:%v", died)) || len(got) != len(want) {
		t.Errorf("got  %s\nwant %s in some order", got, want)
	}
	if _, err := db.Put(ctx, nil, nil, nil); err != died {
		t.Error(err)
	}
	if err := db.Close(); err != died {
		t.Error(err)
	}
	wantValue(t, open(t, fs, nil), "k", "v")
}

func TestAPanicInAScanEndsThatScan(t *testing.T) {
	db := open(t, vfs.NewMem(), &kv.Options{Filter: func(k base.InternalKey, _ []byte) bool {
		if string(k.UserKey) == "b" {
			panic("the filter is broken")
		}
		return true
	}})
	put(t, db, "a", "1")
	put(t, db, "b", "2")
	s, err := db.Scan(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for s.Next() {
	}
	if !errors.Is(s.Error(), kv.ErrWorkerDied) {
		t.Error(s.Error())
	}
	wantValue(t, db, "a", "1")
}

func TestAFilterHidesEntriesFromEveryReader(t *testing.T) {
	db := open(t, vfs.NewMem(), &kv.Options{Filter: func(k base.InternalKey, v []byte) bool { return string(v) != "hidden" }})
	put(t, db, "a", "older")
	put(t, db, "a", "hidden")
	put(t, db, "b", "seen")
	wantMissing(t, db, "a")
	wantValue(t, db, "b", "seen")
	if got := entries(t, db, nil); got != "b=seen" {
		t.Error(got)
	}
}

func TestAFilterIsGivenTheEntrysOwnSequenceNumber(t *testing.T) {
	db := open(t, vfs.NewMem(), &kv.Options{Filter: func(k base.InternalKey, _ []byte) bool { return k.SeqNum() > 1 }})
	put(t, db, "a", "1")
	put(t, db, "b", "2")
	wantMissing(t, db, "a")
	if got := entries(t, db, nil); got != "b=2" {
		t.Error(got)
	}
}

// panicSink panics at its first answer.
type panicSink struct{ *order }

func (p panicSink) WriteDone(id uint64, seq base.SeqNum, err error) {
	p.order.WriteDone(id, seq, err)
	if id == 0 {
		panic("the sink is broken")
	}
}

func TestASinkThatPanicsLeavesNoCallUnanswered(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	o := &order{done: make(chan struct{}), left: 20}
	var b batch.Batch
	b.Delete([]byte("k"))
	for i := range uint64(20) {
		if err := db.SendWrite(ctx, b.Repr()[batch.HeaderSize:], 1, nil, i, panicSink{o}); err != nil {
			o.WriteDone(i, 0, err)
		}
	}
	<-o.done
	if err := db.Close(); !errors.Is(err, kv.ErrWorkerDied) {
		t.Error(err)
	}
}

func TestVersionedKeysGiveTheNewestAtOrBefore(t *testing.T) {
	fs := vfs.NewMem()
	opts := &kv.Options{Comparer: base.FixedSuffix(1)}
	db := open(t, fs, opts)
	put(t, db, "k\x03", "three")
	put(t, db, "k\x05", "five")
	put(t, db, "l\x01", "one")
	for range 2 {
		wantValue(t, db, "k\xff", "five")
		wantValue(t, db, "k\x04", "three")
		wantMissing(t, db, "k\x02")
		if got := entries(t, db, nil); got != "k\x05=five l\x01=one" {
			t.Errorf("%q", got)
		}
		db.Close()
		db = open(t, fs, opts)
	}
}

// TestAFaultAtEveryFileCall fails each operation of the file system in turn.
// Whatever fails: a clear error if any, acknowledged writes stay readable, and
// they are there after reopening.
func TestAFaultAtEveryFileCall(t *testing.T) {
	injected := base.Wrap(base.ErrIO, "injected", nil)
	for i := 0; ; i++ {
		mem := vfs.NewMem()
		faulty := errorfs.Wrap(mem)
		faulty.Inject(errorfs.Fault{Index: i, Err: injected, ShortAppend: i%2 == 0})
		acked := map[string]string{}
		func() {
			db, err := kv.Open(faulty, &kv.Options{MemtableBytes: 64 << 10, TableBytes: 64 << 10, Level1Bytes: 128 << 10})
			if err != nil {
				if !errors.Is(err, base.ErrIO) {
					t.Fatalf("%d: open: %v", i, err)
				}
				return
			}
			defer db.Close()
			for n := range 100 {
				key, value := fmt.Sprint(n%70), strings.Repeat(fmt.Sprint(n), 6000)
				_, err := db.Put(ctx, []byte(key), []byte(value), &kv.WriteOptions{Strict: n%3 == 0})
				if err == nil {
					acked[key] = value
					continue
				}
				if !errors.Is(err, base.ErrIO) {
					t.Fatalf("%d: put %d: %v", i, n, err)
				}
				for k, v := range acked {
					if k != key {
						wantValue(t, db, k, v)
					}
				}
				// Unknown now: the failed write may be in the log or not.
				delete(acked, key)
				return
			}
		}()
		db := open(t, mem, nil)
		for k, v := range acked {
			wantValue(t, db, k, v)
		}
		db.Close()
		if faulty.Hits() == 0 {
			if i < 200 {
				t.Errorf("only %d operations", i)
			}
			return
		}
	}
}

func TestReadOnlyAfterAFailedSync(t *testing.T) {
	injected := base.Wrap(base.ErrIO, "injected", nil)
	mem := vfs.NewMem()
	faulty := errorfs.Wrap(mem)
	db := open(t, faulty, nil)
	faulty.Inject(errorfs.Fault{Ops: errorfs.OpSync, Err: injected})
	put(t, db, "a", "1")
	if _, err := db.Put(ctx, []byte("b"), nil, strict); !errors.Is(err, kv.ErrIO) {
		t.Fatal(err)
	}
	if _, err := db.Put(ctx, []byte("c"), nil, nil); !errors.Is(err, kv.ErrReadOnly) || kv.Code(err) != "TEMPEST_READONLY" {
		t.Fatal(err)
	}
	wantValue(t, db, "a", "1")
	wantMissing(t, db, "b")
	if err := db.Close(); err != injected {
		t.Error("close hides that the log failed:", err)
	}
}

func TestEveryErrorHasACode(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var table string
	names := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, id := range v.Names {
			if id.Name == "errorCodes" {
				ast.Inspect(v, func(n ast.Node) bool {
					if id, ok := n.(*ast.Ident); ok {
						table += id.Name + " "
					}
					return true
				})
			} else {
				names[id.Name] = true
			}
		}
		return true
	})
	if len(names) < 14 {
		t.Fatal("sentinels not found:", names)
	}
	for name := range names {
		if !strings.Contains(table, name+" ") {
			t.Error(name, "has no code")
		}
	}
	if got := kv.Code(fmt.Errorf("above: %w", base.Corruption("000001.log", 7, "bad"))); got != "TEMPEST_CORRUPTION" {
		t.Error(got)
	}
}

func TestCountWithoutRuns(t *testing.T) {
	db := open(t, vfs.NewMem(), nil)
	for i := range 2500 {
		put(t, db, fmt.Sprintf("key%05d", i), "v")
	}
	snapshot, err := db.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if _, err := db.Delete(ctx, fmt.Appendf(nil, "key%05d", 5*i), nil); err != nil {
			t.Fatal(err)
		}
	}
	between := iterator.Bounds{Lower: []byte("key00100"), Upper: []byte("key02400"), UpperInclusive: true}
	for _, c := range []struct {
		at     *kv.Snapshot
		bounds iterator.Bounds
		want   uint64
	}{{nil, iterator.Bounds{}, 2000}, {snapshot, iterator.Bounds{}, 2500}, {nil, between, 1840}, {snapshot, between, 2301}} {
		if n, err := db.Count(ctx, c.at, c.bounds); err != nil || n != c.want {
			t.Errorf("%d, %v; want %d", n, err, c.want)
		}
	}
	if st, err := db.Stats(ctx); err != nil || st.OpenScans != 0 {
		t.Errorf("%d scans are open, %v", st.OpenScans, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Count(ctx, nil, iterator.Bounds{}); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("closed: %d, %v", n, err)
	}
}

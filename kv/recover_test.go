package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/manifest"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/vfstest"
	"tempestkv/kv/wal"
)

func logFile(num uint64) vfs.FileDesc { return vfs.FileDesc{Type: vfs.TypeLog, Num: num} }

// withFile returns a copy of fs that has b as the file fd.
func withFile(t testing.TB, fs *vfs.MemFS, fd vfs.FileDesc, b []byte) *vfs.MemFS {
	t.Helper()
	changed := fs.Clone()
	if err := changed.Remove(fd); err != nil && !errors.Is(err, vfs.ErrNotExist) {
		t.Fatal(err)
	}
	f, err := changed.Create(fd, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Append(b), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return changed
}

// noFlush lets no background job begin, so that memtables stay as they are.
func noFlush() *kv.Options {
	return &kv.Options{MemtableBytes: 64 << 10, Yield: func(stop <-chan struct{}) { <-stop }}
}

// logsOf returns the logs of fs, oldest first.
func logsOf(t testing.TB, fs vfs.FS) []vfs.FileDesc {
	t.Helper()
	files, err := fs.List()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(fd vfs.FileDesc) bool { return fd.Type != vfs.TypeLog })
}

// twoLogs returns a store of two logs, closed in order, and how many keys it
// has: 0, 1, 2, …, each with a value of 1,000 bytes.
func twoLogs(t testing.TB) (fs *vfs.MemFS, keys int) {
	t.Helper()
	fs = vfs.NewMem()
	db := open(t, fs, noFlush())
	for {
		put(t, db, fmt.Sprint(keys), strings.Repeat("v", 1000))
		keys++
		if s, _ := db.Stats(ctx); s.Logs == 2 && s.LogBytes > 100<<10 {
			break
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, keys
}

// TestNoHoleInHistoryAfterABadLogRecord flips a bit in each record of each
// log of a store that was closed in order. All of it had been synced, so every
// flip is corruption; nothing may be changed or deleted.
func TestNoHoleInHistoryAfterABadLogRecord(t *testing.T) {
	fs, _ := twoLogs(t)
	for i, log := range logsOf(t, fs) {
		content := vfstest.ReadFile(t, fs, log)
		// The sync marker that Close writes last is the proof itself.
		end := len(content) - 19*i
		for at := 3; at < end; at += 997 {
			b := append([]byte{}, content...)
			b[at] ^= 1 << (at % 8)
			damaged := withFile(t, fs, log, b)
			_, err := kv.Open(damaged, nil)
			if !errors.Is(err, kv.ErrCorruption) || !strings.Contains(err.Error(), log.String()) {
				t.Fatalf("%s, bit flipped at %d: %v", log, at, err)
			}
			if string(vfstest.ReadFile(t, damaged, log)) != string(b) {
				t.Fatal("opening a damaged store changed it")
			}
		}
	}
}

// TestAMissingLogIsCorruption takes the first of two logs away, or empties it,
// of a store that was closed and of one that was killed.
func TestAMissingLogIsCorruption(t *testing.T) {
	closed, keys := twoLogs(t)
	killed := vfs.NewMem()
	db := open(t, killed, noFlush())
	for i := range keys {
		put(t, db, fmt.Sprint(i), strings.Repeat("v", 1000))
	}
	for _, fs := range []*vfs.MemFS{closed, killed.Clone()} {
		logs := logsOf(t, fs)
		second := vfstest.ReadFile(t, fs, logs[1])
		empty := withFile(t, fs, logs[0], nil)
		missing := fs.Clone()
		if err := missing.Remove(logs[0]); err != nil {
			t.Fatal(err)
		}
		for _, damaged := range []*vfs.MemFS{empty, missing} {
			if _, err := kv.Open(damaged, nil); !errors.Is(err, kv.ErrCorruption) {
				t.Error(err)
			}
			if !bytes.Equal(vfstest.ReadFile(t, damaged, logs[1]), second) {
				t.Error("the log that is left was changed")
			}
		}
	}
}

// TestDamageToAStrictWriteIsSeenAfterReopening: opening makes what it finds
// durable, and the next write says so.
func TestDamageToAStrictWriteIsSeenAfterReopening(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, nil)
	if _, err := db.Put(ctx, []byte("strict"), []byte("1"), strict); err != nil {
		t.Fatal(err)
	}
	again := fs.Clone() // killed
	db = open(t, again, nil)
	put(t, db, "relaxed", "2")
	log := logsOf(t, fs)[0]
	b := vfstest.ReadFile(t, again.Clone(), log)
	b[25] ^= 1
	if _, err := kv.Open(withFile(t, fs, log, b), nil); !errors.Is(err, kv.ErrCorruption) {
		t.Error(err)
	}
}

func TestALogCutShortInTheMiddleOfHistoryIsCorruption(t *testing.T) {
	fs, _ := twoLogs(t)
	log := logsOf(t, fs)[0]
	content := vfstest.ReadFile(t, fs, log)
	for _, size := range []int{0, 500, 40000, len(content) - 1} {
		damaged := withFile(t, fs, log, content[:size])
		if _, err := kv.Open(damaged, nil); !errors.Is(err, kv.ErrCorruption) {
			t.Errorf("cut to %d of %d bytes: %v", size, len(content), err)
		}
	}
}

// TestATornTailIsCutOff cuts the last log at every byte of its last records,
// and fills up with nothing, zeros or rubbish, as crashes do. What was whole is
// kept, and the store goes on.
func TestATornTailIsCutOff(t *testing.T) {
	fs := vfs.NewMem()
	db, err := kv.Open(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ends []int64 // of the log after each put
	for i := range 5 {
		put(t, db, fmt.Sprint(i), strings.Repeat("v", 40))
		s, _ := db.Stats(ctx)
		ends = append(ends, s.LogBytes)
	}
	log := logsOf(t, fs)[0]
	content := vfstest.ReadFile(t, fs, log)[:ends[4]]
	rng := rand.New(rand.NewPCG(1, 2))
	for size := int(ends[2]); size < len(content); size++ {
		for _, tail := range [][]byte{nil, make([]byte, 300), []byte(fmt.Sprint(rng.Uint64(), rng.Uint64(), rng.Uint64()))} {
			torn := withFile(t, fs, log, append(append([]byte{}, content[:size]...), tail...))
			whole := 3
			for ; ends[whole] <= int64(size); whole++ {
			}
			for range 2 {
				db := open(t, torn, nil)
				for i := range whole {
					wantValue(t, db, fmt.Sprint(i), strings.Repeat("v", 40))
				}
				wantMissing(t, db, fmt.Sprint(whole))
				if seq, err := db.Put(ctx, []byte("next"), nil, strict); err != nil || seq < base.SeqNum(whole)+1 {
					t.Fatal(seq, err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	db.Close()
}

func TestRecoveryTellsWhatItDropped(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, nil)
	put(t, db, "a", "1")
	s, _ := db.Stats(ctx)
	put(t, db, "b", "2")
	log := logsOf(t, fs)[0]
	torn := withFile(t, fs, log, vfstest.ReadFile(t, fs, log)[:s.LogBytes+8])
	var logged []string
	db = open(t, torn, &kv.Options{Logger: func(_ kv.LogLevel, text string) { logged = append(logged, text) }})
	r := db.Recovery()
	if r.DroppedBytes != 8 || r.Sequence != 1 || !strings.Contains(r.Text, log.String()+": cut a torn tail of 8 bytes") {
		t.Errorf("%+v", r)
	}
	if len(logged) != 1 || logged[0] != r.Text {
		t.Error(logged)
	}
}

// TestABatchWhoseSequenceNumberDoesNotFollowIsNotReplayed: an old one is what a
// reused place of the disk may hold behind the end of a log, a newer one proves
// that writes are missing.
func TestABatchWhoseSequenceNumberDoesNotFollowIsNotReplayed(t *testing.T) {
	for _, seq := range []base.SeqNum{1, 3, 9} {
		fs := vfs.NewMem()
		f, err := fs.Create(logFile(1), 0)
		if err != nil {
			t.Fatal(err)
		}
		w := wal.NewWriter(f, 0)
		for _, r := range []struct {
			seq base.SeqNum
			key string
		}{{1, "good"}, {seq, "stale"}} {
			var b batch.Batch
			b.Put([]byte(r.key), nil)
			b.SetSeqNum(r.seq)
			if err := w.AddRecord(b.Repr()); err != nil {
				t.Fatal(err)
			}
		}
		if seq > 2 {
			if _, err := kv.Open(fs, nil); !errors.Is(err, kv.ErrCorruption) || !strings.Contains(err.Error(), "missing") {
				t.Errorf("sequence number %d: %v", seq, err)
			}
			continue
		}
		db := open(t, fs, nil)
		wantValue(t, db, "good", "")
		wantMissing(t, db, "stale")
		if r := db.Recovery(); r.Sequence != 1 || r.DroppedBytes == 0 {
			t.Errorf("%+v", r)
		}
		db.Close()
	}
}

func TestAStoreOfANewerVersionIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	e := manifest.VersionEdit{Features: []string{"a thing of the future"}}
	e.SetLogNum(0)
	e.SetLastSeq(0)
	m, err := manifest.Create(fs, 1, &e, manifest.Options{Comparer: base.Bytewise})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Open(fs, nil); !errors.Is(err, kv.ErrNotSupported) || !strings.Contains(err.Error(), "a thing of the future") {
		t.Error(err)
	}
}

// TestAStoreOfLogsAloneIsTakenOver: before there were tables a store was but
// its logs.
func TestAStoreOfLogsAloneIsTakenOver(t *testing.T) {
	fs, keys := twoLogs(t)
	old := vfs.NewMem()
	for i, fd := range logsOf(t, fs) {
		old = withFile(t, old, logFile(uint64(i+1)), vfstest.ReadFile(t, fs, fd))
	}
	for range 2 {
		db := open(t, old, nil)
		for i := range keys {
			wantValue(t, db, fmt.Sprint(i), strings.Repeat("v", 1000))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSequenceNumberAfterRecoveryCoversTheReplayedLog(t *testing.T) {
	fs, keys := twoLogs(t)
	db := open(t, fs, nil)
	if seq, err := db.Put(ctx, []byte("next"), nil, nil); err != nil || seq != base.SeqNum(keys)+1 {
		t.Error(seq, err, keys)
	}
	put(t, db, "0", "newer")
	db.Close()
	wantValue(t, open(t, fs, nil), "0", "newer")
}

package iterator_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/iterator/itertest"
	"tempestkv/kv/rangedel"
)

var comparers = []*base.Comparer{base.Bytewise, base.FixedSuffix(2)}

// db is random content: entries in up to four sources, the newest first, and
// range tombstones.
type db struct {
	cmp    *base.Comparer
	groups [][]row
	ranges []rangedel.Tombstone
	now    int64
	key    *rapid.Generator[[]byte]
	at     base.SeqNum
	bounds iterator.Bounds
}

func drawDB(t *rapid.T) db {
	d := db{
		cmp: rapid.SampledFrom(comparers).Draw(t, "comparer"),
		// Few bytes and few versions, so that keys meet, among them keys of
		// fewer bytes than a suffix has.
		key: rapid.Custom(func(t *rapid.T) []byte {
			key := rapid.SliceOfN(rapid.SampledFrom([]byte("ab")), 0, 2).Draw(t, "prefix")
			if rapid.Bool().Draw(t, "versioned") {
				key = append(key, 0, byte(rapid.IntRange(1, 4).Draw(t, "version")))
			}
			return key
		}),
	}
	seq := base.SeqNum(0)
	for range rapid.IntRange(1, 4).Draw(t, "sources") {
		var rows []row
		for range rapid.IntRange(0, 15).Draw(t, "entries") {
			seq++
			if rapid.IntRange(0, 9).Draw(t, "range") == 0 {
				d.ranges = append(d.ranges, rangedel.Tombstone{Start: d.key.Draw(t, "start"), End: d.key.Draw(t, "end"), Seq: seq})
				continue
			}
			kind := rapid.SampledFrom([]base.Kind{base.KindPut, base.KindPut, base.KindDelete, base.KindPutExpiring}).Draw(t, "kind")
			value := ""
			if kind != base.KindDelete {
				value = rapid.SampledFrom([]string{"v", "h"}).Draw(t, "value") + fmt.Sprint(seq)
			}
			if kind == base.KindPutExpiring {
				expiry := rapid.SampledFrom([]uint64{0, 1, 1000, 1 << 62}).Draw(t, "expiry")
				value = string(base.AppendExpiry(nil, expiry)) + value
			}
			rows = append(rows, row{Key: base.MakeInternalKey(d.key.Draw(t, "key"), seq, kind), Value: value})
		}
		d.groups = append([][]row{rows}, d.groups...)
	}
	d.now = rapid.SampledFrom([]int64{-1, 0, 1, 999, 1000, 1 << 62}).Draw(t, "now")
	d.at = base.MaxSeqNum
	if rapid.Bool().Draw(t, "old") {
		d.at = base.SeqNum(rapid.IntRange(0, int(seq)).Draw(t, "at"))
	}
	if rapid.Bool().Draw(t, "has lower") {
		d.bounds.Lower = d.key.Draw(t, "lower")
		d.bounds.LowerExclusive = rapid.Bool().Draw(t, "lower exclusive")
	}
	if rapid.Bool().Draw(t, "has upper") {
		d.bounds.Upper = d.key.Draw(t, "upper")
		d.bounds.UpperInclusive = rapid.Bool().Draw(t, "upper inclusive")
	}
	return d
}

func (d db) merging() iterator.Internal {
	return iterator.NewMerging(d.cmp, iters(tables(d.cmp, d.groups))...)
}

// mask returns the mask, and a model of what it makes of all entries.
func (d db) mask() (iterator.Mask, []row) {
	m := iterator.Mask{Now: d.now}
	if len(d.ranges) > 0 {
		m.Ranges = ranges(d.cmp, d.ranges)
	}
	return m, modelMask(d.cmp, modelMerging(d.cmp, d.groups), d.at, d.now, d.ranges)
}

func TestMergingAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDB(t)
		itertest.Walk(t, d.cmp, d.merging(), modelMerging(d.cmp, d.groups), d.key, 6)
	})
}

func TestMaskAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDB(t)
		m, rows := d.mask()
		itertest.Walk(t, d.cmp, iterator.NewMask(d.merging(), d.at, m), rows, d.key, 6)
		snapshot := iterator.NewSnapshot(iterator.NewMask(d.merging(), d.at, m), d.at)
		itertest.Walk(t, d.cmp, snapshot, modelSnapshot(rows, d.at), d.key, 6)
		// It may as well lie above.
		snapshot = iterator.NewMask(iterator.NewSnapshot(d.merging(), d.at), d.at, m)
		itertest.Walk(t, d.cmp, snapshot, modelSnapshot(rows, d.at), d.key, 6)
	})
}

func TestSnapshotAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDB(t)
		rows := modelSnapshot(modelMerging(d.cmp, d.groups), d.at)
		itertest.Walk(t, d.cmp, iterator.NewSnapshot(d.merging(), d.at), rows, d.key, 6)
	})
}

func TestDedupAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDB(t)
		rows := modelDedup(d.cmp, modelSnapshot(modelMerging(d.cmp, d.groups), d.at))
		itertest.Walk(t, d.cmp, iterator.NewDedup(d.cmp, iterator.NewSnapshot(d.merging(), d.at)), rows, d.key, 6)
	})
}

func TestFilterAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDB(t)
		rows := modelFilter(modelMerging(d.cmp, d.groups), hidesH)
		itertest.Walk(t, d.cmp, iterator.NewFilter(d.merging(), hidesH), rows, d.key, 6)
	})
}

func TestBoundsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDB(t)
		rows := modelBounds(d.cmp, modelMerging(d.cmp, d.groups), d.bounds)
		itertest.Walk(t, d.cmp, iterator.NewBounds(d.cmp, d.merging(), d.bounds), rows, d.key, 6)
	})
}

// The user's iterator fuses and reorders layers; the model keeps them apart
// and in the documented order.
func TestUserIteratorAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDB(t)
		rows := modelMerging(d.cmp, d.groups)
		var mask *iterator.Mask
		if rapid.Bool().Draw(t, "mask") {
			var m iterator.Mask
			m, rows = d.mask()
			mask = &m
		}
		rows = modelDedup(d.cmp, modelSnapshot(rows, d.at))
		var f iterator.Filter
		if rapid.Bool().Draw(t, "filter") {
			f = hidesH
			rows = modelFilter(rows, f)
		}
		rows = modelBounds(d.cmp, rows, d.bounds)
		it := iterator.NewUser(d.cmp, iterator.UserOptions{At: d.at, Bounds: d.bounds, Filter: f, Mask: mask}, iters(tables(d.cmp, d.groups))...)
		itertest.Walk(t, d.cmp, asInternal{it}, modelUser(rows), d.key, 6)
	})
}

// TestSourceErrorsAtEveryCall fails each positioning call of the sources in
// turn. The walk up to there is right, the error comes out, relative moves keep
// it, and the next absolute move clears it.
func TestSourceErrorsAtEveryCall(t *testing.T) {
	script := strings.Fields(`first next next prev prev prev next next next next next next prev last prev prev next
		prev prev prev prev prev next seek-ge=b@3 next prev prev seek-lt=b@3 prev next next seek-ge=c@9 prev
		seek-lt=a@9 next next`)
	groups := [][]row{
		{parseRow("a@2#11,PUT=a2"), parseRow("b@5#12,DEL"), parseRow("c@1#13,PUT=c1"), parseRow("d@1#14,PUT=d")},
		{parseRow("a@1#1,PUT=a1"), parseRow("b@4#2,PUT=b4"), parseRow("c@2#3,PUT=hidden"), parseRow("d@2#4,PUT=d2"), parseRow("e@1#5,PUT=e")},
	}
	for _, cmp := range comparers {
		for _, sources := range []int{1, 2} {
			groups := groups[:sources]
			bounds := iterator.Bounds{Lower: parseKey("a@2"), Upper: parseKey("e@1"), UpperInclusive: true}
			rows := modelDedup(cmp, modelSnapshot(modelMerging(cmp, groups), 13))
			rows = modelBounds(cmp, modelFilter(rows, hidesH), bounds)

			failed := true
			for failAt := 0; failed; failAt++ {
				failed = false
				calls := 0
				var failing []iterator.Internal
				for _, it := range iters(tables(cmp, groups)) {
					failing = append(failing, &faulty{Internal: it, calls: &calls, failAt: failAt})
				}
				o := iterator.UserOptions{At: 13, Bounds: bounds, Filter: hidesH, Mask: &iterator.Mask{}}
				it := asInternal{iterator.NewUser(cmp, o, failing...)}
				c := itertest.NewCursor(cmp, rows)
				for i, step := range script {
					name, key, _ := strings.Cut(step, "=")
					want, wantOK := c.Move(name, parseKey(key))
					ok := itertest.Move(it, name, parseKey(key))
					where := fmt.Sprintf("%s, %d sources, call %d failing, step %d (%s)", cmp.Name, sources, failAt, i, step)
					if err := it.Error(); err != nil {
						if failed || !errors.Is(err, errInjected) || !errors.Is(err, base.ErrIO) {
							t.Fatalf("%s: error %v", where, err)
						}
						if ok || it.Valid() || it.Next() || it.Prev() || it.Valid() || it.Error() != err {
							t.Fatalf("%s: the error did not last", where)
						}
						failed = true
						c.Move("first", nil)
						if !it.First() || it.Error() != nil {
							t.Fatalf("%s: First did not clear the error: %v", where, it.Error())
						}
						continue
					}
					if ok != wantOK || ok && string(it.Value()) != want.Value {
						t.Fatalf("%s: %t %q, want %t %v", where, ok, it.Value(), wantOK, want)
					}
				}
				if calls > failAt && !failed {
					t.Fatalf("%s, %d sources: the error of call %d was lost", cmp.Name, sources, failAt)
				}
			}
		}
	}
}

// closeCounter counts Close calls and fails them.
type closeCounter struct {
	iterator.Internal
	closed int
	err    error
}

func (c *closeCounter) Close() error {
	c.closed++
	return c.err
}

func TestCloseClosesAllSourcesAndKeepsTheFirstError(t *testing.T) {
	for _, cmp := range comparers {
		first, second := errors.New("first"), errors.New("second")
		sources := []*closeCounter{{}, {err: first}, {err: second}, {}}
		var all []iterator.Internal
		for i, it := range iters(tables(cmp, make([][]row, len(sources)))) {
			sources[i].Internal = it
			all = append(all, sources[i])
		}
		b := iterator.Bounds{Lower: []byte("a"), Upper: []byte("z")}
		it := iterator.NewUser(cmp, iterator.UserOptions{At: base.MaxSeqNum, Bounds: b, Filter: hidesH}, all...)
		it.First()
		for range 2 {
			if err := it.Close(); err != first {
				t.Errorf("Close = %v, want the first error", err)
			}
		}
		for i, s := range sources {
			if s.closed == 0 {
				t.Errorf("source %d was not closed", i)
			}
		}
		if it.Valid() || it.Key() != nil || it.Value() != nil {
			t.Error("a closed iterator has an entry")
		}
	}
}

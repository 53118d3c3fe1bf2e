package iterator_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/iterator/itertest"
	"tempestkv/kv/memtable"
	"tempestkv/kv/rangedel"
)

// row is an entry of a model.
type row = itertest.Row

// show prints an entry; a suffix of two bytes that a test wrote as @n is
// printed so too. One that expires has the time of that before its value.
func show(k base.InternalKey, value []byte) string {
	switch k.Kind() {
	case base.KindDelete:
		return fmt.Sprintf("%s#%d,DEL", showKey(k.UserKey), k.SeqNum())
	case base.KindPutExpiring:
		at, rest, _ := base.CutExpiry(value)
		return fmt.Sprintf("%s#%d,EXP=%d:%s", showKey(k.UserKey), k.SeqNum(), at, rest)
	}
	return fmt.Sprintf("%s#%d,PUT=%s", showKey(k.UserKey), k.SeqNum(), value)
}

func showKey(key []byte) string {
	if n := len(key) - 2; n >= 0 && key[n] == 0 {
		return fmt.Sprintf("%s@%d", key[:n], key[n+1])
	}
	return string(key)
}

// parseKey reads what showKey prints.
func parseKey(s string) []byte {
	prefix, version, ok := strings.Cut(s, "@")
	if !ok {
		return []byte(s)
	}
	n, err := strconv.ParseUint(version, 10, 8)
	if err != nil {
		panic(err)
	}
	return binary.BigEndian.AppendUint16([]byte(prefix), uint16(n))
}

// parseRow reads what show prints.
func parseRow(s string) row {
	key, rest, ok1 := strings.Cut(s, "#")
	number, rest, ok2 := strings.Cut(rest, ",")
	seq, err := strconv.ParseUint(number, 10, 56)
	kind, value, _ := strings.Cut(rest, "=")
	k, known := map[string]base.Kind{"PUT": base.KindPut, "DEL": base.KindDelete, "EXP": base.KindPutExpiring}[kind]
	if !ok1 || !ok2 || err != nil || !known {
		panic("not an entry: " + s)
	}
	if k == base.KindPutExpiring {
		number, rest, _ := strings.Cut(value, ":")
		at, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			panic("not an expiry: " + s)
		}
		value = string(base.AppendExpiry(nil, at)) + rest
	}
	return row{Key: base.MakeInternalKey(parseKey(key), base.SeqNum(seq), k), Value: value}
}

// parseRange reads a range tombstone, "<start>..<end>#<seq>".
func parseRange(s string) rangedel.Tombstone {
	start, rest, ok1 := strings.Cut(s, "..")
	end, number, ok2 := strings.Cut(rest, "#")
	seq, err := strconv.ParseUint(number, 10, 56)
	if !ok1 || !ok2 || err != nil {
		panic("not a range: " + s)
	}
	return rangedel.Tombstone{Start: parseKey(start), End: parseKey(end), Seq: base.SeqNum(seq)}
}

// ranges returns the tombstones as a mask wants them, for a reader at any
// sequence number.
func ranges(cmp *base.Comparer, ts []rangedel.Tombstone) iterator.RangeTombstones {
	var seqs []base.SeqNum
	for _, t := range ts {
		seqs = append(seqs, t.Seq)
	}
	return rangedel.NewCursor(rangedel.New(cmp, ts, seqs))
}

// tables makes a memtable of each group of rows.
func tables(cmp *base.Comparer, groups [][]row) []*memtable.Table {
	var out []*memtable.Table
	for _, rows := range groups {
		m := memtable.New(cmp)
		for _, r := range rows {
			m.Add(r.Key.SeqNum(), r.Key.Kind(), r.Key.UserKey, []byte(r.Value))
		}
		out = append(out, m)
	}
	return out
}

func iters(tables []*memtable.Table) []iterator.Internal {
	var out []iterator.Internal
	for _, m := range tables {
		out = append(out, m.View().NewIter())
	}
	return out
}

// The model: each layer as a function from all rows to the rows it shows.

func modelMerging(cmp *base.Comparer, groups [][]row) []row {
	all := slices.Concat(groups...)
	slices.SortFunc(all, func(a, b row) int { return cmp.CompareInternal(a.Key, b.Key) })
	return all
}

func modelMask(cmp *base.Comparer, rows []row, at base.SeqNum, now int64, ts []rangedel.Tombstone) []row {
	var out []row
	for _, r := range rows {
		live := r.Key.Kind() != base.KindDelete
		for _, t := range ts {
			in := cmp.Compare(t.Start, r.Key.UserKey) <= 0 && cmp.Compare(r.Key.UserKey, t.End) < 0
			live = live && !(in && r.Key.SeqNum() < t.Seq && t.Seq <= at)
		}
		if expiry, rest, _ := base.CutExpiry([]byte(r.Value)); r.Key.Kind() == base.KindPutExpiring {
			live = live && now < int64(expiry)
			r.Value = string(rest)
		}
		kind := base.KindPut
		if !live {
			kind, r.Value = base.KindDelete, ""
		}
		r.Key.Trailer = base.MakeTrailer(r.Key.SeqNum(), kind)
		out = append(out, r)
	}
	return out
}

func modelSnapshot(rows []row, at base.SeqNum) []row {
	var out []row
	for _, r := range rows {
		if r.Key.SeqNum() <= at && (len(out) == 0 || !bytes.Equal(out[len(out)-1].Key.UserKey, r.Key.UserKey)) {
			out = append(out, r)
		}
	}
	return out
}

func modelDedup(cmp *base.Comparer, rows []row) []row {
	var out []row
	for i, r := range rows {
		first := i == 0 || !cmp.SameLogicalKey(rows[i-1].Key.UserKey, r.Key.UserKey)
		if first && r.Key.Kind() != base.KindDelete {
			out = append(out, r)
		}
	}
	return out
}

func modelFilter(rows []row, f iterator.Filter) []row {
	var out []row
	for _, r := range rows {
		if f(r.Key, []byte(r.Value)) {
			out = append(out, r)
		}
	}
	return out
}

func modelBounds(cmp *base.Comparer, rows []row, b iterator.Bounds) []row {
	var out []row
	for _, r := range rows {
		if b.Lower != nil {
			if c := cmp.Compare(r.Key.UserKey, b.Lower); c < 0 || c == 0 && b.LowerExclusive {
				continue
			}
		}
		if b.Upper != nil {
			if c := cmp.Compare(r.Key.UserKey, b.Upper); c > 0 || c == 0 && !b.UpperInclusive {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// modelUser is what asInternal shows of rows.
func modelUser(rows []row) []row {
	var out []row
	for _, r := range rows {
		out = append(out, row{Key: userKey(r.Key.UserKey), Value: r.Value})
	}
	return out
}

// hidesH hides values that begin with h.
func hidesH(_ base.InternalKey, value []byte) bool { return !bytes.HasPrefix(value, []byte("h")) }

// asInternal lets the tests move an Iterator like an Internal.
type asInternal struct{ iterator.Iterator }

func (a asInternal) Key() base.InternalKey { return userKey(a.Iterator.Key()) }

// userKey is a key as users see it: a put, and no sequence number.
func userKey(key []byte) base.InternalKey { return base.MakeInternalKey(key, 0, base.KindPut) }

var errInjected = errors.New("injected")

// faulty fails positioning call number failAt, counted from 0 over all the
// iterators that share calls.
type faulty struct {
	iterator.Internal
	calls  *int
	failAt int
	err    error
}

func (f *faulty) do(absolute bool, m func() bool) bool {
	if absolute {
		f.err = nil
	}
	if f.err != nil {
		return false
	}
	*f.calls++
	if *f.calls-1 == f.failAt {
		f.err = base.Wrap(base.ErrIO, "", errInjected)
		return false
	}
	return m()
}

func (f *faulty) SeekGE(key []byte) bool {
	return f.do(true, func() bool { return f.Internal.SeekGE(key) })
}
func (f *faulty) SeekLT(key []byte) bool {
	return f.do(true, func() bool { return f.Internal.SeekLT(key) })
}
func (f *faulty) First() bool  { return f.do(true, f.Internal.First) }
func (f *faulty) Last() bool   { return f.do(true, f.Internal.Last) }
func (f *faulty) Next() bool   { return f.do(false, f.Internal.Next) }
func (f *faulty) Prev() bool   { return f.do(false, f.Internal.Prev) }
func (f *faulty) Valid() bool  { return f.err == nil && f.Internal.Valid() }
func (f *faulty) Error() error { return f.err }

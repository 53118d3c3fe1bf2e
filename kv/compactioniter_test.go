package kv

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/memtable"
	"tempestkv/kv/rangedel"
)

// parseEntry reads "key#5,PUT=value", "key#5,DEL" or "key#5,EXP=100:value", which
// expires at 100. "key@3" has the suffix 3.
func parseEntry(t *testing.T, word string) (key []byte, seq base.SeqNum, kind base.Kind, value []byte) {
	name, rest, _ := strings.Cut(word, "#")
	number, rest, _ := strings.Cut(rest, ",")
	what, text, _ := strings.Cut(rest, "=")
	n, err := strconv.ParseUint(number, 10, 56)
	value = []byte(text)
	switch what {
	case "PUT":
		kind = base.KindPut
	case "DEL":
		kind = base.KindDelete
	case "EXP":
		at, user, _ := strings.Cut(text, ":")
		var millis uint64
		millis, err = strconv.ParseUint(at, 10, 64)
		kind, value = base.KindPutExpiring, append(base.AppendExpiry(nil, millis), user...)
	default:
		t.Fatalf("not an entry: %q", word)
	}
	if err != nil {
		t.Fatalf("not an entry: %q", word)
	}
	return parseSuffixed(name), base.SeqNum(n), kind, value
}

func parseSuffixed(name string) []byte {
	prefix, suffix, ok := strings.Cut(name, "@")
	n, err := strconv.ParseUint(suffix, 10, 16)
	if !ok || err != nil {
		return []byte(name)
	}
	return binary.BigEndian.AppendUint16([]byte(prefix), uint16(n))
}

// showEntry prints what parseEntry reads.
func showEntry(key base.InternalKey, value []byte) string {
	name := string(key.UserKey)
	if n := len(name) - 2; n >= 0 && name[n] == 0 {
		name = fmt.Sprintf("%s@%d", name[:n], name[n+1])
	}
	switch key.Kind() {
	case base.KindDelete:
		return fmt.Sprintf("%s#%d,DEL", name, key.SeqNum())
	case base.KindPutExpiring:
		at, user, _ := base.CutExpiry(value)
		return fmt.Sprintf("%s#%d,EXP=%d:%s", name, key.SeqNum(), at, user)
	}
	return fmt.Sprintf("%s#%d,PUT=%s", name, key.SeqNum(), value)
}

// TestCompactionIter reads testdata/compactioniter. A line of the input has
// entries, or range tombstones "start..end#5". Arguments are snapshots, now,
// below (keys that lie below the output), filter (values that it hides) and
// suffix.
func TestCompactionIter(t *testing.T) {
	datadriven.RunTest(t, "testdata/compactioniter", func(t *testing.T, d *datadriven.TestData) string {
		cmp := base.Bytewise
		if d.HasArg("suffix") {
			cmp = base.FixedSuffix(2)
		}
		table := memtable.New(cmp)
		var ranges []rangedel.Tombstone
		for _, word := range strings.Fields(d.Input) {
			if bounds, number, ok := strings.Cut(word, "#"); ok && strings.Contains(bounds, "..") {
				start, end, _ := strings.Cut(bounds, "..")
				n, err := strconv.ParseUint(number, 10, 56)
				if err != nil {
					t.Fatal(err)
				}
				ranges = append(ranges, rangedel.Tombstone{Start: parseSuffixed(start), End: parseSuffixed(end), Seq: base.SeqNum(n)})
				continue
			}
			key, seq, kind, value := parseEntry(t, word)
			table.Add(seq, kind, key, value)
		}
		c := &compactionIter{cmp: cmp, it: table.View().NewIter()}
		values := func(name string) []string {
			for _, a := range d.CmdArgs {
				if a.Key == name {
					return a.Vals
				}
			}
			return nil
		}
		for _, s := range values("snapshots") {
			n, err := strconv.ParseUint(s, 10, 56)
			if err != nil {
				t.Fatal(err)
			}
			c.snapshots = append(c.snapshots, base.SeqNum(n))
		}
		if len(ranges) > 0 {
			c.ranges = rangedel.NewCursor(rangedel.New(cmp, ranges, c.snapshots))
		}
		for _, s := range values("now") {
			var err error
			if c.now, err = strconv.ParseInt(s, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		below := values("below")
		c.isBase = func(key []byte) bool { return !slices.Contains(below, string(key)) }
		if hidden := values("filter"); hidden != nil {
			c.filter = func(_ base.InternalKey, value []byte) bool { return !slices.Contains(hidden, string(value)) }
		}
		var out strings.Builder
		for c.next() {
			fmt.Fprintln(&out, showEntry(c.key, c.value))
		}
		if err := c.it.Error(); err != nil {
			t.Fatal(err)
		}
		if c.dropped > 0 {
			fmt.Fprintln(&out, "dropped tombstones up to", c.dropped)
		}
		return out.String()
	})
}

// entry is an entry of the model below.
type entry struct {
	key   []byte
	seq   base.SeqNum
	kind  base.Kind
	value []byte
}

func drawEntries(t *rapid.T, cmp *base.Comparer, seqs []int) []entry {
	var entries []entry
	for _, seq := range seqs {
		e := entry{seq: base.SeqNum(seq), kind: rapid.SampledFrom([]base.Kind{base.KindPut, base.KindPut, base.KindDelete, base.KindPutExpiring}).Draw(t, "kind")}
		e.key = drawKey(t, cmp)
		switch e.kind {
		case base.KindPut:
			e.value = fmt.Append(nil, "v", seq)
		case base.KindPutExpiring:
			e.value = fmt.Append(base.AppendExpiry(nil, rapid.Uint64Range(0, 20).Draw(t, "ends")), "v", seq)
		}
		entries = append(entries, e)
	}
	return entries
}

func drawKey(t *rapid.T, cmp *base.Comparer) []byte {
	key := []byte(rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key"))
	if cmp.HasSuffix {
		key = binary.BigEndian.AppendUint16(key, rapid.Uint16Range(0, 3).Draw(t, "suffix"))
	}
	return key
}

func tableOf(cmp *base.Comparer, entries []entry) *memtable.Table {
	table := memtable.New(cmp)
	for _, e := range entries {
		table.Add(e.seq, e.kind, e.key, e.value)
	}
	return table
}

// TestCompactionChangesNothingThatAReaderSees compares what every snapshot, and
// the present, see of random entries above a lower level, before they were
// compacted and after.
func TestCompactionChangesNothingThatAReaderSees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cmp := rapid.SampledFrom([]*base.Comparer{base.Bytewise, base.FixedSuffix(2)}).Draw(t, "comparer")
		// What lies below is older, and so come its sequence numbers first.
		lowerCount, count := rapid.IntRange(0, 5).Draw(t, "below"), rapid.IntRange(0, 15).Draw(t, "entries")
		var seqs []int
		for n := range lowerCount + count {
			seqs = append(seqs, 2*n+2)
		}
		last := 2*(lowerCount+count) + 3
		lower := drawEntries(t, cmp, seqs[:lowerCount])
		upper := drawEntries(t, cmp, seqs[lowerCount:])
		var ranges []rangedel.Tombstone
		taken := map[int]bool{}
		for range rapid.IntRange(0, 4).Draw(t, "ranges") {
			// Odd numbers, so that each has its own.
			seq := rapid.IntRange(0, last/2).Draw(t, "range seq")*2 + 1
			if !taken[seq] {
				taken[seq] = true
				ranges = append(ranges, rangedel.Tombstone{Start: drawKey(t, cmp), End: drawKey(t, cmp), Seq: base.SeqNum(seq)})
			}
		}
		snapshots := rapid.SliceOfNDistinct(rapid.Map(rapid.IntRange(1, last), func(n int) base.SeqNum { return base.SeqNum(n) }), 0, 4, rapid.ID).Draw(t, "snapshots")
		slices.Sort(snapshots)
		now := rapid.Int64Range(0, 20).Draw(t, "now")
		hidden := rapid.SampledFrom([]string{"", "v4", "v8"}).Draw(t, "filter")
		filter := func(_ base.InternalKey, value []byte) bool { return string(value) != hidden }

		set := rangedel.New(cmp, ranges, snapshots)
		under, table := tableOf(cmp, lower), tableOf(cmp, upper)
		c := &compactionIter{
			cmp: cmp, it: table.View().NewIter(), snapshots: snapshots, ranges: rangedel.NewCursor(set), now: now, filter: filter,
			isBase: func(key []byte) bool {
				return !slices.ContainsFunc(lower, func(e entry) bool { return cmp.Compare(e.key, key) == 0 })
			},
		}
		var kept []entry
		for c.next() {
			kept = append(kept, entry{slices.Clone(c.key.UserKey), c.key.SeqNum(), c.key.Kind(), slices.Clone(c.value)})
		}
		after := tableOf(cmp, kept)
		for _, at := range append(slices.Clone(snapshots), base.SeqNum(last)) {
			later := now + rapid.Int64Range(0, 5).Draw(t, "later")
			see := func(table *memtable.Table) string {
				it := iterator.NewUser(cmp, iterator.UserOptions{
					At: at, Filter: filter, Mask: &iterator.Mask{Now: later, Ranges: rangedel.NewCursor(set)},
				}, table.View().NewIter(), under.View().NewIter())
				defer it.Close()
				var out strings.Builder
				for ok := it.First(); ok; ok = it.Next() {
					fmt.Fprintf(&out, "%q=%q ", it.Key(), it.Value())
				}
				return out.String()
			}
			if before, now := see(table), see(after); before != now {
				t.Fatalf("at %d: %s, want %s\nkept %+v", at, now, before, kept)
			}
		}
		// Of each stripe at most one version of a key is kept.
		for i := 1; i < len(kept); i++ {
			if cmp.Compare(kept[i-1].key, kept[i].key) == 0 && c.stripeOf(kept[i-1].seq) == c.stripeOf(kept[i].seq) {
				t.Fatalf("two versions that no snapshot tells apart: %+v", kept)
			}
		}
	})
}

package iterator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
	"tempestkv/kv/iterator/itertest"
	"tempestkv/kv/memtable"
	"tempestkv/kv/rangedel"
)

// TestLayers runs the files under testdata, one for each layer. Commands:
//
//	define [comparer=suffix]
//	<key>#<seq>,PUT=<value>, <key>#<seq>,DEL or
//	<key>#<seq>,EXP=<expiry>:<value>, many a line
//	--                              (an older source follows)
//	<key>..<key>#<seq>              (a range tombstone)
//
// sets the content. The comparer is base.Bytewise, or base.FixedSuffix(2); x@5
// is x with the version 5 in two bytes.
//
//	iter layer=<name> [at=<seq>] [now=<millis>] [lower=<key>] [upper=<key>] [exclusive] [inclusive]
//	first, last, next, prev, seek-ge <key>, seek-lt <key>, forward, reverse
//
// moves an iterator of a layer: merging, mask, snapshot, dedup, filter, bounds or
// user, which has a mask where now is given. A dot stands for no entry; forward and reverse walk to the end. The
// filter hides values that begin with h.
func TestLayers(t *testing.T) {
	for _, name := range []string{"merging", "mask", "snapshot", "dedup", "filter", "bounds", "user"} {
		t.Run(name, func(t *testing.T) {
			cmp := base.Bytewise
			var sources []*memtable.Table
			var tombstones []rangedel.Tombstone
			datadriven.RunTest(t, "testdata/"+name, func(t *testing.T, d *datadriven.TestData) string {
				switch d.Cmd {
				case "define":
					cmp = base.Bytewise
					if d.HasArg("comparer") {
						cmp = base.FixedSuffix(2)
					}
					groups := [][]row{nil}
					tombstones = nil
					for _, word := range strings.Fields(d.Input) {
						if word == "--" {
							groups = append(groups, nil)
							continue
						}
						if strings.Contains(word, "..") {
							tombstones = append(tombstones, parseRange(word))
							continue
						}
						last := &groups[len(groups)-1]
						*last = append(*last, parseRow(word))
					}
					sources = tables(cmp, groups)
					return ""
				case "iter":
					return runMoves(newLayer(t, d, cmp, sources, ranges(cmp, tombstones)), d.Input)
				}
				d.Fatalf(t, "no such command: %s", d.Cmd)
				return ""
			})
		})
	}
}

// newLayer makes the iterator that an iter command asks for.
func newLayer(t *testing.T, d *datadriven.TestData, cmp *base.Comparer, sources []*memtable.Table, ranges iterator.RangeTombstones) iterator.Internal {
	at := base.MaxSeqNum
	if d.HasArg("at") {
		var n uint64
		d.ScanArgs(t, "at", &n)
		at = base.SeqNum(n)
	}
	mask := iterator.Mask{Ranges: ranges}
	if d.HasArg("now") {
		d.ScanArgs(t, "now", &mask.Now)
	}
	b := iterator.Bounds{LowerExclusive: d.HasArg("exclusive"), UpperInclusive: d.HasArg("inclusive")}
	var key string
	if d.HasArg("lower") {
		d.ScanArgs(t, "lower", &key)
		b.Lower = parseKey(key)
	}
	if d.HasArg("upper") {
		d.ScanArgs(t, "upper", &key)
		b.Upper = parseKey(key)
	}
	merging := iterator.NewMerging(cmp, iters(sources)...)
	var layer string
	d.ScanArgs(t, "layer", &layer)
	switch layer {
	case "merging":
		return merging
	case "mask":
		return iterator.NewMask(merging, at, mask)
	case "snapshot":
		return iterator.NewSnapshot(merging, at)
	case "dedup":
		return iterator.NewDedup(cmp, iterator.NewSnapshot(merging, at))
	case "filter":
		return iterator.NewFilter(merging, hidesH)
	case "bounds":
		return iterator.NewBounds(cmp, merging, b)
	case "user":
		o := iterator.UserOptions{At: at, Bounds: b, Filter: hidesH}
		if d.HasArg("now") {
			o.Mask = &mask
		}
		return asInternal{iterator.NewUser(cmp, o, iters(sources)...)}
	}
	d.Fatalf(t, "no such layer: %s", layer)
	return nil
}

// runMoves makes one move a line and tells where each came to.
func runMoves(it iterator.Internal, lines string) string {
	var out strings.Builder
	entry := func() string {
		if _, user := it.(asInternal); user {
			return fmt.Sprintf("%s=%s", showKey(it.Key().UserKey), it.Value())
		}
		return show(it.Key(), it.Value())
	}
	for line := range strings.Lines(lines) {
		name, key, _ := strings.Cut(strings.TrimSpace(line), " ")
		first, then := name, ""
		switch name {
		case "forward":
			first, then = "first", "next"
		case "reverse":
			first, then = "last", "prev"
		}
		ok := itertest.Move(it, first, parseKey(key))
		for ; ok && then != ""; ok = itertest.Move(it, then, nil) {
			fmt.Fprintf(&out, "%s ", entry())
		}
		if ok {
			fmt.Fprintf(&out, "%s\n", entry())
		} else {
			fmt.Fprintf(&out, ".\n")
		}
	}
	return out.String()
}

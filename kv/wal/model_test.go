package wal

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawRecords draws records whose sizes favour the edges of blocks.
func drawRecords(t *rapid.T) [][]byte {
	size := rapid.OneOf(
		rapid.IntRange(0, 300),
		rapid.IntRange(room-20, room+20),
		rapid.IntRange(0, 3*room),
		rapid.Just(12),
	)
	sizes := rapid.SliceOfN(size, 0, 12).Draw(t, "sizes")
	seed := rapid.IntRange(0, 250).Draw(t, "seed")
	records := make([][]byte, len(sizes))
	for i, n := range sizes {
		records[i] = fill(seed+i, n)
	}
	return records
}

func mustBePrefix(t tester, got, of [][]byte) {
	t.Helper()
	if len(got) > len(of) {
		t.Fatalf("%d records of %d", len(got), len(of))
	}
	mustEqual(t, got, of[:len(got)])
}

// ends returns the offset behind each record.
func ends(t tester, records [][]byte) []int {
	t.Helper()
	f := &memFile{}
	w := NewWriter(f, 0)
	var at []int
	for _, p := range records {
		if err := w.AddRecord(p); err != nil {
			t.Fatal(err)
		}
		at = append(at, int(w.Offset()))
	}
	return at
}

func TestGroupsOfRecordsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		f := &memFile{}
		w := NewWriter(f, 0)
		for rest := records; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "group")
			if err := w.AddRecords(rest[:n]...); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if !bytes.Equal(f.bytes, write(t, records...)) {
			t.Fatal("groups change the bytes")
		}
		mustRead(t, f.bytes, records...)
	})
}

func TestTruncatedLogKeepsItsWholeRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		log := write(t, records...)
		cut := rapid.IntRange(0, len(log)).Draw(t, "cut")
		zeros := rapid.SampledFrom([]int{0, 1, 7, 5000, 2 * BlockSize}).Draw(t, "zeros")
		cutLog := append(log[:cut:cut], make([]byte, zeros)...)

		whole, end := 0, 0
		for i, at := range ends(t, records) {
			if at <= cut {
				whole, end = i+1, at
			}
		}
		got, offset, err := read(cutLog)
		mustBePrefix(t, got, records)
		switch {
		case len(got) < whole, zeros == 0 && len(got) > whole:
			t.Fatalf("%d records of %d that are whole", len(got), whole)
		case zeros == 0 && offset != int64(end):
			t.Fatalf("Offset %d, want %d", offset, end)
		case zeros == 0 && (err == nil) != isZero(log[end:cut]):
			t.Fatalf("cut at %d, %d behind the last whole record: %v", cut, cut-end, err)
		}
		if _, ok := isBad(err); err != nil && !ok {
			t.Fatal(err)
		}
		more := fill(7, rapid.IntRange(0, 40000).Draw(t, "more"))
		mustRead(t, continueLog(t, log[:offset:offset], more), append(slices.Clone(got), more)...)
	})
}

func TestChangedBytesNeverReadAsRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		log := write(t, records...)
		if len(log) == 0 {
			return
		}
		type change struct {
			at int
			by byte
		}
		changes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) change {
			return change{rapid.IntRange(0, len(log)-1).Draw(t, "at"), rapid.ByteRange(1, 255).Draw(t, "by")}
		}), 1, 4).Draw(t, "changes")
		first := len(log)
		changed := slices.Clone(log)
		for _, c := range changes {
			changed[c.at] ^= c.by
		}
		for i := range log {
			if log[i] != changed[i] {
				first = i
				break
			}
		}

		before, behind, bad := resync(t, changed)
		mustBePrefix(t, before, records)
		at := ends(t, records)
		for i := range at {
			if at[i] <= first && len(before) <= i {
				t.Fatalf("record %d ends before the damage at %d but is not read", i, first)
			}
		}
		if len(before) < len(records) && len(bad) == 0 {
			t.Fatal("records are missing and nobody says so")
		}

		// Behind the damage: every record that is whole, and nothing else.
		var want [][]byte
		start := 0
		for i := range at {
			if room := BlockSize - start%BlockSize; room < headerSize {
				start += room
			}
			if i >= len(before) && bytes.Equal(log[start:at[i]], changed[start:at[i]]) {
				want = append(want, records[i])
			}
			start = at[i]
		}
		mustEqual(t, behind, want)
	})
}

// A host that loses pages leaves holes of zeros.
func TestHolesAreSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := append(drawRecords(t), fill(1, 12))
		log := write(t, records...)
		const page = 4096
		hole := rapid.IntRange(0, (len(log)-1)/page).Draw(t, "hole")
		holed := slices.Clone(log)
		clear(holed[hole*page : min(len(log), (hole+1)*page)])
		before, behind, bad := resync(t, holed)
		mustBePrefix(t, before, records)
		if hole < (len(log)-12-headerSize-headerSize)/page {
			// The last record stands behind the hole.
			if len(bad) == 0 || len(behind) == 0 || !bytes.Equal(behind[len(behind)-1], records[len(records)-1]) {
				t.Fatalf("hole at page %d: %d reports, %d records behind", hole, len(bad), len(behind))
			}
		}
	})
}

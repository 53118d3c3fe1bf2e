package manifest

import (
	"slices"

	"tempestkv/kv/base"
)

// State is what a manifest keeps beside the version.
type State struct {
	LogNum      uint64 // logs before it are in tables
	PrevLogNum  uint64 // a log before LogNum that is needed still; 0 for none
	NextFileNum uint64
	LastSeq     base.SeqNum // of the last write that is in tables, or in logs to replay

	// CompactPointers say where the next compaction of a level begins: behind
	// the key. A nil UserKey is none.
	CompactPointers [NumLevels]base.InternalKey

	// Features are the names of what the store needs its reader to know.
	Features []string

	has Fields
}

// IsGoleveldbs reports whether goleveldb wrote the manifest: it alone says nothing
// of a previous log. It may name a log that it has removed, since that was empty.
func (s *State) IsGoleveldbs() bool { return s.has&HasPrevLogNum == 0 }

// apply takes over what e says. Numbers that count up do not go back.
func (s *State) apply(e *VersionEdit) {
	s.has |= e.Has
	if e.Has&HasLogNum != 0 {
		s.LogNum = e.LogNum
	}
	if e.Has&HasPrevLogNum != 0 {
		s.PrevLogNum = e.PrevLogNum
	}
	if e.Has&HasNextFileNum != 0 {
		s.NextFileNum = max(s.NextFileNum, e.NextFileNum)
	}
	if e.Has&HasLastSeq != 0 {
		s.LastSeq = max(s.LastSeq, e.LastSeq)
	}
	for _, c := range e.CompactPointers {
		s.CompactPointers[c.Level] = c.Key
	}
	for _, name := range e.Features {
		if !slices.Contains(s.Features, name) {
			s.Features = append(s.Features, name)
		}
	}
}

// lacks reports whether e needs a feature that neither s nor e names.
func (s *State) lacks(e *VersionEdit) bool {
	return len(e.NewRanges) > 0 && !slices.Contains(s.Features, FeatureRangeDelete) && !slices.Contains(e.Features, FeatureRangeDelete)
}

// snapshot returns the edit that makes s and v out of nothing.
func (s *State) snapshot(v *Version) *VersionEdit {
	e := &VersionEdit{
		Has: hasAll | HasPrevLogNum, Comparer: v.cmp.Name,
		LogNum: s.LogNum, PrevLogNum: s.PrevLogNum, NextFileNum: s.NextFileNum, LastSeq: s.LastSeq,
		Features: s.Features, NewRanges: v.ranges,
	}
	for level, key := range s.CompactPointers {
		if key.UserKey != nil {
			e.CompactPointers = append(e.CompactPointers, CompactPointer{level, key})
		}
	}
	for level, files := range v.levels {
		for _, f := range files {
			e.Add(level, f)
		}
	}
	return e
}

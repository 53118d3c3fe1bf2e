package volume

import (
	"slices"

	"tempestkv/kv/vfs"
)

// shrinkShare is the part of the file, one in so many, that may be free before
// Shrink does anything. The free end that trim leaves does not count.
const shrinkShare = 8

// move is a run of pages of a file that is to lie elsewhere.
type move struct {
	f     *file
	index int // of the extent in f.extents
	from  extent
	to    []extent // as many pages, all of them before from
}

// Shrink implements vfs.Shrinker. Where more than an eighth of the file is
// free, it moves the last pages of the file that lies farthest behind into free
// pages before them. Pages are moved by copying and a commit, so a power loss
// leaves the file here or there. Where it is a log or manifest, appends to it
// wait meanwhile; a table that is being written is left alone.
func (v *Volume) Shrink(maxBytes int64) (movedBytes int64, err error) {
	m, found, err := v.planMove(pagesFor(min(max(maxBytes, 1), maxReserve)))
	if err != nil || !found {
		return 0, err
	}
	defer m.f.append.Unlock()
	err = v.copyPages(&m)
	moved := false
	if err == nil {
		moved, err = v.commitMove(&m)
	}
	v.mu.Lock()
	for _, e := range m.f.growing {
		v.space.free(e)
	}
	m.f.growing = nil
	m.f.end()
	v.mu.Unlock()
	if err != nil || !moved {
		return 0, err
	}
	return int64(m.from.count) * PageSize, nil
}

// planMove chooses what to move and takes the pages to move to. With found,
// the file's append lock is held, and it has begun a device call.
func (v *Volume) planMove(most uint32) (m move, found bool, err error) {
	v.commits.Lock()
	defer v.commits.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.writable(); err != nil {
		return move{}, false, err
	}
	m, found = v.findMove(most)
	if !found && v.waitsForCommit() {
		v.mu.Unlock()
		err = v.commit()
		if err == nil {
			v.trim()
		}
		v.mu.Lock()
		if err == nil {
			m, found = v.findMove(most)
		}
	}
	if found {
		m.f.begin()
	}
	return m, found, err
}

// findMove chooses what to move, see planMove. Needs mu, and commits, under
// which nobody cuts the file.
func (v *Volume) findMove(most uint32) (m move, found bool) {
	if !v.space.worthShrinking(v.filePages()) {
		return move{}, false
	}
	for _, f := range v.files {
		if !f.inCatalog || f.removing || f.fd.Type == vfs.TypeTable && f.appender != nil {
			continue
		}
		for i, e := range f.extents {
			if e.end() > m.from.end() {
				m.f, m.index, m.from = f, i, e
			}
		}
	}
	if m.f == nil || !m.f.append.TryLock() {
		return move{}, false
	}
	n := min(most, m.from.count)
	to, missing := v.space.takeHoles(nil, n, m.from.page, true)
	if n -= missing; n == 0 {
		m.f.append.Unlock()
		return move{}, false
	}
	m.from = extent{m.from.end() - n, n}
	m.to, m.f.growing = to, to
	return m, true
}

// waitsForCommit reports whether what was given up last keeps Shrink from doing
// anything: the next commit frees it. Needs mu.
func (v *Volume) waitsForCommit() bool {
	after := space{used: slices.Clone(v.space.used)}
	for _, g := range v.given {
		if g.gen <= v.gen {
			after.free(g.extent)
		}
	}
	after.moveAhead(v.ahead, v.catalog.count, v.wholePages())
	for _, e := range v.reserve {
		after.free(e)
	}
	after.takeFirst(v.kept(), v.wholePages())
	return v.isLong(after.end()) || after.worthShrinking(v.filePages())
}

// worthShrinking reports whether so much of a file of so many pages is free,
// its end aside, that pages should be moved.
func (s *space) worthShrinking(pages uint32) bool {
	return s.freeBelow(min(s.end(), pages)) > pages/shrinkShare
}

// copyPages copies what is to be moved.
func (v *Volume) copyPages(m *move) error {
	v.mu.Lock()
	buf := v.takeBuffer()
	v.mu.Unlock()
	buf = buf[:cap(buf)]
	from := []extent{m.from}
	size := int64(m.from.count) * PageSize
	// The last page of the file may be cut short.
	v.mu.Lock()
	size = min(size, v.size-int64(m.from.page)*PageSize)
	v.mu.Unlock()
	var err error
	for off := int64(0); off < size && err == nil; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), size-off)]
		if err = v.readExtents(from, p, off); err == nil {
			err = v.writeExtents(m.to, p, off)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.spare) < maxSpare {
		v.spare = append(v.spare, buf[:0])
	}
	if err != nil {
		return hostError("move a part of "+m.f.fd.String(), err)
	}
	return nil
}

// commitMove makes the file have the pages it was copied to. moved is false
// where it was removed meanwhile.
func (v *Volume) commitMove(m *move) (moved bool, err error) {
	v.commits.Lock()
	defer v.commits.Unlock()
	f := m.f
	v.mu.Lock()
	if f.removed != 0 {
		v.mu.Unlock()
		return false, nil
	}
	before := f.extents
	var after []extent
	for i, e := range before {
		if i != m.index {
			after = appendExtent(after, e)
			continue
		}
		if rest := e.count - m.from.count; rest > 0 {
			after = appendExtent(after, extent{e.page, rest})
		}
		for _, e := range m.to {
			after = appendExtent(after, e)
		}
	}
	f.extents, f.growing = after, nil
	v.mu.Unlock()
	if err := v.commit(); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		f.extents, f.growing = before, m.to
		return false, err
	}
	v.mu.Lock()
	f.left = append(f.left, givenUp{m.from, v.gen})
	v.mu.Unlock()
	v.trim()
	return true, nil
}

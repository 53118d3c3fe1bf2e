package volume

import (
	"errors"

	"tempestkv/kv/base"
)

// Reserve implements vfs.Reserver. What is kept are pages inside the file, so
// that the host has given them for sure. No catalog names them: they are of
// nobody as far as the format goes, and after Open none are kept.
//
// They count towards Options.KeepFreeBytes.
func (v *Volume) Reserve(bytes int64) error {
	n := pagesFor(min(max(bytes, 0), maxReserve))
	err := v.keep(n)
	if !errors.Is(err, base.ErrQuota) {
		return err
	}
	freed, e := v.reclaim()
	if e != nil {
		return e
	}
	if freed {
		return v.keep(n)
	}
	return err
}

// Release implements vfs.Reserver.
func (v *Volume) Release(bytes int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keepInside(min(v.kept(), pagesFor(max(bytes, 0))))
}

// keep keeps n pages, or as many as there are.
func (v *Volume) keep(n uint32) error {
	v.commits.Lock()
	defer v.commits.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.writable(); err != nil {
		return err
	}
	v.waitForTrim()
	v.enter()
	defer v.leave()
	v.keepInside(n)
	for missing := n - v.kept(); missing > 0; missing = n - v.kept() {
		// The last few may be all that the host still gives.
		e, err := v.takeZeroed(min(missing, goodRun))
		if errors.Is(err, base.ErrQuota) && missing > 1 {
			e, err = v.takeZeroed(1)
		}
		if err != nil {
			return err
		}
		v.reserve = append(v.reserve, e)
	}
	return nil
}

// kept returns how many pages are kept by Reserve. Needs mu.
func (v *Volume) kept() (pages uint32) {
	for _, e := range v.reserve {
		pages += e.count
	}
	return pages
}

// keepInside keeps the first n free pages inside the file, or as many as there
// are, in place of those kept before. Needs mu.
func (v *Volume) keepInside(n uint32) {
	for _, e := range v.reserve {
		v.space.free(e)
	}
	v.reserve = v.space.takeFirst(n, v.wholePages())
}

// takeFirst takes the first n free pages below end, or as many as there are.
func (s *space) takeFirst(n, end uint32) (taken []extent) {
	for page := s.nextFree(0); page < end && n > 0; page = s.nextFree(page) {
		e := extent{page, min(n, s.nextTaken(page)-page, end-page)}
		s.take(e)
		taken = append(taken, e)
		n -= e.count
	}
	return taken
}

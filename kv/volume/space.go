package volume

import "math/bits"

// maxPages bounds a volume: 16 TiB.
const maxPages = 1 << 28

// goodRun is how many neighbouring pages, half a MiB, are worth a device call
// of their own.
const goodRun = 8

// pagesFor returns how many pages size bytes take.
func pagesFor(size int64) uint32 { return uint32((size + PageSize - 1) / PageSize) }

// space knows which pages are taken. Pages behind the bitmap are free: the
// file can grow.
type space struct {
	used []uint64 // a bit a page
}

// taken reports whether page is taken.
func (s *space) taken(page uint32) bool {
	i := int(page / 64)
	return i < len(s.used) && s.used[i]&(1<<(page%64)) != 0
}

// anyTaken reports whether a page of e is taken.
func (s *space) anyTaken(e extent) bool { return s.nextTaken(e.page) < e.end() }

// take marks e as taken.
func (s *space) take(e extent) {
	for int(e.end()+63)/64 > len(s.used) {
		s.used = append(s.used, 0)
	}
	for p := e.page; p < e.end(); p++ {
		s.used[p/64] |= 1 << (p % 64)
	}
}

// free marks e as free.
func (s *space) free(e extent) {
	for p := e.page; p < e.end(); p++ {
		s.used[p/64] &^= 1 << (p % 64)
	}
}

// nextFree returns the first free page from page on.
func (s *space) nextFree(page uint32) uint32 {
	for i := int(page / 64); i < len(s.used); i++ {
		w := ^s.used[i]
		if i == int(page/64) {
			w &= ^uint64(0) << (page % 64)
		}
		if w != 0 {
			return uint32(i*64 + bits.TrailingZeros64(w))
		}
	}
	return max(page, uint32(len(s.used)*64))
}

// nextTaken returns the first taken page from page on, maxPages for none.
func (s *space) nextTaken(page uint32) uint32 {
	for i := int(page / 64); i < len(s.used); i++ {
		w := s.used[i]
		if i == int(page/64) {
			w &= ^uint64(0) << (page % 64)
		}
		if w != 0 {
			return uint32(i*64 + bits.TrailingZeros64(w))
		}
	}
	return maxPages
}

// end returns the page behind the last taken one.
func (s *space) end() uint32 {
	for i := len(s.used) - 1; i >= 0; i-- {
		if w := s.used[i]; w != 0 {
			return uint32(i*64 + bits.Len64(w))
		}
	}
	return 0
}

// takeRun takes n neighbouring pages: the first that fit below fileEnd, the
// page behind the file, else those behind the last taken page. ok is false
// where the volume would exceed maxPages.
func (s *space) takeRun(n, fileEnd uint32) (e extent, ok bool) {
	if e, ok = s.takeRunBelow(n, fileEnd); ok {
		return e, true
	}
	page := s.end()
	if n > maxPages-page {
		return extent{}, false
	}
	e = extent{page, n}
	s.take(e)
	return e, true
}

// takeRunBelow takes n neighbouring pages: the first that fit below end, if
// any.
func (s *space) takeRunBelow(n, end uint32) (e extent, ok bool) {
	for page := s.nextFree(0); page < end; {
		stop := min(s.nextTaken(page), end)
		if stop-page >= n {
			e = extent{page, n}
			s.take(e)
			return e, true
		}
		page = s.nextFree(stop)
	}
	return extent{}, false
}

// takeAllHoles takes n pages below end, wherever they are, and appends them to
// extents. ok is false, and nothing is taken, where there are not so many.
func (s *space) takeAllHoles(extents []extent, n, end uint32) (result []extent, ok bool) {
	if s.freeBelow(end) < n {
		return extents, false
	}
	result, _ = s.takeHoles(extents, n, end, true)
	return result, true
}

// freeBelow returns how many pages below fileEnd are free.
func (s *space) freeBelow(fileEnd uint32) uint32 {
	free := fileEnd
	for page := s.nextTaken(0); page < fileEnd; {
		stop := min(s.nextFree(page), fileEnd)
		free -= stop - page
		page = s.nextTaken(stop)
	}
	return free
}

// takePages takes n pages and appends them to extents, merged with the last of
// them where they touch. It prefers to go on where extents end, then a run of
// n, then runs of at least goodRun; the rest comes from behind the last taken
// page, or from smaller holes where more than an eighth of the file is free.
// ok is false, and nothing is taken, where the volume would exceed maxPages.
func (s *space) takePages(extents []extent, n, fileEnd uint32) (result []extent, ok bool) {
	if n > maxPages-max(s.end(), fileEnd) {
		return extents, false
	}
	if len(extents) > 0 {
		if at := extents[len(extents)-1].end(); s.nextTaken(at)-at >= n {
			e := extent{at, n}
			s.take(e)
			return appendExtent(extents, e), true
		}
	}
	small := s.freeBelow(fileEnd) > fileEnd/8
	if extents, n = s.takeHoles(extents, n, fileEnd, small); n > 0 {
		e := extent{s.end(), n}
		s.take(e)
		extents = appendExtent(extents, e)
	}
	return extents, true
}

// takeHoles takes up to n free pages below end and appends them to extents: a
// run of n, else the first runs of goodRun, and then, with small, the first
// there are. It returns how many of n are missing.
func (s *space) takeHoles(extents []extent, n, end uint32, small bool) (result []extent, missing uint32) {
	runs := []uint32{n, goodRun, 1}
	if !small {
		runs = runs[:2]
	}
	for _, least := range runs {
		for page := s.nextFree(0); page < end && n > 0; {
			stop := min(s.nextTaken(page), end)
			if stop-page >= least {
				e := extent{page, min(n, stop-page)}
				s.take(e)
				extents = appendExtent(extents, e)
				n -= e.count
			}
			page = s.nextFree(stop)
		}
	}
	return extents, n
}

// appendExtent appends e, merged with the last extent where they touch.
func appendExtent(extents []extent, e extent) []extent {
	if i := len(extents) - 1; i >= 0 && extents[i].end() == e.page {
		extents[i].count += e.count
		return extents
	}
	return append(extents, e)
}

// splitExtents returns the extents of the first pages pages, and the others.
// It does not change extents.
func splitExtents(extents []extent, pages uint32) (head, tail []extent) {
	for i, e := range extents {
		if pages >= e.count {
			pages -= e.count
			continue
		}
		if pages > 0 {
			head = append(append(head, extents[:i]...), extent{e.page, pages})
			tail = append(tail, extent{e.page + pages, e.count - pages})
			return head, append(tail, extents[i+1:]...)
		}
		return extents[:i:i], extents[i:]
	}
	return extents, nil
}

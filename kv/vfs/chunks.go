package vfs

import "slices"

// chunkBytes is the size of a chunk. A whole table or log in one slice would be
// copied again and again while it grows, and leave up to half of its space empty.
const chunkBytes = 64 << 10

// chunks are the bytes of a file: pieces of chunkBytes each, but for the last.
type chunks struct {
	list [][]byte
	size int
}

func chunksOf(p []byte) (c chunks) {
	c.append(p)
	return c
}

func (c *chunks) append(p []byte) {
	c.size += len(p)
	for len(p) > 0 {
		last := len(c.list) - 1
		if last < 0 || len(c.list[last]) == chunkBytes {
			// Most files are small; those that go on are likely to fill what comes.
			var space []byte
			if last >= 0 {
				space = make([]byte, 0, chunkBytes)
			}
			c.list = append(c.list, space)
			last++
		}
		n := min(len(p), chunkBytes-len(c.list[last]))
		c.list[last] = append(c.list[last], p[:n]...)
		p = p[n:]
	}
}

// readAt copies what there is from off on, and returns how much that was.
func (c *chunks) readAt(p []byte, off int64) int {
	if off >= int64(c.size) {
		return 0
	}
	count := 0
	for i, at := int(off/chunkBytes), int(off%chunkBytes); count < len(p) && i < len(c.list); i++ {
		count += copy(p[count:], c.list[i][at:])
		at = 0
	}
	return count
}

// truncate leaves the first size bytes, of which there are as many.
func (c *chunks) truncate(size int) {
	c.list = c.list[:(size+chunkBytes-1)/chunkBytes]
	if rest := size % chunkBytes; rest > 0 {
		last := len(c.list) - 1
		c.list[last] = c.list[last][:rest]
	}
	c.size = size
}

// prefix returns a copy of the first size bytes, of which there are as many.
func (c *chunks) prefix(size int) []byte {
	return slices.Concat(c.list...)[:size]
}

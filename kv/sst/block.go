package sst

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// Restart intervals. Readers take any.
const (
	dataInterval  = 16
	indexInterval = 1
)

// blockBuilder makes the contents of a data, index or metaindex block.
type blockBuilder struct {
	interval int
	buf      []byte
	restarts []uint32
	count    int    // of entries since the last restart
	last     []byte // the key added last, also after reset
}

// add appends an entry. Keys come in order.
func (b *blockBuilder) add(key, value []byte) {
	shared := 0
	if len(b.restarts) == 0 || b.count == b.interval {
		b.restarts = append(b.restarts, uint32(len(b.buf)))
		b.count = 0
	} else {
		shared = sharedPrefix(b.last, key)
	}
	b.count++
	buf := appendVarint(b.buf, uint64(shared))
	buf = appendVarint(buf, uint64(len(key)-shared))
	buf = appendVarint(buf, uint64(len(value)))
	buf = append(buf, key[shared:]...)
	b.buf = append(buf, value...)
	b.last = append(b.last[:shared], key[shared:]...)
}

// size returns how many bytes finish would return.
func (b *blockBuilder) size() int { return len(b.buf) + 4*max(1, len(b.restarts)) + 4 }

// finish returns the contents, valid until reset. A block without entries has
// one restart all the same.
func (b *blockBuilder) finish() []byte {
	if len(b.restarts) == 0 {
		b.restarts = append(b.restarts, 0)
	}
	for _, off := range b.restarts {
		b.buf = binary.LittleEndian.AppendUint32(b.buf, off)
	}
	b.buf = binary.LittleEndian.AppendUint32(b.buf, uint32(len(b.restarts)))
	return b.buf
}

// reset begins another block.
func (b *blockBuilder) reset() {
	b.buf, b.restarts, b.count = b.buf[:0], b.restarts[:0], 0
}

// sharedPrefix returns how many bytes a and b begin with in common.
func sharedPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// checkBlock reports whether b ends like the contents of a block: restarts
// that ascend from 0, each inside the entries. A blockIter relies on it.
func checkBlock(b []byte) bool {
	n := len(b) - 4
	if n < 0 {
		return false
	}
	count := uint64(binary.LittleEndian.Uint32(b[n:]))
	if count > uint64(n/4) {
		return false
	}
	entries := n - 4*int(count)
	if count == 0 || entries == 0 {
		return entries == 0 && count <= 1 && (count == 0 || binary.LittleEndian.Uint32(b) == 0)
	}
	next := uint64(0)
	for i := entries; i < n; i += 4 {
		off := uint64(binary.LittleEndian.Uint32(b[i:]))
		if off < next || off >= uint64(entries) || i == entries && off != 0 {
			return false
		}
		next = off + 1
	}
	return true
}

// blockIter walks the entries of a block. It takes the keys of a metaindex as
// they are; seek wants internal keys. Its methods return whether they came to
// an entry: false means the end, or damage, which bad then describes.
//
// first, last and seek are the absolute moves. After next returned false, prev
// comes to the last entry; after prev returned false, only an absolute move
// may follow.
type blockIter struct {
	data     []byte // the entries
	restarts []byte // u32 each
	off      int    // of the current entry; len(data) behind the last
	after    int    // offset behind the current entry
	shared   int    // how much of the key is that of the entry before
	key      []byte
	value    []byte
	bad      string

	// behind has the offsets of the entries from a restart up to the one
	// before the current, or nothing. It makes prev cheap: walking to it
	// needs no keys, and each serves up to sixteen moves.
	behind []uint32
}

// init prepares the iterator for a block that checkBlock has passed. It keeps
// its buffers.
func (b *blockIter) init(block []byte) {
	n := len(block) - 4
	entries := n - 4*int(binary.LittleEndian.Uint32(block[n:]))
	b.data, b.restarts = block[:entries], block[entries:n]
	if entries == 0 {
		b.restarts = nil // the one it has leads to no entry
	}
	b.rewind(0)
}

// release lets go of the block.
func (b *blockIter) release() { b.data, b.restarts, b.value = nil, nil, nil }

// rewind makes the entry at off, a restart or the end, the next one.
func (b *blockIter) rewind(off int) {
	b.off, b.after, b.shared = off, off, 0
	b.key, b.behind, b.bad = b.key[:0], b.behind[:0], ""
}

func (b *blockIter) restart(i int) int {
	return int(binary.LittleEndian.Uint32(b.restarts[4*i:]))
}

// header reads the entry at off, behind which a key of keySize bytes lies. The
// entry's own key bytes are data[at:at+unshared], its value goes from there to
// end. Where the entry is damaged ok is false and bad is set.
func (b *blockIter) header(off, keySize int) (shared, unshared, at, end int, ok bool) {
	d := b.data[off:]
	if len(d) >= 3 && d[0]|d[1]|d[2] < 0x80 {
		shared, unshared, at = int(d[0]), int(d[1]), off+3
		end = at + unshared + int(d[2])
		if shared <= keySize && end <= len(b.data) {
			return shared, unshared, at, end, true
		}
	} else {
		var field [3]uint64
		at = off
		for i := range field {
			v, n := binary.Uvarint(b.data[at:])
			if n <= 0 || v > maxContents {
				b.bad = "damaged entry"
				return 0, 0, 0, 0, false
			}
			field[i] = v
			at += n
		}
		if field[0] <= uint64(keySize) && field[1]+field[2] <= uint64(len(b.data)-at) {
			shared, unshared = int(field[0]), int(field[1])
			return shared, unshared, at, at + unshared + int(field[2]), true
		}
	}
	b.bad = "entry reaches beyond its block or the key before"
	return 0, 0, 0, 0, false
}

func (b *blockIter) first() bool {
	b.rewind(0)
	return b.next()
}

func (b *blockIter) last() bool {
	b.rewind(len(b.data))
	return b.prev()
}

func (b *blockIter) next() bool {
	b.behind = b.behind[:0]
	b.off = b.after
	if b.off >= len(b.data) {
		b.shared = 0
		return false
	}
	shared, unshared, at, end, ok := b.header(b.off, len(b.key))
	if !ok {
		return false
	}
	b.shared, b.after = shared, end
	b.key = append(b.key[:shared], b.data[at:at+unshared]...)
	b.value = b.data[at+unshared : end : end]
	return true
}

// maxBatchBytes is how many bytes of keys a batch has at most, but for its last
// entry.
const maxBatchBytes = 16 << 10

// batch puts the current entry of a data block, which entry accepts, and those
// behind it into out, up to most entries, and moves to the last of them. It
// stops before an entry that is damaged. Values stay where they are; keys are
// put together one behind the other, in words of eight bytes: most of what is
// to be copied is so short that a call would cost more.
func (b *blockIter) batch(out *iterator.Batch, most int) {
	const word = 8
	d := b.data
	entries, keys := out.Entries[:0], out.Keys[:cap(out.Keys)]
	if len(keys) < len(b.key)+word {
		keys = make([]byte, len(b.key)+word+maxBatchBytes/8)
	}
	off, after, shared := b.off, b.after, b.shared
	start, end := 0, copy(keys, b.key) // of the last key in keys, with its trailer
	valueAt := after - len(b.value)
	for {
		entries = append(entries, iterator.Entry{
			Trailer: base.Trailer(binary.LittleEndian.Uint64(keys[end-base.TrailerSize:])),
			KeyAt:   uint32(start), KeyEnd: uint32(end - base.TrailerSize),
			ValueAt: uint32(valueAt), ValueEnd: uint32(after),
		})
		if len(entries) >= most || end >= maxBatchBytes || after >= len(d) {
			break
		}
		var same, own, at, to int
		if h := d[after:]; len(h) >= 3 && h[0]|h[1]|h[2] < 0x80 {
			same, own, at = int(h[0]), int(h[1]), after+3
			to = at + own + int(h[2])
			if same > end-start || to > len(d) {
				break
			}
		} else {
			var ok bool
			if same, own, at, to, ok = b.header(after, end-start); !ok {
				b.bad = "" // the next move says so
				break
			}
		}
		size := same + own
		if size < base.TrailerSize {
			break
		}
		if len(keys) < end+size+2*word {
			keys = append(keys, make([]byte, len(keys)+size+2*word)...)
		}
		for i := 0; i < same; i += word {
			binary.LittleEndian.PutUint64(keys[end+i:], binary.LittleEndian.Uint64(keys[start+i:]))
		}
		if own <= 4*word && at+own+word <= len(d) {
			for i := 0; i < own; i += word {
				binary.LittleEndian.PutUint64(keys[end+same+i:], binary.LittleEndian.Uint64(d[at+i:]))
			}
		} else {
			copy(keys[end+same:], d[at:at+own])
		}
		kind := base.Kind(keys[end+size-base.TrailerSize])
		if !kind.IsEntry() || kind == base.KindPutExpiring && to-at-own < base.ExpirySize {
			break
		}
		off, after, shared = after, to, same
		start, end, valueAt = end, end+size, at+own
	}
	out.Entries, out.Keys, out.Values = entries, keys, d
	b.off, b.after, b.shared, b.behind = off, after, shared, b.behind[:0]
	b.key = append(b.key[:0], keys[start:end]...)
	b.value = d[valueAt:after:after]
}

func (b *blockIter) prev() bool {
	if b.off == 0 || len(b.behind) == 0 && !b.look() {
		return false
	}
	i := len(b.behind) - 1
	b.off = int(b.behind[i])
	shared, unshared, at, end, _ := b.header(b.off, len(b.data))
	// The key begins with what the current one shares with it. The rest is
	// put together from its end: what the entry has itself, then what those
	// before it have. The first of them shares nothing.
	known, to := b.shared, shared+unshared
	b.key = slices.Grow(b.key[:known], to-known)[:to]
	for j := i; to > known; j-- {
		own, _, from, _, _ := b.header(int(b.behind[j]), len(b.data))
		if start := max(own, known); start < to {
			copy(b.key[start:to], b.data[from+start-own:])
			to = start
		}
	}
	b.shared, b.after = shared, end
	b.value = b.data[at+unshared : end : end]
	b.behind = b.behind[:i]
	return true
}

// look fills behind, and checks all that prev then relies on. Where it finds
// damage it leaves nothing there, which a later prev would trust.
func (b *blockIter) look() bool {
	lo, hi := 0, len(b.restarts)/4
	for lo+1 < hi {
		if mid := int(uint(lo+hi) / 2); b.restart(mid) < b.off {
			lo = mid
		} else {
			hi = mid
		}
	}
	off, size := b.restart(lo), 0
	for off < b.off {
		shared, unshared, _, end, ok := b.header(off, size)
		if !ok {
			b.behind = b.behind[:0]
			return false
		}
		b.behind = append(b.behind, uint32(off))
		off, size = end, shared+unshared
	}
	if off != b.off || b.shared > size {
		b.behind, b.bad = b.behind[:0], "restart inside an entry"
		return false
	}
	return true
}

// seek moves to the first entry whose internal key is not before user with
// trailer t.
func (b *blockIter) seek(cmp *base.Comparer, user []byte, t base.Trailer) bool {
	b.bad = ""
	lo, hi := 0, len(b.restarts)/4
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		_, unshared, at, _, ok := b.header(b.restart(mid), 0)
		if !ok {
			return false
		}
		if b.before(cmp, b.data[at:at+unshared], user, t) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if b.bad != "" {
		return false
	}
	if lo == 0 {
		b.rewind(0)
	} else {
		// The entry of this restart is before the key.
		b.rewind(b.restart(lo - 1))
		b.next()
	}
	ok := b.next()
	for ok && b.before(cmp, b.key, user, t) {
		ok = b.next()
	}
	return ok && b.bad == ""
}

// entry returns the internal key of the current entry. ok is false where it is
// none, or where the value is none of its kind.
func (b *blockIter) entry() (k base.InternalKey, ok bool) {
	k, ok = base.DecodeInternalKey(b.key)
	if k.Kind() == base.KindPutExpiring && len(b.value) < base.ExpirySize {
		ok = false
	}
	return k, ok
}

// before reports whether key, an encoded internal key, is before user with
// trailer t.
func (b *blockIter) before(cmp *base.Comparer, key, user []byte, t base.Trailer) bool {
	n := len(key) - base.TrailerSize
	if n < 0 {
		b.bad = "key too short for an internal key"
		return false
	}
	c := cmp.Compare(key[:n], user)
	return c < 0 || c == 0 && base.Trailer(binary.LittleEndian.Uint64(key[n:])) > t
}

// Rows of random bytes, each a function of its number alone: keys in no order, values that do not compress.

/** A one-to-one mixing of 32 bits (the finaliser of MurmurHash3). */
function mix(n) {
  let h = n >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The key of row `i`: 16 bytes, of which the first four are `i`, mixed, and the next four `i` itself. */
export function keyOf(i) {
  const key = new Uint8Array(16);
  const view = new DataView(key.buffer);
  // What begins with FF is the store's own.
  view.setUint32(0, mix(i) & 0x7fff_ffff);
  view.setUint32(4, i);
  view.setUint32(8, mix(i ^ 0x5bd1e995));
  return key;
}

/** The number of the row that has this key. */
export function numberOf(key) {
  return new DataView(key.buffer, key.byteOffset).getUint32(4);
}

/** The value of row `i`, of so many bytes. */
export function valueOf(i, bytes) {
  const value = new Uint8Array(bytes);
  let state = mix(i + 1) || 1;
  for (let at = 0; at < bytes; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    value[at] = state;
  }
  return value;
}

export function same(a, b) {
  return a !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

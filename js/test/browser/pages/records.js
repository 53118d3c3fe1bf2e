// Test data: record `i` is a function of `i` alone, so nobody has to keep it to know it again.

/** A key of 16 characters; their order is that of the numbers. */
export function keyOf(i) {
  return `record:${String(i).padStart(9, '0')}`;
}

/** A record as pages keep them: some fields, some text, at times none of it. */
export function recordOf(i) {
  return {
    id: i,
    name: `Ünïcode ${(i * 2654435761) % 2 ** 32}`,
    place: { latitude: (i % 18000) / 100 - 90, longitude: null },
    tags: i % 3 === 0 ? [] : ['a', `tag-${i % 100}`],
    isOdd: i % 2 === 1,
  };
}

/** `size` bytes that do not repeat soon, other ones for each seed. */
export function bytesOf(size, seed) {
  const bytes = new Uint8Array(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** Writes records `from` to `to` in batches of 1,000, a few of them under way at once. */
export async function load(db, from, to) {
  const under = new Set();
  for (let start = from; start < to; start += 1000) {
    const operations = [];
    for (let i = start; i < Math.min(start + 1000, to); i++) operations.push({ type: 'put', key: keyOf(i), value: recordOf(i) });
    const batch = db.batch(operations).then(() => under.delete(batch));
    under.add(batch);
    if (under.size >= 4) await Promise.race(under);
  }
  await Promise.all(under);
}

/** Whether two values are equal in every part. */
export function isEqual(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a.constructor !== b.constructor) return false;
  if (a instanceof Uint8Array) return a.length === b.length && a.every((byte, i) => byte === b[i]);
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => isEqual(a[key], b[key]));
}

/** How a promise settled, in a form that travels to the test. */
export async function outcome(promise) {
  try {
    return { value: await promise };
  } catch (error) {
    return { name: error.name, code: error.code, message: error.message };
  }
}

// A stream of writes, the same for the page that makes them and for the test that checks what is left of them. Operation `n` is a function of
// `n` alone, and every value says which operation wrote it.

/** Groups of keys that batches write, and keys in a group. All of a group always carry the same mark. */
const GROUPS = 40;
export const GROUP_KEYS = 7;

/** Keys that single writes share: few, so that they are written over and deleted often. */
const KEYS = 1500;

/** 32 well-mixed bits for two integers. */
function hash(a, b) {
  let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b + 0x7f4a7c15, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return (h ^ (h >>> 15)) >>> 0;
}

export function groupKey(group, index) {
  return `group:${group}:${index}`;
}

/** What operation `n` does: what it puts and deletes, in the order it does so, and whether it is a batch. */
export function operation(n) {
  const choice = hash(n, 1) % 100;
  if (choice < 15) {
    const group = hash(n, 2) % GROUPS;
    const writes = Array.from({ length: GROUP_KEYS }, (_, index) => ({ type: 'put', key: groupKey(group, index) }));
    // Some batches write a key of their own twice: the later one counts.
    if (choice < 5) writes.unshift({ type: 'delete', key: groupKey(group, 0) });
    return { isBatch: true, writes };
  }
  const key = `key:${hash(n, 3) % KEYS}`;
  return { isBatch: false, writes: [{ type: choice < 30 ? 'delete' : 'put', key }] };
}

/** The value that operation `n` writes: mostly small, at times longer than a block of the log (32 KiB). */
export function valueOf(n) {
  const size = hash(n, 4);
  const length = size % 400 === 0 ? 40_000 : size % 20 === 0 ? 3000 : size % 120;
  return { n, text: String.fromCharCode(97 + (n % 26)).repeat(length) };
}

/** Carries out operation `n`; resolves when it is acknowledged, to the sequence number. */
function carryOut(db, n) {
  const { isBatch, writes } = operation(n);
  const value = valueOf(n);
  if (isBatch) return db.batch(writes.map((write) => ({ ...write, value })));
  const [{ type, key }] = writes;
  return type === 'put' ? db.put(key, value) : db.delete(key);
}

/**
 * Carries out the operations from `first` on, `inFlight` at a time, until the page ends. `report` is called with the numbers and sequence
 * numbers of the operations acknowledged, in pairs, in the very turn that they were.
 */
export async function stream(db, first, inFlight, report) {
  let acknowledged = [];
  let free = inFlight;
  let wake;
  const tell = () => {
    report(acknowledged);
    acknowledged = [];
  };
  for (let n = first; ; n++) {
    carryOut(db, n).then((sequence) => {
      if (acknowledged.length === 0) queueMicrotask(tell);
      acknowledged.push(n, sequence);
      free++;
      wake?.();
    });
    if (--free === 0) await new Promise((resolve) => (wake = resolve));
  }
}

/** What is in the store: by key, the operation that wrote it. Throws where a value is not what that operation writes. */
export async function contents(db) {
  const entries = [];
  for await (const [key, value] of db.scan()) {
    const { n, text } = valueOf(value.n);
    if (value.text !== text) throw new Error(`the value of ${key} is not what operation ${n} wrote`);
    entries.push([key, n]);
  }
  return entries;
}

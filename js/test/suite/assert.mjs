// Assertions for every context: there is no node:assert in a browser.

export class AssertionError extends Error {
  name = 'AssertionError';
}

export function fail(message) {
  throw new AssertionError(message);
}

export function ok(value, message = `${show(value)} is not true`) {
  if (!value) fail(message);
}

/** Equality as structured cloning keeps it: prototype, contents, order of Map and Set, shared and circular structure. */
export function equal(actual, expected, message = '') {
  if (!same(actual, expected, new Map())) fail(`${message}${message && ': '}got ${show(actual)}, not ${show(expected)}`);
}

/** Checks that `promise` rejects with an error that has the fields of `expected`, and returns the error. */
export async function rejects(promise, expected) {
  let error;
  try {
    const value = await promise;
    fail(`resolved to ${show(value)}, did not reject with ${show(expected)}`);
  } catch (caught) {
    if (caught instanceof AssertionError) throw caught;
    error = caught;
  }
  return matches(error, expected);
}

/** Checks that `run` throws an error that has the fields of `expected`, and returns the error. */
export function throws(run, expected) {
  let error;
  try {
    run();
  } catch (caught) {
    error = caught;
  }
  if (error === undefined) fail(`did not throw ${show(expected)}`);
  return matches(error, expected);
}

function matches(error, expected) {
  for (const [name, value] of Object.entries(expected)) {
    const found = error?.[name];
    if (value instanceof RegExp ? !value.test(String(found)) : found !== value) {
      fail(`expected ${name} ${show(value)}, got ${show(found)} of ${String(error)}\n${error?.stack}`);
    }
  }
  return error;
}

function same(a, b, seen) {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (seen.has(a)) return seen.get(a) === b;
  seen.set(a, b);
  if (Object.prototype.toString.call(a) !== Object.prototype.toString.call(b)) return false;
  if (a instanceof Date) return Object.is(a.getTime(), b.getTime());
  if (a instanceof RegExp) return String(a) === String(b);
  if (a instanceof Map) return same([...a], [...b], seen);
  if (a instanceof Set) return same([...a], [...b], seen);
  if (a instanceof Error) return a.name === b.name && a.message === b.message && same(a.cause, b.cause, seen);
  if (a instanceof ArrayBuffer) return same(new Uint8Array(a), new Uint8Array(b), seen);
  if (ArrayBuffer.isView(a)) {
    if (a.byteLength !== b.byteLength) return false;
    const x = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
    const y = new Uint8Array(b.buffer, b.byteOffset, b.byteLength);
    return x.every((byte, i) => byte === y[i]);
  }
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length || a.length !== b.length) return false;
  return keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key], seen));
}

function show(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 200 ? `${value.slice(0, 200)}…` : value);
  if (typeof value !== 'object' || value === null || value instanceof RegExp) return String(value);
  let text;
  try {
    text = JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? `${part}n` : part));
  } catch {
    text = String(value);
  }
  return text.length > 500 ? `${text.slice(0, 500)}…` : text;
}

/** Random numbers that are the same in every run: mulberry32. */
export function random(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** A promise and what settles it. */
export function deferred() {
  let resolve;
  const promise = new Promise((r) => (resolve = r));
  return { promise, resolve };
}

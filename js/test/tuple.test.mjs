// The order of tuples and their bytes: docs/FORMAT.md, "Keys: tuples".

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { runInNewContext } from 'node:vm';
import { compareBytes, frames, limits, readTuple, writeTuple } from '../../build/js/internal.js';
import { equal, random } from './suite/assert.mjs';

const { MAX_KEY_BYTES, MAX_TUPLE_DEPTH } = limits;

function encode(tuple) {
  const writer = new frames.FrameWriter();
  const start = writer.length;
  writeTuple(writer, tuple);
  return writer.bytes.slice(start, writer.length);
}

/** Decodes in the middle of other bytes, which must not be looked at. */
function decode(bytes, around = 0) {
  const frame = new Uint8Array(bytes.length + 20).fill(around);
  frame.set(bytes, 10);
  return readTuple(frame, 10, 10 + bytes.length);
}

const hex = (bytes) => Buffer.from(bytes).toString('hex').replace(/..(?=.)/g, '$& ');

const unhex = (text) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

/** The order as the documents have it, without any bytes but those of strings. */
function compare(a, b) {
  const rank = (part) => {
    if (part === null) return 0;
    if (part instanceof Date) return 5;
    if (part instanceof Uint8Array) return 7;
    if (Array.isArray(part)) return 8;
    return part === false ? 1 : part === true ? 2 : { number: 3, bigint: 4, string: 6 }[typeof part];
  };
  const comparePart = (x, y) => {
    if (rank(x) !== rank(y)) return rank(x) - rank(y);
    if (typeof x === 'string') return Buffer.compare(Buffer.from(x), Buffer.from(y));
    if (x instanceof Uint8Array) return Buffer.compare(x, y);
    if (Array.isArray(x)) return compare(x, y);
    return x < y ? -1 : x > y ? 1 : 0;
  };
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = comparePart(a[i], b[i]);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

const bytes = (...values) => Uint8Array.from(values);

/** Parts of every type at the edges of their bytes, in order. */
const EDGES = [
  null, false, true,
  -Infinity, -Number.MAX_VALUE, -(2 ** 53), -(2 ** 32), -256.5, -256, -255, -1.5, -1, -Number.EPSILON, -(2 ** -1022), -Number.MIN_VALUE,
  0, Number.MIN_VALUE, 2 ** -1022, Number.EPSILON, 0.1, 1, 1.5, 2, 10, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53,
  1e21, Number.MAX_VALUE, Infinity,
  -(2n ** 2200n), -(256n ** 256n), 1n - 256n ** 256n, -(256n ** 255n), 1n - 256n ** 255n, -(2n ** 64n), 1n - 2n ** 64n, -65536n, -65535n, -257n, -256n,
  -255n, -128n, -127n, -2n, -1n, 0n, 1n, 2n, 127n, 128n, 255n, 256n, 257n, 65535n, 65536n, 2n ** 53n + 1n, 2n ** 64n - 1n, 2n ** 64n,
  256n ** 255n - 1n, 256n ** 255n, 256n ** 256n - 1n, 256n ** 256n, 2n ** 2200n,
  new Date(-8.64e15), new Date(-1), new Date(0), new Date(1), new Date('2026-01-01'), new Date(8.64e15),
  '', '\0', '\0\0', '\0\x01', '\0a', '\0\xff', '\x01', '\x01\0', '\x01\x01', '\x01\x02', '\x02', '\x02\0', ' ', '1', '10', '9', 'B', 'a', 'a\0', 'a\0b',
  'a\x01', 'a\x02', 'aa', 'ab', 'b', '\x7f', '\x80', 'é', 'é\0', '\u07ff', '\u0800', '日本', '\ud7ff', '\ue000', '\ufeff', '\uffff', '\u{10000}', '𝒳',
  '\u{10ffff}',
  bytes(), bytes(0), bytes(0, 0), bytes(0, 0, 255), bytes(0, 1), bytes(0, 2), bytes(0, 255), bytes(1), bytes(1, 0), bytes(1, 1), bytes(1, 2),
  bytes(1, 255), bytes(2), bytes(2, 0), bytes(0x48), bytes(127), bytes(255), bytes(255, 0), bytes(255, 255), bytes(255, 255, 255),
  [], [null], [null, null], [false], [0], [0, 'a'], [0n], [''], ['', ''], ['\0'], ['\x01'], ['a'], ['a', null], ['a', 1], ['aa'], [bytes(255)], [[]],
  [[], null], [[], []], [[null]], [[[]]],
];

function randomTuple(below, depth = 0) {
  return Array.from({ length: below(depth === 0 ? 5 : 3) }, () => {
    switch (below(depth > 3 ? 7 : 9)) {
      case 0: return EDGES[below(EDGES.length - 22)];
      case 1: return (below(2 ** 32) - 2 ** 31) * 2 ** (below(100) - 50) || 0;
      case 2: return below(20) - 10 || 0;
      case 3: return BigInt(below(2 ** 32)) ** BigInt(below(20)) * (below(2) ? 1n : -1n);
      case 4: return String.fromCodePoint(...Array.from({ length: below(6) }, () => [0, 1, 97, 233, 0x2000, 0xfefe, 0x10000][below(7)] + below(3)));
      case 5: return Uint8Array.from({ length: below(6) }, () => [0, 1, 2, 255][below(4)]);
      case 6: return new Date((below(2 ** 32) - 2 ** 31) * 10 ** below(5));
      default: return randomTuple(below, depth + 1);
    }
  });
}

/** Checks what two tuples and their bytes must have to do with each other. */
function check(a, b, bytesOfA, bytesOfB) {
  const begins = a.length <= b.length && compare(a, b.slice(0, a.length)) === 0;
  const isRight =
    Math.sign(compareBytes(bytesOfA, bytesOfB)) === Math.sign(compare(a, b)) && bytesOfA.every((byte, i) => byte === bytesOfB[i]) === begins;
  if (!isRight) assert.fail(`${hex(bytesOfA)} and ${hex(bytesOfB)}`);
}

describe('tuples', () => {
  test('every edge against every edge: order, and which begin with which', () => {
    const tuples = EDGES.flatMap((part) => [[part], [part, 0], ['x', part], [part, '\x01']]);
    const encoded = tuples.map(encode);
    EDGES.slice(1).forEach((part, i) => assert.ok(compare([EDGES[i]], [part]) < 0, `the edges are in order at ${i}`));
    for (let i = 0; i < tuples.length; i++) {
      for (let j = 0; j < tuples.length; j++) check(tuples[i], tuples[j], encoded[i], encoded[j]);
    }
  });

  test('random tuples: order, which begin with which, and all come back', () => {
    const below = random(11);
    for (let round = 0; round < 20_000; round++) {
      const a = randomTuple(below);
      // Often one that shares its beginning.
      const b = below(2) ? randomTuple(below) : [...a.slice(0, below(a.length + 1)), ...randomTuple(below)];
      const encoded = [encode(a), encode(b)];
      check(a, b, ...encoded);
      check(b, a, encoded[1], encoded[0]);
      equal(decode(encoded[0]), a);
      assert.ok(encoded[0].length === 0 || encoded[0][0] < 0x80);
    }
  });

  test('every edge comes back as it was', () => {
    for (const part of EDGES) {
      for (const around of [0, 1, 255]) equal(decode(encode([part, 1, part]), around), [part, 1, part]);
    }
    equal(decode(encode([])), []);
    equal(decode(encode(EDGES)), EDGES);
    const [read] = decode(encode([bytes(1, 2)]));
    assert.equal(read.buffer.byteLength, 2, 'bytes have a buffer of their own');
  });

  test('the bytes that the format document shows', async () => {
    const [, section] = (await readFile(new URL('../../docs/FORMAT.md', import.meta.url), 'utf8')).split('\n### Tuples, byte by byte\n');
    const [table] = section.split('\n## ', 1);
    const rows = [...table.matchAll(/^\| `(\[.*\])` \| `([0-9a-f ]*)` \|$/gm)];
    assert.ok(rows.length >= 12);
    for (const [, source, expected] of rows) assert.equal(hex(encode(runInNewContext(source))), expected, source);
  });

  test('-0 is 0', () => {
    assert.ok(Object.is(decode(encode([-0]))[0], 0));
    assert.deepEqual(encode([-0]), encode([0]));
  });

  test('what comes back in a class of this realm', () => {
    const [date, view, array] = decode(encode(runInNewContext('[new Date(5), new Uint8Array([1]), [2]]')));
    assert.ok(date instanceof Date && view instanceof Uint8Array && array instanceof Array);
    equal(decode(encode([Buffer.from('a')])), [bytes(0x61)]);
    equal(decode(encode([new (class extends Date {})(7)])), [new Date(7)]);
  });

  test('what is no tuple is a TypeError', () => {
    const detached = new Uint8Array(4);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const cyclic = ['a'];
    cyclic.push(['b', cyclic]);
    const inner = [];
    inner.push(inner);
    for (const tuple of [undefined, null, 1, 'text', {}, new Uint8Array(1), new Set([1]), { length: 1, 0: 1 }, () => 1, Symbol('s')]) {
      assert.throws(() => encode(tuple), TypeError);
    }
    for (const part of [
      undefined, () => 1, Symbol('s'), {}, Object.create(null), new Map(), new Set(), /a/, new Error('e'), Object(1), Object('a'), Object(1n), NaN,
      new Date(NaN), '\ud800', 'a\udc00b', '\udc00\ud800', detached, new ArrayBuffer(1), new DataView(new ArrayBuffer(1)), new Uint8ClampedArray(1),
      new Int8Array(1), new Float64Array(1), cyclic, inner, Object.create(Date.prototype), Object.create(Uint8Array.prototype),
      { [Symbol.toStringTag]: 'Date' }, { [Symbol.toStringTag]: 'Uint8Array' }, Promise.resolve(1),
      [1, , 2],
    ]) {
      for (const tuple of [[part], ['a', part], ['a', [1, part], 'b']]) assert.throws(() => encode(tuple), TypeError);
    }
    assert.throws(() => encode(cyclic), /contains itself/);
    assert.throws(() => encode(new Array(2 ** 32 - 1)), TypeError);
  });

  test('an array may come more than once', () => {
    const shared = ['a'];
    equal(decode(encode([shared, shared, [shared]])), [shared, shared, [shared]]);
  });

  test('nesting up to the limit, and no deeper', () => {
    let tuple = [];
    for (let i = 0; i < MAX_TUPLE_DEPTH; i++) tuple = [tuple];
    equal(decode(encode(tuple)), tuple);
    assert.throws(() => encode([tuple]), { name: 'RangeError', message: /64 levels/ });
    assert.throws(() => decode(bytes(0x48, ...encode(tuple), 0)), { code: 'TEMPEST_CORRUPTION' });
    assert.throws(() => decode(new Uint8Array(MAX_KEY_BYTES).fill(0x48)), { code: 'TEMPEST_CORRUPTION' });
    const bottomless = () => new Proxy([], { get: (_, name) => (name === 'length' ? 1 : bottomless()) });
    assert.throws(() => encode(bottomless()), RangeError);
  });

  test('sizes up to the limit, and no larger', () => {
    const most = MAX_KEY_BYTES - 2;
    const fits = [
      ['x'.repeat(most)], [`${'x'.repeat(most - 2)}é`], ['\0'.repeat(most / 2)], [new Uint8Array(most / 2)], [new Uint8Array(most).fill(9)],
      [256n ** BigInt(most - 1) - 1n], [1n - 256n ** BigInt(most - 1)], new Array(MAX_KEY_BYTES).fill(null), [new Array(most).fill(true)],
      ['x', 'x'.repeat(most - 3)],
    ];
    for (const tuple of fits) {
      const encoded = encode(tuple);
      assert.equal(encoded.length, MAX_KEY_BYTES);
      equal(decode(encoded), tuple);
      assert.throws(() => encode([...tuple, null]), { code: 'TEMPEST_INVALID_KEY' });
    }
    for (const part of [
      'x'.repeat(most + 1), 'x'.repeat(1 << 24), 'é'.repeat(most / 2 + 1), '\0'.repeat(most / 2 + 1), new Uint8Array(most / 2 + 1), new Uint8Array(1 << 24),
      256n ** BigInt(most - 1), -(256n ** BigInt(most - 1)), 256n ** BigInt(most + 1), 1n << (1n << 28n), new Array(most + 1).fill(null),
      new Proxy([], { get: (_, name) => (name === 'length' ? 2 ** 53 - 1 : null) }),
    ]) {
      assert.throws(() => encode([part]), { code: 'TEMPEST_INVALID_KEY' });
      assert.throws(() => encode([[part]]), { code: 'TEMPEST_INVALID_KEY' });
    }
  });

  test('bytes of no tuple are corruption', () => {
    for (const [text, message] of [
      ['00', /tag 0/], ['01', /tag 1/], ['ff', /tag 255/], ['ff ff', /tag/], ['61 62', /tag 97/], ['1a', /tag/], ['10 00', /tag 0/],
      ['20', /short/], ['20 bf f0 00 00 00 00 00', /short/], ['30 80 00', /short/],
      ['20 7f ff ff ff ff ff ff ff', /-0/], ['20 ff f8 00 00 00 00 00 00', /NaN/], ['20 00 00 00 00 00 00 00 00', /NaN/],
      ['30 bf e0 00 00 00 00 00 00', /Date/], ['30 7f ff ff ff ff ff ff ff', /-0/], ['30 ff f0 00 00 00 00 00 00', /Date/],
      ['29', /short/], ['29 00', /short/], ['29 00 02 01', /short/], ['29 ff ff 01', /short/], ['29 00 01 00', /zeros/], ['29 00 02 00 01', /zeros/],
      ['28 ff ff', /zeros/], ['28 ff fe ff', /zeros/], ['28 00 00 01', /short/],
      ['38', /short/], ['38 61', /short/], ['38 01', /short/], ['38 01 00', /escape/], ['38 01 03 00', /escape/], ['38 80 00', /UTF-8/],
      ['38 c3 00', /UTF-8/], ['38 ed a0 80 00', /UTF-8/], ['38 c1 81 00', /UTF-8/], ['38 c3 01 01 00', /UTF-8/],
      ['40', /short/], ['40 ff', /short/], ['40 01 ff 00', /escape/],
      ['48', /short/], ['48 10', /short/], ['48 48 00', /short/], ['48 38 61 00', /short/],
    ]) {
      for (const around of [0, 255]) assert.throws(() => decode(unhex(text), around), { name: 'TempestError', code: 'TEMPEST_CORRUPTION', message }, text);
    }
  });

  test('bytes cut short, changed or made up are corruption, or just what a tuple is written as', () => {
    const below = random(12);
    const whole = encode([null, true, 1.5, -7n, 2n ** 80n, new Date(9), 'a\0é', bytes(0, 1, 2), ['x', [1]]]);
    const look = (changed) => {
      let tuple;
      try {
        tuple = decode(changed);
      } catch (error) {
        assert.equal(error.code, 'TEMPEST_CORRUPTION');
        return false;
      }
      assert.equal(hex(encode(tuple)), hex(changed));
      return true;
    };
    for (let size = 0; size < whole.length; size++) look(whole.slice(0, size));
    let read = 0;
    for (let round = 0; round < 50_000; round++) {
      const changed = whole.slice();
      for (let i = 0; i <= below(3); i++) changed[below(changed.length)] = below(2) ? below(256) : [0, 1, 2, 0x10, 0x38, 0x40, 0x48, 255][below(8)];
      if (look(changed)) read++;
      look(Uint8Array.from({ length: below(12) }, () => [0, 1, 2, 0x10, 0x18, 0x29, 0x28, 0x38, 0x40, 0x48, 0x61, 255][below(12)]));
    }
    assert.ok(read > 1000);
  });
});

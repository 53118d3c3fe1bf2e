import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { Packr } from 'msgpackr';
import { frames, MAX_DEPTH, Msgpack } from '../../build/js/internal.js';
import { equal, random } from './suite/assert.mjs';
import { SAMPLES } from './suite/values.mjs';

const codec = new Msgpack();

function encode(value) {
  const writer = new frames.FrameWriter();
  const start = writer.length;
  codec.write(writer, value);
  return writer.bytes.slice(start, writer.length);
}

const decode = (bytes) => codec.read(bytes, 0, bytes.length);

const hex = (value) => Buffer.from(encode(value)).toString('hex');

/** msgpackr as it comes. */
const plain = new Packr({ structuredClone: true, useToJSON: false });

describe('MessagePack', () => {
  test('samples come back as they were', () => {
    for (const [name, value] of Object.entries(SAMPLES)) equal(decode(encode(value)), value, name);
  });

  test('shared structure is shared again', () => {
    const [one, two, map] = decode(encode(SAMPLES['shared structure']));
    assert.equal(one, two);
    assert.equal(map.get('x'), one);
    const circular = decode(encode(SAMPLES['circular structure']));
    assert.equal(circular.self, circular);
    assert.equal(circular.list[1], circular.list);
    const error = new Error('shared');
    const errors = decode(encode([error, error]));
    assert.ok(errors[0] instanceof Error);
    assert.equal(errors[0], errors[1]);
  });

  test('errors keep their class, name and cause', () => {
    const [error, , several, undefinedCause, named] = decode(encode(SAMPLES.errors));
    assert.ok(error instanceof TypeError && error.cause instanceof RangeError);
    assert.equal(Object.hasOwn(error, 'name'), false);
    assert.equal(Object.hasOwn(error.cause, 'cause'), false);
    assert.equal(error.stack, undefined);
    assert.deepEqual([named.name, named.message, Object.keys(named)], ['MyError', 'named', []]);
    assert.deepEqual([several.name, several.message], ['AggregateError', 'several']);
    assert.ok('cause' in undefinedCause);
    for (const name of ['constructor', 'toString', '__proto__']) {
      const odd = decode(encode(Object.assign(new Error('odd'), { name })));
      assert.ok(odd instanceof Error);
      assert.deepEqual([odd.name, odd.message], [name, 'odd']);
    }
  });

  test('bytes as MessagePack has them', () => {
    for (const [value, expected] of [
      [null, 'c0'], [false, 'c2'], [true, 'c3'], [0, '00'], [63, '3f'], [128, 'cc80'], [65535, 'cdffff'], [65536, 'ce00010000'], [-1, 'ff'],
      [-33, 'd0df'], [-129, 'd1ff7f'], [-32769, 'd2ffff7fff'], [1.5, 'cb3ff8000000000000'], [-0, '00'],
      ['', 'a0'], ['é', 'a2c3a9'], ['x'.repeat(32), `d920${'78'.repeat(32)}`], [[1, 2], '920102'], [new Map([[1, 2]]), '810102'],
      [new Uint8Array([1, 2]), 'c4020102'], [[new Uint8Array([1, 2])], '91c4020102'], [new Uint8Array(256), `c600000100${'00'.repeat(256)}`],
      [1n, 'd30000000000000001'], [2n ** 64n - 1n, 'cfffffffffffffffff'], [new Date(1000), 'd6ff00000001'],
      // The extensions of msgpackr: undefined, sets, and records, each with its properties where it comes for the first time.
      [undefined, 'd40000'], [new Set([1]), 'd473009101'], [[{ a: 1 }, { a: 2 }], '92d4724091a161014002'],
    ]) {
      assert.equal(hex(value), expected);
    }
  });

  test('msgpackr as it comes reads the same, and is read', () => {
    for (const [name, value] of Object.entries(SAMPLES)) {
      // It drops a byte order mark, and has errors that are not understood by itself.
      if (name === 'byte order marks' || name === 'errors') continue;
      equal(plain.unpack(encode(value)), value, `${name}, read by msgpackr`);
      equal(decode(Uint8Array.from(plain.pack(value))), value, `${name}, written by msgpackr`);
    }
    equal(decode(Uint8Array.of(0xca, 0x3f, 0xc0, 0, 0)), 1.5);
    equal(decode(Uint8Array.of(0x82, 0x01, 0xa1, 0x61, 0xc0, 0x02)), new Map([[1, 'a'], [null, 2]]));
  });

  test('random values', () => {
    const below = random(3);
    const make = (depth) => {
      switch (below(depth > 4 ? 9 : 13)) {
        case 0: return below(2 ** 32);
        case 1: return -below(2 ** 31) || 0;
        case 2: return below(2 ** 32) / 7;
        case 3: return BigInt(below(2 ** 32)) ** BigInt(below(20)) * (below(2) ? 1n : -1n);
        case 4: return String.fromCodePoint(...Array.from({ length: below(40) }, () => [97, 233, 8364, 0x1f600, 0xfeff][below(5)] + below(20)));
        case 5: return undefined;
        case 6: return new Date(below(2 ** 32) * 1000 - below(2 ** 32));
        case 7: return Uint8Array.from({ length: below(50) }, () => below(256));
        case 8: return 'x'.repeat(below(600));
        case 9: return Array.from({ length: below(20) }, () => make(depth + 1));
        case 10: return Object.fromEntries(Array.from({ length: below(20) }, (_, i) => [`k${below(100)}`.padEnd(below(40), 'é'), make(depth + 1)]));
        case 11: return new Map(Array.from({ length: below(6) }, () => [make(depth + 1), make(depth + 1)]));
        default: return new Set(Array.from({ length: below(6) }, () => make(depth + 1)));
      }
    };
    for (let i = 0; i < 3000; i++) {
      const value = make(0);
      equal(decode(encode(value)), value);
    }
  });

  test('random graphs, where anything may hold anything', () => {
    const below = random(4);
    for (let round = 0; round < 500; round++) {
      const nodes = Array.from({ length: 1 + below(12) }, () => [{}, [], new Map(), new Set(), new Date(below(1000)), new Uint8Array(below(9))][below(6)]);
      const any = () => (below(3) ? nodes[below(nodes.length)] : below(100));
      for (const node of nodes) {
        for (let i = below(4); i > 0; i--) {
          if (Array.isArray(node)) node.push(any());
          else if (node instanceof Map) node.set(any(), any());
          else if (node instanceof Set) node.add(any());
          else if (Object.getPrototypeOf(node) === Object.prototype) node[`k${below(5)}`] = any();
        }
      }
      equal(decode(encode(nodes)), nodes);
    }
  });

  test('nesting up to the limit, and no deeper', () => {
    for (const wrap of [(v) => [v], (v) => ({ v }), (v) => new Map([[v, v]]), (v) => new Set([v]), (v) => new Error('e', { cause: v })]) {
      let value = null;
      for (let i = 0; i < MAX_DEPTH; i++) value = wrap(value);
      equal(decode(encode(value)), value);
      assert.throws(() => encode(wrap(value)), RangeError);
    }
  });

  test('neither the frame nor the pool shows in what was read', () => {
    const bytes = new Uint8Array([1, 2, 3]);
    for (const value of [bytes, [bytes], bytes.buffer, { view: new DataView(bytes.buffer) }, new Uint16Array(40)]) {
      const encoded = encode(value);
      const read = decode(encoded);
      encoded.fill(0xff);
      encode('overwrites the pool'.repeat(1000));
      equal(read, value);
    }
  });

  test('values in the middle of a frame', () => {
    const frame = new Uint8Array(1000).fill(0xc1);
    for (const value of Object.values(SAMPLES)) {
      const encoded = encode(value);
      if (encoded.length > 900) continue;
      frame.set(encoded, 50);
      equal(codec.read(frame, 50, 50 + encoded.length), value);
      assert.throws(() => codec.read(frame, 50, 50 + encoded.length - 1), Error);
      codec.release();
    }
  });

  test('large values, whose buffer is not kept', () => {
    const value = { text: 'é'.repeat(1 << 20), bytes: new Uint8Array(3 << 20).fill(7), list: Array.from({ length: 200000 }, (_, i) => ({ i })) };
    equal(decode(encode(value)), value);
    assert.equal(hex([1]), '9101');
    assert.throws(() => encode('x'.repeat((64 << 20) + 1)), { code: 'TEMPEST_INVALID_VALUE' });
    assert.throws(() => encode(new Array(2 ** 32 - 1)), { code: 'TEMPEST_INVALID_VALUE' });
  });

  test('cut short or changed, a value is an error or another value, never a hang or a crash', () => {
    const below = random(5);
    const bytes = encode([SAMPLES.maps, SAMPLES['typed arrays'], SAMPLES.errors, SAMPLES['circular structure'], SAMPLES.bigints, { a: [{ b: 1 }, { b: 2 }] }]);
    for (let size = 0; size < bytes.length; size++) assert.throws(() => decode(bytes.slice(0, size)));
    for (let i = 0; i < 5000; i++) {
      const changed = bytes.slice();
      for (let j = 0; j <= below(3); j++) changed[below(changed.length)] = below(256);
      try {
        decode(changed);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }
    for (const wrong of [[], [0xc1], [0x91], [0xdd, 0xff, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff], [0xc6, 0xff, 0xff, 0xff, 0xff], [0xd6, 0x70, 0, 0, 0, 9], [1, 2], [0xd9, 70, ...new Array(70).fill(0xff)], [0xd4, 0x2a, 0], [0xc7, 2, 0x74, 99, 0], [0xd4, 0x72, 0x40, 0x91, 0x90, 1], [0xd4, 0x65, 0, 0xc0]]) {
      assert.throws(() => decode(Uint8Array.from(wrong)), Error);
    }
    assert.throws(() => decode(new Uint8Array(1 << 20).fill(0x91)), Error);
    equal(decode(bytes).length, 6);
  });

  test('a failed value does not spoil the next', () => {
    const object = {};
    assert.throws(() => encode([object, object, () => 1]), TypeError);
    let count = 0;
    const fickle = { a: object, get trap() { if (count++ > 0) throw new Error('second time'); return 1; } };
    assert.throws(() => encode([object, { b: 1 }, fickle]), /second time/);
    assert.equal(hex([{ b: 1 }]), '91d4724091a16201');
    assert.throws(() => decode(Uint8Array.from([0x92, 0x90, 0xc7])));
    assert.deepEqual(decode(Uint8Array.from([0x91, 0x01])), [1]);
  });

  test('no code is made from text', () => {
    const program = `
      const { Msgpack, frames } = await import(${JSON.stringify(new URL('../../build/js/internal.js', import.meta.url).href)});
      let tries = 0;
      globalThis.Function = new Proxy(Function, { construct() { tries++; throw new EvalError(); } });
      const codec = new Msgpack();
      const writer = new frames.FrameWriter();
      const start = writer.length;
      codec.write(writer, Array.from({ length: 100 }, (_, i) => ({ i, name: 'x' })));
      for (let i = 0; i < 10; i++) if (codec.read(writer.bytes, start, writer.length)[99].i !== 99) throw new Error('read wrong');
      process.stdout.write(String(tries));`;
    const flags = ['--disallow-code-generation-from-strings', '--input-type=module', '--eval', program];
    assert.equal(execFileSync(process.execPath, flags, { encoding: 'utf8' }), '0');
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Packr } from 'msgpackr';
import { frames, MsgpackDecoder, MsgpackEncoder } from '../../build/js/internal.js';
import { equal, random } from './suite/assert.mjs';
import { SAMPLES } from './suite/values.mjs';

const encoder = new MsgpackEncoder();
const decoder = new MsgpackDecoder();

function encode(value) {
  const writer = new frames.FrameWriter();
  const start = writer.length;
  encoder.write(writer, value);
  return writer.bytes.slice(start, writer.length);
}

const decode = (bytes) => decoder.read(bytes, 0, bytes.length);

const hex = (value) => Buffer.from(encode(value)).toString('hex');

/** Another codec, set to plain MessagePack. */
const other = new Packr({ useRecords: false, variableMapSize: true });

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
  });

  test('errors keep their class and cause, properties named __proto__ stay properties', () => {
    const [error] = decode(encode(SAMPLES.errors));
    assert.ok(error instanceof TypeError && error.cause instanceof RangeError);
    const object = decode(encode(SAMPLES['property named __proto__']));
    assert.equal(Object.getPrototypeOf(object), Object.prototype);
    assert.equal({}.polluted, undefined);
  });

  test('bytes as MessagePack has them', () => {
    for (const [value, expected] of [
      [null, 'c0'], [false, 'c2'], [true, 'c3'], [0, '00'], [127, '7f'], [128, 'cc80'], [65535, 'cdffff'], [65536, 'ce00010000'], [-1, 'ff'],
      [-33, 'd0df'], [-129, 'd1ff7f'], [-32769, 'd2ffff7fff'], [1.5, 'cb3ff8000000000000'], [-0, 'cb8000000000000000'],
      ['', 'a0'], ['é', 'a2c3a9'], ['x'.repeat(32), `d920${'78'.repeat(32)}`], [[1, 2], '920102'], [{ a: 1 }, '81a16101'],
      [new Uint8Array([1, 2]), 'c4020102'], [1n, 'd30000000000000001'], [2n ** 64n - 1n, 'cfffffffffffffffff'],
      [new Date(1000), 'd6ff00000001'], [undefined, 'd40000'], [new Set([1]), 'c90000000153' + '01'], [new Map([[1, 2]]), 'c9000000024d' + '0102'],
    ]) {
      assert.equal(hex(value), expected);
    }
  });

  test('another codec reads what MessagePack has types for, and is read', () => {
    const names = ['null', 'booleans', 'integers', 'short string', 'strings', 'byte order marks', 'dates', 'arrays', 'objects'];
    for (const name of names) {
      const value = SAMPLES[name];
      const read = other.unpack(encode(value));
      // msgpackr knows nothing of −0, and decodes a byte order mark as nothing.
      if (name !== 'byte order marks' && name !== 'dates') equal(read, value, `${name}, read by the other`);
      if (name !== 'floats') equal(decode(Uint8Array.from(other.pack(value))), value, `${name}, written by the other`);
    }
    equal(decode(Uint8Array.of(0xca, 0x3f, 0xc0, 0, 0)), 1.5);
    equal(decode(Uint8Array.of(0x82, 0x01, 0xa1, 0x61, 0xc0, 0x02)), { 1: 'a', null: 2 }, 'properties of other types');
  });

  test('random values', () => {
    const below = random(3);
    const make = (depth) => {
      switch (below(depth > 4 ? 9 : 13)) {
        case 0: return below(2 ** 32);
        case 1: return -below(2 ** 31);
        case 2: return below(2 ** 32) / 7;
        case 3: return BigInt(below(2 ** 32)) ** BigInt(below(20)) * (below(2) ? 1n : -1n);
        case 4: return String.fromCodePoint(...Array.from({ length: below(40) }, () => [97, 233, 8364, 0x1f600, 0xd800][below(5)] + below(20)));
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

  test('cut short or changed, a value is an error or another value, never a hang or a crash', () => {
    const below = random(5);
    const bytes = encode([SAMPLES.maps, SAMPLES['typed arrays'], SAMPLES.objects, SAMPLES.errors, SAMPLES['circular structure'], SAMPLES.bigints]);
    for (let size = 0; size < 400; size++) assert.throws(() => decode(bytes.slice(0, size)));
    for (let i = 0; i < 5000; i++) {
      const changed = bytes.slice();
      for (let j = 0; j <= below(3); j++) changed[below(changed.length)] = below(256);
      try {
        decode(changed);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }
    for (const wrong of [[], [0xc1], [0x91], [0xdd, 0xff, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff], [0xc6, 0xff, 0xff, 0xff, 0xff], [0xd6, 0x52, 0, 0, 0, 9], [1, 2], [0xa1, 0xff], [0xd4, 0x2a, 0], [0xd5, 0x54, 99, 0], [0x81, 0x90, 1]]) {
      assert.throws(() => decode(Uint8Array.from(wrong)), Error);
    }
    assert.throws(() => decode(new Uint8Array(5000).fill(0x91)), Error);
  });

  test('a failed value does not spoil the next', () => {
    const object = {};
    assert.throws(() => encode([object, object, () => 1]), TypeError);
    assert.equal(hex([object]), '9180');
    assert.throws(() => decode(Uint8Array.from([0x92, 0x90, 0xc1])));
    assert.deepEqual(decode(Uint8Array.from([0x91, 0x01])), [1]);
  });
});

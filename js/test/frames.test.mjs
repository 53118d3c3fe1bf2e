import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { frames } from '../../build/js/internal.js';
import { errorBody, parseFrame, replyFrame } from './fake-link.mjs';

const { BodyReader, frameSize, FrameReader, FrameWriter, readU64, varintSize } = frames;

const hex = (bytes) => Buffer.from(bytes).toString('hex');

describe('frames written', () => {
  test('a frame, to the byte', () => {
    const writer = new FrameWriter();
    let mark = writer.begin(7, 2, 0);
    writer.raw(new Uint8Array([0x61, 0x62]));
    writer.end(mark);
    mark = writer.begin(0x01020304, 4, 33);
    writer.u32(5);
    writer.sized(new Uint8Array([0xff]));
    writer.end(mark);
    assert.equal(
      hex(writer.finish()),
      '01010000' + '00000000' + '02000000' + '30000000' + // header
        '07000000' + '02000000' + '02000000' + '6162' +
        '04030201' + '04210000' + '06000000' + '05000000' + '01ff',
    );
    assert.equal(hex(writer.finish()), '01010000' + '00000000' + '00000000' + '10000000');
  });

  test('an entry rolled back leaves nothing', () => {
    const writer = new FrameWriter();
    writer.end(writer.begin(1, 7, 0));
    const mark = writer.begin(2, 1, 0);
    writer.raw(new Uint8Array(10000));
    writer.rollback(mark);
    writer.end(writer.begin(3, 7, 0));
    const { header, entries } = parseFrame(writer.finish());
    assert.deepEqual(entries.map(({ id }) => id), [1, 3]);
    assert.equal(header.count, 2);
    assert.equal(header.size, 16 + 2 * 12);
  });

  test('varints', () => {
    for (const value of [0, 1, 127, 128, 300, 16383, 16384, 2097151, 2097152, 268435455, 268435456, 0xffffffff]) {
      const writer = new FrameWriter();
      const start = writer.length;
      writer.varint(value);
      assert.equal(writer.length - start, varintSize(value));
      const reader = new BodyReader(writer.bytes, start, writer.length);
      assert.equal(reader.varint(), value);
      assert.ok(reader.isDone);
    }
  });

  test('bytes of unknown size, whatever the guess', () => {
    for (const size of [0, 1, 127, 128, 129, 16383, 16384, 20000]) {
      for (const guess of [1, 2, 3]) {
        const writer = new FrameWriter();
        const entry = writer.begin(1, 1, 0);
        const mark = writer.openSized(guess);
        const bytes = new Uint8Array(size).map((_, i) => i);
        writer.raw(bytes);
        assert.equal(writer.closeSized(mark, guess), varintSize(size));
        writer.end(entry);
        const { body } = parseFrame(writer.finish()).entries[0];
        const reader = new BodyReader(body, 0, body.length);
        assert.equal(reader.varint(), size);
        assert.equal(hex(body.subarray(reader.skip(size))), hex(bytes));
      }
    }
  });

  test('a buffer that is taken is not written to again', () => {
    const writer = new FrameWriter();
    writer.end(writer.begin(1, 7, 0));
    const first = writer.take();
    writer.end(writer.begin(2, 7, 0));
    const second = writer.take();
    assert.notEqual(first, second);
    const bytes = new Uint8Array(first);
    assert.equal(parseFrame(bytes.subarray(0, frameSize(bytes))).entries[0].id, 1);
  });

  test('a large buffer is not kept', () => {
    const writer = new FrameWriter();
    writer.raw(new Uint8Array(2 << 20));
    const frame = writer.finish();
    assert.equal(frame.length, 16 + (2 << 20));
    assert.ok(writer.bytes.length < 1 << 20);
  });
});

describe('frames read', () => {
  test('entries one after the other', () => {
    const reader = new FrameReader(replyFrame([{ id: 1, body: [9] }, { id: 0xfffffffe, status: 1, flags: 1 }]));
    assert.ok(reader.next());
    assert.deepEqual([reader.id, reader.status, reader.flags, reader.end - reader.start], [1, 0, 0, 1]);
    assert.ok(reader.next());
    assert.deepEqual([reader.id, reader.status, reader.flags, reader.end - reader.start], [0xfffffffe, 1, 1, 0]);
    assert.ok(!reader.next());
  });

  test('errors', () => {
    const reader = new FrameReader(replyFrame([{ id: 1, status: 2, body: errorBody('TEMPEST_CORRUPTION', 'bäd') }]));
    reader.next();
    const error = reader.error();
    assert.equal(error.code, 'TEMPEST_CORRUPTION');
    assert.equal(error.message, 'bäd');
  });

  test('every way to cut a frame short is an error', () => {
    const whole = replyFrame([{ id: 1, body: [1, 2, 3] }, { id: 2, body: [4] }]);
    const walk = (frame) => {
      const reader = new FrameReader(frame);
      while (reader.next());
    };
    walk(whole);
    for (let size = 0; size < whole.length; size++) {
      assert.throws(() => walk(whole.slice(0, size)), { name: 'FrameError' });
      const lying = whole.slice(0, size);
      if (size >= 16) new DataView(lying.buffer).setUint32(12, size, true);
      assert.throws(() => walk(lying), { name: 'FrameError' });
    }
    for (const [at, value] of [[0, 2], [1, 1], [8, 1], [8, 3], [24, 200]]) {
      const wrong = whole.slice();
      wrong[at] = value;
      assert.throws(() => walk(wrong), { name: 'FrameError' });
    }
  });

  test('fields that are cut short', () => {
    const body = (...bytes) => new BodyReader(Uint8Array.from(bytes), 0, bytes.length);
    assert.throws(() => body().varint(), { name: 'FrameError' });
    assert.throws(() => body(0x80, 0x80).varint(), { name: 'FrameError' });
    assert.throws(() => body(0x80, 0x80, 0x80, 0x80, 0x80, 0).varint(), { name: 'FrameError' });
    assert.throws(() => body(5, 1, 2).text(), { name: 'FrameError' });
    assert.throws(() => body(1, 2, 3).u64(), { name: 'FrameError' });
    assert.equal(readU64(Uint8Array.from([1, 0, 0, 0, 0, 0, 1, 0]), 0), 2 ** 48 + 1);
  });
});

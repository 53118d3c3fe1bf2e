import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as api from '../dist/index.js';
import { fileNameOf } from '../../build/js/internal.js';
import { AsyncMemoryDevice } from './async-device.mjs';
import { random } from './suite/assert.mjs';

const { MemoryDevice, open, TempestError } = api;

describe('the device in memory', () => {
  test('random calls against one array', () => {
    const below = random(11);
    const device = new MemoryDevice();
    let model = new Uint8Array(0);
    const resize = (size) => {
      const resized = new Uint8Array(size);
      resized.set(model.subarray(0, size));
      model = resized;
    };
    for (let i = 0; i < 400; i++) {
      const offset = below(3 << 20);
      const size = below(4) === 0 ? below(2 << 20) : below(5000);
      switch (below(4)) {
        case 0:
        case 1: {
          const bytes = new Uint8Array(size).fill(below(256));
          assert.equal(device.write(bytes, offset), size);
          if (offset + size > model.length) resize(offset + size);
          model.set(bytes, offset);
          break;
        }
        case 2:
          device.truncate(offset);
          resize(offset);
          break;
        default: {
          const into = new Uint8Array(size).fill(1);
          const count = device.read(into, offset);
          const expected = model.subarray(offset, offset + size);
          assert.equal(count, expected.length);
          assert.ok(Buffer.from(into.buffer, 0, count).equals(expected));
        }
      }
      assert.equal(device.size(), model.length);
    }
  });
});

/** A device in memory that fails where it is told to. */
function failing() {
  const device = new MemoryDevice();
  const faults = {};
  const wrapped = {
    faults,
    read: (into, offset) => (faults.read ? faults.read() : device.read(into, offset)),
    write: (from, offset) => (faults.write ? faults.write(from) : device.write(from, offset)),
    sync: () => (faults.sync ? faults.sync() : device.sync()),
    size: () => (faults.size ? faults.size() : device.size()),
    truncate: (size) => (faults.truncate ? faults.truncate() : device.truncate(size)),
  };
  return wrapped;
}

const raise = (error) => () => {
  throw error;
};

describe('a device that fails', () => {
  const cases = [
    ['an error', raise(new Error('disk on fire')), 'TEMPEST_IO_ERROR', /disk on fire/],
    ['no space, thrown', raise(new DOMException('full', 'QuotaExceededError')), 'TEMPEST_QUOTA_EXCEEDED', /full/],
    ['no space, told by the count', () => 0, 'TEMPEST_QUOTA_EXCEEDED', /wrote 0 of/],
    ['a newer writer', raise(new TempestError('TEMPEST_FENCED', 'epoch 2')), 'TEMPEST_FENCED', /epoch 2/],
  ];
  for (const wrap of [(device) => device, (device) => new AsyncMemoryDevice(device)]) {
    for (const [name, fault, code, message] of cases) {
      test(`${name}: ${wrap(new MemoryDevice()).async ? 'asynchronous' : 'synchronous'}`, async () => {
        const inner = failing();
        const device = wrap(inner);
        let db = await open('failing', { device });
        await db.put('a', 1);
        inner.faults.write = fault;
        await assert.rejects(db.put('b', 2), { code, message });
        assert.equal(await db.get('a'), 1);
        inner.faults.write = undefined;
        // A write for which there is no space is taken back whole; of another nobody knows how much is there.
        if (code === 'TEMPEST_QUOTA_EXCEEDED') await db.put('b', 'there is space again');
        else await assert.rejects(db.put('c', 3), { code: 'TEMPEST_READONLY' });
        await db.close().catch(() => undefined);
        db = await open('failing', { device });
        assert.equal(await db.get('a'), 1);
        await db.put('c', 3);
        await db.close();
      });
    }
  }

  test('an error while opening is what open rejects with, and the device is free again', async () => {
    const device = failing();
    device.faults.size = raise(new Error('no such luck'));
    await assert.rejects(open('failing', { device }), { code: 'TEMPEST_IO_ERROR', message: /no such luck/ });
    device.faults.size = undefined;
    const db = await open('failing', { device, lockWaitMillis: 0 });
    await db.close();
  });

  test('a file of something else is corruption, and is left as it was', async () => {
    const device = new MemoryDevice();
    const bytes = new TextEncoder().encode('no store, but a letter to a friend. '.repeat(8000));
    device.write(bytes, 0);
    await assert.rejects(open('letter', { device }), { code: 'TEMPEST_CORRUPTION' });
    const after = new Uint8Array(device.size());
    device.read(after, 0);
    assert.deepEqual(after, bytes);
  });
});

describe('a device that is misused', () => {
  for (const call of ['read', 'write', 'sync', 'size', 'truncate']) {
    test(`without ${call} it is no device`, async () => {
      const device = failing();
      delete device[call];
      await assert.rejects(open('misused', { device }), { name: 'TypeError', message: new RegExp(`${call} is missing`) });
    });
  }

  for (const asynchronous of [false, true]) {
    for (const [call, result, message] of [
      ['size', -2000, /size must return an integer from 0 to 9007199254740991, not -2000/],
      ['size', 1.5, /size must return .* not 1.5/],
      ['size', '70', /size must return .* not "70"/],
      ['read', undefined, /read must return an integer from 0 to \d+, not of type undefined/],
      ['read', 1e9, /read must return an integer from 0 to \d+, not 1000000000/],
      ['write', undefined, /write must return an integer from 0 to \d+, not of type undefined/],
      ['write', -1001, /write must return .* not -1001/],
    ]) {
      test(`${asynchronous ? 'asynchronous, ' : ''}${call} that returns ${result} is an error, and the device is free again`, async () => {
        const inner = failing();
        const device = asynchronous ? new AsyncMemoryDevice(inner) : inner;
        await (await open('misused', { device })).close();
        inner.faults[call] = () => result;
        await assert.rejects(open('misused', { device }), { code: 'TEMPEST_IO_ERROR', message });
        inner.faults[call] = undefined;
        await (await open('misused', { device, lockWaitMillis: 0 })).close();
      });
    }
  }

  for (const call of ['read', 'write', 'sync', 'size']) {
    test(`${call} that returns a promise is told to say so`, async () => {
      const device = failing();
      await (await open('misused', { device })).close();
      device.faults[call] = async () => 0;
      const use = async () => {
        const db = await open('misused', { device });
        await db.put('a', 1, { durability: 'strict' });
        await db.close();
      };
      await assert.rejects(use(), { code: 'TEMPEST_IO_ERROR', message: new RegExp(`${call} returned a promise.*async: true`) });
    });
  }

  test('a large write made by a device call waits until that has ended', async () => {
    const device = failing();
    const db = await open('misused', { device, valueEncoding: 'view' });
    const puts = [];
    device.faults.write = (from) => {
      device.faults.write = undefined;
      puts.push(db.put('a', new Uint8Array(17 << 20)), db.put('a', Uint8Array.of(2)));
      return from.length;
    };
    await db.put('first', new Uint8Array(1));
    const [one, two] = await Promise.all(puts);
    assert.ok(one < two);
    assert.deepEqual(await db.get('a'), Uint8Array.of(2));
    await db.close();
  });
});

test('a device tells what it supports', async () => {
  for (const [supports, expected] of [
    [undefined, { persistent: false, strict: false }],
    [{ persistent: true }, { persistent: true, strict: false }],
    [{ persistent: true, strict: true }, { persistent: true, strict: true }],
  ]) {
    const db = await open('told', { device: Object.assign(new MemoryDevice(), { supports }) });
    assert.deepEqual(db.supports, expected);
    await db.close();
  }
});

describe('a store that cannot be deleted', () => {
  for (const wrap of [(device) => device, (device) => new AsyncMemoryDevice(device)]) {
    for (const [name, fault, code] of [
      ['an error', new Error('jammed'), 'TEMPEST_IO_ERROR'],
      ['no space', new DOMException('full', 'QuotaExceededError'), 'TEMPEST_QUOTA_EXCEEDED'],
    ]) {
      test(`${name}: ${wrap(new MemoryDevice()).async ? 'asynchronous' : 'synchronous'}`, async () => {
        const inner = failing();
        const device = wrap(inner);
        let db = await open('kept', { device });
        await db.put('a', 1);
        inner.faults.truncate = raise(fault);
        await assert.rejects(db.destroy(), { name: 'TempestError', code, cause: fault });
        inner.faults.truncate = undefined;
        db = await open('kept', { device, lockWaitMillis: 0 });
        assert.equal(await db.get('a'), 1);
        await db.destroy();
      });
    }
  }

  test('as its folder cannot be had', async () => {
    const cause = new Error('no folder');
    const root = { getDirectoryHandle: () => Promise.reject(cause) };
    const { navigator } = globalThis;
    Object.defineProperty(globalThis, 'navigator', { value: { storage: { getDirectory: async () => root } }, configurable: true, writable: true });
    try {
      await assert.rejects(api.destroy('kept'), { name: 'TempestError', code: 'TEMPEST_IO_ERROR', cause });
    } finally {
      Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true, writable: true });
    }
  });
});

test('an origin private file system that is not there is said to be missing', async () => {
  await assert.rejects(open('anything'), { code: 'TEMPEST_NOT_SUPPORTED', message: /storage: 'memory'/ });
  await assert.rejects(api.destroy('anything'), { code: 'TEMPEST_NOT_SUPPORTED' });
  await api.destroy('anything', { storage: 'memory' });
});

test('file names are safe, short and different', async () => {
  const names = ['a', 'A', '.', '..', 'a/b', 'a\\b', 'con', '%61', 'ä', '日本'.repeat(50), `${'日本'.repeat(49)}日`, 'x'.repeat(100), 'X'.repeat(100)];
  const files = await Promise.all(names.map(fileNameOf));
  for (const file of files) assert.match(file, /^[a-z0-9_%~-]{1,200}$/);
  assert.equal(new Set(files).size, names.length);
  assert.equal(files[0], 'a');
  assert.equal(files[1], '%41');
});

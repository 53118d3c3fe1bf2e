// LevelDB folders in and out, and repairs. That LevelDB itself reads what comes out, and what it wrote goes in, is tested in interop/.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { ZipWriter } from '@zip.js/zip.js';
import { MemoryDevice, open, TempestError } from '../dist/index.js';
import { exportLevelDb, importLevelDb, levelDbFiles, repair } from '../dist/tools.js';
import { AsyncMemoryDevice } from './async-device.mjs';

const TEXT = { keyEncoding: 'utf8', valueEncoding: 'utf8' };
const isRejected = (code, message = /./) => (error) => {
  assert.ok(error instanceof TempestError, String(error.stack));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return true;
};

/** Devices in memory, of both kinds. */
const DEVICES = { 'a synchronous device': () => new MemoryDevice(), 'an asynchronous one': () => new AsyncMemoryDevice(new MemoryDevice()) };

/** The store that is made of a LevelDB folder. */
async function imported(folder) {
  const device = new MemoryDevice();
  await importLevelDb('copy', folder, { device });
  return open('copy', { device, ...TEXT });
}

/** A store with several tables and a log. */
async function filled(options) {
  const db = await open('source', { storage: 'memory', memtableBytes: 65_536, ...TEXT, ...options });
  for (let i = 0; i < 3000; i++) db.put(`k${String(i).padStart(4, '0')}`, `${i} ${'x'.repeat(i % 90)}`);
  await db.flush();
  for (let i = 0; i < 3000; i += 3) db.delete(`k${String(i).padStart(4, '0')}`);
  await db.put('é', 'ü');
  return db;
}

/** What an export gives out, as files. */
async function exported(db, options) {
  const files = [];
  for await (const { name, size, stream } of levelDbFiles(db, options)) {
    const bytes = new Uint8Array(await new Response(stream()).arrayBuffer());
    if (size !== undefined) assert.equal(bytes.length, size);
    files.push(new File([bytes], name));
  }
  return files;
}

async function bytesOf(source) {
  return new Uint8Array(await new Response(source).arrayBuffer());
}

/** A zip as a person makes one: with a folder, other files, and deflated. */
async function zipOf(files, folder = 'backup of mine/db') {
  const { readable, writable } = new TransformStream();
  const zip = new ZipWriter(writable, { useWebWorkers: false });
  const blob = new Response(readable).blob();
  await zip.add('backup of mine/', undefined, { directory: true });
  await zip.add('backup of mine/readme.txt', new Blob(['hello']).stream());
  for (const file of files) await zip.add(`${folder}/${file.name}`, file.stream());
  await zip.close();
  return blob;
}

/** Changes the bytes of the file that `which` names. */
async function changed(files, which, change) {
  return Promise.all(files.map(async (file) => (which.test(file.name) ? new File([change(await bytesOf(file))], file.name) : file)));
}

const flip = (at) => (bytes) => {
  bytes[at < 0 ? bytes.length + at : at] ^= 1;
  return bytes;
};

/** A folder, as a page is given its handle. */
const handleOf = (files) => ({
  kind: 'directory',
  async *values() {
    yield { kind: 'directory', name: 'lost' };
    for (const file of files) yield { kind: 'file', name: file.name, getFile: async () => file };
  },
});

describe('a LevelDB folder is imported', () => {
  const withPath = (file) => Object.defineProperty(new File([file], file.name), 'webkitRelativePath', { value: `db/${file.name}` });
  const sources = {
    'from an array of files': (files) => files,
    'from what is like a FileList': (files) => ({ ...files.toReversed(), length: files.length }),
    'from the files of a folder that was picked': (files) => [withPath(new File(['x'], 'LOG')), ...files.map(withPath)],
    'from a generator': async function* (files) {
      yield* files;
    },
    "from a folder's handle": handleOf,
    'from a zip': (files) => zipOf(files),
    'from a zip without a folder': async (files) => new Response((await zipOf(files, '.')).stream()).body,
  };
  for (const [name, sourceOf] of Object.entries(sources)) {
    for (const [kind, newDevice] of Object.entries(DEVICES)) {
      test(`${name}, to ${kind}`, async () => {
        const db = await filled();
        const want = await db.scan().toArray();
        const { sequence } = await db.stats();
        const files = await exported(db);
        await db.close();
        const device = newDevice();
        const progress = [];
        const recovery = await importLevelDb('copy', await sourceOf(files), { device, onProgress: (state) => progress.push(state) });
        assert.deepEqual(recovery, { sequence, droppedBytes: 0, report: '' });
        const last = progress.at(-1);
        assert.ok(last.bytes > 0 && (last.totalBytes === undefined || last.totalBytes === last.bytes), JSON.stringify(last));
        const copy = await open('copy', { device, ...TEXT });
        assert.deepEqual(await copy.scan().toArray(), want);
        assert.deepEqual((await copy.verify()).problems, []);
        await copy.put('more', 'of it');
        await copy.close();
        await assert.rejects(importLevelDb('copy', files, { device }), isRejected('TEMPEST_INVALID_ARGUMENT', /not empty/));
        const again = await open('copy', { device, ...TEXT });
        assert.equal(await again.count(), want.length + 1);
        await again.close();
      });
    }
  }

  test('with its log, as it is kept in the tree', async () => {
    const folder = new URL('../../kv/testdata/stores/v2-folder/', import.meta.url);
    const files = readdirSync(folder).map((name) => new File([readFileSync(new URL(name, folder))], name));
    const device = new MemoryDevice();
    const { sequence } = await importLevelDb('copy', files, { device });
    assert.ok(sequence > 0);
    const db = await open('copy', { device, keyEncoding: 'view', valueEncoding: 'view' });
    assert.ok((await db.count()) > 0);
    assert.equal((await db.stats()).sequence, sequence);
    assert.deepEqual((await db.verify()).problems, []);
    await db.close();
  });

  test('while no other has the store open', async () => {
    const db = await filled();
    const files = await exported(db);
    await db.close();
    const device = new MemoryDevice();
    const other = await open('copy', { device });
    await assert.rejects(importLevelDb('copy', files, { device, lockWaitMillis: 0 }), isRejected('TEMPEST_LOCKED'));
    await other.close();
  });
});

describe('what is no whole LevelDB folder is refused, and leaves nothing', () => {
  /** The first record of a manifest of Chromium's IndexedDB. */
  const FOREIGN = Buffer.from('f6d017c70a000101086964625f636d7031', 'hex');
  const without = (files, which) => files.filter(({ name }) => !which.test(name));
  const cases = {
    nothing: { source: () => [], code: 'TEMPEST_INVALID_ARGUMENT', message: /CURRENT/ },
    'other files': { source: () => [new File(['x'], 'index.html'), new File(['x'], 'CURRENT.bak')], code: 'TEMPEST_INVALID_ARGUMENT', message: /CURRENT/ },
    'no CURRENT': { source: (files) => without(files, /CURRENT/), code: 'TEMPEST_INVALID_ARGUMENT', message: /CURRENT/ },
    'a CURRENT that names nothing': { source: (files) => changed(files, /CURRENT/, () => 'hello\n'), code: 'TEMPEST_CORRUPTION', message: /CURRENT/ },
    'no manifest': { source: (files) => without(files, /MANIFEST/), code: 'TEMPEST_CORRUPTION', message: /manifest/i },
    'a table missing': { source: (files) => without(files, new RegExp(files.findLast(({ name }) => /ldb/.test(name)).name)), code: 'TEMPEST_CORRUPTION', message: /ldb is missing/ },
    'a damaged table': { source: (files) => changed(files, /ldb/, flip(100)), code: 'TEMPEST_CORRUPTION', message: /ldb/ },
    'a table cut off': { source: (files) => changed(files, /ldb/, (bytes) => bytes.subarray(0, -5)), code: 'TEMPEST_CORRUPTION', message: /ldb/ },
    'a damaged manifest': { source: (files) => changed(files, /MANIFEST/, flip(30)), code: 'TEMPEST_CORRUPTION', message: /MANIFEST|manifest/ },
    'an order of its own': { source: (files) => changed(files, /MANIFEST/, () => FOREIGN), code: 'TEMPEST_NOT_SUPPORTED', message: /idb_cmp1/ },
    'two folders': {
      source: (files) => files.flatMap((file) => ['a', 'b'].map((folder) => ({ name: `${folder}/${file.name}`, stream: () => file.stream() }))),
      code: 'TEMPEST_INVALID_ARGUMENT',
      message: /more than one/,
    },
    'a file twice': { source: (files) => [...files, files[0]], code: 'TEMPEST_INVALID_ARGUMENT', message: /twice/ },
    'a zip of something else': { source: () => zipOf([new File(['x'], 'y')]), code: 'TEMPEST_INVALID_ARGUMENT', message: /CURRENT/ },
    'a zip that is none': { source: () => new Blob(['hello '.repeat(1000)]), code: 'TEMPEST_CORRUPTION', message: /zip/ },
    'a zip cut off': { source: async (files) => (await zipOf(files)).slice(0, -100), code: 'TEMPEST_CORRUPTION', message: /zip/ },
    'a damaged zip': { source: async (files) => new Blob([flip(1500)(await bytesOf(await zipOf(files)))]), code: 'TEMPEST_CORRUPTION', message: /zip/ },
  };
  for (const [name, { source, code, message }] of Object.entries(cases)) {
    test(name, async () => {
      const db = await filled();
      const files = await exported(db);
      await db.close();
      const device = new MemoryDevice();
      await assert.rejects(importLevelDb('copy', await source(files), { device }), isRejected(code, message));
      assert.equal(device.size(), 0);
      const empty = await open('copy', { device });
      assert.equal(await empty.count(), 0);
      await empty.close();
    });
  }

  test('when it is given up, or its source fails', async () => {
    const db = await filled();
    const files = await exported(db);
    await db.close();
    const device = new MemoryDevice();
    const controller = new AbortController();
    const stop = { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) };
    await assert.rejects(importLevelDb('copy', files, { device, ...stop }), /enough/);
    assert.equal(device.size(), 0);
    const failing = files.map((file) =>
      file.name === 'CURRENT' ? file : { name: file.name, stream: () => new ReadableStream({ pull: (controller) => controller.error(new Error('unplugged')) }) },
    );
    await assert.rejects(importLevelDb('copy', failing, { device }), /unplugged/);
    assert.equal(device.size(), 0);
    await importLevelDb('copy', files, { device });
  });

  for (const [what, source] of Object.entries({ null: null, 'a string': 'db', 'a number': 5, 'names alone': ['CURRENT'], 'an object': {} })) {
    test(`${what} is a TypeError`, () => assert.rejects(importLevelDb('copy', source, { device: new MemoryDevice() }), TypeError));
  }
});

describe('a store is exported as a LevelDB folder', () => {
  test('as a zip, as it was at the call', async () => {
    const db = await filled();
    const want = await db.scan().toArray();
    const zip = exportLevelDb(db);
    await db.clear();
    await db.put('late', '1');
    const copy = await imported(zip);
    assert.deepEqual(await copy.scan().toArray(), want);
    await copy.close();
    await db.close();
  });

  test('in files of known sizes, CURRENT last, larger than a piece', async () => {
    const db = await filled();
    const random = new Uint8Array(3 << 20);
    for (let at = 0; at < random.length; at += 65_536) crypto.getRandomValues(random.subarray(at, at + 65_536));
    await db.put('large', random, { valueEncoding: 'view' });
    const files = [];
    for await (const { name, size } of levelDbFiles(db)) files.push({ name, size });
    assert.equal(files.at(-1).name, 'CURRENT');
    assert.ok(files.every(({ size }) => size > 0) && Math.max(...files.map(({ size }) => size)) > 3 << 20, JSON.stringify(files));
    const copy = await imported(await exported(db));
    assert.deepEqual(await copy.get('large', { valueEncoding: 'view' }), random);
    await copy.close();
    await db.close();
  });

  test('by a copy, where it was used for what LevelDB lacks', async () => {
    const db = await filled();
    await db.clear({ prefix: 'k1' });
    await db.put('short', 'x', { ttl: 1 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const want = await db.scan().toArray();
    assert.ok(want.length > 500 && want.every(([key]) => key !== 'short'));
    const zip = exportLevelDb(db);
    await db.clear();
    const copy = await imported(zip);
    assert.deepEqual(await copy.scan().toArray(), want);
    await copy.close();
    await db.close();
  });

  test('without values that expire, or with values that stay', async () => {
    const db = await filled();
    await db.put('short', 'x', { ttl: 3_600_000 });
    await assert.rejects(bytesOf(exportLevelDb(db)), isRejected('TEMPEST_NOT_SUPPORTED', /expires at/));
    await assert.rejects(exported(db), isRejected('TEMPEST_NOT_SUPPORTED', /short/));
    const copy = await imported(await exported(db, { dropExpiry: true }));
    assert.deepEqual(await copy.get('short'), 'x');
    await copy.close();
    await db.close();
  });

  test('empty', async () => {
    const db = await open('nothing', { storage: 'memory' });
    const files = await exported(db);
    assert.equal(files.length, 2);
    const device = new MemoryDevice();
    assert.equal((await importLevelDb('copy', files, { device })).sequence, 0);
    await db.close();
  });

  test('and lets go of the store when it is left, or not even begun', async () => {
    const db = await filled();
    for await (const { name } of levelDbFiles(db)) {
      assert.match(name, /MANIFEST/);
      break;
    }
    levelDbFiles(db);
    exportLevelDb(db);
    await exportLevelDb(db).cancel();
    const reader = exportLevelDb(db).getReader();
    await reader.read();
    await reader.cancel();
    const controller = new AbortController();
    const stopped = levelDbFiles(db, { signal: controller.signal });
    await stopped.next();
    controller.abort(new Error('enough'));
    await assert.rejects(stopped.next(), /enough/);
    await db.close();
    await assert.rejects(levelDbFiles(db).next(), isRejected('TEMPEST_CLOSED'));
    assert.throws(() => levelDbFiles(db, { compress: true }), TypeError);
    assert.throws(() => exportLevelDb(db, { dropExpiry: 1 }), TypeError);
  });

  test('and fails when the store is closed meanwhile', async () => {
    const db = await filled();
    const files = levelDbFiles(db);
    await files.next();
    await db.close();
    await assert.rejects(files.next(), isRejected('TEMPEST_CLOSED'));
  });
});

describe('a damaged store is repaired into a new one', () => {
  const PAGE = 65_536;
  const zero = (device, at, size) => device.write(new Uint8Array(size), at);

  async function stored() {
    const device = new MemoryDevice();
    const db = await filled({ device, storage: undefined });
    const entries = new Map(await db.scan().toArray());
    await db.close();
    return { device, entries };
  }

  /** Damages the first page of each table; a table of this store is not much longer. */
  function damageTables(device) {
    const bytes = Buffer.alloc(device.size());
    device.read(bytes, 0);
    // The last eight bytes of a table.
    const magic = Buffer.from('57fb808b247547db', 'hex');
    for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) zero(device, at - (at % PAGE) + 200, 20);
  }

  async function repaired(device, into = new MemoryDevice()) {
    const report = await repair('damaged', { device, into });
    const db = await open('repaired', { device: into, ...TEXT });
    const entries = new Map(await db.scan().toArray());
    assert.deepEqual((await db.verify()).problems, []);
    await db.close();
    return { report, entries };
  }

  test('that is whole, and stays as it was', async () => {
    const { device, entries } = await stored();
    const before = new Uint8Array(device.size());
    device.read(before, 0);
    const found = await repaired(device);
    assert.deepEqual(found.report.lost, []);
    assert.match(found.report.manifest, /^MANIFEST-/);
    assert.equal(found.report.figures.entries, entries.size);
    assert.deepEqual(found.entries, entries);
    const now = new Uint8Array(device.size());
    device.read(now, 0);
    assert.deepEqual(now, before);
  });

  test('in a block of a table: all but its entries are there', async () => {
    const { device, entries } = await stored();
    damageTables(device);
    for (const newDevice of Object.values(DEVICES)) {
      const { report, entries: left } = await repaired(device, newDevice());
      assert.ok(report.lost.length > 0 && report.lost.every(({ file, reason }) => /\.ldb$/.test(file) && reason !== ''), JSON.stringify(report));
      assert.ok(report.lost[0].bytes > 0 && report.lost[0].writes > 0);
      assert.ok(left.size < entries.size && left.size > entries.size / 2, `${left.size} of ${entries.size}`);
      for (const [key, value] of left) {
        // What was deleted may be there again, its tombstone lost.
        if (entries.has(key) || Number(key.slice(1)) % 3 !== 0) assert.equal(value, entries.get(key));
      }
    }
  });

  test('without its superblocks', async () => {
    const { device, entries } = await stored();
    zero(device, 0, 64);
    zero(device, PAGE, 64);
    await assert.rejects(open('damaged', { device }), isRejected('TEMPEST_CORRUPTION'));
    const { report, entries: left } = await repaired(device);
    assert.equal(report.lost[0].file, 'volume');
    assert.match(report.lost[0].reason, /superblock/);
    assert.deepEqual(left, entries);
  });

  test('and nothing is left where that cannot be', async () => {
    const { device } = await stored();
    const into = new MemoryDevice();
    const text = new MemoryDevice();
    text.write(new TextEncoder().encode('hello '.repeat(50_000)), 0);
    await assert.rejects(repair('text', { device: text, into }), isRejected('TEMPEST_CORRUPTION'));
    assert.equal(into.size(), 0);
    await assert.rejects(repair('nothing', { device: new MemoryDevice(), into }), isRejected('TEMPEST_INVALID_ARGUMENT', /empty/));
    assert.equal(into.size(), 0);
    const other = await stored();
    await assert.rejects(repair('damaged', { device, into: other.device }), isRejected('TEMPEST_INVALID_ARGUMENT', /not empty/));
    const db = await open('damaged', { device });
    await assert.rejects(repair('damaged', { device, into, lockWaitMillis: 0 }), isRejected('TEMPEST_LOCKED'));
    await db.close();
    const controller = new AbortController();
    controller.abort(new Error('enough'));
    await assert.rejects(repair('damaged', { device, into, signal: controller.signal }), /enough/);
  });

  test('into a place that makes sense', async () => {
    const device = new MemoryDevice();
    await assert.rejects(repair('a'), TypeError);
    await assert.rejects(repair('a', {}), TypeError);
    await assert.rejects(repair('a', { into: 'a' }), TypeError);
    await assert.rejects(repair('a', { into: '' }), RangeError);
    await assert.rejects(repair('a', { device, into: device }), TypeError);
    await assert.rejects(repair('a', { device, into: 'b' }), TypeError);
    await assert.rejects(repair('a', { into: 'b', storage: 'memory' }), TypeError);
    await assert.rejects(repair('a', { into: 'b' }), isRejected('TEMPEST_NOT_SUPPORTED'));
  });
});

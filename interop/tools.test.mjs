// The package and LevelDB itself, as classic-level has it, read each other's folders, through memory and through zips. What must be found comes from
// a map that the writing side kept. SEED=n makes other random stores.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, openAsBlob, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ClassicLevel } from 'classic-level';
import { MemoryDevice, open } from '../js/dist/index.js';
import { exportLevelDb, importLevelDb, levelDbFiles, repair } from '../js/dist/tools.js';

const scratch = mkdtempSync(join(tmpdir(), 'interop-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

let folders = 0;
const newFolder = () => join(scratch, `folder-${++folders}`);

/** Returns a generator of whole numbers below a limit. */
function random(start) {
  let state = 1000 * Number(process.env.SEED ?? 0) + start;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) % limit;
  };
}

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const sorted = (model) => [...model].sort(([a], [b]) => (a < b ? -1 : 1));
const LEVEL = { keyEncoding: 'buffer', valueEncoding: 'buffer' };
const VIEW = { keyEncoding: 'view', valueEncoding: 'view' };

/** Random batches: `write` is given them, the map too. */
async function change(model, count, below, write) {
  const known = [...model.keys()];
  const newKey = () => (below(2) === 0 ? Buffer.from(`user:${below(1e6)}`) : Buffer.from(Array.from({ length: 1 + below(20) }, () => below(250))));
  for (let done = 0; done < count; ) {
    const operations = Array.from({ length: 1 + below(40) }, () => {
      if (known.length > 0 && below(4) === 0) return { type: 'delete', key: Buffer.from(known[below(known.length)], 'hex') };
      const key = known.length > 0 && below(3) === 0 ? Buffer.from(known[below(known.length)], 'hex') : newKey();
      const size = below(200) === 0 ? below(100_000) : below(400);
      const value = below(2) === 0 ? Buffer.alloc(size, 'again ') : Buffer.from(Array.from({ length: size }, () => below(256)));
      return { type: 'put', key, value };
    });
    await write(operations);
    for (const { type, key, value } of operations) {
      if (type === 'delete') model.delete(hex(key));
      else {
        if (!model.has(hex(key))) known.push(hex(key));
        model.set(hex(key), hex(value));
      }
    }
    done += operations.length;
  }
}

/** Changes a store of LevelDB, and the map likewise. */
async function changeLevel(folder, model, count, below, options) {
  const db = new ClassicLevel(folder, { ...LEVEL, ...options });
  await db.open();
  await change(model, count, below, (operations) => db.batch(operations.map((operation) => ({ ...operation, type: operation.type === 'put' ? 'put' : 'del' }))));
  await db.close();
}

async function scanLevel(folder) {
  const db = new ClassicLevel(folder, { createIfMissing: false, ...LEVEL });
  await db.open();
  const entries = await db.iterator().all();
  // LevelDB passes over what it cannot read, and says so here only.
  assert.doesNotMatch(readFileSync(join(folder, 'LOG'), 'utf8'), /dropping|ignoring|rror/);
  await db.close();
  return entries.map(([key, value]) => [hex(key), hex(value)]);
}

async function scanOurs(device) {
  const db = await open('copy', { device, ...VIEW });
  const entries = await db.scan().toArray();
  assert.deepEqual((await db.verify()).problems, []);
  await db.close();
  return entries.map(([key, value]) => [hex(key), hex(value)]);
}

/** The files of a folder. */
async function filesOf(folder) {
  const named = async (name) => [name, await openAsBlob(join(folder, name))];
  const files = await Promise.all(readdirSync(folder).map(named));
  return files.map(([name, blob]) => ({ name, size: blob.size, stream: () => blob.stream() }));
}

async function writeFiles(db, folder, options) {
  mkdirSync(folder);
  for await (const { name, stream } of levelDbFiles(db, options)) {
    writeFileSync(join(folder, name), new Uint8Array(await new Response(stream()).arrayBuffer()));
  }
}

const zips = {
  deflated: ['-q'],
  stored: ['-q0'],
};

describe('the package imports what LevelDB wrote', () => {
  const plans = {
    'tables and a log': { writeBufferSize: 64 << 10 },
    'not compressed': { writeBufferSize: 64 << 10, compression: false },
    'small blocks': { writeBufferSize: 64 << 10, blockSize: 256 },
    'a log alone': {},
  };
  for (const [index, [name, options]] of Object.entries(plans).entries()) {
    test(name, async () => {
      const below = random(index);
      const folder = newFolder();
      const model = new Map();
      await changeLevel(folder, model, 3000, below, options);
      await changeLevel(folder, model, 500, below, options);
      const device = new MemoryDevice();
      await importLevelDb('copy', await filesOf(folder), { device });
      assert.deepEqual(await scanOurs(device), sorted(model));

      // Ours go on, and LevelDB reads it.
      const db = await open('copy', { device, memtableBytes: 65_536, ...VIEW });
      await change(model, 1000, below, (operations) => db.batch(operations));
      const back = newFolder();
      await writeFiles(db, back);
      await db.close();
      assert.deepEqual(await scanLevel(back), sorted(model));
      await changeLevel(back, model, 500, below, options);
      assert.deepEqual(await scanLevel(back), sorted(model));
    });
  }
  for (const [name, flags] of Object.entries(zips)) {
    test(`in a zip, ${name}`, async () => {
      const folder = newFolder();
      const model = new Map();
      await changeLevel(folder, model, 2000, random(9), { writeBufferSize: 64 << 10 });
      execFileSync('zip', [...flags, '-r', `${folder}.zip`, folder]);
      const device = new MemoryDevice();
      await importLevelDb('copy', await openAsBlob(`${folder}.zip`), { device });
      assert.deepEqual(await scanOurs(device), sorted(model));
    });
  }
});

describe('LevelDB reads what the package exports', () => {
  for (const [index, features] of [false, true].entries()) {
    test(features ? 'of a store with range deletes and expiry' : 'as it is', async () => {
      const below = random(20 + index);
      const device = new MemoryDevice();
      const db = await open('copy', { device, memtableBytes: 65_536, ...VIEW });
      const model = new Map();
      await change(model, 4000, below, (operations) => db.batch(operations));
      if (features) {
        await db.clear({ gte: Buffer.from('user:3'), lt: Buffer.from('user:6') });
        for (const key of model.keys()) if (key >= hex(Buffer.from('user:3')) && key < hex(Buffer.from('user:6'))) model.delete(key);
        await db.put(Buffer.from('for an hour'), Buffer.from('x'), { ttl: 3_600_000 });
        model.set(hex(Buffer.from('for an hour')), hex(Buffer.from('x')));
      }
      const folder = newFolder();
      await writeFiles(db, folder, { dropExpiry: features });
      assert.deepEqual(await scanLevel(folder), sorted(model));

      const zipped = newFolder();
      writeFileSync(`${zipped}.zip`, new Uint8Array(await new Response(exportLevelDb(db, { dropExpiry: features })).arrayBuffer()));
      await db.close();
      execFileSync('unzip', ['-q', `${zipped}.zip`, '-d', zipped]);
      assert.deepEqual(await scanLevel(zipped), sorted(model));

      const into = new MemoryDevice();
      const { lost } = await repair('copy', { device, into });
      assert.deepEqual(lost, []);
      assert.deepEqual(await scanOurs(into), sorted(model));
    });
  }
});

// LevelDB itself, as classic-level has it, and the engine's packages read each
// other's folders. What must be found comes from a map that the writing side
// kept, never from the store that is tested. SEED=n makes other random stores.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ClassicLevel } from 'classic-level';

const scratch = mkdtempSync(join(tmpdir(), 'interop-'));
const program = join(scratch, 'interop');
before(() => execFileSync('go', ['build', '-o', program, '.'], { cwd: import.meta.dirname }));
after(() => rmSync(scratch, { recursive: true, force: true }));

const seed = 1000 * Number(process.env.SEED ?? 0);

let folders = 0;
const newFolder = () => join(scratch, `folder-${++folders}`);

/** Runs the Go program. Returns the shape of the folder, and the entries. */
function go(...args) {
  const run = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 30 });
  assert.equal(run.status, 0, run.stderr);
  const [shape, ...entries] = run.stdout.trimEnd().split('\n').map((line) => JSON.parse(line));
  return { shape, entries };
}

const write = (folder, plan) => go('write', folder, JSON.stringify(plan));
const read = (folder, blockBytes) => go('read', folder, ...(blockBytes ? [String(blockBytes)] : []));

const writeStore = (folder, plan) => go('store', 'write', folder, JSON.stringify(plan));
const readStore = (folder) => go('store', 'read', folder);

/** Returns a generator of whole numbers below a limit. */
function random(start) {
  let state = seed + start;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) % limit;
  };
}

const encodings = { keyEncoding: 'buffer', valueEncoding: 'buffer' };

async function openLevel(folder, options) {
  const db = new ClassicLevel(folder, { createIfMissing: false, ...encodings, ...options });
  await db.open();
  return db;
}

// Hexadecimal digits order as the bytes they stand for.
const hex = (bytes) => bytes.toString('hex');
const bytes = (text) => Buffer.from(text, 'hex');
const sorted = (model) => [...model].sort(([a], [b]) => (a < b ? -1 : 1));

async function scan(db, range = {}) {
  const entries = await db.iterator(range).all();
  return entries.map(([key, value]) => [hex(key), hex(value)]);
}

/** Checks that LevelDB finds exactly these entries, in every way it can look. */
async function mustHave(db, entries, below) {
  // LevelDB passes over what it cannot read in a log, and says so here only.
  assert.doesNotMatch(readFileSync(join(db.location, 'LOG'), 'utf8'), /dropping|ignoring|rror/);

  assert.deepEqual(await scan(db), entries);
  assert.deepEqual(await scan(db, { reverse: true }), entries.toReversed());

  const keys = entries.map(([key]) => bytes(key));
  const values = await db.getMany(keys);
  assert.deepEqual(values.map((value) => value && hex(value)), entries.map(([, value]) => value));

  // Keys beside those that are there, most of which are not.
  const model = new Map(entries);
  const beside = keys.flatMap((key) => [Buffer.concat([key, Buffer.of(0)]), key.subarray(0, -1)]);
  const found = await db.getMany(beside);
  assert.deepEqual(found.map((value) => value && hex(value)), beside.map((key) => model.get(hex(key))));

  for (let i = 0; i < 40 && beside.length > 0; i++) {
    const [gte, lt] = [beside[below(beside.length)], keys[below(keys.length)]];
    const inside = entries.filter(([key]) => key >= hex(gte) && key < hex(lt));
    assert.deepEqual(await scan(db, { gte, lt }), inside);
    assert.deepEqual(await scan(db, { gte, lt, reverse: true }), inside.toReversed());
  }
}

/** Makes random writes through LevelDB, and the same ones to the model. */
async function change(db, model, count, below) {
  const known = [...model.keys()];
  const newKey = () => {
    switch (below(4)) {
      case 0:
        return Buffer.from(`user:${below(1e6)}`);
      case 1:
        return Buffer.from('long '.repeat(30 + below(3)) + below(1e4));
      case 2:
        return Buffer.alloc(1 + below(4), below(256));
      default:
        return Buffer.from(Array.from({ length: 1 + below(20) }, () => below(256)));
    }
  };
  const operation = () => {
    if (known.length > 0 && below(4) === 0) {
      return { type: 'del', key: bytes(known[below(known.length)]) };
    }
    const key = known.length > 0 && below(3) === 0 ? bytes(known[below(known.length)]) : newKey();
    const size = below(200) === 0 ? below(100_000) : below(400);
    const value = below(2) === 0 ? Buffer.alloc(size, 'again ') : Buffer.from(Array.from({ length: size }, () => below(256)));
    return { type: 'put', key, value };
  };
  for (let done = 0; done < count; ) {
    const operations = Array.from({ length: below(3) === 0 ? 1 + below(40) : 1 }, operation);
    const sync = below(20) === 0;
    if (operations.length > 1) {
      await db.batch(operations, { sync });
    } else if (operations[0].type === 'put') {
      await db.put(operations[0].key, operations[0].value, { sync });
    } else {
      await db.del(operations[0].key, { sync });
    }
    for (const { type, key, value } of operations) {
      if (type === 'put') {
        if (!model.has(hex(key))) known.push(hex(key));
        model.set(hex(key), hex(value));
      } else {
        model.delete(hex(key));
      }
    }
    done += operations.length;
  }
}

const first = Buffer.alloc(0);
const last = Buffer.alloc(40, 0xff);

describe('LevelDB reads what we write, and goes on in it', () => {
  const many = { ops: 12_000, keys: 3000, flushOps: 400, keepLogs: true };
  const plans = {
    'tables in many levels, and two logs': many,
    'blocks of 256 bytes': { ...many, blockBytes: 256 },
    'blocks of 1 KiB, not compressed': { ...many, blockBytes: 1024, uncompressed: true },
    'blocks of 64 KiB': { ...many, blockBytes: 64 << 10 },
    'a block an entry, not compressed': { ...many, blockBytes: 1, uncompressed: true },
    'no filter': { ...many, filterBitsPerKey: -1 },
    'a filter of other bits': { ...many, filterBitsPerKey: 16 },
    'tables alone': { ...many, keepLogs: false },
    'logs alone': { ops: 3000, keys: 1000, keepLogs: true },
    'a log with prepared space behind it': { ...many, logTail: 100_000 },
    'nothing but a manifest': {},
  };
  let deepest = 0;
  for (const [index, [name, plan]] of Object.entries(plans).entries()) {
    test(name, async () => {
      const below = random(index);
      const folder = newFolder();
      const { shape, entries } = write(folder, { seed: seed + index, ...plan });
      if (plan.ops) assert.ok(entries.length > 100, `${entries.length} entries`);
      if (plan.flushOps) {
        const levels = shape.tables.filter((count) => count > 0).length;
        assert.ok(levels >= 2 && shape.tables.reduce((a, b) => a + b) >= 4, `tables ${shape.tables}`);
        deepest = Math.max(deepest, shape.tables.findLastIndex((count) => count > 0));
      } else {
        assert.ok(shape.tables.every((count) => count === 0));
      }
      assert.deepEqual(read(folder).entries, entries);

      const model = new Map(entries);
      let db = await openLevel(folder);
      await mustHave(db, entries, below);
      await change(db, model, 500, below);
      await mustHave(db, sorted(model), below);
      await db.close();
      assert.deepEqual(read(folder).entries, sorted(model));

      db = await openLevel(folder);
      await db.compactRange(first, last);
      await mustHave(db, sorted(model), below);
      await db.close();
      assert.deepEqual(read(folder).entries, sorted(model));
    });
  }
  test('down to level 5', () => assert.equal(deepest, 5));
});

describe('we read what LevelDB writes, and go on in it', () => {
  const many = { ops: 6000, compactions: 3, writeBufferSize: 64 << 10 };
  const plans = {
    'tables and a log': many,
    'blocks of 256 bytes': { ...many, blockSize: 256 },
    'blocks of 64 KiB, restarts seldom': { ...many, blockSize: 64 << 10, blockRestartInterval: 100 },
    'restarts at every entry': { ...many, blockRestartInterval: 1 },
    'several tables a level, not compressed': { ...many, ops: 24_000, maxFileSize: 1 << 20, compression: false },
    'not compressed': { ...many, compression: false },
    'blocks of 1 KiB, not compressed': { ...many, compression: false, blockSize: 1024 },
    'a log alone': { ops: 2000, compactions: 0 },
    'nothing': { ops: 0, compactions: 0 },
  };
  for (const [index, [name, { ops, compactions, ...options }]] of Object.entries(plans).entries()) {
    test(name, async () => {
      const below = random(100 + index);
      const folder = newFolder();
      const model = new Map();
      let db = await openLevel(folder, { ...options, createIfMissing: true });
      for (let i = 0; i < compactions; i++) {
        await change(db, model, ops / (compactions + 1), below);
        await db.compactRange(first, i === 1 ? Buffer.from('m') : last);
        if (i === 1) {
          await db.close();
          db = await openLevel(folder, options);
        }
      }
      await change(db, model, ops / (compactions + 1), below);
      await db.close();

      // Blocks cut as LevelDB cuts them make every byte the same, filters,
      // separators and checksums too, where Snappy does not choose.
      const { shape, entries } = read(folder, options.compression === false ? options.blockSize ?? 4096 : undefined);
      assert.deepEqual(entries, sorted(model));
      assert.equal(shape.pending > 0, ops > 0, `${shape.pending} versions in logs`);
      if (compactions > 0) {
        assert.ok(shape.tables.filter((count) => count > 0).length >= 2, `tables ${shape.tables}`);
        assert.ok(shape.versions > entries.length, 'nothing was overwritten or deleted');
      }
      if (options.maxFileSize) assert.ok(Math.max(...shape.tables.slice(1)) >= 2, `tables ${shape.tables}`);

      // Ours go on, LevelDB reads it, and ours once more.
      const more = write(folder, { seed: seed + index, ops: 2000, keys: 300, flushOps: 300, keepLogs: true }).entries;
      assert.ok(more.length > entries.length);
      db = await openLevel(folder, options);
      await mustHave(db, more, below);
      await db.close();
      assert.deepEqual(read(folder).entries, more);
    });
  }
});

describe('LevelDB and the engine go on in one store in turn', () => {
  const many = { ops: 5000, keys: 2000 };
  const plans = {
    'as it comes': many,
    'blocks of 256 bytes': { ...many, blockBytes: 256 },
    'blocks of 1 KiB, not compressed': { ...many, blockBytes: 1024, uncompressed: true },
    'blocks of 64 KiB': { ...many, blockBytes: 64 << 10 },
    'a block an entry, not compressed': { ...many, blockBytes: 1, uncompressed: true },
    'a log alone': { ops: 100, keys: 50 },
  };
  for (const [index, [name, plan]] of Object.entries(plans).entries()) {
    test(name, async () => {
      const below = random(200 + index);
      const folder = newFolder();
      let { shape, entries } = writeStore(folder, { seed: seed + index, ...plan });
      if (plan.ops > 1000) {
        const levels = shape.tables.filter((count) => count > 0).length;
        assert.ok(levels >= 2 && shape.tables.reduce((a, b) => a + b) >= 10, `tables ${shape.tables}`);
      }
      for (let turn = 0; turn < 2; turn++) {
        const model = new Map(entries);
        const db = await openLevel(folder, { writeBufferSize: 64 << 10 });
        await mustHave(db, entries, below);
        await change(db, model, 1500, below);
        if (turn === 1) await db.compactRange(first, last);
        await mustHave(db, sorted(model), below);
        await db.close();
        assert.deepEqual(readStore(folder).entries, sorted(model));
        ({ entries } = writeStore(folder, { seed: seed + index + 50 * turn, ...plan, ops: 1500 }));
      }

      const copy = newFolder();
      const rest = go('store', 'export', folder, copy).entries;
      assert.ok(rest.length > 10 && rest.some(([key]) => bytes(key).toString() === 'a value that expires'));
      assert.ok(!rest.some(([key]) => bytes(key).toString().startsWith('long long ')));
      const db = await openLevel(copy);
      await mustHave(db, rest, below);
      const model = new Map(rest);
      await change(db, model, 300, below);
      await mustHave(db, sorted(model), below);
      await db.close();
      assert.deepEqual(readStore(copy).entries, sorted(model));
    });
  }

  test('a folder that LevelDB began', async () => {
    const below = random(300);
    const folder = newFolder();
    const model = new Map();
    for (let turn = 0; turn < 3; turn++) {
      const db = await openLevel(folder, { createIfMissing: true, writeBufferSize: 64 << 10 });
      await change(db, model, 3000, below);
      await db.close();
      assert.deepEqual(readStore(folder).entries, sorted(model));
    }
  });
});

describe('LevelDB refuses', () => {
  const plan = { seed: 7, ops: 3000, keys: 500, flushOps: 300, keepLogs: true };
  const contents = (folder) => {
    // LevelDB begins its journal, LOG, whatever it then finds.
    const names = readdirSync(folder).filter((name) => !/^LO(G|G\.old|CK)$/.test(name));
    return names.map((name) => [name, createHash('sha256').update(readFileSync(join(folder, name))).digest('hex')]);
  };
  async function mustRefuse(folder, cause) {
    const before = contents(folder);
    assert.ok(before.some(([name]) => name.endsWith('.ldb')) && before.some(([name]) => name.endsWith('.log')));
    for (const options of [{}, { createIfMissing: true }]) {
      await assert.rejects(openLevel(folder, options), (error) => {
        assert.equal(error.code, 'LEVEL_DATABASE_NOT_OPEN');
        assert.match(error.cause.message, cause);
        return true;
      });
      assert.deepEqual(contents(folder), before);
    }
  }

  test('a store with a feature that it lacks, and changes nothing', async () => {
    const folder = newFolder();
    write(folder, { ...plan, features: ['something new'] });
    await mustRefuse(folder, /VersionEdit: unknown tag/);
    // So does a version of ours that does not know it.
    const run = spawnSync(program, ['read', folder], { encoding: 'utf8' });
    assert.equal(run.status, 1);
    assert.match(run.stderr, /needs the feature "something new"/);
  });

  test('a store of another comparer, and changes nothing', async () => {
    const folder = newFolder();
    write(folder, { ...plan, suffix: 8 });
    await mustRefuse(folder, /does not match existing comparator/);
  });
});

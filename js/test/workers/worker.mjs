// The Worker under test: functions that tests have carried out, and the objects they use.

import { DurableObject } from 'cloudflare:workers';
import { record } from './history/record.mjs';
import { Background, RowsDevice, ROW_BYTES } from './internal.js';
import { equal, ok, random, rejects, throws } from './suite/assert.mjs';
import { makeTarget, tests } from './suite/index.mjs';
import * as api from './workers.js';

const { connect, exportToBucket, importStore, TempestObject } = api;

export { TempestObject };

/** What every statement of this isolate's objects has cost, since it was asked last. */
const cursors = [];

function countRows(sql) {
  const shared = Object.getPrototypeOf(sql);
  if (Object.hasOwn(shared, 'countsRows')) return;
  const { exec } = shared;
  shared.countsRows = true;
  shared.exec = function (...statement) {
    const cursor = exec.apply(this, statement);
    cursors.push(cursor);
    return cursor;
  };
}

function rowsSoFar() {
  const rows = { written: 0, read: 0 };
  for (const cursor of cursors.splice(0)) {
    rows.written += cursor.rowsWritten;
    rows.read += cursor.rowsRead;
  }
  return rows;
}

/** One with little space. */
export class TinyObject extends TempestObject {
  static options = { memtableBytes: 64 << 10, maxBytes: 4 << 20 };
}

/** One whose inside can be looked at and harmed, and that has methods of its own beside the store's. */
export class ProbeObject extends TempestObject {
  constructor(ctx, env) {
    countRows(ctx.storage.sql);
    super(ctx, env);
  }

  rows() {
    return rowsSoFar();
  }

  /** Uses the store in place. */
  async count(by) {
    const db = await this.database();
    const count = ((await db.get('count')) ?? 0) + by;
    await db.put('count', count);
    return count;
  }

  /** Gives its store to a bucket, and takes another one from there. */
  async swap(to, from) {
    const size = await exportToBucket(await this.database(), this.env.BACKUPS, to);
    const { body } = await this.env.BACKUPS.get(from);
    await this.importStore(body, { replace: true });
    return { size, count: await (await this.database()).scan().count() };
  }

  reset() {
    this.ctx.abort('reset by a test');
  }

  /** Changes one byte of every row. */
  damage() {
    for (const { id, data } of [...this.ctx.storage.sql.exec('SELECT id, data FROM pages')]) {
      const bytes = new Uint8Array(data);
      bytes[8] ^= 1;
      this.ctx.storage.sql.exec('UPDATE pages SET data = ? WHERE id = ?', bytes, id);
    }
  }

  async fingerprint() {
    let text = '';
    for (const { id, data } of this.ctx.storage.sql.exec('SELECT id, data FROM pages ORDER BY id')) {
      const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
      text += `${id}:${Array.from(digest.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('')} `;
    }
    return text;
  }

  tables() {
    return [...this.ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_%' ESCAPE '\\'")].map(({ name }) => name);
  }
}

/** What the transactions of objects that want to know have written: how many rows the largest, and how many all alarms. */
const steps = { largest: 0, alarms: 0 };

/** One whose background work can be watched without a call to its store, which would go on with it. */
export class StepsObject extends TempestObject {
  static options = { memtableBytes: 128 << 10 };

  constructor(ctx, env) {
    countRows(ctx.storage.sql);
    const shared = Object.getPrototypeOf(ctx.storage);
    if (!Object.hasOwn(shared, 'countsSteps')) {
      const { transactionSync } = shared;
      shared.countsSteps = true;
      shared.transactionSync = function (run) {
        cursors.length = 0;
        const result = transactionSync.call(this, run);
        steps.largest = Math.max(steps.largest, rowsSoFar().written);
        return result;
      };
    }
    super(ctx, env);
  }

  async alarm() {
    steps.alarms++;
    await super.alarm();
  }

  steps() {
    return steps;
  }

  reset() {
    this.ctx.abort('reset by a test');
  }
}

/** What the platform offers without us; also for what needs SQL alone. */
export class PlainObject extends DurableObject {
  /** Random calls of a device, against the same calls on an array. */
  device(seed, count) {
    const { storage } = this.ctx;
    const below = random(seed);
    const most = 40 * ROW_BYTES;
    let model = new Uint8Array(0);
    let device = new RowsDevice(storage.sql, most);
    const resize = (size) => {
      const resized = new Uint8Array(size);
      resized.set(model.subarray(0, size));
      model = resized;
    };
    const near = () => Math.max(0, below(20) * ROW_BYTES + below(5) - 2);
    const offsetOf = () => (below(2) === 0 ? near() : below(20 * ROW_BYTES));
    const sizeOf = () => [below(300), ROW_BYTES, near(), below(4 * ROW_BYTES)][below(4)];
    for (let i = 0; i < count; i++) {
      switch (below(8)) {
        case 0: {
          const size = offsetOf();
          device.truncate(size);
          resize(size);
          break;
        }
        case 1:
          device.flush();
          if (below(2) === 0) device = new RowsDevice(storage.sql, most);
          break;
        case 2:
        case 3:
        case 4: {
          const bytes = new Uint8Array(sizeOf()).map(below(3) === 0 ? () => 0 : () => below(256));
          const offset = offsetOf();
          equal(device.write(bytes, offset), bytes.length);
          if (bytes.length === 0) break;
          resize(Math.max(model.length, offset + bytes.length));
          model.set(bytes, offset);
          break;
        }
        default: {
          const into = new Uint8Array(sizeOf()).fill(7);
          const offset = offsetOf();
          const expected = model.slice(offset, offset + into.length);
          equal(device.read(into, offset), expected.length);
          if (into.subarray(0, expected.length).some((byte, at) => byte !== expected[at])) throw new Error(`call ${i} read something else`);
        }
      }
      equal(device.size(), model.length);
    }
    device.flush();
    const [{ count: zeros }] = storage.sql.exec('SELECT count(*) AS count FROM pages WHERE data = zeroblob(?) AND id < (SELECT max(id) FROM pages)', ROW_BYTES);
    return { zeros };
  }

  quota() {
    const device = new RowsDevice(this.ctx.storage.sql, 3 * ROW_BYTES);
    const full = new Uint8Array(ROW_BYTES).fill(1);
    for (let i = 0; i < 3; i++) device.write(full, i * ROW_BYTES);
    throws(() => device.write(new Uint8Array(1), 3 * ROW_BYTES), { code: 'TEMPEST_QUOTA_EXCEEDED' });
    device.write(full, 0);
    device.flush();
    equal(device.size(), 3 * ROW_BYTES);
    device.truncate(0);
    equal([...this.ctx.storage.sql.exec('SELECT id FROM pages')].length, 0);
  }
}

/** One with work to do in the background, and nothing else. */
export class BusyObject extends DurableObject {
  #background = new Background(() => void this.ctx.storage.setAlarm(Date.now()));
  #left = 0;
  #alarms = 0;

  start(steps) {
    this.#left = steps;
    this.#background.schedule(this.#step);
  }

  #step = () => {
    if (--this.#left > 0) this.#background.schedule(this.#step);
  };

  async alarm() {
    this.#alarms++;
    await this.#background.alarm();
  }

  state() {
    return { left: this.#left, alarms: this.#alarms };
  }
}

const numbered = (count, value = (i) => i, from = 0) =>
  Array.from({ length: count }, (_, i) => ({ type: 'put', key: `k${String(from + i).padStart(7, '0')}`, value: value(from + i) }));

/** Text that does not compress, of some 700 bytes. */
const noise = (seed) => {
  const below = random(seed + 1);
  return Array.from({ length: 120 }, () => below(2 ** 30).toString(36)).join('');
};

const probeOf = (env, name) => env.PROBE.get(env.PROBE.idFromName(name));

const functions = {
  /** Runs a test of the common suite. */
  async suite(env, name) {
    const small = new Set();
    // The size of memtables is for the object's class to say, and nobody has to wait for a store.
    const openAs = async (store, { memtableBytes, lockWaitMillis, ...options }) => {
      if (memtableBytes !== undefined) small.add(store);
      return connect(small.has(store) ? env.TINY : env.TEMPEST, store, options);
    };
    const importAs = (store, source, options) => importStore(env.TEMPEST, store, source, options);
    const target = makeTarget(api, { openAs, importAs });
    await tests.find((test) => test.name === name).run(target);
  },

  async misuse(env) {
    for (const bad of [undefined, null, 1, {}, env]) throws(() => connect(bad, 'a'), { name: 'TypeError', message: /binding of a Durable Object/ });
    for (const bad of [undefined, null, 1, {}, '\ud800']) throws(() => connect(env.TEMPEST, bad), { name: 'TypeError' });
    for (const bad of ['', 'x'.repeat(101)]) throws(() => connect(env.TEMPEST, bad), { name: 'RangeError' });
    for (const bad of [null, [], { storage: 'memory' }, { keyEncoding: 'latin1' }, { valueEncoding: 'xml' }, { durability: 'maybe' }, { memtableBytes: 1 << 20 }]) {
      throws(() => connect(env.TEMPEST, 'a', bad), { name: 'TypeError' });
    }
    const db = connect(env.TEMPEST, 'misuse');
    equal([db.name, db.storage, db.supports], ['misuse', 'object', { persistent: true, strict: true }]);
    const aborted = AbortSignal.abort(new Error('changed my mind'));
    for (const call of [db.put('a', 1, { signal: aborted }), db.get('a', { signal: aborted }), db.stats({ signal: aborted })]) {
      await rejects(call, { message: 'changed my mind' });
    }
    await rejects(db.put('a', 1, { durabilty: 'strict' }), { name: 'TypeError', message: /durabilty/ });
    equal(await db.get('a'), undefined);
    await db.close();
    const unused = connect(env.TEMPEST, 'unused');
    await unused.close();
  },

  /** What an object makes of those who do not go by connect(). */
  async strangers(env) {
    const stub = env.TEMPEST.get(env.TEMPEST.idFromName('strangers'));
    const db = connect(env.TEMPEST, 'strangers');
    await db.put('kept', 1);
    const frame = (op, { size, type = 1, version = 1, count = 1 } = {}) => {
      const bytes = new Uint8Array(28);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, version | (type << 8), true);
      view.setUint32(8, count, true);
      view.setUint32(12, size ?? 28, true);
      bytes[20] = op;
      return bytes;
    };
    for (const op of [0, 8]) await rejects(stub.tempestCall(frame(op)), { name: 'TypeError', message: /opens and closes its store by itself/ });
    for (const bad of [new Uint8Array(0), new Uint8Array(16), frame(7, { size: 29 }), frame(7, { type: 2 }), frame(7, { count: 2 })]) {
      await rejects(stub.tempestCall(bad), { name: 'FrameError' });
    }
    await rejects(stub.tempestCall(new Uint8Array((16 << 20) + 1)), { name: 'RangeError' });
    const statusOf = (reply) => new Uint8Array(reply)[20];
    equal(statusOf(await stub.tempestCall(frame(7, { version: 9 }))), 2);
    equal(statusOf(await stub.tempestCall(frame(99))), 2);
    equal(statusOf(await stub.tempestCall(frame(7).buffer)), 0);
    equal(await db.get('kept'), 1);
  },

  async put(env, store, from, count, size) {
    const db = connect(env.TEMPEST, store);
    return db.batch(numbered(count, (i) => `${i}`.padEnd(size, '.'), from));
  },

  async read(env, store) {
    const entries = await connect(env.TEMPEST, store).scan().toArray();
    return entries.map(([key, value]) => [key, value.length]);
  },

  async get(env, store, key) {
    return (await connect(env.TEMPEST, store).get(key)) ?? null;
  },

  /** A batch of its own keys: all of them say which batch they are of. */
  async writeBatch(env, store, writer, batch, size) {
    const db = connect(env.TEMPEST, store);
    await db.batch(Array.from({ length: size }, (_, i) => ({ type: 'put', key: `${writer}-${String(batch).padStart(6, '0')}-${i}`, value: 'x'.repeat(100 * i) })));
  },

  /** How many keys each batch has. */
  async countBatches(env, store) {
    const counts = {};
    for await (const key of connect(env.TEMPEST, store).scan().keys()) {
      const batch = key.slice(0, key.lastIndexOf('-'));
      counts[batch] = (counts[batch] ?? 0) + 1;
    }
    return counts;
  },

  /** The engine dies, and with it whatever its last call had begun. */
  async panic(env) {
    const bystander = connect(env.TEMPEST, 'bystander');
    await bystander.put('k', 'mine');
    const other = connect(env.TEMPEST, 'panics');
    const db = connect(env.TEMPEST, 'panics');
    await db.batch(numbered(1000));
    equal(await other.get('k0000999'), 999);
    const failed = await Promise.allSettled([db.put('lost', 1), db._panic(), db.get('k0000001')]);
    for (const { reason } of failed) equal([reason?.name, reason?.code], ['TempestError', 'TEMPEST_WORKER_DIED']);
    ok(/asked to panic/.test(failed[1].reason.message), failed[1].reason.message);
    await rejects(db.get('k0000001'), { code: 'TEMPEST_WORKER_DIED' });
    await rejects(other.get('k0000001'), { code: 'TEMPEST_WORKER_DIED' });
    const next = connect(env.TEMPEST, 'panics');
    equal(await next.scan().count(), 1000);
    equal(await next.get('lost'), undefined);
    await next.put('k', 1);
    equal(await bystander.get('k'), 'mine');
  },

  /** Many objects of one isolate at once, one of which dies again and again. */
  async neighbours(env, count) {
    const work = async (n) => {
      for (let round = 0; round < 5; round++) {
        const db = connect(env.TEMPEST, `neighbour ${n}`);
        if (n === 0 && round > 0) await rejects(db._panic(), { code: 'TEMPEST_WORKER_DIED' });
        else await db.batch(numbered(200, (i) => [n, round, i], round * 200));
        if (n === 0) continue;
        equal(await db.scan().count(), (round + 1) * 200);
        for await (const [key, [owner]] of db.scan({ limit: 50 })) if (owner !== n) throw new Error(`${key} of ${owner} in ${n}`);
        await db.close();
      }
    };
    await Promise.all(Array.from({ length: count }, (_, n) => work(n)));
    equal(await connect(env.TEMPEST, 'neighbour 0').scan().count(), 200);
    let most = 0;
    for (let n = 0; n < count; n++) most = Math.max(most, (await connect(env.TEMPEST, `neighbour ${n}`).stats()).wasmBytes);
    return most;
  },

  /** One of many requests in flight. */
  async mixed(env, n) {
    const db = connect(env.TEMPEST, 'mixed');
    switch (n % 5) {
      case 0:
        await db.put(`put-${n}`, n);
        equal(await db.get(`put-${n}`), n);
        return;
      case 1:
        await db.batch(Array.from({ length: 20 }, (_, i) => ({ type: 'put', key: `batch-${n}-${i}`, value: n })));
        equal(await db.getMany([`batch-${n}-0`, `batch-${n}-19`, `batch-${n}-20`]), [n, n, undefined]);
        return;
      case 2: {
        // A batch is seen whole or not at all.
        const seen = new Map();
        for await (const [, value] of db.scan({ prefix: 'batch-' })) seen.set(value, (seen.get(value) ?? 0) + 1);
        for (const [batch, keys] of seen) equal([batch, keys], [batch, 20]);
        return;
      }
      case 3:
        await db.put(`gone-${n}`, 'x'.repeat(5000));
        await db.delete(`gone-${n}`);
        equal(await db.get(`gone-${n}`), undefined);
        return;
      default:
        // Leaves a scan open, and the request that it is of ends.
        await db.scan()[Symbol.asyncIterator]().next();
    }
  },

  async mixedEnd(env) {
    const db = connect(env.TEMPEST, 'mixed');
    return { count: await db.scan().count(), openScans: (await db.stats()).openScans };
  },

  async openScans(env, store) {
    return (await connect(env.TEMPEST, store).stats()).openScans;
  },

  /** Leaves scans open behind it. */
  async leaveScans(env, store) {
    const db = connect(env.TEMPEST, store);
    await db.batch(numbered(20000));
    for (let i = 0; i < 60; i++) await db.scan()[Symbol.asyncIterator]().next();
    return (await db.stats()).openScans;
  },

  /** What connections close, ends with them. */
  async sessions(env) {
    const watcher = connect(env.TEMPEST, 'sessions');
    await watcher.batch(numbered(20000));
    const one = connect(env.TEMPEST, 'sessions');
    const two = connect(env.TEMPEST, 'sessions');
    const iterators = [one, two].map((db) => db.scan()[Symbol.asyncIterator]());
    for (const iterator of iterators) equal((await iterator.next()).value, ['k0000000', 0]);
    equal((await watcher.stats()).openScans, 2);
    await one.close();
    await rejects(one.get('k0000000'), { code: 'TEMPEST_CLOSED' });
    equal((await watcher.stats()).openScans, 1);
    let count = 1;
    while (!(await iterators[1].next()).done) count++;
    equal(count, 20000);
    equal(await two.get('k0000000'), 0);
  },

  async large(env) {
    const db = connect(env.TEMPEST, 'large', { valueEncoding: 'view' });
    const most = (16 << 20) - 100;
    const results = await Promise.allSettled([db.put('before', new Uint8Array(9)), db.put('large', new Uint8Array(17 << 20)), db.put('after', new Uint8Array(9))]);
    equal(results.map(({ status, reason }) => reason?.code ?? status), ['fulfilled', 'TEMPEST_INVALID_ARGUMENT', 'fulfilled']);
    await db.put('most', new Uint8Array(most).fill(3));
    equal((await db.get('most')).length, most);
    await db.put('more', new Uint8Array(most).fill(4));
    // More than one message carries, as one answer and as several.
    await rejects(db.getMany(['most', 'more', 'before']), { code: 'TEMPEST_INVALID_ARGUMENT', message: /ask for less/ });
    const values = await Promise.all(['most', 'more', 'before', 'most', 'after'].map((key) => db.get(key)));
    equal(values.map((value) => value.length), [most, most, 9, most, 9]);
    await db.destroy();
  },

  /** A store that is full says so, goes on reading, and writes again when it is emptied. */
  async full(env) {
    const db = connect(env.TINY, 'full', { valueEncoding: 'view' });
    let count = 0;
    const fill = async () => {
      for (; count < 200; count++) await db.put(`k${count}`, new Uint8Array(64 << 10).fill(count));
    };
    await rejects(fill(), { code: 'TEMPEST_QUOTA_EXCEEDED' });
    ok(count > 5, String(count));
    equal((await db.get('k0')).length, 64 << 10);
    equal(await db.scan().count(), count);
    await db.destroy();
    const emptied = connect(env.TINY, 'full', { valueEncoding: 'view' });
    await emptied.put('k', new Uint8Array(64 << 10));
    await emptied.destroy();
  },

  async destroyed(env) {
    const one = connect(env.PROBE, 'destroyed');
    const two = connect(env.PROBE, 'destroyed');
    await one.put('k', 1);
    equal(await two.get('k'), 1);
    await one.destroy();
    await one.destroy();
    await rejects(one.get('k'), { code: 'TEMPEST_CLOSED' });
    await rejects(two.get('k'), { code: 'TEMPEST_WORKER_DIED', message: /deleted/ });
    equal(await probeOf(env, 'destroyed').tables(), []);
    const three = connect(env.PROBE, 'destroyed');
    equal(await three.get('k'), undefined);
    await three.put('k', 2);
    await connect(env.PROBE, 'destroyed').destroy();
  },

  /** Each call says what is wrong with a damaged store, and nothing is changed by it. */
  async damaged(env) {
    await connect(env.PROBE, 'damaged').batch(numbered(100));
    const probe = () => probeOf(env, 'damaged');
    const reset = () => probe().reset().catch(() => undefined);
    await probe().damage();
    const before = await probe().fingerprint();
    await reset();
    for (let i = 0; i < 2; i++) {
      const db = connect(env.PROBE, 'damaged');
      const calls = [db.get('k0000001'), db.put('k', 1), db.scan().toArray(), db.stats()];
      for (const call of calls) await rejects(call, { name: 'TempestError', code: 'TEMPEST_CORRUPTION' });
    }
    equal(await probe().fingerprint(), before);
    await probe().damage();
    equal(await connect(env.PROBE, 'damaged').scan().count(), 100, 'it is tried again for each connection');
  },

  /** A class of its own has methods that use the store in place, beside those who are connected. */
  async inside(env) {
    const probe = probeOf(env, 'inside');
    const db = connect(env.PROBE, 'inside');
    equal(await probe.count(2), 2);
    equal(await db.get('count'), 2);
    await db.put('count', 40);
    equal(await probe.count(2), 42);
    await db.destroy();
    equal(await probe.count(1), 1);
  },

  async rows(env) {
    const db = connect(env.PROBE, 'rows');
    const probe = probeOf(env, 'rows');
    await db.get('k');
    await probe.rows();
    const value = (i) => `${i}`.padEnd(100, '.');
    for (let batch = 0; batch < 10; batch++) await db.batch(numbered(100, value, batch * 100));
    const batches = await probe.rows();
    for (let i = 0; i < 1000; i++) await db.put(`k${String(i).padStart(7, '0')}`, value(i));
    return { batches, alone: await probe.rows() };
  },

  /** A store in the bucket under its name: values that do not compress. */
  async backUp(env, store, count, partBytes) {
    const db = connect(env.PROBE, store);
    for (let from = 0; from < count; from += 500) await db.batch(numbered(500, noise, from));
    await db.sub('users', { keyEncoding: 'tuple' }).put(['id', 1], 'Ada');
    const progress = [];
    const size = await exportToBucket(db, env.BACKUPS, store, { partBytes, onProgress: ({ bytes, totalBytes }) => progress.push([bytes, totalBytes]) });
    equal(progress.at(-1), [size, size]);
    equal((await db.stats()).snapshots, 0);
    return { size, stored: (await env.BACKUPS.head(store)).size };
  },

  async restore(env, key, store, options) {
    const progress = [];
    const { body, size } = await env.BACKUPS.get(key);
    await importStore(env.PROBE, store, body, { ...options, onProgress: ({ bytes }) => progress.push(bytes) });
    equal(progress.at(-1), size);
    ok(progress.every((bytes, i) => bytes - (progress[i - 1] ?? 0) === 1 << 20 || bytes === size), 'in pieces of 1 MiB');
    const db = connect(env.PROBE, store);
    let count = 0;
    for await (const [key, value] of db.scan()) equal([key, value], [`k${String(count).padStart(7, '0')}`, noise(count++)]);
    equal(await db.sub('users', { keyEncoding: 'tuple' }).scan().toArray(), [[['id', 1], 'Ada']]);
    equal((await db.verify()).problems, []);
    await db.put('z', 1);
    equal(await probeOf(env, store).tables(), ['pages']);
    return count;
  },

  async badBackups(env, key) {
    const backup = new Uint8Array(await (await env.BACKUPS.get(key)).arrayBuffer());
    const altered = backup.slice();
    altered[backup.length >> 1] ^= 1;
    const pieces = function* (bytes, then = () => undefined) {
      for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
      then();
    };
    const half = backup.subarray(0, backup.length >> 1);
    for (const bad of [altered, half, backup.subarray(0, -1), new Uint8Array(0), new Uint8Array(70_000)]) {
      await rejects(importStore(env.PROBE, 'bad', pieces(bad)), { code: 'TEMPEST_CORRUPTION' });
      equal(await probeOf(env, 'bad').tables(), ['pages']);
    }
    await rejects(importStore(env.PROBE, 'bad', pieces(half, () => { throw new Error('lost'); })), { message: 'lost' });
    await rejects(importStore(env.TINY, 'bad', pieces(backup)), { code: 'TEMPEST_QUOTA_EXCEEDED' });
    const stub = probeOf(env, 'bad');
    await rejects(importStore(env.PROBE, 'bad', null), { name: 'TypeError' });
    await rejects(importStore(env.PROBE, 'bad', [backup], { replace: 1 }), { name: 'TypeError', message: /replace/ });
    await rejects(importStore({}, 'bad', [backup]), { name: 'TypeError', message: /binding/ });
    await rejects(exportToBucket(connect(env.PROBE, 'bad'), {}, 'bad'), { name: 'TypeError', message: /R2 bucket/ });
    await rejects(exportToBucket(connect(env.PROBE, 'bad'), env.BACKUPS, 'bad', { partBytes: 1 }), { name: 'RangeError' });
    const db = connect(env.PROBE, 'bad');
    equal([await db.scan().count(), await stub.tables()], [0, ['pages']]);
    await importStore(env.PROBE, 'bad', pieces(backup));
    await rejects(db.get('k0000000'), { code: 'TEMPEST_WORKER_DIED', message: /taken the place/ });
    equal(await connect(env.PROBE, 'bad').get('k0000001'), noise(1));
  },

  /** A store is there, and used, until another has come whole. */
  async replaced(env, key) {
    const db = connect(env.PROBE, 'replaced');
    await db.put('precious', 1);
    const backup = async () => (await env.BACKUPS.get(key)).body;
    await rejects(importStore(env.PROBE, 'replaced', await backup()), { code: 'TEMPEST_INVALID_ARGUMENT', message: /replace: true/ });
    const bytes = new Uint8Array(await new Response(await backup()).arrayBuffer());
    const slowly = async function* (isWhole) {
      yield bytes.subarray(0, bytes.length >> 1);
      await db.put('during', isWhole);
      equal(await db.get('precious'), 1);
      equal(await probeOf(env, 'replaced').tables(), ['pages', 'pages_import']);
      await rejects(importStore(env.PROBE, 'replaced', [bytes], { replace: true }), { code: 'TEMPEST_BUSY' });
      if (!isWhole) throw new Error('lost');
      yield bytes.subarray(bytes.length >> 1);
    };
    await rejects(importStore(env.PROBE, 'replaced', slowly(false), { replace: true }), { message: 'lost' });
    equal(await db.scan().keys().toArray(), ['during', 'precious']);
    await importStore(env.PROBE, 'replaced', slowly(true), { replace: true });
    await rejects(db.get('precious'), { code: 'TEMPEST_WORKER_DIED' });
    const copy = connect(env.PROBE, 'replaced');
    equal([await copy.get('precious'), await copy.get('during'), await copy.get('k0000002')], [undefined, undefined, noise(2)]);

    // An empty store that is written to while the backup comes is not lost.
    const written = connect(env.PROBE, 'written');
    const meanwhile = async function* () {
      yield bytes.subarray(0, 200_000);
      await written.put('k', 1);
      yield bytes.subarray(200_000);
    };
    await rejects(importStore(env.PROBE, 'written', meanwhile()), { code: 'TEMPEST_INVALID_ARGUMENT' });
    equal(await written.scan().toArray(), [['k', 1]]);

    // A store that is deleted meanwhile takes the import with it.
    const doomed = async function* () {
      yield bytes.subarray(0, 200_000);
      await written.destroy();
      yield bytes.subarray(200_000);
    };
    await rejects(importStore(env.PROBE, 'written', doomed(), { replace: true }), { name: 'TempestError' });
    equal(await connect(env.PROBE, 'written').scan().count(), 0);

    // A damaged store can be replaced.
    await probeOf(env, 'written').damage();
    await probeOf(env, 'written').reset().catch(() => undefined);
    await rejects(importStore(env.PROBE, 'written', [bytes]), { code: 'TEMPEST_CORRUPTION' });
    await importStore(env.PROBE, 'written', [bytes], { replace: true });
    equal(await connect(env.PROBE, 'written').get('k0000003'), noise(3));
  },

  async inPlace(env, key) {
    const probe = probeOf(env, 'in place');
    await probe.count(5);
    const { size, count } = await probe.swap('in place', key);
    equal((await env.BACKUPS.head('in place')).size, size);
    await importStore(env.PROBE, 'from place', (await env.BACKUPS.get('in place')).body);
    equal(await connect(env.PROBE, 'from place').scan().toArray(), [['count', 5]]);
    return count;
  },

  /** An export that fails leaves nothing in the bucket. */
  async lostExport(env, partBytes) {
    const db = connect(env.PROBE, 'lost export');
    for (let from = 0; from < 12_000; from += 500) await db.batch(numbered(500, noise, from));
    let pieces = 0;
    const dies = exportToBucket(db, env.BACKUPS, 'lost', { partBytes, onProgress: () => void (++pieces === 7 && probeOf(env, 'lost export').reset().catch(() => undefined)) });
    await rejects(dies, { code: 'TEMPEST_WORKER_DIED' });
    const controller = new AbortController();
    const again = connect(env.PROBE, 'lost export');
    const aborted = exportToBucket(again, env.BACKUPS, 'lost', { partBytes, signal: controller.signal, onProgress: () => controller.abort() });
    await rejects(aborted, { name: 'AbortError' });
    equal(await env.BACKUPS.head('lost'), null);
    equal((await again.stats()).snapshots, 0);
  },

  /** Begins an import that ends with nothing but this request. */
  async leaveImport(env, store) {
    const backup = new Uint8Array(await (await env.BACKUPS.get('kept')).arrayBuffer());
    const source = new ReadableStream({
      pull(controller) {
        controller.enqueue(backup.subarray(0, backup.length >> 1));
        this.pull = () => new Promise(() => undefined);
      },
    });
    let begun;
    const isBegun = new Promise((resolve) => (begun = resolve));
    importStore(env.PROBE, store, source, { replace: true, onProgress: begun }).catch(() => undefined);
    await isBegun;
    return probeOf(env, store).tables();
  },

  /** An object is reset in the middle of an import. */
  async resetImport(env, store) {
    const backup = new Uint8Array(await (await env.BACKUPS.get('kept')).arrayBuffer());
    const source = async function* () {
      yield backup.subarray(0, backup.length >> 1);
      yield new Uint8Array(0);
      equal(await probeOf(env, store).tables(), ['pages', 'pages_import']);
      await probeOf(env, store).reset().catch(() => undefined);
      yield backup.subarray(backup.length >> 1);
    };
    await rejects(importStore(env.PROBE, store, source(), { replace: true }), { code: 'TEMPEST_WORKER_DIED' });
    const count = await connect(env.PROBE, store).scan().count();
    equal(await probeOf(env, store).tables(), ['pages']);
    return count;
  },

  async tables(env, store) {
    return probeOf(env, store).tables();
  },

  /** What clients with connections of their own did and saw; see history_test.go. */
  async history(env, store, seed) {
    const databases = Array.from({ length: 4 }, () => connect(env.TINY, store, { valueEncoding: 'utf8' }));
    return record(databases, { seed });
  },

  /** Leaves work behind: tables to be merged, and nobody who waits for it. */
  async leaveWork(env, store, count) {
    const db = connect(env.STEPS, store);
    const errors = [];
    db.addEventListener('error', ({ detail }) => errors.push(detail.message));
    for (let from = 0; from < count; from += 500) await db.batch(numbered(500, noise, from));
    // It goes on when its caller has gone.
    db.compact().catch(() => undefined);
    equal(await db.get('k0000001'), noise(1));
    equal(errors, []);
  },

  async steps(env, store) {
    return env.STEPS.get(env.STEPS.idFromName(store)).steps();
  },

  /** Checks all of a store that `leaveWork` has filled, and that all of it is merged where it was not reset. */
  async afterWork(env, store, count, isReset) {
    if (isReset) await env.STEPS.get(env.STEPS.idFromName(store)).reset().catch(() => undefined);
    const db = connect(env.STEPS, store);
    let at = 0;
    for await (const [key, value] of db.scan()) equal([key, value], [`k${String(at).padStart(7, '0')}`, noise(at++)]);
    equal(at, count);
    equal((await db.verify()).problems, []);
    return db.stats();
  },

  async startWork(env, steps) {
    await env.BUSY.get(env.BUSY.idFromName('busy')).start(steps);
  },

  async work(env) {
    return env.BUSY.get(env.BUSY.idFromName('busy')).state();
  },

  async device(env, seed, count) {
    return env.PLAIN.get(env.PLAIN.idFromName(`device ${seed}`)).device(seed, count);
  },

  async quota(env) {
    await env.PLAIN.get(env.PLAIN.idFromName('quota')).quota();
  },
};

export default {
  async fetch(request, env) {
    const { name, args } = await request.json();
    try {
      return Response.json({ value: await functions[name](env, ...args) });
    } catch (error) {
      return Response.json({ error: { name: error.name, code: error.code, message: `${error.message}\n${error.stack}` } });
    }
  },
};

import { equal, ok, random, rejects, throws } from './assert.mjs';

/** The pieces of a stream, as one array. */
async function bytesOf(stream) {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const numbered = (count) => Array.from({ length: count }, (_, i) => `k${String(i).padStart(5, '0')}`);

/** A store with something of everything. */
async function filled(open, options) {
  const db = await open(undefined, options);
  const keys = numbered(3000);
  await db.batch(keys.map((key, i) => ({ type: 'put', key, value: { i, text: 'x'.repeat(i % 50) } })));
  await db.flush();
  await db.clear({ gte: keys[100], lt: keys[200] });
  await db.delete(keys[0]);
  const users = db.sub('users', { keyEncoding: 'tuple' });
  await users.put(['id', 1], 'Ada');
  await db.put('soon gone', 1, { ttl: 3_600_000 });
  return db;
}

export default {
  'a store comes back from its backup as it was': async ({ open, name, importStore }) => {
    const db = await filled(open);
    const entries = await db.scan().toArray();
    const sequence = (await db.stats()).sequence;
    const progress = [];
    const stream = db.export({ onProgress: (state) => progress.push(state) });
    // What is written after the call is not in it.
    await db.clear();
    await db.put('late', 1);
    const backup = await bytesOf(stream);
    const last = progress.at(-1);
    equal(last.bytes, backup.length);
    ok(last.totalBytes === undefined || last.totalBytes === backup.length);
    ok(progress.every(({ bytes }, i) => i === 0 || bytes >= progress[i - 1].bytes));
    const below = random(8);
    const pieces = function* () {
      for (let at = 0, size; at < backup.length; at += size) yield backup.subarray(at, at + (size = 1 + below(100_000)));
    };
    for (const source of [[backup], pieces(), new Blob([backup]).stream()]) {
      const store = name();
      const told = [];
      await importStore(store, source, { onProgress: ({ bytes }) => told.push(bytes) });
      equal(told.at(-1), backup.length);
      const copy = await open(store);
      equal(copy.recovery, { sequence, droppedBytes: 0, report: '' });
      equal(await copy.scan().toArray(), entries);
      equal(await copy.sub('users', { keyEncoding: 'tuple' }).scan().toArray(), [[['id', 1], 'Ada']]);
      equal((await copy.verify()).problems, []);
      ok((await copy.put('new', 1)) > sequence);
      await copy.destroy();
    }
    await db.close();
  },

  'a backup goes straight from one store to another': async ({ open, name, importStore }) => {
    const db = await filled(open);
    const store = name();
    await importStore(store, db.export());
    const copy = await open(store);
    equal(await copy.scan().toArray(), await db.scan().toArray());
    await copy.close();
    await db.close();
    const empty = await open();
    const other = name();
    await importStore(other, empty.export());
    const nothing = await open(other);
    equal(await nothing.scan().count(), 0);
    await nothing.close();
    await empty.close();
  },

  'a backup that is cut short or altered is refused whole': async ({ open, name, importStore }) => {
    const db = await filled(open);
    const backup = await bytesOf(db.export());
    await db.close();
    const below = random(9);
    const altered = (at) => {
      const bytes = backup.slice();
      bytes[at] ^= 1 << below(8);
      return bytes;
    };
    const cut = [0, 1, 63, 64, 65536, backup.length - 1, backup.length - 65536].map((size) => backup.subarray(0, Math.max(0, size)));
    const bad = [
      ...cut,
      ...Array.from({ length: 12 }, () => altered(below(backup.length))),
      altered(backup.length - 1),
      altered(0),
      new Uint8Array([...backup.subarray(0, 200_000), 0]),
      new Uint8Array(100_000),
      new TextEncoder().encode('{"key":"a","value":1}\n'),
    ];
    const store = name();
    for (const bytes of bad) {
      await rejects(importStore(store, [bytes]), { name: 'TempestError', code: 'TEMPEST_CORRUPTION' });
    }
    const longer = new Uint8Array(backup.length + 1);
    longer.set(backup);
    await rejects(importStore(store, [longer]), { code: 'TEMPEST_CORRUPTION' });
    const db2 = await open(store);
    equal([await db2.scan().count(), db2.recovery.sequence], [0, 0], 'nothing half imported');
    await db2.destroy();
    await importStore(store, [backup]);
    const copy = await open(store);
    equal(await copy.scan().count(), 2900);
    await copy.close();
  },

  'an import never writes over a store': async ({ open, name, importStore }) => {
    const store = name();
    const db = await open(store);
    await db.put('precious', 1);
    const backup = await bytesOf(db.export());
    await rejects(importStore(store, [backup], { lockWaitMillis: 20 }), { code: 'TEMPEST_LOCKED' });
    equal(await db.get('precious'), 1);
    await db.put('more', 1);
    await db.close();
    await rejects(importStore(store, [backup]), { code: 'TEMPEST_INVALID_ARGUMENT' });
    const again = await open(store);
    equal(await again.scan().keys().toArray(), ['more', 'precious']);
    await again.destroy();
    await importStore(store, [backup]);
    const copy = await open(store);
    equal(await copy.scan().keys().toArray(), ['precious']);
    await copy.close();
  },

  'an export or an import that is given up leaves nothing behind': async ({ open, name, importStore }) => {
    const db = await filled(open);
    const reader = db.export().getReader();
    await reader.read();
    await reader.cancel();
    await db.export().cancel();
    const controller = new AbortController();
    const aborted = db.export({ signal: controller.signal }).getReader();
    await aborted.read();
    controller.abort();
    await rejects((async () => { for (;;) if ((await aborted.read()).done) return; })(), { name: 'AbortError' });
    throws(() => db.export({ signal: AbortSignal.abort(new Error('early')) }), { message: 'early' });
    throws(() => db.export({ speed: 1 }), { name: 'TypeError' });
    equal((await db.stats()).snapshots, 0);

    const backup = await bytesOf(db.export());
    const store = name();
    const half = function* (then) {
      yield backup.subarray(0, backup.length >> 1);
      then();
      yield backup.subarray(backup.length >> 1);
    };
    const giveUp = new AbortController();
    await rejects(importStore(store, half(() => giveUp.abort()), { signal: giveUp.signal }), { name: 'AbortError' });
    await rejects(importStore(store, half(() => { throw new Error('lost'); })), { message: 'lost' });
    await rejects(importStore(store, [backup], { signal: AbortSignal.abort(new Error('early')) }), { message: 'early' });
    const never = new AbortController();
    const waiting = importStore(store, new ReadableStream(), { signal: never.signal });
    never.abort();
    await rejects(waiting, { name: 'AbortError' });
    for (const source of [undefined, null, 5, 'text', ['text'], [1]]) await rejects(importStore(store, source), { name: 'TypeError' });
    await rejects(importStore(store, [backup], { speed: 1 }), { name: 'TypeError' });
    await rejects(importStore('', [backup]), { name: 'RangeError' });
    const empty = await open(store);
    equal(await empty.scan().count(), 0);
    await empty.close();
    await db.close();
    await rejects(db.export().getReader().read(), { code: 'TEMPEST_CLOSED' });
  },
};

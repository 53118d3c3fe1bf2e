// The whole way on the built package: page, worker, engine, file, and back after a reload.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Setting } from './harness.mjs';

describe('a page', () => {
  let setting;
  let page;

  before(async () => {
    setting = await Setting.begin();
    page = await setting.page();
  });

  after(async () => {
    const failures = page?.failures;
    await setting?.end();
    assert.deepEqual(failures, []);
  });

  test('writes, reads, scans and deletes, and finds it all again after a reload', async () => {
    await page.evaluate(async () => {
      const { open } = await import('/dist/index.js');
      const db = await open('notes');
      await db.put('user:1', { name: 'Ada' });
      await db.batch([
        { type: 'put', key: 'user:2', value: { name: 'Grace' } },
        { type: 'put', key: 'user:3', value: { name: 'Edsger' } },
        { type: 'put', key: 'zebra', value: 7 },
      ]);
      await db.delete('user:2');
    });
    await page.reload();
    const found = await page.evaluate(async () => {
      const { open } = await import('/dist/index.js');
      const db = await open('notes');
      const found = {
        storage: db.storage,
        supports: db.supports,
        one: await db.get('user:1'),
        missing: await db.get('user:2'),
        many: await db.getMany(['zebra', 'user:2', 'user:3']),
        users: await db.scan({ prefix: 'user:' }).toArray(),
        backwards: await db.scan({ reverse: true, limit: 2 }).keys().toArray(),
      };
      await db.close();
      return found;
    });
    assert.deepEqual(found, {
      storage: 'opfs',
      supports: { persistent: true, strict: true },
      one: { name: 'Ada' },
      missing: undefined,
      many: [7, undefined, { name: 'Edsger' }],
      users: [
        ['user:1', { name: 'Ada' }],
        ['user:3', { name: 'Edsger' }],
      ],
      backwards: ['zebra', 'user:3'],
    });
  });

  test('makes calls before the engine is there, which wait for it', async () => {
    const found = await page.evaluate(async () => {
      const { open } = await import('/dist/index.js');
      return Promise.all(['early:1', 'early:2'].map((name) => open(name).then((db) => db.put('k', name).then(() => db.get('k')))));
    });
    assert.deepEqual(found, ['early:1', 'early:2']);
  });

  test('loads 100,000 records, is reloaded, and reads every one of them back equal', async () => {
    const COUNT = 100_000;
    await page.evaluate(async (count) => {
      const { open } = await import('/dist/index.js');
      const { load } = await import('/pages/records.js');
      await load(await open('large'), 0, count);
    }, COUNT);
    await page.reload();
    const found = await page.evaluate(async (count) => {
      const { open } = await import('/dist/index.js');
      const { keyOf, recordOf, isEqual } = await import('/pages/records.js');
      const db = await open('large');
      const unequal = [];
      let scanned = 0;
      for await (const [key, value] of db.scan()) {
        if (key !== keyOf(scanned) || !isEqual(value, recordOf(scanned))) unequal.push(key);
        scanned++;
      }
      const keys = Array.from({ length: count }, (_, i) => keyOf(i));
      let got = 0;
      for (let start = 0; start < count; start += 1000) {
        for (const value of await db.getMany(keys.slice(start, start + 1000))) {
          if (!isEqual(value, recordOf(got))) unequal.push(keyOf(got));
          got++;
        }
      }
      const counted = await db.scan().count();
      await db.destroy();
      return { scanned, got, counted, unequal: unequal.slice(0, 10) };
    }, COUNT);
    assert.deepEqual(found, { scanned: COUNT, got: COUNT, counted: COUNT, unequal: [] });
  });

  test('leaves a scan early, which frees its snapshot', async () => {
    const open = await page.evaluate(async () => {
      const { open } = await import('/dist/index.js');
      const { load } = await import('/pages/records.js');
      const db = await open('scans');
      await load(db, 0, 20_000);
      const counts = [];
      const count = async () => counts.push((await db.stats()).openScans);
      await count();
      for await (const [key] of db.scan()) {
        await count();
        break;
      }
      await count();
      try {
        for await (const [key] of db.scan()) throw new Error(key);
      } catch {
        await count();
      }
      const controller = new AbortController();
      try {
        for await (const [key] of db.scan({ signal: controller.signal })) controller.abort(new Error(key));
      } catch {
        await count();
      }
      // To its end, and many at once.
      await Promise.all(Array.from({ length: 60 }, () => db.scan({ reverse: true }).count()));
      await count();
      await db.destroy();
      return counts;
    });
    assert.deepEqual(open, [0, 1, 0, 0, 0, 0]);
  });

  test('stands still in a scan while 10,000 puts go through, and sees none of them', async () => {
    const found = await page.evaluate(async () => {
      const { open } = await import('/dist/index.js');
      const { keyOf, recordOf, load, isEqual } = await import('/pages/records.js');
      const db = await open('slow', { memtableBytes: 1 << 20 });
      const COUNT = 30_000;
      await load(db, 0, COUNT);
      const slow = db.scan()[Symbol.asyncIterator]();
      const seen = [(await slow.next()).value];
      // Over what the scan has yet to read, between it, and behind it.
      const puts = [];
      for (let i = 0; i < 10_000; i++) {
        if (i % 3 === 0) puts.push(db.put(keyOf(i * 3), 'new'));
        else if (i % 3 === 1) puts.push(db.put(`${keyOf(i * 3)}:between`, 'new'));
        else puts.push(db.delete(keyOf(i * 3)));
      }
      await Promise.all(puts);
      const now = { count: await db.scan().count(), one: await db.get(keyOf(9)), openScans: (await db.stats()).openScans };
      for (let next = await slow.next(); !next.done; next = await slow.next()) seen.push(next.value);
      const unequal = seen.filter(([key, value], i) => key !== keyOf(i) || !isEqual(value, recordOf(i)));
      await db.destroy();
      return { puts: puts.length, seen: seen.length, unequal: unequal.length, now };
    });
    assert.deepEqual(found, { puts: 10_000, seen: 30_000, unequal: 0, now: { count: 30_000, one: 'new', openScans: 1 } });
  });

  test('keeps two stores side by side', async () => {
    const found = await page.evaluate(async () => {
      const { open, destroy } = await import('/dist/index.js');
      const [a, b] = await Promise.all([open('side-a'), open('side-b')]);
      await Promise.all(Array.from({ length: 1000 }, (_, i) => Promise.all([a.put(`k${i}`, 'a'), b.put(`k${i}`, 'b')])));
      await a.delete('k500');
      await a.destroy();
      const left = [await b.scan().count(), await b.get('k500')];
      await b.close();
      const again = await open('side-b');
      left.push(await again.scan().count(), await (await open('side-a')).scan().count());
      await again.close();
      await destroy('side-b');
      return left;
    });
    assert.deepEqual(found, [1000, 'b', 1000, 0]);
  });

  test('keeps binary keys in the order of their bytes, the empty key, and values of 1 MiB', async () => {
    const write = async () => {
      const { open } = await import('/dist/index.js');
      const { bytesOf } = await import('/pages/records.js');
      const db = await open('binary', { keyEncoding: 'view', valueEncoding: 'view' });
      const operations = Array.from({ length: 256 }, (_, i) => ({ type: 'put', key: Uint8Array.of(255 - i), value: Uint8Array.of(i, 0, 255) }));
      operations.push({ type: 'put', key: new Uint8Array(0), value: new Uint8Array(0) });
      await db.batch(operations);
      await db.put(new Uint8Array(64 << 10).fill(1), new Uint8Array(1));
      await Promise.all(Array.from({ length: 12 }, (_, i) => db.put(Uint8Array.of(128, i), bytesOf(1 << 20, i + 1))));
    };
    const read = async () => {
      const { open } = await import('/dist/index.js');
      const { bytesOf, isEqual } = await import('/pages/records.js');
      const db = await open('binary', { keyEncoding: 'view', valueEncoding: 'view' });
      const keys = await db.scan().keys().toArray();
      const found = {
        short: keys.filter((key) => key.length <= 1).map((key) => key[0] ?? -1),
        empty: await db.get(new Uint8Array(0)),
        longest: (await db.get(new Uint8Array(64 << 10).fill(1)))?.length,
        value: await db.get(Uint8Array.of(3)),
        equal: [],
      };
      for (let i = 0; i < 12; i++) found.equal.push(isEqual(await db.get(Uint8Array.of(128, i)), bytesOf(1 << 20, i + 1)));
      for await (const [[, i], value] of db.scan({ gte: Uint8Array.of(128, 0), lt: Uint8Array.of(129) })) found.equal.push(isEqual(value, bytesOf(1 << 20, i + 1)));
      await db.destroy();
      return { ...found, empty: [...found.empty], value: [...found.value] };
    };
    await page.evaluate(write);
    await page.reload();
    assert.deepEqual(await page.evaluate(read), {
      short: Array.from({ length: 257 }, (_, i) => i - 1),
      empty: [],
      longest: 1,
      value: [252, 0, 255],
      equal: Array.from({ length: 24 }, () => true),
    });
  });

  test('is served with a strict content security policy', async () => {
    const strict = await setting.page('/strict-policy');
    const found = await strict.evaluate(async () => {
      const { open } = await import('/dist/index.js');
      const db = await open('policy');
      await db.put('k', { is: 'kept' });
      const value = await db.get('k');
      await db.destroy();
      return value;
    });
    assert.deepEqual(found, { is: 'kept' });
    assert.deepEqual(strict.failures, []);
    await strict.close();
  });
});

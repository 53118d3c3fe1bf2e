import { equal, ok, rejects, throws } from './assert.mjs';

const numbered = (count) => Array.from({ length: count }, (_, i) => `k${String(i).padStart(5, '0')}`);
const openSnapshots = async (db) => (await db.stats()).snapshots;

export default {
  'a snapshot stays as it was': async ({ open }) => {
    const db = await open();
    const users = db.sub('users');
    await db.batch([{ type: 'put', key: 'a', value: 1 }, { type: 'put', key: 'b', value: 1 }, { type: 'put', sub: users, key: 'u', value: 1 }]);
    const seq = await db.put('c', 1);
    const snapshot = await db.snapshot();
    equal(snapshot.seq, seq);
    await db.put('a', 2);
    await db.delete('b');
    await db.put('d', 2);
    await users.clear();
    const check = async () => {
      equal(await snapshot.get('a'), 1);
      equal(await snapshot.getMany(['d', 'b', 'a']), [undefined, 1, 1]);
      equal(await snapshot.scan().toArray(), [['a', 1], ['b', 1], ['c', 1]]);
      equal(await snapshot.scan({ reverse: true, limit: 2 }).keys().toArray(), ['c', 'b']);
      const seen = [];
      for await (const [key] of snapshot.scan({ gt: 'a' })) seen.push(key);
      equal(seen, ['b', 'c']);
      equal([await snapshot.count(), await snapshot.count({ lt: 'b' })], [3, 1]);
      equal(await snapshot.in(users).scan().toArray(), [['u', 1]]);
      equal(await snapshot.in(users).in(db).get('b'), 1);
    };
    await check();
    await db.clear();
    await db.put('a', 3);
    await check();
    equal(await snapshot.get(new Uint8Array([97]), { keyEncoding: 'view', valueEncoding: 'view' }), new Uint8Array([1]));
    equal(await openSnapshots(db), 1);
    await snapshot.close();
    equal(await openSnapshots(db), 0);
    equal(await db.scan().toArray(), [['a', 3]]);
    await db.close();
  },

  'a snapshot survives flushes and compactions': async ({ open }) => {
    const db = await open();
    const keys = numbered(2000);
    await db.batch(keys.map((key) => ({ type: 'put', key, value: 'old' })));
    const snapshot = await db.snapshot();
    await db.flush();
    await db.batch(keys.map((key, i) => (i % 2 ? { type: 'put', key, value: 'new' } : { type: 'delete', key })));
    await db.clear({ gte: keys[1000] });
    await db.flush();
    await db.compact();
    equal(await db.count(), 500);
    equal(await snapshot.count(), 2000);
    equal(await snapshot.get(keys[1998]), 'old');
    equal(await db.get(keys[1998]), undefined);
    equal((await snapshot.scan().values().toArray()).every((value) => value === 'old'), true);
    await snapshot.close();
    await db.compact();
    equal(await db.scan().keys().toArray(), keys.filter((_, i) => i < 1000 && i % 2));
    equal((await db.verify()).problems, []);
    await db.close();
  },

  'a snapshot that is closed': async ({ open }) => {
    const db = await open();
    await db.batch(numbered(3000).map((key) => ({ type: 'put', key, value: 1 })));
    const snapshot = await db.snapshot();
    const iterator = snapshot.scan().keys()[Symbol.asyncIterator]();
    await iterator.next();
    const scan = snapshot.scan();
    await Promise.all([snapshot.close(), snapshot.close()]);
    for (const call of [snapshot.get('a'), snapshot.getMany(['a']), snapshot.count(), scan.toArray(), snapshot.scan().count(), snapshot.in(db).get('a')]) {
      await rejects(call, { name: 'TempestError', code: 'TEMPEST_CLOSED' });
    }
    let count = 1;
    while (!(await iterator.next()).done) count++;
    equal(count, 3000, 'a pass that has begun goes on');
    if (Symbol.asyncDispose !== undefined) {
      const other = await db.snapshot();
      await other[Symbol.asyncDispose]();
      await rejects(other.get('a'), { code: 'TEMPEST_CLOSED' });
    }
    const last = await db.snapshot();
    await db.close();
    await rejects(last.get('a'), { code: 'TEMPEST_CLOSED' });
    await last.close();
    await rejects(db.snapshot(), { code: 'TEMPEST_CLOSED' });
  },

  'snapshots and signals': async ({ open }) => {
    const db = await open();
    const reason = new Error('enough');
    await rejects(db.snapshot({ signal: AbortSignal.abort(reason) }), { message: 'enough' });
    const controller = new AbortController();
    const opening = db.snapshot({ signal: controller.signal });
    controller.abort();
    await rejects(opening, { name: 'AbortError' });
    const snapshot = await db.snapshot({ signal: new AbortController().signal });
    const aborted = { signal: AbortSignal.abort(reason) };
    for (const call of [snapshot.get('a', aborted), snapshot.getMany(['a'], aborted), snapshot.count(aborted), snapshot.scan(aborted).toArray()]) {
      await rejects(call, { message: 'enough' });
    }
    for (const call of [snapshot.get(5), snapshot.getMany(5), snapshot.count({ limit: 5 }), snapshot.get('a', { durability: 'strict' })]) {
      await rejects(call, { name: 'TypeError' });
    }
    throws(() => snapshot.scan({ from: 5 }), { name: 'TypeError' });
    throws(() => snapshot.in('users'), { name: 'TypeError' });
    const other = await open();
    throws(() => snapshot.in(other), { name: 'TypeError', message: /another database/ });
    await other.close();
    await snapshot.close();
    equal(await openSnapshots(db), 0);
    await db.close();
  },

  'ranges are cleared at once': async ({ open, name }) => {
    const store = name();
    let db = await open(store);
    const keys = numbered(1000);
    const fill = () => db.batch(keys.map((key) => ({ type: 'put', key, value: 1 })));
    const cases = [
      [{ gte: keys[10], lt: keys[20] }, (i) => i < 10 || i >= 20],
      [{ gt: keys[10], lte: keys[20] }, (i) => i <= 10 || i > 20],
      [{ prefix: 'k0000' }, (i) => i >= 10],
      [{ prefix: 'k000', gt: keys[50] }, (i) => i <= 50 || i >= 100],
      [{ gt: keys[20], lt: keys[10] }, () => true],
      [{ lt: keys[500] }, (i) => i >= 500],
      [{}, () => false],
    ];
    for (const [range, stays] of cases) {
      const before = await fill();
      ok((await db.clear(range)) >= before);
      equal(await db.scan().keys().toArray(), keys.filter((_, i) => stays(i)));
    }
    await fill();
    const sequence = await db.batch([
      { type: 'put', key: 'a', value: 1 },
      { type: 'clear' },
      { type: 'put', key: keys[7], value: 'later' },
      { type: 'clear', range: { prefix: 'x' } },
    ]);
    equal(await db.scan().toArray(), [[keys[7], 'later']]);
    await db.close();
    db = await open(store);
    equal(await db.scan().toArray(), [[keys[7], 'later']]);
    ok((await db.put('b', 1)) > sequence);
    for (const range of [{ limit: 1 }, { reverse: true }, { gt: 1 }, null, 'a', { gt: 'a', gte: 'a' }]) await rejects(db.clear(range), { name: 'TypeError' });
    await rejects(db.batch([{ type: 'clear', range: { limit: 1 } }]), { name: 'TypeError' });
    await rejects(db.clear({ gte: 'k'.repeat(65537) }), { code: 'TEMPEST_INVALID_KEY' });
    await rejects(db.clear({ signal: AbortSignal.abort(new Error('enough')) }), { message: 'enough' });
    await db.close();
  },

  'clearing one namespace leaves the others': async ({ open }) => {
    const db = await open();
    const spaces = [db, db.sub('a'), db.sub('aa'), db.sub('a').sub('b'), db.sub('b')];
    const largest = '\u{10ffff}'.repeat(1000);
    for (const space of spaces) {
      await Promise.all(spaces.map((each) => each.batch(['', 'k', largest].map((key) => ({ type: 'put', key, value: 1 })))));
      await space.clear();
      for (const each of spaces) equal(await each.count(), each === space ? 0 : 3);
    }
    await db.close();
  },

  'counts and sizes of ranges': async ({ open }) => {
    const db = await open(undefined, { valueEncoding: 'view' });
    const keys = numbered(1000);
    const value = new Uint8Array(1000).map((_, i) => i * 7919);
    await db.batch(keys.map((key) => ({ type: 'put', key, value })));
    await db.sub('n').put('k', value);
    for (const [range, count] of [[{}, 1000], [{ prefix: 'k0000' }, 10], [{ gt: keys[10], lte: keys[20] }, 10], [{ lt: 'a' }, 0], [{ gt: 'b', lt: 'a' }, 0]]) {
      equal(await db.count(range), count);
    }
    await db.delete(keys[0]);
    await db.clear({ gte: keys[900] });
    equal(await db.count(), 899);
    await db.flush();
    const [all, part, none] = await Promise.all([db.approximateSize(), db.approximateSize({ lt: keys[450] }), db.approximateSize({ gt: 'z' })]);
    ok(all > 0 && part > 0 && part < all && none < part, `${all} ${part} ${none}`);
    for (const call of [db.count({ limit: 1 }), db.approximateSize({ reverse: true }), db.compact({ limit: 1 }), db.count(5), db.compact(null)]) {
      await rejects(call, { name: 'TypeError' });
    }
    const reason = new Error('enough');
    const aborted = { signal: AbortSignal.abort(reason) };
    for (const call of [db.count(aborted), db.approximateSize(aborted), db.compact(aborted), db.flush(aborted), db.verify(aborted)]) {
      await rejects(call, { message: 'enough' });
    }
    const controller = new AbortController();
    const { signal } = controller;
    const calls = [db.count({ signal }), db.approximateSize({ signal }), db.compact({ signal }), db.flush({ signal }), db.verify({ signal })];
    controller.abort();
    for (const call of calls) await rejects(call, { name: 'AbortError' });
    await db.close();
    for (const call of [db.count(), db.count({ gt: 'b', lt: 'a' }), db.approximateSize(), db.compact(), db.flush(), db.verify(), db.clear(), db.getEntry('a')]) {
      await rejects(call, { code: 'TEMPEST_CLOSED' });
    }
  },
};

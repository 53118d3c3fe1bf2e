import { equal, ok, random, rejects, throws } from './assert.mjs';

/** The next `count` commits of a watch. */
async function take(watch, count) {
  const commits = [];
  while (commits.length < count) {
    const { done, value } = await watch.next();
    if (done) break;
    commits.push(value);
  }
  return commits;
}

export default {
  'a watch tells of commits in their order': async ({ open }) => {
    const db = await open();
    await db.put('before', 1);
    const watch = db.watch({}, { values: true });
    const one = await db.put('a', { x: 1 });
    const two = await db.batch([{ type: 'put', key: 'b', value: 1 }, { type: 'delete', key: 'a' }, { type: 'put', key: 'b', value: 2 }]);
    await db.sub('users').put('u', 1);
    const three = await db.delete('never there');
    const commits = await take(watch, 3);
    equal(commits, [
      { seq: one, changes: [{ type: 'put', key: 'a', value: { x: 1 } }], gap: false },
      { seq: two, changes: [{ type: 'put', key: 'b', value: 1 }, { type: 'delete', key: 'a' }, { type: 'put', key: 'b', value: 2 }], gap: false },
      { seq: three, changes: [{ type: 'delete', key: 'never there' }], gap: false },
    ]);
    const waiting = watch.next();
    const four = await db.put('c', 1, { ttl: 3_600_000 });
    const { value } = await waiting;
    equal([value.seq, value.changes[0].value], [four, 1]);
    ok(value.changes[0].expiresAt > Date.now());
    equal(await watch.return(), { done: true, value: undefined });
    equal(await watch.next(), { done: true, value: undefined });
    equal((await db.stats()).watches, 0);
    await db.close();
  },

  'a watch of a range, of keys, of a namespace': async ({ open }) => {
    const db = await open();
    const users = db.sub('users', { keyEncoding: 'tuple' });
    const watches = [db.watch({ prefix: 'a' }), db.watch(['b', 'ab']), users.watch(), db.watch({ gt: 'x', lt: 'z' }), users.watch({ prefix: ['id'] }, { values: true })];
    await db.batch([
      ...['a', 'ab', 'b', 'c'].map((key) => ({ type: 'put', key, value: 1 })),
      { type: 'put', sub: users, key: ['id', 1], value: 2 },
      { type: 'delete', sub: users, key: ['name'] },
    ]);
    await db.put('y', 1);
    const changes = (await Promise.all(watches.map((watch) => watch.next()))).map(({ value }) => value.changes);
    equal(changes, [
      [{ type: 'put', key: 'a' }, { type: 'put', key: 'ab' }],
      [{ type: 'put', key: 'ab' }, { type: 'put', key: 'b' }],
      [{ type: 'put', key: ['id', 1] }, { type: 'delete', key: ['name'] }],
      [{ type: 'put', key: 'y' }],
      [{ type: 'put', key: ['id', 1], value: 2 }],
    ]);
    await Promise.all(watches.map((watch) => watch.return()));
    await db.close();
  },

  'a watch tells of ranges that were cleared': async ({ open }) => {
    const db = await open();
    const users = db.sub('users');
    const watch = db.watch({ prefix: 'a' });
    const subs = users.watch();
    await db.batch([{ type: 'clear', range: { prefix: 'b' } }, { type: 'clear', range: { gte: 'ab', lte: 'ad' } }, { type: 'clear', sub: users }]);
    const [{ changes }] = await take(watch, 1);
    const clear = changes.find(({ covers }) => covers('ab'));
    equal(clear.type, 'clear');
    equal(['a', 'aa', 'ab', 'abc', 'ad', 'ada'].map((key) => clear.covers(key)), [false, false, true, true, true, false]);
    throws(() => clear.covers(5), { name: 'TypeError' });
    const [{ changes: [all] }] = await take(subs, 1);
    equal([all.type, all.covers('x'), all.covers('')], ['clear', true, true]);
    await Promise.all([watch.return(), subs.return()]);
    await db.close();
  },

  'a watch that stops and goes on by since misses nothing and repeats nothing': async ({ open }) => {
    const db = await open();
    const count = 2000;
    const below = random(4);
    const seen = [];
    let since = (await db.stats()).sequence;
    const writing = (async () => {
      for (let i = 0; i < count; i += 50) await Promise.all(Array.from({ length: 50 }, (_, j) => db.put('n', i + j)));
    })();
    while (seen.length < count) {
      let left = 1 + below(300);
      // Writes that were committed together may be told as one commit.
      for await (const { seq, changes, gap } of db.watch(['n'], { since, values: true })) {
        ok(!gap && seq > since);
        since = seq;
        seen.push(...changes.map(({ value }) => value));
        if (--left === 0 || seen.length === count) break;
      }
    }
    await writing;
    equal(seen, Array.from({ length: count }, (_, i) => i));
    await db.close();
  },

  'a watch tells of a gap where since is older than the log': async ({ open }) => {
    const db = await open();
    const since = await db.put('a', 1);
    await db.put('a', 2);
    await db.flush();
    const seq = await db.put('b', 3);
    await db.flush();
    const watch = db.watch({}, { since, values: true });
    const { value: first } = await watch.next();
    ok(first.gap && first.seq >= seq, JSON.stringify(first));
    equal(first.changes, []);
    const next = await db.put('c', 4);
    equal(await watch.next(), { done: false, value: { seq: next, changes: [{ type: 'put', key: 'c', value: 4 }], gap: false } });
    await watch.return();
    const query = db.liveQuery((view) => view.get('a'));
    equal((await query.next()).value, 2);
    await db.put('x', 1);
    await db.flush();
    equal((await query.next()).value, 2, 'what may have changed is read anew');
    await query.return();
    await db.close();
  },

  'of a hundred thousand commits a watcher that stops and goes on sees each once, or a gap': async ({ open }) => {
    const db = await open();
    const count = 100_000;
    const below = random(6);
    let since = 0;
    const writing = (async () => {
      for (let i = 0; i < count; i += 1000) await Promise.all(Array.from({ length: 1000 }, (_, j) => db.put('n', i + j)));
    })();
    let expected = 0;
    let told = 0;
    while (expected < count) {
      const watch = db.watch(['n'], { since, values: true });
      for (let left = 1 + below(20_000); left > 0 && expected < count; left--) {
        const { seq, changes, gap } = (await watch.next()).value;
        ok(seq > since);
        since = seq;
        if (gap) {
          // The store has nothing but these puts, so sequence numbers tell what was lost.
          expected = since;
          continue;
        }
        for (const { value } of changes) {
          if (value !== expected) equal(value, expected);
          expected++;
          told++;
        }
      }
      await watch.return();
    }
    await writing;
    ok(told > 0);
    equal([since, expected], [count, count]);
    await db.close();
  },

  'watches end': async ({ open }) => {
    const db = await open();
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = db.watch({}, { signal });
    const waiting = aborted.next();
    const left = async () => {
      for await (const { changes } of db.watch()) return changes;
    };
    const leaving = left();
    const returned = db.watch();
    const next = returned.next();
    await db.put('a', 1);
    equal((await leaving)[0].key, 'a');
    equal((await waiting).value.changes.length, 1);
    const again = aborted.next();
    controller.abort();
    await rejects(again, { name: 'AbortError' });
    equal(await aborted.next(), { done: true, value: undefined });
    await next;
    const pending = returned.next();
    await returned.return();
    equal(await pending, { done: true, value: undefined });
    throws(() => db.watch({}, { signal }), { name: 'AbortError' });
    if (Symbol.asyncDispose !== undefined) {
      const disposed = db.watch();
      await disposed[Symbol.asyncDispose]();
      equal((await disposed.next()).done, true);
    }
    equal((await db.stats()).watches, 0);
    const closed = db.watch();
    const last = closed.next();
    const idle = db.watch();
    const closing = db.close();
    await rejects(last, { code: 'TEMPEST_CLOSED' });
    await closing;
    await rejects(idle.next(), { code: 'TEMPEST_CLOSED' });
    await rejects(db.watch().next(), { code: 'TEMPEST_CLOSED' });
  },

  'bad watches': async ({ open }) => {
    const db = await open();
    for (const what of [1, null, 'a', [1], { limit: 1 }, { reverse: true }, { from: 1 }]) throws(() => db.watch(what), { name: 'TypeError' });
    for (const options of [null, { since: '1' }, { values: 1 }, { from: 1 }, { signal: 1 }]) throws(() => db.watch({}, options), { name: 'TypeError' });
    for (const since of [-1, 0.5, NaN, Infinity]) throws(() => db.watch({}, { since }), { name: 'RangeError' });
    equal(await db.watch([]).next(), { done: true, value: undefined });
    await db.close();
  },

  'a live query runs again when what it has read has changed, and only then': async ({ open }) => {
    const db = await open();
    const users = db.sub('users');
    await db.put('a', 1);
    let runs = 0;
    const query = db.liveQuery(async (view) => {
      runs++;
      return [await view.get('a'), await view.scan({ prefix: 'p' }).keys().toArray(), await view.in(users).count(), await view.getMany(['m'])];
    });
    equal(await query.next(), { done: false, value: [1, [], 0, [undefined]] });
    const steps = [
      [() => db.put('a', 2), [2, [], 0, [undefined]]],
      [() => db.put('px', 1), [2, ['px'], 0, [undefined]]],
      [() => users.put('u', 1), [2, ['px'], 1, [undefined]]],
      [() => db.clear({ gte: 'o' }), [2, [], 1, [undefined]]],
      [() => db.transaction((tx) => tx.put('m', 1)), [2, [], 1, [1]]],
    ];
    for (const [change, expected] of steps) {
      const next = query.next();
      await db.put('unrelated', 1);
      await change();
      equal((await next).value, expected);
    }
    equal(runs, 6);
    await db.batch([{ type: 'put', key: 'a', value: 3 }]);
    await db.batch([{ type: 'put', key: 'a', value: 4 }]);
    equal((await query.next()).value[0], 4, 'what changes while nobody asks is one result');
    const waiting = query.next();
    await query.return();
    equal(await waiting, { done: true, value: undefined });
    const stats = await db.stats();
    equal([stats.watches, stats.snapshots], [0, 0]);
    await db.close();
  },

  'live queries end': async ({ open }) => {
    const db = await open();
    equal(await Promise.all([0, 1].map(() => db.liveQuery(() => 5).next())), [{ done: false, value: 5 }, { done: false, value: 5 }]);
    const nothing = db.liveQuery(() => 5);
    await nothing.next();
    equal(await nothing.next(), { done: true, value: undefined }, 'what reads nothing never changes');
    const failing = db.liveQuery(async (view) => {
      await view.get('a');
      throw new Error('mine');
    });
    await rejects(failing.next(), { message: 'mine' });
    equal((await failing.next()).done, true);
    let left;
    const query = db.liveQuery((view) => ((left = view), view.get('a')));
    await query.next();
    await rejects(left.get('a'), { code: 'TEMPEST_CLOSED', message: /has ended/ });
    ok(left.put === undefined, 'a view cannot be written to');
    const controller = new AbortController();
    const aborted = db.liveQuery((view) => view.get('a'), { signal: controller.signal });
    await aborted.next();
    const waiting = aborted.next();
    controller.abort();
    await rejects(waiting, { name: 'AbortError' });
    throws(() => db.liveQuery(5), { name: 'TypeError' });
    throws(() => db.liveQuery(() => 1, { since: 5 }), { name: 'TypeError' });
    const last = query.next();
    const closing = db.close();
    await rejects(last, { code: 'TEMPEST_CLOSED' });
    await closing;
    await rejects(db.liveQuery((view) => view.get('a')).next(), { code: 'TEMPEST_CLOSED' });
  },
};

import { deferred, equal, ok, random, rejects, throws } from './assert.mjs';

const bytes = (...items) => new Uint8Array(items);

export default {
  'a transaction reads what it wrote, and nobody else does before it commits': async ({ open }) => {
    const db = await open();
    await db.put('a', 1);
    const inside = deferred();
    const outside = deferred();
    const running = db.transaction(async (tx) => {
      equal(await tx.get('a'), 1);
      tx.put('a', 2);
      tx.put('b', { x: 1 });
      tx.delete('c');
      equal(await tx.get('a'), 2);
      equal(await tx.getMany(['c', 'b', 'a', 'd']), [undefined, { x: 1 }, 2, undefined]);
      inside.resolve();
      await outside.promise;
      return 'result';
    });
    await inside.promise;
    equal(await db.get('a'), 1);
    equal(await db.scan().count(), 1);
    outside.resolve();
    equal(await running, 'result');
    equal(await db.scan().toArray(), [['a', 2], ['b', { x: 1 }]]);
    await db.close();
  },

  'a transaction sees one moment, whatever it waits for': async ({ open }) => {
    const db = await open();
    await db.batch(['a', 'b', 'c'].map((key) => ({ type: 'put', key, value: 'old' })));
    const seen = await db.transaction(async (tx) => {
      const before = await tx.get('a');
      await db.batch([{ type: 'put', key: 'a', value: 'new' }, { type: 'delete', key: 'b' }, { type: 'put', key: 'd', value: 'new' }]);
      await new Promise((resolve) => setTimeout(resolve));
      return [before, await tx.get('a'), await tx.scan().toArray(), await tx.count()];
    });
    equal(seen, ['old', 'old', [['a', 'old'], ['b', 'old'], ['c', 'old']], 3]);
    await db.close();
  },

  'scans of a transaction are merged with its writes, either way': async ({ open }) => {
    const db = await open();
    const users = db.sub('users');
    const below = random(3);
    const key = () => Array.from({ length: 1 + below(3) }, () => 'abcd'[below(4)]).join('');
    for (let round = 0; round < 60; round++) {
      const model = new Map();
      const space = round % 2 ? db : users;
      await space.clear();
      for (let i = 0; i < 30; i++) {
        const k = key();
        model.set(k, i);
        await space.put(k, i);
      }
      await db.transaction(async (all) => {
        const tx = round % 2 ? all : all.in(users);
        for (let i = 0; i < 20; i++) {
          const k = key();
          switch (below(5)) {
            case 0:
              tx.delete(k);
              model.delete(k);
              break;
            case 1: {
              const end = key();
              tx.clear({ gte: k, lt: end });
              for (const each of [...model.keys()]) if (each >= k && each < end) model.delete(each);
              break;
            }
            default:
              tx.put(k, `own ${i}`);
              model.set(k, `own ${i}`);
          }
          const range = { reverse: below(2) === 1 };
          if (below(2)) range[below(2) ? 'gt' : 'gte'] = key();
          if (below(2)) range[below(2) ? 'lt' : 'lte'] = key();
          if (below(3) === 0) range.limit = below(5);
          let expected = [...model]
            .filter(([k]) => !(k <= range.gt) && !(k < range.gte) && !(k >= range.lt) && !(k > range.lte))
            .sort(([a], [b]) => (a < b ? -1 : 1));
          if (range.reverse) expected.reverse();
          expected = expected.slice(0, range.limit ?? Infinity);
          const text = JSON.stringify(range);
          equal(await tx.scan(range).toArray(), expected, text);
          equal(await tx.scan(range).count(), expected.length, text);
          const keys = [];
          for await (const k of tx.scan(range).keys()) keys.push(k);
          equal(keys, expected.map(([k]) => k), text);
          equal(await tx.scan(range).values().toArray(), expected.map(([, value]) => value), text);
        }
      });
      equal(await space.scan().toArray(), [...model].sort(([a], [b]) => (a < b ? -1 : 1)));
    }
    equal((await db.stats()).openScans, 0);
    await db.close();
  },

  'a pass sees the writes made before it began': async ({ open }) => {
    const db = await open();
    await db.batch(['b', 'd', 'f'].map((key) => ({ type: 'put', key, value: 'stored' })));
    await db.transaction(async (tx) => {
      tx.put('a', 'own');
      const seen = [];
      for await (const [key, value] of tx.scan()) {
        seen.push(`${key} ${value}`);
        tx.put(`${key}x`, 'late');
        tx.put('d', 'late');
        tx.delete('f');
      }
      equal(seen, ['a own', 'b stored', 'd stored', 'f stored']);
      equal(await tx.scan().keys().toArray(), ['a', 'ax', 'b', 'bx', 'd', 'dx', 'fx']);
    });
    equal(await db.scan().keys().toArray(), ['a', 'ax', 'b', 'bx', 'd', 'dx', 'fx']);
    await db.close();
  },

  'what was read and has changed is a conflict, and nothing else is': async ({ open }) => {
    const db = await open();
    const users = db.sub('users');
    const setUp = () => Promise.all([db.clear(), users.clear()]).then(() => db.batch(['a', 'c', 'e', 'g'].map((key) => ({ type: 'put', key, value: 1 }))));
    const walk = async (tx, range, count) => {
      for await (const _ of tx.scan(range)) if (--count === 0) break;
    };
    const cases = [
      ['a key that was read', (tx) => tx.get('a'), () => db.put('a', 2), true],
      ['a key that was read, written with the same value', (tx) => tx.get('a'), () => db.put('a', 1), true],
      ['a key that was read and deleted', (tx) => tx.getMany(['a', 'x']), () => db.delete('a'), true],
      ['a key that was not there', (tx) => tx.get('b'), () => db.put('b', 1), true],
      ['a key that was read and cleared', (tx) => tx.get('c'), () => db.clear({ prefix: 'c' }), true],
      ['another key', (tx) => tx.get('a'), () => db.put('aa', 1), false],
      ['the same key of another namespace', (tx) => tx.get('a'), () => users.put('a', 1), false],
      ['a key of another namespace that was read', (tx) => tx.in(users).get('a'), () => users.put('a', 1), true],
      ['a phantom in a range', (tx) => tx.scan({ gte: 'b', lt: 'f' }).toArray(), () => db.put('d', 1), true],
      ['a phantom in a range that was counted', (tx) => tx.count({ gte: 'b', lt: 'f' }), () => db.put('d', 1), true],
      ['a phantom in an empty range', (tx) => tx.scan({ prefix: 'x' }).toArray(), () => db.put('x', 1), true],
      ['a phantom before what was read backwards', (tx) => tx.scan({ reverse: true, limit: 1 }).toArray(), () => db.put('h', 1), true],
      ['a key before a range', (tx) => tx.scan({ gte: 'b', lt: 'f' }).toArray(), () => db.put('a', 2), false],
      ['a key behind a range', (tx) => tx.scan({ gte: 'b', lt: 'f' }).toArray(), () => db.put('f', 2), false],
      ['behind where a scan was left', (tx) => walk(tx, {}, 2), () => db.put('d', 2), false],
      ['where a scan was left', (tx) => walk(tx, {}, 2), () => db.put('c', 2), true],
      ['before where a scan was left', (tx) => walk(tx, {}, 2), () => db.put('b', 2), true],
      ['behind a limit', (tx) => tx.scan({ limit: 2 }).toArray(), () => db.put('d', 2), false],
      ['behind where a scan backwards was left', (tx) => walk(tx, { reverse: true }, 2), () => db.put('d', 2), false],
      ['where a scan backwards was left', (tx) => walk(tx, { reverse: true }, 2), () => db.put('e', 2), true],
      ['a scan that was never begun', (tx) => void tx.scan(), () => db.put('d', 2), false],
      ['a key that was written only', (tx) => tx.put('a', 5), () => db.put('a', 2), false],
      ['a key that was read after it was written', (tx) => (tx.put('a', 5), tx.get('a')), () => db.put('a', 2), false],
      ['a range that was cleared only', (tx) => tx.clear({ prefix: 'd' }), () => db.put('d', 2), false],
    ];
    for (const [name, read, interfere, conflicts] of cases) {
      await setUp();
      let runs = 0;
      const running = db.transaction(async (tx) => {
        runs++;
        await read(tx);
        await interfere();
        tx.put('result', runs);
      }, { retries: 0 });
      if (conflicts) await rejects(running, { name: 'TempestError', code: 'TEMPEST_CONFLICT' });
      else await running;
      equal(await db.get('result'), conflicts ? undefined : 1, name);
      equal(runs, 1);
    }
    await db.close();
  },

  'a transaction that conflicts runs again, with what is there then': async ({ open }) => {
    const db = await open();
    await db.put('n', 0);
    let runs = 0;
    const result = await db.transaction(async (tx) => {
      const n = await tx.get('n');
      if (runs++ < 2) await db.put('n', n + 10);
      tx.put('n', n + 1);
      return n;
    });
    equal([result, runs, await db.get('n')], [20, 3, 21]);
    await db.close();
  },

  'transfers between accounts lose nothing, and reports add up': async ({ open }) => {
    const db = await open();
    const accounts = db.sub('accounts');
    const names = ['a', 'b', 'c', 'd', 'e'];
    await accounts.batch(names.map((key) => ({ type: 'put', key, value: 100 })));
    const below = random(5);
    let transfers = 0;
    const transfer = () => {
      const [from, to, amount] = [names[below(5)], names[below(5)], below(30)];
      return accounts.transaction(async (tx) => {
        const balance = await tx.get(from);
        if (balance < amount) return;
        tx.put(from, balance - amount);
        tx.put(to, (await tx.get(to)) + amount);
        transfers++;
      }, { retries: Infinity });
    };
    const report = async () => {
      const balances = await accounts.transaction((tx) => tx.scan().values().toArray());
      equal(balances.reduce((sum, balance) => sum + balance), 500);
      ok(balances.every((balance) => balance >= 0));
    };
    await Promise.all(Array.from({ length: 10 }, async () => {
      for (let i = 0; i < 10; i++) await (i % 5 === 4 ? report() : transfer());
    }));
    ok(transfers > 0);
    await report();
    await db.close();
  },

  'of two doctors on call one stays': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'tuple' });
    for (let round = 0; round < 10; round++) {
      await db.batch([1, 2].map((id) => ({ type: 'put', key: ['on call', id], value: true })));
      const leave = (id) =>
        db.transaction(async (tx) => {
          const on = (await tx.scan({ prefix: ['on call'] }).values().toArray()).filter(Boolean).length;
          if (on > 1) tx.put(['on call', id], false);
        });
      await Promise.all([leave(1), leave(2)]);
      equal((await db.scan().values().toArray()).filter(Boolean).length, 1);
    }
    await db.close();
  },

  'a transaction across namespaces, with encodings of calls': async ({ open }) => {
    const db = await open();
    const users = db.sub('users', { keyEncoding: 'tuple', valueEncoding: 'json' });
    await users.put(['id', 1], { name: 'Ada' });
    await users.transaction(async (tx) => {
      const user = await tx.get(['id', 1]);
      tx.in(db).put('name', user.name);
      tx.in(db).put(bytes(1), 'text', { keyEncoding: 'view', valueEncoding: 'utf8' });
      equal(await tx.in(db).get(bytes(1), { keyEncoding: 'view', valueEncoding: 'utf8' }), 'text');
      equal(await tx.in(db).scan({ keyEncoding: 'view', valueEncoding: 'view' }).keys().toArray(), [bytes(1), bytes(110, 97, 109, 101)]);
      tx.delete(['id', 1]);
      tx.put(['id', 2], user);
      equal(await tx.scan().toArray(), [[['id', 2], { name: 'Ada' }]]);
    });
    equal(await db.get('name'), 'Ada');
    equal(await users.scan().keys().toArray(), [['id', 2]]);
    const other = await open();
    await rejects(db.transaction((tx) => tx.in(other)), { name: 'TypeError', message: /another database/ });
    await other.close();
    await db.close();
  },

  'a transaction that fails writes nothing and leaves nothing open': async ({ open }) => {
    const db = await open();
    await db.put('a', 1);
    const { snapshots } = await db.stats();
    const reason = new Error('mine');
    const fails = [
      (tx) => { tx.put('a', 2); throw reason; },
      async (tx) => { tx.put('a', 2); await tx.get('a'); throw reason; },
      async (tx) => { for await (const _ of tx.scan()) throw reason; },
    ];
    for (const body of fails) equal(await db.transaction(body).catch((error) => error === reason), true);
    const wrong = [
      (tx) => tx.put(5, 1), (tx) => tx.put('\ud800', 1), (tx) => tx.put('k', () => 1), (tx) => tx.delete(null), (tx) => tx.clear({ gt: 1 }), (tx) => tx.get(undefined),
      (tx) => tx.getMany('a'), (tx) => tx.scan({ from: 1 }), (tx) => tx.put('a', 1, { durability: 'strict' }), (tx) => tx.get('a', { tll: 1 }), (tx) => tx.count({ limit: 1 }),
      (tx) => tx.in(5),
    ];
    for (const body of wrong) await rejects(db.transaction(body), { name: 'TypeError' });
    await rejects(db.transaction((tx) => tx.put('k'.repeat(65537), 1)), { code: 'TEMPEST_INVALID_KEY' });
    await rejects(db.transaction((tx) => tx.put('k', 1, { ttl: -1 })), { name: 'RangeError' });
    await rejects(db.transaction(() => 1, { tries: 1 }), { name: 'TypeError' });
    equal(await db.scan().toArray(), [['a', 1]]);
    const stats = await db.stats();
    equal([stats.openScans, stats.snapshots], [0, snapshots]);
    await db.close();
  },

  'a getter that calls the database from a value of a transaction is refused': async ({ open }) => {
    const db = await open();
    await db.transaction(async (tx) => {
      let inner;
      tx.put('k', {
        before: [1, 2],
        get trap() {
          throws(() => tx.put('inner', { a: 1 }), { name: 'TypeError', message: /getter/ });
          inner = rejects(db.put('inner', { a: 1 }), { name: 'TypeError', message: /getter/ });
          return 3;
        },
        after: new Map([[1, 'x']]),
      });
      await inner;
      equal(await tx.get('k'), { before: [1, 2], trap: 3, after: new Map([[1, 'x']]) });
    });
    equal(await db.scan().keys().toArray(), ['k']);
    await db.close();
  },

  'a transaction cannot be used after its end': async ({ open }) => {
    const db = await open();
    await db.put('a', 1);
    let left;
    let iterator;
    await db.transaction(async (tx) => {
      left = tx;
      iterator = tx.scan()[Symbol.asyncIterator]();
      await iterator.next();
    });
    const ended = { name: 'TempestError', code: 'TEMPEST_CLOSED', message: 'the transaction has ended' };
    for (const call of [left.get('a'), left.getMany(['a']), left.count(), iterator.next()]) await rejects(call, ended);
    for (const call of [() => left.put('a', 2), () => left.delete('a'), () => left.clear(), () => left.scan()]) throws(call, ended);
    equal(await db.get('a'), 1);
    await db.close();
    await rejects(db.transaction(() => 1), { code: 'TEMPEST_CLOSED' });
  },

  'a transaction under way when the store closes fails': async ({ open }) => {
    const db = await open();
    const inside = deferred();
    const closed = deferred();
    const running = db.transaction(async (tx) => {
      tx.put('a', 1);
      inside.resolve();
      await closed.promise;
      await tx.get('a');
      return tx.get('b');
    });
    await inside.promise;
    await db.close();
    closed.resolve();
    await rejects(running, { code: 'TEMPEST_CLOSED' });
  },

  'a transaction that is aborted': async ({ open }) => {
    const db = await open();
    const reason = new Error('changed my mind');
    await rejects(db.transaction(() => ok(false), { signal: AbortSignal.abort(reason) }), { message: reason.message });
    const controller = new AbortController();
    let left;
    const running = db.transaction((tx) => {
      left = tx;
      tx.put('a', 1);
      controller.abort();
      return new Promise(() => undefined);
    }, { signal: controller.signal });
    await rejects(running, { name: 'AbortError' });
    throws(() => left.put('a', 2), { code: 'TEMPEST_CLOSED' });
    equal(await db.get('a'), undefined);
    await db.close();
  },

  'updates of one key, one after the other': async ({ open }) => {
    const db = await open();
    const counts = db.sub('counts');
    equal(await db.update('n', (n) => (n ?? 0) + 1), 1);
    await Promise.all(Array.from({ length: 100 }, (_, i) => (i % 2 ? db : counts).update('n', async (n = 0) => n + 1)));
    equal([await db.get('n'), await counts.get('n')], [51, 50]);
    equal(await db.update('n', () => undefined), undefined);
    equal(await db.get('n'), undefined);
    await rejects(db.update('n', () => { throw new Error('mine'); }), { message: 'mine' });
    await rejects(db.update('n', () => () => 1), { name: 'TypeError' });
    await rejects(db.update(5, () => 1), { name: 'TypeError' });
    await rejects(db.update('n', 5), { name: 'TypeError' });
    const controller = new AbortController();
    const waits = db.update('n', () => new Promise(() => undefined), { signal: controller.signal });
    const behind = db.update('n', () => 'done');
    controller.abort();
    await rejects(waits, { name: 'AbortError' });
    equal(await behind, 'done');
    equal(await db.update(bytes(1), (value) => `${value}`, { keyEncoding: 'view', valueEncoding: 'utf8', durability: 'strict' }), 'undefined');
    await db.close();
  },

  'compare and set': async ({ open }) => {
    const db = await open();
    const seq = await db.put('a', 1);
    const entry = await db.getEntry('a');
    equal(entry, { value: 1, seq });
    equal(await db.getEntry('b'), undefined);
    await db.put('b', 1);
    await db.batch([{ type: 'put', key: 'a', value: 2 }], { ifUnchangedSince: entry.seq });
    await rejects(db.batch([{ type: 'put', key: 'a', value: 3 }], { ifUnchangedSince: entry.seq }), { code: 'TEMPEST_CONFLICT' });
    await rejects(db.batch([{ type: 'put', key: 'c', value: 3 }], { ifUnchangedSince: entry.seq, keys: ['c', 'b'] }), { code: 'TEMPEST_CONFLICT' });
    await db.batch([{ type: 'put', key: 'b', value: 3 }], { ifUnchangedSince: entry.seq, keys: ['c'] });
    const last = await db.batch([]);
    await rejects(db.batch([{ type: 'clear', range: { gte: 'b' } }], { ifUnchangedSince: last - 1 }), { code: 'TEMPEST_CONFLICT' });
    await db.batch([{ type: 'clear', range: { gte: 'b' } }], { ifUnchangedSince: last });
    await rejects(db.batch([{ type: 'put', key: 'b', value: 3 }], { ifUnchangedSince: last }), { code: 'TEMPEST_CONFLICT' });
    equal(await db.scan().toArray(), [['a', 2]]);
    await db.close();
  },
};

import { deferred, equal, ok, random, rejects, throws } from './assert.mjs';

const KEYS = ['', 'a', 'a1', 'a2', 'b', 'ba', 'c', 'é', '\uffff'];

async function filled(open, keys = KEYS) {
  const db = await open();
  await db.batch(keys.map((key) => ({ type: 'put', key, value: `v${key}` })));
  return db;
}

const numbered = (count) => Array.from({ length: count }, (_, i) => `k${String(i).padStart(7, '0')}`);

/** Waits for the engine to have dealt with what was sent to it before. */
const openScans = async (db) => (await db.stats()).openScans;

export default {
  'every bound, in both directions': async ({ open }) => {
    const db = await filled(open);
    const encoder = new TextEncoder();
    const order = (a, b) => {
      const [x, y] = [encoder.encode(a), encoder.encode(b)];
      for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i] - y[i];
      return x.length - y.length;
    };
    const sorted = [...KEYS].sort(order);
    const lowers = [{}, ...['', 'a', 'aa', 'b', 'zz'].flatMap((key) => [{ gt: key }, { gte: key }])];
    const uppers = [{}, ...['', 'a', 'aa', 'b', 'zz'].flatMap((key) => [{ lt: key }, { lte: key }])];
    for (const lower of lowers) {
      for (const upper of uppers) {
        for (const prefix of [undefined, 'a', 'b', 'x']) {
          const range = { ...lower, ...upper, prefix };
          const expected = sorted.filter(
            (key) =>
              (lower.gt === undefined || order(key, lower.gt) > 0) &&
              (lower.gte === undefined || order(key, lower.gte) >= 0) &&
              (upper.lt === undefined || order(key, upper.lt) < 0) &&
              (upper.lte === undefined || order(key, upper.lte) <= 0) &&
              (prefix === undefined || key.startsWith(prefix)),
          );
          const text = JSON.stringify(range);
          equal(await db.scan(range).keys().toArray(), expected, text);
          equal(await db.scan({ ...range, reverse: true }).keys().toArray(), [...expected].reverse(), `reverse ${text}`);
          equal(await db.scan({ ...range, limit: 2 }).values().toArray(), expected.slice(0, 2).map((key) => `v${key}`), `limit ${text}`);
        }
      }
    }
    equal(await openScans(db), 0);
    await db.close();
  },

  'a prefix is a prefix of bytes': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'view' });
    const keys = [[], [1], [1, 0], [1, 255], [1, 255, 255], [2], [254, 255], [255], [255, 0], [255, 253]].map((key) => new Uint8Array(key));
    await db.batch(keys.map((key) => ({ type: 'put', key, value: 1 })));
    const scan = (prefix) => db.scan({ prefix: new Uint8Array(prefix) }).keys().toArray();
    equal(await scan([1]), keys.slice(1, 5));
    equal(await scan([1, 255]), keys.slice(3, 5));
    equal(await scan([255]), keys.slice(7));
    equal(await scan([]), keys);
    equal(await scan([255, 255]), []);
    await db.close();
  },

  'limits': async ({ open }) => {
    const db = await filled(open);
    for (const [limit, count] of [[0, 0], [1, 1], [3, 3], [9, 9], [10, 9], [Infinity, 9], [2 ** 40, 9], [undefined, 9]]) {
      equal(await db.scan({ limit }).count(), count);
      equal((await db.scan({ limit }).toArray()).length, count);
      let seen = 0;
      for await (const _ of db.scan({ limit })) seen++;
      equal(seen, count);
    }
    await db.close();
  },

  'ranges that make no sense': async ({ open }) => {
    const db = await filled(open);
    for (const range of [{ gt: 'a', gte: 'a' }, { lt: 'a', lte: 'b' }, { start: 'a' }, { limit: '1' }, { reverse: 1 }, { gt: 1 }, { prefix: null }, { gt: null }, { gte: null }, { lt: null }, { lte: null }, { signal: 1 }, null, 'a']) {
      throws(() => db.scan(range), { name: 'TypeError' });
    }
    for (const limit of [-1, NaN, 1.5, -Infinity]) throws(() => db.scan({ limit }), { name: 'RangeError' });
    throws(() => db.scan({ gte: 'k'.repeat(65537) }), { code: 'TEMPEST_INVALID_KEY' });
    for (const range of [{ gt: 'b', lt: 'a' }, { gt: 'a', lt: 'a' }, { gte: 'a', lt: 'a' }, { prefix: 'a', gte: 'b' }]) {
      equal(await db.scan(range).toArray(), []);
      equal(await db.scan(range).count(), 0);
    }
    await db.close();
  },

  'random ranges against a sorted array': async ({ open }) => {
    const db = await open();
    const below = random(7);
    const letters = () => Array.from({ length: below(4) }, () => 'abc'[below(3)]).join('');
    const model = new Map();
    for (let i = 0; i < 200; i++) {
      const key = letters() + letters();
      if (below(4) === 0) {
        model.delete(key);
        await db.delete(key);
      } else {
        model.set(key, i);
        await db.put(key, i);
      }
    }
    const sorted = [...model].sort(([a], [b]) => (a < b ? -1 : 1));
    for (let i = 0; i < 200; i++) {
      const range = { reverse: below(2) === 1 };
      if (below(2) === 1) range[below(2) ? 'gt' : 'gte'] = letters();
      if (below(2) === 1) range[below(2) ? 'lt' : 'lte'] = letters();
      if (below(3) === 0) range.prefix = letters();
      if (below(3) === 0) range.limit = below(20);
      let expected = sorted.filter(
        ([key]) =>
          !(key <= (range.gt ?? '\0') && range.gt !== undefined) &&
          !(key < (range.gte ?? '')) &&
          !(range.lt !== undefined && key >= range.lt) &&
          !(range.lte !== undefined && key > range.lte) &&
          key.startsWith(range.prefix ?? ''),
      );
      if (range.reverse) expected = expected.reverse();
      expected = expected.slice(0, range.limit ?? Infinity);
      equal(await db.scan(range).toArray(), expected, JSON.stringify(range));
      const seen = [];
      for await (const entry of db.scan(range)) seen.push(entry);
      equal(seen, expected, JSON.stringify(range));
    }
    await db.close();
  },

  'many runs, in order, by iteration, toArray and count': async ({ open }) => {
    const keys = numbered(30000);
    const db = await open();
    await db.batch(keys.map((key, i) => ({ type: 'put', key, value: i })));
    for (const reverse of [false, true]) {
      const expected = reverse ? [...keys].reverse() : keys;
      let i = 0;
      for await (const [key, value] of db.scan({ reverse })) {
        if (key !== expected[i] || keys[value] !== key) equal([key, value], [expected[i], i]);
        i++;
      }
      equal(i, keys.length);
      equal(await db.scan({ reverse }).keys().toArray(), expected);
    }
    equal(await db.scan().count(), keys.length);
    equal((await db.scan().values().toArray()).length, keys.length);
    equal(await openScans(db), 0);
    await db.close();
  },

  'entries much larger than a run': async ({ open }) => {
    const db = await open(undefined, { valueEncoding: 'view' });
    const value = new Uint8Array(600000).fill(3);
    for (let i = 0; i < 6; i++) await db.put(`k${i}`, value);
    let count = 0;
    for await (const [, bytes] of db.scan()) {
      equal(bytes.length, value.length);
      count++;
    }
    equal(count, 6);
    await db.close();
  },

  'a scan can be iterated again, and sees what is new': async ({ open }) => {
    const db = await filled(open, ['a']);
    const scan = db.scan();
    equal(await scan.count(), 1);
    await db.put('b', 1);
    equal(await scan.keys().toArray(), ['a', 'b']);
    const [one, two] = [scan[Symbol.asyncIterator](), scan[Symbol.asyncIterator]()];
    equal((await one.next()).value[0], 'a');
    equal((await two.next()).value[0], 'a');
    equal((await one.next()).value[0], 'b');
    equal(await one.next(), { done: true, value: undefined });
    equal(await one.next(), { done: true, value: undefined });
    equal((await two.next()).value[0], 'b');
    await two.return();
    equal(await two.next(), { done: true, value: undefined });
    await db.close();
  },

  'calls of next that do not wait for each other keep their order': async ({ open }) => {
    const keys = numbered(3000);
    const db = await filled(open, keys);
    const iterator = db.scan().keys()[Symbol.asyncIterator]();
    const results = await Promise.all(Array.from({ length: keys.length + 3 }, () => iterator.next()));
    equal(results.slice(0, keys.length).map((result) => result.value), keys);
    ok(results.slice(keys.length).every((result) => result.done));
    await db.close();
  },

  'leaving early frees the snapshot': async ({ open }) => {
    const db = await filled(open, numbered(20000));
    for await (const _ of db.scan()) break;
    equal(await openScans(db), 0, 'break');
    const find = async () => {
      for await (const [key] of db.scan()) if (key.endsWith('7')) return key;
    };
    equal(await find(), 'k0000007');
    equal(await openScans(db), 0, 'return');
    const fails = async () => {
      for await (const _ of db.scan()) throw new Error('mine');
    };
    await rejects(fails(), { message: 'mine' });
    equal(await openScans(db), 0, 'throw');
    const iterator = db.scan()[Symbol.asyncIterator]();
    await iterator.next();
    equal(await openScans(db), 1);
    await iterator.return();
    equal(await openScans(db), 0, 'return()');
    const unused = db.scan();
    await unused[Symbol.asyncIterator]().return();
    equal(await openScans(db), 0, 'never begun');
    await db.close();
  },

  'a disposed scan ends': async ({ open }) => {
    if (Symbol.asyncDispose === undefined) return;
    const db = await filled(open, numbered(20000));
    const scan = db.scan();
    const iterator = scan[Symbol.asyncIterator]();
    await iterator.next();
    equal(await openScans(db), 1);
    await scan[Symbol.asyncDispose]();
    equal(await openScans(db), 0);
    await rejects(iterator.next(), { code: 'TEMPEST_CLOSED' });
    const other = db.scan()[Symbol.asyncIterator]();
    await other.next();
    await other[Symbol.asyncDispose]();
    equal(await openScans(db), 0);
    await db[Symbol.asyncDispose]();
    await rejects(db.get('a'), { code: 'TEMPEST_CLOSED' });
  },

  'a slow reader blocks nobody, and sees none of what comes later': async ({ open }) => {
    const keys = numbered(20000);
    const db = await filled(open, keys);
    const iterator = db.scan().keys()[Symbol.asyncIterator]();
    const seen = [(await iterator.next()).value];
    const puts = [];
    for (let i = 0; i < 10000; i++) puts.push(db.put(`${keys[i * 2]}x`, 'new'), i % 7 === 0 ? db.delete(keys[i * 2 + 1]) : undefined);
    await Promise.all(puts);
    equal(await db.get(`${keys[0]}x`), 'new');
    for (let result; !(result = await iterator.next()).done; ) seen.push(result.value);
    equal(seen, keys);
    await db.close();
  },

  'an aborted scan ends and frees its snapshot': async ({ open }) => {
    const db = await filled(open, numbered(20000));
    const controller = new AbortController();
    let count = 0;
    const iterate = async () => {
      for await (const _ of db.scan({ signal: controller.signal })) if (++count === 3) controller.abort();
    };
    await rejects(iterate(), { name: 'AbortError' });
    equal(count, 3);
    equal(await openScans(db), 0);
    const reason = new Error('enough');
    const aborted = AbortSignal.abort(reason);
    await rejects(db.scan({ signal: aborted }).toArray(), { message: 'enough' });
    await rejects(db.scan({ signal: aborted }).count(), { message: 'enough' });
    const late = new AbortController();
    const all = db.scan({ signal: late.signal }).toArray();
    late.abort(reason);
    await rejects(all, { message: 'enough' });
    equal(await openScans(db), 0);
    equal(await db.scan({ signal: new AbortController().signal }).count(), 20000);
    await db.close();
  },

  'a pass is ended by an abort, by close and by disposal after its last run has come too': async ({ open }) => {
    const db = await filled(open, numbered(20));
    const iterate = async (scan, end) => {
      let count = 0;
      try {
        for await (const _ of scan) if (++count === 5) await end();
      } finally {
        equal(count, 5);
      }
    };
    const controller = new AbortController();
    await rejects(iterate(db.scan({ signal: controller.signal }), () => controller.abort()), { name: 'AbortError' });
    const all = numbered(20).map((key, i) => [key, `v${key}`]);
    const read = [];
    const quiet = new AbortController();
    for await (const entry of db.scan({ signal: quiet.signal })) read.push(entry);
    quiet.abort();
    equal(read, all);
    if (Symbol.asyncDispose !== undefined) {
      const scan = db.scan();
      await rejects(iterate(scan, () => scan[Symbol.asyncDispose]()), { code: 'TEMPEST_CLOSED' });
    }
    equal(await openScans(db), 0);
    await rejects(iterate(db.scan(), () => db.close()), { code: 'TEMPEST_CLOSED' });
  },

  'a pass that is ended by an encoder or a getter is freed, and the store closes': async ({ open }) => {
    const valueEncoding = { encode: (value) => value.encode(), decode: (bytes) => bytes };
    const db = await open(undefined, { valueEncoding });
    const put = (key, run) => db.put(key, { encode: () => (run?.(), new Uint8Array(1)) });
    await Promise.all(numbered(20000).map((key) => put(key)));
    const begun = async (options) => {
      const iterator = db.scan(options)[Symbol.asyncIterator]();
      await iterator.next();
      return iterator;
    };
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = await begun({ signal });
    await put('x', () => controller.abort());
    await rejects(aborted.next(), { name: 'AbortError' });
    equal(await openScans(db), 0, 'an abort');

    const returned = await begun();
    await put('x', () => void returned.return());
    equal(await returned.next(), { done: true, value: undefined });
    equal(await openScans(db), 0, 'return()');

    // What asks for more there gets it.
    const read = await begun({ gte: 'k' });
    const rest = [];
    await put('x', () => rest.push(...Array.from({ length: 19999 }, () => read.next())));
    equal((await Promise.all(rest)).map(({ value }) => value[0]), numbered(20000).slice(1));
    await read.return();

    // The call itself goes on as any that is aborted when it is under way.
    const own = new AbortController();
    await rejects(db.put('own', { encode: () => (own.abort(), new Uint8Array(1)) }, { signal: own.signal }), { name: 'AbortError' });

    const left = await begun();
    let closing;
    await put('last', () => (closing = db.close()));
    await rejects(left.next(), { code: 'TEMPEST_CLOSED' });
    await closing;
  },

  'the limit of open scans': async ({ open }) => {
    const db = await filled(open, numbered(20000));
    const { maxOpenScans } = await db.stats();
    const iterators = Array.from({ length: maxOpenScans }, () => db.scan()[Symbol.asyncIterator]());
    for (const iterator of iterators) equal((await iterator.next()).done, false);
    await rejects(db.scan().toArray(), { code: 'TEMPEST_BUSY' });
    await iterators.pop().return();
    equal(await db.scan().count(), 20000);
    equal(await openScans(db), maxOpenScans - 1);
    await db.close();
    await rejects(iterators[0].next(), { code: 'TEMPEST_CLOSED' });
  },

  'scans and writes from many readers at once': async ({ open }) => {
    const db = await filled(open, numbered(2000));
    const done = deferred();
    const readers = Array.from({ length: 8 }, async (_, i) => {
      let count = 0;
      for await (const _ of db.scan({ reverse: i % 2 === 1 })) if (++count % 500 === 0) await db.put(`k${i}-${count}`, count);
      return count;
    });
    Promise.all(readers).then(done.resolve, done.resolve);
    const counts = await done.promise;
    ok(counts.every((count) => count >= 2000));
    equal(await db.scan().count(), 2000 + 8 * 4);
    equal(await openScans(db), 0);
    await db.close();
  },
};

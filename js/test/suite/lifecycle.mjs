import { equal, ok, rejects, throws } from './assert.mjs';

export default {
  'what was written is there after closing and opening again': async ({ open, name, api }) => {
    const store = name();
    let db = await open(store);
    equal(db.name, store);
    equal(db.recovery, { sequence: 0, droppedBytes: 0, report: '' });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 200; i++) await db.put(`k${round}-${i}`, { round, i });
      const sequence = await db.delete(`k${round}-0`);
      await db.close();
      db = await open(store);
      // An object opens its store when it likes, and does not say what it found.
      if (db.storage !== 'object') equal(db.recovery.sequence, sequence);
      equal(await db.scan().count(), (round + 1) * 199);
      equal(await db.get(`k${round}-7`), { round, i: 7 });
    }
    ok(!('Database' in api), 'a database is made by open only');
    await db.close();
  },

  'many memtables, then opened again': async ({ open, name }) => {
    const store = name();
    let db = await open(store, { memtableBytes: 64 << 10, valueEncoding: 'view' });
    const value = new Uint8Array(1000).fill(5);
    for (let i = 0; i < 500; i += 50) await Promise.all(Array.from({ length: 50 }, (_, j) => db.put(`k${i + j}`, value)));
    const stats = await db.stats();
    ok(stats.memtables > 1 || stats.flushes > 0);
    await db.close();
    db = await open(store, { valueEncoding: 'view' });
    equal(await db.scan().count(), 500);
    equal(await db.get('k499'), value);
    await db.close();
  },

  'two stores side by side': async ({ open }) => {
    const [one, two] = await Promise.all([open(), open()]);
    await Promise.all([one.put('k', 'one'), two.put('k', 'two'), two.put('only', 2)]);
    equal(await one.get('k'), 'one');
    equal(await two.get('k'), 'two');
    equal(await one.get('only'), undefined);
    await one.close();
    equal(await two.get('only'), 2);
    await two.close();
  },

  'several opens at once': async ({ open }) => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => open()));
    await Promise.all(stores.map((db, i) => db.put('i', i)));
    equal(await Promise.all(stores.map((db) => db.get('i'))), [0, 1, 2, 3]);
    await Promise.all(stores.map((db) => db.close()));
  },

  'names of every kind': async ({ open, name }) => {
    const base = name();
    const names = [`${base} a/b`, `${base} A/B`, `${base} ..`, `${base} %2e`, `${base} 日本`, `${base}-`.padEnd(100, '語'), `${base}-`.padEnd(99, '語')];
    for (const store of names) {
      const db = await open(store);
      equal(await db.scan().count(), 0, store);
      await db.put('name', store);
      await db.close();
    }
    for (const store of names) {
      const db = await open(store);
      equal(await db.get('name'), store);
      await db.destroy();
    }
  },

  'a second open waits, then says that the store is locked': async ({ open, name }) => {
    const store = name();
    const db = await open(store);
    const error = await rejects(open(store, { lockWaitMillis: 50 }), { name: 'TempestError', code: 'TEMPEST_LOCKED' });
    ok(error.message.includes(store), error.message);
    const waiting = open(store, { lockWaitMillis: 20000 });
    await db.put('k', 1);
    await db.close();
    const next = await waiting;
    equal(await next.get('k'), 1);
    await next.close();
  },

  'close waits for what is under way': async ({ open, name }) => {
    const store = name();
    let db = await open(store);
    const puts = Array.from({ length: 1000 }, (_, i) => db.put(`k${i}`, i));
    const get = db.get('k999');
    const closing = db.close();
    equal(await get, 999);
    ok((await Promise.all(puts)).every((sequence) => sequence > 0));
    await closing;
    db = await open(store);
    equal(await db.scan().count(), 1000);
    await db.close();
  },

  'after close calls reject, and closing again is no error': async ({ open }) => {
    const db = await open();
    await db.batch(Array.from({ length: 20000 }, (_, i) => ({ type: 'put', key: `k${i}`, value: i })));
    const iterator = db.scan()[Symbol.asyncIterator]();
    const fresh = db.scan();
    await iterator.next();
    const closing = db.close();
    const calls = () => [
      db.put('a', 1), db.get('a'), db.getMany(['a']), db.delete('a'), db.batch([]), db.stats(),
      db.scan().toArray(), db.scan({ limit: 0 }).count(), fresh[Symbol.asyncIterator]().next(),
    ];
    for (const call of calls()) await rejects(call, { name: 'TempestError', code: 'TEMPEST_CLOSED' });
    await closing;
    await rejects(iterator.next(), { code: 'TEMPEST_CLOSED' });
    equal(await iterator.next(), { done: true, value: undefined }, 'an iterator that failed is done');
    for (const call of calls()) await rejects(call, { code: 'TEMPEST_CLOSED' });
    await db.close();
    await Promise.all([db.close(), db.close()]);
  },

  'destroy deletes the store': async ({ open, name }) => {
    const store = name();
    let db = await open(store);
    await db.put('k', 1);
    await db.destroy();
    await rejects(db.get('k'), { code: 'TEMPEST_CLOSED' });
    db = await open(store);
    equal(db.recovery.sequence, 0);
    equal(await db.get('k'), undefined);
    await db.destroy();
  },

  'what is destroyed is gone before whoever waits for the store has it, and what they write stays': async ({ open, name }) => {
    const store = name();
    const one = await open(store);
    await one.put('old', 1);
    const waiting = open(store, { lockWaitMillis: 20000 });
    const destroying = one.destroy();
    let two = await waiting;
    equal(await two.get('old'), undefined);
    await two.put('precious', 1);
    await two.close();
    await destroying;
    await one.destroy();
    two = await open(store);
    equal(await two.get('precious'), 1);
    await two.destroy();
  },

  'a store that was let go is not destroyed, for it may be another\'s': async ({ open, name }) => {
    const store = name();
    const one = await open(store);
    await one.close();
    const two = await open(store);
    await two.put('precious', 1);
    await rejects(one.destroy(), { code: 'TEMPEST_CLOSED' });
    equal(await two.get('precious'), 1);
    const died = two._panic();
    await rejects(died, { code: 'TEMPEST_WORKER_DIED' });
    await rejects(two.destroy(), { code: 'TEMPEST_WORKER_DIED' });
    const three = await open(store, { lockWaitMillis: 10000 });
    equal(await three.get('precious'), 1);
    // Not let go yet: closing has only begun.
    const closing = three.close();
    await three.destroy();
    await closing;
    const four = await open(store);
    equal(await four.get('precious'), undefined);
    await four.destroy();
  },

  'names that options do not have are refused by every call': async ({ open, api }) => {
    const db = await open();
    for (const [wrong, message] of [[{ durabilty: 'strict' }, /"durabilty"/], [['strict'], /must be an object, not an array/], [null, /must be an object, not null/]]) {
      for (const call of [
        db.put('a', 1, wrong), db.delete('a', wrong), db.batch([], wrong), db.get('a', wrong), db.getMany(['a'], wrong), db.stats(wrong),
        api.open('wrong', wrong), api.destroy('wrong', wrong),
      ]) {
        await rejects(call, { name: 'TypeError', message });
      }
      throws(() => db.scan(wrong), { name: 'TypeError', message });
    }
    await rejects(db.get('a', { durability: 'strict' }), { name: 'TypeError' });
    throws(() => db.scan([]), { name: 'TypeError', message: 'a range must be an object, not an array' });
    for (const options of [{ device: new api.MemoryDevice() }, { durability: 'strict' }, { storage: 'disk' }, { signal: 1 }, { lockWaitMillis: '1' }]) {
      await rejects(api.destroy('wrong', options), { name: 'TypeError' });
    }
    const reason = new Error('changed my mind');
    await rejects(api.destroy('wrong', { signal: AbortSignal.abort(reason) }), { message: reason.message });
    equal(await db.scan().count(), 0);
    await db.close();
  },

  'calls and scans that share a signal are one listener to it': async ({ open }) => {
    const db = await open();
    await db.put('a', 1);
    const controller = new AbortController();
    const { signal } = controller;
    let [added, removed] = [0, 0];
    signal.addEventListener = (...rest) => (added++, AbortSignal.prototype.addEventListener.apply(signal, rest));
    signal.removeEventListener = (...rest) => (removed++, AbortSignal.prototype.removeEventListener.apply(signal, rest));
    const calls = () => Array.from({ length: 30 }, (_, i) => (i % 2 ? db.get('a', { signal }) : db.scan({ signal }).count()));
    equal(await Promise.all(calls()), new Array(30).fill(1));
    equal([added, removed], [1, 1], 'and none when they are over');
    const ended = calls();
    controller.abort();
    for (const call of ended) await rejects(call, { name: 'AbortError' });
    equal(added, 2);
    await db.close();
  },

  'bad names and options': async ({ open, api }) => {
    for (const bad of [undefined, null, 1, {}, '\ud800']) await rejects(api.open(bad, { storage: 'memory' }), { name: 'TypeError' });
    for (const bad of ['', 'x'.repeat(101)]) await rejects(api.open(bad, { storage: 'memory' }), { name: 'RangeError' });
    const wrong = [
      { storage: 'disk' }, { store: 'memory' }, { keyEncoding: 'latin1' }, { valueEncoding: 'xml' }, { valueEncoding: {} }, { valueEncoding: null },
      { durability: 'maybe' }, { lockWaitMillis: '5' }, { memtableBytes: '5' }, { signal: {} }, { device: {} }, { wasmUrl: 5 }, { workerUrl: 5 },
      { device: null }, { device: { read() {} } }, { signal: { aborted: false, addEventListener() {} } },
      { storage: 'memory', device: new api.MemoryDevice() },
    ];
    for (const options of wrong) await rejects(api.open('bad', { ...('device' in options ? {} : { storage: 'memory' }), ...options }), { name: 'TypeError' });
    for (const options of [{ lockWaitMillis: -1 }, { lockWaitMillis: NaN }, { memtableBytes: 1 }, { memtableBytes: 2 ** 40 }]) {
      await rejects(api.open('bad', { storage: 'memory', ...options }), { name: 'RangeError' });
    }
    await rejects(api.open('bad', null), { name: 'TypeError' });
    await rejects(api.destroy(''), { name: 'RangeError' });
    const db = await open();
    await rejects(db.get('a', 1), { name: 'TypeError' });
    await rejects(db.get('a', { signal: {} }), { name: 'TypeError' });
    await db.close();
  },

  'signals': async ({ open, api }) => {
    const db = await open();
    const reason = new Error('changed my mind');
    const aborted = AbortSignal.abort(reason);
    for (const call of [
      db.put('a', 1, { signal: aborted }), db.get('a', { signal: aborted }), db.getMany(['a'], { signal: aborted }), db.delete('a', { signal: aborted }),
      db.batch([], { signal: aborted }), db.stats({ signal: aborted }),
    ]) {
      equal(await call.catch((error) => error === reason), true);
    }
    equal(await db.get('a'), undefined, 'a call aborted before it was made does nothing');
    const controller = new AbortController();
    const { signal } = controller;
    const calls = [db.put('b', 1, { signal }), db.get('b', { signal }), db.getMany(['b'], { signal }), db.stats({ signal })];
    controller.abort();
    for (const call of calls) await rejects(call, { name: 'AbortError' });
    equal(await db.get('b'), 1, 'an aborted put may still have happened');
    const quiet = new AbortController();
    equal(await db.get('b', { signal: quiet.signal }), 1);
    quiet.abort();
    await rejects(api.open('never', { storage: 'memory', signal: aborted }), { message: reason.message });
    const late = new AbortController();
    const opening = api.open('late', { storage: 'memory', signal: late.signal });
    late.abort(reason);
    await rejects(opening, { message: reason.message });
    await db.close();
  },

  'errors are TempestErrors': async ({ open, api }) => {
    const db = await open();
    const error = await rejects(db.put('x'.repeat(70000), 1), { name: 'TempestError', code: 'TEMPEST_INVALID_KEY' });
    ok(error instanceof api.TempestError && error instanceof Error);
    throws(() => db.scan({ nonsense: 1 }), { name: 'TypeError' });
    await db.close();
  },
};

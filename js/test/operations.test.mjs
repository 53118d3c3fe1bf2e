// The bytes of the operations behind snapshots, transactions, watches and backups, by docs/PROTOCOL.md: what is sent, and what is made of the answers.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Client, Database } from '../../build/js/internal.js';
import { errorBody, FakeLink, replyFrame, sized, text, u64 } from './fake-link.mjs';

const END = sized([0xff, 0xfe]);
const turn = () => new Promise((resolve) => setImmediate(resolve));
const u32 = (value) => [...new Uint8Array(new Uint32Array([value]).buffer)];
const f64 = (value) => [...new Uint8Array(new Float64Array([value]).buffer)];

function connect() {
  const link = new FakeLink();
  const client = new Client(link);
  const db = new Database(client, { name: 'fake', storage: 'memory', supports: {}, recovery: {}, durability: 'relaxed', valueEncoding: 'utf8' });
  const reply = (...entries) => client.receive(replyFrame(entries));
  /** Waits for requests of these operations, and answers them with these bodies. Returns the requests. */
  const answer = async (...answers) => {
    const seen = link.taken ?? 0;
    for (let i = 0; link.entries.length < seen + answers.length; i++) {
      assert.ok(i < 100_000, `waits for ${answers.map(([op]) => op)}`);
      await turn();
    }
    const requests = link.entries.slice(seen, seen + answers.length);
    assert.deepEqual(requests.map(({ op }) => op), answers.map(([op]) => op));
    link.taken = seen + answers.length;
    reply(...requests.map(({ id }, i) => ({ id, body: answers[i][1] ?? [], ...answers[i][2] })));
    return requests;
  };
  /** The requests that nobody has answered. */
  const rest = async () => {
    await turn();
    return link.entries.slice(link.taken ?? 0).map(({ op }) => op);
  };
  return { link, client, db, reply, answer, rest };
}

const failed = (code) => ({ status: 2, body: errorBody(code, 'no') });

describe('writes', () => {
  test('with a time to live', async () => {
    const { db, answer } = connect();
    const before = Date.now();
    const put = db.put('k', 'v', { ttl: 1000.5 });
    const after = Date.now();
    const [{ body }] = await answer([1, u64(5)]);
    assert.equal(await put, 5);
    assert.deepEqual([...body.slice(0, 8)], [...u32(1), 3, ...sized('k'), 9]);
    const expiresAt = Number(new DataView(body.buffer).getBigUint64(8, true));
    assert.ok(expiresAt >= before + 1001 && expiresAt <= after + 1001);
    assert.equal(text(body.slice(16)), 'v');
  });

  test('times to live that are none', async () => {
    const { db } = connect();
    for (const ttl of ['1', null, {}]) await assert.rejects(db.put('k', 'v', { ttl }), TypeError);
    for (const ttl of [0, -1, NaN, Infinity, 1e300]) {
      await assert.rejects(db.put('k', 'v', { ttl }), RangeError);
      await assert.rejects(db.batch([{ type: 'put', key: 'k', value: 'v', ttl }]), RangeError);
      await assert.rejects(db.update('k', () => 'v', { ttl }), RangeError);
    }
  });

  test('that clear ranges', async () => {
    const { db, answer } = connect();
    const cases = [
      [{}, [], [0xff, 0xfe]],
      [{ gt: 'a', lte: 'b' }, [0x61, 0], [0x62, 0]],
      [{ gte: 'a', lt: 'b' }, [0x61], [0x62]],
      [{ prefix: 'a' }, [0x61], [0x62]],
      [{ gt: 'b', lt: 'a' }, [], []],
    ];
    for (const [range, start, end] of cases) {
      const clear = db.clear({ ...range, durability: 'strict' });
      const [{ flags, body }] = await answer([1, u64(7)]);
      assert.equal(await clear, 7);
      assert.equal(flags, 1);
      assert.deepEqual([...body], [...u32(1), 2, ...sized(start), ...sized(end)]);
    }
    const sub = db.sub('n').clear();
    const [{ body }] = await answer([1, u64(8)]);
    await sub;
    assert.deepEqual([...body], [...u32(1), 2, ...sized([0xff, 0xfe, 0x6e, 0, 0]), ...sized([0xff, 0xfe, 0x6e, 0, 1])]);
    await assert.rejects(db.clear({ limit: 5 }), TypeError);
    await assert.rejects(db.clear({ reverse: true }), TypeError);
  });

  test('that depend on what has not changed', async () => {
    const { db, answer } = connect();
    const operations = [
      { type: 'put', key: 'a', value: '1' },
      { type: 'delete', key: 'b' },
      { type: 'clear', range: { prefix: 'c' } },
      { type: 'clear', range: { gt: 'b', lt: 'a' } },
    ];
    const batch = db.batch(operations, { ifUnchangedSince: 2 ** 32 + 5, durability: 'strict' });
    const [{ flags, body }] = await answer([1, u64(9)]);
    assert.equal(await batch, 9);
    assert.equal(flags, 3);
    assert.deepEqual([...body], [
      ...u64(2 ** 32 + 5), ...u32(2), ...sized('a'), ...sized('b'), ...u32(1), 2 | 8, ...sized('c'), ...sized('d'),
      ...u32(4), 1, ...sized('a'), ...sized('1'), 0, ...sized('b'), 2, ...sized('c'), ...sized('d'), 2, 0, 0,
    ]);
    const given = db.batch([], { ifUnchangedSince: 0, keys: ['x'] });
    const [{ body: second }] = await answer([1, [], failed('TEMPEST_CONFLICT')]);
    await assert.rejects(given, { name: 'TempestError', code: 'TEMPEST_CONFLICT' });
    assert.deepEqual([...second], [...u64(0), ...u32(1), ...sized('x'), ...u32(0), ...u32(0)]);
    for (const options of [{ ifUnchangedSince: '1' }, { keys: ['a'] }, { ifUnchangedSince: 1, keys: 'a' }, { ifUnchangedSince: 1, keys: [1] }]) {
      await assert.rejects(db.batch([], options), TypeError);
    }
    for (const ifUnchangedSince of [-1, 1.5, NaN, 2 ** 60]) await assert.rejects(db.batch([], { ifUnchangedSince }), RangeError);
  });
});

describe('reads', () => {
  test('with a sequence number', async () => {
    const { db, answer } = connect();
    const calls = [db.getEntry('k'), db.getEntry('missing')];
    const requests = await answer([2, [...u64(77), 0x61, 0x62]], [2, [], { status: 1 }]);
    assert.deepEqual(requests.map(({ flags }) => flags), [1, 1]);
    assert.deepEqual(await Promise.all(calls), [{ value: 'ab', seq: 77 }, undefined]);
  });

  test('counts and sizes', async () => {
    const { db, answer } = connect();
    const calls = [db.count({ gt: 'a' }), db.approximateSize({ prefix: 'a' }), db.count()];
    const [count, size, all] = await answer([11, u64(3)], [12, u64(4096)], [11, u64(9)]);
    assert.deepEqual(await Promise.all(calls), [3, 4096, 9]);
    assert.deepEqual([count.flags, ...count.body], [2 | 4 | 8, ...sized('a'), ...END]);
    assert.deepEqual([size.flags, ...size.body], [2 | 8, ...sized('a'), ...sized('b')]);
    assert.deepEqual([all.flags, ...all.body], [8, 0, ...END]);
    assert.equal(await db.count({ gt: 'b', lt: 'a' }), 0);
    await assert.rejects(db.count({ limit: 1 }), TypeError);
  });

  test('what is done to the whole store', async () => {
    const { db, answer } = connect();
    const calls = [db.flush(), db.compact(), db.compact({ gte: 'a' }), db.verify()];
    const requests = await answer([13], [14], [14], [15, [...u32(2), ...sized('one'), ...sized('two'), ...sized('tables'), ...f64(3)]]);
    assert.deepEqual((await Promise.all(calls))[3], { problems: ['one', 'two'], figures: { tables: 3 } });
    assert.deepEqual(requests.slice(1, 3).map(({ flags, body }) => [flags, ...body]), [[0, 0, 0], [2 | 8, ...sized('a'), ...END]]);
  });

  test('notices are events', () => {
    const { db, reply } = connect();
    const told = [];
    for (const type of ['compaction', 'stall']) db.addEventListener(type, ({ type, detail }) => told.push([type, detail]));
    db.addEventListener('error', ({ detail }) => told.push(['error', detail.code]));
    reply({ id: 0xfffffffe, body: [...sized('compaction'), ...sized('bytes'), ...f64(5)] }, { id: 0xfffffffe, body: sized('stall') });
    reply({ id: 0xfffffffe, body: sized('nobody listens') }, { id: 0xfffffffe, ...failed('TEMPEST_IO_ERROR') });
    assert.deepEqual(told, [['compaction', { bytes: 5 }], ['stall', {}], ['error', 'TEMPEST_IO_ERROR']]);
  });
});

describe('snapshots', () => {
  test('are named by their request until they are closed', async () => {
    const { db, client, answer } = connect();
    const opening = db.snapshot();
    const [{ id }] = await answer([9, u64(41)]);
    const snapshot = await opening;
    assert.equal(snapshot.seq, 41);
    const sub = snapshot.in(db.sub('n'));
    const calls = [snapshot.get('a'), snapshot.getMany(['a']), snapshot.scan({ limit: 2 }).toArray(), snapshot.count(), sub.get('a')];
    const requests = await answer([2, [0x78]], [3, [2, 0x79]], [4, [...sized('k'), ...sized('v')], { flags: 1 }], [11, u64(1)], [2, [], { status: 1 }]);
    assert.deepEqual(await Promise.all(calls), ['x', ['y'], [['k', 'v']], 1, undefined]);
    assert.deepEqual(requests.map(({ flags }) => flags), [2, 2, 8 | 64, 8 | 64, 2]);
    for (const { body } of requests) assert.deepEqual([...body.slice(0, 4)], u32(id));
    assert.deepEqual([...requests[2].body.slice(4, 8)], u32(2));
    assert.equal(client.callCount, 1);
    const closing = snapshot.close();
    for (const call of [snapshot.get('a'), sub.getMany(['a']), snapshot.count(), snapshot.scan().toArray()]) {
      await assert.rejects(call, { code: 'TEMPEST_CLOSED', message: 'the snapshot is closed' });
    }
    const [close] = await answer([10]);
    assert.deepEqual([...close.body], u32(id));
    await closing;
    await snapshot.close();
    assert.equal(client.callCount, 0);
  });

  test('that nobody wants any more when they come are closed', async () => {
    const { db, client, answer } = connect();
    const controller = new AbortController();
    const opening = db.snapshot({ signal: controller.signal });
    await turn();
    controller.abort();
    await assert.rejects(opening, { name: 'AbortError' });
    await answer([9, u64(1)]);
    await answer([10]);
    assert.equal(client.callCount, 0);
    const failing = db.snapshot();
    await answer([9, [], failed('TEMPEST_BUSY')]);
    await assert.rejects(failing, { code: 'TEMPEST_BUSY' });
    assert.equal(client.callCount, 0);
  });

  test('end with the store', async () => {
    const { db, answer } = connect();
    const opening = db.snapshot();
    await answer([9, u64(1)]);
    const snapshot = await opening;
    const late = db.snapshot();
    const closing = db.close();
    await answer([9, u64(1)], [10]);
    await assert.rejects((await late).get('a'), { code: 'TEMPEST_CLOSED', message: 'the store is closed' });
    await assert.rejects(snapshot.get('a'), { code: 'TEMPEST_CLOSED', message: 'the store is closed' });
    await answer([10]);
    await answer([8]);
    await closing;
    await snapshot.close();
  });

  test('end with the engine', async () => {
    const { db, client, answer } = connect();
    const opening = db.snapshot();
    await answer([9, u64(1)]);
    const snapshot = await opening;
    client.receive(new Uint8Array(3));
    await assert.rejects(snapshot.get('a'), { code: 'TEMPEST_WORKER_DIED' });
    await snapshot.close();
  });

  test('that are dropped are closed, with a warning', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc');
    const { link, db, answer } = connect();
    const warnings = [];
    const { warn } = console;
    console.warn = (message) => warnings.push(message);
    try {
      await (async () => {
        const opening = db.snapshot();
        await answer([9, u64(1)]);
        await opening;
      })();
      for (let i = 0; i < 50 && link.last.op !== 10; i++) {
        collect();
        await turn();
      }
      assert.equal(link.last.op, 10);
      assert.match(warnings[0], /snapshot was never closed/);
    } finally {
      console.warn = warn;
    }
  });
});

describe('transactions', () => {
  /** Runs a transaction whose snapshot is made at `seq` and answered as told; returns its commit. */
  const run = async (body, options, ...answers) => {
    const connection = connect();
    const result = connection.db.transaction(body, options);
    result.catch(() => undefined);
    const [{ id }] = await connection.answer([9, u64(100)]);
    for (const some of answers) await connection.answer(...some);
    return { ...connection, result, id };
  };

  test('that only write are one plain write', async () => {
    const body = (tx) => {
      tx.put('b', '2');
      tx.put('a', '1');
      tx.put('b', '3');
      tx.put('c', '4');
      tx.clear({ gte: 'c' });
      tx.put('d', '5');
      tx.delete('e');
      return 'done';
    };
    const { answer, result, rest, client } = await run(body, { durability: 'strict' });
    const [{ flags, body: commit }] = await answer([1, u64(105)]);
    assert.equal(await result, 'done');
    assert.equal(flags, 1);
    assert.deepEqual([...commit], [
      ...u32(5), 2, ...sized('c'), ...END, 1, ...sized('a'), ...sized('1'), 1, ...sized('b'), ...sized('3'), 1, ...sized('d'), ...sized('5'), 0, ...sized('e'),
    ]);
    assert.deepEqual(await rest(), [10]);
    await answer([10]);
    assert.equal(client.callCount, 0);
  });

  test('that only read commit nothing', async () => {
    const { answer, result, rest } = await run(async (tx) => [await tx.get('a'), await tx.getMany(['b'])], {}, [[2, [0x78]]], [[3, [0]]]);
    assert.deepEqual(await result, ['x', [undefined]]);
    assert.deepEqual(await rest(), [10]);
    await answer([10]);
  });

  test('commit on condition of the keys they read, and of the ranges as far as they walked', async () => {
    const body = async (tx) => {
      tx.put('own', 'mine');
      assert.equal(await tx.get('own'), 'mine');
      assert.equal(await tx.get('a'), 'x');
      assert.deepEqual(await tx.getMany(['own', 'b', 'a']), ['mine', undefined, 'x']);
      for await (const [key] of tx.scan({ gt: 'k', lt: 'o' })) if (key === 'l') break;
      for await (const key of tx.scan({ lte: 'z', reverse: true }).keys()) if (key === 'y') break;
      assert.deepEqual(await tx.scan({ prefix: 'p' }).toArray(), []);
      await tx.scan({ prefix: 'never iterated' });
    };
    const entries = (...pairs) => pairs.flatMap(([key, value]) => [...sized(key), ...sized(value)]);
    const { answer, result } = await run(
      body, {},
      [[2, [0x78]]],
      [[3, [0, 2, 0x78]]],
      [[4, entries(['ka', '1'], ['l', '2'], ['m', '3']), { flags: 1 }]],
      [[4, entries(['y', ''], ['x', '']), { flags: 1 }]],
      [[4, [], { flags: 1 }]],
    );
    const [{ flags, body: commit }] = await answer([1, u64(105)]);
    await answer([10]);
    await result;
    assert.equal(flags, 2);
    assert.deepEqual([...commit], [
      ...u64(100), ...u32(2), ...sized('a'), ...sized('b'),
      ...u32(3),
      2 | 4 | 8 | 16, ...sized('k'), ...sized('l'),
      2 | 8 | 16, ...sized('y'), ...sized('z'),
      2 | 8, ...sized('p'), ...sized('q'),
      ...u32(1), 1, ...sized('own'), ...sized('mine'),
    ]);
  });

  test('run again where they conflict, as often as they may', async () => {
    let runs = 0;
    const { db, answer, client } = connect();
    const body = async (tx) => {
      runs++;
      tx.put('a', String(await tx.get('a')));
      return runs;
    };
    const result = db.transaction(body, { retries: 2 });
    result.catch(() => undefined);
    for (let i = 0; i < 3; i++) {
      await answer([9, u64(100 + i)]);
      await answer([2, [0x78]]);
      const [{ body: commit }] = await answer([1, [], failed('TEMPEST_CONFLICT')]);
      assert.deepEqual([...commit.slice(0, 8)], u64(100 + i));
      await answer([10]);
    }
    await assert.rejects(result, { code: 'TEMPEST_CONFLICT' });
    assert.equal(runs, 3);
    assert.equal(client.callCount, 0);
    await assert.rejects(db.transaction(() => 1, { retries: '1' }), TypeError);
    for (const retries of [-1, 0.5, NaN]) await assert.rejects(db.transaction(() => 1, { retries }), RangeError);
    for (const body of [undefined, null, 5, {}]) await assert.rejects(db.transaction(body), TypeError);
  });

  test('that fail write nothing, and let their snapshot go', async () => {
    const failures = [
      () => { throw new Error('mine'); },
      async (tx) => { tx.put('a', '1'); await Promise.reject(new Error('mine')); },
      async (tx) => { tx.put('a', '1'); await tx.get(5).catch(() => { throw new Error('mine'); }); },
    ];
    for (const body of failures) {
      const { result, rest, answer, client } = await run(body);
      await assert.rejects(result, { message: 'mine' });
      assert.deepEqual(await rest(), [10]);
      await answer([10]);
      assert.equal(client.callCount, 0);
    }
  });

  test('a conflict that the body made is the body\'s', async () => {
    let runs = 0;
    const body = (tx) => {
      runs++;
      throw Object.assign(new Error('inner'), { name: 'TempestError', code: 'TEMPEST_CONFLICT' });
    };
    const { result, answer } = await run(body);
    await assert.rejects(result, { message: 'inner' });
    await answer([10]);
    assert.equal(runs, 1);
  });

  test('cannot be used after their end', async () => {
    let left;
    let iterator;
    const body = async (tx) => {
      left = tx;
      iterator = tx.scan()[Symbol.asyncIterator]();
      await iterator.next();
    };
    const { db, result } = await run(body, {}, [[4, [...sized('a'), ...sized('1'), ...sized('b'), ...sized('2')]]]);
    await result;
    const ended = { code: 'TEMPEST_CLOSED', message: 'the transaction has ended' };
    for (const call of [left.get('a'), left.getMany(['a']), left.count(), iterator.next(), left.in(db.sub('n')).get('a')]) await assert.rejects(call, ended);
    for (const call of [() => left.put('a', '1'), () => left.delete('a'), () => left.clear(), () => left.scan()]) assert.throws(call, ended);
  });

  test('are given up by their signal at once', async () => {
    const controller = new AbortController();
    const { result, answer, rest } = await run(() => new Promise(() => undefined), { signal: controller.signal });
    controller.abort();
    await assert.rejects(result, { name: 'AbortError' });
    assert.deepEqual(await rest(), [10]);
    await answer([10]);
    const { db } = connect();
    await assert.rejects(db.transaction(() => 1, { signal: AbortSignal.abort(new Error('early')) }), { message: 'early' });
  });

  test('an update is one of a single key, and waits for others of it', async () => {
    const { db, answer } = connect();
    const updates = [db.update('n', (n) => `${n}+`, { ttl: 1000 }), db.update('n', () => undefined, { durability: 'strict' })];
    await answer([9, u64(5)]);
    await answer([2, [0x31]]);
    const [first] = await answer([1, u64(6)]);
    assert.deepEqual([first.flags, ...first.body.slice(0, 24)], [2, ...u64(5), ...u32(1), ...sized('n'), ...u32(0), ...u32(1), 3, ...sized('n')].slice(0, 25));
    assert.equal(await updates[0], '1+');
    await answer([10], [9, u64(6)]);
    await answer([2, [0x32]]);
    const [second] = await answer([1, u64(7)]);
    assert.equal(second.flags, 3);
    assert.deepEqual([...second.body.slice(-6)], [...u32(1).slice(1), 0, ...sized('n')].slice(-6));
    assert.equal(await updates[1], undefined);
    await assert.rejects(db.update('n', 5), TypeError);
  });
});

describe('watches', () => {
  test('commits, their changes, and gaps', async () => {
    const { db, answer, client } = connect();
    const watch = db.watch({ prefix: 'a' }, { since: 7, values: true });
    let next = watch.next();
    const [open] = await answer([16, u64(7)]);
    assert.equal(open.flags, 3);
    assert.deepEqual([...open.body], [...u64(7), ...u32(1), 2 | 8, ...sized('a'), ...sized('b')]);
    const commits = [
      ...u64(9), ...u32(2), 1, ...sized('ab'), ...sized('one'), 0, ...sized('ac'),
      ...u64(10), ...u32(2), 2, ...sized('aa'), ...sized('ac'), 3, ...sized('ad'), ...sized([...u64(5000), 0x74]),
    ];
    const [ask] = await answer([17, commits]);
    assert.deepEqual([...ask.body], [...u32(open.id), ...u32(256 << 10)]);
    const first = { seq: 9, gap: false, changes: [{ type: 'put', key: 'ab', value: 'one' }, { type: 'delete', key: 'ac' }] };
    assert.deepEqual(await next, { done: false, value: first });
    const { value: second } = await watch.next();
    assert.equal(second.seq, 10);
    const [clear, put] = second.changes;
    assert.equal(clear.type, 'clear');
    assert.deepEqual(['a', 'aa', 'abc', 'ac'].map((key) => clear.covers(key)), [false, true, true, false]);
    assert.deepEqual(put, { type: 'put', key: 'ad', value: 't', expiresAt: 5000 });
    next = watch.next();
    await answer([17, [...u64(20), ...u64(21), ...u32(1), 0, ...sized('ab')], { flags: 1 }]);
    assert.deepEqual(await next, { done: false, value: { seq: 20, changes: [], gap: true } });
    assert.deepEqual((await watch.next()).value, { seq: 21, gap: false, changes: [{ type: 'delete', key: 'ab' }] });
    next = watch.next();
    await turn();
    const ended = watch.return();
    await answer([17, [], failed('TEMPEST_CLOSED')], [18]);
    assert.deepEqual(await next, { done: true, value: undefined });
    await ended;
    assert.deepEqual(await watch.next(), { done: true, value: undefined });
    assert.equal(client.callCount, 0);
  });

  test('tell of every write made after them: it is sent when they are there', async () => {
    const { db, link, answer, rest } = connect();
    db.put('before', '1');
    const one = db.watch();
    const put = db.put('a', '1');
    const two = db.watch();
    const get = db.get('a');
    db.watch({}, { since: 0 });
    await turn();
    assert.equal(link.frames.length, 1);
    await answer([1, u64(1)], [16, u64(1)]);
    await answer([1, u64(2)], [16, [], failed('TEMPEST_BUSY')]);
    assert.equal(await put, 2);
    await assert.rejects(two.next(), { code: 'TEMPEST_BUSY' });
    assert.deepEqual(await rest(), [2, 16], 'a watch that says where it begins holds up nothing');
    const next = one.next();
    await answer([2, [], { status: 1 }], [16, u64(0)], [17, [...u64(2), ...u32(1), 1, ...sized('a')]]);
    assert.equal(await get, undefined);
    assert.equal((await next).value.seq, 2);
  });

  test('of keys, without values', async () => {
    const { db, answer } = connect();
    const watch = db.sub('n').watch(['x', '']);
    const next = watch.next();
    const [{ flags, body }] = await answer([16, u64(0)]);
    const prefix = [0xff, 0xfe, 0x6e, 0, 0];
    assert.equal(flags, 0);
    assert.deepEqual([...body.slice(8)], [...u32(2), 26, ...sized([...prefix, 0x78]), ...sized([...prefix, 0x78]), 26, ...sized(prefix), ...sized(prefix)]);
    await answer([17, [...u64(1), ...u32(2), 1, ...sized([...prefix, 0x78]), 3, ...sized(prefix)]]);
    assert.deepEqual((await next).value.changes, [{ type: 'put', key: 'x' }, { type: 'put', key: '' }]);
  });

  test('end by their signal, by close, and by the death of the engine', async () => {
    const ends = [
      [({ controller }) => controller.abort(), { name: 'AbortError' }],
      [({ db }) => void db.close(), { code: 'TEMPEST_CLOSED' }],
      [({ client }) => client.receive(new Uint8Array(1)), { code: 'TEMPEST_WORKER_DIED' }],
    ];
    for (const [end, error] of ends) {
      const connection = { ...connect(), controller: new AbortController() };
      const { db, answer, reply, link } = connection;
      const watch = db.watch({}, { signal: connection.controller.signal });
      const next = watch.next();
      await answer([16, u64(0)]);
      await turn();
      end(connection);
      await turn();
      if (error.code !== 'TEMPEST_WORKER_DIED') {
        const [waiting, close] = link.entries.slice(-2);
        assert.deepEqual([waiting.op, close.op], [17, 18]);
        reply({ id: waiting.id, ...failed('TEMPEST_CLOSED') }, { id: close.id });
      }
      await assert.rejects(next, error);
      assert.equal((await watch.next()).done, true);
    }
  });

  test('that cannot be', async () => {
    const { db } = connect();
    for (const what of [1, null, [1], { limit: 5 }, { reverse: true }]) assert.throws(() => db.watch(what), TypeError);
    for (const options of [{ since: '1' }, { values: 1 }, { from: 1 }]) assert.throws(() => db.watch({}, options), TypeError);
    assert.throws(() => db.watch({}, { since: -1 }), RangeError);
    assert.throws(() => db.watch({}, { signal: AbortSignal.abort(new Error('early')) }), { message: 'early' });
    assert.deepEqual(await db.watch([]).next(), { done: true, value: undefined });
    assert.deepEqual(await db.watch({ gt: 'b', lt: 'a' }).next(), { done: true, value: undefined });
  });

  test('live queries watch what they have read', async () => {
    const { db, answer, client } = connect();
    const query = db.liveQuery(async (view) => [await view.get('a'), await view.in(db.sub('n')).count()]);
    const inside = sized([0xff, 0xfe, 0x6e, 0, 0]);
    const behind = sized([0xff, 0xfe, 0x6e, 0, 1]);
    let next = query.next();
    await answer([9, u64(5)]);
    await answer([2, [0x78]]);
    await answer([4, [], { flags: 1 }]);
    assert.deepEqual(await next, { done: false, value: ['x', 0] });
    next = query.next();
    const [, watch] = await answer([10], [16, u64(5)]);
    assert.equal(watch.flags, 1);
    assert.deepEqual([...watch.body], [...u64(5), ...u32(2), 26, ...sized('a'), ...sized('a'), 10, ...inside, ...behind]);
    await answer([17, [...u64(6), ...u32(1), 0, ...sized('a')]]);
    await answer([18], [9, u64(6)]);
    await answer([2, [], { status: 1 }]);
    await answer([4, [], { flags: 1 }]);
    assert.deepEqual((await next).value, [undefined, 0]);
    await answer([10]);
    next = query.next();
    await answer([16, u64(6)]);
    await turn();
    const ended = query.return();
    await answer([17, [], failed('TEMPEST_CLOSED')], [18]);
    await ended;
    assert.deepEqual(await next, { done: true, value: undefined });
    assert.equal(client.callCount, 0);
    assert.throws(() => db.liveQuery(5), TypeError);
  });
});

describe('exports', () => {
  test('piece by piece, as they are read', async () => {
    const { db, answer, rest, client } = connect();
    const progress = [];
    const stream = db.export({ onProgress: (state) => progress.push(state) });
    const [{ id }] = await answer([19, u64(5)]);
    assert.deepEqual(await rest(), [], 'nothing is fetched before it is read');
    const reader = stream.getReader();
    let read = reader.read();
    const [next] = await answer([20, [1, 2, 3]]);
    assert.deepEqual([...next.body], [...u32(id), ...u32(256 << 10)]);
    assert.deepEqual(await read, { done: false, value: Uint8Array.of(1, 2, 3) });
    read = reader.read();
    await answer([20, [4, 5], { flags: 1 }]);
    assert.deepEqual([...(await read).value], [4, 5]);
    assert.equal((await reader.read()).done, true);
    await answer([21]);
    assert.deepEqual(progress, [{ bytes: 3, totalBytes: 5 }, { bytes: 5, totalBytes: 5 }]);
    assert.equal(client.callCount, 0);
  });

  test('that are cancelled, aborted or fail are closed', async () => {
    const { db, answer, client } = connect();
    const stream = db.export();
    await answer([19, u64(0)]);
    const cancelled = stream.cancel();
    await answer([21]);
    await cancelled;
    const controller = new AbortController();
    const reader = db.export({ signal: controller.signal }).getReader();
    const aborted = reader.read();
    await answer([19, u64(0)]);
    await turn();
    controller.abort();
    await assert.rejects(aborted, { name: 'AbortError' });
    await answer([20], [21]);
    const failing = db.export().getReader().read();
    await answer([19, u64(0)]);
    await answer([20, [], failed('TEMPEST_CORRUPTION')]);
    await assert.rejects(failing, { code: 'TEMPEST_CORRUPTION' });
    await answer([21]);
    assert.equal(client.callCount, 0);
    assert.throws(() => db.export({ speed: 1 }), TypeError);
  });
});

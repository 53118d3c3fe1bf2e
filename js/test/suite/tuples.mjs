import { equal, rejects, throws } from './assert.mjs';

const bytes = (...values) => Uint8Array.from(values);

/** In the order of tuples. */
const KEYS = [
  [],
  [null],
  [null, 1],
  [false],
  [true],
  [-Infinity],
  [-1.5],
  [0],
  [2],
  [10],
  [Infinity],
  [-(2n ** 100n)],
  [-1n],
  [0n],
  [2n],
  [2n ** 100n],
  [new Date(-1)],
  [new Date(0)],
  [''],
  ['a'],
  ['a', 'b'],
  ['a\0'],
  ['ab'],
  ['é'],
  ['\uffff'],
  ['𝒳'],
  [bytes()],
  [bytes(0)],
  [bytes(255, 255)],
  [[]],
  [[], 1],
  [['a']],
  [['a', ['b']]],
];

export default {
  'tuples order part by part, and come back as they were': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'tuple' });
    await db.batch(KEYS.map((key, i) => ({ type: 'put', key, value: i })).reverse());
    equal(await db.scan().toArray(), KEYS.map((key, i) => [key, i]));
    equal(await db.scan({ reverse: true }).keys().toArray(), [...KEYS].reverse());
    equal(await db.getMany(KEYS), KEYS.map((_, i) => i));
    for (const [i, key] of KEYS.entries()) {
      equal(await db.get(key), i);
      equal(await db.scan({ gt: key }).values().toArray(), KEYS.map((_, j) => j).slice(i + 1));
      equal(await db.scan({ lte: key }).count(), i + 1);
    }
    equal(await db.get([-0]), await db.get([0]));
    await db.delete([0n]);
    equal(await db.getMany([[0n], [0]]), [undefined, KEYS.findIndex(([part]) => part === 0)]);
    await db.close();
  },

  'a prefix is of whole parts': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'tuple' });
    const keys = [
      ['user'], ['user', 1], ['user', 1, 'x'], ['user', 1, ['y']], ['user', 1n], ['user', 10], ['user', '1'], ['user', '1', 1],
      ['user', '1\0'], ['user', '1\x01'], ['user', '10'], ['user', bytes(1)], ['user', bytes(1), 1], ['user', bytes(1, 0)],
      ['user', [1]], ['user', [1], 2], ['user', [1, 2]],
      ['users'], ['users', 1], ['user\0', 1],
    ];
    await db.batch(keys.map((key) => ({ type: 'put', key, value: 1 })));
    const under = (prefix) => db.scan({ prefix }).keys().toArray();
    equal(await under(['user', 1]), [['user', 1], ['user', 1, 'x'], ['user', 1, ['y']]]);
    equal(await under(['user', '1']), [['user', '1'], ['user', '1', 1]]);
    equal(await under(['user', bytes(1)]), [['user', bytes(1)], ['user', bytes(1), 1]]);
    equal(await under(['user', [1]]), [['user', [1]], ['user', [1], 2]]);
    equal(await under(['users']), [['users'], ['users', 1]]);
    equal(await under(['use']), []);
    equal((await under(['user'])).length, keys.length - 3);
    equal((await under([])).length, keys.length);
    equal(await db.scan({ prefix: ['user', 1], gt: ['user', 1], reverse: true }).keys().toArray(), [['user', 1, ['y']], ['user', 1, 'x']]);
    equal(await db.scan({ gte: ['user', 1], lt: ['user', 10] }).count(), 3);
    await db.close();
  },

  'bad tuples': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'tuple' });
    const cyclic = [];
    cyclic.push([cyclic]);
    const wrong = [undefined, NaN, new Date(NaN), '\ud800', {}, () => 1, Symbol('s')].map((part) => [part]);
    for (const key of [undefined, null, 'a', 1, bytes(1), {}, new Array(1), cyclic, ...wrong]) {
      for (const call of [db.put(key, 1), db.get(key), db.delete(key), db.getMany([['ok'], key]), db.batch([{ type: 'put', key, value: 1 }])]) {
        await rejects(call, { name: 'TypeError' });
      }
      if (key !== undefined) throws(() => db.scan({ prefix: key }), { name: 'TypeError' });
    }
    let deep = [];
    for (let i = 0; i < 100; i++) deep = [deep];
    await rejects(db.put(deep, 1), { name: 'RangeError' });
    for (const part of ['x'.repeat(65535), new Uint8Array(32768), 2n ** 600_000n]) {
      await rejects(db.put([part], 1), { name: 'TempestError', code: 'TEMPEST_INVALID_KEY' });
    }
    equal(await db.scan().count(), 0);
    const largest = ['x'.repeat(65534)];
    await db.put(largest, 1);
    equal(await db.scan().toArray(), [[largest, 1]]);
    await db.close();
  },

  'a key that is no tuple is corruption for those who read tuples': async ({ open, name }) => {
    const store = name();
    let db = await open(store, { keyEncoding: 'view' });
    await db.batch([bytes(0x61), bytes(0x38, 0x61), bytes(0xff)].map((key) => ({ type: 'put', key, value: 1 })));
    await db.close();
    db = await open(store, { keyEncoding: 'tuple' });
    await rejects(db.scan().toArray(), { code: 'TEMPEST_CORRUPTION' });
    await rejects(db.scan({ reverse: true, limit: 1 }).keys().toArray(), { code: 'TEMPEST_CORRUPTION' });
    equal(await db.scan().values().toArray(), [1, 1, 1]);
    equal(await db.get(['a']), undefined);
    await db.close();
  },
};

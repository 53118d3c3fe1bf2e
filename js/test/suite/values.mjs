import { equal, rejects } from './assert.mjs';

const shared = { a: 1 };
const circular = { name: 'circular', list: [] };
circular.self = circular;
circular.list.push(circular, circular.list);
const circularMap = new Map();
circularMap.set('self', circularMap).set(circularMap, new Set([circularMap]));

/** What the default encoding gives back as it was. */
export const SAMPLES = {
  null: null,
  undefined: undefined,
  booleans: [true, false],
  integers: [0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, -1, -32, -33, -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1],
  floats: [0.5, NaN, Infinity, -Infinity, Number.MAX_SAFE_INTEGER, Number.MIN_VALUE, Number.MAX_VALUE],
  bigints: [0n, 1n, -1n, 2n ** 63n - 1n, 2n ** 63n, -(2n ** 63n), -(2n ** 63n) - 1n, 2n ** 64n - 1n, 2n ** 64n, 2n ** 127n, -(2n ** 127n), -(2n ** 128n), 3n ** 500n, -(3n ** 500n)],
  'short string': 'héllo',
  strings: ['', 'a', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(255), 'x'.repeat(256), 'é'.repeat(16), '𝒳'.repeat(100), 'x'.repeat(70000), '日'.repeat(30000)],
  'byte order marks': ['\ufeff', '\ufeffx', `\ufeff${'y'.repeat(100)}`],
  bytes: [new Uint8Array(0), new Uint8Array([0, 255, 1]), new Uint8Array(300).fill(7), new Uint8Array(70000).fill(9)],
  'top-level bytes': new Uint8Array([1, 2, 3]),
  'typed arrays': [
    new Int8Array([-1]), new Uint8ClampedArray([255]), new Int16Array([-2, 3]), new Uint16Array([65535]), new Int32Array([-4]),
    new Uint32Array([2 ** 32 - 1]), new Float32Array([1.5]), new Float64Array([Math.PI]), new BigInt64Array([-5n]), new BigUint64Array([2n ** 64n - 1n]),
    new Uint8Array([1, 2, 3, 4]).buffer, new DataView(new ArrayBuffer(3)),
  ],
  dates: [new Date(0), new Date(1), new Date(1700000000123), new Date(-1), new Date(-62135596800000), new Date(8.64e15), new Date(-8.64e15), new Date(2 ** 32 * 1000), new Date(2 ** 34 * 1000), new Date(NaN)],
  arrays: [[], [1, [2, [3, []]]], new Array(20).fill('x'), Array.from({ length: 70000 }, (_, i) => i)],
  objects: [{}, { a: { b: { c: null } } }, Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`key${i}`, i])), { '': 1, 'ключ': 2, ['x'.repeat(40)]: 3 }],
  'properties named as methods': { constructor: 1, toJSON: 2, hasOwnProperty: 3, toString: null, length: 4 },
  'objects of many shapes': Array.from({ length: 600 }, (_, i) => ({ [`key${i % 200}`]: i, i })),
  'an object of many properties': Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`key${i}`, i])),
  maps: [new Map(), new Map([[1, 'one'], ['two', 2], [{ k: 1 }, [3]], [undefined, null]])],
  sets: [new Set(), new Set([1, 'a', null, undefined, new Set([2])])],
  errors: [new TypeError('wrong', { cause: new RangeError('deep') }), new Error('plain'), new AggregateError([], 'several'), new Error('', { cause: undefined }), Object.assign(new Error('named'), { name: 'MyError' })],
  'regular expressions': [/a+b/gi, new RegExp('/', 'u')],
  'shared structure': [shared, shared, new Map([['x', shared]])],
  'shared bytes and dates': ((bytes, date) => [bytes, date, bytes, date])(new Uint8Array([1]), new Date(5)),
  'circular structure': circular,
  'circular map and set': circularMap,
  'many objects, one of them twice': ((list) => [...list, list[50]])(Array.from({ length: 100 }, (_, i) => ({ i }))),
};

class Point {
  constructor(x, y) {
    this.x = x;
    this.y = y;
  }
  get sum() {
    return this.x + this.y;
  }
}

export default {
  'values of every kind come back as they were': async ({ open }) => {
    const db = await open();
    for (const [name, value] of Object.entries(SAMPLES)) {
      await db.put('k', value);
      equal(await db.get('k'), value, name);
    }
    await db.close();
  },

  'instances of classes come back as plain objects, holes as undefined, -0 as 0': async ({ open }) => {
    const db = await open();
    await db.put('k', [new Point(1, 2), Object.assign(Object.create(null), { a: 1 })]);
    equal(await db.get('k'), [{ x: 1, y: 2 }, { a: 1 }]);
    await db.put('k', new Array(3));
    equal(await db.get('k'), [undefined, undefined, undefined]);
    await db.put('k', [-0, new Float64Array([-0])]);
    equal(await db.get('k'), [0, new Float64Array([-0])]);
    await db.close();
  },

  'what structured cloning leaves out is left out, and what comes back otherwise is documented': async ({ open }) => {
    const db = await open();
    const back = async (value) => {
      await db.put('k', value);
      return db.get('k');
    };
    equal(await back({ a: 1, [Symbol('s')]: 2 }), { a: 1 });
    equal(await back(Object.defineProperty({ a: 1 }, 'hidden', { value: 2 })), { a: 1 });
    equal(await back({ get sum() { return 3; } }), { sum: 3 });
    for (const added of [new Map(), new Set(), new Date(0), /a/, new Error('e'), new Uint8Array(1)]) {
      equal(Object.hasOwn((await back([Object.assign(added, { code: 1 })]))[0], 'code'), false);
    }
    equal((await back(Object.assign(/a/g, { lastIndex: 3 }))).lastIndex, 0);
    equal(Object.keys(await back(Object.assign([1], { extra: 2 }))), ['0']);
    equal((await back(new Error('e'))).stack, undefined);
    const buffer = new ArrayBuffer(16);
    const [one, two] = await back([new Uint8Array(buffer, 0, 4), new Uint8Array(buffer, 4)]);
    equal([one.buffer.byteLength, two.buffer.byteLength, one.buffer === two.buffer], [4, 12, false]);
    await db.close();
  },

  'what cannot be stored is a TypeError and leaves nothing behind': async ({ open }) => {
    const db = await open();
    const gone = new Float64Array(4);
    structuredClone(gone, { transfer: [gone.buffer] });
    const ownCause = new Error('circular');
    ownCause.cause = [ownCause];
    const bad = [
      () => 1, Symbol('s'), { deep: [() => 1] }, Promise.resolve(1), new WeakMap(), new WeakRef({}), Object('boxed'), [Symbol.iterator], class {},
      '\ud800', ['a\udfffb'], { '\udfff': 1 }, [`${'x'.repeat(5000)}\ud800`], new Map([['\ud800', 1]]), new Set(['\ud800']), new Error('\ud800'),
      new RegExp('\ud800'), JSON.parse('{"__proto__":1}'), { __keys__: 1 }, [gone], [gone.buffer], ownCause,
      new (class extends Map {})(), [new (class extends Uint8Array {})()], Object.create(Object.assign(Object.create(null), { inherited: 1 })),
      Object.create({ get [Symbol.toStringTag]() { return 'Date'; } }),
    ];
    const others = [];
    for (const value of bad) {
      others.push(db.put('good', 1));
      await rejects(db.put('bad', value), { name: 'TypeError' });
      await rejects(db.batch([{ type: 'put', key: 'bad', value: 1 }, { type: 'put', key: 'bad', value }]), { name: 'TypeError' });
    }
    await Promise.all(others);
    equal(await db.get('bad'), undefined);
    equal(await db.get('good'), 1);
    let deep = [];
    for (let i = 0; i < 5000; i++) deep = [deep];
    await rejects(db.put('bad', deep), { name: 'RangeError' });
    await db.close();
  },

  'bytes in a value have a buffer of their own, and are copied during the call': async ({ open }) => {
    const db = await open();
    const changing = new Uint8Array([1, 2, 3]);
    const puts = [db.put('top', changing), db.put('deep', { changing })];
    changing.fill(9);
    await Promise.all(puts);
    const [top, { changing: deep }] = await db.getMany(['top', 'deep']);
    for (const bytes of [top, deep]) {
      equal(bytes, new Uint8Array([1, 2, 3]));
      equal(bytes.buffer.byteLength, 3);
    }
    await db.close();
  },

  'a getter that calls another database': async ({ open }) => {
    const db = await open();
    const other = await open();
    const large = 'x'.repeat(2 << 20);
    const puts = [];
    const value = {
      before: 'a'.repeat(100),
      get trap() {
        puts.push(other.put('k', { large }));
        return 1;
      },
      after: ['b'.repeat(100), new Uint8Array(5)],
    };
    await db.put('k', value);
    await Promise.all(puts);
    equal(await db.get('k'), { ...value });
    equal(await other.get('k'), { large });
    await Promise.all([...puts, db.close()]);
    await other.close();
  },

  'a getter that calls the database is refused, and the database goes on': async ({ open }) => {
    const db = await open();
    let inner;
    await db.put('k', {
      get trap() {
        inner = rejects(db.put('inner', 1), { name: 'TypeError' });
        return 1;
      },
    });
    await inner;
    equal(await db.get('k'), { trap: 1 });
    equal(await db.get('inner'), undefined);
    await db.close();
  },

  'values of 1 MiB': async ({ open }) => {
    const db = await open(undefined, { valueEncoding: 'view' });
    const value = new Uint8Array(1 << 20).map((_, i) => i * 31);
    await Promise.all(Array.from({ length: 8 }, (_, i) => db.put(`k${i}`, value)));
    equal(await db.get('k7'), value);
    equal((await db.scan().values().toArray()).length, 8);
    await db.close();
  },

  'values as json': async ({ open }) => {
    const db = await open(undefined, { valueEncoding: 'json' });
    await db.put('k', { a: [1, 'ü'], d: new Date(0) });
    equal(await db.get('k'), { a: [1, 'ü'], d: '1970-01-01T00:00:00.000Z' });
    await db.put('k', 'x'.repeat(100000));
    equal(await db.get('k'), 'x'.repeat(100000));
    for (const value of [undefined, () => 1, Symbol('s')]) await rejects(db.put('k', value), { name: 'TypeError' });
    await rejects(db.put('k', 1n), { name: 'TypeError' });
    await db.close();
  },

  'values as text': async ({ open }) => {
    const db = await open(undefined, { valueEncoding: 'utf8' });
    for (const value of ['', 'a', '\ufeffx', 'ü'.repeat(50), 'x'.repeat(200000) + '日']) {
      await db.put('k', value);
      equal(await db.get('k'), value);
    }
    await rejects(db.put('k', '\ud800'), { name: 'TypeError' });
    await rejects(db.put('k', 1), { name: 'TypeError' });
    await db.close();
  },

  'values as bytes, from any view': async ({ open }) => {
    const db = await open(undefined, { valueEncoding: 'view' });
    const bytes = new Uint8Array([9, 1, 2, 3, 9]);
    const inputs = [bytes.subarray(1, 4), bytes.slice(1, 4).buffer, new DataView(bytes.buffer, 1, 3)];
    for (const input of inputs) {
      await db.put('k', input);
      const value = await db.get('k');
      equal(value, new Uint8Array([1, 2, 3]));
      equal(value.buffer.byteLength, 3, 'the result has a buffer of its own');
    }
    const gone = new Uint8Array(4);
    structuredClone(gone, { transfer: [gone.buffer] });
    await rejects(db.put('k', gone), { name: 'TypeError' });
    await rejects(db.put('k', gone.buffer), { name: 'TypeError' });
    await rejects(db.put('k', [1]), { name: 'TypeError' });
    const changing = new Uint8Array([1]);
    const put = db.put('k', changing);
    changing[0] = 2;
    await put;
    equal(await db.get('k'), new Uint8Array([1]), 'bytes are copied during the call');
    await db.close();
  },

  'values in an encoding of one\'s own': async ({ open }) => {
    const valueEncoding = {
      name: 'point',
      encode: ({ x, y }) => new Uint8Array([x, y]),
      decode: ([x, y]) => new Point(x, y),
    };
    const db = await open(undefined, { valueEncoding });
    await db.put('k', new Point(3, 4));
    equal((await db.get('k')).sum, 7);
    equal((await db.scan().values().toArray())[0].sum, 7);
    await db.close();
    const broken = await open(undefined, {
      valueEncoding: {
        encode: (value) => value,
        decode: () => {
          throw new Error('no');
        },
      },
    });
    await rejects(broken.put('k', 'text'), { name: 'TypeError' });
    await broken.put('k', new Uint8Array(1));
    await rejects(broken.get('k'), { code: 'TEMPEST_INVALID_VALUE' });
    await rejects(broken.scan().toArray(), { code: 'TEMPEST_INVALID_VALUE' });
    equal((await broken.stats()).openScans, 0);
    await broken.close();
  },

  'a value stored in another encoding is an error, not nonsense': async ({ open, name }) => {
    const store = name();
    let db = await open(store, { valueEncoding: 'view' });
    await db.put('bad', new Uint8Array([0xc1]));
    await db.put('cut', new Uint8Array([0x92, 0x01]));
    await db.put('more', new Uint8Array([0x01, 0x02]));
    await db.put('good', new Uint8Array([0x2a]));
    await db.close();
    db = await open(store);
    for (const key of ['bad', 'cut', 'more']) await rejects(db.get(key), { name: 'TempestError', code: 'TEMPEST_INVALID_VALUE' });
    equal(await db.get('good'), 42);
    await db.close();
  },
};

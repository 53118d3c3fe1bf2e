import { equal, ok, rejects } from './assert.mjs';

const bytes = (...items) => new Uint8Array(items);

async function textOf(stream) {
  let text = '';
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
  }
}

const VALUES = {
  simple: [null, true, false, 0, 1.5, -7, 'text', '', '\u0000\u2028"\\\ud83d\ude00', [], [1, [2]], {}, { a: { b: 1 } }],
  numbers: [NaN, Infinity, -Infinity, 2n ** 70n, -1n, undefined],
  times: [new Date(0), new Date(-1), new Date(NaN), new Date(8.64e15)],
  collections: [new Map([[1, 'one'], [{ a: 1 }, new Map()]]), new Set([1, new Set(['x'])])],
  binary: [bytes(0, 255), bytes(), new Float64Array([1.5, -0]), new Uint16Array([1, 65535]), new BigInt64Array([-1n]), new DataView(new ArrayBuffer(3)), new ArrayBuffer(2)],
  others: [/a\/b/gi, new TypeError('wrong', { cause: new Error('deep') }), Object.assign(new Error('mine'), { name: 'MyError' })],
  'objects that look tagged': [{ $date: 1 }, { $map: [] }, { $: 1 }, { $object: { $a: 1 } }, { $a: 1, $b: 2 }, { $undefined: undefined }],
};

export default {
  'entries as lines of JSON come back as they were': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'tuple' });
    const entries = [
      [[null, true, -0.5, 10n, new Date(5), 'k\0', bytes(1, 2), ['nested', [Infinity]]], VALUES],
      ...Object.entries(VALUES).map(([name, value]) => [['v', name], value]),
      [[], 'the empty key'],
    ];
    await db.batch(entries.map(([key, value]) => ({ type: 'put', key, value })));
    const stored = await db.scan().toArray();
    const text = await textOf(db.exportNdjson());
    equal(text.split('\n').length, entries.length + 1);
    ok(text.endsWith('\n'));
    const copy = db.sub('copy');
    // Pieces cut in the middle of lines and characters, as text and as bytes.
    const encoded = new TextEncoder().encode(text);
    const pieces = function* (size, of) {
      for (let at = 0; at < of.length; at += size) yield of.slice(at, at + size);
    };
    for (const source of [[text], pieces(7, encoded), pieces(100, text), db.exportNdjson(), new Blob([text]).stream(), [text.trimEnd()], [text.replaceAll('\n', '\r\n\n')]]) {
      await copy.batch(stored.map(([key]) => ({ type: 'delete', key })));
      equal(await copy.scan().count(), 0);
      equal(await copy.importNdjson(source), entries.length);
      equal(await copy.scan().toArray(), stored);
    }
    equal((await textOf(db.exportNdjson({ prefix: ['v'], limit: 2, reverse: true }))).split('\n').length, 3);
    await db.close();
  },

  'the format of lines': async ({ open }) => {
    const db = await open();
    await db.put('a', [1, new Date(0), bytes(1, 2, 3), 5n, { $x: new Set([undefined]) }, NaN]);
    const line = '{"key":"a","value":[1,{"$date":"1970-01-01T00:00:00.000Z"},{"$bytes":"AQID"},{"$bigint":"5"},{"$object":{"$x":{"$set":[{"$undefined":true}]}}},{"$number":"NaN"}]}\n';
    equal(await textOf(db.exportNdjson()), line);
    await db.close();
  },

  'lines of stores in other encodings': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'view', valueEncoding: 'json' });
    await db.put(bytes(255, 0), { $date: 'x' });
    equal(await textOf(db.exportNdjson()), '{"key":{"$bytes":"/wA="},"value":{"$object":{"$date":"x"}}}\n');
    const copy = db.sub('copy');
    equal(await copy.importNdjson(db.exportNdjson()), 1);
    equal(await copy.scan().toArray(), [[bytes(255, 0), { $date: 'x' }]]);
    const custom = { valueEncoding: { encode: ({ x }) => bytes(x), decode: ([x]) => ({ x }) } };
    const points = db.sub('points', custom);
    await points.put(bytes(1), { x: 9 });
    equal(await textOf(points.exportNdjson()), '{"key":{"$bytes":"AQ=="},"value":{"$bytes":"CQ=="}}\n');
    const more = db.sub('more', custom);
    await more.importNdjson(points.exportNdjson());
    equal(await more.get(bytes(1)), { x: 9 });
    await db.close();
  },

  'many lines, their progress and their end': async ({ open }) => {
    const db = await open();
    const count = 5000;
    await db.batch(Array.from({ length: count }, (_, i) => ({ type: 'put', key: `k${String(i).padStart(5, '0')}`, value: { i, text: 'x'.repeat(100) } })));
    const copy = db.sub('copy');
    const progress = [];
    equal(await copy.importNdjson(db.exportNdjson(), { onProgress: (entries) => progress.push(entries), durability: 'strict' }), count);
    equal(progress, [1000, 2000, 3000, 4000, 5000]);
    equal(await copy.scan().toArray(), await db.scan().toArray());
    const reader = db.exportNdjson().getReader();
    await reader.read();
    equal((await db.stats()).openScans, 1);
    await reader.cancel();
    equal((await db.stats()).openScans, 0);
    const controller = new AbortController();
    const aborted = db.exportNdjson({ signal: controller.signal }).getReader();
    await aborted.read();
    controller.abort();
    await rejects((async () => { for (;;) await aborted.read(); })(), { name: 'AbortError' });
    equal((await db.stats()).openScans, 0);
    const half = new AbortController();
    const other = db.sub('half');
    await rejects(other.importNdjson(db.exportNdjson(), { signal: half.signal, onProgress: () => half.abort() }), { name: 'AbortError' });
    equal(await other.scan().count(), 1000, 'what was put before stays');
    await db.close();
  },

  'lines that are none': async ({ open }) => {
    const db = await open();
    const bad = [
      '1', '[]', 'null', '{}', '{"key":"a"}', '{"value":1}', '{"key":"a","value":1', 'nonsense', '{"key":"a","value":{"$date":1}}', '{"key":"a","value":{"$what":1}}',
      '{"key":"a","value":{"$number":"5"}}', '{"key":"a","value":{"$bigint":"x"}}', '{"key":"a","value":{"$bytes":"*"}}', '{"key":"a","value":{"$view":["Map","AQ=="]}}',
      '{"key":"a","value":{"$map":[1]}}', '{"key":"a","value":{"$object":1}}', '{"key":"a","value":{"$regexp":["(",""]}}', '{"key":"a","value":{"$error":[]}}',
    ];
    for (const line of bad) {
      await rejects(db.importNdjson([`{"key":"ok","value":1}\n\n${line}`]), { code: 'TEMPEST_INVALID_ARGUMENT', message: /line 3 is no entry/ });
    }
    equal(await db.scan().count(), 0);
    for (const source of [[bytes(0xc3)], [bytes(0xff)]]) await rejects(db.importNdjson(source), { code: 'TEMPEST_INVALID_ARGUMENT', message: /UTF-8/ });
    for (const source of [[1], [null]]) await rejects(db.importNdjson(source), { name: 'TypeError' });
    for (const source of [undefined, null, 5]) await rejects(db.importNdjson(source), { name: 'TypeError' });
    await rejects(db.importNdjson([], { speed: 9 }), { name: 'TypeError' });
    await rejects(db.importNdjson(['{"key":5,"value":1}']), { name: 'TypeError' });
    const circular = [];
    circular.push(circular);
    await db.put('c', circular);
    await rejects(textOf(db.exportNdjson()), { name: 'TypeError', message: /contains itself/ });
    equal((await db.stats()).openScans, 0);
    await db.close();
  },
};

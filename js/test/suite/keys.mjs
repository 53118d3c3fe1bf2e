import { equal, ok, random, rejects } from './assert.mjs';

function compareBytes(a, b) {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

export default {
  'keys order by their UTF-8 bytes': async ({ open }) => {
    const db = await open();
    const keys = ['', 'a', 'B', 'aa', 'ä', 'z', '\ufeff', '\uffff', '𝒳', '日本', 'x'.repeat(300), 'é'.repeat(64), `${'a'.repeat(127)}é`];
    await db.batch(keys.map((key) => ({ type: 'put', key, value: key })));
    const encoder = new TextEncoder();
    const sorted = [...keys].sort((a, b) => compareBytes(encoder.encode(a), encoder.encode(b)));
    equal(await db.scan().toArray(), sorted.map((key) => [key, key]));
    equal(await db.scan({ reverse: true }).keys().toArray(), [...sorted].reverse());
    equal(await db.getMany(keys), keys);
    await db.close();
  },

  'the empty key is a key like any other': async ({ open }) => {
    const db = await open();
    equal(await db.get(''), undefined);
    await db.put('', 'empty');
    await db.put('a', 1);
    equal(await db.get(''), 'empty');
    equal(await db.getMany(['', 'a', 'b']), ['empty', 1, undefined]);
    equal(await db.scan({ gt: '' }).keys().toArray(), ['a']);
    equal(await db.scan({ lte: '' }).keys().toArray(), ['']);
    equal(await db.scan({ prefix: '' }).count(), 2);
    await db.delete('');
    equal(await db.get(''), undefined);
    await db.close();
  },

  'binary keys': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'view', valueEncoding: 'view' });
    const below = random(1);
    const keys = Array.from({ length: 500 }, () => Uint8Array.from({ length: below(20) }, () => below(256))).filter(
      (key) => !(key[0] === 0xff && key[1] >= 0xfe),
    );
    await db.batch(keys.map((key) => ({ type: 'put', key, value: key })));
    equal(await db.getMany(keys), keys);
    const scanned = await db.scan().toArray();
    ok(scanned.every(([key], i) => i === 0 || compareBytes(scanned[i - 1][0], key) < 0), 'in order');
    equal(scanned.length, new Set(keys.map(String)).size);
    const [first] = scanned;
    equal(first[0].buffer.byteLength, first[0].length, 'a key has a buffer of its own');
    await db.put(new Uint8Array([1, 2]).buffer, new Uint8Array([1]));
    await db.put(new DataView(new Uint8Array([0, 1, 3]).buffer, 1), new Uint8Array([2]));
    equal(await db.get(new Uint8Array([1, 2])), new Uint8Array([1]));
    equal(await db.get(new Uint8Array([1, 3])), new Uint8Array([2]));
    await db.close();
  },

  'a key that is no UTF-8 is an error for those who read text': async ({ open, name }) => {
    const store = name();
    let db = await open(store, { keyEncoding: 'view' });
    await db.put(new Uint8Array([0x61, 0xc3]), 1);
    await db.close();
    db = await open(store);
    await rejects(db.scan().toArray(), { code: 'TEMPEST_INVALID_KEY' });
    equal(await db.scan().values().toArray(), [1]);
    await db.close();
  },

  'bad keys': async ({ open }) => {
    const text = await open();
    for (const key of [undefined, null, 1, 1n, {}, [], Symbol('s'), new Uint8Array(1), '\ud800', 'a\udc00']) {
      await rejects(text.put(key, 1), { name: 'TypeError' });
      await rejects(text.get(key), { name: 'TypeError' });
      await rejects(text.getMany(['ok', key]), { name: 'TypeError' });
      await rejects(text.delete(key), { name: 'TypeError' });
      await rejects(text.batch([{ type: 'delete', key }]), { name: 'TypeError' });
    }
    equal(await text.scan().count(), 0);
    await text.close();
    const bytes = await open(undefined, { keyEncoding: 'view' });
    for (const key of ['text', 1, null, undefined, [1, 2]]) await rejects(bytes.put(key, 1), { name: 'TypeError' });
    for (const key of [[255, 255], [255, 255, 0], [255, 254], [255, 254, 255]].map((key) => new Uint8Array(key))) {
      for (const call of [bytes.put(key, 1), bytes.get(key), bytes.delete(key), bytes.getMany([key])]) {
        await rejects(call, { code: 'TEMPEST_INVALID_KEY' });
      }
    }
    await bytes.put(new Uint8Array([255]), 1);
    await bytes.put(new Uint8Array([255, 253, 255]), 2);
    equal(await bytes.scan({ prefix: new Uint8Array([255]) }).count(), 2);
    await bytes.close();
  },

  'keys at the limit and over it': async ({ open }) => {
    const db = await open();
    const largest = 'k'.repeat(65536);
    await db.put(largest, 1);
    equal(await db.get(largest), 1);
    equal(await db.scan().keys().toArray(), [largest]);
    for (const key of [`${largest}k`, 'é'.repeat(32769), 'k'.repeat(65535) + 'é']) {
      for (const call of [db.put(key, 1), db.get(key), db.delete(key), db.getMany([key]), db.batch([{ type: 'delete', key }])]) {
        await rejects(call, { name: 'TempestError', code: 'TEMPEST_INVALID_KEY' });
      }
    }
    await db.close();
    const bytes = await open(undefined, { keyEncoding: 'view' });
    await bytes.put(new Uint8Array(65536), 1);
    await rejects(bytes.put(new Uint8Array(65537), 1), { code: 'TEMPEST_INVALID_KEY' });
    await bytes.close();
  },
};

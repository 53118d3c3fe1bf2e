import { equal, ok, rejects } from './assert.mjs';

export default {
  'puts, gets and deletes': async ({ open }) => {
    const db = await open();
    equal(await db.get('a'), undefined);
    const first = await db.put('a', 1);
    const second = await db.put('a', 2);
    ok(second > first, 'sequence numbers grow');
    equal(await db.get('a'), 2);
    ok((await db.delete('a')) > second);
    equal(await db.get('a'), undefined);
    await db.delete('never there');
    await db.close();
  },

  'a batch takes effect in its order': async ({ open }) => {
    const db = await open();
    await db.put('c', 'old');
    const sequence = await db.batch([
      { type: 'put', key: 'a', value: 1 },
      { type: 'put', key: 'a', value: 2 },
      { type: 'put', key: 'b', value: 1 },
      { type: 'delete', key: 'b' },
      { type: 'delete', key: 'c' },
      { type: 'put', key: 'c', value: 'new' },
    ]);
    equal(await db.scan().toArray(), [['a', 2], ['c', 'new']]);
    equal((await db.stats()).sequence, sequence);
    equal(await db.batch([]), sequence, 'an empty batch does nothing');
    await db.close();
  },

  'writes and reads of one turn happen in their order': async ({ open }) => {
    const db = await open();
    const results = await Promise.all([
      db.put('k', 1), db.get('k'), db.put('k', 2), db.get('k'), db.getMany(['k', 'x']), db.delete('k'), db.get('k'),
    ]);
    // A read may see a write made after it as well, but none made before it is missing.
    ok([1, 2, undefined].includes(results[1]));
    ok([2, undefined].includes(results[3]));
    ok([2, undefined].includes(results[4][0]));
    equal(results[6], undefined);
    equal(await db.get('k'), undefined);
    await db.close();
  },

  'strict and relaxed writes': async ({ open }) => {
    const db = await open(undefined, { durability: 'strict' });
    await db.put('a', 1);
    await db.put('b', 1, { durability: 'relaxed' });
    await db.batch([{ type: 'put', key: 'c', value: 1 }], { durability: 'strict' });
    await db.delete('a', { durability: 'strict' });
    equal(await db.scan().keys().toArray(), ['b', 'c']);
    await rejects(db.put('d', 1, { durability: 'firm' }), { name: 'TypeError' });
    await db.close();
  },

  'ten thousand puts in flight': async ({ open }) => {
    const db = await open();
    const count = 10000;
    const sequences = await Promise.all(Array.from({ length: count }, (_, i) => db.put(`k${i}`, i)));
    ok(sequences.every((sequence, i) => i === 0 || sequence === sequences[i - 1] + 1));
    const values = await Promise.all(Array.from({ length: count }, (_, i) => db.get(`k${i}`)));
    ok(values.every((value, i) => value === i));
    equal(await db.getMany(Array.from({ length: count }, (_, i) => `k${i}`)), values);
    await db.close();
  },

  'a turn larger than a frame is sent in several': async ({ open }) => {
    const db = await open(undefined, { valueEncoding: 'view' });
    const value = new Uint8Array(3 << 20).fill(1);
    await Promise.all(Array.from({ length: 12 }, (_, i) => db.put(`k${i}`, value)));
    equal(await db.scan().count(), 12);
    equal((await db.get('k11')).length, value.length);
    await db.close();
  },

  'values and batches over the limit': async ({ open }) => {
    const db = await open(undefined, { valueEncoding: 'view' });
    const tooLarge = new Uint8Array((64 << 20) + 1);
    await rejects(db.put('k', tooLarge), { code: 'TEMPEST_INVALID_VALUE' });
    const half = new Uint8Array(33 << 20);
    const operations = [{ type: 'put', key: 'a', value: half }, { type: 'put', key: 'b', value: half }];
    await rejects(db.batch(operations), { code: 'TEMPEST_INVALID_ARGUMENT' });
    equal(await db.scan().count(), 0);
    await db.put('k', new Uint8Array(1));
    equal(await db.scan().count(), 1);
    await db.close();
  },

  'bad batches': async ({ open }) => {
    const db = await open();
    for (const bad of [undefined, null, 'text', {}, [null], [{}], [{ type: 'get', key: 'a' }], [{ type: 'put', key: 1, value: 1 }]]) {
      await rejects(db.batch(bad), { name: 'TypeError' });
    }
    await rejects(db.batch([{ type: 'put', key: 'a', value: 1 }, { type: 'oops', key: 'a' }]), { name: 'TypeError' });
    await rejects(db.getMany('abc'), { name: 'TypeError' });
    equal(await db.getMany([]), []);
    equal(await db.scan().count(), 0);
    await db.close();
  },
};

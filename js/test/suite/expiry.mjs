import { equal, ok, rejects } from './assert.mjs';

/** Waits until the clock says that `millis` milliseconds have gone by: what lives that long is gone then. */
async function elapse(millis) {
  const end = Date.now() + millis;
  while (Date.now() <= end) await new Promise((resolve) => setTimeout(resolve, end - Date.now() + 1));
}

export default {
  'an entry is gone when its time to live is over': async ({ open, name }) => {
    const store = name();
    let db = await open(store);
    await db.batch([
      { type: 'put', key: 'a', value: 'short', ttl: 30 },
      { type: 'put', key: 'b', value: 'long', ttl: 3_600_000 },
      { type: 'put', key: 'c', value: 'for ever' },
      { type: 'put', key: 'd', value: 'below' },
    ]);
    await db.put('d', 'short', { ttl: 30 });
    await db.put('e', 'short', { ttl: 30 });
    await db.put('e', 'for ever');
    await elapse(30);
    const left = [['b', 'long'], ['c', 'for ever'], ['e', 'for ever']];
    const check = async () => {
      equal(await db.get('a'), undefined);
      equal(await db.get('d'), undefined, 'not what it was written over');
      equal(await db.getEntry('d'), undefined);
      equal(await db.getMany(['a', 'b', 'c', 'd', 'e']), [undefined, 'long', 'for ever', undefined, 'for ever']);
      equal(await db.scan().toArray(), left);
      equal(await db.scan({ reverse: true }).toArray(), [...left].reverse());
      equal(await db.count(), 3);
    };
    await check();
    await db.flush();
    await check();
    await db.compact();
    await check();
    await db.close();
    db = await open(store);
    await check();
    await db.put('a', 'again', { ttl: 3_600_000 });
    equal(await db.get('a'), 'again');
    await db.close();
  },

  'an entry lives until then': async ({ open }) => {
    const db = await open();
    const ttl = 3_600_000;
    await db.put('a', { x: 1 }, { ttl, durability: 'strict' });
    equal(await db.get('a'), { x: 1 });
    equal((await db.getEntry('a')).value, { x: 1 });
    equal(await db.scan().toArray(), [['a', { x: 1 }]]);
    await db.transaction((tx) => tx.put('b', 2, { ttl: 3_600_000.5 }));
    await db.update('c', () => 3, { ttl });
    await db.flush();
    equal(await db.getMany(['a', 'b', 'c']), [{ x: 1 }, 2, 3]);
    const bytes = new Uint8Array(1 << 20);
    await db.put('bytes', bytes, { ttl, valueEncoding: 'view' });
    ok((await db.get('bytes', { valueEncoding: 'view' })).length === bytes.length);
    await db.close();
  },

  'times to live that are none': async ({ open }) => {
    const db = await open();
    for (const ttl of [0, -1, NaN, Infinity, -Infinity, 1e300]) {
      await rejects(db.put('a', 1, { ttl }), { name: 'RangeError' });
      await rejects(db.batch([{ type: 'put', key: 'a', value: 1, ttl }]), { name: 'RangeError' });
    }
    for (const ttl of ['5', null, {}, 5n]) await rejects(db.put('a', 1, { ttl }), { name: 'TypeError' });
    await rejects(db.batch([{ type: 'delete', key: 'a', ttl: 5 }]), { name: 'TypeError' });
    await rejects(db.batch([{ type: 'put', key: 'a', value: 1, tll: 5 }]), { name: 'TypeError', message: /"tll"/ });
    await rejects(db.delete('a', { ttl: 5 }), { name: 'TypeError' });
    equal(await db.count(), 0);
    await db.close();
  },
};

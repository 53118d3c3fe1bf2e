import { equal, ok, rejects, throws } from './assert.mjs';

const bytes = (...items) => new Uint8Array(items);

export default {
  'a namespace has keys of its own': async ({ open, name }) => {
    const store = name();
    let db = await open(store);
    const users = db.sub('users');
    const posts = db.sub('posts');
    const nested = users.sub('posts');
    const spaces = [db, users, posts, nested];
    equal(spaces.map(({ path }) => path), [[], ['users'], ['posts'], ['users', 'posts']]);
    for (const [i, space] of spaces.entries()) {
      await space.batch(['', 'a', 'b'].map((key) => ({ type: 'put', key, value: [key, i] })));
    }
    const check = async (spaces) => {
      for (const [i, space] of spaces.entries()) {
        equal(await space.get('a'), ['a', i]);
        equal(await space.getMany(['b', '', 'c']), [['b', i], ['', i], undefined]);
        equal(await space.scan().toArray(), ['', 'a', 'b'].map((key) => [key, [key, i]]));
        equal(await space.scan({ reverse: true }).keys().toArray(), ['b', 'a', '']);
        equal(await space.scan({ gt: '', lt: 'b' }).keys().toArray(), ['a']);
        equal(await space.scan({ gte: 'a' }).keys().toArray(), ['a', 'b']);
        equal(await space.scan({ lte: 'a', reverse: true, limit: 1 }).keys().toArray(), ['a']);
        equal(await space.scan({ prefix: 'b' }).keys().toArray(), ['b']);
        equal(await space.scan({ prefix: '' }).count(), 3);
        equal(await space.scan({ lt: '' }).count(), 0);
      }
    };
    await check(spaces);
    await users.delete('a');
    equal(await users.get('a'), undefined);
    equal(await posts.get('a'), ['a', 2]);
    await users.put('a', ['a', 1]);
    await db.close();
    db = await open(store);
    await check([db, db.sub('users'), db.sub('posts'), db.sub('users').sub('posts')]);
    await db.close();
  },

  'names of namespaces of every kind are apart': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'view', valueEncoding: 'utf8' });
    const names = ['a', 'aa', 'ab', 'a\0', 'a\u0001', '\0', '\u0001', '\u0001\u0002', 'ä', '日本', '𝒳', 'A', ' ', '!a!', 'x'.repeat(100)];
    const keys = [bytes(), bytes(0), bytes(1), bytes(97), bytes(97, 0, 0), bytes(255), bytes(255, 254), bytes(255, 255, 255)];
    const spaces = [...names.map((name) => db.sub(name)), ...names.map((name) => db.sub('a').sub(name)), db.sub('a').sub('a').sub('a')];
    await Promise.all(spaces.map((space) => space.batch(keys.map((key) => ({ type: 'put', key, value: space.path.join('/') })))));
    for (const space of spaces) {
      equal(await space.scan().toArray(), keys.map((key) => [key, space.path.join('/')]));
      equal(await space.scan({ gte: bytes(255), reverse: true }).keys().toArray(), [keys[7], keys[6], keys[5]]);
      equal(await space.scan({ prefix: bytes(255) }).count(), 3);
    }
    equal(await db.scan().toArray(), []);
    await db.put(bytes(255, 253), 'plain');
    equal(await db.scan().toArray(), [[bytes(255, 253), 'plain']]);
    equal(await db.scan({ gte: bytes(255), lte: bytes(255, 255) }).count(), 1);
    await db.close();
  },

  'a namespace has encodings of its own, or those of where it is in': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'tuple', valueEncoding: 'json' });
    const same = db.sub('same');
    await same.put(['a', 1], { a: [1] });
    equal(await same.scan().toArray(), [[['a', 1], { a: [1] }]]);
    const other = same.sub('other', { keyEncoding: 'view', valueEncoding: 'msgpack' });
    await other.put(bytes(255, 255), new Map([[1, 2n]]));
    equal(await other.scan().toArray(), [[bytes(255, 255), new Map([[1, 2n]])]]);
    const custom = db.sub('custom', {
      keyEncoding: 'utf8',
      valueEncoding: { encode: (value) => bytes(value), decode: ([value]) => value },
    });
    await custom.put('k', 7);
    equal(await custom.get('k'), 7);
    await rejects(custom.put(['k'], 7), { name: 'TypeError' });
    equal(await db.scan().count(), 0);
    await db.close();
  },

  'a batch across namespaces is atomic': async ({ open }) => {
    const db = await open(undefined, { keyEncoding: 'tuple' });
    const users = db.sub('users', { keyEncoding: 'utf8', valueEncoding: 'json' });
    const names = users.sub('names', { valueEncoding: 'utf8' });
    await names.put('old', 'x');
    await users.batch([
      { type: 'put', key: 'ada', value: { name: 'Ada' } },
      { type: 'put', sub: names, key: 'Ada', value: 'ada' },
      { type: 'delete', sub: names, key: 'old' },
      { type: 'put', sub: db, key: ['count'], value: 1 },
    ]);
    equal(await users.get('ada'), { name: 'Ada' });
    equal(await names.scan().toArray(), [['Ada', 'ada']]);
    equal(await db.scan().toArray(), [[['count'], 1]]);
    const bad = [
      { type: 'put', key: 'bob', value: {} },
      { type: 'put', sub: names, key: 'Bob', value: 1 },
    ];
    await rejects(users.batch(bad), { name: 'TypeError' });
    equal(await users.get('bob'), undefined);
    const foreign = await open();
    for (const sub of [foreign, foreign.sub('users'), 'users', null, {}]) {
      await rejects(db.batch([{ type: 'delete', sub, key: ['a'] }]), { name: 'TypeError', message: /another database|must be a namespace/ });
    }
    await foreign.close();
    await db.close();
  },

  'bad namespaces': async ({ open }) => {
    const db = await open();
    for (const bad of [undefined, null, 1, {}, '\ud800']) throws(() => db.sub(bad), { name: 'TypeError' });
    for (const bad of ['', 'x'.repeat(101)]) throws(() => db.sub(bad), { name: 'RangeError' });
    throws(() => db.sub('a', { keyEncoding: 'latin1' }), { name: 'TypeError' });
    throws(() => db.sub('a', { valueEncoding: {} }), { name: 'TypeError' });
    throws(() => db.sub('a', { durability: 'strict' }), { name: 'TypeError' });
    const users = db.sub('users');
    await users.put('k'.repeat(65500), 1);
    await rejects(users.put('k'.repeat(65530), 1), { code: 'TEMPEST_INVALID_KEY', message: /its namespace's/ });
    await rejects(users.put(1, 1), { name: 'TypeError' });
    await db.close();
    for (const call of [users.get('a'), users.put('a', 1), users.scan().toArray(), db.sub('late').get('a')]) {
      await rejects(call, { code: 'TEMPEST_CLOSED' });
    }
  },

  'encodings of one call': async ({ open }) => {
    const db = await open();
    await db.put('a', { x: 1 }, { valueEncoding: 'json' });
    equal(await db.get('a', { valueEncoding: 'utf8' }), '{"x":1}');
    equal(await db.get(bytes(97), { keyEncoding: 'view', valueEncoding: 'json' }), { x: 1 });
    await rejects(db.get('a'), { code: 'TEMPEST_INVALID_VALUE' });
    equal(await db.getMany([bytes(97)], { keyEncoding: 'view', valueEncoding: 'json' }), [{ x: 1 }]);
    await db.batch([{ type: 'put', key: ['t', 1], value: 'text' }], { keyEncoding: 'tuple', valueEncoding: 'utf8' });
    equal(await db.scan({ prefix: ['t'], keyEncoding: 'tuple', valueEncoding: 'utf8' }).toArray(), [[['t', 1], 'text']]);
    equal(await db.scan({ keyEncoding: 'view', valueEncoding: 'view' }).values().toArray(), [bytes(116, 101, 120, 116), bytes(...[...'{"x":1}'].map((c) => c.charCodeAt(0)))]);
    const upper = { encode: (text) => new TextEncoder().encode(text.toUpperCase()), decode: (stored) => new TextDecoder().decode(stored) };
    await db.put('u', 'text', { valueEncoding: upper });
    equal(await db.get('u', { valueEncoding: upper }), 'TEXT');
    await db.delete(['t', 1], { keyEncoding: 'tuple' });
    equal(await db.scan({ keyEncoding: 'view' }).keys().toArray(), [bytes(97), bytes(117)]);
    const users = db.sub('users');
    await users.put(['x'], 1, { keyEncoding: 'tuple' });
    equal(await users.scan({ keyEncoding: 'tuple' }).keys().toArray(), [['x']]);
    for (const encodings of [{ keyEncoding: 'latin1' }, { valueEncoding: 'xml' }, { valueEncoding: null }]) {
      for (const call of [db.get('a', encodings), db.put('a', 1, encodings), db.getMany(['a'], encodings), db.batch([], encodings)]) {
        await rejects(call, { name: 'TypeError', message: /Encoding must be/ });
      }
      throws(() => db.scan(encodings), { name: 'TypeError' });
    }
    await rejects(db.delete('a', { valueEncoding: 'view' }), { name: 'TypeError' });
    ok((await db.put('a', 1)) > 0);
    await db.close();
  },
};

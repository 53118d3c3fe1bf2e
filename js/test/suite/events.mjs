import { equal, ok, rejects } from './assert.mjs';

export default {
  'a database tells of its end': async ({ open }) => {
    const db = await open();
    const told = [];
    const users = db.sub('users');
    ok(db instanceof EventTarget);
    db.addEventListener('close', (event) => told.push(['close', event.type, event.target === db]));
    db.addEventListener('error', () => told.push(['error']));
    users.addEventListener('close', { handleEvent: (event) => told.push(['sub', event.target === db]) });
    const never = () => told.push(['never']);
    users.addEventListener('close', never);
    users.removeEventListener('close', never);
    const closing = db.close();
    equal(told, []);
    await closing;
    const expected = [['close', 'close', true], ['sub', true]];
    equal(told, expected);
    await db.close();
    equal(told, expected);
  },

  'a database tells of the death of its engine': async ({ open }) => {
    const db = await open();
    const told = [];
    db.addEventListener('error', ({ detail }) => told.push(detail.code));
    const closed = new Promise((resolve) => db.addEventListener('close', resolve, { once: true }));
    await rejects(db._panic(), { code: 'TEMPEST_WORKER_DIED' });
    await closed;
    equal(told, ['TEMPEST_WORKER_DIED']);
  },

  'what the browser says of the storage': async ({ open }) => {
    const db = await open();
    equal(typeof (await db.persist()), 'boolean');
    const { usage, quota } = await db.estimate();
    if (db.storage === 'opfs') ok(usage >= 0 && quota > 0);
    else equal([usage, quota, await db.persist()], [undefined, undefined, false]);
    const reason = new Error('enough');
    for (const call of [db.persist({ signal: AbortSignal.abort(reason) }), db.estimate({ signal: AbortSignal.abort(reason) })]) {
      await rejects(call, { message: 'enough' });
    }
    await rejects(db.persist({ force: true }), { name: 'TypeError' });
    await db.close();
    for (const call of [db.persist(), db.estimate()]) await rejects(call, { code: 'TEMPEST_CLOSED' });
  },
};

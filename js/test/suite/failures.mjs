import { equal, ok, rejects } from './assert.mjs';

export default {
  'when the engine dies every waiting call rejects, and the store opens again': async ({ open, name }) => {
    const store = name();
    let db = await open(store);
    await db.put('k', 'kept');
    await db.batch(Array.from({ length: 20000 }, (_, i) => ({ type: 'put', key: `n${i}`, value: i })));
    const iterator = db.scan()[Symbol.asyncIterator]();
    await iterator.next();
    const waiting = [db._panic(), db.get('k'), db.put('k2', 1), db.getMany(['k']), db.stats(), db.scan().toArray()];
    const results = await Promise.allSettled(waiting);
    for (const { status, reason } of results) {
      equal(status, 'rejected');
      equal(reason.code, 'TEMPEST_WORKER_DIED');
    }
    ok(/asked to panic/.test(results[0].reason.message), results[0].reason.message);
    for (const call of [db.get('k'), db.put('k', 1), db.stats(), db.scan().toArray(), iterator.next()]) {
      await rejects(call, { name: 'TempestError', code: 'TEMPEST_WORKER_DIED' });
    }
    await db.close();
    db = await open(store, { lockWaitMillis: 10000 });
    equal(await db.get('k'), 'kept');
    await db.close();
  },

  'a missing or wrong engine is told by address and content': async ({ open, api, wasm }) => {
    const cases = [
      [wasm.missing, wasm.missingMessage],
      [wasm.text, /no WebAssembly.*beginning with/],
      [wasm.other, /not the engine|does not compile/],
    ];
    for (const [wasmUrl, message] of cases) {
      const error = await rejects(open(undefined, { wasmUrl }), { name: 'TempestError', code: 'TEMPEST_LOAD_FAILED', message });
      ok(error.message.includes(new URL(wasmUrl, 'http://base.invalid/').pathname), error.message);
      ok(error instanceof api.TempestError);
    }
    const db = await open();
    await db.put('k', 1);
    await db.close();
  },

  'importing and using the package adds no globals': async ({ open, globals }) => {
    const before = globals();
    const db = await open();
    await db.put('k', 1);
    await db.close();
    equal(globals(), before);
    ok(!('Go' in globalThis));
  },
};

// A page on a store behind the router, which is of another origin.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startRouter, TOKEN } from '../../../workers/test/harness.mjs';
import { Setting } from './harness.mjs';

let setting;
let router;
let page;

before(async () => {
  setting = await Setting.begin();
  page = await setting.page();
  router = await startRouter({ bindings: { TEMPEST_ORIGINS: setting.origin } });
});

after(async () => {
  await setting?.end();
  await router?.stop();
});

test('a page uses a store behind a router as it uses its own', async () => {
  const found = await page.evaluate(
    async ([address, token]) => {
      const { open } = await import('/dist/index.js');
      const db = await open(address, { token });
      const watch = db.watch();
      const told = watch.next();
      await Promise.all(Array.from({ length: 1000 }, (_, i) => db.put(`k${i}`, { i })));
      await db.update('k7', ({ i }) => ({ i: i + 1 }));
      await db.transaction(async (tx) => tx.put('sum', (await tx.get('k7')).i + (await tx.get('k8')).i));
      const found = {
        storage: db.storage,
        count: await db.scan().count(),
        sum: await db.get('sum'),
        told: (await told).value.changes.length > 0,
      };
      await watch.return();
      await db.close();
      return found;
    },
    [`${router.origin}/v1/pages`, TOKEN],
  );
  assert.deepEqual(found, { storage: 'remote', count: 1001, sum: 16, told: true });
});

/** The code that an open rejects with in the page. */
function codeOf({ origin }, token) {
  return page.evaluate(
    async ([address, token]) => {
      const { open } = await import('/dist/index.js');
      return open(address, { token }).then(String, ({ code }) => code);
    },
    [`${origin}/v1/pages`, token],
  );
}

test('a page is told of a wrong token, and of a router that does not know its origin', async () => {
  assert.equal(await codeOf(router, 'wrong'), 'TEMPEST_UNAUTHORIZED');
  const stranger = await startRouter();
  try {
    assert.equal(await codeOf(stranger, TOKEN), 'TEMPEST_DISCONNECTED');
  } finally {
    await stranger.stop();
  }
});

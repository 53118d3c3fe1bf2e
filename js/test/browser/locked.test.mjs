// One context at a time has a store open; the others wait, and not for ever.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inTime, Setting, until, workerOf } from './harness.mjs';

describe('a store that is open', () => {
  let setting;
  let names = 0;

  before(async () => {
    setting = await Setting.begin();
  });

  after(() => setting?.end());

  /** A tab that has a store of its own open, with one acknowledged write. */
  async function holder() {
    const name = `held${names++}`;
    const page = await setting.page();
    await page.evaluate(async (name) => {
      const { open } = await import('/dist/index.js');
      globalThis.db = await open(name);
      await db.put('k', name);
    }, name);
    return { name, page };
  }

  function tryToOpen(context, name, lockWaitMillis) {
    return context.evaluate(
      async ([name, lockWaitMillis]) => {
        const { open } = await import('/dist/index.js');
        const { outcome } = await import('/pages/records.js');
        const started = performance.now();
        const result = await outcome(open(name, { lockWaitMillis }));
        const waited = performance.now() - started;
        if (result.value === undefined) return { ...result, waited };
        const value = await result.value.get('k');
        await result.value.close();
        return { value };
      },
      [name, lockWaitMillis],
    );
  }

  /** Starts to open a store in another tab, and returns once that waits for the lock. */
  async function waiter(name) {
    const page = await setting.page();
    const opened = tryToOpen(page, name, 60_000);
    await until('the other tab waits for the store', () =>
      page.evaluate(async (lock) => (await navigator.locks.query()).pending.some(({ name }) => name === lock), `tempestkv:${name}`),
    );
    return { page, opened };
  }

  test('is refused to another tab after the wait, and opens there once it is closed', async () => {
    const { name, page } = await holder();
    const other = await setting.page();
    const refused = await inTime('the other tab is refused', tryToOpen(other, name, 300));
    assert.equal(refused.code, 'TEMPEST_LOCKED');
    assert.equal(refused.name, 'TempestError');
    assert.match(refused.message, new RegExp(`"${name}" is open elsewhere; waited 300 ms`));
    assert.ok(refused.waited >= 299, `it waited ${refused.waited} ms`);
    assert.equal(await page.evaluate(() => db.get('k')), name, 'the holder goes on');
    await page.evaluate(() => db.close());
    assert.deepEqual(await inTime('the store opens', tryToOpen(other, name, 5000)), { value: name });
    await Promise.all([page.close(), other.close()]);
  });

  test('is refused at once to who does not want to wait, in the same tab and in a worker', async () => {
    const { name, page } = await holder();
    assert.equal((await inTime('the tab is refused', tryToOpen(page, name, 0))).code, 'TEMPEST_LOCKED');
    assert.equal((await inTime('the worker is refused', tryToOpen(await workerOf(page), name, 0))).code, 'TEMPEST_LOCKED');
    await page.evaluate(() => db.close());
    assert.deepEqual(await inTime('the store opens', tryToOpen(page, name, 0)), { value: name }, 'a free store needs no wait');
    await page.close();
  });

  test('is had by a tab that waits as soon as it is closed', async () => {
    const { name, page } = await holder();
    const { page: other, opened } = await waiter(name);
    await page.evaluate(() => db.close());
    assert.deepEqual(await inTime('the store opens', opened), { value: name });
    await Promise.all([page.close(), other.close()]);
  });

  test('is had by a tab that waits as soon as the tab that holds it is closed', async () => {
    const { name, page } = await holder();
    const { page: other, opened } = await waiter(name);
    await page.close();
    assert.deepEqual(await inTime('the store opens', opened), { value: name });
    await other.close();
  });

  test('is had by a tab that waits as soon as the tab that holds it is reloaded', async () => {
    const { name, page } = await holder();
    const { page: other, opened } = await waiter(name);
    await page.reload();
    assert.deepEqual(await inTime('the store opens', opened), { value: name });
    assert.deepEqual(await inTime('the store opens in the tab that was reloaded', tryToOpen(page, name, 5000)), { value: name });
    await Promise.all([page.close(), other.close()]);
  });

  test('is left alone by a destroy that was given up while it waited, and by one that was refused', async () => {
    const { name, page } = await holder();
    const other = await setting.page();
    const destroying = other.evaluate(async (name) => {
      const { destroy } = await import('/dist/index.js');
      const { outcome } = await import('/pages/records.js');
      globalThis.controller = new AbortController();
      const refused = await outcome(destroy(name, { lockWaitMillis: 0 }));
      return [refused.code, (await outcome(destroy(name, { lockWaitMillis: 60_000, signal: controller.signal }))).name];
    }, name);
    await until('the other tab waits for the store', () =>
      other.evaluate(async (lock) => (await navigator.locks.query()).pending.some(({ name }) => name === lock), `tempestkv:${name}`),
    );
    await other.evaluate(() => controller.abort());
    assert.deepEqual(await inTime('the wait is given up', destroying), ['TEMPEST_LOCKED', 'AbortError']);
    await page.evaluate(() => db.close());
    assert.deepEqual(await inTime('the store opens', tryToOpen(other, name, 5000)), { value: name });
    await Promise.all([page.close(), other.close()]);
  });

  test('is had empty by a tab that waits while it is destroyed', async () => {
    const { name, page } = await holder();
    const { page: other, opened } = await waiter(name);
    await page.evaluate(() => db.destroy());
    assert.deepEqual(await inTime('the store opens', opened), { value: undefined });
    await Promise.all([page.close(), other.close()]);
  });

  test('is had by a page as soon as it ends the worker that holds it', async () => {
    const page = await setting.page();
    const worker = await workerOf(page);
    await worker.evaluate(async () => {
      const { open } = await import('/dist/index.js');
      globalThis.db = await open('ended');
      await db.put('k', 'ended');
      // Goes on until the worker ends.
      const stream = () => db.put('k2', 'under way').then(stream);
      void stream();
    });
    await page.evaluate(() => ownWorker.terminate());
    assert.deepEqual(await inTime('the store opens', tryToOpen(page, 'ended', 5000)), { value: 'ended' });
    await page.close();
  });
});

// The page is reloaded, and its tab crashes, in the middle of a stream of writes, again and again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listen, reopen, startStream } from './cut-off.mjs';
import { Setting } from './harness.mjs';
import { Ledger, randomFrom, seedOf } from './ledger.mjs';

const ROUNDS = 10;

test('after a reload every acknowledged write is there, and the store can be had at once', async (t) => {
  const random = randomFrom(seedOf(t));
  const setting = await Setting.begin();
  try {
    const ledger = new Ledger();
    const page = await setting.page();
    const reports = await listen(page, ledger);
    for (let round = 0; round < ROUNDS; round++) {
      await reopen(page, ledger, 'reloaded', { memtableBytes: 128 << 10 });
      await startStream(page, ledger.first, random(1, 500));
      await reports.acknowledged(random(1, 3000));
      await page.reload();
    }
    await reopen(page, ledger, 'reloaded', {});
    assert.deepEqual(page.failures, []);
  } finally {
    await setting.end();
  }
});

test('after a crash of the tab every acknowledged write is there, and the store can be had at once', async (t) => {
  const random = randomFrom(seedOf(t));
  const setting = await Setting.begin();
  try {
    const ledger = new Ledger();
    for (let round = 0; round < 3; round++) {
      const page = await setting.page();
      const reports = await listen(page, ledger);
      await reopen(page, ledger, 'crashed', {});
      await startStream(page, ledger.first, random(1, 500));
      await reports.acknowledged(random(1, 3000));
      const session = await page.context().newCDPSession(page);
      const crashed = page.waitForEvent('crash');
      session.send('Page.crash').catch(() => undefined);
      await crashed;
      await page.close();
    }
    await reopen(await setting.page(), ledger, 'crashed', {});
  } finally {
    await setting.end();
  }
});

// The browser is killed in the middle of a stream of writes, again and again on the same profile.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listen, reopen, startStream } from './cut-off.mjs';
import { Setting } from './harness.mjs';
import { Ledger, randomFrom, seedOf } from './ledger.mjs';

const ROUNDS = 10;

for (const durability of ['relaxed', 'strict']) {
  test(`after SIGKILL every acknowledged ${durability} write is there, and no batch is half there`, async (t) => {
    const random = randomFrom(seedOf(t));
    const setting = await Setting.begin();
    try {
      const ledger = new Ledger();
      const moments = [];
      for (let round = 0; round < ROUNDS; round++) {
        const page = await setting.page();
        const reports = await listen(page, ledger);
        // Small memtables, so that the kill falls into flushes and compactions too.
        const memtableBytes = round % 3 === 2 ? undefined : random(64 << 10, 256 << 10);
        await reopen(page, ledger, 'killed', { durability, memtableBytes });
        const moment = random(0, 3) === 0 ? random(1, 20) : random(20, 4000);
        await startStream(page, ledger.first, random(0, 2) === 0 ? 1 : random(2, 200));
        await reports.acknowledged(moment);
        await setting.browser.kill();
        moments.push(ledger.count);
        await setting.start();
      }
      t.diagnostic(`killed after ${moments.join(', ')} acknowledged writes`);
      const page = await setting.page();
      const tables = await reopen(page, ledger, 'killed', { durability });
      assert.ok(tables > 0, 'memtables were flushed');
      await page.evaluate(() => db.close());
      await reopen(page, ledger, 'killed', { durability });
    } finally {
      await setting.end();
    }
  });
}

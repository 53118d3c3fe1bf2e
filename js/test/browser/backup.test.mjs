// A large store goes out of the browser's storage and back into it, in little memory.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Setting } from './harness.mjs';

const ROWS = 1_000_000;
const VALUE_BYTES = 200;

/** Rows of a store whose way shows what the engines, and what they leave to the garbage collector, take whatever the size. */
const FEWER_ROWS = 250_000;

/** How much more memory in bytes the larger store may take on its way: far less than its backup has more. */
const MOST_BYTES = 96 << 20;

/** How often, in milliseconds, the browser's memory is looked at. */
const LOOK_MILLIS = 50;

/** Memory in bytes of some processes; what several share is counted once. */
function memoryOf(ids) {
  let size = 0;
  for (const id of ids) {
    try {
      size += Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${id}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024;
    } catch (error) {
      // It may have ended.
      if (!['ENOENT', 'ESRCH', 'EACCES'].includes(error.code)) throw error;
    }
  }
  return size;
}

describe('a store of a million rows', () => {
  let setting;
  let page;

  before(async () => {
    setting = await Setting.begin();
    page = await setting.page();
  });

  after(async () => {
    const failures = page?.failures;
    await setting?.end();
    assert.deepEqual(failures, []);
  });

  /** Makes a store of so many rows. */
  const make = (name, rows) =>
    page.evaluate(
      async ([name, rows, size]) => {
        const { open } = await import('/dist/index.js');
        const { bytesOf, keyOf } = await import('/pages/records.js');
        const db = await open(name, { valueEncoding: 'view' });
        const batch = Math.min(rows, 10_000);
        for (let start = 0; start < rows; start += batch) {
          await db.batch(Array.from({ length: batch }, (_, i) => ({ type: 'put', key: keyOf(start + i), value: bytesOf(size, start + i) })));
        }
        await db.close();
      },
      [name, rows, VALUE_BYTES],
    );

  /** Copies a store by a backup. Returns the backup's size, and how much memory that added at most, in bytes. */
  const copy = async (from, to) => {
    const before = memoryOf(setting.browser.family());
    let peak = before;
    const looking = setInterval(() => (peak = Math.max(peak, memoryOf(setting.browser.family()))), LOOK_MILLIS);
    try {
      const size = await page.evaluate(
        async ([from, to]) => {
          const { importStore, open } = await import('/dist/index.js');
          const db = await open(from);
          let size = 0;
          await importStore(to, db.export({ onProgress: ({ bytes }) => (size = bytes) }));
          await db.close();
          return size;
        },
        [from, to],
      );
      return { size, added: peak - before };
    } finally {
      clearInterval(looking);
    }
  };

  test('is exported and imported in a memory that does not grow with it', async (context) => {
    await make('fewer', FEWER_ROWS);
    await make('million', ROWS);
    const fewer = await copy('fewer', 'copy of fewer');
    const all = await copy('million', 'copy');
    const mebibytes = (size) => `${Math.round(size / 2 ** 20)} MiB`;
    context.diagnostic(`backups of ${mebibytes(fewer.size)} in ${mebibytes(fewer.added)}, of ${mebibytes(all.size)} in ${mebibytes(all.added)}`);
    assert.ok(all.size - fewer.size > (ROWS - FEWER_ROWS) * VALUE_BYTES);
    assert.ok(all.added - fewer.added < MOST_BYTES, mebibytes(all.added - fewer.added));
    const found = await page.evaluate(
      async ([rows, size]) => {
        const { open } = await import('/dist/index.js');
        const { bytesOf, isEqual, keyOf } = await import('/pages/records.js');
        const copy = await open('copy', { valueEncoding: 'view' });
        let right = 0;
        for (let i = 0; i < rows; i += 997) if (isEqual(await copy.get(keyOf(i)), bytesOf(size, i))) right++;
        const result = { count: await copy.count(), problems: (await copy.verify()).problems, right };
        await copy.close();
        return result;
      },
      [ROWS, VALUE_BYTES],
    );
    assert.deepEqual(found, { count: ROWS, problems: [], right: Math.ceil(ROWS / 997) });
  });
});

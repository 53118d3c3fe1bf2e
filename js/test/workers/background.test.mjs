// Flushes and compactions of objects, when nobody calls any more.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startWorker } from './harness.mjs';

const ROWS = 12_000;

const worker = await startWorker();
after(() => worker.stop());

/** Asks the object how it does, which does nothing for it, until `isEnough`. */
async function until(store, isEnough) {
  let steps;
  for (let i = 0; i < 20_000; i++) {
    steps = await worker.call('steps', store);
    if (isEnough(steps)) return steps;
  }
  assert.fail(JSON.stringify(steps));
}

test('alarms go on with it, and an object that is reset in between has everything', async () => {
  await worker.call('leaveWork', 'reset', ROWS);
  await until('reset', ({ alarms }) => alarms >= 2);
  await worker.call('afterWork', 'reset', ROWS, true);
  await worker.call('afterWork', 'reset', ROWS, true);
});

test('alarms go on with it in steps that are bounded', async (t) => {
  const before = await worker.call('steps', 'left');
  await worker.call('leaveWork', 'left', ROWS);
  const { largest, alarms } = await until('left', ({ alarms }) => alarms >= before.alarms + 2);
  t.diagnostic(`${alarms - before.alarms} alarms, at most ${largest} rows of 16 KiB a transaction`);
  assert.ok(largest <= 128, `${largest} rows in one transaction`);
  const { compactions } = await worker.call('afterWork', 'left', ROWS, false);
  assert.ok(compactions > 0);
});

// The common suite, in a Worker that is connected to objects.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { tests } from '../suite/index.mjs';
import { startWorker } from './harness.mjs';

/** Tests of what `connect` has not: a lock, `open` and `destroy` by name, what opening found, an engine to be fetched. */
const elsewhere = [
  'a second open waits, then says that the store is locked',
  'names that options do not have are refused by every call',
  'bad names and options',
  'signals',
  'a missing or wrong engine is told by address and content',
  'a store comes back from its backup as it was',
  'an import never writes over a store',
];

const worker = await startWorker();
after(() => worker.stop());

describe('the common suite', () => {
  for (const { name } of tests) {
    if (!elsewhere.includes(name)) test(name, () => worker.call('suite', name));
  }
});

test('the tests that are left out are there', () => {
  for (const name of elsewhere) assert.ok(tests.some((each) => each.name === name), name);
});

// Backups of stores in objects, to a bucket and back.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startWorker } from './harness.mjs';

const ROWS = 8000;

const worker = await startWorker();
after(() => worker.stop());

before(async () => {
  const { size, stored } = await worker.call('backUp', 'kept', ROWS);
  assert.equal(stored, size);
  assert.ok(size > 4 << 20, String(size));
});

test('a store comes back from a bucket as it was', async () => {
  assert.equal(await worker.call('restore', 'kept', 'restored'), ROWS);
});

test('a large store goes to a bucket in parts', async () => {
  const { size, stored } = await worker.call('backUp', 'in parts', 18_000, 5 << 20);
  assert.equal(stored, size);
  assert.ok(size > 10 << 20, String(size));
  assert.equal(await worker.call('restore', 'in parts', 'of parts'), 18_000);
});

test('a backup that is cut off, altered or too large leaves nothing behind', () => worker.call('badBackups', 'kept'));

test('a store is there until a whole one takes its place', () => worker.call('replaced', 'kept'));

test('an object takes and gives backups by itself', async () => {
  assert.equal(await worker.call('inPlace', 'kept'), ROWS);
});

test('an export that fails leaves nothing in the bucket', async () => {
  await worker.call('lostExport');
  await worker.call('lostExport', 5 << 20);
});

test('an import ends with the request that makes it', async () => {
  assert.deepEqual(await worker.call('leaveImport', 'left import'), ['pages', 'pages_import']);
  let tables;
  for (let i = 0; i < 1000 && tables?.length !== 1; i++) tables = await worker.call('tables', 'left import');
  assert.deepEqual(tables, ['pages']);
  assert.equal(await worker.call('restore', 'kept', 'left import'), ROWS);
});

test('reset in an import, an object has the store that it had', async () => {
  await worker.call('restore', 'kept', 'reset');
  assert.equal(await worker.call('resetImport', 'reset'), ROWS + 1);
});

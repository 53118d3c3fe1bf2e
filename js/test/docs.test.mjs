// What README.md and the pages in docs say, on the built package.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import * as api from '../dist/index.js';

const text = (path) => readFile(new URL(path, import.meta.url), 'utf8');
const readme = await text('../../README.md');
const errors = await text('../../docs/ERRORS.md');
const format = await text('../../docs/FORMAT.md');
const ndjson = await text('../../docs/NDJSON.md');

const examplesOf = (page) => [...page.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);

/** Names in the first column of the table under a heading. */
function namesIn(page, heading) {
  const [, table] = page.split(`\n| ${heading} |`);
  const rows = table.split('\n\n', 1)[0].split('\n').slice(2);
  return rows.flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
}

test('the examples do what they say', async () => {
  // One after the other: the later ones go on with the store of the first. What stands behind an awaited read is what it resolves to.
  let checks = 0;
  const [start, ...rest] = examplesOf(readme);
  const code = [start, ...examplesOf(errors), ...rest, ...examplesOf(format), ...examplesOf(ndjson)]
    .join('\n')
    .replace(/^import (\{.*\}) from '.*';$/m, 'const $1 = api;')
    .replace("open('notes')", "open('notes', { storage: 'memory' })")
    .replace(/^(await (?:db\.get|visits\.|archive\.).*\));\s+\/\/ (.+)$/gm, (_, call, result) => (checks++, `assert.deepEqual(${call}, ${result});`));
  const lines = [];
  const AsyncFunction = (async () => {}).constructor;
  await new AsyncFunction('api', 'assert', 'console', code)(api, assert, { ...console, log: (...line) => lines.push(line) });
  assert.equal(checks, 6);
  assert.deepEqual(lines, [['user:1', { name: 'Ada' }]]);
});

test('every error code has its row, and no other', async () => {
  const [, union] = (await text('../dist/errors.d.ts')).split('type TempestErrorCode =');
  const codes = [...union.split(';', 1)[0].matchAll(/'(\w+)'/g)].map(([, code]) => code);
  assert.ok(codes.length > 10);
  assert.deepEqual(namesIn(errors, 'code'), codes);
});

test('every option of open has its row, and no other', async () => {
  const names = namesIn(readme, 'Option of `open`');
  // None of them is refused; what is missing here comes after them.
  await assert.rejects(api.open('notes', Object.fromEntries(names.map((name) => [name, undefined]))), { code: 'TEMPEST_NOT_SUPPORTED' });
  const [, members] = (await text('../dist/open.d.ts')).split('interface OpenOptions extends CallOptions {');
  const options = [...members.split('\n}', 1)[0].matchAll(/^ {4}(\w+)\?:/gm)].map(([, name]) => name);
  assert.deepEqual(names.sort(), [...options, 'signal'].sort());
});

test('the worker is marked as a module with effects, so that no bundler drops it', async () => {
  const { sideEffects, exports } = JSON.parse(await text('../package.json'));
  assert.deepEqual(sideEffects, [exports['./worker.js']]);
});

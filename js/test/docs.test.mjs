// What README.md and the pages in docs say, on the built package.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import * as api from '../dist/index.js';
import * as tools from '../dist/tools.js';
import { Database, Namespace } from '../../build/js/internal.js';

const text = (path) => readFile(new URL(path, import.meta.url), 'utf8');
const readme = await text('../../README.md');
const errors = await text('../../docs/ERRORS.md');
const format = await text('../../docs/FORMAT.md');
const calls = await text('../../docs/API.md');
const ndjson = await text('../../docs/NDJSON.md');

const examplesOf = (page) => [...page.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);

/** Names in the first column of the table under a heading. */
function namesIn(page, heading) {
  const [, table] = page.split(`\n| ${heading} |`);
  const rows = table.split('\n\n', 1)[0].split('\n').slice(2);
  return rows.flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
}

const AsyncFunction = (async () => {}).constructor;

/**
 * Runs examples as one program, and returns what it logged. What stands in a comment behind an awaited expression, or one that follows from it, is what
 * it must be equal to; there are `count` of these.
 */
async function run(examples, count) {
  let checks = 0;
  const code = examples
    .join('\n')
    .replace(/^import (\{.*\}) from '.*';$/gm, 'const $1 = api;')
    .replace("open('notes')", "open('notes', { storage: 'memory' })")
    .replace(/^(\(?await .*|commit\..*);\s+\/\/ ([[{'\d].*|undefined)$/gm, (_, expression, value) => (checks++, `assert.deepEqual(${expression}, ${value});`));
  const lines = [];
  await new AsyncFunction('api', 'assert', 'console', code)({ ...api, ...tools }, assert, { ...console, log: (...line) => lines.push(line) });
  assert.equal(checks, count);
  return lines;
}

test('the examples of README.md and docs/ERRORS.md do what they say', async () => {
  const [start, ...rest] = examplesOf(readme);
  // Those on errors are about the store that README.md opens.
  assert.deepEqual(await run([start, ...examplesOf(errors), ...rest], 3), [['user:1', { name: 'Ada' }]]);
});

const opening = "import { open } from './tempestkv/index.js';";

test('the examples of docs/FORMAT.md do what they say', async () => {
  await run([opening, ...examplesOf(format)], 3);
});

test('the examples of docs/NDJSON.md do what they say', async () => {
  await run([opening, ...examplesOf(ndjson)], 1);
});

test('the examples of docs/API.md do what they say', async () => {
  assert.deepEqual(await run(examplesOf(calls), 15), [[false, 1]]);
});

test('the examples of docs/LEVELDB.md do what they say', async () => {
  const page = await text('../../docs/LEVELDB.md');
  await run(examplesOf(page), 2);
  for (const name of Object.keys(tools)) assert.match(page, new RegExp(`^\\| \`${name}\\(`, 'm'));
});

test('every call has its row', () => {
  const [, table] = calls.split('\n| Call |');
  const names = [...table.split('\n\n', 1)[0].matchAll(/`(?:db\.)?(\w+)\(/g)].map(([, name]) => name);
  const methods = [Database, Namespace].flatMap(({ prototype }) => Object.getOwnPropertyNames(prototype)).filter((name) => !/^(_|constructor|.*EventListener$)/.test(name));
  for (const name of methods) assert.ok(names.includes(name), name);
  for (const name of names) assert.ok(methods.includes(name) || name in api, name);
  for (const name of Object.keys(api).filter((name) => /^[a-z]/.test(name))) assert.ok(names.includes(name), name);
});

test('every error code has its row, and no other', async () => {
  const [, union] = (await text('../dist/errors.d.ts')).split('type TempestErrorCode =');
  const codes = [...union.split(';', 1)[0].matchAll(/'(\w+)'/g)].map(([, code]) => code);
  assert.ok(codes.length > 10);
  assert.deepEqual(namesIn(errors, 'code'), codes);
});

test('every error code is reached by a test', async () => {
  const folder = new URL('.', import.meta.url);
  const names = (await readdir(folder, { recursive: true })).filter((name) => /^(?!.*node_modules).*\.test\.mjs$|^suite/.test(name) && name.endsWith('.mjs'));
  const tests = (await Promise.all(names.filter((name) => name !== 'docs.test.mjs').map((name) => text(name)))).join();
  for (const code of namesIn(errors, 'code')) assert.ok(tests.includes(`'${code}'`), code);
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

// Prints what a page downloads and what a Worker is deployed with, raw and compressed, and fails over the budgets; then how fast an object
// starts.
//
//   node js/size.mjs

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { allImports, staticImports } from './imports.mjs';

const dist = fileURLToPath(new URL('dist/', import.meta.url));

function brotliSize(bytes) {
  return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }).length;
}

let names;
try {
  names = readdirSync(dist).filter((name) => ['.js', '.wasm'].includes(extname(name)));
} catch {
  names = [];
}
if (!names.some((name) => name.endsWith('.wasm'))) {
  console.error('js/dist is not there or has no engine; make build makes it');
  process.exit(1);
}
const page = [...staticImports('worker.js', staticImports('index.js'))];
const tools = [...allImports('tools.js')].filter((name) => !page.includes(name));

/** What goes together, and the most bytes that it may have by gzip. A Worker may have 3 MB on the platform's free plan. */
const GROUPS = [
  { title: 'a page', names: [...page, 'tempestkv.wasm'], budgetBytes: 920_000 },
  { title: 'a Worker', names: ['workers.js', 'tempestkv.wasm'], budgetBytes: 920_000 },
  // Loaded where LevelDB folders come or go, or a store is repaired.
  { title: 'tools', names: [...tools, 'tempestkv-tools.wasm'], budgetBytes: 1_020_000 },
];

const unknown = names.filter((name) => !GROUPS.some((group) => group.names.includes(name)));
if (unknown.length > 0) {
  console.error(`js/dist has files that nobody weighs: ${unknown.join(', ')}`);
  process.exit(1);
}

const width = Math.max(...names.map((name) => name.length));
const show = ([name, ...sizes]) => [name.padEnd(width), ...sizes.map((size) => size.toLocaleString('en').padStart(10))].join('  ');
for (const { title, names, budgetBytes } of GROUPS) {
  const rows = names.map((name) => {
    const bytes = readFileSync(dist + name);
    return [name, bytes.length, gzipSync(bytes, { level: 9 }).length, brotliSize(bytes)];
  });
  const sums = [1, 2, 3].map((column) => rows.reduce((sum, row) => sum + row[column], 0));
  console.log([title.padEnd(width), ...['raw', 'gzip', 'brotli'].map((name) => name.padStart(10))].join('  '));
  for (const row of [...rows, ['all', ...sums]]) console.log(show(row));
  const budget = budgetBytes.toLocaleString('en');
  if (sums[1] > budgetBytes) {
    console.error(`over the budget of ${budget} bytes by gzip`);
    process.exitCode = 1;
  } else {
    console.log(`within the budget of ${budget} bytes by gzip\n`);
  }
}

// The runtime is installed with the tests that need it.
if (existsSync(new URL('test/workers/node_modules', import.meta.url))) {
  const { moduleOf, packageModules, startWorker } = await import('./test/workers/harness.mjs');
  const main = moduleOf('worker.mjs', fileURLToPath(new URL('../bench/workers/worker.mjs', import.meta.url)));
  const worker = await startWorker({ modules: [main, ...packageModules()], objects: { TEMPEST: 'Tempest', PLAIN: 'Plain' } });
  try {
    await worker.call('load', 'tempestkv', 'size', 100);
    const millis = [];
    for (let i = 0; i < 5; i++) millis.push((await worker.call('cold', 'tempestkv', 'size', i)).millis);
    console.log(`an object starts and answers in ${millis.sort((a, b) => a - b)[2]} ms (workerd on this machine, 100 rows)`);
  } finally {
    await worker.stop();
  }
}

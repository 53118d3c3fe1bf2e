// Prints what a page downloads, raw and compressed, and fails over the budget.
//
//   node js/size.mjs

import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

/** Most bytes of all files together, by gzip: 800 kB. */
const BUDGET_BYTES = 800_000;

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

const rows = names.sort().map((name) => {
  const bytes = readFileSync(dist + name);
  return [name, bytes.length, gzipSync(bytes, { level: 9 }).length, brotliSize(bytes)];
});
const sums = [1, 2, 3].map((column) => rows.reduce((sum, row) => sum + row[column], 0));

const width = Math.max(...names.map((name) => name.length));
const show = ([name, ...sizes]) => [name.padEnd(width), ...sizes.map((size) => size.toLocaleString('en').padStart(10))].join('  ');
console.log([''.padEnd(width), ...['raw', 'gzip', 'brotli'].map((name) => name.padStart(10))].join('  '));
for (const row of [...rows, ['all', ...sums]]) console.log(show(row));

const budget = BUDGET_BYTES.toLocaleString('en');
if (sums[1] > BUDGET_BYTES) {
  console.error(`over the budget of ${budget} bytes by gzip`);
  process.exit(1);
}
console.log(`within the budget of ${budget} bytes by gzip`);

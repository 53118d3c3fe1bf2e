// Prints the size of the router as it is deployed, and fails over the budget. The engine comes on top: make size prints it.
//
//   node workers/size.mjs

import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

/** Most bytes by gzip, which is what the platform counts: 3 MB on its smallest plan, engine included. */
const BUDGET_BYTES = 1_460_000;

const folder = new URL('../build/router/', import.meta.url);
const rows = ['app.wasm', 'wasm_exec.js', 'worker.mjs', 'runtime.mjs', 'router.mjs'].map((name) => {
  const bytes = readFileSync(new URL(name, folder));
  return [name, bytes.length, gzipSync(bytes, { level: 9 }).length];
});
const sum = (column) => rows.reduce((total, row) => total + row[column], 0);
const show = ([name, ...sizes]) => [name.padEnd(14), ...sizes.map((size) => size.toLocaleString('en').padStart(10))].join('');
console.log(`${''.padEnd(14)}${'raw'.padStart(10)}${'gzip'.padStart(10)}`);
for (const row of [...rows, ['router', sum(1), sum(2)]]) console.log(show(row));
if (sum(2) > BUDGET_BYTES) {
  console.error(`over the budget of ${BUDGET_BYTES.toLocaleString('en')} bytes by gzip`);
  process.exit(1);
}

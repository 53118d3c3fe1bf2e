// Compares a store in a Durable Object with what the platform offers, in the platform's own runtime on this machine.
//
//   node bench/workers.mjs [--rounds 5] [--rows 100000] [--json] [--write]

import { readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { moduleOf, packageModules, startWorker } from '../js/test/workers/harness.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    rows: { type: 'string', default: '100000' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const rows = Number(options.rows);
if (!(Number.isInteger(rounds) && rounds > 0 && Number.isInteger(rows) && rows >= 1000)) {
  console.error('--rounds must be an integer of at least 1, --rows of at least 1,000');
  process.exit(2);
}
if (!existsSync(here('../js/dist/tempestkv.wasm'))) {
  console.error('the package is not built; make build does that');
  process.exit(2);
}

const stores = ['sql', 'storage', 'tempestkv'];
const steps = {
  puts: '1,000 puts, one at a time',
  batches: '1,000 puts in batches of 100',
  gets: '1,000 gets, one at a time',
  getMany: '1,000 gets in calls of 100',
};

const figures = {};
const loaded = {};
const note = (step, store, result) => ((figures[step] ??= {})[store] ??= []).push(result);

const worker = await startWorker({ modules: [moduleOf('worker.mjs', here('workers/worker.mjs')), ...packageModules()], objects: { TEMPEST: 'Tempest', PLAIN: 'Plain' } });
try {
  // The first round warms up, and is not counted.
  for (let round = -1; round < rounds; round++) {
    for (let turn = 0; turn < stores.length; turn++) {
      const store = stores[(turn + Math.max(round, 0)) % stores.length];
      const name = `${store} ${round}`;
      for (const step of Object.keys(steps)) {
        // Batches go to a store of their own, so that they find it as empty as single puts do.
        const result = await worker.call('step', store, step === 'batches' ? `${name} batches` : name, step);
        if (round >= 0) note(step, store, result);
      }
    }
    process.stderr.write('.');
  }
  for (const store of stores) {
    await worker.call('load', store, `${store} cold`, rows);
    const written = await worker.call('settled');
    if (store === 'tempestkv') Object.assign(loaded, { written, stats: await worker.call('stats', `${store} cold`) });
    for (let round = 0; round < rounds; round++) note('cold', store, await worker.call('cold', store, `${store} cold`, (round * 7919) % rows));
    process.stderr.write('.');
  }
} finally {
  await worker.stop();
}
process.stderr.write('\n');

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

const millisOf = (results) => `${median(results.map(({ millis }) => millis))} ms (${Math.min(...results.map(({ millis }) => millis))}–${Math.max(...results.map(({ millis }) => millis))})`;

function table() {
  const lines = ['| In an object | one SQL row a key | `storage.put`, `get` | TempestKV |', '|---|--:|--:|--:|'];
  for (const [step, title] of [...Object.entries(steps), ['cold', `first get of an object of ${rows.toLocaleString('en')} rows`]]) {
    lines.push(`| ${title} | ${stores.map((store) => millisOf(figures[step][store])).join(' | ')} |`);
  }
  for (const step of ['puts', 'batches']) {
    // The platform counts the rows of statements only; of its key-value calls each key is one, by its price list.
    const written = stores.map((store) => (store === 'storage' ? 1000 : median(figures[step][store].map(({ written }) => written))));
    lines.push(`| ${steps[step]}: rows written | ${written.map((count) => count.toLocaleString('en')).join(' | ')} |`);
  }
  const mebibytes = (loaded.stats.wasmBytes / 2 ** 20).toFixed(1);
  const perThousand = Math.round((loaded.written / rows) * 1000);
  lines.push(
    '',
    `${rows.toLocaleString('en')} rows loaded in batches of 100 wrote ${loaded.written.toLocaleString('en')} rows with all that was flushed and compacted, ${perThousand} a thousand. ` +
      `The engine then had ${mebibytes} MiB of WebAssembly's memory.`,
  );
  return lines.join('\n');
}

const text = `Node ${process.versions.node}; workerd of miniflare ${JSON.parse(await readFile(here('../js/test/workers/package.json'), 'utf8')).devDependencies.miniflare}. ${rounds} rounds: median (least–greatest).\n\n${table()}`;
console.log(options.json ? JSON.stringify({ figures, loaded }, undefined, 2) : text);

const BEGIN = '<!-- bench workers: begin -->';
const END = '<!-- bench workers: end -->';
if (options.write) {
  const path = here('../docs/BENCHMARKS.md');
  const page = await readFile(path, 'utf8');
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`docs/BENCHMARKS.md has no place for the table, between ${BEGIN} and ${END}`);
  await writeFile(path, `${page.slice(0, begin + BEGIN.length)}\n${text}\n${page.slice(end)}`);
}

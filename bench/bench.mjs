// Compares the package with IndexedDB and idb-keyval, in Chromium. docs/BENCHMARKS.md says what is measured and how.
//
//   node bench/bench.mjs [--rounds 3] [--rows 100000] [--only get,put] [--stores indexeddb,tempestkv] [--json] [--write]

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { findChromium } from '../js/test/browser/chromium.mjs';
import { circumstances, expectations, steps, stores, tables } from './report.mjs';
import { serve } from './serve.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    rows: { type: 'string', default: '100000' },
    only: { type: 'string', default: steps.join() },
    stores: { type: 'string', default: stores.map((store) => store.id).join() },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const usage = `node bench/bench.mjs [options]
  --rounds N     how often everything is measured (3)
  --rows N       rows in a store, at least 1,000 (100000)
  --only LIST    of the steps ${steps.join(', ')}
  --stores LIST  of the stores ${stores.map((store) => store.id).join(', ')}
  --json         print the figures as JSON
  --write        put the tables into docs/BENCHMARKS.md`;

class UsageError extends Error {}

function choose(list, known, what) {
  const chosen = list.split(',');
  const unknown = chosen.find((id) => !known.includes(id));
  if (unknown !== undefined) throw new UsageError(`there is no ${what} ${unknown}`);
  return known.filter((id) => chosen.includes(id));
}

function integer(text, least, what) {
  const number = Number(text);
  if (!Number.isInteger(number) || number < least) throw new UsageError(`${what} must be an integer of at least ${least}`);
  return number;
}

function outputOf(program, ...args) {
  try {
    return execFileSync(program, args, { cwd: here('.'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown';
  }
}

async function describeMachine(context, page) {
  const session = await context.newCDPSession(page);
  const { product } = await session.send('Browser.getVersion');
  await session.detach();
  const cpus = os.cpus();
  const commit = outputOf('git', 'rev-parse', '--short', 'HEAD');
  const isChanged = outputOf('git', 'status', '--porcelain', '--untracked-files=no', '--', '../js', '../kv', '../wasm') !== '';
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: isChanged ? `${commit} and changes` : commit,
    cpu: cpus[0]?.model.trim() ?? 'unknown processor',
    cores: cpus.length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.arch()}`,
    chromium: product.split('/')[1],
    go: outputOf('go', 'env', 'GOVERSION').replace(/^go/, ''),
    node: process.version.slice(1),
    idbKeyval: JSON.parse(await readFile(here('node_modules/idb-keyval/package.json'), 'utf8')).version,
  };
}

/** One round: a fresh page, every store made, measured step by step in turns, and deleted. */
async function measure(page, address, chosen, chosenSteps, { round, rows }, figures) {
  await page.goto(`${address}/page/index.html`);
  await page.waitForFunction(() => globalThis.bench !== undefined);
  if (!(await page.evaluate(() => globalThis.crossOriginIsolated))) throw new Error('the page is not isolated; its clock is too coarse');
  for (const { id, context, kind, options } of chosen) {
    const settings = { context, kind, options, rows, name: `bench-${id}-${round}`, seed: 1_000_000 + round };
    await page.evaluate(([id, settings]) => globalThis.bench.start(id, settings), [id, settings]);
  }
  for (const [i, step] of ['load', ...chosenSteps.filter((step) => step !== 'load')].entries()) {
    // Nobody is always first.
    const turn = (round + i) % chosen.length;
    for (const { id } of [...chosen.slice(turn), ...chosen.slice(0, turn)]) {
      const measured = await page.evaluate(([id, step]) => globalThis.bench.run(id, step), [id, step]);
      for (const [figure, number] of Object.entries(measured)) {
        if (chosenSteps.includes(step)) ((figures[id] ??= {})[figure] ??= []).push(number);
      }
    }
    process.stderr.write('.');
  }
  for (const { id } of chosen) await page.evaluate((id) => globalThis.bench.end(id), id);
}

async function run() {
  const rounds = integer(options.rounds, 1, '--rounds');
  const rows = integer(options.rows, 1000, '--rows');
  const chosenSteps = choose(options.only, steps, 'step');
  const ids = choose(options.stores, stores.map((store) => store.id), 'store');
  const chosen = stores.filter((store) => ids.includes(store.id));
  if (chosen.some((store) => store.kind === 'tempestkv') && !existsSync(here('../js/dist/tempestkv.wasm'))) {
    throw new UsageError('the package is not built; make build does that');
  }

  let giveUp;
  const gone = new Promise((_, reject) => {
    giveUp = (why) => reject(new Error(why));
  });
  gone.catch(() => undefined);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => giveUp(`ended by ${signal}`));

  const profile = await mkdtemp(join(os.tmpdir(), 'tempestkv-bench-'));
  const server = await serve();
  let context;
  try {
    // A profile on disk: in a window without one, stores are kept in memory.
    context = await chromium.launchPersistentContext(profile, {
      executablePath: findChromium(),
      headless: true,
      handleSIGINT: false,
      handleSIGTERM: false,
      // So that what one store left to collect is not collected during the next one's turn.
      args: ['--js-flags=--expose-gc'],
    });
    const page = context.pages()[0] ?? (await context.newPage());
    page.on('console', (message) => message.type() === 'error' && console.error(message.text()));
    page.on('crash', () => giveUp('the page crashed'));
    const figures = {};
    const machine = await describeMachine(context, page);
    for (let round = 0; round < rounds; round++) {
      process.stderr.write(`round ${round + 1} of ${rounds} `);
      await Promise.race([measure(page, server.address, chosen, chosenSteps, { round, rows }, figures), gone]);
      process.stderr.write('\n');
    }
    return { machine, settings: { rounds, rows }, figures };
  } finally {
    await context?.close();
    server.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

const BEGIN = '<!-- bench: begin -->';
const END = '<!-- bench: end -->';

async function write(text) {
  const path = here('../docs/BENCHMARKS.md');
  const page = await readFile(path, 'utf8');
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`docs/BENCHMARKS.md has no place for the tables, between ${BEGIN} and ${END}`);
  await writeFile(path, `${page.slice(0, begin + BEGIN.length)}\n${text}\n${page.slice(end)}`);
}

try {
  if (options.help) {
    console.log(usage);
  } else {
    const result = await run();
    const text = [circumstances(result), tables(result), expectations(result)].filter((part) => part !== '').join('\n\n');
    console.log(options.json ? JSON.stringify(result, undefined, 2) : text);
    if (options.write) await write(text);
  }
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n\n${usage}`);
  process.exitCode = 2;
}

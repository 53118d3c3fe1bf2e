// Serialisability through connections: what several clients of an object did at once could have been done one after the other. porcupine checks it
// (../history/history_test.go).

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startWorker } from './harness.mjs';

const SEED = 1000 * Number(process.env.SEED ?? 0);
const ROUNDS = 4;

const folder = await mkdtemp(join(tmpdir(), 'tempestkv-history-'));
const worker = await startWorker();
after(async () => {
  await worker.stop();
  await rm(folder, { recursive: true });
});

test('calls and transactions of several connections to an object are strictly serialisable', async () => {
  const files = [];
  for (let round = 0; round < ROUNDS; round++) {
    const history = await worker.call('history', `history ${round}`, SEED + round);
    assert.equal(history.length, 8 * 30);
    const file = join(folder, `${round}.json`);
    await writeFile(file, history.map((operation) => `${JSON.stringify(operation)}\n`).join(''));
    files.push(file);
  }
  const run = spawnSync('go', ['test', '-count=1', './history'], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { ...process.env, HISTORIES: files.join(',') },
    encoding: 'utf8',
  });
  assert.equal(run.status, 0, `SEED=${SEED / 1000}\n${run.stdout}${run.stderr}`);
});

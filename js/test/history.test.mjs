// Serialisability: what many clients did at once could have been done one after the other. porcupine checks it (history/history_test.go).

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as api from '../dist/index.js';
import { AsyncMemoryDevice } from './async-device.mjs';
import { record } from './history/record.mjs';
import { openModel } from './model-link.mjs';
import { inMemory } from './suite/index.mjs';

const SEED = 1000 * Number(process.env.SEED ?? 0);
const ROUNDS = 5;

let folder;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tempestkv-history-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const stores = {
  'a model of the engine': openModel,
  'a synchronous device': inMemory(api).openAs,
  'an asynchronous device': inMemory(api, (device) => new AsyncMemoryDevice(device)).openAs,
};

describe('transactions are strictly serialisable', () => {
  for (const [name, open] of Object.entries(stores)) {
    test(`on ${name}`, async () => {
      const files = [];
      for (let round = 0; round < ROUNDS; round++) {
        const db = await open(`history-${round}`, { valueEncoding: 'utf8' });
        const history = await record(db, { seed: SEED + round });
        await db.close();
        const file = join(folder, `${name.replaceAll(' ', '-')}-${round}.json`);
        await writeFile(file, history.map((operation) => `${JSON.stringify(operation)}\n`).join(''));
        files.push(file);
      }
      const run = spawnSync('go', ['test', '-count=1', './history'], {
        cwd: fileURLToPath(new URL('.', import.meta.url)),
        env: { ...process.env, HISTORIES: files.join(',') },
        encoding: 'utf8',
      });
      assert.equal(run.status, 0, `SEED=${SEED / 1000}\n${run.stdout}${run.stderr}`);
    });
  }
});

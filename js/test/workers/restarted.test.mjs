// The runtime ends, in peace and by force, and starts again on the same folder.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startWorker } from './harness.mjs';

async function inFolder(run) {
  const folder = await mkdtemp(join(tmpdir(), 'tempestkv-workers-'));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('what was written is there after the runtime was started again', () =>
  inFolder(async (folder) => {
    for (let round = 0; round < 3; round++) {
      const worker = await startWorker({ folder });
      try {
        const entries = await worker.call('read', 'kept');
        assert.equal(entries.length, round * 300);
        assert.ok(entries.every(([, length]) => length === 200));
        for (let part = 0; part < 3; part++) await worker.call('put', 'kept', round * 300 + part * 100, 100, 200);
      } finally {
        await worker.stop();
      }
    }
  }));

test('killed in a stream of writes, ten rounds: nothing acknowledged is lost, and no batch is there in part', () =>
  inFolder(async (folder) => {
    const ROUNDS = 10;
    const BATCH = 7;
    const acknowledged = new Set();
    let started = 0;
    for (let round = 0; round <= ROUNDS; round++) {
      const worker = await startWorker({ folder });
      try {
        const counts = await worker.call('countBatches', 'stream');
        for (const batch of [...acknowledged, ...Object.keys(counts)]) assert.equal(counts[batch], BATCH, `after ${round} kills: ${batch}`);
        if (round === ROUNDS) break;
        const enough = acknowledged.size + 20 + 17 * round;
        let isKilled = false;
        // Several writers, so that the kill comes while batches are under way.
        const write = async (writer) => {
          while (!isKilled) {
            const batch = started++;
            await worker.call('writeBatch', 'stream', `w${writer}`, batch, BATCH);
            acknowledged.add(`w${writer}-${String(batch).padStart(6, '0')}`);
            if (acknowledged.size >= enough && !isKilled) {
              isKilled = true;
              worker.kill();
            }
          }
        };
        await Promise.allSettled(Array.from({ length: 5 }, (_, writer) => write(writer)));
        assert.ok(isKilled, 'the writers ended before the runtime was killed');
      } finally {
        await worker.stop();
      }
    }
    assert.ok(started > acknowledged.size, 'every batch was acknowledged: the kills came when nothing was under way');
  }));

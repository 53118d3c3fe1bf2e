// A store much larger than the memory of its engine: millions of rows loaded in random order into the origin private file system of a Chromium,
// then read while it is being compacted, then opened again. `make soak` runs it; it prints what it measured and fails where a bound is passed.

import assert from 'node:assert/strict';
import { Setting } from '../browser/harness.mjs';

const ROWS = Number(process.env.ROWS ?? 5_000_000);
const BATCH = 2000;
const VALUE_BYTES = 100;

const setting = await Setting.begin();
try {
  const page = await setting.page();
  page.setDefaultTimeout(0);
  const load = await page.evaluate(
    async ([rows, perBatch, valueBytes]) => {
      const { open } = await import('/dist/index.js');
      const { keyOf, valueOf } = await import('/pages/rows.js');
      globalThis.db = await open('large', { keyEncoding: 'view', valueEncoding: 'view' });
      const worst = { wasmBytes: 0, heapBytes: 0, put: 0 };
      // A few batches under way at a time, as a program does that loads a lot.
      const underWay = [];
      const started = performance.now();
      const gets = [];
      for (let at = 0; at < rows; at += perBatch) {
        const operations = Array.from({ length: Math.min(perBatch, rows - at) }, (_, i) => ({
          type: 'put',
          key: keyOf(at + i),
          value: valueOf(at + i, valueBytes),
        }));
        if (underWay.length === 4) await underWay.shift();
        underWay.push(db.batch(operations));
        if (at % (perBatch * 50) === 0 && at > 0) {
          const i = Math.floor(Math.random() * (at - 4 * perBatch > 0 ? at - 4 * perBatch : 1));
          const before = performance.now();
          const value = await db.get(keyOf(i));
          gets.push(performance.now() - before);
          if (value === undefined || value[0] !== valueOf(i, 8)[0]) throw new Error(`row ${i} is not what was written`);
          const stats = await db.stats();
          worst.wasmBytes = Math.max(worst.wasmBytes, stats.wasmBytes);
          worst.heapBytes = Math.max(worst.heapBytes, stats.heapBytes);
        }
        if (at % 500_000 === 0) console.log(`${at} rows, ${Math.round(performance.now() - started)} ms`);
      }
      await Promise.all(underWay);
      const millis = performance.now() - started;
      gets.sort((a, b) => a - b);
      return { millis, worst, gets: { count: gets.length, p50: gets[gets.length >> 1], p99: gets[Math.floor(gets.length * 0.99)], worst: gets.at(-1) }, stats: await db.stats() };
    },
    [ROWS, BATCH, VALUE_BYTES],
  );
  console.log('load:', JSON.stringify({ seconds: Math.round(load.millis / 1000), rowsPerSecond: Math.round(ROWS / (load.millis / 1000)), ...load.worst, gets: load.gets }));
  console.log('stats behind the load:', JSON.stringify(load.stats));

  const reads = await page.evaluate(
    async ([rows, valueBytes]) => {
      const { keyOf, valueOf, same } = await import('/pages/rows.js');
      const db = globalThis.db;
      const started = performance.now();
      const latencies = [];
      const readOne = async () => {
        const i = Math.floor(Math.random() * rows);
        const before = performance.now();
        const value = await db.get(keyOf(i));
        latencies.push(performance.now() - before);
        if (!same(value, valueOf(i, valueBytes))) throw new Error(`row ${i} is not what was written`);
      };
      // Until what compaction is under way has ended, and then one of everything.
      const compaction = db.compact().then(() => true);
      let isOver = false;
      compaction.then(() => (isOver = true));
      let worst = 0;
      while (!isOver) {
        for (let n = 0; n < 50; n++) await readOne();
        worst = Math.max(worst, (await db.stats()).wasmBytes);
      }
      latencies.sort((a, b) => a - b);
      return {
        millis: performance.now() - started,
        count: latencies.length,
        p50: latencies[latencies.length >> 1],
        p99: latencies[Math.floor(latencies.length * 0.99)],
        worst: latencies.at(-1),
        wasmBytes: worst,
      };
    },
    [ROWS, VALUE_BYTES],
  );
  console.log('gets while everything is compacted:', JSON.stringify(reads));

  const scanned = await page.evaluate(
    async ([rows, valueBytes]) => {
      const { numberOf, valueOf, same } = await import('/pages/rows.js');
      const seen = new Uint8Array(rows);
      let count = 0;
      let last;
      const started = performance.now();
      for await (const [key, value] of db.scan()) {
        const i = numberOf(key);
        if (seen[i] === 1) throw new Error(`row ${i} came twice`);
        seen[i] = 1;
        if (!same(value, valueOf(i, valueBytes))) throw new Error(`row ${i} is not what was written`);
        if (last !== undefined && indexedDB.cmp(last, key) >= 0) throw new Error('a scan that is not in order');
        last = key;
        count++;
      }
      const millis = performance.now() - started;
      const stats = await db.stats();
      await db.close();
      const { usage } = await navigator.storage.estimate();
      const root = await navigator.storage.getDirectory();
      const file = await (await (await root.getDirectoryHandle('tempestkv')).getFileHandle('large')).getFile();
      return { count, millis, stats, usage, fileBytes: file.size };
    },
    [ROWS, VALUE_BYTES],
  );
  const live = ROWS * (16 + VALUE_BYTES);
  console.log('scan of everything:', JSON.stringify({ count: scanned.count, rowsPerSecond: Math.round(scanned.count / (scanned.millis / 1000)) }));
  console.log('at rest:', JSON.stringify({ fileBytes: scanned.fileBytes, ofLive: +(scanned.fileBytes / live).toFixed(3), wasmBytes: scanned.stats.wasmBytes }));

  const opened = [];
  for (let round = 0; round < 5; round++) {
    await page.reload();
    opened.push(
      await page.evaluate(
        async ([rows, valueBytes]) => {
          const { open } = await import('/dist/index.js');
          const { keyOf, valueOf, same } = await import('/pages/rows.js');
          const before = performance.now();
          const db = await open('large', { keyEncoding: 'view', valueEncoding: 'view' });
          const millis = performance.now() - before;
          const i = Math.floor(Math.random() * rows);
          if (!same(await db.get(keyOf(i)), valueOf(i, valueBytes))) throw new Error(`row ${i} is not what was written`);
          await db.close();
          return Math.round(millis);
        },
        [ROWS, VALUE_BYTES],
      ),
    );
  }
  console.log('opening again, milliseconds:', opened.join(', '));

  const limit = 128 * 2 ** 20;
  const wasmBytes = Math.max(load.worst.wasmBytes, reads.wasmBytes, scanned.stats.wasmBytes);
  assert.equal(scanned.count, ROWS);
  assert.ok(wasmBytes <= limit, `wasm memory: ${wasmBytes} bytes`);
  assert.ok(scanned.fileBytes <= 1.3 * live, `file at rest: ${scanned.fileBytes} bytes for ${live} live ones`);
  assert.ok(reads.p99 <= 20, `p99 of a get during compaction: ${reads.p99} ms`);
  assert.ok(Math.min(...opened) <= 250, `opening took ${opened} ms`);
} finally {
  await setting.end();
}

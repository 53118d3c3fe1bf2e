// Stores in objects, seen from a Worker.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startWorker } from './harness.mjs';

const worker = await startWorker();
after(() => worker.stop());

test('connect refuses what it cannot use', () => worker.call('misuse'));

test('an object refuses frames that make no sense or are not for a client to send', () => worker.call('strangers'));

test('connections to one object do not disturb each other', () => worker.call('sessions'));

test('what a request left open ends with it', async () => {
  assert.equal(await worker.call('leaveScans', 'left'), 60);
  // The platform tells the object in its own time; each question is a request, which lets it.
  let open = 60;
  for (let i = 0; i < 1000 && open > 0; i++) open = await worker.call('openScans', 'left');
  assert.equal(open, 0);
});

test('calls and answers up to what the platform carries, and over it', () => worker.call('large'));

test('the engine dies: whoever waits hears of it, and the next call finds a new object with everything', () => worker.call('panic'));

test('twenty objects in one isolate', async () => {
  const wasmBytes = await worker.call('neighbours', 20);
  assert.ok(wasmBytes <= 16 << 20, `an engine took ${wasmBytes} bytes`);
});

test('two hundred requests in flight', async () => {
  await Promise.all(Array.from({ length: 200 }, (_, n) => worker.call('mixed', n)));
  assert.equal((await worker.call('mixedEnd')).count, 40 + 40 * 20);
});

test('a store that is full says so and goes on reading', () => worker.call('full'));

test('a store that is destroyed is gone, and its name can be used again', () => worker.call('destroyed'));

test('methods of an object use its store in place', () => worker.call('inside'));

test('a damaged store says so to every call, and is not changed', () => worker.call('damaged'));

test('a thousand puts in batches of a hundred write at most a fifth of a row a key', async (t) => {
  const { batches, alone } = await worker.call('rows');
  t.diagnostic(`rows written for 1,000 puts: ${batches.written} in batches of 100, ${alone.written} one at a time`);
  assert.ok(batches.written <= 200, String(batches.written));
  assert.ok(alone.written <= 1100, String(alone.written));
});

test('work in the background goes on by itself, behind the call and by alarms', async () => {
  await worker.call('startWork', 1000);
  // Questions do not drive it: they only ask.
  let state = await worker.call('work');
  for (let i = 0; i < 20_000 && state.left > 0; i++) state = await worker.call('work');
  assert.equal(state.left, 0);
  assert.ok(state.alarms >= 3, `${state.alarms} alarms`);
});

for (let seed = 1; seed <= 10; seed++) {
  test(`rows hold what a file would, seed ${seed}`, async () => {
    assert.deepEqual(await worker.call('device', seed, 400), { zeros: 0 });
  });
}

test('a device that is full writes within its size', () => worker.call('quota'));

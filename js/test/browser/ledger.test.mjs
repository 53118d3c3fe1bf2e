// The checker of the tests that cut stores off must itself tell a good store from a bad one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ledger } from './ledger.mjs';
import { operation } from './pages/stream.js';

/** What a store holds after the first `count` operations, and the sequence numbers of each. */
function after(count) {
  const state = new Map();
  const sequences = [];
  let sequence = 0;
  for (let n = 0; n < count; n++) {
    const { writes } = operation(n);
    for (const { type, key } of writes) {
      if (type === 'put') state.set(key, n);
      else state.delete(key);
    }
    sequence += writes.length;
    sequences.push(sequence);
  }
  return { sequence, sequences, entries: [...state] };
}

const OPERATIONS = 500;
const good = after(OPERATIONS);
const lastBatch = Array.from({ length: OPERATIONS }, (_, n) => n).findLast((n) => operation(n).isBatch);

function check({ sequence = good.sequence, entries = good.entries, acknowledged = OPERATIONS - 1 }) {
  const ledger = new Ledger();
  ledger.acknowledge([acknowledged, good.sequences[acknowledged] ?? 0]);
  ledger.check(sequence, entries);
}

test('a store with the acknowledged writes is sound, and so is one with more of them', () => {
  check({});
  check({ acknowledged: 100 });
});

test('a store that is not sound is told from one that is', () => {
  assert.throws(() => check({ entries: good.entries.slice(1) }), 'an entry is missing');
  assert.throws(() => check({ entries: [...good.entries, ['stray', 1]] }), 'an entry is too many');
  assert.throws(() => check({ entries: good.entries.map(([key, n], i) => [key, i === 7 ? n - 1 : n]) }), 'an entry is an older one');
  assert.throws(() => check(after(OPERATIONS - 1)), /was acknowledged/, 'an acknowledged write is lost');
  assert.throws(() => check({ ...after(lastBatch + 1), sequence: after(lastBatch + 1).sequence - 1, acknowledged: 0 }), /half there/);
});

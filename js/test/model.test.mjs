// Transactions, watches and live queries on a model of the engine whose answers come late and in any order.

import { describe, test } from 'node:test';
import { Client, Database } from '../../build/js/internal.js';
import { ModelLink } from './model-link.mjs';
import { random } from './suite/assert.mjs';
import snapshots from './suite/snapshots.mjs';
import transactions from './suite/transactions.mjs';
import watches from './suite/watches.mjs';

/** What is about tables, or about opening again. */
const elsewhere = ['a snapshot survives flushes and compactions', 'ranges are cleared at once', 'counts and sizes of ranges'];

let seed = 0;
function openModel(name, options = {}) {
  const below = random(++seed);
  const link = new ModelLink(() => (below(3) === 0 ? below(8) : 0), (frame) => client.receive(frame));
  const client = new Client(link);
  return Promise.resolve(new Database(client, { name, storage: 'memory', supports: {}, recovery: {}, durability: 'relaxed', ...options }));
}

describe('on a model of the engine', () => {
  for (const [name, run] of Object.entries({ ...snapshots, ...transactions, ...watches })) {
    if (!elsewhere.includes(name)) test(name, () => run({ open: openModel, name: () => 'model' }));
  }
});

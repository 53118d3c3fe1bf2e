// Transactions, watches and live queries on a model of the engine whose answers come late and in any order.

import { describe, test } from 'node:test';
import { openModel } from './model-link.mjs';
import snapshots from './suite/snapshots.mjs';
import transactions from './suite/transactions.mjs';
import watches from './suite/watches.mjs';

/** What is about tables, or about opening again. */
const elsewhere = ['a snapshot survives flushes and compactions', 'ranges are cleared at once', 'counts and sizes of ranges'];

describe('on a model of the engine', () => {
  for (const [name, run] of Object.entries({ ...snapshots, ...transactions, ...watches })) {
    if (!elsewhere.includes(name)) test(name, () => run({ open: openModel, name: () => 'model' }));
  }
});

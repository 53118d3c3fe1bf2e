// Transactions, watches and live queries on a model of the engine whose answers come late and in any order.

import { describe, test } from 'node:test';
import { openModel } from './model-link.mjs';
import snapshots from './suite/snapshots.mjs';
import transactions from './suite/transactions.mjs';
import watches from './suite/watches.mjs';

/** What is about tables, about logs, or about opening again; and what is too much for a model. */
const elsewhere = [
  'a snapshot survives flushes and compactions',
  'ranges are cleared at once',
  'counts and sizes of ranges',
  'a watch tells of a gap where since is older than the log',
  'of a hundred thousand commits a watcher that stops and goes on sees each once, or a gap',
];

describe('on a model of the engine', () => {
  for (const [name, run] of Object.entries({ ...snapshots, ...transactions, ...watches })) {
    if (!elsewhere.includes(name)) test(name, () => run({ open: openModel, name: () => 'model' }));
  }
});

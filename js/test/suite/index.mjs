// The common suite: the same tests in every context and on every storage. See README.md beside the folder.

import backups from './backups.mjs';
import events from './events.mjs';
import expiry from './expiry.mjs';
import failures from './failures.mjs';
import keys from './keys.mjs';
import lifecycle from './lifecycle.mjs';
import namespaces from './namespaces.mjs';
import ndjson from './ndjson.mjs';
import scans from './scans.mjs';
import snapshots from './snapshots.mjs';
import transactions from './transactions.mjs';
import tuples from './tuples.mjs';
import values from './values.mjs';
import watches from './watches.mjs';
import writes from './writes.mjs';

/** Every test: a name and a function of a target. */
export const tests = Object.entries({ ...values, ...keys, ...tuples, ...namespaces, ...writes, ...scans, ...expiry, ...snapshots, ...transactions, ...watches, ...backups, ...ndjson, ...lifecycle, ...events, ...failures }).map(([name, run]) => ({ name, run }));

let names = 0;

/**
 * What the tests are given.
 *
 * @param api - The package: `await import('…/dist/index.js')`.
 * @param options.openAs - Opens a store by name and options, on the storage under test. A name opened again is the same store.
 * @param options.importAs - Makes such a store out of a backup: `importStore`, on the storage under test.
 * @param options.wasm - Addresses that are not the engine: `missing`, with the `missingMessage` its error should have; `text`, a file of text;
 *   and `other`, a WebAssembly module that is another program.
 */
export function makeTarget(api, { openAs, importAs, wasm }) {
  const name = () => `suite-${Date.now().toString(36)}-${names++}`;
  return {
    api,
    wasm,
    name,
    open: (store = name(), options = {}) => openAs(store, options),
    importStore: importAs,
    globals: () => Object.getOwnPropertyNames(globalThis).sort(),
  };
}

/** An `openAs` and an `importAs` for devices in memory, one a name, which last as long as the page or program. `wrap` may put something around each. */
export function inMemory(api, wrap = (device) => device) {
  const devices = new Map();
  const deviceOf = (name) => {
    let device = devices.get(name);
    if (device === undefined) devices.set(name, (device = wrap(new api.MemoryDevice())));
    return device;
  };
  return {
    openAs: (name, options) => api.open(name, { device: deviceOf(name), ...options }),
    importAs: (name, source, options) => api.importStore(name, source, { device: deviceOf(name), ...options }),
  };
}

/** Runs all tests whose name contains `filter`, and returns what came of them; for contexts without a test runner. */
export async function runSuite(target, filter = '') {
  const results = [];
  for (const { name, run } of tests) {
    if (!name.includes(filter)) continue;
    const start = performance.now();
    let error;
    try {
      await run(target);
    } catch (caught) {
      error = caught instanceof Error ? (caught.stack ?? String(caught)) : String(caught);
    }
    results.push({ name, passed: error === undefined, error, millis: Math.round(performance.now() - start) });
  }
  return results;
}

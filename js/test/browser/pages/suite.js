// The common suite in the context that imports this module.

import * as api from '/dist/index.js';
import { inMemory, makeTarget, tests } from '/suite/index.mjs';

const wasm = { missing: '/missing.wasm', missingMessage: /404/, text: '/text.wasm', other: '/other.wasm' };

const targets = {
  opfs: makeTarget(api, { openAs: (name, options) => api.open(name, { storage: 'opfs', ...options }), importAs: api.importStore, wasm }),
  memory: makeTarget(api, { ...inMemory(api), wasm }),
};

/** Runs one test on one storage; resolves to what it threw, as text. */
export async function runTest(storage, name) {
  try {
    await tests.find((test) => test.name === name).run(targets[storage]);
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? String(error)) : String(error);
  }
}

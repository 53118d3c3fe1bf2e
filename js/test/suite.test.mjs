// The common suite in Node: on devices in memory, synchronous and asynchronous.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import * as api from '../dist/index.js';
import { AsyncMemoryDevice } from './async-device.mjs';
import { inMemory, makeTarget, tests } from './suite/index.mjs';

const folder = await mkdtemp(join(tmpdir(), 'tempestkv-'));
after(() => rm(folder, { recursive: true }));
await writeFile(join(folder, 'text.wasm'), '<!doctype html><title>Not found</title>');
await writeFile(join(folder, 'other.wasm'), new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
const address = (name) => pathToFileURL(join(folder, name)).href;
const wasm = { missing: address('missing.wasm'), missingMessage: /ENOENT/, text: address('text.wasm'), other: address('other.wasm') };

const targets = {
  'a synchronous device': makeTarget(api, { ...inMemory(api), wasm }),
  'an asynchronous device': makeTarget(api, { ...inMemory(api, (device) => new AsyncMemoryDevice(device)), wasm }),
};

for (const [name, target] of Object.entries(targets)) {
  describe(name, () => {
    for (const { name, run } of tests) test(name, () => run(target));
  });
}

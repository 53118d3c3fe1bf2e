// Starts workerd, the platform's own runtime, with a Worker of test code on the package as it is published, and no network.

import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';
import { familyOf } from '../browser/processes.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** A module of a Worker, from a file. */
export function moduleOf(path, file) {
  const type = path.endsWith('.wasm') ? 'CompiledWasm' : 'ESModule';
  return { type, path, contents: readFileSync(file, type === 'ESModule' ? 'utf8' : undefined) };
}

/** The package, as `./workers.js`. */
export const packageModules = () => [
  moduleOf('workers.js', here('../../dist/workers.js')),
  moduleOf('tempestkv.wasm', here('../../dist/tempestkv.wasm')),
];

/** What the tests' Worker is made of. */
const testModules = () => [
  moduleOf('worker.mjs', here('worker.mjs')),
  moduleOf('internal.js', here('../../../build/js/internal.js')),
  ...packageModules(),
  moduleOf('history/record.mjs', here('../history/record.mjs')),
  ...readdirSync(here('../suite')).map((name) => moduleOf(`suite/${name}`, here(`../suite/${name}`))),
];

const testObjects = { TEMPEST: 'TempestObject', TINY: 'TinyObject', PROBE: 'ProbeObject', PLAIN: 'PlainObject', BUSY: 'BusyObject', STEPS: 'StepsObject' };

/**
 * A Worker that runs. Its default export answers a request whose body is `{ name, args }` with `{ value }` or `{ error }`.
 *
 * @param options.folder - Where objects are kept; by default a new folder, that goes with the Worker.
 * @param options.modules - What it is made of, the main module first.
 * @param options.objects - The bindings of its classes of objects.
 * @param options.buckets - The bindings of its buckets, which are kept in memory.
 */
export async function startWorker({ folder, modules = testModules(), objects = testObjects, buckets = ['BACKUPS'] } = {}) {
  const own = folder === undefined ? await mkdtemp(join(tmpdir(), 'tempestkv-workers-')) : undefined;
  const runtime = new Miniflare({
    modules,
    compatibilityDate: '2026-07-01',
    durableObjects: Object.fromEntries(Object.entries(objects).map(([binding, className]) => [binding, { className, useSQLite: true }])),
    durableObjectsPersist: folder ?? own,
    r2Buckets: buckets,
    r2Persist: false,
    // What the Worker prints is looked at only where a test fails for it.
    handleRuntimeStdio: (out, error) => (out.resume(), error.resume()),
  });
  await runtime.ready;
  const processes = familyOf(process.pid, 'none').filter((id) => id !== process.pid);
  return {
    /** Sends the Worker a request. */
    fetch: (path, init) => runtime.dispatchFetch(new URL(path, 'http://worker.test/'), init),
    /** Has the Worker carry out a function with these arguments; what it returns comes back as JSON. */
    async call(name, ...args) {
      const response = await runtime.dispatchFetch('http://worker.test/', { method: 'POST', body: JSON.stringify({ name, args }) });
      const { value, error } = await response.json();
      if (error !== undefined) throw Object.assign(new Error(error.message), error);
      return value;
    },
    /** Ends the runtime at once, without a word. */
    kill() {
      for (const id of processes) process.kill(id, 'SIGKILL');
    },
    async stop() {
      await runtime.dispose();
      if (own !== undefined) await rm(own, { recursive: true });
    },
  };
}

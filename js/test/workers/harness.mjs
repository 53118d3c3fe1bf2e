// Starts workerd, the platform's own runtime, with a Worker of test code on the package as it is published, and no network.

import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';
import { familyOf } from '../browser/processes.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const suite = readdirSync(here('../suite')).map((name) => ({ type: 'ESModule', path: `suite/${name}`, contents: readFileSync(here(`../suite/${name}`), 'utf8') }));

const modules = [
  { type: 'ESModule', path: 'worker.mjs', contents: readFileSync(here('worker.mjs'), 'utf8') },
  { type: 'ESModule', path: 'workers.js', contents: readFileSync(here('../../dist/workers.js'), 'utf8') },
  { type: 'ESModule', path: 'internal.js', contents: readFileSync(here('../../../build/js/internal.js'), 'utf8') },
  { type: 'CompiledWasm', path: 'tempestkv.wasm', contents: readFileSync(here('../../dist/tempestkv.wasm')) },
  ...suite,
];

const sqlite = (className) => ({ className, useSQLite: true });

/**
 * A Worker that runs. `call` has one of the functions in worker.mjs carried out in it.
 *
 * @param folder - Where objects are kept; by default a new one, that goes with the Worker.
 */
export async function startWorker(folder) {
  const own = folder === undefined ? await mkdtemp(join(tmpdir(), 'tempestkv-workers-')) : undefined;
  const runtime = new Miniflare({
    modules,
    compatibilityDate: '2026-07-01',
    durableObjects: { TEMPEST: sqlite('TempestObject'), TINY: sqlite('TinyObject'), PROBE: sqlite('ProbeObject'), PLAIN: sqlite('PlainObject') },
    durableObjectsPersist: folder ?? own,
    // What the Worker prints is looked at only where a test fails for it.
    handleRuntimeStdio: (out, error) => (out.resume(), error.resume()),
  });
  await runtime.ready;
  const processes = familyOf(process.pid, 'none').filter((id) => id !== process.pid);
  return {
    /** Carries out a function of worker.mjs with these arguments; what it returns comes back as JSON. */
    async call(name, ...args) {
      const response = await runtime.dispatchFetch('http://worker.test/', { method: 'POST', body: JSON.stringify({ name, args }) });
      const { value, error } = await response.json();
      if (error !== undefined) throw Object.assign(new Error(error.message), error);
      return value;
    },
    /** Ends the runtime at once, as a power cut of its machine's program would. */
    kill() {
      for (const id of processes) process.kill(id, 'SIGKILL');
    },
    async stop() {
      await runtime.dispose();
      if (own !== undefined) await rm(own, { recursive: true });
    },
  };
}

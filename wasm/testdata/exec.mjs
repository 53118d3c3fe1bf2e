// Runs a js/wasm test binary of this package: `go test -exec`. Go's own helper
// does not know the imports of the module "tempest", which only the host of the
// package gives; the tests bring a host of their own and never call these.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const root = execFileSync('go', ['env', 'GOROOT'], { encoding: 'utf8' }).trim();
globalThis.require = (await import('node:module')).createRequire(import.meta.url);
globalThis.fs = fs;
globalThis.path = path;
await import(pathToFileURL(`${root}/lib/wasm/wasm_exec.js`));

const go = new globalThis.Go();
go.argv = process.argv.slice(2);
go.env = { ...process.env, TMPDIR: process.env.TMPDIR ?? '/tmp' };
go.exit = process.exit;
const unused = (name) => () => {
  throw new Error(`import ${name} was called`);
};
go.importObject.tempest = Object.fromEntries(
  ['reply', 'schedule', 'log', 'read', 'write', 'sync', 'size', 'truncate', 'failure', 'now'].map((name) => [name, unused(name)]),
);
const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), go.importObject);
process.on('exit', (code) => {
  if (code === 0 && !go.exited) {
    // The event loop is empty and the tests have not ended: a deadlock.
    go._pendingEvent = { id: 0 };
    go._resume();
  }
});
await go.run(instance);

// Builds the package into dist/: index.js, worker.js and tools.js with the code they share, workers.js for Cloudflare Workers, declarations, and the
// engines beside them.
// What tests need of the insides goes to ../build/js/internal.js.

import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { staticImports } from './imports.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const dist = here('dist');
const goRoot = execFileSync('go', ['env', 'GOROOT'], { encoding: 'utf8' }).trim();

/**
 * The glue of the Go runtime, as a module that does nothing when imported. Its code reads and writes globalThis, and some globals by
 * their bare names; in here both are the fields of an object that the caller passes in.
 */
const goRuntime = {
  name: 'go-runtime',
  setup(builder) {
    builder.onResolve({ filter: /^go-runtime$/ }, () => ({ path: 'go-runtime', namespace: 'go-runtime' }));
    builder.onLoad({ filter: /.*/, namespace: 'go-runtime' }, async () => {
      const glue = await readFile(`${goRoot}/lib/wasm/wasm_exec.js`, 'utf8');
      return {
        contents: `/*! Contains wasm_exec.js of the Go project. Copyright 2018 The Go Authors. See LICENSE-go.txt. */
export function loadGo(globalThis) {
  const { fs, console, setTimeout, clearTimeout, crypto, performance, TextEncoder, TextDecoder } = globalThis;
${glue}
  return globalThis.Go;
}`,
        loader: 'js',
      };
    });
  },
};

/**
 * msgpackr, with some globals of the module's own. Without Function no code is made from text, which a strict Content-Security-Policy would
 * report; without Buffer it does in Node what it does in browsers; and its TextDecoder keeps byte order marks and takes nothing but UTF-8.
 */
const msgpackr = {
  name: 'msgpackr',
  setup(builder) {
    builder.onLoad({ filter: /[\\/]msgpackr[\\/](un)?pack\.js$/ }, async ({ path }) => ({
      contents: `/*! Contains msgpackr. See LICENSE-msgpackr.txt. */
const Function = undefined, Buffer = undefined;
function TextDecoder() {
  return new globalThis.TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
}
${await readFile(path, 'utf8')}`,
      loader: 'js',
    }));
  },
};

const common = {
  absWorkingDir: here('.'),
  bundle: true,
  format: 'esm',
  target: 'es2022',
  platform: 'browser',
  plugins: [goRuntime, msgpackr],
  logLevel: 'warning',
};

await rm(dist, { recursive: true, force: true });
await mkdir(dist);
await Promise.all([
  build({
    ...common,
    entryPoints: { index: 'src/index.ts', worker: 'src/worker.ts', tools: 'src/tools/index.ts' },
    outdir: dist,
    splitting: true,
    chunkNames: '[name]-[hash]',
    minify: true,
    sourcemap: true,
    legalComments: 'inline',
  }),
  build({
    ...common,
    entryPoints: { workers: 'src/workers/index.ts' },
    outdir: dist,
    // The platform's own module, and the engine as a module that it compiles.
    external: ['cloudflare:workers', './tempestkv.wasm'],
    minify: true,
    sourcemap: true,
    legalComments: 'inline',
  }),
  build({
    ...common,
    entryPoints: ['test/internal.ts'],
    outfile: here('../build/js/internal.js'),
  }),
  copyFile(`${goRoot}/LICENSE`, here('dist/LICENSE-go.txt')),
  copyFile(here('node_modules/msgpackr/LICENSE'), here('dist/LICENSE-msgpackr.txt')),
  copyFile(here('node_modules/@zip.js/zip.js/LICENSE'), here('dist/LICENSE-zip.js.txt')),
  copyFile(here('../LICENSE'), here('dist/LICENSE')),
]);
// Each entry names all of its chunks, those of its chunks too: a page asks for them at once.
for (const name of ['index.js', 'worker.js', 'tools.js']) {
  const code = await readFile(here(`dist/${name}`), 'utf8');
  const all = staticImports(name);
  all.delete(name);
  const missing = [...all].filter((chunk) => !code.includes(`"./${chunk}"`)).map((chunk) => `import"./${chunk}";\n`);
  await writeFile(here(`dist/${name}`), missing.join('') + code);
}
execFileSync(process.execPath, [here('node_modules/typescript/bin/tsc'), '--emitDeclarationOnly', '--stripInternal', '-p', here('.')], {
  stdio: 'inherit',
});
// A module with nothing but types has no declarations of its own to keep, and the workers' entry nobody imports.
for (const name of ['worker', 'go-runtime']) await rm(here(`dist/${name}.d.ts`), { force: true });

for (const name of ['tempestkv.wasm', 'tempestkv-tools.wasm']) {
  try {
    await copyFile(here(`../build/${name}`), here(`dist/${name}`));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    await writeFile(here('dist/MISSING.txt'), `The engine, ${name}, was not there when this was built. Run: make build\n`);
    console.warn(`js: no engine at build/${name}; run make wasm, then build again`);
  }
}

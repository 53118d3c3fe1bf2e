import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = path.dirname(fileURLToPath(import.meta.url));
const dir = mkdtempSync(path.join(tmpdir(), 'pack-'));
after(() => rmSync(dir, { recursive: true }));

function pack(from) {
  const to = path.join(dir, 'packed.wasm');
  execFileSync('node', [path.join(here, 'pack.mjs'), from, to], { stdio: 'pipe' });
  return to;
}

/** The memory of a module that was instantiated and not run. */
async function memoryOf(file) {
  const module = await WebAssembly.compile(readFileSync(file));
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
  const { exports } = await WebAssembly.instantiate(module, imports);
  return Buffer.from(exports.mem.buffer);
}

test('the packed engine has the same memory and compresses better', async () => {
  const engine = path.join(dir, 'engine.wasm');
  execFileSync('go', ['build', '-trimpath', '-ldflags=-s -w', '-o', engine, '.'], {
    cwd: here,
    env: { ...process.env, GOOS: 'js', GOARCH: 'wasm' },
  });
  const packed = pack(engine);
  assert.ok((await memoryOf(engine)).equals(await memoryOf(packed)));
  const [before, after] = [engine, packed].map((f) => gzipSync(readFileSync(f)).length);
  assert.ok(after < before * 0.95, `${before} bytes of gzip became ${after}`);
});

test('a module that it does not understand is refused', () => {
  const passive = path.join(dir, 'passive.wasm');
  writeFileSync(passive, Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 11, 4, 1, 1, 1, 0));
  assert.throws(() => pack(passive), /a data segment that Go does not write/);
});

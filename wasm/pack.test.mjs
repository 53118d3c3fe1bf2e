import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { strip } from './strip.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const dir = mkdtempSync(path.join(tmpdir(), 'pack-'));
after(() => rmSync(dir, { recursive: true }));

function build(name, folder) {
  const to = path.join(dir, `${name}.wasm`);
  execFileSync('go', ['build', '-trimpath', '-ldflags=-s -w', '-o', to, folder], {
    cwd: here,
    env: { ...process.env, GOOS: 'js', GOARCH: 'wasm' },
  });
  return to;
}

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

test('the packed engine has the stripped memory and compresses better', async () => {
  const engine = build('engine', '.');
  const packed = pack(engine);
  const memory = await memoryOf(engine);
  strip(memory);
  assert.ok(memory.equals(await memoryOf(packed)));
  const [before, after] = [engine, packed].map((f) => gzipSync(readFileSync(f)).length);
  assert.ok(after < before * 0.8, `${before} bytes of gzip became ${after}`);
});

test('a module that it does not understand is refused', () => {
  const passive = path.join(dir, 'passive.wasm');
  writeFileSync(passive, Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 11, 4, 1, 1, 1, 0));
  assert.throws(() => pack(passive), /a data segment that Go does not write/);
});

const program = build('trace', './testdata/trace');

function run(file) {
  const root = execFileSync('go', ['env', 'GOROOT'], { encoding: 'utf8' }).trim();
  return spawnSync('node', [path.join(root, 'lib/wasm/wasm_exec_node.js'), file], { encoding: 'utf8' });
}

test('a packed program runs as before, and its trace names functions without lines', () => {
  const [whole, packed] = [program, pack(program)].map(run);
  assert.equal(packed.status, whole.status);
  const split = (text) => text.split('goroutine 1 [running]:\n');
  const [said, trace] = split(packed.stderr);
  assert.equal(said, split(whole.stderr)[0]);
  assert.match(said, /largest 7 c\npanic: as asked/);
  assert.match(split(whole.stderr)[1], /^main\.crash\(0x1\)\n\t.*main\.go:\d+ \+0x[0-9a-f]+\nmain\.inlined\(\.\.\.\)/);
  assert.match(trace, /^main\.crash\(\)\n\t\?:0 \+0x[0-9a-f]+\nmain\.main\(\)\n\t\?:0 \+0x/);
});

test('tables of another layout are refused', async () => {
  const memory = await memoryOf(program);
  const header = memory.indexOf(Buffer.of(0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8));
  const funcs = header + memory.readUInt32LE(header + 64);
  const func = funcs + memory.readUInt32LE(funcs + 4);
  const refuses = (pattern, change) => {
    const changed = Buffer.from(memory);
    change(changed);
    assert.throws(() => strip(changed), pattern);
  };
  refuses(/places for the header/, (m) => m.fill(0, header, header + 8));
  refuses(/order of its parts/, (m) => m.writeUInt32LE(0, header + 56));
  refuses(/places for moduledata/, (m) => m.writeUInt32LE(80, header + 32));
  refuses(/place of a function/, (m) => m.writeUInt32LE(memory.readUInt32LE(funcs + 4) + 8, funcs + 4));
  refuses(/not the pclntab/, (m) => m.writeUInt8(memory[func + 43] + 4, func + 43));
  refuses(/place of a name/, (m) => m.writeUInt32LE(memory.readUInt32LE(func + 4) + 1, func + 4));
  refuses(/table without an end/, (m) => m.fill(0xff, funcs - 8, funcs) && m.writeUInt32LE(funcs - 8 - (header + m.readUInt32LE(header + 56)), func + 16));
});

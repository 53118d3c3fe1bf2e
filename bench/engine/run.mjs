// Compares the engine with goleveldb and Pebble, natively and as WebAssembly in this Node. Rounds are short, of one process each, and take turns;
// within a round the stores take turns at each operation, in another order each time.
//
// Usage: node bench/engine/run.mjs [--rounds 6] [--only load|put] [--write]
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({
  options: { rounds: { type: 'string', default: '6' }, only: { type: 'string', default: '.*' }, write: { type: 'boolean' } },
});
const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const build = path.resolve(here, '../../build');
const goRoot = go(['env', 'GOROOT']).trim();

function go(command, env) {
  return execFileSync('go', command, { cwd: here, encoding: 'utf8', env: { ...process.env, ...env } });
}

mkdirSync(build, { recursive: true });
execFileSync('node', ['goleveldb.mjs', '../../build/engine.mod'], { cwd: here });
go(['test', '-c', '-o', path.join(build, 'engine.native'), '.']);
go(['test', '-c', '-modfile=../../build/engine.mod', '-o', path.join(build, 'engine.wasm.test'), '.'], { GOOS: 'js', GOARCH: 'wasm' });

const hosts = [
  { title: 'Natively', file: 'native', command: [path.join(build, 'engine.native')] },
  { title: 'WebAssembly, in Node', file: 'wasm', command: [path.join(goRoot, 'lib/wasm/go_js_wasm_exec'), path.join(build, 'engine.wasm.test')] },
];
const titles = {
  load: 'load, 1,000 rows a batch',
  loadSettled: 'load, and compact it all',
  put: 'put, one at a time',
  get: 'get from tables',
  getMany: 'getMany of 1,000 from tables',
  scan: 'scan of tables',
  putConcurrent: 'put, 16 callers',
  getConcurrent: 'get, 16 callers',
};

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}
const digits = (n) => (n >= 100 ? n.toFixed(0) : n.toPrecision(3));
const spread = (numbers, show) => `${show(median(numbers))} (${show(Math.min(...numbers))}–${show(Math.max(...numbers))})`;
const micros = (nanos) => digits(nanos / 1000);

const figures = new Map(); // host.op.store.metric -> numbers, one a round
for (const host of hosts) host.lines = [];
for (let round = 0; round < Number(args.rounds); round++) {
  for (const host of hosts) {
    const [program, ...first] = host.command;
    const flags = ['-test.run=^$', `-test.bench=Engine/^op=(${args.only})$`, '-test.benchtime=1x', `-first=${round}`];
    const out = execFileSync(program, [...first, ...flags], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    host.lines.push(out);
    for (const [, op, store, rest] of out.matchAll(/^BenchmarkEngine\/op=(\w+)\/store=(\w+)\S*\s+1\s+(.*)$/gm)) {
      for (const [, value, metric] of rest.matchAll(/([\d.]+) (ns\/row|cpu-ns\/row)/g)) {
        const key = [host.file, op, store, metric].join();
        figures.set(key, [...(figures.get(key) ?? []), Number(value)]);
      }
    }
  }
}

const parts = [];
for (const host of hosts) {
  writeFileSync(path.join(build, `engine-${host.file}.txt`), host.lines.join('\n'));
  const stores = ['goleveldb', 'pebble', 'tempestkv'].filter((store) => [...figures.keys()].some((k) => k.startsWith(`${host.file},`) && k.includes(`,${store},`)));
  const others = stores.filter((store) => store !== 'tempestkv');
  const names = { goleveldb: 'goleveldb', pebble: 'Pebble', tempestkv: 'TempestKV' };
  const rows = [[`${host.title}, µs a row`, ...stores.map((s) => names[s]), ...others.flatMap((s) => [`against ${names[s]}`, 'by CPU'])]];
  for (const [op, title] of Object.entries(titles)) {
    const numbers = (store, metric) => figures.get([host.file, op, store, metric].join());
    if (!numbers('tempestkv', 'ns/row')) continue;
    const ratios = (store, metric) => spread(numbers(store, metric).map((n, i) => n / numbers('tempestkv', metric)[i]), (n) => `${n.toPrecision(2)}×`);
    rows.push([title, ...stores.map((s) => spread(numbers(s, 'ns/row'), micros)), ...others.flatMap((s) => [ratios(s, 'ns/row'), ratios(s, 'cpu-ns/row')])]);
  }
  rows.splice(1, 0, rows[0].map((_, i) => (i === 0 ? '---' : '--:')));
  parts.push(rows.map((row) => `| ${row.join(' | ')} |`).join('\n'));
}
const version = (module) => go(['list', '-m', '-f', '{{.Version}}', module]).trim();
const machine = `${new Date().toISOString().slice(0, 10)}, commit ${execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', cwd: here }).trim()}.
${cpus()[0].model.trim()}, ${cpus().length} cores; ${process.platform} ${process.arch}. ${go(['env', 'GOVERSION']).trim().replace('go', 'Go ')}, Node ${process.versions.node}, goleveldb ${version('github.com/syndtr/goleveldb')}, Pebble ${version('github.com/cockroachdb/pebble/v2')}.
${args.rounds} rounds: median (least–greatest); ratios are of the rounds, above 1 where TempestKV is faster.`;
const text = [machine, ...parts].join('\n\n');
console.log(text);
if (args.write) {
  const page = path.resolve(here, '../../docs/BENCHMARKS.md');
  const [begin, end] = ['<!-- bench engine: begin -->\n', '\n<!-- bench engine: end -->'];
  const before = readFileSync(page, 'utf8');
  if (!before.includes(begin) || !before.includes(end)) throw new Error(`${page} has no place for the tables`);
  writeFileSync(page, before.slice(0, before.indexOf(begin) + begin.length) + text + before.slice(before.indexOf(end)));
}

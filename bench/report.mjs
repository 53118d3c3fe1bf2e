// What is measured, in which order it is shown, and how. A result is { machine, settings, figures: { store: { figure: number[] } } },
// with one number for each round; times are in milliseconds.

/** The contestants. Each table compares those of one context with its first. */
export const stores = [
  { id: 'indexeddb', title: 'IndexedDB', context: 'page', kind: 'indexeddb' },
  { id: 'idb-keyval', title: 'idb-keyval', context: 'page', kind: 'idb-keyval' },
  { id: 'tempestkv', title: 'TempestKV', context: 'page', kind: 'tempestkv' },
  { id: 'worker-indexeddb', title: 'IndexedDB', context: 'worker', kind: 'indexeddb' },
  { id: 'worker-opfs', title: 'TempestKV, OPFS', context: 'worker', kind: 'tempestkv' },
  { id: 'worker-memory', title: 'TempestKV, memory', context: 'worker', kind: 'tempestkv', options: { storage: 'memory' } },
];

const contexts = [
  { id: 'page', title: 'From a page' },
  { id: 'worker', title: 'In a dedicated worker of the caller’s own' },
];

/** What a round does, in this order. `load` in any case; the writes come last, so that the reads find the loaded rows and no others. */
export const steps = [
  'load',
  'get',
  'getRested',
  'getsInFlight',
  'getMany',
  'range',
  'scan',
  'each',
  'put',
  'putsInFlight',
  'batch',
  'open',
  'openEmpty',
];

/** The rows of the tables. */
function figuresOf(rows) {
  const count = rows.toLocaleString('en');
  return [
    ['load', `load ${count} rows, 1,000 a batch`],
    ['putP50', 'put, one at a time: p50'],
    ['putP99', 'put, one at a time: p99'],
    ['putsInFlight', '1,000 puts in flight'],
    ['batch', '1,000 puts in one batch'],
    ['getP50', 'get, one at a time: p50'],
    ['getP99', 'get, one at a time: p99'],
    ['getMean', 'get, one at a time: mean'],
    ['getRested', 'get, 5 ms after the last: p50'],
    ['getsInFlight', '1,000 gets in flight'],
    ['getMany', 'getMany of 1,000'],
    ['range', 'range of 100'],
    ['scan', `scan of ${count}, as an array`],
    ['each', `scan of ${count}, one by one`],
    ['open', `open a store of ${count}, first get`],
    ['openEmpty', 'open a new store, first get'],
  ];
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Three digits, no exponent. */
function digits(number) {
  return number >= 100 ? number.toFixed(0) : number.toPrecision(number >= 1 ? 3 : 2);
}

function duration(millis, unit = unitOf(millis)) {
  const [name, factor] = unit;
  return `${digits(millis * factor)} ${name}`;
}

function unitOf(millis) {
  if (millis < 1) return ['µs', 1000];
  return millis < 1000 ? ['ms', 1] : ['s', 0.001];
}

/** Median, and least and greatest of the rounds. */
function cell(numbers) {
  const middle = median(numbers);
  const unit = unitOf(middle);
  const text = duration(middle, unit);
  if (numbers.length === 1) return text;
  return `${text} (${digits(Math.min(...numbers) * unit[1])}–${digits(Math.max(...numbers) * unit[1])})`;
}

function ratio(number) {
  return `${number >= 10 ? number.toFixed(0) : number.toPrecision(2)}×`;
}

/** The tables, as Markdown that reads well as plain text too. */
export function tables(result) {
  const parts = [];
  for (const context of contexts) {
    const columns = stores.filter((store) => store.context === context.id && store.id in result.figures);
    if (columns.length === 0) continue;
    const [base] = columns;
    const compared = columns.filter((store) => store.kind === 'tempestkv' && base.kind !== 'tempestkv');
    const lines = [[context.title, ...columns.map((store) => store.title), ...compared.map((store) => comparison(store, compared))]];
    for (const [figure, title] of figuresOf(result.settings.rows)) {
      const numbers = (store) => result.figures[store.id][figure];
      if (!columns.some(numbers)) continue;
      lines.push([
        title,
        ...columns.map((store) => (numbers(store) ? cell(numbers(store)) : '–')),
        ...compared.map((store) => (numbers(store) && numbers(base) ? ratio(median(numbers(base)) / median(numbers(store))) : '–')),
      ]);
    }
    parts.push(table(lines));
  }
  return parts.join('\n\n');
}

/** The heading of a column of ratios. */
function comparison(store, compared) {
  return compared.length === 1 ? 'faster' : `faster, ${store.options?.storage ?? 'OPFS'}`;
}

function table(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const row = (line) => `| ${line.map((text, column) => (column === 0 ? text.padEnd(widths[0]) : text.padStart(widths[column]))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  const [head, ...body] = lines.map(row);
  return [head, rule, ...body].join('\n');
}

/** What was expected of the first cut, and whether it is so. A measurement: nothing fails on it. */
export function expectations(result) {
  const of = (store, figure) => result.figures[store]?.[figure] && median(result.figures[store][figure]);
  const over = (figure) => of('indexeddb', figure) / of('tempestkv', figure);
  const list = [
    ['bulk load', over('load'), 15, ratio],
    ['puts in flight', over('putsInFlight'), 40, ratio],
    ['gets in flight', over('getsInFlight'), 15, ratio],
    ['one put, p50', over('putP50'), 4, ratio],
    ['one get, p50', over('getP50'), 2, ratio],
    ['gets a second, one at a time, own worker, memory', 1000 / of('worker-memory', 'getMean'), 100_000, (n) => Math.round(n).toLocaleString('en')],
  ];
  const lines = list
    .filter(([, is]) => !Number.isNaN(is))
    .map(([title, is, wanted, show]) => [title, show(is), `≥ ${show(wanted)}`, is >= wanted ? 'met' : 'not met']);
  const best = of('indexeddb', 'batch') / of('tempestkv', 'putsInFlight');
  const bestGet = of('indexeddb', 'getMany') / of('tempestkv', 'getsInFlight');
  const notes = [];
  if (best) notes.push(`1,000 puts in flight against 1,000 puts in one IndexedDB transaction: ${ratio(best)}`);
  if (bestGet) notes.push(`1,000 gets in flight against 1,000 gets in one IndexedDB transaction: ${ratio(bestGet)}`);
  const parts = [];
  if (lines.length > 0) parts.push(table([['Against IndexedDB in a page', 'measured', 'expected', ''], ...lines]));
  if (notes.length > 0) parts.push(notes.map((note) => `- ${note}`).join('\n'));
  return parts.join('\n\n');
}

/** When, where and with what. */
export function circumstances({ machine, settings }) {
  return [
    `${machine.date}, commit ${machine.commit}. ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB; ${machine.system}.`,
    `Chromium ${machine.chromium}, Go ${machine.go}, Node ${machine.node}, idb-keyval ${machine.idbKeyval}.`,
    settings.rounds === 1 ? 'One round.' : `${settings.rounds} rounds: median (least–greatest).`,
  ].join('\n');
}

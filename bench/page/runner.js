// Measures one store, step by step. Runs in a page or in a worker; times are in milliseconds.

import { checkValue, entriesOf, generator, keyOf, VALUE_BYTES } from './data.js';
import { openStore } from './stores.js';

/** Rows in one transaction, batch, getMany or flight. */
const MANY = 1000;

/** How often a step is done before it counts, and how often it then counts. */
const WARM_UP_CALLS = 100;
const PUTS = 1000;
const GET_MILLIS = 400;
const MIN_GETS = 500;
/** Different keys to get, one at a time. */
const KEYS = 10_000;
const RESTED_GETS = 50;
const REST_MILLIS = 5;
const FLIGHTS = 5;
const RANGES = 200;
const RANGE_ROWS = 100;

/** How long the machine is left alone before each step, so that what one store left to do is not counted against the next. */
const PAUSE_MILLIS = 100;

/** What a store does in the background after 100,000 rows, it may do in peace. */
const LOADED_PAUSE_MILLIS = 500;

function pause(millis) {
  return new Promise((resolve) => setTimeout(resolve, millis));
}

function quantile(times, q) {
  const sorted = Float64Array.from(times).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

function expect(isSo, what) {
  if (!isSo) throw new Error(what);
}

export class Runner {
  #kind;
  #options;
  #rows;
  #name;
  #store;
  #random;
  /** The rows in the order of their keys, and the next row that nobody has written. */
  #order;
  #next;

  constructor({ kind, options, rows, name, seed }) {
    this.#kind = kind;
    this.#options = options;
    this.#rows = rows;
    this.#name = name;
    this.#next = rows;
    this.#random = generator(seed);
  }

  /** Does a step, and returns its figures by name. */
  async run(step) {
    await pause(PAUSE_MILLIS);
    globalThis.gc?.();
    return this[step]();
  }

  async start() {
    const keys = Array.from({ length: this.#rows }, (_, row) => keyOf(row));
    this.#order = Uint32Array.from(keys.keys()).sort((a, b) => (keys[a] < keys[b] ? -1 : 1));
    this.#store = await openStore(this.#kind, this.#name, this.#options);
  }

  async end() {
    await this.#store.destroy();
  }

  // The rows come in the order of their numbers, and so in random order of their keys, one batch after the other.
  async load() {
    // Every store has copied the values by the time its call returns. Making each anew would have their collection counted.
    const values = Array.from({ length: MANY }, () => new Uint8Array(VALUE_BYTES));
    let total = 0;
    for (let row = 0; row < this.#rows; row += MANY) {
      const entries = entriesOf(row, Math.min(MANY, this.#rows - row), values);
      const start = performance.now();
      await this.#store.setMany(entries);
      total += performance.now() - start;
    }
    await pause(LOADED_PAUSE_MILLIS);
    return { load: total };
  }

  async put() {
    await this.#puts(WARM_UP_CALLS);
    const times = await this.#puts(PUTS);
    return { putP50: quantile(times, 0.5), putP99: quantile(times, 0.99) };
  }

  async #puts(count) {
    const entries = this.#fresh(count);
    const times = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const [key, value] = entries[i];
      const start = performance.now();
      await this.#store.put(key, value);
      times[i] = performance.now() - start;
    }
    await this.#checkFresh(count);
    return times;
  }

  putsInFlight() {
    return this.#fly('putsInFlight', (entries) => Promise.all(entries.map(([key, value]) => this.#store.put(key, value))));
  }

  batch() {
    return this.#fly('batch', (entries) => this.#store.setMany(entries));
  }

  async #fly(figure, write) {
    const times = [];
    for (let flight = -1; flight < FLIGHTS; flight++) {
      const entries = this.#fresh(MANY);
      const start = performance.now();
      await write(entries);
      if (flight >= 0) times.push(performance.now() - start);
      await this.#checkFresh(MANY);
    }
    return { [figure]: quantile(times, 0.5) };
  }

  /** The next rows that nobody has written. */
  #fresh(count) {
    this.#next += count;
    return entriesOf(this.#next - count, count);
  }

  async #checkFresh(count) {
    for (const row of [this.#next - count, this.#next - 1]) checkValue(row, await this.#store.get(keyOf(row)));
  }

  /** Random rows of those that were loaded. */
  #randomRows(count) {
    return Array.from({ length: count }, () => this.#random() % this.#rows);
  }

  async get() {
    await this.#gets(WARM_UP_CALLS, 0);
    const { times, total } = await this.#gets(MIN_GETS, GET_MILLIS);
    return { getP50: quantile(times, 0.5), getP99: quantile(times, 0.99), getMean: total / times.length };
  }

  // For a time, not a count: a fast store's thousand gets would be over in a few milliseconds. The clock is read once a call.
  async #gets(count, millis) {
    const rows = this.#randomRows(KEYS);
    const keys = rows.map(keyOf);
    const values = [];
    const times = [];
    const start = performance.now();
    let last = start;
    while (times.length < count || last - start < millis) {
      const value = await this.#store.get(keys[times.length % KEYS]);
      const now = performance.now();
      times.push(now - last);
      last = now;
      if (values.length < count) values.push(value);
    }
    values.forEach((value, i) => checkValue(rows[i], value));
    return { times, total: last - start };
  }

  // As a page does that answers its user: the threads that take part have gone to sleep in the meantime.
  async getRested() {
    const times = [];
    for (const row of this.#randomRows(RESTED_GETS)) {
      const key = keyOf(row);
      await pause(REST_MILLIS);
      const start = performance.now();
      const value = await this.#store.get(key);
      times.push(performance.now() - start);
      checkValue(row, value);
    }
    return { getRested: quantile(times, 0.5) };
  }

  getsInFlight() {
    return this.#readMany('getsInFlight', (keys) => Promise.all(keys.map((key) => this.#store.get(key))));
  }

  getMany() {
    return this.#readMany('getMany', (keys) => this.#store.getMany(keys));
  }

  async #readMany(figure, read) {
    const times = [];
    for (let flight = -1; flight < FLIGHTS; flight++) {
      const rows = this.#randomRows(MANY);
      const keys = rows.map(keyOf);
      const start = performance.now();
      const values = await read(keys);
      if (flight >= 0) times.push(performance.now() - start);
      expect(values.length === MANY, `${values.length} values of ${MANY}`);
      values.forEach((value, i) => checkValue(rows[i], value));
    }
    return { [figure]: quantile(times, 0.5) };
  }

  async range() {
    if (this.#store.range === undefined) return {};
    const times = [];
    for (let i = -10; i < RANGES; i++) {
      const first = this.#random() % (this.#rows - RANGE_ROWS + 1);
      const key = keyOf(this.#order[first]);
      const start = performance.now();
      const entries = await this.#store.range(key, RANGE_ROWS);
      if (i >= 0) times.push(performance.now() - start);
      this.#checkEntries(entries, first, RANGE_ROWS);
    }
    return { range: quantile(times, 0.5) };
  }

  async scan() {
    const start = performance.now();
    const entries = await this.#store.scan();
    const time = performance.now() - start;
    this.#checkEntries(entries, 0, this.#rows);
    return { scan: time };
  }

  /** Checks that the entries are those rows, in the order of their keys. */
  #checkEntries(entries, first, count) {
    expect(entries.length === count, `${entries.length} entries of ${count}`);
    entries.forEach(([key, value], i) => {
      const row = this.#order[first + i];
      expect(key === keyOf(row), `entry ${i} has the key ${key}, not that of row ${row}`);
      checkValue(row, value);
    });
  }

  async each() {
    if (this.#store.each === undefined) return {};
    let bytes = 0;
    const start = performance.now();
    const count = await this.#store.each((key, value) => {
      bytes += key.length + value.length;
    });
    const time = performance.now() - start;
    expect(count === this.#rows && bytes === count * (keyOf(0).length + VALUE_BYTES), `${count} entries of ${bytes} bytes`);
    return { each: time };
  }

  // Open is over when a get has been answered: a store may do its work at the first call.
  async open() {
    if (this.#options?.storage === 'memory') return {};
    const row = this.#random() % this.#rows;
    await this.#store.close();
    await pause(PAUSE_MILLIS);
    const start = performance.now();
    this.#store = await openStore(this.#kind, this.#name, this.#options);
    const value = await this.#store.get(keyOf(row));
    const time = performance.now() - start;
    checkValue(row, value);
    return { open: time };
  }

  async openEmpty() {
    const start = performance.now();
    const store = await openStore(this.#kind, `${this.#name}-empty`, this.#options);
    const value = await store.get(keyOf(0));
    const time = performance.now() - start;
    expect(value === undefined, 'an empty store has a value');
    await store.destroy();
    return { openEmpty: time };
  }
}

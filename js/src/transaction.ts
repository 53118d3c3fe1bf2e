// Transactions: reads at a snapshot and writes of one's own, committed together if nothing that was read has changed since.

import type { Client } from './client.js';
import type { Encodings, KeyEncoding, KeyFor, ValueEncoding, ValueFor } from './encodings.js';
import { describe, TempestError } from './errors.js';
import { type FrameWriter, Kind, ScanFlag } from './frames.js';
import type { DeleteOptions, KeyInput, Namespace, PutOptions, RangeOptions, ReadOptions, ScanOptions, ValueInput, WriteOptions } from './namespace.js';
import { abortable, checkNames, checkSignal, pause, READ_NAMES, signalOf } from './options.js';
import { type Bounds, boundsOf, boundsOfKey, compareBytes, COUNT_NAMES, covers, rangeNames, SCAN_NAMES, type Span, spanOf } from './range.js';
import { get, getMany } from './reads.js';
import { Cursor, type Entry, type Pass, Scan, type ScanMode } from './scan.js';
import { Moment } from './snapshot.js';
import type { Space } from './space.js';
import { type Condition, expiryOf, write, writeClear } from './writes.js';

/** How a transaction runs. */
export interface TransactionOptions extends Pick<WriteOptions, 'signal' | 'durability'> {
  /** How often to run it again where what it read has changed meanwhile: 10 by default, an integer from 0 or `Infinity`. */
  retries?: number | undefined;
}

export const TRANSACTION_NAMES: ReadonlySet<string> = new Set(['retries', 'signal', 'durability']);

const PUT_NAMES: ReadonlySet<string> = new Set(['ttl', 'keyEncoding', 'valueEncoding']);
const DELETE_NAMES: ReadonlySet<string> = new Set(['keyEncoding']);
const CLEAR_NAMES = rangeNames('keyEncoding');

const DEFAULT_RETRIES = 10;

/** Longest pause in milliseconds before a transaction runs again. */
const MAX_PAUSE_MILLIS = 1000;

/** A write of a transaction: of a value, or where there is none of its end. */
interface OwnWrite {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
  readonly expiresAt: number | undefined;
}

/** The writes of a transaction, in the order of their keys. What was cleared was cleared before them. */
class OwnWrites {
  readonly writes: OwnWrite[] = [];
  readonly cleared: Span[] = [];

  get count(): number {
    return this.writes.length + this.cleared.length;
  }

  /** The index of the first write whose key is not less than `key`. */
  #indexOf(key: Uint8Array): number {
    const { writes } = this;
    let low = 0;
    let high = writes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes(writes[middle]!.key, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  set(write: OwnWrite): void {
    const { writes } = this;
    const at = this.#indexOf(write.key);
    const isThere = at < writes.length && compareBytes(writes[at]!.key, write.key) === 0;
    writes.splice(at, isThere ? 1 : 0, write);
  }

  clear(span: Span): void {
    const at = this.#indexOf(span.start);
    this.writes.splice(at, Math.max(0, this.#indexOf(span.end) - at));
    this.cleared.push(span);
  }

  /** What they make of `key`; `undefined` where they leave it as it is. */
  find(key: Uint8Array): OwnWrite | undefined {
    const found = this.writes[this.#indexOf(key)];
    if (found !== undefined && compareBytes(found.key, key) === 0) return found;
    return this.hides(key) ? { key, value: undefined, expiresAt: undefined } : undefined;
  }

  /** Whether `key` has been cleared. */
  hides(key: Uint8Array): boolean {
    return this.cleared.some((span) => covers(span, key));
  }

  /** The writes in a span, as they are now. */
  within(span: Span): OwnWrite[] {
    return this.writes.slice(this.#indexOf(span.start), this.#indexOf(span.end));
  }

  /** Writes the operation at `index`, as part of a batch. */
  writeTo(writer: FrameWriter, index: number): number {
    const { cleared } = this;
    if (index < cleared.length) return writeClear(writer, cleared[index]!);
    const { key, value, expiresAt } = this.writes[index - cleared.length]!;
    const mark = writer.length;
    writer.u8(value === undefined ? Kind.delete : expiresAt === undefined ? Kind.put : Kind.putExpiring);
    writer.sized(key);
    if (value !== undefined) {
      writer.varint(value.length + (expiresAt === undefined ? 0 : 8));
      if (expiresAt !== undefined) writer.u64(expiresAt);
      writer.raw(value);
    }
    return writer.length - mark;
  }
}

/** How far a pass of a transaction has come: what it depends on. */
class Walk {
  readonly #bounds: Bounds;
  isWhole = false;
  #last: Uint8Array | undefined;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  /** Its reader has been told what is at `key`, and with it what is not before it. */
  reached(key: Uint8Array): void {
    this.#last = key;
  }

  /** The range whose entries the pass has told of; `undefined` where there is none. */
  get range(): Bounds | undefined {
    const bounds = this.#bounds;
    if (this.isWhole) return bounds;
    const last = this.#last;
    if (last === undefined) return undefined;
    if ((bounds.flags & ScanFlag.reverse) !== 0) return { ...bounds, lower: last, flags: (bounds.flags & ~ScanFlag.lowerExclusive) | ScanFlag.hasLower };
    return { ...bounds, upper: last, flags: bounds.flags | ScanFlag.hasUpper | ScanFlag.upperInclusive };
  }
}

/** A run of a transaction, or of what reads as one does. */
export class Run {
  readonly moment: Moment;
  readonly own = new OwnWrites();
  readonly #keys = new Map<string, Uint8Array>();
  readonly #walks: Walk[] = [];
  readonly #passes = new Set<Pass>();
  #end: TempestError | undefined;

  constructor(moment: Moment) {
    this.moment = moment;
  }

  /** Throws where the run is over. */
  check(): void {
    if (this.#end !== undefined) throw this.#end;
  }

  /** Ends the run: nothing can be read or written any more. */
  end(what: string): void {
    this.#end ??= new TempestError('TEMPEST_CLOSED', `${what} has ended`);
    for (const pass of this.#passes) {
      pass.close();
      pass.fail(this.#end);
    }
    this.#passes.clear();
  }

  /** A key, as the store has it, is being read. */
  readsKey(key: Uint8Array): void {
    this.#keys.set(nameOf(key), key);
  }

  beginPass(space: Space, bounds: Bounds, mode: ScanMode, runBytes: number, signal: AbortSignal | undefined): Pass {
    this.check();
    const walk = new Walk(bounds);
    this.#walks.push(walk);
    const pass: MergedPass = new MergedPass(this.moment, this.own, walk, space, bounds, mode, runBytes, signal, () => this.#passes.delete(pass));
    this.#passes.add(pass);
    return pass;
  }

  /** What was read: the keys one by one, and the ranges. */
  get reads(): Omit<Condition, 'since'> {
    return { keys: [...this.#keys.values()], ranges: this.#walks.flatMap(({ range }) => (range === undefined || range.isEmpty ? [] : [range])) };
  }

  /** Writes what was written, if what was read is as it was. */
  async commit(isStrict: boolean, signal: AbortSignal | undefined): Promise<void> {
    const { own, reads } = this;
    if (own.count === 0) return;
    const hasRead = reads.keys.length + reads.ranges.length > 0;
    const condition = hasRead ? { since: this.moment.seq, ...reads } : undefined;
    await write(this.moment.client, { isStrict, condition, signal }, own.count, (writer, index) => own.writeTo(writer, index));
  }
}

const NAME_PIECE = 4096;

/** Bytes as a string that no other bytes have. */
export function nameOf(bytes: Uint8Array): string {
  let name = '';
  for (let at = 0; at < bytes.length; at += NAME_PIECE) name += String.fromCharCode(...bytes.subarray(at, at + NAME_PIECE));
  return name;
}

/** A pass over the store at a snapshot, with the writes of a transaction over it as they were when the pass began. */
class MergedPass implements Pass {
  readonly #cursor: Cursor;
  readonly #own: readonly OwnWrite[];
  readonly #cleared: readonly Span[];
  readonly #walk: Walk;
  readonly #space: Space;
  readonly #mode: ScanMode;
  readonly #step: 1 | -1;
  readonly #closed: () => void;

  /** Index of the next write of the transaction's. */
  #at: number;

  /** The next entry of the store's, where it was taken from the cursor already. */
  #entry: Entry | undefined;
  #key: Uint8Array | undefined;

  /** Which of the two comes next. */
  #next: OwnWrite | 'stored' | undefined;

  #left: number;

  constructor(
    moment: Moment,
    own: OwnWrites,
    walk: Walk,
    space: Space,
    bounds: Bounds,
    mode: ScanMode,
    runBytes: number,
    signal: AbortSignal | undefined,
    closed: () => void,
  ) {
    const isReverse = (bounds.flags & ScanFlag.reverse) !== 0;
    this.#own = bounds.isEmpty ? [] : own.within(spanOf(bounds));
    this.#cleared = [...own.cleared];
    this.#walk = walk;
    this.#space = space;
    this.#mode = mode;
    this.#step = isReverse ? -1 : 1;
    this.#at = isReverse ? this.#own.length - 1 : 0;
    this.#left = bounds.limit === 0 ? Infinity : bounds.limit;
    this.#closed = closed;
    // The limit is of what is left of both, so the store is asked for no limit.
    this.#cursor = new Cursor(moment.client, space, { ...bounds, limit: 0 }, mode, runBytes, signal, moment.id);
  }

  get closesDropped(): boolean {
    return this.#cursor.closesDropped;
  }

  get isReady(): boolean {
    // Asked for every time: it throws where the pass has failed.
    let hasStored = this.#cursor.isReady;
    while (this.#next === undefined && this.#left > 0) {
      if (this.#key === undefined) {
        if (hasStored) this.#take();
        else if (!this.#cursor.isDone) return false;
        hasStored = this.#cursor.isReady;
      }
      const key = this.#key;
      const own = this.#own[this.#at];
      if (key === undefined && own === undefined) break;
      const order = key === undefined ? 1 : own === undefined ? -1 : compareBytes(key, own.key) * this.#step;
      if (order < 0) {
        if (this.#cleared.some((span) => covers(span, key!))) this.#key = undefined;
        else this.#next = 'stored';
        continue;
      }
      // What is written over is not there.
      if (order === 0) this.#key = undefined;
      this.#at += this.#step;
      if (own!.value !== undefined) this.#next = own;
    }
    if (this.#next === undefined && this.#left > 0) this.#walk.isWhole = true;
    return this.#next !== undefined;
  }

  #take(): void {
    const entry = this.#cursor.take();
    this.#entry = entry;
    this.#key = entry.bytes.subarray(entry.key, entry.keyEnd);
  }

  read(): unknown {
    const next = this.#advance();
    if (next !== 'stored') return this.#decode(next.key, 0, next.key.length, next.value!, 0, next.value!.length);
    const { bytes, key, keyEnd, value, valueEnd } = this.#entry!;
    return this.#decode(bytes, key, keyEnd, bytes, value, valueEnd);
  }

  #decode(key: Uint8Array, keyStart: number, keyEnd: number, value: Uint8Array, valueStart: number, valueEnd: number): unknown {
    const space = this.#space;
    switch (this.#mode) {
      case 'keys':
        return space.readKey(key, keyStart, keyEnd);
      case 'values':
        return space.values.read(value, valueStart, valueEnd);
      default:
        return [space.readKey(key, keyStart, keyEnd), space.values.read(value, valueStart, valueEnd)];
    }
  }

  skip(): number {
    this.#advance();
    return 1;
  }

  #advance(): OwnWrite | 'stored' {
    const next = this.#next!;
    this.#next = undefined;
    this.#left--;
    this.#walk.reached(next === 'stored' ? this.#key! : next.key);
    if (next === 'stored') this.#key = undefined;
    return next;
  }

  async more(): Promise<boolean> {
    for (;;) {
      if (this.isReady) return true;
      if (this.#walk.isWhole || this.#left === 0) return false;
      await this.#cursor.more();
    }
  }

  fail(error: unknown): void {
    this.#cursor.fail(error);
  }

  close(): void {
    this.#closed();
    this.#cursor.close();
  }
}

/**
 * What a live query reads by: the store at one moment. What is read by it is what the query depends on.
 *
 * @typeParam K - Keys.
 * @typeParam V - Values.
 */
export class View<K = string, V = unknown> {
  /** @internal */
  readonly _run: Run;
  /** @internal */
  readonly _space: Space;

  /** @internal */
  constructor(run: Run, space: Space) {
    this._run = run;
    this._space = space;
  }

  /** The same for another namespace of the database, or for the database itself. */
  in<K2, V2>(namespace: Namespace<K2, V2>): View<K2, V2> {
    return new View<K2, V2>(this._run, namespace._spaceFor(this._run.moment.client));
  }

  /** The value under a key; `undefined` where there is none. */
  async get<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    key: KeyInput<KeyFor<KE, K>>,
    options?: ReadOptions<KE, VE>,
  ): Promise<ValueFor<VE, V> | undefined> {
    const run = this._run;
    const signal = signalOf(options, READ_NAMES);
    run.check();
    const space = this._space.with(options);
    const stored = space.encodeKey(key);
    const own = run.own.find(stored);
    if (own !== undefined) return readOwn(space, own) as ValueFor<VE, V> | undefined;
    run.readsKey(stored);
    return (await get(run.moment.client, space.stored, stored, signal, run.moment.id)) as ValueFor<VE, V> | undefined;
  }

  /** The values under several keys, in the order of the keys; `undefined` where there is none. */
  async getMany<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    keys: readonly KeyInput<KeyFor<KE, K>>[],
    options?: ReadOptions<KE, VE>,
  ): Promise<(ValueFor<VE, V> | undefined)[]> {
    const run = this._run;
    const signal = signalOf(options, READ_NAMES);
    run.check();
    if (!Array.isArray(keys)) throw new TypeError(`getMany takes an array of keys, not ${describe(keys)}`);
    const space = this._space.with(options);
    const stored = keys.map((key) => space.encodeKey(key));
    const own = stored.map((key) => run.own.find(key));
    const rest = stored.filter((_, i) => own[i] === undefined);
    for (const key of rest) run.readsKey(key);
    const values = rest.length === 0 ? [] : await getMany(run.moment.client, space.stored, rest, signal, run.moment.id);
    let next = 0;
    return own.map((found) => (found === undefined ? values[next++] : readOwn(space, found))) as (ValueFor<VE, V> | undefined)[];
  }

  /** The entries of a range, as `db.scan` gives them. A scan that is left early depends on what it has told of, and on nothing behind that. */
  scan<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    range: ScanOptions<KeyInput<KeyFor<KE, K>>, KE, VE> = {},
  ): Scan<[KeyFor<KE, K>, ValueFor<VE, V>], KeyFor<KE, K>, ValueFor<VE, V>> {
    this._run.check();
    const space = this._space.with(range as Encodings);
    const bounds = boundsOf(range, space, SCAN_NAMES);
    const { signal } = range;
    checkSignal(signal);
    const run = this._run;
    return new Scan((mode, runBytes) => run.beginPass(space, bounds, mode, runBytes, signal), 'entries');
  }

  /** How many entries a range has. */
  async count<KE extends KeyEncoding | undefined = undefined>(range: RangeOptions<KeyInput<KeyFor<KE, K>>, KE> = {}): Promise<number> {
    checkNames('a range', range, COUNT_NAMES);
    return this.scan(range).count();
  }
}

function readOwn(space: Space, { value }: OwnWrite): unknown {
  return value === undefined ? undefined : space.values.read(value, 0, value.length);
}

/**
 * A transaction that is running: the store at one moment, and over it what the transaction has written. Made by `db.transaction()`.
 *
 * Reads see the writes made before them; a scan those made before its pass began. Nothing of it is in the store before the transaction commits.
 * When its function has returned, or failed, it has ended: its calls fail with `TEMPEST_CLOSED`.
 *
 * @typeParam K - Keys.
 * @typeParam V - Values.
 */
export class Transaction<K = string, V = unknown> extends View<K, V> {
  override in<K2, V2>(namespace: Namespace<K2, V2>): Transaction<K2, V2> {
    return new Transaction<K2, V2>(this._run, namespace._spaceFor(this._run.moment.client));
  }

  /** Stores a value under a key when the transaction commits. Throws at once where key or value cannot be stored. */
  put<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    key: KeyInput<KeyFor<KE, K>>,
    value: ValueInput<ValueFor<VE, V>>,
    options?: Omit<PutOptions<KE, VE>, 'signal' | 'durability'>,
  ): void {
    this._run.check();
    if (options !== undefined) checkNames('options', options, PUT_NAMES);
    const space = this._space.with(options);
    this._run.own.set({ key: space.encodeKey(key), value: space.encodeValue(value), expiresAt: expiryOf(options?.ttl) });
  }

  /** Removes a key and its value when the transaction commits. */
  delete<KE extends KeyEncoding | undefined = undefined>(
    key: KeyInput<KeyFor<KE, K>>,
    options?: Omit<DeleteOptions<KE>, 'signal' | 'durability'>,
  ): void {
    this._run.check();
    if (options !== undefined) checkNames('options', options, DELETE_NAMES);
    this._run.own.set({ key: this._space.with(options as Encodings).encodeKey(key), value: undefined, expiresAt: undefined });
  }

  /** Removes the entries of a range when the transaction commits, with those that others put there until then. */
  clear<KE extends KeyEncoding | undefined = undefined>(range: Omit<RangeOptions<KeyInput<KeyFor<KE, K>>, KE>, 'signal'> = {}): void {
    this._run.check();
    const bounds = boundsOf(range, this._space.with(range as Encodings), CLEAR_NAMES);
    if (!bounds.isEmpty) this._run.own.clear(spanOf(bounds));
  }
}

/** Runs `body` as a transaction, again where it conflicts. */
export async function transact<T>(
  client: Client,
  body: (run: Run) => T | PromiseLike<T>,
  isStrict: boolean,
  options: TransactionOptions | undefined,
): Promise<T> {
  const retries = retriesOf(options?.retries);
  const signal = options?.signal;
  for (let attempt = 0; ; attempt++) {
    signal?.throwIfAborted();
    const moment = await Moment.begin(client, signal);
    const run = new Run(moment);
    try {
      const result = await abortable((async () => body(run))(), signal);
      run.end('the transaction');
      await run.commit(isStrict, signal).catch((error: unknown) => {
        throw isConflict(error) && attempt < retries ? AGAIN : error;
      });
      return result;
    } catch (error) {
      if (error !== AGAIN) throw error;
    } finally {
      run.end('the transaction');
      void moment.close(undefined);
    }
    // At random, so that those who met do not meet again.
    await pause(Math.random() * Math.min(2 ** attempt, MAX_PAUSE_MILLIS), signal);
  }
}

/** Stands for a conflict that another attempt may not have. */
const AGAIN = new Error('conflict');

function isConflict(error: unknown): boolean {
  return error instanceof TempestError && error.code === 'TEMPEST_CONFLICT';
}

export function retriesOf(retries: unknown): number {
  if (retries === undefined) return DEFAULT_RETRIES;
  if (typeof retries !== 'number') throw new TypeError(`retries must be a number, not ${describe(retries)}`);
  if (!(retries >= 0 && (Number.isInteger(retries) || retries === Infinity))) {
    throw new RangeError(`retries must be an integer from 0, or Infinity, not ${retries}`);
  }
  return retries;
}

/** The ranges that a run depends on, keys as ranges of one. */
export function dependenciesOf(run: Run): Bounds[] {
  const { keys, ranges } = run.reads;
  return [...keys.map(boundsOfKey), ...ranges];
}

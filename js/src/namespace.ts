// What a database and its namespaces can do with their entries.

import type { BytesInput } from './bytes.js';
import type { Client } from './client.js';
import type { Encodings, KeyEncoding, KeyFor, ValueEncoding, ValueFor } from './encodings.js';
import { describe } from './errors.js';
import type { DatabaseEventMap, DatabaseListener } from './events.js';
import { GetFlag, Op } from './frames.js';
import { LiveQuery, type LiveQueryOptions } from './live.js';
import { exportNdjson, importNdjson, NDJSON_NAMES, type NdjsonImportOptions, type NdjsonSource } from './ndjson.js';
import { abortable, checkNames, checkSignal, READ_NAMES, signalOf } from './options.js';
import { type Bounds, boundsOf, COUNT_NAMES, type KeyRange, type Range, rangeNames, SCAN_NAMES, spanOf } from './range.js';
import { get, getMany, measure } from './reads.js';
import { Cursor, Scan } from './scan.js';
import { Snapshot } from './snapshot.js';
import type { Space } from './space.js';
import { nameOf, transact, Transaction, TRANSACTION_NAMES, type TransactionOptions, type View } from './transaction.js';
import { Watch, WATCH_NAMES, type WatchOptions, watchedBy } from './watch.js';
import { type Condition, expiryOf, sequenceOf, write, writeClear, writeDelete, writePut } from './writes.js';

/** A key as calls take it: what the key encoding yields, and for bytes whatever holds bytes. */
export type KeyInput<K> = K extends Uint8Array ? BytesInput : K;

/** A value as calls take it: what the value encoding yields, and for bytes whatever holds bytes. */
export type ValueInput<V> = [V] extends [Uint8Array] ? (unknown extends V ? V : BytesInput) : V;

/**
 * When a write is acknowledged.
 *
 * - `'relaxed'`, the default: when the host has taken the bytes. An acknowledged write survives the crash of a tab or of the browser; when
 *   the machine loses power the last ones may be lost, from some point on, and never half of a batch.
 * - `'strict'`: when the host says that the bytes are on the disk. An acknowledged write survives a loss of power. Slower.
 */
export type Durability = 'relaxed' | 'strict';

/** For any call that can wait. A name that options do not have is a `TypeError`, here and wherever options are taken. */
export interface CallOptions {
  /**
   * Gives the call up: its promise rejects with the signal's `reason`, by default a `DOMException` named `AbortError`. Nothing is undone: a
   * write that is aborted before it was called does not happen; one aborted later may still happen, or have happened, whole.
   */
  signal?: AbortSignal | undefined;
}

/** For reads. The encodings are those of this call alone. */
export interface ReadOptions<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>
  extends CallOptions,
    Encodings<KE, VE> {}

/** For writes. */
export interface WriteOptions extends CallOptions {
  /** When the write is acknowledged; by default as `open` was told. */
  durability?: Durability | undefined;
}

/** For `put`. */
export interface PutOptions<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>
  extends WriteOptions,
    Encodings<KE, VE> {
  /** How long the entry lives, in milliseconds from the call on; then it is gone as if deleted. For ever by default. */
  ttl?: number | undefined;
}

/** For `delete`. */
export interface DeleteOptions<KE extends KeyEncoding | undefined = undefined> extends WriteOptions {
  /** How the key becomes bytes, in this call. */
  keyEncoding?: KE;
}

/** For `batch`. The encodings are of the operations that name no namespace. */
export interface BatchOptions<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined, K = unknown>
  extends WriteOptions,
    Encodings<KE, VE> {
  /**
   * A sequence number: the batch takes effect only where none of `keys` was put, deleted or cleared after that write, and else rejects with
   * `TEMPEST_CONFLICT`.
   */
  ifUnchangedSince?: number | undefined;

  /** The keys that must be as they were: by default those that the batch puts and deletes, and the ranges that it clears. */
  keys?: readonly KeyInput<K>[] | undefined;
}

/** A range, and a signal that gives the call up. */
export interface RangeOptions<K, KE extends KeyEncoding | undefined = undefined> extends KeyRange<K>, CallOptions {
  /** How bounds become bytes, in this call. */
  keyEncoding?: KE;
}

/** A range to clear. */
export interface ClearOptions<K, KE extends KeyEncoding | undefined = undefined> extends KeyRange<K>, WriteOptions {
  /** How bounds become bytes, in this call. */
  keyEncoding?: KE;
}

/** A range, and a signal that ends the scan of it: iteration then rejects with the signal's `reason`. */
export interface ScanOptions<K, KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>
  extends Range<K>,
    ReadOptions<KE, VE> {}

/** For `update`. */
export interface UpdateOptions<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>
  extends PutOptions<KE, VE> {
  /** As for `transaction`. */
  retries?: number | undefined;
}

/** One operation of a batch, on the database or namespace whose `batch` is called. */
export type BatchOperation<K, V> =
  | {
      readonly type: 'put';
      readonly key: KeyInput<K>;
      readonly value: ValueInput<V>;
      /** How long the entry lives, in milliseconds. */
      readonly ttl?: number | undefined;
      readonly sub?: undefined;
    }
  | { readonly type: 'delete'; readonly key: KeyInput<K>; readonly sub?: undefined }
  | { readonly type: 'clear'; readonly range?: KeyRange<KeyInput<K>> | undefined; readonly sub?: undefined };

/** One operation of a batch on a namespace of the same database, or on the database itself, whichever `sub` is. */
export type SubOperation =
  | { readonly type: 'put'; readonly sub: Namespace<any, any>; readonly key: unknown; readonly value: unknown; readonly ttl?: number | undefined }
  | { readonly type: 'delete'; readonly sub: Namespace<any, any>; readonly key: unknown }
  | { readonly type: 'clear'; readonly sub: Namespace<any, any>; readonly range?: KeyRange<any> | undefined };

/** A value, and the sequence number of the write that put it there. */
export interface Entry<V> {
  readonly value: V;
  readonly seq: number;
}

/** @internal */
export interface Defaults {
  durability: Durability;
}

const PUT_NAMES: ReadonlySet<string> = new Set(['durability', 'signal', 'ttl', 'keyEncoding', 'valueEncoding']);
const DELETE_NAMES: ReadonlySet<string> = new Set(['durability', 'signal', 'keyEncoding']);
const BATCH_NAMES: ReadonlySet<string> = new Set(['durability', 'signal', 'keyEncoding', 'valueEncoding', 'ifUnchangedSince', 'keys']);
const UPDATE_NAMES: ReadonlySet<string> = new Set([...PUT_NAMES, 'retries']);
const CLEAR_NAMES = rangeNames('durability', 'signal', 'keyEncoding');
const SUB_NAMES: ReadonlySet<string> = new Set(['keyEncoding', 'valueEncoding']);
const OPERATION_NAMES: Readonly<Record<string, ReadonlySet<string>>> = {
  put: new Set(['type', 'sub', 'key', 'value', 'ttl']),
  delete: new Set(['type', 'sub', 'key', 'value']),
  clear: new Set(['type', 'sub', 'range']),
};
const PLAIN_RANGE_NAMES = rangeNames();

/** The last update of each key that is under way, by client: those that follow wait for it. */
const updates = new WeakMap<Client, Map<string, Promise<unknown>>>();

/**
 * Entries of a store with keys and values of one kind: a database itself, or a part of it made by `db.sub(name)`.
 *
 * A namespace has its own keys: none of them is a key of the database or of another namespace, and none of theirs is one of its own. It needs
 * no making: it is there when it has entries. Batches, transactions and snapshots can span all namespaces of a database.
 *
 * Calls reject with a `TempestError` where the store fails, and with a `TypeError` or `RangeError` where the call itself is wrong. Only `scan`,
 * `watch`, `liveQuery` and `sub` throw: they have no promise to reject.
 *
 * @typeParam K - Keys, as scans yield them.
 * @typeParam V - Values.
 */
export class Namespace<K = string, V = unknown> extends EventTarget {
  /** The names that lead to this namespace from the database; none for the database itself. */
  readonly path: readonly string[];

  readonly #client: Client;
  readonly #space: Space;
  readonly #defaults: Defaults;

  /** What its events are those of: the database, where it is not that itself. */
  readonly #root: EventTarget | undefined;

  /** @internal */
  constructor(client: Client, space: Space, defaults: Defaults, path: readonly string[], root?: EventTarget) {
    super();
    this.path = path;
    this.#client = client;
    this.#space = space;
    this.#defaults = defaults;
    this.#root = root;
  }

  /**
   * The space of this namespace, for calls by `client`, which must be its own.
   *
   * @internal
   */
  _spaceFor(client: Client): Space {
    if (this.#client !== client) throw new TypeError('the namespace belongs to another database');
    return this.#space;
  }

  /**
   * A namespace in this one. It has the encodings of this one where none are given; always give the same.
   *
   * @param name - 1 to 100 characters, any but lone surrogates.
   */
  sub<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    name: string,
    encodings?: Encodings<KE, VE>,
  ): Namespace<KeyFor<KE, K>, ValueFor<VE, V>>;
  /** A namespace in this one, with the types of its keys and values spelled out. */
  sub<K2, V2>(name: string, encodings?: Encodings): Namespace<K2, V2>;
  sub(name: string, encodings: Encodings = {}): Namespace<any, any> {
    checkNames('options', encodings, SUB_NAMES);
    return new Namespace(this.#client, this.#space.sub(name, encodings), this.#defaults, [...this.path, name], this.#root ?? this);
  }

  /**
   * Stores a value under a key, over the one it had.
   *
   * @returns The write's sequence number. Each write has a greater one than those before it.
   */
  put<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    key: KeyInput<KeyFor<KE, K>>,
    value: ValueInput<ValueFor<VE, V>>,
    options?: PutOptions<KE, VE>,
  ): Promise<number> {
    try {
      const signal = signalOf(options, PUT_NAMES);
      const space = this.#space.with(options);
      const expiresAt = expiryOf(options?.ttl);
      return write(this.#client, { isStrict: this.#isStrict(options), signal }, 1, (writer) => writePut(writer, space, key, value, expiresAt));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Removes a key and its value. Removing a key that is not there is no error.
   *
   * @returns The write's sequence number.
   */
  async delete<KE extends KeyEncoding | undefined = undefined>(key: KeyInput<KeyFor<KE, K>>, options?: DeleteOptions<KE>): Promise<number> {
    const signal = signalOf(options, DELETE_NAMES);
    const space = this.#space.with(options as Encodings | undefined);
    return write(this.#client, { isStrict: this.#isStrict(options), signal }, 1, (writer) => writeDelete(writer, space, key));
  }

  /**
   * Removes the entries of a range, all of them at once and however many, at the cost of one write. Without a range, all of this namespace, or of
   * the database all that are in no namespace.
   *
   * @returns The write's sequence number.
   */
  async clear<KE extends KeyEncoding | undefined = undefined>(range: ClearOptions<KeyInput<KeyFor<KE, K>>, KE> = {}): Promise<number> {
    const bounds = boundsOf(range, this.#space.with(range as Encodings), CLEAR_NAMES);
    const signal = signalOf({ signal: range.signal });
    return write(this.#client, { isStrict: this.#isStrict(range), signal }, 1, (writer) => writeClear(writer, spanOf(bounds)));
  }

  #isStrict(options: WriteOptions | undefined): boolean {
    return durabilityOf(options?.durability, this.#defaults.durability) === 'strict';
  }

  /**
   * Carries out all of the operations, in their order, or none of them.
   *
   * At most 64 MiB when encoded (`TEMPEST_INVALID_ARGUMENT`). With `ifUnchangedSince` it compares before it sets, and rejects with
   * `TEMPEST_CONFLICT` where a key has changed.
   *
   * @returns The sequence number of the last operation.
   */
  async batch<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    operations: readonly (BatchOperation<KeyFor<KE, K>, ValueFor<VE, V>> | SubOperation)[],
    options?: BatchOptions<KE, VE, KeyFor<KE, K>>,
  ): Promise<number> {
    if (!Array.isArray(operations)) throw new TypeError(`a batch must be an array, not ${describe(operations)}`);
    const signal = signalOf(options, BATCH_NAMES);
    const space = this.#space.with(options);
    const all = operations as readonly (BatchOperation<unknown, unknown> | SubOperation)[];
    const condition = this.#conditionOf(all, space, options);
    return write(this.#client, { isStrict: this.#isStrict(options), condition, signal }, all.length, (writer, index) => {
      const operation = all[index]!;
      const names = OPERATION_NAMES[operation?.type];
      if (names === undefined) throw new TypeError("an operation of a batch must have the type 'put', 'delete' or 'clear'");
      checkNames('an operation', operation, names);
      const on = this.#spaceOf(operation, space);
      switch (operation.type) {
        case 'put':
          return writePut(writer, on, operation.key, operation.value, expiryOf(operation.ttl));
        case 'delete':
          return writeDelete(writer, on, operation.key);
        case 'clear':
          return writeClear(writer, spanOf(boundsOf(operation.range ?? {}, on, PLAIN_RANGE_NAMES)));
      }
    });
  }

  #spaceOf({ sub }: { readonly sub?: unknown }, space: Space): Space {
    if (sub === undefined) return space;
    if (!(sub instanceof Namespace)) throw new TypeError(`sub must be a namespace, not ${describe(sub)}`);
    return sub._spaceFor(this.#client);
  }

  #conditionOf(operations: readonly (BatchOperation<unknown, unknown> | SubOperation)[], space: Space, options: BatchOptions<any, any> | undefined): Condition | undefined {
    const given = options?.keys;
    if (options?.ifUnchangedSince === undefined) {
      if (given !== undefined) throw new TypeError('keys go with ifUnchangedSince only');
      return undefined;
    }
    const since = sequenceOf(options.ifUnchangedSince, 'ifUnchangedSince');
    if (given !== undefined) {
      if (!Array.isArray(given)) throw new TypeError(`keys must be an array, not ${describe(given)}`);
      return { since, keys: given.map((key) => space.encodeKey(key)), ranges: [] };
    }
    const keys: Uint8Array[] = [];
    const ranges: Bounds[] = [];
    for (const operation of operations) {
      const on = this.#spaceOf(operation ?? {}, space);
      if (operation?.type === 'clear') ranges.push(boundsOf(operation.range ?? {}, on, PLAIN_RANGE_NAMES));
      else keys.push(on.encodeKey(operation?.key));
    }
    return { since, keys, ranges: ranges.filter(({ isEmpty }) => !isEmpty) };
  }

  /** The value under a key; `undefined` where there is none. */
  get<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    key: KeyInput<KeyFor<KE, K>>,
    options?: ReadOptions<KE, VE>,
  ): Promise<ValueFor<VE, V> | undefined> {
    try {
      const signal = signalOf(options, READ_NAMES);
      return get(this.#client, this.#space.with(options), key, signal) as Promise<ValueFor<VE, V> | undefined>;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The value under a key with the sequence number of the write that put it there, for `ifUnchangedSince`; `undefined` where there is none. */
  async getEntry<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    key: KeyInput<KeyFor<KE, K>>,
    options?: ReadOptions<KE, VE>,
  ): Promise<Entry<ValueFor<VE, V>> | undefined> {
    const signal = signalOf(options, READ_NAMES);
    const space = this.#space.with(options);
    return this.#client.ask<Entry<ValueFor<VE, V>>>(
      Op.get,
      GetFlag.withSequence,
      (writer) => space.writeKey(writer, key),
      (body) => ({ seq: body.u64(), value: space.values.read(body.bytes, body.at, body.end) as ValueFor<VE, V> }),
      signal,
    );
  }

  /**
   * The values under several keys, all as of one moment, in the order of the keys; `undefined` where there is none.
   *
   * The keys together are at most 64 MiB, the values at most 128 MiB (`TEMPEST_INVALID_ARGUMENT`).
   */
  async getMany<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    keys: readonly KeyInput<KeyFor<KE, K>>[],
    options?: ReadOptions<KE, VE>,
  ): Promise<(ValueFor<VE, V> | undefined)[]> {
    const signal = signalOf(options, READ_NAMES);
    return getMany(this.#client, this.#space.with(options), keys, signal) as Promise<(ValueFor<VE, V> | undefined)[]>;
  }

  /**
   * The entries of a range, to be iterated; see {@link Scan}. Without a range, all of them.
   *
   * Throws a `TypeError` or a `RangeError` where the range makes no sense, and `TEMPEST_INVALID_KEY` where a bound is too large. A range in which
   * nothing can lie is just empty.
   */
  scan<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    range: ScanOptions<KeyInput<KeyFor<KE, K>>, KE, VE> = {},
  ): Scan<[KeyFor<KE, K>, ValueFor<VE, V>], KeyFor<KE, K>, ValueFor<VE, V>> {
    const space = this.#space.with(range as Encodings | undefined);
    const bounds = boundsOf(range, space, SCAN_NAMES);
    const { signal } = range;
    checkSignal(signal);
    const client = this.#client;
    return new Scan((mode, runBytes) => new Cursor(client, space, bounds, mode, runBytes, signal), 'entries');
  }

  /** How many entries a range has. Counted where they are: none of them is sent. */
  async count<KE extends KeyEncoding | undefined = undefined>(range: RangeOptions<KeyInput<KeyFor<KE, K>>, KE> = {}): Promise<number> {
    const bounds = boundsOf(range, this.#space.with(range as Encodings), COUNT_NAMES);
    return measure(this.#client, Op.count, bounds, signalOf({ signal: range.signal }));
  }

  /** About how many bytes of storage the entries of a range take, without reading them. What was written last, and is in memory, may be left out. */
  async approximateSize<KE extends KeyEncoding | undefined = undefined>(range: RangeOptions<KeyInput<KeyFor<KE, K>>, KE> = {}): Promise<number> {
    const bounds = boundsOf(range, this.#space.with(range as Encodings), COUNT_NAMES);
    return measure(this.#client, Op.approximateSize, bounds, signalOf({ signal: range.signal }));
  }

  /** The store as it is now, to be read for as long as the snapshot is kept. Close it. */
  async snapshot(options?: CallOptions): Promise<Snapshot<K, V>> {
    return Snapshot.of<K, V>(this.#client, this.#space, signalOf(options));
  }

  /**
   * Runs `body` with a transaction, then writes what it has put, deleted and cleared: all of it, if nothing that it read (key or range, present or
   * not) was written in the meantime, and else none, and `body` runs again. So transactions take effect as if they had run one after the other.
   *
   * `body` may wait for anything. It may run several times, so it should do nothing else that matters. Where it throws or rejects, nothing is written.
   * A transaction that writes nothing never conflicts.
   *
   * Rejects with what `body` rejects with, and with `TEMPEST_CONFLICT` where it conflicted once more than `retries` times.
   *
   * @returns What `body` returned, after the commit.
   */
  async transaction<T>(body: (tx: Transaction<K, V>) => T | PromiseLike<T>, options?: TransactionOptions): Promise<T> {
    if (typeof body !== 'function') throw new TypeError(`transaction takes a function, not ${describe(body)}`);
    signalOf(options, TRANSACTION_NAMES);
    const space = this.#space;
    return transact(this.#client, (run) => body(new Transaction<K, V>(run, space)), this.#isStrict(options), options);
  }

  /**
   * Replaces the value under a key by what `change` makes of it, where nothing else has written it in between; else `change` runs again. A value of
   * `undefined` stands for no entry, both ways. Updates of one key wait for each other, so `change` must not wait for another update of the same key.
   *
   * @returns The new value.
   */
  async update<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    key: KeyInput<KeyFor<KE, K>>,
    change: (value: ValueFor<VE, V> | undefined) => ValueInput<ValueFor<VE, V>> | undefined | PromiseLike<ValueInput<ValueFor<VE, V>> | undefined>,
    options?: UpdateOptions<KE, VE>,
  ): Promise<ValueInput<ValueFor<VE, V>> | undefined> {
    if (typeof change !== 'function') throw new TypeError(`update takes a function, not ${describe(change)}`);
    const signal = signalOf(options, UPDATE_NAMES);
    const space = this.#space.with(options);
    const isStrict = this.#isStrict(options);
    expiryOf(options?.ttl);
    const name = nameOf(space.encodeKey(key));
    const run = () =>
      transact(
        this.#client,
        async (run) => {
          const tx = new Transaction<unknown, unknown>(run, space);
          const value = await change((await tx.get(key)) as ValueFor<VE, V> | undefined);
          if (value === undefined) tx.delete(key);
          else tx.put(key, value, { ttl: options?.ttl });
          return value;
        },
        isStrict,
        { signal, retries: options?.retries },
      );
    let waiting = updates.get(this.#client);
    if (waiting === undefined) updates.set(this.#client, (waiting = new Map()));
    const before = waiting.get(name);
    const result = before === undefined ? run() : before.then(run, run);
    waiting.set(name, result);
    try {
      return await abortable(result, signal);
    } finally {
      if (waiting.get(name) === result) waiting.delete(name);
    }
  }

  /**
   * The commits that touch a range or some keys, as they come, each exactly once and in their order; see {@link Watch}. It begins with this call, or
   * behind the commit that `since` names.
   */
  watch<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    what: KeyRange<KeyInput<KeyFor<KE, K>>> | readonly KeyInput<KeyFor<KE, K>>[] = {},
    options?: WatchOptions<KE, VE>,
  ): Watch<KeyFor<KE, K>, ValueFor<VE, V>> {
    const signal = signalOf(options, WATCH_NAMES);
    const space = this.#space.with(options);
    const ranges = Array.isArray(what) ? what.map((key) => watchedBy(space, key)) : [boundsOf(what as KeyRange<unknown>, space, PLAIN_RANGE_NAMES)];
    return new Watch(this.#client, space, ranges, options ?? {}, signal);
  }

  /**
   * Runs `query` now, and again whenever something that it has read by its view has changed: yields its result each time. Several changes that come
   * while nobody asks for a result lead to one run. Ends where the query has read nothing.
   */
  liveQuery<T>(query: (view: View<K, V>) => T | PromiseLike<T>, options?: LiveQueryOptions): LiveQuery<T> {
    if (typeof query !== 'function') throw new TypeError(`liveQuery takes a function, not ${describe(query)}`);
    return new LiveQuery<T>(this.#client, this.#space, query as (view: View) => T | PromiseLike<T>, signalOf(options));
  }

  /**
   * The entries of a range as lines of JSON, each `{"key":…,"value":…}`, in UTF-8, as of one moment; docs/NDJSON.md has the format. What JSON has
   * no type for is tagged, so that keys and values come back as they were. Times to live are left out.
   */
  exportNdjson<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    range: ScanOptions<KeyInput<KeyFor<KE, K>>, KE, VE> = {},
  ): ReadableStream<Uint8Array> {
    return exportNdjson(this.scan({ ...range, ...this.#ndjsonEncodings(range) }) as unknown as Scan<[unknown, unknown]>);
  }

  /**
   * Puts the entries that `exportNdjson` wrote, over those there are, in batches: what was put before an error or an abort stays. A line that is none
   * rejects with `TEMPEST_INVALID_ARGUMENT`, which tells its number.
   *
   * @returns How many entries there were.
   */
  async importNdjson(source: NdjsonSource, options?: NdjsonImportOptions): Promise<number> {
    const signal = signalOf(options, NDJSON_NAMES);
    const encodings = this.#ndjsonEncodings({});
    const put = (operations: readonly BatchOperation<any, any>[]) =>
      this.batch(operations, { signal, durability: options?.durability, ...encodings } as BatchOptions<any, any, any>);
    return importNdjson(put, source, signal, options?.onProgress);
  }

  /** What an encoding of the caller's own makes of values goes into lines and comes out of them as bytes. */
  #ndjsonEncodings(given: Encodings): { valueEncoding?: 'view' } {
    return this.#space.with(given).values.isCustom === true ? { valueEncoding: 'view' } : {};
  }

  /** Calls `listener` for events of a type. A namespace tells the events of its database. */
  override addEventListener<T extends keyof DatabaseEventMap>(
    type: T,
    listener: DatabaseListener<T> | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    EventTarget.prototype.addEventListener.call(this.#root ?? this, type, listener as EventListener | null, options);
  }

  /** Ends what `addEventListener` began. */
  override removeEventListener<T extends keyof DatabaseEventMap>(
    type: T,
    listener: DatabaseListener<T> | null,
    options?: boolean | EventListenerOptions,
  ): void {
    EventTarget.prototype.removeEventListener.call(this.#root ?? this, type, listener as EventListener | null, options);
  }
}

/** Checks a durability, and puts the default in the place of none. */
export function durabilityOf(durability: unknown, otherwise: Durability): Durability {
  if (durability === undefined) return otherwise;
  if (durability === 'relaxed' || durability === 'strict') return durability;
  throw new TypeError(`durability must be 'relaxed' or 'strict', not ${describe(durability)}`);
}

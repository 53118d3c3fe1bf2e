// The database as a caller sees it.

import type { BytesInput } from './bytes.js';
import { Kind as CallKind } from './calls.js';
import type { Client } from './client.js';
import { describe, TempestError } from './errors.js';
import { Kind, Op, WRITE_STRICT } from './frames.js';
import { BATCH_HEADER_BYTES, checkValueSize, MAX_BATCH_BYTES, MAX_COUNT, MAX_KEYS_BYTES } from './limits.js';
import { checkSignal, signalOf } from './options.js';
import { boundsOf, type Range } from './range.js';
import { asyncDispose, Scan } from './scan.js';

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
   * Gives the call up: its promise rejects with the signal's `reason`, by default a `DOMException` named `AbortError`. Nothing is undone: an
   * aborted write may still happen, or have happened.
   */
  signal?: AbortSignal | undefined;
}

/** For writes. */
export interface WriteOptions extends CallOptions {
  /** When the write is acknowledged; by default as `open` was told. */
  durability?: Durability | undefined;
}

/** A range, and a signal that ends the scan of it: iteration then rejects with the signal's `reason`. */
export interface ScanOptions<K> extends Range<K>, CallOptions {}

/** One operation of a batch. */
export type BatchOperation<K, V> =
  | { readonly type: 'put'; readonly key: KeyInput<K>; readonly value: ValueInput<V> }
  | { readonly type: 'delete'; readonly key: KeyInput<K> };

/**
 * Where a store is kept: in the origin private file system, in memory until it is closed, on a device that the caller passed in, or in a
 * Durable Object.
 */
export type Storage = 'opfs' | 'memory' | 'device' | 'object';

/** What the store's storage can do. A device that the caller passed in says so itself; where it says nothing, neither is claimed. */
export interface Supports {
  /** What was written is there after the page, worker or program has ended. */
  readonly persistent: boolean;
  /** `durability: 'strict'` means what it says; elsewhere it may be no more than `'relaxed'`. */
  readonly strict: boolean;
}

/** What opening the store found. */
export interface Recovery {
  /** The sequence number of the last write. */
  readonly sequence: number;
  /** Size in bytes of what was dropped from the end of the log: a write that a crash had cut short. */
  readonly droppedBytes: number;
  /** What was dropped and why, for a person to read; empty where nothing was. */
  readonly report: string;
}

/**
 * Figures of the engine, by name: `sequence`, the sequence number of the last write; `openScans` and `maxOpenScans`; `memtables` and their size,
 * `memtableBytes`; `logs` and `logBytes`; `heapBytes`, what the engine's heap holds, and `wasmBytes`, what it took of WebAssembly's memory. Names
 * may come and go with versions.
 */
export type Stats = Readonly<Record<string, number>>;

/** @internal */
export interface DatabaseSpec {
  name: string;
  storage: Storage;
  supports: Supports;
  recovery: Recovery;
  durability: Durability;
}

const WRITE_NAMES: ReadonlySet<string> = new Set(['durability', 'signal']);

/**
 * A store that is open. Made by `open`.
 *
 * Calls need not wait for each other: those made in one turn travel together, writes take effect in the order they were made, and a read sees
 * every write made before it; of those made after it, while it is still under way, it may see some.
 *
 * Calls reject with a `TempestError` where the store fails, and with a `TypeError` or `RangeError` where the call itself is wrong. Only `scan`
 * throws: it has no promise to reject. After `close` calls reject with `TEMPEST_CLOSED`, and after the engine's death with
 * `TEMPEST_WORKER_DIED`. At most a million calls may be under way; one more rejects with `TEMPEST_BUSY`.
 *
 * Keys are at most 64 KiB when encoded (`TEMPEST_INVALID_KEY`). The empty key is a key like any other. Keys that begin with the bytes `FF FF` are
 * the store's own (`TEMPEST_INVALID_KEY`). Values are at most 64 MiB when encoded (`TEMPEST_INVALID_VALUE`).
 *
 * @typeParam K - Keys, as scans yield them.
 * @typeParam V - Values.
 */
export class Database<K = string, V = unknown> {
  /** The name it was opened by. */
  readonly name: string;

  /** Where it is kept. */
  readonly storage: Storage;

  /** What that storage can do. */
  readonly supports: Supports;

  /** What opening it found. */
  readonly recovery: Recovery;

  readonly #client: Client;
  readonly #durability: Durability;

  /** The width of the last value's size: a guess at that of the next. */
  #valueWidth = 1;

  /** @internal */
  constructor(client: Client, spec: DatabaseSpec) {
    this.name = spec.name;
    this.storage = spec.storage;
    this.supports = spec.supports;
    this.recovery = spec.recovery;
    this.#durability = spec.durability;
    this.#client = client;
  }

  /**
   * Stores a value under a key, over the one it had.
   *
   * @returns The write's sequence number. Each write has a greater one than those before it.
   */
  put(key: KeyInput<K>, value: ValueInput<V>, options?: WriteOptions): Promise<number> {
    return this.#write(Kind.put, key, value, options);
  }

  /**
   * Removes a key and its value. Removing a key that is not there is no error.
   *
   * @returns The write's sequence number.
   */
  delete(key: KeyInput<K>, options?: WriteOptions): Promise<number> {
    return this.#write(Kind.delete, key, undefined, options);
  }

  #write(kind: number, key: unknown, value: unknown, options: WriteOptions | undefined): Promise<number> {
    const client = this.#client;
    let id = -1;
    try {
      const signal = signalOf(options, WRITE_NAMES);
      id = client.begin(Op.write, this.#writeFlags(options), CallKind.sequence);
      client.writer.u32(1);
      this.#operation(kind, key, value);
      return client.commit(id, signal) as Promise<number>;
    } catch (error) {
      if (id >= 0) client.rollback(id);
      return Promise.reject(error);
    }
  }

  #writeFlags(options: WriteOptions | undefined): number {
    return durabilityOf(options?.durability, this.#durability) === 'strict' ? WRITE_STRICT : 0;
  }

  /** Writes one operation of a batch, and returns its size in bytes. */
  #operation(kind: number, key: unknown, value: unknown): number {
    const { writer, values } = this.#client;
    writer.u8(kind);
    let size = 1 + this.#key(key);
    if (kind === Kind.put) {
      const start = writer.length;
      const width = this.#valueWidth;
      const mark = writer.openSized(width);
      values.write(writer, value);
      checkValueSize(writer.length - mark - width);
      this.#valueWidth = writer.closeSized(mark, width);
      size += writer.length - start;
    }
    return size;
  }

  /** Writes a key with its size, and returns the size of both in bytes. */
  #key(key: unknown): number {
    const { writer, keys } = this.#client;
    const width = keys.width(key);
    const mark = writer.openSized(width);
    keys.write(writer, key);
    checkReserved(writer.bytes, mark + width, writer.length);
    writer.closeSized(mark, width);
    return writer.length - mark;
  }

  /**
   * Carries out all of the operations, in their order, or none of them.
   *
   * At most 64 MiB when encoded (`TEMPEST_INVALID_ARGUMENT`).
   *
   * @returns The sequence number of the last operation.
   */
  batch(operations: readonly BatchOperation<K, V>[], options?: WriteOptions): Promise<number> {
    const client = this.#client;
    let id = -1;
    try {
      if (!Array.isArray(operations)) throw new TypeError(`a batch must be an array, not ${describe(operations)}`);
      const signal = signalOf(options, WRITE_NAMES);
      id = client.begin(Op.write, this.#writeFlags(options), CallKind.sequence);
      client.writer.u32(operations.length);
      let size = BATCH_HEADER_BYTES;
      for (const operation of operations as readonly BatchOperation<unknown, unknown>[]) {
        switch (operation?.type) {
          case 'put':
            size += this.#operation(Kind.put, operation.key, operation.value);
            break;
          case 'delete':
            size += this.#operation(Kind.delete, operation.key, undefined);
            break;
          default:
            throw new TypeError("an operation of a batch must have the type 'put' or 'delete'");
        }
        if (size > MAX_BATCH_BYTES) {
          throw new TempestError('TEMPEST_INVALID_ARGUMENT', `a batch is larger than ${MAX_BATCH_BYTES} bytes; make several of it`);
        }
      }
      return client.commit(id, signal) as Promise<number>;
    } catch (error) {
      if (id >= 0) client.rollback(id);
      return Promise.reject(error);
    }
  }

  /** The value under a key; `undefined` where there is none. */
  get(key: KeyInput<K>, options?: CallOptions): Promise<V | undefined> {
    const client = this.#client;
    let id = -1;
    try {
      const signal = signalOf(options);
      id = client.begin(Op.get, 0, CallKind.value);
      const { writer } = client;
      const start = writer.length;
      client.keys.write(writer, key);
      checkReserved(writer.bytes, start, writer.length);
      return client.commit(id, signal) as Promise<V | undefined>;
    } catch (error) {
      if (id >= 0) client.rollback(id);
      return Promise.reject(error);
    }
  }

  /**
   * The values under several keys, all as of one moment, in the order of the keys; `undefined` where there is none.
   *
   * The keys together are at most 64 MiB, the values at most 128 MiB (`TEMPEST_INVALID_ARGUMENT`).
   */
  getMany(keys: readonly KeyInput<K>[], options?: CallOptions): Promise<(V | undefined)[]> {
    const client = this.#client;
    let id = -1;
    try {
      if (!Array.isArray(keys)) throw new TypeError(`getMany takes an array of keys, not ${describe(keys)}`);
      const signal = signalOf(options);
      id = client.begin(Op.getMany, 0, CallKind.values);
      const count = Math.min(keys.length, MAX_COUNT);
      client.writer.u32(count);
      let size = 0;
      for (let i = 0; i < count; i++) {
        size += this.#key(keys[i]);
        if (size > MAX_KEYS_BYTES) {
          throw new TempestError('TEMPEST_INVALID_ARGUMENT', `the keys of one getMany are larger than ${MAX_KEYS_BYTES} bytes`);
        }
      }
      return client.commit(id, signal) as Promise<(V | undefined)[]>;
    } catch (error) {
      if (id >= 0) client.rollback(id);
      return Promise.reject(error);
    }
  }

  /**
   * The entries of a range, to be iterated; see {@link Scan}. Without a range, all of them.
   *
   * Throws a `TypeError` or a `RangeError` where the range makes no sense, and `TEMPEST_INVALID_KEY` where a bound is too large. A range in which
   * nothing can lie is just empty.
   */
  scan(range: ScanOptions<KeyInput<K>> = {}): Scan<[K, V], K, V> {
    const bounds = boundsOf(range, this.#client.keys);
    const { signal } = range;
    checkSignal(signal);
    return new Scan(this.#client, bounds, 'entries', signal);
  }

  /** Figures of the engine, such as `openScans`. */
  async stats(options?: CallOptions): Promise<Stats> {
    return (await this.#client.request(Op.stats, CallKind.stats, signalOf(options))) as Stats;
  }

  /**
   * Closes the store: ends its scans, waits for the calls under way, makes everything durable and lets the next `open` have it. Closing twice is
   * no error. Rejects where making it durable failed; the store is let go all the same.
   */
  close(): Promise<void> {
    return this.#client.close();
  }

  /**
   * Closes the store, as `close` does, and deletes it and all that is in it before anybody else can have it. A second time is no error.
   *
   * Rejects where it could not be deleted. A store that was let go already, by `close` or by the engine's death, may be another's by now: then
   * it rejects as any call does, and `destroy(name)` is for that.
   */
  destroy(): Promise<void> {
    return this.#client.destroy();
  }

  /** Closes the store, at the end of a block that declared it with `await using`. */
  [asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Makes the engine panic, to see what its host does about it.
   *
   * @internal
   */
  _panic(): Promise<unknown> {
    return this.#client.request(Op.panic, CallKind.nothing);
  }
}

/** Checks a durability, and puts the default in the place of none. */
export function durabilityOf(durability: unknown, otherwise: Durability): Durability {
  if (durability === undefined) return otherwise;
  if (durability === 'relaxed' || durability === 'strict') return durability;
  throw new TypeError(`durability must be 'relaxed' or 'strict', not ${describe(durability)}`);
}

/** Throws where the key between `start` and `end` is one of the store's own. */
function checkReserved(bytes: Uint8Array, start: number, end: number): void {
  if (end - start >= 2 && bytes[start] === 0xff && bytes[start + 1] === 0xff) {
    throw new TempestError('TEMPEST_INVALID_KEY', 'keys that begin with the bytes FF FF are reserved');
  }
}

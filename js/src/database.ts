// The database as a caller sees it.

import { exportStore, EXPORT_NAMES, type ExportOptions } from './backup.js';
import { Kind as CallKind } from './calls.js';
import type { Client } from './client.js';
import type { Encodings, KeyEncoding, KeyFor } from './encodings.js';
import { DatabaseEvent, type Figures } from './events.js';
import { type BodyReader, BOUNDS_FLAGS, Op } from './frames.js';
import { type CallOptions, type Durability, type KeyInput, Namespace, type RangeOptions } from './namespace.js';
import { abortable, signalOf } from './options.js';
import { boundsOf, COUNT_NAMES, writeRange } from './range.js';
import { asyncDispose } from './scan.js';
import { Space } from './space.js';

/**
 * Where a store is kept: in the origin private file system, in memory until it is closed, on a device that the caller passed in, in a
 * Durable Object, or in one that is reached over HTTP.
 */
export type Storage = 'opfs' | 'memory' | 'device' | 'object' | 'remote';

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

/** What `verify` found. */
export interface VerifyReport {
  /** What is wrong, a line each, for a person to read; none where the store is whole. */
  readonly problems: readonly string[];

  /** What was looked at, by name: counts of files, blocks and entries. */
  readonly figures: Figures;
}

/** What the browser says of the origin's storage, in bytes, all stores and all else that the origin keeps together; `undefined` where it does not say. */
export interface StorageEstimate {
  readonly usage: number | undefined;
  readonly quota: number | undefined;
}

/** @internal */
export interface DatabaseSpec extends Encodings {
  name: string;
  storage: Storage;
  supports: Supports;
  recovery: Recovery;
  durability: Durability;
}

/**
 * The client of a database, for what is no method of it.
 *
 * @internal
 */
export let clientOf: (db: Database<any, any>) => Client;

/**
 * A store that is open. Made by `open`.
 *
 * Calls need not wait for each other: those made in one turn travel together, writes take effect in the order they were made, and a read sees
 * every write made before it; of those made after it, while it is still under way, it may see some.
 *
 * After `close` calls reject with `TEMPEST_CLOSED`, and after the engine's death with `TEMPEST_WORKER_DIED`. At most a million calls may be under
 * way; one more rejects with `TEMPEST_BUSY`.
 *
 * Keys are at most 64 KiB when encoded (`TEMPEST_INVALID_KEY`), those of a namespace with the few bytes that name it. The empty key is a key like any
 * other. Keys that begin with the bytes `FF FE` belong to namespaces, and those that begin with `FF FF` to the store itself (`TEMPEST_INVALID_KEY`).
 * Values are at most 64 MiB when encoded (`TEMPEST_INVALID_VALUE`).
 *
 * It is an `EventTarget`; see {@link DatabaseEventMap}.
 *
 * @typeParam K - Keys, as scans yield them.
 * @typeParam V - Values.
 */
export class Database<K = string, V = unknown> extends Namespace<K, V> {
  static {
    clientOf = (db) => db.#client;
  }

  /** The name it was opened by. */
  readonly name: string;

  /** Where it is kept. */
  readonly storage: Storage;

  /** What that storage can do. */
  readonly supports: Supports;

  /** What opening it found. */
  readonly recovery: Recovery;

  readonly #client: Client;
  readonly #space: Space;

  /** @internal */
  constructor(client: Client, spec: DatabaseSpec) {
    const space = Space.plain(client.codecs, spec);
    super(client, space, spec, []);
    this.name = spec.name;
    this.storage = spec.storage;
    this.supports = spec.supports;
    this.recovery = spec.recovery;
    this.#client = client;
    this.#space = space;
    client.events = {
      notice: (name, figures) => this.dispatchEvent(new DatabaseEvent(name, figures)),
      failed: (error) => this.dispatchEvent(new DatabaseEvent('error', error)),
      ended: (error) => {
        if (error !== undefined) this.dispatchEvent(new DatabaseEvent('error', error));
        this.dispatchEvent(new DatabaseEvent('close', undefined));
      },
    };
  }

  /** Figures of the engine, such as `openScans`. */
  async stats(options?: CallOptions): Promise<Stats> {
    return this.#client.ask(Op.stats, 0, () => undefined, (body) => body.figures(), signalOf(options));
  }

  /** Moves what is in memory into tables: resolves once everything written before is in them. Happens by itself as memory fills up. */
  async flush(options?: CallOptions): Promise<void> {
    await this.#client.call(Op.flush, 0, CallKind.nothing, () => undefined, signalOf(options));
  }

  /**
   * Merges the tables that overlap a range until nothing in it is written over or deleted any more: what was deleted takes no space afterwards. Happens
   * by itself as tables add up. Without a range, all of the store, namespaces included.
   */
  async compact<KE extends KeyEncoding | undefined = undefined>(range: RangeOptions<KeyInput<KeyFor<KE, K>>, KE> = {}): Promise<void> {
    const { signal: given, keyEncoding, ...bare } = range;
    const space = this.#space.with({ keyEncoding });
    const bounds = boundsOf(range, space, COUNT_NAMES);
    const signal = signalOf({ signal: given });
    const isAll = Object.values(bare).every((bound) => bound === undefined);
    if (bounds.isEmpty) return this.#client.checkOpen();
    await this.#client.call(
      Op.compact,
      isAll ? 0 : bounds.flags & BOUNDS_FLAGS,
      CallKind.nothing,
      (writer) => writeRange(writer, isAll ? { ...bounds, lower: undefined, upper: undefined } : bounds),
      signal,
    );
  }

  /** Reads all of the store and checks every checksum and every order. Changes nothing. */
  async verify(options?: CallOptions): Promise<VerifyReport> {
    const decode = (body: BodyReader): VerifyReport => {
      const problems = Array.from({ length: body.u32() }, () => body.text());
      return { problems, figures: body.figures() };
    };
    return this.#client.ask(Op.verify, 0, () => undefined, decode, signalOf(options));
  }

  /**
   * All of the store as it is now, namespaces included, as one file: a stream of its bytes, which end with checksums. `importStore` takes it back. The moment
   * is that of this call, however slowly the stream is read; cancel it where it is not read to its end.
   *
   * Throws a `TypeError` where the options make no sense; all else fails the stream.
   */
  export(options?: ExportOptions): ReadableStream<Uint8Array> {
    return exportStore(this.#client, signalOf(options, EXPORT_NAMES), options?.onProgress);
  }

  /**
   * Asks the browser not to delete the origin's storage when the disk is full, as it may do with what is not persistent. Some browsers ask the user;
   * only a page can ask, and a worker is told what holds.
   *
   * @returns Whether the storage is persistent; false where the store is not in the browser's storage.
   */
  async persist(options?: CallOptions): Promise<boolean> {
    const signal = signalOf(options);
    this.#client.checkOpen();
    const manager = this.#manager;
    if (typeof manager?.persist === 'function') return abortable(manager.persist(), signal);
    if (typeof manager?.persisted === 'function') return abortable(manager.persisted(), signal);
    return false;
  }

  /** How much the origin keeps in the browser's storage, and how much it may. */
  async estimate(options?: CallOptions): Promise<StorageEstimate> {
    const signal = signalOf(options);
    this.#client.checkOpen();
    const manager = this.#manager;
    if (typeof manager?.estimate !== 'function') return { usage: undefined, quota: undefined };
    const { usage, quota } = await abortable(manager.estimate(), signal);
    return { usage, quota };
  }

  get #manager(): Partial<StorageManager> | undefined {
    return this.storage === 'opfs' ? (globalThis.navigator as Partial<Navigator> | undefined)?.storage : undefined;
  }

  /**
   * Closes the store: ends its scans, snapshots, watches and exports, waits for the calls under way, makes everything durable and lets the next `open` have
   * it. Closing twice is no error. Rejects where making it durable failed; the store is let go all the same.
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
    return this.#client.call(Op.panic, 0, CallKind.nothing, () => undefined);
  }
}

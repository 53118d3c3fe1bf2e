// Opening and deleting stores.

import { type BackupProgress, type BackupSource, receiveBackup } from './backup.js';
import { Client } from './client.js';
import { Database, type Storage } from './database.js';
import type { Device } from './device.js';
import { type KeyEncoding, keyCodec, type KeyFor, type ValueEncoding, ValueCodecs, type ValueFor } from './encodings.js';
import type { EngineEvents } from './engine.js';
import { asStorageError, describe, messageOf, TempestError } from './errors.js';
import type { HostSpec } from './host.js';
import { DEFAULT_LOCK_WAIT_MILLIS, MAX_NAME_LENGTH } from './limits.js';
import { openLocal, openRemote, type OpenLink } from './links.js';
import { lockStore } from './lock.js';
import { MemoryDevice } from './memory.js';
import { type CallOptions, type Durability, durabilityOf } from './namespace.js';
import { checkOpfs, OpfsDevice } from './opfs.js';
import { abortable, signalOf } from './options.js';
import type { RemoteOptions } from './remote.js';
import { isWellFormed } from './text.js';
import type { TupleKey } from './tuple.js';

/** How `open` opens a store. An option of another name is a `TypeError`. */
export interface OpenOptions extends CallOptions {
  /**
   * Where the store is kept.
   *
   * - `'opfs'`, the default: in the origin private file system. In a page the engine runs in a worker of its own, in a dedicated worker right there. Elsewhere
   *   `open` rejects with `TEMPEST_NOT_SUPPORTED`: durability is never given up silently.
   * - `'memory'`: in memory, until the store is closed; in any context. Every `open` makes an empty store of its own.
   */
  storage?: 'opfs' | 'memory' | undefined;

  /** A device to keep the store on, instead of `storage`. The engine runs in this thread. */
  device?: Device | undefined;

  /** How keys become bytes: `'utf8'` by default. Always the same for one store. */
  keyEncoding?: KeyEncoding | undefined;

  /** How values become bytes: `'msgpack'` by default. Always the same for one store. */
  valueEncoding?: ValueEncoding<any> | undefined;

  /** When writes are acknowledged that do not say: `'relaxed'` by default. */
  durability?: Durability | undefined;

  /** How long, in milliseconds, to wait for another holder of the store: 5,000 by default. Then `open` rejects with `TEMPEST_LOCKED`. */
  lockWaitMillis?: number | undefined;

  /** The size in bytes that a memtable grows to: 4 MiB by default, at least 64 KiB, at most 256 MiB. Larger ones take more memory, and hold more of what was written last. */
  memtableBytes?: number | undefined;

  /** Where the engine is, if not beside this module as `tempestkv.wasm`. */
  wasmUrl?: string | URL | undefined;

  /** Where the worker's program is, if not beside this module as `worker.js`. */
  workerUrl?: string | URL | undefined;
}

/** The keys that options ask for. */
export type KeyOf<O extends Pick<OpenOptions, 'keyEncoding'>> = KeyFor<O['keyEncoding'], string>;

/** The values that options ask for. */
export type ValueOf<O extends Pick<OpenOptions, 'valueEncoding'>> = ValueFor<O['valueEncoding'], unknown>;

const OPEN_NAMES: ReadonlySet<string> = new Set([
  'signal',
  'storage',
  'device',
  'keyEncoding',
  'valueEncoding',
  'durability',
  'lockWaitMillis',
  'memtableBytes',
  'wasmUrl',
  'workerUrl',
]);

const DESTROY_NAMES: ReadonlySet<string> = new Set(['signal', 'storage', 'lockWaitMillis']);

const DEVICE_CALLS = ['read', 'write', 'sync', 'size', 'truncate'] as const;

const MIN_MEMTABLE_BYTES = 64 << 10;
const MAX_MEMTABLE_BYTES = 256 << 20;

/**
 * Opens a store, and makes it where there is none.
 *
 * One context at a time has a store open. Rejects with `TEMPEST_LOCKED` where another has it longer than `lockWaitMillis`, with
 * `TEMPEST_NOT_SUPPORTED` where the context has no such storage, with `TEMPEST_LOAD_FAILED` where the engine or the worker cannot be had, with
 * `TEMPEST_CORRUPTION` where the store is damaged (nothing is deleted), and with a `TypeError` or `RangeError` where name or options make no sense.
 *
 * @param name - The store's name: 1 to 100 characters, any but lone surrogates. One that begins with `http:` or `https:` is an address instead.
 *
 * @example
 * ```ts
 * const db = await open('notes');
 * await db.put('user:1', { name: 'Ada' });
 * for await (const [key, value] of db.scan({ prefix: 'user:' })) console.log(key, value);
 * ```
 */
export function open<const O extends OpenOptions = OpenOptions>(name: string, options?: O): Promise<Database<KeyOf<O>, ValueOf<O>>>;
/** Opens a store, with the types of its keys and values spelled out: `open<string, Note>('notes')`. */
export function open<K extends string | Uint8Array | TupleKey, V>(name: string, options?: OpenOptions): Promise<Database<K, V>>;
/**
 * Opens a store behind the router, in a Durable Object, over HTTP (docs/HTTP.md). The calls are the same; any number may have such a store open.
 *
 * Where the connection fails, what is under way, and scans, snapshots and watches, reject with `TEMPEST_DISCONNECTED`: of a write among them it is not known
 * whether it happened. The next call connects anew. A call is at most 8 MiB when encoded, or as much as the router was set up to take
 * (`TEMPEST_INVALID_ARGUMENT`). Rejects with `TEMPEST_UNAUTHORIZED` where the router does not know the token.
 *
 * @param address - `https://…/v1/` and the store's name.
 *
 * @example
 * ```ts
 * const db = await open('https://kv.example.workers.dev/v1/notes', { token });
 * await db.put('user:1', { name: 'Ada' });
 * ```
 */
export function open<const O extends RemoteOptions = RemoteOptions>(address: string | URL, options: O): Promise<Database<KeyOf<O>, ValueOf<O>>>;
/** Opens a store behind the router, with the types of its keys and values spelled out. */
export function open<K extends string | Uint8Array | TupleKey, V>(address: string | URL, options: RemoteOptions): Promise<Database<K, V>>;
export async function open(name: string | URL, given: OpenOptions | RemoteOptions = {}): Promise<Database<string, unknown>> {
  if (name instanceof URL || (typeof name === 'string' && /^https?:/i.test(name))) {
    // A page whose stores are its own does without.
    const { openRemoteStore } = await import('./remote.js').catch((cause: unknown) => {
      throw new TempestError('TEMPEST_LOAD_FAILED', `cannot load the part of the package for stores over HTTP: ${messageOf(cause)}`, { cause });
    });
    return openRemoteStore(name, given as RemoteOptions);
  }
  const options = given as OpenOptions;
  checkName(name);
  const signal = signalOf(options, OPEN_NAMES);
  const { storage = 'opfs', keyEncoding, valueEncoding } = options;
  const spec = specOf(name, options);
  keyCodec(keyEncoding);
  new ValueCodecs().of(valueEncoding);
  const durability = durabilityOf(options.durability, 'relaxed');
  if (options.memtableBytes !== undefined) spec.memtableBytes = memtableBytesOf(options.memtableBytes);
  const { client, link } = await connect(spec, options, signal);
  const supports = spec.device === undefined ? { persistent: true, strict: true } : spec.device.supports;
  return new Database(client, {
    name,
    storage: options.device !== undefined ? 'device' : (storage satisfies Storage),
    supports: { persistent: supports?.persistent === true, strict: supports?.strict === true },
    recovery: link.recovery,
    durability,
    keyEncoding,
    valueEncoding,
  });
}

/** What a host needs to know of a store. Throws where the options say in a way that makes no sense. */
export function specOf(name: string, { storage, device, wasmUrl, lockWaitMillis }: OpenOptions): HostSpec {
  checkStorage(storage);
  if (device !== undefined) checkDevice(device, storage);
  const spec: HostSpec = {
    name,
    wasmUrl: addressOf(wasmUrl, new URL('./tempestkv.wasm', import.meta.url)),
    lockWaitMillis: lockWaitOf(lockWaitMillis),
  };
  const own = device ?? (storage === 'memory' ? new MemoryDevice() : undefined);
  if (own !== undefined) spec.device = own;
  return spec;
}

/** A client of an engine, and its link. */
export async function connect(spec: HostSpec, { workerUrl }: OpenOptions, signal: AbortSignal | undefined): Promise<{ client: Client; link: OpenLink }> {
  const workerAddress = addressOf(workerUrl, new URL('./worker.js', import.meta.url));
  // The client comes once the link is there, and hears of nothing before.
  let client: Client | undefined;
  const events: EngineEvents = {
    reply: (frame) => client?.receive(frame),
    died: (error) => client?.died(error),
  };
  const link = await openLink(spec, events, workerUrl, workerAddress, signal);
  client = new Client(link);
  return { client, link };
}

/** Starts an engine where it belongs: a device in memory and a dedicated worker's files here, a page's files in a worker. */
async function openLink(
  spec: HostSpec,
  events: EngineEvents,
  workerUrl: string | URL | undefined,
  workerAddress: string,
  signal: AbortSignal | undefined,
): Promise<OpenLink> {
  if (spec.device === undefined) checkOpfs();
  if (spec.device === undefined && typeof document !== 'undefined' && typeof Worker === 'function') {
    // Written out in full, so that bundlers find the worker.
    const start = () =>
      workerUrl === undefined
        ? new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
        : new Worker(workerUrl, { type: 'module' });
    return openRemote(spec, events, start, workerAddress, signal);
  }
  // A link that comes after the abort is let go.
  return abortable(openLocal(spec, events), signal, (link) => link.release(false));
}

/** How `importStore` makes a store. */
export interface ImportOptions extends Pick<OpenOptions, 'signal' | 'device' | 'lockWaitMillis' | 'wasmUrl' | 'workerUrl'> {
  /** Is told after each piece how far the import has come. */
  onProgress?: ((progress: BackupProgress) => void) | undefined;
}

export const IMPORT_NAMES: ReadonlySet<string> = new Set(['signal', 'device', 'lockWaitMillis', 'wasmUrl', 'workerUrl', 'onProgress']);

/**
 * Makes a store out of a backup that `db.export()` made, in the origin private file system or on a device; `open` has it then. There may be no store of
 * that name: `destroy` it first. The backup is checked as it comes and to its end, and the store is there whole or not at all.
 *
 * Rejects with `TEMPEST_CORRUPTION` where the backup is cut short, altered, or none at all, with `TEMPEST_INVALID_ARGUMENT` where there is a store of that
 * name, with `TEMPEST_LOCKED` where somebody has it open longer than `lockWaitMillis`, and else as `open` does.
 *
 * @param source - The backup: a stream, such as a file's or the body of a response, or pieces of bytes.
 */
export async function importStore(name: string, source: BackupSource, options: ImportOptions = {}): Promise<void> {
  checkName(name);
  const signal = signalOf(options, IMPORT_NAMES);
  const { client, link } = await connect({ ...specOf(name, options), isImport: true }, options, signal);
  try {
    await receiveBackup(client, source, signal, options.onProgress);
  } finally {
    await link.release(false);
  }
}

/** How `destroy` deletes a store. */
export interface DestroyOptions extends CallOptions {
  /** Where the store is kept: `'opfs'`, the default. A store in memory ends when it is closed. */
  storage?: 'opfs' | 'memory' | undefined;

  /** How long, in milliseconds, to wait for whoever has it open: 5,000 by default. */
  lockWaitMillis?: number | undefined;
}

/**
 * Deletes a store, which nobody may have open. One that is not there is no error.
 *
 * Rejects with `TEMPEST_LOCKED` where somebody has it open longer than `lockWaitMillis`. An abort of `signal` ends that wait, and nothing is
 * deleted; once deleting has begun, it is done all the same.
 */
export async function destroy(name: string, options: DestroyOptions = {}): Promise<void> {
  checkName(name);
  const signal = signalOf(options, DESTROY_NAMES);
  checkStorage(options.storage);
  const lockWaitMillis = lockWaitOf(options.lockWaitMillis);
  if (options.storage === 'memory') return;
  await abortable(remove(name, lockWaitMillis, signal), signal, () => undefined);
}

async function remove(name: string, waitMillis: number, signal: AbortSignal | undefined): Promise<void> {
  const deadline = performance.now() + waitMillis;
  try {
    const unlock = await lockStore(name, waitMillis);
    try {
      if (signal?.aborted !== true) await OpfsDevice.remove(name, Math.max(0, deadline - performance.now()));
    } finally {
      unlock();
    }
  } catch (error) {
    throw asStorageError(error);
  }
}

export function checkName(name: unknown): asserts name is string {
  if (typeof name !== 'string') throw new TypeError(`a store's name must be a string, not ${describe(name)}`);
  if (name === '' || name.length > MAX_NAME_LENGTH) throw new RangeError(`a store's name must have 1 to ${MAX_NAME_LENGTH} characters`);
  if (!isWellFormed(name)) throw new TypeError("a store's name may have no lone surrogates");
}

function checkStorage(storage: unknown): void {
  if (storage !== undefined && storage !== 'opfs' && storage !== 'memory') {
    throw new TypeError(`storage must be 'opfs' or 'memory', not ${describe(storage)}`);
  }
}

export function checkDevice(device: Partial<Device> | null, storage: unknown): void {
  if (storage !== undefined) throw new TypeError('a store has a storage or a device, not both');
  for (const call of DEVICE_CALLS) {
    if (typeof device?.[call] !== 'function') throw new TypeError(`device must have the calls of a Device; ${call} is missing`);
  }
}

function lockWaitOf(millis: unknown): number {
  if (millis === undefined) return DEFAULT_LOCK_WAIT_MILLIS;
  if (typeof millis !== 'number') throw new TypeError(`lockWaitMillis must be a number, not ${describe(millis)}`);
  if (!(millis >= 0 && millis <= 0x7fff_ffff)) throw new RangeError(`lockWaitMillis must be from 0 to ${0x7fff_ffff}, not ${millis}`);
  return millis;
}

function memtableBytesOf(size: unknown): number {
  if (typeof size !== 'number') throw new TypeError(`memtableBytes must be a number, not ${describe(size)}`);
  if (!Number.isInteger(size) || size < MIN_MEMTABLE_BYTES || size > MAX_MEMTABLE_BYTES) {
    throw new RangeError(`memtableBytes must be an integer from ${MIN_MEMTABLE_BYTES} to ${MAX_MEMTABLE_BYTES}, not ${size}`);
  }
  return size;
}

/** The absolute address of a file: as the caller gave it, relative to the page, or beside this module. */
export function addressOf(given: string | URL | undefined, beside: URL): string {
  if (given === undefined) return beside.href;
  if (typeof given !== 'string' && !(given instanceof URL)) throw new TypeError(`an address must be a string or a URL, not ${describe(given)}`);
  try {
    return new URL(given, (globalThis.location as Location | undefined)?.href ?? import.meta.url).href;
  } catch (cause) {
    throw new TypeError(`${JSON.stringify(given)} is no address`, { cause });
  }
}

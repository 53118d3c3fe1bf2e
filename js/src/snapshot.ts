// Snapshots: the store as it was at one moment, for as long as it is kept.

import { type Client, closeWhenCollected, Handle } from './client.js';
import type { Encodings, KeyEncoding, KeyFor, ValueEncoding, ValueFor } from './encodings.js';
import { TempestError } from './errors.js';
import { Op } from './frames.js';
import type { KeyInput, Namespace, RangeOptions, ReadOptions, ScanOptions } from './namespace.js';
import { checkSignal, READ_NAMES, signalOf } from './options.js';
import { boundsOf, COUNT_NAMES, SCAN_NAMES } from './range.js';
import { get, getMany, measure } from './reads.js';
import { asyncDispose, Cursor, Scan } from './scan.js';
import type { Space } from './space.js';

/** A moment that the engine keeps. What reads at it refers to this; when nothing does any more, it is closed. */
export class Moment {
  readonly client: Client;
  readonly handle: Handle;
  readonly seq: number;

  private constructor(client: Client, handle: Handle, seq: number) {
    this.client = client;
    this.handle = handle;
    this.seq = seq;
  }

  /** The present moment. The engine keeps it until `close`. */
  static async begin(client: Client, signal: AbortSignal | undefined): Promise<Moment> {
    const handle = new Handle(Op.snapshotClose);
    const seq = await client.open(handle, Op.snapshot, 0, () => undefined, signal);
    return new Moment(client, handle, seq);
  }

  /** The id to read by. Throws where the moment is not kept any more. */
  get id(): number {
    if (this.handle.isClosed) throw this.handle.error;
    return this.handle.id;
  }

  close(error: unknown): Promise<void> {
    return this.client.closeHandle(this.handle, error);
  }
}

const FORGOTTEN = 'a snapshot was never closed; call its close(), or declare it with await using';

/**
 * The store, or a namespace of it, as it was when the snapshot was made. Made by `db.snapshot()`.
 *
 * The engine keeps whatever is deleted or written over in the meantime until the snapshot is closed: close it, or declare it with `await using`. After
 * `close` its calls reject with `TEMPEST_CLOSED`; passes that have begun go on.
 *
 * @typeParam K - Keys.
 * @typeParam V - Values.
 */
export class Snapshot<K = string, V = unknown> {
  /** The sequence number of the last write that it shows. */
  readonly seq: number;

  readonly #moment: Moment;
  readonly #space: Space;

  private constructor(moment: Moment, space: Space) {
    this.seq = moment.seq;
    this.#moment = moment;
    this.#space = space;
  }

  /** @internal */
  static async of<K, V>(client: Client, space: Space, signal: AbortSignal | undefined): Promise<Snapshot<K, V>> {
    const moment = await Moment.begin(client, signal);
    // Until then the engine keeps whatever was deleted since.
    closeWhenCollected(moment, client, moment.handle, FORGOTTEN);
    return new Snapshot<K, V>(moment, space);
  }

  /** The same moment of another namespace of the database, or of the database itself. It is closed with this one. */
  in<K2, V2>(namespace: Namespace<K2, V2>): Snapshot<K2, V2> {
    return new Snapshot<K2, V2>(this.#moment, namespace._spaceFor(this.#moment.client));
  }

  /** The value under a key; `undefined` where there was none. */
  async get<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    key: KeyInput<KeyFor<KE, K>>,
    options?: ReadOptions<KE, VE>,
  ): Promise<ValueFor<VE, V> | undefined> {
    const signal = signalOf(options, READ_NAMES);
    return (await get(this.#moment.client, this.#space.with(options), key, signal, this.#moment.id)) as ValueFor<VE, V> | undefined;
  }

  /** The values under several keys, in the order of the keys; `undefined` where there was none. */
  async getMany<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    keys: readonly KeyInput<KeyFor<KE, K>>[],
    options?: ReadOptions<KE, VE>,
  ): Promise<(ValueFor<VE, V> | undefined)[]> {
    const signal = signalOf(options, READ_NAMES);
    return (await getMany(this.#moment.client, this.#space.with(options), keys, signal, this.#moment.id)) as (ValueFor<VE, V> | undefined)[];
  }

  /** The entries of a range, as `db.scan` gives them. */
  scan<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>(
    range: ScanOptions<KeyInput<KeyFor<KE, K>>, KE, VE> = {},
  ): Scan<[KeyFor<KE, K>, ValueFor<VE, V>], KeyFor<KE, K>, ValueFor<VE, V>> {
    const space = this.#space.with(range as Encodings);
    const bounds = boundsOf(range, space, SCAN_NAMES);
    const { signal } = range;
    checkSignal(signal);
    const moment = this.#moment;
    return new Scan((mode, runBytes) => new Cursor(moment.client, space, bounds, mode, runBytes, signal, moment.id), 'entries');
  }

  /** How many entries a range had. */
  async count<KE extends KeyEncoding | undefined = undefined>(range: RangeOptions<KeyInput<KeyFor<KE, K>>, KE> = {}): Promise<number> {
    const bounds = boundsOf(range, this.#space.with(range as Encodings), COUNT_NAMES);
    return measure(this.#moment.client, Op.count, bounds, signalOf({ signal: range.signal }), this.#moment.id);
  }

  /** Lets the moment go, for all namespaces. A second time is no error. */
  close(): Promise<void> {
    return this.#moment.close(new TempestError('TEMPEST_CLOSED', 'the snapshot is closed'));
  }

  /** Closes the snapshot, at the end of a block that declared it with `await using`. */
  [asyncDispose](): Promise<void> {
    return this.close();
  }
}


// Watches: the commits to a store, as they come.

import { type Client, closeWhenCollected, Handle } from './client.js';
import type { Encodings, KeyEncoding, ValueEncoding } from './encodings.js';
import { TempestError } from './errors.js';
import { type BodyReader, GAP, Kind, Op, readU64, WatchFlag } from './frames.js';
import { MAX_RUN_BYTES } from './limits.js';
import type { CallOptions, KeyInput } from './namespace.js';
import { type Bounds, boundsOfKey, covers, type Span, writeBounds } from './range.js';
import { asyncDispose } from './scan.js';
import type { Space } from './space.js';
import { sequenceOf } from './writes.js';

/** How a watch watches. */
export interface WatchOptions<KE extends KeyEncoding | undefined = undefined, VE extends ValueEncoding<any> | undefined = undefined>
  extends CallOptions,
    Encodings<KE, VE> {
  /** Begin behind this commit: the `seq` of the last one that was dealt with. Begins with the next commit by default. */
  since?: number | undefined;

  /** Tell what was put, not only where: false by default. */
  values?: boolean | undefined;
}

export const WATCH_NAMES: ReadonlySet<string> = new Set(['since', 'values', 'signal', 'keyEncoding', 'valueEncoding']);

/** One change of a commit. */
export type Change<K, V> =
  | {
      readonly type: 'put';
      readonly key: K;
      /** What was put, where the watch was asked for values. */
      readonly value?: V;
      /** When the entry is gone, in milliseconds since 1970, where it was put with a time to live. */
      readonly expiresAt?: number;
    }
  | { readonly type: 'delete'; readonly key: K }
  | {
      /** All entries of a range were removed. */
      readonly type: 'clear';
      /** Whether a key lay in that range. */
      covers(key: KeyInput<K>): boolean;
    };

/** A commit: what one write changed, or several that were committed together. */
export interface Commit<K, V> {
  /** The sequence number of its last operation: a watch with this as `since` goes on behind it. */
  readonly seq: number;

  /** What of it was watched, in the order it was done. */
  readonly changes: readonly Change<K, V>[];

  /**
   * Commits up to `seq` were lost to this watch, and it has no changes: the watch was too slow, or `since` was older than what the log keeps. Read anew
   * whatever is derived from what is watched.
   */
  readonly gap: boolean;
}

/** The range in which nothing lies but a key. */
export function watchedBy(space: Space, key: unknown): Bounds {
  return boundsOfKey(space.encodeKey(key));
}

/**
 * The commits that touch some part of a store, in their order, each exactly once: what `db.watch()` returns. It is iterated once.
 *
 * The engine keeps a bounded number of commits for a watch that nobody reads from. Where that overflows, and where `since` is older than the log, the
 * watch tells of a gap by a commit whose `gap` is true, and goes on behind it. Leaving a `for await` early ends the watch; so does an
 * abort of its signal, with which it then rejects, and closing the store, which makes it reject with `TEMPEST_CLOSED`.
 *
 * What is gone because its time to live was over is no commit.
 *
 * @typeParam K - Keys.
 * @typeParam V - Values.
 */
export class Watch<K = string, V = unknown> implements AsyncIterableIterator<Commit<K, V>, undefined> {
  readonly #client: Client;
  readonly #space: Space;
  readonly #hasValues: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #handle: Handle;
  readonly #opened: Promise<number>;

  /** Commits that came and were not asked for yet, the next one last. */
  #commits: Commit<K, V>[] = [];
  #turn: Promise<unknown> = Promise.resolve();
  #isDone = false;

  /** @internal */
  constructor(client: Client, space: Space, ranges: readonly Bounds[], options: WatchOptions<any, any>, signal: AbortSignal | undefined) {
    const { since, values = false } = options;
    if (since !== undefined) sequenceOf(since, 'since');
    if (typeof values !== 'boolean') throw new TypeError('values must be a boolean');
    this.#client = client;
    this.#space = space;
    this.#hasValues = values;
    this.#signal = signal;
    const asked = ranges.filter(({ isEmpty }) => !isEmpty);
    const flags = (since === undefined ? 0 : WatchFlag.hasSince) | (values ? WatchFlag.withValues : 0);
    this.#isDone = asked.length === 0;
    this.#handle = new Handle(Op.watchClose, since === undefined);
    this.#opened = this.#isDone ? Promise.resolve(0) : openWatch(client, this.#handle, flags, since ?? 0, asked, signal);
    // `next` tells.
    this.#opened.catch(() => undefined);
    closeWhenCollected(this, client, this.#handle);
  }

  next(): Promise<IteratorResult<Commit<K, V>, undefined>> {
    const result = this.#turn.then(() => this.#next());
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #next(): Promise<IteratorResult<Commit<K, V>, undefined>> {
    try {
      for (;;) {
        if (this.#isDone) return { done: true, value: undefined };
        this.#signal?.throwIfAborted();
        const commit = this.#commits.pop();
        if (commit !== undefined) return { done: false, value: commit };
        await this.#opened;
        if (this.#handle.isClosed && !this.#isDone) throw this.#handle.error;
        this.#commits = await nextCommits(this.#client, this.#handle, MAX_RUN_BYTES, (body, flags) => this.#decode(body, flags), this.#signal);
      }
    } catch (error) {
      // The engine's answer to whoever waits when the watch is closed.
      if (this.#isDone) return { done: true, value: undefined };
      void this.#close();
      throw error;
    }
  }

  #decode(body: BodyReader, flags: number): Commit<K, V>[] {
    const commits: Commit<K, V>[] = [];
    if ((flags & GAP) !== 0) commits.push({ seq: body.u64(), changes: [], gap: true });
    while (!body.isDone) {
      const seq = body.u64();
      const changes: Change<K, V>[] = [];
      for (let left = body.u32(); left > 0; left--) {
        const change = this.#change(body);
        if (change !== undefined) changes.push(change);
      }
      if (changes.length > 0) commits.push({ seq, changes, gap: false });
    }
    return commits.reverse();
  }

  #change(body: BodyReader): Change<K, V> | undefined {
    const space = this.#space;
    const kind = body.u8();
    const stored = body.sized();
    const rest = kind === Kind.clear || (this.#hasValues && kind !== Kind.delete) ? body.sized() : undefined;
    if (kind === Kind.clear) {
      const span: Span = { start: stored.slice(), end: rest!.slice() };
      return { type: 'clear', covers: (key) => covers(span, space.encodeKey(key)) };
    }
    if (!space.has(stored)) return undefined;
    const key = space.readKey(stored, 0, stored.length) as K;
    if (kind === Kind.delete) return { type: 'delete', key };
    if (rest === undefined) return { type: 'put', key };
    if (kind === Kind.put) return { type: 'put', key, value: space.values.read(rest, 0, rest.length) as V };
    return { type: 'put', key, value: space.values.read(rest, 8, rest.length) as V, expiresAt: readU64(rest, 0) };
  }

  #close(): Promise<void> {
    this.#isDone = true;
    this.#commits = [];
    return this.#client.closeHandle(this.#handle, new TempestError('TEMPEST_CLOSED', 'the watch is closed'));
  }

  /** Ends the watch. */
  async return(): Promise<IteratorResult<Commit<K, V>, undefined>> {
    await this.#close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends the watch, at the end of a block that declared it with `await using`. */
  async [asyncDispose](): Promise<void> {
    await this.#close();
  }
}

/** Opens a watch of some ranges, and resolves to the commit behind which it begins. */
export function openWatch(
  client: Client,
  handle: Handle,
  flags: number,
  since: number,
  ranges: readonly Bounds[],
  signal: AbortSignal | undefined,
): Promise<number> {
  return client.open(
    handle,
    Op.watch,
    flags,
    (writer) => {
      writer.u64(since);
      writer.u32(ranges.length);
      for (const range of ranges) writeBounds(writer, range);
    },
    signal,
  );
}

/** Waits for commits to an open watch, and decodes them. */
export function nextCommits<T>(
  client: Client,
  { id }: Handle,
  mostBytes: number,
  decode: (body: BodyReader, flags: number) => T,
  signal: AbortSignal | undefined,
): Promise<T> {
  return client.ask(
    Op.watchNext,
    0,
    (writer) => {
      writer.u32(id);
      writer.u32(mostBytes);
    },
    decode,
    signal,
  );
}

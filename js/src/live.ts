// Live queries: a function of the store, run again when what it has read has changed.

import { type Client, Handle } from './client.js';
import { TempestError } from './errors.js';
import { Op, WatchFlag } from './frames.js';
import type { CallOptions } from './namespace.js';
import { abortable } from './options.js';
import type { Bounds } from './range.js';
import { asyncDispose } from './scan.js';
import { Moment } from './snapshot.js';
import type { Space } from './space.js';
import { dependenciesOf, Run, View } from './transaction.js';
import { nextCommits, openWatch } from './watch.js';

/** For `liveQuery`. */
export interface LiveQueryOptions extends CallOptions {}

/**
 * The results of a query, the present one first and then one after each change to what it has read: what `db.liveQuery()` returns. It is iterated once.
 *
 * The query runs when a result is asked for, so a reader that is slow gets fewer results, and never an old one. What the query throws ends the
 * iteration with that error. Leaving a `for await` early, an abort of the signal and closing the store end it as they end a watch. That an entry's time
 * to live is over is no change.
 */
export class LiveQuery<T> implements AsyncIterableIterator<T, undefined> {
  readonly #client: Client;
  readonly #space: Space;
  readonly #query: (view: View) => T | PromiseLike<T>;
  readonly #signal: AbortSignal | undefined;

  /** What the last run has read, and when; `undefined` before the first. */
  #last: { readonly seq: number; readonly read: readonly Bounds[] } | undefined;

  /** The watch that `next` waits for. */
  #handle: Handle | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #isDone = false;

  /** @internal */
  constructor(client: Client, space: Space, query: (view: View) => T | PromiseLike<T>, signal: AbortSignal | undefined) {
    this.#client = client;
    this.#space = space;
    this.#query = query;
    this.#signal = signal;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const result = this.#turn.then(() => this.#next());
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #next(): Promise<IteratorResult<T, undefined>> {
    try {
      if (!this.#isDone && this.#last !== undefined) await this.#changed(this.#last.seq, this.#last.read);
      if (this.#isDone) return { done: true, value: undefined };
      const value = await this.#run();
      return { done: false, value };
    } catch (error) {
      if (this.#isDone) return { done: true, value: undefined };
      this.#isDone = true;
      throw error;
    }
  }

  async #run(): Promise<T> {
    const signal = this.#signal;
    signal?.throwIfAborted();
    const moment = await Moment.begin(this.#client, signal);
    const run = new Run(moment);
    try {
      const value = await abortable((async () => this.#query(new View(run, this.#space)))(), signal);
      this.#last = { seq: moment.seq, read: dependenciesOf(run) };
      return value;
    } finally {
      run.end("the query's view");
      void moment.close(undefined);
    }
  }

  /** Waits until something in `ranges` is written after `seq`; a gap in what is known of that counts. */
  async #changed(seq: number, ranges: readonly Bounds[]): Promise<void> {
    if (ranges.length === 0) {
      this.#isDone = true;
      return;
    }
    const client = this.#client;
    const handle = (this.#handle = new Handle(Op.watchClose));
    try {
      await openWatch(client, handle, WatchFlag.hasSince, seq, ranges, this.#signal);
      if (handle.isClosed) throw handle.error;
      await nextCommits(client, handle, 1, () => undefined, this.#signal);
    } finally {
      this.#handle = undefined;
      void client.closeHandle(handle, undefined);
    }
  }

  /** Ends the query. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.#isDone = true;
    if (this.#handle !== undefined) await this.#client.closeHandle(this.#handle, new TempestError('TEMPEST_CLOSED', 'the query has ended'));
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends the query, at the end of a block that declared it with `await using`. */
  async [asyncDispose](): Promise<void> {
    await this.return();
  }
}

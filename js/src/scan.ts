// Scans: the entries of a range, in order, in runs that the engine sends as they are asked for.

import { type Client } from './client.js';
import { TempestError } from './errors.js';
import { BodyReader, type FrameWriter, ScanFlag } from './frames.js';
import { MAX_RUN_BYTES, MIN_RUN_BYTES } from './limits.js';
import { onAbort } from './options.js';
import type { Bounds } from './range.js';

/** What a scan makes of an entry. */
export type ScanMode = 'entries' | 'keys' | 'values';

/**
 * One pass over a range. It holds the run being read and at most one more, asked for as soon as the first is taken up.
 *
 * The client's table and the signal refer to a cursor until its reader has come to the end, for until then the pass can be ended. The cursor
 * refers to no reader: the iterator in front of it can be collected.
 */
export class Cursor {
  /** Names the scan; set by the client. */
  id = 0;

  /** The `scan` request has been answered. */
  isAnswered = false;

  /** The engine has closed the scan. */
  isOver = false;

  /** The id is free again. */
  isReleased = false;

  readonly #client: Client;
  readonly #bounds: Bounds;
  readonly #mode: ScanMode;
  #run: BodyReader | undefined;
  #next: BodyReader | undefined;
  #hasAsked = false;
  #isLast = false;
  #isClosed = false;
  #error: unknown;
  #runBytes: number;
  #wake: (() => void) | undefined;
  #unwatch: (() => void) | undefined;

  constructor(client: Client, bounds: Bounds, mode: ScanMode, runBytes: number, signal: AbortSignal | undefined) {
    this.#client = client;
    this.#bounds = bounds;
    this.#mode = mode;
    this.#runBytes = bounds.limit > 0 ? MAX_RUN_BYTES : runBytes;
    signal?.throwIfAborted();
    if (bounds.isEmpty) {
      client.checkOpen();
      this.#isLast = true;
      this.#isClosed = true;
      return;
    }
    this.#hasAsked = true;
    client.openScan(this, bounds.flags | (mode === 'keys' ? ScanFlag.keysOnly : 0));
    if (signal !== undefined) {
      this.#unwatch = onAbort(signal, () => {
        this.close();
        this.fail(signal.reason);
      });
    }
  }

  /** Whether it is to be closed when its reader is collected. */
  get closesDropped(): boolean {
    return this.#client.closesDropped;
  }

  /** Writes the body of the `scan` request. */
  writeRequest(writer: FrameWriter): void {
    const { limit, lower, upper } = this.#bounds;
    writer.u32(limit);
    writer.u32(this.#runBytes);
    writer.sized(lower ?? NO_BYTES);
    writer.sized(upper ?? NO_BYTES);
  }

  /** Whether an entry can be read without waiting. Throws the error of a scan that failed. */
  get isReady(): boolean {
    if (this.#error !== undefined) throw this.#error;
    return (this.#run !== undefined && !this.#run.isDone) || this.#takeNext();
  }

  /** Goes over to the next run, where it is here, and asks for the one behind it. */
  #takeNext(): boolean {
    const run = this.#next;
    this.#run = run;
    this.#next = undefined;
    if (run === undefined) return false;
    if (!this.#isLast) {
      this.#runBytes = Math.min(this.#runBytes * 4, MAX_RUN_BYTES);
      this.#hasAsked = true;
      this.#client.nextRun(this, this.#runBytes);
    }
    return true;
  }

  /** Reads the entry that `isReady` promised. */
  read(): unknown {
    const run = this.#run!;
    const { bytes } = run;
    const keySize = run.varint();
    const key = run.skip(keySize);
    const valueSize = run.varint();
    const value = run.skip(valueSize);
    switch (this.#mode) {
      case 'keys':
        return this.#client.keys.read(bytes, key, key + keySize);
      case 'values':
        return this.#client.values.read(bytes, value, value + valueSize);
      default:
        return [this.#client.keys.read(bytes, key, key + keySize), this.#client.values.read(bytes, value, value + valueSize)];
    }
  }

  /** Steps over the entries of the run at hand and returns their count. */
  skipRun(): number {
    const run = this.#run!;
    let count = 0;
    for (; !run.isDone; count++) {
      run.skip(run.varint());
      run.skip(run.varint());
    }
    return count;
  }

  /** Waits for more; false where the scan has ended. Rejects where it failed. */
  async more(): Promise<boolean> {
    for (;;) {
      if (this.isReady) return true;
      if (!this.#hasAsked) return false;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Takes a run, which belongs to the cursor from now on. */
  push(bytes: Uint8Array, start: number, end: number, isLast: boolean): void {
    if (this.#isClosed) return;
    this.#hasAsked = false;
    this.#isLast = isLast;
    if (end > start) this.#next = new BodyReader(bytes, start, end);
    this.#awaken();
  }

  /** Ends the scan with an error: every later read throws it. The client sees to the engine. */
  fail(error: unknown): void {
    this.#error ??= error;
    this.#hasAsked = false;
    this.#end();
    this.#drop();
    this.#awaken();
  }

  /** Ends the scan, and where it has not come to its end there, in the engine too. A second time does nothing. */
  close(): void {
    const wasOpen = !this.#isClosed;
    this.#end();
    this.#drop();
    this.#hasAsked = false;
    if (wasOpen) this.#client.closeScan(this);
    this.#awaken();
  }

  #drop(): void {
    this.#run = undefined;
    this.#next = undefined;
  }

  #end(): void {
    this.#isClosed = true;
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  #awaken(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

const NO_BYTES = new Uint8Array(0);

/** The name of the method that `await using` calls; a host without it gets the method under a name of our own. */
export const asyncDispose: typeof Symbol.asyncDispose = ((Symbol as { asyncDispose?: symbol }).asyncDispose ??
  Symbol.for('Symbol.asyncDispose')) as typeof Symbol.asyncDispose;

let abandoned: FinalizationRegistry<Cursor> | undefined;

/** Closes the scan of an iterator that is dropped without `return`. */
function watch(iterator: object, cursor: Cursor): void {
  if (typeof FinalizationRegistry === 'undefined' || !cursor.closesDropped) return;
  abandoned ??= new FinalizationRegistry((dropped) => dropped.close());
  abandoned.register(iterator, cursor, iterator);
}

/** The iterator of a scan. `next` costs no wait while there are entries at hand. */
class ScanIterator<T> implements AsyncIterableIterator<T, undefined> {
  readonly #cursors: Set<Cursor>;
  readonly #start: () => Cursor;
  #cursor: Cursor | undefined;
  #isDone = false;

  /** The last `next` that had to wait; the ones after it queue up behind it. */
  #pending: Promise<void> | undefined;
  #waitingCount = 0;
  readonly #onSettled = () => {
    if (--this.#waitingCount === 0) this.#pending = undefined;
  };

  constructor(cursors: Set<Cursor>, start: () => Cursor) {
    this.#cursors = cursors;
    this.#start = start;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#pending !== undefined) return this.#wait(this.#pending);
    if (this.#isDone) return Promise.resolve({ done: true, value: undefined });
    try {
      const cursor = (this.#cursor ??= this.#open());
      if (cursor.isReady) return Promise.resolve({ done: false, value: cursor.read() as T });
    } catch (error) {
      return this.#failed(error);
    }
    return this.#wait(undefined);
  }

  #wait(earlier: Promise<unknown> | undefined): Promise<IteratorResult<T, undefined>> {
    const result = this.#waitBehind(earlier);
    this.#waitingCount++;
    this.#pending = result.then(this.#onSettled, this.#onSettled);
    return result;
  }

  async #waitBehind(earlier: Promise<unknown> | undefined): Promise<IteratorResult<T, undefined>> {
    await earlier;
    if (this.#isDone) return { done: true, value: undefined };
    try {
      if (await this.#cursor!.more()) return { done: false, value: this.#cursor!.read() as T };
    } catch (error) {
      return this.#failed(error);
    }
    this.#finish();
    return { done: true, value: undefined };
  }

  #open(): Cursor {
    const cursor = this.#start();
    this.#cursors.add(cursor);
    watch(this, cursor);
    return cursor;
  }

  #failed(error: unknown): Promise<never> {
    this.#finish();
    return Promise.reject(error);
  }

  #finish(): void {
    this.#isDone = true;
    const cursor = this.#cursor;
    if (cursor === undefined) return;
    this.#cursors.delete(cursor);
    abandoned?.unregister(this);
    cursor.close();
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#finish();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [asyncDispose](): Promise<void> {
    await this.return();
  }
}

/**
 * The entries of a range, in the order of their keys' bytes: what `db.scan()` returns.
 *
 * A scan does nothing until it is iterated. Each iteration (`for await`, `toArray`, `count`) is a pass of its own over the store as it was
 * when that pass began, to its end: writes made in the meantime are not seen. Entries come in runs and the next run is asked for while one is
 * worked on, so a pass holds two runs of at most 256 KiB, and a reader that stands still holds up nobody.
 *
 * Leaving a `for await` early, by `break`, `return` or an error, ends the pass and frees what the engine held for it; so does an abort of the
 * range's `signal`, with which the pass then rejects, and closing the store, which makes it reject with `TEMPEST_CLOSED`. A store has at most
 * 64 passes open at once; one more rejects with `TEMPEST_BUSY`.
 *
 * @typeParam T - What the scan yields: `[key, value]`, or only one of them.
 */
export class Scan<T, K = unknown, V = unknown> implements AsyncIterable<T> {
  readonly #client: Client;
  readonly #bounds: Bounds;
  readonly #mode: ScanMode;
  readonly #signal: AbortSignal | undefined;
  readonly #cursors = new Set<Cursor>();

  /** @internal */
  constructor(client: Client, bounds: Bounds, mode: ScanMode, signal: AbortSignal | undefined) {
    this.#client = client;
    this.#bounds = bounds;
    this.#mode = mode;
    this.#signal = signal;
  }

  /** The same range, keys only. Values are then not even sent. */
  keys(): Scan<K, K, V> {
    return new Scan(this.#client, this.#bounds, 'keys', this.#signal);
  }

  /** The same range, values only. */
  values(): Scan<V, K, V> {
    return new Scan(this.#client, this.#bounds, 'values', this.#signal);
  }

  /** Everything in the range, as an array. */
  async toArray(): Promise<T[]> {
    const items: T[] = [];
    await this.#consume(this.#mode, (cursor) => {
      while (cursor.isReady) items.push(cursor.read() as T);
    });
    return items;
  }

  /** How many entries the range has, at most its limit. */
  async count(): Promise<number> {
    let count = 0;
    await this.#consume('keys', (cursor) => {
      while (cursor.isReady) count += cursor.skipRun();
    });
    return count;
  }

  async #consume(mode: ScanMode, take: (cursor: Cursor) => void): Promise<void> {
    const cursor = new Cursor(this.#client, this.#bounds, mode, MAX_RUN_BYTES, this.#signal);
    this.#cursors.add(cursor);
    try {
      while (await cursor.more()) take(cursor);
    } finally {
      this.#cursors.delete(cursor);
      cursor.close();
    }
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    return new ScanIterator<T>(
      this.#cursors,
      () => new Cursor(this.#client, this.#bounds, this.#mode, MIN_RUN_BYTES, this.#signal),
    );
  }

  /** Ends every pass over this scan that is under way; theirs reject with `TEMPEST_CLOSED`. */
  [asyncDispose](): Promise<void> {
    for (const cursor of this.#cursors) {
      cursor.close();
      cursor.fail(new TempestError('TEMPEST_CLOSED', 'the scan is closed'));
    }
    this.#cursors.clear();
    return Promise.resolve();
  }
}

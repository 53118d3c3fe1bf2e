// Scans: the entries of a range, in order, in runs that the engine sends as they are asked for.

import { type Client } from './client.js';
import { TempestError } from './errors.js';
import { BodyReader, type FrameWriter, ScanFlag } from './frames.js';
import { MAX_RUN_BYTES, MIN_RUN_BYTES } from './limits.js';
import { onAbort } from './options.js';
import { type Bounds, writeRange } from './range.js';
import type { Space } from './space.js';

/** Where an entry's key and value lie in a run. */
export interface Entry {
  bytes: Uint8Array;
  key: number;
  keyEnd: number;
  value: number;
  valueEnd: number;
}

const NO_BYTES = new Uint8Array(0);

/** What a scan makes of an entry. */
export type ScanMode = 'entries' | 'keys' | 'values';

/** One walk over a range from its one end towards the other. */
export interface Pass {
  /** Whether an entry can be read without waiting. Throws the error of a pass that failed. */
  readonly isReady: boolean;

  /** Whether it is to be closed when its reader is collected. */
  readonly closesDropped: boolean;

  /** Reads the entry that `isReady` promised. */
  read(): unknown;

  /** Steps over some of the entries that need no waiting for, at least the one that `isReady` promised, and returns their count. */
  skip(): number;

  /** Waits for more; false where the pass has come to its end. Rejects where it failed. */
  more(): Promise<boolean>;

  /** Ends the pass with an error: every later read throws it. */
  fail(error: unknown): void;

  /** Ends the pass. A second time does nothing. */
  close(): void;
}

/** Begins passes over one range. */
export type StartPass = (mode: ScanMode, runBytes: number) => Pass;

/**
 * A pass over the store, as it is or at a snapshot. It holds the run being read and at most one more, asked for as soon as the first is taken up.
 *
 * The client's table and the signal refer to a cursor until its reader has come to the end, for until then the pass can be ended. The cursor
 * refers to no reader: the iterator in front of it can be collected.
 */
export class Cursor implements Pass {
  /** Names the scan; set by the client. */
  id = 0;

  /** The `scan` request has been answered. */
  isAnswered = false;

  /** The engine has closed the scan. */
  isOver = false;

  /** The id is free again. */
  isReleased = false;

  readonly #client: Client;
  readonly #space: Space;
  readonly #bounds: Bounds;
  readonly #mode: ScanMode;
  readonly #snapshot: number | undefined;
  readonly #entry: Entry = { bytes: NO_BYTES, key: 0, keyEnd: 0, value: 0, valueEnd: 0 };
  #run: BodyReader | undefined;
  #next: BodyReader | undefined;
  #hasAsked = false;
  #isLast = false;
  #isClosed = false;
  #error: unknown;
  #runBytes: number;
  #wake: (() => void) | undefined;
  #unwatch: (() => void) | undefined;

  constructor(
    client: Client,
    space: Space,
    bounds: Bounds,
    mode: ScanMode,
    runBytes: number,
    signal: AbortSignal | undefined,
    snapshot?: number,
  ) {
    this.#client = client;
    this.#space = space;
    this.#bounds = bounds;
    this.#mode = mode;
    this.#snapshot = snapshot;
    this.#runBytes = bounds.limit > 0 ? MAX_RUN_BYTES : runBytes;
    signal?.throwIfAborted();
    if (bounds.isEmpty) {
      client.checkOpen();
      this.#isLast = true;
      this.#isClosed = true;
      return;
    }
    this.#hasAsked = true;
    client.openScan(this, bounds.flags | (mode === 'keys' ? ScanFlag.keysOnly : 0) | (snapshot === undefined ? 0 : ScanFlag.atSnapshot));
    if (signal !== undefined) {
      this.#unwatch = onAbort(signal, () => {
        this.close();
        this.fail(signal.reason);
      });
    }
  }

  get closesDropped(): boolean {
    return this.#client.closesDropped;
  }

  /** Writes the body of the `scan` request. */
  writeRequest(writer: FrameWriter): void {
    if (this.#snapshot !== undefined) writer.u32(this.#snapshot);
    writer.u32(this.#bounds.limit);
    writer.u32(this.#runBytes);
    writeRange(writer, this.#bounds);
  }

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

  /** Whether the pass has come to its end, as `more` would tell. */
  get isDone(): boolean {
    return !this.isReady && !this.#hasAsked;
  }

  read(): unknown {
    const entry = this.take();
    const space = this.#space;
    switch (this.#mode) {
      case 'keys':
        return space.readKey(entry.bytes, entry.key, entry.keyEnd);
      case 'values':
        return space.values.read(entry.bytes, entry.value, entry.valueEnd);
      default:
        return [space.readKey(entry.bytes, entry.key, entry.keyEnd), space.values.read(entry.bytes, entry.value, entry.valueEnd)];
    }
  }

  /** Takes the entry that `isReady` promised, without decoding it. The result is the cursor's, and good until the next. */
  take(): Entry {
    const run = this.#run!;
    const entry = this.#entry;
    entry.bytes = run.bytes;
    let size = run.varint();
    entry.key = run.skip(size);
    entry.keyEnd = entry.key + size;
    size = run.varint();
    entry.value = run.skip(size);
    entry.valueEnd = entry.value + size;
    return entry;
  }

  /** Steps over the run at hand. */
  skip(): number {
    const run = this.#run!;
    let count = 0;
    for (; !run.isDone; count++) {
      run.skip(run.varint());
      run.skip(run.varint());
    }
    return count;
  }

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

  /** Ends the pass with an error: every later read throws it. The client sees to the engine. */
  fail(error: unknown): void {
    this.#error ??= error;
    this.#hasAsked = false;
    this.#end();
    this.#drop();
    this.#awaken();
  }

  /** Ends the pass, and where it has not come to its end there, in the engine too. A second time does nothing. */
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

/** The name of the method that `await using` calls; a host without it gets the method under a name of our own. */
export const asyncDispose: typeof Symbol.asyncDispose = ((Symbol as { asyncDispose?: symbol }).asyncDispose ??
  Symbol.for('Symbol.asyncDispose')) as typeof Symbol.asyncDispose;

let abandoned: FinalizationRegistry<Pass> | undefined;

/** Closes the pass of an iterator that is dropped without `return`. */
function watch(iterator: object, pass: Pass): void {
  if (typeof FinalizationRegistry === 'undefined' || !pass.closesDropped) return;
  abandoned ??= new FinalizationRegistry((dropped) => dropped.close());
  abandoned.register(iterator, pass, iterator);
}

/** The iterator of a scan. `next` costs no wait while there are entries at hand. */
class ScanIterator<T> implements AsyncIterableIterator<T, undefined> {
  readonly #passes: Set<Pass>;
  readonly #start: () => Pass;
  #pass: Pass | undefined;
  #isDone = false;

  /** The last `next` that had to wait; the ones after it queue up behind it. */
  #pending: Promise<void> | undefined;
  #waitingCount = 0;
  readonly #onSettled = () => {
    if (--this.#waitingCount === 0) this.#pending = undefined;
  };

  constructor(passes: Set<Pass>, start: () => Pass) {
    this.#passes = passes;
    this.#start = start;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#pending !== undefined) return this.#wait(this.#pending);
    if (this.#isDone) return Promise.resolve({ done: true, value: undefined });
    try {
      const pass = (this.#pass ??= this.#open());
      if (pass.isReady) return Promise.resolve({ done: false, value: pass.read() as T });
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
      if (await this.#pass!.more()) return { done: false, value: this.#pass!.read() as T };
    } catch (error) {
      return this.#failed(error);
    }
    this.#finish();
    return { done: true, value: undefined };
  }

  #open(): Pass {
    const pass = this.#start();
    this.#passes.add(pass);
    watch(this, pass);
    return pass;
  }

  #failed(error: unknown): Promise<never> {
    this.#finish();
    return Promise.reject(error);
  }

  #finish(): void {
    this.#isDone = true;
    const pass = this.#pass;
    if (pass === undefined) return;
    this.#passes.delete(pass);
    abandoned?.unregister(this);
    pass.close();
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
  readonly #start: StartPass;
  readonly #mode: ScanMode;
  readonly #passes = new Set<Pass>();

  /** @internal */
  constructor(start: StartPass, mode: ScanMode) {
    this.#start = start;
    this.#mode = mode;
  }

  /** The same range, keys only. Values are then not even sent. */
  keys(): Scan<K, K, V> {
    return new Scan(this.#start, 'keys');
  }

  /** The same range, values only. */
  values(): Scan<V, K, V> {
    return new Scan(this.#start, 'values');
  }

  /** Everything in the range, as an array. */
  async toArray(): Promise<T[]> {
    const items: T[] = [];
    await this.#consume(this.#mode, (pass) => {
      while (pass.isReady) items.push(pass.read() as T);
    });
    return items;
  }

  /** How many entries the range has, at most its limit. */
  async count(): Promise<number> {
    let count = 0;
    await this.#consume('keys', (pass) => {
      while (pass.isReady) count += pass.skip();
    });
    return count;
  }

  async #consume(mode: ScanMode, take: (pass: Pass) => void): Promise<void> {
    const pass = this.#start(mode, MAX_RUN_BYTES);
    this.#passes.add(pass);
    try {
      while (await pass.more()) take(pass);
    } finally {
      this.#passes.delete(pass);
      pass.close();
    }
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    return new ScanIterator<T>(this.#passes, () => this.#start(this.#mode, MIN_RUN_BYTES));
  }

  /** Ends every pass over this scan that is under way; theirs reject with `TEMPEST_CLOSED`. */
  [asyncDispose](): Promise<void> {
    for (const pass of this.#passes) {
      pass.close();
      pass.fail(new TempestError('TEMPEST_CLOSED', 'the scan is closed'));
    }
    this.#passes.clear();
    return Promise.resolve();
  }
}

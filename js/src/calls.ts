// The calls under way: a promise each, in slots named by the call's id. Parallel arrays instead of an object a call.

import { onAbort } from './options.js';

type Resolve = (value: unknown) => void;
type Reject = (reason: unknown) => void;

/** What to do with the reply to a call. What its owner is depends on it. */
export const Kind = {
  /** Nothing waits for it any more. The owner is a handle, where one was to be opened. */
  abandoned: 0,
  /** A value; the owner is its codec. */
  value: 1,
  /** Several values; the owner is their codec. */
  values: 2,
  sequence: 3,
  nothing: 4,
  /** The owner is a function of the reply, which decodes it. */
  other: 5,
  /** The owner is the handle that was to be opened. */
  handle: 6,
  /** The slot of an open handle: no reply will come. */
  held: 7,
  /** The owner is the handle that was to be closed. */
  handleClose: 8,
  // The owner of these is a cursor.
  scan: 9,
  scanNext: 10,
  scanClose: 11,
} as const;

// The executor of every promise here, so that none needs a closure of its own.
let takenResolve: Resolve;
let takenReject: Reject;
function take(resolve: Resolve, reject: Reject): void {
  takenResolve = resolve;
  takenReject = reject;
}

function ignore(): void {}

export class Calls {
  readonly #kinds: number[] = [];
  readonly #resolves: Resolve[] = [];
  readonly #rejects: Reject[] = [];
  readonly #owners: unknown[] = [];
  /** What ends the watch over a call's signal. */
  readonly #unwatches: ((() => void) | undefined)[] = [];
  readonly #free: number[] = [];
  #count = 0;
  #whenIdle: (() => void) | undefined;

  /** How many calls are under way, scans that stand open included. */
  get count(): number {
    return this.#count;
  }

  /** Takes a slot; the id is its index. `owner` is for whoever handles the reply. */
  add(kind: number, owner?: unknown): number {
    const id = this.#free.pop() ?? this.#kinds.length;
    this.#kinds[id] = kind;
    this.#resolves[id] = ignore;
    this.#rejects[id] = ignore;
    this.#owners[id] = owner;
    this.#unwatches[id] = undefined;
    this.#count++;
    return id;
  }

  /** The promise of a call. Where `signal` aborts, the promise rejects at once and the reply is dropped when it comes. */
  promise(id: number, signal: AbortSignal | undefined): Promise<unknown> {
    const promise = new Promise(take);
    this.#resolves[id] = takenResolve;
    this.#rejects[id] = takenReject;
    if (signal !== undefined) {
      this.#unwatches[id] = onAbort(signal, () => {
        this.#rejects[id]!(signal.reason);
        this.#kinds[id] = Kind.abandoned;
        this.#resolves[id] = ignore;
        this.#rejects[id] = ignore;
      });
    }
    return promise;
  }

  /** The kind of a call under way; `undefined` where no call has that id. */
  kind(id: number): number | undefined {
    const kind = this.#kinds[id];
    return kind === undefined || kind < 0 ? undefined : kind;
  }

  owner(id: number): unknown {
    return this.#owners[id];
  }

  resolve(id: number, value: unknown): void {
    const resolve = this.#resolves[id]!;
    this.release(id);
    resolve(value);
  }

  reject(id: number, reason: unknown): void {
    const reject = this.#rejects[id]!;
    this.release(id);
    reject(reason);
  }

  /** Resolves the promise of a call and keeps its slot, for what it has opened. */
  hold(id: number, value: unknown): void {
    const resolve = this.#resolves[id]!;
    this.#unwatches[id]?.();
    this.#unwatches[id] = undefined;
    this.#resolves[id] = ignore;
    this.#rejects[id] = ignore;
    this.#kinds[id] = Kind.held;
    resolve(value);
  }

  /** Frees the slot of a call that is over. */
  release(id: number): void {
    this.#unwatches[id]?.();
    this.#kinds[id] = -1;
    this.#resolves[id] = ignore;
    this.#rejects[id] = ignore;
    this.#owners[id] = undefined;
    this.#unwatches[id] = undefined;
    this.#free.push(id);
    if (--this.#count === 0) this.#whenIdle?.();
  }

  /** Resolves when no call is under way. */
  idle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#whenIdle = resolve));
  }

  /** Rejects every call under way. */
  rejectAll(reason: unknown): void {
    for (let id = 0; id < this.#kinds.length; id++) {
      if (this.#kinds[id]! >= 0) this.reject(id, reason);
    }
  }
}

// What the options of calls have in common: names that exist, and a signal.

import { describe } from './errors.js';
import type { CallOptions } from './namespace.js';

const CALL_NAMES: ReadonlySet<string> = new Set(['signal']);

export const READ_NAMES: ReadonlySet<string> = new Set(['signal', 'keyEncoding', 'valueEncoding']);

/** Throws a `TypeError` where `given` is no object, or has a name that is not among `names`: a name misspelt would go unheard. */
export function checkNames(what: string, given: unknown, names: ReadonlySet<string>): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new TypeError(`${what} must be an object, not ${describe(given)}`);
  }
  for (const name in given) {
    if (!names.has(name)) throw new TypeError(`${what} cannot have the name ${JSON.stringify(name)}`);
  }
}

export function checkSignal(signal: unknown): void {
  if (signal === undefined) return;
  const { aborted, addEventListener, throwIfAborted } = (signal ?? {}) as Partial<AbortSignal>;
  if (typeof aborted !== 'boolean' || typeof addEventListener !== 'function' || typeof throwIfAborted !== 'function') {
    throw new TypeError(`signal must be an AbortSignal, not ${describe(signal)}`);
  }
}

/** Checks a call's options, and returns their signal. Throws its reason where it has been aborted already. */
export function signalOf(options: CallOptions | undefined, names = CALL_NAMES): AbortSignal | undefined {
  if (options === undefined) return undefined;
  checkNames('options', options, names);
  const { signal } = options;
  checkSignal(signal);
  signal?.throwIfAborted();
  return signal;
}

/** All that waits for one signal. It is the signal's one listener, for hosts warn of many. */
class Watches extends Set<() => void> {
  handleEvent(): void {
    for (const run of this) run();
  }
}

const watched = new WeakMap<AbortSignal, Watches>();

/** Runs `run` when `signal` aborts, at once where it has, until the function that is returned is called. */
export function onAbort(signal: AbortSignal, run: () => void): () => void {
  if (signal.aborted) {
    run();
    return () => undefined;
  }
  const watches = watched.get(signal) ?? new Watches();
  watched.set(signal, watches);
  if (watches.size === 0) signal.addEventListener('abort', watches);
  watches.add(run);
  return () => {
    watches.delete(run);
    if (watches.size === 0) signal.removeEventListener('abort', watches);
  };
}

/** Settles as `promise` does, or rejects when `signal` aborts; `late` is given what comes after that. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined, late: (value: T) => unknown = () => undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const unwatch = onAbort(signal, () => {
      reject(signal.reason);
      promise.then(late, () => undefined);
    });
    promise.then(resolve, reject).finally(() => unwatch());
  });
}

/** Waits for `millis` milliseconds, or rejects when `signal` aborts. */
export function pause(millis: number, signal: AbortSignal | undefined): Promise<void> {
  return abortable(new Promise((resolve) => setTimeout(resolve, millis)), signal);
}

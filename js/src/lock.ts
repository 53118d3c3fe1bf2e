// One writer a store: the lock that says so, and the wait for it.

import { TempestError } from './errors.js';

/** Gives a lock back. */
export type Unlock = () => void;

/** The error of a store that somebody else has open. */
export function locked(name: string, waitMillis: number): TempestError {
  return new TempestError('TEMPEST_LOCKED', `the store ${JSON.stringify(name)} is open elsewhere; waited ${waitMillis} ms for it`);
}

/**
 * Takes the Web Lock of a store. Where the host has none there is nothing to take: the file itself admits one.
 *
 * Rejects with `TEMPEST_LOCKED` where another holds it longer than `waitMillis`.
 */
export async function lockStore(name: string, waitMillis: number): Promise<Unlock> {
  const locks = (globalThis.navigator as Partial<Navigator> | undefined)?.locks;
  if (locks === undefined) return () => undefined;
  const lockName = `tempestkv:${name}`;
  // Asked first without waiting: a store that is free is had however short the wait is. Also, Chromium loses an abort that comes while a
  // context's first request is on its way; that request is this one, which has no abort.
  const unlock = await new Promise<Unlock | undefined>((resolve, reject) => {
    locks.request(lockName, { ifAvailable: true }, (lock) => (lock === null ? resolve(undefined) : held(resolve))).catch(reject);
  });
  if (unlock !== undefined) return unlock;
  const controller = new AbortController();
  return new Promise<Unlock>((resolve, reject) => {
    let isOver = false;
    const timer = setTimeout(() => {
      isOver = true;
      reject(locked(name, waitMillis));
      controller.abort();
    }, waitMillis);
    locks
      .request(lockName, { signal: controller.signal }, () => {
        clearTimeout(timer);
        return isOver ? undefined : held(resolve);
      })
      .catch((error: unknown) => {
        clearTimeout(timer);
        reject(error);
      });
  });
}

/** Holds a lock until what `resolve` is given is called. */
function held(resolve: (unlock: Unlock) => void): Promise<void> {
  return new Promise((unlock) => resolve(unlock));
}

/** Holds a lock until this context ends. Resolves when it is held, or where the host has no locks. */
export function holdForLife(lockName: string): Promise<void> {
  const locks = (globalThis.navigator as Partial<Navigator> | undefined)?.locks;
  if (locks === undefined) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const forever = new Promise<void>(() => {});
    locks.request(lockName, () => (resolve(), forever)).catch(reject);
  });
}

/**
 * Calls `ended` when the context that holds a lock for life has ended, however it did: no event tells of a worker that closed itself or
 * was ended by its host. Returns a function that calls the watch off.
 */
export function watchLife(lockName: string, ended: () => void): () => void {
  const locks = (globalThis.navigator as Partial<Navigator> | undefined)?.locks;
  const controller = new AbortController();
  locks?.request(lockName, { signal: controller.signal }, ended).catch(() => undefined);
  return () => controller.abort();
}

/** The devices in use, each with what is called when it is free. */
const busy = new WeakMap<object, (() => void)[]>();

/** Takes a device that a caller passed in, as `lockStore` takes a store. */
export async function lockDevice(device: object, name: string, waitMillis: number): Promise<Unlock> {
  const waiting = busy.get(device);
  if (waiting !== undefined) {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(granted), 1);
        reject(locked(name, waitMillis));
      }, waitMillis);
      const granted = () => {
        clearTimeout(timer);
        resolve();
      };
      waiting.push(granted);
    });
  } else {
    busy.set(device, []);
  }
  return () => {
    // Straight to the next in line, so that none can come between.
    const next = busy.get(device)!.shift();
    if (next === undefined) busy.delete(device);
    else next();
  };
}

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
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), waitMillis);
  try {
    return await new Promise<Unlock>((resolve, reject) => {
      const held = () => new Promise<void>((unlock) => resolve(unlock));
      locks.request(`tempestkv:${name}`, { signal: controller.signal }, held).catch(reject);
    });
  } catch (error) {
    if (controller.signal.aborted) throw locked(name, waitMillis);
    throw error;
  } finally {
    clearTimeout(timer);
  }
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

// What page and worker say to each other besides frames, which travel as transferred ArrayBuffers. See "Worker messages" in docs/PROTOCOL.md.

import type { Recovery } from './database.js';
import type { PlainError } from './errors.js';
import type { HostSpec } from './host.js';

/**
 * To the worker: open a store, the first message; or let it go, the last one, where `isDoomed` after deleting it. The worker holds the lock
 * named `lifeLock` as long as it lives.
 */
export type ToWorker = ({ type: 'open'; lifeLock: string } & Omit<HostSpec, 'device' | 'module' | 'source'>) | { type: 'release'; isDoomed: boolean };

/** From the worker: the store is open, or could not be opened; the engine has died; the store was let go, with what kept it from being deleted. */
export type FromWorker =
  | { type: 'opened'; recovery: Recovery }
  | { type: 'failed'; error: PlainError }
  | { type: 'died'; error: PlainError }
  | { type: 'released'; error?: PlainError };

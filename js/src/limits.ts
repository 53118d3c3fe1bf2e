// The engine's limits (kv/base/limits.go), checked here too, so that a call that cannot succeed is never sent.

import { TempestError } from './errors.js';

/** Largest size of a key in bytes: 64 KiB. */
export const MAX_KEY_BYTES = 64 << 10;

/** Most levels of arrays in arrays in a tuple, the tuple itself not counted. Part of the format. */
export const MAX_TUPLE_DEPTH = 64;

/** Largest size of an encoded value in bytes: 64 MiB. */
export const MAX_VALUE_BYTES = 64 << 20;

/** Throws where `size` bytes are no value any more. */
export function checkValueSize(size: number): void {
  if (size > MAX_VALUE_BYTES) {
    throw new TempestError('TEMPEST_INVALID_VALUE', `a value of ${size} bytes is larger than ${MAX_VALUE_BYTES}`);
  }
}

/** Largest size of an encoded batch in bytes: 64 MiB, with room for one entry with the largest key and value. */
export const MAX_BATCH_BYTES = MAX_VALUE_BYTES + MAX_KEY_BYTES + 64;

/** Size in bytes of the header that the engine's batch has and a request has not: a sequence number and a count. */
export const BATCH_HEADER_BYTES = 12;

/** Most operations of one batch, and most keys of one `getMany`: a count is 32 bits wide. */
export const MAX_COUNT = 0xffff_ffff;

/** Largest size in bytes of the keys of one `getMany`, together: 64 MiB. */
export const MAX_KEYS_BYTES = 64 << 20;

/** Most calls under way at once. */
export const MAX_CALLS = 1_000_000;

/** A frame that passes this size in bytes is sent at once, before its turn ends: 16 MiB. */
export const FLUSH_BYTES = 16 << 20;

/** Sizes in bytes of a scan's first and of its largest runs. */
export const MIN_RUN_BYTES = 4 << 10;
export const MAX_RUN_BYTES = 256 << 10;

/** Largest count of characters (UTF-16 units) in a store's name. */
export const MAX_NAME_LENGTH = 100;

/** How long, in milliseconds, `open` waits for another holder of the store by default. */
export const DEFAULT_LOCK_WAIT_MILLIS = 5000;

// Reads of the store, as it is or at a snapshot.

import { Kind } from './calls.js';
import type { Client } from './client.js';
import { describe, TempestError } from './errors.js';
import { BOUNDS_FLAGS, GetFlag, Op, ScanFlag } from './frames.js';
import { MAX_COUNT, MAX_KEYS_BYTES } from './limits.js';
import { type Bounds, writeRange } from './range.js';
import type { Space } from './space.js';

/** The value under a key; `undefined` where there is none. `snapshot` is the id of the one to read at. */
export function get(client: Client, space: Space, key: unknown, signal: AbortSignal | undefined, snapshot?: number): Promise<unknown> {
  let id = -1;
  try {
    id = client.begin(Op.get, snapshot === undefined ? 0 : GetFlag.atSnapshot, Kind.value, space.values);
    if (snapshot !== undefined) client.writer.u32(snapshot);
    space.writeKey(client.writer, key);
    return client.commit(id, signal);
  } catch (error) {
    if (id >= 0) client.rollback(id);
    return Promise.reject(error);
  }
}

/** The values under several keys, as of one moment. */
export function getMany(client: Client, space: Space, keys: unknown, signal: AbortSignal | undefined, snapshot?: number): Promise<unknown[]> {
  let id = -1;
  try {
    if (!Array.isArray(keys)) throw new TypeError(`getMany takes an array of keys, not ${describe(keys)}`);
    id = client.begin(Op.getMany, snapshot === undefined ? 0 : GetFlag.atSnapshot, Kind.values, space.values);
    const { writer } = client;
    if (snapshot !== undefined) writer.u32(snapshot);
    const count = Math.min(keys.length, MAX_COUNT);
    writer.u32(count);
    let size = 0;
    for (let i = 0; i < count; i++) {
      size += space.writeSizedKey(writer, keys[i]);
      if (size > MAX_KEYS_BYTES) {
        throw new TempestError('TEMPEST_INVALID_ARGUMENT', `the keys of one getMany are larger than ${MAX_KEYS_BYTES} bytes`);
      }
    }
    return client.commit(id, signal) as Promise<unknown[]>;
  } catch (error) {
    if (id >= 0) client.rollback(id);
    return Promise.reject(error);
  }
}

/** A number that the engine tells of a range: how many entries it has, or about how many bytes they take. */
export function measure(
  client: Client,
  op: typeof Op.count | typeof Op.approximateSize,
  bounds: Bounds,
  signal: AbortSignal | undefined,
  snapshot?: number,
): Promise<number> {
  if (bounds.isEmpty) {
    client.checkOpen();
    return Promise.resolve(0);
  }
  const flags = (bounds.flags & BOUNDS_FLAGS) | (snapshot === undefined ? 0 : ScanFlag.atSnapshot);
  return client.ask(
    op,
    flags,
    (writer) => {
      if (snapshot !== undefined) writer.u32(snapshot);
      writeRange(writer, bounds);
    },
    (body) => body.u64(),
    signal,
  );
}

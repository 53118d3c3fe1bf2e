// Writes: the operations of a batch, and the condition that it may depend on.

import { Kind as CallKind } from './calls.js';
import type { Client } from './client.js';
import { describe, TempestError } from './errors.js';
import { type FrameWriter, Kind, Op, WriteFlag } from './frames.js';
import { BATCH_HEADER_BYTES, MAX_BATCH_BYTES } from './limits.js';
import { type Bounds, type Span, writeBounds } from './range.js';
import type { Space } from './space.js';

/** What must not have been written after `since`, for a write to take place. */
export interface Condition {
  readonly since: number;
  /** Keys as the store has them. */
  readonly keys: readonly Uint8Array[];
  readonly ranges: readonly Bounds[];
}

export interface WriteSpec {
  readonly isStrict: boolean;
  readonly condition?: Condition | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes one write of `count` operations, which `add` is called with the index of to write one and return its size in bytes. All of them take effect,
 * or none. Resolves to the sequence number of the last.
 */
export function write(client: Client, spec: WriteSpec, count: number, add: (writer: FrameWriter, index: number) => number): Promise<number> {
  const { condition } = spec;
  const flags = (spec.isStrict ? WriteFlag.strict : 0) | (condition === undefined ? 0 : WriteFlag.conditional);
  let id = -1;
  try {
    id = client.begin(Op.write, flags, CallKind.sequence);
    const { writer } = client;
    if (condition !== undefined) writeCondition(writer, condition);
    writer.u32(count);
    let size = BATCH_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      size += add(writer, i);
      if (size > MAX_BATCH_BYTES) {
        throw new TempestError('TEMPEST_INVALID_ARGUMENT', `a batch is larger than ${MAX_BATCH_BYTES} bytes; make several of it`);
      }
    }
    return client.commit(id, spec.signal) as Promise<number>;
  } catch (error) {
    if (id >= 0) client.rollback(id);
    return Promise.reject(error);
  }
}

function writeCondition(writer: FrameWriter, { since, keys, ranges }: Condition): void {
  writer.u64(since);
  writer.u32(keys.length);
  for (const key of keys) writer.sized(key);
  writer.u32(ranges.length);
  for (const range of ranges) writeBounds(writer, range);
}

export function writePut(writer: FrameWriter, space: Space, key: unknown, value: unknown, expiresAt: number | undefined): number {
  writer.u8(expiresAt === undefined ? Kind.put : Kind.putExpiring);
  return 1 + space.writeSizedKey(writer, key) + space.writeSizedValue(writer, value, expiresAt);
}

export function writeDelete(writer: FrameWriter, space: Space, key: unknown): number {
  writer.u8(Kind.delete);
  return 1 + space.writeSizedKey(writer, key);
}

export function writeClear(writer: FrameWriter, { start, end }: Span): number {
  const mark = writer.length;
  writer.u8(Kind.clear);
  writer.sized(start);
  writer.sized(end);
  return writer.length - mark;
}

/** The largest time of a `Date`, in milliseconds. */
const MAX_TIME = 8.64e15;

/** When what is written now is gone, in milliseconds since 1970. Throws a `TypeError` or `RangeError` where `ttl` is no time to live. */
export function expiryOf(ttl: unknown): number | undefined {
  if (ttl === undefined) return undefined;
  if (typeof ttl !== 'number') throw new TypeError(`ttl must be a number of milliseconds, not ${describe(ttl)}`);
  const expiresAt = Date.now() + Math.ceil(ttl);
  if (!(ttl > 0 && expiresAt <= MAX_TIME)) throw new RangeError(`ttl must be a positive number of milliseconds, not ${ttl}`);
  return expiresAt;
}

/** Checks a sequence number that a caller passed in as `name`. */
export function sequenceOf(value: unknown, name: string): number {
  if (typeof value !== 'number') throw new TypeError(`${name} must be a sequence number, not ${describe(value)}`);
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${name} must be an integer from 0, not ${value}`);
  return value;
}

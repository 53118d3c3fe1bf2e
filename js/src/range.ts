// Ranges: what a caller asks for, as bounds in bytes.

import type { KeyCodec } from './encodings.js';
import { describe } from './errors.js';
import { FrameWriter, ScanFlag } from './frames.js';
import { checkNames } from './options.js';

/** What keys may begin with: of tuples of fixed parts the first ones, of other keys any key. */
export type PrefixOf<K> = K extends readonly [...infer First, unknown] ? K | PrefixOf<readonly [...First]> : K;

/**
 * Which keys to visit, and how. Without bounds, all of them.
 *
 * @typeParam K - The type of the bounds: what the store's key encoding takes.
 */
export interface Range<K> {
  /** Keys greater than this one. Not together with `gte`. */
  gt?: K | undefined;
  /** This key and greater ones. */
  gte?: K | undefined;
  /** Keys less than this one. Not together with `lte`. */
  lt?: K | undefined;
  /** This key and lesser ones. */
  lte?: K | undefined;
  /** Keys whose encoded bytes begin with those of this one: tuples that begin with its parts. Together with bounds, what satisfies both. */
  prefix?: PrefixOf<K> | undefined;
  /** Visit the greatest key first. */
  reverse?: boolean | undefined;
  /** Most entries to visit, an integer from 0 or `Infinity`, which is the default. */
  limit?: number | undefined;
}

/** A range in bytes. A missing bound is open. */
export interface Bounds {
  readonly lower: Uint8Array | undefined;
  readonly upper: Uint8Array | undefined;
  /** `ScanFlag`s. */
  readonly flags: number;
  /** Most entries; 0 where there is no limit. */
  readonly limit: number;
  /** Nothing can be in the range. */
  readonly isEmpty: boolean;
}

interface Bound {
  readonly key: Uint8Array;
  readonly isExclusive: boolean;
}

const NAMES = new Set(['gt', 'gte', 'lt', 'lte', 'prefix', 'reverse', 'limit', 'signal']);

/** The largest limit that a scan request can carry; a larger one is none. */
const MAX_LIMIT = 0x7fff_ffff;

/** The bounds of `range`. Throws a `TypeError` for a name or type that a range has not, `RangeError` for a bad limit. */
export function boundsOf(range: Range<unknown>, keys: KeyCodec): Bounds {
  checkNames('a range', range, NAMES);
  const { gt, gte, lt, lte, prefix, reverse, limit } = range;
  if (gt !== undefined && gte !== undefined) throw new TypeError('a range has gt or gte, not both');
  if (lt !== undefined && lte !== undefined) throw new TypeError('a range has lt or lte, not both');
  if (reverse !== undefined && typeof reverse !== 'boolean') throw new TypeError(`reverse must be a boolean, not ${describe(reverse)}`);

  let lower = boundOf(gt, true, keys) ?? boundOf(gte, false, keys);
  let upper = boundOf(lt, true, keys) ?? boundOf(lte, false, keys);
  if (prefix !== undefined) {
    const first = encode(prefix, keys);
    const beyond = successor(first);
    if (first.length > 0) lower = greater(lower, { key: first, isExclusive: false });
    if (beyond !== undefined) upper = lesser(upper, { key: beyond, isExclusive: true });
  }
  let flags = reverse === true ? ScanFlag.reverse : 0;
  if (lower !== undefined) flags |= ScanFlag.hasLower | (lower.isExclusive ? ScanFlag.lowerExclusive : 0);
  if (upper !== undefined) flags |= ScanFlag.hasUpper | (upper.isExclusive ? 0 : ScanFlag.upperInclusive);
  const most = limitOf(limit);
  return {
    lower: lower?.key,
    upper: upper?.key,
    flags,
    limit: most,
    isEmpty: limit === 0 || (lower !== undefined && upper !== undefined && contradicts(lower, upper)),
  };
}

function limitOf(limit: unknown): number {
  if (limit === undefined || limit === Infinity) return 0;
  if (typeof limit !== 'number') throw new TypeError(`limit must be a number, not ${describe(limit)}`);
  if (!Number.isInteger(limit) || limit < 0) throw new RangeError(`limit must be an integer from 0, or Infinity, not ${limit}`);
  return limit > MAX_LIMIT ? 0 : limit;
}

function boundOf(key: unknown, isExclusive: boolean, keys: KeyCodec): Bound | undefined {
  return key === undefined ? undefined : { key: encode(key, keys), isExclusive };
}

function encode(key: unknown, keys: KeyCodec): Uint8Array {
  const writer = new FrameWriter();
  const start = writer.length;
  keys.write(writer, key);
  return writer.bytes.slice(start, writer.length);
}

/** The least key that is greater than all keys with this prefix; `undefined` where there is none. */
function successor(prefix: Uint8Array): Uint8Array | undefined {
  let size = prefix.length;
  while (size > 0 && prefix[size - 1] === 0xff) size--;
  if (size === 0) return undefined;
  const next = prefix.slice(0, size);
  next[size - 1]!++;
  return next;
}

function greater(a: Bound | undefined, b: Bound): Bound {
  if (a === undefined) return b;
  const order = compareBytes(a.key, b.key);
  return order > 0 || (order === 0 && a.isExclusive) ? a : b;
}

function lesser(a: Bound | undefined, b: Bound): Bound {
  if (a === undefined) return b;
  const order = compareBytes(a.key, b.key);
  return order < 0 || (order === 0 && a.isExclusive) ? a : b;
}

function contradicts(lower: Bound, upper: Bound): boolean {
  const order = compareBytes(lower.key, upper.key);
  return order > 0 || (order === 0 && (lower.isExclusive || upper.isExclusive));
}

/** The order of keys in the store: bytewise, a prefix before what it begins. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const size = Math.min(a.length, b.length);
  for (let i = 0; i < size; i++) {
    const order = a[i]! - b[i]!;
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

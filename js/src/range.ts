// Ranges: what a caller asks for, as bounds in bytes.

import { describe } from './errors.js';
import { BOUNDS_FLAGS, type FrameWriter, ScanFlag } from './frames.js';
import { checkNames } from './options.js';
import type { Space } from './space.js';

/** What keys may begin with: of tuples of fixed parts the first ones, of other keys any key. */
export type PrefixOf<K> = K extends readonly [...infer First, unknown] ? K | PrefixOf<readonly [...First]> : K;

/**
 * A range of keys. Without bounds, all of them.
 *
 * @typeParam K - The type of the bounds: what the key encoding takes.
 */
export interface KeyRange<K> {
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
}

/** Which keys to visit, and how. */
export interface Range<K> extends KeyRange<K> {
  /** Visit the greatest key first. */
  reverse?: boolean | undefined;
  /** Most entries to visit, an integer from 0 or `Infinity`, which is the default. */
  limit?: number | undefined;
}

/** A range in bytes, of keys as the store has them. A missing bound is open. */
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

const RANGE_NAMES = ['gt', 'gte', 'lt', 'lte', 'prefix'] as const;

/** The names of a range, with those of the options of some call. */
export function rangeNames(...others: string[]): ReadonlySet<string> {
  return new Set([...RANGE_NAMES, ...others]);
}

export const SCAN_NAMES = rangeNames('reverse', 'limit', 'signal', 'keyEncoding', 'valueEncoding');
export const COUNT_NAMES = rangeNames('signal', 'keyEncoding');

/** The largest limit that a scan request can carry; a larger one is none. */
const MAX_LIMIT = 0x7fff_ffff;

const NO_BYTES = new Uint8Array(0);

/**
 * The bounds of `range` in `space`, which is always bounded above. Throws a `TypeError` for a type that a range has not or a name that is not
 * among `names`, `RangeError` for a bad limit.
 */
export function boundsOf(range: Range<unknown>, space: Space, names: ReadonlySet<string>): Bounds {
  checkNames('a range', range, names);
  const { gt, gte, lt, lte, prefix, reverse, limit } = range;
  if (gt !== undefined && gte !== undefined) throw new TypeError('a range has gt or gte, not both');
  if (lt !== undefined && lte !== undefined) throw new TypeError('a range has lt or lte, not both');
  if (reverse !== undefined && typeof reverse !== 'boolean') throw new TypeError(`reverse must be a boolean, not ${describe(reverse)}`);

  const start = prefix === undefined ? space.prefix : space.encodeBound(prefix);
  let lower = boundOf(gt, true, space) ?? boundOf(gte, false, space);
  let upper = lesser(boundOf(lt, true, space) ?? boundOf(lte, false, space), { key: space.end, isExclusive: true });
  if (start.length > 0) {
    const beyond = successor(start);
    lower = greater(lower, { key: start, isExclusive: false });
    if (beyond !== undefined) upper = lesser(upper, { key: beyond, isExclusive: true });
  }
  let flags = reverse === true ? ScanFlag.reverse : 0;
  if (lower !== undefined) flags |= ScanFlag.hasLower | (lower.isExclusive ? ScanFlag.lowerExclusive : 0);
  flags |= ScanFlag.hasUpper | (upper.isExclusive ? 0 : ScanFlag.upperInclusive);
  const most = limitOf(limit);
  return {
    lower: lower?.key,
    upper: upper.key,
    flags,
    limit: most,
    isEmpty: limit === 0 || (lower !== undefined && contradicts(lower, upper)),
  };
}

function limitOf(limit: unknown): number {
  if (limit === undefined || limit === Infinity) return 0;
  if (typeof limit !== 'number') throw new TypeError(`limit must be a number, not ${describe(limit)}`);
  if (!Number.isInteger(limit) || limit < 0) throw new RangeError(`limit must be an integer from 0, or Infinity, not ${limit}`);
  return limit > MAX_LIMIT ? 0 : limit;
}

function boundOf(key: unknown, isExclusive: boolean, space: Space): Bound | undefined {
  return key === undefined ? undefined : { key: space.encodeBound(key), isExclusive };
}

/** Writes the body of a request about a range: its lower and upper bound, which are those that its flags tell of. */
export function writeRange(writer: FrameWriter, { lower, upper }: Bounds): void {
  writer.sized(lower ?? NO_BYTES);
  writer.sized(upper ?? NO_BYTES);
}

/** Writes a range as one of several in a request: flags, lower and upper bound. */
export function writeBounds(writer: FrameWriter, bounds: Bounds): void {
  writer.u8(bounds.flags & BOUNDS_FLAGS);
  writeRange(writer, bounds);
}

/** A range of all keys from `start` on that are less than `end`. */
export interface Span {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/** The span of `bounds`, which are bounded above. */
export function spanOf({ lower, upper, flags, isEmpty }: Bounds): Span {
  if (isEmpty) return { start: NO_BYTES, end: NO_BYTES };
  return {
    start: lower === undefined ? NO_BYTES : (flags & ScanFlag.lowerExclusive) !== 0 ? after(lower) : lower,
    end: (flags & ScanFlag.upperInclusive) !== 0 ? after(upper!) : upper!,
  };
}

/** The bounds of a span. */
export function boundsOfSpan({ start, end }: Span): Bounds {
  return {
    lower: start,
    upper: end,
    flags: ScanFlag.hasLower | ScanFlag.hasUpper,
    limit: 0,
    isEmpty: compareBytes(start, end) >= 0,
  };
}

/** The range that has nothing but `key`. */
export function boundsOfKey(key: Uint8Array): Bounds {
  return { lower: key, upper: key, flags: ScanFlag.hasLower | ScanFlag.hasUpper | ScanFlag.upperInclusive, limit: 0, isEmpty: false };
}

/** Whether `key` lies in `span`. */
export function covers({ start, end }: Span, key: Uint8Array): boolean {
  return compareBytes(start, key) <= 0 && compareBytes(key, end) < 0;
}

/** The least key that is greater than `key`. */
export function after(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
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

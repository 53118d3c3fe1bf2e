// Frames: the bytes that carry calls to the engine and answers back. The layout is that of docs/PROTOCOL.md:
//
//   frame:  u8 version | u8 type | u16 0 | u32 session | u32 count | u32 size    16 bytes, then the entries
//   entry:  u32 id | u8 op or status | u8 flags | u16 0 | u32 size               12 bytes, then the body

import { TempestError, type TempestErrorCode } from './errors.js';
import { decodeLossyText } from './text.js';

const VERSION = 1;
/** The types of a frame. */
export const FrameType = { request: 1, reply: 2 } as const;

/** Size in bytes of a frame's header. */
export const HEADER_BYTES = 16;

/** Size in bytes of an entry without its body. */
export const ENTRY_BYTES = 12;

/** The operations of a request entry. */
export const Op = {
  open: 0,
  write: 1,
  get: 2,
  getMany: 3,
  scan: 4,
  scanNext: 5,
  scanClose: 6,
  stats: 7,
  close: 8,
  snapshot: 9,
  snapshotClose: 10,
  count: 11,
  approximateSize: 12,
  flush: 13,
  compact: 14,
  verify: 15,
  watch: 16,
  watchNext: 17,
  watchClose: 18,
  export: 19,
  exportNext: 20,
  exportClose: 21,
  import: 22,
  importEnd: 23,
  importFile: 24,
  importFileNext: 25,
  importFilesEnd: 26,
  exportFolder: 27,
  repair: 28,
  panic: 127,
} as const;

/** The states of a reply entry. */
export const Status = { ok: 0, notFound: 1, error: 2 } as const;

/** Flags of `write`: durable before it is answered; only where nothing that the body names has changed. */
export const WriteFlag = { strict: 1, conditional: 2 } as const;

/** Flags of `get` and `getMany`. */
export const GetFlag = { withSequence: 1, atSnapshot: 2 } as const;

/** Flags of `scan`. Those of its bounds are those of every range in a request. */
export const ScanFlag = { reverse: 1, hasLower: 2, lowerExclusive: 4, hasUpper: 8, upperInclusive: 16, keysOnly: 32, atSnapshot: 64 } as const;

/** The flags that tell of a range's bounds. */
export const BOUNDS_FLAGS = ScanFlag.hasLower | ScanFlag.lowerExclusive | ScanFlag.hasUpper | ScanFlag.upperInclusive;

/** Flags of `watch`. */
export const WatchFlag = { hasSince: 1, withValues: 2 } as const;

/** Flag of a run or of an exported piece: it is the last, and what it came from is closed. */
export const LAST = 1;

/** Flag of an exported piece: a file begins with it. */
export const FILE = 2;

/** Flag of the answer to `importFile`: the file is not needed. */
export const UNNEEDED = 1;

/** Flag of the answer to `importFilesEnd`: it is to be sent again. */
export const MORE = 1;

/** Flag of `exportFolder`: values that expire stay for ever. */
export const DROP_EXPIRY = 1;

/** Flag of `importEnd` and `importFilesEnd`: the import is given up. */
export const GIVE_UP = 1;

/** Flag of a watch's commits: some before them were lost. */
export const GAP = 1;

/** Kinds of an operation in a write: LevelDB's, and two of our own. */
export const Kind = { delete: 0, put: 1, clear: 2, putExpiring: 3 } as const;

/** The id of the one entry that answers a malformed frame. */
export const MALFORMED_ID = 0xffff_ffff;

/** The id of entries that answer nothing: what the engine tells unasked. */
export const NOTICE_ID = 0xffff_fffe;

/** Whatever needs a larger buffer than this is past every limit: it ends here, not when memory does. */
const MOST_BYTES = 256 << 20;

const INITIAL_BYTES = 4 << 10;

/** A buffer larger than this is given back after its frame was sent. */
const KEEP_BYTES = 1 << 20;

/** How many bytes the varint of `value` takes. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

/**
 * Builds one request frame after another in a growing buffer. Encoders write at `length` into `bytes`, after `ensure` made
 * room; an entry lies between `begin` and `end`, and `rollback` takes back one that failed half way.
 */
export class FrameWriter {
  bytes = new Uint8Array(INITIAL_BYTES);
  view = new DataView(this.bytes.buffer);

  /** Where the first entry begins. */
  readonly start = HEADER_BYTES;

  /** Where the next byte goes; also the size of the frame so far. */
  length = HEADER_BYTES;

  #count = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Makes room for `size` bytes more. */
  ensure(size: number): void {
    if (this.length + size > this.bytes.length) this.#grow(this.length + size);
  }

  #grow(size: number): void {
    if (size > MOST_BYTES) {
      throw new TempestError('TEMPEST_INVALID_ARGUMENT', `a call of ${size} bytes is larger than ${MOST_BYTES}`);
    }
    const grown = new Uint8Array(Math.max(size, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  /** Starts an entry and returns its mark, for `end` or `rollback`. */
  begin(id: number, op: number, flags: number): number {
    this.ensure(ENTRY_BYTES);
    const mark = this.length;
    this.view.setUint32(mark, id, true);
    this.view.setUint32(mark + 4, op | (flags << 8), true);
    this.length = mark + ENTRY_BYTES;
    return mark;
  }

  /** Ends the entry at `mark`. */
  end(mark: number): void {
    this.view.setUint32(mark + 8, this.length - mark - ENTRY_BYTES, true);
    this.#count++;
  }

  /** Forgets the entry at `mark`. */
  rollback(mark: number): void {
    this.length = mark;
  }

  u8(value: number): void {
    this.ensure(1);
    this.bytes[this.length++] = value;
  }

  u32(value: number): void {
    this.ensure(4);
    this.view.setUint32(this.length, value, true);
    this.length += 4;
  }

  /** An integer up to 2⁵³, in 64 bits. */
  u64(value: number): void {
    this.u32(value % 0x1_0000_0000 >>> 0);
    this.u32(Math.floor(value / 0x1_0000_0000));
  }

  varint(value: number): void {
    this.ensure(5);
    this.#varintAt(this.length, value);
    this.length += varintSize(value);
  }

  /** Writes `bytes` as they are. */
  raw(bytes: Uint8Array): void {
    this.ensure(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Writes *bytes*: a varint length, then the bytes. */
  sized(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /**
   * Starts *bytes* of unknown length. `width` is a guess at the size of the varint before them; where it is wrong the bytes
   * are moved once. Returns a mark for `closeSized`.
   */
  openSized(width: number): number {
    this.ensure(5);
    const mark = this.length;
    this.length += width;
    return mark;
  }

  /** Ends the *bytes* that `openSized` began, with the same guess, and returns the width that was right. */
  closeSized(mark: number, width: number): number {
    const start = mark + width;
    const size = this.length - start;
    const actual = varintSize(size);
    if (actual !== width) {
      this.ensure(5);
      this.bytes.copyWithin(mark + actual, start, this.length);
      this.length += actual - width;
    }
    this.#varintAt(mark, size);
    return actual;
  }

  #varintAt(at: number, value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[at] = rest;
  }

  /**
   * Completes the frame and starts the next. The result is a view of this writer's buffer: use it up before the next `begin`.
   */
  finish(type: number = FrameType.request): Uint8Array {
    const frame = this.bytes.subarray(0, this.length);
    this.view.setUint32(0, VERSION | (type << 8), true);
    this.view.setUint32(4, 0, true);
    this.view.setUint32(8, this.#count, true);
    this.view.setUint32(12, this.length, true);
    if (this.bytes.length > KEEP_BYTES) this.#renew(INITIAL_BYTES);
    this.#reset();
    return frame;
  }

  /** Completes the frame, gives its buffer away, to be transferred, and starts the next in a new one of like size. */
  take(): ArrayBuffer {
    const size = Math.min(Math.max(this.length, INITIAL_BYTES), KEEP_BYTES);
    const { buffer } = this.finish();
    if (this.bytes.buffer === buffer) this.#renew(size);
    return buffer as ArrayBuffer;
  }

  #renew(size: number): void {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  #reset(): void {
    this.length = HEADER_BYTES;
    this.#count = 0;
  }
}

/** Reads a little-endian u32. The caller has checked the bounds. */
export function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** Reads a little-endian u64 as a number, exact to 2⁵³. The caller has checked the bounds. */
export function readU64(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) + readU32(bytes, at + 4) * 0x1_0000_0000;
}

/** The size in bytes that a frame's header states, or 0 where there is no whole header. */
export function frameSize(bytes: Uint8Array): number {
  return bytes.length < HEADER_BYTES ? 0 : readU32(bytes, 12);
}

/** The error of a frame that breaks the layout: engine and package do not belong together, or memory was damaged. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** Walks the entries of a reply frame: `next` moves to one, and the fields describe it. */
export class FrameReader {
  readonly bytes: Uint8Array;
  id = 0;
  status = 0;
  flags = 0;

  /** Where the entry's body starts and ends in `bytes`. */
  start = 0;
  end = HEADER_BYTES;

  #left: number;

  /** Throws a {@link FrameError} where `bytes` is no whole reply frame. */
  constructor(bytes: Uint8Array) {
    if (frameSize(bytes) !== bytes.length || bytes[0] !== VERSION || bytes[1] !== FrameType.reply) {
      throw new FrameError('not a reply frame');
    }
    this.bytes = bytes;
    this.#left = readU32(bytes, 8);
  }

  /** Moves to the next entry; false where there is none. Throws a {@link FrameError} where the entry breaks the layout. */
  next(): boolean {
    const { bytes, end: at } = this;
    if (this.#left === 0) {
      if (at !== bytes.length) throw new FrameError('bytes after the last entry');
      return false;
    }
    if (at + ENTRY_BYTES > bytes.length) throw new FrameError('entry cut short');
    this.#left--;
    this.id = readU32(bytes, at);
    this.status = bytes[at + 4]!;
    this.flags = bytes[at + 5]!;
    this.start = at + ENTRY_BYTES;
    this.end = this.start + readU32(bytes, at + 8);
    if (this.end > bytes.length) throw new FrameError('body cut short');
    return true;
  }

  /** The error of an entry whose status is `error`. */
  error(): TempestError {
    const body = new BodyReader(this.bytes, this.start, this.end);
    const code = body.text() as TempestErrorCode;
    return new TempestError(code, body.text());
  }
}

/** Reads the fields of a body one after the other. */
export class BodyReader {
  readonly bytes: Uint8Array;
  readonly end: number;
  at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  get isDone(): boolean {
    return this.at >= this.end;
  }

  varint(): number {
    const { bytes, end } = this;
    let value = 0;
    let factor = 1;
    for (let count = 0; count < 5; count++) {
      if (this.at >= end) throw new FrameError('varint cut short');
      const byte = bytes[this.at++]!;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 0x80;
    }
    throw new FrameError('varint of more than 5 bytes');
  }

  /** Steps over `size` bytes and returns where they start. */
  skip(size: number): number {
    const start = this.at;
    if (size > this.end - start) throw new FrameError('field cut short');
    this.at = start + size;
    return start;
  }

  u8(): number {
    return this.bytes[this.skip(1)]!;
  }

  u32(): number {
    return readU32(this.bytes, this.skip(4));
  }

  u64(): number {
    return readU64(this.bytes, this.skip(8));
  }

  f64(): number {
    const at = this.skip(8);
    return new DataView(this.bytes.buffer, this.bytes.byteOffset + at, 8).getFloat64(0, true);
  }

  /** *bytes*, as a view of the frame. */
  sized(): Uint8Array {
    const size = this.varint();
    const start = this.skip(size);
    return this.bytes.subarray(start, start + size);
  }

  /** *bytes* of UTF-8 text for a person to read. */
  text(): string {
    return decodeLossyText(this.sized());
  }

  /** What is left: figures, each *bytes* name and a number. */
  figures(): Record<string, number> {
    const figures: Record<string, number> = {};
    while (!this.isDone) {
      const name = this.text();
      figures[name] = this.f64();
    }
    return figures;
  }
}

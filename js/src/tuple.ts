// Keys that are tuples, as bytes that order as the tuples do; docs/FORMAT.md, "Keys: tuples".
//
//   tuple:          part | part | …                     no part's bytes begin those of another
//   part:           u8 tag | body                       null, false and true have no body
//   number, date:   a double's 64 bits, big-endian      below zero all inverted, else the sign bit
//   bigint:         u16 size | magnitude, big-endian    below zero all inverted
//   string, bytes:  bytes | 00                          with 00 as 01 01 and 01 as 01 02
//   array:          part | part | … | 00

import { viewOf } from './bytes.js';
import { describe, TempestError } from './errors.js';
import type { FrameWriter } from './frames.js';
import { MAX_KEY_BYTES, MAX_TUPLE_DEPTH } from './limits.js';
import { decodeText, encodeText, isWellFormed } from './text.js';

/** A part of a {@link TupleKey}. */
export type TuplePart = null | boolean | number | bigint | Date | string | Uint8Array | readonly TuplePart[];

/** A key of a store with the key encoding `'tuple'`; see {@link KeyEncoding}. */
export type TupleKey = readonly TuplePart[];

/** What a part begins with, in the order of the types. Part of the format; the gaps are for types to come. */
const Tag = {
  ...{ null: 0x10, false: 0x18, true: 0x19, number: 0x20, negativeBigint: 0x28, bigint: 0x29 },
  ...{ date: 0x30, string: 0x38, bytes: 0x40, array: 0x48 },
} as const;

/** Ends a string, bytes or an array; less than whatever could stand in its place. */
const END = 0;

/** Stands before a byte that END or ESCAPE would be mistaken for, which is then greater by one. */
const ESCAPE = 1;

function tooLarge(): TempestError {
  return new TempestError('TEMPEST_INVALID_KEY', `a tuple is larger than ${MAX_KEY_BYTES} bytes when encoded`);
}

/** Appends the bytes of `key`. Throws a `TypeError` for no tuple, `RangeError` for too deep a one, `TEMPEST_INVALID_KEY` for too large a one. */
export function writeTuple(writer: FrameWriter, key: unknown): void {
  if (!Array.isArray(key)) throw new TypeError(`a key must be an array, not ${describe(key)}`);
  writeParts(writer, [key], writer.length + MAX_KEY_BYTES);
}

/** Appends the parts of the last array of `path`, each of which lies in the one before; no further than `limit`. */
function writeParts(writer: FrameWriter, path: readonly unknown[][], limit: number): void {
  const parts = path[path.length - 1]!;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    if (Array.isArray(part)) {
      if (path.includes(part)) throw new TypeError('an array in a key contains itself');
      if (path.length > MAX_TUPLE_DEPTH) throw new RangeError(`a key has more than ${MAX_TUPLE_DEPTH} levels of arrays in arrays`);
      writer.u8(Tag.array);
      writeParts(writer, [...path, part], limit);
      writer.u8(END);
    } else {
      writePart(writer, part);
    }
    if (writer.length > limit) throw tooLarge();
  }
}

function writePart(writer: FrameWriter, part: unknown): void {
  switch (typeof part) {
    case 'string':
      return writeText(writer, part);
    case 'number':
      return writeDouble(writer, Tag.number, part);
    case 'bigint':
      return writeBigint(writer, part);
    case 'boolean':
      return writer.u8(part ? Tag.true : Tag.false);
    case 'object':
      if (part === null) return writer.u8(Tag.null);
      // Unlike instanceof, this knows the classes of other realms; what only pretends to be one is found out by its use.
      switch (Object.prototype.toString.call(part)) {
        case '[object Date]':
          return writeDouble(writer, Tag.date, Date.prototype.getTime.call(part));
        case '[object Uint8Array]':
          return writeEscaped(writer, Tag.bytes, viewOf(part, 'a part of a key'));
      }
  }
  throw new TypeError(`a part of a key must be null, boolean, number, bigint, Date, string, Uint8Array or array, not ${describe(part)}`);
}

function writeDouble(writer: FrameWriter, tag: number, value: number): void {
  if (Number.isNaN(value)) throw new TypeError('NaN and invalid Dates have no place in the order of keys');
  writer.ensure(9);
  const { bytes, length: at } = writer;
  bytes[at] = tag;
  // The sum makes 0 of -0.
  writer.view.setFloat64(at + 1, value + 0);
  writer.length = at + 9;
  if (value < 0) invert(bytes, at + 1, at + 9);
  else bytes[at + 1]! ^= 0x80;
}

function invert(bytes: Uint8Array, start: number, end: number): void {
  for (let i = start; i < end; i++) bytes[i]! ^= 0xff;
}

function writeBigint(writer: FrameWriter, value: bigint): void {
  const magnitude = value < 0n ? -value : value;
  // What is far too large never becomes digits.
  if (BigInt.asUintN(MAX_KEY_BYTES * 8 - 8, magnitude) !== magnitude) throw tooLarge();
  let digits = value === 0n ? '' : magnitude.toString(16);
  if (digits.length % 2 === 1) digits = `0${digits}`;
  const size = digits.length / 2;
  writer.u8(value < 0n ? Tag.negativeBigint : Tag.bigint);
  writer.ensure(2 + size);
  const { bytes, length: at } = writer;
  writer.view.setUint16(at, size);
  for (let i = 0; i < size; i++) bytes[at + 2 + i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  writer.length = at + 2 + size;
  if (value < 0n) invert(bytes, at, writer.length);
}

function writeText(writer: FrameWriter, text: string): void {
  const count = text.length;
  if (count > MAX_KEY_BYTES) throw tooLarge();
  writer.ensure(count + 2);
  const { bytes, length: at } = writer;
  for (let i = 0; i < count; i++) {
    const unit = text.charCodeAt(i);
    if (unit <= ESCAPE || unit >= 0x80) {
      if (!isWellFormed(text)) throw new TypeError('a key with lone surrogates has no UTF-8');
      return writeEscaped(writer, Tag.string, encodeText(text));
    }
    bytes[at + 1 + i] = unit;
  }
  bytes[at] = Tag.string;
  bytes[at + 1 + count] = END;
  writer.length = at + count + 2;
}

function writeEscaped(writer: FrameWriter, tag: number, body: Uint8Array): void {
  const size = body.length;
  if (size > MAX_KEY_BYTES) throw tooLarge();
  writer.ensure(2 * size + 2);
  const { bytes } = writer;
  let at = writer.length;
  bytes[at++] = tag;
  for (let i = 0; i < size; i++) {
    const byte = body[i]!;
    if (byte <= ESCAPE) bytes[at++] = ESCAPE;
    bytes[at++] = byte <= ESCAPE ? byte + 1 : byte;
  }
  bytes[at++] = END;
  writer.length = at;
}

/** Reads a tuple back. Throws `TEMPEST_CORRUPTION` for bytes that `writeTuple` writes for none. */
export function readTuple(bytes: Uint8Array, start: number, end: number): TuplePart[] {
  const reader = new TupleReader(bytes, start, end);
  const parts: TuplePart[] = [];
  while (!reader.isDone) parts.push(reader.part(0));
  return parts;
}

function damaged(why: string, options?: ErrorOptions): TempestError {
  return new TempestError('TEMPEST_CORRUPTION', `a stored key is no tuple (${why}): damaged, or written with another keyEncoding`, options);
}

const double = new DataView(new ArrayBuffer(8));

class TupleReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get isDone(): boolean {
    return this.#at === this.#end;
  }

  /** Moves on by `size` bytes, and returns where they begin. */
  #take(size: number): number {
    if (size > this.#end - this.#at) throw damaged('cut short');
    this.#at += size;
    return this.#at - size;
  }

  #byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  /** Reads 32 bits. */
  #word(): number {
    const bytes = this.#bytes;
    const at = this.#take(4);
    return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
  }

  /** Reads a part that lies in `depth` arrays beside the key itself. */
  part(depth: number): TuplePart {
    const tag = this.#byte();
    switch (tag) {
      case Tag.null:
        return null;
      case Tag.false:
      case Tag.true:
        return tag === Tag.true;
      case Tag.number:
        return this.#double();
      case Tag.negativeBigint:
        return -this.#magnitude(0xff);
      case Tag.bigint:
        return this.#magnitude(0);
      case Tag.date:
        return this.#date();
      case Tag.string:
        return this.#text();
      case Tag.bytes:
        return this.#body();
      case Tag.array:
        return this.#array(depth + 1);
      default:
        throw damaged(`no type has the tag ${tag}`);
    }
  }

  #double(): number {
    const high = this.#word();
    const low = this.#word();
    // The sign bit is set in what is not below zero.
    double.setInt32(0, high < 0 ? high ^ 0x8000_0000 : ~high);
    double.setInt32(4, high < 0 ? low : ~low);
    const value = double.getFloat64(0);
    if (Number.isNaN(value) || Object.is(value, -0)) throw damaged('NaN or -0');
    return value;
  }

  /** Reads a bigint without its sign, whose bytes are xored with `mask`. */
  #magnitude(mask: 0 | 0xff): bigint {
    const size = ((this.#byte() ^ mask) << 8) | (this.#byte() ^ mask);
    const start = this.#take(size);
    if (size === 0 ? mask !== 0 : this.#bytes[start] === mask) throw damaged('a bigint that begins with zeros');
    let digits = '0x0';
    for (let i = start; i < start + size; i++) digits += (this.#bytes[i]! ^ mask).toString(16).padStart(2, '0');
    return BigInt(digits);
  }

  #date(): Date {
    const time = this.#double();
    const date = new Date(time);
    if (date.getTime() !== time) throw damaged('an invalid Date');
    return date;
  }

  #text(): string {
    const start = this.#at;
    const size = this.#skip();
    const end = this.#at - 1;
    try {
      return size === end - start ? decodeText(this.#bytes, start, end) : decodeText(this.#unescape(start, size), 0, size);
    } catch (cause) {
      throw damaged('a string that is not UTF-8', { cause });
    }
  }

  #body(): Uint8Array {
    const start = this.#at;
    return this.#unescape(start, this.#skip());
  }

  /** Moves on behind the END of a string or bytes, and returns their size without escapes. */
  #skip(): number {
    let size = 0;
    for (let byte = this.#byte(); byte !== END; byte = this.#byte(), size++) {
      if (byte === ESCAPE && ![END + 1, ESCAPE + 1].includes(this.#byte())) throw damaged('an escape of nothing');
    }
    return size;
  }

  #unescape(start: number, size: number): Uint8Array {
    const body = new Uint8Array(size);
    for (let i = 0, at = start; i < size; i++, at++) body[i] = this.#bytes[at] === ESCAPE ? this.#bytes[++at]! - 1 : this.#bytes[at]!;
    return body;
  }

  #array(depth: number): TuplePart[] {
    if (depth > MAX_TUPLE_DEPTH) throw damaged('nested too deep');
    const parts: TuplePart[] = [];
    while (this.#bytes[this.#at] !== END || this.isDone) parts.push(this.part(depth));
    this.#at++;
    return parts;
  }
}

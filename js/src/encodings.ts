// How keys and values become bytes and come back. The bytes in the store are exactly those of the encoding.

import { viewOf } from './bytes.js';
import { describe, TempestError } from './errors.js';
import type { FrameWriter } from './frames.js';
import { checkValueSize, MAX_KEY_BYTES, MAX_VALUE_BYTES } from './limits.js';
import { Msgpack } from './msgpack.js';
import { decodeText, encodeText, encodeTextInto, isWellFormed } from './text.js';
import { readTuple, type TupleKey, writeTuple } from './tuple.js';

/**
 * How keys become bytes.
 *
 * - `'utf8'`, the default: keys are strings. They order by their UTF-8 bytes, which is by code point, and not how
 *   `Array.prototype.sort` orders strings. A string with lone surrogates has no UTF-8 and is a `TypeError`.
 * - `'view'`: keys are bytes, and come back as `Uint8Array`.
 * - `'tuple'`: keys are arrays of `null`, booleans, numbers, bigints, `Date`s, strings, `Uint8Array`s and arrays of these. They order part by part, a
 *   tuple before those that it begins; parts of different types in the order of that list, false before true, arrays last. Numbers, bigints
 *   and dates order by their value, all numbers before all bigints: 2 and 2n are two keys. Strings order by their UTF-8 bytes. So
 *   `{ prefix: ['user', 1] }` is `['user', 1]` and all tuples with these two parts first, and no `['user', 10]`.
 *
 *   -0 becomes 0, as in a `Map`. NaN, an invalid `Date`, lone surrogates, holes, `undefined`, other objects and an array that contains itself are a
 *   `TypeError`; arrays in arrays over 64 levels a `RangeError`.
 */
export type KeyEncoding = 'utf8' | 'view' | 'tuple';

/** The names of the built-in value encodings; see {@link ValueEncoding}. */
export type ValueEncodingName = 'msgpack' | 'json' | 'utf8' | 'view';

/**
 * An encoding of one's own.
 *
 * Both functions must be synchronous. They are called while the database's own call runs, and what `encode` returns is copied
 * at once. `decode` may keep the bytes it gets.
 */
export interface CustomEncoding<V> {
  /** For messages. */
  readonly name?: string;
  encode(value: V): Uint8Array;
  decode(bytes: Uint8Array): V;
}

/**
 * How values become bytes.
 *
 * - `'msgpack'`, the default: MessagePack with the extensions of msgpackr. What structured cloning takes (shared and circular structure,
 *   `Map`, `Set`, `Date`, `bigint`, typed arrays, errors, regular expressions, `undefined`) comes back as structured cloning would give it back.
 *   So what that leaves out is left out here too: the classes of instances, which come back as plain objects; properties whose keys are symbols, or
 *   that are not enumerable; properties added to anything but arrays and plain objects, such as an error's `code`; a regular expression's
 *   `lastIndex`. Getters are called, and their results stored.
 *
 *   These come back otherwise: -0 as 0, except in a typed array; the holes of an array as `undefined`, and an array without what properties it has
 *   beside its items; errors without `stack`; and views of one buffer with a buffer each, no larger than the view.
 *
 *   These are a `TypeError`: functions, symbols, promises, host objects such as `Blob`, `DOMException` and `SharedArrayBuffer`, objects around a
 *   number, string or boolean, strings with lone surrogates, properties named `__proto__` or `__keys__`, `Float16Array`, an error that is its own
 *   cause, and inside of other values a `Map` or a view that is of a subclass, such as Node's `Buffer`, or of another realm. Nesting of more than
 *   1000 levels is a `RangeError`.
 * - `'json'`: what `JSON.stringify` makes of the value. A value that it makes nothing of is a `TypeError`.
 * - `'utf8'`: strings. Lone surrogates are a `TypeError`.
 * - `'view'`: bytes, which come back as `Uint8Array`.
 * - a {@link CustomEncoding}.
 */
export type ValueEncoding<V = unknown> = ValueEncodingName | CustomEncoding<V>;

/** The encodings of a namespace, or of one call. */
export interface Encodings<KE extends KeyEncoding | undefined = KeyEncoding | undefined, VE = ValueEncoding<any> | undefined> {
  /** How keys become bytes. */
  keyEncoding?: KE;

  /** How values become bytes. */
  valueEncoding?: VE;
}

/** The keys of a key encoding; `K` where none is given. */
export type KeyFor<E, K> = [E] extends [undefined]
  ? K
  : [E] extends ['view']
    ? Uint8Array
    : [E] extends ['tuple']
      ? TupleKey
      : [E] extends ['utf8']
        ? string
        : K;

/** The values of a value encoding; `V` where none is given. */
export type ValueFor<E, V> = [E] extends [undefined]
  ? V
  : [E] extends [CustomEncoding<infer C>]
    ? C
    : [E] extends ['view']
      ? Uint8Array
      : [E] extends ['utf8']
        ? string
        : [E] extends ['msgpack' | 'json']
          ? unknown
          : V;

/** Writes keys into frames and reads them back. */
export interface KeyCodec {
  /** Appends the bytes of `key`. Throws a `TypeError` for the wrong type, `TEMPEST_INVALID_KEY` past the limit. */
  write(writer: FrameWriter, key: unknown): void;

  /** A likely size of the varint before the bytes of `key`, for `FrameWriter.openSized`. */
  width(key: unknown): number;

  read(bytes: Uint8Array, start: number, end: number): unknown;
}

/** Writes values into frames and reads them back. */
export interface ValueCodec {
  /** It is the caller's own. */
  readonly isCustom?: boolean;

  /** Appends the bytes of `value`. */
  write(writer: FrameWriter, value: unknown): void;

  read(bytes: Uint8Array, start: number, end: number): unknown;
}

/** The codec of a key encoding. Throws a `TypeError` for an unknown name. */
export function keyCodec(encoding: unknown): KeyCodec {
  switch (encoding) {
    case undefined:
    case 'utf8':
      return textKeys;
    case 'view':
      return byteKeys;
    case 'tuple':
      return tupleKeys;
    default:
      throw new TypeError(`keyEncoding must be 'utf8', 'view' or 'tuple', not ${describe(encoding)}`);
  }
}

/** The value codecs of one database. It has a MessagePack codec of its own: a getter in a value may call another database. */
export class ValueCodecs {
  #msgpack: MsgpackValues | undefined;

  /** The codec of a value encoding. Throws a `TypeError` for an unknown name or an object without `encode` and `decode`. */
  of(encoding: unknown): ValueCodec {
    switch (encoding) {
      case undefined:
      case 'msgpack':
        return (this.#msgpack ??= new MsgpackValues());
      case 'json':
        return jsonValues;
      case 'utf8':
        return textValues;
      case 'view':
        return byteValues;
      default:
        if (isCustomEncoding(encoding)) return new CustomValues(encoding);
        throw new TypeError(
          `valueEncoding must be 'msgpack', 'json', 'utf8', 'view', or an object with encode and decode, not ${describe(encoding)}`,
        );
    }
  }

  /** Lets go of the last buffer read. */
  release(): void {
    this.#msgpack?.release();
  }
}

function isCustomEncoding(encoding: unknown): encoding is CustomEncoding<unknown> {
  if (typeof encoding !== 'object' || encoding === null) return false;
  const { encode, decode } = encoding as Partial<CustomEncoding<unknown>>;
  return typeof encode === 'function' && typeof decode === 'function';
}

function keyTooLarge(size: number): TempestError {
  return new TempestError('TEMPEST_INVALID_KEY', `a key of ${size} bytes is larger than ${MAX_KEY_BYTES}`);
}

const textKeys: KeyCodec = {
  write(writer, key) {
    if (typeof key !== 'string') throw new TypeError(`a key must be a string, not ${describe(key)}`);
    const count = key.length;
    if (count > MAX_KEY_BYTES) throw keyTooLarge(count);
    writer.ensure(count * 3);
    const { bytes, length: at } = writer;
    for (let i = 0; i < count; i++) {
      const unit = key.charCodeAt(i);
      if (unit >= 0x80) return writeWideKey(writer, key);
      bytes[at + i] = unit;
    }
    writer.length = at + count;
  },
  width: (key) => (typeof key === 'string' && key.length >= 0x80 ? 2 : 1),
  read(bytes, start, end) {
    try {
      return decodeText(bytes, start, end);
    } catch (cause) {
      throw new TempestError('TEMPEST_INVALID_KEY', "a stored key is not UTF-8; open the store with keyEncoding: 'view'", { cause });
    }
  },
};

function writeWideKey(writer: FrameWriter, key: string): void {
  if (!isWellFormed(key)) throw new TypeError('a key with lone surrogates has no UTF-8');
  const size = encodeTextInto(key, writer.bytes, writer.length);
  if (size > MAX_KEY_BYTES) throw keyTooLarge(size);
  writer.length += size;
}

const byteKeys: KeyCodec = {
  write(writer, key) {
    const bytes = viewOf(key, 'a key');
    if (bytes.length > MAX_KEY_BYTES) throw keyTooLarge(bytes.length);
    writer.raw(bytes);
  },
  width: (key) => ((key as Uint8Array | undefined)?.byteLength! >= 0x80 ? 2 : 1),
  read: (bytes, start, end) => bytes.slice(start, end),
};

const tupleKeys: KeyCodec = {
  write: writeTuple,
  width: () => 1,
  read: readTuple,
};

function undecodable(encoding: string, cause: unknown): TempestError {
  return new TempestError('TEMPEST_INVALID_VALUE', `a stored value is not of the encoding ${encoding}`, { cause });
}

class MsgpackValues extends Msgpack implements ValueCodec {
  #isWriting = false;

  override write(writer: FrameWriter, value: unknown): void {
    // The packer is not made for it, and would mix the two up.
    if (this.#isWriting) throw new TypeError('a getter of a stored value called the database it is stored in');
    this.#isWriting = true;
    try {
      super.write(writer, value);
    } finally {
      this.#isWriting = false;
    }
  }

  override read(bytes: Uint8Array, start: number, end: number): unknown {
    try {
      return super.read(bytes, start, end);
    } catch (cause) {
      throw undecodable('msgpack', cause);
    }
  }
}

/** Strings up to this many characters are encoded in place; longer ones in an array of their own, which has the right size. */
const IN_PLACE_LENGTH = 64 << 10;

function writeBytes(writer: FrameWriter, bytes: Uint8Array): void {
  checkValueSize(bytes.length);
  writer.raw(bytes);
}

function writeText(writer: FrameWriter, text: string): void {
  if (text.length > MAX_VALUE_BYTES) checkValueSize(text.length);
  if (text.length > IN_PLACE_LENGTH) return writeBytes(writer, encodeText(text));
  writer.ensure(text.length * 3);
  writer.length += encodeTextInto(text, writer.bytes, writer.length);
}

const jsonValues: ValueCodec = {
  write(writer, value) {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) throw new TypeError(`JSON has nothing for a value ${describe(value)}`);
    writeText(writer, text);
  },
  read(bytes, start, end) {
    try {
      return JSON.parse(decodeText(bytes, start, end)) as unknown;
    } catch (cause) {
      throw undecodable('json', cause);
    }
  },
};

const textValues: ValueCodec = {
  write(writer, value) {
    if (typeof value !== 'string') throw new TypeError(`a value must be a string, not ${describe(value)}`);
    if (!isWellFormed(value)) throw new TypeError('a value with lone surrogates has no UTF-8');
    writeText(writer, value);
  },
  read(bytes, start, end) {
    try {
      return decodeText(bytes, start, end);
    } catch (cause) {
      throw undecodable('utf8', cause);
    }
  },
};

const byteValues: ValueCodec = {
  write(writer, value) {
    writeBytes(writer, viewOf(value, 'a value'));
  },
  read: (bytes, start, end) => bytes.slice(start, end),
};

class CustomValues implements ValueCodec {
  readonly isCustom = true;
  readonly #encoding: CustomEncoding<unknown>;

  constructor(encoding: CustomEncoding<unknown>) {
    this.#encoding = encoding;
  }

  write(writer: FrameWriter, value: unknown): void {
    const bytes: unknown = this.#encoding.encode(value);
    if (!(bytes instanceof Uint8Array)) throw new TypeError(`${this.#name} must encode to a Uint8Array, not ${describe(bytes)}`);
    writeBytes(writer, bytes);
  }

  read(bytes: Uint8Array, start: number, end: number): unknown {
    try {
      return this.#encoding.decode(bytes.slice(start, end));
    } catch (cause) {
      throw undecodable(this.#name, cause);
    }
  }

  get #name(): string {
    return this.#encoding.name ?? 'custom';
  }
}

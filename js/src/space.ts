// Spaces: which keys of a store a namespace has, and how its keys and values become bytes. docs/FORMAT.md, "Keys: namespaces":
//
//   plain key:            key                            does not begin with FF FE or FF FF
//   key in a namespace:   FF FE | name | name | … | 00 | key
//   name:                 UTF-8 | 00                     with 00 as 01 01 and 01 as 01 02

import { type Encodings, keyCodec, type KeyCodec, type ValueCodec, type ValueCodecs } from './encodings.js';
import { describe, TempestError } from './errors.js';
import { FrameWriter } from './frames.js';
import { checkValueSize, MAX_KEY_BYTES, MAX_NAME_LENGTH } from './limits.js';
import { encodeText, isWellFormed } from './text.js';

/** A buffer larger than this is not kept. */
const KEEP_BYTES = 64 << 10;

const NO_BYTES = new Uint8Array(0);

/** What the keys of namespaces begin with: plain keys are all less. */
const NAMESPACES = Uint8Array.of(0xff, 0xfe);

/** Writes keys that are bytes as the store has them. */
const storedKeys: KeyCodec = {
  write: (writer, key) => writer.raw(key as Uint8Array),
  width: (key) => ((key as Uint8Array).length < 0x80 ? 1 : 2),
  read: (bytes, start, end) => bytes.slice(start, end),
};

export class Space {
  /** What the keys of this space begin with in the store. */
  readonly prefix: Uint8Array;

  /** What all keys of this space are less than. */
  readonly end: Uint8Array;

  readonly keys: KeyCodec;
  readonly values: ValueCodec;
  readonly #codecs: ValueCodecs;

  /** The names of the namespace, as bytes; empty where keys are plain. */
  readonly #path: Uint8Array;

  /** The width of the last value's size: a guess at that of the next. */
  #valueWidth = 1;

  private constructor(codecs: ValueCodecs, path: Uint8Array, keys: KeyCodec, values: ValueCodec) {
    this.#codecs = codecs;
    this.#path = path;
    this.keys = keys;
    this.values = values;
    this.prefix = path.length === 0 ? NO_BYTES : Uint8Array.of(...NAMESPACES, ...path, 0);
    this.end = path.length === 0 ? NAMESPACES : Uint8Array.of(...NAMESPACES, ...path, 1);
  }

  /** The space of plain keys. */
  static plain(codecs: ValueCodecs, { keyEncoding, valueEncoding }: Encodings = {}): Space {
    return new Space(codecs, NO_BYTES, keyCodec(keyEncoding), codecs.of(valueEncoding));
  }

  /** The space of a namespace in this one, with the encodings of this one where none are given. Throws a `TypeError` or `RangeError` for a bad name. */
  sub(name: unknown, encodings: Encodings): Space {
    if (typeof name !== 'string') throw new TypeError(`a namespace's name must be a string, not ${describe(name)}`);
    if (name === '' || name.length > MAX_NAME_LENGTH) {
      throw new RangeError(`a namespace's name must have 1 to ${MAX_NAME_LENGTH} characters`);
    }
    if (!isWellFormed(name)) throw new TypeError("a namespace's name may have no lone surrogates");
    const bytes = Array.from(encodeText(name)).flatMap((byte) => (byte <= 1 ? [1, byte + 1] : [byte]));
    return this.#in(Uint8Array.of(...this.#path, ...bytes, 0), encodings);
  }

  /** This space with other encodings, for one call. */
  with(encodings: Encodings | undefined): Space {
    if (encodings?.keyEncoding === undefined && encodings?.valueEncoding === undefined) return this;
    return this.#in(this.#path, encodings);
  }

  #in(path: Uint8Array, { keyEncoding, valueEncoding }: Encodings): Space {
    return new Space(
      this.#codecs,
      path,
      keyEncoding === undefined ? this.keys : keyCodec(keyEncoding),
      valueEncoding === undefined ? this.values : this.#codecs.of(valueEncoding),
    );
  }

  /** This space with its keys as the store has them, prefix and all. */
  get stored(): Space {
    return new Space(this.#codecs, NO_BYTES, storedKeys, this.values);
  }

  /** Appends a key as the store has it. Throws as the key encoding does, and `TEMPEST_INVALID_KEY` where it is too large or not for callers to use. */
  writeKey(writer: FrameWriter, key: unknown): void {
    if (this.prefix.length > 0) return this.#write(writer, key);
    const start = writer.length;
    this.keys.write(writer, key);
    if (this.keys !== storedKeys) checkPlain(writer.bytes, start, writer.length);
  }

  #write(writer: FrameWriter, key: unknown): void {
    const { prefix } = this;
    const start = writer.length;
    writer.raw(prefix);
    this.keys.write(writer, key);
    const size = writer.length - start;
    if (size > MAX_KEY_BYTES) {
      throw new TempestError('TEMPEST_INVALID_KEY', `a key of ${size} bytes, ${prefix.length} of them its namespace's, is larger than ${MAX_KEY_BYTES}`);
    }
  }

  /** Appends a key with its size, and returns the size of both in bytes. */
  writeSizedKey(writer: FrameWriter, key: unknown): number {
    const width = this.prefix.length > 0x40 ? 2 : this.keys.width(key);
    const mark = writer.openSized(width);
    this.writeKey(writer, key);
    writer.closeSized(mark, width);
    return writer.length - mark;
  }

  /** Appends a value with its size, after what stands before it in the store, and returns the size of all in bytes. */
  writeSizedValue(writer: FrameWriter, value: unknown, expiresAt: number | undefined): number {
    const width = this.#valueWidth;
    const mark = writer.openSized(width);
    if (expiresAt !== undefined) writer.u64(expiresAt);
    const start = writer.length;
    this.values.write(writer, value);
    checkValueSize(writer.length - start);
    this.#valueWidth = writer.closeSized(mark, width);
    return writer.length - mark;
  }

  /** A key as the store has it, in an array of its own. */
  encodeKey(key: unknown): Uint8Array {
    return encode((writer) => this.writeKey(writer, key));
  }

  /** The bytes of a range's bound or prefix, which may be one that no key has. */
  encodeBound(key: unknown): Uint8Array {
    return encode((writer) => this.#write(writer, key));
  }

  /** The bytes of a value. */
  encodeValue(value: unknown): Uint8Array {
    return encode((writer) => {
      this.values.write(writer, value);
      checkValueSize(writer.length - writer.start);
    });
  }

  /** Whether a key of the store belongs to this space. */
  has(key: Uint8Array): boolean {
    const { prefix, end } = this;
    if (prefix.length === 0) return !(key[0] === end[0] && key[1]! >= end[1]!);
    return key.length >= prefix.length && prefix.every((byte, i) => byte === key[i]);
  }

  /** Reads back the key between `start` and `end`, which belongs to this space. */
  readKey(bytes: Uint8Array, start: number, end: number): unknown {
    return this.keys.read(bytes, start + this.prefix.length, end);
  }
}

let spare: FrameWriter | undefined;

/** What `write` writes, in an array of its own. */
function encode(write: (writer: FrameWriter) => void): Uint8Array {
  // An encoder may lead back to here, and then finds none.
  const writer = spare ?? new FrameWriter();
  spare = undefined;
  const { start } = writer;
  try {
    write(writer);
    return writer.bytes.slice(start, writer.length);
  } finally {
    writer.rollback(start);
    if (writer.bytes.length <= KEEP_BYTES) spare = writer;
  }
}

/** Throws where the key between `start` and `end` belongs to a namespace, or is one of the store's own. */
function checkPlain(bytes: Uint8Array, start: number, end: number): void {
  if (end - start >= 2 && bytes[start] === 0xff && bytes[start + 1]! >= 0xfe) {
    throw new TempestError('TEMPEST_INVALID_KEY', 'keys that begin with the bytes FF FE or FF FF are reserved');
  }
}

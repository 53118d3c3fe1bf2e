// The default value encoding: MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), written straight into
// the frame. Whatever MessagePack has a type for is written as that type, so any reader of MessagePack understands it:
//
//   null, booleans, strings, arrays     nil, bool, str, array
//   numbers                             int where integral and within 32 bits (u32 or i32), else float 64
//   bigint                              int 64 or uint 64 where it fits, else extension 'B'
//   Uint8Array                          bin
//   plain objects, class instances      map of their own enumerable string properties
//   Date                                timestamp (extension −1)
//
// The rest are extensions, each a whole one, which other readers can step over:
//
//   0    undefined            one zero byte
//   'B'  bigint               two's complement, big-endian
//   'E'  Error                array of name, message, and cause where there is one
//   'M'  Map                  its keys and values in turn
//   'R'  reference            u32, big-endian: index, in the order they were begun, of an object written before
//   'S'  Set                  its values
//   'T'  typed array          u8 index in VIEW_NAMES, then its bytes, little-endian
//   'W'  ill-formed string    UTF-16 code units, little-endian: a string with lone surrogates has no UTF-8
//   'X'  RegExp               array of source and flags
//
// References keep shared and circular structure, as structured cloning does. No code is ever made from text, so a strict
// Content-Security-Policy is no obstacle.

import type { FrameWriter } from './frames.js';
import { decodeText, encodeText, encodeTextInto, isWellFormed } from './text.js';

const Extension = {
  undefined: 0x00,
  bigint: 0x42,
  error: 0x45,
  map: 0x4d,
  reference: 0x52,
  set: 0x53,
  view: 0x54,
  wideString: 0x57,
  regExp: 0x58,
  timestamp: 0xff,
} as const;

/** Index is part of the format; ArrayBuffer and DataView come last of those that every host has. */
const VIEW_NAMES = [
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
  'ArrayBuffer',
  'DataView',
  'Float16Array',
] as const;

type ViewConstructor = new (buffer: ArrayBuffer) => object;

/** Most levels of objects in objects. */
export const MAX_DEPTH = 1000;

/** Objects of one value up to this count are looked up one by one; more are put into a Map. */
const LINEAR_COUNT = 8;

const LONG_STRING = 4 << 10;

const errorConstructors: Record<string, ErrorConstructor | undefined> = {
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
};

/** Writes values into a frame. It keeps the objects of the value at hand, so it serves one value at a time. */
export class MsgpackEncoder {
  #seen: object[] = [];
  #indexes: Map<object, number> | undefined;
  #depth = 0;

  /** Throws a `TypeError` where `value` holds what cannot be stored: a function, a symbol, a promise… */
  write(writer: FrameWriter, value: unknown): void {
    this.#depth = 0;
    try {
      this.#value(writer, value);
    } finally {
      if (this.#seen.length > 0) {
        this.#seen.length = 0;
        this.#indexes = undefined;
      }
    }
  }

  #value(w: FrameWriter, value: unknown): void {
    switch (typeof value) {
      case 'string':
        return writeString(w, value);
      case 'number':
        return writeNumber(w, value);
      case 'boolean':
        return w.u8(value ? 0xc3 : 0xc2);
      case 'undefined':
        w.u8(0xd4);
        w.u8(Extension.undefined);
        return w.u8(0);
      case 'bigint':
        return writeBigInt(w, value);
      case 'object':
        return value === null ? w.u8(0xc0) : this.#object(w, value);
      default:
        throw new TypeError(`a ${typeof value} cannot be stored`);
    }
  }

  #object(w: FrameWriter, value: object): void {
    if (this.#reference(w, value)) return;
    if (++this.#depth > MAX_DEPTH) throw new RangeError(`a value nested more than ${MAX_DEPTH} levels deep cannot be stored`);
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) this.#properties(w, value);
    else if (Array.isArray(value)) this.#array(w, value);
    else if (ArrayBuffer.isView(value)) writeView(w, value);
    else this.#tagged(w, value);
    this.#depth--;
  }

  /** Writes a reference where `value` was met before, else remembers it. */
  #reference(w: FrameWriter, value: object): boolean {
    const seen = this.#seen;
    let index: number | undefined;
    if (this.#indexes !== undefined) {
      index = this.#indexes.get(value) ?? -1;
      if (index < 0) this.#indexes.set(value, seen.length);
    } else {
      index = seen.indexOf(value);
      if (index < 0 && seen.length === LINEAR_COUNT) {
        this.#indexes = new Map(seen.map((object, at) => [object, at]));
        this.#indexes.set(value, seen.length);
      }
    }
    if (index < 0) {
      seen.push(value);
      return false;
    }
    w.u8(0xd6);
    w.u8(Extension.reference);
    writeU32(w, index);
    return true;
  }

  #array(w: FrameWriter, values: readonly unknown[]): void {
    writeHead(w, values.length, 0x90, 16, 0xdc);
    for (let i = 0; i < values.length; i++) this.#value(w, values[i]);
  }

  #properties(w: FrameWriter, object: object): void {
    const keys = Object.keys(object);
    writeHead(w, keys.length, 0x80, 16, 0xde);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      writeString(w, key);
      this.#value(w, (object as Record<string, unknown>)[key]);
    }
  }

  /** Objects told apart by their tag, which also knows those of another frame's realm. */
  #tagged(w: FrameWriter, value: object): void {
    const tag = Object.prototype.toString.call(value).slice(8, -1);
    switch (tag) {
      case 'Object':
        return this.#properties(w, value);
      case 'Date':
        return writeDate(w, Date.prototype.getTime.call(value));
      case 'Map': {
        const mark = openExtension(w, Extension.map);
        for (const [key, item] of value as Map<unknown, unknown>) {
          this.#value(w, key);
          this.#value(w, item);
        }
        return closeExtension(w, mark);
      }
      case 'Set': {
        const mark = openExtension(w, Extension.set);
        for (const item of value as Set<unknown>) this.#value(w, item);
        return closeExtension(w, mark);
      }
      case 'ArrayBuffer':
        return writeViewBytes(w, tag, new Uint8Array(value as ArrayBuffer));
      case 'RegExp': {
        const { source, flags } = value as RegExp;
        const mark = openExtension(w, Extension.regExp);
        this.#array(w, [source, flags]);
        return closeExtension(w, mark);
      }
      case 'Error': {
        const { name, message, cause } = value as Error;
        const mark = openExtension(w, Extension.error);
        this.#array(w, 'cause' in value ? [String(name), String(message), cause] : [String(name), String(message)]);
        return closeExtension(w, mark);
      }
      default:
        throw new TypeError(`an object of kind ${tag} cannot be stored`);
    }
  }
}

/** Writes the head of a string, array or map: short ones in one byte, else with a 16-bit or 32-bit count. */
function writeHead(w: FrameWriter, count: number, short: number, shortCount: number, code16: number): void {
  w.ensure(5);
  if (count < shortCount) {
    w.bytes[w.length++] = short | count;
  } else if (count < 0x1_0000) {
    w.bytes[w.length] = code16;
    w.view.setUint16(w.length + 1, count);
    w.length += 3;
  } else {
    w.bytes[w.length] = code16 + 1;
    w.view.setUint32(w.length + 1, count);
    w.length += 5;
  }
}

function writeU32(w: FrameWriter, value: number): void {
  w.ensure(4);
  w.view.setUint32(w.length, value);
  w.length += 4;
}

function writeNumber(w: FrameWriter, value: number): void {
  w.ensure(9);
  const { bytes, length: at } = w;
  if (value >>> 0 === value && !Object.is(value, -0)) {
    if (value < 0x80) {
      bytes[at] = value;
      w.length += 1;
    } else if (value < 0x100) {
      bytes[at] = 0xcc;
      bytes[at + 1] = value;
      w.length += 2;
    } else if (value < 0x1_0000) {
      bytes[at] = 0xcd;
      w.view.setUint16(at + 1, value);
      w.length += 3;
    } else {
      bytes[at] = 0xce;
      w.view.setUint32(at + 1, value);
      w.length += 5;
    }
  } else if (value >> 0 === value && value < 0) {
    if (value >= -0x20) {
      bytes[at] = value;
      w.length += 1;
    } else if (value >= -0x80) {
      bytes[at] = 0xd0;
      bytes[at + 1] = value;
      w.length += 2;
    } else if (value >= -0x8000) {
      bytes[at] = 0xd1;
      w.view.setInt16(at + 1, value);
      w.length += 3;
    } else {
      bytes[at] = 0xd2;
      w.view.setInt32(at + 1, value);
      w.length += 5;
    }
  } else {
    bytes[at] = 0xcb;
    w.view.setFloat64(at + 1, value);
    w.length += 9;
  }
}

function writeBigInt(w: FrameWriter, value: bigint): void {
  if (value === BigInt.asIntN(64, value)) {
    w.u8(0xd3);
    w.ensure(8);
    w.view.setBigInt64(w.length, value);
    w.length += 8;
  } else if (value === BigInt.asUintN(64, value)) {
    w.u8(0xcf);
    w.ensure(8);
    w.view.setBigUint64(w.length, value);
    w.length += 8;
  } else {
    // Hexadecimal is the one way in and out of a large bigint that takes linear time. One digit more than the magnitude
    // has leaves room for the sign.
    const digits = (value < 0n ? ~value : value).toString(16).length + 1;
    const size = (digits + 1) >> 1;
    const hex = BigInt.asUintN(size * 8, value).toString(16).padStart(size * 2, '0');
    const mark = openExtension(w, Extension.bigint);
    w.ensure(size);
    for (let i = 0; i < size; i++) w.bytes[w.length++] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
    closeExtension(w, mark);
  }
}

function writeString(w: FrameWriter, text: string): void {
  const count = text.length;
  if (count >= LONG_STRING) return writeEncodedString(w, text);
  w.ensure(5 + count * 3);
  // A guess that the text is ASCII: its head is then as long as its count says, and the bytes stay where they are.
  const head = headSize(count);
  const { bytes } = w;
  const at = w.length + head;
  for (let i = 0; i < count; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return writeEncodedString(w, text);
    bytes[at + i] = unit;
  }
  writeStringHead(w, count);
  w.length += count;
}

function headSize(count: number): number {
  if (count < 0x20) return 1;
  if (count < 0x100) return 2;
  return count < 0x1_0000 ? 3 : 5;
}

function writeStringHead(w: FrameWriter, size: number): void {
  if (size >= 0x20 && size < 0x100) {
    w.u8(0xd9);
    w.u8(size);
  } else {
    writeHead(w, size, 0xa0, 0x20, 0xda);
  }
}

/** Writes a string that is long or not ASCII. */
function writeEncodedString(w: FrameWriter, text: string): void {
  if (!isWellFormed(text)) return writeWideString(w, text);
  const count = text.length;
  if (count >= LONG_STRING) {
    const encoded = encodeText(text);
    writeStringHead(w, encoded.length);
    return w.raw(encoded);
  }
  const at = w.length + 5;
  const size = encodeTextInto(text, w.bytes, at);
  writeStringHead(w, size);
  w.bytes.copyWithin(w.length, at, at + size);
  w.length += size;
}

function writeWideString(w: FrameWriter, text: string): void {
  const mark = openExtension(w, Extension.wideString);
  w.ensure(text.length * 2);
  for (let i = 0; i < text.length; i++) {
    w.view.setUint16(w.length, text.charCodeAt(i), true);
    w.length += 2;
  }
  closeExtension(w, mark);
}

/** Timestamp 32, 64 or 96, the smallest that fits; an invalid date is a timestamp of no known size. */
function writeDate(w: FrameWriter, millis: number): void {
  w.ensure(15);
  if (Number.isNaN(millis)) {
    w.u8(0xd4);
    w.u8(Extension.timestamp);
    return w.u8(0);
  }
  const seconds = Math.floor(millis / 1000);
  const nanos = (millis - seconds * 1000) * 1_000_000;
  const { bytes, view, length: at } = w;
  if (nanos === 0 && seconds >= 0 && seconds < 0x1_0000_0000) {
    bytes[at] = 0xd6;
    bytes[at + 1] = Extension.timestamp;
    view.setUint32(at + 2, seconds);
    w.length += 6;
  } else if (seconds >= 0 && seconds < 0x4_0000_0000) {
    bytes[at] = 0xd7;
    bytes[at + 1] = Extension.timestamp;
    view.setUint32(at + 2, nanos * 4 + Math.floor(seconds / 0x1_0000_0000));
    view.setUint32(at + 6, seconds % 0x1_0000_0000);
    w.length += 10;
  } else {
    bytes[at] = 0xc7;
    bytes[at + 1] = 12;
    bytes[at + 2] = Extension.timestamp;
    view.setUint32(at + 3, nanos);
    view.setBigInt64(at + 7, BigInt(seconds));
    w.length += 15;
  }
}

function writeView(w: FrameWriter, view: ArrayBufferView): void {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const name = Object.prototype.toString.call(view).slice(8, -1);
  if (name !== 'Uint8Array') return writeViewBytes(w, name, bytes);
  const size = bytes.length;
  if (size < 0x100) {
    w.u8(0xc4);
    w.u8(size);
  } else {
    writeHead(w, size, 0, 0, 0xc5);
  }
  w.raw(bytes);
}

function writeViewBytes(w: FrameWriter, name: string, bytes: Uint8Array): void {
  const code = (VIEW_NAMES as readonly string[]).indexOf(name);
  if (code < 0) throw new TypeError(`an object of kind ${name} cannot be stored`);
  const mark = openExtension(w, Extension.view);
  w.u8(code);
  w.raw(bytes);
  closeExtension(w, mark);
}

/** Starts an extension of yet unknown size. */
function openExtension(w: FrameWriter, type: number): number {
  w.ensure(6);
  const mark = w.length;
  w.bytes[mark] = 0xc9;
  w.bytes[mark + 5] = type;
  w.length += 6;
  return mark;
}

function closeExtension(w: FrameWriter, mark: number): void {
  w.view.setUint32(mark + 1, w.length - mark - 6);
}

const NO_BYTES = new Uint8Array(0);
const NO_VIEW = new DataView(NO_BYTES.buffer);

/** Short map keys come again and again; this many are kept, each in the slot that its bytes choose. */
const KEY_SLOTS = 512;
const KEY_BYTES = 16;

/** Reads values. Throws an error where the bytes are not one whole MessagePack value. */
export class MsgpackDecoder {
  #bytes: Uint8Array = NO_BYTES;
  #view: DataView = NO_VIEW;
  #at = 0;
  #end = 0;
  #depth = 0;
  #objects: object[] = [];
  #keys: (string | undefined)[] = new Array<undefined>(KEY_SLOTS).fill(undefined);

  read(bytes: Uint8Array, start: number, end: number): unknown {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    this.#at = start;
    this.#end = end;
    this.#depth = 0;
    try {
      const value = this.#value();
      if (this.#at !== end) throw new Error('bytes after the value');
      return value;
    } finally {
      if (this.#objects.length > 0) this.#objects.length = 0;
    }
  }

  /** Lets go of the last buffer read. */
  release(): void {
    this.#bytes = NO_BYTES;
    this.#view = NO_VIEW;
  }

  /** Steps over `size` bytes and returns where they start. */
  #skip(size: number): number {
    const at = this.#at;
    if (size > this.#end - at) throw new Error('value cut short');
    this.#at = at + size;
    return at;
  }

  #value(): unknown {
    const code = this.#bytes[this.#skip(1)]!;
    if (code < 0x80) return code;
    if (code < 0x90) return this.#properties(code & 0x0f);
    if (code < 0xa0) return this.#array(code & 0x0f);
    if (code < 0xc0) return this.#string(code & 0x1f);
    if (code >= 0xe0) return code - 0x100;
    const view = this.#view;
    switch (code) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#u8());
      case 0xc5:
        return this.#binary(this.#u16());
      case 0xc6:
        return this.#binary(this.#u32());
      case 0xc7:
        return this.#extension(this.#u8());
      case 0xc8:
        return this.#extension(this.#u16());
      case 0xc9:
        return this.#extension(this.#u32());
      case 0xca:
        return view.getFloat32(this.#skip(4));
      case 0xcb:
        return view.getFloat64(this.#skip(8));
      case 0xcc:
        return this.#u8();
      case 0xcd:
        return this.#u16();
      case 0xce:
        return this.#u32();
      case 0xcf:
        return view.getBigUint64(this.#skip(8));
      case 0xd0:
        return view.getInt8(this.#skip(1));
      case 0xd1:
        return view.getInt16(this.#skip(2));
      case 0xd2:
        return view.getInt32(this.#skip(4));
      case 0xd3:
        return view.getBigInt64(this.#skip(8));
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(1 << (code - 0xd4));
      case 0xd9:
        return this.#string(this.#u8());
      case 0xda:
        return this.#string(this.#u16());
      case 0xdb:
        return this.#string(this.#u32());
      case 0xdc:
        return this.#array(this.#u16());
      case 0xdd:
        return this.#array(this.#u32());
      case 0xde:
        return this.#properties(this.#u16());
      case 0xdf:
        return this.#properties(this.#u32());
      default:
        throw new Error(`no type has the code ${code}`);
    }
  }

  #u8(): number {
    return this.#bytes[this.#skip(1)]!;
  }

  #u16(): number {
    return this.#view.getUint16(this.#skip(2));
  }

  #u32(): number {
    return this.#view.getUint32(this.#skip(4));
  }

  #enter(): void {
    if (++this.#depth > MAX_DEPTH) throw new Error(`nested more than ${MAX_DEPTH} levels deep`);
  }

  #string(size: number): string {
    const at = this.#skip(size);
    return decodeText(this.#bytes, at, at + size);
  }

  #binary(size: number): Uint8Array {
    const at = this.#skip(size);
    return this.#begun(this.#bytes.slice(at, at + size));
  }

  /** Gives an object its index, which references name. */
  #begun<T extends object>(object: T): T {
    this.#objects.push(object);
    return object;
  }

  #array(count: number): unknown[] {
    // Every item takes a byte at least, so a count that lies fails here rather than by filling memory.
    if (count > this.#end - this.#at) throw new Error('array cut short');
    this.#enter();
    const values: unknown[] = this.#begun([]);
    for (let i = 0; i < count; i++) values.push(this.#value());
    this.#depth--;
    return values;
  }

  #properties(count: number): object {
    this.#enter();
    const object: Record<string, unknown> = this.#begun({});
    for (let i = 0; i < count; i++) {
      const key = this.#key();
      const value = this.#value();
      if (key === '__proto__') Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
      else object[key] = value;
    }
    this.#depth--;
    return object;
  }

  #key(): string {
    const code = this.#bytes[this.#at];
    if (code !== undefined && code >= 0xa0 && code <= 0xa0 + KEY_BYTES) {
      this.#at++;
      return this.#shortKey(code - 0xa0);
    }
    const key = this.#value();
    if (typeof key === 'object' && key !== null) throw new Error('the key of a property is an object');
    return String(key);
  }

  /** A short key, from the slot its bytes choose where it is there already. */
  #shortKey(size: number): string {
    const bytes = this.#bytes;
    const at = this.#skip(size);
    let hash = size;
    for (let i = 0; i < size; i++) hash = (hash * 31 + bytes[at + i]!) & 0xffff;
    const slot = hash % KEY_SLOTS;
    const known = this.#keys[slot];
    if (known !== undefined && known.length === size) {
      let i = 0;
      while (i < size && known.charCodeAt(i) === bytes[at + i]) i++;
      // Only ASCII is kept, where bytes and characters are the same.
      if (i === size) return known;
    }
    const key = decodeText(bytes, at, at + size);
    if (key.length === size) this.#keys[slot] = key;
    return key;
  }

  #extension(size: number): unknown {
    const type = this.#bytes[this.#skip(1)]!;
    const at = this.#at;
    if (size > this.#end - at) throw new Error('extension cut short');
    const outer = this.#end;
    const end = at + size;
    this.#end = end;
    const value = this.#extended(type, at, end);
    this.#at = end;
    this.#end = outer;
    return value;
  }

  #extended(type: number, at: number, end: number): unknown {
    switch (type) {
      case Extension.undefined:
        return undefined;
      case Extension.bigint:
        return this.#bigint(at, end);
      case Extension.timestamp:
        return this.#begun(this.#date(end - at));
      case Extension.reference: {
        const object = this.#objects[this.#u32()];
        if (object === undefined) throw new Error('reference to no object');
        return object;
      }
      case Extension.map: {
        this.#enter();
        const map = this.#begun(new Map<unknown, unknown>());
        while (this.#at < end) {
          const key = this.#value();
          map.set(key, this.#value());
        }
        this.#depth--;
        return map;
      }
      case Extension.set: {
        this.#enter();
        const set = this.#begun(new Set<unknown>());
        while (this.#at < end) set.add(this.#value());
        this.#depth--;
        return set;
      }
      case Extension.error:
        return this.#error();
      case Extension.regExp: {
        const index = this.#reserve();
        const [source, flags] = this.#parts();
        return (this.#objects[index] = new RegExp(String(source), String(flags)));
      }
      case Extension.view:
        return this.#begun(this.#typedView(end));
      case Extension.wideString: {
        let text = '';
        while (this.#at < end) text += String.fromCharCode(this.#view.getUint16(this.#skip(2), true));
        return text;
      }
      default:
        throw new Error(`no extension has the type ${type}`);
    }
  }

  #reserve(): number {
    return this.#objects.push({}) - 1;
  }

  /** The items of an array that is part of another object, and so has no index of its own. */
  #parts(): unknown[] {
    const count = this.#u8() & 0x0f;
    const parts: unknown[] = [];
    for (let i = 0; i < count; i++) parts.push(this.#value());
    return parts;
  }

  #error(): Error {
    this.#enter();
    const error: Error & { cause?: unknown } = this.#begun(new Error());
    const [name, message, ...cause] = this.#parts();
    const prototype = errorConstructors[String(name)]?.prototype as object | undefined;
    if (prototype !== undefined) Object.setPrototypeOf(error, prototype);
    define(error, 'message', String(message));
    if (error.name !== name) define(error, 'name', String(name));
    if (cause.length > 0) define(error, 'cause', cause[0]);
    delete error.stack;
    this.#depth--;
    return error;
  }

  #bigint(at: number, end: number): bigint {
    let hex = '0x0';
    for (let i = at; i < end; i++) hex += this.#bytes[i]!.toString(16).padStart(2, '0');
    return BigInt.asIntN((end - at) * 8, BigInt(hex));
  }

  #date(size: number): Date {
    const view = this.#view;
    switch (size) {
      case 4:
        return new Date(this.#u32() * 1000);
      case 8: {
        const high = this.#u32();
        const seconds = (high % 4) * 0x1_0000_0000 + this.#u32();
        return new Date(seconds * 1000 + Math.floor(Math.floor(high / 4) / 1_000_000));
      }
      case 12: {
        const nanos = this.#u32();
        return new Date(Number(view.getBigInt64(this.#skip(8))) * 1000 + Math.floor(nanos / 1_000_000));
      }
      default:
        return new Date(NaN);
    }
  }

  #typedView(end: number): object {
    const name = VIEW_NAMES[this.#u8()];
    const { buffer } = this.#bytes.slice(this.#at, end);
    if (name === 'ArrayBuffer') return buffer;
    const constructor = name === undefined ? undefined : (globalThis as unknown as Record<string, ViewConstructor | undefined>)[name];
    if (constructor === undefined) throw new Error('a typed array of an unknown kind');
    return new constructor(buffer as ArrayBuffer);
  }
}

function define(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, writable: true, enumerable: false, configurable: true });
}

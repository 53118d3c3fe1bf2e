// The default value encoding: MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md) by msgpackr, with its extensions
// for what MessagePack has no type for. Plain objects are its records, so that a MessagePack map is always a Map.
//
// msgpackr stores anything, and some of it as something else. So a value is looked through first, and refused where it would not
// come back as structured cloning gives it back; ValueEncoding in encodings.ts names the few differences that are left.

import { addExtension, Packr, RESET_BUFFER_MODE } from 'msgpackr/pack';
import type { FrameWriter } from './frames.js';
import { checkValueSize } from './limits.js';
import { isWellFormed } from './text.js';

/** Most levels of objects in objects. */
export const MAX_DEPTH = 1000;

/** The buffer of a value larger than this is not kept. */
const KEEP_BYTES = 1 << 20;
const POOL_BYTES = 8 << 10;

const NIL = Uint8Array.of(0xc0);

/** What msgpackr knows by its class, beside plain objects and arrays. */
const CLASSES = new Map<string, abstract new (...args: never) => object>(
  [
    ...[Date, RegExp, Map, Set, Error, ArrayBuffer, DataView, Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array],
    ...[Int32Array, Uint32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array],
  ].map((type) => [type.name, type]),
);

const ERRORS = new Map([EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((type) => [type.name, type]));

// In the bytes of msgpackr's own extension for errors, which makes a mess of an AggregateError and gives every error a cause.
addExtension({
  Class: Error,
  type: 0x65,
  write: (error: Error) => {
    const texts = [String(error.name), String(error.message)];
    return 'cause' in error ? [...texts, error.cause] : texts;
  },
  read: ([name, message, ...cause]: [string, string, unknown?]) => {
    const error = new (ERRORS.get(name) ?? Error)(message, cause.length > 0 ? { cause: cause[0] } : undefined);
    if (error.name !== name) Object.defineProperty(error, 'name', { value: name, writable: true, configurable: true });
    // It would tell where the value was read. Deleting it is not enough where it belongs to the prototype, as in Firefox.
    Object.defineProperty(error, 'stack', { value: undefined, writable: true, configurable: true });
    return error;
  },
});

/** How many values are being written: more than one where a getter in a value writes to another database. */
let writing = 0;

/** Writes values into a frame, and reads them back. */
export class Msgpack {
  // Without toJSON of the values, which would store something else; and bytes read are copies, not views of the frame.
  readonly #packr = new Packr({ structuredClone: true, useToJSON: false, copyBuffers: true });

  /** Throws a `TypeError` where `value` holds what cannot be stored: a function, a symbol, a promise… */
  write(writer: FrameWriter, value: unknown): void {
    if (value instanceof Uint8Array) return writeBytes(writer, value);
    check(value);
    writing++;
    try {
      // A view of a pool, to be overwritten by the next value.
      const packed: Uint8Array = this.#packr.pack(value, RESET_BUFFER_MODE);
      checkValueSize(packed.length);
      writer.raw(packed);
      if (packed.length > KEEP_BYTES && writing === 1) this.#packr.useBuffer(new Uint8Array(POOL_BYTES));
    } finally {
      writing--;
    }
  }

  /** Throws an error where the bytes are not one whole value. */
  read(bytes: Uint8Array, start: number, end: number): unknown {
    // The one code that stands for nothing. msgpackr has an object for it.
    if (bytes[start] === 0xc1) throw new Error('no value begins with 0xc1');
    return this.#packr.unpack(bytes, { start, end });
  }

  /** Lets go of the last buffer read: msgpackr holds it until the next. */
  release(): void {
    this.#packr.unpack(NIL);
  }
}

/** Bytes that are the value itself take no way round by a pool. */
function writeBytes(writer: FrameWriter, bytes: Uint8Array): void {
  checkAttached(bytes.buffer);
  const { length } = bytes;
  checkValueSize(length);
  if (length < 0x100) {
    writer.u8(0xc4);
    writer.u8(length);
  } else {
    writer.ensure(5);
    writer.bytes[writer.length] = 0xc6;
    writer.view.setUint32(writer.length + 1, length);
    writer.length += 5;
  }
  writer.raw(bytes);
}

/**
 * Throws where msgpackr would store `value` as something else. `seen` has the objects met so far, and tells whether one is an
 * error that is still being looked through.
 */
function check(value: unknown, seen?: Map<object, boolean>, depth = 0): void {
  switch (typeof value) {
    case 'string':
      return checkText(value);
    case 'function':
    case 'symbol':
      throw new TypeError(`a ${typeof value} cannot be stored`);
    case 'object':
      if (value !== null) checkObject(value, seen ?? new Map<object, boolean>(), depth + 1);
  }
}

function checkObject(value: object, seen: Map<object, boolean>, depth: number): void {
  const isOpenError = seen.get(value);
  if (isOpenError) throw new TypeError('an error that is its own cause cannot be stored');
  if (isOpenError !== undefined) return;
  seen.set(value, false);
  if (depth > MAX_DEPTH) throw new RangeError(`a value nested more than ${MAX_DEPTH} levels deep cannot be stored`);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return checkProperties(value, seen, depth);
  if (Array.isArray(value)) {
    checkValueSize(value.length);
    for (let i = 0; i < value.length; i++) check(value[i], seen, depth);
    return;
  }
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  // Without the method, msgpackr would take inherited properties for the object's own.
  if (kind === 'Object' && 'hasOwnProperty' in value) return checkProperties(value, seen, depth);
  const known = CLASSES.get(kind);
  if (known === undefined) throw new TypeError(`an object of kind ${kind} cannot be stored`);
  // msgpackr knows a Map or a view by its constructor, and others as instances, so all must be of this realm.
  const isExact = value instanceof Map || ArrayBuffer.isView(value);
  if (isExact ? value.constructor !== known : !(value instanceof known)) {
    throw new TypeError(`a ${kind} of a subclass or of another realm cannot be stored`);
  }
  if (value instanceof Map) {
    for (const [key, item] of value) {
      check(key, seen, depth);
      check(item, seen, depth);
    }
  } else if (value instanceof Set) {
    for (const item of value) check(item, seen, depth);
  } else if (value instanceof Error) {
    checkText(String(value.name));
    checkText(String(value.message));
    seen.set(value, true);
    check(value.cause, seen, depth);
    seen.set(value, false);
  } else if (value instanceof RegExp) {
    checkText(value.source);
  } else if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    checkValueSize(value.byteLength);
    checkAttached(value instanceof ArrayBuffer ? value : value.buffer);
  }
}

function checkProperties(object: object, seen: Map<object, boolean>, depth: number): void {
  for (const key of Object.keys(object)) {
    // Two names that msgpackr uses itself.
    if (key === '__proto__' || key === '__keys__') throw new TypeError(`a property named ${key} cannot be stored`);
    checkText(key);
    check((object as Record<string, unknown>)[key], seen, depth);
  }
}

function checkText(text: string): void {
  checkValueSize(text.length);
  if (!isWellFormed(text)) throw new TypeError('a string with lone surrogates has no UTF-8');
}

/** A detached buffer says that it is empty; making a view of it is what throws. */
function checkAttached(buffer: ArrayBufferLike): void {
  new Uint8Array(buffer);
}

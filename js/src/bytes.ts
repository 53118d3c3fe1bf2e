// Bytes as callers pass them in.

import { describe } from './errors.js';

/** Bytes as a caller may pass them in. They are copied during the call, so they may change after it. */
export type BytesInput = Uint8Array | ArrayBuffer | ArrayBufferView;

/**
 * A view of the caller's bytes, or a `TypeError` where they are none or were transferred away. `what` names them.
 */
export function viewOf(bytes: unknown, what: string): Uint8Array {
  let view: Uint8Array;
  if (bytes instanceof Uint8Array) view = bytes;
  else if (ArrayBuffer.isView(bytes)) view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  else if (isArrayBuffer(bytes)) view = new Uint8Array(bytes);
  else throw new TypeError(`${what} must be a Uint8Array, an ArrayBuffer or a view of one, not ${describe(bytes)}`);
  // A view of a detached buffer says that it is empty; making a new one is what throws.
  if (view.length === 0) new Uint8Array(view.buffer);
  return view;
}

function isArrayBuffer(value: unknown): value is ArrayBuffer {
  return Object.prototype.toString.call(value) === '[object ArrayBuffer]';
}

// Entries as lines of JSON, and back; docs/NDJSON.md describes them. What JSON has no type for is an object with one property, whose name begins with $.

import { describe, messageOf, TempestError } from './errors.js';
import type { BatchOperation, CallOptions, Durability } from './namespace.js';
import type { Scan } from './scan.js';
import { piecesOf, type Source } from './streams.js';
import { encodeText } from './text.js';

/** Where lines come from: a stream, such as a file's, or pieces of text or bytes cut anywhere. */
export type NdjsonSource = Source<Uint8Array> | Source<string> | Source<Uint8Array | string>;

/** How `importNdjson` imports. */
export interface NdjsonImportOptions extends CallOptions {
  /** When batches are acknowledged; by default as `open` was told. */
  durability?: Durability | undefined;

  /** Is told after each batch how many entries were put so far. */
  onProgress?: ((entries: number) => void) | undefined;
}

export const NDJSON_NAMES: ReadonlySet<string> = new Set(['signal', 'durability', 'onProgress']);

/** Most characters of a piece of the stream, but for its last line. */
const PIECE_LENGTH = 64 << 10;

/** Most entries of a batch, and most characters of their lines, but for the last. */
const BATCH_COUNT = 1000;
const BATCH_LENGTH = 1 << 20;

/** The entries of `scan` as lines. */
export function exportNdjson(scan: Scan<[unknown, unknown]>): ReadableStream<Uint8Array> {
  const iterator = scan[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        let text = '';
        let isDone = false;
        try {
          while (!isDone && text.length < PIECE_LENGTH) {
            const next = await iterator.next();
            if (next.done === true) isDone = true;
            else text += `${lineOf(next.value)}\n`;
          }
        } catch (error) {
          await iterator.return!();
          throw error;
        }
        if (text !== '') controller.enqueue(encodeText(text));
        if (isDone) controller.close();
      },
      async cancel() {
        await iterator.return!();
      },
    },
    { highWaterMark: 0 },
  );
}

function lineOf([key, value]: [unknown, unknown]): string {
  return JSON.stringify({ key: tag(key, []), value: tag(value, []) });
}

/** Puts the entries of the lines of `source` by batches, and returns how many there were. */
export async function importNdjson(
  put: (operations: readonly BatchOperation<unknown, unknown>[]) => Promise<unknown>,
  source: NdjsonSource,
  signal: AbortSignal | undefined,
  onProgress: ((entries: number) => void) | undefined,
): Promise<number> {
  let operations: BatchOperation<unknown, unknown>[] = [];
  let length = 0;
  let count = 0;
  let number = 0;
  const flush = async () => {
    if (operations.length === 0) return;
    await put(operations);
    count += operations.length;
    operations = [];
    length = 0;
    onProgress?.(count);
  };
  for await (const line of linesOf(source, signal)) {
    signal?.throwIfAborted();
    number++;
    if (/^\s*$/.test(line)) continue;
    operations.push(operationOf(line, number));
    length += line.length;
    if (operations.length >= BATCH_COUNT || length >= BATCH_LENGTH) await flush();
  }
  signal?.throwIfAborted();
  await flush();
  return count;
}

function operationOf(line: string, number: number): BatchOperation<unknown, unknown> {
  try {
    const entry = JSON.parse(line) as unknown;
    if (typeof entry !== 'object' || entry === null || !('key' in entry) || !('value' in entry)) throw new TypeError('no object with key and value');
    return { type: 'put', key: untag(entry.key), value: untag(entry.value) };
  } catch (cause) {
    throw new TempestError('TEMPEST_INVALID_ARGUMENT', `line ${number} is no entry: ${messageOf(cause)}`, { cause });
  }
}

async function* linesOf(source: NdjsonSource, signal: AbortSignal | undefined): AsyncGenerator<string, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  for await (const piece of piecesOf(source as Source<Uint8Array | string>, signal)) {
    if (typeof piece !== 'string' && !(piece instanceof Uint8Array)) throw new TypeError(`a piece must be text or bytes, not ${describe(piece)}`);
    const lines = (rest + (typeof piece === 'string' ? piece : decodePiece(decoder, piece))).split('\n');
    rest = lines.pop()!;
    yield* lines;
  }
  rest += decodePiece(decoder);
  if (rest !== '') yield rest;
}

function decodePiece(decoder: TextDecoder, piece?: Uint8Array): string {
  try {
    return piece === undefined ? decoder.decode() : decoder.decode(piece, { stream: true });
  } catch (cause) {
    throw new TempestError('TEMPEST_INVALID_ARGUMENT', 'the lines are not UTF-8', { cause });
  }
}

const TYPED = new Map<string, new (buffer: ArrayBuffer) => unknown>(
  [
    ...[DataView, Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array],
    ...[BigInt64Array, BigUint64Array],
  ].map((type) => [type.name, type]),
);

const ERRORS = new Map([EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((type) => [type.name, type]));

/** A value as JSON has it. `path` has the objects that it lies in. */
function tag(value: unknown, path: readonly object[]): unknown {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? value : { $number: Object.is(value, -0) ? '-0' : String(value) };
    case 'bigint':
      return { $bigint: String(value) };
    case 'undefined':
      return { $undefined: true };
    case 'object':
      return value === null ? null : tagObject(value, path);
    default:
      return value;
  }
}

function tagObject(value: object, path: readonly object[]): unknown {
  if (path.includes(value)) throw new TypeError('a value that contains itself cannot be written as JSON');
  const inside = [...path, value];
  const each = (items: Iterable<unknown>) => Array.from(items, (item) => tag(item, inside));
  if (Array.isArray(value)) return each(value);
  if (value instanceof Uint8Array) return { $bytes: toBase64(value) };
  if (value instanceof Date) return { $date: Number.isNaN(value.getTime()) ? null : value.toISOString() };
  if (value instanceof Map) return { $map: Array.from(value, (entry) => each(entry)) };
  if (value instanceof Set) return { $set: each(value) };
  if (value instanceof RegExp) return { $regexp: [value.source, value.flags] };
  if (value instanceof Error) {
    return { $error: [value.name, value.message, ...('cause' in value ? [tag(value.cause, inside)] : [])] };
  }
  if (value instanceof ArrayBuffer) return { $buffer: toBase64(new Uint8Array(value)) };
  if (ArrayBuffer.isView(value)) {
    return { $view: [value.constructor.name, toBase64(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))] };
  }
  const object = Object.fromEntries(Object.entries(value).map(([name, item]) => [name, tag(item, inside)]));
  return tagOf(object) === undefined ? object : { $object: object };
}

/** The tag of an object of JSON; `undefined` where it is none. */
function tagOf(object: object): string | undefined {
  const names = Object.keys(object);
  return names.length === 1 && names[0]!.startsWith('$') ? names[0] : undefined;
}

/** The value that `tag` made JSON of. Throws where there is none. */
function untag(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(untag);
  const name = tagOf(value);
  if (name === undefined) return untagEach(value);
  const body = (value as Record<string, unknown>)[name];
  switch (name) {
    case '$number':
      if (!['-0', 'NaN', 'Infinity', '-Infinity'].includes(body as string)) break;
      return Number(body);
    case '$bigint':
      return BigInt(textOf(body));
    case '$undefined':
      return undefined;
    case '$bytes':
      return fromBase64(body);
    case '$date':
      return new Date(body === null ? NaN : textOf(body));
    case '$map':
      return new Map(listOf(body).map((entry) => listOf(entry).map(untag) as [unknown, unknown]));
    case '$set':
      return new Set(listOf(body).map(untag));
    case '$regexp': {
      const [source, flags] = listOf(body);
      return new RegExp(textOf(source), textOf(flags));
    }
    case '$error':
      return errorOf(listOf(body));
    case '$buffer':
      return fromBase64(body).buffer;
    case '$view': {
      const [type, bytes] = listOf(body);
      const View = TYPED.get(textOf(type));
      if (View === undefined) break;
      return new View(fromBase64(bytes).buffer as ArrayBuffer);
    }
    case '$object':
      if (typeof body !== 'object' || body === null) break;
      return untagEach(body);
  }
  throw new TypeError(`${name} is no tag, or not of ${describe(body)}`);
}

function untagEach(object: object): object {
  return Object.fromEntries(Object.entries(object).map(([name, item]) => [name, untag(item)]));
}

function errorOf([name, message, ...cause]: unknown[]): Error {
  const type = ERRORS.get(textOf(name)) ?? Error;
  const error = new type(textOf(message), cause.length > 0 ? { cause: untag(cause[0]) } : undefined);
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name, writable: true, configurable: true });
  return error;
}

function textOf(body: unknown): string {
  if (typeof body !== 'string') throw new TypeError(`expected text, not ${describe(body)}`);
  return body;
}

function listOf(body: unknown): unknown[] {
  if (!Array.isArray(body)) throw new TypeError(`expected an array, not ${describe(body)}`);
  return body;
}

function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(text);
}

function fromBase64(body: unknown): Uint8Array {
  return Uint8Array.from(atob(textOf(body)), (character) => character.charCodeAt(0));
}

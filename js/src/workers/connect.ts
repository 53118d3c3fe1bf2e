// The way from a Worker to the store in an object.

import type { BackupSource } from '../backup.js';
import { Client, type Link } from '../client.js';
import { Database } from '../database.js';
import type { KeyEncoding, ValueEncoding } from '../encodings.js';
import { describe, messageOf, TempestError } from '../errors.js';
import { frameSize, FrameWriter, HEADER_BYTES } from '../frames.js';
import { type Durability, durabilityOf } from '../namespace.js';
import { checkName, type KeyOf, type ValueOf } from '../open.js';
import { checkNames } from '../options.js';
import type { TupleKey } from '../tuple.js';
import { countOf, entriesOf, errorReply } from './entries.js';
import { importTo, type ObjectImportOptions } from './imports.js';
import { MAX_FRAME_BYTES } from './limits.js';
import type { SessionEvents } from './sessions.js';

/** The binding of a class of objects: what is used of a `DurableObjectNamespace`. */
export interface TempestNamespace {
  idFromName(name: string): any;
  get(id: any): any;
}

/** How `connect` sees a store. An option of another name is a `TypeError`. */
export interface ConnectOptions {
  /** How keys become bytes: `'utf8'` by default. Always the same for one store. */
  keyEncoding?: KeyEncoding | undefined;

  /** How values become bytes: `'msgpack'` by default. Always the same for one store. */
  valueEncoding?: ValueEncoding<any> | undefined;

  /** As for `open`, with no difference between the two: a write to an object is durable when it is acknowledged. `'relaxed'` by default. */
  durability?: Durability | undefined;
}

const CONNECT_NAMES: ReadonlySet<string> = new Set(['keyEncoding', 'valueEncoding', 'durability']);

/**
 * The store in the object of this name; there is one for every name. Nothing is sent before the first call.
 *
 * The database is for one event (one request) of the Worker: make one for each, which costs nothing. Any number may be connected to an object, and
 * what one of them closes is its own connection. Where the object is reset or cannot be reached, calls reject with `TEMPEST_WORKER_DIED`: of a write among them it is not
 * known whether it happened. Then connect again.
 *
 * A call is at most 16 MiB when encoded (`TEMPEST_INVALID_ARGUMENT`).
 *
 * @param namespace - The binding of {@link TempestObject}, or of a class that extends it.
 * @param name - The store's name: 1 to 100 characters, any but lone surrogates.
 *
 * @example
 * ```ts
 * export default {
 *   async fetch(request, env) {
 *     const db = connect(env.TEMPEST, 'notes');
 *     await db.put('user:1', { name: 'Ada' });
 *     return Response.json(await db.get('user:1'));
 *   },
 * };
 * ```
 */
export function connect<const O extends ConnectOptions = ConnectOptions>(
  namespace: TempestNamespace,
  name: string,
  options?: O,
): Database<KeyOf<O>, ValueOf<O>>;
/** Connects to a store, with the types of its keys and values spelled out: `connect<string, Note>(env.TEMPEST, 'notes')`. */
export function connect<K extends string | Uint8Array | TupleKey, V>(
  namespace: TempestNamespace,
  name: string,
  options?: ConnectOptions,
): Database<K, V>;
export function connect(namespace: TempestNamespace, name: string, options: ConnectOptions = {}): Database<string, unknown> {
  const object = stubOf('connect', namespace, name);
  return databaseOn(name, options, (events) => new ObjectLink(() => object.tempestSession(), events));
}

/** A stub of the object of this name. */
function stubOf(call: string, namespace: TempestNamespace, name: string): ObjectStub {
  if (typeof (namespace as Partial<TempestNamespace> | undefined)?.idFromName !== 'function') {
    throw new TypeError(`${call} takes the binding of a Durable Object, not ${describe(namespace)}; is it in wrangler.toml?`);
  }
  checkName(name);
  return namespace.get(namespace.idFromName(name));
}

/**
 * Makes the store of an object out of a backup that `db.export()` made. The backup is checked as it comes and to its end. Until all of it has come the object
 * goes on with the store that it has; then the backup takes its place at once, and connections to the old one reject with `TEMPEST_WORKER_DIED`. An import that is
 * cut off leaves nothing behind.
 *
 * Rejects with `TEMPEST_CORRUPTION` where the backup is cut short, altered, or none at all, with `TEMPEST_INVALID_ARGUMENT` where the object has a store that
 * has been written to and `replace` was not asked for, with `TEMPEST_BUSY` where another import is under way, and with `TEMPEST_QUOTA_EXCEEDED` where the store
 * would be larger than the object's may be.
 *
 * @param namespace - The binding of {@link TempestObject}, or of a class that extends it.
 * @param name - The store's name, as for {@link connect}.
 * @param source - The backup: a stream, such as the body of an R2 object, or pieces of bytes.
 *
 * @example
 * ```ts
 * const backup = await env.BACKUPS.get('notes');
 * await importStore(env.TEMPEST, 'notes', backup.body, { replace: true });
 * ```
 */
export async function importStore(
  namespace: TempestNamespace,
  name: string,
  source: BackupSource,
  options: ObjectImportOptions = {},
): Promise<void> {
  const object = stubOf('importStore', namespace, name);
  await importTo(source, options, (events, replace) => new ObjectLink(() => object.tempestImport(replace), events));
}

/** A database on a link to an object's engine. */
export function databaseOn(name: string, options: ConnectOptions, linkOf: (events: SessionEvents) => Link): Database<string, unknown> {
  checkNames('options', options, CONNECT_NAMES);
  const { keyEncoding, valueEncoding } = options;
  const durability = durabilityOf(options.durability, 'relaxed');
  const link = linkOf({
    reply: (frame) => client.receive(frame),
    died: (error) => client.died(error),
  });
  const client = new Client(link);
  return new Database(client, {
    name,
    storage: 'object',
    supports: { persistent: true, strict: true },
    recovery: { sequence: 0, droppedBytes: 0, report: '' },
    durability,
    keyEncoding,
    valueEncoding,
  });
}

/** A stub of an object; see object.ts. */
interface ObjectStub {
  tempestSession(): SessionStub;
  tempestImport(replace: boolean): SessionStub;
}

/** A stub of a session; see object.ts. */
interface SessionStub {
  send(frame: ArrayBuffer): Promise<ArrayBuffer>;
  receive(): Promise<ArrayBuffer>;
  destroy(): Promise<void>;
  [Symbol.dispose]?(): void;
}

/** The way to an object, which begins with the first frame. */
class ObjectLink implements Link {
  readonly isShared = true;
  readonly isConfined = true;
  readonly #begin: () => SessionStub;
  readonly #events: SessionEvents;
  #session: SessionStub | undefined;

  /** How many requests wait for their answers, and how many frames for theirs. */
  #unanswered = 0;
  #sending = 0;
  #isReceiving = false;
  #isOver = false;

  /** @param begin - Begins a session of the object. */
  constructor(begin: () => SessionStub, events: SessionEvents) {
    this.#begin = begin;
    this.#events = events;
  }

  /** The session. The call that begins it travels together with the first that uses it. */
  #open(): SessionStub {
    return (this.#session ??= this.#begin());
  }

  send(writer: FrameWriter): void {
    const frame = writer.finish().slice();
    const frames = frame.length <= MAX_FRAME_BYTES ? [frame] : this.#split(frame);
    for (const part of frames) void this.#send(part);
  }

  /** Cuts up a frame that is too large. The calls that are too large by themselves fail. */
  #split(frame: Uint8Array): Uint8Array<ArrayBuffer>[] {
    const frames: Uint8Array<ArrayBuffer>[] = [];
    const writer = new FrameWriter();
    const finish = () => {
      if (!writer.isEmpty) frames.push(writer.finish().slice());
    };
    for (const { id, start, end } of entriesOf(frame)) {
      const size = end - start;
      if (HEADER_BYTES + size > MAX_FRAME_BYTES) {
        const error = new TempestError('TEMPEST_INVALID_ARGUMENT', `a call of ${size} bytes is larger than ${MAX_FRAME_BYTES}, which an object takes`);
        queueMicrotask(() => this.#events.reply(errorReply([id], error)));
        continue;
      }
      if (writer.length + size > MAX_FRAME_BYTES) finish();
      const mark = writer.length;
      writer.raw(frame.subarray(start, end));
      writer.end(mark);
    }
    finish();
    return frames;
  }

  async #send(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#unanswered += countOf(frame);
    this.#sending++;
    try {
      this.#deliver(await this.#open().send(frame.buffer));
    } catch (error) {
      this.#failed(error);
    }
    this.#sending--;
    await this.#receive();
  }

  /** Asks for the answers that did not come with the frames they are for, as long as there are any. */
  async #receive(): Promise<void> {
    if (this.#isReceiving) return;
    this.#isReceiving = true;
    try {
      while (this.#unanswered > 0 && this.#sending === 0 && !this.#isOver) this.#deliver(await this.#open().receive());
    } catch (error) {
      this.#failed(error);
    }
    this.#isReceiving = false;
  }

  #deliver(buffer: ArrayBuffer): void {
    const bytes = new Uint8Array(buffer);
    for (let at = 0; at < bytes.length && !this.#isOver; ) {
      const frame = bytes.subarray(at, at + Math.max(frameSize(bytes.subarray(at)), HEADER_BYTES));
      at += frame.length;
      this.#unanswered -= countOf(frame);
      this.#events.reply(frame);
    }
  }

  #failed(cause: unknown): void {
    if (this.#isOver) return;
    this.#end();
    this.#events.died(new TempestError('TEMPEST_WORKER_DIED', `the object ended the connection: ${messageOf(cause)}`, { cause }));
  }

  async release(isDoomed: boolean): Promise<void> {
    if (this.#isOver) return;
    try {
      if (isDoomed) await this.#open().destroy();
    } finally {
      this.#end();
    }
  }

  #end(): void {
    this.#isOver = true;
    this.#session?.[Symbol.dispose]?.();
  }
}

// A store behind the router: the same frames as everywhere, over HTTP. docs/HTTP.md, *Frames*, says what is sent.

import { Client, type Link } from './client.js';
import { Database } from './database.js';
import { type KeyEncoding, keyCodec, type ValueEncoding, ValueCodecs } from './encodings.js';
import { describe, messageOf, TempestError } from './errors.js';
import { frameSize, FrameWriter, HEADER_BYTES, Op } from './frames.js';
import { type CallOptions, type Durability, durabilityOf } from './namespace.js';
import { abortable, signalOf } from './options.js';
import { countOf, entriesOf, errorReply } from './workers/entries.js';

/** How `open` opens a store behind the router. An option of another name is a `TypeError`. */
export interface RemoteOptions extends CallOptions {
  /** The bearer token, one of the router's. One that may read only gives a store whose writes reject with `TEMPEST_UNAUTHORIZED`. */
  token: string;

  /** How keys become bytes: `'utf8'` by default. Always the same for one store. */
  keyEncoding?: KeyEncoding | undefined;

  /** How values become bytes: `'msgpack'` by default. Always the same for one store. */
  valueEncoding?: ValueEncoding<any> | undefined;

  /** With no difference between the two: a write is durable when it is acknowledged. `'relaxed'` by default. */
  durability?: Durability | undefined;
}

const REMOTE_NAMES: ReadonlySet<string> = new Set(['signal', 'token', 'keyEncoding', 'valueEncoding', 'durability']);

const FRAMES = 'application/x-tempestkv-frames';

/** Calls travel together up to this size in bytes: 1 MiB. It is a fraction of what a router takes, however it was set up. */
const TOGETHER_BYTES = 1 << 20;

/** Largest size in bytes of a call, with what is around it: 15 MiB, the most that a router can be set up to take. */
const MAX_REQUEST_BYTES = 15 << 20;

/** How long, in milliseconds, a request may take: 2 minutes, of which a large one needs some on a slow line. */
const REQUEST_MILLIS = 120_000;

/** How long, in milliseconds, a request for answers may take: a minute. The object lets it wait for 20 seconds. */
const RECEIVE_MILLIS = 60_000;

/** How long, in milliseconds, the request may take that ends a session, which would end without it. */
const CLOSE_MILLIS = 5000;

/** A session that has nothing open is not used again after this time in milliseconds: 1 minute, half of what the object grants it. */
const IDLE_MILLIS = 60_000;

/** Opens the store at this address. */
export async function openRemoteStore(address: string | URL, options: RemoteOptions): Promise<Database<string, unknown>> {
  const { url, name } = partsOf(address);
  const signal = signalOf(options, REMOTE_NAMES);
  const { token, keyEncoding, valueEncoding } = options;
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    // Its value is nobody's business.
    throw new TypeError(`token must be a string of visible ASCII characters, not ${typeof token === 'string' ? 'this one' : describe(token)}`);
  }
  keyCodec(keyEncoding);
  new ValueCodecs().of(valueEncoding);
  const durability = durabilityOf(options.durability, 'relaxed');
  const link = new HttpLink(url, token, {
    reply: (frame) => client.receive(frame),
    dropped: (error) => client.dropped(error),
    callCount: () => client.callCount,
  });
  const client = new Client(link);
  let sequence: number | undefined;
  try {
    const opened = client.ask(Op.stats, 0, () => undefined, (body) => body.figures()['sequence']);
    sequence = await abortable(opened, signal);
  } catch (error) {
    // Whoever gave up does not wait for it.
    void link.release(false);
    throw error;
  }
  return new Database(client, {
    name,
    storage: 'remote',
    supports: { persistent: true, strict: true },
    recovery: { sequence: sequence ?? 0, droppedBytes: 0, report: '' },
    durability,
    keyEncoding,
    valueEncoding,
  });
}

/** The address of a store's frames, and the store's name. */
function partsOf(address: string | URL): { url: string; name: string } {
  let url: URL;
  try {
    url = new URL(address);
  } catch (cause) {
    throw new TypeError(`${JSON.stringify(String(address))} is no address`, { cause });
  }
  const [, name] = /\/v1\/([A-Za-z0-9_-][A-Za-z0-9._-]{0,99})$/.exec(url.pathname) ?? [];
  const isBare = url.search === '' && url.hash === '' && url.username === '' && url.password === '';
  if (name === undefined || !isBare || !/^https?:$/.test(url.protocol)) {
    throw new TypeError('the address of a store is https://…/v1/ and its name: 1 to 100 of A-Z a-z 0-9 . _ -, the first no dot');
  }
  return { url: `${url.href}/frames`, name };
}

/** What a link tells its client, and asks it. */
interface LinkEvents {
  reply(frame: Uint8Array): void;

  /** What is under way, or open, is lost. */
  dropped(error: TempestError): void;

  /** How many calls are under way, and things open. */
  callCount(): number;
}

/** A session of the object's, by a name that only we know. */
interface Session {
  readonly name: string;

  /** Ends its requests. */
  readonly controller: AbortController;

  /** The number of the frame that is sent next. */
  turn: number;

  /** How many requests wait for their answers. */
  unanswered: number;
  usedMillis: number;
  isReceiving: boolean;
  isOver: boolean;
}

/**
 * The way to a router. Frames are sent one at a time, so that they cannot overtake each other; calls that are made meanwhile travel together in the
 * next. What is not answered at once is asked for beside them.
 *
 * Where a request fails the session is over, for nobody knows how far it came. The next call begins another.
 */
class HttpLink implements Link {
  readonly isShared = true;
  readonly #url: string;
  readonly #token: string;
  readonly #events: LinkEvents;
  #session: Session | undefined;

  /** What waits to be sent, and how many calls that is. */
  #batches: FrameWriter[] = [];
  #batchedCount = 0;
  #isSending = false;

  constructor(url: string, token: string, events: LinkEvents) {
    this.#url = url;
    this.#token = token;
    this.#events = events;
  }

  send(writer: FrameWriter): void {
    const frame = writer.finish();
    for (const { id, start, end } of entriesOf(frame)) {
      const size = end - start;
      if (HEADER_BYTES + size > MAX_REQUEST_BYTES) {
        this.#refuse([id], new TempestError('TEMPEST_INVALID_ARGUMENT', `a call of ${size} bytes is larger than ${MAX_REQUEST_BYTES}, the most over HTTP`));
        continue;
      }
      let batch = this.#batches.at(-1);
      if (batch === undefined || batch.length + size > TOGETHER_BYTES) this.#batches.push((batch = new FrameWriter()));
      const mark = batch.length;
      batch.raw(frame.subarray(start, end));
      batch.end(mark);
      this.#batchedCount++;
    }
    void this.#sendAll();
  }

  /** Answers calls that are not sent, later, as if they had been. */
  #refuse(ids: number[], error: TempestError): void {
    queueMicrotask(() => this.#events.reply(errorReply(ids, error)));
  }

  async #sendAll(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    // What else is made in this turn goes along.
    await undefined;
    for (let batch = this.#batches.shift(); batch !== undefined; batch = this.#batches.shift()) await this.#sendOne(batch.finish());
    this.#isSending = false;
    if (this.#session !== undefined) void this.#receive(this.#session);
  }

  async #sendOne(frame: Uint8Array): Promise<void> {
    const session = this.#current();
    const count = countOf(frame);
    this.#batchedCount -= count;
    session.unanswered += count;
    try {
      const answer = await this.#post(session, 'send', REQUEST_MILLIS, frame);
      session.turn++;
      this.#deliver(session, answer);
    } catch (cause) {
      const error = cause as TempestError;
      if (session.isOver || error.code === 'TEMPEST_DISCONNECTED') return this.#drop(session, error);
      // It came no further than the router.
      session.unanswered -= count;
      this.#events.reply(errorReply(entriesOf(frame).map(({ id }) => id), error));
    }
  }

  /** The session to send a frame in. */
  #current(): Session {
    const now = performance.now();
    const session = this.#session;
    const isIdle = this.#events.callCount() === this.#batchedCount;
    if (session === undefined || (isIdle && now - session.usedMillis > IDLE_MILLIS)) {
      if (session !== undefined) this.#end(session);
      this.#session = {
        name: [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
        controller: new AbortController(),
        turn: 0,
        unanswered: 0,
        usedMillis: now,
        isReceiving: false,
        isOver: false,
      };
    }
    this.#session!.usedMillis = now;
    return this.#session!;
  }

  /** Asks for the answers that did not come with the frames they are for, as long as there are any. */
  async #receive(session: Session): Promise<void> {
    if (session.isReceiving) return;
    session.isReceiving = true;
    try {
      while (session.unanswered > 0 && !this.#isSending && !session.isOver) {
        this.#deliver(session, await this.#post(session, 'receive', RECEIVE_MILLIS));
        session.usedMillis = performance.now();
      }
    } catch (error) {
      this.#drop(session, error as TempestError);
    }
    session.isReceiving = false;
  }

  #deliver(session: Session, buffer: ArrayBuffer): void {
    const bytes = new Uint8Array(buffer);
    for (let at = 0; at < bytes.length && !session.isOver; ) {
      const frame = bytes.subarray(at, at + Math.max(frameSize(bytes.subarray(at)), HEADER_BYTES));
      at += frame.length;
      session.unanswered -= countOf(frame);
      this.#events.reply(frame);
    }
  }

  #drop(session: Session, error: TempestError): void {
    if (session.isOver) return;
    this.#end(session);
    this.#batches = [];
    this.#batchedCount = 0;
    this.#events.dropped(error);
  }

  #end(session: Session): void {
    session.isOver = true;
    session.controller.abort();
    if (this.#session === session) this.#session = undefined;
  }

  /** Sends a request and returns the body of its answer. What it throws is a `TempestError`; `TEMPEST_DISCONNECTED` where it may have got through. */
  async #post({ name, turn, controller }: Session, does: string, millis: number, body?: Uint8Array): Promise<ArrayBuffer> {
    const headers: Record<string, string> = { authorization: `Bearer ${this.#token}`, 'tempest-session': name };
    if (body !== undefined) Object.assign(headers, { 'content-type': FRAMES, 'tempest-turn': String(turn) });
    const request = new AbortController();
    const stop = () => request.abort();
    const timer = setTimeout(stop, millis);
    controller.signal.addEventListener('abort', stop);
    try {
      const response = await fetch(`${this.#url}?do=${does}`, {
        method: 'POST',
        headers,
        body: (body as Uint8Array<ArrayBuffer> | undefined) ?? null,
        signal: request.signal,
        cache: 'no-store',
        credentials: 'omit',
        keepalive: does === 'close',
        redirect: 'error',
      });
      const answer = await response.arrayBuffer();
      if (response.status === 200 && response.headers.get('content-type') === FRAMES) return answer;
      throw failureOf(response, answer);
    } catch (cause) {
      if (cause instanceof TempestError) throw cause;
      const { origin } = new URL(this.#url);
      throw new TempestError('TEMPEST_DISCONNECTED', `no answer from ${origin}, or none that this page may read: ${messageOf(cause)}`, { cause });
    } finally {
      clearTimeout(timer);
      controller.signal.removeEventListener('abort', stop);
    }
  }

  async release(isDoomed: boolean): Promise<void> {
    const session = isDoomed ? this.#current() : this.#session;
    if (session === undefined) return;
    // What it waits for nobody wants any more.
    this.#end(session);
    const last: Session = { ...session, controller: new AbortController() };
    if (isDoomed) await this.#post(last, 'destroy', REQUEST_MILLIS);
    else await this.#post(last, 'close', CLOSE_MILLIS).catch(() => undefined);
  }
}

/** What an answer that has no frames says. */
function failureOf({ status, headers }: Response, body: ArrayBuffer): TempestError {
  let said: { code?: unknown; detail?: unknown } = {};
  try {
    if (headers.get('content-type')?.startsWith('application/problem+json') === true) said = JSON.parse(new TextDecoder().decode(body)) as typeof said;
  } catch {
    // The status says enough.
  }
  const why = `the answer has status ${status}${typeof said.detail === 'string' ? `: ${said.detail}` : ''}`;
  if (status === 401 || status === 403) return new TempestError('TEMPEST_UNAUTHORIZED', why);
  if (status === 413) return new TempestError('TEMPEST_INVALID_ARGUMENT', why);
  if (status === 429) return new TempestError('TEMPEST_BUSY', why);
  if (status === 501 || (status >= 400 && status < 500)) return new TempestError('TEMPEST_NOT_SUPPORTED', `there is no router at this address; ${why}`);
  return new TempestError('TEMPEST_DISCONNECTED', why);
}

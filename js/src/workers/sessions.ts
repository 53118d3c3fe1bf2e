// Who talks to an object's engine: sessions, each with ids of its own.

import { TempestError } from '../errors.js';
import { countOf, entriesOf, errorReply, OpenThings } from './entries.js';
import { FrameReader, Op, readU32 } from '../frames.js';
import { MAX_REPLY_BYTES, REPLY_BYTES } from './limits.js';

/** Where a session is in a frame's header. */
const SESSION_AT = 4;

/** Session 0 is the host's own. */
const FIRST_SESSION = 1;
const LAST_SESSION = 0xffff_ffff;

/** What a session's client is told. */
export interface SessionEvents {
  /** A reply frame. */
  reply(frame: Uint8Array<ArrayBuffer>): void;

  /** Nothing more will come. */
  died(error: TempestError): void;
}

/** What a session's frames go through. */
export interface Exchange {
  /** Begins a session and returns its number. */
  begin(events: SessionEvents): number;

  /** Sends a request frame, whose header is changed. Throws where the session has no business sending it, or it is none. */
  send(number: number, frame: Uint8Array): void;

  /** Ends a session. A second time does nothing. */
  end(number: number): void;
}

interface SessionState {
  readonly events: SessionEvents;
  readonly open: OpenThings;
}

/** The sessions of one engine. */
export class Sessions implements Exchange {
  readonly #submit: (frame: Uint8Array) => void;
  readonly #sessions = new Map<number, SessionState>();
  #next = FIRST_SESSION;
  #hasWritten = false;

  /** @param submit - Gives the engine a request frame. */
  constructor(submit: (frame: Uint8Array) => void) {
    this.#submit = submit;
  }

  /** Whether anybody has tried to write. */
  get hasWritten(): boolean {
    return this.#hasWritten;
  }

  begin(events: SessionEvents): number {
    while (this.#sessions.has(this.#next)) this.#advance();
    const session = this.#next;
    this.#advance();
    this.#sessions.set(session, { events, open: new OpenThings() });
    return session;
  }

  #advance(): void {
    this.#next = this.#next === LAST_SESSION ? FIRST_SESSION : this.#next + 1;
  }

  /**
   * Sends a request frame, whose header is changed. Throws a `TypeError` where the session has no business sending it, and a `FrameError` where it
   * is none.
   */
  send(number: number, frame: Uint8Array): void {
    const session = this.#sessions.get(number);
    if (session === undefined) throw new TempestError('TEMPEST_CLOSED', 'the session has ended');
    const entries = entriesOf(frame);
    for (const entry of entries) {
      if (entry.op === Op.open || entry.op === Op.close) throw new TypeError('an object opens and closes its store by itself');
    }
    for (const entry of entries) {
      session.open.sent(entry);
      if (entry.op === Op.write) this.#hasWritten = true;
    }
    this.#address(number, frame);
    this.#submit(frame);
  }

  #address(session: number, frame: Uint8Array): void {
    new DataView(frame.buffer, frame.byteOffset).setUint32(SESSION_AT, session, true);
  }

  /** Passes a reply frame on to its session. One of a session that has ended is dropped. */
  receive(frame: Uint8Array<ArrayBuffer>): void {
    this.#sessions.get(readU32(frame, SESSION_AT))?.events.reply(frame);
  }

  /** Ends all sessions, because the engine has. */
  died(error: TempestError): void {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const { events } of sessions) events.died(error);
  }

  /** Ends a session: its scans are closed, and what is still to be answered is answered to nobody. A second time does nothing. */
  end(number: number): void {
    const session = this.#sessions.get(number);
    if (session === undefined) return;
    this.#sessions.delete(number);
    const closing = session.open.closing();
    if (closing === undefined) return;
    this.#address(number, closing);
    this.#submit(closing);
  }
}

/** The reply frames of a session on their way to a client that has to ask for them. */
export class Mailbox implements SessionEvents {
  readonly #frames: Uint8Array<ArrayBuffer>[] = [];
  #unanswered = 0;
  #failure: TempestError | undefined;
  #waiting: { promise: Promise<void>; resolve: () => void } | undefined;

  /** Whether requests have not been answered yet. */
  get isWaiting(): boolean {
    return this.#unanswered > 0;
  }

  /** Throws where no answer will come to what is sent. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Hears of a request frame that is sent. */
  sent(frame: Uint8Array): void {
    this.#unanswered += countOf(frame);
  }

  reply(frame: Uint8Array<ArrayBuffer>): void {
    this.#unanswered -= countOf(frame);
    this.#frames.push(frame.length > MAX_REPLY_BYTES ? tooLarge(frame) : frame);
    this.#awaken();
  }

  died(error: TempestError): void {
    this.#failure ??= error;
    this.#awaken();
  }

  #awaken(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

  /**
   * The frames that are here, one behind the other; none is an empty buffer. At least one where there is any, more while they are no more than
   * `mostBytes` together. Throws where there is none and nothing will come.
   */
  take(mostBytes = REPLY_BYTES): ArrayBuffer {
    const frames = this.#frames;
    if (frames.length === 0) this.check();
    if (frames.length === 1) return frames.pop()!.buffer;
    let size = 0;
    let count = 0;
    for (const { length } of frames) {
      if (count > 0 && size + length > mostBytes) break;
      size += length;
      count++;
    }
    const all = new Uint8Array(size);
    let at = 0;
    for (const frame of frames.splice(0, count)) {
      all.set(frame, at);
      at += frame.length;
    }
    return all.buffer;
  }

  /** Resolves when there is a frame to take, or nothing will come. */
  async arrival(): Promise<void> {
    while (this.#frames.length === 0 && this.#failure === undefined) await this.#next();
  }

  /** Resolves with the next frame that comes. */
  #next(): Promise<void> {
    if (this.#waiting === undefined) {
      let resolve!: () => void;
      const promise = new Promise<void>((r) => (resolve = r));
      this.#waiting = { promise, resolve };
    }
    return this.#waiting.promise;
  }

  /** Resolves when everything that was sent has been answered, or nothing will come. */
  async answered(): Promise<void> {
    while (this.#unanswered > 0 && this.#failure === undefined) await this.#next();
  }
}

/** What is sent in the place of a reply that the platform does not carry. */
function tooLarge(frame: Uint8Array): Uint8Array<ArrayBuffer> {
  const ids: number[] = [];
  const reader = new FrameReader(frame);
  while (reader.next()) ids.push(reader.id);
  return errorReply(
    ids,
    new TempestError('TEMPEST_INVALID_ARGUMENT', `an answer of ${frame.length} bytes is larger than a message between Workers may be; ask for less`),
  );
}

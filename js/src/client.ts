// The client's side of the bridge: packs the calls of a turn into a frame, and settles promises as replies come.

import { Calls, Kind } from './calls.js';
import { type ValueCodec, ValueCodecs } from './encodings.js';
import { asTempestError, TempestError } from './errors.js';
import { BodyReader, ENTRY_BYTES, FrameReader, FrameWriter, LAST, MALFORMED_ID, NOTICE_ID, Op, readU64, Status } from './frames.js';
import { FLUSH_BYTES, MAX_CALLS } from './limits.js';
import type { Cursor } from './scan.js';

/** The way to an engine: in this thread, or in a worker. */
export interface Link {
  /** Sends the writer's frame, where it has entries, and leaves the writer ready for the next. */
  send(writer: FrameWriter): void;

  /** The store has other clients too: it stays open when this one closes. */
  readonly isShared?: boolean;

  /**
   * Only the event that made it may send, so nothing is sent from a finalizer, which belongs to no event. What is left open ends with the link.
   */
  readonly isConfined?: boolean;

  /**
   * Lets the engine, the file and the lock go, having deleted the store first where `isDoomed`; rejects where it could not be deleted. Called
   * once, when no call is under way or the engine is dead, and deletes nothing then.
   */
  release(isDoomed: boolean): Promise<void>;
}

/** What a client tells whoever made it. */
export interface ClientEvents {
  /** The engine tells something unasked: a name, and figures. */
  notice(name: string, figures: Record<string, number>): void;
  /** Background work has failed, or the store has become read-only. */
  failed(error: TempestError): void;


  /** The store has been let go; where the engine died, with the error that calls are given. */
  ended(error: TempestError | undefined): void;
}

/** Something that the engine keeps until it is closed: a snapshot, a watch, an export. It is named by the id of the request that opened it. */
export class Handle {
  id = 0;
  isAnswered = false;
  isClosed = false;

  /** What calls that need it fail with once it is closed. */
  error: unknown;

  /** Settles when the request that opens it has been answered, or given up. */
  opening: Promise<unknown> | undefined;

  /** Settles when the engine has closed it. */
  closing: Promise<unknown> | undefined;

  /** The operation that closes it. */
  readonly closeOp: number;

  /** Calls made after the one that opens it have to wait for that. */
  readonly isBarrier: boolean;

  constructor(closeOp: number, isBarrier = false) {
    this.closeOp = closeOp;
    this.isBarrier = isBarrier;
  }
}

function ignore(): void {}

interface Forgotten {
  readonly client: Client;
  readonly handle: Handle;
  readonly warning: string | undefined;
}

let forgotten: FinalizationRegistry<Forgotten> | undefined;

/** Closes `handle` when nothing refers to `user` any more, and warns of it; neither the client nor the handle may refer to `user`. */
export function closeWhenCollected(user: object, client: Client, handle: Handle, warning?: string): void {
  if (typeof FinalizationRegistry === 'undefined' || !client.closesDropped) return;
  forgotten ??= new FinalizationRegistry(({ client, handle, warning }) => {
    if (handle.isClosed) return;
    if (warning !== undefined) console.warn(`tempestkv: ${warning}`);
    void client.closeHandle(handle, undefined);
  });
  forgotten.register(user, { client, handle, warning });
}

/** Decodes a reply. Its bytes are the decoder's to keep. */
export type Decode<T> = (body: BodyReader, flags: number) => T;

/** Decoders are told to let go of a reply larger than this. */
const KEEP_BYTES = 1 << 20;

export class Client {
  /** Where the calls of this turn are written to. */
  writer = new FrameWriter();
  readonly codecs = new ValueCodecs();

  /** Set by whoever wants to hear. */
  events: ClientEvents | undefined;

  readonly #link: Link;
  readonly #calls = new Calls();

  /** Frames that wait for a barrier to be answered; each ends with the next one. */
  readonly #waiting: FrameWriter[] = [];
  #isHeld = false;

  /** The passes whose readers have not come to the end, whether or not the engine has. */
  readonly #cursors = new Set<Cursor>();

  /** The handles that are open, or about to be. */
  readonly #handles = new Set<Handle>();

  readonly #flush = () => this.#flushTurn();
  #mark = 0;
  #isEncoding = false;
  #isFlushing = false;
  #refusal: TempestError | undefined;
  #death: TempestError | undefined;
  #closed: Promise<void> | undefined;
  #destroyed: Promise<void> | undefined;

  /** The store is to be deleted when it is let go. */
  #isDoomed = false;
  #isReleased = false;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Whether what is dropped without being closed is to be closed when it is collected. */
  get closesDropped(): boolean {
    return this.#link.isConfined !== true;
  }

  /** How many calls are under way, open scans and handles included. */
  get callCount(): number {
    return this.#calls.count;
  }

  /** Throws where no call can be made any more. */
  checkOpen(): void {
    if (this.#refusal !== undefined) throw this.#refusal;
  }

  /**
   * Starts a call: its body is to be written to `writer`, then comes `commit`, or `rollback` where the body failed.
   * Throws `TEMPEST_CLOSED`, `TEMPEST_WORKER_DIED` or `TEMPEST_BUSY` where no call can start.
   */
  begin(op: number, flags: number, kind: number, owner?: unknown): number {
    this.checkOpen();
    if (this.#calls.count >= MAX_CALLS) throw new TempestError('TEMPEST_BUSY', `${MAX_CALLS} calls are under way already`);
    return this.#begin(op, flags, kind, owner);
  }

  #begin(op: number, flags: number, kind: number, owner?: unknown): number {
    if (this.#isEncoding) throw new TypeError('an encoder or a getter of a stored value called the database it is stored in');
    // The only thing here that may fail, so it comes first.
    this.writer.ensure(ENTRY_BYTES);
    const id = this.#calls.add(kind, owner);
    this.#isEncoding = true;
    this.#mark = this.writer.begin(id, op, flags);
    return id;
  }

  /** Takes back the call that `begin` started last. */
  rollback(id: number): void {
    this.writer.rollback(this.#mark);
    this.#isEncoding = false;
    this.#calls.release(id);
  }

  /** Ends the call that `begin` started last; it is sent with the others of its turn. */
  commit(id: number, signal?: AbortSignal): Promise<unknown> {
    const promise = this.#calls.promise(id, signal);
    this.#enqueue();
    return promise;
  }

  #enqueue(): void {
    const { writer } = this;
    writer.end(this.#mark);
    this.#isEncoding = false;
    if (writer.length >= FLUSH_BYTES) this.#send();
    else this.#flushLater();
  }

  #flushLater(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    queueMicrotask(this.#flush);
  }

  #flushTurn(): void {
    this.#isFlushing = false;
    this.#send();
  }

  /** Sends what may be sent: up to the next barrier. */
  #send(): void {
    while (!this.#isHeld && this.#death === undefined) {
      const held = this.#waiting.shift();
      this.#isHeld = held !== undefined;
      const writer = held ?? this.writer;
      if (!writer.isEmpty) this.#link.send(writer);
      if (held === undefined) return;
    }
  }

  /** Makes a call whose body `write` writes. */
  call(op: number, flags: number, kind: number, write: (writer: FrameWriter) => void, signal?: AbortSignal, owner?: unknown): Promise<unknown> {
    let id = -1;
    try {
      id = this.begin(op, flags, kind, owner);
      write(this.writer);
      return this.commit(id, signal);
    } catch (error) {
      if (id >= 0) this.rollback(id);
      return Promise.reject(error);
    }
  }

  /** Makes a call whose reply `decode` decodes. */
  ask<T>(op: number, flags: number, write: (writer: FrameWriter) => void, decode: Decode<T>, signal?: AbortSignal): Promise<T> {
    return this.call(op, flags, Kind.other, write, signal, decode) as Promise<T>;
  }

  /**
   * Opens what the engine keeps until `closeHandle`, and resolves to the number that the engine answers with. Calls made after a barrier are sent when it
   * has been answered: whatever they do, it has been there before.
   */
  open(handle: Handle, op: number, flags: number, write: (writer: FrameWriter) => void, signal?: AbortSignal): Promise<number> {
    const opened = this.call(
      op,
      flags,
      Kind.handle,
      (writer) => {
        write(writer);
        this.#handles.add(handle);
      },
      signal,
      handle,
    );
    if (handle.isBarrier && this.#handles.has(handle)) {
      this.#waiting.push(this.writer);
      this.writer = new FrameWriter();
    }
    handle.opening = opened.catch(ignore);
    return opened as Promise<number>;
  }

  /** Closes what `open` opened; calls that need it fail with `error` from now on. Resolves when the engine has closed it. A second time does nothing. */
  async closeHandle(handle: Handle, error: unknown): Promise<void> {
    if (!handle.isClosed) {
      handle.isClosed = true;
      handle.error = error;
      this.#handles.delete(handle);
      // Else its answer is what closes it.
      if (handle.isAnswered) this.#sendClose(handle);
    }
    await handle.opening;
    await handle.closing;
  }

  #sendClose(handle: Handle): void {
    handle.closing = new Promise((resolve) => {
      this.#whenWritable(() => {
        if (this.#death !== undefined) return resolve(undefined);
        const id = this.#begin(handle.closeOp, 0, Kind.handleClose, handle);
        this.writer.u32(handle.id);
        // Whatever the answer, it is closed.
        this.commit(id).then(resolve, resolve);
      });
    });
  }

  /** Sends the scan of `cursor`; its id names it until it ends. */
  openScan(cursor: Cursor, flags: number): void {
    const id = this.begin(Op.scan, flags, Kind.scan, cursor);
    cursor.writeRequest(this.writer);
    cursor.id = id;
    this.#cursors.add(cursor);
    this.#enqueue();
  }

  /** Asks for the next run of `cursor`. */
  nextRun(cursor: Cursor, size: number): void {
    this.#whenWritable(() => {
      // It may have been closed since.
      if (!this.#cursors.has(cursor)) return;
      this.#begin(Op.scanNext, 0, Kind.scanNext, cursor);
      this.writer.u32(cursor.id);
      this.writer.u32(size);
      this.#enqueue();
    });
  }

  /** Forgets `cursor`, and frees its scan in the engine where that is still open. */
  closeScan(cursor: Cursor): void {
    this.#cursors.delete(cursor);
    this.#whenWritable(() => {
      if (cursor.isOver || this.#death !== undefined) return;
      this.#begin(Op.scanClose, 0, Kind.scanClose, cursor);
      this.writer.u32(cursor.id);
      this.#enqueue();
    });
  }

  /** Runs what writes to the frame: at once, or after the entry that an encoder or a getter, which led here, is a part of. */
  #whenWritable(run: () => void): void {
    if (this.#isEncoding) queueMicrotask(run);
    else run();
  }

  /** Takes a reply frame. Its bytes belong to the client from now on. */
  receive(frame: Uint8Array): void {
    if (this.#death !== undefined) return;
    try {
      const reader = new FrameReader(frame);
      while (reader.next()) this.#settle(reader);
    } catch (cause) {
      this.died(new TempestError('TEMPEST_WORKER_DIED', 'the engine sent a reply that makes no sense', { cause }));
    }
    if (frame.length > KEEP_BYTES) this.codecs.release();
  }

  #settle(reader: FrameReader): void {
    const calls = this.#calls;
    const { id, status } = reader;
    const kind = calls.kind(id);
    if (kind === undefined || kind === Kind.held) return this.#settleOther(reader);
    if (kind >= Kind.scan) return this.#settleScan(reader, kind);
    const owner = calls.owner(id);
    if (kind === Kind.handleClose) calls.release((owner as Handle).id);
    if (owner instanceof Handle && kind !== Kind.handleClose) {
      if (owner.isBarrier) {
        this.#isHeld = false;
        this.#flushLater();
      }
      if (status !== Status.error) return this.#opened(owner, reader, kind);
      this.#handles.delete(owner);
    }
    if (kind === Kind.abandoned) return calls.release(id);
    if (status === Status.error) return calls.reject(id, reader.error());
    let result: unknown;
    try {
      result = this.#result(reader, kind, owner);
    } catch (error) {
      return calls.reject(id, asTempestError(error, 'TEMPEST_CORRUPTION'));
    }
    calls.resolve(id, result);
  }

  /** What is the answer to no call. */
  #settleOther(reader: FrameReader): void {
    const { id, bytes, start, end } = reader;
    const isError = reader.status === Status.error;
    if (id === NOTICE_ID) {
      const body = new BodyReader(bytes, start, end);
      if (isError) this.events?.failed(reader.error());
      else this.events?.notice(body.text(), body.figures());
      return;
    }
    if (id === MALFORMED_ID && isError) throw reader.error();
    throw new Error(`no call has the id ${id}`);
  }

  /** A handle is open. It is closed at once where nobody wants it any more. */
  #opened(handle: Handle, reader: FrameReader, kind: number): void {
    const { id, bytes, start, end } = reader;
    const number = new BodyReader(bytes, start, end).u64();
    handle.isAnswered = true;
    handle.id = id;
    if (kind === Kind.abandoned && !handle.isClosed) void this.closeHandle(handle, undefined);
    else if (handle.isClosed) this.#sendClose(handle);
    this.#calls.hold(id, number);
  }

  #result(reader: FrameReader, kind: number, owner: unknown): unknown {
    const { bytes, start, end } = reader;
    switch (kind) {
      case Kind.value:
        return reader.status === Status.notFound ? undefined : (owner as ValueCodec).read(bytes, start, end);
      case Kind.sequence:
        return readU64(bytes, start);
      case Kind.values: {
        const body = new BodyReader(bytes, start, end);
        const values: unknown[] = [];
        while (!body.isDone) {
          const size = body.varint() - 1;
          if (size < 0) {
            values.push(undefined);
          } else {
            const at = body.skip(size);
            values.push((owner as ValueCodec).read(bytes, at, at + size));
          }
        }
        return values;
      }
      case Kind.other:
        return reader.status === Status.notFound ? undefined : (owner as Decode<unknown>)(new BodyReader(bytes, start, end), reader.flags);
      default:
        return undefined;
    }
  }

  /** A scan's id is taken until it has been answered and has ended, or its closing was answered. */
  #settleScan(reader: FrameReader, kind: number): void {
    const calls = this.#calls;
    const { id } = reader;
    const cursor = calls.owner(id) as Cursor;
    if (kind !== Kind.scan) calls.release(id);
    else cursor.isAnswered = true;
    if (kind === Kind.scanClose) {
      cursor.isOver = true;
    } else if (reader.status === Status.error) {
      cursor.isOver = true;
      this.#cursors.delete(cursor);
      cursor.fail(reader.error());
    } else {
      const isLast = (reader.flags & LAST) !== 0;
      if (isLast) cursor.isOver = true;
      cursor.push(reader.bytes, reader.start, reader.end, isLast);
    }
    if (cursor.isOver && cursor.isAnswered && !cursor.isReleased) {
      cursor.isReleased = true;
      calls.release(cursor.id);
    }
  }

  /** The way to the engine was cut off: every call under way fails, and whatever was open is gone. Later calls are sent on a new way. */
  dropped(error: TempestError): void {
    if (this.#death !== undefined) return;
    for (const cursor of this.#cursors) {
      cursor.isOver = true;
      cursor.fail(error);
    }
    this.#cursors.clear();
    for (const handle of this.#handles) {
      handle.isClosed = true;
      handle.error = error;
    }
    this.#handles.clear();
    // They are calls under way, too.
    this.#waiting.length = 0;
    this.#isHeld = false;
    this.writer = new FrameWriter();
    this.#calls.rejectAll(error);
  }

  /** The engine has ended: every call under way fails, and every later one. */
  died(error: TempestError): void {
    if (this.#death !== undefined) return;
    this.#death = error;
    this.#refusal ??= error;
    for (const cursor of this.#cursors) cursor.fail(error);
    this.#cursors.clear();
    for (const handle of this.#handles) void this.closeHandle(handle, error);
    this.#calls.rejectAll(error);
    this.#closed ??= this.#release();
  }

  async #release(): Promise<void> {
    this.#isReleased = true;
    try {
      await this.#link.release(this.#isDoomed);
    } finally {
      this.events?.ended(this.#death);
    }
  }

  /** Ends the scans, snapshots, watches and exports, waits for the calls under way, then closes the engine and frees the store. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    const closed = new TempestError('TEMPEST_CLOSED', 'the store is closed');
    this.#refusal ??= closed;
    for (const cursor of this.#cursors) {
      cursor.fail(closed);
      this.closeScan(cursor);
    }
    for (const handle of this.#handles) void this.closeHandle(handle, closed);
    await this.#calls.idle();
    try {
      if (this.#death === undefined && this.#link.isShared !== true) await this.commit(this.#begin(Op.close, 0, Kind.nothing));
    } catch (error) {
      // What could not be made durable is deleted anyway.
      if (!this.#isDoomed) throw error;
    } finally {
      await this.#release();
    }
  }

  /** Closes the engine and deletes the store before anybody else can have it. */
  destroy(): Promise<void> {
    return (this.#destroyed ??= this.#destroy());
  }

  async #destroy(): Promise<void> {
    // By now it may be another's.
    if (this.#isReleased) throw this.#refusal!;
    this.#isDoomed = true;
    await this.close();
    if (this.#death !== undefined) throw this.#death;
  }
}

// The client's side of the bridge: packs the calls of a turn into a frame, and settles promises as replies come.

import { Calls, Kind } from './calls.js';
import type { KeyCodec, ValueCodec } from './encodings.js';
import { asTempestError, TempestError } from './errors.js';
import { BodyReader, ENTRY_BYTES, FrameReader, FrameWriter, MALFORMED_ID, Op, RUN_LAST, readU64, Status } from './frames.js';
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

/** Decoders are told to let go of a reply larger than this. */
const KEEP_BYTES = 1 << 20;

export class Client {
  readonly writer = new FrameWriter();
  readonly keys: KeyCodec;
  readonly values: ValueCodec;
  readonly #link: Link;
  readonly #calls = new Calls();

  /** The passes whose readers have not come to the end, whether or not the engine has. */
  readonly #cursors = new Set<Cursor>();

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

  constructor(link: Link, keys: KeyCodec, values: ValueCodec) {
    this.#link = link;
    this.keys = keys;
    this.values = values;
  }

  /** Whether what is dropped without being closed is to be closed when it is collected. */
  get closesDropped(): boolean {
    return this.#link.isConfined !== true;
  }

  /** How many calls are under way, open scans included. */
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
    if (writer.length >= FLUSH_BYTES) {
      this.#link.send(writer);
    } else if (!this.#isFlushing) {
      this.#isFlushing = true;
      queueMicrotask(this.#flush);
    }
  }

  #flushTurn(): void {
    this.#isFlushing = false;
    if (!this.writer.isEmpty && this.#death === undefined) this.#link.send(this.writer);
  }

  /** Starts a call with an empty body. */
  request(op: number, kind: number, signal?: AbortSignal): Promise<unknown> {
    return this.commit(this.begin(op, 0, kind), signal);
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
    if (frame.length > KEEP_BYTES) this.values.release?.();
  }

  #settle(reader: FrameReader): void {
    const calls = this.#calls;
    const { id } = reader;
    const kind = calls.kind(id);
    if (kind === undefined) {
      if (id === MALFORMED_ID && reader.status === Status.error) throw reader.error();
      throw new Error(`no call has the id ${id}`);
    }
    if (kind >= Kind.scan) return this.#settleScan(reader, kind);
    if (kind === Kind.abandoned) return calls.release(id);
    if (reader.status === Status.error) return calls.reject(id, reader.error());
    let result: unknown;
    try {
      result = this.#result(reader, kind);
    } catch (error) {
      return calls.reject(id, asTempestError(error, 'TEMPEST_CORRUPTION'));
    }
    calls.resolve(id, result);
  }

  #result(reader: FrameReader, kind: number): unknown {
    const { bytes, start, end } = reader;
    switch (kind) {
      case Kind.value:
        return reader.status === Status.notFound ? undefined : this.values.read(bytes, start, end);
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
            values.push(this.values.read(bytes, at, at + size));
          }
        }
        return values;
      }
      case Kind.stats: {
        const body = new BodyReader(bytes, start, end);
        const stats: Record<string, number> = {};
        while (!body.isDone) {
          const name = body.text();
          stats[name] = body.f64();
        }
        return stats;
      }
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
      const isLast = (reader.flags & RUN_LAST) !== 0;
      if (isLast) cursor.isOver = true;
      cursor.push(reader.bytes, reader.start, reader.end, isLast);
    }
    if (cursor.isOver && cursor.isAnswered && !cursor.isReleased) {
      cursor.isReleased = true;
      calls.release(cursor.id);
    }
  }

  /** The engine has ended: every call under way fails, and every later one. */
  died(error: TempestError): void {
    if (this.#death !== undefined) return;
    this.#death = error;
    this.#refusal ??= error;
    for (const cursor of this.#cursors) cursor.fail(error);
    this.#cursors.clear();
    this.#calls.rejectAll(error);
    this.#closed ??= this.#release();
  }

  #release(): Promise<void> {
    this.#isReleased = true;
    return this.#link.release(this.#isDoomed);
  }

  /** Ends the scans, waits for the calls under way, then closes the engine and frees the store. */
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

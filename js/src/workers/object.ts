// The Durable Object: an engine on rows of the object's own database.

import { DurableObject, RpcTarget } from 'cloudflare:workers';
import wasm from './tempestkv.wasm';
import type { BackupSource } from '../backup.js';
import type { Database } from '../database.js';
import type { EngineEvents } from '../engine.js';
import { asStorageError, TempestError } from '../errors.js';
import { Host } from '../host.js';
import type { KeyOf, ValueOf } from '../open.js';
import type { TupleKey } from '../tuple.js';
import { Background } from './background.js';
import { type ConnectOptions, databaseOn } from './connect.js';
import { entriesOf, errorReply } from './entries.js';
import { MAX_FRAME_BYTES, OBJECT_MEMTABLE_BYTES, OBJECT_MOST_BYTES } from './limits.js';
import { importTo, type ObjectImportOptions } from './imports.js';
import { dropImported, Import, installImported, occupied } from './incoming.js';
import { PAGES, RowsDevice } from './rows.js';
import { type Exchange, Mailbox, Sessions } from './sessions.js';
import { refuseAll, type Visit, Visitors } from './visitors.js';

/** How objects of a class keep their stores. */
export interface ObjectOptions {
  /** The size in bytes that a memtable grows to: 512 KiB by default, at least 64 KiB. The objects of an isolate share its 128 MB of memory. */
  memtableBytes?: number | undefined;

  /** The size in bytes that the store grows to: 9 GiB by default. A write that needs more rejects with `TEMPEST_QUOTA_EXCEEDED`. */
  maxBytes?: number | undefined;
}

/** A store that runs, and who talks to it. */
interface Running {
  readonly host: Host;
  readonly sessions: Sessions;
  readonly visitors: Visitors;
}

/**
 * A Durable Object that is a store. Export it, or a class that extends it, from your Worker, bind it with `new_sqlite_classes`, and use
 * {@link connect}.
 *
 * What a call has written is durable before its answer leaves the object: the platform holds back answers until then. Where the engine dies the object is
 * reset, whoever waits hears of it, and the next call finds a new one with everything that was acknowledged.
 *
 * A class that extends it may have methods, `fetch` and storage of its own, but for the SQL tables `pages` and `pages_import`; where it has an `alarm` of its own it also
 * calls `super.alarm()`.
 *
 * @example
 * ```ts
 * export { TempestObject } from 'tempestkv/workers';
 * ```
 */
export class TempestObject<Env = unknown> extends DurableObject<Env> {
  /** How objects of this class keep their stores. */
  static readonly options: ObjectOptions = {};

  readonly #background = new Background(() => void this.ctx.storage.setAlarm(Date.now()));
  #running: Running | undefined;
  #incoming: Import | undefined;

  constructor(ctx: ConstructorParameters<typeof DurableObject>[0], env: Env) {
    super(ctx, env);
    void this.#start();
  }

  get #options(): ObjectOptions {
    return (this.constructor as typeof TempestObject).options;
  }

  /** Opens the store, where it is not open, and returns it, or why it could not be opened. No call is taken before that is done. */
  async #start(): Promise<Running | TempestError> {
    if (this.#running !== undefined) return this.#running;
    return this.ctx.blockConcurrencyWhile(async () => {
      try {
        return (this.#running ??= await this.#open());
      } catch (error) {
        return asStorageError(error);
      }
    });
  }

  async #open(): Promise<Running> {
    const { memtableBytes = OBJECT_MEMTABLE_BYTES, maxBytes = OBJECT_MOST_BYTES } = this.#options;
    const { storage } = this.ctx;
    if (this.#incoming === undefined) dropImported(storage);
    const device = new RowsDevice(storage.sql, maxBytes);
    const sessions = new Sessions((frame) => {
      host.submit(frame);
      this.#background.goOn();
    });
    const events: EngineEvents = {
      reply: (frame) => sessions.receive(frame),
      // In the same turn, so that no call meets a dead engine.
      died: (error) => this.ctx.abort(error.message),
      enter: (call) =>
        storage.transactionSync(() => {
          call();
          device.flush();
        }),
      schedule: (pump) => this.#background.schedule(pump),
    };
    const host = await Host.start(
      { name: this.ctx.id.toString(), wasmUrl: 'tempestkv.wasm', module: wasm, lockWaitMillis: 0, memtableBytes, device },
      events,
    );
    return { host, sessions, visitors: new Visitors(sessions) };
  }

  /**
   * Carries out the requests of a frame and answers with reply frames, one behind the other, once all are answered. A session of its own: what the frame
   * opens and does not close is closed.
   *
   * @internal
   */
  async tempestCall(frame: ArrayBuffer | Uint8Array): Promise<ArrayBuffer> {
    const session = await this.tempestSession();
    try {
      return await session.call(frame);
    } finally {
      session[Symbol.dispose]();
    }
  }

  /**
   * Begins a session, which lasts until its stub is disposed.
   *
   * @internal
   */
  async tempestSession(): Promise<Session> {
    const running = await this.#start();
    if (!(running instanceof TempestError)) running.visitors.sweep();
    return new Session(running instanceof TempestError ? running : running.sessions, () => this.#destroy());
  }

  /**
   * Begins a session that takes a backup, which becomes the store when it has come whole. Until then the store goes on as it is.
   *
   * @internal
   */
  async tempestImport(replace: boolean): Promise<Session> {
    return new Session(await this.#import(replace), () => Promise.reject(new TypeError('an import takes a backup and nothing else')));
  }

  async #import(replace: boolean): Promise<Import | TempestError> {
    const running = await this.#start();
    if (!replace && running instanceof TempestError) return running;
    if (!replace && !this.#isUntouched) return occupied();
    if (this.#incoming !== undefined) return new TempestError('TEMPEST_BUSY', 'another import to this object is under way');
    const { storage } = this.ctx;
    const incoming = new Import({
      install: () => this.#install(replace),
      ended: () => {
        this.#incoming = undefined;
        dropImported(storage);
      },
    });
    this.#incoming = incoming;
    try {
      await incoming.start(storage, this.#options.maxBytes ?? OBJECT_MOST_BYTES);
      return incoming;
    } catch (error) {
      incoming.end();
      return asStorageError(error);
    }
  }

  /** Whether the store is open, and nothing was ever written to it. */
  get #isUntouched(): boolean {
    const running = this.#running;
    return running !== undefined && running.host.recovery.sequence === 0 && !running.sessions.hasWritten;
  }

  /** Has what was imported take the place of the store; the next session opens it. */
  #install(replace: boolean): Promise<TempestError | undefined> {
    // Not while the store is being opened. What this throws would reset the object.
    return this.ctx.blockConcurrencyWhile(async () => {
      if (!replace && !this.#isUntouched) return occupied();
      try {
        installImported(this.ctx.storage, PAGES);
      } catch (error) {
        return asStorageError(error);
      }
      this.#stop('a backup has taken the place of the store');
      return undefined;
    });
  }

  /** Lets the engine go, and whoever talks to it. */
  #stop(why: string): void {
    const running = this.#running;
    this.#running = undefined;
    running?.host.release();
    running?.sessions.died(new TempestError('TEMPEST_WORKER_DIED', why));
  }

  /**
   * Makes the object's store out of a backup, for methods of the object itself: see {@link importStore}. What `database` has returned before is used up.
   *
   * @param source - The backup: a stream, such as the body of an R2 object, or pieces of bytes.
   */
  protected importStore(source: BackupSource, options: ObjectImportOptions = {}): Promise<void> {
    return importTo(source, options, async (events, replace) => {
      const incoming = await this.#import(replace);
      if (incoming instanceof TempestError) throw incoming;
      const number = incoming.begin(events);
      return {
        isShared: true,
        send: (writer) => incoming.send(number, writer.finish()),
        release: async () => incoming.end(),
      };
    });
  }

  /**
   * Does what a client over HTTP asks for; see docs/HTTP.md, *Frames*. Answers with reply frames, one behind the other.
   *
   * @internal
   */
  async tempestVisit(visit: Visit, body: ArrayBuffer | Uint8Array): Promise<ArrayBuffer> {
    if (visit.does === 'destroy') {
      await this.#destroy();
      return new ArrayBuffer(0);
    }
    const frame = body instanceof Uint8Array ? body : new Uint8Array(body);
    const running = await this.#start();
    if (running instanceof TempestError) {
      if (visit.does !== 'send') throw running;
      return refuseAll(frame, running);
    }
    return running.visitors.visit(visit, frame);
  }

  /**
   * The store, for methods of the object itself: calls are made in place. It lasts as long as the object, so one is enough, and need not be closed.
   * Rejects where the store cannot be opened.
   */
  protected database<const O extends ConnectOptions = ConnectOptions>(options?: O): Promise<Database<KeyOf<O>, ValueOf<O>>>;
  /** The store, with the types of its keys and values spelled out: `this.database<string, Note>()`. */
  protected database<K extends string | Uint8Array | TupleKey, V>(options?: ConnectOptions): Promise<Database<K, V>>;
  protected async database(options: ConnectOptions = {}): Promise<Database<string, unknown>> {
    const running = await this.#start();
    if (running instanceof TempestError) throw running;
    return databaseOn(this.ctx.id.name ?? this.ctx.id.toString(), options, (events) => {
      const number = running.sessions.begin(events);
      return {
        isShared: true,
        send: (writer) => running.sessions.send(number, writer.finish()),
        release: async (isDoomed) => {
          running.sessions.end(number);
          if (isDoomed) await this.#destroy();
        },
      };
    });
  }

  /** Deletes the store; the next session makes a new one. */
  #destroy(): Promise<void> {
    return this.ctx.blockConcurrencyWhile(async () => {
      this.#incoming?.end();
      this.#stop('the store has been deleted');
      await this.ctx.storage.deleteAlarm();
      await this.ctx.storage.deleteAll();
    });
  }

  /** Goes on with the engine's background work. */
  override async alarm(): Promise<void> {
    await this.#background.alarm();
  }
}

/** A session as a client's stub sees it: its public methods can be called from afar. */
export class Session extends RpcTarget {
  readonly #to: Exchange | TempestError;
  readonly #destroy: () => Promise<void>;
  readonly #mailbox = new Mailbox();
  readonly #number: number = 0;

  /** @param to - What takes the frames, or why nothing does. */
  constructor(to: Exchange | TempestError, destroy: () => Promise<void>) {
    super();
    this.#to = to;
    this.#destroy = destroy;
    if (to instanceof TempestError) return;
    this.#number = to.begin(this.#mailbox);
  }

  /** Sends a request frame, and answers with the reply frames that are here at once. */
  send(frame: ArrayBuffer | Uint8Array): ArrayBuffer {
    this.#send(frame);
    return this.#mailbox.take();
  }

  /** Sends a request frame, and answers with the reply frames once there are all of them. */
  async call(frame: ArrayBuffer | Uint8Array): Promise<ArrayBuffer> {
    this.#send(frame);
    await this.#mailbox.answered();
    return this.#mailbox.take(Infinity);
  }

  #send(from: ArrayBuffer | Uint8Array): void {
    const frame = from instanceof Uint8Array ? from : new Uint8Array(from);
    this.#mailbox.check();
    if (frame.length > MAX_FRAME_BYTES) throw new RangeError(`a frame of ${frame.length} bytes is larger than ${MAX_FRAME_BYTES}`);
    if (this.#to instanceof TempestError) {
      const ids = entriesOf(frame).map(({ id }) => id);
      this.#mailbox.sent(frame);
      this.#mailbox.reply(errorReply(ids, this.#to));
    } else {
      this.#to.send(this.#number, frame);
      this.#mailbox.sent(frame);
    }
  }

  /** Answers with reply frames as soon as there are any. */
  async receive(): Promise<ArrayBuffer> {
    await this.#mailbox.arrival();
    return this.#mailbox.take();
  }

  /** Deletes the store. */
  destroy(): Promise<void> {
    return this.#destroy();
  }

  [Symbol.dispose](): void {
    if (!(this.#to instanceof TempestError)) this.#to.end(this.#number);
  }
}

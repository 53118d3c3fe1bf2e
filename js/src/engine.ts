// The engine: the WebAssembly program, its exports and imports. docs/PROTOCOL.md describes both.

import type { AsyncDevice, Device, SyncDevice } from './device.js';
import { describe, isQuota, messageOf, TempestError } from './errors.js';
import { createGo, type GoProgram } from './go.js';
import { failed } from './load.js';
import { decodeLossyText, encodeText } from './text.js';

/** What the engine tells its host. */
export interface EngineEvents {
  /** A reply frame, in a buffer of its own. Comes when no call into the engine is under way. */
  reply(frame: Uint8Array<ArrayBuffer>): void;

  /** The program has ended; nothing more will come. */
  died(error: TempestError): void;

  /**
   * Makes a call into the engine, by `call`, at once; a host for which all that a call writes is one transaction begins and ends it here.
   * `call` throws where the program has ended. Without it calls are just made.
   */
  enter?(call: () => void): void;

  /** Is to call `pump` once, later, after what the host has queued. Without it that is the next macrotask. */
  schedule?(pump: () => void): void;
}

interface Exports {
  readonly mem: WebAssembly.Memory;
  alloc(size: number): number;
  submit(pointer: number, size: number): void;
  wake(token: number, result: number): void;
  pump(): void;
}

/** Results of a device call. */
const Result = { io: -1, quota: -2, fenced: -3, pending: -1000 } as const;

const TOKENS = 2 ** 31;

const LogLevel = { error: 1, warning: 2 } as const;

/** Runs a function in a macrotask of its own, after what the host has queued. */
interface Macrotask {
  post(): void;
  close(): void;
}

interface TaskHost {
  readonly setImmediate?: (run: () => void) => void;
  readonly scheduler?: { postTask(run: () => void, options: { priority: 'background' }): Promise<void> };
}

/**
 * A way to run something later, behind the messages that wait. As a message to itself it is taken before those of the page in Chromium, for
 * milliseconds on end; as a task of low priority it lets them by: a get during compaction took 7 ms and then takes 0.1.
 */
function macrotask(run: () => void): Macrotask {
  const { setImmediate, scheduler } = globalThis as TaskHost;
  if (setImmediate !== undefined) return { post: () => setImmediate(run), close: () => undefined };
  if (scheduler !== undefined) return { post: () => void scheduler.postTask(run, { priority: 'background' }), close: () => undefined };
  // A timer would be held back by 4 ms.
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = run;
  return { post: () => port2.postMessage(null), close: () => port1.close() };
}

/**
 * A running engine. Calls go in by `submit`; answers come out of `events.reply`, before `submit` returns where the device is synchronous.
 */
export class Engine {
  readonly #device: Device;
  readonly #events: EngineEvents;
  readonly #program: GoProgram;
  readonly #background: Macrotask;
  #exports!: Exports;
  #memory = new Uint8Array(0);
  #replies: Uint8Array<ArrayBuffer>[] = [];

  /** Frames that came from inside of a device call: exports must not be called there. */
  #waiting: Uint8Array[] = [];
  #isInside = false;
  #isOver = false;
  #trap: unknown;
  #nextToken = 0;
  #failure: Uint8Array = new Uint8Array(0);

  private constructor(device: Device, events: EngineEvents) {
    this.#device = device;
    this.#events = events;
    this.#program = createGo((run) => this.#enter(run));
    const pump = () => this.#pump();
    this.#background = events.schedule === undefined ? macrotask(pump) : { post: () => events.schedule!(pump), close: () => undefined };
  }

  /** Starts the program. Rejects with `TEMPEST_LOAD_FAILED` where `module` is not the engine; `address` is for the message. */
  static async start(module: WebAssembly.Module, address: string, device: Device, events: EngineEvents): Promise<Engine> {
    const engine = new Engine(device, events);
    try {
      const instance = await WebAssembly.instantiate(module, {
        gojs: engine.#program.go.importObject.gojs,
        tempest: engine.#imports() as unknown as WebAssembly.ModuleImports,
      });
      engine.#run(instance);
    } catch (cause) {
      engine.stop();
      throw failed(address, `it is not the engine that this package was built with; ${messageOf(cause)}`, cause);
    }
    return engine;
  }

  #run(instance: WebAssembly.Instance): void {
    this.#exports = instance.exports as unknown as Exports;
    for (const name of ['mem', 'alloc', 'submit', 'wake', 'pump']) {
      if (!(name in instance.exports)) throw new Error(`it has no export named ${name}`);
    }
    this.#isInside = true;
    // Runs main until it waits. The promise is that of the program's end, which is looked for after each call.
    this.#program.go.run(instance).catch((error: unknown) => {
      this.#trap ??= error;
      if (!this.#isOver) this.#leave();
    });
    this.#leave();
    if (this.#isOver) throw new Error(this.#program.output());
  }

  /** Takes a request frame; its bytes are the caller's again when the call returns. Frames given to a dead engine are dropped. */
  submit(frame: Uint8Array): void {
    if (this.#isInside) {
      this.#waiting.push(frame.slice());
      return;
    }
    this.#enter(() => {
      const pointer = this.#exports.alloc(frame.length) >>> 0;
      this.#bytes().set(frame, pointer);
      this.#exports.submit(pointer, frame.length);
    });
  }

  #wake(token: number, result: number): void {
    this.#enter(() => this.#exports.wake(token, result));
  }

  #pump(): void {
    this.#enter(() => this.#exports.pump());
  }

  #enter(run: () => void): void {
    if (this.#isOver) return;
    this.#isInside = true;
    try {
      if (this.#events.enter === undefined) run();
      else this.#events.enter(() => this.#runToEnd(run));
    } catch (error) {
      this.#trap ??= error;
    }
    this.#leave();
  }

  /** Throws where the program ends, whether or not the glue of its runtime does. */
  #runToEnd(run: () => void): void {
    run();
    if (this.#program.go.exited === true) throw new Error('the program ended');
  }

  /** After every call: looks whether the program still runs, then passes on what it answered. */
  #leave(): void {
    this.#isInside = false;
    const isDead = this.#trap !== undefined || this.#program.go.exited === true;
    if (isDead) this.stop();
    // Before the replies, which may lead to frames that come later than these.
    const frame = isDead ? undefined : this.#waiting.shift();
    if (frame !== undefined) return this.submit(frame);
    // A reply may lead to the next call, and so to here: what is left then is passed on there.
    while (this.#replies.length > 0) this.#events.reply(this.#replies.shift()!);
    if (isDead) this.#events.died(this.#deathOf());
  }

  #deathOf(): TempestError {
    const output = this.#program.output();
    const text = output === '' ? messageOf(this.#trap ?? 'the program ended') : output;
    return new TempestError('TEMPEST_WORKER_DIED', `the engine died: ${text}`, { cause: this.#trap });
  }

  /** Takes no more calls. */
  stop(): void {
    this.#isOver = true;
    this.#background.close();
  }

  /** The memory as it is now: it may have grown, and left older views empty. */
  #bytes(): Uint8Array {
    const { buffer } = this.#exports.mem;
    if (this.#memory.buffer !== buffer) this.#memory = new Uint8Array(buffer);
    return this.#memory;
  }

  #imports() {
    return {
      reply: (pointer: number, size: number): void => {
        const start = pointer >>> 0;
        this.#replies.push(this.#bytes().slice(start, start + size) as Uint8Array<ArrayBuffer>);
      },
      schedule: (): void => this.#background.post(),
      now: (): number => Date.now(),
      log: (level: number, pointer: number, size: number): void => {
        const text = decodeLossyText(this.#bytes().slice(pointer >>> 0, (pointer >>> 0) + size));
        if (level === LogLevel.error) console.error(`tempestkv: ${text}`);
        else if (level === LogLevel.warning) console.warn(`tempestkv: ${text}`);
        else console.debug(`tempestkv: ${text}`);
      },
      failure: (pointer: number, size: number): number => {
        const text = this.#failure.subarray(0, size);
        this.#bytes().set(text, pointer >>> 0);
        return text.length;
      },
      ...(this.#device.async === true ? this.#asyncCalls(this.#device) : this.#syncCalls(this.#device)),
    };
  }

  #syncCalls(device: SyncDevice) {
    const at = (pointer: number, size: number) => this.#bytes().subarray(pointer >>> 0, (pointer >>> 0) + size);
    const run = (call: () => number): number => {
      try {
        return call();
      } catch (error) {
        return this.#failed(error);
      }
    };
    return {
      read: (pointer: number, size: number, offset: number) => run(() => countOf('read', device.read(at(pointer, size), offset), size)),
      write: (pointer: number, size: number, offset: number) => run(() => this.#written(device.write(at(pointer, size), offset), size)),
      sync: () => run(() => done('sync', device.sync())),
      size: () => run(() => countOf('size', device.size())),
      truncate: (size: number) => run(() => done('truncate', device.truncate(size))),
    };
  }

  /** The memory may move while a call is under way, so the device is given arrays of its own. */
  #asyncCalls(device: AsyncDevice) {
    return {
      read: (pointer: number, size: number, offset: number): number => {
        const into = new Uint8Array(size);
        return this.#pending(async () => {
          const count = countOf('read', await device.read(into, offset), size);
          if (!this.#isOver) this.#bytes().set(into.subarray(0, count), pointer >>> 0);
          return count;
        });
      },
      write: (pointer: number, size: number, offset: number): number => {
        const from = this.#bytes().slice(pointer >>> 0, (pointer >>> 0) + size);
        return this.#pending(async () => this.#written(await device.write(from, offset), size));
      },
      sync: () => this.#pending(async () => done('sync', await device.sync())),
      size: () => this.#pending(async () => countOf('size', await device.size())),
      truncate: (size: number) => this.#pending(async () => done('truncate', await device.truncate(size))),
    };
  }

  #pending(call: () => Promise<number>): number {
    const token = this.#nextToken;
    this.#nextToken = (token + 1) % TOKENS;
    // A call that fails at once fails like one that fails later.
    const result = new Promise<number>((resolve) => resolve(call()));
    result.then(
      (value) => this.#wake(token, value),
      (error: unknown) => this.#wake(token, this.#failed(error)),
    );
    return Result.pending - token;
  }

  /** A write that was cut short means that no space is left, whether the host says so or not (Firefox does not). */
  #written(count: number, size: number): number {
    if (countOf('write', count, size) === size) return count;
    this.#failure = encodeText(`wrote ${count} of ${size} bytes`);
    return Result.quota;
  }

  #failed(error: unknown): number {
    this.#failure = encodeText(messageOf(error));
    if (error instanceof TempestError) {
      if (error.code === 'TEMPEST_QUOTA_EXCEEDED') return Result.quota;
      if (error.code === 'TEMPEST_FENCED') return Result.fenced;
    }
    return isQuota(error) ? Result.quota : Result.io;
  }
}

/** The result of a device call that counts bytes. Throws where it is none. */
function countOf(call: string, result: unknown, most = Number.MAX_SAFE_INTEGER): number {
  done(call, result);
  if (Number.isInteger(result) && (result as number) >= 0 && (result as number) <= most) return result as number;
  throw new Error(`the device's ${call} must return an integer from 0 to ${most}, not ${describe(result)}`);
}

/** The result of a device call that has none. Throws where it is not done yet. */
function done(call: string, result: unknown): number {
  if (typeof (result as PromiseLike<unknown> | null | undefined)?.then !== 'function') return 0;
  throw new Error(`the device's ${call} returned a promise, so the device must say async: true`);
}

// A host: an engine on its device, with the lock that makes it the only one.

import type { Recovery } from './database.js';
import { type Device, withSource } from './device.js';
import { asStorageError, type TempestError } from './errors.js';
import { Engine, type EngineEvents } from './engine.js';
import { BodyReader, FrameReader, FrameWriter, Op, Status } from './frames.js';
import { loadModule } from './load.js';
import { lockDevice, lockStore, type Unlock } from './lock.js';
import { OpfsDevice } from './opfs.js';

/** What a host needs to know; it can be sent to a worker where it has no device. */
export interface HostSpec {
  name: string;
  wasmUrl: string;
  lockWaitMillis: number;
  memtableBytes?: number;
  /** The engine is to be given a backup, not to open a store. */
  isImport?: boolean;
  /** The name of a damaged store in the origin private file system, which the engine is to read too. */
  sourceName?: string;
  /** Likewise, on a device. */
  source?: Device;
  /** A device to use in the place of the store's file in the origin private file system. */
  device?: Device;
  /** The engine where it is compiled already; `wasmUrl` then only names it, for messages. */
  module?: WebAssembly.Module;
}

/** What an import finds. */
const NOTHING_FOUND: Recovery = { sequence: 0, droppedBytes: 0, report: '' };

/** Tag of an option in the body of `open`. */
const TAG_MEMTABLE_BYTES = 1;

export class Host {
  #recovery: Recovery | undefined;
  readonly #events: EngineEvents;
  #engine: Engine | undefined;
  readonly #spec: HostSpec;
  #file: OpfsDevice | undefined;
  #sourceFile: OpfsDevice | undefined;
  readonly #unlocks: Unlock[] = [];
  #opening: { resolve: (recovery: Recovery) => void; reject: (error: unknown) => void } | undefined;

  private constructor(spec: HostSpec, events: EngineEvents) {
    this.#spec = spec;
    this.#events = events;
  }

  /**
   * Takes the lock, opens the device and starts the engine on it. Where that fails everything is let go again.
   *
   * Rejects with `TEMPEST_LOCKED`, `TEMPEST_NOT_SUPPORTED`, `TEMPEST_LOAD_FAILED`, or what the engine says of the store.
   */
  static async start(spec: HostSpec, events: EngineEvents): Promise<Host> {
    const host = new Host(spec, events);
    try {
      await host.#start();
    } catch (error) {
      host.release();
      throw asStorageError(error);
    }
    return host;
  }

  async #start(): Promise<void> {
    const { name, wasmUrl, lockWaitMillis, memtableBytes, isImport, module } = this.#spec;
    const loading = module === undefined ? loadModule(wasmUrl) : Promise.resolve(module);
    // Looked at below; until then its failure is not an unhandled one.
    loading.catch(() => undefined);
    const deadline = performance.now() + lockWaitMillis;
    let { device } = this.#spec;
    if (device !== undefined) {
      this.#unlocks.push(await lockDevice(device, name, lockWaitMillis));
    } else {
      this.#unlocks.push(await lockStore(name, lockWaitMillis));
      device = this.#file = await OpfsDevice.open(name, Math.max(0, deadline - performance.now()));
    }
    const source = await this.#openSource(deadline);
    if (source !== undefined) device = withSource(device, source);
    this.#engine = await Engine.start(await loading, wasmUrl, device, {
      ...this.#events,
      reply: (frame) => (this.#opening === undefined ? this.#events.reply(frame) : this.#opened(frame)),
      died: (error) => this.#died(error),
    });
    this.#recovery = isImport === true ? NOTHING_FOUND : await this.#open(memtableBytes);
  }

  /** The damaged store to read, where there is one. */
  async #openSource(deadline: number): Promise<Device | undefined> {
    const { source, sourceName } = this.#spec;
    const millis = Math.max(0, deadline - performance.now());
    if (source !== undefined) {
      this.#unlocks.push(await lockDevice(source, 'to be repaired', millis));
      return source;
    }
    if (sourceName === undefined) return undefined;
    this.#unlocks.push(await lockStore(sourceName, millis));
    return (this.#sourceFile = await OpfsDevice.open(sourceName, Math.max(0, deadline - performance.now()), false));
  }

  /** Asks the engine to open the store: the first of all requests. */
  #open(memtableBytes: number | undefined): Promise<Recovery> {
    const writer = new FrameWriter();
    const mark = writer.begin(0, Op.open, 0);
    if (memtableBytes !== undefined) {
      writer.varint(TAG_MEMTABLE_BYTES);
      writer.varint(memtableBytes);
    }
    writer.end(mark);
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      this.#engine!.submit(writer.finish());
    });
  }

  #opened(frame: Uint8Array): void {
    const { resolve, reject } = this.#opening!;
    this.#opening = undefined;
    try {
      const reader = new FrameReader(frame);
      reader.next();
      if (reader.status === Status.error) throw reader.error();
      const body = new BodyReader(frame, reader.start, reader.end);
      resolve({ sequence: body.u64(), droppedBytes: body.u64(), report: body.text() });
    } catch (error) {
      reject(error);
    }
  }

  #died(error: TempestError): void {
    this.release();
    if (this.#opening !== undefined) this.#opening.reject(error);
    else this.#events.died(error);
  }

  /** What opening the store found. */
  get recovery(): Recovery {
    return this.#recovery!;
  }

  /** Gives the engine a request frame; its bytes are the caller's again when the call returns. */
  submit(frame: Uint8Array): void {
    this.#engine?.submit(frame);
  }

  /** Stops the engine, deletes the store, and only then gives the lock back. Where that was given back already, nothing is deleted. */
  async destroy(): Promise<void> {
    const { name, device, lockWaitMillis } = this.#spec;
    if (this.#unlocks.length === 0) return;
    try {
      this.#stop();
      if (device !== undefined) await device.truncate(0);
      else await OpfsDevice.remove(name, lockWaitMillis);
    } catch (error) {
      throw asStorageError(error);
    } finally {
      this.release();
    }
  }

  #stop(): void {
    this.#engine?.stop();
    this.#engine = undefined;
    const files = [this.#file, this.#sourceFile];
    this.#file = this.#sourceFile = undefined;
    for (const file of files) file?.close();
  }

  /** Stops the engine, closes the file and gives the lock back. A second time does nothing. */
  release(): void {
    this.#stop();
    for (const unlock of this.#unlocks.splice(0)) unlock();
  }
}

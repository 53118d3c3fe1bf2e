// An object's end of an import: a backup goes into a table of its own, which takes the place of the store's when all of it has come.

import type { DurableObjectState } from 'cloudflare:workers';
import wasm from './tempestkv.wasm';
import { TempestError } from '../errors.js';
import { FrameReader, GIVE_UP, Op, Status } from '../frames.js';
import { Host } from '../host.js';
import { entriesOf, errorReply } from './entries.js';
import { RowsDevice } from './rows.js';
import type { Exchange, SessionEvents } from './sessions.js';

type Storage = DurableObjectState['storage'];

/** The table that an import writes to until it is whole. */
const IMPORTED = 'pages_import';

/** Forgets an import that was cut off with its object. */
export function dropImported(storage: Storage): void {
  storage.sql.exec(`DROP TABLE IF EXISTS ${IMPORTED}`);
}

/** Has what was imported take the place of a store's table, at once or not at all. */
export function installImported(storage: Storage, table: string): void {
  storage.transactionSync(() => {
    storage.sql.exec(`DROP TABLE IF EXISTS ${table}`);
    storage.sql.exec(`ALTER TABLE ${IMPORTED} RENAME TO ${table}`);
  });
}

/** What an import tells the object it is for. */
export interface ImportEvents {
  /** The backup has come whole. Makes it the object's store, or resolves to why that cannot be. */
  install(): Promise<TempestError | undefined>;

  /** Nothing more will come; what was imported and not installed can go. */
  ended(): void;
}

/** An import under way: an engine of its own, that has one client. */
export class Import implements Exchange {
  readonly #events: ImportEvents;
  #host: Host | undefined;
  #client: SessionEvents | undefined;
  #lastId: number | undefined;
  #isOver = false;

  constructor(events: ImportEvents) {
    this.#events = events;
  }

  /** Starts an engine that writes a backup to rows. Drops those of an import that was cut off. */
  async start(storage: Storage, maxBytes: number): Promise<void> {
    dropImported(storage);
    const device = new RowsDevice(storage.sql, maxBytes, IMPORTED);
    const host = await Host.start(
      { name: IMPORTED, wasmUrl: 'tempestkv.wasm', module: wasm, lockWaitMillis: 0, isImport: true, device },
      {
        reply: (frame) => void this.#reply(frame),
        died: (error) => this.#end(error),
        enter: (call) =>
          storage.transactionSync(() => {
            call();
            device.flush();
          }),
      },
    );
    if (this.#isOver) host.release();
    else this.#host = host;
  }

  begin(events: SessionEvents): number {
    this.#client = events;
    return 0;
  }

  send(_number: number, frame: Uint8Array): void {
    if (this.#host === undefined) throw new TempestError('TEMPEST_CLOSED', 'the import has ended');
    const entries = entriesOf(frame);
    for (const { id, op, start } of entries) {
      if (op !== Op.import && op !== Op.importEnd) throw new TypeError('an import takes a backup and nothing else');
      if (op === Op.importEnd && (frame[start + FLAGS_AT]! & GIVE_UP) === 0) this.#lastId = id;
    }
    this.#host.submit(frame);
  }

  end(): void {
    this.#end(undefined);
  }

  #end(error: TempestError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#host?.release();
    this.#host = undefined;
    this.#events.ended();
    if (error !== undefined) this.#client?.died(error);
  }

  async #reply(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const { ids, isWhole } = this.#look(frame);
    if (!isWhole) return this.#client?.reply(frame);
    const error = await this.#events.install();
    this.#client?.reply(error === undefined ? frame : errorReply(ids, error));
    this.#end(undefined);
  }

  /** Whether the engine says in `frame` that all of the backup has come, and was one. */
  #look(frame: Uint8Array): { ids: number[]; isWhole: boolean } {
    const ids: number[] = [];
    let isWhole = false;
    const reader = new FrameReader(frame);
    while (reader.next()) {
      ids.push(reader.id);
      if (reader.id === this.#lastId && reader.status === Status.ok) isWhole = true;
    }
    return { ids, isWhole };
  }
}

/** Where an entry has its flags. */
const FLAGS_AT = 5;

/** Why a backup is refused by an object that has a store. */
export function occupied(): TempestError {
  return new TempestError('TEMPEST_INVALID_ARGUMENT', 'the object has a store that has been written to; replace: true has the backup take its place');
}

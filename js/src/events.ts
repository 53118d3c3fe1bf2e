// What a database tells whoever listens.

import type { TempestError } from './errors.js';

/** An event of a database. */
export class DatabaseEvent<D> extends Event {
  readonly detail: D;

  constructor(type: string, detail: D) {
    super(type);
    this.detail = detail;
  }
}

/** Figures by name, as the engine tells them. Names may come and go with versions. */
export type Figures = Readonly<Record<string, number>>;

/** The events of a database, by type. */
export interface DatabaseEventMap {
  /** The store has been let go: closed, destroyed, or left by an engine that died. It may be another's now. */
  close: DatabaseEvent<undefined>;

  /**
   * What no call is told of: a flush or a compaction has failed, and is tried again; the store has become read-only; or the engine has died, which
   * is a `TEMPEST_WORKER_DIED`, and `close` comes next.
   */
  error: DatabaseEvent<TempestError>;

  /** The engine has written what was in memory to a table. */
  flush: DatabaseEvent<Figures>;

  /** The engine has merged tables into new ones. */
  compaction: DatabaseEvent<Figures>;

  /** Writes have to wait for the engine to catch up with flushes and compactions. */
  stall: DatabaseEvent<Figures>;

  /** Writes have to wait no longer. */
  resume: DatabaseEvent<Figures>;
}

/** What `addEventListener` takes for events of a type. */
export type DatabaseListener<T extends keyof DatabaseEventMap> =
  | ((event: DatabaseEventMap[T]) => void)
  | { handleEvent(event: DatabaseEventMap[T]): void };

// A device on the rows of a table in an object's SQLite.

import type { DurableObjectState } from 'cloudflare:workers';
import type { SyncDevice } from '../device.js';
import { TempestError } from '../errors.js';

type Sql = DurableObjectState['storage']['sql'];

/** Size in bytes of a row: 16 KiB. Part of the format; docs/RATIONALE.md says why. */
export const ROW_BYTES = 16 << 10;

/** The table of an object's store. */
export const PAGES = 'pages';

/** How many clean rows are kept: those at the ends of files, which the next write extends. */
const KEPT_ROWS = 8;

/** When so many rows have changed they are written before the call ends, to bound memory. */
const MOST_DIRTY_ROWS = 64;

interface Row {
  /** In full size. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether the table has it; `undefined` where nobody looked. */
  isStored: boolean | undefined;
}

/**
 * One file, cut into rows: row *i* has the bytes from *i* × {@link ROW_BYTES} on. The last row is always there, and its end is that of the file;
 * any other that is missing, or shorter, reads as zeros.
 *
 * Rows written are what the platform charges for. So rows are written by `flush`, once a call however often it changed them, and a row of nothing
 * but zeros is not there: space that the engine reserves ahead costs nothing.
 */
export class RowsDevice implements SyncDevice {
  readonly supports = { persistent: true, strict: true } as const;
  readonly #sql: Sql;
  readonly #mostBytes: number;
  readonly #table: string;

  /** By id; the one used last is at the end. */
  readonly #rows = new Map<number, Row>();
  readonly #dirty = new Set<number>();
  #size = 0;

  /**
   * @param mostBytes - The file grows to this size and no further: `TEMPEST_QUOTA_EXCEEDED`.
   * @param table - The table's name, which is made where it is not there.
   */
  constructor(sql: Sql, mostBytes: number, table: string = PAGES) {
    this.#sql = sql;
    this.#mostBytes = mostBytes;
    this.#table = table;
    sql.exec(`CREATE TABLE IF NOT EXISTS ${table} (id INTEGER PRIMARY KEY, data BLOB NOT NULL)`);
    for (const [id, length] of sql.exec(`SELECT id, length(data) FROM ${table} ORDER BY id DESC LIMIT 1`).raw()) {
      this.#size = (id as number) * ROW_BYTES + (length as number);
    }
  }

  read(into: Uint8Array, offset: number): number {
    const count = Math.max(0, Math.min(into.length, this.#size - offset));
    if (count === 0) return 0;
    const first = Math.floor(offset / ROW_BYTES);
    const last = Math.floor((offset + count - 1) / ROW_BYTES);
    const place = (id: number, row: Uint8Array) => {
      const at = id * ROW_BYTES - offset;
      into.set(row.subarray(Math.max(0, -at), Math.min(row.length, count - at)), Math.max(0, at));
    };
    let isKnown = true;
    for (let id = first; isKnown && id <= last; id++) isKnown = this.#rows.has(id);
    if (!isKnown) {
      into.fill(0, 0, count);
      for (const [id, data] of this.#sql.exec(`SELECT id, data FROM ${this.#table} WHERE id BETWEEN ? AND ?`, first, last).raw()) {
        place(id as number, new Uint8Array(data as ArrayBuffer));
      }
    }
    for (let id = first; id <= last; id++) {
      const row = this.#rows.get(id);
      if (row !== undefined) place(id, row.bytes);
    }
    return count;
  }

  write(from: Uint8Array, offset: number): number {
    const end = offset + from.length;
    if (end > this.#size && from.length > 0) this.#grow(end);
    for (let done = 0; done < from.length; ) {
      const id = Math.floor((offset + done) / ROW_BYTES);
      const start = offset + done - id * ROW_BYTES;
      const size = Math.min(from.length - done, ROW_BYTES - start);
      this.#change(id, size === ROW_BYTES).set(from.subarray(done, done + size), start);
      done += size;
    }
    return from.length;
  }

  /** A reply leaves an object when what was written before it is durable, and not earlier: there is nothing left to do. See docs/ARCHITECTURE.md. */
  sync(): void {}

  size(): number {
    return this.#size;
  }

  truncate(size: number): void {
    if (size > this.#size) return this.#grow(size);
    const count = Math.ceil(size / ROW_BYTES);
    this.#sql.exec(`DELETE FROM ${this.#table} WHERE id >= ?`, count);
    for (const id of [...this.#rows.keys()]) {
      if (id < count) continue;
      this.#rows.delete(id);
      this.#dirty.delete(id);
    }
    this.#size = size;
    // What lies behind the end must read as zeros if the file grows again.
    if (count > 0) this.#change(count - 1, false).fill(0, size - (count - 1) * ROW_BYTES);
  }

  #grow(size: number): void {
    if (size > this.#mostBytes) {
      throw new TempestError('TEMPEST_QUOTA_EXCEEDED', `the store would be larger than its ${this.#mostBytes} bytes`);
    }
    this.#size = size;
    // The last row must be there, though it may be all zeros.
    this.#change(Math.ceil(size / ROW_BYTES) - 1, false);
  }

  /** A row that is about to be changed, without its bytes where all of them are. */
  #change(id: number, isWhole: boolean): Uint8Array {
    if (!this.#dirty.has(id) && this.#dirty.size >= MOST_DIRTY_ROWS) this.flush();
    const row = this.#rows.get(id) ?? this.#load(id, isWhole);
    this.#rows.delete(id);
    this.#rows.set(id, row);
    this.#dirty.add(id);
    return row.bytes;
  }

  #load(id: number, isWhole: boolean): Row {
    const bytes = new Uint8Array(ROW_BYTES);
    if (isWhole) return { bytes, isStored: undefined };
    let isStored = false;
    for (const [data] of this.#sql.exec(`SELECT data FROM ${this.#table} WHERE id = ?`, id).raw()) {
      bytes.set(new Uint8Array(data as ArrayBuffer));
      isStored = true;
    }
    return { bytes, isStored };
  }

  /** Writes the rows that have changed. */
  flush(): void {
    const last = Math.ceil(this.#size / ROW_BYTES) - 1;
    for (const id of this.#dirty) {
      const row = this.#rows.get(id)!;
      if (id < last && isZero(row.bytes)) {
        if (row.isStored !== false) this.#sql.exec(`DELETE FROM ${this.#table} WHERE id = ?`, id);
        row.isStored = false;
        continue;
      }
      const data = id === last ? row.bytes.subarray(0, this.#size - id * ROW_BYTES) : row.bytes;
      // An update of the same size writes only those pages of the database that differ.
      if (row.isStored === true) this.#sql.exec(`UPDATE ${this.#table} SET data = ? WHERE id = ?`, data, id);
      else this.#sql.exec(`INSERT OR REPLACE INTO ${this.#table} (data, id) VALUES (?, ?)`, data, id);
      row.isStored = true;
    }
    this.#dirty.clear();
    for (const id of this.#rows.keys()) {
      if (this.#rows.size <= KEPT_ROWS) break;
      this.#rows.delete(id);
    }
  }
}

function isZero(row: Uint8Array<ArrayBuffer>): boolean {
  return new Float64Array(row.buffer).every((value) => Object.is(value, 0));
}

// Backups in a bucket of R2, which has to be told first how large they will be.

import type { BackupProgress, ExportOptions } from '../backup.js';
import type { Database } from '../database.js';
import { describe, TempestError } from '../errors.js';
import type { CallOptions } from '../namespace.js';
import { signalOf } from '../options.js';

/** What is used of an `R2Bucket`. */
export interface BackupBucket {
  put(key: string, value: any): Promise<unknown>;
  createMultipartUpload(key: string): Promise<any>;
}

/** How a store is written to a bucket. An option of another name is a `TypeError`. */
export interface BucketExportOptions extends CallOptions {
  /** A larger backup is uploaded in parts of this size in bytes: 64 MiB by default, from 5 MiB to 5 GiB. R2 takes 10,000 parts. */
  partBytes?: number | undefined;

  /** Is told after each piece how far the export has come. */
  onProgress?: ((progress: BackupProgress) => void) | undefined;
}

const EXPORT_NAMES: ReadonlySet<string> = new Set(['signal', 'partBytes', 'onProgress']);

const DEFAULT_PART_BYTES = 64 << 20;
const MIN_PART_BYTES = 5 << 20;
const MAX_PART_BYTES = 5 * 2 ** 30;

interface Upload {
  uploadPart(number: number, value: ReadableStream): Promise<unknown>;
  complete(parts: unknown[]): Promise<unknown>;
  abort(): Promise<void>;
}

/**
 * Writes all of a store, as it is at this moment, to an object of a bucket: what `db.export()` gives. It takes a few MiB of memory however large the store is. The
 * bucket has the whole backup under that key at the end, or what it had before.
 *
 * Rejects with what failed the export, or with what the bucket says.
 *
 * @param db - The store, from `connect` or from `this.database()`.
 * @param bucket - The binding of an R2 bucket.
 * @param key - Where in the bucket.
 * @returns The size of the backup in bytes.
 *
 * @example
 * ```ts
 * await exportToBucket(connect(env.TEMPEST, 'notes'), env.BACKUPS, 'notes');
 * ```
 */
export async function exportToBucket(
  db: Pick<Database<any, any>, 'export'>,
  bucket: BackupBucket,
  key: string,
  options: BucketExportOptions = {},
): Promise<number> {
  if (typeof (bucket as Partial<BackupBucket> | undefined)?.createMultipartUpload !== 'function') {
    throw new TypeError(`exportToBucket takes the binding of an R2 bucket, not ${describe(bucket)}; is it in wrangler.toml?`);
  }
  if (typeof key !== 'string') throw new TypeError(`a key of a bucket must be a string, not ${describe(key)}`);
  const signal = signalOf(options, EXPORT_NAMES);
  const { partBytes = DEFAULT_PART_BYTES, onProgress } = options;
  if (typeof partBytes !== 'number') throw new TypeError(`partBytes must be a number, not ${describe(partBytes)}`);
  if (!Number.isInteger(partBytes) || partBytes < MIN_PART_BYTES || partBytes > MAX_PART_BYTES) {
    throw new RangeError(`partBytes must be an integer from ${MIN_PART_BYTES} to ${MAX_PART_BYTES}, not ${partBytes}`);
  }
  const backup = new Backup(db, signal, onProgress);
  try {
    const size = await backup.size();
    if (size <= partBytes) {
      await backup.upload(size, (body) => bucket.put(key, body));
      return size;
    }
    const upload: Upload = await bucket.createMultipartUpload(key);
    try {
      const parts: unknown[] = [];
      for (let at = 0; at < size; at += partBytes) {
        parts.push(await backup.upload(Math.min(partBytes, size - at), (body) => upload.uploadPart(parts.length + 1, body)));
      }
      await upload.complete(parts);
    } catch (error) {
      await upload.abort().catch(() => undefined);
      throw error;
    }
    return size;
  } finally {
    backup.close();
  }
}

/** The bytes of an export, taken bit by bit. */
class Backup {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #total: number | undefined;
  #piece: Uint8Array = new Uint8Array(0);

  constructor(db: Pick<Database, 'export'>, signal: AbortSignal | undefined, onProgress: ExportOptions['onProgress']) {
    const stream = db.export({
      signal,
      onProgress: (progress) => {
        this.#total = progress.totalBytes;
        onProgress?.(progress);
      },
    });
    this.#reader = stream.getReader();
  }

  /** The size of the whole in bytes, which comes with the first piece. */
  async size(): Promise<number> {
    await this.#more();
    return this.#total ?? 0;
  }

  async #more(): Promise<void> {
    const { done, value } = await this.#reader.read();
    if (done) throw new TempestError('TEMPEST_IO_ERROR', 'the export ended early');
    this.#piece = value;
  }

  /** Has `take` take the next `size` bytes. */
  async upload(size: number, take: (body: ReadableStream) => Promise<unknown>): Promise<unknown> {
    const { readable, writable } = new FixedLengthStream(size);
    const writer = writable.getWriter();
    const fill = async () => {
      try {
        for (let left = size; left > 0; ) {
          if (this.#piece.length === 0) await this.#more();
          const bytes = this.#piece.subarray(0, left);
          this.#piece = this.#piece.subarray(bytes.length);
          await writer.write(bytes);
          left -= bytes.length;
        }
        await writer.close();
      } catch (error) {
        // So that the bucket does not wait for the rest.
        void writer.abort(error).catch(() => undefined);
        throw error;
      }
    };
    const [taken] = await Promise.all([take(readable), fill()]);
    return taken;
  }

  close(): void {
    this.#reader.cancel().catch(() => undefined);
  }
}

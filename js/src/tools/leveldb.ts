// LevelDB folders: in, and out.

import { type BackupProgress, exportStore, receiveBackup } from '../backup.js';
import { Kind } from '../calls.js';
import { type Client, closeWhenCollected, Handle } from '../client.js';
import { clientOf, type Database, type Recovery } from '../database.js';
import { TempestError } from '../errors.js';
import { type BodyReader, DROP_EXPIRY, FILE, GIVE_UP, LAST, MORE, Op, UNNEEDED } from '../frames.js';
import { MAX_NAME_LENGTH, MAX_RUN_BYTES } from '../limits.js';
import { checkName, connect, destroy, IMPORT_NAMES, type ImportOptions, specOf } from '../open.js';
import { signalOf } from '../options.js';
import { piecesOf } from '../streams.js';
import { encodeText, isWellFormed } from '../text.js';
import { toolsAddress } from './engine.js';
import { filesOf, type LevelDbFile, type LevelDbSource } from './files.js';

/** Most bytes that one request of an import carries. */
const MAX_PIECE_BYTES = 1 << 20;

function nothing(): void {}

/**
 * Makes a store out of a LevelDB folder, of LevelDB's own, Chromium's or goleveldb's, in the origin private file system or on a device; `open` has it then. There
 * may be no store of that name: `destroy` it first. The files are taken as they are, checked to their last byte, and the store is there whole or not at all.
 *
 * LevelDB's keys and values are bytes: open the store with `keyEncoding: 'view'` and `valueEncoding: 'view'`, or with `'utf8'` where they are text.
 *
 * Rejects with `TEMPEST_INVALID_ARGUMENT` where these are not the files of one folder, or there is a store of that name; with `TEMPEST_CORRUPTION` where one is
 * damaged or missing; with `TEMPEST_NOT_SUPPORTED` where the folder has an order of its own, as IndexedDB's has, or was compressed by Zstd; with
 * `TEMPEST_LOCKED` where somebody has the store open longer than `lockWaitMillis`; and else as `open` does.
 *
 * @returns What was found in its logs: where a crash had cut the last write short, that was dropped.
 */
export async function importLevelDb(name: string, source: LevelDbSource, options: ImportOptions = {}): Promise<Recovery> {
  checkName(name);
  const signal = signalOf(options, IMPORT_NAMES);
  const { onProgress } = options;
  const spec = { ...specOf(name, options), wasmUrl: toolsAddress(options.wasmUrl), isImport: true };
  const files = await filesOf(source, signal);
  const { client, link } = await connect(spec, options, signal);
  try {
    return await receiveFiles(client, files, signal, onProgress);
  } finally {
    await link.release(false);
  }
}

async function receiveFiles(
  client: Client,
  files: readonly LevelDbFile[],
  signal: AbortSignal | undefined,
  onProgress: ImportOptions['onProgress'],
): Promise<Recovery> {
  const sizes = files.map(({ size }) => size);
  const totalBytes = sizes.every((size) => size !== undefined) ? sizes.reduce((sum: number, size) => sum + size!, 0) : undefined;
  let bytes = 0;
  const progress = (size: number) => onProgress?.({ bytes: (bytes += size), totalBytes } satisfies BackupProgress);
  try {
    for (const file of files) {
      if (!(await begin(client, file, signal))) {
        progress(file.size ?? 0);
        continue;
      }
      for await (const given of piecesOf(file.stream(), signal)) {
        for (let at = 0; at < given.length; at += MAX_PIECE_BYTES) {
          const piece = given.subarray(at, at + MAX_PIECE_BYTES);
          await client.call(Op.importFileNext, 0, Kind.nothing, (writer) => writer.raw(piece), signal);
        }
        progress(given.length);
      }
    }
    for (;;) {
      const recovery = await client.ask(Op.importFilesEnd, 0, nothing, decodeRecovery, signal);
      if (recovery !== undefined) return recovery;
    }
  } catch (error) {
    // Where nothing was begun, the engine refuses, and has nothing to undo.
    await client.call(Op.importFilesEnd, GIVE_UP, Kind.nothing, nothing).catch(nothing);
    throw error;
  }
}

/** Begins a file. Whether it is needed. */
function begin(client: Client, { name, size }: LevelDbFile, signal: AbortSignal | undefined): Promise<boolean> {
  return client.ask(
    Op.importFile,
    0,
    (writer) => {
      writer.sized(encodeText(name));
      writer.u64(size ?? 0);
    },
    (_, flags) => (flags & UNNEEDED) === 0,
    signal,
  );
}

function decodeRecovery(body: BodyReader, flags: number): Recovery | undefined {
  if ((flags & MORE) !== 0) return undefined;
  return { sequence: body.u64(), droppedBytes: body.u64(), report: body.text() };
}

/** For `exportLevelDb` and `levelDbFiles`. */
export interface LevelDbExportOptions {
  /** Gives the export up. */
  signal?: AbortSignal | undefined;

  /**
   * Values that expire stay for ever in the copy, which cannot hold when they do: without this the export of a store that has some fails with
   * `TEMPEST_NOT_SUPPORTED`. What has expired is left out either way.
   */
  dropExpiry?: boolean | undefined;

  /** Where `tempestkv-tools.wasm` is, if not beside this module. */
  wasmUrl?: string | URL | undefined;

  /** Where the worker's program is, if not beside this module as `worker.js`. */
  workerUrl?: string | URL | undefined;
}

const EXPORT_NAMES: ReadonlySet<string> = new Set(['signal', 'dropExpiry', 'wasmUrl', 'workerUrl']);

/**
 * The store as it is now, namespaces included, as a zip of a folder that LevelDB and its relatives open. Constant memory, however large the store; cancel the
 * stream where it is not read to its end. See `levelDbFiles` for what becomes of what LevelDB lacks.
 *
 * Throws a `TypeError` where the options make no sense; all else fails the stream.
 */
export function exportLevelDb(db: Database<any, any>, options: LevelDbExportOptions = {}): ReadableStream<Uint8Array> {
  const files = levelDbFiles(db, options);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (reader === undefined) {
          const { writeZip } = await import('./zip.js');
          reader = writeZip(files).getReader();
        }
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel(reason) {
        if (reader === undefined) await files.return!();
        else await reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * The store as it is now, namespaces included, as the files of a folder that LevelDB and its relatives open, CURRENT last. Each is to be read before the next
 * is asked for; what is not read is passed over.
 *
 * A store is given out as it is, in files whose sizes are known, unless it has been used for what LevelDB lacks: a range was cleared in it, or a value had a time to
 * live. Then it is copied entry by entry to other files. That takes a copy of the store for as long as it lasts: in the origin private file system,
 * where the store is kept there, else in memory.
 *
 * @example
 * ```ts
 * const folder = await showDirectoryPicker({ mode: 'readwrite' });
 * for await (const file of levelDbFiles(db)) {
 *   const handle = await folder.getFileHandle(file.name, { create: true });
 *   await file.stream().pipeTo(await handle.createWritable());
 * }
 * ```
 */
export function levelDbFiles(db: Database<any, any>, options: LevelDbExportOptions = {}): AsyncIterableIterator<LevelDbFile, void, undefined> {
  const signal = signalOf(options, EXPORT_NAMES);
  const { dropExpiry = false } = options;
  if (typeof dropExpiry !== 'boolean') throw new TypeError('dropExpiry must be true or false');
  const wasmUrl = toolsAddress(options.wasmUrl);
  const client = clientOf(db);
  // Both are begun now, for this is the moment that counts; which of them is needed, the first one tells.
  const folder = openFolder(client, 0, signal);
  const image = exportStore(client, signal, undefined);
  const rest = exportFiles(db, { folder, image, client, dropExpiry, wasmUrl, workerUrl: options.workerUrl, signal });
  // A generator that has not begun does nothing when it is left.
  let first: Promise<IteratorResult<LevelDbFile, void>> | undefined = rest.next();
  first.catch(nothing);
  const files: AsyncIterableIterator<LevelDbFile, void, undefined> = {
    next() {
      const next = first ?? rest.next();
      first = undefined;
      return next;
    },
    return: () => rest.return(undefined),
    [Symbol.asyncIterator]: () => files,
  };
  closeWhenCollected(files, client, folder.handle);
  return files;
}

interface Export {
  readonly folder: Folder;
  readonly image: ReadableStream<Uint8Array>;
  readonly client: Client;
  readonly dropExpiry: boolean;
  readonly wasmUrl: string;
  readonly workerUrl: string | URL | undefined;
  readonly signal: AbortSignal | undefined;
}

/** An export under way. */
interface Folder {
  readonly handle: Handle;
  readonly opened: Promise<unknown>;
}

function openFolder(client: Client, flags: number, signal: AbortSignal | undefined): Folder {
  const handle = new Handle(Op.exportClose, true);
  const opened = client.open(handle, Op.exportFolder, flags, nothing, signal);
  // The reader is told.
  opened.catch(nothing);
  return { handle, opened };
}

async function* exportFiles(db: Database<any, any>, given: Export): AsyncGenerator<LevelDbFile, void, undefined> {
  const { folder, image, client, signal } = given;
  let isPlain = true;
  try {
    try {
      await folder.opened;
    } catch (error) {
      if (!(error instanceof TempestError) || error.code !== 'TEMPEST_NOT_SUPPORTED') throw error;
      isPlain = false;
    }
    if (!isPlain) {
      yield* copyFiles(db, given);
      return;
    }
    await image.cancel();
    yield* filesFrom(client, folder.handle, signal);
  } finally {
    await client.closeHandle(folder.handle, undefined);
    if (!image.locked) await image.cancel().catch(nothing);
  }
}

/** By way of a copy, which an engine that can do more works on. */
async function* copyFiles(db: Database<any, any>, given: Export): AsyncGenerator<LevelDbFile, void, undefined> {
  const { image, dropExpiry, wasmUrl, workerUrl, signal } = given;
  const cut = `~export ${db.name}`.slice(0, MAX_NAME_LENGTH);
  const name = isWellFormed(cut) ? cut : cut.slice(0, -1);
  const storage = db.storage === 'opfs' ? 'opfs' : 'memory';
  // What an earlier one may have left that could not end.
  await destroy(name, { storage });
  const { client, link } = await connect({ ...specOf(name, { storage }), wasmUrl, isImport: true }, { workerUrl }, signal);
  let folder: Folder | undefined;
  try {
    await receiveBackup(client, image, signal, undefined);
    await client.call(Op.open, 0, Kind.nothing, nothing, signal);
    folder = openFolder(client, dropExpiry ? DROP_EXPIRY : 0, signal);
    await folder.opened;
    yield* filesFrom(client, folder.handle, signal);
  } finally {
    if (folder !== undefined) await client.closeHandle(folder.handle, undefined);
    await link.release(true);
  }
}

/** Some of a file; `name` and `size` where it begins. */
interface Piece {
  readonly name: string | undefined;
  readonly size: number | undefined;
  readonly bytes: Uint8Array;
  readonly isLast: boolean;
}

async function* filesFrom(client: Client, handle: Handle, signal: AbortSignal | undefined): AsyncGenerator<LevelDbFile, void, undefined> {
  let head = await nextPiece(client, handle, signal);
  while (!head.isLast) {
    let bytes: Uint8Array | undefined = head.bytes;
    let next: Piece | undefined;
    /** The next bytes of this file; `undefined` behind the last. */
    const read = async (): Promise<Uint8Array | undefined> => {
      const first = bytes;
      bytes = undefined;
      if (first !== undefined) return first;
      if (next === undefined) {
        const piece = await nextPiece(client, handle, signal);
        if (!piece.isLast && piece.name === undefined) return piece.bytes;
        next = piece;
      }
      return undefined;
    };
    const stream = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const piece = await read();
          if (piece === undefined) controller.close();
          else controller.enqueue(piece);
        },
      },
      { highWaterMark: 0 },
    );
    yield { name: head.name!, size: head.size, stream: () => stream };
    while (next === undefined) await read();
    head = next;
  }
}

function nextPiece(client: Client, handle: Handle, signal: AbortSignal | undefined): Promise<Piece> {
  if (handle.isClosed) return Promise.reject(handle.error ?? new TempestError('TEMPEST_CLOSED', 'the export has ended'));
  return client.ask(
    Op.exportNext,
    0,
    (writer) => {
      writer.u32(handle.id);
      writer.u32(MAX_RUN_BYTES);
    },
    (body, flags) => {
      const name = (flags & FILE) === 0 ? undefined : body.text();
      const size = name === undefined ? undefined : sizeOf(body);
      return { name, size, bytes: body.bytes.slice(body.at, body.end), isLast: (flags & LAST) !== 0 };
    },
    signal,
  );
}

/** A size in bytes; all bits are set where it is not known. */
function sizeOf(body: BodyReader): number | undefined {
  const size = body.u64();
  return size >= 2 ** 63 ? undefined : size;
}

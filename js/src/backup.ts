// Backups: a whole store as one file, and back.

import { viewOf } from './bytes.js';
import { Kind } from './calls.js';
import { type Client, closeWhenCollected, Handle } from './client.js';
import { GIVE_UP, LAST, Op } from './frames.js';
import { MAX_RUN_BYTES } from './limits.js';
import type { CallOptions } from './namespace.js';
import { piecesOf, type Source } from './streams.js';

/** How far an export or an import has come. */
export interface BackupProgress {
  /** Size in bytes of what has passed so far. */
  readonly bytes: number;

  /** Size in bytes of the whole backup; `undefined` where that is not known. */
  readonly totalBytes: number | undefined;
}

/** For `export`. */
export interface ExportOptions extends CallOptions {
  /** Is told after each piece how far the export has come. */
  onProgress?: ((progress: BackupProgress) => void) | undefined;
}

const NO_BYTES = new Uint8Array(0);

/** Most bytes that one request of an import carries. */
const MAX_PIECE_BYTES = 1 << 20;

export const EXPORT_NAMES: ReadonlySet<string> = new Set(['signal', 'onProgress']);

/** The store as it is now, as the bytes of a backup file. */
export function exportStore(client: Client, signal: AbortSignal | undefined, onProgress: ExportOptions['onProgress']): ReadableStream<Uint8Array> {
  // A barrier: what is written after this call is not in the backup.
  const handle = new Handle(Op.exportClose, true);
  const opened = client.open(handle, Op.export, 0, () => undefined, signal);
  // The reader is told.
  opened.catch(() => undefined);
  let bytes = 0;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const total = await opened;
          if (handle.isClosed) throw handle.error;
          const { piece, isLast } = await nextPiece(client, handle, signal);
          bytes += piece.length;
          if (piece.length > 0) controller.enqueue(piece);
          onProgress?.({ bytes, totalBytes: total === 0 ? undefined : total });
          if (!isLast) return;
          void client.closeHandle(handle, undefined);
          controller.close();
        } catch (error) {
          void client.closeHandle(handle, error);
          throw error;
        }
      },
      cancel: () => client.closeHandle(handle, undefined),
    },
    { highWaterMark: 0 },
  );
  closeWhenCollected(stream, client, handle);
  return stream;
}

function nextPiece(client: Client, { id }: Handle, signal: AbortSignal | undefined) {
  return client.ask(
    Op.exportNext,
    0,
    (writer) => {
      writer.u32(id);
      writer.u32(MAX_RUN_BYTES);
    },
    (body, flags) => ({ piece: body.bytes.slice(body.at, body.end), isLast: (flags & LAST) !== 0 }),
    signal,
  );
}

/** Where a backup comes from: a stream, such as a file's, or pieces of bytes cut anywhere. */
export type BackupSource = Source<Uint8Array>;

/** Gives a backup to an engine that has been started for it. */
export async function receiveBackup(
  client: Client,
  source: BackupSource,
  signal: AbortSignal | undefined,
  onProgress: ExportOptions['onProgress'],
): Promise<void> {
  const send = (piece: Uint8Array) =>
    client.ask(
      Op.import,
      0,
      (writer) => writer.raw(piece),
      (body) => body.u64(),
      signal,
    );
  const end = (flags: number, signal?: AbortSignal) => client.call(Op.importEnd, flags, Kind.nothing, () => undefined, signal);
  try {
    // Of nothing, to learn first whether there is a store already.
    await send(NO_BYTES);
    let bytes = 0;
    for await (const given of piecesOf(source, signal)) {
      const piece = viewOf(given, 'a piece of a backup');
      let total = 0;
      for (let at = 0; at < piece.length; at += MAX_PIECE_BYTES) total = await send(piece.subarray(at, at + MAX_PIECE_BYTES));
      bytes += piece.length;
      onProgress?.({ bytes, totalBytes: total === 0 ? undefined : total });
    }
    await end(0, signal);
  } catch (error) {
    // Where nothing was begun, the engine refuses, and has nothing to undo.
    await end(GIVE_UP).catch(() => undefined);
    throw error;
  }
}

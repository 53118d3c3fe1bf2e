// Backups: a whole store as one file, and back.

import { type Client, closeWhenCollected, Handle } from './client.js';
import { LAST, Op } from './frames.js';
import { MAX_RUN_BYTES } from './limits.js';
import type { CallOptions } from './namespace.js';

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

export const EXPORT_NAMES: ReadonlySet<string> = new Set(['signal', 'onProgress']);

/** The store as it is now, as the bytes of a backup file. */
export function exportStore(client: Client, signal: AbortSignal | undefined, onProgress: ExportOptions['onProgress']): ReadableStream<Uint8Array> {
  const handle = new Handle(Op.exportClose);
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

// The way of a backup to an object: incoming.ts is its end.

import { type BackupProgress, type BackupSource, receiveBackup } from '../backup.js';
import { viewOf } from '../bytes.js';
import { Client, type Link } from '../client.js';
import { describe } from '../errors.js';
import type { CallOptions } from '../namespace.js';
import { signalOf } from '../options.js';
import { piecesOf } from '../streams.js';
import type { SessionEvents } from './sessions.js';

/** How a backup becomes the store of an object. An option of another name is a `TypeError`. */
export interface ObjectImportOptions extends CallOptions {
  /** Whether the backup takes the place of a store that has been written to: false by default. Also of one that is damaged. */
  replace?: boolean | undefined;

  /** Is told after each piece how far the import has come. */
  onProgress?: ((progress: BackupProgress) => void) | undefined;
}

const IMPORT_NAMES: ReadonlySet<string> = new Set(['signal', 'replace', 'onProgress']);

/** Size in bytes of the pieces that are sent: each is a message, and a transaction of the object. Streams of files have far smaller ones. */
const PIECE_BYTES = 1 << 20;

/** Gives a backup to an object's import; `linkTo` makes the way to it. */
export async function importTo(
  source: BackupSource,
  options: ObjectImportOptions,
  linkTo: (events: SessionEvents, replace: boolean) => Link | Promise<Link>,
): Promise<void> {
  const signal = signalOf(options, IMPORT_NAMES);
  const { replace = false, onProgress } = options;
  if (typeof replace !== 'boolean') throw new TypeError(`replace must be a boolean, not ${describe(replace)}`);
  const events: SessionEvents = {
    reply: (frame) => client.receive(frame),
    died: (error) => client.died(error),
  };
  const link = await linkTo(events, replace);
  const client = new Client(link);
  try {
    await receiveBackup(client, gathered(source, signal), signal, onProgress);
  } finally {
    await link.release(false);
  }
}

/** The bytes of a source in pieces of {@link PIECE_BYTES}. */
async function* gathered(source: BackupSource, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void> {
  let piece = new Uint8Array(PIECE_BYTES);
  let size = 0;
  for await (const given of piecesOf(source, signal)) {
    const bytes = viewOf(given, 'a piece of a backup');
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(PIECE_BYTES - size, bytes.length - at);
      piece.set(bytes.subarray(at, at + count), size);
      at += count;
      size += count;
      if (size < PIECE_BYTES) continue;
      yield piece;
      piece = new Uint8Array(PIECE_BYTES);
      size = 0;
    }
  }
  if (size > 0) yield piece.subarray(0, size);
}

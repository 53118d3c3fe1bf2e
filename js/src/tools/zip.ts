// Zip files, by zip.js. Loaded where one comes or is wanted, and not before.

import {
  BlobReader,
  configure,
  ERR_ENCRYPTED,
  ERR_UNSUPPORTED_COMPRESSION,
  ERR_UNSUPPORTED_ENCRYPTION,
  ZipReader,
  ZipWriter,
} from '@zip.js/zip.js/lib/zip-core.js';
import { messageOf, TempestError } from '../errors.js';
import type { LevelDbFile } from './files.js';

const NOT_SUPPORTED: readonly string[] = [ERR_ENCRYPTED, ERR_UNSUPPORTED_COMPRESSION, ERR_UNSUPPORTED_ENCRYPTION];

function useHost(): void {
  // What browsers and Node have themselves inflates; workers would need a program of their own.
  configure({ useWebWorkers: false, useCompressionStream: true });
}

/** What zip.js says, as an error of ours. What the host says of a file that it cannot read is passed on. */
function asZipError(error: unknown): unknown {
  if (error instanceof TempestError || (typeof DOMException !== 'undefined' && error instanceof DOMException)) return error;
  const message = messageOf(error);
  const isKnown = NOT_SUPPORTED.some((text) => message.includes(text));
  return new TempestError(isKnown ? 'TEMPEST_NOT_SUPPORTED' : 'TEMPEST_CORRUPTION', `the zip file cannot be read: ${message}`, { cause: error });
}

/** The files in a zip. Each is inflated as it is read, and its checksum compared at its end. */
export async function readZip(blob: Blob): Promise<LevelDbFile[]> {
  useHost();
  const files: LevelDbFile[] = [];
  try {
    for (const entry of await new ZipReader(new BlobReader(blob)).getEntries()) {
      if (entry.directory) continue;
      files.push({
        name: entry.filename,
        size: entry.uncompressedSize,
        stream() {
          const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
          const failed = (error: unknown) => writable.abort(asZipError(error)).catch(() => undefined);
          entry.getData(writable, { checkSignature: true, preventClose: true }).then(() => writable.close(), failed).catch(() => undefined);
          return readable;
        },
      });
    }
  } catch (error) {
    throw asZipError(error);
  }
  return files;
}

/** A zip of files that come one after the other, none of them compressed: tables are already. */
export function writeZip(files: AsyncIterable<LevelDbFile>): ReadableStream<Uint8Array> {
  useHost();
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const write = async () => {
    const zip = new ZipWriter(writable, { level: 0, extendedTimestamp: false });
    for await (const { name, stream } of files) await zip.add(name, stream());
    await zip.close();
  };
  write().catch((error: unknown) => writable.abort(error).catch(() => undefined));
  return readable;
}

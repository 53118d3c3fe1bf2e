// The origin private file system: one file a store, in a folder of ours.

import type { SyncDevice } from './device.js';
import { TempestError } from './errors.js';
import { locked } from './lock.js';
import { encodeText } from './text.js';

const FOLDER = 'tempestkv';

/** File names up to this many characters are the store's name in full. */
const MAX_FILE_NAME = 200;

/** How often, in milliseconds, a file that is still taken is tried. */
const RETRY_MILLIS = 20;

/** A synchronous access handle (https://fs.spec.whatwg.org/#api-filesystemsyncaccesshandle), which only workers have. */
interface SyncAccessHandle {
  read(into: Uint8Array, options: { at: number }): number;
  write(from: Uint8Array, options: { at: number }): number;
  flush(): void;
  getSize(): number;
  truncate(size: number): void;
  close(): void;
}

type FileHandle = FileSystemFileHandle & { createSyncAccessHandle?: () => Promise<SyncAccessHandle> };

/** The file name of a store: small letters, digits, `-` and `_` as they are, any other byte as `%` and two hexadecimal digits. */
export async function fileNameOf(name: string): Promise<string> {
  const bytes = encodeText(name);
  let fileName = '';
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    // Capitals too: some hosts keep these files where A and a are one.
    fileName += /[a-z0-9_-]/.test(character) ? character : `%${hex(byte)}`;
  }
  if (fileName.length <= MAX_FILE_NAME) return fileName;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return `${fileName.slice(0, 100)}~${Array.from(digest, hex).join('')}`;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

/** Throws `TEMPEST_NOT_SUPPORTED` where the context has no origin private file system. */
export function checkOpfs(): StorageManager {
  const storage = (globalThis.navigator as Partial<Navigator> | undefined)?.storage;
  if (typeof storage?.getDirectory !== 'function') throw unavailable('navigator.storage.getDirectory is missing');
  return storage;
}

async function folder(): Promise<FileSystemDirectoryHandle> {
  const storage = checkOpfs();
  let root: FileSystemDirectoryHandle;
  try {
    root = await storage.getDirectory();
  } catch (cause) {
    // Private windows of some browsers have the call and refuse it.
    throw unavailable(String(cause), cause);
  }
  return root.getDirectoryHandle(FOLDER, { create: true });
}

/** The error of a context without a usable origin private file system. */
function unavailable(why: string, cause?: unknown): TempestError {
  return new TempestError(
    'TEMPEST_NOT_SUPPORTED',
    `the origin private file system cannot be used here (${why}); pass storage: 'memory' for a store that is not kept`,
    { cause },
  );
}

/** A store's file in the origin private file system. Only a dedicated worker can open one. */
export class OpfsDevice implements SyncDevice {
  readonly #handle: SyncAccessHandle;

  // Kept here: asking the handle costs a hop between threads in some browsers.
  #size: number;
  #isDirty = false;

  private constructor(handle: SyncAccessHandle) {
    this.#handle = handle;
    this.#size = handle.getSize();
  }

  /**
   * Opens the file of a store, and makes it where there is none, unless told otherwise. A file that is taken, by a context that is only just ending,
   * is tried again.
   *
   * Rejects with `TEMPEST_INVALID_ARGUMENT` where there is none to be opened, with `TEMPEST_LOCKED` where it is taken longer than `waitMillis`, with `TEMPEST_NOT_SUPPORTED` where the context has no such files,
   * and with whatever the host throws.
   */
  static async open(name: string, waitMillis: number, create = true): Promise<OpfsDevice> {
    const deadline = performance.now() + waitMillis;
    const files = await folder();
    const fileName = await fileNameOf(name);
    for (;;) {
      try {
        const file: FileHandle = await files.getFileHandle(fileName, { create });
        if (file.createSyncAccessHandle === undefined) throw unavailable('only a dedicated worker can open its files');
        return new OpfsDevice(await file.createSyncAccessHandle());
      } catch (error) {
        if (!create && (error as Error).name === 'NotFoundError') {
          throw new TempestError('TEMPEST_INVALID_ARGUMENT', `there is no store named ${JSON.stringify(name)}`, { cause: error });
        }
        if (!isTaken(error)) throw error;
        if (performance.now() >= deadline) throw locked(name, waitMillis);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS));
      }
    }
  }

  /** Deletes the file of a store; one that is not there is no error. Rejects as `open` does. */
  static async remove(name: string, waitMillis: number): Promise<void> {
    const deadline = performance.now() + waitMillis;
    const files = await folder();
    const fileName = await fileNameOf(name);
    for (;;) {
      try {
        await files.removeEntry(fileName);
        return;
      } catch (error) {
        if ((error as Error).name === 'NotFoundError') return;
        if (!isTaken(error)) throw error;
        if (performance.now() >= deadline) throw locked(name, waitMillis);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS));
      }
    }
  }

  read(into: Uint8Array, offset: number): number {
    return this.#handle.read(into, { at: offset });
  }

  write(from: Uint8Array, offset: number): number {
    this.#isDirty = true;
    const count = this.#handle.write(from, { at: offset });
    this.#size = Math.max(this.#size, offset + count);
    return count;
  }

  sync(): void {
    if (!this.#isDirty) return;
    this.#handle.flush();
    this.#isDirty = false;
  }

  size(): number {
    return this.#size;
  }

  truncate(size: number): void {
    this.#isDirty = true;
    this.#handle.truncate(size);
    this.#size = size;
  }

  /** Lets the file go. */
  close(): void {
    this.#handle.close();
  }
}

function isTaken(error: unknown): boolean {
  return (error as Error).name === 'NoModificationAllowedError';
}

// What a LevelDB folder may come as, as a list of files.

import { describe, TempestError } from '../errors.js';
import { abortable } from '../options.js';
import { piecesOf } from '../streams.js';

/** A file of a LevelDB folder. A `File` is one. */
export interface LevelDbFile {
  /** Its name, which may be a path. */
  readonly name: string;

  /** Its size in bytes; `undefined` where nobody knows yet. */
  readonly size?: number | undefined;

  /** Its bytes. */
  stream(): ReadableStream<Uint8Array>;
}

/** A folder, as `showDirectoryPicker` gives it or `getDirectory`. */
export interface DirectoryHandle {
  readonly kind: 'directory';
  values(): AsyncIterable<{ readonly kind: 'file' | 'directory'; readonly name: string }>;
}

/**
 * Where a LevelDB folder comes from: its files, as a page is given them (`input.files` of an `<input webkitdirectory>`) or anything like them; a folder's
 * handle; or a zip of the folder, as a `Blob`, such as a `File`, or a stream. Other files may be among them, also folders above.
 */
export type LevelDbSource =
  | Iterable<LevelDbFile>
  | AsyncIterable<LevelDbFile>
  | ArrayLike<LevelDbFile>
  | DirectoryHandle
  | Blob
  | ReadableStream<Uint8Array>;

const CURRENT = 'CURRENT';

/** The files of the folder that has one named CURRENT, which comes first; names are without paths. */
export async function filesOf(source: LevelDbSource, signal: AbortSignal | undefined): Promise<LevelDbFile[]> {
  const files: { folder: string; file: LevelDbFile }[] = [];
  for (const file of await listOf(source, signal)) {
    if (typeof file?.name !== 'string' || typeof file.stream !== 'function') {
      throw new TypeError(`a file must be a File, or have a name and a stream, not ${describe(file)}`);
    }
    const path = (file as Partial<File>).webkitRelativePath || file.name;
    const at = path.lastIndexOf('/') + 1;
    const { size } = file;
    files.push({ folder: path.slice(0, at), file: { name: path.slice(at), size, stream: () => file.stream() } });
  }
  const depth = (folder: string) => folder.split('/').length;
  const found = files.filter(({ file }) => file.name === CURRENT).sort((a, b) => depth(a.folder) - depth(b.folder));
  const [first, second] = found;
  if (first === undefined) throw new TempestError('TEMPEST_INVALID_ARGUMENT', 'there is no file named CURRENT: this is no LevelDB folder');
  if (second !== undefined && depth(second.folder) === depth(first.folder)) {
    throw new TempestError('TEMPEST_INVALID_ARGUMENT', 'there are several files named CURRENT: this is more than one LevelDB folder');
  }
  const rest = files.filter(({ folder, file }) => folder === first.folder && file !== first.file);
  return [first.file, ...rest.map(({ file }) => file)];
}

async function listOf(source: LevelDbSource, signal: AbortSignal | undefined): Promise<readonly LevelDbFile[]> {
  if (source instanceof Blob) return unzip(source);
  // Hosts keep a large Blob on disk.
  if (isStream(source)) return unzip(await abortable(new Response(source).blob(), signal));
  if ((source as Partial<DirectoryHandle> | null)?.kind === 'directory') return filesIn(source as DirectoryHandle);
  const { length, [Symbol.iterator]: iterator } = (source ?? {}) as Partial<ArrayLike<LevelDbFile> & Iterable<LevelDbFile>>;
  if (typeof source === 'object' && typeof length === 'number' && iterator === undefined) return Array.from(source as ArrayLike<LevelDbFile>);
  const files: LevelDbFile[] = [];
  for await (const file of piecesOf(source as Iterable<LevelDbFile>, signal)) files.push(file);
  return files;
}

function isStream(source: LevelDbSource): source is ReadableStream<Uint8Array> {
  return typeof (source as Partial<ReadableStream> | null)?.getReader === 'function';
}

async function unzip(blob: Blob): Promise<LevelDbFile[]> {
  const { readZip } = await import('./zip.js');
  return readZip(blob);
}

async function filesIn(folder: DirectoryHandle): Promise<LevelDbFile[]> {
  const files: LevelDbFile[] = [];
  for await (const handle of folder.values()) {
    if (handle.kind === 'file') files.push(await (handle as FileSystemFileHandle).getFile());
  }
  return files;
}

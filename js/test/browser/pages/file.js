// A store's file in the origin private file system, as bytes, behind the store's back. The store must be closed.

const PAGE_BYTES = 64 << 10;
const CATALOG_MAGIC = 'TKVfiles';

/** The handle of a store's file; names of small letters and digits are kept as they are. */
async function handleOf(name) {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle('tempestkv');
  return folder.getFileHandle(name);
}

export async function read(name) {
  const file = await (await handleOf(name)).getFile();
  return new Uint8Array(await file.arrayBuffer());
}

export async function write(name, bytes) {
  const writable = await (await handleOf(name)).createWritable();
  await writable.write(bytes);
  await writable.close();
}

/** Where `text` begins, the last time that it is there; -1 where it is not. */
export function find(bytes, text) {
  const wanted = new TextEncoder().encode(text);
  for (let at = bytes.length - wanted.length; at >= 0; at--) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}

/** Turns over one bit of the byte at which `text` begins. */
export async function damage(name, text) {
  const bytes = await read(name);
  const at = find(bytes, text);
  if (at < 0) throw new Error(`${text} is not in the file`);
  bytes[at] ^= 1;
  await write(name, bytes);
}

/**
 * The pages that differ in two states of a file, apart from the volume's own: superblocks, catalogs, written at every open, and zeros behind the
 * end, which are space kept for the next catalog.
 */
export function changedPages(before, after) {
  const changed = [];
  for (let at = 2 * PAGE_BYTES; at < Math.max(before.length, after.length); at += PAGE_BYTES) {
    const page = after.subarray(at, at + PAGE_BYTES);
    if (new TextDecoder().decode(page.subarray(0, 8)) === CATALOG_MAGIC) continue;
    const old = before.subarray(at, at + PAGE_BYTES);
    if (old.length === 0 && page.every((byte) => byte === 0)) continue;
    if (page.length !== old.length || page.some((byte, i) => byte !== old[i])) changed.push(at / PAGE_BYTES);
  }
  return changed;
}

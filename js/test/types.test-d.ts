// What a caller's compiler sees: checked by tsc against the built declarations, never run.

import {
  type BytesInput,
  type Change,
  type Commit,
  type CustomEncoding,
  type Database,
  type DatabaseEvent,
  destroy,
  type Device,
  type Entry,
  type Figures,
  importStore,
  MemoryDevice,
  type Namespace,
  open,
  type Recovery,
  type Scan,
  type Snapshot,
  TempestError,
  type Transaction,
  type TupleKey,
  type TuplePart,
} from '../dist/index.js';
import { exportLevelDb, importLevelDb, type LevelDbFile, levelDbFiles, repair, type RepairReport } from '../dist/tools/index.js';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

function is<_T extends true>(): void {}

interface Note {
  title: string;
}

const signal = new AbortController().signal;

export async function defaults(): Promise<void> {
  const db = await open('notes');
  is<Same<typeof db, Database<string, unknown>>>();
  const sequence = await db.put('a', { any: ['thing', 1n, new Map()] }, { durability: 'strict', signal });
  is<Same<typeof sequence, number>>();
  const value = await db.get('a', { signal });
  is<Same<typeof value, unknown>>();
  await db.batch([{ type: 'put', key: 'a', value: 1 }, { type: 'delete', key: 'b' }], { durability: 'relaxed' });
  await db.close();
  await destroy('notes', { lockWaitMillis: 10, signal });
  // @ts-expect-error an option of open only
  await destroy('notes', { durability: 'strict' });
  // @ts-expect-error reads have no durability
  await db.get('a', { durability: 'strict' });
  // @ts-expect-error keys are strings
  await db.put(1, 1);
  // @ts-expect-error no such durability
  await db.put('a', 1, { durability: 'firm' });
  // @ts-expect-error a put has a value
  await db.batch([{ type: 'put', key: 'a' }]);
  // @ts-expect-error no such option
  await open('notes', { nonsense: true });
  const far = await open(new URL('https://kv.example/v1/notes'), { token: 'secret', keyEncoding: 'view' });
  is<Same<typeof far, Database<Uint8Array, unknown>>>();
  const spelled: Database<string, Note> = await open<string, Note>('https://kv.example/v1/notes', { token: 'secret' });
  await spelled.close();
  // @ts-expect-error an address needs a token
  await open(new URL('https://kv.example/v1/notes'));
  // @ts-expect-error a hook of the tests
  await db._panic();
}

export async function spelledOut(): Promise<void> {
  const db = await open<string, Note>('notes', { storage: 'memory' });
  await db.put('a', { title: 'A' });
  const note = await db.get('a');
  is<Same<typeof note, Note | undefined>>();
  const notes = await db.getMany(['a', 'b']);
  is<Same<typeof notes, (Note | undefined)[]>>();
  for await (const [key, value] of db.scan({ prefix: 'a', reverse: true, limit: 3, signal })) {
    is<Same<typeof key, string>>();
    is<Same<typeof value, Note>>();
  }
  const scan = db.scan({ gte: 'a', lt: 'b' });
  is<Same<typeof scan, Scan<[string, Note], string, Note>>>();
  const keys = await scan.keys().toArray();
  is<Same<typeof keys, string[]>>();
  const values = await scan.values().toArray();
  is<Same<typeof values, Note[]>>();
  is<Same<Awaited<ReturnType<typeof scan.count>>, number>>();
  // @ts-expect-error no note
  await db.put('a', 1);
  // @ts-expect-error bounds are keys
  db.scan({ gt: 1 });
}

export async function bytes(): Promise<void> {
  const db = await open('bytes', { keyEncoding: 'view', valueEncoding: 'view' });
  is<Same<typeof db, Database<Uint8Array, Uint8Array>>>();
  const inputs: BytesInput[] = [new Uint8Array(1), new ArrayBuffer(1), new DataView(new ArrayBuffer(1))];
  for (const input of inputs) await db.put(input, input);
  const value = await db.get(new ArrayBuffer(1));
  is<Same<typeof value, Uint8Array | undefined>>();
  // @ts-expect-error keys are bytes
  await db.get('a');
}

export async function tuples(): Promise<void> {
  const db = await open('tuples', { keyEncoding: 'tuple' });
  is<Same<typeof db, Database<TupleKey, unknown>>>();
  await db.put([null, true, 1, 1n, 'a', new Date(), new Uint8Array(1), ['nested', [1]]], 1);
  const fixed = ['user', 1] as const;
  await db.getMany([fixed, []]);
  await db.batch([{ type: 'delete', key: fixed }]);
  for await (const [key] of db.scan({ prefix: ['user'], gte: ['user', 1], lt: fixed })) {
    is<Same<typeof key, TupleKey>>();
    is<Same<(typeof key)[number], TuplePart>>();
    // @ts-expect-error what is read is not for changing
    key.push(1);
  }
  // @ts-expect-error keys are arrays
  await db.get('user');
  // @ts-expect-error no part
  await db.put(['user', undefined], 1);
  // @ts-expect-error no part either
  await db.put(['user', { id: 1 }], 1);

  type UserKey = readonly ['user', number] | readonly ['name', string, number];
  const users = await open<UserKey, Note>('users', { keyEncoding: 'tuple' });
  await users.put(['user', 1], { title: 'A' });
  const keys = await users.scan({ prefix: ['name', 'Ada'] }).keys().toArray();
  is<Same<typeof keys, UserKey[]>>();
  users.scan({ prefix: ['user'] });
  users.scan({ prefix: [] });
  // @ts-expect-error no key has these parts
  await users.get(['user', 'Ada']);
  // @ts-expect-error nor begins with them
  users.scan({ prefix: ['user', 'Ada'] });
}

export async function encodings(): Promise<void> {
  const text = await open('text', { valueEncoding: 'utf8' });
  is<Same<typeof text, Database<string, string>>>();
  const encoding: CustomEncoding<Note> = {
    name: 'note',
    encode: (note) => new TextEncoder().encode(note.title),
    decode: (encoded) => ({ title: new TextDecoder().decode(encoded) }),
  };
  const notes = await open('notes', { valueEncoding: encoding });
  is<Same<typeof notes, Database<string, Note>>>();
}

export async function devices(): Promise<void> {
  const device: Device = new MemoryDevice();
  await using db = await open('memory', { device });
  is<Same<typeof db.storage, 'opfs' | 'memory' | 'device' | 'object' | 'remote'>>();
  await using scan = db.scan();
  is<Same<typeof scan, Scan<[string, unknown], string, unknown>>>();
  try {
    await db.get('a');
  } catch (error) {
    if (error instanceof TempestError && error.code === 'TEMPEST_CLOSED') return;
    // @ts-expect-error no such code
    if (error instanceof TempestError && error.code === 'TEMPEST_OOPS') return;
  }
}

export async function namespaces(): Promise<void> {
  const db = await open<string, Note>('notes', { storage: 'memory' });
  const same = db.sub('same');
  is<Same<typeof same, Namespace<string, Note>>>();
  const other = same.sub('other', { keyEncoding: 'tuple', valueEncoding: 'utf8' });
  is<Same<typeof other, Namespace<TupleKey, string>>>();
  const spelled = db.sub<['user', number], number>('counts', { keyEncoding: 'tuple' });
  is<Same<typeof spelled, Namespace<['user', number], number>>>();
  await spelled.put(['user', 1], 2, { ttl: 1000, durability: 'strict', signal });
  await db.batch([
    { type: 'put', key: 'a', value: { title: 'A' }, ttl: 5 },
    { type: 'clear', range: { prefix: 'tmp:' } },
    { type: 'put', sub: spelled, key: ['user', 1], value: 1 },
    { type: 'delete', sub: spelled, key: ['user', 2] },
    { type: 'clear', sub: spelled },
  ], { ifUnchangedSince: 5, keys: ['a'] });
  // @ts-expect-error no note
  await same.put('a', 1);
  // @ts-expect-error a database is no namespace
  spelled.close();
  // @ts-expect-error no such encoding
  db.sub('a', { keyEncoding: 'latin1' });
  // @ts-expect-error nothing to clear but a range
  await db.batch([{ type: 'clear', range: { limit: 5 } }]);
}

export async function encodingsOfOneCall(): Promise<void> {
  const db = await open<string, Note>('notes', { storage: 'memory' });
  const bytes = await db.get(new Uint8Array(1), { keyEncoding: 'view', valueEncoding: 'view' });
  is<Same<typeof bytes, Uint8Array | undefined>>();
  const note = await db.get('a', { signal, keyEncoding: 'utf8' });
  is<Same<typeof note, Note | undefined>>();
  await db.put('a', 'text', { valueEncoding: 'utf8' });
  const texts = await db.getMany([['a']], { keyEncoding: 'tuple', valueEncoding: 'utf8' });
  is<Same<typeof texts, (string | undefined)[]>>();
  const scan = db.scan({ prefix: ['a'], keyEncoding: 'tuple', valueEncoding: 'view' });
  is<Same<typeof scan, Scan<[TupleKey, Uint8Array], TupleKey, Uint8Array>>>();
  // @ts-expect-error keys of this call are bytes
  await db.get('a', { keyEncoding: 'view' });
  // @ts-expect-error values of this call are text
  await db.put('a', { title: 'A' }, { valueEncoding: 'utf8' });
  // @ts-expect-error reads have no durability
  await db.get('a', { signal, durability: 'strict' });
}

export async function transactions(): Promise<void> {
  const db = await open<string, Note>('notes', { storage: 'memory' });
  const counts = db.sub<string, number>('counts');
  const count = await db.transaction(async (tx) => {
    is<Same<typeof tx, Transaction<string, Note>>>();
    const note = await tx.get('a');
    is<Same<typeof note, Note | undefined>>();
    tx.put('b', note ?? { title: '' }, { ttl: 1000 });
    tx.delete('c');
    tx.clear({ prefix: 'd' });
    const n = (await tx.in(counts).get('n')) ?? 0;
    tx.in(counts).put('n', n + 1);
    for await (const [, value] of tx.scan({ reverse: true })) is<Same<typeof value, Note>>();
    // @ts-expect-error no note
    tx.put('b', 1);
    return n;
  }, { retries: 3, signal, durability: 'strict' });
  is<Same<typeof count, number>>();
  const updated = await counts.update('n', (n) => (n ?? 0) + 1);
  is<Same<typeof updated, number | undefined>>();
  await using snapshot = await db.snapshot({ signal });
  is<Same<typeof snapshot, Snapshot<string, Note>>>();
  is<Same<Awaited<ReturnType<typeof snapshot.count>>, number>>();
  const entry = await counts.getEntry('n');
  is<Same<typeof entry, Entry<number> | undefined>>();
  // @ts-expect-error no option of a transaction
  await db.transaction(() => 1, { ttl: 5 });
}

export async function watches(): Promise<void> {
  const db = await open<string, Note>('notes', { storage: 'memory' });
  for await (const commit of db.watch({ prefix: 'a' }, { since: 5, values: true, signal })) {
    is<Same<typeof commit, Commit<string, Note>>>();
    const [change] = commit.changes;
    is<Same<typeof change, Change<string, Note> | undefined>>();
    if (change?.type === 'put') is<Same<typeof change.value, Note | undefined>>();
    if (change?.type === 'clear') is<Same<ReturnType<typeof change.covers>, boolean>>();
  }
  db.watch(['a', 'b']);
  for await (const n of db.liveQuery((view) => view.count({ prefix: 'a' }))) is<Same<typeof n, number>>();
  // @ts-expect-error keys are strings
  db.watch([1]);
  db.addEventListener('compaction', (event) => is<Same<typeof event, DatabaseEvent<Figures>>>());
  db.addEventListener('error', ({ detail }) => is<Same<typeof detail, TempestError>>(), { once: true });
  // @ts-expect-error no such event
  db.addEventListener('closed', () => undefined);
}

export async function folders(files: FileList, folder: FileSystemDirectoryHandle, zip: File): Promise<void> {
  const db = await open('notes', { storage: 'memory', keyEncoding: 'view' });
  is<Same<Awaited<ReturnType<typeof importLevelDb>>, Recovery>>();
  await importLevelDb('copy', files, { signal, lockWaitMillis: 10, onProgress: ({ totalBytes }) => totalBytes });
  await importLevelDb('copy', [...files], { device: new MemoryDevice() });
  await importLevelDb('copy', folder);
  await importLevelDb('copy', zip);
  await importLevelDb('copy', exportLevelDb(db, { dropExpiry: true, signal }));
  await importLevelDb('copy', levelDbFiles(db));
  // @ts-expect-error a name is no file
  await importLevelDb('copy', ['CURRENT']);
  for await (const file of levelDbFiles(db)) {
    is<Same<typeof file, LevelDbFile>>();
    is<Same<typeof file.size, number | undefined>>();
  }
  // @ts-expect-error a namespace is no whole store
  exportLevelDb(db.sub('a'));
  const report = await repair('notes', { into: 'mended', signal });
  is<Same<typeof report, RepairReport>>();
  is<Same<(typeof report.lost)[number]['reason'], string>>();
  await repair('notes', { device: new MemoryDevice(), into: new MemoryDevice() });
  // @ts-expect-error nowhere to go
  await repair('notes', {});
}

export async function backups(): Promise<void> {
  const db = await open('notes', { storage: 'memory' });
  const stream = db.export({ signal, onProgress: ({ totalBytes }) => is<Same<typeof totalBytes, number | undefined>>() });
  is<Same<typeof stream, ReadableStream<Uint8Array>>>();
  await importStore('copy', stream, { device: new MemoryDevice(), lockWaitMillis: 10, signal, onProgress: ({ bytes }) => bytes });
  await importStore('copy', [new Uint8Array(1)]);
  is<Same<Awaited<ReturnType<typeof db.importNdjson>>, number>>();
  await db.importNdjson(db.exportNdjson({ prefix: 'a', signal }), { durability: 'strict' });
  // @ts-expect-error a backup is bytes
  await importStore('copy', ['text']);
  // @ts-expect-error a namespace is no whole store
  db.sub('a').export();
}

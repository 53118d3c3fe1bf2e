// What a caller's compiler sees: checked by tsc against the built declarations, never run.

import { type BytesInput, type CustomEncoding, type Database, destroy, type Device, MemoryDevice, open, type Scan, TempestError, type TupleKey, type TuplePart } from '../dist/index.js';

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
  is<Same<typeof db.storage, 'opfs' | 'memory' | 'device' | 'object'>>();
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

// What the compiler of somebody's Worker sees, by the platform's own types: checked by types.test.mjs, never run.

import { connect, type Database, exportToBucket, importStore, TempestError, TempestObject } from '../../dist/workers/index.js';

interface Env {
  TEMPEST: DurableObjectNamespace<TempestObject>;
  NOTES: DurableObjectNamespace<Notes>;
  BACKUPS: R2Bucket;
}

interface Note {
  title: string;
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function is<_ extends true>(): void;

export class Notes extends TempestObject<Env> {
  static override readonly options = { memtableBytes: 1 << 20 };

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
  }

  async add(title: string): Promise<number> {
    const db = await this.database<string, Note>();
    is<Same<typeof db, Database<string, Note>>>();
    return db.put(title, { title });
  }

  async restore(): Promise<number> {
    const backup = await this.env.BACKUPS.get('notes');
    if (backup !== null) await this.importStore(backup.body, { replace: true });
    return exportToBucket(await this.database(), this.env.BACKUPS, 'notes');
  }

  override async alarm(): Promise<void> {
    await super.alarm();
  }
}

export default {
  async fetch(_request: Request, env: Env): Promise<Response> {
    const db = connect(env.TEMPEST, 'notes');
    is<Same<typeof db, Database<string, unknown>>>();
    const tuples = connect(env.NOTES, 'notes', { keyEncoding: 'tuple', valueEncoding: 'view' });
    await tuples.put(['a', 1], new Uint8Array(1));
    const notes = connect<string, Note>(env.NOTES, 'notes');
    const note = await notes.get('a');
    is<Same<typeof note, Note | undefined>>();
    const id: number = await env.NOTES.get(env.NOTES.idFromName('notes')).add('a');
    const size = await exportToBucket(notes, env.BACKUPS, 'notes', { partBytes: 5 << 20, onProgress: ({ bytes }) => void bytes });
    is<Same<typeof size, number>>();
    const backup = await env.BACKUPS.get('notes');
    if (backup !== null) await importStore(env.NOTES, 'notes', backup.body, { replace: true });
    // @ts-expect-error An object of the bucket is not its bytes.
    await importStore(env.NOTES, 'notes', backup);
    // @ts-expect-error A binding of another kind.
    connect({}, 'notes');
    // @ts-expect-error Where a store is kept is not for a client to say.
    connect(env.TEMPEST, 'notes', { storage: 'memory' });
    try {
      await db.get('a');
    } catch (error) {
      if (error instanceof TempestError && error.code === 'TEMPEST_CLOSED') return new Response(null);
    }
    return Response.json({ id, note });
  },
} satisfies ExportedHandler<Env>;

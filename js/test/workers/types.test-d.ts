// What the compiler of somebody's Worker sees, by the platform's own types: checked by types.test.mjs, never run.

import { connect, type Database, TempestError, TempestObject } from '../../dist/workers/index.js';

interface Env {
  TEMPEST: DurableObjectNamespace<TempestObject>;
  NOTES: DurableObjectNamespace<Notes>;
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

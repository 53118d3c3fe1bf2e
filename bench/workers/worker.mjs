// The Worker of the comparison: the same rows by connect(), by the platform's key-value calls, and by one SQL row a key. All three are in
// objects, and are called from the Worker.

import { DurableObject } from 'cloudflare:workers';
import { connect, TempestObject } from './workers.js';

/** The costs of statements since they were asked for last; the platform tells them for SQL alone. */
let written = 0;

function countRows(sql) {
  const shared = Object.getPrototypeOf(sql);
  if (Object.hasOwn(shared, 'countsRows')) return;
  const { exec } = shared;
  shared.countsRows = true;
  shared.exec = function (...statement) {
    const cursor = exec.apply(this, statement);
    written += cursor.rowsWritten;
    return cursor;
  };
}

export class Tempest extends TempestObject {
  constructor(ctx, env) {
    countRows(ctx.storage.sql);
    super(ctx, env);
  }

  reset() {
    this.ctx.abort('begins anew');
  }
}

/** The least that an object of one's own would do. */
export class Plain extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    countRows(ctx.storage.sql);
    ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID');
  }

  reset() {
    this.ctx.abort('begins anew');
  }

  async put(key, value) {
    await this.ctx.storage.put(key, value);
  }

  async putMany(entries) {
    await this.ctx.storage.put(Object.fromEntries(entries));
  }

  get(key) {
    return this.ctx.storage.get(key);
  }

  async getMany(keys) {
    const found = await this.ctx.storage.get(keys);
    return keys.map((key) => found.get(key));
  }

  sqlPut(key, value) {
    this.ctx.storage.sql.exec('INSERT OR REPLACE INTO rows VALUES (?, ?)', key, value);
  }

  sqlPutMany(entries) {
    for (const [key, value] of entries) this.sqlPut(key, value);
  }

  sqlGet(key) {
    const [row] = this.ctx.storage.sql.exec('SELECT value FROM rows WHERE key = ?', key);
    return row?.value;
  }

  sqlGetMany(keys) {
    return keys.map((key) => this.sqlGet(key));
  }
}

const stores = {
  tempestkv(env, name) {
    const db = connect(env.TEMPEST, name, { valueEncoding: 'utf8' });
    return {
      object: env.TEMPEST.get(env.TEMPEST.idFromName(name)),
      put: (key, value) => db.put(key, value),
      putMany: (entries) => db.batch(entries.map(([key, value]) => ({ type: 'put', key, value }))),
      get: (key) => db.get(key),
      getMany: (keys) => db.getMany(keys),
    };
  },
  storage(env, name) {
    const object = env.PLAIN.get(env.PLAIN.idFromName(name));
    return { object, put: (key, value) => object.put(key, value), putMany: (entries) => object.putMany(entries), get: (key) => object.get(key), getMany: (keys) => object.getMany(keys) };
  },
  sql(env, name) {
    const object = env.PLAIN.get(env.PLAIN.idFromName(name));
    return { object, put: (key, value) => object.sqlPut(key, value), putMany: (entries) => object.sqlPutMany(entries), get: (key) => object.sqlGet(key), getMany: (keys) => object.sqlGetMany(keys) };
  },
};

const keyOf = (i) => `user:${String(i).padStart(11, '0')}`;
const valueOf = (i) => `${i}`.padEnd(100, '.');
const COUNT = 1000;
const BATCH = 100;
const batches = Array.from({ length: COUNT / BATCH }, (_, batch) => Array.from({ length: BATCH }, (_, i) => batch * BATCH + i));

const check = (value, i) => {
  if (value !== valueOf(i)) throw new Error(`the value of ${i} is ${value}`);
};

const steps = {
  async puts(store) {
    for (let i = 0; i < COUNT; i++) await store.put(keyOf(i), valueOf(i));
  },
  async batches(store) {
    for (const batch of batches) await store.putMany(batch.map((i) => [keyOf(i), valueOf(i)]));
  },
  async gets(store) {
    for (let i = 0; i < COUNT; i++) check(await store.get(keyOf(i)), i);
  },
  async getMany(store) {
    for (const batch of batches) for (const [at, value] of (await store.getMany(batch.map(keyOf))).entries()) check(value, batch[at]);
  },
};

const functions = {
  /** Milliseconds and rows written of a step. The clock moves on when an answer has come. */
  async step(env, kind, name, step) {
    const store = stores[kind](env, name);
    await store.get('none');
    written = 0;
    const start = Date.now();
    await steps[step](store);
    return { millis: Date.now() - start, written };
  },

  /** Loads rows in batches of 100. */
  async load(env, kind, name, count) {
    const store = stores[kind](env, name);
    await store.get('none');
    written = 0;
    for (let i = 0; i < count; i += BATCH) await store.putMany(Array.from({ length: BATCH }, (_, j) => [keyOf(i + j), valueOf(i + j)]));
  },

  /** The rows written until background work has ended. */
  async settled() {
    for (let last = -1, same = 0; same < 20; ) {
      same = written === last ? same + 1 : 0;
      last = written;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return written;
  },

  /** What the engine says of itself. */
  async stats(env, name) {
    return connect(env.TEMPEST, name).stats();
  },

  /** Milliseconds of the first get of an object that has to be made. */
  async cold(env, kind, name, i) {
    await stores[kind](env, name).object.reset().catch(() => undefined);
    const store = stores[kind](env, name);
    const start = Date.now();
    check(await store.get(keyOf(i)), i);
    return { millis: Date.now() - start };
  },
};

export default {
  async fetch(request, env) {
    const { name, args } = await request.json();
    try {
      return Response.json({ value: await functions[name](env, ...args) });
    } catch (error) {
      return Response.json({ error: { name: error.name, message: error.message } });
    }
  },
};

// The Worker under test: functions that tests have carried out, and the objects they use.

import { DurableObject } from 'cloudflare:workers';
import * as api from './workers.js';
import { makeTarget, tests } from './suite/index.mjs';

const { connect, TempestObject } = api;

export { TempestObject };

/** One with little space. */
export class TinyObject extends TempestObject {
  static options = { memtableBytes: 64 << 10, maxBytes: 4 << 20 };
}

/** One that says what goes on inside. */
export class ProbeObject extends TempestObject {
}

/** What the platform offers without us. */
export class PlainObject extends DurableObject {
}

const functions = {
  /** Runs a test of the common suite. */
  async suite(env, name) {
    const small = new Set();
    // The size of memtables is for the object's class to say, and nobody has to wait for a store.
    const openAs = async (store, { memtableBytes, lockWaitMillis, ...options }) => {
      if (memtableBytes !== undefined) small.add(store);
      return connect(small.has(store) ? env.TINY : env.TEMPEST, store, options);
    };
    const target = makeTarget(api, { openAs });
    await tests.find((test) => test.name === name).run(target);
  },
};

export default {
  async fetch(request, env) {
    const { name, args } = await request.json();
    try {
      return Response.json({ value: await functions[name](env, ...args) });
    } catch (error) {
      return Response.json({ error: { name: error.name, code: error.code, message: `${error.message}\n${error.stack}` } });
    }
  },
};

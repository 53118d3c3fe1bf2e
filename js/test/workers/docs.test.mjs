// What README.md says of Workers.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { packageModules, startWorker } from './harness.mjs';

const [, section] = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8').split('\n## On Cloudflare Workers\n');
const [code, methods, backups] = [...section.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code.replaceAll('tempestkv/workers', './workers.js'));
const [settings] = [...section.matchAll(/^```toml\n(.*?)^```$/gms)].map(([, toml]) => toml);

function start(contents, objects) {
  return startWorker({ modules: [{ type: 'ESModule', path: 'main.mjs', contents }, ...packageModules()], objects });
}

test('the example does what it says, with the names of its wrangler.toml', async () => {
  const [, binding] = /name = "([A-Z]+)"/.exec(settings);
  const [, className] = /class_name = "(\w+)"/.exec(settings);
  assert.ok(settings.includes(`new_sqlite_classes = ["${className}"]`));
  const worker = await start(code, { [binding]: className });
  try {
    for (const name of ['ada', 'grace']) await (await worker.fetch(`/${name}`, { method: 'POST', body: `hello from ${name}` })).text();
    const guests = await (await worker.fetch('/')).json();
    assert.deepEqual(guests.map(([name, { greeting }]) => [name, greeting]), [['ada', 'hello from ada'], ['grace', 'hello from grace']]);
  } finally {
    await worker.stop();
  }
});

test('an object has methods of its own', async () => {
  const main = `${methods}
    export default {
      async fetch(request, env) {
        const object = env.COUNTERS.get(env.COUNTERS.idFromName('a'));
        return Response.json([await object.count('x'), await object.count('x'), await connect(env.COUNTERS, 'a').get('x')]);
      },
    };
    import { connect } from './workers.js';`;
  const worker = await start(main, { COUNTERS: 'Counters' });
  try {
    assert.deepEqual(await (await worker.fetch('/')).json(), [1, 2, 2]);
  } finally {
    await worker.stop();
  }
});

test('a store is backed up to a bucket, and comes back', async () => {
  const main = `${backups.replace('export default', 'const handlers =')}
    export default {
      async fetch(request, env) {
        const db = connect(env.TEMPEST, 'guests');
        await db.put('ada', 1);
        await handlers.scheduled({}, env);
        await db.put('grace', 2);
        const text = await (await handlers.fetch(request, env)).text();
        return Response.json([text, await connect(env.TEMPEST, 'guests').scan().toArray()]);
      },
    };`;
  const worker = await start(main, { TEMPEST: 'TempestObject' });
  try {
    assert.deepEqual(await (await worker.fetch('/')).json(), ['restored', [['ada', 1]]]);
  } finally {
    await worker.stop();
  }
});

// The package's open(address), through the router as it is deployed, to the package's objects.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import * as api from '../../js/dist/index.js';
import { makeTarget, tests } from '../../js/test/suite/index.mjs';
import { startRouter, TOKEN } from './harness.mjs';

const { open, TempestError } = api;

/** Objects whose memtables are small, which the tests of flushes ask for. */
const main = `
  import { TempestObject as Base } from '../../js/dist/workers.js';
  export { default } from '../../build/router/router.mjs';
  export class TempestObject extends Base {
    static options = { memtableBytes: 256 << 10 };
  }`;

let router;
before(async () => {
  router = await startRouter({ main, bindings: { TEMPEST_ORIGINS: 'https://app.example', TEMPEST_TOKEN: `${TOKEN} other-token` } });
});
after(() => router?.stop());

const addressOf = (name) => `${router.origin}/v1/${name}`;
const openStore = (name, options) => open(addressOf(name), { token: TOKEN, ...options });
const isRejected = (code, message = /./) => (error) => error instanceof TempestError && error.code === code && message.test(error.message);

/** Tests of what a store behind a router has not: a lock, names of every kind, an engine that is to be fetched or may be killed, what is done by name. */
const elsewhere = [
  'names of every kind',
  'a second open waits, then says that the store is locked',
  'names that options do not have are refused by every call',
  'bad names and options',
  'signals',
  'a store that was let go is not destroyed, for it may be another\'s',
  'when the engine dies every waiting call rejects, and the store opens again',
  'a database tells of the death of its engine',
  'a missing or wrong engine is told by address and content',
  'a store comes back from its backup as it was',
  'a backup goes straight from one store to another',
  'a backup that is cut short or altered is refused whole',
  'an import never writes over a store',
  'an export or an import that is given up leaves nothing behind',
];

// Each request starts the router anew, so a test alone would mostly wait.
describe('the common suite', { concurrency: 8 }, () => {
  const target = makeTarget(api, { openAs: (name, { memtableBytes, lockWaitMillis, ...options }) => openStore(name, options) });
  for (const { name, run } of tests) {
    if (!elsewhere.includes(name)) test(name, () => run(target));
  }
});

test('the tests that are left out are there', () => {
  for (const name of elsewhere) assert.ok(tests.some((each) => each.name === name), name);
});

test('open says what there is', async () => {
  const first = await openStore('opened');
  assert.deepEqual([first.name, first.storage, first.supports], ['opened', 'remote', { persistent: true, strict: true }]);
  assert.deepEqual(first.recovery, { sequence: 0, droppedBytes: 0, report: '' });
  await first.batch([{ type: 'put', key: 'a', value: 1 }, { type: 'put', key: 'b', value: 2 }]);
  const second = await open(new URL(addressOf('opened')), { token: 'other-token' });
  assert.equal(second.recovery.sequence, 2);
  assert.equal(await second.get('b'), 2, 'any number may have it open');
  await Promise.all([first.close(), second.close()]);
});

test('open refuses what makes no sense, and sends nothing', async () => {
  const address = 'https://kv.invalid/v1/notes';
  for (const bad of ['https://', 'https://kv.invalid/', 'https://kv.invalid/v1/', 'https://kv.invalid/v1/a/b', 'https://kv.invalid/v1/.a', 'https://kv.invalid/v1/a%20b',
    `https://kv.invalid/v1/${'a'.repeat(101)}`, `${address}?a=b`, `${address}#a`, 'https://me:secret@kv.invalid/v1/notes', new URL('ftp://kv.invalid/v1/notes')]) {
    await assert.rejects(open(bad, { token: 'x' }), { name: 'TypeError' }, String(bad));
  }
  for (const options of [undefined, {}, { token: 1 }, { token: '' }, { token: 'two words' }, { token: 'x', storage: 'opfs' }, { token: 'x', tokn: 1 }, { token: 'x', keyEncoding: 'latin1' },
    { token: 'x', valueEncoding: 'xml' }, { token: 'x', durability: 'maybe' }, { token: 'x', signal: 1 }]) {
    await assert.rejects(open(address, options), { name: 'TypeError' });
  }
  await assert.rejects(open('notes', { token: 'x' }), { name: 'TypeError', message: /"token"/ });
  await assert.rejects(open(address, { token: 'x', signal: AbortSignal.abort(new Error('changed my mind')) }), { message: 'changed my mind' });
});

test('a token that the router does not know is told by its code, and by nothing else', async () => {
  const wrong = await open(addressOf('tokens'), { token: 'wrong-token' }).catch((error) => error);
  assert.ok(isRejected('TEMPEST_UNAUTHORIZED')(wrong), String(wrong));
  assert.ok(!wrong.message.includes('wrong-token'));
  const answer = await fetch(`${addressOf('tokens')}/frames?do=send`, { method: 'POST' });
  assert.equal(answer.status, 401);
});

test('a token for reading reads, and a write is refused by itself', async () => {
  const writer = await openStore('readers');
  await writer.put('a', 1);
  const reader = await openStore('readers', { token: 'read-token' });
  const refused = isRejected('TEMPEST_UNAUTHORIZED', /read only/);
  const snapshot = await reader.snapshot();
  const results = await Promise.allSettled([reader.get('a'), reader.put('a', 2), reader.scan().count(), reader.flush(), reader.clear(), reader.compact()]);
  assert.deepEqual(results.map(({ value, reason }) => reason?.code ?? value), [1, 'TEMPEST_UNAUTHORIZED', 1, 'TEMPEST_UNAUTHORIZED', 'TEMPEST_UNAUTHORIZED', 'TEMPEST_UNAUTHORIZED']);
  await assert.rejects(reader.transaction(async (tx) => tx.put('a', 3)), refused);
  assert.equal(await snapshot.get('a'), 1, 'the session has gone on');
  await assert.rejects(reader.destroy(), refused);
  assert.equal(await writer.get('a'), 1);
  await writer.close();
});

test('what is not done over HTTP is refused, and the engine lives', async () => {
  const db = await openStore('panics');
  await assert.rejects(db._panic(), isRejected('TEMPEST_NOT_SUPPORTED'));
  assert.equal(await db.put('a', 1), 1);
  await db.close();
});

test('a call that is too large fails, and those around it do not', async () => {
  const db = await openStore('large', { valueEncoding: 'view' });
  const sizes = [1, 9, 16, 7].map((mebibytes) => mebibytes << 20);
  const results = await Promise.allSettled(sizes.map((size, i) => db.put(`k${i}`, new Uint8Array(size))));
  assert.deepEqual(results.map(({ status, reason }) => reason?.code ?? status), ['fulfilled', 'TEMPEST_INVALID_ARGUMENT', 'TEMPEST_INVALID_ARGUMENT', 'fulfilled']);
  assert.deepEqual(await db.scan().keys().toArray(), ['k0', 'k3']);
  assert.equal((await db.get('k3')).length, 7 << 20);
  await db.close();
});

test('pages of known origins may call, with all the headers that a call has', async () => {
  const preflight = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type,tempest-session,tempest-turn', authorization: '' };
  const allowed = await router.ask('OPTIONS', '/v1/pages/frames?do=send', undefined, { origin: 'https://app.example', ...preflight });
  assert.deepEqual([allowed.status, allowed.headers['access-control-allow-origin']], [204, 'https://app.example']);
  const names = allowed.headers['access-control-allow-headers'].toLowerCase().split(', ');
  for (const name of preflight['access-control-request-headers'].split(',')) assert.ok(names.includes(name), name);
  assert.equal((await router.ask('OPTIONS', '/v1/pages/frames?do=send', undefined, { origin: 'https://evil.example', ...preflight })).status, 403);
  const session = { 'tempest-session': '0'.repeat(32) };
  const close = (origin) => router.ask('POST', '/v1/pages/frames?do=close', undefined, { origin, ...session });
  assert.equal((await close('https://app.example')).headers['access-control-allow-origin'], 'https://app.example');
  assert.equal((await close('https://evil.example')).headers['access-control-allow-origin'], undefined);
});

/** Stands between a client and the router: it passes everything on, unless a test answers. */
async function startProxy(t) {
  const { hostname, port } = new URL(router.origin);
  const proxy = { answer: undefined, cut: () => server.closeAllConnections() };
  const server = createServer((incoming, outgoing) => {
    if (proxy.answer !== undefined) return void proxy.answer(incoming, outgoing);
    const { method, url: path, headers } = incoming;
    const passed = request({ hostname, port, method, path, headers, agent: false }, (response) => {
      outgoing.writeHead(response.statusCode, response.headers);
      response.pipe(outgoing);
    });
    passed.on('error', () => outgoing.destroy());
    outgoing.on('close', () => passed.destroy());
    incoming.pipe(passed);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => (server.close(), proxy.cut()));
  proxy.addressOf = (name) => `http://127.0.0.1:${server.address().port}/v1/${name}`;
  /** Keeps the next requests unanswered; resolves when one has come. */
  proxy.hold = () => new Promise((resolve) => (proxy.answer = (incoming) => incoming.resume().on('end', resolve)));
  return proxy;
}

test('a connection that is cut fails what is under way and open, and the next call connects anew', async (t) => {
  const proxy = await startProxy(t);
  const db = await open(proxy.addressOf('cut'), { token: TOKEN });
  await db.batch(Array.from({ length: 20_000 }, (_, i) => ({ type: 'put', key: `k${i}`, value: i })));
  const iterator = db.scan()[Symbol.asyncIterator]();
  await iterator.next();
  const snapshot = await db.snapshot();
  const watch = db.watch();
  const told = watch.next();
  const held = proxy.hold();
  const writes = [db.put('lost', 1), db.update('k1', (n) => n + 1), db.scan().count(), db.getMany(['k1'])];
  await held;
  proxy.cut();
  for (const call of [...writes, told]) await assert.rejects(call, isRejected('TEMPEST_DISCONNECTED'));
  // Still cut off.
  proxy.answer = (incoming, outgoing) => void outgoing.destroy();
  await assert.rejects(db.get('k1'), isRejected('TEMPEST_DISCONNECTED', /no answer from http:/));
  proxy.answer = undefined;
  assert.equal(await db.get('k1'), 1);
  await assert.rejects(snapshot.get('k1'), isRejected('TEMPEST_DISCONNECTED'));
  await assert.rejects(async () => { for (;;) if ((await iterator.next()).done) break; }, isRejected('TEMPEST_DISCONNECTED'));
  assert.equal(await db.get('lost'), undefined);
  assert.equal(await db.scan().count(), 20_000);
  await db.update('k1', (n) => n + 1);
  assert.equal(await db.get('k1'), 2);
  await db.close();
  await assert.rejects(db.get('k1'), isRejected('TEMPEST_CLOSED'));
});

test('a store that is closed while the router is away closes', async (t) => {
  const proxy = await startProxy(t);
  const db = await open(proxy.addressOf('away'), { token: TOKEN });
  proxy.answer = (incoming, outgoing) => void outgoing.destroy();
  const put = db.put('a', 1);
  const closed = db.close();
  await assert.rejects(put, isRejected('TEMPEST_DISCONNECTED'));
  await closed;
});

test('an abort ends the wait at once', async (t) => {
  const proxy = await startProxy(t);
  const reason = new Error('changed my mind');
  const opening = new AbortController();
  const held = proxy.hold();
  const opened = open(proxy.addressOf('aborted'), { token: TOKEN, signal: opening.signal });
  await held;
  opening.abort(reason);
  await assert.rejects(opened, reason);
  proxy.answer = undefined;
  const db = await open(proxy.addressOf('aborted'), { token: TOKEN });
  const calling = new AbortController();
  const waiting = db.watch(undefined, { signal: calling.signal }).next();
  const heldAgain = proxy.hold();
  const put = db.put('a', 1, { signal: calling.signal });
  await heldAgain;
  calling.abort(reason);
  await assert.rejects(put, reason);
  await assert.rejects(waiting, reason);
  proxy.cut();
});

/** Keeps the requests that are made until the test ends. */
function keepRequests(t) {
  const requests = [];
  const { fetch } = globalThis;
  t.mock.method(globalThis, 'fetch', (url, init) => {
    requests.push({ url, init: { ...init, signal: null } });
    return fetch(url, init);
  });
  return { requests, fetch };
}

test('a frame that comes twice is taken once', async (t) => {
  const db = await openStore('twice');
  const { requests, fetch } = keepRequests(t);
  await db.put('a', 1);
  const again = await fetch(requests[0].url, requests[0].init);
  assert.equal(again.status, 503);
  assert.equal((await again.json()).code, 'TEMPEST_WORKER_DIED');
  await assert.rejects(db.get('a'), isRejected('TEMPEST_DISCONNECTED'), 'the session is over: somebody else is in it');
  assert.deepEqual(await db.getEntry('a').then(({ value, seq }) => [value, seq]), [1, 1]);
  await db.close();
});

test('calls of one turn are one request, and those made meanwhile the next', async (t) => {
  const db = await openStore('turns');
  const { requests } = keepRequests(t);
  const calls = [db.put('a', 1), db.put('b', 2), db.get('a')];
  await Promise.resolve();
  await Promise.resolve();
  calls.push(...Array.from({ length: 100 }, (_, i) => db.put(`k${i}`, i)));
  await Promise.all(calls);
  assert.ok(requests.length <= 2, `${requests.length} requests`);
  await db.close();
});

test('a session that was not used for a while is used again only for what it has open', async (t) => {
  const db = await openStore('idle');
  const { requests } = keepRequests(t);
  const sessions = () => new Set(requests.map(({ init }) => init.headers['tempest-session'])).size;
  const { now } = performance;
  let later = 0;
  t.mock.method(performance, 'now', () => now.call(performance) + later);
  await db.put('a', 1);
  await db.put('b', 1);
  assert.equal(sessions(), 1);
  later += 61_000;
  const snapshot = await db.snapshot();
  assert.equal(sessions(), 2);
  later += 61_000;
  assert.equal(await snapshot.get('a'), 1);
  assert.equal(sessions(), 2);
  await snapshot.close();
  later += 61_000;
  assert.equal(await db.get('b'), 1);
  assert.equal(sessions(), 3);
  await db.close();
});

test('a store that somebody else deletes is a new one', async () => {
  const [one, two] = [await openStore('doomed'), await openStore('doomed')];
  await one.put('a', 1);
  await two.destroy();
  await assert.rejects(one.get('a'), isRejected('TEMPEST_DISCONNECTED'));
  assert.equal(await one.get('a'), undefined);
  await one.close();
});

test('answers that are not those of a router', async (t) => {
  const proxy = await startProxy(t);
  for (const [status, type, body, code] of [
    [404, 'text/html', '<!doctype html>', 'TEMPEST_NOT_SUPPORTED'],
    [200, 'text/html', '<!doctype html>', 'TEMPEST_DISCONNECTED'],
    [200, 'application/x-tempestkv-frames', 'no frame, but long enough for one', 'TEMPEST_WORKER_DIED'],
    [302, 'text/html', '', 'TEMPEST_DISCONNECTED'],
    [429, 'text/plain', 'slowly', 'TEMPEST_BUSY'],
    [503, 'application/problem+json', '{', 'TEMPEST_DISCONNECTED'],
    [502, 'text/plain', '', 'TEMPEST_DISCONNECTED'],
    [403, 'application/problem+json', '{"detail":"no"}', 'TEMPEST_UNAUTHORIZED'],
  ]) {
    proxy.answer = (incoming, outgoing) => incoming.resume().on('end', () => outgoing.writeHead(status, { 'content-type': type, ...(status === 302 && { location: router.origin }) }).end(body));
    await assert.rejects(open(proxy.addressOf('strange'), { token: TOKEN }), isRejected(code), `${status} ${type}`);
  }
});

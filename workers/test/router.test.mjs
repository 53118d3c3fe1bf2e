// The router as it is deployed, in the platform's own runtime.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startRouter, TOKEN } from './harness.mjs';

let router;
before(async () => {
  router = await startRouter();
});
after(() => router?.stop());

const asJSON = { 'content-type': 'application/json' };
const asLines = { accept: 'application/x-ndjson' };

/** Asks, and fails where the status is another. */
async function must(status, ...request) {
  const answer = await router.ask(...request);
  assert.equal(answer.status, status, `${request[0]} ${request[1].slice(0, 80)}: ${answer.text.slice(0, 300)}`);
  return answer;
}

const codeOf = ({ text }) => JSON.parse(text).code;

test('values come back as they were put', async () => {
  const bytes = new Uint8Array(3 << 20).map((_, i) => i * 7);
  const values = { text: 'hello', empty: '', 'a%2Fb': 'slash', '%00': 'zero', '%FE%01': 'no UTF-8', batch: '1', watch: '2', '%252e': 'twice' };
  for (const [key, value] of Object.entries(values)) {
    const put = await must(204, 'PUT', `/v1/values/${key}`, value);
    const got = await must(200, 'GET', `/v1/values/${key}`);
    assert.deepEqual([got.text, got.headers.etag], [value, put.headers.etag], key);
    assert.match(got.headers.etag, /^"\d+"$/);
    await must(200, 'HEAD', `/v1/values/${key}`);
  }
  await must(204, 'PUT', '/v1/values/large', bytes);
  const large = await fetch(`${router.origin}/v1/values/large`, { headers: { authorization: `Bearer ${TOKEN}` } });
  assert.deepEqual(new Uint8Array(await large.arrayBuffer()), bytes);
  await must(204, 'DELETE', '/v1/values/text');
  assert.equal(codeOf(await must(404, 'GET', '/v1/values/text')), 'TEMPEST_NOT_FOUND');
});

test('documents are asked for by their type', async () => {
  await must(204, 'PUT', '/v1/documents/a', '{"n":1}', asJSON);
  assert.equal((await must(200, 'GET', '/v1/documents/a', undefined, { accept: 'application/json' })).headers['content-type'], 'application/json');
  assert.equal((await must(200, 'GET', '/v1/documents/a')).headers['content-type'], 'application/octet-stream');
  await must(204, 'PUT', '/v1/documents/b', 'no document');
  await must(406, 'GET', '/v1/documents/b', undefined, { accept: 'application/json' });
});

test('versions hold back writes', async () => {
  const path = '/v1/versions/a';
  const first = (await must(204, 'PUT', path, '1', { 'if-none-match': '*' })).headers.etag;
  assert.equal(codeOf(await must(412, 'PUT', path, '2', { 'if-none-match': '*' })), 'TEMPEST_CONFLICT');
  await must(412, 'PUT', path, '2', { 'if-match': '"999999"' });
  await must(304, 'GET', path, undefined, { 'if-none-match': `"77", ${first}` });
  await must(204, 'PUT', path, '2', { 'if-match': `"77", ${first}` });
  await must(412, 'DELETE', path, undefined, { 'if-match': first });
  await must(204, 'DELETE', path, undefined, { 'if-match': '*' });
  await must(204, 'PUT', path, '3', { 'if-none-match': '*' });
});

test('values end', async () => {
  await must(204, 'PUT', '/v1/ending/a', '1', { 'tempest-ttl': '3600' });
  await must(200, 'GET', '/v1/ending/a');
  await must(204, 'PUT', '/v1/ending/b', '1', { 'tempest-ttl': '1' });
  let status;
  do ({ status } = await router.ask('GET', '/v1/ending/b'));
  while (status === 200);
  assert.equal(status, 404);
});

test('a batch is all or nothing', async () => {
  const batch = (status, body) => must(status, 'POST', '/v1/batches/batch', JSON.stringify(body), asJSON);
  const put = (key, value) => ({ type: 'put', key, value });
  const { text } = await batch(200, { operations: [put('a', { n: 1 }), put('b', 2), { type: 'put', key: { base64: '/gA=' }, base64: '/wA=' }] });
  assert.deepEqual(JSON.parse(text), { sequence: 3 });
  await batch(412, { if: [{ key: 'a', match: 1 }, { key: 'b', match: null }], operations: [put('c', 1)] });
  await batch(400, { operations: [put('c', 1), put(1, 1)] });
  await must(404, 'GET', '/v1/batches/c');
  await batch(200, { if: [{ key: 'a', match: 1 }, { key: 'c', match: null }], operations: [{ type: 'clear', gte: 'b' }, put('c', 3)] });
  const page = JSON.parse((await must(200, 'GET', '/v1/batches')).text);
  assert.deepEqual(page, { items: [{ key: 'a', value: { n: 1 } }, { key: 'c', value: 3 }], cursor: null });
});

test('rows come as pages and as lines', async () => {
  const keys = Array.from({ length: 2500 }, (_, i) => `k${String(i).padStart(4, '0')}`);
  for (let from = 0; from < keys.length; from += 500) {
    const operations = keys.slice(from, from + 500).map((key) => ({ type: 'put', key, value: 'x'.repeat(500) }));
    await must(200, 'POST', '/v1/rows/batch', JSON.stringify({ operations }), asJSON);
  }
  for (const query of ['limit=1000', 'limit=1000&reverse=true', 'limit=300&prefix=k1']) {
    const seen = [];
    for (let cursor = ''; cursor !== null; ) {
      const page = JSON.parse((await must(200, 'GET', `/v1/rows?${query}${cursor && `&cursor=${cursor}`}`)).text);
      seen.push(...page.items.map(({ key }) => key));
      cursor = page.cursor;
    }
    const wanted = keys.filter((key) => !query.includes('prefix') || key.startsWith('k1'));
    assert.deepEqual(seen, query.includes('reverse') ? wanted.reverse() : wanted, query);
  }
  const lines = (await must(200, 'GET', '/v1/rows', undefined, asLines)).text.trimEnd().split('\n');
  assert.deepEqual(lines.map((line) => JSON.parse(line).key), keys);
  assert.equal((await must(200, 'GET', '/v1/rows?limit=7&values=none', undefined, asLines)).text.trimEnd().split('\n').length, 7);
  // Who stops reading leaves nothing behind: more of them than there may be open scans.
  for (let i = 0; i < 80; i++) {
    const stop = new AbortController();
    const response = await fetch(`${router.origin}/v1/rows`, { signal: stop.signal, headers: { ...asLines, authorization: `Bearer ${TOKEN}` } });
    assert.equal(response.status, 200);
    await response.body.getReader().read();
    stop.abort();
  }
  await must(200, 'GET', '/v1/rows?limit=1', undefined, asLines);
});

/** The events of a watch. */
async function* eventsOf(response) {
  let text = '';
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    text += part;
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const fields = Object.fromEntries(text.slice(0, end).split('\n').map((line) => line.split(/: ?(.*)/s)));
      if (fields.event) yield { id: fields.id, event: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

test('a watch tells of commits', async () => {
  const stop = new AbortController();
  const watch = async (query, headers) => {
    const response = await fetch(`${router.origin}/v1/watched/watch${query}`, {
      signal: stop.signal,
      headers: { accept: 'text/event-stream', authorization: `Bearer ${TOKEN}`, ...headers },
    });
    assert.deepEqual([response.status, response.headers.get('content-type')], [200, 'text/event-stream']);
    return eventsOf(response);
  };
  const next = async (events) => (await events.next()).value;
  await must(204, 'PUT', '/v1/watched/before', '0');
  const events = await watch('?lt=x');
  assert.deepEqual(await next(events), { id: '1', event: 'ready', data: { sequence: 1 } });
  await must(204, 'PUT', '/v1/watched/z', 'not watched');
  await must(204, 'PUT', '/v1/watched/a', '{}');
  assert.deepEqual(await next(events), { id: '3', event: 'commit', data: { sequence: 3, changes: [{ type: 'put', key: 'a', value: {} }] } });
  await must(204, 'DELETE', '/v1/watched/a');
  assert.deepEqual(await next(events), { id: '4', event: 'commit', data: { sequence: 4, changes: [{ type: 'delete', key: 'a' }] } });
  const again = await watch('?values=none', { 'last-event-id': '2' });
  assert.equal((await next(again)).event, 'ready');
  assert.deepEqual((await next(again)).data.changes, [{ type: 'put', key: 'a' }]);
  stop.abort();
});

test('pages of known origins may call', async () => {
  const preflight = { origin: 'https://app.example', 'access-control-request-method': 'PUT', authorization: '' };
  const allowed = await router.askRaw('OPTIONS', '/v1/cors/a', { headers: preflight });
  assert.equal(allowed.status, 204);
  assert.equal((await router.askRaw('OPTIONS', '/v1/cors/a', { headers: { ...preflight, origin: 'https://evil.example' } })).status, 403);
});

/** A body of so many bytes, in parts, as fast as they are taken. */
const flood = (bytes) => (out) => {
  const part = Buffer.alloc(64 << 10, 'x');
  let left = bytes;
  const more = () => {
    while (left > 0 && !out.destroyed) {
      left -= part.length;
      if (!out.write(part)) return void out.once('drain', more);
    }
    out.end();
  };
  more();
};

test('bad requests get their status, and store nothing', async () => {
  const long = 'k'.repeat(10 << 20);
  const body = (text) => ({ write: (out) => out.end(text) });
  const cases = {
    'no token': [401, 'PUT', '/v1/bad/a', { headers: { authorization: '' } }],
    'a wrong token': [401, 'PUT', '/v1/bad/a', { headers: { authorization: 'Bearer write-toke' } }],
    'a token for reading': [403, 'PUT', '/v1/bad/a', { headers: { authorization: 'Bearer read-token' } }],
    // The platform removes dots before we see them.
    'dots in the path': [404, 'PUT', '/v1/bad/../../a'],
    'escaped dots in the path': [404, 'PUT', '/v1/bad/%2e%2e/%2E%2E/a'],
    'dots for a key': [400, 'PUT', '/v1/bad/x/..'],
    'an escaped slash in the store': [400, 'PUT', '/v1/bad%2Fb/a'],
    'a zero in the store': [400, 'PUT', '/v1/bad%00/a'],
    'a store escaped twice': [400, 'PUT', '/v1/%2562ad/a'],
    'a malformed escape': [400, 'PUT', '/v1/bad/%zz'],
    'a lone percent sign': [400, 'PUT', '/v1/bad/a%'],
    'an empty key': [400, 'PUT', '/v1/bad/'],
    'a slash in the key': [400, 'PUT', '/v1/bad/a/b'],
    'a reserved key': [400, 'PUT', '/v1/bad/%FF%FF'],
    'a key of 10 MiB': [[400, 414, 431, 'reset'], 'PUT', `/v1/bad/${long}`],
    'a key of 10 MiB in a batch': [413, 'POST', '/v1/bad/batch', { headers: asJSON, ...body(`{"operations":[{"type":"put","key":"${long}","value":1}]}`) }],
    'a key over 64 KiB in a batch': [400, 'POST', '/v1/bad/batch', { headers: asJSON, ...body(`{"operations":[{"type":"put","key":"${long.slice(0, 70_000)}","value":1}]}`) }],
    'a body over the limit': [413, 'PUT', '/v1/bad/a', { headers: { 'content-length': String(9 << 20) }, write: flood(9 << 20) }],
    'a body without an end': [413, 'PUT', '/v1/bad/a', { write: flood(Infinity) }],
    'a malformed batch': [400, 'POST', '/v1/bad/batch', { headers: asJSON, ...body('{"operations":[{"type":"put","key":"a","value":1}') }],
    'a batch of an unknown type': [400, 'POST', '/v1/bad/batch', { headers: asJSON, ...body('{"operations":[{"type":"put","key":"a","value":1},{"type":"x"}]}') }],
    'a malformed cursor': [400, 'GET', '/v1/bad?cursor=AA!'],
    'a misspelt parameter': [400, 'GET', '/v1/bad?limt=1'],
    'an unknown method': [405, 'PATCH', '/v1/bad/a'],
    'a malformed condition': [400, 'PUT', '/v1/bad/a', { headers: { 'if-match': '1' } }],
  };
  for (const [name, [wanted, ...request]] of Object.entries(cases)) {
    const { status } = await router.askRaw(...request);
    assert.ok([wanted].flat().includes(status), `${name}: ${status}, not ${wanted}`);
  }
  assert.equal((await must(200, 'GET', '/v1/bad', undefined, asLines)).text, '');
  assert.equal((await must(204, 'PUT', '/v1/bad/a', '1')).headers.etag, '"1"', 'something was written before');
});

test('a body that breaks off is not stored', async () => {
  const answer = router.askRaw('PUT', '/v1/broken/a', {
    headers: { 'content-length': '1000' },
    write: (out) => out.write('half', () => setImmediate(() => out.destroy())),
  });
  assert.equal((await answer).status, 'reset');
  assert.equal((await must(200, 'GET', '/v1/broken', undefined, asLines)).text, '');
});

test('with 200 requests in flight nothing is mixed up, and a counter ends exact', async () => {
  const count = async () => {
    for (;;) {
      const now = await router.ask('GET', '/v1/busy/counter');
      const condition = now.status === 404 ? { 'if-none-match': '*' } : { 'if-match': now.headers.etag };
      const { status } = await router.ask('PUT', '/v1/busy/counter', String(Number(now.status === 404 ? 0 : now.text) + 1), condition);
      if (status === 204) return;
      assert.equal(status, 412);
    }
  };
  const counters = Array.from({ length: 8 }, async () => {
    for (let i = 0; i < 5; i++) await count();
  });
  const others = Array.from({ length: 192 }, async (_, i) => {
    const path = `/v1/busy${i % 4}/k${i}`;
    await must(204, 'PUT', path, `${i}`.repeat(i));
    assert.equal((await must(200, 'GET', path)).text, `${i}`.repeat(i));
    if (i % 8 === 0) await must(200, 'GET', `/v1/busy${i % 4}`, undefined, asLines);
    if (i % 3 === 0) await must(204, 'DELETE', path);
  });
  await Promise.all([...counters, ...others]);
  assert.equal((await must(200, 'GET', '/v1/busy/counter')).text, '40');
  for (let i = 0; i < 192; i++) await must(i % 3 === 0 ? 404 : 200, 'HEAD', `/v1/busy${i % 4}/k${i}`);
});

test('without its bindings the router says so, and lets nobody in', async () => {
  const bare = await startRouter({ bindings: { TEMPEST_TOKEN: '', TEMPEST_READ_TOKEN: '' } });
  try {
    for (const authorization of ['', 'Bearer', 'Bearer ', 'Bearer undefined', `Bearer ${TOKEN}`]) {
      assert.equal((await bare.ask('GET', '/v1/a/b', undefined, { authorization })).status, 401, authorization);
    }
  } finally {
    await bare.stop();
  }
  const objectless = await startRouter({ objects: false });
  try {
    assert.equal((await objectless.ask('GET', '/v1/a/b')).status, 501);
  } finally {
    await objectless.stop();
  }
});

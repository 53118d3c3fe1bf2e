import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Client, Database, limits } from '../../build/js/internal.js';
import { errorBody, FakeLink, replyFrame, sized, text, u64 } from './fake-link.mjs';

function connect() {
  const link = new FakeLink();
  const client = new Client(link);
  const db = new Database(client, { name: 'fake', storage: 'memory', supports: {}, recovery: {}, durability: 'relaxed', valueEncoding: 'utf8' });
  const reply = (...entries) => client.receive(replyFrame(entries));
  return { link, client, db, reply };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const isRejected = (code) => (error) => error.name === 'TempestError' && error.code === code;
const ops = (link) => link.entries.map(({ op }) => op);

describe('requests', () => {
  test('the calls of a turn are one frame', async () => {
    const { link, db } = connect();
    db.put('a', 'x');
    db.get('b');
    db.delete('c', { durability: 'strict' });
    db.getMany(['d', '']);
    db.batch([{ type: 'put', key: 'e', value: 'é' }, { type: 'delete', key: 'f' }]);
    db.stats();
    assert.equal(link.frames.length, 0);
    await turn();
    assert.equal(link.frames.length, 1);
    const { header, entries } = link.frames[0];
    assert.deepEqual(header, { version: 1, type: 1, zero: 0, session: 0, count: 6, size: header.size });
    assert.deepEqual(ops(link), [1, 2, 1, 3, 1, 7]);
    assert.equal(new Set(entries.map(({ id }) => id)).size, 6);
    assert.deepEqual([...entries[0].body], [1, 0, 0, 0, 1, ...sized('a'), ...sized('x')]);
    assert.equal(text(entries[1].body), 'b');
    assert.deepEqual([entries[2].flags, ...entries[2].body], [1, 1, 0, 0, 0, 0, ...sized('c')]);
    assert.deepEqual([...entries[3].body], [2, 0, 0, 0, ...sized('d'), 0]);
    assert.deepEqual([...entries[4].body], [2, 0, 0, 0, 1, ...sized('e'), ...sized('é'), 0, ...sized('f')]);
    assert.equal(entries[5].body.length, 0);
  });

  test('a scan, its next runs ahead of use, and its end', async () => {
    const { link, db, reply } = connect();
    const iterator = db.scan({ gt: 'a', lte: 'm', reverse: true })[Symbol.asyncIterator]();
    let next = iterator.next();
    await turn();
    const scan = link.last;
    assert.equal(scan.op, 4);
    assert.equal(scan.flags, 1 | 2 | 4 | 8 | 16);
    assert.deepEqual([...scan.body], [0, 0, 0, 0, 0, 16, 0, 0, ...sized('a'), ...sized('m')]);
    reply({ id: scan.id, body: [...sized('m'), ...sized('1'), ...sized('l'), ...sized('2')] });
    assert.deepEqual(await next, { done: false, value: ['m', '1'] });
    await turn();
    const ahead = link.last;
    assert.equal(ahead.op, 5);
    assert.deepEqual([...ahead.body], [scan.id, 0, 0, 0, 0, 64, 0, 0]);
    assert.deepEqual((await iterator.next()).value, ['l', '2']);
    next = iterator.next();
    reply({ id: ahead.id, flags: 1, body: [...sized('k'), ...sized('3')] });
    assert.deepEqual((await next).value, ['k', '3']);
    assert.equal((await iterator.next()).done, true);
    await turn();
    assert.equal(link.entries.length, 2, 'a scan that ended is not closed again');
  });

  test('a scan left early is closed, and its id is taken until that was answered', async () => {
    const { link, db, client, reply } = connect();
    const iterator = db.scan({ limit: 5 })[Symbol.asyncIterator]();
    const next = iterator.next();
    await turn();
    const scan = link.last;
    assert.deepEqual([...scan.body.slice(0, 8)], [5, 0, 0, 0, 0, 0, 4, 0]);
    await iterator.return();
    assert.deepEqual(await next, { done: true, value: undefined });
    await turn();
    const close = link.last;
    assert.equal(close.op, 6);
    assert.deepEqual([...close.body], [scan.id, 0, 0, 0]);
    reply({ id: close.id });
    assert.equal(client.callCount, 1, 'the scan has not been answered');
    reply({ id: scan.id, body: [...sized('a'), ...sized('1')] });
    assert.equal(client.callCount, 0);
  });

  test('a frame past 16 MiB goes before its turn ends', () => {
    const { link, db } = connect();
    for (let i = 0; i < 3; i++) db.put('k', 'x'.repeat(9 << 20));
    assert.equal(link.frames.length, 1);
    assert.equal(link.entries.length, 2);
  });

  test('calls over the count are refused until others are answered', async () => {
    const { link, db, client, reply } = connect();
    const first = db.get('a');
    for (let i = 1; i < limits.MAX_CALLS; i++) db.get('a');
    await assert.rejects(db.get('a'), isRejected('TEMPEST_BUSY'));
    await assert.rejects(db.scan().toArray(), isRejected('TEMPEST_BUSY'));
    await turn();
    reply({ id: link.frames[0].entries[0].id, status: 1 });
    assert.equal(await first, undefined);
    db.get('a');
    assert.equal(client.callCount, limits.MAX_CALLS);
  });
});

describe('a frame that cannot grow', () => {
  test('fails the call that needed it, and no later one', async () => {
    const { link, db, client, reply } = connect();
    client.writer.ensure = () => {
      delete client.writer.ensure;
      throw new RangeError('no memory');
    };
    await assert.rejects(db.put('a', 'x'), { message: 'no memory' });
    assert.equal(client.callCount, 0);
    const put = db.put('b', 'y');
    await turn();
    assert.equal(link.entries.length, 1);
    reply({ id: link.last.id, body: u64(1) });
    assert.equal(await put, 1);
  });
});

describe('replies', () => {
  test('in any order, in several frames', async () => {
    const { link, db, reply } = connect();
    const calls = [db.get('a'), db.put('b', 'x'), db.getMany(['a', 'b', 'c']), db.stats()];
    await turn();
    const [get, put, many, stats] = link.entries.map(({ id }) => id);
    reply({ id: stats, body: [...sized('openScans'), ...new Uint8Array(new Float64Array([2]).buffer)] }, { id: put, body: u64(77) });
    reply({ id: many, body: [0, 1, 2, 0x7a] });
    reply({ id: get, body: [0x79] });
    assert.deepEqual(await Promise.all(calls), ['y', 77, [undefined, '', 'z'], { openScans: 2 }]);
  });

  test('errors', async () => {
    const { link, db, reply } = connect();
    const put = db.put('a', 'x');
    const scan = db.scan().toArray();
    await turn();
    const [first, second] = link.entries;
    reply({ id: first.id, status: 2, body: errorBody('TEMPEST_READONLY', 'no more') });
    reply({ id: second.id, status: 2, body: errorBody('TEMPEST_BUSY', 'too many') });
    await assert.rejects(put, { code: 'TEMPEST_READONLY', message: 'no more' });
    await assert.rejects(scan, { code: 'TEMPEST_BUSY' });
    await turn();
    assert.deepEqual(ops(link), [1, 4], 'a scan that failed is not closed');
  });

  test('an aborted call rejects at once, and its reply is dropped when it comes', async () => {
    const { link, db, client, reply } = connect();
    const controller = new AbortController();
    const put = db.put('a', 'x', { signal: controller.signal });
    await turn();
    controller.abort();
    await assert.rejects(put, { name: 'AbortError' });
    assert.equal(client.callCount, 1);
    const { id } = link.last;
    const get = db.get('b');
    await turn();
    assert.notEqual(link.last.id, id, 'its id is taken until then');
    reply({ id, body: u64(1) }, { id: link.last.id, status: 1 });
    assert.equal(await get, undefined);
    assert.equal(client.callCount, 0);
  });

  test('nonsense from the engine is its death', async () => {
    for (const nonsense of [
      new Uint8Array(3),
      replyFrame([{ id: 12345 }]),
      replyFrame([{ id: 0xffffffff, status: 2, body: errorBody('TEMPEST_INVALID_ARGUMENT', 'malformed frame') }]),
    ]) {
      const { link, db, client } = connect();
      const get = db.get('a');
      const scan = db.scan().toArray();
      await turn();
      client.receive(nonsense);
      await assert.rejects(get, isRejected('TEMPEST_WORKER_DIED'));
      await assert.rejects(scan, isRejected('TEMPEST_WORKER_DIED'));
      await assert.rejects(db.put('a', 'x'), isRejected('TEMPEST_WORKER_DIED'));
      assert.equal(link.releases, 1);
      await db.close();
      assert.equal(link.releases, 1);
    }
  });

  test('a malformed value fails its call and no other', async () => {
    const { link, db, reply } = connect();
    const [bad, good] = [db.get('a'), db.get('b')];
    await turn();
    const [{ id: first }, { id: second }] = link.entries;
    reply({ id: first, body: [0xff] }, { id: second, body: [0x61] });
    await assert.rejects(bad, isRejected('TEMPEST_INVALID_VALUE'));
    assert.equal(await good, 'a');
  });
});

describe('the end', () => {
  test('close waits for calls, ends scans, closes the engine, then lets go', async () => {
    const { link, db, reply } = connect();
    const get = db.get('a');
    const iterator = db.scan()[Symbol.asyncIterator]();
    const next = iterator.next();
    const closing = db.close();
    assert.equal(db.close(), closing);
    await assert.rejects(next, isRejected('TEMPEST_CLOSED'));
    await turn();
    assert.deepEqual(ops(link), [2, 4, 6]);
    const [first, scan, close] = link.entries;
    reply({ id: first.id, body: [0x61] }, { id: scan.id, flags: 1 });
    assert.equal(await get, 'a');
    await turn();
    assert.deepEqual(ops(link), [2, 4, 6]);
    reply({ id: close.id });
    await turn();
    assert.deepEqual(ops(link), [2, 4, 6, 8]);
    assert.equal(link.releases, 0);
    reply({ id: link.last.id });
    await closing;
    assert.equal(link.releases, 1);
  });

  test('a close that fails lets go all the same', async () => {
    const { link, db, reply } = connect();
    const closing = db.close();
    await turn();
    reply({ id: link.last.id, status: 2, body: errorBody('TEMPEST_IO_ERROR', 'cannot sync') });
    await assert.rejects(closing, isRejected('TEMPEST_IO_ERROR'));
    assert.equal(link.releases, 1);
  });

  test('destroy deletes as the store is let go, even where it could not be made durable, and only then', async () => {
    for (const [status, body] of [[0, []], [2, errorBody('TEMPEST_IO_ERROR', 'cannot sync')]]) {
      const { link, db, reply } = connect();
      const destroying = db.destroy();
      assert.equal(db.destroy(), destroying);
      await turn();
      assert.deepEqual([link.releases, link.deletions], [0, 0]);
      reply({ id: link.last.id, status, body });
      await destroying;
      assert.deepEqual([link.releases, link.deletions], [1, 1]);
    }
    const { link, db, client } = connect();
    const destroying = db.destroy();
    await turn();
    client.receive(new Uint8Array(3));
    await assert.rejects(destroying, isRejected('TEMPEST_WORKER_DIED'));
    assert.equal(link.releases, 1);
  });

  test('the scan of an iterator that was dropped is closed', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc');
    const { link, db, reply } = connect();
    await (async () => {
      const iterator = db.scan()[Symbol.asyncIterator]();
      const next = iterator.next();
      await turn();
      reply({ id: link.last.id, body: [...sized('a'), ...sized('1')] });
      await next;
    })();
    for (let i = 0; i < 50 && link.last.op !== 6; i++) {
      collect();
      await turn();
    }
    assert.equal(link.last.op, 6);
  });
});

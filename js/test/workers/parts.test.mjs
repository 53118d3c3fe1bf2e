// The parts one by one, in Node: the link, sessions, background work.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Background, connect, errorReply, Mailbox, Sessions, TempestError, frames, Visitors, workerLimits } from '../../../build/js/internal.js';
import { errorBody, parseFrame, replyFrame, u64 } from '../fake-link.mjs';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part])).buffer;
const isRejected = (code, message = /./) => (error) => error.name === 'TempestError' && error.code === code && message.test(error.message);

/** An object whose answers a test gives. */
function fakeObject() {
  const object = { sessions: 0, sent: [], receives: [], destroyed: 0, disposed: 0, answer: () => new ArrayBuffer(0) };
  const session = {
    send: async (buffer) => {
      const frame = parseFrame(new Uint8Array(buffer));
      object.sent.push(frame);
      return object.answer(frame);
    },
    receive: () => new Promise((resolve, reject) => object.receives.push({ resolve, reject })),
    destroy: async () => void object.destroyed++,
    [Symbol.dispose ?? Symbol.for('dispose')]: () => object.disposed++,
  };
  const namespace = { idFromName: (name) => `id of ${name}`, get: (id) => ((object.id = id), { tempestSession: () => (object.sessions++, session) }) };
  return { object, namespace };
}

const answerOk = ({ entries }) => join(replyFrame(entries.map(({ id }) => ({ id, body: u64(7) }))));

describe('the link to an object', () => {
  test('a turn is one message, and the session comes with the first', async () => {
    const { object, namespace } = fakeObject();
    const db = connect(namespace, 'notes');
    object.answer = answerOk;
    assert.equal(object.sessions, 0);
    assert.deepEqual(await Promise.all([db.put('a', 1), db.delete('b')]), [7, 7]);
    assert.equal(await db.put('c', 1), 7);
    assert.equal(object.id, 'id of notes');
    assert.deepEqual([object.sessions, object.sent.length, object.receives.length], [1, 2, 0]);
    await db.close();
    assert.deepEqual(object.sent.map(({ entries }) => entries.map(({ op }) => op)), [[1, 1], [1]], 'an object is not closed by its clients');
    assert.equal(object.disposed, 1);
  });

  test('answers come together, late, and in another order', async () => {
    const { object, namespace } = fakeObject();
    const db = connect(namespace, 'notes');
    const calls = [db.put('a', 1), db.put('b', 2), db.put('c', 3)];
    await turn();
    assert.equal(object.receives.length, 1, 'what was not answered is asked for');
    const later = db.put('d', 4);
    await turn();
    assert.equal(object.receives.length, 1, 'once at a time');
    const ids = object.sent.flatMap(({ entries }) => entries.map(({ id }) => id));
    object.receives[0].resolve(join(replyFrame([{ id: ids[3], body: u64(4) }]), replyFrame([{ id: ids[0], body: u64(1) }, { id: ids[2], body: u64(3) }])));
    assert.deepEqual(await Promise.all([calls[0], calls[2], later]), [1, 3, 4]);
    await turn();
    assert.equal(object.receives.length, 2);
    object.receives[1].resolve(join(replyFrame([{ id: ids[1], body: u64(2) }])));
    assert.equal(await calls[1], 2);
    await turn();
    assert.equal(object.receives.length, 2, 'nothing is left to ask for');
  });

  test('a connection that breaks fails every call, and those that come after', async () => {
    const broken = Object.assign(new Error('The object was reset.'), { durableObjectReset: true });
    const { object, namespace } = fakeObject();
    const db = connect(namespace, 'notes');
    const waiting = db.put('a', 1);
    await turn();
    object.receives[0].reject(broken);
    await assert.rejects(waiting, (error) => isRejected('TEMPEST_WORKER_DIED', /was reset/)(error) && error.cause === broken);
    await assert.rejects(db.get('a'), isRejected('TEMPEST_WORKER_DIED'));
    await assert.rejects(db.destroy(), isRejected('TEMPEST_WORKER_DIED'));
    await db.close();
    assert.deepEqual([object.sent.length, object.destroyed], [1, 0]);
  });

  test('an answer that makes no sense ends the connection', async () => {
    for (const nonsense of [new Uint8Array(3), new Uint8Array(16), join(replyFrame([{ id: 99, body: u64(1) }]))]) {
      const { object, namespace } = fakeObject();
      object.answer = () => nonsense;
      await assert.rejects(connect(namespace, 'notes').get('a'), isRejected('TEMPEST_WORKER_DIED', /makes no sense/));
    }
  });

  test('a turn larger than a frame is cut up, and only a call that is too large by itself fails', async () => {
    const { object, namespace } = fakeObject();
    const db = connect(namespace, 'notes', { valueEncoding: 'view' });
    object.answer = answerOk;
    const sizes = [6, 6, 6, 17, 6].map((mebibytes) => mebibytes << 20);
    const results = await Promise.allSettled(sizes.map((size, i) => db.put(`k${i}`, new Uint8Array(size))));
    assert.deepEqual(results.map(({ status, reason }) => reason?.code ?? status), ['fulfilled', 'fulfilled', 'fulfilled', 'TEMPEST_INVALID_ARGUMENT', 'fulfilled']);
    assert.ok(object.sent.every(({ header }) => header.size <= workerLimits.MAX_FRAME_BYTES));
    assert.equal(object.sent.flatMap(({ entries }) => entries).length, 4);
  });

  test('destroy begins a session where there is none yet', async () => {
    const { object, namespace } = fakeObject();
    await connect(namespace, 'notes').destroy();
    assert.deepEqual([object.sessions, object.destroyed, object.sent.length], [1, 1, 0]);
  });
});

describe('sessions', () => {
  const request = (...entries) => {
    const writer = new frames.FrameWriter();
    for (const [id, op] of entries) writer.end(writer.begin(id, op, 0));
    return writer.finish().slice();
  };
  const replyTo = (session, ...entries) => {
    const frame = replyFrame(entries);
    new DataView(frame.buffer).setUint32(4, session, true);
    return frame;
  };

  test('each has its own ids, and its own answers', () => {
    const sent = [];
    const sessions = new Sessions((frame) => sent.push(parseFrame(frame).header.session));
    const got = { one: [], two: [] };
    const one = sessions.begin({ reply: (frame) => got.one.push(frame) });
    const two = sessions.begin({ reply: (frame) => got.two.push(frame) });
    sessions.send(one, request([0, 2]));
    sessions.send(two, request([0, 2]));
    assert.deepEqual(sent, [one, two]);
    assert.ok(one !== two && one > 0 && two > 0);
    sessions.receive(replyTo(two, { id: 0 }));
    sessions.receive(replyTo(0, { id: 0 }));
    assert.deepEqual([got.one.length, got.two.length], [0, 1]);
  });

  test('what a session has open is closed when it ends, and nothing else', () => {
    const sent = [];
    const sessions = new Sessions((frame) => sent.push(parseFrame(frame)));
    const one = sessions.begin({ reply: () => assert.fail('it has ended') });
    sessions.send(one, request([0, 4], [1, 2], [2, 4], [3, 4], [4, 9], [5, 16], [6, 19]));
    sessions.send(one, request([2, 1]));
    sent.length = 0;
    sessions.end(one);
    sessions.end(one);
    assert.equal(sent.length, 1);
    assert.equal(sent[0].header.session, one);
    assert.deepEqual(sent[0].entries.map(({ op, body }) => [op, ...body]), [[6, 0, 0, 0, 0], [6, 3, 0, 0, 0], [10, 4, 0, 0, 0], [18, 5, 0, 0, 0], [21, 6, 0, 0, 0]]);
    assert.ok(sent[0].entries.every(({ id }) => id >= 2 ** 31));
    sessions.receive(replyTo(one, { id: 0 }));
    assert.throws(() => sessions.send(one, request([0, 2])), isRejected('TEMPEST_CLOSED'));
    sessions.end(sessions.begin({}));
    assert.equal(sent.length, 1, 'where nothing is open nothing is sent');
  });

  test('a mailbox gives what is there, and waits for what is not', async () => {
    const mailbox = new Mailbox();
    assert.equal(mailbox.take().byteLength, 0);
    mailbox.sent(request([0, 2], [1, 2], [2, 2]));
    let arrivals = 0;
    const waiting = [mailbox.arrival(), mailbox.arrival()].map((promise) => promise.then(() => arrivals++));
    const answered = mailbox.answered().then(() => arrivals);
    await turn();
    assert.equal(arrivals, 0);
    mailbox.reply(replyFrame([{ id: 1 }]));
    await Promise.all(waiting);
    mailbox.reply(replyFrame([{ id: 0 }, { id: 2 }]));
    assert.equal(await answered, 2);
    assert.equal(mailbox.take(1).byteLength, 16 + 12, 'one at least');
    assert.equal(mailbox.take().byteLength, 16 + 24);
    mailbox.sent(request([3, 2]));
    const ended = [mailbox.arrival(), mailbox.answered()];
    mailbox.died(new TempestError('TEMPEST_CLOSED', 'deleted'));
    await Promise.all(ended);
    assert.throws(() => mailbox.take(), isRejected('TEMPEST_CLOSED'));
    assert.throws(() => mailbox.check(), isRejected('TEMPEST_CLOSED'));
  });

  test('an error for each call of a frame', () => {
    const { header, entries } = parseFrame(errorReply([5, 9], new TempestError('TEMPEST_IO_ERROR', 'why')));
    assert.deepEqual([header.type, header.count], [2, 2]);
    assert.deepEqual(entries.map(({ id, op, body }) => [id, op, ...body]), [5, 9].map((id) => [id, 2, ...errorBody('TEMPEST_IO_ERROR', 'why')]));
  });
});

describe('sessions over HTTP', () => {
  const request = (...entries) => {
    const writer = new frames.FrameWriter();
    for (const [id, op] of entries) writer.end(writer.begin(id, op, 0));
    return writer.finish().slice();
  };
  /** An engine that answers every request at once, but a watchNext, and what it was sent. */
  function site() {
    const at = { millis: 0, sent: [], session: 0 };
    at.sessions = new Sessions((frame) => {
      const { header, entries } = parseFrame(frame);
      at.sent.push(entries.map(({ op }) => op));
      at.session = header.session;
      at.reply(entries.filter(({ op }) => op !== frames.Op.watchNext).map(({ id }) => ({ id, body: u64(7) })));
    });
    at.reply = (entries) => {
      if (entries.length === 0) return;
      const frame = replyFrame(entries);
      new DataView(frame.buffer).setUint32(4, at.session, true);
      at.sessions.receive(frame);
    };
    at.visitors = new Visitors(at.sessions, () => at.millis);
    at.send = (turn, frame, { session = 'one', canWrite = true } = {}) => at.visitors.visit({ session, does: 'send', turn, canWrite }, frame);
    at.ask = (does, session = 'one') => at.visitors.visit({ session, does, turn: 0, canWrite: true }, new Uint8Array(0));
    return at;
  }
  const statuses = (buffer) => {
    const found = [];
    for (let bytes = new Uint8Array(buffer); bytes.length > 0; ) {
      const { header, entries } = parseFrame(bytes.subarray(0, new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true)));
      for (const { id, op, body } of entries) found.push(op === frames.Status.error ? [id, Buffer.from(body.subarray(1, 1 + body[0])).toString()] : [id, 'ok']);
      bytes = bytes.subarray(header.size);
    }
    return found.sort(([a], [b]) => a - b);
  };
  const hasEnded = isRejected('TEMPEST_CLOSED', /has ended/);

  test('frames are taken in their turns, and once', async () => {
    const at = site();
    assert.deepEqual(statuses(await at.send(0, request([0, 1], [1, 2]))), [[0, 'ok'], [1, 'ok']]);
    assert.deepEqual(statuses(await at.send(1, request([0, 1]))), [[0, 'ok']]);
    for (const turn of [0, 1, 3]) {
      const other = site();
      await other.send(0, request([0, 1]));
      await other.send(1, request([0, 1]));
      await assert.rejects(other.send(turn, request([0, 1])), hasEnded, String(turn));
      await assert.rejects(other.send(2, request([0, 1])), hasEnded, 'that was the end of it');
      assert.equal(other.sent.length, 2);
    }
    await assert.rejects(at.send(1, request([0, 1]), { session: 'two' }), hasEnded);
    assert.deepEqual(statuses(await at.send(2, request([0, 2]))), [[0, 'ok']], 'others do not disturb it');
  });

  test('what is not for a token, or for no client, is refused by itself', async () => {
    const at = site();
    const { Op } = frames;
    const all = request([0, Op.get], [1, Op.write], [2, Op.panic], [3, Op.close], [4, Op.open], [5, Op.import], [6, Op.compact], [7, 99], [8, Op.scan]);
    const [unknown, forbidden] = ['TEMPEST_NOT_SUPPORTED', 'TEMPEST_UNAUTHORIZED'];
    const expected = (write) => [[0, 'ok'], [1, write], [2, unknown], [3, unknown], [4, unknown], [5, unknown], [6, write], [7, unknown], [8, 'ok']];
    assert.deepEqual(statuses(await at.send(0, all, { canWrite: false })), expected(forbidden));
    assert.deepEqual(statuses(await at.send(1, all)), expected('ok'));
    assert.deepEqual(at.sent, [[Op.get, Op.scan], [Op.get, Op.write, Op.compact, Op.scan]]);
    assert.deepEqual(statuses(await at.send(2, request([0, Op.write]), { canWrite: false })), [[0, forbidden]]);
    assert.equal(at.sent.length, 2);
  });

  test('what is no frame takes no turn', async () => {
    const at = site();
    for (const nonsense of [new Uint8Array(0), request([0, 1]).subarray(0, 20), replyFrame([{ id: 0 }])]) {
      assert.deepEqual(statuses(await at.send(0, nonsense)), [[0xffff_ffff, 'TEMPEST_INVALID_ARGUMENT']]);
    }
    assert.deepEqual(statuses(await at.send(0, request([0, 1]))), [[0, 'ok']]);
  });

  test('answers that come later are waited for, but not for ever', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const at = site();
    assert.equal((await at.send(0, request([0, frames.Op.watchNext]))).byteLength, 0);
    const empty = at.ask('receive');
    t.mock.timers.tick(workerLimits.VISIT_WAIT_MILLIS);
    assert.equal((await empty).byteLength, 0);
    const answer = at.ask('receive');
    at.reply([{ id: 0 }]);
    assert.deepEqual(statuses(await answer), [[0, 'ok']]);
  });

  test('one that is closed, or that nobody uses, is ended with all that it has open', async () => {
    const at = site();
    const { Op } = frames;
    await at.send(0, request([0, Op.snapshot]));
    await at.send(0, request([0, Op.scan]), { session: 'two' });
    at.millis = workerLimits.VISITOR_IDLE_MILLIS;
    await at.send(1, request([1, Op.get]));
    assert.equal(at.sent.length, 3);
    at.millis++;
    at.visitors.sweep();
    assert.deepEqual(at.sent.slice(3), [[Op.scanClose]]);
    await assert.rejects(at.send(1, request([0, Op.get]), { session: 'two' }), hasEnded);
    await assert.rejects(at.ask('receive', 'two'), hasEnded);
    assert.equal((await at.ask('close')).byteLength, 0);
    assert.deepEqual(at.sent.slice(4), [[Op.snapshotClose]]);
    assert.equal((await at.ask('close')).byteLength, 0);
    await assert.rejects(at.ask('receive'), hasEnded);
  });

  test('whoever waits hears of the end', async () => {
    const at = site();
    await at.send(0, request([0, frames.Op.watchNext]));
    const waiting = assert.rejects(at.ask('receive'), hasEnded);
    await at.ask('close');
    await waiting;
  });

  test('where there are too many, the one that was used longest ago is ended', async () => {
    const at = site();
    for (let i = 0; i < workerLimits.MAX_VISITORS; i++) await at.send(0, request([0, 2]), { session: `s${i}` });
    await at.send(1, request([0, 2]), { session: 's0' });
    await at.send(0, request([0, 2]), { session: 'new' });
    await assert.rejects(at.send(1, request([0, 2]), { session: 's1' }), hasEnded);
    for (const session of ['s0', 's2']) await at.ask('close', session);
    await at.send(1, request([0, 2]), { session: 'new' });
  });
});

describe('background work', () => {
  /** An engine that wants so many steps more. */
  function engine(steps) {
    const work = { steps, done: 0, alarms: 0 };
    work.background = new Background(() => work.alarms++);
    work.pump = () => {
      work.done++;
      if (work.done < work.steps) work.background.schedule(work.pump);
    };
    work.background.schedule(work.pump);
    return work;
  }
  const until = async (isDone) => {
    while (!isDone()) await turn();
  };

  test('a little is done behind the call, and takes no alarm', async () => {
    const work = engine(5);
    assert.equal(work.done, 0, 'not within it');
    await until(() => work.done === 5);
    await turn();
    assert.equal(work.alarms, 0);
    await work.background.alarm();
    assert.equal(work.done, 5);
  });

  test('what is left is done by alarms, and by the calls that come before them', async () => {
    const behind = workerLimits.STEPS_BEHIND_CALL;
    const work = engine(1000);
    await until(() => work.alarms === 1);
    assert.equal(work.done, behind);
    work.background.goOn();
    work.background.goOn();
    await until(() => work.alarms === 2);
    assert.equal(work.done, 2 * behind, 'one round at a time');
    for (let alarms = 2; work.alarms === alarms; alarms++) await work.background.alarm();
    assert.equal(work.done, 1000);
  });
});

// What goes wrong in a browser: each a clear error, and nothing lost.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inTime, Setting, workerOf } from './harness.mjs';

let setting;
before(async () => {
  setting = await Setting.begin();
});
after(() => setting?.end());

describe('a damaged log', () => {
    test('in the middle of the log: TEMPEST_CORRUPTION, and nothing is deleted', async () => {
      const page = await setting.page();
      const found = await inTime(
        'the damaged store is refused',
        page.evaluate(
          async ([name, record]) => {
            const { open } = await import('/dist/index.js');
            const { outcome } = await import('/pages/records.js');
            const file = await import('/pages/file.js');
            const valueOf = (i) => `<the value of record ${i}, or what is left of it>`;
            let db = await open(name);
            for (let i = 0; i < 3000; i += 10) {
              await db.batch(Array.from({ length: 10 }, (_, j) => ({ type: 'put', key: `k${i + j}`, value: valueOf(i + j) })));
            }
            const { logs } = await db.stats();
            await db.close();

            await file.damage(name, valueOf(record));
            const damaged = await file.read(name);
            const refused = [await outcome(open(name)), await outcome(open(name))];
            const changed = file.changedPages(damaged, await file.read(name));

            // The damage undone: it is the same bit.
            await file.damage(name, `${String.fromCharCode(valueOf(record).charCodeAt(0) ^ 1)}${valueOf(record).slice(1)}`);
            db = await open(name);
            const entries = await db.scan().toArray();
            await db.put('more', 'goes on');
            await db.destroy();
            return {
              logs,
              refused,
              changed,
              count: entries.length,
              wrong: entries.filter(([key, value]) => value !== valueOf(Number(key.slice(1)))).length,
            };
          },
          ['damaged', 1500],
        ),
      );
      for (const { name, code, message } of found.refused) {
        assert.equal(code, 'TEMPEST_CORRUPTION', message);
        assert.equal(name, 'TempestError');
        assert.match(message, /log.*offset|offset.*log/i);
      }
      assert.deepEqual({ changed: found.changed, count: found.count, wrong: found.wrong }, { changed: [], count: 3000, wrong: 0 });
      assert.equal(found.logs, 1);
      await page.close();
    });

    test('in a table: TEMPEST_CORRUPTION where it is read, and everything else is there', async () => {
      const page = await setting.page();
      const found = await inTime(
        'the damaged store is read',
        page.evaluate(async () => {
          const { open } = await import('/dist/index.js');
          const { outcome } = await import('/pages/records.js');
          const file = await import('/pages/file.js');
          // Random digits, which do not compress: a block has them as they are.
          const values = Array.from({ length: 1000 }, () => Array.from(crypto.getRandomValues(new Uint8Array(40)), (b) => b.toString(16)).join(''));
          let db = await open('damagedtable');
          await db.batch(values.map((value, i) => ({ type: 'put', key: `k${1000 + i}`, value })));
          await db.flush();
          await db.close();
          await file.damage('damagedtable', values[500]);
          db = await open('damagedtable');
          const refused = await outcome(db.get('k1500'));
          const scanned = await outcome(db.scan().toArray());
          const others = [await db.get('k1000'), await db.get('k1999')];
          const { problems } = await db.verify();
          await db.put('k1500', 'written anew');
          const anew = await db.get('k1500');
          await db.destroy();
          return { refused, scanned, others: [others[0] === values[0], others[1] === values[999]], problems, anew };
        }),
      );
      for (const { code, message } of [found.refused, found.scanned]) assert.equal(code, 'TEMPEST_CORRUPTION', message);
      assert.deepEqual(found.others, [true, true]);
      assert.equal(found.problems.length, 1);
      assert.match(found.problems[0], /table/);
      assert.equal(found.anew, 'written anew');
      await page.close();
    });

  test('at its very end, as a crash leaves it: what was cut off is told', async () => {
    const writer = await setting.page();
    await writer.evaluate(async () => {
      const { open } = await import('/dist/index.js');
      const db = await open('torn');
      await db.put('kept', 'kept', { durability: 'strict' });
      await db.put('last', '<the last value, half written>');
    });
    await writer.close();
    const page = await setting.page();
    const found = await page.evaluate(async () => {
      const { open } = await import('/dist/index.js');
      const file = await import('/pages/file.js');
      await navigator.locks.request('tempestkv:torn', () => undefined);
      await file.damage('torn', '<the last value, half written>');
      let db = await open('torn');
      const { recovery } = db;
      const entries = await db.scan().toArray();
      await db.put('next', 'goes on');
      await db.close();
      db = await open('torn');
      const after = { recovery: db.recovery, entries: await db.scan().toArray() };
      await db.close();
      return { recovery, entries, after };
    });
    assert.deepEqual(found.entries, [['kept', 'kept']]);
    assert.ok(found.recovery.droppedBytes > 30, JSON.stringify(found.recovery));
    assert.match(found.recovery.report, /log.*torn tail/);
    assert.equal(found.after.recovery.droppedBytes, 0);
    assert.deepEqual(found.after.entries, [
      ['kept', 'kept'],
      ['next', 'goes on'],
    ]);
    await page.close();
  });
});

describe('an engine that dies', () => {
  /** In a page or a worker: writes, has the engine die with calls under way, and opens the store again. */
  async function die(name) {
    const { open } = await import('/dist/index.js');
    const { outcome } = await import('/pages/records.js');
    let db = await open(name);
    const acknowledged = new Map();
    const put = async (key, value) => {
      await db.put(key, value);
      acknowledged.set(key, value);
    };
    // More than a scan reads ahead.
    const text = 'x'.repeat(1000);
    for (let i = 0; i < 50; i++) await Promise.all(Array.from({ length: 20 }, (_, j) => put(`k${i * 20 + j}`, `${i}${text}`)));
    const scan = db.scan()[Symbol.asyncIterator]();
    await scan.next();

    const waiting = [];
    const call = (promise) => waiting.push(outcome(promise));
    for (let i = 0; i < 300; i++) call(put(`k${i}`, 'under way'));
    call(db._panic());
    for (let i = 0; i < 300; i++) call(put(`late${i}`, i));
    call(db.get('k1'));
    call(db.getMany(['k1', 'k2']));
    call(db.scan().toArray());
    call(db.stats());
    const waited = await Promise.all(waiting);
    const later = await Promise.all([db.put('k', 1), db.get('k'), db.scan().count(), db.batch([]), db.stats()].map(outcome));
    let passOver = 'the end';
    try {
      while (!(await scan.next()).done);
    } catch (error) {
      passOver = error.code;
    }
    const closed = await outcome(db.close());

    db = await open(name);
    const missing = [];
    for (const [key, value] of acknowledged) {
      const found = await db.get(key);
      // One that was under way may have been carried out, or not.
      if (found !== value && found !== 'under way') missing.push(key);
    }
    await db.put('after', 1);
    await db.destroy();
    return { waited, later, passOver, closed, missing, acknowledged: acknowledged.size };
  }

  for (const [where, contextOf] of [
    ['in a page', (page) => page],
    ['in a dedicated worker', workerOf],
  ]) {
    test(`${where}: every waiting call rejects, later ones too, and the next open has everything acknowledged`, async () => {
      const page = await setting.page();
      const context = await contextOf(page);
      const found = await inTime('the calls end and the store opens again', context.evaluate(die, 'panics'));
      assert.equal(found.waited.length, 605);
      const died = found.waited.filter(({ code }) => code === 'TEMPEST_WORKER_DIED');
      const others = found.waited.filter(({ code, message }) => code !== 'TEMPEST_WORKER_DIED' && message !== undefined);
      assert.deepEqual(others, []);
      assert.ok(died.length >= 305, `${died.length} calls rejected`);
      assert.match(died[0].message, /the engine died: panic: tempestkv: asked to panic/);
      for (const { code } of found.later) assert.equal(code, 'TEMPEST_WORKER_DIED');
      assert.equal(found.passOver, 'TEMPEST_WORKER_DIED');
      assert.equal(found.closed.message, undefined);
      assert.deepEqual(found.missing, []);
      assert.ok(found.acknowledged >= 1000);
      assert.deepEqual(page.failures, []);
      await page.close();
    });
  }

  for (const [how, end, message] of [
    ['which fails of something else', () => void setTimeout(() => { throw new Error('on purpose'); }), /on purpose/],
    ['of which no event tells', () => self.close(), /the store's worker has ended/],
  ]) {
    test(`with its worker, ${how}: every waiting call rejects, and the next open has everything`, async () => {
      const page = await setting.page();
      const [worker] = await Promise.all([
        page.waitForEvent('worker'),
        page.evaluate(async () => {
          const { open } = await import('/dist/index.js');
          globalThis.db = await open('worker-fails');
          await db.put('k', 'kept');
        }),
      ]);
      await worker.evaluate(end);
      const found = await inTime(
        'the calls reject',
        page.evaluate(async () => {
          const { open } = await import('/dist/index.js');
          const { outcome } = await import('/pages/records.js');
          let died;
          while ((died = await outcome(db.put('k2', 'under way'))).value !== undefined);
          const again = await open('worker-fails');
          const value = await again.get('k');
          await again.destroy();
          return { died, value };
        }),
      );
      assert.equal(found.died.code, 'TEMPEST_WORKER_DIED');
      assert.match(found.died.message, message);
      assert.equal(found.value, 'kept');
      await page.close();
    });
  }
});

describe('an engine that does not load', () => {
  for (const [path, what] of [
    ['/no-engine', /\/no-engine\/dist\/tempestkv\.wasm: the server answered 404 Not Found/],
    ['/html-engine', /\/html-engine\/dist\/tempestkv\.wasm: what came is no WebAssembly: 200 OK, content-type text\/html.* beginning with "<!doctype html>/],
    ['/false-engine', /\/false-engine\/dist\/tempestkv\.wasm: what came is no WebAssembly: 200 OK, content-type application\/wasm.* beginning with "<!doctype html>/],
    ['/no-worker', /\/no-worker\/dist\/worker\.js/],
  ]) {
    test(`${path.slice(1)}: the address and what came back are told, and nothing stays locked`, async () => {
      const page = await setting.page();
      const found = await inTime(
        'the store does not open, then does',
        page.evaluate(async (path) => {
          const { outcome } = await import('/pages/records.js');
          const broken = await import(`${path}/dist/index.js`);
          const failed = await outcome(broken.open('loads'));
          const { open } = await import('/dist/index.js');
          const db = await open('loads', { lockWaitMillis: 2000 });
          await db.put('k', 1);
          await db.destroy();
          return failed;
        }, path),
      );
      assert.equal(found.code, 'TEMPEST_LOAD_FAILED');
      assert.equal(found.name, 'TempestError');
      assert.match(found.message, what);
      assert.ok(found.message.includes(setting.origin), found.message);
      assert.deepEqual(page.failures, []);
      await page.close();
    });
  }
});

// pageOnDisk opens a store in a page, as db, that may still grow by so many bytes.
// quota sets another limit in bytes for all of the origin, undefined for none.
async function pageOnDisk(name, bytes) {
  const page = await setting.page();
  const session = await page.context().newCDPSession(page);
  const { origin } = setting;
  const quota = (quotaSize) => session.send('Storage.overrideQuotaForOrigin', quotaSize === undefined ? { origin } : { origin, quotaSize });
  await page.evaluate(async (name) => {
    const { open } = await import('/dist/index.js');
    globalThis.db = await open(name, { valueEncoding: 'view', memtableBytes: 256 << 10 });
    await db.put('first', new Uint8Array(1000).fill(1));
  }, name);
  const { usage } = await session.send('Storage.getUsageAndQuota', { origin });
  await quota(usage + bytes);
  return { page, quota };
}

describe('a full disk', () => {
  test('TEMPEST_QUOTA_EXCEEDED, reads go on, and with more space everything acknowledged is there', async (t) => {
    const { page, quota } = await pageOnDisk('full', 3 << 20);
    const full = await inTime(
      'the disk fills up',
      page.evaluate(async () => {
        const { outcome, bytesOf } = await import('/pages/records.js');
        let acknowledged = 0;
        let failed;
        while (acknowledged < 2000 && failed === undefined) {
          const { value, ...error } = await outcome(db.put(`k${acknowledged}`, bytesOf(10_000, acknowledged + 1)));
          if (value === undefined) failed = error;
          else acknowledged++;
        }
        const next = await outcome(db.put('next', new Uint8Array(1)));
        let readable = 0;
        for await (const [, value] of db.scan()) if (value.length > 0) readable++;
        const closed = await outcome(db.close());
        return { acknowledged, failed, next, readable, closed };
      }),
    );
    assert.equal(full.failed?.code, 'TEMPEST_QUOTA_EXCEEDED', JSON.stringify(full));
    assert.equal(full.failed.name, 'TempestError');
    assert.ok(full.acknowledged > 50, `${full.acknowledged} writes fitted`);
    assert.ok(['TEMPEST_QUOTA_EXCEEDED', 'TEMPEST_READONLY'].includes(full.next.code), JSON.stringify(full.next));
    assert.equal(full.readable, full.acknowledged + 1);

    const recheck = () =>
      page.evaluate(async (acknowledged) => {
        const { open } = await import('/dist/index.js');
        const { outcome, bytesOf, isEqual } = await import('/pages/records.js');
        const { value: db, ...failed } = await outcome(open('full', { valueEncoding: 'view' }));
        if (db === undefined) return { failed };
        const wrong = [];
        for (let i = 0; i < acknowledged; i++) if (!isEqual(await db.get(`k${i}`), bytesOf(10_000, i + 1))) wrong.push(i);
        const first = (await db.get('first'))?.length;
        const more = await outcome(db.put('more', new Uint8Array(100_000)));
        await outcome(db.close());
        return { wrong, first, more };
      }, full.acknowledged);

    t.diagnostic(`after ${full.acknowledged} writes: ${full.failed.message}; then ${full.next.code}; close: ${full.closed.code ?? 'fine'}`);

    // Still without space: the store may not open, but then it says why, and loses nothing by it.
    const tight = await inTime('the store is tried without space', recheck());
    t.diagnostic(`opened without space: ${tight.failed?.message ?? 'fine'}, written: ${tight.more?.code ?? 'fine'}`);
    if (tight.failed !== undefined) assert.equal(tight.failed.code, 'TEMPEST_QUOTA_EXCEEDED', JSON.stringify(tight));
    else assert.deepEqual(tight.wrong, []);

    await quota(undefined);
    const roomy = await inTime('the store opens with space', recheck());
    assert.deepEqual({ wrong: roomy.wrong, first: roomy.first }, { wrong: [], first: 1000 }, JSON.stringify(roomy));
    assert.equal(roomy.more.message, undefined);
    assert.deepEqual(page.failures, []);
    await page.close();
  });

  test('single deletes make space in it', async (t) => {
    const { page, quota } = await pageOnDisk('freed', 6 << 20);
    const { rounds } = await inTime(
      'the disk fills up and is freed',
      page.evaluate(async () => {
        const { outcome, bytesOf, isEqual } = await import('/pages/records.js');
        const rounds = [];
        const stored = new Map(); // key to its number
        let next = 0;
        while (rounds.length < 3) {
          let written = 0;
          let failed;
          while (failed === undefined && written < 5000) {
            const { value, ...error } = await outcome(db.put(`k${next}`, bytesOf(1000, next + 1)));
            if (value === undefined) {
              failed = error;
            } else {
              stored.set(`k${next}`, ++next);
              written++;
            }
          }
          const before = stored.size;
          for (const [i, key] of [...stored.keys()].entries()) {
            if (i % 2 === 0) continue;
            await db.delete(key);
            stored.delete(key);
          }
          await db.compact();
          const wrong = [];
          for (const [key, number] of stored) if (!isEqual(await db.get(key), bytesOf(1000, number))) wrong.push(key);
          rounds.push({ written, failed: failed?.code, before, left: stored.size, wrong, count: await db.count() });
        }
        const { problems } = await db.verify();
        await db.close();
        return { rounds: rounds.concat({ problems }) };
      }),
    );
    await quota(undefined);
    const { problems } = rounds.pop();
    assert.deepEqual(problems, []);
    for (const { written, failed, before, left, wrong, count } of rounds) {
      assert.equal(failed, 'TEMPEST_QUOTA_EXCEEDED');
      assert.deepEqual(wrong, []);
      assert.equal(count, left + 1);
      t.diagnostic(`${written} values of 1,000 bytes fitted, ${before} in all, ${left} are left`);
    }
    // What was deleted made room for about as much.
    const [first, ...rest] = rounds;
    assert.ok(first.written > 1000, `${first.written} fitted`);
    for (const { written } of rest) assert.ok(written > first.written / 4, `${written} fitted again, of ${first.written}`);
    assert.deepEqual(page.failures, []);
    await page.close();
  });
});

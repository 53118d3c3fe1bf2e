// LevelDB folders in and out of the browser's storage, and repairs in it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Setting } from './harness.mjs';

const FOLDER = fileURLToPath(new URL('../leveldb/db', import.meta.url));

describe('a page', () => {
  let setting;
  let page;

  before(async () => {
    setting = await Setting.begin();
    page = await setting.page();
    await page.evaluate(async () => {
      Object.assign(globalThis, await import('/dist/index.js'), await import('/dist/tools.js'));
      const text = { keyEncoding: 'utf8', valueEncoding: 'utf8' };
      globalThis.read = async (name) => {
        const db = await open(name, text);
        const entries = await db.scan().toArray();
        const { problems } = await db.verify();
        await db.close();
        if (problems.length > 0) throw new Error(problems.join('\n'));
        return entries;
      };
      globalThis.codeOf = (promise) => promise.then(() => 'none', ({ code, message }) => code ?? message);
    });
  });

  after(async () => {
    const failures = page?.failures;
    await setting?.end();
    assert.deepEqual(failures, []);
  });

  const model = new Map(
    Array.from({ length: 2000 }, (_, i) => [i, [`key ${String(i).padStart(4, '0')}`, `value ${i} ${'again '.repeat(i % 20)}`]])
      .filter(([i]) => i % 5 !== 0)
      .map(([, entry]) => entry),
  ).set('in the log', 'é');
  const entries = [...model].sort(([a], [b]) => (a < b ? -1 : 1));

  test('imports a folder of LevelDB that was picked', async () => {
    await page.evaluate(() => {
      document.body.innerHTML = '<input type="file" webkitdirectory>';
    });
    await page.setInputFiles('input', FOLDER);
    const found = await page.evaluate(async () => {
      const { files } = document.querySelector('input');
      const recovery = await importLevelDb('picked', files);
      const again = await codeOf(importLevelDb('picked', files));
      return { count: files.length, recovery, again, entries: await read('picked') };
    });
    assert.ok(found.count >= 5, `${found.count} files`);
    assert.equal(found.recovery.droppedBytes, 0);
    assert.equal(found.again, 'TEMPEST_INVALID_ARGUMENT');
    assert.deepEqual(found.entries, entries);
  });

  test('exports it as a zip, and to a folder, and imports both', async () => {
    const found = await page.evaluate(async () => {
      const db = await open('picked', { keyEncoding: 'utf8', valueEncoding: 'utf8' });
      const zip = await new Response(exportLevelDb(db)).blob();
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle('out', { create: true });
      for await (const { name, stream } of levelDbFiles(db)) {
        const file = await folder.getFileHandle(name, { create: true });
        await stream().pipeTo(await file.createWritable());
      }
      const busy = await codeOf(importLevelDb('picked', zip, { lockWaitMillis: 0 }));
      await db.close();
      await importLevelDb('of a zip', zip);
      await importLevelDb('of a folder', folder);
      return { size: zip.size, busy, zip: await read('of a zip'), folder: await read('of a folder') };
    });
    assert.ok(found.size > 10_000);
    assert.equal(found.busy, 'TEMPEST_LOCKED');
    assert.deepEqual(found.zip, entries);
    assert.deepEqual(found.folder, entries);
  });

  test('exports a store that was used for what LevelDB lacks, and leaves no copy behind', async () => {
    const found = await page.evaluate(async () => {
      const db = await open('of a zip', { keyEncoding: 'utf8', valueEncoding: 'utf8' });
      await db.clear({ prefix: 'key 1' });
      const want = await db.scan().toArray();
      const zip = await new Response(exportLevelDb(db)).blob();
      await db.destroy();
      await importLevelDb('of a copy', zip);
      const root = await navigator.storage.getDirectory();
      const names = [];
      for await (const name of (await root.getDirectoryHandle('tempestkv')).keys()) names.push(name);
      return { want, names: names.sort(), got: await read('of a copy') };
    });
    assert.ok(found.want.length > 500 && found.want.length < entries.length);
    assert.deepEqual(found.got, found.want);
    assert.deepEqual(found.names, ['of%20a%20copy', 'of%20a%20folder', 'picked']);
  });

  test('is told of a damaged folder, and keeps nothing of it', async () => {
    const found = await page.evaluate(async () => {
      const { files } = document.querySelector('input');
      const damaged = await Promise.all(
        [...files].map(async (file) => {
          const bytes = new Uint8Array(await file.arrayBuffer());
          if (/\.ldb$/.test(file.name)) bytes[bytes.length >> 1] ^= 1;
          return new File([bytes], file.name);
        }),
      );
      const code = await codeOf(importLevelDb('damaged', damaged));
      const db = await open('damaged');
      const count = await db.count();
      await db.destroy();
      return { code, count };
    });
    assert.deepEqual(found, { code: 'TEMPEST_CORRUPTION', count: 0 });
  });

  test('repairs a store without its superblocks into a new one', async () => {
    const found = await page.evaluate(async () => {
      const root = await navigator.storage.getDirectory();
      const file = await (await root.getDirectoryHandle('tempestkv')).getFileHandle('picked');
      const writable = await file.createWritable({ keepExistingData: true });
      for (const position of [0, 65_536]) await writable.write({ type: 'write', position, data: new Uint8Array(64) });
      await writable.close();
      const code = await codeOf(open('picked'));
      const { lost } = await repair('picked', { into: 'mended' });
      const none = await codeOf(repair('no such store', { into: 'new' }));
      const taken = await codeOf(repair('picked', { into: 'mended' }));
      return { code, lost, none, taken, entries: await read('mended') };
    });
    assert.equal(found.code, 'TEMPEST_CORRUPTION');
    assert.equal(found.none, 'TEMPEST_INVALID_ARGUMENT');
    assert.equal(found.taken, 'TEMPEST_INVALID_ARGUMENT');
    assert.equal(found.lost.length, 1, JSON.stringify(found.lost));
    assert.deepEqual(found.entries, entries);
  });
});

// Drives the built site (node site/build.mjs) in Chromium, as a visitor would.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { ARGUMENTS, findChromium } from '../../js/test/browser/chromium.mjs';
import { serve } from '../serve.mjs';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const deadlineMillis = 60_000;

let server, browser, profiles;
let total; // cities in the data file
let names; // their names, folded

before(async () => {
  if (!existsSync(join(dist, 'index.html'))) throw new Error('the site is not built: node site/build.mjs');
  const [head, ...lines] = (await readFile(join(dist, 'cities.tsv'), 'utf8')).trimEnd().split('\n');
  total = Number(head);
  names = lines.map((line) => fold(line.split('\t')[0]));
  server = await serve({ dir: dist });
  // The browser makes its profiles in the folder for temporary files; one of our own is removed whole.
  profiles = await mkdtemp(join(tmpdir(), 'tempestkv-site-'));
  browser = await chromium.launch({
    executablePath: findChromium(),
    args: ARGUMENTS,
    env: { ...process.env, TMPDIR: profiles },
  });
});

after(async () => {
  await browser?.close();
  await server?.close();
  if (profiles !== undefined) await rm(profiles, { recursive: true, force: true, maxRetries: 5 });
});

/** What the page's own folding amounts to for the names these tests ask for. */
function fold(name) {
  return name
    .normalize('NFKD')
    .replace(/[\p{M}'’‘`]/gu, '')
    .toLowerCase();
}

const grouped = (n) => n.toLocaleString('en');

/** A visitor with storage of their own. Requests to other sites and errors in the page fail the test. */
async function visit(t, options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(deadlineMillis);
  const problems = [];
  context.on('weberror', (error) => problems.push(String(error.error())));
  context.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) problems.push(message.text());
  });
  context.on('request', (request) => {
    const url = new URL(request.url());
    if (url.origin !== new URL(server.address).origin) problems.push(`a request to ${url.origin}`);
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(problems, []);
  });
  return context;
}

async function open(context) {
  const page = await context.newPage();
  await page.goto(server.address);
  return page;
}

/** Resolves when the store is open, loaded and counted. */
async function ready(page, records = total) {
  await page.waitForSelector('#manage:not([hidden])');
  await page.waitForFunction((text) => document.querySelector('#tile-records').textContent === text, grouped(records));
}

const text = (page, selector) => page.locator(selector).textContent();

/** Types a query and resolves with the count the page shows for it. */
async function search(page, query) {
  await page.fill('#query', query);
  await page.waitForFunction((q) => document.querySelector('#answer-count').textContent.endsWith(`with “${q}”`), query);
  const [count] = (await text(page, '#answer-count')).split(' ');
  return count === 'None' ? 0 : Number(count.replaceAll(',', ''));
}

const shownNames = (page) => page.locator('#list li:not([hidden]) .name').allTextContents();
const focusedName = (page) => page.evaluate(() => document.activeElement.closest('li')?.querySelector('.name').textContent);
/** Resolves when the row of the city with that name has the focus. */
const focusOn = (page, name) =>
  page.waitForFunction((n) => document.activeElement.closest('li')?.querySelector('.name').textContent === n, name);
const noSidewaysScroll = (page) => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);

/** Gives the page only the first cities of the data set, where a test is not about their number. */
async function shorten(context, cities) {
  const [, ...lines] = (await readFile(join(dist, 'cities.tsv'), 'utf8')).split('\n');
  const body = `${cities}\n${lines.slice(0, cities).join('\n')}\n`;
  await context.route('**/cities.tsv', (route) => route.fulfill({ body, contentType: 'text/tab-separated-values' }));
}

describe('a visit', () => {
  test('loads the cities before the visitor’s eyes, finds, changes and keeps them', async (t) => {
    const context = await visit(t);
    await context.addInitScript(() => {
      globalThis.progressSeen = [];
      new MutationObserver(() => {
        const bar = document.querySelector('#progress');
        if (bar?.max > 100_000 && bar.value < bar.max) globalThis.progressSeen.push(bar.value);
      }).observe(document, { subtree: true, childList: true, attributes: true });
    });
    const page = await open(context);

    await t.test('the first time, with progress', async () => {
      await ready(page);
      assert.ok(total > 100_000);
      assert.ok((await page.evaluate(() => new Set(globalThis.progressSeen).size)) > 10, 'progress is shown as it is made');
      assert.match(await text(page, '#tile-load'), /^[\d,]+ rows\/s$/);
      assert.match(await text(page, '#tile-open'), /^[<\d.]+ m?s$/);
      assert.match(await text(page, '#tile-storage'), /^[\d.]+ MB$/);
      assert.match(await text(page, '#storage'), /OPFS/);
      assert.equal((await shownNames(page))[0], 'Shanghai');
    });

    await t.test('a search tells count and time, whatever the case and the accents', async () => {
      assert.equal(await search(page, 'san'), names.filter((name) => name.startsWith('san')).length);
      assert.match(await text(page, '#answer-time'), /^<?[\d.]+ m?s$/);
      assert.match(await text(page, '#answer-detail'), /keys in <?[\d.]+ m?s, 30 records in <?[\d.]+ m?s/);
      assert.equal((await shownNames(page))[0], 'Santiago');
      const plain = await search(page, 'zur');
      assert.ok(plain > 0);
      assert.equal(await search(page, 'ZÜR'), plain);
      assert.equal(await text(page, '#code-prefix'), 'zur');
      assert.equal(await search(page, 'qqq'), 0);
      assert.equal((await shownNames(page)).length, 0);
    });

    await t.test('more of the results on request', async () => {
      await search(page, 'san');
      await page.click('#more');
      await page.waitForFunction(() => document.querySelectorAll('#list li:not([hidden])').length === 60);
      await focusOn(page, (await shownNames(page))[30]);
    });

    await t.test('a new name is a new key, and outlives a reload', async () => {
      await search(page, 'reykjav');
      await page.click('#list li:first-child .open');
      await page.fill('#edit-name', 'Ångström Harbour');
      await page.fill('#edit-population', '123456');
      await page.click('#edit [type=submit]');
      await page.waitForSelector('#edit:not([open])', { state: 'attached' });
      await page.waitForFunction(() => document.querySelector('#answer-count').textContent.startsWith('None '));

      await page.reload();
      await ready(page);
      assert.equal(await search(page, 'reykjavik'), 0);
      assert.equal(await search(page, 'angstrom h'), 1);
      assert.deepEqual(await shownNames(page), ['Ångström Harbour']);
      assert.match(await text(page, '#list li:first-child .people'), /123,456/);
    });

    await t.test('what is deleted stays deleted, unless it is undone', async () => {
      const before = await search(page, 'lisbon');
      await page.click('#list li:first-child .remove');
      await page.waitForSelector('#toast:not([hidden])');
      await ready(page, total - 1);
      await page.click('#toast-undo');
      await ready(page, total);
      await page.waitForFunction((n) => document.querySelector('#answer-count').textContent.startsWith(`${n} `), before);
      await page.click('#list li:first-child .remove');
      await ready(page, total - 1);

      await page.reload();
      await ready(page, total - 1);
      assert.equal(await search(page, 'lisbon'), before - 1);
    });

    await t.test('the store goes when the visitor says so', async () => {
      await page.click('#destroy');
      await page.click('#confirm-yes');
      await page.waitForSelector('#gone:not([hidden])');
      assert.equal(await text(page, '#tile-records'), '0');
      assert.equal(await page.locator('#list').isVisible(), false);
      assert.equal(await page.locator('#query').isDisabled(), true);
      const left = await page.evaluate(async () => {
        let bytes = 0;
        const measure = async (folder) => {
          for await (const handle of folder.values()) {
            if (handle.kind === 'file') bytes += (await handle.getFile()).size;
            else await measure(handle);
          }
        };
        await measure(await navigator.storage.getDirectory());
        return bytes;
      });
      assert.equal(left, 0, 'bytes left in the origin private file system');
      await page.click('#gone-load');
      await ready(page);
    });
  });

  test('works by keyboard alone', async (t) => {
    const context = await visit(t);
    await shorten(context, 5000);
    const page = await open(context);
    await ready(page, 5000);
    const { keyboard } = page;
    const focused = () => page.evaluate(() => document.activeElement.id);

    assert.equal(await focused(), 'query', 'the search field has the focus from the start');
    await keyboard.type('san');
    await page.waitForFunction(() => document.querySelector('#answer-count').textContent.endsWith('“san”'));
    const found = await shownNames(page);
    await keyboard.press('ArrowDown');
    assert.equal(await focusedName(page), found[0]);
    await keyboard.press('ArrowDown');
    await keyboard.press('ArrowDown');
    await keyboard.press('ArrowUp');
    assert.equal(await focusedName(page), found[1]);
    await keyboard.press('End');
    assert.equal(await focusedName(page), found.at(-1));
    await keyboard.press('Home');
    await keyboard.press('ArrowUp');
    assert.equal(await focused(), 'query');

    // Edit and save; the focus comes back to the record.
    await keyboard.press('ArrowDown');
    await keyboard.press('Enter');
    assert.equal(await focused(), 'edit-name');
    await keyboard.type('Santissima Keyboarda');
    await keyboard.press('Enter');
    await page.waitForSelector('#edit:not([open])', { state: 'attached' });
    await focusOn(page, 'Santissima Keyboarda');

    // A dialog left by Escape changes nothing.
    await keyboard.press('Enter');
    await keyboard.type('Nowhere');
    await keyboard.press('Escape');
    await focusOn(page, 'Santissima Keyboarda');

    // Delete, and take it back.
    await keyboard.press('Delete');
    await ready(page, 4999);
    await focusOn(page, found[1]); // the row after it
    await keyboard.press('Control+z');
    await ready(page, 5000);
    await focusOn(page, 'Santissima Keyboarda');

    // The row's own delete button, then back to the field and out of the query.
    await keyboard.press('ArrowRight');
    assert.match(await page.evaluate(() => document.activeElement.ariaLabel), /^Delete Santissima/);
    await keyboard.press('ArrowLeft');
    await keyboard.press('/');
    assert.equal(await focused(), 'query');
    await keyboard.press('Escape');
    await page.waitForFunction(() => document.querySelector('#answer-count').textContent === 'The largest cities');

    // Tab reaches one row only, then what follows the list, down to the button that deletes the store.
    const stops = [];
    while (stops.at(-1) !== 'destroy' && stops.length < 20) {
      await keyboard.press('Tab');
      stops.push(await page.evaluate(() => document.activeElement.id || document.activeElement.className));
    }
    assert.deepEqual(stops, ['open', 'icon remove', 'more', 'code', 'reload', 'destroy']);
    await keyboard.press('Enter');
    assert.equal(await focused(), 'confirm-no', 'the harmless answer has the focus');
    await keyboard.press('Escape');
    assert.equal(await focused(), 'destroy');
  });

  test('fits a phone in either scheme, and every control has a name', async (t) => {
    for (const colorScheme of ['light', 'dark']) {
      const context = await visit(t, { viewport: { width: 375, height: 812 }, colorScheme, isMobile: true, hasTouch: true });
      await shorten(context, 5000);
      const page = await open(context);
      assert.ok(await noSidewaysScroll(page), 'while loading');
      await ready(page, 5000);
      assert.ok(await noSidewaysScroll(page), 'the first view');
      await search(page, 'san');
      assert.ok(await noSidewaysScroll(page), 'results');
      await page.tap('#list li:first-child .open');
      const box = await page.locator('#edit').boundingBox();
      assert.ok(box.x >= 0 && box.x + box.width <= 375, 'the dialog');
      const nameless = await page.evaluate(() =>
        [...document.querySelectorAll('button, input')]
          .filter((e) => !(e.ariaLabel || e.labels?.length || e.textContent.trim()))
          .map((e) => e.outerHTML),
      );
      assert.deepEqual(nameless, []);
      await page.tap('#edit-cancel');
    }
  });

  test('has two columns on a wide screen in either scheme, side by side', async (t) => {
    for (const colorScheme of ['light', 'dark']) {
      const context = await visit(t, { viewport: { width: 1440, height: 900 }, colorScheme });
      await shorten(context, 5000);
      const page = await open(context);
      assert.ok(await noSidewaysScroll(page), 'while loading');
      await ready(page, 5000);
      await search(page, 'san');
      assert.ok(await noSidewaysScroll(page), 'results');
      const [results, side] = await Promise.all(['.results', '.side'].map((selector) => page.locator(selector).boundingBox()));
      assert.ok(results.x >= 0 && results.width > 300 && side.width > 300, 'both have room');
      assert.ok(results.x + results.width <= side.x, 'neither covers the other');
      assert.ok(side.x + side.width <= 1440, 'both are on the screen');
      assert.ok(side.y < results.y + results.height && results.y < side.y + side.height, 'they stand beside each other');
    }
  });
});

describe('when things go wrong', () => {
  test('a load cut short goes on where it stopped', async (t) => {
    const context = await visit(t);
    await context.addInitScript(() => {
      globalThis.titlesSeen = new Set();
      new MutationObserver(() => {
        globalThis.titlesSeen.add(document.querySelector('#busy-title')?.textContent);
      }).observe(document, { subtree: true, childList: true, characterData: true });
    });
    const page = await open(context);
    await page.waitForFunction(
      () =>
        document.querySelector('#busy-title').textContent === 'Storing the cities' &&
        document.querySelector('#progress').value > 3000,
    );
    await page.reload();
    await ready(page);
    const titles = await page.evaluate(() => [...globalThis.titlesSeen].join('; '));
    assert.match(titles, /Going on where the last load stopped, at [1-9]/);
    assert.equal(await search(page, 'san'), names.filter((name) => name.startsWith('san')).length);
  });

  test('a second tab is told, and gets the store when the first one closes', async (t) => {
    const context = await visit(t);
    await shorten(context, 2000);
    const first = await open(context);
    await ready(first, 2000);
    const second = await open(context);
    await second.waitForSelector('#error:not([hidden])');
    assert.equal(await text(second, '#error-title'), 'Another tab has this store open');
    assert.match(await text(second, '#error-code'), /^TEMPEST_LOCKED/);
    assert.equal(await second.locator('#error-reset').isVisible(), false);
    await first.close();
    await second.click('#error-retry');
    await ready(second, 2000);
  });

  test('without OPFS the page says so, and runs in memory if asked to', async (t) => {
    const context = await visit(t);
    await shorten(context, 2000);
    await context.addInitScript(() => {
      delete globalThis.StorageManager?.prototype.getDirectory;
    });
    const page = await open(context);
    await page.waitForSelector('#error:not([hidden])');
    assert.match(await text(page, '#error-code'), /^TEMPEST_NOT_SUPPORTED/);
    await page.click('#error-memory');
    await ready(page, 2000);
    assert.match(await text(page, '#storage'), /memory only/);
  });

  test('a data file that does not come can be asked for again', async (t) => {
    const context = await visit(t);
    await context.route('**/cities.tsv', (route) => route.fulfill({ status: 503, body: '' }));
    const page = await open(context);
    await page.waitForSelector('#error:not([hidden])');
    assert.match(await text(page, '#error-code'), /cities\.tsv answered 503/);
    await context.unroute('**/cities.tsv');
    await shorten(context, 2000);
    await page.click('#error-retry');
    await ready(page, 2000);
  });
});

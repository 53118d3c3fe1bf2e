import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, test } from 'node:test';
import { findChromium } from './browser/chromium.mjs';

const folder = await mkdtemp(join(tmpdir(), 'tempestkv-path-'));
after(() => rm(folder, { recursive: true }));
const program = async (name, mode = 0o755) => {
  await writeFile(join(folder, name), '', { mode });
  return join(folder, name);
};

test('Chromium is found by CHROMIUM, else in PATH, else what to do is told', async () => {
  const PATH = ['/nowhere', '', folder].join(delimiter);
  assert.throws(() => findChromium({ PATH }), /none of chromium, .* is in PATH.*CHROMIUM/);
  assert.throws(() => findChromium({}), /none of chromium/);
  await program('chromium', 0o644);
  assert.throws(() => findChromium({ PATH }), /none of chromium/, 'a file that is no program');
  const chrome = await program('google-chrome');
  assert.equal(findChromium({ PATH }), chrome);
  const browser = await program('chromium-browser');
  assert.equal(findChromium({ PATH }), browser);
  assert.equal(findChromium({ PATH, CHROMIUM: chrome }), chrome);
  assert.throws(() => findChromium({ PATH, CHROMIUM: '/nowhere/chromium' }), /CHROMIUM is \/nowhere\/chromium/);
});

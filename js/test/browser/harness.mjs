// What the browser tests stand on: a Chromium on a profile of its own, which can be killed and started again, and a server.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { ARGUMENTS, findChromium } from './chromium.mjs';
import { familyOf } from './processes.mjs';
import { serve } from './server.mjs';

/** How long, in milliseconds, anything here may take before the test fails. */
const DEADLINE_MILLIS = 30_000;

const POLL_MILLIS = 10;

/** A dedicated worker of `page`, with nothing in it, as a page of its own may start one. */
export async function workerOf(page) {
  const [worker] = await Promise.all([
    page.waitForEvent('worker'),
    page.evaluate(() => void (globalThis.ownWorker = new Worker('/pages/worker.js', { type: 'module' }))),
  ]);
  return worker;
}

/** Waits until `condition` yields something true, and returns it. For what tells nobody when it happens. */
export async function until(what, condition) {
  const deadline = performance.now() + DEADLINE_MILLIS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`waited ${DEADLINE_MILLIS} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLIS));
  }
}

/** Settles as `promise` does, and fails where that takes too long. */
export async function inTime(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${DEADLINE_MILLIS} ms in vain: ${what}`)), DEADLINE_MILLIS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function kill(id) {
  try {
    process.kill(id, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

// A test that is told to end takes its browser and its profile with it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

/** A running Chromium. It leads a process group of its own. */
class Browser {
  #process;
  #argument;
  #connection;
  #ended;

  constructor(child, argument, connection, ended) {
    this.#process = child;
    this.#argument = argument;
    this.#connection = connection;
    this.#ended = ended;
  }

  static async start(profile) {
    const argument = `--user-data-dir=${profile}`;
    const child = spawn(findChromium(), [...ARGUMENTS, '--remote-debugging-port=0', argument, 'about:blank'], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      // A browser that is killed leaves its temporary files; so they go with the profile.
      env: { ...process.env, TMPDIR: profile },
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const emergency = () => {
      for (const id of familyOf(child.pid, argument)) kill(id);
    };
    // Before the profile is removed.
    process.prependOnceListener('exit', emergency);
    ended.then(() => process.off('exit', emergency));
    const address = await inTime(
      'the browser says where it listens',
      new Promise((resolve, reject) => {
        let output = '';
        child.stderr.setEncoding('utf8').on('data', (text) => {
          output += text;
          const found = /DevTools listening on (ws:\S+)/.exec(output);
          if (found !== null) resolve(found[1]);
        });
        child.once('error', reject);
        child.once('exit', (code, signal) => reject(new Error(`the browser ended (${code ?? signal}): ${output}`)));
      }),
    );
    return new Browser(child, argument, await chromium.connectOverCDP(address), ended);
  }

  get context() {
    return this.#connection.contexts()[0];
  }

  /** A new tab at `address`. An error that nobody in the page handles fails the test that looks at `page.failures`. */
  async page(address) {
    const page = await this.context.newPage();
    page.failures = [];
    page.on('pageerror', (error) => page.failures.push(error));
    await page.goto(address);
    return page;
  }

  /** The browser's processes. */
  family() {
    return familyOf(this.#process.pid, this.#argument);
  }

  /** Ends the browser and all its processes by SIGKILL: nothing of it gets to do anything any more. */
  async kill() {
    const family = this.family();
    const disconnected = new Promise((resolve) => this.#connection.once('disconnected', resolve));
    kill(-this.#process.pid);
    for (const id of family) kill(id);
    await inTime('the killed browser ends', this.#ended);
    // What it had said before is heard first.
    await inTime('the connection to the killed browser ends', disconnected);
    await this.gone();
  }

  async close() {
    if (this.#connection.isConnected()) {
      const session = await this.#connection.newBrowserCDPSession();
      await session.send('Browser.close').catch(() => undefined);
    }
    await inTime('the closed browser ends', this.#ended);
    await this.gone();
  }

  /** Waits until no process of the browser is left. */
  async gone() {
    await until('no process of the browser is left', () => this.family().length === 0);
  }
}

/**
 * A server, a profile, and a browser on it, for the tests of one file. `end` leaves nothing behind.
 */
export class Setting {
  #profile;
  #server;
  #removeProfile = () => rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10 });
  browser;

  static async begin() {
    const setting = new Setting();
    setting.#server = await serve();
    setting.#profile = await mkdtemp(join(tmpdir(), 'tempestkv-browser-'));
    process.once('exit', setting.#removeProfile);
    await setting.start();
    return setting;
  }

  get origin() {
    return this.#server.origin;
  }

  /** Starts a browser on the profile that the last one left. */
  async start() {
    this.browser = await Browser.start(this.#profile);
  }

  /** A new tab of the test page. */
  page(path = '/') {
    return this.browser.page(this.origin + path);
  }

  async end() {
    await this.browser?.close();
    await this.#server.close();
    this.#removeProfile();
    process.off('exit', this.#removeProfile);
    assert.equal(existsSync(this.#profile), false);
  }
}

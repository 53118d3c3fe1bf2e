// Rounds of: open the store and check it, write to it, cut it off at some moment.

import { inTime } from './harness.mjs';

/** Has `page`, whatever it loads, tell `ledger` what was acknowledged: by calls that wait for no answer and arrive in order. */
export async function listen(page, ledger) {
  const session = await page.context().newCDPSession(page);
  let reached = { count: Infinity, resolve: () => undefined };
  session.on('Runtime.bindingCalled', ({ name, payload }) => {
    if (name !== 'report') return;
    ledger.acknowledge(JSON.parse(payload));
    if (ledger.count >= reached.count) reached.resolve();
  });
  await session.send('Runtime.enable');
  await session.send('Runtime.addBinding', { name: 'report' });
  return {
    /** Waits until so many operations of the round were acknowledged. */
    acknowledged: (count) =>
      inTime(
        `${count} writes are acknowledged`,
        new Promise((resolve) => {
          reached = { count, resolve };
          if (ledger.count >= count) resolve();
        }),
      ),
  };
}

/** Opens the store in the page and checks it against the ledger. Returns how many tables the store has. */
export async function reopen(page, ledger, name, options) {
  const { sequence, entries, tables } = await inTime(
    'the store opens and is read',
    page.evaluate(
      async ([name, options]) => {
        const { open } = await import('/dist/index.js');
        const { contents } = await import('/pages/stream.js');
        globalThis.db = await open(name, options);
        return { sequence: db.recovery.sequence, entries: await contents(db), tables: (await db.stats()).tables };
      },
      [name, options],
    ),
  );
  ledger.check(sequence, entries);
  return tables;
}

/** Starts the stream of writes in the page. It ends with the page. */
export async function startStream(page, first, inFlight) {
  await page.evaluate(
    async ([first, inFlight]) => {
      const { stream } = await import('/pages/stream.js');
      void stream(globalThis.db, first, inFlight, (pairs) => globalThis.report(JSON.stringify(pairs)));
    },
    [first, inFlight],
  );
}


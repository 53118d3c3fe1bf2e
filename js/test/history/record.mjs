// What many clients of one store did and saw, for the checker in history_test.go. Times are counted, not measured: what came first has the lesser one.

import { random } from '../suite/assert.mjs';

const ACCOUNTS = ['acc:a', 'acc:b', 'acc:c'];
const DOCTORS = ['doc:1', 'doc:2', 'doc:3'];
const SEATS = Array.from({ length: 6 }, (_, i) => `seat:${i}`);
const KEYS = [...ACCOUNTS, ...DOCTORS, ...SEATS];

/** Calls `run` in a later macrotask. */
const later = (run) => (globalThis.setImmediate ?? setTimeout)(run);

/**
 * Has clients work on a store at once, and resolves to what they did: one object for each operation that took place. `given` is a database, or several that
 * clients share among them.
 */
export async function record(given, { seed, clients = 8, count = 30 }) {
  const databases = [given].flat();
  const databaseOf = (client) => databases[client % databases.length];
  const below = random(seed);
  const history = [];
  let time = 0;
  let puts = 0;

  /** Has `run` note what it reads and writes. What a transaction noted before it ran again does not count. */
  const operation = async (client, run) => {
    const call = time++;
    let noted;
    const begin = () => (noted = { reads: [], ranges: [], writes: [] });
    begin();
    await run(begin, () => noted);
    history.push({ client, call, return: time++, ...noted });
  };

  const reader = (source, noted) => ({
    async get(key) {
      const value = await source.get(key);
      noted().reads.push([key, value ?? null]);
      return value;
    },
    async getMany(keys) {
      const values = await source.getMany(keys);
      keys.forEach((key, i) => noted().reads.push([key, values[i] ?? null]));
      return values;
    },
    /** Reads a range, or where `most` is given the first entries of it. */
    async scan(range, most = Infinity) {
      const note = { gte: range.gte ?? '', lt: range.lt ?? '~', reverse: range.reverse === true, entries: [], isWhole: false };
      if (most > 0) {
        note.isWhole = true;
        for await (const entry of source.scan(range)) {
          note.entries.push(entry);
          if (note.entries.length >= most) {
            note.isWhole = false;
            break;
          }
        }
      }
      noted().ranges.push(note);
      return note.entries;
    },
  });

  const writer = (source, noted) => ({
    put(key, value) {
      noted().writes.push(['put', key, value]);
      return source.put(key, value);
    },
    delete(key) {
      noted().writes.push(['delete', key]);
      return source.delete(key);
    },
    clear(range) {
      noted().writes.push(['clear', range.gte, range.lt]);
      return source.clear(range);
    },
  });

  const transaction = (client, body) =>
    operation(client, (begin, noted) =>
      databaseOf(client).transaction(async (tx) => {
        begin();
        // Others get to run in between, as they would in a program that waits for other things.
        const pause = async () => {
          for (let turns = below(4); turns > 0; turns--) await new Promise(later);
        };
        await body(reader(tx, noted), writer(tx, noted), pause);
      }, { retries: Infinity }),
    );

  const kinds = [
    // A bank transfer.
    (client) =>
      transaction(client, async (read, write, pause) => {
        const [from, to] = [ACCOUNTS[below(3)], ACCOUNTS[below(3)]];
        const balance = Number((await read.get(from)) ?? 100);
        await pause();
        const other = from === to ? balance : Number((await read.get(to)) ?? 100);
        if (from === to || balance < 10) return;
        write.put(from, String(balance - 10));
        write.put(to, String(other + 10));
      }),
    // Write skew: whoever leaves sees that somebody else stays.
    (client) =>
      transaction(client, async (read, write, pause) => {
        const own = DOCTORS[below(3)];
        const doctors = await read.getMany(DOCTORS);
        await pause();
        const on = DOCTORS.filter((_, i) => doctors[i] !== 'off');
        if (!on.includes(own)) write.put(own, 'on');
        else if (on.length > 1) write.put(own, 'off');
      }),
    // Phantoms: at most three seats are taken.
    (client) =>
      transaction(client, async (read, write, pause) => {
        const taken = await read.scan({ gte: 'seat:', lt: 'seat;', reverse: below(2) === 1 });
        await pause();
        if (taken.length < 3) write.put(SEATS[below(6)], `taken ${++puts}`);
        else write.delete(taken[below(3)][0]);
      }),
    // The first free seat: what lies behind it is not looked at.
    (client) =>
      transaction(client, async (read, write, pause) => {
        const first = await read.scan({ gte: 'seat:', lt: 'seat;', reverse: below(2) === 1 }, 1);
        await pause();
        if (first.length > 0) write.put(first[0][0], `first ${++puts}`);
      }),
    (client) =>
      transaction(client, async (read, write, pause) => {
        const accounts = await read.scan({ gte: 'acc:', lt: 'acc;' });
        await pause();
        if (accounts.length > 2) write.clear({ gte: 'seat:2', lt: 'seat:5' });
      }),
    (client) => transaction(client, async (read) => void (await read.scan({}))),
    (client) => operation(client, (_, noted) => reader(databaseOf(client), noted).get(KEYS[below(KEYS.length)])),
    (client) => operation(client, (_, noted) => reader(databaseOf(client), noted).getMany(KEYS.slice(below(6), 6 + below(6)))),
    (client) => operation(client, (_, noted) => reader(databaseOf(client), noted).scan({ reverse: below(2) === 1, limit: 4 }, 4)),
    (client) => operation(client, (_, noted) => writer(databaseOf(client), noted).put(KEYS[below(KEYS.length)], String(++puts + 100))),
    (client) => operation(client, (_, noted) => writer(databaseOf(client), noted).delete(SEATS[below(6)])),
    (client) => operation(client, (_, noted) => writer(databaseOf(client), noted).clear({ gte: 'seat:1', lt: 'seat:4' })),
    (client) =>
      operation(client, async (_, noted) => {
        const operations = [SEATS[0], ACCOUNTS[0]].map((key) => ({ type: 'put', key, value: String(++puts + 100) }));
        for (const { key, value } of operations) noted().writes.push(['put', key, value]);
        await databaseOf(client).batch(operations);
      }),
    // A snapshot is read for a while; all of it is as of one moment.
    (client) =>
      operation(client, async (_, noted) => {
        const snapshot = await databaseOf(client).snapshot();
        const read = reader(snapshot, noted);
        await read.get(KEYS[below(KEYS.length)]);
        await read.scan({ gte: 'doc:' });
        await read.getMany(ACCOUNTS);
        await snapshot.close();
      }),
  ];

  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = 0; i < count; i++) await kinds[below(kinds.length)](client);
    }),
  );
  return history;
}

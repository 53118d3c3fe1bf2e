// A link to a model of the engine, by docs/PROTOCOL.md: what it keeps are lists. It answers each call after a number of turns that a test chooses, so
// calls overtake each other as they do where a store has to wait for its device.

import { Client, Database } from '../../build/js/internal.js';
import { parseFrame, replyFrame, sized, u64 } from './fake-link.mjs';
import { random } from './suite/assert.mjs';

const compare = (a, b) => Buffer.compare(a, b);
const inRange = ({ flags, lower, upper }, key) => {
  if (flags & 2) {
    const order = compare(key, lower);
    if (order < 0 || (order === 0 && flags & 4)) return false;
  }
  if (flags & 8) {
    const order = compare(key, upper);
    if (order > 0 || (order === 0 && !(flags & 16))) return false;
  }
  return true;
};

/** Reads the fields of a body. */
class Body {
  constructor(bytes) {
    this.bytes = Buffer.from(bytes);
    this.at = 0;
  }
  take(size) {
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }
  u8 = () => this.take(1)[0];
  u32 = () => this.take(4).readUInt32LE();
  u64 = () => Number(this.take(8).readBigUInt64LE());
  varint() {
    for (let value = 0, shift = 1; ; shift *= 128) {
      const byte = this.u8();
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  }
  sized = () => this.take(this.varint());
  range = (flags) => ({ flags, lower: this.sized(), upper: this.sized() });
  list = (item) => Array.from({ length: this.u32() }, item);
  get rest() {
    return this.bytes.subarray(this.at);
  }
}

const varint = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...varint(Math.floor(value / 128))]);
const bytesOf = (bytes) => [...varint(bytes.length), ...bytes];

export class ModelLink {
  seq = 0;

  /** Every version of every key: `{ key, seq, value }`; no value where it was deleted. */
  versions = [];

  /** The commits: `{ seq, changes }`. */
  commits = [];
  #snapshots = new Map();
  #watches = new Map();
  #delay;
  #reply;

  /** `delay()` is how many turns an answer takes; `reply(frame)` is given them. */
  constructor(delay, reply) {
    this.#delay = delay;
    this.#reply = reply;
  }

  send(writer) {
    for (const entry of parseFrame(writer.finish().slice()).entries) this.#answer(entry);
  }

  release() {
    return Promise.resolve();
  }

  async #answer(entry) {
    // Writes take effect in the order they were sent; what they answer may come later.
    const commits = entry.op === 17 ? this.#nextCommits(entry) : undefined;
    const answer = commits !== undefined ? undefined : this.#carryOut(entry);
    for (let turns = this.#delay(); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
    this.#reply(replyFrame([{ id: entry.id, ...(answer ?? (await commits)) }]));
  }

  #at(seq) {
    const entries = new Map();
    for (const version of this.versions) if (version.seq <= seq) entries.set(version.key.toString('latin1'), version);
    return [...entries.values()].filter(({ value }) => value !== undefined).sort((a, b) => compare(a.key, b.key));
  }

  #carryOut({ id, op, flags, body: bytes }) {
    const body = new Body(bytes);
    const seqOf = (atSnapshot) => (atSnapshot ? this.#snapshots.get(body.u32()) : this.seq);
    const find = (entries, key) => entries.find((entry) => compare(entry.key, key) === 0);
    switch (op) {
      case 1:
        return this.#write(flags, body);
      case 2: {
        const found = find(this.#at(seqOf(flags & 2)), body.rest);
        return found === undefined ? { status: 1 } : { body: [...(flags & 1 ? u64(found.seq) : []), ...found.value] };
      }
      case 3: {
        const entries = this.#at(seqOf(flags & 2));
        const found = body.list(() => find(entries, body.sized()));
        return { body: found.flatMap((entry) => (entry === undefined ? [0] : [...varint(entry.value.length + 1), ...entry.value])) };
      }
      case 4: {
        const seq = seqOf(flags & 64);
        const limit = body.u32();
        body.u32();
        const range = body.range(flags);
        let entries = this.#at(seq).filter(({ key }) => inRange(range, key));
        if (flags & 1) entries.reverse();
        if (limit > 0) entries = entries.slice(0, limit);
        return { flags: 1, body: entries.flatMap(({ key, value }) => [...bytesOf(key), ...bytesOf(flags & 32 ? [] : value)]) };
      }
      case 7: {
        const figures = { sequence: this.seq, openScans: 0, snapshots: this.#snapshots.size, watches: this.#watches.size };
        return { body: Object.entries(figures).flatMap(([name, figure]) => [...sized(name), ...new Uint8Array(Float64Array.of(figure).buffer)]) };
      }
      case 9:
        this.#snapshots.set(id, this.seq);
        return { body: u64(this.seq) };
      case 10:
        this.#snapshots.delete(body.u32());
        return {};
      case 11: {
        const seq = seqOf(flags & 64);
        const range = body.range(flags);
        return { body: u64(this.#at(seq).filter(({ key }) => inRange(range, key)).length) };
      }
      case 16: {
        const since = flags & 1 ? body.u64() : (body.u64(), this.seq);
        this.#watches.set(id, { next: since, values: flags & 2, ranges: body.list(() => body.range(body.u8())), isClosed: false });
        return { body: u64(since) };
      }
      case 18: {
        const watch = body.u32();
        this.#watches.get(watch).isClosed = true;
        this.#watches.delete(watch);
        return {};
      }
      default:
        return {};
    }
  }

  #write(flags, body) {
    if (flags & 2) {
      const since = body.u64();
      const keys = body.list(() => body.sized());
      const ranges = body.list(() => body.range(body.u8()));
      const isLater = ({ key, seq }) => seq > since && (keys.some((each) => compare(each, key) === 0) || ranges.some((range) => inRange(range, key)));
      if (this.versions.some(isLater)) return { status: 2, body: [...sized('TEMPEST_CONFLICT'), ...sized('changed')] };
    }
    const changes = body.list(() => {
      const kind = body.u8();
      const key = Buffer.from(body.sized());
      const value = kind === 0 ? undefined : Buffer.from(body.sized());
      const seq = ++this.seq;
      if (kind === 2) {
        for (const entry of this.#at(seq)) {
          if (compare(entry.key, key) >= 0 && compare(entry.key, value) < 0) this.versions.push({ key: entry.key, seq });
        }
      } else {
        this.versions.push({ key, seq, value: kind === 3 ? value.subarray(8) : value });
      }
      return { kind, key, value };
    });
    if (changes.length > 0) this.commits.push({ seq: this.seq, changes });
    return { body: u64(this.seq) };
  }

  async #nextCommits({ body: bytes }) {
    const watch = this.#watches.get(new Body(bytes).u32());
    const told = ({ key, kind, value }) =>
      watch.ranges.some((range) => inRange(range, key) || (kind === 2 && compare(key, range.upper) < 0 && compare(value, range.lower) > 0));
    for (;;) {
      if (watch.isClosed) return { status: 2, body: [...sized('TEMPEST_CLOSED'), ...sized('closed')] };
      const { next } = watch;
      watch.next = this.seq;
      const commits = this.commits
        .filter(({ seq }) => seq > next)
        .map(({ seq, changes }) => ({ seq, changes: changes.filter(told) }))
        .filter(({ changes }) => changes.length > 0);
      if (commits.length > 0) {
        const change = ({ kind, key, value }) => [kind, ...bytesOf(key), ...(kind === 2 || (kind !== 0 && watch.values) ? bytesOf(value) : [])];
        return { body: commits.flatMap(({ seq, changes }) => [...u64(seq), ...new Uint8Array(Uint32Array.of(changes.length).buffer), ...changes.flatMap(change)]) };
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

let seed = 0;

/** Opens a database on a model of its own. */
export function openModel(name, options = {}) {
  const below = random(++seed);
  const link = new ModelLink(() => (below(3) === 0 ? below(8) : 0), (frame) => client.receive(frame));
  const client = new Client(link);
  return Promise.resolve(new Database(client, { name, storage: 'memory', supports: {}, recovery: {}, durability: 'relaxed', ...options }));
}

// What a store must hold after a stream of writes was cut off: the acknowledged ones, and of those under way some first part.

import assert from 'node:assert/strict';
import { GROUP_KEYS, groupKey, operation } from './pages/stream.js';

/** Operations of one round, and those of the next: numbers far apart, so that what came back from an earlier round shows. */
const ROUND = 1_000_000;

export class Ledger {
  /** By key, the operation that wrote it last. */
  #state = new Map();
  #sequence = 0;
  #round = 0;
  /** Pairs of operation and sequence number, as they were reported. */
  #acknowledged = [];

  /** The number of this round's first operation. */
  get first() {
    return this.#round * ROUND;
  }

  /** How many operations of this round were reported as acknowledged. */
  get count() {
    return this.#acknowledged.length / 2;
  }

  /** Takes what the page reported. */
  acknowledge(pairs) {
    this.#acknowledged.push(...pairs);
  }

  /**
   * Ends a round: checks what the reopened store holds.
   *
   * Writes take effect in the order they were made, each with sequence numbers of its own, one an entry. So the last sequence number found says how
   * many of the operations took effect: all the acknowledged ones and no half of any, and the entries must be exactly theirs.
   */
  check(sequence, entries) {
    const sequences = new Map();
    let n = this.first;
    for (; this.#sequence < sequence; n++) {
      const { writes } = operation(n);
      this.#sequence += writes.length;
      sequences.set(n, this.#sequence);
      for (const { type, key } of writes) {
        if (type === 'put') this.#state.set(key, n);
        else this.#state.delete(key);
      }
    }
    assert.equal(this.#sequence, sequence, `operation ${n - 1} is half there`);
    for (let i = 0; i < this.#acknowledged.length; i += 2) {
      const [operation, acknowledged] = this.#acknowledged.slice(i, i + 2);
      assert.equal(sequences.get(operation), acknowledged, `operation ${operation} was acknowledged; the store ends before operation ${n}`);
    }
    const found = new Map(entries);
    assert.equal(found.size, entries.length, 'a key is there twice');
    for (const [key, mark] of found) {
      const group = /^group:(\d+):/.exec(key)?.[1];
      if (group === undefined) continue;
      for (let index = 0; index < GROUP_KEYS; index++) assert.equal(found.get(groupKey(group, index)), mark, `a batch is half there: ${key}`);
    }
    assert.deepEqual(found, this.#state);
    this.#round++;
    this.#acknowledged = [];
  }
}

/** Random integers, the same ones for the same seed (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return (least, most) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return least + (((t ^ (t >>> 14)) >>> 0) % (most - least + 1));
  };
}

/** The seed of this run: `SEED` in the environment, else one of its own, told so that a failure can be run again. */
export function seedOf(t) {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
  t.diagnostic(`SEED=${seed}`);
  return seed;
}

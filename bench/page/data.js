// The rows: 16 characters of key, 100 bytes of value. Row i is the same in every store, context and round.

/** Size of a value in bytes. */
export const VALUE_BYTES = 100;

const KEY_LENGTH = 16;
const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyz';

const WORDS = (
  'amber anchor apple arrow autumn basin beacon birch bridge canal candle canyon cedar cinder clover cobalt copper coral cotton ' +
  'crater crystal delta desert dune ember falcon fern fjord forest garnet glacier granite harbor hazel heron indigo island ivory ' +
  'jasper juniper lagoon lantern laurel linen maple marble meadow mesa mirror monsoon nectar oasis orchid otter pebble pine prairie ' +
  'quartz raven reef ridge river saffron sage'
).split(' ');

/** A generator of 32-bit numbers: splitmix32, so that neighbouring seeds have nothing in common. */
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
}

/** The key of row i, like the random identifiers that pages make: their order has nothing to do with that of the rows. */
export function keyOf(row) {
  const next = generator(row);
  let key = '';
  while (key.length < KEY_LENGTH) key += ALPHABET[next() % ALPHABET.length];
  return key;
}

const encoder = new TextEncoder();

/**
 * The value of row i: a record as text, which compresses to about a third, as records do. `value` is what it is written to, by default an
 * array of its own. Its buffer is no larger: IndexedDB stores all of the buffer that a view looks at.
 */
export function valueOf(row, value = new Uint8Array(VALUE_BYTES)) {
  const next = generator(~row);
  const word = () => WORDS[next() % WORDS.length];
  const text =
    `{"id":${row},"name":"${word()} ${word()}","at":${1_500_000_000 + (next() % 250_000_000)},` +
    `"score":${(next() / 2 ** 32).toFixed(4)},"token":"${next().toString(36)}${next().toString(36)}","tags":["${word()}","${word()}"]}`;
  encoder.encodeInto(text, value.fill(0x20));
  return value;
}

/** Rows from start on, as `[key, value]`; their values are written to `values`, where given. */
export function entriesOf(start, count, values = []) {
  return Array.from({ length: count }, (_, i) => [keyOf(start + i), valueOf(start + i, values[i])]);
}

/** Throws unless `value` is that of row i. */
export function checkValue(row, value) {
  if (!(value instanceof Uint8Array)) throw new Error(`row ${row}: read ${value}, not bytes`);
  const expected = valueOf(row);
  if (value.length !== expected.length || !value.every((byte, i) => byte === expected[i])) {
    throw new Error(`row ${row}: what was read is not what was written`);
  }
}

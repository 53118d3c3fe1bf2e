// Makes a Go wasm module smaller as a page downloads it.
//
// It is stripped (strip.mjs), and its data segments are joined: Go's linker
// leaves runs of eight and more zeros out of the data section, which cuts it
// into tens of thousands of segments, each with a header of its own. Zeros
// compress to nothing and headers do not: with one segment for each contiguous
// stretch the engine is a tenth smaller, whatever it was compressed with.
//
// Usage: node wasm/pack.mjs in.wasm out.wasm
import { readFileSync, writeFileSync } from 'node:fs';
import { strip } from './strip.mjs';

const DATA_SECTION = 11;
const DATA_COUNT_SECTION = 12;

// A longer run of zeros begins a new segment: these cost memory to unpack.
const MAX_ZEROS = 4 << 10;

/** Reads LEB128 integers and bytes from a module. */
class Reader {
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  u32() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes[this.at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  i32() {
    let value = 0;
    for (let shift = 0; ; ) {
      const byte = this.bytes[this.at++];
      value |= (byte & 0x7f) << shift;
      shift += 7;
      if (byte < 0x80) return shift < 32 && byte & 0x40 ? value | (-1 << shift) : value;
    }
  }

  take(n) {
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }
}

function u32(value) {
  const out = [];
  for (; value >= 0x80; value >>>= 7) out.push((value & 0x7f) | 0x80);
  return [...out, value];
}

function i32(value) {
  const out = [];
  for (;;) {
    const byte = value & 0x7f;
    value >>= 7;
    if ((value === 0 && !(byte & 0x40)) || (value === -1 && byte & 0x40)) return [...out, byte];
    out.push(byte | 0x80);
  }
}

/** Decodes the data section: active segments of memory 0 at constant offsets. */
function decode(bytes) {
  const r = new Reader(bytes);
  const segments = [];
  for (let count = r.u32(); count > 0; count--) {
    const flags = r.u32();
    const opcode = r.bytes[r.at++];
    if (flags !== 0 || opcode !== 0x41) throw new Error('a data segment that Go does not write');
    const offset = r.i32() >>> 0;
    if (r.bytes[r.at++] !== 0x0b) throw new Error('an offset that is no constant');
    segments.push({ offset, bytes: r.take(r.u32()) });
  }
  if (r.at !== bytes.length) throw new Error('bytes behind the data section');
  return segments;
}

/** Lays segments out as they lie in memory. */
function lay(segments) {
  const ordered = segments.toSorted((a, b) => a.offset - b.offset);
  const image = Buffer.alloc(Math.max(0, ...ordered.map((s) => s.offset + s.bytes.length)));
  let end = 0;
  for (const s of ordered) {
    if (s.offset < end) throw new Error('data segments overlap');
    image.set(s.bytes, s.offset);
    end = s.offset + s.bytes.length;
  }
  return image;
}

/** What is left of memory without its longer runs of zeros. */
function cut(image) {
  const runs = [];
  for (let at = 0; at < image.length; at++) {
    if (image[at] === 0) continue;
    const last = runs.at(-1);
    if (last && at - last.end <= MAX_ZEROS) last.end = at + 1;
    else runs.push({ start: at, end: at + 1 });
  }
  return runs;
}

function encode(image) {
  const runs = cut(image);
  const chunks = [Buffer.from(u32(runs.length))];
  for (const { start, end } of runs) {
    const bytes = image.subarray(start, end);
    chunks.push(Buffer.from([0, 0x41, ...i32(start | 0), 0x0b, ...u32(bytes.length)]), bytes);
  }
  return Buffer.concat(chunks);
}

const [, , from, to] = process.argv;
const module = readFileSync(from);
const r = new Reader(module, 8);
const out = [module.subarray(0, 8)];
while (r.at < module.length) {
  const id = r.bytes[r.at++];
  let body = r.take(r.u32());
  if (id === DATA_COUNT_SECTION) throw new Error('a module whose code names data segments');
  if (id === DATA_SECTION) {
    const image = lay(decode(body));
    strip(image);
    body = encode(image);
  }
  out.push(Buffer.from([id, ...u32(body.length)]), body);
}
const packed = Buffer.concat(out);
if (!WebAssembly.validate(packed)) throw new Error('the packed module is not valid');
writeFileSync(to, packed);

// A link to no engine: it takes frames apart, by docs/PROTOCOL.md and not by the package's own reader, and lets a test answer them.

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** The header and entries of a request frame. */
export function parseFrame(frame) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const header = {
    version: view.getUint8(0),
    type: view.getUint8(1),
    zero: view.getUint16(2, true),
    session: view.getUint32(4, true),
    count: view.getUint32(8, true),
    size: view.getUint32(12, true),
  };
  const entries = [];
  let at = 16;
  while (at < frame.length) {
    const size = view.getUint32(at + 8, true);
    entries.push({
      id: view.getUint32(at, true),
      op: view.getUint8(at + 4),
      flags: view.getUint8(at + 5),
      zero: view.getUint16(at + 6, true),
      body: frame.slice(at + 12, at + 12 + size),
    });
    at += 12 + size;
  }
  return { header, entries };
}

/** A reply frame of `{ id, status, flags, body }`s. */
export function replyFrame(entries) {
  const size = entries.reduce((sum, { body = [] }) => sum + 12 + body.length, 16);
  const frame = new Uint8Array(size);
  const view = new DataView(frame.buffer);
  view.setUint8(0, 1);
  view.setUint8(1, 2);
  view.setUint32(8, entries.length, true);
  view.setUint32(12, size, true);
  let at = 16;
  for (const { id, status = 0, flags = 0, body = [] } of entries) {
    view.setUint32(at, id, true);
    view.setUint8(at + 4, status);
    view.setUint8(at + 5, flags);
    view.setUint32(at + 8, body.length, true);
    frame.set(body, at + 12);
    at += 12 + body.length;
  }
  return frame;
}

/** *bytes* of a text shorter than 128 bytes. */
export function sized(text) {
  const bytes = typeof text === 'string' ? encoder.encode(text) : Uint8Array.from(text);
  return [bytes.length, ...bytes];
}

export const errorBody = (code, message) => [...sized(code), ...sized(message)];

export const u64 = (value) => [...new Uint8Array(new BigUint64Array([BigInt(value)]).buffer)];

export const text = (bytes) => decoder.decode(bytes);

export class FakeLink {
  frames = [];
  releases = 0;
  deletions = 0;

  send(writer) {
    this.frames.push(parseFrame(writer.finish()));
  }

  release(isDoomed) {
    this.releases++;
    if (isDoomed) this.deletions++;
    return Promise.resolve();
  }

  /** All requests so far. */
  get entries() {
    return this.frames.flatMap((frame) => frame.entries);
  }

  /** The last request. */
  get last() {
    return this.entries.at(-1);
  }
}

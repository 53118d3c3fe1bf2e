// Request frames as those see them who pass them on: entries to be looked at, taken apart and answered in the engine's place.

import { toPlainError, type TempestError } from '../errors.js';
import { ENTRY_BYTES, FrameError, frameSize, FrameType, FrameWriter, HEADER_BYTES, Op, readU32, Status } from '../frames.js';
import { encodeText } from '../text.js';

/** An entry of a request frame: where it lies, header included, and what it says. */
export interface Entry {
  readonly id: number;
  readonly op: number;
  readonly start: number;
  readonly end: number;
}

/** The entries of a request frame. Throws a {@link FrameError} where it is none. */
export function entriesOf(frame: Uint8Array): Entry[] {
  if (frameSize(frame) !== frame.length) throw new FrameError('not a whole frame');
  if (frame[1] !== FrameType.request) throw new FrameError('not a request frame');
  const entries: Entry[] = [];
  let start = HEADER_BYTES;
  while (start < frame.length) {
    if (start + ENTRY_BYTES > frame.length) throw new FrameError('entry cut short');
    const end = start + ENTRY_BYTES + readU32(frame, start + 8);
    if (end > frame.length) throw new FrameError('body cut short');
    entries.push({ id: readU32(frame, start), op: frame[start + 4]!, start, end });
    start = end;
  }
  if (entries.length !== countOf(frame)) throw new FrameError('a count that is not that of the entries');
  return entries;
}

/** How many entries a whole frame says that it has. */
export function countOf(frame: Uint8Array): number {
  return readU32(frame, 8);
}

/** A reply frame in which each of these calls has failed. */
export function errorReply(ids: Iterable<number>, error: TempestError): Uint8Array<ArrayBuffer> {
  const { code, message } = toPlainError(error);
  const [codeBytes, messageBytes] = [encodeText(code), encodeText(message)];
  const writer = new FrameWriter();
  for (const id of ids) {
    const mark = writer.begin(id, Status.error, 0);
    writer.sized(codeBytes);
    writer.sized(messageBytes);
    writer.end(mark);
  }
  return writer.finish(FrameType.reply).slice();
}

/** What ends a thing of the engine's that is named by the id of the request it began with. */
const CLOSERS: ReadonlyMap<number, number> = new Map([
  [Op.scan, Op.scanClose],
  [Op.snapshot, Op.snapshotClose],
  [Op.watch, Op.watchClose],
  [Op.export, Op.exportClose],
]);

/** Keeps account of what the engine holds open for one session. */
export class OpenThings {
  /** The operation that closes each, by the id it began with. */
  readonly #closers = new Map<number, number>();

  /** Hears of a request that is sent. An id that is used again names what it named no longer. */
  sent(entry: Entry): void {
    const closer = CLOSERS.get(entry.op);
    if (closer === undefined) this.#closers.delete(entry.id);
    else this.#closers.set(entry.id, closer);
  }

  /** A frame of requests that close everything; `undefined` where nothing is open. Closing what has ended is no error. */
  closing(): Uint8Array | undefined {
    if (this.#closers.size === 0) return undefined;
    const writer = new FrameWriter();
    let id = CLOSING_IDS;
    for (const [opened, op] of this.#closers) {
      const mark = writer.begin(id++, op, 0);
      writer.u32(opened);
      writer.end(mark);
    }
    this.#closers.clear();
    return writer.finish();
  }
}

/** Above the ids of every client. */
const CLOSING_IDS = 0x8000_0000;

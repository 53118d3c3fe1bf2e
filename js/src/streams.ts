// Streams and other things that come in pieces.

import { describe } from './errors.js';
import { abortable } from './options.js';

/** What comes in pieces: a stream, or anything else that can be iterated. */
export type Source<T> = ReadableStream<T> | AsyncIterable<T> | Iterable<T>;

/** The pieces of a source; not every host can iterate a stream. Where they are not read to their end, or `signal` aborts, the source is told. */
export async function* piecesOf<T>(source: Source<T>, signal: AbortSignal | undefined): AsyncGenerator<T, void> {
  const next = readerOf(source);
  let isDone = false;
  try {
    for (;;) {
      signal?.throwIfAborted();
      const piece = await abortable(Promise.resolve(next.read()), signal);
      isDone = piece.done === true;
      if (piece.done === true) return;
      yield piece.value;
    }
  } finally {
    // Not waited for: what waits for a piece may never come to its end.
    if (!isDone) Promise.resolve(next.cancel()).catch(() => undefined);
  }
}

interface Reader<T> {
  read(): PromiseLike<IteratorResult<T, unknown>> | IteratorResult<T, unknown> | Promise<ReadableStreamReadResult<T>>;
  cancel(): unknown;
}

function readerOf<T>(source: Source<T>): Reader<T> {
  if (typeof (source as Partial<ReadableStream<T>> | null | undefined)?.getReader === 'function') {
    const reader = (source as ReadableStream<T>).getReader();
    return { read: () => reader.read(), cancel: () => reader.cancel() };
  }
  const { [Symbol.asyncIterator]: asyncIterator, [Symbol.iterator]: iterator } = (source ?? {}) as Partial<AsyncIterable<T> & Iterable<T>>;
  if (typeof source === 'string' || (asyncIterator === undefined && iterator === undefined)) {
    throw new TypeError(`pieces must come from a stream, or something else to be iterated, not ${describe(source)}`);
  }
  const items = asyncIterator === undefined ? iterator!.call(source) : asyncIterator.call(source);
  return { read: () => items.next(), cancel: () => items.return?.() };
}

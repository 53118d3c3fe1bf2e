// A device in memory.

import type { SyncDevice } from './device.js';

const CHUNK_BYTES = 1 << 20;

/**
 * A device in memory. It lasts as long as the object: `open` it again and what was written is there.
 *
 * @example
 * ```ts
 * const device = new MemoryDevice();
 * const db = await open('notes', { device });
 * ```
 */
export class MemoryDevice implements SyncDevice {
  // Chunks of one size, so that growing copies nothing. One that was never written is not there, and reads as zeros.
  readonly #chunks: (Uint8Array | undefined)[] = [];
  #size = 0;

  read(into: Uint8Array, offset: number): number {
    const count = Math.max(0, Math.min(into.length, this.#size - offset));
    for (let done = 0; done < count; ) {
      const start = (offset + done) % CHUNK_BYTES;
      const size = Math.min(count - done, CHUNK_BYTES - start);
      const chunk = this.#chunks[Math.floor((offset + done) / CHUNK_BYTES)];
      if (chunk === undefined) into.fill(0, done, done + size);
      else into.set(chunk.subarray(start, start + size), done);
      done += size;
    }
    return count;
  }

  write(from: Uint8Array, offset: number): number {
    for (let done = 0; done < from.length; ) {
      const index = Math.floor((offset + done) / CHUNK_BYTES);
      const start = (offset + done) % CHUNK_BYTES;
      const size = Math.min(from.length - done, CHUNK_BYTES - start);
      const chunk = (this.#chunks[index] ??= new Uint8Array(CHUNK_BYTES));
      chunk.set(from.subarray(done, done + size), start);
      done += size;
    }
    this.#size = Math.max(this.#size, offset + from.length);
    return from.length;
  }

  sync(): void {}

  size(): number {
    return this.#size;
  }

  truncate(size: number): void {
    if (size < this.#size) {
      this.#chunks.length = Math.min(this.#chunks.length, Math.ceil(size / CHUNK_BYTES));
      // The rest of the last chunk must read as zeros if the file grows again.
      if (size % CHUNK_BYTES !== 0) this.#chunks[Math.floor(size / CHUNK_BYTES)]?.fill(0, size % CHUNK_BYTES);
    }
    this.#size = size;
  }
}

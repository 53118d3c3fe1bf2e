// The device: one file, as five calls. All that the engine asks of a host's storage.

import type { Supports } from './database.js';

/**
 * A file, for the engine. Its calls are made one after the other, and the store is the only one that uses it.
 *
 * A call fails by throwing: a `TempestError` with the code `TEMPEST_QUOTA_EXCEEDED` or `TEMPEST_FENCED`, or an error named
 * `QuotaExceededError`, is passed on as what it says; any other is `TEMPEST_IO_ERROR`, and so is a result that is no count of bytes. Offsets and
 * sizes are in bytes, and exact to 2⁵³.
 */
export interface SyncDevice {
  readonly async?: false | undefined;
  /** What it is good for, as `db.supports` then tells. Nothing is claimed where it is missing. */
  readonly supports?: Supports | undefined;
  /** Fills `into` from `offset` on, and returns how many bytes there were: fewer only where the file ends. */
  read(into: Uint8Array, offset: number): number;
  /** Writes all of `from` at `offset`; a gap behind the old end reads as zeros. Returns how many were written: fewer means no space is left. */
  write(from: Uint8Array, offset: number): number;
  /** Returns when everything written is durable. */
  sync(): void;
  /** The size of the file. */
  size(): number;
  /** Sets the size of the file; new bytes are zeros. */
  truncate(size: number): void;
}

/** A {@link SyncDevice} whose calls take their time. The arrays that it is given are its own until the call has ended. */
export interface AsyncDevice {
  readonly async: true;
  readonly supports?: Supports | undefined;
  read(into: Uint8Array, offset: number): Promise<number>;
  write(from: Uint8Array, offset: number): Promise<number>;
  sync(): Promise<void>;
  size(): Promise<number>;
  truncate(size: number): Promise<void>;
}

/** Where a store's bytes are kept. */
export type Device = SyncDevice | AsyncDevice;

/** Where on a device the damaged store of a repair is: no store is so large. */
const SOURCE_OFFSET = 2 ** 52;

/** A device that also reads another one, from `SOURCE_OFFSET` on. */
export function withSource(device: Device, source: Device): Device {
  if (device.async !== true && source.async !== true) {
    return {
      read: (into, offset) => (offset < SOURCE_OFFSET ? device.read(into, offset) : source.read(into, offset - SOURCE_OFFSET)),
      write: (from, offset) => device.write(from, offset),
      sync: () => device.sync(),
      size: () => device.size(),
      truncate: (size) => device.truncate(size),
    };
  }
  return {
    async: true,
    read: async (into, offset) => (offset < SOURCE_OFFSET ? device.read(into, offset) : source.read(into, offset - SOURCE_OFFSET)),
    write: async (from, offset) => device.write(from, offset),
    sync: async () => device.sync(),
    size: async () => device.size(),
    truncate: async (size) => device.truncate(size),
  };
}

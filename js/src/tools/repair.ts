// Repairs.

import type { Device } from '../device.js';
import { describe } from '../errors.js';
import type { Figures } from '../events.js';
import { type BodyReader, Op } from '../frames.js';
import type { HostSpec } from '../host.js';
import { checkDevice, checkName, connect, type OpenOptions, specOf } from '../open.js';
import { signalOf } from '../options.js';
import { toolsAddress } from './engine.js';

/** How `repair` makes a store of a damaged one. */
export interface RepairOptions extends Pick<OpenOptions, 'signal' | 'lockWaitMillis' | 'wasmUrl' | 'workerUrl'> {
  /** Where the new store is made: a name that no store has, or, with `device`, an empty device. */
  into: string | Device;

  /** The device of the damaged store, where it is on one. */
  device?: Device | undefined;
}

/** Something that could not be read. */
export interface Loss {
  /** The file of the store. */
  readonly file: string;

  /** Where in it, in bytes. */
  readonly offset: number;

  /** How many bytes; 0 where nobody knows. */
  readonly bytes: number;

  /** About how many writes were there; 0 where nobody knows. */
  readonly writes: number;

  /** Why, for a person to read. */
  readonly reason: string;
}

/** What `repair` found. */
export interface RepairReport {
  /** What was lost; empty where nothing was. */
  readonly lost: readonly Loss[];

  /** The list of files that was read; `undefined` where there was none to read: then every file counts, and what was deleted may be there again. */
  readonly manifest: string | undefined;

  /** What was found, by name: `tables` and `logs` that were read, `entries` of the new store, and `sequence`, the newest write. */
  readonly figures: Figures;
}

const NAMES: ReadonlySet<string> = new Set(['signal', 'lockWaitMillis', 'wasmUrl', 'workerUrl', 'into', 'device']);

/**
 * Makes a new store of what can be read of a damaged one, which stays as it is: of each key the newest version that is left. `open` has the new one then; it is
 * there whole or not at all.
 *
 * Rejects with `TEMPEST_INVALID_ARGUMENT` where there is no store of the one name, or one of the other; with `TEMPEST_CORRUPTION` where nothing tells any more what
 * files the damaged store has; with `TEMPEST_NOT_SUPPORTED` where a newer version wrote it; with `TEMPEST_LOCKED` where somebody has either open longer
 * than `lockWaitMillis`; and else as `open` does.
 *
 * @example
 * ```ts
 * const { lost } = await repair('notes', { into: 'notes-repaired' });
 * for (const { file, reason } of lost) console.warn(file, reason);
 * ```
 */
export async function repair(name: string, options: RepairOptions): Promise<RepairReport> {
  checkName(name);
  const signal = signalOf(options, NAMES);
  const { into, device } = options;
  const spec: HostSpec = { ...specOfNew(into, options), wasmUrl: toolsAddress(options.wasmUrl), isImport: true };
  if (device !== undefined) {
    checkDevice(device, undefined);
    if (device === into) throw new TypeError('the new store needs a device of its own');
    spec.source = device;
  } else {
    if (name === into) throw new TypeError('the new store needs a name of its own');
    spec.sourceName = name;
  }
  const { client, link } = await connect(spec, options, signal);
  try {
    return await client.ask(Op.repair, 0, () => undefined, decodeReport, signal);
  } finally {
    await link.release(false);
  }
}

function specOfNew(into: unknown, { device, lockWaitMillis }: RepairOptions): HostSpec {
  if (device !== undefined) {
    if (typeof into !== 'object') throw new TypeError(`into must be a device, as the damaged store is on one, not ${describe(into)}`);
    return specOf('repaired', { device: into as Device, lockWaitMillis });
  }
  checkName(into);
  return specOf(into, { lockWaitMillis });
}

function decodeReport(body: BodyReader): RepairReport {
  const manifest = body.text();
  const lost = Array.from({ length: body.u32() }, () => ({
    file: body.text(),
    offset: body.u64(),
    bytes: body.u64(),
    writes: body.u64(),
    reason: body.text(),
  }));
  return { lost, manifest: manifest === '' ? undefined : manifest, figures: body.figures() };
}

// The two ways to an engine: in this thread, and in a worker of our own.

import type { Link } from './client.js';
import type { Recovery } from './database.js';
import { fromPlainError, messageOf, TempestError } from './errors.js';
import type { EngineEvents } from './engine.js';
import { FrameWriter } from './frames.js';
import { Host, type HostSpec } from './host.js';
import { watchLife } from './lock.js';
import type { FromWorker, ToWorker } from './messages.js';
import { onAbort } from './options.js';

/** A link whose store is open. */
export interface OpenLink extends Link {
  readonly recovery: Recovery;
}

/** An engine in this thread: a frame is answered before `send` returns, where the device is synchronous. */
export async function openLocal(spec: HostSpec, events: EngineEvents): Promise<OpenLink> {
  const host = await Host.start(spec, events);
  return {
    recovery: host.recovery,
    send: (writer: FrameWriter) => host.submit(writer.finish()),
    release: async (isDoomed) => (isDoomed ? host.destroy() : host.release()),
  };
}

/**
 * An engine in a worker, which ends with the store.
 *
 * @param start - Makes the worker.
 * @param address - Names the worker's program, for messages.
 * @param signal - Where it aborts before the store is open, the worker is ended.
 */
export function openRemote(
  spec: HostSpec,
  events: EngineEvents,
  start: () => Worker,
  address: string,
  signal: AbortSignal | undefined,
): Promise<OpenLink> {
  return new Promise((resolve, reject) => {
    let worker: Worker;
    try {
      worker = start();
    } catch (cause) {
      // A Content-Security-Policy, or a page of another origin.
      reject(notStarted(address, messageOf(cause), cause));
      return;
    }
    const lifeLock = `tempestkv-life:${crypto.randomUUID()}`;
    let unwatch: (() => void) | undefined;
    let isOpen = false;
    let isOver = false;
    let stopListening: (() => void) | undefined;
    let released: ((result: void | Promise<never>) => void) | undefined;

    /** Ends the worker, and with it whatever lock and file it holds. */
    const end = () => {
      isOver = true;
      worker.terminate();
      unwatch?.();
      stopListening?.();
    };
    const died = (error: TempestError) => {
      if (isOver) return;
      end();
      if (isOpen) events.died(error);
      else reject(error);
      released?.();
    };
    const link = (recovery: Recovery): OpenLink => ({
      recovery,
      send(writer) {
        const buffer = writer.take();
        worker.postMessage(buffer, [buffer]);
      },
      release(isDoomed) {
        if (isOver) return Promise.resolve();
        return new Promise((resolve) => {
          released = resolve;
          worker.postMessage({ type: 'release', isDoomed } satisfies ToWorker);
        });
      },
    });

    stopListening =
      signal &&
      onAbort(signal, () => {
        end();
        reject(signal.reason);
      });
    worker.onmessage = ({ data }: MessageEvent<FromWorker | ArrayBuffer>) => {
      if (data instanceof ArrayBuffer) return events.reply(new Uint8Array(data));
      switch (data.type) {
        case 'opened':
          isOpen = true;
          stopListening?.();
          unwatch = watchLife(lifeLock, () => died(new TempestError('TEMPEST_WORKER_DIED', "the store's worker has ended")));
          return resolve(link(data.recovery));
        case 'failed':
        case 'died':
          return died(fromPlainError(data.error));
        case 'released':
          end();
          return released?.(data.error && Promise.reject(fromPlainError(data.error)));
      }
    };
    worker.onmessageerror = () => died(new TempestError('TEMPEST_WORKER_DIED', "a message of the store's worker could not be read"));
    worker.onerror = (event) => {
      // Handled here, by way of the calls under way.
      event.preventDefault();
      const what = (event as Partial<ErrorEvent>).message ?? '';
      if (isOpen) died(new TempestError('TEMPEST_WORKER_DIED', `the store's worker failed: ${what}`));
      else died(notStarted(address, what === '' ? 'it did not load' : what));
    };
    const { device: _, module: __, source: ___, ...message } = spec;
    worker.postMessage({ type: 'open', lifeLock, ...message } satisfies ToWorker);
  });
}

function notStarted(address: string, why: string, cause?: unknown): TempestError {
  return new TempestError('TEMPEST_LOAD_FAILED', `cannot start the worker from ${address}: ${why}`, { cause });
}

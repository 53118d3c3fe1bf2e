// The dedicated worker that a page's store lives in. It opens one store and relays frames to its engine and back.

import { asStorageError, type TempestError, toPlainError } from './errors.js';
import { frameSize } from './frames.js';
import { Host } from './host.js';
import { holdForLife } from './lock.js';
import type { FromWorker, ToWorker } from './messages.js';

interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker | ArrayBuffer>) => void) | null;
  postMessage(message: FromWorker | ArrayBuffer, transfer?: Transferable[]): void;
  close(): void;
}

const scope = globalThis as unknown as WorkerScope;
let host: Host | undefined;

const events = {
  reply: ({ buffer }: Uint8Array<ArrayBuffer>) => scope.postMessage(buffer, [buffer]),
  died: (error: TempestError) => end({ type: 'died', error: toPlainError(error) }),
};

/** The last message; the lock and the file have been let go. */
function end(message: FromWorker): void {
  scope.postMessage(message);
  scope.close();
}

async function open(message: Extract<ToWorker, { type: 'open' }>): Promise<void> {
  try {
    await holdForLife(message.lifeLock);
    host = await Host.start(message, events);
    scope.postMessage({ type: 'opened', recovery: host.recovery });
  } catch (error) {
    end({ type: 'failed', error: toPlainError(asStorageError(error)) });
  }
}

async function release(isDoomed: boolean): Promise<void> {
  const message: FromWorker = { type: 'released' };
  try {
    if (isDoomed) await host?.destroy();
    else host?.release();
  } catch (error) {
    message.error = toPlainError(asStorageError(error));
  }
  end(message);
}

scope.onmessage = ({ data }) => {
  if (data instanceof ArrayBuffer) {
    const bytes = new Uint8Array(data);
    host?.submit(bytes.subarray(0, frameSize(bytes)));
  } else if (data.type === 'open') {
    void open(data);
  } else {
    void release(data.isDoomed);
  }
};

// Work that an engine asked to go on with later, in an object: steps between calls, and an alarm for what is left of them.

import { STEPS_BEHIND_CALL, STEPS_OF_ALARM } from './limits.js';

/** Gives way to what the host has queued. */
function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/**
 * Steps are bounded in bytes by the engine and in count here, never in time: the clock stands still while code runs.
 *
 * A few are done behind the call that led to them, which costs nothing. What is left then is an alarm's, which keeps the object alive while it works and
 * wakes it where it was evicted. Should even the alarm be lost, nothing is: an engine looks for such work when it is opened.
 */
export class Background {
  readonly #setAlarm: () => void;
  #pump: (() => void) | undefined;
  #isRunning = false;

  /** @param setAlarm - Asks the platform for an alarm, soon. */
  constructor(setAlarm: () => void) {
    this.#setAlarm = setAlarm;
  }

  /** Takes the engine's wish to have `pump` called later. */
  schedule(pump: () => void): void {
    this.#pump = pump;
    this.goOn();
  }

  /** Goes on with what an alarm may not have come to yet. */
  goOn(): void {
    void this.#run(STEPS_BEHIND_CALL);
  }

  /** What an alarm does. */
  alarm(): Promise<void> {
    return this.#run(STEPS_OF_ALARM);
  }

  async #run(steps: number): Promise<void> {
    if (this.#isRunning || this.#pump === undefined) return;
    this.#isRunning = true;
    for (let left = steps; left > 0 && this.#pump !== undefined; left--) {
      await breathe();
      const pump = this.#pump;
      this.#pump = undefined;
      pump();
    }
    this.#isRunning = false;
    if (this.#pump !== undefined) this.#setAlarm();
  }
}

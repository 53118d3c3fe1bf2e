// What the page offers to the program that drives it: `bench.start`, `bench.run`, `bench.end`.

import { Runner } from './runner.js';

/** A runner in a dedicated worker, by the same calls. */
class RemoteRunner {
  #worker;

  constructor(settings) {
    this.#worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
    this.#worker.postMessage(settings);
  }

  run(step) {
    return new Promise((resolve, reject) => {
      this.#worker.onerror = (event) => reject(new Error(event.message));
      this.#worker.onmessage = ({ data }) => (data.error === undefined ? resolve(data.figures) : reject(new Error(data.error)));
      this.#worker.postMessage(step);
    });
  }

  terminate() {
    this.#worker.terminate();
  }
}

const runners = new Map();

globalThis.bench = {
  async start(store, settings) {
    const runner = settings.context === 'worker' ? new RemoteRunner(settings) : new Runner(settings);
    runners.set(store, runner);
    await runner.run('start');
  },

  run(store, step) {
    return runners.get(store).run(step);
  },

  async end(store) {
    const runner = runners.get(store);
    runners.delete(store);
    await runner.run('end');
    runner.terminate?.();
  },
};

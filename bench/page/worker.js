// A runner in a dedicated worker. The first message has its settings, each other one the name of a step.

import { Runner } from './runner.js';

let runner;

globalThis.onmessage = async ({ data }) => {
  if (runner === undefined) {
    runner = new Runner(data);
    return;
  }
  try {
    postMessage({ figures: await runner.run(data) });
  } catch (error) {
    postMessage({ error: error.stack });
  }
};

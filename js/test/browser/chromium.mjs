// Where Chromium is and how it is started, for all that drives it.

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What to start Chromium with: no window, and nothing that it does by itself on the network. */
export const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The path of Chromium: `CHROMIUM` in the environment, else the first program of one of its names in the folders of `PATH`. */
export function findChromium({ CHROMIUM, PATH = '' } = process.env) {
  if (CHROMIUM) {
    if (!isProgram(CHROMIUM)) throw new Error(`CHROMIUM is ${CHROMIUM}, and there is no program`);
    return CHROMIUM;
  }
  const folders = PATH.split(delimiter).filter((folder) => folder !== '');
  const found = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isProgram);
  if (found === undefined) throw new Error(`none of ${NAMES.join(', ')} is in PATH; make chromium installs one, or set CHROMIUM to its path`);
  return found;
}

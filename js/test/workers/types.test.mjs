// The types, by the platform's own.

import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

test('a Worker compiles with the types of the package and of the platform', async () => {
  await promisify(execFile)(process.execPath, [here('../../node_modules/typescript/bin/tsc'), '-p', here('tsconfig.json')]).catch((error) => {
    throw new Error(error.stdout);
  });
});

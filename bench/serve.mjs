// Serves the bench page, the package and the other stores on 127.0.0.1.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = (path) => fileURLToPath(new URL(path, import.meta.url));

const roots = {
  page: folder('page'),
  tempestkv: folder('../js/dist'),
  'idb-keyval': folder('node_modules/idb-keyval/dist'),
};

const types = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.map': 'application/json' };

/** Starts the server on a free port; resolves to its address and a way to stop it. */
export async function serve() {
  const server = createServer(async (request, response) => {
    const [, root, ...path] = new URL(request.url, 'http://localhost').pathname.split('/');
    const file = Object.hasOwn(roots, root) ? join(roots[root], ...path) : '';
    try {
      if (!file.startsWith(roots[root] + sep)) throw new Error('outside');
      const bytes = await readFile(file);
      response.writeHead(200, {
        'content-type': types[extname(file)] ?? 'application/octet-stream',
        // As files with a version in their address are served.
        'cache-control': 'public, max-age=3600',
        // The page is isolated for the sake of its clock, which is then exact to 5 µs and not to 100. No store needs it.
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
      });
      response.end(bytes);
    } catch {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('not found');
    }
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${server.address().port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

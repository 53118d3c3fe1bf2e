// A static server as any host has it: no special headers. What a test wants to be different lies under a path of its own.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.wasm': 'application/wasm',
};

/** Folders of the package, by the path they are served under. */
const FOLDERS = {
  '/dist/': fileURLToPath(new URL('../../dist/', import.meta.url)),
  '/suite/': fileURLToPath(new URL('../suite/', import.meta.url)),
  '/pages/': fileURLToPath(new URL('./pages/', import.meta.url)),
};

/** The strictest policy that the package's documentation promises to work under. */
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";

async function fileAt(path) {
  for (const [prefix, folder] of Object.entries(FOLDERS)) {
    if (!path.startsWith(prefix)) continue;
    const relative = normalize(path.slice(prefix.length));
    if (relative.startsWith('..')) return undefined;
    try {
      return await readFile(join(folder, relative));
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/** What `path` is answered with. */
async function answerTo(path) {
  // The package as a host serves it that lost the engine, answers everything with a page, or sends a page as the engine.
  const damaged = /^\/(no-engine|html-engine|false-engine|no-worker)(\/.*)$/.exec(path);
  if (damaged !== null) {
    const [, damage, rest] = damaged;
    const isEngine = rest.endsWith('.wasm');
    if (damage === 'no-engine' && isEngine) return { status: 404, type: TYPES['.html'], body: '<h1>Not here</h1>' };
    if (damage === 'html-engine' && isEngine) return { status: 200, type: TYPES['.html'], body: '<!doctype html><h1>Welcome</h1>' };
    if (damage === 'false-engine' && isEngine) return { status: 200, type: TYPES['.wasm'], body: '<!doctype html><h1>Welcome</h1>' };
    if (damage === 'no-worker' && rest.endsWith('/worker.js')) return { status: 404, type: TYPES['.html'], body: '<h1>Not here</h1>' };
    return answerTo(rest);
  }
  if (path === '/strict-policy') return { status: 200, type: TYPES['.html'], body: '<!doctype html><title>test</title>', headers: { 'content-security-policy': POLICY } };
  // For the suite: a file that is no program, and a program that is not the engine.
  if (path === '/text.wasm') return { status: 200, type: TYPES['.html'], body: '<!doctype html><h1>Welcome</h1>' };
  if (path === '/other.wasm') return { status: 200, type: TYPES['.wasm'], body: Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) };
  if (path === '/') return { status: 200, type: TYPES['.html'], body: '<!doctype html><title>test</title>' };
  const body = await fileAt(path);
  if (body === undefined) return { status: 404, type: TYPES['.html'], body: '<h1>Not found</h1>' };
  return { status: 200, type: TYPES[extname(path)] ?? 'application/octet-stream', body };
}

/** Serves the package and the test pages on a free port of 127.0.0.1. */
export async function serve() {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://127.0.0.1');
    answerTo(pathname).then(({ status, type, body, headers }) => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', ...headers });
      response.end(body);
    });
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

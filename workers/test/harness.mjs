// Starts workerd with the Worker of the example: the router as it is built, and the package's objects behind it. No network.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';

const root = fileURLToPath(new URL('../../', import.meta.url));
const EXAMPLE = 'examples/worker';

/** A file as a module. They import each other by where they are in the tree. */
function moduleOf(path) {
  const type = path.endsWith('.wasm') ? 'CompiledWasm' : 'ESModule';
  return { type, path: root + path, contents: readFileSync(root + path, type === 'ESModule' ? 'utf8' : undefined) };
}

/** The only value of a name in the example's wrangler.toml. */
function configured(name) {
  const values = [...readFileSync(`${root}${EXAMPLE}/wrangler.toml`, 'utf8').matchAll(new RegExp(`^${name} = \\[?"(.*)"`, 'gm'))];
  if (values.length !== 1) throw new Error(`wrangler.toml has ${values.length} values of ${name}`);
  return values[0][1];
}

export const TOKEN = 'write-token';

/**
 * A Worker that runs.
 *
 * @param options.bindings - Beside the token.
 * @param options.objects - Whether it has the binding of the objects.
 * @param options.main - The main module, instead of the example's.
 */
export async function startRouter({ bindings = {}, objects = true, main } = {}) {
  const runtime = new Miniflare({
    modulesRoot: root,
    modules: [
      { ...moduleOf(`${EXAMPLE}/${configured('main')}`), ...(main !== undefined && { contents: main }) },
      ...['js/dist/workers.js', 'js/dist/tempestkv.wasm'].map(moduleOf),
      ...['router.mjs', 'worker.mjs', 'runtime.mjs', 'wasm_exec.js', 'app.wasm'].map((name) => moduleOf(`build/router/${name}`)),
    ],
    compatibilityDate: configured('compatibility_date'),
    durableObjects: objects ? { TEMPEST: { className: configured('new_sqlite_classes'), useSQLite: true } } : {},
    bindings: { TEMPEST_TOKEN: TOKEN, TEMPEST_READ_TOKEN: 'read-token', TEMPEST_ORIGINS: 'https://app.example', ...bindings },
    // What the Worker prints is looked at only where a test fails for it.
    handleRuntimeStdio: (out, error) => (out.resume(), error.resume()),
  });
  const origin = (await runtime.ready).origin;

  /** Begins a request, on a connection of its own: a runtime that is busy may close one that it was to keep just as we use it again. */
  function begin(method, path, headers) {
    const { hostname, port } = new URL(origin);
    return request({ hostname, port, method, path, agent: false, headers: { authorization: `Bearer ${TOKEN}`, ...headers } });
  }

  /** Sends a request, with the token unless the headers say otherwise. The answer has its body as text. */
  async function ask(method, path, body, headers = {}) {
    const out = begin(method, path, headers);
    const answered = once(out, 'response');
    out.end(body);
    const [response] = await answered;
    return { status: response.statusCode, headers: response.headers, text: await text(response) };
  }

  /** Sends a request with a body that write() writes; what it answers, or 'reset' where it hung up. */
  async function askRaw(method, path, { headers = {}, write = (out) => out.end() } = {}) {
    const out = begin(method, path, headers);
    // It may hang up while we still write.
    const answered = once(out, 'response');
    out.on('error', () => undefined);
    write(out);
    try {
      const [response] = await answered;
      response.resume();
      return { status: response.statusCode };
    } catch {
      return { status: 'reset' };
    } finally {
      out.destroy();
    }
  }

  return { origin, ask, askRaw, stop: () => runtime.dispose() };
}

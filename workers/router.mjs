// The Worker's entry: what the library's own leaves to break. Everything else is in Go, behind it.

import library from './worker.mjs';

/** An answer as the Go program gives them (package api, problem). */
function problem(status, title, code, detail) {
  return new Response(`${JSON.stringify({ title, status, code, detail })}\n`, {
    status,
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' },
  });
}

export default {
  /** @type {ExportedHandlerFetchHandler} */
  async fetch(request, env, ctx) {
    // Go refuses such an address before the program sees it, and the caller would be told that the Worker failed.
    if (/%(?![0-9a-f]{2})/i.test(new URL(request.url).pathname)) {
      return problem(400, 'Bad Request', 'MALFORMED_REQUEST', 'the path has a malformed escape');
    }
    try {
      return await library.fetch(request, env, ctx);
    } catch (error) {
      console.error(error);
      return problem(500, 'Internal Server Error', 'INTERNAL', 'the router failed');
    }
  },
};

// The router: a Cloudflare Worker that serves stores over HTTP. Each store is a
// Durable Object of its own, which the router reaches by a stub; it keeps
// nothing itself. docs/HTTP.md describes what it serves and how it is
// configured.
//
// github.com/syumai/workers starts a new instance of this program for each
// request, and its packages cannot be imported where there is no Worker. So
// everything but the glue is in packages of plain Go: api serves HTTP, object
// speaks to the Durable Object in the frames that package frames knows.
package main

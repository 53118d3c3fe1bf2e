// Fetches and compiles the engine.

import { messageOf, TempestError } from './errors.js';

const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** The engine's module, compiled once for each address. Rejects with `TEMPEST_LOAD_FAILED`, which names the address and what came back. */
export function loadModule(address: string): Promise<WebAssembly.Module> {
  let module = compiled.get(address);
  if (module === undefined) {
    module = compile(address);
    compiled.set(address, module);
    // A failure is not kept: the next open tries again.
    module.catch(() => compiled.delete(address));
  }
  return module;
}

async function compile(address: string): Promise<WebAssembly.Module> {
  if (address.startsWith('file:')) return compileBytes(address, await readFile(address), '');
  const response = await get(address);
  if (isWasm(response) && typeof WebAssembly.compileStreaming === 'function') {
    try {
      return await WebAssembly.compileStreaming(response);
    } catch {
      // Once more, to see what it is that came.
      const again = await get(address);
      return compileBytes(address, await bodyOf(address, again), describeResponse(again));
    }
  }
  return compileBytes(address, await bodyOf(address, response), describeResponse(response));
}

async function get(address: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, { credentials: 'same-origin' });
  } catch (cause) {
    throw failed(address, messageOf(cause), cause);
  }
  if (!response.ok) throw failed(address, `the server answered${describeResponse(response)}`);
  return response;
}

async function bodyOf(address: string, response: Response): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw failed(address, messageOf(cause), cause);
  }
}

function isWasm(response: Response): boolean {
  return response.headers.get('content-type')?.split(';', 1)[0]!.trim() === 'application/wasm';
}

function describeResponse(response: Response): string {
  return ` ${response.status} ${response.statusText}, content-type ${response.headers.get('content-type') ?? 'none'}`;
}

/** What is used of Node, and of those that do as it does. */
interface Process {
  getBuiltinModule?(name: 'node:fs/promises'): { readFile(path: URL): Promise<Uint8Array<ArrayBuffer>> };
}

/** The file of a `file:` address. Its module is asked for at run time, so that no bundler for the web looks for it. */
async function readFile(address: string): Promise<Uint8Array<ArrayBuffer>> {
  const { process } = globalThis as { process?: Process };
  const files = process?.getBuiltinModule?.('node:fs/promises');
  if (files === undefined) throw failed(address, 'this context reads no files');
  try {
    return await files.readFile(new URL(address));
  } catch (cause) {
    throw failed(address, messageOf(cause), cause);
  }
}

async function compileBytes(address: string, bytes: Uint8Array<ArrayBuffer>, response: string): Promise<WebAssembly.Module> {
  if (bytes[0] !== 0 || bytes[1] !== 0x61 || bytes[2] !== 0x73 || bytes[3] !== 0x6d) {
    throw failed(address, `what came is no WebAssembly:${response} ${bytes.length} bytes beginning with ${firstBytes(bytes)}`);
  }
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw failed(address, `what came does not compile:${response} ${bytes.length} bytes; ${messageOf(cause)}`, cause);
  }
}

/** The first bytes as text where they are text (a page that says 404, most often), else in hexadecimal. */
function firstBytes(bytes: Uint8Array): string {
  const first = bytes.subarray(0, 24);
  if (first.every((byte) => byte >= 0x20 && byte < 0x7f)) return JSON.stringify(String.fromCharCode(...first));
  return Array.from(first, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** The error of an engine that could not be had from `address`. */
export function failed(address: string, what: string, cause?: unknown): TempestError {
  return new TempestError('TEMPEST_LOAD_FAILED', `cannot load the engine from ${address}: ${what}`, { cause });
}

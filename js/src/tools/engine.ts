// The engine that can do more.

import { addressOf } from '../open.js';

/** The address of the engine that makes and mends stores: as the caller gave it, or beside this module. */
export function toolsAddress(given: string | URL | undefined): string {
  return addressOf(given, new URL('./tempestkv-tools.wasm', import.meta.url));
}

/// <reference lib="esnext.disposable" preserve="true" />

export { connect, type ConnectOptions, type TempestNamespace } from './connect.js';
export { TempestError } from '../errors.js';
export type * from '../index.js';
export { type ObjectOptions, TempestObject } from './object.js';

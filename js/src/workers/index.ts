/// <reference lib="esnext.disposable" preserve="true" />

export { type BackupBucket, type BucketExportOptions, exportToBucket } from './bucket.js';
export { connect, type ConnectOptions, importStore, type TempestNamespace } from './connect.js';
export { TempestError } from '../errors.js';
export type * from '../index.js';
export type { ObjectImportOptions } from './imports.js';
export { type ObjectOptions, TempestObject } from './object.js';

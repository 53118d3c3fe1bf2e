/// <reference lib="esnext.disposable" preserve="true" />

export { destroy, type DestroyOptions, type KeyOf, open, type OpenOptions, type ValueOf } from './open.js';
export type {
  BatchOperation,
  CallOptions,
  Database,
  Durability,
  KeyInput,
  Recovery,
  ScanOptions,
  Stats,
  Storage,
  Supports,
  ValueInput,
  WriteOptions,
} from './database.js';
export type { AsyncDevice, Device, SyncDevice } from './device.js';
export type { BytesInput } from './bytes.js';
export type { CustomEncoding, KeyEncoding, ValueEncoding, ValueEncodingName } from './encodings.js';
export { TempestError, type TempestErrorCode } from './errors.js';
export { MemoryDevice } from './memory.js';
export type { PrefixOf, Range } from './range.js';
export type { Scan } from './scan.js';
export type { TupleKey, TuplePart } from './tuple.js';

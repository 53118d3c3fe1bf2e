/// <reference lib="esnext.disposable" preserve="true" />

export { destroy, type DestroyOptions, type ImportOptions, importStore, type KeyOf, open, type OpenOptions, type ValueOf } from './open.js';
export type { BackupProgress, BackupSource, ExportOptions } from './backup.js';
export type { BytesInput } from './bytes.js';
export type { Database, Recovery, Stats, Storage, StorageEstimate, Supports, VerifyReport } from './database.js';
export type { AsyncDevice, Device, SyncDevice } from './device.js';
export type { CustomEncoding, Encodings, KeyEncoding, KeyFor, ValueEncoding, ValueEncodingName, ValueFor } from './encodings.js';
export { TempestError, type TempestErrorCode } from './errors.js';
export type { DatabaseEvent, DatabaseEventMap, DatabaseListener, Figures } from './events.js';
export type { LiveQuery, LiveQueryOptions } from './live.js';
export { MemoryDevice } from './memory.js';
export type {
  BatchOperation,
  BatchOptions,
  CallOptions,
  ClearOptions,
  DeleteOptions,
  Durability,
  Entry,
  KeyInput,
  Namespace,
  PutOptions,
  RangeOptions,
  ReadOptions,
  ScanOptions,
  SubOperation,
  UpdateOptions,
  ValueInput,
  WriteOptions,
} from './namespace.js';
export type { NdjsonImportOptions, NdjsonSource } from './ndjson.js';
export type { KeyRange, PrefixOf, Range } from './range.js';
export type { RemoteOptions } from './remote.js';
export type { Scan } from './scan.js';
export type { Snapshot } from './snapshot.js';
export type { Transaction, TransactionOptions, View } from './transaction.js';
export type { TupleKey, TuplePart } from './tuple.js';
export type { Source } from './streams.js';
export type { Change, Commit, Watch, WatchOptions } from './watch.js';

/**
 * What went wrong, for programs. Codes are stable; messages are free text.
 *
 * | code | the caller should |
 * |---|---|
 * | `TEMPEST_CLOSED` | open again |
 * | `TEMPEST_LOCKED` | wait for, or find, the other writer |
 * | `TEMPEST_FENCED` | find the newer writer, or open again |
 * | `TEMPEST_READONLY` | close, open again, retry: an earlier write failed and the log's tail is unknown |
 * | `TEMPEST_BUSY` | slow down and retry |
 * | `TEMPEST_CONFLICT` | read again, and try again: what a write depends on has changed |
 * | `TEMPEST_QUOTA_EXCEEDED` | free space |
 * | `TEMPEST_IO_ERROR` | retry once, then open again |
 * | `TEMPEST_CORRUPTION` | stop and restore |
 * | `TEMPEST_INVALID_KEY` | fix the key: too large, reserved, or stored in another encoding |
 * | `TEMPEST_INVALID_VALUE` | fix the value: too large, or stored in another encoding |
 * | `TEMPEST_INVALID_ARGUMENT` | fix the call |
 * | `TEMPEST_NOT_SUPPORTED` | choose another storage; read `db.supports` first |
 * | `TEMPEST_WORKER_DIED` | open again: the engine ended, and whatever was acknowledged is in the store |
 * | `TEMPEST_DISCONNECTED` | try again: the next call connects anew; of a write it is not known whether it happened |
 * | `TEMPEST_UNAUTHORIZED` | open again with a token that may do it |
 * | `TEMPEST_LOAD_FAILED` | serve the files the message names |
 */
export type TempestErrorCode =
  | 'TEMPEST_CLOSED'
  | 'TEMPEST_LOCKED'
  | 'TEMPEST_FENCED'
  | 'TEMPEST_READONLY'
  | 'TEMPEST_BUSY'
  | 'TEMPEST_CONFLICT'
  | 'TEMPEST_QUOTA_EXCEEDED'
  | 'TEMPEST_IO_ERROR'
  | 'TEMPEST_CORRUPTION'
  | 'TEMPEST_INVALID_KEY'
  | 'TEMPEST_INVALID_VALUE'
  | 'TEMPEST_INVALID_ARGUMENT'
  | 'TEMPEST_NOT_SUPPORTED'
  | 'TEMPEST_WORKER_DIED'
  | 'TEMPEST_DISCONNECTED'
  | 'TEMPEST_UNAUTHORIZED'
  | 'TEMPEST_LOAD_FAILED';

/**
 * Every failure of the store. Test `code`, never `message`; `cause` is the error underneath where there is one.
 *
 * Misuse is not a `TempestError`: an argument of the wrong type is a `TypeError`, a number out of range a `RangeError`,
 * and an aborted call rejects with its signal's `reason`.
 */
export class TempestError extends Error {
  override readonly name = 'TempestError';

  /** What went wrong; see {@link TempestErrorCode}. */
  readonly code: TempestErrorCode;

  constructor(code: TempestErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An error in a form that `postMessage` carries between contexts on every host. */
export interface PlainError {
  code: TempestErrorCode;
  message: string;
  cause?: string;
}

/** Turns any thrown value into a `TempestError`; one that is none already gets `code`. */
export function asTempestError(error: unknown, code: TempestErrorCode): TempestError {
  if (error instanceof TempestError) return error;
  return new TempestError(code, messageOf(error), { cause: error });
}

/** Turns whatever a host's storage has thrown into a `TempestError`. */
export function asStorageError(error: unknown): TempestError {
  return asTempestError(error, isQuota(error) ? 'TEMPEST_QUOTA_EXCEEDED' : 'TEMPEST_IO_ERROR');
}

/** Whether a host says that no space is left. */
export function isQuota(error: unknown): boolean {
  return (error as Error | null | undefined)?.name === 'QuotaExceededError';
}

/** The text of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

export function toPlainError(error: TempestError): PlainError {
  const plain: PlainError = { code: error.code, message: error.message };
  if (error.cause !== undefined) plain.cause = messageOf(error.cause);
  return plain;
}

export function fromPlainError(plain: PlainError): TempestError {
  return new TempestError(plain.code, plain.message, plain.cause === undefined ? undefined : { cause: new Error(plain.cause) });
}

/** How an error message names a value of the wrong type: strings in quotes, else the type. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' || value === null) return String(value);
  return Array.isArray(value) ? 'an array' : `of type ${typeof value}`;
}

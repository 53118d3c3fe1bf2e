// The insides that the unit tests look at, as one bundle.

export * from '../src/calls.js';
export * from '../src/client.js';
export * from '../src/database.js';
export * from '../src/encodings.js';
export * from '../src/engine.js';
export { TempestError } from '../src/errors.js';
export * as frames from '../src/frames.js';
export * as limits from '../src/limits.js';
export * from '../src/memory.js';
export { MAX_DEPTH, Msgpack } from '../src/msgpack.js';
export { fileNameOf } from '../src/opfs.js';
export * from '../src/namespace.js';
export * from '../src/range.js';
export * from '../src/space.js';
export * from '../src/tuple.js';
export { Background } from '../src/workers/background.js';
export { connect } from '../src/workers/connect.js';
export * from '../src/workers/entries.js';
export * as workerLimits from '../src/workers/limits.js';
export { ROW_BYTES, RowsDevice } from '../src/workers/rows.js';
export { Mailbox, Sessions } from '../src/workers/sessions.js';
export { Visitors } from '../src/workers/visitors.js';

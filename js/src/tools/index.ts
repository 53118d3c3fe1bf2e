// What few pages need and what needs an engine of its own: LevelDB folders in and out, and repairs.

export type { DirectoryHandle, LevelDbFile, LevelDbSource } from './files.js';
export { exportLevelDb, importLevelDb, levelDbFiles, type LevelDbExportOptions } from './leveldb.js';
export { type Loss, repair, type RepairOptions, type RepairReport } from './repair.js';

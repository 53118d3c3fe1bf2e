// Writes a go.mod for the comparison in WebAssembly: that of the module, with goleveldb replaced by a copy of itself that builds there. Its
// package storage has a lock of files for each system that it knows, and js is none; the benchmark's files are in memory and need no lock.
//
// Usage, in this folder: node goleveldb.mjs ../../build/engine.mod
import { execFileSync } from 'node:child_process';
import { cpSync, copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const MODULE = 'github.com/syndtr/goleveldb';

const [, , modFile] = process.argv;
const folder = path.resolve(path.dirname(modFile), 'goleveldb');
const { Dir } = JSON.parse(execFileSync('go', ['mod', 'download', '-json', MODULE], { encoding: 'utf8' }));
rmSync(folder, { recursive: true, force: true });
for (const name of ['go.mod', 'leveldb']) {
  cpSync(path.join(Dir, name), path.join(folder, name), { recursive: true, filter: (file) => !file.endsWith('_test.go') });
}
execFileSync('chmod', ['-R', 'u+w', folder]);
// What it does on Native Client, which it calls by name, it can do here too.
const lock = readFileSync(path.join(folder, 'leveldb/storage/file_storage_nacl.go'), 'utf8');
writeFileSync(path.join(folder, 'leveldb/storage/file_storage_js.go'), lock.replace('+build nacl', '+build js'));
writeFileSync(modFile, `${readFileSync('go.mod', 'utf8')}\nreplace ${MODULE} => ${folder}\n`);
copyFileSync('go.sum', modFile.replace(/\.mod$/, '.sum'));

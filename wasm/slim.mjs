// Writes a go.mod for the engine's release build: that of the module, with
// github.com/google/btree replaced by a copy of itself without its debugging
// printer. The printer is never called, but it imports fmt, and fmt brings os,
// time, reflection and syscall/js into the binary, whose initialisation the
// linker must keep: a tenth of what a page downloads.
//
// Usage: node wasm/slim.mjs build/slim.mod
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const MODULE = 'github.com/google/btree';
const SOURCE = 'btree_generic.go';

/** Takes text out of the source; a source that has changed is refused. */
function cut(source, pattern) {
  if (!pattern.test(source)) throw new Error(`${MODULE}/${SOURCE} is not as it was: ${pattern}`);
  return source.replace(pattern, '');
}

const [, , modFile] = process.argv;
const folder = path.join(path.dirname(modFile), 'btree');
const { Dir } = JSON.parse(execFileSync('go', ['mod', 'download', '-json', MODULE], { encoding: 'utf8' }));
mkdirSync(folder, { recursive: true });
writeFileSync(path.join(folder, 'go.mod'), readFileSync(path.join(Dir, 'go.mod')));
let source = readFileSync(path.join(Dir, SOURCE), 'utf8');
source = cut(source, /^\/\/ print is used for testing\/debugging purposes\.\nfunc \(n \*node\[T\]\) print\(.*\n(?:\t.*\n)*}\n/m);
for (const name of ['fmt', 'io', 'strings']) source = cut(source, new RegExp(`^\\t"${name}"\\n`, 'm'));
writeFileSync(path.join(folder, SOURCE), source);
writeFileSync(modFile, `${readFileSync('go.mod', 'utf8')}\nreplace ${MODULE} => ./${folder}\n`);
copyFileSync('go.sum', modFile.replace(/\.mod$/, '.sum'));

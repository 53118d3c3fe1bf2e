// What the built modules import.

import { readFileSync } from 'node:fs';

const STATIC = /\b(?:from|import)"\.\/([^"]+)"/g;
const ALL = /\b(?:from|import|import\()"\.\/([^"]+)"/g;

/** The names of a module in dist/ and of all that it imports, without what it imports only when it is needed. */
export function staticImports(name, names = new Set()) {
  return follow(name, STATIC, names);
}

/** Likewise, with that. */
export function allImports(name) {
  return follow(name, ALL, new Set());
}

function follow(name, pattern, names) {
  if (names.has(name)) return names;
  names.add(name);
  const code = readFileSync(new URL(`dist/${name}`, import.meta.url), 'utf8');
  for (const [, imported] of code.matchAll(pattern)) follow(imported, pattern, names);
  return names;
}

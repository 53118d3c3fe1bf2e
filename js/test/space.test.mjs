// The keys of namespaces and their bytes: docs/FORMAT.md, "Keys: namespaces".

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { boundsOf, compareBytes, SCAN_NAMES, Space, spanOf, ValueCodecs } from '../../build/js/internal.js';

const plain = Space.plain(new ValueCodecs());
const names = ['a', 'aa', 'ab', 'b', 'a\0', 'a\x01', '\0', '\x01', '\0\0', '\x01\x02', '\x02', 'ä', '\uffff', '𝒳'];
const spaces = [plain, ...names.flatMap((name) => [plain.sub(name, {}), ...names.map((inner) => plain.sub(name, {}).sub(inner, {}))])];
const keys = ['', '\0', '\x01', 'a', 'a\0', 'aa', 'z', '\uffff', '𝒳'];

describe('namespaces', () => {
  test('no key of one is a key of another, or in its range', () => {
    for (const space of spaces) {
      const { start, end } = spanOf(boundsOf({}, space, SCAN_NAMES));
      for (const other of spaces) {
        for (const key of keys) {
          const stored = other.encodeKey(key);
          const isInside = compareBytes(start, stored) <= 0 && compareBytes(stored, end) < 0;
          assert.equal(isInside, space === other);
          assert.equal(space.has(stored), space === other);
        }
      }
    }
  });

  test('keys order in them as they do by themselves, and come back', () => {
    for (const space of spaces) {
      const stored = keys.map((key) => space.encodeKey(key));
      for (let i = 1; i < stored.length; i++) assert.ok(compareBytes(stored[i - 1], stored[i]) < 0);
      assert.deepEqual(stored.map((bytes) => space.readKey(bytes, 0, bytes.length)), keys);
    }
  });

  test('the table in the document', async () => {
    const [, section] = (await readFile(new URL('../../docs/FORMAT.md', import.meta.url), 'utf8')).split('\n## Keys: namespaces\n');
    const rows = [...section.matchAll(/^\| `'(.*)'` in `(db.*?)` \| `([0-9a-f ]+)` \|$/gm)];
    assert.equal(rows.length, 5);
    for (const [, key, path, bytes] of rows) {
      let space = plain;
      for (const [, name] of path.matchAll(/sub\('(.*?)'\)/g)) space = space.sub(name.replace('\\0', '\0'), {});
      assert.equal(Buffer.from(space.encodeKey(key)).toString('hex'), bytes.replaceAll(' ', ''));
    }
  });
});

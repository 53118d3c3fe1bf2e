// The common suite in the browser: context by storage.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { tests } from '../suite/index.mjs';
import { inTime, Setting, workerOf } from './harness.mjs';

const CONTEXTS = {
  'a page': (page) => page,
  'a dedicated worker': workerOf,
};

for (const [name, contextOf] of Object.entries(CONTEXTS)) {
  for (const storage of ['opfs', 'memory']) {
    describe(`${name}, ${storage}`, () => {
      let setting;
      let page;
      let context;

      before(async () => {
        setting ??= await Setting.begin();
        page = await setting.page();
        context = await contextOf(page);
      });

      after(async () => {
        const failures = page?.failures;
        await setting?.end();
        assert.deepEqual(failures, []);
      });

      for (const { name } of tests) {
        test(name, async () => {
          const failure = await inTime(
            'the test ends',
            context.evaluate(async ([storage, name]) => (await import('/pages/suite.js')).runTest(storage, name), [storage, name]),
          );
          assert.equal(failure, undefined, failure);
        });
      }
    });
  }
}

// The common suite in the browser: context by storage.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { tests } from '../suite/index.mjs';
import { inTime, Setting, workerOf } from './harness.mjs';

const CONTEXTS = {
  'a page': (page) => page,
  'a dedicated worker': workerOf,
};

let setting;
before(async () => {
  setting = await Setting.begin();
});
after(() => setting?.end());

for (const [contextName, contextOf] of Object.entries(CONTEXTS)) {
  for (const storage of ['opfs', 'memory']) {
    describe(`${contextName}, ${storage}`, () => {
      let page;
      let context;

      before(async () => {
        page = await setting.page();
        context = await contextOf(page);
      });

      after(async () => {
        assert.deepEqual(page.failures, []);
        await page.close();
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

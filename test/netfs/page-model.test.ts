import fc from 'fast-check';
import { describe, it } from 'vitest';
import type { PageCache } from '../../src/netfs/pages/pages.ts';
import { PlainPages } from '../../src/netfs/pages/plain-pages.ts';
import { checkProperty } from '../support/property.ts';
import { BLOCK_BYTES, fileSteps, ModelledPages } from './pages-model.ts';
import { sharedPages } from './shared-pages-support.ts';

const FILES = 2;
const BLOCKS = 3;

/** Does random steps in a cache whose pages are much smaller, a little smaller or larger than the files. */
function checkModel(make: (blocks: number) => PageCache): void {
  const steps = fc.array(fileSteps(FILES, BLOCKS), { minLength: 1, maxLength: 60 });
  checkProperty(
    fc.tuple(fc.integer({ min: 1, max: 8 }), steps),
    ([blocks, list]) => {
      const modelled = new ModelledPages(make(blocks), FILES, BLOCKS);
      for (const [index, step] of list.entries()) {
        modelled.do(step);
        if (index % 4 === 0) modelled.check();
      }
      modelled.check();
      modelled.finish();
    },
    { weight: 2 },
  );
}

describe('byte for byte, and granule by granule, as a model says', () => {
  it('pages in plain arrays', () => checkModel(blocks => new PlainPages(blocks * BLOCK_BYTES)));
  it('pages in shared memory', () => checkModel(sharedPages));
});

import { globSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { ViteUserConfig } from 'vitest/config';
import { IS_LONG, soakSize } from './test/support/soak.ts';

/** Tests that bound how long something takes. They run one at a time, after all others. */
const ALONE = ['test/cache/pins.test.ts', 'test/cache/reclaim.test.ts'];

/** What a test file imports that has a long size. */
const SOAK_IMPORT = /support\/(soak|property)\.ts'/;

const all = globSync('test/**/*.test.ts');
const files = IS_LONG ? all.filter(file => SOAK_IMPORT.test(readFileSync(file, 'utf8'))) : all;

const config: ViteUserConfig = {
  // Examples import the package by its name; in the checkout that means the sources.
  resolve: { conditions: ['netseal-source'] },
  test: {
    // By default vitest leaves one core idle.
    maxWorkers: availableParallelism(),
    testTimeout: soakSize(120_000, 900_000),
    hookTimeout: 120_000,
    // A test that asserts nothing cannot fail.
    expect: { requireAssertions: true },
    projects: [
      {
        extends: true,
        test: {
          name: 'parallel',
          include: files.filter(file => !ALONE.includes(file)),
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: files.filter(file => ALONE.includes(file)),
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
};

export default config;

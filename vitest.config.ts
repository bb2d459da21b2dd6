import { globSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { TestProjectConfiguration, ViteUserConfig } from 'vitest/config';
import { IS_LONG, soakSize } from './test/support/soak.ts';

/** What a test file imports that has a long size. */
const SOAK_IMPORT = /support\/(soak|property)\.ts'/;

// The processes and threads of tests find their code compiled. Node would else do that anew in each.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url));

const all = globSync('test/**/*.test.ts');
const files = IS_LONG ? all.filter(file => SOAK_IMPORT.test(readFileSync(file, 'utf8'))) : all;

/**
 * Files that change what others see: they replace functions of Node's modules, or look for bytes in all memory of
 * their process. Each has a process of its own. All others share one for each core, which saves a third of the time.
 */
const APART = /test\/(transfer\/|keys\/zeroing)/;

/** Vitest refuses a project without files. */
function project(name: string, isolate: boolean): TestProjectConfiguration[] {
  const include = files.filter(file => APART.test(file) === isolate);
  return include.length === 0 ? [] : [{ extends: true, test: { name, isolate, include } }];
}

const config: ViteUserConfig = {
  // Examples import the package by its name; in the checkout that means the sources.
  resolve: { conditions: ['netseal-source'] },
  test: {
    globalSetup: 'test/build-package.ts',
    // By default vitest leaves one core idle.
    maxWorkers: availableParallelism(),
    testTimeout: soakSize(120_000, 900_000),
    hookTimeout: 120_000,
    // A test that asserts nothing cannot fail.
    expect: { requireAssertions: true },
    projects: [...project('together', false), ...project('apart', true)],
  },
};

export default config;

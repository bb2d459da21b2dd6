import type { ViteUserConfig } from 'vitest/config';

const config: ViteUserConfig = {
  // Examples import the package by its name; in the checkout that means the sources.
  resolve: { conditions: ['netseal-source'] },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
};

export default config;

/** The contract of stores under vitest, which wants each test to assert something. */
import { describe, expect, it } from 'vitest';
import type { StoreCapabilities } from '../../src/server/store.ts';
import { describeStore as describeContract, type StoreUnderTest } from '../../src/server/store-contract.ts';
import { SEED } from '../support/soak.ts';

export function describeStore(
  name: string,
  make: () => Promise<StoreUnderTest>,
  declared: Partial<StoreCapabilities> = {},
): void {
  const counted = (title: string, body: () => Promise<void>): void => {
    it(title, () => expect(body()).resolves.toBeUndefined());
  };
  describeContract(name, make, { describe, it: counted, declared, seed: SEED });
}

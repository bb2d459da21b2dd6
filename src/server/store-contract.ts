/**
 * The contract of stores: the tests that every store has to pass. A store's own test file is a factory; see
 * `docs/STORES.md`. It needs no test framework but two functions, `describe` and `it`.
 *
 *   contract/objects.ts      what was put comes back
 *   contract/keys.ts         keys, and lists of them
 *   contract/calls.ts        aborts, closing, readers beside writers
 *   contract/map.ts          random operations, compared with a plain map
 *   contract/conditions.ts   create and compare-and-swap
 */
import assert from 'node:assert/strict';
import { defineCalls } from './contract/calls.ts';
import { defineConditions, defineNoConditions } from './contract/conditions.ts';
import { defineKeys } from './contract/keys.ts';
import { defineMap } from './contract/map.ts';
import { defineObjects } from './contract/objects.ts';
import { assertFields, type Contract, type StoreUnderTest } from './contract/support.ts';
import type { StoreCapabilities } from './store.ts';

export type { StoreUnderTest } from './contract/support.ts';

/**
 * The functions of a test framework that the suite needs: those of `node:test`, vitest, jest or mocha will
 * do.
 */
export interface TestFramework {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
}

export interface ContractOptions extends TestFramework {
  /** What the store must declare, at least. Stores without conditions are tested without them. */
  readonly declared?: Partial<StoreCapabilities>;
  /** Replays random operations of an earlier run; a failure names it. Default: another one each time. */
  readonly seed?: number;
}

/**
 * Defines the tests of a store.
 *
 *     import { describe, it } from 'node:test';
 *     describeStore('my store', async () => ({ store: await MyStore.open() }), { describe, it });
 *
 * @param make opens an empty store for each test. The tests close it, and then call `remove`.
 */
export function describeStore(
  name: string,
  make: () => Promise<StoreUnderTest>,
  options: ContractOptions,
): void {
  const { declared = {}, seed = Math.floor(Math.random() * 2 ** 31) } = options;
  options.describe(`${name}, held to the contract of stores`, () => {
    const contract: Contract = { ...opening(make, options), declared, seed };
    contract.it('declares what it can do', async () => {
      const { store } = await contract.open();
      assertFields(store.capabilities, declared);
      assert.notEqual(store.name, '');
    });
    defineObjects(contract);
    defineKeys(contract);
    defineCalls(contract);
    defineMap(contract);
    if (declared.createIfAbsent === 'none') defineNoConditions(contract);
    else defineConditions(contract);
  });
}

/** Returns what opens stores for tests, and closes them after each. */
function opening(
  make: () => Promise<StoreUnderTest>,
  framework: TestFramework,
): Pick<Contract, 'it' | 'open' | 'closeAll'> {
  const made: StoreUnderTest[] = [];
  const closeAll = async (): Promise<void> => {
    for (const { store, other, remove } of made.splice(0)) {
      await store.close();
      await other?.close();
      await remove?.();
    }
  };
  return {
    closeAll,
    open: async () => {
      const one = await make();
      made.push(one);
      return one;
    },
    it: (title, body) => {
      framework.it(title, async () => {
        try {
          await body();
        } finally {
          await closeAll();
        }
      });
    },
  };
}

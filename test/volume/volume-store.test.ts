/** Files of a volume as a store: the contract, and what the volume shows of it. */
import { afterAll, describe, expect, it } from 'vitest';
import { describeStore } from '../../src/server/store-contract.ts';
import { volumeStore } from '../../src/volume/volume-store.ts';
import { SEED } from '../support/soak.ts';
import { TestVolume, testPipeline } from './support.ts';

afterAll(async () => (await testPipeline()).close());

const counted = (title: string, body: () => Promise<void>): void => {
  it(title, () => expect(body()).resolves.toBeUndefined());
};

describeStore(
  'files of a volume',
  async () => {
    const made = await TestVolume.create();
    const [one, two] = [await made.client(), await made.client()];
    return {
      store: volumeStore(one.volume, { prefix: '/objects of a program' }),
      other: volumeStore(two.volume, { prefix: 'objects of a program/' }),
      remove: () => made.close(),
    };
  },
  {
    describe,
    it: counted,
    seed: SEED,
    declared: {
      createIfAbsent: 'atomic',
      replaceIfMatch: 'atomic',
      atomicPut: true,
      rangedGet: true,
      listIsConsistent: true,
      listHasVersions: true,
    },
  },
);

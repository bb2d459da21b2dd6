import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { type FaultKind, seededFaults } from '../../src/server/faults.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { StoreMeter } from '../../src/server/meter.ts';
import type { StoreUnderTest } from '../../src/server/store-contract.ts';
import { wrapStore } from '../../src/server/wrap.ts';
import { SEED } from '../support/soak.ts';
import { describeStore } from './describe-store.ts';

async function directory(durability: 'fsync' | 'none'): Promise<StoreUnderTest> {
  const path = await mkdtemp(join(tmpdir(), 'netseal-store-'));
  return {
    store: await DirectoryStore.open(path, { create: true, durability }),
    other: await DirectoryStore.open(path, { durability }),
    remove: () => rm(path, { recursive: true }),
  };
}

describeStore('memory store', async () => ({ store: new MemoryStore() }), {
  createIfAbsent: 'atomic',
  listHasVersions: true,
});

const NO_CONDITIONS = { createIfAbsent: 'none', replaceIfMatch: 'none' } as const;
describeStore(
  'memory store without conditions',
  async () => ({ store: new MemoryStore({ capabilities: NO_CONDITIONS }) }),
  NO_CONDITIONS,
);

describeStore('directory store', () => directory('fsync'), { createIfAbsent: 'atomic', sharedMemory: true });
describeStore('directory store without fsync', () => directory('none'));

for (const wrap of ['retry', 'limit', 'meter', 'all'] as const) {
  describeStore(`memory store behind ${wrap}`, async () => ({
    store: wrapStore(
      new MemoryStore(),
      {
        ...(wrap === 'retry' || wrap === 'all' ? { retry: {} } : {}),
        ...(wrap === 'limit' || wrap === 'all' ? { limit: { concurrency: 2 } } : {}),
      },
      wrap === 'meter' || wrap === 'all' ? { meter: new StoreMeter() } : {},
    ),
  }));
}

describeStore('directory store behind all wrappers', async () => {
  const tested = await directory('none');
  const limits = { retry: {}, limit: { concurrency: 4 } };
  return { ...tested, store: wrapStore(tested.store, limits, { meter: new StoreMeter() }) };
});

// What a retry hides completely: no change is ever in doubt.
const HIDDEN: readonly FaultKind[] = ['refused', 'short', 'slow'];
let seed = SEED;
describeStore(`memory store that fails (seeds from ${seed}), behind retry`, async () => {
  seed += 1;
  const faults = seededFaults(seed, 0.2, HIDDEN, 1);
  const retry = { attemptsMax: 30, pauseMs: 0.01, budget: 1e6 };
  const store = wrapStore(new MemoryStore(), { retry, limit: { concurrency: 8 } }, { faults });
  return { store, isRefusing: true };
});

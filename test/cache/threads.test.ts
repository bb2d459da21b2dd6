import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { CRASH_SETTINGS, crashUnit, FILES, PLACES, VERSIONS, VOLUME } from './fixtures/crash-plan.ts';
import { newFolder, openTestCache } from './support.ts';

it('another thread reads hits by itself while units come and go, and never anything else', async () => {
  const cache = await openTestCache(newFolder(), CRASH_SETTINGS);
  const volume = cache.volume(VOLUME);
  const objectId = FILES[0]!;
  const stop = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL('fixtures/reader-thread.ts', import.meta.url), {
    workerData: { shared: cache.share(), prefix: volume.prefix(objectId), stop },
  });
  const answer = once(worker, 'message');
  await once(worker, 'online');
  const chance = seededChance(1);
  const below = (count: number): number => Math.floor(chance() * count);
  // On a busy machine the thread may begin late: what counts is that both have worked, not for how long.
  while (Atomics.load(stop, 1) <= 1000 || cache.statistics.reclaimedZones <= 10) {
    const units = Array.from({ length: 8 }, () => {
      const index = below(PLACES);
      return { objectId, index, bytes: crashUnit(0, index, below(VERSIONS)) };
    });
    await volume.put(units);
  }
  Atomics.store(stop, 0, 1);
  const [counts] = (await answer) as [{ hits: number; misses: number; wrong: number }];
  expect(counts.wrong).toBe(0);
  expect(counts.hits).toBeGreaterThan(100);
  expect(cache.statistics.reclaimedZones).toBeGreaterThan(10);
});

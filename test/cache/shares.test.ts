import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { getUnit, idOf, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);

describe('shares', () => {
  it('do not keep a volume at what came first, in a cache that is far from full', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    volume.setShare(200_000);
    for (let index = 0; index < 300; index += 1) {
      await volume.put([{ objectId: idOf(10), index, bytes: unitOf(index) }]);
      await cache.volume(idOf(2)).put([{ objectId: idOf(10), index, bytes: unitOf(index) }]);
      expect(volume.bytes).toBeLessThanOrEqual(200_000);
    }
    let hits = 0;
    for (let index = 200; index < 300; index += 1) {
      if ((await getUnit(cache, VOLUME, idOf(10), index, unitOf(index))) === 'hit') hits += 1;
    }
    expect(hits).toBeGreaterThan(20);
    // Other volumes lose nothing.
    for (let index = 0; index < 300; index += 1)
      expect(await getUnit(cache, idOf(2), idOf(10), index, unitOf(index))).toBe('hit');
  });

  it('are free again after objects were invalidated', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    volume.setShare(200_000);
    for (let index = 0; index < 40; index += 1)
      await volume.put([{ objectId: idOf(10), index, bytes: unitOf(index) }]);
    for (let round = 0; round < 20; round += 1) {
      volume.invalidate(idOf(10));
      for (let index = 0; index < 40; index += 1)
        await volume.put([{ objectId: idOf(10), index, bytes: unitOf(index) }]);
    }
    let storedCount = 0;
    for (let tries = 0; tries < 100 && storedCount === 0; tries += 1) {
      await turn();
      storedCount = await volume.put([{ objectId: idOf(10), index: 50, bytes: unitOf(50) }]);
    }
    expect(await getUnit(cache, VOLUME, idOf(10), 50, unitOf(50))).toBe('hit');
  });
});

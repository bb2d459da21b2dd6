import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { ownCpuMs } from '../support/own-cpu.ts';
import { IS_LONG } from '../support/soak.ts';
import { FaultyFiles } from './faulty-files.ts';
import { getUnit, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';
import { WatchedFiles } from './watched-files.ts';

const VOLUME = idOf(1);
const PINNED = idOf(100);
const OTHER = idOf(101);
const SETTINGS = { budgetBytes: 512 * KIB, zoneBytes: 16 * KIB };

describe('giving up zones', () => {
  it('gets to an end when all that is there is pinned, however small the units are', async () => {
    const cache = await openTestCache(newFolder(), { ...SETTINGS, unitsMax: 20_000 });
    cache.volume(VOLUME).pin();
    let storedCount = 0;
    for (let index = 0; index < 8000; index += 100) {
      const units = Array.from({ length: 100 }, (_, at) => ({
        objectId: idOf(index + at),
        index: 0,
        bytes: unitOf(index + at, 72),
      }));
      storedCount += await cache.volume(VOLUME).put(units);
    }
    const { statistics } = cache;
    expect(statistics.dropped.space).toBe(8000 - storedCount);
    expect(statistics.dropped.space).toBeGreaterThan(1000);
    expect(statistics.units).toBe(storedCount);
    expect(statistics.bytes).toBeLessThanOrEqual(SETTINGS.budgetBytes);
    // No unit was copied.
    expect(statistics.reinserted).toBeLessThan(storedCount / 10);
  });

  it('does not rewrite pinned zones for the little that was unpinned, while there is anything else', async () => {
    const cache = await openTestCache(newFolder(), SETTINGS);
    const volume = cache.volume(VOLUME);
    const objects = Array.from({ length: 30 }, (_, at) => idOf(200 + at));
    for (const objectId of objects) volume.pin(objectId);
    // Each zone has one unit of each of some objects.
    for (let index = 0; index < 2; index += 1) {
      await volume.put(objects.map(objectId => ({ objectId, index, bytes: unitOf(index) })));
    }
    const fill = async (from: number): Promise<void> => {
      for (let index = from; index < from + 300; index += 1)
        await volume.put([{ objectId: OTHER, index, bytes: unitOf(index) }]);
    };
    await fill(0);
    const before = cache.statistics.reinsertedBytes;
    volume.unpin(objects[0]!);
    await fill(1000);
    expect(cache.statistics.reinsertedBytes - before).toBeLessThan(3 * SETTINGS.zoneBytes);
    for (const objectId of objects.slice(1)) {
      expect(await getUnit(cache, VOLUME, objectId, 1, unitOf(1))).toBe('hit');
    }
    // Half of every zone is garbage now: the zones are given up.
    for (const objectId of objects.slice(0, 20)) volume.unpin(objectId);
    await fill(2000);
    expect(await getUnit(cache, VOLUME, objects[3]!, 0, unitOf(0))).toBe('miss');
    expect(await getUnit(cache, VOLUME, objects[25]!, 0, unitOf(0))).toBe('hit');
  });

  it('does not lose what is pinned when it cannot be read for a while', async () => {
    const folder = newFolder();
    const files = new WatchedFiles(new FaultyFiles(folder, seededChance(1)));
    const cache = await openTestCache(folder, SETTINGS, { files });
    const volume = cache.volume(VOLUME);
    const pinned = Array.from({ length: 12 }, (_, index) => ({
      objectId: PINNED,
      index,
      bytes: unitOf(index),
    }));
    await volume.put(pinned);
    volume.pin(PINNED);
    files.fault = (path, call) =>
      path.startsWith('zones/') && call === 'read'
        ? Object.assign(new Error('made up'), { code: 'EIO', syscall: 'test' })
        : undefined;
    for (let index = 0; index < 400; index += 1)
      await volume.put([{ objectId: OTHER, index, bytes: unitOf(index) }]);
    files.fault = () => undefined;
    for (let index = 1000; index < 1400; index += 1)
      await volume.put([{ objectId: OTHER, index, bytes: unitOf(index) }]);
    for (const { index, bytes } of pinned) {
      expect(await getUnit(cache, VOLUME, PINNED, index, bytes)).toBe('hit');
    }
    expect(cache.statistics.bytes).toBeLessThanOrEqual(SETTINGS.budgetBytes);
  });

  it('lets others have their turn, also with very many objects in a zone', async () => {
    const settings = { budgetBytes: 8 * MIB, zoneBytes: MIB, unitsMax: 100_000 };
    const cache = await openTestCache(newFolder(), settings);
    const volume = cache.volume(VOLUME);
    let turns = 0;
    let mostMs = 0;
    let isOver = false;
    const watching = (async () => {
      while (!isOver) {
        const startMs = ownCpuMs();
        await turn();
        turns += 1;
        if (cache.statistics.reclaimedZones > 0) mostMs = Math.max(mostMs, ownCpuMs() - startMs);
      }
    })();
    const small = Array.from({ length: 200 }, (_, at) => unitOf(at, 72));
    for (let first = 0; first < 100_000 && cache.statistics.reclaimedZones < 2; first += 200) {
      await volume.put(small.map((bytes, at) => ({ objectId: idOf(first + at), index: 0, bytes })));
    }
    const before = { turns, zones: cache.statistics.reclaimedZones };
    expect(before.zones).toBeGreaterThan(0);
    for (let index = 0; cache.statistics.reclaimedZones < before.zones + 3; index += 1)
      await volume.put([{ objectId: OTHER, index, bytes: unitOf(index, 500_000) }]);
    isOver = true;
    await watching;
    // Some 4,500 units in each.
    expect(turns - before.turns).toBeGreaterThan(10);
    expect(mostMs).toBeLessThan(500);
  });

  it.runIf(IS_LONG)(
    'copies at most two bytes for each that comes, when everything is asked for all the time',
    async () => {
      const cache = await openTestCache(newFolder(), SETTINGS);
      const volume = cache.volume(VOLUME);
      for (let index = 0; index < 1500; index += 1) {
        await volume.put([{ objectId: OTHER, index, bytes: unitOf(index) }]);
        for (let back = 0; back < 100; back += 7) {
          const unit = unitOf(index - back);
          if (index >= back) await getUnit(cache, VOLUME, OTHER, index - back, unit);
        }
      }
      const { reinsertedBytes, storedBytes, bytes } = cache.statistics;
      expect(reinsertedBytes).toBeLessThan(2 * storedBytes);
      expect(bytes).toBeLessThanOrEqual(SETTINGS.budgetBytes);
    },
  );
});

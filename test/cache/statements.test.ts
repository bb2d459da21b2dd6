/** Statements 45 to 50, by number. */
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { FaultyFiles } from './faulty-files.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, tagOf, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const DISK = { runPercent: 30, cullPercent: 20, stopPercent: 10 };

function put(
  cache: Awaited<ReturnType<typeof openTestCache>>,
  index: number,
  objectId = FILE,
): Promise<number> {
  return cache.volume(VOLUME).put([{ objectId, index, bytes: unitOf(index) }]);
}

/** A cache on a disk of its own, with a clock of its own. */
async function openOnDisk() {
  const folder = newFolder();
  const files = new FaultyFiles(folder, seededChance(1));
  const clock = { nowMs: 1e12 };
  const cache = await openTestCache(
    folder,
    { budgetBytes: MIB, zoneBytes: 16 * KIB, disk: DISK },
    { files, nowMs: () => clock.nowMs },
  );
  /** Free blocks and files of a thousand; each look at the disk then finds what the cache has given up since. */
  const setFree = (blocks: number, fileCount: number): void => {
    const zones = cache.statistics.zones.small + cache.statistics.zones.main;
    Object.defineProperty(files, 'disk', {
      configurable: true,
      get: () => {
        const { small, main } = cache.statistics.zones;
        const gone = Math.max(0, zones - small - main);
        const disk = { blockCount: 1000, fileCount: 1000 };
        return { ...disk, blocksAvailable: blocks + 10 * gone, filesAvailable: fileCount + 10 * gone };
      },
    });
    clock.nowMs += 2000;
  };
  return { cache, files, setFree };
}

describe('45: culling', () => {
  it.each([
    ['blocks', 190, 900],
    ['files', 900, 190],
  ])('starts when %s are below cull, and goes on until both are at run', async (_, blocks, fileCount) => {
    const { cache, setFree } = await openOnDisk();
    for (let index = 0; index < 200; index += 1) await put(cache, index);
    const before = cache.statistics.zones.small;
    setFree(blocks, fileCount);
    // Each zone given up frees 10: 11 of them are wanted, in steps of at most 8.
    await cache.maintain();
    expect(before - cache.statistics.zones.small).toBe(8);
    for (let round = 0; round < 3; round += 1) await cache.maintain();
    expect(before - cache.statistics.zones.small).toBe(11);
    expect(cache.statistics.reclaimedZones).toBe(11);
  });

  it('does not start between cull and run', async () => {
    const { cache, setFree } = await openOnDisk();
    for (let index = 0; index < 200; index += 1) await put(cache, index);
    setFree(210, 250);
    await cache.maintain();
    expect(cache.statistics.reclaimedZones).toBe(0);
  });
});

describe('46: below stop', () => {
  it('what replaces something that is there is kept, new room is not taken', async () => {
    const { cache, setFree } = await openOnDisk();
    for (let index = 0; index < 100; index += 1) await put(cache, index);
    setFree(50, 900);
    expect(await put(cache, 500)).toBe(1);
    expect(cache.statistics.reclaimedZones).toBeGreaterThan(0);
    await cache.close();
    const empty = newFolder();
    const other = new FaultyFiles(empty, seededChance(1));
    other.disk = { blockCount: 1000, blocksAvailable: 50, fileCount: 1000, filesAvailable: 900 };
    const nothing = await openTestCache(
      empty,
      { budgetBytes: MIB, zoneBytes: 16 * KIB, disk: DISK },
      { files: other },
    );
    expect(await put(nothing, 1)).toBe(0);
    expect(nothing.statistics).toMatchObject({ dropped: { space: 1 }, state: 'ready' });
  });
});

describe('47: culling never removes', () => {
  it('what is pinned or dirty', async () => {
    const { cache, setFree } = await openOnDisk();
    cache.volume(VOLUME).pin(FILE);
    for (let index = 0; index < 20; index += 1) await put(cache, index);
    const units = [{ volumeId: VOLUME, objectId: idOf(7), index: 0, bytes: unitOf(700) }];
    await cache.appendDirty({ units });
    for (let index = 100; index < 150; index += 1) await put(cache, index, idOf(8));
    for (let round = 0; round < 20; round += 1) {
      setFree(0, 0);
      await cache.maintain();
    }
    for (let index = 0; index < 20; index += 1) {
      expect(await getUnit(cache, VOLUME, FILE, index, unitOf(index))).toBe('hit');
    }
    expect(await getUnit(cache, VOLUME, idOf(7), 0, unitOf(700))).toBe('hit');
    expect(await collect(cache.listDirty())).toHaveLength(1);
    expect(await getUnit(cache, VOLUME, idOf(8), 100, unitOf(100))).toBe('miss');
  });

  it('what is being read', async () => {
    const cache = await openTestCache(newFolder(), {
      budgetBytes: MIB,
      zoneBytes: 32 * KIB,
      readsOnThisThread: false,
    });
    for (let index = 0; index < 100; index += 1) await put(cache, index);
    let hits = 0;
    for (let round = 0; round < 20; round += 1) {
      const index = 100 * round + 99;
      const expectedTag = tagOf(unitOf(index));
      const into = new Uint8Array(4168);
      const reading = cache.volume(VOLUME).get([{ objectId: FILE, index, expectedTag, into }]);
      const writing = Array.from({ length: 100 }, (_, at) => put(cache, 100 * (round + 1) + at));
      const [lengthBytes] = await reading;
      await Promise.all(writing);
      // A hit or a miss, but never another unit's bytes.
      if (lengthBytes === 0) continue;
      expect(Buffer.compare(into, unitOf(index))).toBe(0);
      hits += 1;
    }
    expect(hits).toBeGreaterThan(0);
  });
});

describe('48: a power cut between data and index', () => {
  it('leaves the unit absent', async () => {
    const folder = newFolder();
    const files = new FaultyFiles(folder, () => 0.99);
    const settings = { budgetBytes: MIB, zoneBytes: 16 * KIB };
    const cache = await openTestCache(folder, settings, { files });
    await put(cache, 0);
    const after = files.powerCut();
    await cache.close();
    const again = await openTestCache(folder, settings, { files: after });
    expect(await getUnit(again, VOLUME, FILE, 0, unitOf(0))).toBe('miss');
    expect(again.statistics.units).toBe(0);
  });
});

describe('49: an object is discarded', () => {
  it.each([
    ['when its stored state says that it was changing', Uint8Array.of(1, 2), true],
    ['when its coherency data has another length', Uint8Array.of(1, 2, 0), false],
    ['when its coherency data differs', Uint8Array.of(1, 3), false],
  ])('%s', async (_, stored, isChanging) => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    await put(cache, 0);
    cache.volume(VOLUME).setCoherency(FILE, stored, isChanging);
    await cache.close();
    const again = await openTestCache(folder);
    expect(await getUnit(again, VOLUME, FILE, 0, unitOf(0))).toBe('hit');
    expect(again.volume(VOLUME).revalidate(FILE, Uint8Array.of(1, 2))).toBe('dropped');
    expect(await getUnit(again, VOLUME, FILE, 0, unitOf(0))).toBe('miss');
    expect(again.volume(VOLUME).revalidate(FILE, Uint8Array.of(1, 2))).toBe('kept');
  });
});

describe('50: what was being written at a crash', () => {
  it('is not served', async () => {
    const folder = newFolder();
    // Everything unsynced survives, but torn: nothing ends the zone.
    const files = new FaultyFiles(folder, () => 0.5);
    const settings = { budgetBytes: MIB, zoneBytes: 16 * KIB };
    const cache = await openTestCache(folder, settings, { files });
    for (let index = 0; index < 10; index += 1) await put(cache, index);
    const after = files.powerCut();
    await cache.close();
    const again = await openTestCache(folder, settings, { files: after });
    for (let index = 0; index < 10; index += 1) {
      expect(await getUnit(again, VOLUME, FILE, index, unitOf(index))).not.toBe('wrong');
    }
    expect(await getUnit(again, VOLUME, FILE, 9, unitOf(9))).toBe('miss');
  });
});

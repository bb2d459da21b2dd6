import { readdirSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import { systemFiles } from '../../src/cache/base/files.ts';
import type { CacheSettings } from '../../src/cache/base/settings.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { IS_LONG, soakSize } from '../support/soak.ts';
import { FaultyFiles } from './faulty-files.ts';
import { getUnit, idOf, KIB, MIB, newFolder, openTestCache, tagOf, unitOf } from './support.ts';
import { WatchedFiles } from './watched-files.ts';

const VOLUME = idOf(1);
const OBJECTS = [idOf(10), idOf(11), idOf(12)];

/** More zones than may be open at once. */
const MANY_ZONES: CacheSettings = { budgetBytes: 4 * MIB, zoneBytes: 8 * KIB, snapshotZones: 40 };
/** Few zones, all the time given up. */
const FEW_ZONES: CacheSettings = { budgetBytes: 256 * KIB, zoneBytes: 8 * KIB, snapshotZones: 5 };

function watch(folder: string, seed: number): WatchedFiles {
  const chance = seededChance(seed + 99);
  const files = new WatchedFiles(new FaultyFiles(folder, chance));
  files.delay = () => (chance() < 0.7 ? 0 : Math.floor(chance() * 12));
  return files;
}

function cacheFiles(files: WatchedFiles): Promise<string[]> {
  return files.list('zones');
}

function stateOf({ openCount, violations, writeCount }: WatchedFiles, seed: number): object {
  return { seed, openCount, violations, writeCount };
}

async function expectClosed(calls: Promise<readonly PromiseSettledResult<void>[]>): Promise<void> {
  for (const result of await calls) {
    if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'ECLOSED' });
  }
}

/** Something that applications do. Resolves when it is done. */
async function act(cache: Cache, chance: Chance, places: number): Promise<void> {
  const below = (count: number): number => Math.floor(chance() * count);
  const volume = cache.volume(VOLUME);
  const unitAt = (): { objectId: Uint8Array; index: number; bytes: Uint8Array } => {
    const index = below(places);
    return { objectId: OBJECTS[below(3)]!, index, bytes: unitOf(index % 50, 2000 + 100 * (index % 40)) };
  };
  const some = Array.from({ length: 1 + below(6) }, unitAt);
  const what = chance();
  if (what < 0.45) await volume.put(some);
  else if (what < 0.5) volume.offer(some);
  else if (what < 0.9) {
    const requests = some.map(({ objectId, index, bytes }) => ({
      objectId,
      index,
      expectedTag: tagOf(bytes),
      into: new Uint8Array(bytes.byteLength),
    }));
    for (const [at, lengthBytes] of (await volume.get(requests)).entries()) {
      if (lengthBytes > 0) expect(Buffer.compare(requests[at]!.into, some[at]!.bytes)).toBe(0);
    }
  } else if (what < 0.95) {
    const id = await cache.appendDirty({ units: some.map(unit => ({ ...unit, volumeId: VOLUME })) });
    await turn();
    await cache.releaseDirty([id]);
  } else if (what < 0.96) volume.invalidate(OBJECTS[below(3)]!, { from: 0, to: below(places) });
  else if (what < 0.97) volume.pin(OBJECTS[2]!);
  else if (what < 0.98) volume.unpin(OBJECTS[2]!);
  else await cache.maintain();
}

describe('descriptors', () => {
  it.each([
    ['many zones', MANY_ZONES, 3000, soakSize(1000, 10_000)],
    ['few zones', FEW_ZONES, 300, soakSize(1000, 10_000)],
  ])('of %s are not closed while they are used, nor used after that', async (_, settings, places, count) => {
    for (const readsOnThisThread of [true, false]) {
      const folder = newFolder();
      const files = watch(folder, 1);
      const cache = await openTestCache(folder, { ...settings, readsOnThisThread }, { files });
      const chance = seededChance(readsOnThisThread ? 1 : 2);
      const under = new Set<Promise<void>>();
      for (let step = 0; step < count; step += 1) {
        const done: Promise<void> = act(cache, chance, places).finally(() => under.delete(done));
        under.add(done);
        if (under.size >= 12) await Promise.race(under);
      }
      await Promise.all(under);
      await cache.close();
      expect(files.violations).toEqual([]);
      expect(files.openCount).toBe(0);
    }
  });

  it('of zones that end are not closed to make room for others while the footer is written', async () => {
    const folder = newFolder();
    const files = new WatchedFiles(new FaultyFiles(folder, seededChance(1)));
    const cache = await openTestCache(folder, MANY_ZONES, { files });
    const volume = cache.volume(VOLUME);
    volume.pin(OBJECTS[1]);
    // The oldest of all that are open, and nearly full.
    await volume.put([{ objectId: OBJECTS[1]!, index: 0, bytes: unitOf(1, 5000) }]);
    const [pinned] = await cacheFiles(files);
    const fill = async (from: number, to: number): Promise<void> => {
      for (let index = from; index < to; index += 1)
        await volume.put([{ objectId: OBJECTS[0]!, index, bytes: unitOf(index, 6000) }]);
    };
    await fill(0, 300);
    files.delay = (path, call) => (path === `zones/${pinned}` && call === 'write' ? 30 : 0);
    const ending = volume.put([{ objectId: OBJECTS[1]!, index: 1, bytes: unitOf(2, 5000) }]);
    await fill(300, 310);
    await ending;
    await cache.close();
    expect(files.violations).toEqual([]);
    const again = await openTestCache(folder, MANY_ZONES, { files });
    expect(await getUnit(again, VOLUME, OBJECTS[1]!, 0, unitOf(1, 5000))).toBe('hit');
  });

  it.runIf(IS_LONG)(
    'are all closed, and nothing is written any more, when closing has resolved, whatever was under way',
    async () => {
      for (let seed = 1; seed <= 60; seed += 1) {
        const folder = newFolder();
        const files = watch(folder, seed);
        const cache = await openTestCache(folder, FEW_ZONES, { files });
        const chance = seededChance(seed);
        for (let step = 0; step < 60; step += 1) await act(cache, chance, 300);
        const under = Promise.allSettled(Array.from({ length: 8 }, () => act(cache, chance, 300)));
        for (let turns = seed % 7; turns > 0; turns -= 1) await turn();
        await (seed % 5 === 0 ? cache.wipe({ dirtyToo: true }) : cache.close());
        const quiet = { seed, openCount: 0, violations: [], writeCount: files.writeCount };
        expect(stateOf(files, seed)).toEqual(quiet);
        await expectClosed(under);
        for (let turns = 0; turns < 30; turns += 1) await turn();
        expect(stateOf(files, seed)).toEqual(quiet);
      }
    },
  );

  it('are no more than before when a cache was opened, used and closed', async () => {
    const folder = newFolder();
    const countOpen = (): number => readdirSync('/proc/self/fd').length;
    const run = async (): Promise<void> => {
      const cache = await openTestCache(folder, MANY_ZONES, { files: systemFiles(folder) });
      const chance = seededChance(3);
      for (let step = 0; step < 200; step += 1) await act(cache, chance, 3000);
      await cache.close();
    };
    await run();
    const before = countOpen();
    for (let round = 0; round < 3; round += 1) await run();
    expect(countOpen()).toBeLessThanOrEqual(before);
  });
});

/** Remembered settings, and counters over a cache's whole life. */
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type CacheSettings, decodeKept, encodeKept, keepSettings } from '../../src/cache/base/settings.ts';
import { Lifetime, newCounters } from '../../src/cache/base/statistics.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { openCache } from '../../src/cache/open.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, RAW_KEY, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const DISK = { runPercent: 3, cullPercent: 2, stopPercent: 1 };

function open(folder: string, settings: CacheSettings, key = RAW_KEY): Promise<Cache> {
  return openCache(folder, { maintenanceMs: 0, ...settings }, { key });
}

/** Opens a cache and closes it. */
async function during<Result>(
  folder: string,
  settings: CacheSettings,
  work: (cache: Cache) => Promise<Result> | Result,
): Promise<Result> {
  const cache = await open(folder, settings);
  try {
    return await work(cache);
  } finally {
    await cache.close();
  }
}

async function fill(cache: Cache, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await cache.volume(VOLUME).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
  }
}

async function hitsOf(cache: Cache, count: number): Promise<number> {
  let hits = 0;
  for (let index = 0; index < count; index += 1) {
    const found = await getUnit(cache, VOLUME, FILE, index, unitOf(index));
    expect(found).not.toBe('wrong');
    if (found === 'hit') hits += 1;
  }
  return hits;
}

describe('settings that are remembered', () => {
  it('hold at the next opening, each until it is given again', async () => {
    const folder = newFolder();
    const first = { budgetBytes: 3 * MIB, unitsMax: 5000, zoneBytes: 64 * KIB, disk: DISK };
    await during(folder, first, () => undefined);
    await during(folder, {}, cache => {
      expect(cache.statistics).toMatchObject({ budgetBytes: 3 * MIB, unitsMax: 5000 });
    });
    await during(folder, { budgetBytes: 5 * MIB }, () => undefined);
    await during(folder, {}, cache => {
      expect(cache.statistics).toMatchObject({ budgetBytes: 5 * MIB, unitsMax: 5000 });
      expect(cache.settings).toMatchObject({ zoneBytes: 64 * KIB, disk: DISK, smallPercent: 10 });
    });
  });

  it('are not those of the process', async () => {
    const folder = newFolder();
    const ofProcess = { queueBytes: 0, snapshotZones: 7, readsOnThisThread: false };
    await during(folder, { budgetBytes: MIB, ...ofProcess }, cache => {
      expect(cache.settings).toMatchObject(ofProcess);
    });
    await during(folder, {}, cache => {
      expect(cache.settings).toMatchObject({
        queueBytes: 32 * MIB,
        snapshotZones: 64,
        readsOnThisThread: true,
      });
    });
  });

  it('leave what was never given to follow from the budget', async () => {
    const folder = newFolder();
    await during(folder, { budgetBytes: 64 * MIB }, cache => {
      expect(cache.settings).toMatchObject({ unitsMax: 2048, zoneBytes: 2 * MIB });
    });
    await during(folder, { budgetBytes: 256 * MIB }, () => undefined);
    await during(folder, {}, cache => {
      expect(cache.settings).toMatchObject({ unitsMax: 8192, zoneBytes: 4 * MIB });
    });
  });

  it('are limits of the disk one by one', async () => {
    const folder = newFolder();
    await during(folder, { disk: { runPercent: 30, cullPercent: 20 } }, () => undefined);
    await during(folder, { disk: { stopPercent: 15 } }, () => undefined);
    await during(folder, {}, cache => {
      expect(cache.settings.disk).toEqual({ runPercent: 30, cullPercent: 20, stopPercent: 15 });
    });
    await expect(open(folder, { disk: { runPercent: 10 } })).rejects.toMatchObject({ code: 'EINVAL' });
    await during(folder, { disk: false }, () => undefined);
    await during(folder, {}, cache => expect(cache.settings.disk).toBe(false));
  });

  it('a zone length gives way to a budget that is too small for it', async () => {
    const folder = newFolder();
    await during(folder, { budgetBytes: 64 * MIB, zoneBytes: 8 * MIB }, () => undefined);
    await during(folder, { budgetBytes: 16 * MIB }, cache => {
      expect(cache.settings).toMatchObject({ zoneBytes: 512 * KIB });
    });
    const tooLong = { budgetBytes: 16 * MIB, zoneBytes: 8 * MIB };
    await expect(open(folder, tooLong)).rejects.toMatchObject({ code: 'EINVAL' });
    await during(folder, {}, cache => expect(cache.settings.budgetBytes).toBe(16 * MIB));
  });

  it('are read from any bytes', () => {
    const kept = { budgetBytes: MIB, disk: false } as const;
    expect(decodeKept(encodeKept(kept))).toEqual(kept);
    for (const text of [
      '',
      '{',
      '{"budgetBytes":1}',
      '{"budgetBytes":"x"}',
      '{"disk":{}}',
      'null',
      '7',
      '{"disk":null}',
    ]) {
      const decoded = decodeKept(Buffer.from(text));
      expect(keepSettings(decoded, { budgetBytes: MIB }).budgetBytes, text).toBe(MIB);
    }
  });
});

describe('closing', () => {
  it('writes the index only when it is another than the one that is there', async () => {
    const folder = newFolder();
    const written = async (work: (cache: Cache) => Promise<unknown> | unknown): Promise<boolean> => {
      const before = existsSync(`${folder}/index`) ? readFileSync(`${folder}/index`) : Buffer.alloc(0);
      await during(folder, { budgetBytes: 4 * MIB, disk: false }, work);
      return !before.equals(readFileSync(`${folder}/index`));
    };
    expect(await written(cache => fill(cache, 30))).toBe(true);
    expect(await written(() => undefined)).toBe(false);
    expect(await written(cache => cache.contentsByVolume())).toBe(false);
    // A hit makes a snapshot necessary, a miss does not.
    expect(await written(cache => getUnit(cache, VOLUME, FILE, 500, unitOf(500)))).toBe(false);
    expect(await written(cache => getUnit(cache, VOLUME, FILE, 5, unitOf(5)))).toBe(true);
    expect(await written(cache => cache.volume(VOLUME).invalidate(FILE, { from: 3, to: 4 }))).toBe(true);
    expect(await written(cache => cache.flush())).toBe(true);
    expect(await written(cache => cache.share())).toBe(true);
    expect(await written(() => undefined)).toBe(false);
    expect(await written(cache => cache.discard())).toBe(true);
    await during(folder, {}, async cache => expect(await hitsOf(cache, 30)).toBe(0));
  });
});

describe('another budget', () => {
  it('that is smaller is reached in steps, and everything served is right', async () => {
    const folder = newFolder();
    await during(folder, { budgetBytes: 8 * MIB, zoneBytes: 64 * KIB, disk: false }, cache =>
      fill(cache, 1500),
    );
    await during(folder, { budgetBytes: MIB }, async cache => {
      const before = cache.statistics.bytes;
      expect(before).toBeGreaterThan(6 * MIB);
      await cache.maintain();
      const after = cache.statistics.bytes;
      expect(after).toBeLessThan(before);
      expect(after).toBeGreaterThan(2 * MIB);
      for (let round = 0; round < 100 && cache.statistics.bytes > MIB; round += 1) await cache.maintain();
      expect(cache.statistics.bytes).toBeLessThanOrEqual(MIB);
      const hits = await hitsOf(cache, 1500);
      expect(hits).toBe(cache.statistics.units);
      expect(hits).toBeGreaterThan(100);
    });
  });

  it('that is larger has room at once', async () => {
    const folder = newFolder();
    await during(folder, { budgetBytes: MIB, disk: false }, cache => fill(cache, 1000));
    await during(folder, { budgetBytes: 16 * MIB }, async cache => {
      await fill(cache, 1000);
      expect(await hitsOf(cache, 1000)).toBe(1000);
    });
  });
});

describe('another size of the index', () => {
  it('makes it anew from the footers: larger, smaller, too small', async () => {
    const folder = newFolder();
    const settings = { budgetBytes: 8 * MIB, zoneBytes: 64 * KIB, disk: false } as const;
    await during(folder, { ...settings, unitsMax: 2000 }, cache => fill(cache, 1000));
    await during(folder, { unitsMax: 50_000 }, async cache => {
      expect(cache.statistics).toMatchObject({ units: 1000, unitsMax: 50_000 });
      expect(await hitsOf(cache, 1000)).toBe(1000);
    });
    await during(folder, { unitsMax: 1500 }, async cache => expect(await hitsOf(cache, 1000)).toBe(1000));
    await during(folder, { unitsMax: 100 }, async cache => {
      const hits = await hitsOf(cache, 1000);
      expect(hits).toBeGreaterThan(50);
      expect(hits).toBe(cache.statistics.units);
    });
    // The zones are all there still.
    await during(folder, { unitsMax: 2000 }, async cache => expect(await hitsOf(cache, 1000)).toBe(1000));
  });

  it('loses no dirty unit', async () => {
    const folder = newFolder();
    await during(folder, { budgetBytes: MIB, unitsMax: 2000 }, async cache => {
      for (let index = 0; index < 300; index += 1) {
        await cache.appendDirty({
          units: [{ volumeId: VOLUME, objectId: FILE, index, bytes: unitOf(index) }],
        });
      }
    });
    await during(folder, { unitsMax: 50 }, async cache => {
      expect(await collect(cache.listDirty())).toHaveLength(300);
      expect(await hitsOf(cache, 300)).toBe(300);
    });
  });
});

describe('counters of the whole life', () => {
  it('add up over openings', async () => {
    const folder = newFolder();
    await during(folder, { budgetBytes: 4 * MIB, disk: false }, async cache => {
      await fill(cache, 10);
      expect(await hitsOf(cache, 20)).toBe(10);
    });
    await during(folder, {}, async cache => {
      expect(cache.statistics).toMatchObject({ hits: 0, misses: 0, stored: 0 });
      expect(cache.statistics.lifetime).toMatchObject({ hits: 10, misses: 10, stored: 10 });
      await hitsOf(cache, 20);
      expect(cache.statistics).toMatchObject({ hits: 10, misses: 10 });
      expect(cache.statistics.lifetime).toMatchObject({ hits: 20, misses: 20 });
    });
    await during(folder, {}, cache => {
      const { lifetime } = cache.statistics;
      expect(lifetime).toMatchObject({ hits: 20, misses: 20, stored: 10 });
      expect(Date.now() - lifetime.sinceMs).toBeLessThan(60_000);
    });
  });

  it('are saved now and then, for whoever is killed', async () => {
    const folder = newFolder();
    const clock = { nowMs: 1e12 };
    const cache = await openCache(
      folder,
      { budgetBytes: 4 * MIB, disk: false, maintenanceMs: 0 },
      { key: RAW_KEY, nowMs: () => clock.nowMs },
    );
    await hitsOf(cache, 5);
    await cache.maintain();
    clock.nowMs += 61_000;
    await cache.maintain();
    await hitsOf(cache, 3);
    // A copy of the folder, as a kill would leave it now.
    const copy = newFolder();
    cpSync(folder, copy, { recursive: true });
    await cache.close();
    await during(copy, {}, left => expect(left.statistics.lifetime.misses).toBe(5));
    await during(folder, {}, closed => expect(closed.statistics.lifetime.misses).toBe(8));
  });

  it('begin anew from bytes that are no counters', () => {
    for (const text of ['', '{', '{"hits":"x","dropped":7}', '[]']) {
      const lifetime = new Lifetime(Buffer.from(text), { ...newCounters(), hits: 3 }, 5);
      expect(lifetime.total(), text).toMatchObject({ hits: 3, misses: 0, dropped: { queue: 0 } });
    }
    const old = new Lifetime(Buffer.from('{"hits":4,"sinceMs":9}'), { ...newCounters(), hits: 3 }, 5);
    expect(old.total()).toMatchObject({ hits: 7, sinceMs: 9 });
  });
});

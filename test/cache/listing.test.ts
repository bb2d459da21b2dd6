/** Listing what a cache holds, and discarding it. */
import { cpSync, readdirSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { seededChance } from '../../src/base/chance.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { Smallest } from '../../src/cache/inspect/smallest.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, tagOf, unitOf } from './support.ts';

const [FIRST, SECOND] = [idOf(1), idOf(2)];
const FILE = idOf(100);
const OTHER = idOf(101);

function put(cache: Cache, volumeId: Uint8Array, objectId: Uint8Array, count: number, from = 0) {
  const units = Array.from({ length: count }, (_, at) => {
    return { objectId, index: from + at, bytes: unitOf(from + at) };
  });
  return cache.volume(volumeId).put(units);
}

function dirty(cache: Cache, volumeId: Uint8Array, objectId: Uint8Array, index: number): Promise<number> {
  return cache.appendDirty({ units: [{ volumeId, objectId, index, bytes: unitOf(index) }] });
}

async function hitsOf(
  cache: Cache,
  volumeId: Uint8Array,
  objectId: Uint8Array,
  count: number,
): Promise<number> {
  let hits = 0;
  for (let index = 0; index < count; index += 1) {
    if ((await getUnit(cache, volumeId, objectId, index, unitOf(index))) === 'hit') hits += 1;
  }
  return hits;
}

/** The bytes of all zone files on the disk. */
function diskBytes(folder: string): number {
  const sizes = ['zones', 'dirty'].flatMap(name =>
    readdirSync(`${folder}/${name}`).map(file => statSync(`${folder}/${name}/${file}`).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

describe('the smallest of many', () => {
  it('come part by part, all of them, in order, each with all that belongs to it', () => {
    const chance = seededChance(5);
    const keys = Array.from({ length: 5000 }, () => Math.floor(chance() * 700));
    const counts = new Map<number, number>();
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
    const expected = [...counts].sort(([left], [right]) => left - right);
    for (const limit of [7, 350, 699, 700, 5000])
      expect(inParts(keys, limit), String(limit)).toEqual(expected);
  });
});

/** Collects all keys, `limit` at a time, with how often each occurs. */
function inParts(keys: readonly number[], limit: number): [number, number][] {
  const all: [number, number][] = [];
  for (;;) {
    const smallest = new Smallest<number, { count: number }>(limit, all.at(-1)?.[0]);
    for (const key of keys) {
      if (!smallest.isOutside(key)) smallest.value(key, () => ({ count: 0 })).count += 1;
    }
    const { entries, isLast } = smallest.take();
    expect(entries.length).toBeLessThanOrEqual(limit);
    for (const [key, { count }] of entries) all.push([key, count]);
    if (isLast) return all;
  }
}

describe('listing', () => {
  it('adds up by volume and object, clean and dirty', async () => {
    const cache = await openTestCache(newFolder());
    await put(cache, FIRST, FILE, 5);
    await put(cache, FIRST, OTHER, 3);
    await put(cache, SECOND, FILE, 2);
    await dirty(cache, FIRST, OTHER, 1);
    const released = await dirty(cache, FIRST, OTHER, 7);
    await cache.releaseDirty([released]);
    cache.volume(FIRST).pin(FILE);

    const bytes = unitOf(1).byteLength;
    expect(await cache.contentsByVolume()).toEqual([
      { volumeId: FIRST, units: 9, bytes: 9 * bytes, dirty: { units: 1, bytes } },
      { volumeId: SECOND, units: 2, bytes: 2 * bytes, dirty: { units: 0, bytes: 0 } },
    ]);
    expect(await collect(cache.objects(FIRST))).toEqual([
      { objectId: FILE, units: 5, bytes: 5 * bytes, dirty: { units: 0, bytes: 0 }, isPinned: true },
      { objectId: OTHER, units: 4, bytes: 4 * bytes, dirty: { units: 1, bytes }, isPinned: false },
    ]);
    const units = await collect(cache.units(FIRST, OTHER));
    expect(units.map(({ index, isDirty, queue }) => [index, isDirty, queue])).toEqual([
      [0, false, 'small'],
      [1, true, 'dirty'],
      [2, false, 'small'],
      [7, false, 'dirty'],
    ]);
    expect(units[1]?.tag).toEqual(tagOf(unitOf(1)));
    expect((await collect(cache.contents())).length).toBe(10);

    cache.volume(FIRST).invalidate(OTHER);
    expect(await collect(cache.objects(FIRST))).toHaveLength(2);
    expect((await collect(cache.units(FIRST, OTHER))).map(({ index }) => index)).toEqual([1]);
    cache.volume(SECOND).invalidateAll();
    expect(await cache.contentsByVolume()).toHaveLength(1);
    expect(await collect(cache.objects(idOf(9)))).toEqual([]);
  });

  it('is sorted and whole however little fits into memory, and over a reopen', async () => {
    const folder = newFolder();
    const first = await openTestCache(folder);
    for (let number = 0; number < 120; number += 1)
      await put(first, FIRST, idOf(1000 + number), 1 + (number % 3));
    await put(first, FIRST, FILE, 50);
    await first.close();
    const cache = await openTestCache(folder);
    const all = await collect(cache.objects(FIRST));
    const ids = all.map(({ objectId }) => toHex(objectId));
    expect(ids).toEqual([...ids].sort());
    expect(new Set(ids).size).toBe(121);
    expect(all.reduce((sum, { units }) => sum + units, 0)).toBe(290);
    for (const atOnce of [1, 2, 60, 121, 122]) {
      expect(await collect(cache.objects(FIRST, { atOnce })), String(atOnce)).toEqual(all);
      const units = await collect(cache.units(FIRST, FILE, { atOnce }));
      expect(units.map(({ index }) => index)).toEqual(Array.from({ length: 50 }, (_, index) => index));
    }
    const idStart = ids[40]!.slice(0, 5);
    const begins = ids.filter(id => id.startsWith(idStart));
    const found = await collect(cache.objects(FIRST, { idStart }));
    expect(found.map(({ objectId }) => toHex(objectId))).toEqual(begins);
  });
});

describe('a signal', () => {
  it('ends a list', async () => {
    const cache = await openTestCache(newFolder());
    await put(cache, FIRST, FILE, 5);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(cache.contentsByVolume({ signal })).rejects.toThrow('enough');
    await expect(collect(cache.objects(FIRST, { signal }))).rejects.toThrow('enough');
    await expect(collect(cache.units(FIRST, FILE, { signal }))).rejects.toThrow('enough');
  });
});

describe('discard', () => {
  it('of everything leaves dirty and pinned units, and gives the rest of the disk back', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, { budgetBytes: 8 * MIB });
    await put(cache, FIRST, FILE, 500);
    await put(cache, SECOND, FILE, 500);
    await dirty(cache, FIRST, OTHER, 3);
    cache.volume(SECOND).pin(OTHER);
    await put(cache, SECOND, OTHER, 10);
    const before = diskBytes(folder);
    const bytes = unitOf(1).byteLength;
    const result = await cache.discard();
    expect(result).toMatchObject({
      units: 1000,
      bytes: 1000 * bytes,
      pinned: { units: 10, bytes: 10 * bytes },
    });
    expect(result.freedBytes).toBe(before - diskBytes(folder));
    expect(diskBytes(folder)).toBeLessThan(100 * KIB);
    expect((await cache.contentsByVolume()).map(({ units }) => units)).toEqual([1, 10]);
    expect(await hitsOf(cache, FIRST, FILE, 500)).toBe(0);
    expect(await hitsOf(cache, SECOND, OTHER, 10)).toBe(10);
    expect(await getUnit(cache, FIRST, OTHER, 3, unitOf(3))).toBe('hit');

    const rest = await cache.discard({ pinnedToo: true });
    expect(rest).toMatchObject({ units: 10, pinned: { units: 0, bytes: 0 } });
    expect(await hitsOf(cache, SECOND, OTHER, 10)).toBe(0);
    // The pin is still there, for units that come later.
    expect(cache.pins()).toHaveLength(1);
    expect(await getUnit(cache, FIRST, OTHER, 3, unitOf(3))).toBe('hit');
  });

  it('of a volume or an object keeps all others, copied out of zones that are worth it', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, { budgetBytes: 8 * MIB });
    for (let round = 0; round < 50; round += 1) {
      await put(cache, FIRST, FILE, 5, 5 * round);
      await put(cache, FIRST, OTHER, 5, 5 * round);
      await put(cache, SECOND, FILE, 5, 5 * round);
    }
    const before = diskBytes(folder);
    const bytes = unitOf(1).byteLength;
    expect(await cache.discard({ volumeId: FIRST, objectId: OTHER })).toMatchObject({ units: 250 });
    expect(before - diskBytes(folder)).toBeGreaterThan(240 * bytes);
    expect(await hitsOf(cache, FIRST, OTHER, 250)).toBe(0);
    expect(await hitsOf(cache, FIRST, FILE, 250)).toBe(250);
    expect(await hitsOf(cache, SECOND, FILE, 250)).toBe(250);

    expect(await cache.discard({ volumeId: SECOND })).toMatchObject({ units: 250 });
    expect(before - diskBytes(folder)).toBeGreaterThan(480 * bytes);
    expect(await hitsOf(cache, FIRST, FILE, 250)).toBe(250);
    expect(await hitsOf(cache, SECOND, FILE, 250)).toBe(0);
    expect(cache.statistics.units).toBe(250);
  });

  it('holds over a crash right after it', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    await put(cache, FIRST, FILE, 40);
    await put(cache, FIRST, OTHER, 1);
    await cache.flush();
    await cache.discard({ volumeId: FIRST, objectId: FILE });
    const copy = newFolder();
    cpSync(folder, copy, { recursive: true });
    const again = await openTestCache(copy);
    expect(await hitsOf(again, FIRST, FILE, 40)).toBe(0);
    expect(await hitsOf(again, FIRST, OTHER, 1)).toBe(1);
  });

  it('also drops released units that lie among dirty ones', async () => {
    const cache = await openTestCache(newFolder());
    const id = await dirty(cache, FIRST, FILE, 1);
    await dirty(cache, FIRST, FILE, 2);
    await cache.releaseDirty([id]);
    expect(await cache.discard()).toMatchObject({ units: 1 });
    expect(await getUnit(cache, FIRST, FILE, 1, unitOf(1))).toBe('miss');
    expect(await getUnit(cache, FIRST, FILE, 2, unitOf(2))).toBe('hit');
  });

  it('works beside writers: nothing that is served is wrong, nothing dirty is lost', async () => {
    const cache = await openTestCache(newFolder(), { budgetBytes: 2 * MIB });
    let isOver = false;
    const writing = (async () => {
      for (let round = 0; !isOver; round += 1) {
        await put(cache, FIRST, FILE, 20, 20 * (round % 30));
        await dirty(cache, SECOND, FILE, round % 10);
      }
    })();
    for (let round = 0; round < 15; round += 1) {
      await cache.discard(round % 2 === 0 ? {} : { volumeId: FIRST, objectId: FILE });
    }
    isOver = true;
    await writing;
    for (let index = 0; index < 600; index += 1) {
      expect(await getUnit(cache, FIRST, FILE, index, unitOf(index))).not.toBe('wrong');
    }
    expect(await collect(cache.verify())).toEqual([]);
    expect(await hitsOf(cache, SECOND, FILE, 10)).toBeGreaterThan(0);
  });

  it('wants a volume for an object', async () => {
    const cache = await openTestCache(newFolder());
    await expect(cache.discard({ objectId: FILE })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

import { copyFileSync, cpSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Cache } from '../../src/cache/cache.ts';
import { getUnit, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const SETTINGS = { budgetBytes: MIB, zoneBytes: 16 * KIB, snapshotZones: 1000 };

async function put(cache: Cache, from: number, to: number): Promise<void> {
  const units = Array.from({ length: to - from }, (_, at) => ({
    objectId: FILE,
    index: from + at,
    bytes: unitOf(from + at),
  }));
  expect(await cache.volume(VOLUME).put(units)).toBe(to - from);
}

async function countHits(cache: Cache, count: number): Promise<number> {
  let hits = 0;
  for (let index = 0; index < count; index += 1) {
    const outcome = await getUnit(cache, VOLUME, FILE, index, unitOf(index));
    expect(outcome).not.toBe('wrong');
    if (outcome === 'hit') hits += 1;
  }
  return hits;
}

/** Copies the folder, as a death of the process would leave it now. */
function copyOf(folder: string): string {
  const copy = newFolder();
  cpSync(folder, copy, { recursive: true });
  return copy;
}

describe('a snapshot', () => {
  it('that is older than zones on the disk is completed by their ends', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, SETTINGS);
    await put(cache, 0, 40);
    await cache.flush();
    await put(cache, 40, 80);
    const again = await openTestCache(copyOf(folder), SETTINGS);
    // All units except those in the zone that was open.
    expect(await countHits(again, 80)).toBeGreaterThanOrEqual(76);
    expect(again.statistics.problems.damaged).toBe(0);
  });

  it('that knows zones that are gone, or cut short, finds nothing in them, and the rest', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, SETTINGS);
    await put(cache, 0, 60);
    await cache.close();
    const [gone, short] = readdirSync(`${folder}/zones`);
    rmSync(`${folder}/zones/${gone}`);
    truncateSync(`${folder}/zones/${short}`, 100);
    const again = await openTestCache(folder, SETTINGS);
    const hits = await countHits(again, 60);
    expect(hits).toBeGreaterThanOrEqual(50);
    expect(hits).toBeLessThan(57);
    await put(again, 100, 160);
    expect(await countHits(again, 60)).toBe(hits);
  });

  it('of another table size, of another cache, or torn, is no snapshot: the ends of zones are', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, { ...SETTINGS, unitsMax: 2000 });
    await put(cache, 0, 60);
    await cache.close();
    const other = newFolder();
    const foreign = await openTestCache(other, { ...SETTINGS, unitsMax: 2000 });
    await put(foreign, 0, 60);
    await foreign.close();
    const larger = await openTestCache(copyOf(folder), { ...SETTINGS, unitsMax: 3000 });
    expect(await countHits(larger, 60)).toBe(60);
    const swapped = copyOf(folder);
    copyFileSync(`${other}/index`, `${swapped}/index`);
    expect(await countHits(await openTestCache(swapped, { ...SETTINGS, unitsMax: 2000 }), 60)).toBe(60);
    const torn = copyOf(folder);
    truncateSync(`${torn}/index`, 5000);
    writeFileSync(`${torn}/index.new`, 'half of one');
    expect(await countHits(await openTestCache(torn, { ...SETTINGS, unitsMax: 2000 }), 60)).toBe(60);
  });
});

describe('zones on the disk', () => {
  it('that are copies under other names, or of another cache, go', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, SETTINGS);
    await put(cache, 0, 30);
    await cache.close();
    const other = newFolder();
    const foreign = await openTestCache(other, SETTINGS);
    await put(foreign, 30, 60);
    await foreign.close();
    const [first] = readdirSync(`${folder}/zones`);
    const [theirs] = readdirSync(`${other}/zones`);
    copyFileSync(`${folder}/zones/${first}`, `${folder}/zones/${'a'.repeat(32)}`);
    copyFileSync(`${other}/zones/${theirs}`, `${folder}/zones/${theirs}`);
    rmSync(`${folder}/index`);
    const again = await openTestCache(folder, SETTINGS);
    expect(readdirSync(`${folder}/zones`)).not.toContain('a'.repeat(32));
    expect(readdirSync(`${folder}/zones`)).not.toContain(theirs);
    expect(await countHits(again, 60)).toBe(30);
  });

  it('keep their order over restarts: what came later counts', async () => {
    const folder = newFolder();
    const version = (cache: Cache, number: number): Promise<number> =>
      cache.volume(VOLUME).put([{ objectId: FILE, index: 0, bytes: unitOf(1000 + number) }]);
    for (let life = 0; life < 4; life += 1) {
      const cache = await openTestCache(folder, SETTINGS);
      await version(cache, life);
      await cache.close();
      rmSync(`${folder}/index`);
    }
    const last = await openTestCache(folder, SETTINGS);
    expect(await getUnit(last, VOLUME, FILE, 0, unitOf(1003))).toBe('hit');
  });
});

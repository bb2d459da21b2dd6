import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Cache, DirtyBatch } from '../../src/cache/cache.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, tagOf, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const SETTINGS = { budgetBytes: MIB, regionBytes: 32 * KIB };

function batch(from: number, to: number, payload = `batch ${from}`): DirtyBatch {
  const units = Array.from({ length: to - from }, (_, at) => ({
    volumeId: VOLUME,
    objectId: FILE,
    index: from + at,
    bytes: unitOf(from + at),
  }));
  return { units, payload: Buffer.from(payload) };
}

async function fill(cache: Cache, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await cache.volume(VOLUME).put([{ objectId: idOf(9), index, bytes: unitOf(index + 5000) }]);
  }
}

describe('dirty batches', () => {
  it('are listed with their units and payload, in order, now and after reopening, until they are released', async () => {
    const folder = newFolder();
    let cache = await openTestCache(folder, SETTINGS);
    const ids = [];
    for (let from = 0; from < 40; from += 4) ids.push(await cache.appendDirty(batch(from, from + 4)));
    await fill(cache, 600);
    for (let round = 0; round < 2; round += 1) {
      const listed = await collect(cache.listDirty());
      expect(listed.map(({ id }) => id)).toEqual(ids);
      for (const [at, { payload, units }] of listed.entries()) {
        expect(Buffer.from(payload).toString()).toBe(`batch ${4 * at}`);
        expect(units.map(({ index, tag }) => [index, Buffer.from(tag)])).toEqual(
          [0, 1, 2, 3].map(each => [4 * at + each, Buffer.from(tagOf(unitOf(4 * at + each)))]),
        );
        for (const { index } of units)
          expect(await getUnit(cache, VOLUME, FILE, index, unitOf(index))).toBe('hit');
      }
      expect(cache.statistics).toMatchObject({ dirtyBatches: 10, dirtyUnits: 40, dirtyBytes: 40 * 4168 });
      await cache.close();
      cache = await openTestCache(folder, SETTINGS);
    }
    await cache.releaseDirty(ids.slice(0, 3));
    await cache.close();
    cache = await openTestCache(folder, SETTINGS);
    expect((await collect(cache.listDirty())).map(({ id }) => id)).toEqual(ids.slice(3));
    await cache.releaseDirty([...ids, 12345]);
    expect(await collect(cache.listDirty())).toEqual([]);
    expect(await cache.appendDirty(batch(0, 1))).toBeGreaterThan(Math.max(...ids));
  });

  it('that are released stay as clean units, and then go as those do', async () => {
    const folder = newFolder();
    let cache = await openTestCache(folder, SETTINGS);
    const ids = [];
    for (let from = 0; from < 40; from += 4) ids.push(await cache.appendDirty(batch(from, from + 4)));
    await cache.releaseDirty(ids);
    expect(cache.statistics.dirtyUnits).toBe(0);
    for (let index = 0; index < 20; index += 1) {
      expect(await getUnit(cache, VOLUME, FILE, index, unitOf(index))).toBe('hit');
    }
    await cache.close();
    expect(readdirSync(`${folder}/dirty`).length).toBeLessThanOrEqual(1);
    cache = await openTestCache(folder, SETTINGS);
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(0))).toBe('hit');
    await fill(cache, 1000);
    expect(cache.statistics.bytes).toBeLessThanOrEqual(MIB);
  });

  it('win over clean versions of the same unit, and survive invalidation', async () => {
    const cache = await openTestCache(newFolder(), SETTINGS);
    const [unit] = batch(0, 1).units;
    await cache.volume(VOLUME).put([{ ...unit!, bytes: unitOf(77) }]);
    const id = await cache.appendDirty(batch(0, 1));
    await cache.volume(VOLUME).put([{ ...unit!, bytes: unitOf(78) }]);
    cache.volume(VOLUME).invalidate(FILE);
    cache.volume(VOLUME).invalidate(FILE, { from: 0, to: 5 });
    cache.volume(VOLUME).invalidateAll();
    cache.invalidateAll();
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(0))).toBe('hit');
    expect(cache.statistics.dropped.dirty).toBe(1);
    await cache.releaseDirty([id]);
    cache.volume(VOLUME).invalidate(FILE);
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(0))).toBe('miss');
  });

  it('are found though there are more than the index has room for', async () => {
    const cache = await openTestCache(newFolder(), { ...SETTINGS, unitsMax: 10 });
    for (let from = 0; from < 400; from += 100) await cache.appendDirty(batch(from, from + 100));
    for (let index = 0; index < 400; index += 1) {
      expect(await getUnit(cache, VOLUME, FILE, index, unitOf(index))).toBe('hit');
    }
    await cache.releaseDirty((await collect(cache.listDirty())).map(({ id }) => id));
    expect(cache.statistics.units).toBeLessThanOrEqual(400);
  });

  it('of several callers share a sync, and keep their order', async () => {
    const cache = await openTestCache(newFolder());
    const ids = await Promise.all(
      Array.from({ length: 20 }, (_, at) => cache.appendDirty(batch(at, at + 1))),
    );
    expect(ids).toEqual(ids.toSorted((left, right) => left - right));
    expect((await collect(cache.listDirty())).map(({ payload }) => Buffer.from(payload).toString())).toEqual(
      ids.map((_, at) => `batch ${at}`),
    );
  });

  it('may be empty but for a payload of 64 KiB; more is refused', async () => {
    const cache = await openTestCache(newFolder());
    const payload = new Uint8Array(65_536).fill(5);
    const id = await cache.appendDirty({ units: [], payload });
    expect(await collect(cache.listDirty())).toEqual([{ id, payload, units: [] }]);
    await expect(cache.appendDirty({ units: [], payload: new Uint8Array(65_537) })).rejects.toMatchObject({
      code: 'EINVAL',
    });
    const bytes = new Uint8Array(100);
    const units = [{ volumeId: VOLUME, objectId: FILE, index: 0, bytes }];
    await expect(cache.appendDirty({ units })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

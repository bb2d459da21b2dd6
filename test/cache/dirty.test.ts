import { cpSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { type CacheFiles, systemFiles } from '../../src/cache/base/files.ts';
import type { Cache } from '../../src/cache/cache.ts';
import type { DirtyBatch } from '../../src/cache/dirty/intake.ts';
import { SEED } from '../support/soak.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, tagOf, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const SETTINGS = { budgetBytes: MIB, zoneBytes: 32 * KIB };

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
    expect(await collect(cache.listDirty())).toEqual([
      { id, appendedMs: expect.any(Number), payload, units: [] },
    ]);
    await expect(cache.appendDirty({ units: [], payload: new Uint8Array(65_537) })).rejects.toMatchObject({
      code: 'EINVAL',
    });
    const bytes = new Uint8Array(100);
    const units = [{ volumeId: VOLUME, objectId: FILE, index: 0, bytes }];
    await expect(cache.appendDirty({ units })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

describe('several dirty versions of one unit', () => {
  const unitOfBatch = (bytes: Uint8Array) => ({
    units: [{ volumeId: VOLUME, objectId: FILE, index: 0, bytes }],
  });

  it.each([
    ['other', 2],
    ['the same', 1],
  ])('are found, the newest that is not released, with %s bytes', async (_, seed) => {
    const cache = await openTestCache(newFolder(), SETTINGS);
    const older = await cache.appendDirty(unitOfBatch(unitOf(1)));
    const newer = await cache.appendDirty(unitOfBatch(unitOf(seed)));
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(seed))).toBe('hit');
    await cache.releaseDirty([newer]);
    await cache.volume(VOLUME).put([{ objectId: FILE, index: 0, bytes: unitOf(3) }]);
    cache.volume(VOLUME).invalidate(FILE);
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(1))).toBe('hit');
    await cache.releaseDirty([older]);
    cache.volume(VOLUME).invalidate(FILE);
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(1))).toBe('miss');
    expect(await cache.volume(VOLUME).put([{ objectId: FILE, index: 0, bytes: unitOf(3) }])).toBe(1);
  });

  it('are found, the newest, after reopening, in whatever order their zones are read', async () => {
    for (let round = 0; round < 4; round += 1) {
      const folder = newFolder();
      let cache = await openTestCache(folder, SETTINGS);
      const ids: number[] = [];
      for (let version = 0; version < 6; version += 1) {
        ids.push(await cache.appendDirty(unitOfBatch(unitOf(version, 20 * KIB))));
      }
      expect(readdirSync(`${folder}/dirty`).length).toBeGreaterThan(5);
      await cache.close();
      cache = await openTestCache(folder, SETTINGS);
      for (let version = 5; version >= 0; version -= 1) {
        expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(version, 20 * KIB))).toBe('hit');
        await cache.releaseDirty([ids[version]!]);
      }
      expect(cache.statistics).toMatchObject({ dirtyBatches: 0, dirtyUnits: 0, dirtyBytes: 0 });
    }
  });

  it('are found in random order of appending, releasing, invalidating and reopening', async () => {
    const chance = seededChance(SEED);
    const below = (count: number): number => Math.floor(chance() * count);
    const folder = newFolder();
    let cache = await openTestCache(folder, SETTINGS);
    /** Version by index, by batch. */
    const model = new Map<number, Map<number, number>>();
    const bytesOf = (version: number) => unitOf(version, 1000 + version);
    const append = async (): Promise<void> => {
      const versions = Array.from({ length: below(4) }, () => [below(5), below(1000)] as const);
      const units = versions.map(([index, version]) => {
        return { volumeId: VOLUME, objectId: FILE, index, bytes: bytesOf(version) };
      });
      model.set(await cache.appendDirty({ units }), new Map(versions));
    };
    const release = async (): Promise<void> => {
      const ids = [...model.keys()].filter(() => chance() < 0.15);
      for (const id of ids) model.delete(id);
      await cache.releaseDirty(ids.values());
    };
    for (let step = 0; step < 600; step += 1) {
      const what = below(20);
      if (what < 9) await append();
      else if (what < 17) await release();
      else if (what === 17) cache.volume(VOLUME).invalidate(FILE);
      else if (what === 18) cache.invalidateAll();
      else {
        await cache.close();
        cache = await openTestCache(folder, SETTINGS);
      }
      for (const [index, version] of new Map([...model.values()].flatMap(each => [...each]))) {
        expect(await getUnit(cache, VOLUME, FILE, index, bytesOf(version))).toBe('hit');
      }
      expect(cache.statistics.dirtyBatches).toBe(model.size);
    }
    await cache.releaseDirty(model.keys());
    cache.invalidateAll();
    await cache.close();
    expect(readdirSync(`${folder}/dirty`)).toEqual([]);
  });

  it('can be read one by one', async () => {
    const cache = await openTestCache(newFolder(), SETTINGS);
    const older = await cache.appendDirty(unitOfBatch(unitOf(1)));
    const newer = await cache.appendDirty(unitOfBatch(unitOf(2)));
    const into = new Uint8Array(5000);
    for (const [id, seed] of [
      [older, 1],
      [newer, 2],
    ] as const) {
      expect(await cache.readDirty(id, 0, into)).toBe(4168);
      expect(Buffer.compare(into.subarray(0, 4168), unitOf(seed))).toBe(0);
    }
    await expect(cache.readDirty(older, 1, into)).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(cache.readDirty(older, 0, into.subarray(1000))).rejects.toMatchObject({ code: 'EINVAL' });
    await cache.releaseDirty([older]);
    expect(await cache.readDirty(older, 0, into)).toBe(0);
  });
});

describe('dirty zones', () => {
  it('do not fill the index when what is dirty is invalidated again and again', async () => {
    const cache = await openTestCache(newFolder(), { ...SETTINGS, unitsMax: 200 });
    await cache.appendDirty(batch(0, 100));
    for (let round = 0; round < 50; round += 1) cache.volume(VOLUME).invalidate(FILE);
    expect(cache.statistics.units).toBe(100);
    for (let index = 0; index < 60; index += 1) {
      await cache.volume(VOLUME).put([{ objectId: idOf(9), index, bytes: unitOf(index + 5000) }]);
    }
    expect(cache.statistics.displaced).toBe(0);
    for (let index = 0; index < 100; index += 1) {
      expect(await getUnit(cache, VOLUME, FILE, index, unitOf(index))).toBe('hit');
    }
  });

  it('become clean once, however their batches are released', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, SETTINGS);
    const ids: number[] = [];
    for (let from = 0; from < 40; from += 1) ids.push(await cache.appendDirty(batch(from, from + 1)));
    await Promise.all(ids.map(id => cache.releaseDirty([id])));
    await cache.close();
    expect(readdirSync(`${folder}/dirty`)).toEqual([]);
    expect(cache.statistics.problems).toMatchObject({ io: 0, gone: 0, damaged: 0 });
    const again = await openTestCache(folder, SETTINGS);
    for (let index = 0; index < 40; index += 1) {
      expect(await getUnit(again, VOLUME, FILE, index, unitOf(index))).toBe('hit');
    }
  });

  it('are not acknowledged in a folder that has been moved away', async () => {
    const folder = newFolder();
    const clock = { nowMs: 1e12 };
    const cache = await openTestCache(folder, SETTINGS, { nowMs: () => clock.nowMs });
    await cache.appendDirty(batch(0, 4));
    renameSync(folder, `${folder}-away`);
    await expect(cache.appendDirty(batch(4, 5))).rejects.toMatchObject({ code: 'EIO' });
    mkdirSync(folder);
    await expect(cache.appendDirty(batch(5, 6))).rejects.toMatchObject({ code: 'EIO' });
    clock.nowMs += 120_000;
    await cache.maintain();
    const id = await cache.appendDirty(batch(6, 7));
    await cache.close();
    const again = await openTestCache(folder, SETTINGS);
    expect((await collect(again.listDirty())).map(each => each.id)).toEqual([id]);
    rmSync(`${folder}-away`, { recursive: true });
  });

  it('do not come back with what was rejected, though it could not be cut off', async () => {
    const folder = newFolder();
    const system = systemFiles(folder);
    let isBroken = false;
    const guard = async (action: () => Promise<void>): Promise<void> => {
      if (isBroken) throw Object.assign(new Error('made up'), { code: 'EIO', syscall: 'test' });
      await action();
    };
    const files: CacheFiles = {
      ...system,
      open: async (path, mode) => {
        const file = await system.open(path, mode);
        return {
          descriptor: file.descriptor,
          read: (into, position) => file.read(into, position),
          readNow: (into, position) => file.readNow(into, position),
          write: (parts, position) => file.write(parts, position),
          size: () => file.size(),
          close: () => file.close(),
          sync: () => guard(() => file.sync()),
          truncate: lengthBytes => guard(() => file.truncate(lengthBytes)),
        };
      },
    };
    const cache = await openTestCache(folder, SETTINGS, { files });
    const kept = await cache.appendDirty(batch(0, 2));
    isBroken = true;
    for (let from = 2; from < 6; from += 1) {
      await expect(cache.appendDirty(batch(from, from + 1))).rejects.toMatchObject({ code: 'EIO' });
    }
    isBroken = false;
    const later = await cache.appendDirty(batch(6, 7));
    await cache.close();
    const again = await openTestCache(folder, SETTINGS);
    expect((await collect(again.listDirty())).map(({ id }) => id)).toEqual([kept, later]);
    expect(await getUnit(again, VOLUME, FILE, 3, unitOf(3))).toBe('miss');
    await again.releaseDirty([kept, later]);
    await again.close();
    expect(readdirSync(`${folder}/dirty`)).toEqual([]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1e300, -1, 0.5])(
    'are found again when the clock says %d',
    async nowMs => {
      const folder = newFolder();
      const clock = { nowMs: 1e12 };
      const first = await openTestCache(folder, SETTINGS, { nowMs: () => clock.nowMs });
      clock.nowMs = nowMs;
      const ids = [await first.appendDirty(batch(0, 2)), await first.appendDirty(batch(2, 3))];
      await first.releaseDirty(ids.slice(0, 1));
      await first.close();
      const again = await openTestCache(folder, SETTINGS);
      expect((await collect(again.listDirty())).map(({ id }) => id)).toEqual(ids.slice(1));
      expect(await again.appendDirty(batch(3, 4))).toBeGreaterThan(Math.max(...ids));
      expect(again.ledger()).toHaveLength(1);
    },
  );

  it('are not taken for released ones when ids are lost and used again', async () => {
    const folder = newFolder();
    const nowMs = () => 1000;
    let cache = await openTestCache(folder, SETTINGS, { nowMs });
    const [first, second] = [await cache.appendDirty(batch(0, 1)), await cache.appendDirty(batch(1, 2))];
    await cache.releaseDirty([first]);
    await cache.close();
    // The database as it is, but nothing else of what has been.
    for (const name of readdirSync(`${folder}/dirty`))
      renameSync(`${folder}/dirty/${name}`, `${folder}/${name}`);
    const [away = ''] = readdirSync(folder).filter(name => /^[0-9a-f]{32}$/.test(name));
    const copy = newFolder();
    for (const name of readdirSync(folder))
      if (!name.startsWith('cache.db')) cpSync(`${folder}/${name}`, `${copy}/${name}`, { recursive: true });
    cache = await openTestCache(copy, SETTINGS, { nowMs });
    const again = await cache.appendDirty(batch(5, 6));
    expect(again).toBe(first);
    await cache.close();
    // Both sessions' zones under the first one's database, in which that id is released.
    for (const name of readdirSync(`${copy}/dirty`))
      cpSync(`${copy}/dirty/${name}`, `${folder}/dirty/${name}`);
    renameSync(`${folder}/${away}`, `${folder}/dirty/${away}`);
    cache = await openTestCache(folder, SETTINGS, { nowMs });
    const listed = await collect(cache.listDirty());
    expect(listed.map(({ units }) => units[0]?.index).sort()).toEqual([1, 5]);
    expect(listed.map(({ id }) => id)).toContain(second);
    expect(await getUnit(cache, VOLUME, FILE, 5, unitOf(5))).toBe('hit');
  });
});

/** Invalidated units are never found again, although the number of rows of objects is bounded. */
import { cpSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { utf8, viewOf } from '../../src/base/bytes.ts';
import type { Cache } from '../../src/cache/cache.ts';
import type { CacheVolume } from '../../src/cache/cache-volume.ts';
import { ROW_KINDS, type RowKind } from '../../src/cache/rows/row.ts';
import { IS_LONG, soakSize } from '../support/soak.ts';
import { getUnit, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
/** A dozen times the limit of rows. Each is a transaction, which is slow on a busy machine. */
const COUNT = soakSize(6000, 12_000);
const ROWS_MAX = 1000;
/** More objects than a cache keeps in memory. */
const OTHERS = 70_000;

function rowCount(folder: string, kind: RowKind): number {
  const copy = newFolder();
  cpSync(folder, copy, { recursive: true });
  const database = new DatabaseSync(`${copy}/cache.db`);
  const row = database.prepare('SELECT count(*) AS count FROM rows WHERE kind = ?').get(ROW_KINDS[kind]);
  database.close();
  return Number(row?.count);
}

/** Copies the folder, as a death of the process would leave it. */
function crashed(folder: string): string {
  const copy = newFolder();
  cpSync(folder, copy, { recursive: true });
  return copy;
}

async function putAll(cache: Cache, objects: Iterable<number>): Promise<void> {
  for (const object of objects) {
    await cache.volume(VOLUME).put([{ objectId: idOf(object), index: 0, bytes: unitOf(object, 200) }]);
  }
}

async function found(cache: Cache, objects: Iterable<number>): Promise<number> {
  let count = 0;
  for (const object of objects) {
    const result = await getUnit(cache, VOLUME, idOf(object), 0, unitOf(object, 200));
    expect(result).not.toBe('wrong');
    if (result === 'hit') count += 1;
  }
  return count;
}

describe('an invalidation', () => {
  it.each(['object', 'volume'])(
    'of an object or volume (%s) holds after a crash, for zones that no snapshot knows',
    async what => {
      const folder = newFolder();
      const cache = await openTestCache(folder, { zoneBytes: 8 * KIB });
      // Many zones are full by then, and have footers.
      for (let index = 0; index < 20; index += 1) {
        await cache.volume(VOLUME).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
      }
      if (what === 'object') cache.volume(VOLUME).invalidate(FILE);
      else cache.volume(VOLUME).invalidateAll();
      await cache.volume(VOLUME).put([{ objectId: FILE, index: 30, bytes: unitOf(30) }]);
      await cache.volume(VOLUME).put([{ objectId: FILE, index: 31, bytes: unitOf(31) }]);
      const again = await openTestCache(crashed(folder), { zoneBytes: 8 * KIB });
      for (let index = 0; index < 20; index += 1) {
        expect(await getUnit(again, VOLUME, FILE, index, unitOf(index))).toBe('miss');
      }
      expect(await getUnit(again, VOLUME, FILE, 30, unitOf(30))).toBe('hit');
    },
  );

  it('holds for units that were dirty, and whose zone became clean', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, { zoneBytes: 8 * KIB });
    const ids: number[] = [];
    for (let index = 0; index < 4; index += 1) {
      ids.push(
        await cache.appendDirty({
          units: [{ volumeId: VOLUME, objectId: FILE, index, bytes: unitOf(index) }],
        }),
      );
    }
    await cache.releaseDirty(ids.slice(0, 1));
    cache.volume(VOLUME).invalidate(FILE);
    expect(await getUnit(cache, VOLUME, FILE, 1, unitOf(1))).toBe('hit');
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(0))).toBe('miss');
    await cache.releaseDirty(ids);
    const again = await openTestCache(crashed(folder), { zoneBytes: 8 * KIB });
    expect(await getUnit(again, VOLUME, FILE, 0, unitOf(0))).toBe('miss');
  });

  it('holds when the database is lost: then nothing clean is found', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    await putAll(cache, [1, 2, 3]);
    cache.volume(VOLUME).invalidate(idOf(2));
    await cache.appendDirty({ units: [{ volumeId: VOLUME, objectId: FILE, index: 0, bytes: unitOf(9) }] });
    await cache.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${folder}/cache.db${suffix}`, { force: true });
    const again = await openTestCache(folder);
    expect(await found(again, [1, 2, 3])).toBe(0);
    expect(await getUnit(again, VOLUME, FILE, 0, unitOf(9))).toBe('hit');
    await putAll(again, [2]);
    expect(await found(again, [2])).toBe(1);
  });

  it.each(['object', 'floor', 'volume'] as const)(
    'holds when the rows of kind %s are damaged',
    async kind => {
      const folder = newFolder();
      const cache = await openTestCache(folder, { rowsMax: 16 });
      const objects = Array.from({ length: 200 }, (_, at) => at);
      await putAll(cache, objects);
      for (const object of objects.slice(0, 100)) cache.volume(VOLUME).invalidate(idOf(object));
      if (kind === 'floor') await cache.maintain();
      await cache.close();
      const database = new DatabaseSync(`${folder}/cache.db`);
      const { changes } = database
        .prepare('UPDATE rows SET value = zeroblob(80) WHERE kind = ?')
        .run(ROW_KINDS[kind]);
      database.close();
      expect(Number(changes)).toBeGreaterThan(0);
      const again = await openTestCache(folder);
      expect(await found(again, objects.slice(0, 100))).toBe(0);
      await putAll(again, [1]);
      expect(await found(again, [1])).toBe(1);
    },
  );

  it('makes room in the share of its volume at once', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    volume.setShare(10 * 4168);
    const put = (from: number) =>
      volume.put(
        Array.from({ length: 10 }, (_, at) => ({
          objectId: FILE,
          index: from + at,
          bytes: unitOf(from + at),
        })),
      );
    expect(await put(0)).toBe(10);
    expect(await put(100)).toBe(0);
    volume.invalidateAll();
    expect(volume.bytes).toBe(0);
    expect(await put(200)).toBe(10);
  });
});

describe('rows', () => {
  it.runIf(IS_LONG)(
    `of ${COUNT} invalidated objects stay below the limit, and none of them is found again`,
    async () => {
      const folder = newFolder();
      const settings = { rowsMax: ROWS_MAX, budgetBytes: 64 * MIB, unitsMax: 20_000 };
      let cache = await openTestCache(folder, settings);
      // Every twentieth object has a unit.
      const cached = Array.from({ length: COUNT / 20 }, (_, at) => at * 20);
      await putAll(cache, cached);
      const volume = cache.volume(VOLUME);
      const objectId = new Uint8Array(idOf(0));
      volume.pin(idOf(1e6), { unitCount: 1 });
      await putAll(cache, [1e6]);
      volume.setCoherency(idOf(1e6), utf8('kept'));
      await cache.appendDirty({
        units: [{ volumeId: VOLUME, objectId: idOf(1e6 + 1), index: 0, bytes: unitOf(1e6 + 1, 200) }],
      });
      for (let object = 0; object < COUNT; object += 1) {
        volume.invalidate(object % 20 === 0 ? idOf(object) : numbered(objectId, object));
        if (object % 500 === 0) await cache.maintain();
        // Sweeps find objects that are in memory and objects that are not.
        if (object === COUNT / 2) lookUpOthers(volume, OTHERS);
      }
      // It is done when it has not to be waited for; the first may be a sweep that began before the last
      // invalidations.
      for (let round = 0, quick = 0; round < 300 && quick < 3; round += 1) {
        const startMs = performance.now();
        await cache.maintain();
        quick = performance.now() - startMs < 200 ? quick + 1 : 0;
      }
      expect(rowCount(folder, 'object')).toBeLessThanOrEqual(settings.rowsMax);
      const check = async (isCrash: boolean): Promise<void> => {
        expect(await found(cache, cached)).toBe(0);
        // The zone of pinned units was open, and clean: a crash may lose it.
        if (!isCrash) expect(await found(cache, [1e6])).toBe(1);
        expect(await found(cache, [1e6 + 1])).toBe(1);
        expect(cache.volume(VOLUME).coherency(idOf(1e6))).toEqual(utf8('kept'));
      };
      await check(false);
      const copy = crashed(folder);
      await cache.close();
      for (const each of [folder, copy]) {
        cache = await openTestCache(each, settings);
        await check(each === copy);
        await putAll(cache, cached.slice(0, 10));
        expect(await found(cache, cached.slice(0, 10))).toBe(10);
        await cache.close();
      }
    },
  );

  it('of cookies stay below the limit, but for those of pinned objects', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, { rowsMax: 500 });
    const volume = cache.volume(VOLUME);
    await volume.pinPrefix(utf8('keep/'));
    for (let object = 0; object < 3000; object += 1) {
      volume.setCookie(idOf(object), {
        key: utf8(`${object % 30 === 0 ? 'keep' : 'drop'}/${object}`),
        unitCount: 1,
      });
    }
    for (let round = 0; round < 10; round += 1) await cache.maintain();
    expect(rowCount(folder, 'cookie')).toBeLessThanOrEqual(500);
    expect(rowCount(folder, 'cookieKey')).toBe(rowCount(folder, 'cookie'));
    for (let object = 0; object < 3000; object += 30) expect(volume.cookie(idOf(object))).toBeDefined();
  });
});

describe('volumes', () => {
  it('of which nothing is cached make room for others', async () => {
    const folder = newFolder();
    let cache = await openTestCache(folder);
    const ids = Array.from({ length: 4096 }, (_, at) => idOf(10_000 + at));
    for (const id of ids) cache.volume(id);
    expect(() => cache.volume(idOf(5))).toThrow(expect.objectContaining({ code: 'EFULL' }));
    await cache.volume(ids[0]!).put([{ objectId: FILE, index: 0, bytes: unitOf(1) }]);
    cache.volume(ids[1]!).pin(FILE);
    await cache.close();
    cache = await openTestCache(folder);
    for (let number = 0; number < 50; number += 1) cache.volume(idOf(number));
    expect(await getUnit(cache, ids[0]!, FILE, 0, unitOf(1))).toBe('hit');
    expect(cache.pins()).toHaveLength(1);
  });
});

function lookUpOthers(volume: CacheVolume, count: number): void {
  const objectId = new Uint8Array(idOf(0));
  for (let other = 0; other < count; other += 1) {
    volume.has({ objectId: numbered(objectId, 2e6 + other), index: 0 });
  }
}

function numbered(id: Uint8Array, number: number): Uint8Array {
  viewOf(id).setUint32(0, number, true);
  return id.slice();
}

it('what an object lost is counted no more once its zones are gone', async () => {
  const cache = await openTestCache(newFolder(), { budgetBytes: 256 * KIB, zoneBytes: 8 * KIB });
  const volume = cache.volume(VOLUME);
  await volume.put([0, 1, 2, 3].map(index => ({ objectId: FILE, index, bytes: unitOf(index) })));
  volume.invalidate(FILE);
  for (let index = 0; index < 200; index += 1) {
    await cache.volume(idOf(2)).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
  }
  await cache.maintain();
  expect(volume.bytes).toBe(0);
  expect(cache.statistics.units).toBe(Math.round(cache.volume(idOf(2)).bytes / 4168));
});

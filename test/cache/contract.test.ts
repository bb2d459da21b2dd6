import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { systemFiles } from '../../src/cache/base/files.ts';
import { HeldFiles } from './held-files.ts';
import {
  collect,
  getUnit,
  idOf,
  KIB,
  MIB,
  newFolder,
  openTestCache,
  RAW_SLOT,
  tagOf,
  unitOf,
} from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);

describe('units', () => {
  it('are found under volume, object, index and tag, and under nothing else', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    const unit = unitOf(1);
    expect(await volume.put([{ objectId: FILE, index: 3, bytes: unit }])).toBe(1);
    expect(await getUnit(cache, VOLUME, FILE, 3, unit)).toBe('hit');
    expect(await getUnit(cache, VOLUME, FILE, 4, unit)).toBe('miss');
    expect(await getUnit(cache, VOLUME, idOf(101), 3, unit)).toBe('miss');
    expect(await getUnit(cache, idOf(2), FILE, 3, unit)).toBe('miss');
    expect(await getUnit(cache, VOLUME, FILE, 3, unitOf(2))).toBe('miss');
    expect(cache.statistics).toMatchObject({ hits: 1, misses: 4, otherVersions: 1, units: 1, stored: 1 });
  });

  it('of a new version replace the old one', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    await volume.put([{ objectId: FILE, index: 0, bytes: unitOf(1) }]);
    await volume.put([{ objectId: FILE, index: 0, bytes: unitOf(2, 9000) }]);
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(1))).toBe('miss');
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(2, 9000))).toBe('hit');
    await volume.put([{ objectId: FILE, index: 0, bytes: unitOf(2, 9000) }]);
    expect(cache.statistics).toMatchObject({ units: 1, alreadyThere: 1, stored: 2 });
  });

  it('come in any length and batch, into shared memory or not', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    const lengths = [72, 73, 4168, 16 * KIB, 16 * KIB + 1, 70_000, 200_000, 72, 4168];
    const units = lengths.map((lengthBytes, index) => ({
      objectId: FILE,
      index: index * 2 ** 40,
      bytes: unitOf(index, lengthBytes),
    }));
    expect(await volume.put(units)).toBe(units.length);
    const requests = units.toReversed().map(({ index, bytes }) => ({
      objectId: FILE,
      index,
      expectedTag: tagOf(bytes),
      into: new Uint8Array(new SharedArrayBuffer(bytes.byteLength + 5)),
    }));
    expect(await volume.get(requests)).toEqual(lengths.toReversed());
    for (const [at, { bytes }] of units.toReversed().entries()) {
      expect(Buffer.compare(requests[at]!.into.subarray(0, bytes.byteLength), bytes)).toBe(0);
    }
  });

  it('that are no sealed units are dropped; buffers that are too short miss', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    const truncated = unitOf(1).subarray(0, 4000);
    expect(await volume.put([{ objectId: FILE, index: 0, bytes: truncated }])).toBe(0);
    expect(await volume.put([{ objectId: FILE, index: 0, bytes: new Uint8Array(100) }])).toBe(0);
    expect(cache.statistics.dropped.unsuitable).toBe(2);
    await volume.put([{ objectId: FILE, index: 0, bytes: unitOf(1) }]);
    const request = { objectId: FILE, index: 0, expectedTag: tagOf(unitOf(1)), into: new Uint8Array(100) };
    expect(await volume.get([request])).toEqual([0]);
  });

  it('survive closing, and opening with the same key', async () => {
    const folder = newFolder();
    const first = await openTestCache(folder);
    const units = Array.from({ length: 200 }, (_, index) => ({
      objectId: FILE,
      index,
      bytes: unitOf(index),
    }));
    await first.volume(VOLUME).put(units);
    await first.close();
    const second = await openTestCache(folder);
    expect(second.statistics.units).toBe(200);
    for (const { index, bytes } of units)
      expect(await getUnit(second, VOLUME, FILE, index, bytes)).toBe('hit');
    expect(second.statistics.problems).toEqual({
      full: 0,
      io: 0,
      gone: 0,
      denied: 0,
      damaged: 0,
      database: 0,
    });
  });

  it('that are being read when the cache is closed are read to the end, and no longer', async () => {
    const folder = newFolder();
    const files = new HeldFiles(systemFiles(folder));
    const settings = { readsOnThisThread: false, zoneBytes: 512 * KIB };
    const cache = await openTestCache(folder, settings, { files });
    const volume = cache.volume(VOLUME);
    const units = Array.from({ length: 40 }, (_, index) => ({
      objectId: FILE,
      index,
      bytes: unitOf(index, 90_000),
    }));
    await volume.put(units);
    const requests = units.map(({ objectId, index, bytes }) => ({
      objectId,
      index,
      expectedTag: tagOf(bytes),
      into: new Uint8Array(bytes.byteLength),
    }));
    files.hold('zones', 'read');
    const reading = volume.get(requests);
    await files.untilHeld();
    const closing = Promise.all([cache.close(), cache.close()]);
    // Long enough for a close that does not wait for readers.
    expect(await Promise.race([closing, sleep(200, 'waits')])).toBe('waits');
    files.letGo();
    await closing;
    expect(await reading).toEqual(units.map(({ bytes }) => bytes.byteLength));
    for (const [at, { into }] of requests.entries())
      expect(Buffer.compare(into, units[at]!.bytes), `unit ${at}`).toBe(0);
    await expect(volume.get(requests)).rejects.toMatchObject({ code: 'ECLOSED' });
    await expect(volume.put(units)).rejects.toMatchObject({ code: 'ECLOSED' });
    await expect(cache.appendDirty({ units: [] })).rejects.toMatchObject({ code: 'ECLOSED' });
  });

  it('are not read when the call is aborted', async () => {
    const cache = await openTestCache(newFolder());
    const [unit] = [{ objectId: FILE, index: 0, bytes: unitOf(1) }];
    await cache.volume(VOLUME).put([unit]);
    const request = { ...unit, expectedTag: tagOf(unit.bytes), into: new Uint8Array(4168) };
    const reason = new Error('enough');
    await expect(cache.volume(VOLUME).get([request], { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
  });

  it('cost no more than the budget, however many come', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, { budgetBytes: MIB, zoneBytes: 32 * KIB });
    for (let index = 0; index < 1000; index += 1) {
      await cache.volume(VOLUME).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
      expect(cache.statistics.bytes).toBeLessThanOrEqual(MIB);
    }
    expect(cache.statistics.bytes).toBeGreaterThan(0.8 * MIB);
    expect(cache.statistics.evicted).toBeGreaterThan(500);
    expect(await getUnit(cache, VOLUME, FILE, 999, unitOf(999))).toBe('hit');
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(0))).toBe('miss');
  });

  it('are listed with their places', async () => {
    const cache = await openTestCache(newFolder());
    await cache.volume(VOLUME).put([{ objectId: FILE, index: 7, bytes: unitOf(7) }]);
    const found = await collect(cache.contents());
    expect(found).toEqual([
      {
        volumeId: VOLUME,
        objectId: FILE,
        kind: 'unit',
        index: 7,
        tag: tagOf(unitOf(7)),
        lengthBytes: 4168,
        queue: 'small',
      },
    ]);
  });
});

describe('offers', () => {
  it('are copied at once and written soon; what does not fit is dropped and counted', async () => {
    const cache = await openTestCache(newFolder(), { queueBytes: 10_000 });
    const unit = unitOf(1);
    const units = [1, 2, 3].map(index => ({ objectId: FILE, index, bytes: unit }));
    expect(cache.volume(VOLUME).offer(units)).toBe(2);
    unit.fill(0);
    await cache.flush();
    expect(await getUnit(cache, VOLUME, FILE, 1, unitOf(1))).toBe('hit');
    expect(await getUnit(cache, VOLUME, FILE, 3, unitOf(1))).toBe('miss');
    expect(cache.statistics).toMatchObject({ dropped: { queue: 1 }, queuedUnits: 0, queuedBytes: 0 });
  });
});

describe('invalidation', () => {
  it.each([
    [
      'of an object',
      (cache: Awaited<ReturnType<typeof openTestCache>>) => cache.volume(VOLUME).invalidate(FILE),
      false,
      true,
    ],
    [
      'of a volume',
      (cache: Awaited<ReturnType<typeof openTestCache>>) => cache.volume(VOLUME).invalidateAll(),
      false,
      false,
    ],
    ['of all', (cache: Awaited<ReturnType<typeof openTestCache>>) => cache.invalidateAll(), false, false],
    [
      'of a range',
      (cache: Awaited<ReturnType<typeof openTestCache>>) =>
        cache.volume(VOLUME).invalidate(FILE, { from: 2, to: 4 }),
      true,
      true,
    ],
  ])('%s', async (_, invalidate, keepsFirst, keepsOther) => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    const units = [0, 1, 2, 3].map(index => ({ objectId: FILE, index, bytes: unitOf(index) }));
    await cache.volume(VOLUME).put([...units, { objectId: idOf(5), index: 0, bytes: unitOf(9) }]);
    invalidate(cache);
    const check = async (which: typeof cache): Promise<void> => {
      expect(await getUnit(which, VOLUME, FILE, 0, unitOf(0))).toBe(keepsFirst ? 'hit' : 'miss');
      expect(await getUnit(which, VOLUME, FILE, 3, unitOf(3))).toBe('miss');
      expect(await getUnit(which, VOLUME, idOf(5), 0, unitOf(9))).toBe(keepsOther ? 'hit' : 'miss');
    };
    await check(cache);
    await cache.close();
    const again = await openTestCache(folder);
    await check(again);
    // What comes later is found.
    await again.volume(VOLUME).put([units[3]!]);
    expect(await getUnit(again, VOLUME, FILE, 3, unitOf(3))).toBe('hit');
  });

  it('makes a read under way a miss', async () => {
    const cache = await openTestCache(newFolder(), { readsOnThisThread: false });
    const volume = cache.volume(VOLUME);
    const bytes = unitOf(1, 100_000);
    await volume.put([{ objectId: FILE, index: 0, bytes }]);
    const reading = volume.get([
      { objectId: FILE, index: 0, expectedTag: tagOf(bytes), into: new Uint8Array(100_000) },
    ]);
    volume.invalidate(FILE);
    expect(await reading).toEqual([0]);
  });

  it('of what is being stored keeps it from being found', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    const whole = volume.put([{ objectId: FILE, index: 0, bytes: unitOf(1) }]);
    volume.invalidate(FILE);
    const part = volume.put([{ objectId: FILE, index: 1, bytes: unitOf(2) }]);
    volume.invalidate(FILE, { from: 0, to: 10 });
    await Promise.all([whole, part]);
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(1))).toBe('miss');
    expect(await getUnit(cache, VOLUME, FILE, 1, unitOf(2))).toBe('miss');
  });
});

describe('pins', () => {
  it('keep units of objects and volumes, those that come as well, through eviction and reopening', async () => {
    const folder = newFolder();
    const settings = { budgetBytes: MIB, zoneBytes: 32 * KIB };
    let cache = await openTestCache(folder, settings);
    const pinned = [0, 1, 2, 3].map(index => ({ objectId: FILE, index, bytes: unitOf(index) }));
    await cache.volume(VOLUME).put(pinned.slice(0, 2));
    cache.volume(VOLUME).pin(FILE, { unitCount: 6 });
    cache.volume(idOf(2)).pin();
    await cache.volume(VOLUME).put(pinned.slice(2));
    await cache.volume(idOf(2)).put([{ objectId: FILE, index: 0, bytes: unitOf(50) }]);
    const fill = async (from: number): Promise<void> => {
      for (let index = from; index < from + 600; index += 1) {
        await cache.volume(VOLUME).put([{ objectId: idOf(7), index, bytes: unitOf(index) }]);
      }
    };
    const check = async (): Promise<void> => {
      for (const { index, bytes } of pinned)
        expect(await getUnit(cache, VOLUME, FILE, index, bytes)).toBe('hit');
      expect(await getUnit(cache, idOf(2), FILE, 0, unitOf(50))).toBe('hit');
    };
    await fill(0);
    await check();
    expect(await collect(cache.incomplete())).toEqual([{ volumeId: VOLUME, objectId: FILE, from: 4, to: 6 }]);
    await cache.close();
    cache = await openTestCache(folder, settings);
    await fill(1000);
    await check();
    expect(cache.statistics.bytes).toBeLessThanOrEqual(MIB);
    expect(cache.volume(VOLUME).unpin(FILE)).toBe(true);
    expect(cache.volume(VOLUME).unpin(FILE)).toBe(false);
    await fill(2000);
    const queues = (await collect(cache.contents()))
      .filter(({ objectId }) => Buffer.compare(objectId, FILE) === 0)
      .map(({ volumeId, queue }) => [Buffer.compare(volumeId, VOLUME) === 0, queue].join());
    expect(new Set(queues)).toEqual(new Set(['true,main', 'false,pinned']));
    expect(await getUnit(cache, idOf(2), FILE, 0, unitOf(50))).toBe('hit');
  });
});

describe('shares', () => {
  it('are not exceeded by more than one batch', async () => {
    const cache = await openTestCache(newFolder());
    cache.volume(VOLUME).setShare(100_000);
    for (let index = 0; index < 100; index += 1) {
      await cache.volume(VOLUME).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
      await cache.volume(idOf(2)).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
    }
    expect(cache.volume(VOLUME).bytes).toBeLessThanOrEqual(100_000);
    expect(cache.volume(idOf(2)).bytes).toBe(100 * 4168);
    expect(cache.statistics.dropped.share).toBeGreaterThan(0);
  });
});

describe('keys', () => {
  it('that are wrong open nothing; new ones replace the old', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    await cache.volume(VOLUME).put([{ objectId: FILE, index: 0, bytes: unitOf(1) }]);
    cache.volume(VOLUME).pin(FILE);
    const newKey = { label: 'new', secret: { type: 'raw-key', key: new Uint8Array(32).fill(9) } } as const;
    await cache.changeKey([newKey]);
    await cache.volume(VOLUME).put([{ objectId: FILE, index: 1, bytes: unitOf(2) }]);
    await cache.close();
    await expect(openTestCache(folder, {}, { key: { slots: [RAW_SLOT] } })).rejects.toMatchObject({
      code: 'EKEY',
    });
    const again = await openTestCache(folder, {}, { key: { secrets: newKey.secret } });
    expect(await getUnit(again, VOLUME, FILE, 0, unitOf(1))).toBe('hit');
    expect(await getUnit(again, VOLUME, FILE, 1, unitOf(2))).toBe('hit');
    expect(again.pins()).toHaveLength(1);
  });

  it('in memory only leave nothing behind for the next', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, {}, { key: 'memory' });
    await cache.volume(VOLUME).put([{ objectId: FILE, index: 0, bytes: unitOf(1) }]);
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(1))).toBe('hit');
    await cache.close();
    const again = await openTestCache(folder, {}, { key: 'memory' });
    expect(again.statistics).toMatchObject({ units: 0, bytes: 0 });
    expect(readdirSync(folder)).not.toContain('header');
    await again.close();
    await (await openTestCache(folder)).close();
    await expect(openTestCache(folder, {}, { key: 'memory' })).rejects.toMatchObject({ code: 'EEXIST' });
  });

  it('are destroyed by a wipe, with everything else', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    await cache.volume(VOLUME).put([{ objectId: FILE, index: 0, bytes: unitOf(1) }]);
    await cache.appendDirty({ units: [{ volumeId: VOLUME, objectId: FILE, index: 1, bytes: unitOf(2) }] });
    await expect(cache.wipe()).rejects.toMatchObject({ code: 'EINVAL' });
    await cache.wipe({ dirtyToo: true });
    expect(readdirSync(`${folder}/zones`)).toEqual([]);
    expect(readdirSync(`${folder}/dirty`)).toEqual([]);
    expect(readdirSync(folder).sort()).toEqual(['dirty', 'lock', 'zones']);
    expect(() => cache.volume(VOLUME)).toThrow('closed');
  });
});

describe('coherency data', () => {
  it('decides whether what is cached stays', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    const volume = cache.volume(VOLUME);
    const state = Uint8Array.of(1, 2, 3);
    expect(volume.revalidate(FILE, state)).toBe('dropped');
    await volume.put([{ objectId: FILE, index: 0, bytes: unitOf(1) }]);
    expect(volume.revalidate(FILE, state)).toBe('kept');
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(1))).toBe('hit');
    await cache.close();
    const again = (await openTestCache(folder)).volume(VOLUME);
    expect(again.coherency(FILE)).toEqual(state);
    expect(again.revalidate(FILE, state)).toBe('kept');
    expect(() => again.setCoherency(FILE, new Uint8Array(1025))).toThrow('1024');
  });
});

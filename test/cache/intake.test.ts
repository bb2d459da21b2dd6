import { cpSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { getUnit, idOf, KIB, MIB, newFolder, openTestCache, tagOf, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);

describe('offers', () => {
  it('that are invalidated before they are written are not found, in whole and in part', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    volume.offer([0, 1, 2].map(index => ({ objectId: FILE, index, bytes: unitOf(index) })));
    volume.offer([0, 1, 2].map(index => ({ objectId: idOf(5), index, bytes: unitOf(index) })));
    volume.invalidate(FILE);
    volume.invalidate(idOf(5), { from: 1, to: 2 });
    volume.offer([{ objectId: FILE, index: 2, bytes: unitOf(9) }]);
    await cache.flush();
    expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(0))).toBe('miss');
    expect(await getUnit(cache, VOLUME, FILE, 2, unitOf(9))).toBe('hit');
    expect(await getUnit(cache, VOLUME, idOf(5), 0, unitOf(0))).toBe('hit');
    expect(await getUnit(cache, VOLUME, idOf(5), 1, unitOf(1))).toBe('miss');
    expect(cache.statistics.dropped.invalidated).toBe(4);
  });

  it('that come while others are being written, and just when the queue has run dry, are written, too', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    const unit = { objectId: FILE, index: 0, bytes: unitOf(0) };
    await volume.put([unit]);
    // The unit is there already, so the queue is empty after a few microtasks.
    volume.offer([unit]);
    for (let turns = 0; turns < 1000 && cache.statistics.queuedBytes > 0; turns += 1) await undefined;
    expect(cache.statistics.queuedBytes).toBe(0);
    volume.offer([{ objectId: FILE, index: 1, bytes: unitOf(1) }]);
    await cache.flush();
    expect(await getUnit(cache, VOLUME, FILE, 1, unitOf(1))).toBe('hit');
  });

  it('of very small units take no more memory than the queue may', async () => {
    const cache = await openTestCache(newFolder(), { queueBytes: 64 * KIB });
    const units = Array.from({ length: 1000 }, (_, index) => ({
      objectId: FILE,
      index,
      bytes: unitOf(index, 72),
    }));
    expect(cache.volume(VOLUME).offer(units)).toBeLessThan(250);
    expect(cache.statistics.queuedBytes).toBeLessThanOrEqual(64 * KIB);
    await cache.flush();
    expect(cache.statistics.queuedBytes).toBe(0);
  });

  it('that are queued when the cache is closed are there when it is opened again', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    cache.volume(VOLUME).offer([{ objectId: FILE, index: 0, bytes: unitOf(0) }]);
    await cache.close();
    expect(() => cache.volume(VOLUME)).toThrow('closed');
    expect(await getUnit(await openTestCache(folder), VOLUME, FILE, 0, unitOf(0))).toBe('hit');
  });
});

describe('puts', () => {
  it('of many at once keep within the budget', async () => {
    const cache = await openTestCache(newFolder(), { budgetBytes: MIB, zoneBytes: 32 * KIB });
    const volume = cache.volume(VOLUME);
    for (let round = 0; round < 5; round += 1) {
      const puts = Array.from({ length: 60 }, (_, put) =>
        volume.put(
          Array.from({ length: 7 }, (__, at) => {
            const index = (round * 60 + put) * 7 + at;
            return { objectId: FILE, index, bytes: unitOf(index) };
          }),
        ),
      );
      let mostBytes = 0;
      const timer = setInterval(() => {
        mostBytes = Math.max(mostBytes, cache.statistics.bytes);
      }, 1);
      await Promise.all(puts);
      clearInterval(timer);
      mostBytes = Math.max(mostBytes, cache.statistics.bytes);
      expect(mostBytes).toBeLessThanOrEqual(MIB);
    }
    const last = unitOf(5 * 60 * 7 - 1);
    const into = new Uint8Array(last.byteLength);
    const request = { objectId: FILE, index: 5 * 60 * 7 - 1, expectedTag: tagOf(last), into };
    expect(cache.statistics.dropped.space).toBe(0);
    expect(await volume.get([request])).toEqual([last.byteLength]);
  });
});

describe('invalidation', () => {
  it('survives the death of the process, also of units that only the end of a zone lists', async () => {
    const folder = newFolder();
    const settings = { budgetBytes: MIB, zoneBytes: 8 * KIB, snapshotZones: 1000 };
    const cache = await openTestCache(folder, settings);
    const volume = cache.volume(VOLUME);
    const units = Array.from({ length: 20 }, (_, index) => ({ objectId: FILE, index, bytes: unitOf(index) }));
    await volume.put([...units, { objectId: idOf(5), index: 0, bytes: unitOf(7) }]);
    volume.invalidate(FILE);
    await volume.put([
      { objectId: FILE, index: 3, bytes: unitOf(103) },
      { objectId: idOf(5), index: 1, bytes: unitOf(8) },
      { objectId: idOf(5), index: 2, bytes: unitOf(9) },
    ]);
    // A copy of the folder, as a death of the process would leave it now.
    const copy = newFolder();
    cpSync(folder, copy, { recursive: true });
    const again = await openTestCache(copy, settings);
    for (const { index, bytes } of units)
      expect(await getUnit(again, VOLUME, FILE, index, bytes)).toBe('miss');
    expect(await getUnit(again, VOLUME, FILE, 3, unitOf(103))).toBe('hit');
    expect(await getUnit(again, VOLUME, idOf(5), 0, unitOf(7))).toBe('hit');
  });
});

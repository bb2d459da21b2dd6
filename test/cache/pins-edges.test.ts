/**
 * Pins at their edges: keys of all lengths and bytes, races of prefixes, and more that is pinned than there
 * is room for.
 */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { PlainCache } from '../../src/cache/plain.ts';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import { crashed } from './database-faults.ts';
import { collect, getUnit, idOf, KIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const OTHER = idOf(2);

async function lacking(cache: Cache): Promise<number[]> {
  const missing = await collect(cache.incomplete());
  return [...new Set(missing.map(({ objectId }) => Buffer.from(objectId).readUInt32LE(0)))].sort(
    (left, right) => left - right,
  );
}

describe('a prefix', () => {
  it('may be empty, 4,096 bytes long, end within a character, or hold any bytes', async () => {
    const folder = newFolder();
    let cache = await openTestCache(folder);
    const long = new Uint8Array(4096).fill(0xff);
    const keys = [utf8('é1'), utf8('è2'), Uint8Array.of(0), Uint8Array.of(0, 0), long, long.slice(0, 4095)];
    for (const [at, key] of keys.entries()) {
      cache.volume(VOLUME).setCookie(idOf(at), { key, unitCount: 1 });
    }
    cache.volume(OTHER).setCookie(idOf(50), { key: utf8('é1'), unitCount: 1 });
    for (const [prefix, wanted] of [
      // The first byte of both letters.
      [Uint8Array.of(0xc3), [0, 1]],
      [utf8('é'), [0]],
      [Uint8Array.of(0), [2, 3]],
      [Uint8Array.of(0, 0), [3]],
      [long, [4]],
      [long.slice(0, 4095), [4, 5]],
      [new Uint8Array(0), [0, 1, 2, 3, 4, 5]],
    ] as const) {
      await cache.volume(VOLUME).pinPrefix(prefix);
      expect(await lacking(cache)).toEqual(wanted);
      await cache.close();
      cache = await openTestCache(folder);
      expect(await lacking(cache)).toEqual(wanted);
      expect(cache.pins().map(pin => pin.prefix)).toEqual([prefix]);
      expect(await cache.volume(VOLUME).unpinPrefix(prefix)).toBe(true);
      expect(await lacking(cache)).toEqual([]);
    }
    const tooLong = new Uint8Array(4097);
    expect(() => cache.volume(VOLUME).setCookie(idOf(0), { key: tooLong })).toThrow();
    await expect(cache.volume(VOLUME).pinPrefix(tooLong)).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('that is unpinned, pinned and unpinned while cookies are looked through pins nothing after a death', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    const volume = cache.volume(VOLUME);
    const count = 600;
    for (let object = 0; object < count; object += 1) {
      volume.setCookie(idOf(object), { key: utf8(`a/${object}`), unitCount: 1 });
    }
    await volume.pinPrefix(utf8('a/'));
    const turn = () => new Promise(resolve => setImmediate(resolve));
    // The first scan has freed some objects that the second one pins again, and ends before the third one has
    // freed them.
    const first = volume.unpinPrefix(utf8('a/'));
    for (let turns = 0; turns < 6; turns += 1) await turn();
    const second = volume.pinPrefix(utf8('a/'));
    for (let turns = 0; turns < 5; turns += 1) await turn();
    const third = volume.unpinPrefix(utf8('a/'));
    expect(await first).toBe(true);
    const copy = crashed(folder);
    await second;
    expect(await third).toBe(true);
    expect(await lacking(cache)).toEqual([]);
    const again = await openTestCache(copy);
    expect(again.pins()).toEqual([]);
    await expect.poll(() => lacking(again)).toEqual([]);
  });
});

describe('names of plain servers', () => {
  it('do not meet, whatever bytes they have; pins by them hold', async () => {
    const pipeline = await openPipeline({ workers: 0 });
    const cache = await openTestCache(newFolder());
    const plain = new PlainCache(cache, pipeline, 4 * KIB);
    const version = utf8('1');
    const parts = [
      new Uint8Array(0),
      utf8('/'),
      utf8('a'),
      utf8('a/'),
      utf8('/a'),
      Uint8Array.of(0, 1, 0, 0, 0),
    ];
    for (const server of parts) for (const name of parts) plain.name({ server, name, version });
    expect(await collect(cache.volume(cache.id).cookies())).toHaveLength(parts.length ** 2);
    const longest = { server: utf8('s'), name: new Uint8Array(4096 - 7).fill(65), version };
    plain.name(longest);
    plain.name({ ...longest, name: new Uint8Array(4096 - 6).fill(66) });
    expect(await collect(cache.volume(cache.id).cookies())).toHaveLength(parts.length ** 2 + 1);
    plain.close();
    await pipeline.close();
  });
});

describe('more that is pinned than there is room for', () => {
  const settings = { budgetBytes: 512 * KIB, zoneBytes: 16 * KIB };
  const units = (object: number, from: number, count: number) =>
    Array.from({ length: count }, (_, at) => ({
      objectId: idOf(object),
      index: from + at,
      bytes: unitOf(object * 1000 + from + at),
    }));

  it('stays within the budget; what does not fit is counted and listed, and others have room when it is unpinned', async () => {
    const folder = newFolder();
    let cache = await openTestCache(folder, settings);
    let volume = cache.volume(VOLUME);
    // Some units are there before they are pinned, in zones of all queues.
    for (let from = 0; from < 80; from += 8) await volume.put(units(10, from, 8));
    volume.setCookie(idOf(10), { key: utf8('a'), unitCount: 300 });
    await volume.pinPrefix(utf8('a'));
    for (let from = 80; from < 300; from += 10) await volume.put(units(10, from, 10));
    const counted = (): number => cache.statistics.dropped.space;
    expect(counted()).toBeGreaterThan(100);
    expect(cache.statistics.bytes).toBeLessThanOrEqual(settings.budgetBytes);
    const missing = await collect(cache.incomplete());
    const there = 300 - missing.reduce((sum, { from, to }) => sum + to - from, 0);
    // Nearly all of the budget.
    expect(there).toBeGreaterThan(80);
    const hits = async (): Promise<number> => {
      let count = 0;
      for (let index = 0; index < 300; index += 1) {
        if ((await getUnit(cache, VOLUME, idOf(10), index, unitOf(10_000 + index))) === 'hit') count += 1;
      }
      return count;
    };
    expect(await hits()).toBe(there);
    // Other units find no room, and displace no pinned ones.
    for (let from = 0; from < 200; from += 10) await cache.volume(OTHER).put(units(20, from, 10));
    expect(await hits()).toBe(there);
    await cache.close();
    cache = await openTestCache(folder, settings);
    volume = cache.volume(VOLUME);
    expect(await hits()).toBe(there);
    expect(await volume.unpinPrefix(utf8('a'))).toBe(true);
    for (let from = 200; from < 500; from += 10) {
      expect(await cache.volume(OTHER).put(units(20, from, 10))).toBe(10);
    }
    expect(cache.statistics.bytes).toBeLessThanOrEqual(settings.budgetBytes);
  });
});

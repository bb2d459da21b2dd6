/** The process dies between any two transactions of the database. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { crashedAtEach } from './database-faults.ts';
import { collect, getUnit, idOf, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);

function keyOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

/** The objects that the cache takes for pinned: all of them lack their units. */
async function pinned(cache: Cache): Promise<string[]> {
  return (await collect(cache.incomplete())).map(({ objectId }) => keyOf(objectId)).sort();
}

/** The objects that should be pinned, by cookies, pins and prefixes. */
async function shouldBePinned(cache: Cache): Promise<string[]> {
  const ids = new Set<string>();
  const cookies = await collect(cache.volume(VOLUME).cookies());
  for (const { objectId, prefix } of cache.pins()) {
    if (objectId !== undefined) ids.add(keyOf(objectId));
    if (prefix === undefined) continue;
    for (const { objectId: id, key } of cookies) if (keyOf(key).startsWith(keyOf(prefix))) ids.add(keyOf(id));
  }
  return [...ids].sort();
}

describe('a death between any two transactions', () => {
  it('leaves pinned what cookies and prefixes say', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder);
    const volume = cache.volume(VOLUME);
    const setCookie = (object: number, key: string) =>
      volume.setCookie(idOf(object), { key: utf8(key), unitCount: 1 });
    await volume.pinPrefix(utf8('a/'));
    setCookie(5, 'a/5');
    await cache.flush();
    setCookie(1, 'a/1');
    setCookie(2, 'a/1');
    setCookie(2, 'b/1');
    setCookie(3, 'b/2');
    setCookie(3, 'a/2');
    volume.pin(idOf(3), { unitCount: 1 });
    volume.removeCookie(idOf(3));
    volume.unpin(idOf(3));
    await volume.pinPrefix(utf8('b'));
    await volume.unpinPrefix(utf8('a/'));
    setCookie(5, 'b/5');
    let count = 0;
    for (const copy of crashedAtEach(folder)) {
      const again = await openTestCache(copy);
      const wanted = await shouldBePinned(again);
      await expect.poll(() => pinned(again), { message: `after ${count} transactions` }).toEqual(wanted);
      await again.close();
      count += 1;
    }
    expect(count).toBeGreaterThan(10);
  });

  it('of a sweep leaves invalid what was invalidated, and keeps what is pinned', async () => {
    const folder = newFolder();
    const settings = { rowsMax: 40 };
    let cache = await openTestCache(folder, settings);
    const volumes = [1, 2].map(idOf);
    const place = (object: number) => volumes[object % 2]!;
    for (let object = 0; object < 120; object += 1) {
      await cache
        .volume(place(object))
        .put([{ objectId: idOf(object), index: 0, bytes: unitOf(object, 200) }]);
    }
    await cache.close();
    cache = await openTestCache(folder, settings);
    for (let object = 0; object < 60; object += 1) cache.volume(place(object)).invalidate(idOf(object));
    for (const object of [100, 101]) cache.volume(place(object)).pin(idOf(object), { unitCount: 1 });
    await cache.flush();
    for (let round = 0; round < 4; round += 1) await cache.maintain();
    cache.volume(place(0)).invalidateAll();
    let count = 0;
    for (const copy of crashedAtEach(folder)) {
      const again = await openTestCache(copy, settings);
      const find = (object: number) => getUnit(again, place(object), idOf(object), 0, unitOf(object, 200));
      for (let object = 0; object < 60; object += 1) expect(await find(object)).toBe('miss');
      expect(await find(101)).toBe('hit');
      await again.close();
      count += 1;
    }
    expect(count).toBeGreaterThan(2);
  });
});

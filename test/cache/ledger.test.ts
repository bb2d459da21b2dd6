import { cpSync, mkdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Cache } from '../../src/cache/cache.ts';
import { openCache } from '../../src/cache/open.ts';
import { collect, idOf, KIB, MIB, newFolder, openTestCache, RAW_KEY, unitOf } from './support.ts';

const [LEFT, RIGHT] = [idOf(1), idOf(2)];
const UNIT_BYTES = 1000;
const SETTINGS = { budgetBytes: MIB, zoneBytes: 8 * KIB };
const NOTHING = { batches: 0, units: 0, bytes: 0 };

function batch(volumes: readonly Uint8Array[], from = 0) {
  return {
    units: volumes.map((volumeId, at) => ({
      volumeId,
      objectId: idOf(50),
      index: from + at,
      bytes: unitOf(from + at, UNIT_BYTES),
    })),
  };
}

function counts(batches: number, units: number) {
  return { batches, units, bytes: units * UNIT_BYTES };
}

async function openClocked(folder: string) {
  const clock = { nowMs: 1_000_000 };
  const cache = await openTestCache(folder, SETTINGS, { nowMs: () => clock.nowMs });
  return { cache, clock };
}

function entryOf(cache: Cache, volumeId: Uint8Array) {
  const entry = cache.ledger().find(each => Buffer.compare(each.volumeId, volumeId) === 0);
  expect(entry).toBeDefined();
  return entry!;
}

describe('the ledger', () => {
  it('says per volume what is dirty, being sent and released, and since when', async () => {
    const { cache, clock } = await openClocked(newFolder());
    expect(cache.ledger()).toEqual([]);
    const first = await cache.appendDirty(batch([LEFT, LEFT, RIGHT]));
    clock.nowMs += 500;
    const second = await cache.appendDirty(batch([LEFT], 10));
    await cache.appendDirty({ units: [], payload: Buffer.from('nobody has units of this one') });
    expect(entryOf(cache, LEFT)).toEqual({
      volumeId: LEFT,
      dirty: { ...counts(2, 3), oldestMs: 1_000_000 },
      queued: NOTHING,
      durable: NOTHING,
    });
    expect(entryOf(cache, RIGHT).dirty).toEqual({ ...counts(1, 1), oldestMs: 1_000_000 });
    cache.markQueued([first, 12345]);
    expect(entryOf(cache, LEFT)).toMatchObject({
      dirty: { ...counts(1, 1), oldestMs: 1_000_500 },
      queued: { ...counts(1, 2), oldestMs: 1_000_000 },
    });
    cache.markQueued([first], false);
    expect(entryOf(cache, LEFT).queued).toEqual(NOTHING);
    clock.nowMs += 500;
    await cache.releaseDirty([first, first]);
    await cache.releaseDirty([first]);
    expect(entryOf(cache, LEFT)).toEqual({
      volumeId: LEFT,
      dirty: { ...counts(1, 1), oldestMs: 1_000_500 },
      queued: NOTHING,
      durable: { ...counts(1, 2), latestMs: 1_001_000 },
    });
    expect(entryOf(cache, RIGHT)).toEqual({
      volumeId: RIGHT,
      dirty: NOTHING,
      queued: NOTHING,
      durable: { ...counts(1, 1), latestMs: 1_001_000 },
    });
    await cache.releaseDirty([second]);
    expect(entryOf(cache, LEFT).durable).toMatchObject(counts(2, 3));
    expect((await collect(cache.listDirty())).map(({ appendedMs }) => appendedMs)).toEqual([1_000_500]);
  });

  it('is there after reopening, but for what was being sent', async () => {
    const folder = newFolder();
    const { cache, clock } = await openClocked(folder);
    const ids: number[] = [];
    for (let from = 0; from < 20; from += 1) {
      ids.push(await cache.appendDirty(batch([from % 2 === 0 ? LEFT : RIGHT], from)));
      clock.nowMs += 10;
    }
    cache.markQueued(ids);
    await cache.releaseDirty(ids.slice(0, 7));
    await cache.close();
    const { cache: again } = await openClocked(folder);
    expect(entryOf(again, LEFT)).toEqual({
      volumeId: LEFT,
      dirty: { ...counts(6, 6), oldestMs: 1_000_080 },
      queued: NOTHING,
      durable: { ...counts(4, 4), latestMs: 1_000_200 },
    });
    expect(entryOf(again, RIGHT).durable).toMatchObject(counts(3, 3));
    await again.releaseDirty(ids);
    expect(entryOf(again, LEFT)).toMatchObject({ dirty: NOTHING, durable: counts(10, 10) });
  });

  it('counts each batch once, whenever the process dies', async () => {
    const folder = newFolder();
    const { cache } = await openClocked(folder);
    const ids: number[] = [];
    for (let from = 0; from < 24; from += 1) ids.push(await cache.appendDirty(batch([LEFT], from)));
    const copies: { readonly path: string; readonly released: number }[] = [];
    for (let released = 0; released <= ids.length; released += 4) {
      // What a killed process leaves behind.
      const path = `${newFolder()}/copy`;
      mkdirSync(path);
      cpSync(folder, path, { recursive: true });
      copies.push({ path, released });
      await cache.releaseDirty(ids.slice(released, released + 4));
    }
    for (const { path, released } of copies) {
      const settings = { ...SETTINGS, disk: false as const, maintenanceMs: 0 };
      const after = await openCache(path, settings, { key: RAW_KEY });
      expect(entryOf(after, LEFT).durable).toMatchObject(counts(released, released));
      expect(entryOf(after, LEFT).dirty).toMatchObject(counts(24 - released, 24 - released));
      expect((await collect(after.listDirty())).map(({ id }) => id)).toEqual(ids.slice(released));
      await after.releaseDirty(ids);
      expect(entryOf(after, LEFT).durable).toMatchObject(counts(24, 24));
      await after.close();
    }
  });

  it('does not count again what a change of keys has sealed anew', async () => {
    const folder = newFolder();
    const { cache } = await openClocked(folder);
    const id = await cache.appendDirty(batch([LEFT]));
    const kept = await cache.appendDirty(batch([LEFT], 5));
    await cache.releaseDirty([id]);
    await cache.changeKey(RAW_KEY === 'memory' ? [] : [...(RAW_KEY.slots ?? [])]);
    await cache.close();
    const { cache: again } = await openClocked(folder);
    expect(entryOf(again, LEFT)).toMatchObject({ dirty: counts(1, 1), durable: counts(1, 1) });
    expect((await collect(again.listDirty())).map(each => each.id)).toEqual([kept]);
  });
});

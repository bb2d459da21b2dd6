import { getEventListeners } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { systemFiles } from '../../src/cache/base/files.ts';
import type { CacheSettings } from '../../src/cache/base/settings.ts';
import type { Cache } from '../../src/cache/cache.ts';
import type { DirtyBatch } from '../../src/cache/dirty/intake.ts';
import { SEED } from '../support/soak.ts';
import { HeldFiles } from './held-files.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const REASON = new Error('nobody wants it any more');

async function openHeld(
  settings: CacheSettings = {},
): Promise<{ cache: Cache; files: HeldFiles; folder: string }> {
  const folder = newFolder();
  const files = new HeldFiles(systemFiles(folder));
  return { cache: await openTestCache(folder, settings, { files }), files, folder };
}

function unitsOf(from: number, count: number, lengthBytes?: number) {
  return Array.from({ length: count }, (_, at) => {
    return { objectId: FILE, index: from + at, bytes: unitOf(from + at, lengthBytes) };
  });
}

function batchOf(from: number, count: number, lengthBytes?: number): DirtyBatch {
  return { units: unitsOf(from, count, lengthBytes).map(unit => ({ ...unit, volumeId: VOLUME })) };
}

function overwrite(units: readonly { readonly bytes: Uint8Array }[]): void {
  for (const { bytes } of units) bytes.fill(0xee);
}

/** Returns the state of a promise after a few turns of the event loop. */
async function stateOf(promise: Promise<unknown>): Promise<'pending' | 'settled'> {
  let state: 'pending' | 'settled' = 'pending';
  const settle = (): void => {
    state = 'settled';
  };
  promise.then(settle, settle);
  for (let turns = 0; turns < 5; turns += 1) await turn();
  return state;
}

async function indexesOf(cache: Cache): Promise<number[]> {
  return (await collect(cache.contents())).map(({ index }) => index).sort((left, right) => left - right);
}

describe('a put that is aborted', () => {
  it('before it begins stores nothing', async () => {
    const { cache } = await openHeld();
    const signal = AbortSignal.abort(REASON);
    await expect(cache.volume(VOLUME).put(unitsOf(0, 3), { signal })).rejects.toBe(REASON);
    expect(cache.statistics).toMatchObject({ stored: 0, units: 0 });
  });

  it('while it waits behind another ends at once, and its memory is not read any more', async () => {
    const { cache, files } = await openHeld();
    const volume = cache.volume(VOLUME);
    files.hold('zones', 'write');
    const first = volume.put(unitsOf(0, 2));
    await files.untilHeld();
    const control = new AbortController();
    const units = [...unitsOf(10, 1, 90_000), ...unitsOf(11, 3)];
    const second = volume.put(units, { signal: control.signal });
    const third = volume.put(unitsOf(20, 1));
    await turn();
    control.abort(REASON);
    await expect(second).rejects.toBe(REASON);
    overwrite(units);
    expect(await stateOf(first)).toBe('pending');
    files.letGo();
    expect(await Promise.all([first, third])).toEqual([2, 1]);
    expect(await indexesOf(cache)).toEqual([0, 1, 20]);
    for (const { index, bytes } of [...unitsOf(0, 2), ...unitsOf(20, 1)])
      expect(await getUnit(cache, VOLUME, FILE, index, bytes)).toBe('hit');
  });

  it('while it waits for room ends at once, and leaves the room to others', async () => {
    const { cache, files } = await openHeld({ budgetBytes: MIB, zoneBytes: 128 * KIB });
    const volume = cache.volume(VOLUME);
    files.hold('zones', 'write');
    const first = volume.put(unitsOf(0, 1, 100_000));
    await files.untilHeld();
    const control = new AbortController();
    const units = unitsOf(1, 1, 100_000);
    const second = volume.put(units, { signal: control.signal });
    const third = volume.put(unitsOf(2, 1, 100_000));
    for (let turns = 0; turns < 5; turns += 1) await turn();
    control.abort(REASON);
    await expect(second).rejects.toBe(REASON);
    overwrite(units);
    expect(await stateOf(first)).toBe('pending');
    files.letGo();
    expect(await Promise.all([first, third])).toEqual([1, 1]);
    for (let index = 3; index < 40; index += 1) expect(await volume.put(unitsOf(index, 1, 100_000))).toBe(1);
    expect(cache.statistics.dropped.space).toBe(0);
    expect(cache.statistics.bytes).toBeLessThanOrEqual(MIB);
  });

  it('just when it is let in gives the room back', async () => {
    const { cache } = await openHeld({ budgetBytes: MIB, zoneBytes: 32 * KIB });
    const volume = cache.volume(VOLUME);
    for (let round = 0; round < 120; round += 1) {
      await volume.put(unitsOf(5000 + round, 1));
      const control = new AbortController();
      const putting = volume.put(unitsOf(round * 7, 7), { signal: control.signal });
      for (let steps = 0; steps < round % 30; steps += 1) await undefined;
      control.abort(REASON);
      await expect(putting).rejects.toBe(REASON);
    }
    // If an aborted call kept any of the budget, calls for more than an eighth of it would wait for ever.
    const puts = Array.from({ length: 20 }, (_, put) => volume.put(unitsOf(1000 + put * 7, 7)));
    expect(await Promise.all(puts)).toEqual(new Array(20).fill(7));
  });

  it('while it is being written waits for that, and for no more', async () => {
    const { cache, files } = await openHeld({ budgetBytes: 8 * MIB, zoneBytes: MIB });
    const volume = cache.volume(VOLUME);
    files.hold('zones', 'write');
    const control = new AbortController();
    const units = [...unitsOf(0, 3, 20_000), ...unitsOf(10, 2000, 72)];
    const putting = volume.put(units, { signal: control.signal });
    await files.untilHeld();
    control.abort(REASON);
    expect(await stateOf(putting)).toBe('pending');
    files.letGo();
    await expect(putting).rejects.toBe(REASON);
    expect(files.busyCount).toBe(0);
    overwrite(units);
    const { stored } = cache.statistics;
    expect(stored).toBeGreaterThan(0);
    expect(stored).toBeLessThan(2003);
    for (const { index, bytes } of unitsOf(0, 3, 20_000))
      expect(await getUnit(cache, VOLUME, FILE, index, bytes)).toBe('hit');
    expect(await collect(cache.verify())).toEqual([]);
    expect(await volume.put(unitsOf(5000, 2))).toBe(2);
  });
});

describe('a dirty batch whose call is aborted', () => {
  const idsOf = async (cache: Cache) => (await collect(cache.listDirty())).map(({ id }) => id);

  it('before it begins is not kept', async () => {
    const { cache } = await openHeld();
    const signal = AbortSignal.abort(REASON);
    await expect(cache.appendDirty(batchOf(0, 2), { signal })).rejects.toBe(REASON);
    expect(await idsOf(cache)).toEqual([]);
  });

  it.each(['write', 'sync'])(
    'while it waits behind the %s of another is not kept, and its memory is not read any more',
    async call => {
      const { cache, files, folder } = await openHeld();
      files.hold('dirty', call);
      const first = cache.appendDirty(batchOf(0, 1));
      await files.untilHeld();
      const control = new AbortController();
      const batch = batchOf(1, 2);
      const second = cache.appendDirty(batch, { signal: control.signal });
      const third = cache.appendDirty(batchOf(3, 1));
      await turn();
      control.abort(REASON);
      await expect(second).rejects.toBe(REASON);
      overwrite(batch.units);
      expect(await stateOf(first)).toBe('pending');
      files.letGo();
      const ids = await Promise.all([first, third]);
      expect(await idsOf(cache)).toEqual(ids);
      await cache.close();
      const again = await openTestCache(folder);
      expect(await idsOf(again)).toEqual(ids);
      expect(await getUnit(again, VOLUME, FILE, 1, unitOf(1))).toBe('miss');
      for (const index of [0, 3])
        expect(await getUnit(again, VOLUME, FILE, index, unitOf(index))).toBe('hit');
    },
  );

  it('while the first zone is being made is not kept, and the next one is', async () => {
    const { cache, files } = await openHeld();
    files.hold('dirty', 'open');
    const control = new AbortController();
    const batch = batchOf(0, 1);
    const first = cache.appendDirty(batch, { signal: control.signal });
    const second = cache.appendDirty(batchOf(1, 1));
    await files.untilHeld();
    control.abort(REASON);
    await expect(first).rejects.toBe(REASON);
    overwrite(batch.units);
    files.letGo();
    const id = await second;
    expect(await idsOf(cache)).toEqual([id]);
  });

  it('in the same turn leaves its place to one that may need another zone', async () => {
    const { cache, folder } = await openHeld({ budgetBytes: MIB, zoneBytes: 32 * KIB });
    const ids = [await cache.appendDirty(batchOf(0, 1, 20_000))];
    const control = new AbortController();
    const small = cache.appendDirty(batchOf(1, 1, 1000), { signal: control.signal });
    const large = cache.appendDirty(batchOf(2, 1, 28_000));
    control.abort(REASON);
    await expect(small).rejects.toBe(REASON);
    ids.push(await large);
    for (const name of readdirSync(`${folder}/dirty`))
      expect(statSync(`${folder}/dirty/${name}`).size).toBeLessThanOrEqual(33 * KIB);
    expect(await idsOf(cache)).toEqual(ids);
  });

  it('while a zone cannot be made costs nobody else a place', async () => {
    const { cache, files } = await openHeld();
    files.hold('dirty', 'open');
    const control = new AbortController();
    const first = cache.appendDirty(batchOf(0, 1), { signal: control.signal });
    const second = cache.appendDirty(batchOf(1, 1));
    await files.untilHeld();
    control.abort(REASON);
    let faults = 1;
    files.fault = (_, call) => {
      if (call !== 'open' || faults === 0) return undefined;
      faults -= 1;
      return Object.assign(new Error('made up'), { code: 'EIO', syscall: 'test' });
    };
    files.letGo();
    await expect(first).rejects.toBe(REASON);
    const id = await second;
    expect(await idsOf(cache)).toEqual([id]);
  });

  it.each(['write', 'sync'])('during its %s is kept, and acknowledged', async call => {
    const { cache, files, folder } = await openHeld();
    files.hold('dirty', call);
    const control = new AbortController();
    const appending = cache.appendDirty(batchOf(0, 3), { signal: control.signal });
    await files.untilHeld();
    control.abort(REASON);
    expect(await stateOf(appending)).toBe('pending');
    files.letGo();
    const id = await appending;
    expect(await idsOf(cache)).toEqual([id]);
    await cache.close();
    const again = await openTestCache(folder);
    expect(await idsOf(again)).toEqual([id]);
    for (const { index, bytes } of unitsOf(0, 3))
      expect(await getUnit(again, VOLUME, FILE, index, bytes)).toBe('hit');
  });

  it('while the disk is full takes nothing clean away', async () => {
    const { cache, files, folder } = await openHeld({ budgetBytes: MIB, zoneBytes: 32 * KIB });
    for (let index = 100; index < 130; index += 1) await cache.volume(VOLUME).put(unitsOf(index, 1));
    files.fault = (path, call) =>
      path.startsWith('dirty') && call === 'sync'
        ? Object.assign(new Error('made up'), { code: 'ENOSPC', syscall: 'test' })
        : undefined;
    files.hold('dirty', 'write');
    const control = new AbortController();
    const appending = cache.appendDirty(batchOf(0, 1), { signal: control.signal });
    await files.untilHeld();
    control.abort(REASON);
    files.letGo();
    await expect(appending).rejects.toBe(REASON);
    files.fault = () => undefined;
    await cache.close();
    expect(cache.statistics.reclaimedZones).toBe(0);
    expect(await idsOf(await openTestCache(folder))).toEqual([]);
  });

  it('at any time is kept if its id was told, and only then', async () => {
    const chance = seededChance(SEED);
    const { cache, files, folder } = await openHeld({ budgetBytes: MIB, zoneBytes: 32 * KIB });
    files.delay = path => (path.startsWith('dirty') ? Math.floor(chance() * 4) : 0);
    const kept: number[] = [];
    let aborted = 0;
    const append = async (number: number): Promise<void> => {
      const control = new AbortController();
      const batch = batchOf(number, 1, 100 + Math.floor(chance() * 8000));
      const appending = cache.appendDirty(batch, { signal: control.signal }).then(
        id => void kept.push(id),
        (error: unknown) => {
          expect(error).toBe(REASON);
          aborted += 1;
          overwrite(batch.units);
        },
      );
      for (let turns = Math.floor(chance() * 6); turns > 0; turns -= 1) await turn();
      if (chance() < 0.7) control.abort(REASON);
      await appending;
    };
    for (let round = 0; round < 40; round += 1) {
      await Promise.all(Array.from({ length: 10 }, (_, at) => append(round * 10 + at)));
    }
    const sorted = kept.toSorted((left, right) => left - right);
    expect(await idsOf(cache), `seed ${SEED}`).toEqual(sorted);
    expect(aborted).toBeGreaterThan(20);
    expect(kept.length).toBeGreaterThan(20);
    expect(files.violations).toEqual([]);
    await cache.close();
    const again = await openTestCache(folder, { budgetBytes: MIB, zoneBytes: 32 * KIB });
    expect(await idsOf(again), `seed ${SEED}`).toEqual(sorted);
    expect(await collect(again.verify())).toEqual([]);
  });
});

describe('releasing and flushing', () => {
  it('that are aborted leave the rest to be done again', async () => {
    const { cache } = await openHeld({ budgetBytes: 8 * MIB, zoneBytes: MIB });
    const ids = [];
    for (let batch = 0; batch < 3; batch += 1)
      ids.push(await cache.appendDirty(batchOf(batch * 4096, 4096, 72)));
    await expect(cache.releaseDirty(ids, { signal: AbortSignal.abort(REASON) })).rejects.toBe(REASON);
    expect(cache.statistics.dirtyBatches).toBe(3);
    const control = new AbortController();
    const releasing = cache.releaseDirty(ids, { signal: control.signal });
    control.abort(REASON);
    await expect(releasing).rejects.toBe(REASON);
    expect(cache.statistics).toMatchObject({ dirtyBatches: 2, dirtyUnits: 8192 });
    await cache.releaseDirty(ids, { signal: new AbortController().signal });
    expect(cache.statistics).toMatchObject({ dirtyBatches: 0, dirtyUnits: 0 });
  });

  it('do not keep a caller who has gone waiting, nor closing from waiting for what is under way', async () => {
    const { cache, files, folder } = await openHeld();
    await cache.volume(VOLUME).put(unitsOf(0, 3));
    await expect(cache.flush({ signal: AbortSignal.abort(REASON) })).rejects.toBe(REASON);
    expect(cache.statistics.snapshots).toBe(0);
    files.hold('index', 'open');
    const control = new AbortController();
    const flushing = cache.flush({ signal: control.signal });
    await files.untilHeld();
    control.abort(REASON);
    await expect(flushing).rejects.toBe(REASON);
    const closing = cache.close();
    expect(await stateOf(closing)).toBe('pending');
    files.letGo();
    await closing;
    expect(files.violations).toEqual([]);
    const again = await openTestCache(folder);
    expect(await getUnit(again, VOLUME, FILE, 0, unitOf(0))).toBe('hit');
  });
});

describe('signals', () => {
  it('that are never aborted keep nothing of the calls they were given to', async () => {
    const { cache } = await openHeld();
    const { signal } = new AbortController();
    await cache.volume(VOLUME).put(unitsOf(0, 3), { signal });
    const id = await cache.appendDirty(batchOf(10, 2), { signal });
    await cache.releaseDirty([id], { signal });
    await cache.flush({ signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('that are aborted when all is done change nothing', async () => {
    const { cache } = await openHeld();
    const control = new AbortController();
    expect(await cache.volume(VOLUME).put(unitsOf(0, 3), { signal: control.signal })).toBe(3);
    await cache.appendDirty(batchOf(10, 2), { signal: control.signal });
    control.abort(REASON);
    expect(cache.statistics).toMatchObject({ stored: 3, dirtyBatches: 1 });
  });
});

import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import type { UnitToGet } from '../../src/cache/cache-volume.ts';
import { FaultyFiles } from './faulty-files.ts';
import { getUnit, idOf, KIB, MIB, newFolder, openTestCache, tagOf, unitOf } from './support.ts';
import { WatchedFiles } from './watched-files.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);

function watched(folder: string): { files: WatchedFiles; disk: FaultyFiles } {
  const disk = new FaultyFiles(folder, seededChance(1));
  return { disk, files: new WatchedFiles(disk) };
}

function unitsOf(
  count: number,
  lengthBytes: number,
): { objectId: Uint8Array; index: number; bytes: Uint8Array }[] {
  return Array.from({ length: count }, (_, index) => ({
    objectId: FILE,
    index,
    bytes: unitOf(index, lengthBytes),
  }));
}

function requestsFor(
  units: readonly { objectId: Uint8Array; index: number; bytes: Uint8Array }[],
): UnitToGet[] {
  return units.map(({ objectId, index, bytes }) => ({
    objectId,
    index,
    expectedTag: tagOf(bytes),
    into: new Uint8Array(bytes.byteLength),
  }));
}

describe('reads', () => {
  it.each([true, false])('that are aborted have ended when the call rejects (here: %s)', async here => {
    const folder = newFolder();
    const { files } = watched(folder);
    const settings = { budgetBytes: 16 * MIB, zoneBytes: MIB, readsOnThisThread: here };
    const cache = await openTestCache(folder, settings, { files });
    const units = unitsOf(60, 100_000);
    await cache.volume(VOLUME).put(units);
    files.delay = (_, call) => (call === 'read' ? 5 : 0);
    let abortedCount = 0;
    for (let turns = 0; turns < 12; turns += 1) {
      const abort = new AbortController();
      const reason = new Error('enough');
      const reading = cache.volume(VOLUME).get(requestsFor(units), { signal: abort.signal });
      const outcome = reading.then(
        () => undefined,
        (error: unknown) => ({ error, busyCount: files.busyCount }),
      );
      for (let passed = 0; passed < turns; passed += 1) await turn();
      abort.abort(reason);
      const rejection = await outcome;
      if (rejection !== undefined) expect(rejection).toEqual({ error: reason, busyCount: 0 });
      if (rejection !== undefined) abortedCount += 1;
    }
    expect(abortedCount).toBeGreaterThan(3);
    // No read waits.
    expect(await cache.volume(VOLUME).get(requestsFor(units))).toEqual(units.map(() => 100_000));
    await cache.close();
    expect(files.openCount).toBe(0);
  });

  it('may ask for a unit twice, for none, into nothing, and for very many', async () => {
    const cache = await openTestCache(newFolder(), { budgetBytes: 32 * MIB, unitsMax: 20_000 });
    const volume = cache.volume(VOLUME);
    const units = unitsOf(10_000, 1200);
    await volume.put(units);
    expect(await volume.get([])).toEqual([]);
    const [first] = units;
    const twice = requestsFor([first!, first!, units[1]!, first!]);
    expect(await volume.get(twice)).toEqual([1200, 1200, 1200, 1200]);
    for (const at of [0, 1, 3]) expect(Buffer.compare(twice[at]!.into, first!.bytes)).toBe(0);
    const nothing = { ...requestsFor([first!])[0]!, into: new Uint8Array(0) };
    expect(await volume.get([nothing])).toEqual([0]);
    const all = requestsFor(units.toReversed());
    expect(new Set(await volume.get(all))).toEqual(new Set([1200]));
    for (const [at, { bytes }] of units.toReversed().entries())
      expect(Buffer.compare(all[at]!.into, bytes)).toBe(0);
  });

  it('of a slow disk leave this thread alone, more and more', async () => {
    const folder = newFolder();
    const { files } = watched(folder);
    const clock = { ms: 0 };
    const cache = await openTestCache(folder, {}, { files, monotonicMs: () => clock.ms });
    const units = unitsOf(200, 4168);
    await cache.volume(VOLUME).put(units);
    const hereAtMs: number[] = [];
    files.onNow = () => {
      hereAtMs.push(clock.ms);
      clock.ms += 20;
    };
    for (let at = 0; clock.ms < 2000; at = (at + 7) % units.length) {
      expect(await getUnit(cache, VOLUME, FILE, at, units[at]!.bytes)).toBe('hit');
      clock.ms += 1;
    }
    // Each time for twice as long: 200, 400, 800 ms after the read.
    expect(hereAtMs).toEqual([0, 220, 640, 1460]);
  });

  it('of large units share the work with the pool, and find all of them', async () => {
    const folder = newFolder();
    const { files } = watched(folder);
    const settings = { budgetBytes: 32 * MIB, zoneBytes: 2 * MIB };
    // All reads are fast.
    const cache = await openTestCache(folder, settings, { files, monotonicMs: () => 0 });
    const units = [...unitsOf(64, 100_000), { objectId: idOf(7), index: 0, bytes: unitOf(1, 1_500_000) }];
    await cache.volume(VOLUME).put(units);
    const requests = requestsFor(units);
    expect(await cache.volume(VOLUME).get(requests)).toEqual(units.map(({ bytes }) => bytes.byteLength));
    for (const [at, { bytes }] of units.entries()) expect(Buffer.compare(requests[at]!.into, bytes)).toBe(0);
    expect(files.nowCount).toBeGreaterThan(5);
    expect(files.nowCount).toBeLessThan(64);
  });

  it('of dirty units that are damaged miss, and leave them where they are', async () => {
    const folder = newFolder();
    const { files, disk } = watched(folder);
    const cache = await openTestCache(folder, {}, { files });
    const bytes = unitOf(1);
    await cache.appendDirty({ units: [{ volumeId: VOLUME, objectId: FILE, index: 0, bytes }] });
    const [zone] = [...disk.contents()].filter(([path]) => path.startsWith('dirty/'));
    const at = Buffer.from(zone![1]).indexOf(tagOf(bytes));
    zone![1][at] = zone![1][at]! ^ 1;
    expect(await getUnit(cache, VOLUME, FILE, 0, bytes)).toBe('miss');
    // As a bad cable may cause.
    zone![1][at] = zone![1][at]! ^ 1;
    expect(await getUnit(cache, VOLUME, FILE, 0, bytes)).toBe('hit');
    expect(await cache.volume(VOLUME).put([{ objectId: FILE, index: 0, bytes: unitOf(2) }])).toBe(0);
  });

  it('end and let go of everything when who is told of problems throws', async () => {
    const warning = once(process, 'warning');
    const folder = newFolder();
    const { files } = watched(folder);
    const settings = { budgetBytes: 16 * MIB, zoneBytes: MIB, readsOnThisThread: false };
    const cache = await openTestCache(folder, settings, {
      files,
      onProblem: () => {
        throw new Error('told');
      },
    });
    const units = unitsOf(40, 100 * KIB);
    await cache.volume(VOLUME).put(units);
    files.fault = (_, call) =>
      call === 'read' ? Object.assign(new Error('made up'), { code: 'EIO', syscall: 'test' }) : undefined;
    files.delay = () => 3;
    expect(await cache.volume(VOLUME).get(requestsFor(units))).toEqual(units.map(() => 0));
    expect(files.busyCount).toBe(0);
    expect(String(await warning)).toContain('told');
    await cache.close();
    expect(files.openCount).toBe(0);
    expect(files.violations).toEqual([]);
  });
});

/**
 * A real disk that is full, read-only or gone. It is a small file system in memory, which only root can
 * mount.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { CacheSettings } from '../../src/cache/base/settings.ts';
import type { ProblemKind } from '../../src/cache/base/statistics.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const DISK_BYTES = 4 * MIB;
const SETTINGS: CacheSettings = { budgetBytes: 2 * MIB, zoneBytes: 64 * KIB };

const mounted: string[] = [];

afterEach(() => {
  for (const folder of mounted.splice(0)) execFileSync('umount', ['-l', folder]);
});

/** Undefined where this user may not mount anything. */
function mountDisk(): string | undefined {
  const folder = newFolder();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'netseal-test', folder], {
      stdio: 'pipe',
    });
  } catch {
    return undefined;
  }
  mounted.push(folder);
  return folder;
}

const canMount = mountDisk() !== undefined;
if (!canMount) console.log('not tested without root: disks that are full, read-only or gone');

function disk(): string {
  const folder = mountDisk();
  if (folder === undefined) throw new Error('the disk cannot be mounted');
  return folder;
}

/** Fills the disk to the last block. */
function fill(folder: string): void {
  for (let part = 0; ; part += 1) {
    const { bavail, bsize } = statfsSync(folder);
    if (bavail === 0) return;
    writeFileSync(`${folder}/filler-${part}`, new Uint8Array(bavail * bsize));
  }
}

function unfill(folder: string): void {
  for (let part = 0; part < 10; part += 1) rmSync(`${folder}/filler-${part}`, { force: true });
}

async function openOn(folder: string) {
  const clock = { nowMs: 1e12 };
  const problems: ProblemKind[] = [];
  const cache = await openTestCache(`${folder}/cache`, SETTINGS, {
    nowMs: () => clock.nowMs,
    onProblem: kind => void problems.push(kind),
  });
  const put = (index: number) => cache.volume(VOLUME).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
  const get = (index: number) => getUnit(cache, VOLUME, FILE, index, unitOf(index));
  return { cache, clock, problems, put, get };
}

const dirtyUnit = (index: number) => ({
  units: [{ volumeId: VOLUME, objectId: idOf(7), index, bytes: unitOf(5000 + index, 20_000) }],
  payload: Buffer.from(`${index}`),
});

async function listed(cache: Cache): Promise<number[]> {
  return (await collect(cache.listDirty())).map(({ payload }) => Number(Buffer.from(payload).toString()));
}

describe.skipIf(!canMount)('a disk', () => {
  it('that others fill: nothing fails, what is clean makes room for what is dirty, and it comes back', async () => {
    const folder = disk();
    const { cache, clock, problems, put, get } = await openOn(folder);
    const volume = cache.volume(VOLUME);
    volume.setCoherency(FILE, Buffer.from('before'));
    for (let index = 0; index < 100; index += 1) expect(await put(index)).toBe(1);
    fill(folder);
    for (let index = 100; index < 400; index += 1) {
      await put(index);
      volume.setCoherency(FILE, Buffer.from(`state ${index}`));
      clock.nowMs += 200;
      if (index % 5 === 0) await cache.maintain();
    }
    // One report for the disk and one for the database, however many attempts there were.
    expect([...new Set(problems)].sort()).toEqual([...problems].sort());
    expect(problems).toContain('full');
    expect(volume.coherency(FILE)).toEqual(new Uint8Array(Buffer.from('state 399')));
    expect(await get(99)).not.toBe('wrong');
    // Reads go on from what is there.
    clock.nowMs += 120_000;
    await cache.maintain();
    const acknowledged: number[] = [];
    for (let index = 0; index < 10; index += 1) {
      clock.nowMs += 1000;
      const id = await cache.appendDirty(dirtyUnit(index)).catch((error: unknown) => error);
      if (typeof id === 'number') acknowledged.push(index);
      else expect(id).toMatchObject({ code: 'EFULL' });
    }
    expect(acknowledged.length).toBeGreaterThan(0);
    expect(await listed(cache)).toEqual(acknowledged);
    unfill(folder);
    clock.nowMs += 120_000;
    await cache.maintain();
    expect(cache.statistics.state).toBe('ready');
    expect(await put(500)).toBe(1);
    expect(await get(500)).toBe('hit');
    await cache.close();
    const again = await openOn(folder);
    expect(await again.get(500)).toBe('hit');
    expect(await listed(again.cache)).toEqual(acknowledged);
    expect(again.cache.volume(VOLUME).coherency(FILE)).toEqual(new Uint8Array(Buffer.from('state 399')));
  });

  it('that is full when a cache on it is opened and closed: what is there is served', async () => {
    const folder = disk();
    const first = await openOn(folder);
    for (let index = 0; index < 60; index += 1) await first.put(index);
    const id = await first.cache.appendDirty(dirtyUnit(1));
    first.cache.volume(VOLUME).pin(FILE);
    await first.cache.close();
    fill(folder);
    const second = await openOn(folder);
    expect(await second.get(59)).toBe('hit');
    expect(await listed(second.cache)).toEqual([1]);
    await second.cache.releaseDirty([id]);
    await second.put(70);
    await second.cache.close();
    unfill(folder);
    const third = await openOn(folder);
    expect(await third.get(59)).toBe('hit');
    expect(third.cache.pins()).toHaveLength(1);
    expect(third.cache.statistics.problems).toMatchObject({ damaged: 0, database: 0 });
  });

  it('on which there is no room for a new cache: an error that says so, and no harm', async () => {
    const folder = disk();
    mkdirSync(`${folder}/cache`);
    fill(folder);
    await expect(openOn(folder)).rejects.toMatchObject({ code: 'EFULL' });
    unfill(folder);
    const { put } = await openOn(folder);
    expect(await put(1)).toBe(1);
  });

  it('that turns read-only: reads go on, dirty data is refused, and it comes back', async () => {
    const folder = disk();
    const { cache, clock, problems, put, get } = await openOn(folder);
    for (let index = 0; index < 60; index += 1) await put(index);
    await cache.appendDirty(dirtyUnit(1));
    await cache.flush();
    // Files that are open for writing keep a disk from turning read-only; so a second, read-only view of it
    // is put on top.
    execFileSync('mount', ['--bind', folder, folder]);
    execFileSync('mount', ['-o', 'remount,bind,ro', folder]);
    mounted.push(folder);
    expect(await get(30)).toBe('hit');
    for (let index = 60; index < 160; index += 1) await put(index);
    const acknowledged = [1];
    for (let index = 2; index < 10; index += 1) {
      const id = await cache.appendDirty(dirtyUnit(index)).catch((error: unknown) => error);
      if (typeof id === 'number') acknowledged.push(index);
      else expect(id).toMatchObject({ code: 'EDENIED' });
    }
    expect(acknowledged.length).toBeLessThan(9);
    cache.volume(VOLUME).pin(FILE);
    expect(cache.statistics.state).toBe('away');
    expect(problems.filter(kind => kind === 'denied')).toHaveLength(1);
    execFileSync('umount', ['-l', mounted.pop() ?? '']);
    clock.nowMs += 120_000;
    await cache.maintain();
    expect(cache.statistics.state).toBe('ready');
    expect(await put(200)).toBe(1);
    await cache.appendDirty(dirtyUnit(20));
    await cache.close();
    const again = await openOn(folder);
    expect(await listed(again.cache)).toEqual([...acknowledged, 20]);
    expect(again.cache.pins()).toHaveLength(1);
    await again.cache.close();
    execFileSync('mount', ['-o', 'remount,ro', folder]);
    await expect(openOn(folder)).rejects.toMatchObject({ code: 'EDENIED' });
  });

  it('that is taken out: nothing fails, and a cache that is opened then is another one', async () => {
    const folder = disk();
    const { cache, clock, put, get } = await openOn(folder);
    for (let index = 0; index < 60; index += 1) await put(index);
    execFileSync('umount', ['-l', mounted.pop() ?? '']);
    await cache.maintain();
    expect(cache.statistics.state).toBe('away');
    for (let index = 60; index < 100; index += 1) await put(index);
    expect(await get(80)).toBe('miss');
    clock.nowMs += 120_000;
    await cache.maintain();
    // The cache goes on in the folder below the mount.
    expect(cache.statistics.state).toBe('ready');
    expect(await put(300)).toBe(1);
    expect(await get(300)).toBe('hit');
    await cache.close();
    expect(await (await openOn(folder)).get(300)).toBe('hit');
  });
});

import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import type { CacheEvent, ProblemKind } from '../../src/cache/base/statistics.ts';
import { FaultyFiles, NO_FAULTS } from './faulty-files.ts';
import { getUnit, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const SETTINGS = { budgetBytes: MIB, zoneBytes: 16 * KIB };

async function openFaulty() {
  const folder = newFolder();
  const files = new FaultyFiles(folder, seededChance(1));
  const clock = { nowMs: 1e12 };
  const problems: ProblemKind[] = [];
  const events: CacheEvent['type'][] = [];
  const cache = await openTestCache(folder, SETTINGS, {
    files,
    nowMs: () => clock.nowMs,
    onProblem: kind => void problems.push(kind),
    onEvent: ({ type }) => void events.push(type),
  });
  const put = (index: number) => cache.volume(VOLUME).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
  return { cache, files, clock, problems, events, put };
}

const dirtyUnit = { units: [{ volumeId: VOLUME, objectId: FILE, index: 900, bytes: unitOf(900) }] };

describe('the cache steps aside, says so once, and comes back', () => {
  it.each([
    ['the disk is full', { ...NO_FAULTS, ENOSPC: 1 }, undefined, 'full', 'EFULL'],
    ['writes fail', { ...NO_FAULTS, EIO: 1 }, undefined, 'io', 'EIO'],
    ['the folder is read-only', NO_FAULTS, 'EROFS', 'denied', 'EDENIED'],
    ['the folder is gone', NO_FAULTS, 'ENOENT', 'gone', 'EIO'],
    ['the folder is forbidden', NO_FAULTS, 'EACCES', 'denied', 'EDENIED'],
    ['the server of the folder forgot it', NO_FAULTS, 'ESTALE', 'gone', 'EIO'],
    ['the share of the disk is used up', NO_FAULTS, 'EDQUOT', 'full', 'EFULL'],
  ] as const)('when %s', async (_, rates, broken, kind, code) => {
    const { cache, files, clock, problems, events, put } = await openFaulty();
    expect(await put(0)).toBe(1);
    files.rates = rates;
    files.broken = broken;
    await expect(cache.appendDirty(dirtyUnit)).rejects.toMatchObject({ code });
    for (let index = 1; index < 50; index += 1) {
      expect(await put(index)).toBe(0);
      clock.nowMs += 100;
    }
    expect(await getUnit(cache, VOLUME, FILE, 30, unitOf(30))).toBe('miss');
    expect(problems).toEqual([kind]);
    expect(cache.statistics.state).toBe('away');
    const { failed, space, away } = cache.statistics.dropped;
    expect(failed + space + away).toBe(49);
    expect(events.filter(type => type === 'away')).toHaveLength(1);

    files.rates = NO_FAULTS;
    files.broken = undefined;
    clock.nowMs += 120_000;
    await cache.maintain();
    expect(cache.statistics.state).toBe('ready');
    expect(events.filter(type => type === 'back')).toHaveLength(1);
    expect(await put(60)).toBe(1);
    expect(await getUnit(cache, VOLUME, FILE, 60, unitOf(60))).toBe('hit');
    await expect(cache.appendDirty(dirtyUnit)).resolves.toBeGreaterThan(0);
    expect(await getUnit(cache, VOLUME, FILE, 900, unitOf(900))).toBe('hit');
  });

  it('when a real folder vanishes and an empty one takes its place', async () => {
    const folder = newFolder();
    const clock = { nowMs: 1e12 };
    const settings = { budgetBytes: MIB, zoneBytes: 16 * KIB };
    const cache = await openTestCache(folder, settings, { nowMs: () => clock.nowMs });
    const put = (index: number) =>
      cache.volume(VOLUME).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
    for (let index = 0; index < 10; index += 1) await put(index);
    renameSync(folder, `${folder}-away`);
    for (let index = 10; index < 40; index += 1) await put(index);
    expect(cache.statistics.state).toBe('away');
    mkdirSync(folder);
    clock.nowMs += 120_000;
    await cache.maintain();
    expect(cache.statistics.state).toBe('ready');
    expect(await put(50)).toBe(1);
    await cache.close();
    const again = await openTestCache(folder, settings);
    expect(await getUnit(again, VOLUME, FILE, 50, unitOf(50))).toBe('hit');
    rmSync(`${folder}-away`, { recursive: true });
    chmodSync(folder, 0o700);
  });

  it('while a clock that is set back keeps it away no longer', async () => {
    const { cache, files, clock, put } = await openFaulty();
    files.broken = 'EIO';
    await put(0);
    expect(cache.statistics.state).toBe('away');
    files.broken = undefined;
    clock.nowMs -= 1e9;
    await cache.maintain();
    expect(cache.statistics.state).toBe('ready');
  });

  it('once, also when small writes work and large ones do not, and with growing pauses', async () => {
    const { cache, files, clock, problems, events, put } = await openFaulty();
    // The probe's 4 KiB find room; the unit does not.
    files.writeBytesMax = 4096;
    let attempts = 0;
    for (let second = 0; second < 600; second += 1) {
      const before = cache.statistics.problems.full;
      await put(second);
      attempts += cache.statistics.problems.full - before;
      clock.nowMs += 1000;
      await cache.maintain();
    }
    expect(problems).toEqual(['full']);
    expect(attempts).toBeLessThan(30);
    files.writeBytesMax = Number.POSITIVE_INFINITY;
    clock.nowMs += 61_000;
    await cache.maintain();
    expect(await put(1000)).toBe(1);
    expect(events.at(-1)).toBe('back');
    // A minute later it counts as a new problem.
    clock.nowMs += 61_000;
    files.broken = 'ENOSPC';
    expect(await put(1001)).toBe(0);
    expect(problems).toEqual(['full', 'full']);
    clock.nowMs += 600;
    files.broken = undefined;
    await cache.maintain();
    expect(cache.statistics.state).toBe('ready');
  });
});

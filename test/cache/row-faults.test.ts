/**
 * A database that fails for a while: invalidated units stay invalidated, pins stay, and memory stays bounded.
 */
import { cpSync, renameSync, rmSync, truncateSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { ROW_KINDS } from '../../src/cache/rows/row.ts';
import { IS_LONG } from '../support/soak.ts';
import { crashed, failDatabases, rowCount } from './database-faults.ts';
import { collect, getUnit, idOf, KIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const OTHER = idOf(2);

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}

async function putAll(cache: Cache, objects: Iterable<number>): Promise<void> {
  for (const object of objects) {
    await cache.volume(VOLUME).put([{ objectId: idOf(object), index: 0, bytes: unitOf(object, 200) }]);
  }
}

async function found(cache: Cache, objects: Iterable<number>): Promise<number[]> {
  const hits: number[] = [];
  for (const object of objects) {
    if ((await getUnit(cache, VOLUME, idOf(object), 0, unitOf(object, 200))) === 'hit') hits.push(object);
  }
  return hits;
}

/** A cache with units of objects that lie in zones with footers. */
async function filled(folder: string, objects: Iterable<number>, rowsMax: number): Promise<Cache> {
  const cache = await openTestCache(folder, { rowsMax, unitsMax: 20_000 });
  await putAll(cache, objects);
  await cache.close();
  return openTestCache(folder, { rowsMax, unitsMax: 20_000 });
}

describe('what was invalidated stays so', () => {
  it('where floors were written, and that there are any was not', async () => {
    const faults = failDatabases();
    const folder = newFolder();
    const cache = await filled(folder, numbers(0, 100), 16);
    for (const object of numbers(0, 60)) cache.volume(VOLUME).invalidate(idOf(object));
    faults.writes = kind => kind === ROW_KINDS.volume;
    for (let round = 0; round < 4; round += 1) await cache.maintain();
    faults.writes = undefined;
    expect(await found(await openTestCache(crashed(folder)), numbers(0, 60))).toEqual([]);
  });

  it('where rows could not be counted at opening', async () => {
    const faults = failDatabases();
    const folder = newFolder();
    const cache = await filled(folder, numbers(0, 20), 1000);
    for (const object of numbers(0, 10)) cache.volume(VOLUME).invalidate(idOf(object));
    await cache.close();
    faults.gets = (kind, isCount) => isCount && kind === ROW_KINDS.object;
    expect(await found(await openTestCache(folder), numbers(0, 10))).toEqual([]);
  });

  it.runIf(IS_LONG)(
    'where the database is lost with its disk, while the rest of the folder comes back',
    async () => {
      const folder = newFolder();
      const cache = await filled(folder, numbers(0, 10), 100_000);
      const volume = cache.volume(VOLUME);
      // More than SQLite keeps in memory.
      const key = new Uint8Array(4000);
      for (const object of numbers(1000, 3000)) {
        key.set(idOf(object));
        volume.setCookie(idOf(object), { key });
      }
      volume.invalidate(idOf(3));
      // What was looked up lately is remembered.
      for (const object of numbers(10_000, 10_000 + 70_000)) volume.has({ objectId: idOf(object), index: 0 });
      await cache.flush();
      await collect(volume.cookies());
      cpSync(folder, `${folder}.copy`, { recursive: true });
      renameSync(folder, `${folder}.away`);
      onTestFinished(() => rmSync(`${folder}.away`, { recursive: true, force: true }));
      renameSync(`${folder}.copy`, folder);
      truncateSync(`${folder}.away/cache.db`, 4096);
      for (let round = 0; round < 4; round += 1) {
        await cache.maintain();
        await new Promise(resolve => setTimeout(resolve, 300));
      }
      expect(cache.statistics.state).toBe('ready');
      expect(await found(cache, numbers(0, 10))).not.toContain(3);
      await putAll(cache, [20]);
      await cache.close();
      expect(await found(await openTestCache(folder), [3, 20])).toEqual([20]);
    },
  );
});

describe('a database that cannot be written', () => {
  it('costs what is not pinned, bounded memory, and little time', async () => {
    const faults = failDatabases();
    const folder = newFolder();
    const rowsMax = 1000;
    let cache = await filled(folder, numbers(0, 3000), rowsMax);
    let volume = cache.volume(VOLUME);
    volume.pin(idOf(2999), { unitCount: 1 });
    volume.setCoherency(idOf(2998), utf8('old'));
    await volume.pinPrefix(utf8('keep'));
    await cache.flush();
    faults.writes = () => true;
    volume.setCookie(idOf(2997), { key: utf8('keep/1'), unitCount: 1 });
    volume.setCoherency(idOf(2998), utf8('new'));
    for (const object of numbers(0, 2900)) {
      volume.invalidate(idOf(object));
      volume.setCookie(idOf(object), { key: utf8(`other/${object}`) });
      if (object % 500 === 0) await cache.maintain();
    }
    for (let round = 0; round < 3; round += 1) await cache.maintain();
    const before = faults.writeCount;
    await cache.maintain();
    expect(faults.writeCount - before).toBeLessThan(600);
    expect(await found(cache, numbers(0, 2900))).toEqual([]);
    expect(await found(cache, [2999])).toEqual([2999]);
    expect(volume.coherency(idOf(2998))).not.toEqual(utf8('old'));
    expect(volume.cookie(idOf(2997))).toBeDefined();
    await putAll(cache, [1]);
    expect(await found(cache, [1])).toEqual([1]);
    faults.writes = undefined;
    for (let round = 0; round < 3; round += 1) await cache.maintain();
    expect(rowCount(folder, ROW_KINDS.object)).toBeLessThanOrEqual(rowsMax);
    expect(rowCount(folder, ROW_KINDS.cookie)).toBeLessThanOrEqual(rowsMax);
    await cache.close();
    cache = await openTestCache(folder, { rowsMax, unitsMax: 20_000 });
    volume = cache.volume(VOLUME);
    expect(await found(cache, numbers(2, 2900))).toEqual([]);
    expect(await found(cache, [1, 2999])).toEqual([1, 2999]);
    expect(volume.coherency(idOf(2998))).not.toEqual(utf8('old'));
    expect((await collect(cache.incomplete())).map(({ objectId }) => objectId)).toEqual([]);
  });

  it('and has older versions of many rows does not cost others their units, again and again', async () => {
    const faults = failDatabases();
    const cache = await filled(newFolder(), [], 1000);
    const volume = cache.volume(VOLUME);
    for (const object of numbers(0, 600)) volume.invalidate(idOf(object));
    faults.writes = () => true;
    for (const object of numbers(0, 600)) volume.invalidate(idOf(object));
    for (let round = 0; round < 2; round += 1) await cache.maintain();
    await putAll(cache, [700]);
    for (let round = 0; round < 3; round += 1) await cache.maintain();
    expect(await found(cache, [700])).toEqual([700]);
  });

  it('that has too many rows does not cost those that have none their units, again and again', async () => {
    const faults = failDatabases();
    const cache = await filled(newFolder(), numbers(0, 2000), 1000);
    const kept = await found(cache, numbers(1200, 2000));
    for (const object of numbers(0, 1200)) cache.volume(VOLUME).invalidate(idOf(object));
    faults.writes = () => true;
    for (let round = 0; round < 3; round += 1) await cache.maintain();
    expect(await found(cache, kept)).toEqual(kept);
  });
});

describe('more pinned objects than there may be rows', () => {
  it('are not looked through all the time', async () => {
    const faults = failDatabases();
    const cache = await filled(newFolder(), [], 500);
    const volume = cache.volume(VOLUME);
    for (const object of numbers(0, 1000)) {
      volume.pin(idOf(object), { unitCount: 1 });
      volume.setCookie(idOf(object), { key: utf8(`${object}`) });
    }
    for (let round = 0; round < 3; round += 1) await cache.maintain();
    const before = faults.pageCount;
    for (let round = 0; round < 5; round += 1) await cache.maintain();
    expect(faults.pageCount - before).toBe(0);
    for (const object of numbers(1000, 1200)) volume.invalidate(idOf(object));
    for (let round = 0; round < 3; round += 1) await cache.maintain();
    expect(faults.pageCount).toBeGreaterThan(before);
  });
});

describe('a prefix', () => {
  it('that could not be compared with all cookies is told, and compared again by the next process', async () => {
    const faults = failDatabases();
    const folder = newFolder();
    let cache = await openTestCache(folder);
    for (const object of numbers(0, 300)) {
      cache.volume(VOLUME).setCookie(idOf(object), { key: utf8(`a/${object}`), unitCount: 1 });
    }
    let pages = 0;
    faults.pages = kind => {
      if (kind === ROW_KINDS.cookie) pages += 1;
      return pages === 3;
    };
    await expect(cache.volume(VOLUME).pinPrefix(utf8('a/'))).rejects.toMatchObject({ code: 'EIO' });
    faults.pages = undefined;
    expect(cache.pins()).toHaveLength(1);
    await cache.close();
    cache = await openTestCache(folder);
    await expect.poll(async () => (await collect(cache.incomplete())).length).toBe(300);
    faults.pages = kind => kind === ROW_KINDS.cookie;
    await expect(collect(cache.volume(VOLUME).cookies())).rejects.toMatchObject({ code: 'EIO' });
  });
});

describe('lists', () => {
  it.each(['close', 'wipe'] as const)('end with ECLOSED after %s, and touch nothing', async how => {
    const problems: unknown[] = [];
    const cache = await openTestCache(
      newFolder(),
      { zoneBytes: 16 * KIB },
      { onProblem: (_, error) => problems.push(error) },
    );
    const volume = cache.volume(VOLUME);
    await putAll(cache, numbers(0, 300));
    for (const object of numbers(0, 300)) {
      volume.setCookie(idOf(object), { key: utf8(`a/${object}`), unitCount: 3 });
    }
    await volume.pinPrefix(utf8('a/'));
    const lists = [volume.cookies(), cache.incomplete(), cache.contents(), cache.verify()];
    // One listing that is abandoned, and one that is ended.
    void cache.contents().next();
    for await (const { objectId } of volume.cookies()) if (objectId !== undefined) break;
    for (const list of lists.slice(0, 3)) expect((await list.next()).done).toBe(false);
    const rest = lists.map(list => collect<unknown>(list));
    const ends = Promise.allSettled(rest);
    const startMs = performance.now();
    await cache[how]();
    expect(performance.now() - startMs).toBeLessThan(30_000);
    for (const end of (await ends).slice(0, 3)) {
      // What was gathered before counts as well.
      if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'ECLOSED' });
    }
    expect(problems).toEqual([]);
  });

  it('that go on after closing reject', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    await putAll(cache, numbers(0, 300));
    for (const object of numbers(0, 300)) {
      volume.pin(idOf(object), { unitCount: 3 });
      volume.setCookie(idOf(object), { key: utf8(`a/${object}`) });
    }
    const lists = [volume.cookies(), cache.incomplete(), cache.contents()];
    for (const list of lists) await list.next();
    await cache.close();
    for (const list of lists) {
      await expect(collect<unknown>(list)).rejects.toMatchObject({ code: 'ECLOSED' });
    }
  });
});

describe('volumes that made room', () => {
  it('do not come back for what zones still have of them, and keep no zone from being given up', async () => {
    const folder = newFolder();
    const settings = { budgetBytes: 256 * KIB, zoneBytes: 16 * KIB };
    let cache = await openTestCache(folder, settings);
    const put = (volumeId: Uint8Array, from: number, count: number) =>
      cache
        .volume(volumeId)
        .put(numbers(from, from + count).map(index => ({ objectId: idOf(9), index, bytes: unitOf(index) })));
    await put(OTHER, 0, 2);
    cache.volume(OTHER).invalidateAll();
    await put(VOLUME, 0, 30);
    cache.volume(VOLUME).pin(idOf(10));
    await cache.close();
    cache = await openTestCache(folder, settings);
    // As many volumes as there may be; VOLUME is one of them, OTHER is not.
    for (const number of numbers(10_000, 10_000 + 4095)) cache.volume(idOf(number));
    cache.volume(VOLUME);
    expect(() => cache.volume(OTHER)).toThrow(expect.objectContaining({ code: 'EFULL' }));
    expect(await collect(cache.contents())).toHaveLength(30);
    for (let from = 100; from < 500; from += 10) expect(await put(VOLUME, from, 10)).toBe(10);
    expect(cache.statistics.problems).toMatchObject({ full: 0, io: 0 });
    await cache.close();
  });
});

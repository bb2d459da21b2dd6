/** The keys of a cache are changed and destroyed, also with a crash or a failure half-way. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { systemFiles } from '../../src/cache/base/files.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { openCache } from '../../src/cache/open.ts';
import { codeOf } from '../volume/support.ts';
import { FaultyFiles } from './faulty-files.ts';
import { crashKey } from './fixtures/crash-plan.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const SETTINGS = { budgetBytes: MIB, zoneBytes: 16 * KIB, disk: false, maintenanceMs: 0 } as const;

const slotOf = (key: number) => ({
  label: 'test',
  secret: { type: 'raw-key', key: crashKey(key) } as const,
});

async function fill(cache: Cache): Promise<void> {
  const volume = cache.volume(VOLUME);
  for (let index = 0; index < 20; index += 1)
    await volume.put([{ objectId: FILE, index, bytes: unitOf(index) }]);
  volume.setCoherency(FILE, Buffer.from('state'));
  const units = [{ volumeId: VOLUME, objectId: FILE, index: 50, bytes: unitOf(50) }];
  await cache.appendDirty({ units, payload: Buffer.from('batch') });
}

async function checkFull(cache: Cache): Promise<void> {
  expect(await getUnit(cache, VOLUME, FILE, 3, unitOf(3))).toBe('hit');
  expect(await getUnit(cache, VOLUME, FILE, 50, unitOf(50))).toBe('hit');
  expect(cache.volume(VOLUME).coherency(FILE)).toEqual(new Uint8Array(Buffer.from('state')));
  expect((await collect(cache.listDirty())).map(({ payload }) => Buffer.from(payload).toString())).toEqual([
    'batch',
  ]);
}

/** Opens a cache whose power is cut after some calls. Undefined when it was cut during the opening. */
async function openFaulty(
  folder: string,
  files: FaultyFiles,
  keys: readonly number[],
): Promise<Cache | undefined> {
  for (const key of keys) {
    try {
      return await openCache(folder, SETTINGS, { key: { slots: [slotOf(key)] }, files });
    } catch (error) {
      if (keys.at(-1) === key && !files.isDead) throw error;
    }
  }
  return undefined;
}

describe('a change of keys', () => {
  it('while everything else goes on, several at once: the last one opens it, no other', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, SETTINGS, { key: { slots: [slotOf(0)] } });
    await fill(cache);
    const changes = [1, 2, 3].map(key => cache.changeKey([slotOf(key)]));
    const writes = Array.from({ length: 200 }, (_, at) => {
      cache.volume(VOLUME).setCoherency(idOf(1000 + at), Buffer.from(`${at}`));
      return cache.volume(VOLUME).put([{ objectId: idOf(1000 + at), index: 1, bytes: unitOf(at) }]);
    });
    await Promise.all([...changes, ...writes, cache.flush()]);
    await cache.close();
    for (const key of [0, 1, 2]) {
      await expect(openTestCache(folder, SETTINGS, { key: { slots: [slotOf(key)] } })).rejects.toMatchObject({
        code: 'EKEY',
      });
    }
    const again = await openTestCache(folder, SETTINGS, { key: { slots: [slotOf(3)] } });
    await checkFull(again);
    expect(again.volume(VOLUME).coherency(idOf(1150))).toEqual(new Uint8Array(Buffer.from('150')));
    expect(again.statistics.problems.damaged).toBe(0);
  });

  it('and a wipe at the same time leave no header', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, SETTINGS, { key: { slots: [slotOf(0)] } });
    await fill(cache);
    const change = codeOf(cache.changeKey([slotOf(1)]));
    await cache.wipe({ dirtyToo: true });
    expect(await change).toBe('ok');
    expect(readdirSync(folder).filter(name => name.startsWith('header'))).toEqual([]);
  });

  it('that the power cuts short leaves all that was there, under the old key or the new one', async () => {
    for (let calls = 0; calls < 12; calls += 1) {
      for (let seed = 0; seed < 4; seed += 1) {
        const folder = newFolder();
        const files = new FaultyFiles(folder, seededChance(seed));
        const cache = await openFaulty(folder, files, [0]);
        if (cache === undefined) throw new Error('it cannot be opened');
        await fill(cache);
        await cache.flush();
        files.callsLeft = calls;
        const ended = await codeOf(cache.changeKey([slotOf(1)]));
        expect(['ok', 'EIO']).toContain(ended);
        const after = files.powerCut();
        await cache.close();
        const again = await openFaulty(folder, after, [1, 0]);
        expect((await collect(again!.listDirty())).length, `${calls} calls, seed ${seed}`).toBe(1);
        expect(again!.volume(VOLUME).coherency(FILE)).toEqual(new Uint8Array(Buffer.from('state')));
        await again!.close();
      }
    }
  });
});

describe('an older header', () => {
  it('that somebody puts back costs no dirty batch of the newer one', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, SETTINGS, { key: { slots: [slotOf(0)] } });
    const older = readFileSync(`${folder}/header`);
    await cache.changeKey([slotOf(1)]);
    await fill(cache);
    await cache.close();
    const newer = readFileSync(`${folder}/header`);
    writeFileSync(`${folder}/header`, older);
    const wrong = await openTestCache(folder, SETTINGS, { key: { slots: [slotOf(0)] } });
    expect(await collect(wrong.listDirty())).toEqual([]);
    expect(wrong.statistics.problems.damaged).toBeGreaterThan(0);
    await wrong.close();
    writeFileSync(`${folder}/header`, newer);
    const again = await openTestCache(folder, SETTINGS, { key: { slots: [slotOf(1)] } });
    expect(await collect(again.listDirty())).toHaveLength(1);
    expect(await getUnit(again, VOLUME, FILE, 50, unitOf(50))).toBe('hit');
  });
});

describe('a wipe', () => {
  it('that the power cuts short leaves the whole cache, or none', async () => {
    let whole = 0;
    for (let calls = 0; calls < 14; calls += 1) {
      for (let seed = 0; seed < 4; seed += 1) {
        const folder = newFolder();
        const files = new FaultyFiles(folder, seededChance(seed));
        const cache = await openFaulty(folder, files, [0]);
        if (cache === undefined) throw new Error('it cannot be opened');
        await fill(cache);
        files.callsLeft = calls;
        expect(['ok', 'EIO']).toContain(await codeOf(cache.wipe({ dirtyToo: true })));
        const after = files.powerCut();
        const again = await openFaulty(folder, after, [0]);
        const dirty = await collect(again!.listDirty());
        if (Buffer.compare(again!.id, cache.id) === 0) {
          whole += 1;
          expect(dirty, `${calls} calls, seed ${seed}`).toHaveLength(1);
        } else {
          expect(dirty).toHaveLength(0);
          expect(again!.statistics.problems.damaged).toBe(0);
          expect([...after.contents().keys()].filter(path => /^header\./.test(path))).toEqual([]);
        }
        await again!.close();
      }
    }
    expect(whole).toBeGreaterThan(0);
  });

  it('that fails says so, and the cache can be opened again', async () => {
    const folder = newFolder();
    const files = systemFiles(folder);
    const failing = {
      ...files,
      rename: (from: string, to: string) =>
        from === 'header'
          ? Promise.reject(Object.assign(new Error('no'), { code: 'EACCES', syscall: 'test' }))
          : files.rename(from, to),
    };
    const cache = await openTestCache(folder, SETTINGS, { key: { slots: [slotOf(0)] }, files: failing });
    await fill(cache);
    await expect(cache.wipe()).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(cache.wipe({ dirtyToo: true })).rejects.toMatchObject({ code: 'EDENIED' });
    await cache.close();
    await checkFull(await openTestCache(folder, SETTINGS, { key: { slots: [slotOf(0)] } }));
  });

  it('also destroys a header that an interrupted change has left', async () => {
    const folder = newFolder();
    const cache = await openTestCache(folder, SETTINGS, { key: { slots: [slotOf(0)] } });
    const files = systemFiles(folder);
    const header = readFileSync(`${folder}/header`);
    const file = await files.open('header.new', 'create');
    await file.write([header], 0);
    await file.close();
    await cache.wipe();
    expect(existsSync(`${folder}/header.new`)).toBe(false);
  });
});

describe('a header that is lost', () => {
  it('costs no dirty batch: opening anew is refused, and its backup opens all', async () => {
    const folder = newFolder();
    const key = { slots: [slotOf(0)] };
    const cache = await openTestCache(folder, SETTINGS, { key });
    await fill(cache);
    await cache.close();
    const header = readFileSync(`${folder}/header`);
    rmSync(`${folder}/header`);
    for (const other of [key, 'memory'] as const) {
      await expect(openCache(folder, SETTINGS, { key: other })).rejects.toMatchObject({ code: 'EFORMAT' });
    }
    expect(existsSync(`${folder}/header`)).toBe(false);
    writeFileSync(`${folder}/header`, header);
    await checkFull(await openTestCache(folder, SETTINGS, { key }));
  });

  it('where nothing is dirty is replaced by another, and so is a key that was in memory', async () => {
    const folder = newFolder();
    const bytes = unitOf(1);
    const batch = { units: [{ volumeId: VOLUME, objectId: FILE, index: 0, bytes }] };
    const inMemory = await openTestCache(folder, SETTINGS, { key: 'memory' });
    await inMemory.appendDirty(batch);
    await inMemory.close();
    expect(existsSync(`${folder}/memory`)).toBe(true);
    const again = await openTestCache(folder, SETTINGS, { key: 'memory' });
    await again.appendDirty(batch);
    await again.close();
    const key = { slots: [slotOf(0)] };
    const cache = await openTestCache(folder, SETTINGS, { key });
    expect(existsSync(`${folder}/memory`)).toBe(false);
    expect(cache.statistics.dirtyBatches).toBe(0);
    await cache.volume(VOLUME).put([{ objectId: FILE, index: 0, bytes }]);
    await cache.close();
    rmSync(`${folder}/header`);
    const next = await openTestCache(folder, SETTINGS, { key });
    expect(next.statistics.units).toBe(0);
    await next.close();
  });
});

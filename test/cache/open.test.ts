/** What opening does before there is anything to open. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openCache } from '../../src/cache/open.ts';
import type { Secret } from '../../src/keys/secret.ts';
import { idOf, newFolder, openTestCache, RAW_SLOT, unitOf } from './support.ts';

const SECRET = RAW_SLOT.secret as Secret;

describe('opening without slots', () => {
  it('makes nothing where there is no cache', async () => {
    const folder = newFolder();
    const key = { secrets: SECRET };
    await expect(openCache(folder, {}, { key })).rejects.toMatchObject({ code: 'ENOENT' });
    expect(readdirSync(folder)).toEqual([]);
    await expect(openCache(`${folder}/a/b`, {}, { key })).rejects.toMatchObject({ code: 'ENOENT' });
    expect(existsSync(`${folder}/a`)).toBe(false);
    writeFileSync(`${folder}/file`, 'x');
    await expect(openCache(`${folder}/file`, {}, { key })).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('asks for the secret when the cache is there and free, and not before', async () => {
    const folder = newFolder();
    let asked = 0;
    const secrets = (): Promise<Secret> => {
      asked += 1;
      return Promise.resolve(SECRET);
    };
    await expect(openCache(folder, {}, { key: { secrets } })).rejects.toMatchObject({ code: 'ENOENT' });
    const owner = await openTestCache(folder);
    await expect(openCache(folder, {}, { key: { secrets } })).rejects.toMatchObject({ code: 'EDENIED' });
    expect(asked).toBe(0);
    await owner.close();
    await openTestCache(folder, {}, { key: { secrets } });
    expect(asked).toBe(1);
  });
});

describe('making a cache that cannot be made', () => {
  it.each([
    ['a label', { slots: [{ ...RAW_SLOT, label: '' }] }],
    ['a clock before 1970', { slots: [RAW_SLOT], options: { nowMs: () => -1 } }],
  ])('for %s leaves nothing behind, nor is anything made before', async (_, key) => {
    const folder = newFolder();
    await expect(openCache(folder, {}, { key })).rejects.toMatchObject({ code: 'EINVAL' });
    expect(readdirSync(folder)).toEqual([]);
    await expect(openCache(`${folder}/a/b`, {}, { key })).rejects.toMatchObject({ code: 'EINVAL' });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('opening by a clock that is no clock', () => {
  it('works, also for what is dirty', async () => {
    const folder = newFolder();
    const batch = { units: [{ volumeId: idOf(1), objectId: idOf(2), index: 0, bytes: unitOf(1) }] };
    const clocks = [Number.NaN, Number.POSITIVE_INFINITY, -1e300];
    for (const [at, now] of clocks.entries()) {
      const cache = await openTestCache(folder, {}, { nowMs: () => now });
      expect(cache.statistics.dirtyBatches).toBe(at);
      await cache.appendDirty(batch);
      await cache.close();
    }
  });
});

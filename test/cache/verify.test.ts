/** Verification while other operations are under way. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { type CacheFile, type CacheFiles, systemFiles } from '../../src/cache/base/files.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { FaultyFiles, NO_FAULTS } from './faulty-files.ts';
import { collect, getUnit, idOf, KIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);

/** Calls `during` within each read. */
function withReads(files: CacheFiles, during: (into: Uint8Array) => Promise<void>): CacheFiles {
  const open: CacheFiles['open'] = async (path, mode) => {
    const file = await files.open(path, mode);
    return new Proxy(file, {
      get: (target, name: keyof CacheFile) => {
        if (name === 'read') {
          return async (into: Uint8Array, position: number) => {
            const count = await target.read(into, position);
            await during(into);
            return count;
          };
        }
        const value = target[name];
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  };
  return new Proxy(files, {
    get: (target, name: keyof CacheFiles) => (name === 'open' ? open : target[name].bind(target)),
  });
}

function flipByteOf(folder: string, unit: Uint8Array): void {
  for (const name of readdirSync(`${folder}/zones`)) {
    const path = `${folder}/zones/${name}`;
    const bytes = readFileSync(path);
    const at = bytes.indexOf(unit);
    if (at < 0) continue;
    bytes[at + 100] = (bytes[at + 100] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    return;
  }
  throw new Error('the unit is nowhere');
}

it('a repair does not drop what has replaced a damaged unit while it was read', async () => {
  const folder = newFolder();
  let isOn = false;
  let cache: Cache | undefined;
  const files = withReads(systemFiles(folder), async into => {
    // Of a unit, not of a list.
    if (!isOn || into.byteLength < unitOf(0).byteLength) return;
    isOn = false;
    await cache?.volume(VOLUME).put([{ objectId: FILE, index: 0, bytes: unitOf(50) }]);
  });
  cache = await openTestCache(folder, { zoneBytes: 8 * KIB }, { files });
  for (let index = 0; index < 6; index += 1) {
    await cache.volume(VOLUME).put([{ objectId: FILE, index, bytes: unitOf(index) }]);
  }
  await cache.close();
  flipByteOf(folder, unitOf(0));
  cache = await openTestCache(folder, { zoneBytes: 8 * KIB }, { files });
  isOn = true;
  expect(await collect(cache.verify({ repair: true }))).toEqual([]);
  expect(isOn).toBe(false);
  expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(50))).toBe('hit');
});

it('a repair drops nothing dirty, though it cannot be read', async () => {
  const folder = newFolder();
  const files = new FaultyFiles(folder, seededChance(1));
  const cache = await openTestCache(folder, { zoneBytes: 8 * KIB }, { files });
  const units = [{ volumeId: VOLUME, objectId: FILE, index: 0, bytes: unitOf(1) }];
  const id = await cache.appendDirty({ units });
  files.rates = { ...NO_FAULTS, EIO: 1 };
  expect(await collect(cache.verify({ repair: true }))).toEqual([{ what: 'dirty batch', batchId: id }]);
  files.rates = NO_FAULTS;
  expect(await getUnit(cache, VOLUME, FILE, 0, unitOf(1))).toBe('hit');
  expect(await collect(cache.listDirty())).toHaveLength(1);
  expect(await collect(cache.verify({ repair: true }))).toEqual([]);
});

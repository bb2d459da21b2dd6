/** The golden cache: every later netseal opens it, with all that is in it. Above all with what no server has yet. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Cache } from '../../src/cache/cache.ts';
import type { Secret } from '../../src/keys/secret.ts';
import { unlockVolumeHeader } from '../../src/keys/unlock.ts';
import {
  CACHE_FOLDER,
  type ExpectedUnit,
  FIXTURES,
  type Golden,
  goldenUnit,
  readGolden,
} from '../fixtures/golden-expected.ts';
import { collect, getUnit, idOf, newFolder, openTestCache, unitOf } from './support.ts';

const golden: Golden = readGolden();
const expected = golden.cache;
const SECRET: Secret = { type: 'key-file', contents: Buffer.from(golden.secrets.keyFile, 'hex') };

function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function copy(): string {
  const folder = newFolder();
  cpSync(join(FIXTURES, CACHE_FOLDER), folder, { recursive: true });
  return folder;
}

/** With the settings that it remembers. */
async function open(folder: string): Promise<Cache> {
  const settings = { budgetBytes: undefined, zoneBytes: undefined, disk: undefined };
  return await openTestCache(folder, settings as object, { key: { secrets: SECRET } });
}

async function lookUp(cache: Cache, unit: ExpectedUnit): Promise<string> {
  const { volumeId, objectId, index } = unit;
  return await getUnit(cache, bytesOf(volumeId), bytesOf(objectId), index, goldenUnit(unit));
}

async function checkAll(cache: Cache): Promise<void> {
  for (const unit of expected.units) expect(await lookUp(cache, unit), JSON.stringify(unit)).toBe('hit');
  for (const unit of expected.gone) expect(await lookUp(cache, unit), JSON.stringify(unit)).toBe('miss');
  const listed = await collect(cache.listDirty());
  expect(
    listed.map(({ id, appendedMs, payload }) => [id, appendedMs, Buffer.from(payload).toString()]),
  ).toEqual(expected.dirty.map(({ id, appendedMs, payload }) => [id, appendedMs, payload]));
  for (const { id, units } of expected.dirty) {
    for (const [position, unit] of units.entries()) {
      const into = new Uint8Array(unit.lengthBytes);
      expect(await cache.readDirty(id, position, into)).toBe(unit.lengthBytes);
      expect(into).toEqual(goldenUnit(unit));
    }
  }
  const pins = cache.pins().map(({ volumeId, objectId, prefix, unitCount }) => ({
    volumeId: hexOf(volumeId),
    ...(objectId === undefined ? {} : { objectId: hexOf(objectId) }),
    ...(prefix === undefined ? {} : { prefix: hexOf(prefix) }),
    ...(unitCount === undefined ? {} : { unitCount }),
  }));
  expect(pins).toHaveLength(expected.pins.length);
  expect(pins).toEqual(expect.arrayContaining([...expected.pins]));
  for (const { volumeId, objectId, key, unitCount } of expected.cookies) {
    const cookie = cache.volume(bytesOf(volumeId)).cookie(bytesOf(objectId));
    expect([Buffer.from(cookie?.key ?? []).toString(), cookie?.unitCount]).toEqual([key, unitCount]);
  }
  for (const { volumeId, objectId, bytes } of expected.coherency) {
    expect(hexOf(cache.volume(bytesOf(volumeId)).coherency(bytesOf(objectId)) ?? new Uint8Array(0))).toBe(
      bytes,
    );
  }
  expect(await collect(cache.verify())).toEqual([]);
}

describe('the golden cache', () => {
  it('opens, with its settings and all that it holds', async () => {
    const cache = await open(copy());
    expect(cache.settings).toMatchObject({ budgetBytes: 512 * 1024, zoneBytes: 16 * 1024, unitsMax: 200 });
    await checkAll(cache);
    expect(Object.values(cache.statistics.problems).every(count => count === 0)).toBe(true);
  });

  it('opens when its snapshot and its rows are gone, with what no server has yet', async () => {
    const folder = copy();
    for (const name of ['index', 'cache.db']) writeFileSync(join(folder, name), '');
    const cache = await open(folder);
    const ids = (await collect(cache.listDirty())).map(({ id }) => id);
    // A batch may be released twice: that it was released stood in the rows.
    expect(ids).toEqual(expect.arrayContaining(expected.dirty.map(({ id }) => id)));
    for (const { units } of expected.dirty.slice(-1)) {
      for (const unit of units) expect(await lookUp(cache, unit)).toBe('hit');
    }
  });

  it('goes on: what is put, released, pinned and closed is there at the next opening', async () => {
    const folder = copy();
    const first = await open(folder);
    const unit = unitOf(5, 1000);
    await first.volume(idOf(1)).put([{ objectId: idOf(2), index: 3, bytes: unit }]);
    const [oldest] = expected.dirty;
    await first.releaseDirty([oldest?.id ?? 0]);
    await first.close();
    const again = await open(folder);
    expect(await getUnit(again, idOf(1), idOf(2), 3, unit)).toBe('hit');
    expect((await collect(again.listDirty())).map(({ id }) => id)).toEqual(
      expected.dirty.slice(1).map(({ id }) => id),
    );
    // What was released may be found or not, as its zone is still dirty.
    const released = new Set(oldest?.units.map(({ seed }) => seed));
    for (const one of expected.units.filter(({ seed }) => !released.has(seed))) {
      expect(await lookUp(again, one), JSON.stringify(one)).toBe('hit');
    }
  });
});

describe('a cache of a later netseal', () => {
  /** Nothing but the lock may be new. */
  async function expectRefusal(folder: string, message: RegExp): Promise<void> {
    const before = readdirSync(folder, { recursive: true }).sort();
    await expect(open(folder)).rejects.toMatchObject({
      code: 'EUNSUPPORTED',
      message: expect.stringMatching(message),
    });
    const after = readdirSync(folder, { recursive: true }).sort();
    expect(after.filter(name => !['lock', 'owner'].includes(String(name)))).toEqual(before);
  }

  it('whose header has a newer number is refused by name, and nothing in it is touched', async () => {
    const folder = copy();
    const header = readFileSync(join(folder, 'header'));
    header[4] = 2;
    writeFileSync(join(folder, 'header'), header);
    await expectRefusal(folder, /^volume header: version 2, and this netseal reads version 1/);
  });

  it('whose header has settings is refused by name, and nothing in it is touched', async () => {
    const folder = copy();
    const path = join(folder, 'header');
    const header = await unlockVolumeHeader(readFileSync(path), SECRET);
    writeFileSync(path, header.withSettings(Buffer.from('{"cache":2}')).bytes);
    header.keyring.destroy();
    await expectRefusal(folder, /^the cache is of a newer netseal/);
  });
});

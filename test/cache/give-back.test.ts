/** Whatever an encoder of the cache accepts, its decoder gives back; the rest is EINVAL before anything is written. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CacheFiles, systemFiles } from '../../src/cache/base/files.ts';
import { Seals } from '../../src/cache/base/seals.ts';
import {
  type CacheSettings,
  checkCacheSettings,
  decodeKept,
  encodeKept,
  type KeptSettings,
} from '../../src/cache/base/settings.ts';
import {
  BATCH_UNITS_MAX,
  type BatchHeader,
  decodeBatchHeader,
  encodeBatchHeader,
} from '../../src/cache/dirty/format.ts';
import { createTable, GRANULE_BYTES } from '../../src/cache/index/index-table.ts';
import { readSnapshot, writeSnapshot } from '../../src/cache/zones/snapshot.ts';
import { decodeList, ZONE_QUEUES, ZoneList, type ZoneQueue } from '../../src/cache/zones/zone-format.ts';
import { Zone } from '../../src/cache/zones/zones.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import { chooseProviders } from '../../src/unit/providers.ts';
import { checkAsyncProperty } from '../support/property.ts';
import { checkGivesBack } from '../support/wild.ts';
import { idOf, KIB, MIB, newFolder, openTestCache } from './support.ts';

const seals = new Seals(Keyring.create(), await chooseProviders());
const NAME = idOf(1);

const ids = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytes => new Uint8Array(bytes));
const u32s = fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 32 - 1));
const u64s = fc.oneof(fc.nat(300), fc.maxSafeNat(), fc.constantFrom(Number.MAX_SAFE_INTEGER));
/** Multiples of a granule that a u32 can count. */
const places = fc.oneof(fc.nat(1000), fc.constant(2 ** 32 - 1)).map(count => count * GRANULE_BYTES);
const queues = fc.constantFrom(...(Object.keys(ZONE_QUEUES) as ZoneQueue[]));

describe('what encoders of a cache accept, decoders give back', () => {
  it('remembered settings', () => {
    const percent = fc.integer({ min: 1, max: 99 });
    const disk = fc.oneof(
      fc.constant<false>(false),
      fc
        .uniqueArray(percent, { minLength: 3, maxLength: 3 })
        .map(some => [...some].sort((left, right) => left - right))
        .map(([stopPercent = 0, cullPercent = 0, runPercent = 0]) => ({
          runPercent,
          cullPercent,
          stopPercent,
        })),
    );
    const kept: fc.Arbitrary<KeptSettings> = fc.record(
      {
        budgetBytes: fc.constant(64 * MIB),
        unitsMax: fc.integer({ min: 1, max: 1_000_000 }),
        zoneBytes: fc.integer({ min: 2, max: 1024 }).map(count => count * 8 * KIB),
        smallPercent: fc.integer({ min: 1, max: 50 }),
        disk,
      },
      { requiredKeys: ['budgetBytes'] },
    );
    checkGivesBack(kept, value => {
      checkCacheSettings(value as CacheSettings);
      return decodeKept(encodeKept(value));
    });
  });

  it('lists of zones', () => {
    const entry = fc.record({
      volumeId: ids,
      objectId: ids,
      prefix: ids,
      index: u64s,
      offsetBytes: places,
      lengthBytes: u32s,
      crc32: u32s,
      tag: ids,
    });
    const lists = fc.record({
      header: fc.record({ queue: queues, sequence: u64s, id: fc.integer({ min: 1, max: 2 ** 32 - 1 }) }),
      entries: fc.array(entry, { maxLength: 80 }),
    });
    checkGivesBack(lists, ({ header, entries }) => {
      const list = new ZoneList();
      for (const [at, { prefix, ...rest }] of entries.entries()) {
        list.add(String(at), new Uint32Array(prefix.buffer), rest);
      }
      const decoded = decodeList(list.encode(header));
      return {
        header: decoded.header,
        entries: Array.from({ length: decoded.count }, (_, at) => {
          const { objectNumber, ...rest } = decoded.entry(at);
          return { ...rest, prefix: new Uint8Array(decoded.prefix(objectNumber).buffer) };
        }),
      };
    });
  });

  it('headers of dirty batches', () => {
    const lengthBytes = 2 ** 20;
    const unit = fc.record({
      volumeId: ids,
      objectId: ids,
      index: u64s,
      tag: ids,
      lengthBytes: fc.nat(lengthBytes / 2),
      offsetBytes: fc.nat(lengthBytes / 2 / GRANULE_BYTES).map(count => count * GRANULE_BYTES),
      crc32: u32s,
    });
    const headers: fc.Arbitrary<BatchHeader> = fc.record({
      batchId: u64s,
      appendedMs: u64s,
      isEndMark: fc.boolean(),
      units: fc.array(unit, { maxLength: 20 }),
      payload: fc.uint8Array({ maxLength: 200 }).map(bytes => new Uint8Array(bytes)),
      lengthBytes: fc.constant(lengthBytes),
      syncedBytes: places,
    });
    expect(BATCH_UNITS_MAX).toBeGreaterThan(20);
    checkGivesBack(headers, value =>
      decodeBatchHeader(seals, NAME, 4096, encodeBatchHeader(seals, NAME, 4096, value)),
    );
  });

  it('snapshots of the index', async () => {
    const files: CacheFiles = systemFiles(newFolder());
    const zone = fc.record({
      name: ids,
      id: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      queue: queues,
      sequence: u64s,
      fileBytes: u64s,
    });
    const words = fc.array(fc.tuple(fc.nat(), u32s), { maxLength: 50 });
    await checkAsyncProperty(fc.tuple(fc.array(zone, { maxLength: 20 }), words), async ([zones, set]) => {
      const table = createTable(20_000);
      for (const [at, word] of set) table.words[at % table.words.length] = word;
      const given = zones.map(({ id, name, queue, sequence, fileBytes }) =>
        Object.assign(new Zone(id, name, queue, sequence), { fileBytes }),
      );
      await writeSnapshot(files, seals, table, given);
      const read = createTable(20_000);
      expect(await readSnapshot(files, seals, read)).toEqual(zones);
      expect(Buffer.compare(Buffer.from(read.words), Buffer.from(table.words))).toBe(0);
    });
  });

  it('pins and cookies, in rows', async () => {
    const counts = fc.option(u64s, { nil: undefined });
    const keys = fc
      .oneof(
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        fc.uint8Array({ minLength: 4096, maxLength: 4096 }),
      )
      .map(bytes => new Uint8Array(bytes));
    const values = fc.record({
      objects: fc.uniqueArray(fc.tuple(ids, counts), { selector: ([id]) => id.join(), maxLength: 8 }),
      prefixes: fc.uniqueArray(keys, { selector: key => key.join(), maxLength: 4 }),
      cookies: fc.uniqueArray(fc.tuple(ids, keys, counts), {
        selector: ([id, key]) => `${id.join()} ${key.join()}`,
        maxLength: 8,
      }),
      isWhole: fc.boolean(),
    });
    await checkAsyncProperty(values, async ({ objects, prefixes, cookies, isWhole }) => {
      const folder = newFolder();
      const cache = await openTestCache(folder);
      const volume = cache.volume(NAME);
      for (const [id, unitCount] of objects) volume.pin(id, unitCount === undefined ? {} : { unitCount });
      for (const prefix of prefixes) await volume.pinPrefix(prefix);
      if (isWhole) volume.pin();
      for (const [id, key, unitCount] of cookies) volume.setCookie(id, { key, unitCount });
      const before = [sorted(cache.pins()), cookies.map(([id]) => volume.cookie(id))];
      expect(before[0]).toHaveLength(objects.length + prefixes.length + (isWhole ? 1 : 0));
      await cache.close();
      const again = await openTestCache(folder);
      const known = again.volume(NAME);
      expect([sorted(again.pins()), cookies.map(([id]) => known.cookie(id))]).toEqual(before);
      await again.close();
    });
  });
});

function sorted(pins: readonly object[]): object[] {
  const textOf = (pin: object): string => JSON.stringify(Object.values(pin).map(String));
  return [...pins].sort((left, right) => (textOf(left) < textOf(right) ? -1 : 1));
}

/** Compares the local cache with plain file calls on the same data, out of the page cache. */
import { randomFillSync } from 'node:crypto';
import { fdatasync, mkdtempSync, readSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { viewOf } from '../../src/base/bytes.ts';
import { seededChance } from '../../src/base/chance.ts';
import type { CacheSettings } from '../../src/cache/base/settings.ts';
import type { Cache } from '../../src/cache/cache.ts';
import type { UnitToGet } from '../../src/cache/cache-volume.ts';
import type { UnitToPut } from '../../src/cache/objects/unit-place.ts';
import { openCache } from '../../src/cache/open.ts';
import { encodeHeader, recordTag } from '../../src/unit/record-format.ts';
import { contest, median, megabytesPerSecond } from '../contest.ts';
import type { Measurement, Target } from '../target.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const VOLUME = new Uint8Array(16).fill(1);
const OBJECT = new Uint8Array(16).fill(2);
const UNIT_BYTES = 256 * KIB + 72;
const SMALL_UNIT_BYTES = 4 * KIB + 72;
const fdatasyncAsync = promisify(fdatasync);

/** Makes bytes that look like sealed units, in shared memory, as the pipeline does. */
function makeUnits(count: number, lengthBytes: number, base = 0): UnitToPut[] {
  const content = Buffer.alloc(lengthBytes);
  randomFillSync(content);
  return Array.from({ length: count }, (_, index) => {
    const bytes = new Uint8Array(new SharedArrayBuffer(lengthBytes));
    bytes.set(content);
    randomFillSync(bytes, lengthBytes - 32);
    viewOf(bytes).setUint32(64, index, true);
    encodeHeader(viewOf(bytes), 'unit', {
      suite: 'xaes-256-gcm',
      flags: 0,
      epoch: 1,
      sealedLengthBytes: lengthBytes,
    });
    return { objectId: OBJECT, index: base + index, bytes };
  });
}

async function withFolder<Result>(action: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(`${tmpdir()}/netseal-bench-cache-`);
  try {
    return await action(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function openBench(folder: string, settings: CacheSettings): Promise<Cache> {
  const slots = [{ label: 'bench', secret: { type: 'raw-key', key: new Uint8Array(32).fill(5) } }] as const;
  return openCache(folder, { disk: false, maintenanceMs: 0, ...settings }, { key: { slots } });
}

function shuffled<Value>(values: readonly Value[]): Value[] {
  const chance = seededChance(1);
  const list = [...values];
  for (let at = list.length - 1; at > 0; at -= 1) {
    const other = Math.floor(chance() * (at + 1));
    [list[at], list[other]] = [list[other]!, list[at]!];
  }
  return list;
}

/** Makes requests for units, `depth` in a batch, into as many buffers, which all batches share. */
function requestsFor(units: readonly UnitToPut[], depth: number): UnitToGet[][] {
  const lengthBytes = units[0]!.bytes.byteLength;
  const buffers = Array.from({ length: depth }, () => new Uint8Array(new SharedArrayBuffer(lengthBytes)));
  return Array.from({ length: Math.ceil(units.length / depth) }, (_, batch) =>
    units.slice(batch * depth, (batch + 1) * depth).map(({ objectId, index, bytes }, at) => ({
      objectId,
      index,
      expectedTag: recordTag(bytes),
      into: buffers[at]!,
    })),
  );
}

/** Gets one batch after the other. Returns the last, whose bytes are in the buffers. */
async function getAll(cache: Cache, batches: readonly UnitToGet[][]): Promise<UnitToGet[]> {
  const volume = cache.volume(VOLUME);
  for (const batch of batches) {
    const lengths = await volume.get(batch);
    for (const [at, lengthBytes] of lengths.entries())
      if (lengthBytes !== batch[at]!.into.byteLength) throw new Error('a unit that was put is not there');
  }
  return batches.at(-1) ?? [];
}

function checkSame(requests: readonly UnitToGet[], units: readonly UnitToPut[]): void {
  const byIndex = new Map(units.map(unit => [unit.index, unit.bytes]));
  for (const { index, into } of requests) {
    if (Buffer.compare(into, byIndex.get(index)!) !== 0) throw new Error(`unit ${index} is another`);
  }
}

async function writeFile(path: string, units: readonly UnitToPut[]): Promise<void> {
  const file = await open(path, 'w');
  await writePlain(file, units);
  await file.close();
}

/** Writes one unit after the other. */
async function writePlain(file: FileHandle, units: readonly UnitToPut[], from = 0): Promise<void> {
  let position = from;
  for (const { bytes } of units) {
    const { bytesWritten } = await file.write(bytes, 0, bytes.byteLength, position);
    if (bytesWritten !== bytes.byteLength) throw new Error('a short write');
    position += bytesWritten;
  }
}

export const cacheRead: Target = {
  id: 'cache-read',
  about:
    'hits of 256 KiB units, 16 at a time, against plain reads of as many bytes at random offsets of one file',
  measure: size =>
    withFolder(async folder => {
      const count = size === 'real' ? 1024 : 8;
      const depth = 16;
      const units = makeUnits(count, UNIT_BYTES);
      const order = shuffled(units);
      const cache = await openBench(folder, { budgetBytes: 1024 * MIB });
      await cache.volume(VOLUME).put(units);
      const batches = requestsFor(order, depth);
      checkSame(await getAll(cache, batches), units);
      await writeFile(`${folder}/plain`, units);
      const file = await open(`${folder}/plain`, 'r');
      const buffers = Array.from({ length: depth }, () => new Uint8Array(new SharedArrayBuffer(UNIT_BYTES)));
      const readPlain = async (): Promise<void> => {
        for (let from = 0; from < order.length; from += depth) {
          const some = order.slice(from, from + depth);
          await Promise.all(
            some.map(({ index }, at) => file.read(buffers[at]!, 0, UNIT_BYTES, index * UNIT_BYTES)),
          );
        }
      };
      const result = await contest(
        [
          { name: 'cache', run: async () => void (await getAll(cache, batches)) },
          { name: 'plain', run: readPlain },
        ],
        size === 'real' ? 9 : 1,
      );
      await file.close();
      await cache.close();
      return [
        toRatio('of plain reads', result.ratio('cache', 'plain'), 0.7, count * UNIT_BYTES, result.seconds),
      ];
    }),
};

function toRatio(
  what: string,
  measured: number,
  bound: number,
  bytes: number,
  seconds: ReadonlyMap<string, number>,
): Measurement {
  const rates = [...seconds].map(
    ([name, each]) => `${name} ${megabytesPerSecond(bytes, each).toFixed(0)} MB/s`,
  );
  return { what, measured, bound, sense: '>=', unit: 'x', detail: rates.join(', ') };
}

export const cacheRead4k: Target = {
  id: 'cache-read-4k',
  about: 'hits of 4 KiB units in random order, 256 at a time, in one process; a ratio to 150,000 a second',
  measure: size =>
    withFolder(async folder => {
      const count = size === 'real' ? 65_536 : 512;
      const units = makeUnits(count, SMALL_UNIT_BYTES);
      const order = shuffled(units);
      const cache = await openBench(folder, { budgetBytes: 1024 * MIB, unitsMax: 200_000 });
      await cache.volume(VOLUME).put(units);
      const batches = requestsFor(order, 256);
      checkSame(await getAll(cache, batches), units);
      await writeFile(`${folder}/plain`, units);
      const file = await open(`${folder}/plain`, 'r');
      const buffer = new Uint8Array(new SharedArrayBuffer(SMALL_UNIT_BYTES));
      const readPlain = (): Promise<void> => {
        for (const { index } of order)
          readSync(file.fd, buffer, 0, SMALL_UNIT_BYTES, index * SMALL_UNIT_BYTES);
        return Promise.resolve();
      };
      const result = await contest(
        [
          { name: 'cache', run: async () => void (await getAll(cache, batches)) },
          { name: 'plain', run: readPlain },
        ],
        size === 'real' ? 9 : 1,
      );
      await file.close();
      await cache.close();
      const perSecond = count / (result.seconds.get('cache') ?? Number.NaN);
      const plainPerSecond = count / (result.seconds.get('plain') ?? Number.NaN);
      return [
        {
          what: 'of 150,000 a second',
          measured: perSecond / 150_000,
          bound: 1,
          sense: '>=',
          unit: 'x',
          detail: `${perSecond.toFixed(0)} units a second; readSync alone ${plainPerSecond.toFixed(0)}`,
        },
      ];
    }),
};

export const cacheWrite: Target = {
  id: 'cache-write',
  about: 'puts of 256 KiB units, 16 at a time, against plain sequential writes of as many bytes, none synced',
  measure: size =>
    withFolder(async folder => {
      const count = size === 'real' ? 1024 : 8;
      const units = makeUnits(count, UNIT_BYTES);
      let round = 0;
      const result = await contest(
        [
          {
            name: 'cache',
            run: async () => {
              round += 1;
              const path = `${folder}/cache-${round}`;
              const cache = await openBench(path, { budgetBytes: 1024 * MIB });
              for (let from = 0; from < count; from += 16) {
                const some = units.slice(from, from + 16);
                if ((await cache.volume(VOLUME).put(some)) !== some.length)
                  throw new Error('not all were kept');
              }
              await cache.close();
              rmSync(path, { recursive: true });
            },
          },
          {
            name: 'plain',
            run: async () => {
              await writeFile(`${folder}/plain`, units);
              rmSync(`${folder}/plain`);
            },
          },
        ],
        size === 'real' ? 9 : 1,
      );
      return [
        toRatio('of plain writes', result.ratio('cache', 'plain'), 0.8, count * UNIT_BYTES, result.seconds),
      ];
    }),
};

export const cacheEvict: Target = {
  id: 'cache-evict',
  about: 'puts of 256 KiB units from one to two times the budget, against those before anything is given up',
  measure: size =>
    withFolder(async folder => {
      const budgetBytes = (size === 'real' ? 512 : 16) * MIB;
      const units = makeUnits(size === 'real' ? 256 : 4, UNIT_BYTES);
      const perBudget = Math.floor(budgetBytes / UNIT_BYTES / 16) * 16;
      const ratios: number[] = [];
      const rates: string[] = [];
      for (let round = 0; round < (size === 'real' ? 7 : 1); round += 1) {
        const path = `${folder}/${round}`;
        const cache = await openBench(path, {
          budgetBytes,
          zoneBytes: Math.min(32 * MIB, budgetBytes / 16),
        });
        const putSome = async (from: number, to: number): Promise<number> => {
          const startedMs = performance.now();
          for (let index = from; index < to; index += 16) {
            const some = Array.from({ length: 16 }, (_, at) => ({
              ...units[(index + at) % units.length]!,
              index: index + at,
            }));
            if ((await cache.volume(VOLUME).put(some)) !== 16) throw new Error('not all were kept');
          }
          return (performance.now() - startedMs) / (to - from);
        };
        const part = Math.floor((0.75 * perBudget) / 16) * 16;
        const before = await putSome(0, part);
        await putSome(part, 2 * perBudget);
        const after = await putSome(2 * perBudget, 2 * perBudget + part);
        if (cache.statistics.evicted === 0) throw new Error('nothing was given up');
        await cache.close();
        rmSync(path, { recursive: true });
        ratios.push(before / after);
        rates.push(`${(UNIT_BYTES / 1e3 / after).toFixed(0)}`);
      }
      return [
        {
          what: 'of before',
          measured: median(ratios),
          bound: 0.7,
          sense: '>=',
          unit: 'x',
          detail: `while giving up: ${rates.join(', ')} MB/s`,
        },
      ];
    }),
};

export const cacheDirty: Target = {
  id: 'cache-dirty',
  about: 'dirty batches of 16 units of 256 KiB, against plain writes and one fdatasync of the same batches',
  measure: size =>
    withFolder(async folder => {
      const count = size === 'real' ? 32 : 2;
      const units = makeUnits(16, UNIT_BYTES);
      const cache = await openBench(`${folder}/cache`, { budgetBytes: 1024 * MIB });
      let round = 0;
      const result = await contest(
        [
          {
            name: 'cache',
            run: async () => {
              for (let at = 0; at < count; at += 1) {
                const batch = units.map(unit => ({ ...unit, volumeId: VOLUME, index: 16 * at + unit.index }));
                await cache.appendDirty({ units: batch });
              }
            },
          },
          {
            name: 'plain',
            run: async () => {
              round += 1;
              const file = await open(`${folder}/plain-${round}`, 'w');
              for (let at = 0; at < count; at += 1) {
                await writePlain(file, units, at * 16 * UNIT_BYTES);
                await fdatasyncAsync(file.fd);
              }
              await file.close();
            },
          },
        ],
        size === 'real' ? 9 : 1,
      );
      await cache.wipe({ dirtyToo: true });
      const bytes = count * 16 * UNIT_BYTES;
      return [toRatio('of plain', result.ratio('cache', 'plain'), 0.8, bytes, result.seconds)];
    }),
};

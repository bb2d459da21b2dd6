import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import type { CacheSettings } from '../../src/cache/base/settings.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { recordTag } from '../../src/unit/record-format.ts';
import { IS_LONG, soakSize } from '../support/soak.ts';
import { crashUnit, FILES, VOLUME } from './fixtures/crash-plan.ts';
import { newFolder, openTestCache } from './support.ts';

const PLACES = 2000;
const VERSIONS = 2;
const THREADS = 2;
/** How many zones a cache gives up in its life, and how many hits each thread has in it, at least. */
const ZONES = soakSize(10, 100);
const HITS = soakSize(500, 5000);
/** More zones than may be open at once, and less room than all units take. */
const SETTINGS: CacheSettings = {
  budgetBytes: 4 * 2 ** 20,
  zoneBytes: 8192,
  unitsMax: 4000,
  snapshotZones: 100,
};
const [OBJECT] = FILES;

interface Counts {
  readonly hits: number;
  readonly misses: number;
  readonly wrong: number;
  readonly errors: number;
  readonly caches: number;
}

/** One cache's life, some of it with its threads reading. It lasts until some zones were given up, and each thread has had hits. */
async function live(cache: Cache, chance: Chance, prefix: Uint32Array, control: Int32Array): Promise<void> {
  const below = (count: number): number => Math.floor(chance() * count);
  const volume = cache.volume(VOLUME);
  const before = control.slice(2);
  const isOver = (): boolean =>
    cache.statistics.reclaimedZones >= ZONES && before.every((hits, at) => control[2 + at]! - hits > HITS);
  for (let round = 1; !isOver(); round += 1) {
    const units = Array.from({ length: 24 }, () => {
      const index = below(PLACES);
      return { objectId: OBJECT!, index, bytes: crashUnit(0, index, below(VERSIONS)) };
    });
    await volume.put(units);
    const requests = units.map(({ objectId, bytes }) => {
      const index = below(PLACES);
      const expected = chance() < 0.5 ? bytes : crashUnit(0, index, below(VERSIONS));
      return { objectId, index, expectedTag: recordTag(expected), into: new Uint8Array(8192), expected };
    });
    for (const [at, lengthBytes] of (await volume.get(requests)).entries()) {
      const { into, expected } = requests[at]!;
      if (lengthBytes > 0) expect(Buffer.compare(into.subarray(0, lengthBytes), expected)).toBe(0);
    }
    if (round % 10 === 0) volume.invalidate(OBJECT!, { from: below(1000), to: 1000 + below(1000) });
    if (round % 100 === 0) {
      volume.invalidate(OBJECT!);
      prefix.set(volume.prefix(OBJECT!));
    }
    if (round % 20 === 0) await cache.maintain();
    if (round % 70 === 0) await cache.flush();
  }
}

it.runIf(IS_LONG)(
  'several threads read hits while the owner stores, gives up, invalidates, closes and opens again',
  async () => {
    const folder = newFolder();
    const prefix = new Uint32Array(new SharedArrayBuffer(16));
    const control = new Int32Array(new SharedArrayBuffer(4 * (2 + THREADS)));
    const openCount = (): number => readdirSync('/proc/self/fd').length;
    const first = await openTestCache(folder, SETTINGS);
    for (let from = 0; from < PLACES; from += 100) {
      const units = Array.from({ length: 100 }, (_, at) => ({
        objectId: OBJECT!,
        index: from + at,
        bytes: crashUnit(0, from + at, from % VERSIONS),
      }));
      await first.volume(VOLUME).put(units);
    }
    expect(first.statistics.reclaimedZones).toBeGreaterThan(0);
    await first.close();
    const workers = Array.from(
      { length: THREADS },
      (_, seed) =>
        new Worker(new URL('fixtures/stress-reader.ts', import.meta.url), {
          workerData: { prefix, control, places: PLACES, versions: VERSIONS, seed: seed + 1 },
        }),
    );
    const answers = workers.map(worker => once(worker, 'message') as Promise<[Counts]>);
    await Promise.all(workers.map(worker => once(worker, 'online')));
    const before = openCount();
    const chance = seededChance(5);
    let reclaimedZones = 0;
    for (let life = 1; life <= 4; life += 1) {
      const cache = await openTestCache(folder, SETTINGS);
      prefix.set(cache.volume(VOLUME).prefix(OBJECT!));
      // A thread that has the new cache must not find the old number.
      Atomics.store(control, 0, life);
      for (const worker of workers) worker.postMessage(cache.share());
      await live(cache, chance, prefix, control);
      reclaimedZones += cache.statistics.reclaimedZones;
      const { slots } = cache.share();
      await cache.close();
      // No zone and no descriptor is to be had from now on. Readers add themselves and find that out.
      const left = slots.filter((word, at) => (at % 4 === 0 && word !== 0) || (at % 4 === 1 && word > 0));
      expect(left).toEqual(new Int32Array(0));
      expect(openCount()).toBeLessThanOrEqual(before);
    }
    Atomics.store(control, 1, 1);
    expect(reclaimedZones).toBeGreaterThanOrEqual(4 * ZONES);
    const counts = (await Promise.all(answers)).map(([each]) => each);
    for (const each of counts) {
      expect(each).toMatchObject({ wrong: 0, errors: 0, caches: 4 });
      expect(each.hits).toBeGreaterThanOrEqual(4 * HITS);
    }
    await Promise.all(workers.map(worker => worker.terminate()));
  },
);

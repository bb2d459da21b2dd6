/** Access traces, and how an LRU cache of the same size does on them. */
import type { Cache } from '../../src/cache/cache.ts';
import type { CacheSettings } from '../../src/cache/settings.ts';
import { seededChance } from '../../src/server/scheduler.ts';
import { idOf, KIB, MIB, tagOf, unitOf, zipf } from './support.ts';

export const TRACE_UNIT_BYTES = 576;
export const TRACE_SETTINGS: CacheSettings = {
  budgetBytes: MIB,
  regionBytes: 8 * KIB,
  unitsMax: Math.floor(MIB / TRACE_UNIT_BYTES),
};
const CAPACITY = Math.floor(MIB / TRACE_UNIT_BYTES);

export interface Trace {
  readonly name: string;
  readonly accesses: readonly number[];
}

/** Popular units, with a fifth of accesses to what is never asked for again. */
function zipfMix(length: number): Trace {
  const popular = zipf(10 * CAPACITY, 0.9, 1);
  const chance = seededChance(2);
  let once = 1_000_000;
  const accesses = Array.from({ length }, () => {
    if (chance() >= 0.2) return popular();
    once += 1;
    return once;
  });
  return { name: 'Zipf mix', accesses };
}

/** A hot set of half the cache, and now and then a scan of twice the cache. */
function scanOverHotSet(length: number): Trace {
  const hot = zipf(CAPACITY >> 1, 0.6, 3);
  const accesses: number[] = [];
  let scanned = 100_000;
  while (accesses.length < length) {
    for (let at = 0; at < 4 * CAPACITY; at += 1) accesses.push(hot());
    for (let at = 0; at < 2 * CAPACITY; at += 1) accesses.push(scanned + at);
    scanned += 2 * CAPACITY;
  }
  return { name: 'scan over a hot set', accesses: accesses.slice(0, length) };
}

function loop(length: number): Trace {
  const span = Math.floor(1.4 * CAPACITY);
  return { name: 'loop larger than the cache', accesses: Array.from({ length }, (_, at) => at % span) };
}

export function traces(length: number): Trace[] {
  return [zipfMix(length), scanOverHotSet(length), loop(length)];
}

/** The part of accesses that a cache of so many bytes finds; without the first quarter, in which it fills. */
export function lruHitRatio({ accesses }: Trace): number {
  const kept = new Set<number>();
  return ratioOf(accesses, unit => {
    const isHit = kept.delete(unit);
    kept.add(unit);
    if (kept.size > CAPACITY) for (const oldest of kept) return kept.delete(oldest) && isHit;
    return isHit;
  });
}

export async function cacheHitRatio(cache: Cache, { accesses }: Trace): Promise<number> {
  const volume = cache.volume(idOf(1));
  const objectId = idOf(2);
  const into = new Uint8Array(TRACE_UNIT_BYTES);
  const hits: boolean[] = [];
  for (const index of accesses) {
    const bytes = unitOf(index + 1, TRACE_UNIT_BYTES);
    const [lengthBytes] = await volume.get([{ objectId, index, expectedTag: tagOf(bytes), into }]);
    hits.push(lengthBytes !== 0);
    if (lengthBytes === 0) await volume.put([{ objectId, index, bytes }]);
  }
  let at = 0;
  return ratioOf(accesses, () => hits[at++] === true);
}

function ratioOf(accesses: readonly number[], isHit: (unit: number) => boolean): number {
  const from = accesses.length >> 2;
  let hits = 0;
  for (const [at, unit] of accesses.entries()) if (isHit(unit) && at >= from) hits += 1;
  return hits / (accesses.length - from);
}

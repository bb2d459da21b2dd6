/**
 * The local cache as netfs uses it: sealed units by the place that they were sealed for, and their tag.
 * Whatever the cache fails to do counts as a miss.
 *
 * Invariant: of two units that come for one place, the later is stored later. So a unit that is written
 * replaces the one that was fetched before it, and is not replaced by it.
 */
import { toByteString } from '../base/bytes.ts';
import type { CacheVolume } from '../cache/cache-volume.ts';
import type { StreamSub, StreamUnit, WriteStream } from './streams.ts';

/** What netfs needs of a cache. A volume of a cache (`cache.volume`) has it. */
export type SealedUnits = Pick<CacheVolume, 'has' | 'get' | 'put' | 'drop'>;

/** Names a version of a unit: the place that it was sealed for, and its tag, 16 bytes. */
export interface UnitVersion {
  readonly objectId: Uint8Array;
  readonly index: number;
  readonly tag: Uint8Array;
}

/** How reads have used a cache. */
export interface UnitCacheCounters {
  /** Units that came from the cache. */
  hits: number;
  /** Units that the cache did not have. */
  misses: number;
  /** Units that the cache seemed to have, and that came from the server after all. */
  failed: number;
}

export class UnitCache implements WriteStream {
  readonly name = 'the cache';
  readonly isRequired = false;
  readonly counters: UnitCacheCounters = { hits: 0, misses: 0, failed: 0 };
  readonly #units: SealedUnits;
  /** The latest write of each place that is under way. None of these rejects. */
  readonly #writing = new Map<string, Promise<unknown>>();

  constructor(units: SealedUnits) {
    this.#units = units;
  }

  /** Says whether the cache has this version. `unknown` when it cannot be asked. */
  look({ objectId, index, tag }: UnitVersion): 'present' | 'absent' | 'unknown' {
    try {
      return this.#units.has({ objectId, index, expectedTag: tag }) ? 'present' : 'absent';
    } catch {
      // The cache was closed by its owner, who needs no report.
      return 'unknown';
    }
  }

  /** Reads records, each into memory as long as it is. Returns which of them are there. Never rejects. */
  async read(
    wanted: readonly { readonly version: UnitVersion; readonly into: Uint8Array }[],
  ): Promise<boolean[]> {
    const units = wanted.map(({ version: { objectId, index, tag }, into }) => {
      return { objectId, index, expectedTag: tag, into };
    });
    const lengths = await this.#units.get(units).catch(() => []);
    return wanted.map(({ into }, at) => lengths[at] === into.byteLength);
  }

  /** Drops a version that does not open from the cache. */
  drop({ objectId, index, tag }: UnitVersion): void {
    try {
      this.#units.drop({ objectId, index, expectedTag: tag });
    } catch {
      // Closed: then nobody finds it there any more.
    }
  }

  /** True while a unit is being stored under this place. */
  isWriting({ objectId, index }: Pick<UnitVersion, 'objectId' | 'index'>): boolean {
    return this.#writing.has(placeOf(objectId, index));
  }

  async write({ units, signal }: StreamSub): Promise<void> {
    const places = units.map(({ objectId, index }) => placeOf(objectId, index));
    const earlier = new Set(places.flatMap(place => this.#writing.get(place) ?? []));
    const writing = this.#writeAfter(earlier, units, signal);
    const ended = writing.catch(() => undefined);
    for (const place of places) this.#writing.set(place, ended);
    try {
      await writing;
    } finally {
      for (const place of places) if (this.#writing.get(place) === ended) this.#writing.delete(place);
    }
  }

  async #writeAfter(
    earlier: ReadonlySet<Promise<unknown>>,
    units: readonly StreamUnit[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (earlier.size > 0) await Promise.all(earlier);
    // The cache itself counts what it does not store, for lack of room or because it is away.
    await this.#units.put(units, { signal });
  }
}

function placeOf(objectId: Uint8Array, index: number): string {
  return `${index}/${toByteString(objectId)}`;
}

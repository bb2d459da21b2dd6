/**
 * Giving up regions, by S3-FIFO over whole regions. New units enter the small queue; what was asked for again by the time its
 * region is given up goes on to the main queue, the rest leaves a ghost. A unit whose ghost is still there enters the main queue at
 * once. What was hit in the main queue goes round again, with one hit less, up to a part of the region. Going on means being copied,
 * sealed as it is.
 *
 * Pinned units go on to regions of their own, always; those are given up only when some of their units are pinned no more, or
 * replaced. Dirty regions never come here.
 */

import { TAG_BYTES } from '../unit/record-format.ts';
import { type CacheFile, readFully } from './files.ts';
import { fingerprintOf, newFingerprint } from './fingerprints.ts';
import type { Entry, Fingerprint } from './index-table.ts';
import type { Lane, UnitToStore } from './lane.ts';
import type { ObjectState, Objects } from './objects.ts';
import { type Found, hasTag, type Places } from './places.ts';
import { type DecodedList, decodeList, type RegionEntry, readFooter } from './region-format.ts';
import type { Region, Regions } from './regions.ts';
import { isDamage, type Seals } from './seals.ts';
import type { CacheEvent, Counters } from './statistics.ts';

/** Hits that take a unit from the small to the main queue. */
const SMALL_HITS_MIN = 1;
/** Of a main region, at most so much goes round again: what is given up has to make room. */
const REINSERTED_PART_MAX = 0.5;
const MOVE_BYTES = 4 * 1024 * 1024;
const MOVE_UNITS = 512;

export interface ReclaimParts {
  readonly regions: Regions;
  readonly places: Places;
  readonly objects: Objects;
  readonly seals: Seals;
  readonly main: Lane;
  readonly pinned: Lane;
  readonly counters: Counters;
  readonly smallBytesMax: number;
  readonly onEvent: (event: CacheEvent) => void;
  readonly note: (error: unknown) => void;
}

interface Move {
  readonly entry: RegionEntry;
  readonly object: ObjectState;
  readonly place: Entry;
  readonly isPinned: boolean;
}

export class Reclaim {
  readonly #parts: ReclaimParts;
  readonly #fingerprint: Fingerprint = newFingerprint();
  /** Regions of pinned units some of which may be pinned no more. */
  readonly #loosePinned = new Set<Region>();

  constructor(parts: ReclaimParts) {
    this.#parts = parts;
  }

  /** Something was unpinned or invalidated: pinned regions may hold what need not stay. */
  loosenPinned(): void {
    for (const region of this.#parts.regions.full('pinned')) this.#loosePinned.add(region);
  }

  /**
   * Gives one region up. False when there is none that may go, or what has to stay could not be moved.
   *
   * @param keepHit whether units that were hit go on, or only pinned ones.
   */
  async step(keepHit: boolean): Promise<boolean> {
    const region = this.#choose();
    if (region === undefined) return false;
    this.#loosePinned.delete(region);
    const { counters, regions, onEvent } = this.#parts;
    const before = { evicted: counters.evicted, reinserted: counters.reinserted };
    if (!(await this.#empty(region, keepHit))) return false;
    await regions.giveUp(region);
    counters.reclaimedRegions += 1;
    onEvent({
      type: 'reclaimed',
      evicted: counters.evicted - before.evicted,
      reinserted: counters.reinserted - before.reinserted,
    });
    return true;
  }

  #choose(): Region | undefined {
    const { regions, smallBytesMax } = this.#parts;
    const [small] = regions.full('small');
    const [main] = regions.full('main');
    for (const region of regions.full('pinned')) {
      if (this.#loosePinned.has(region) || region.liveBytes < region.fileBytes / 2) return region;
    }
    const isSmallOver = main === undefined || regions.bytesOf('small') >= smallBytesMax;
    return isSmallOver ? (small ?? main) : main;
  }

  /** Moves on what is to stay and forgets the rest. False when something had to stay and could not be moved. */
  async #empty(region: Region, keepHit: boolean): Promise<boolean> {
    const { regions, counters, note } = this.#parts;
    if (!regions.pin(region)) return true;
    try {
      const file = await regions.fileOf(region);
      return await this.#moveAll(region, file, await this.#listOf(region, file), keepHit);
    } catch (error) {
      // Its units are misses from now on.
      if (isDamage(error)) counters.problems.damaged += 1;
      else note(error);
      return true;
    } finally {
      regions.unpin(region);
    }
  }

  async #listOf(region: Region, file: CacheFile): Promise<DecodedList> {
    if (region.list !== undefined) return decodeList(region.list.encode(region));
    return (await readFooter(this.#parts.seals, file, region.name)).list;
  }

  async #moveAll(region: Region, file: CacheFile, list: DecodedList, keepHit: boolean): Promise<boolean> {
    const objects: (ObjectState | undefined)[] = [];
    let budgetBytes = keepHit ? this.#moveBytesMax(region) : 0;
    let moves: Move[] = [];
    let moveBytes = 0;
    for (let at = 0; at < list.count; at += 1) {
      const entry = list.entry(at);
      const object = objects[entry.objectNumber] ?? this.#objectOf(entry);
      objects[entry.objectNumber] = object;
      const move = this.#judge(region, entry, object, budgetBytes);
      if (move === undefined) continue;
      if (!move.isPinned) budgetBytes -= entry.lengthBytes;
      moves.push(move);
      moveBytes += entry.lengthBytes;
      if (moveBytes < MOVE_BYTES && moves.length < MOVE_UNITS) continue;
      if (!(await this.#move(file, moves))) return false;
      moves = [];
      moveBytes = 0;
    }
    return moves.length === 0 || this.#move(file, moves);
  }

  #moveBytesMax(region: Region): number {
    return region.queue === 'main' ? REINSERTED_PART_MAX * region.fileBytes : Number.POSITIVE_INFINITY;
  }

  #objectOf({ volumeId, objectId }: RegionEntry): ObjectState {
    const { objects } = this.#parts;
    return objects.object(objects.volume(volumeId), objectId);
  }

  /** What goes on; everything else is forgotten here. */
  #judge(region: Region, entry: RegionEntry, object: ObjectState, budgetBytes: number): Move | undefined {
    const { places, objects, counters } = this.#parts;
    const fingerprint = fingerprintOf(
      objects.object(object.volume, object.id).prefix,
      entry.index,
      this.#fingerprint,
    );
    const found = places.find(fingerprint);
    if (!isIn(found, region, entry)) return undefined;
    const place = found.entry;
    const isPinned = objects.isPinned(object.volume, object.id);
    if (isPinned) return { entry, object, place, isPinned };
    const hitsMin = region.queue === 'small' ? SMALL_HITS_MIN : 1;
    const isOverShare = object.volume.liveBytes > object.volume.shareBytes;
    if (place.hits >= hitsMin && entry.lengthBytes <= budgetBytes && !isOverShare) {
      return { entry, object, place, isPinned };
    }
    places.remove(fingerprint, found);
    if (region.queue === 'small') places.ghosts.add(fingerprint);
    counters.evicted += 1;
    return undefined;
  }

  /** False when a pinned unit could not be moved. */
  async #move(file: CacheFile, moves: readonly Move[]): Promise<boolean> {
    const { counters, main, pinned } = this.#parts;
    const units = { main: [] as UnitToStore[], pinned: [] as UnitToStore[] };
    await Promise.all(
      moves.map(async ({ entry, object, place, isPinned }) => {
        const bytes = Buffer.allocUnsafeSlow(entry.lengthBytes);
        await readFully(file, bytes, entry.offsetBytes);
        // Damaged: not worth carrying on.
        if (!hasTag(place, bytes.subarray(bytes.byteLength - TAG_BYTES))) return;
        const from = { entry: place, crc32: entry.crc32 };
        const unit: UnitToStore = { object, prefix: object.prefix, index: entry.index, bytes, from };
        units[isPinned ? 'pinned' : 'main'].push(unit);
      }),
    );
    for (const list of Object.values(units)) list.sort((left, right) => placeOf(left) - placeOf(right));
    const [mainCount, pinnedCount] = await Promise.all([
      main.append(units.main),
      pinned.append(units.pinned),
    ]);
    counters.reinserted += mainCount + pinnedCount;
    return pinnedCount === units.pinned.length;
  }
}

function placeOf({ from }: UnitToStore): number {
  return from?.entry.offsetBytes ?? 0;
}

function isIn(found: Found | undefined, region: Region, entry: RegionEntry): found is Found {
  return found?.entry.regionId === region.id && found.entry.offsetBytes === entry.offsetBytes;
}

/**
 * Gives up zones to make room: S3-FIFO, over whole zones instead of units. What happens to a unit when its
 * zone is given up:
 *
 *   the unit is          what happens
 *   pinned               copied to a pinned zone
 *   hit                  copied to the end of the main queue, with one hit less
 *   not hit              dropped; leaves a ghost when its zone was in the small queue
 *
 * - A new unit enters the small queue, or the main queue if its ghost is still there.
 * - Hit units of a volume over its share are dropped. So are all of them when the disk is short of room.
 * - A main zone whose units were mostly hit is not copied: it moves to the end of its queue ("goes round").
 * - Dirty zones never come here.
 *
 * Pinned zones are chosen by what must stay in them. Finding that out means reading a zone's list, so it is
 * done only when a look is due, and the result is remembered:
 *
 *   full ──something was unpinned or invalidated,──▶ look due ──at most half must stay──▶ given up
 *          or less than half of it is live              └──more must stay──▶ remembered, until due again
 *
 *   remembered ──nothing else to give up, and less than 90 % must stay──▶ given up, the emptiest first
 */

import { isDamage, systemCodeOf } from '../../base/errors.ts';
import { roundUp } from '../../base/geometry.ts';
import { giveTurn } from '../../base/turns.ts';
import { TAG_BYTES } from '../../unit/record-format.ts';
import { type CacheFile, readFully, ShortFileError } from '../base/files.ts';
import { fingerprintOf, newFingerprint, type Prefix } from '../index/fingerprints.ts';
import { type Entry, type Fingerprint, GRANULE_BYTES } from '../index/index-table.ts';
import type { ObjectState, Objects } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { type DecodedList, decodeList, listBytes, readFooter, type ZoneEntry } from '../zones/zone-format.ts';
import type { Zone, Zones } from '../zones/zones.ts';
import type { UnitToStore } from './stored-units.ts';
import { type Found, hasTag, type UnitIndex } from './unit-index.ts';
import type { ZoneWriter } from './zone-writer.ts';

/** How many hits take a unit from the small to the main queue. */
const SMALL_HITS_MIN = 1;
/** At most this part of a main zone is copied. More would make too little room. */
const REINSERTED_PART_MAX = 0.65;
/** This many main zones may go round in one step; the next is given up all the same. */
const ROUND_ZONES_MAX = 16;
/** How much is copied at once, in bytes and in units. */
const MOVE_BYTES = 4 * 1024 * 1024;
const MOVE_UNITS = 512;
/** After this time, the rest of the program gets its turn. */
const TURN_MS = 2;
/** After this many units, the clock is looked at. */
const UNITS_PER_LOOK = 128;
/**
 * A pinned zone is never given up if this part of it or more must stay: copying that would gain hardly any
 * room.
 */
const KEPT_PART_MAX = 0.9;
/** How many objects are remembered while a list is worked through, so that not each unit costs a look-up. */
const OBJECTS_KEPT_MAX = 4096;

/** A unit that is to be copied to another zone. */
interface Move {
  /** The unit in its zone's list. */
  readonly entry: ZoneEntry;
  readonly object: ObjectState;
  /** The object's prefix when the move was decided. An invalidation gives the object another. */
  readonly prefix: Prefix;
  /** The unit in the index. */
  readonly place: Entry;
  readonly isPinned: boolean;
}

export class Reclaim {
  readonly #context: CacheContext;
  readonly #zones: Zones;
  readonly #objects: Objects;
  readonly #unitIndex: UnitIndex;
  readonly #zoneWriters: Readonly<Record<'main' | 'pinned', ZoneWriter>>;
  readonly #fingerprint: Fingerprint = newFingerprint();
  /**
   * The last look at each pinned zone that was not given up: how much was live then, and how much must stay.
   */
  readonly #lastLooks = new Map<Zone, { readonly liveBytes: number; readonly keptBytes: number }>();
  /** Pinned zones that have not been looked at since something was unpinned or invalidated. */
  readonly #lookDue = new Set<Zone>();
  /** `objects.loosenings` when {@link #lookDue} was last filled. */
  #loosenings = 0;

  constructor(
    context: CacheContext,
    zones: Zones,
    objects: Objects,
    unitIndex: UnitIndex,
    zoneWriters: Readonly<Record<'main' | 'pinned', ZoneWriter>>,
  ) {
    this.#context = context;
    this.#zones = zones;
    this.#objects = objects;
    this.#unitIndex = unitIndex;
    this.#zoneWriters = zoneWriters;
  }

  /**
   * Gives one zone up. False when no zone may be given up, or when a unit that must stay could not be copied.
   *
   * @param keepHit whether units that were hit are copied. Pinned ones always are.
   */
  async step(keepHit: boolean): Promise<boolean> {
    const zone = await this.#chooseCold(keepHit);
    if (zone === undefined) return false;
    const { counters, onEvent } = this.#context;
    const zones = this.#zones;
    const before = { evicted: counters.evicted, reinserted: counters.reinserted };
    if (!(await this.#empty(zone, keepHit))) {
      // The next step tries another zone.
      zones.postpone(zone);
      return false;
    }
    this.#lookDue.delete(zone);
    this.#lastLooks.delete(zone);
    await zones.giveUp(zone);
    counters.reclaimedZones += 1;
    onEvent({
      type: 'reclaimed',
      evicted: counters.evicted - before.evicted,
      reinserted: counters.reinserted - before.reinserted,
    });
    return true;
  }

  /** Chooses the zone to give up. On the way, main zones whose units were mostly hit go round. */
  async #chooseCold(keepHit: boolean): Promise<Zone | undefined> {
    let zone = await this.#choose();
    for (let count = 0; keepHit && zone?.queue === 'main' && count < ROUND_ZONES_MAX; count += 1) {
      if (!(await this.#goesRound(zone))) break;
      zone = await this.#choose();
    }
    return zone;
  }

  /**
   * Moves a main zone to the end of its queue when more of it was hit than may be copied. Each hit unit has
   * one hit less then, as if each had been copied. False when the zone should be given up instead.
   */
  async #goesRound(zone: Zone): Promise<boolean> {
    const zones = this.#zones;
    const unitIndex = this.#unitIndex;
    if (!zones.pin(zone)) return false;
    try {
      const list = await this.#listOf(zone, await zones.fileOf(zone));
      let hitBytes = 0;
      await this.#forEach(list, (entry, object) => {
        const found = this.#find(entry, object);
        if (isIn(found, zone, entry) && found.entry.hits > 0) hitBytes += entry.lengthBytes;
        return undefined;
      });
      if (hitBytes <= this.#moveBytesMax(zone)) return false;
      await this.#forEach(list, (entry, object) => {
        const found = this.#find(entry, object);
        if (!isIn(found, zone, entry) || found.entry.hits === 0) return undefined;
        unitIndex.replace(this.#fingerprint, found, { ...found.entry, hits: found.entry.hits - 1 });
        return undefined;
      });
      zones.postpone(zone);
      return true;
    } catch {
      // The zone is given up next. Reading its list fails again there, and is reported.
      return false;
    } finally {
      zones.unpin(zone);
    }
  }

  /**
   * Chooses a zone. In this order: a pinned one that may lose half, a small or main one, the emptiest pinned
   * one.
   */
  async #choose(): Promise<Zone | undefined> {
    for (;;) {
      const pinned = this.#pinnedLookDue();
      if (pinned !== undefined && (await this.#mayLoseHalf(pinned))) return pinned;
      const clean = this.#chooseClean();
      if (clean !== undefined) return clean;
      if (pinned === undefined) return this.#pinnedWithLeastKept();
    }
  }

  /**
   * Returns the oldest small zone while the small queue has its share of the budget, else the oldest main
   * zone.
   */
  #chooseClean(): Zone | undefined {
    const { budgetBytes, smallPercent } = this.#context.settings;
    const smallBytesMax = (budgetBytes * smallPercent) / 100;
    const zones = this.#zones;
    const [small] = zones.full('small');
    const [main] = zones.full('main');
    const isSmallOver = main === undefined || zones.bytesOf('small') >= smallBytesMax;
    return isSmallOver ? (small ?? main) : main;
  }

  /** Returns the oldest pinned zone for which a look is due. */
  #pinnedLookDue(): Zone | undefined {
    this.#refillLookDue();
    for (const zone of this.#zones.full('pinned')) {
      if (this.#lookDue.has(zone)) return zone;
      const isThin = zone.liveBytes < zone.fileBytes / 2;
      if (isThin && this.#lastLooks.get(zone)?.liveBytes !== zone.liveBytes) return zone;
    }
    return undefined;
  }

  /**
   * Makes a look due for all pinned zones if something was unpinned or invalidated: it may lie in any of
   * them.
   */
  #refillLookDue(): void {
    const { loosenings } = this.#objects;
    if (loosenings === this.#loosenings) return;
    this.#loosenings = loosenings;
    this.#lookDue.clear();
    // The open zone as well: it is looked at once it is full.
    for (const zone of this.#zones.all()) if (zone.queue === 'pinned') this.#lookDue.add(zone);
  }

  /** Looks at a pinned zone, and remembers how much of it must stay. True when that is at most half. */
  async #mayLoseHalf(zone: Zone): Promise<boolean> {
    this.#lookDue.delete(zone);
    const { liveBytes } = zone;
    const keptBytes = await this.#keptBytes(zone);
    this.#lastLooks.set(zone, { liveBytes, keptBytes });
    return keptBytes <= zone.fileBytes / 2;
  }

  /** Returns how many bytes of a pinned zone must stay. Infinity when its list cannot be read. */
  async #keptBytes(zone: Zone): Promise<number> {
    const zones = this.#zones;
    if (!zones.pin(zone)) return Number.POSITIVE_INFINITY;
    try {
      const list = await this.#listOf(zone, await zones.fileOf(zone));
      let bytes = 0;
      let count = 0;
      const objects = new Set<number>();
      await this.#forEach(list, (entry, object) => {
        if (!isIn(this.#find(entry, object), zone, entry) || !this.#isPinned(object)) return undefined;
        bytes += roundUp(entry.lengthBytes, GRANULE_BYTES);
        count += 1;
        objects.add(entry.objectNumber);
        return undefined;
      });
      return bytes + listBytes(count, objects.size);
    } catch (error) {
      this.#context.health.note(error);
      return Number.POSITIVE_INFINITY;
    } finally {
      zones.unpin(zone);
    }
  }

  /** Returns the pinned zone with the smallest part that must stay, for when nothing else can be given up. */
  #pinnedWithLeastKept(): Zone | undefined {
    let least: Zone | undefined;
    let leastPart = KEPT_PART_MAX;
    for (const [zone, { keptBytes }] of this.#lastLooks) {
      if (zone.isDead) this.#lastLooks.delete(zone);
      else if (keptBytes / zone.fileBytes < leastPart) {
        least = zone;
        leastPart = keptBytes / zone.fileBytes;
      }
    }
    if (least !== undefined) this.#lastLooks.delete(least);
    return least;
  }

  /** Copies what must stay and drops the rest. False when a unit that must stay could not be copied. */
  async #empty(zone: Zone, keepHit: boolean): Promise<boolean> {
    const { counters, health } = this.#context;
    const zones = this.#zones;
    if (!zones.pin(zone)) return true;
    try {
      const file = await zones.fileOf(zone);
      return await this.#moveAll(zone, file, await this.#listOf(zone, file), keepHit);
    } catch (error) {
      if (isDamage(error)) counters.problems.damaged += 1;
      else health.note(error);
      // True gives the zone up, and loses all its units. Where pinned ones may be among them, only a failure
      // that will not pass is a reason for that.
      return isDamage(error) || isHopeless(error) || this.#objects.pins.list().length === 0;
    } finally {
      zones.unpin(zone);
    }
  }

  /** Returns the units of a zone: from memory, or from its footer. Throws what `readFooter` throws. */
  async #listOf(zone: Zone, file: CacheFile): Promise<DecodedList> {
    if (zone.list !== undefined) return decodeList(zone.list.encode(zone));
    return (await readFooter(this.#context.seals, file, zone.name)).list;
  }

  /** Copies what must stay of a zone, a part at a time. False as for {@link #empty}. */
  async #moveAll(zone: Zone, file: CacheFile, list: DecodedList, keepHit: boolean): Promise<boolean> {
    let budgetBytes = keepHit ? this.#moveBytesMax(zone) : 0;
    let moves: Move[] = [];
    let moveBytes = 0;
    let isDone = true;
    await this.#forEach(list, (entry, object) => {
      const move = this.#judge(zone, entry, object, budgetBytes);
      if (move === undefined) return undefined;
      if (!move.isPinned) budgetBytes -= entry.lengthBytes;
      moves.push(move);
      moveBytes += entry.lengthBytes;
      if (moveBytes < MOVE_BYTES && moves.length < MOVE_UNITS) return undefined;
      const some = moves;
      moves = [];
      moveBytes = 0;
      return (async () => {
        isDone = (await this.#move(file, some)) && isDone;
      })();
    });
    return (await this.#move(file, moves)) && isDone;
  }

  /**
   * Calls `action` for each unit of a list, and awaits it where it returns a promise. Gives others their turn
   * now and then: a zone may hold 180,000 units of as many objects.
   */
  async #forEach(
    list: DecodedList,
    action: (entry: ZoneEntry, object: ObjectState) => Promise<void> | undefined,
  ): Promise<void> {
    const objects = new Map<number, ObjectState>();
    let startMs = performance.now();
    for (let at = 0; at < list.count; at += 1) {
      const entry = list.entry(at);
      const object = objects.get(entry.objectNumber) ?? this.#objects.objectOf(entry);
      // The volume was forgotten to make room for another: the index finds none of its units.
      if (object === undefined) continue;
      if (objects.size >= OBJECTS_KEPT_MAX) objects.clear();
      objects.set(entry.objectNumber, object);
      const wait = action(entry, object);
      if (wait !== undefined) await wait;
      if (at % UNITS_PER_LOOK !== 0 || performance.now() - startMs < TURN_MS) continue;
      await giveTurn();
      startMs = performance.now();
    }
  }

  /** Returns how much of a zone may be copied because it was hit. */
  #moveBytesMax(zone: Zone): number {
    return zone.queue === 'main' ? REINSERTED_PART_MAX * zone.fileBytes : Number.POSITIVE_INFINITY;
  }

  /**
   * Returns the move of a unit that is to be copied. Takes any other unit out of the index.
   *
   * @param budgetBytes how much may still be copied of what is not pinned.
   */
  #judge(zone: Zone, entry: ZoneEntry, object: ObjectState, budgetBytes: number): Move | undefined {
    const found = this.#find(entry, object);
    if (!isIn(found, zone, entry)) return undefined;
    const place = found.entry;
    const isPinned = this.#isPinned(object);
    const { prefix } = this.#objects.object(object.volume, object.id);
    if (isPinned) return { entry, object, prefix, place, isPinned };
    const hitsMin = zone.queue === 'small' ? SMALL_HITS_MIN : 1;
    const isOverShare = object.volume.liveBytes > object.volume.shareBytes;
    if (place.hits >= hitsMin && entry.lengthBytes <= budgetBytes && !isOverShare) {
      return { entry, object, prefix, place, isPinned };
    }
    this.#unitIndex.remove(this.#fingerprint, found);
    if (zone.queue === 'small') this.#unitIndex.ghosts.add(this.#fingerprint);
    this.#context.counters.evicted += 1;
    return undefined;
  }

  /** Looks a unit up in the index. Leaves its fingerprint in `#fingerprint`. */
  #find({ index }: ZoneEntry, { volume, id }: ObjectState): Found | undefined {
    const { prefix } = this.#objects.object(volume, id);
    return this.#unitIndex.find(fingerprintOf(prefix, index, this.#fingerprint));
  }

  #isPinned({ volume, id }: ObjectState): boolean {
    return this.#objects.isPinned(volume, id);
  }

  /**
   * Copies units to other zones. False when a pinned one could not be copied, though it may be possible
   * later.
   */
  async #move(file: CacheFile, moves: readonly Move[]): Promise<boolean> {
    const { counters, health } = this.#context;
    const { main, pinned } = this.#zoneWriters;
    const units = { main: [] as UnitToStore[], pinned: [] as UnitToStore[] };
    let isDone = true;
    const moveOne = async ({ entry, object, prefix, place, isPinned }: Move): Promise<void> => {
      const bytes = Buffer.allocUnsafeSlow(entry.lengthBytes);
      try {
        await readFully(file, bytes, entry.offsetBytes);
      } catch (error) {
        // The other units may still be readable.
        health.note(error);
        if (isPinned && !isHopeless(error)) isDone = false;
        return;
      }
      // The unit is damaged: it is left behind.
      if (!hasTag(place, bytes.subarray(bytes.byteLength - TAG_BYTES))) return;
      const from = { entry: place, crc32: entry.crc32 };
      const unit: UnitToStore = { object, prefix, index: entry.index, bytes, from };
      units[isPinned ? 'pinned' : 'main'].push(unit);
    };
    await Promise.all(moves.map(moveOne));
    for (const list of Object.values(units)) list.sort((left, right) => placeOf(left) - placeOf(right));
    const [mainCount, pinnedCount] = await Promise.all([
      main.append(units.main),
      pinned.append(units.pinned),
    ]);
    counters.reinserted += mainCount + pinnedCount;
    return isDone && pinnedCount === units.pinned.length;
  }
}

/** True when the file is gone or cut short, so that reading it will fail the next time as well. */
function isHopeless(error: unknown): boolean {
  return error instanceof ShortFileError || systemCodeOf(error) === 'ENOENT';
}

function placeOf({ from }: UnitToStore): number {
  return from?.entry.offsetBytes ?? 0;
}

/** True when the index finds this very unit of this zone: it was not replaced since. */
function isIn(found: Found | undefined, zone: Zone, entry: ZoneEntry): found is Found {
  return found?.entry.zoneId === zone.id && found.entry.offsetBytes === entry.offsetBytes;
}

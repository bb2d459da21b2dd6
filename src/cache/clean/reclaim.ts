/**
 * Giving up zones, by S3-FIFO over whole zones. New units enter the small queue; what was asked for again by the time its
 * zone is given up goes on to the main queue, the rest leaves a ghost. A unit whose ghost is still there enters the main queue at
 * once. What was hit in the main queue goes round again, with one hit less: the whole zone where that is most of it, otherwise
 * by being copied, sealed as it is.
 *
 * Pinned units go on to zones of their own, always. Those are given up when half of one is pinned no more, or replaced; what is
 * less, only when there is nothing else to give up. Dirty zones never come here.
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

/** Hits that take a unit from the small to the main queue. */
const SMALL_HITS_MIN = 1;
/** Of a main zone, at most so much goes round again: what is given up has to make room. */
const REINSERTED_PART_MAX = 0.65;
/** As many may go round before one has to be given up. */
const ROUND_ZONES_MAX = 16;
const MOVE_BYTES = 4 * 1024 * 1024;
const MOVE_UNITS = 512;
/** Others get their turn after so long. */
const TURN_MS = 2;
const UNITS_PER_LOOK = 128;
/** Of a pinned zone, what has to stay at most so that it is rewritten at all. */
const KEPT_PART_MAX = 0.9;
const OBJECTS_KEPT_MAX = 4096;

interface Move {
  readonly entry: ZoneEntry;
  readonly object: ObjectState;
  /** What the index finds it by, unless it is invalidated meanwhile. */
  readonly prefix: Prefix;
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
  /** Pinned zones that were looked at and left: what was live in them then, and what has to stay. */
  readonly #looked = new Map<Zone, { readonly liveBytes: number; readonly keptBytes: number }>();
  /** Pinned zones of which something may be pinned no more, or was invalidated. */
  readonly #loose = new Set<Zone>();
  /** `objects.loosenings` when {@link #loose} was last filled. */
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
   * Gives one zone up. False when there is none that may go, or what has to stay could not be moved.
   *
   * @param keepHit whether units that were hit go on, or only pinned ones.
   */
  async step(keepHit: boolean): Promise<boolean> {
    const zone = await this.#chooseCold(keepHit);
    if (zone === undefined) return false;
    const { counters, onEvent } = this.#context;
    const zones = this.#zones;
    const before = { evicted: counters.evicted, reinserted: counters.reinserted };
    if (!(await this.#empty(zone, keepHit))) {
      // The next attempt is another's.
      zones.postpone(zone);
      return false;
    }
    this.#loose.delete(zone);
    this.#looked.delete(zone);
    await zones.giveUp(zone);
    counters.reclaimedZones += 1;
    onEvent({
      type: 'reclaimed',
      evicted: counters.evicted - before.evicted,
      reinserted: counters.reinserted - before.reinserted,
    });
    return true;
  }

  /** What to give up, after main zones that are too good for it have gone round. */
  async #chooseCold(keepHit: boolean): Promise<Zone | undefined> {
    let zone = await this.#choose();
    for (let count = 0; keepHit && zone?.queue === 'main' && count < ROUND_ZONES_MAX; count += 1) {
      if (!(await this.#goesRound(zone))) break;
      zone = await this.#choose();
    }
    return zone;
  }

  /**
   * When more of a main zone was hit than may be copied, the whole zone goes behind the others, and every unit in it has one hit
   * less: what S3-FIFO does to unit after unit. Nothing is copied, and nothing that was hit is dropped.
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
      // Whoever empties it finds the same, and says so.
      return false;
    } finally {
      zones.unpin(zone);
    }
  }

  async #choose(): Promise<Zone | undefined> {
    for (;;) {
      const pinned = this.#candidate();
      if (pinned !== undefined && (await this.#isHalfLoose(pinned))) return pinned;
      const clean = this.#chooseClean();
      if (clean !== undefined) return clean;
      if (pinned === undefined) return this.#leastKept();
    }
  }

  #chooseClean(): Zone | undefined {
    const { budgetBytes, smallPercent } = this.#context.settings;
    const smallBytesMax = (budgetBytes * smallPercent) / 100;
    const zones = this.#zones;
    const [small] = zones.full('small');
    const [main] = zones.full('main');
    const isSmallOver = main === undefined || zones.bytesOf('small') >= smallBytesMax;
    return isSmallOver ? (small ?? main) : main;
  }

  /** A pinned zone that may be worth a look. */
  #candidate(): Zone | undefined {
    this.#refillLoose();
    for (const zone of this.#zones.full('pinned')) {
      if (this.#loose.has(zone)) return zone;
      const isThin = zone.liveBytes < zone.fileBytes / 2;
      if (isThin && this.#looked.get(zone)?.liveBytes !== zone.liveBytes) return zone;
    }
    return undefined;
  }

  /** After something was unpinned or invalidated, any pinned zone may hold units that need not stay. */
  #refillLoose(): void {
    const { loosenings } = this.#objects;
    if (loosenings === this.#loosenings) return;
    this.#loosenings = loosenings;
    this.#loose.clear();
    // The open one, too, which will be full one day.
    for (const zone of this.#zones.all()) if (zone.queue === 'pinned') this.#loose.add(zone);
  }

  /** Looks what has to stay of a pinned zone, and remembers it. */
  async #isHalfLoose(zone: Zone): Promise<boolean> {
    this.#loose.delete(zone);
    const { liveBytes } = zone;
    const keptBytes = await this.#keptBytes(zone);
    this.#looked.set(zone, { liveBytes, keptBytes });
    return keptBytes <= zone.fileBytes / 2;
  }

  /** Infinity when its list cannot be read: what is pinned in it is still found. */
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

  /** When nothing else is left: the pinned zone of which least has to stay, if that makes room at all. */
  #leastKept(): Zone | undefined {
    let least: Zone | undefined;
    let leastPart = KEPT_PART_MAX;
    for (const [zone, { keptBytes }] of this.#looked) {
      if (zone.isDead) this.#looked.delete(zone);
      else if (keptBytes / zone.fileBytes < leastPart) {
        least = zone;
        leastPart = keptBytes / zone.fileBytes;
      }
    }
    if (least !== undefined) this.#looked.delete(least);
    return least;
  }

  /** Moves on what is to stay and forgets the rest. False when something had to stay and could not be moved. */
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
      // Its units are misses from now on, unless some may be pinned that can be read the next time.
      return isDamage(error) || isHopeless(error) || this.#objects.pins.list().length === 0;
    } finally {
      zones.unpin(zone);
    }
  }

  async #listOf(zone: Zone, file: CacheFile): Promise<DecodedList> {
    if (zone.list !== undefined) return decodeList(zone.list.encode(zone));
    return (await readFooter(this.#context.seals, file, zone.name)).list;
  }

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

  /** In turns: a zone may hold 180,000 units of as many objects. */
  async #forEach(
    list: DecodedList,
    action: (entry: ZoneEntry, object: ObjectState) => Promise<void> | undefined,
  ): Promise<void> {
    const objects = new Map<number, ObjectState>();
    let startMs = performance.now();
    for (let at = 0; at < list.count; at += 1) {
      const entry = list.entry(at);
      const object = objects.get(entry.objectNumber) ?? this.#objects.objectOf(entry);
      // Its volume made room for another: nothing of it is found.
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

  #moveBytesMax(zone: Zone): number {
    return zone.queue === 'main' ? REINSERTED_PART_MAX * zone.fileBytes : Number.POSITIVE_INFINITY;
  }

  /** What goes on; everything else is forgotten here. */
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

  /** What the index finds of a unit; its fingerprint is in `#fingerprint` then. */
  #find({ index }: ZoneEntry, { volume, id }: ObjectState): Found | undefined {
    const { prefix } = this.#objects.object(volume, id);
    return this.#unitIndex.find(fingerprintOf(prefix, index, this.#fingerprint));
  }

  #isPinned({ volume, id }: ObjectState): boolean {
    return this.#objects.isPinned(volume, id);
  }

  /** False when a pinned unit could not be moved. */
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
        // Others can be moved all the same.
        health.note(error);
        if (isPinned && !isHopeless(error)) isDone = false;
        return;
      }
      // Damaged: not worth carrying on.
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

/** The file is gone, or cut short. */
function isHopeless(error: unknown): boolean {
  return error instanceof ShortFileError || systemCodeOf(error) === 'ENOENT';
}

function placeOf({ from }: UnitToStore): number {
  return from?.entry.offsetBytes ?? 0;
}

function isIn(found: Found | undefined, zone: Zone, entry: ZoneEntry): found is Found {
  return found?.entry.zoneId === zone.id && found.entry.offsetBytes === entry.offsetBytes;
}

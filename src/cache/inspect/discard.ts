/**
 * Drops clean data on demand, and frees its room on the disk at once where that is worth it: the units of
 * others in a zone are copied to another zone, and the zone is given up. Dirty units stay. Pinned units stay
 * unless the caller wants them dropped, too.
 */
import { TAG_BYTES } from '../../unit/record-format.ts';
import { readFully } from '../base/files.ts';
import type { UnitToStore } from '../clean/stored-units.ts';
import { hasTag } from '../clean/unit-index.ts';
import type { Core } from '../core/core.ts';
import { fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import { ENTRY_DIRTY, entryAt, usedEntries } from '../index/index-table.ts';
import type { VolumeState } from '../objects/objects.ts';
import type { ZoneEntry } from '../zones/zone-format.ts';
import type { Zone } from '../zones/zones.ts';
import { entriesOf, findIn } from './contents.ts';
import type { UnitTotals } from './listing.ts';

/** What to drop: an object, a volume, or everything. */
export interface DiscardScope {
  /** 16 bytes. */
  readonly volumeId?: Uint8Array;
  /** 16 bytes; an object of that volume. */
  readonly objectId?: Uint8Array;
  /** Whether to drop pinned units, too. The pins stay, and keep units that come later. Default false. */
  readonly pinnedToo?: boolean;
}

/** What a discard has done. */
export interface Discarded extends UnitTotals {
  /**
   * Bytes that the cache takes less on the disk. Fewer than `bytes` when zones stay, because most of their
   * units are of others.
   */
  readonly freedBytes: number;
  /** The units that stayed because they are pinned. */
  readonly pinned: UnitTotals;
}

/** The least part of a zone that must be garbage for its other units to be copied. */
const GARBAGE_PART_MIN = 0.25;
const MOVE_BYTES = 4 * 1024 * 1024;

/**
 * Drops clean data. Does not reject when a damaged zone or a failing disk keeps room from being freed: the
 * dropped units are not found any more all the same.
 */
export async function discard(core: Core, scope: DiscardScope): Promise<Discarded> {
  const beforeBytes = core.zones.totalBytes;
  // Open zones are closed with their footers, so that none is copied from while it is being written.
  for (const zoneWriter of Object.values(core.zoneWriters)) await zoneWriter.finish();
  const dropping = new Dropping(core, scope);
  for (const zone of core.zones.all()) await dropping.emptyZone(zone);
  await dropping.invalidate();
  // Zones with copied units are closed as well, so that a crash does not lose the copies.
  for (const zoneWriter of Object.values(core.zoneWriters)) await zoneWriter.finish();
  await core.maintenance.snapshot();
  const { units, bytes, pinned } = dropping;
  return { units, bytes, pinned, freedBytes: Math.max(0, beforeBytes - core.zones.totalBytes) };
}

class Dropping {
  units = 0;
  bytes = 0;
  readonly pinned = { units: 0, bytes: 0 };
  readonly #core: Core;
  readonly #scope: DiscardScope;
  /** Volumes that keep some of their units. */
  readonly #keeping = new Set<VolumeState>();
  readonly #fingerprint = newFingerprint();

  constructor(core: Core, scope: DiscardScope) {
    this.#core = core;
    this.#scope = scope;
  }

  /** Drops the units of a zone that are to go, and gives the zone up if little is left in it. */
  async emptyZone(zone: Zone): Promise<void> {
    const { zones, context } = this.#core;
    if (!zones.pin(zone)) return;
    try {
      const list = await entriesOf(this.#core, zone);
      let droppedBytes = 0;
      for (let at = 0; list !== undefined && at < list.count; at += 1) {
        droppedBytes += this.#drop(zone, list.entry(at));
      }
      if (zone.queue === 'dirty' || !zone.isFull) return;
      const isDone = zone.liveBytes === 0;
      const isWorthIt = droppedBytes > 0 && zone.liveBytes <= (1 - GARBAGE_PART_MIN) * zone.fileBytes;
      if (isDone || (isWorthIt && list !== undefined && (await this.#moveOn(zone, list)))) {
        await zones.giveUp(zone);
      }
    } catch (error) {
      context.health.note(error);
    } finally {
      zones.unpin(zone);
    }
  }

  /**
   * Invalidates the objects and volumes that were dropped whole, so that no footer or old snapshot brings
   * their units back.
   */
  async invalidate(): Promise<void> {
    const { objects } = this.#core;
    const { volumeId, objectId } = this.#scope;
    const volumes = volumeId === undefined ? objects.volumes() : [objects.volume(volumeId)];
    for (const volume of volumes) {
      if (this.#keeping.has(volume)) continue;
      if (objectId !== undefined) this.#core.invalidator.invalidateObject(objects.object(volume, objectId));
      else this.#core.invalidator.invalidateVolume(volume);
    }
    if (objectId === undefined)
      await this.#forgetLost(new Set(volumes.filter(volume => !this.#keeping.has(volume))));
  }

  /** Returns how many bytes were dropped. */
  #drop(zone: Zone, entry: ZoneEntry): number {
    const { objects, unitIndex } = this.#core;
    const { volumeId, objectId, pinnedToo = false } = this.#scope;
    if (volumeId !== undefined && Buffer.compare(entry.volumeId, volumeId) !== 0) return 0;
    if (objectId !== undefined && Buffer.compare(entry.objectId, objectId) !== 0) return 0;
    const found = findIn(this.#core, zone, entry);
    if (found === undefined || (found.entry.flags & ENTRY_DIRTY) !== 0) return 0;
    const volume = objects.volume(entry.volumeId);
    const { lengthBytes } = found.entry;
    if (!pinnedToo && objects.isPinned(volume, entry.objectId)) {
      this.pinned.units += 1;
      this.pinned.bytes += lengthBytes;
      this.#keeping.add(volume);
      return 0;
    }
    const { prefix } = objects.object(volume, entry.objectId);
    unitIndex.remove(fingerprintOf(prefix, entry.index, this.#fingerprint), found);
    this.units += 1;
    this.bytes += lengthBytes;
    return lengthBytes;
  }

  /**
   * Copies the units that are still found in a zone to another zone of its queue. False when some could not
   * be copied.
   */
  async #moveOn(
    zone: Zone,
    list: { readonly count: number; entry(at: number): ZoneEntry },
  ): Promise<boolean> {
    if (zone.queue === 'dirty') return false;
    const zoneWriter = this.#core.zoneWriters[zone.queue];
    let units: UnitToStore[] = [];
    let bytes = 0;
    for (let at = 0; at < list.count; at += 1) {
      const unit = await this.#read(zone, list.entry(at));
      if (unit === undefined) continue;
      units.push(unit);
      bytes += unit.bytes.byteLength;
      if (bytes < MOVE_BYTES) continue;
      if ((await zoneWriter.append(units)) < units.length) return false;
      units = [];
      bytes = 0;
    }
    return (await zoneWriter.append(units)) === units.length;
  }

  /** Reads a unit. Undefined when it is not found in the zone any more, or is damaged. */
  async #read(zone: Zone, entry: ZoneEntry): Promise<UnitToStore | undefined> {
    const { objects, zones } = this.#core;
    const found = findIn(this.#core, zone, entry);
    if (found === undefined) return undefined;
    const bytes = Buffer.allocUnsafeSlow(entry.lengthBytes);
    await readFully(await zones.fileOf(zone), bytes, entry.offsetBytes);
    if (!hasTag(found.entry, bytes.subarray(bytes.byteLength - TAG_BYTES))) return undefined;
    const object = objects.object(objects.volume(entry.volumeId), entry.objectId);
    const from = { entry: found.entry, crc32: entry.crc32 };
    return { object, prefix: object.prefix, index: entry.index, bytes, from };
  }

  /**
   * Drops what is left of these volumes in the index: units in zones whose list cannot be read, and units
   * invalidated earlier.
   */
  async #forgetLost(volumes: ReadonlySet<VolumeState>): Promise<void> {
    const { objects, unitIndex, zones } = this.#core;
    for (const at of usedEntries(unitIndex.table)) {
      const entry = entryAt(unitIndex.table, at);
      const volume = objects.volumeOfNumber(entry.volumeNumber);
      if (volume === undefined || !volumes.has(volume) || (entry.flags & ENTRY_DIRTY) !== 0) continue;
      unitIndex.remove(this.#fingerprint, { at, entry });
      const zone = zones.get(entry.zoneId);
      const isEmpty = zone?.isFull === true && zone.queue !== 'dirty' && zone.liveBytes === 0;
      if (isEmpty) await zones.giveUp(zone);
    }
  }
}

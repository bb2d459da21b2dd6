/**
 * Dropping clean data on demand, and giving its room back at once: what a zone still holds of others is copied on when that frees
 * enough, and the zone goes. Dirty units stay, pinned ones unless they are to go as well.
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

/** What is to go: an object, a volume, or everything. */
export interface DiscardScope {
  /** 16 bytes. */
  readonly volumeId?: Uint8Array;
  /** 16 bytes; of that volume. */
  readonly objectId?: Uint8Array;
  /** Also what is pinned. Pins stay: what comes later is kept. Default false. */
  readonly pinnedToo?: boolean;
}

/** What became of it. */
export interface Discarded extends UnitTotals {
  /** What the cache takes less on the disk. Less than `bytes` where zones are mostly others', and go when it is their turn. */
  readonly freedBytes: number;
  /** What stayed because it is pinned. */
  readonly pinned: UnitTotals;
}

/** Of a zone, what has to be garbage for the rest to be copied on. */
const GARBAGE_PART_MIN = 0.25;
const MOVE_BYTES = 4 * 1024 * 1024;

/** Never rejects for what a damaged zone or a failing disk keeps from being freed: it is not found any more all the same. */
export async function discard(core: Core, scope: DiscardScope): Promise<Discarded> {
  const beforeBytes = core.zones.totalBytes;
  // Open zones get their footers: nothing is copied while it is being written.
  for (const zoneWriter of Object.values(core.zoneWriters)) await zoneWriter.finish();
  const dropping = new Dropping(core, scope);
  for (const zone of core.zones.all()) await dropping.emptyZone(zone);
  await dropping.invalidate();
  // What was copied is not to be lost for that in a crash.
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
  /** Volumes something of which stays. */
  readonly #keeping = new Set<VolumeState>();
  readonly #fingerprint = newFingerprint();

  constructor(core: Core, scope: DiscardScope) {
    this.#core = core;
    this.#scope = scope;
  }

  /** Drops what is to go of a zone, and the zone if that leaves little. */
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

  /** So that nothing comes back from a footer or an old snapshot, where all of a thing was dropped. */
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

  /** Copies what is still found in a zone to another of its queue. False when some of it could not be. */
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

  /** A unit that is still found in the zone; undefined, too, when it is damaged. */
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

  /** What zones without a list that can be read have in the index, and what was invalidated before. */
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

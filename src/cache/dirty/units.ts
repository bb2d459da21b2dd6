/**
 * Decides which dirty unit of each place the index finds: the newest that is not released. A place is an
 * object and a unit index; it may have units in many batches.
 *
 *   newest ──older──▶ ... ──older──▶ oldest        the index finds the newest
 *
 *   the unit that is released    what the index finds then
 *   not the newest               the newest, as before
 *   the newest, others left      the next older one: no server has it, even if a server has something newer
 *   the last one                 the same unit, as a clean one
 */

import type { Found, UnitIndex } from '../clean/unit-index.ts';
import { fingerprintOf, newFingerprint, type Prefix } from '../index/fingerprints.ts';
import { ENTRY_DIRTY, ENTRY_PINNED, type Fingerprint } from '../index/index-table.ts';
import type { ObjectState, Objects, VolumeState } from '../objects/objects.ts';
import type { Zone } from '../zones/zones.ts';

/** An object with dirty units. */
interface DirtyObject {
  readonly volume: VolumeState;
  readonly id: Uint8Array;
  readonly key: string;
  /** The prefix that its units have in the index. */
  prefix: Prefix;
  /** The newest unit of each unit index. */
  readonly newest: Map<number, HeldUnit>;
}

/** One unit of one batch. */
export interface HeldUnit {
  readonly object: DirtyObject;
  readonly index: number;
  readonly zone: Zone;
  /** From the beginning of the zone. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly tagLow: number;
  readonly tagHigh: number;
  newer: HeldUnit | undefined;
  older: HeldUnit | undefined;
}

export type UnitToHold = Omit<HeldUnit, 'object' | 'newer' | 'older'>;

export class DirtyUnits {
  readonly #objects: Objects;
  readonly #unitIndex: UnitIndex;
  readonly #held = new Map<string, DirtyObject>();
  readonly #fingerprint: Fingerprint = newFingerprint();

  constructor(objects: Objects, unitIndex: UnitIndex) {
    this.#objects = objects;
    this.#unitIndex = unitIndex;
  }

  /** Adds a unit that is newer than all others of its place: the index finds it from now on. */
  add(state: ObjectState, unit: UnitToHold): HeldUnit {
    const object = this.#held.get(state.key) ?? this.#enter(state);
    const { index, zone, offsetBytes, lengthBytes, tagLow, tagHigh } = unit;
    const older = object.newest.get(index);
    const held: HeldUnit = {
      object,
      index,
      zone,
      offsetBytes,
      lengthBytes,
      tagLow,
      tagHigh,
      newer: undefined,
      older,
    };
    if (older !== undefined) older.newer = held;
    object.newest.set(index, held);
    this.#insert(held);
    return held;
  }

  /** Removes a unit that a server has. */
  release(unit: HeldUnit): void {
    const { object, index, newer, older } = unit;
    if (older !== undefined) older.newer = newer;
    if (newer !== undefined) {
      newer.older = older;
      return;
    }
    if (older !== undefined) {
      object.newest.set(index, older);
      this.#insert(older);
      return;
    }
    object.newest.delete(index);
    if (object.newest.size === 0) this.#held.delete(object.key);
    this.#markClean(unit);
  }

  /**
   * Enters the units of an object, or of a volume, under their new prefixes, after an invalidation has
   * changed these.
   */
  reindex(volumeId: Uint8Array, objectId: Uint8Array | undefined): void {
    const volume = this.#objects.volume(volumeId);
    if (objectId === undefined) {
      for (const object of this.#held.values()) if (object.volume === volume) this.#move(object);
      return;
    }
    const object = this.#held.get(this.#objects.object(volume, objectId).key);
    if (object !== undefined) this.#move(object);
  }

  clear(): void {
    this.#held.clear();
  }

  /** True when there are dirty units of the object. @param key its {@link ObjectState.key}. */
  hasObject(key: string): boolean {
    return this.#held.has(key);
  }

  #enter(state: ObjectState): DirtyObject {
    this.#objects.keep(state);
    const { volume, id, key, prefix } = state;
    const object: DirtyObject = { volume, id, key, prefix, newest: new Map() };
    this.#held.set(key, object);
    return object;
  }

  #move(object: DirtyObject): void {
    const before = object.prefix;
    const now = this.#objects.object(object.volume, object.id).prefix;
    if (now.every((word, at) => word === before[at])) return;
    for (const unit of object.newest.values()) {
      object.prefix = now;
      this.#insert(unit);
      object.prefix = before;
      // The entry under the old prefix would never be found, and as a dirty one never be replaced.
      const found = this.#find(unit);
      if (found !== undefined) this.#unitIndex.remove(this.#fingerprint, found);
    }
    object.prefix = now;
  }

  #insert(unit: HeldUnit): void {
    const { object, index, zone, offsetBytes, lengthBytes, tagLow, tagHigh } = unit;
    this.#unitIndex.insert(fingerprintOf(object.prefix, index, this.#fingerprint), {
      tagLow,
      tagHigh,
      zoneId: zone.id,
      offsetBytes,
      lengthBytes,
      hits: 0,
      flags: ENTRY_DIRTY,
      volumeNumber: object.volume.number,
    });
  }

  /** Returns this unit's own entry, if it has one. Leaves its fingerprint in `#fingerprint`. */
  #find({ object, index, zone, offsetBytes }: HeldUnit): Found | undefined {
    const found = this.#unitIndex.find(fingerprintOf(object.prefix, index, this.#fingerprint));
    return found?.entry.zoneId === zone.id && found.entry.offsetBytes === offsetBytes ? found : undefined;
  }

  #markClean(unit: HeldUnit): void {
    const found = this.#find(unit);
    if (found === undefined) return;
    const { volume, id } = unit.object;
    const flags = this.#objects.object(volume, id).pin ? ENTRY_PINNED : 0;
    this.#unitIndex.replace(this.#fingerprint, found, { ...found.entry, flags });
  }
}

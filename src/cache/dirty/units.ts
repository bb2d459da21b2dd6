/**
 * Keeps, for each place, the dirty units that there are, and the entry of the index: always the newest unit that is
 * not released.
 *
 * One place may have units in many batches. They form a chain from the newest to the oldest, and the index finds the
 * newest. When that one is released and an older one is not, the older one takes over: what no server has is found,
 * even where the server has something newer. The entry becomes a clean one when all are released.
 */

import type { Found, UnitIndex } from '../clean/unit-index.ts';
import { fingerprintOf, newFingerprint, type Prefix } from '../index/fingerprints.ts';
import { ENTRY_DIRTY, ENTRY_PINNED, type Fingerprint } from '../index/index-table.ts';
import type { ObjectState, Objects, VolumeState } from '../objects/objects.ts';
import type { Zone } from '../zones/zones.ts';

/** An object of which there are dirty units. */
interface DirtyObject {
  readonly volume: VolumeState;
  readonly id: Uint8Array;
  readonly key: string;
  /** What its units are in the index by. */
  prefix: Prefix;
  /** The newest unit of each place. */
  readonly newest: Map<number, HeldUnit>;
}

/** One unit of one batch. */
export interface HeldUnit {
  readonly object: DirtyObject;
  readonly index: number;
  readonly zone: Zone;
  /** Within the zone. */
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

  /** From now on this one is found: it is newer than all of its place. */
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

  /** This one is on the server. */
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

  /** Moves the entries of an object's units, or a volume's, after what its units are found by has changed. */
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

  /** Whether there are units of an object. @param key as {@link ObjectState.key}. */
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
      // Nobody would ever find it, and nothing could take its place.
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

  /** The entry that is this very unit's. Leaves its fingerprint behind. */
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

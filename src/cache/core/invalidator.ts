/** Invalidates clean units: from then on none of them is found. Dirty units stay, and are still found. */
import type { RangeInvalidations } from '../clean/range-invalidations.ts';
import type { UnitIndex } from '../clean/unit-index.ts';
import type { DirtyBatches } from '../dirty/batches.ts';
import { fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import { ENTRY_DIRTY, type Fingerprint } from '../index/index-table.ts';
import type { Coherency } from '../objects/object-rows.ts';
import type { ObjectState, Objects, VolumeState } from '../objects/objects.ts';

/**
 * The longest range whose units are looked up one by one. For a longer one, the whole object is invalidated.
 */
const RANGE_UNITS_MAX = 65_536;

export class Invalidator {
  readonly #objects: Objects;
  readonly #unitIndex: UnitIndex;
  readonly #dirty: DirtyBatches;
  readonly #rangeInvalidations: RangeInvalidations;
  readonly #fingerprint: Fingerprint = newFingerprint();

  constructor(
    objects: Objects,
    unitIndex: UnitIndex,
    dirty: DirtyBatches,
    rangeInvalidations: RangeInvalidations,
  ) {
    this.#objects = objects;
    this.#unitIndex = unitIndex;
    this.#dirty = dirty;
    this.#rangeInvalidations = rangeInvalidations;
  }

  /** Invalidates the units of an object from `from` to before `to`; the whole object for long ranges. */
  invalidateRange(object: ObjectState, from: number, to: number): void {
    if ((from > 0 || Number.isFinite(to)) && to - from <= RANGE_UNITS_MAX) {
      this.#invalidateUnits(object, from, to);
    } else {
      this.invalidateObject(object);
    }
  }

  /**
   * Invalidates an object: none of its clean units is found any more.
   *
   * @param coherency the coherency data to remember from now on. Default: it stays as it is.
   */
  invalidateObject(object: ObjectState, coherency?: Coherency): void {
    this.#objects.invalidateObject(object, coherency);
    this.#dirty.reindex(object.volume.id, object.id);
  }

  invalidateVolume(volume: VolumeState): void {
    this.#objects.invalidateVolume(volume);
    this.#dirty.reindex(volume.id, undefined);
  }

  #invalidateUnits(object: ObjectState, from: number, to: number): void {
    this.#rangeInvalidations.add(object.key, from, to);
    this.#objects.invalidations += 1;
    for (let index = from; index < to; index += 1) {
      const fingerprint = fingerprintOf(object.prefix, index, this.#fingerprint);
      const found = this.#unitIndex.find(fingerprint);
      if (found !== undefined && (found.entry.flags & ENTRY_DIRTY) === 0)
        this.#unitIndex.remove(fingerprint, found);
    }
  }
}

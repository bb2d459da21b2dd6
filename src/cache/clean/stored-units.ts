/**
 * Enters units into the index once a zone writer has written them, unless they were invalidated meanwhile.
 *
 * Two kinds of units come here: new ones, and those that are moved out of a zone that is being given up.
 */
import { recordTag } from '../../unit/record-format.ts';
import { fingerprintOf, newFingerprint, type Prefix } from '../index/fingerprints.ts';
import { ENTRY_PINNED, type Entry, type Fingerprint } from '../index/index-table.ts';
import type { ObjectState, Objects } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { Zone } from '../zones/zones.ts';
import type { RangeInvalidations } from './range-invalidations.ts';
import { tagWords, type UnitIndex } from './unit-index.ts';

/** A unit on its way into a zone. */
export interface UnitToStore {
  readonly object: ObjectState;
  /** The object's prefix when the unit came. After an invalidation the object has another. */
  readonly prefix: Prefix;
  readonly index: number;
  /** The sealed record. It must not change until it is stored. */
  readonly bytes: Uint8Array;
  /** Where the unit lay before, if it is being moved. */
  readonly from?: { readonly entry: Entry; readonly crc32: number };
  /** When the unit came: see {@link RangeInvalidations.stamp}. */
  readonly stamp?: number;
}

export class StoredUnits {
  readonly #context: CacheContext;
  readonly #objects: Objects;
  readonly #unitIndex: UnitIndex;
  readonly #rangeInvalidations: RangeInvalidations;
  readonly #fingerprint: Fingerprint = newFingerprint();

  constructor(
    context: CacheContext,
    objects: Objects,
    unitIndex: UnitIndex,
    rangeInvalidations: RangeInvalidations,
  ) {
    this.#context = context;
    this.#objects = objects;
    this.#unitIndex = unitIndex;
    this.#rangeInvalidations = rangeInvalidations;
  }

  /** Enters a unit into the index. All of it must have been written to the zone. */
  enter(unit: UnitToStore, zone: Zone, offsetBytes: number): void {
    const { health, counters } = this.#context;
    health.succeed();
    const { object, prefix, index, bytes, from } = unit;
    const fingerprint = fingerprintOf(prefix, index, this.#fingerprint);
    const flags = zone.queue === 'pinned' ? ENTRY_PINNED : 0;
    const place = { zoneId: zone.id, offsetBytes, lengthBytes: bytes.byteLength, flags };
    if (from !== undefined) {
      counters.reinsertedBytes += bytes.byteLength;
      this.#move(fingerprint, from.entry, place);
      return;
    }
    if (this.isInvalidated(unit)) {
      counters.dropped.invalidated += 1;
      return;
    }
    const entry = {
      ...tagWords(recordTag(bytes)),
      ...place,
      hits: 0,
      volumeNumber: object.volume.number,
    };
    if (!this.#unitIndex.insert(fingerprint, entry)) {
      counters.dropped.dirty += 1;
      return;
    }
    counters.stored += 1;
    counters.storedBytes += bytes.byteLength;
  }

  /** Lets the entry of a moved unit point to its new place. It has one hit less then. */
  #move(fingerprint: Fingerprint, old: Entry, place: Partial<Entry>): void {
    const found = this.#unitIndex.find(fingerprint);
    // Otherwise the unit was replaced or invalidated while it was being moved.
    const isOld = found?.entry.zoneId === old.zoneId && found.entry.offsetBytes === old.offsetBytes;
    if (found === undefined || !isOld) return;
    this.#unitIndex.replace(fingerprint, found, { ...old, ...place, hits: Math.max(0, old.hits - 1) });
  }

  /** Whether a unit was invalidated after it came. */
  isInvalidated({ object, prefix, index, stamp = 0 }: Omit<UnitToStore, 'bytes'>): boolean {
    return (
      !this.#objects.isCurrent(object, prefix) || this.#rangeInvalidations.covers(object.key, index, stamp)
    );
  }
}

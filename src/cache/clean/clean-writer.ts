/**
 * Stores clean units. Units that cannot be kept are dropped and counted.
 *
 *   store() ──▶ sorted into queues ──▶ admitted ──▶ written by the queue's zone writer ──▶ in the index
 *                 │                      │             └─ the write failed ─▶ dropped
 *                 │                      └─ no room ─▶ dropped
 *                 └─ no record, there already, dirty, no share left, cache away ─▶ dropped
 *
 * A unit may be invalidated on its way. Its `prefix` and `stamp` say when it came (`Since`), and the index
 * takes it only if nothing invalidated it since:
 *
 *   invalidated is          the unit is dropped because
 *   a range of its object   a range with a later stamp covers it (`range-invalidations.ts`)
 *   its object or volume    the object has another prefix now
 */
import { abortable } from '../../base/abortable.ts';
import { isNetsealError } from '../../base/errors.ts';
import { roundUp } from '../../base/geometry.ts';
import {
  HEADER_BYTES,
  peekHeader,
  RECORD_KINDS,
  RECORD_OVERHEAD_BYTES,
  recordTag,
} from '../../unit/record-format.ts';
import type { PendingWork } from '../base/pending-work.ts';
import type { DropReason } from '../base/statistics.ts';
import { fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import { ENTRY_DIRTY, type Fingerprint, GRANULE_BYTES } from '../index/index-table.ts';
import type { ObjectState, VolumeState } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { ZoneQueue } from '../zones/zone-format.ts';
import type { Admission } from './admission.ts';
import type { Quotas } from './quotas.ts';
import type { RangeInvalidations, Since } from './range-invalidations.ts';
import type { StoredUnits, UnitToStore } from './stored-units.ts';
import { hasTag, type UnitIndex } from './unit-index.ts';
import type { ZoneWriter } from './zone-writer.ts';

/** A unit that a caller wants stored. */
export interface IncomingUnit {
  readonly object: ObjectState;
  readonly index: number;
  readonly bytes: Uint8Array;
  /** When the unit came; undefined for now. */
  readonly since?: Since;
}

export type CleanQueue = Exclude<ZoneQueue, 'dirty'>;

export interface CleanWriterParts {
  readonly unitIndex: UnitIndex;
  readonly storedUnits: StoredUnits;
  readonly rangeInvalidations: RangeInvalidations;
  readonly admission: Admission;
  readonly quotas: Quotas;
  readonly zoneWriters: Readonly<Record<CleanQueue, ZoneWriter>>;
  readonly pendingWork: PendingWork;
}

export class CleanWriter {
  readonly #context: CacheContext;
  readonly #parts: CleanWriterParts;
  readonly #fingerprint: Fingerprint = newFingerprint();
  #isClosed = false;

  constructor(context: CacheContext, parts: CleanWriterParts) {
    this.#context = context;
    this.#parts = parts;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Makes {@link store} drop what comes from now on. */
  close(): void {
    this.#isClosed = true;
  }

  /** Counts units as dropped. */
  drop(reason: DropReason, count: number): void {
    this.#context.counters.dropped[reason] += count;
  }

  /**
   * Stores clean units. Resolves with how many were stored. Rejects only with the signal's reason; some may
   * be stored then. Either way, the units' bytes are the caller's again once the call has settled.
   */
  store(units: readonly IncomingUnit[], signal?: AbortSignal): Promise<number> {
    return this.#parts.pendingWork.add(this.#store(units, signal));
  }

  async #store(units: readonly IncomingUnit[], signal: AbortSignal | undefined): Promise<number> {
    signal?.throwIfAborted();
    const { health, settings } = this.#context;
    const { rangeInvalidations } = this.#parts;
    if (health.isAway) {
      this.drop('away', units.length);
      return 0;
    }
    const stamp = rangeInvalidations.arrive();
    try {
      let storedCount = 0;
      const sorted = this.#sort(units.filter(unit => this.#isWanted(unit)));
      for (const queue of ['small', 'main', 'pinned'] as const) {
        for (const some of portions(sorted[queue], settings.zoneBytes)) {
          storedCount += await this.#append(queue, some, signal);
        }
      }
      return storedCount;
    } finally {
      rangeInvalidations.leave(stamp);
    }
  }

  /**
   * Writes units of one queue, once there is room. Drops those that cannot be written. Returns how many were.
   */
  async #append(
    queue: CleanQueue,
    units: readonly UnitToStore[],
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const { admission, zoneWriters } = this.#parts;
    const bytes = units.reduce((sum, unit) => sum + paddedBytes(unit), 0);
    if (this.#isClosed || !(await this.#enter(bytes, signal))) {
      this.drop('space', units.length);
      return 0;
    }
    const count = await zoneWriters[queue].append(units, signal);
    admission.leave(bytes);
    signal?.throwIfAborted();
    if (count < units.length)
      this.drop(this.#context.health.isAway ? 'failed' : 'space', units.length - count);
    return count;
  }

  /** Does what `admission.enter` does, but rejects as soon as the signal aborts. */
  #enter(bytes: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { admission } = this.#parts;
    const entering = admission.enter(bytes, signal);
    return abortable(entering, signal, () => {
      // Admission may still let it in. Nothing will be written then, so it leaves at once.
      void entering.then(isIn => (isIn ? admission.leave(bytes) : undefined));
    });
  }

  /** Drops a unit whose volume has used up its share, and makes room for those that come later. */
  #dropForShare(volume: VolumeState): void {
    const { pendingWork, quotas } = this.#parts;
    this.drop('share', 1);
    if (!this.#isClosed) void pendingWork.add(quotas.trim(volume));
  }

  /** False for a unit that was invalidated since it came, which is counted as dropped. */
  #isWanted({ object, index, since }: IncomingUnit): boolean {
    if (since === undefined || !this.#parts.storedUnits.isInvalidated({ object, index, ...since }))
      return true;
    this.drop('invalidated', 1);
    return false;
  }

  /** Sorts units into queues. Leaves out those that cannot be kept and those that are there already. */
  #sort(units: readonly IncomingUnit[]): Record<CleanQueue, UnitToStore[]> {
    const { unitIndex, rangeInvalidations } = this.#parts;
    const sorted: Record<CleanQueue, UnitToStore[]> = { small: [], main: [], pinned: [] };
    for (const unit of units) {
      const { object, index, bytes } = unit;
      if (!isSealedUnit(bytes)) {
        this.drop('unsuitable', 1);
        continue;
      }
      const { prefix, stamp } = unit.since ?? { prefix: object.prefix, stamp: rangeInvalidations.stamp };
      const fingerprint = fingerprintOf(prefix, index, this.#fingerprint);
      const found = unitIndex.find(fingerprint);
      if (found !== undefined && hasTag(found.entry, recordTag(bytes))) {
        this.#context.counters.alreadyThere += 1;
        continue;
      }
      if (found !== undefined && (found.entry.flags & ENTRY_DIRTY) !== 0) {
        this.drop('dirty', 1);
        continue;
      }
      const { volume } = object;
      if (!object.pin && volume.liveBytes + bytes.byteLength > volume.shareBytes) {
        this.#dropForShare(volume);
        continue;
      }
      const queue = object.pin
        ? 'pinned'
        : unitIndex.ghosts.take(fingerprint, unitIndex.count)
          ? 'main'
          : 'small';
      sorted[queue].push({ object, prefix, index, bytes, stamp });
    }
    return sorted;
  }
}

/** Cuts units into parts of at most `bytesMax`, or of one longer unit. */
function* portions(units: readonly UnitToStore[], bytesMax: number): Generator<readonly UnitToStore[]> {
  let from = 0;
  let bytes = 0;
  for (const [at, unit] of units.entries()) {
    const unitBytes = paddedBytes(unit);
    if (at > from && bytes + unitBytes > bytesMax) {
      yield units.slice(from, at);
      from = at;
      bytes = 0;
    }
    bytes += unitBytes;
  }
  if (from < units.length) yield units.slice(from);
}

function paddedBytes({ bytes }: UnitToStore): number {
  return roundUp(bytes.byteLength, GRANULE_BYTES);
}

/** What a cache keeps: units and packs, and the nodes without which units are not found. */
const KEPT_KINDS: ReadonlySet<number> = new Set([
  RECORD_KINDS.unit,
  RECORD_KINDS.pack,
  RECORD_KINDS.mapPage,
  RECORD_KINDS.directoryLeaf,
]);

/** True when the bytes look like one whole sealed record of a kind that a cache keeps. */
export function isSealedUnit(bytes: Uint8Array): boolean {
  if (bytes.byteLength < RECORD_OVERHEAD_BYTES) return false;
  try {
    const header = peekHeader(bytes.subarray(0, HEADER_BYTES));
    return KEPT_KINDS.has(header.kind) && header.sealedLengthBytes === bytes.byteLength;
  } catch (error) {
    if (isNetsealError(error)) return false;
    throw error;
  }
}

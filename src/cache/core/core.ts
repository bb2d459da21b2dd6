/**
 * Puts the parts of a cache together, and decides what happens after failures of the disk. `cache.ts` is what
 * applications see of it.
 *
 * Invariants
 *   1. A unit enters the index only after all of it was written. A read hands it out only if its length and
 *      tag are those asked for.
 *   2. The index is changed through `unitIndex` alone, and only on this thread.
 *   3. Dirty units lie in dirty zones, which only `dirty` gives up. A zone with pinned units is given up only
 *      after they were copied.
 *   4. Failures do not reach callers that read or store clean units: a read is a miss, a unit is dropped and
 *      counted.
 */

import { NetsealError } from '../../base/errors.ts';
import type { CacheKeys } from '../base/cache-keys.ts';
import { ShortFileError } from '../base/files.ts';
import type { OwnerLock } from '../base/owner-lock.ts';
import { PendingWork } from '../base/pending-work.ts';
import { Admission } from '../clean/admission.ts';
import { type CleanQueue, CleanWriter } from '../clean/clean-writer.ts';
import { Quotas } from '../clean/quotas.ts';
import { RangeInvalidations } from '../clean/range-invalidations.ts';
import { Reads } from '../clean/reads.ts';
import { Reclaim } from '../clean/reclaim.ts';
import { StoredUnits } from '../clean/stored-units.ts';
import { UnitIndex } from '../clean/unit-index.ts';
import { ZoneWriter } from '../clean/zone-writer.ts';
import { DirtyBatches } from '../dirty/batches.ts';
import { Objects } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { type Zone, Zones } from '../zones/zones.ts';
import { CacheFolder } from './folder.ts';
import { Invalidator } from './invalidator.ts';
import { Maintenance } from './maintenance.ts';
import { RowSweep } from './row-sweep.ts';

export class Core {
  readonly context: CacheContext;
  readonly zones: Zones;
  readonly objects: Objects;
  readonly unitIndex: UnitIndex;
  readonly dirty: DirtyBatches;
  readonly rangeInvalidations: RangeInvalidations = new RangeInvalidations();
  readonly invalidator: Invalidator;
  readonly zoneWriters: Readonly<Record<CleanQueue, ZoneWriter>>;
  readonly admission: Admission;
  readonly reads: Reads;
  readonly cleanWriter: CleanWriter;
  readonly rowSweep: RowSweep;
  readonly maintenance: Maintenance;
  readonly #folder: CacheFolder;
  readonly #storedUnits: StoredUnits;
  readonly #pendingWork = new PendingWork();
  #isClosed = false;

  constructor(context: CacheContext, lock: OwnerLock, keys: CacheKeys) {
    this.context = context;
    this.zones = new Zones(context.files);
    const { zones, rangeInvalidations } = this;
    this.objects = new Objects(context);
    const { objects } = this;
    this.unitIndex = new UnitIndex(context, zones, objects);
    const { unitIndex } = this;
    this.dirty = new DirtyBatches(context, zones, objects, unitIndex);
    const { dirty } = this;
    this.invalidator = new Invalidator(objects, unitIndex, dirty, rangeInvalidations);
    this.#folder = new CacheFolder(context, lock, keys, objects, this.invalidator);
    this.#storedUnits = new StoredUnits(context, objects, unitIndex, rangeInvalidations);
    this.zoneWriters = {
      small: this.#makeZoneWriter('small'),
      main: this.#makeZoneWriter('main'),
      pinned: this.#makeZoneWriter('pinned'),
    };
    const { zoneWriters } = this;
    const reclaim = new Reclaim(context, zones, objects, unitIndex, zoneWriters);
    this.admission = new Admission(context, zones, reclaim);
    const { admission } = this;
    this.reads = new Reads(context, zones, objects, unitIndex, (zone, error) =>
      this.#readFailed(zone, error),
    );
    this.cleanWriter = new CleanWriter(context, {
      unitIndex,
      storedUnits: this.#storedUnits,
      rangeInvalidations,
      admission,
      quotas: new Quotas(context, zones, unitIndex),
      zoneWriters,
      pendingWork: this.#pendingWork,
    });
    this.rowSweep = new RowSweep(context, objects, dirty);
    this.maintenance = new Maintenance(context, {
      zones,
      unitIndex,
      zoneWriters,
      dirty,
      admission,
      rowSweep: this.rowSweep,
      folder: this.#folder,
    });
  }

  /** Bytes that the index takes in memory. */
  get indexBytes(): number {
    return this.unitIndex.table.words.byteLength + this.context.settings.unitsMax * 4;
  }

  /** True once the cache is closed, or being closed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Throws ECLOSED once the cache is closed, or being closed. */
  requireOpen(): void {
    if (this.#isClosed) throw new NetsealError('ECLOSED', 'the cache is closed');
  }

  /** Makes {@link requireOpen} throw from now on. What is under way goes on: see {@link settle}. */
  refuseCalls(): void {
    this.#isClosed = true;
  }

  /**
   * Waits, before closing, until nothing is being stored or given up. Units that still wait to be stored are
   * dropped.
   */
  async settle(): Promise<void> {
    this.cleanWriter.close();
    await this.#pendingWork.idle();
    await this.admission.idle();
    for (const zoneWriter of Object.values(this.zoneWriters)) await zoneWriter.idle();
    await this.dirty.finish();
  }

  #makeZoneWriter(queue: CleanQueue): ZoneWriter {
    return new ZoneWriter(this.context, this.zones, this.#storedUnits, {
      openZone: () => this.#openZone(queue),
      failed: error => this.#writeFailed(error),
    });
  }

  async #openZone(queue: CleanQueue): Promise<Zone | undefined> {
    const { health } = this.context;
    if (health.isAway) return undefined;
    try {
      if (health.isUnwell) await this.#folder.make();
      return await this.zones.create(queue);
    } catch (error) {
      this.#writeFailed(error);
      return undefined;
    }
  }

  /**
   * Notes that a zone writer failed. If the disk is full, a zone is given up. Giving it up may copy units to
   * a zone writer: the only circle among the parts.
   */
  #writeFailed(error: unknown): void {
    if (this.context.health.fail(error) !== 'full' || this.cleanWriter.isClosed) return;
    void this.#pendingWork.add(this.admission.giveUpOne()).catch(() => undefined);
  }

  /** Notes that a read failed, and gives the zone up if its reads will always fail. */
  #readFailed(zone: Zone, error: unknown): void {
    const kind = this.context.health.note(error);
    // A file that is gone or cut short will be so the next time. Even then, dirty data is not given up.
    const isHopeless = kind === 'gone' || error instanceof ShortFileError;
    if (isHopeless && zone.isFull && zone.queue !== 'dirty')
      void this.#pendingWork.add(this.zones.giveUp(zone));
  }
}

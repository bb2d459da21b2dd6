/**
 * Does what is due once a second:
 *
 * - closes files that nobody reads any more;
 * - looks whether the disk has room, and whether the folder is still there;
 * - tries again after a failure, and writes rows that could not be written before;
 * - takes a snapshot of the index after enough zones have filled.
 */
import { NetsealError } from '../../base/errors.ts';
import type { Admission } from '../clean/admission.ts';
import type { UnitIndex } from '../clean/unit-index.ts';
import type { ZoneWriter } from '../clean/zone-writer.ts';
import type { DirtyBatches } from '../dirty/batches.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { writeSnapshot } from '../zones/snapshot.ts';
import { ZONE_FOLDERS, type Zones } from '../zones/zones.ts';
import type { CacheFolder } from './folder.ts';
import type { RowSweep } from './row-sweep.ts';

export interface MaintenanceParts {
  readonly zones: Zones;
  readonly unitIndex: UnitIndex;
  readonly zoneWriters: Readonly<Record<string, ZoneWriter>>;
  readonly dirty: DirtyBatches;
  readonly admission: Admission;
  readonly rowSweep: RowSweep;
  readonly folder: CacheFolder;
}

/** How many unsaved rows one round writes at most. That takes some 200 ms. */
const UNSAVED_ROWS_MAX = 16_384;
const PROBE_PATH = `${ZONE_FOLDERS.clean}/probe`;
const PROBE_BYTES = 4096;

export class Maintenance {
  readonly #context: CacheContext;
  readonly #parts: MaintenanceParts;
  /** `zones.filledCount` when the last snapshot was begun. */
  #filledCount = 0;
  #snapshot: Promise<boolean> | undefined;
  /** {@link #stampNow} when the snapshot on the disk was taken. Undefined when none was taken or read. */
  #snapshotStamp: string | undefined;

  constructor(context: CacheContext, parts: MaintenanceParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Does all that is due. While the cache is unwell, only tries whether the disk works again. Never rejects.
   */
  async maintain(): Promise<void> {
    const { settings, health, rows, hasFolder } = this.#context;
    const { zones, unitIndex, zoneWriters, dirty, admission, rowSweep } = this.#parts;
    await zones.sweep();
    rowSweep.boundUnsaved();
    if (health.isUnwell) {
      if (!health.isAway) await this.#probe();
      return;
    }
    if (!hasFolder()) {
      health.fail(new NetsealError('ENOENT', 'the folder of the cache is gone, or is another one now'));
      // The open zones lie in the folder that was removed.
      for (const zoneWriter of Object.values(zoneWriters)) await zoneWriter.finish();
      dirty.renew();
      return;
    }
    await admission.maintain();
    unitIndex.sweep();
    await rowSweep.run();
    if (rows.unsavedCount > 0 || rows.isFlushDue) rows.flush(UNSAVED_ROWS_MAX);
    if (zones.filledCount - this.#filledCount >= settings.snapshotZones) await this.snapshot();
  }

  /** Tries whether the folder can be written to. If so, the cache is well again. */
  async #probe(): Promise<void> {
    const { files, health } = this.#context;
    const { dirty, folder } = this.#parts;
    try {
      await folder.make();
      const file = await files.open(PROBE_PATH, 'create');
      try {
        if ((await file.write([new Uint8Array(PROBE_BYTES)], 0)) !== PROBE_BYTES)
          throw new Error('short write');
      } finally {
        await file.close();
      }
      await files.remove(PROBE_PATH);
      dirty.renew();
      health.succeed();
    } catch (error) {
      health.fail(error);
    }
  }

  /** True when nothing has changed since the snapshot on the disk was taken. */
  get isSnapshotCurrent(): boolean {
    return this.#snapshotStamp === this.#stampNow();
  }

  /**
   * Notes that the snapshot on the disk is up to date. Call it after loading a snapshot that had all zones.
   */
  holdSnapshotCurrent(): void {
    this.#snapshotStamp = this.#stampNow();
  }

  /** Returns a string that differs whenever a new snapshot would. */
  #stampNow(): string {
    const { unitIndex, zones, folder } = this.#parts;
    return `${unitIndex.changes}/${zones.version}/${folder.makeCount}`;
  }

  /** Takes a snapshot of the index, or joins the one being taken. False when that failed. Never rejects. */
  snapshot(): Promise<boolean> {
    this.#snapshot ??= this.#takeSnapshot().finally(() => {
      this.#snapshot = undefined;
    });
    return this.#snapshot;
  }

  async #takeSnapshot(): Promise<boolean> {
    const { files, seals, counters, health, onEvent, hasFolder } = this.#context;
    const { unitIndex, zones } = this.#parts;
    if (!hasFolder()) return false;
    this.#filledCount = zones.filledCount;
    const stamp = this.#stampNow();
    // Zones that fill from now on are not listed in the snapshot: the next opening reads their footers.
    const covered = zones
      .all()
      .filter(
        ({ isFull, isDead, list, queue }) => isFull && !isDead && list === undefined && queue !== 'dirty',
      );
    try {
      await writeSnapshot(files, seals, unitIndex.table, covered);
      counters.snapshots += 1;
      this.#snapshotStamp = stamp;
      onEvent({ type: 'snapshot', units: unitIndex.count });
      return true;
    } catch (error) {
      health.note(error);
      return false;
    }
  }
}

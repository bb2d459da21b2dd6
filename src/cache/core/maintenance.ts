/**
 * What is done now and then: closing what is not read any more, looking at the disk and the folder, trying again after a failure,
 * writing what could not be written, taking snapshots of the index.
 */
import { NetsealError } from '../../base/errors.ts';
import type { CacheFiles } from '../base/files.ts';
import type { Health } from '../base/health.ts';
import type { Seals } from '../base/seals.ts';
import type { CheckedSettings } from '../base/settings.ts';
import type { CacheEvent, Counters } from '../base/statistics.ts';
import type { Admission } from '../clean/admission.ts';
import type { UnitIndex } from '../clean/unit-index.ts';
import type { ZoneWriter } from '../clean/zone-writer.ts';
import type { Dirty } from '../dirty/batches.ts';
import type { Rows } from '../rows/rows.ts';
import { writeSnapshot } from '../zones/snapshot.ts';
import { ZONE_FOLDERS, type Zones } from '../zones/zones.ts';
import type { RowSweep } from './row-sweep.ts';

export interface MaintenanceParts {
  readonly settings: CheckedSettings;
  readonly files: CacheFiles;
  readonly seals: Seals;
  readonly rows: Rows;
  readonly health: Health;
  readonly counters: Counters;
  readonly zones: Zones;
  readonly unitIndex: UnitIndex;
  readonly zoneWriters: Readonly<Record<string, ZoneWriter>>;
  readonly dirty: Dirty;
  readonly admission: Admission;
  readonly rowSweep: RowSweep;
  readonly onEvent: (event: CacheEvent) => void;
  /** False when the folder is not there any more, or another one is. */
  readonly hasFolder: () => boolean;
  /** Puts back what has to be there when the folder was lost. */
  readonly restoreFolder: () => Promise<void>;
}

/** Written in one go of maintenance, some 200 ms. */
const UNSAVED_ROWS_MAX = 16_384;
const PROBE_PATH = `${ZONE_FOLDERS.clean}/probe`;

export class Maintenance {
  readonly #parts: MaintenanceParts;
  #filledZones = 0;
  #snapshot: Promise<boolean> | undefined;
  /** Of what there was when the snapshot on the disk was made. */
  #snapshotStamp: string | undefined;

  constructor(parts: MaintenanceParts) {
    this.#parts = parts;
  }

  /** A zone is written to no more: the next snapshot is due after so many. */
  filled(): void {
    this.#filledZones += 1;
  }

  /**
   * What is to be done now and then: closes what is not read any more, looks at the disk, tries again after a failure, writes what
   * could not be written, takes a snapshot when one is due. Never rejects.
   */
  async maintain(): Promise<void> {
    const { settings, health, zones, unitIndex, zoneWriters, dirty, admission, rowSweep, rows, hasFolder } =
      this.#parts;
    await zones.sweep();
    rowSweep.boundUnsaved();
    if (health.isUnwell) {
      if (!health.isAway) await this.#probe();
      return;
    }
    if (!hasFolder()) {
      health.fail(new NetsealError('ENOENT', 'the folder of the cache is gone, or is another one now'));
      // What is open lies in the folder that was.
      for (const zoneWriter of Object.values(zoneWriters)) await zoneWriter.finish();
      dirty.renew();
      return;
    }
    await admission.maintain();
    unitIndex.sweep();
    await rowSweep.run();
    if (rows.unsavedCount > 0 || rows.isFlushDue) rows.flush(UNSAVED_ROWS_MAX);
    if (this.#filledZones >= settings.snapshotZones) await this.snapshot();
  }

  /** Finds out whether the folder can be written to again. */
  async #probe(): Promise<void> {
    const { files, dirty, health } = this.#parts;
    try {
      await this.makeFolders();
      const file = await files.open(PROBE_PATH, 'create');
      try {
        if ((await file.write([new Uint8Array(4096)], 0)) !== 4096) throw new Error('short write');
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

  /** Makes what a cache's folder has, where it is not there. System errors as they come. */
  async makeFolders(): Promise<void> {
    const { files, restoreFolder } = this.#parts;
    this.#snapshotStamp = undefined;
    await files.makeFolder('');
    // First, as somebody else may have a cache there by now.
    await restoreFolder();
    for (const folder of Object.values(ZONE_FOLDERS)) await files.makeFolder(folder);
    await files.syncFolder('');
  }

  /** Whether a snapshot would be the one that is there. */
  get isSnapshotCurrent(): boolean {
    return this.#snapshotStamp === this.#stampNow();
  }

  /** The index has just been made from the snapshot that is there, and from nothing else that should be in one. */
  holdSnapshotCurrent(): void {
    this.#snapshotStamp = this.#stampNow();
  }

  #stampNow(): string {
    const { unitIndex, zones } = this.#parts;
    return `${unitIndex.changes}/${zones.version}`;
  }

  /** Takes a snapshot of the index, one at a time. False when that did not work. Never rejects. */
  snapshot(): Promise<boolean> {
    this.#snapshot ??= this.#takeSnapshot().finally(() => {
      this.#snapshot = undefined;
    });
    return this.#snapshot;
  }

  async #takeSnapshot(): Promise<boolean> {
    const { files, seals, unitIndex, zones, counters, health, onEvent, hasFolder } = this.#parts;
    if (!hasFolder()) return false;
    this.#filledZones = 0;
    const stamp = this.#stampNow();
    // What fills meanwhile is read from its footer.
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

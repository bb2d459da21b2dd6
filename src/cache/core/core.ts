/**
 * A cache's parts, put together, and what several of them are needed for: invalidating, failures. Units are stored in `clean-writer.ts`,
 * what is done now and then is in `maintenance.ts`; `cache.ts` is what applications see of it all.
 *
 * Invariants
 *   1. A unit is in the index only when all of it was written, and handed out only when length and tag are those asked for.
 *   2. The index is changed through `unitIndex` alone, and only on this thread.
 *   3. Dirty units are in dirty zones, which nothing but `dirty` gives up; pinned ones are never given up without a copy.
 *   4. Nothing here fails a caller that reads or stores clean units: what does not work is a miss, or dropped and counted.
 */

import { type CacheFiles, ShortFileError } from '../base/files.ts';
import { type Health, problemKindOf } from '../base/health.ts';
import { PendingWork } from '../base/pending-work.ts';
import type { Seals } from '../base/seals.ts';
import { type CheckedSettings, dirtyZoneBytes } from '../base/settings.ts';
import type { CacheEvent, Counters, ProblemKind } from '../base/statistics.ts';
import { Admission } from '../clean/admission.ts';
import { type CleanQueue, CleanWriter } from '../clean/clean-writer.ts';
import { Quotas } from '../clean/quotas.ts';
import { RangeInvalidations } from '../clean/range-invalidations.ts';
import { Reads } from '../clean/reads.ts';
import { Reclaim } from '../clean/reclaim.ts';
import { hasTag, UnitIndex } from '../clean/unit-index.ts';
import { ZoneWriter } from '../clean/zone-writer.ts';
import { Dirty } from '../dirty/batches.ts';
import { type Fingerprinter, fingerprintOf, newFingerprint, type Prefix } from '../index/fingerprints.ts';
import { Ghosts } from '../index/ghosts.ts';
import { createTable, ENTRY_DIRTY, type Fingerprint } from '../index/index-table.ts';
import type { Coherency } from '../objects/object-rows.ts';
import { type ObjectState, Objects, type VolumeState } from '../objects/objects.ts';
import type { Rows } from '../rows/rows.ts';
import { type Zone, Zones } from '../zones/zones.ts';
import { Maintenance } from './maintenance.ts';
import { RowSweep } from './row-sweep.ts';

/** What a cache is built of. */
export interface CoreParts {
  readonly settings: CheckedSettings;
  readonly files: CacheFiles;
  readonly seals: Seals;
  readonly rows: Rows;
  readonly fingerprinter: Fingerprinter;
  readonly health: Health;
  readonly counters: Counters;
  readonly nowMs: () => number;
  readonly onEvent: (event: CacheEvent) => void;
}

/** More units than this are dropped one by one only after a whole object: asking the index for each would take too long. */
const RANGE_UNITS_MAX = 65_536;

export class Core {
  readonly settings: CheckedSettings;
  readonly files: CacheFiles;
  readonly seals: Seals;
  readonly rows: Rows;
  readonly fingerprinter: Fingerprinter;
  readonly health: Health;
  readonly counters: Counters;
  readonly zones: Zones;
  readonly objects: Objects;
  readonly unitIndex: UnitIndex;
  readonly reads: Reads;
  readonly dirty: Dirty;
  readonly reclaim: Reclaim;
  readonly admission: Admission;
  readonly zoneWriters: Readonly<Record<CleanQueue, ZoneWriter>>;
  readonly nowMs: () => number;
  readonly rowSweep: RowSweep;
  readonly cleanWriter: CleanWriter;
  readonly maintenance: Maintenance;
  readonly rangeInvalidations: RangeInvalidations = new RangeInvalidations();
  readonly #fingerprint: Fingerprint = newFingerprint();
  readonly #pendingWork = new PendingWork();
  /** False when the folder is not there any more, or another one is. */
  hasFolder: () => boolean = () => true;
  /** ECLOSED from the moment on when somebody closes the cache. */
  requireOpen: () => void = () => undefined;
  /** What has to be put back when the folder was lost. */
  restoreFolder: () => Promise<void> = () => Promise.resolve();

  constructor(parts: CoreParts) {
    const { settings, files, seals, rows, fingerprinter, health, counters, nowMs, onEvent } = parts;
    this.settings = settings;
    this.files = files;
    this.seals = seals;
    this.rows = rows;
    this.fingerprinter = fingerprinter;
    this.health = health;
    this.counters = counters;
    this.nowMs = nowMs;
    this.zones = new Zones(files);
    this.objects = new Objects(rows, fingerprinter, nowMs);
    const table = createTable(settings.unitsMax);
    const { zones, objects } = this;
    this.unitIndex = new UnitIndex(table, new Ghosts(settings.unitsMax), zones, objects, counters);
    const { unitIndex } = this;
    this.zoneWriters = {
      small: this.#zoneWriter('small'),
      main: this.#zoneWriter('main'),
      pinned: this.#zoneWriter('pinned'),
    };
    const note = (error: unknown): void => {
      health.note(error);
    };
    const hasFolder = (): boolean => this.hasFolder();
    const zoneBytes = dirtyZoneBytes(settings);
    this.dirty = new Dirty({
      files,
      zones,
      unitIndex,
      objects,
      seals,
      rows,
      fingerprinter,
      zoneBytes,
      nowMs,
      // A folder that has gone is found again by who looks for it.
      note: error => {
        if (problemKindOf(error) === 'gone') health.fail(error);
        else health.note(error);
      },
      filled: () => this.maintenance.filled(),
      hasFolder,
    });
    this.reclaim = new Reclaim({
      zones,
      unitIndex,
      objects,
      seals,
      main: this.zoneWriters.main,
      pinned: this.zoneWriters.pinned,
      counters,
      smallBytesMax: (settings.budgetBytes * settings.smallPercent) / 100,
      onEvent,
      note,
    });
    this.rowSweep = new RowSweep(rows, objects, this.dirty, settings.rowsMax);
    this.objects.loosened = () => {
      this.reclaim.loosenPinned();
    };
    this.admission = new Admission(settings, files, zones, this.reclaim, nowMs);
    this.reads = new Reads(unitIndex, zones, objects, counters, settings.readsOnThisThread, (zone, error) =>
      this.#readFailed(zone, error),
    );
    const { zoneWriters, dirty, admission, rowSweep, rangeInvalidations } = this;
    const quotas = new Quotas(unitIndex, zones, counters);
    const pendingWork = this.#pendingWork;
    this.cleanWriter = new CleanWriter({
      settings,
      health,
      counters,
      objects,
      unitIndex,
      rangeInvalidations,
      admission,
      quotas,
      zoneWriters,
      pendingWork,
    });
    this.maintenance = new Maintenance({
      settings,
      files,
      seals,
      rows,
      health,
      counters,
      zones,
      unitIndex,
      zoneWriters,
      dirty,
      admission,
      rowSweep,
      onEvent,
      hasFolder,
      restoreFolder: () => this.restoreFolder(),
    });
  }

  /** Bytes of the index in memory. */
  get indexBytes(): number {
    return this.unitIndex.table.words.byteLength + this.settings.unitsMax * 4;
  }

  /** Resolves when nothing is stored or given up any more; what has not been stored by then is dropped. For closing. */
  async settle(): Promise<void> {
    this.cleanWriter.close();
    await this.#pendingWork.idle();
    await this.admission.idle();
    for (const zoneWriter of Object.values(this.zoneWriters)) await zoneWriter.idle();
    await this.dirty.finish();
  }

  /** Nothing of so many of the object's units is found any more. What is dirty stays. */
  invalidateRange(object: ObjectState, from: number, to: number): void {
    if ((from > 0 || Number.isFinite(to)) && to - from <= RANGE_UNITS_MAX) {
      this.#invalidateUnits(object, from, to);
    } else {
      this.invalidateObject(object);
    }
  }

  /** Nothing clean of the object is found any more. @param coherency what to remember of it instead of what was. */
  invalidateObject(object: ObjectState, coherency?: Coherency): void {
    this.objects.invalidateObject(object, coherency);
    this.dirty.reindex(object.volume.id, object.id);
    if (object.pin) this.reclaim.loosenPinned();
  }

  invalidateVolume(volume: VolumeState): void {
    this.objects.invalidateVolume(volume);
    this.dirty.reindex(volume.id, undefined);
    this.reclaim.loosenPinned();
  }

  #invalidateUnits(object: ObjectState, from: number, to: number): void {
    this.rangeInvalidations.add(object.key, from, to);
    this.objects.invalidations += 1;
    for (let index = from; index < to; index += 1) {
      const fingerprint = fingerprintOf(object.prefix, index, this.#fingerprint);
      const found = this.unitIndex.find(fingerprint);
      if (found !== undefined && (found.entry.flags & ENTRY_DIRTY) === 0)
        this.unitIndex.remove(fingerprint, found);
    }
  }

  has(prefix: Prefix, index: number, expectedTag: Uint8Array | undefined): boolean {
    const found = this.unitIndex.find(fingerprintOf(prefix, index, this.#fingerprint));
    return found !== undefined && (expectedTag === undefined || hasTag(found.entry, expectedTag));
  }

  #zoneWriter(queue: CleanQueue): ZoneWriter {
    const { zones, seals, settings } = this;
    return new ZoneWriter({
      zones,
      seals,
      zoneBytes: settings.zoneBytes,
      openZone: () => this.#openZone(queue),
      stored: (unit, zone, offsetBytes) => this.cleanWriter.stored(unit, zone, offsetBytes),
      failed: error => this.#writeFailed(error),
      filled: () => this.maintenance.filled(),
    });
  }

  async #openZone(queue: CleanQueue): Promise<Zone | undefined> {
    if (this.health.isAway) return undefined;
    try {
      if (this.health.isUnwell) await this.maintenance.makeFolders();
      return await this.zones.create(queue);
    } catch (error) {
      this.#writeFailed(error);
      return undefined;
    }
  }

  #writeFailed(error: unknown): void {
    if (this.health.fail(error) !== 'full' || this.cleanWriter.isClosed) return;
    void this.#pendingWork.add(this.admission.giveUpOne()).catch(() => undefined);
  }

  #readFailed(zone: Zone, error: unknown): void {
    const kind: ProblemKind = this.health.note(error);
    // Not there, or not all of it: it will not be better the next time. Dirty data is not given up for that.
    const isHopeless = kind === 'gone' || error instanceof ShortFileError;
    if (isHopeless && zone.isFull && zone.queue !== 'dirty')
      void this.#pendingWork.add(this.zones.giveUp(zone));
  }
}

/**
 * Turns a dirty zone into a clean one when all of its batches are released: the zone is renamed and gets a
 * footer, and nothing is copied. If the index finds none of its units any more, it is given up instead. Works
 * in the background, on one zone after another.
 */

import { DrainLoop } from '../../base/drain-loop.ts';
import type { UnitIndex } from '../clean/unit-index.ts';
import { fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import type { Fingerprint } from '../index/index-table.ts';
import type { Objects } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { endZone } from '../zones/end-zone.ts';
import { ZoneList } from '../zones/zone-format.ts';
import { ZONE_FOLDERS, type Zone, type Zones, zonePath } from '../zones/zones.ts';
import { readBatches } from './scan.ts';

export interface CleanupCalls {
  readonly note: (error: unknown) => void;
  /** Called when the file of a zone is no longer among the dirty ones, not even after a power cut. */
  readonly gone: (zone: Zone) => void;
}

export class DirtyCleanup {
  readonly #context: CacheContext;
  readonly #zones: Zones;
  readonly #objects: Objects;
  readonly #unitIndex: UnitIndex;
  readonly #calls: CleanupCalls;
  readonly #waiting: Zone[] = [];
  readonly #loop = new DrainLoop(
    () => this.#waiting.length > 0,
    () => this.#cleanWaiting(),
  );
  readonly #fingerprint: Fingerprint = newFingerprint();

  constructor(
    context: CacheContext,
    zones: Zones,
    objects: Objects,
    unitIndex: UnitIndex,
    calls: CleanupCalls,
  ) {
    this.#context = context;
    this.#zones = zones;
    this.#objects = objects;
    this.#unitIndex = unitIndex;
    this.#calls = calls;
  }

  /** Adds a full zone whose batches are all released. Call it once for each zone. */
  add(zone: Zone): void {
    this.#waiting.push(zone);
    this.#loop.start();
  }

  /**
   * Gives up zones without looking at their units. False when some file may still be there after a power cut.
   */
  async drop(some: readonly Zone[]): Promise<boolean> {
    const { files } = this.#context;
    const zones = this.#zones;
    try {
      for (const zone of some) {
        await zones.giveUp(zone);
        // The file is usually gone by now. This throws when it is still there and cannot be removed.
        await files.remove(zonePath('dirty', zone.name));
      }
      if (some.length > 0) await files.syncFolder(ZONE_FOLDERS.dirty);
      return true;
    } catch (error) {
      this.#calls.note(error);
      return false;
    }
  }

  idle(): Promise<void> {
    return this.#loop.idle();
  }

  async #cleanWaiting(): Promise<void> {
    const { files } = this.#context;
    const { note, gone } = this.#calls;
    const done: Zone[] = [];
    for (let zone = this.#waiting.shift(); zone !== undefined; zone = this.#waiting.shift()) {
      await this.#clean(zone);
      try {
        // The file is usually gone by now. This throws when it is still there and cannot be removed.
        await files.remove(zonePath('dirty', zone.name));
        done.push(zone);
      } catch (error) {
        note(error);
      }
    }
    try {
      // The rows that say which batches are released may go only when the files cannot come back.
      await files.syncFolder(ZONE_FOLDERS.dirty);
      for (const zone of done) gone(zone);
    } catch (error) {
      note(error);
    }
  }

  async #clean(zone: Zone): Promise<void> {
    const zones = this.#zones;
    if (zone.isDead) return;
    if (zone.liveBytes === 0) {
      await zones.giveUp(zone);
      return;
    }
    try {
      await this.#makeClean(zone);
    } catch (error) {
      this.#calls.note(error);
      await zones.giveUp(zone);
    }
  }

  async #makeClean(zone: Zone): Promise<void> {
    const { files, seals } = this.#context;
    const zones = this.#zones;
    const file = await files.open(zone.path, 'write');
    const list = new ZoneList();
    try {
      const { foundBatches } = await readBatches(seals, zone.name, file, zone.endBytes);
      for (const { offsetBytes, header } of foundBatches) {
        for (const unit of header.units) {
          const object = this.#objects.objectOf(unit);
          if (object === undefined) continue;
          const place = offsetBytes + unit.offsetBytes;
          const found = this.#unitIndex.find(fingerprintOf(object.prefix, unit.index, this.#fingerprint));
          // The unit was replaced or invalidated since: it is left out.
          if (found?.entry.zoneId !== zone.id || found.entry.offsetBytes !== place) continue;
          list.add(object.key, object.prefix, { ...unit, offsetBytes: place });
        }
      }
      await zones.rename(zone, 'main');
      zone.list = list;
      await endZone(seals, zones, zone, this.#calls.note, file);
    } finally {
      await file.close();
    }
  }
}

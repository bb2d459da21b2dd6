/**
 * What becomes of a dirty region when all of its batches are released: a clean one, by rename and with a footer, as long as the index
 * still finds something in it. One after another, in the background.
 */

import type { CacheFiles } from '../base/files.ts';
import type { Seals } from '../base/seals.ts';
import type { Places } from '../clean/unit-index.ts';
import { endRegion } from '../clean/zone-writer.ts';
import { fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import type { Fingerprint } from '../index/index-table.ts';
import type { Objects } from '../objects/objects.ts';
import { RegionList } from '../zones/zone-format.ts';
import { REGION_FOLDERS, type Region, type Regions, regionPath } from '../zones/zones.ts';
import { readHeads } from './scan.ts';

export interface CleanupHost {
  readonly files: CacheFiles;
  readonly regions: Regions;
  readonly places: Places;
  readonly objects: Objects;
  readonly seals: Seals;
  note(error: unknown): void;
  /** A clean region has come into being. */
  filled(): void;
  /** Its file is not among the dirty ones any more, whatever happens. */
  gone(region: Region): void;
}

export class DirtyCleanup {
  readonly #host: CleanupHost;
  readonly #waiting: Region[] = [];
  readonly #fingerprint: Fingerprint = newFingerprint();
  #running: Promise<void> | undefined;

  constructor(host: CleanupHost) {
    this.#host = host;
  }

  /** Full, and nothing in it is dirty. Once for each region. */
  add(region: Region): void {
    this.#waiting.push(region);
    this.#start();
  }

  /** Gives up regions without a look at what is in them. False when one of them may come back. */
  async drop(some: readonly Region[]): Promise<boolean> {
    const { regions, files, note } = this.#host;
    try {
      for (const region of some) {
        await regions.giveUp(region);
        // As a rule there is nothing left to remove.
        await files.remove(regionPath('dirty', region.name));
      }
      if (some.length > 0) await files.syncFolder(REGION_FOLDERS.dirty);
      return true;
    } catch (error) {
      note(error);
      return false;
    }
  }

  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#waiting.length > 0) this.#start();
    });
  }

  async #run(): Promise<void> {
    const { files, note, gone } = this.#host;
    const done: Region[] = [];
    for (let region = this.#waiting.shift(); region !== undefined; region = this.#waiting.shift()) {
      await this.#clean(region);
      try {
        // As a rule there is nothing left to remove.
        await files.remove(regionPath('dirty', region.name));
        done.push(region);
      } catch (error) {
        note(error);
      }
    }
    try {
      // What is noted about their batches has to outlive the files.
      await files.syncFolder(REGION_FOLDERS.dirty);
      for (const region of done) gone(region);
    } catch (error) {
      note(error);
    }
  }

  async #clean(region: Region): Promise<void> {
    const { regions, note } = this.#host;
    if (region.isDead) return;
    if (region.liveBytes === 0) {
      await regions.giveUp(region);
      return;
    }
    try {
      await this.#makeClean(region);
    } catch (error) {
      note(error);
      await regions.giveUp(region);
    }
  }

  async #makeClean(region: Region): Promise<void> {
    const { files, regions, places, seals, objects, note, filled } = this.#host;
    const file = await files.open(region.path, 'write');
    const list = new RegionList();
    try {
      const { heads } = await readHeads(seals, region.name, file, region.endBytes);
      for (const { offsetBytes, head } of heads) {
        for (const unit of head.units) {
          const object = objects.objectOf(unit);
          if (object === undefined) continue;
          const place = offsetBytes + unit.offsetBytes;
          const found = places.find(fingerprintOf(object.prefix, unit.index, this.#fingerprint));
          // Replaced or invalidated since.
          if (found?.entry.regionId !== region.id || found.entry.offsetBytes !== place) continue;
          list.add(object.key, object.prefix, { ...unit, offsetBytes: place });
        }
      }
      await regions.rename(region, 'main');
      region.list = list;
      await endRegion({ regions, seals, failed: note, filled }, region, file);
    } finally {
      await file.close();
    }
  }
}

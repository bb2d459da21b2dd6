/**
 * Closes or wipes a cache.
 *
 *   open ──close()──▶ stopped ──▶ zones ended, snapshot taken ──▶ files closed, keys destroyed, lock released
 *     └───wipe()────▶ stopped ──▶ key on the disk destroyed ──▶ zones given up ──▶ files closed,
 *                                    │                          the rest removed, lock released
 *                                    └─ that failed ─▶ closed as above, wipe() rejects
 */
import { requireArgument } from '../../base/errors.ts';
import { type CacheKeys, MEMORY_NOTICE_PATH, WIPED_HEADER_PATH } from '../base/cache-keys.ts';
import { Health } from '../base/health.ts';
import type { OwnerLock } from '../base/owner-lock.ts';
import { ZONE_FOLDERS } from '../zones/zones.ts';
import type { Core } from './core.ts';

export interface ShutdownCalls {
  /** Lets nothing new begin, and resolves when nothing is under way. */
  readonly stop: () => Promise<void>;
  readonly saveCounters: () => void;
}

const WIPED_PATHS = [
  'index',
  'cache.db',
  'cache.db-wal',
  'cache.db-journal',
  'cache.db-shm',
  'owner',
  MEMORY_NOTICE_PATH,
  // Last: as long as this file is there, the next opening knows that everything else may be removed.
  WIPED_HEADER_PATH,
] as const;

export class Shutdown {
  readonly #core: Core;
  readonly #keys: CacheKeys;
  readonly #lock: OwnerLock;
  readonly #calls: ShutdownCalls;
  #ended: Promise<void> | undefined;

  constructor(core: Core, keys: CacheKeys, lock: OwnerLock, calls: ShutdownCalls) {
    this.#core = core;
    this.#keys = keys;
    this.#lock = lock;
    this.#calls = calls;
  }

  /** As `cache.wipe`. */
  async wipe(dirtyToo: boolean): Promise<void> {
    this.#core.requireOpen();
    this.#requireNoDirty(dirtyToo);
    this.#core.refuseCalls();
    const wiping = this.#wipe(dirtyToo);
    this.#ended = wiping.catch(() => undefined);
    await wiping;
  }

  async #wipe(dirtyToo: boolean): Promise<void> {
    const { dirty, zones, zoneWriters, context } = this.#core;
    await this.#calls.stop();
    try {
      // A batch that was on its way at the first check may have been kept since.
      this.#requireNoDirty(dirtyToo);
      await this.#keys.destroyHeader();
    } catch (error) {
      await this.#finish();
      throw Health.errorOf(`the key of the cache in ${context.folder} could not be destroyed`, error);
    }
    dirty.forget();
    for (const zoneWriter of Object.values(zoneWriters))
      if (zoneWriter.zone !== undefined) zoneWriter.abandon(zoneWriter.zone);
    for (const zone of zones.all()) await zones.giveUp(zone);
    await this.#end(async () => {
      // The removals must reach the disk before `WIPED_HEADER_PATH`, which says why they are allowed, goes.
      await context.files.syncFolder(ZONE_FOLDERS.dirty).catch(() => undefined);
      for (const path of WIPED_PATHS) await context.files.remove(path).catch(() => undefined);
    });
  }

  #requireNoDirty(dirtyToo: boolean): void {
    const { batchCount } = this.#core.dirty;
    requireArgument(
      dirtyToo || batchCount === 0,
      `${batchCount} batches of the cache are not on the server yet`,
    );
  }

  /** As `cache.close`. */
  close(): Promise<void> {
    this.#core.refuseCalls();
    this.#ended ??= this.#calls.stop().then(() => this.#finish());
    return this.#ended;
  }

  async #finish(): Promise<void> {
    const { zoneWriters, maintenance } = this.#core;
    for (const zoneWriter of Object.values(zoneWriters)) await zoneWriter.finish();
    // A cache that was only read does not write its index again.
    if (!maintenance.isSnapshotCurrent) await maintenance.snapshot();
    await this.#end();
  }

  /** @param last called when everything is closed and the lock still held. */
  async #end(last: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const { context, zones } = this.#core;
    this.#calls.saveCounters();
    context.rows.flush();
    context.rows.close();
    await zones.closeAll();
    await last();
    context.seals.destroy();
    this.#keys.destroy();
    this.#lock.release();
  }
}

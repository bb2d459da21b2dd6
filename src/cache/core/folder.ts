/** The folder of a cache. If it is removed or replaced while the cache is open, it is made again. */
import type { CacheKeys } from '../base/cache-keys.ts';
import type { OwnerLock } from '../base/owner-lock.ts';
import type { Objects } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { ZONE_FOLDERS } from '../zones/zones.ts';
import type { Invalidator } from './invalidator.ts';

export class CacheFolder {
  readonly #context: CacheContext;
  readonly #lock: OwnerLock;
  readonly #keys: CacheKeys;
  readonly #objects: Objects;
  readonly #invalidator: Invalidator;
  #makeCount = 0;

  constructor(
    context: CacheContext,
    lock: OwnerLock,
    keys: CacheKeys,
    objects: Objects,
    invalidator: Invalidator,
  ) {
    this.#context = context;
    this.#lock = lock;
    this.#keys = keys;
    this.#objects = objects;
    this.#invalidator = invalidator;
  }

  /** How often {@link make} was called: files made before the last time may be gone. */
  get makeCount(): number {
    return this.#makeCount;
  }

  /**
   * Makes what is missing of the folder: the lock, the header, the database, the folders of zones. System
   * errors as they come; EDENIED when another process has a cache there by now.
   */
  async make(): Promise<void> {
    const { files, rows, nowMs } = this.#context;
    this.#makeCount += 1;
    await files.makeFolder('');
    // Before anything is put there: another process may have a cache there by now.
    this.#lock.retake(nowMs());
    await this.#keys.restore();
    // The lost rows may have invalidated units. Without them, those units could be found again.
    if (!rows.restore())
      for (const volume of this.#objects.volumes()) this.#invalidator.invalidateVolume(volume);
    for (const folder of Object.values(ZONE_FOLDERS)) await files.makeFolder(folder);
    await files.syncFolder('');
  }
}

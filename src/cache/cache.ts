/**
 * The local cache of sealed units, as applications see it. `openCache` in `open.ts` makes one. It keeps units
 * under volume id, object id and unit index, and hands a unit out only if its tag is the one that the caller
 * expects. It never opens units. `docs/CACHE.md` describes what it does and what lies in its folder.
 */

import { abortable } from '../base/abortable.ts';
import {
  requireBytes,
  requireFlag,
  requireInteger,
  requireIterable,
  requireList,
  requireObject,
  requireOptions,
  shownValue,
} from '../base/arguments.ts';
import { toHex } from '../base/bytes.ts';
import type { CallOptions } from '../base/call-options.ts';
import { requireArgument } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import type { NewSecret, Secret } from '../keys/secret.ts';
import type { CacheKeys } from './base/cache-keys.ts';
import { Health } from './base/health.ts';
import type { OwnerLock } from './base/owner-lock.ts';
import { PendingWork } from './base/pending-work.ts';
import type { CheckedSettings } from './base/settings.ts';
import type { CacheStatistics, Lifetime } from './base/statistics.ts';
import { CacheVolume } from './cache-volume.ts';
import type { Core } from './core/core.ts';
import { Shutdown } from './core/shutdown.ts';
import { WriteBehind } from './core/write-behind.ts';
import { type DirtyBatch, DirtyIntake, type ListedBatch } from './dirty/intake.ts';
import type { LedgerEntry } from './dirty/ledger.ts';
import {
  type CachedUnit,
  type Damage,
  findDamage,
  listUnits,
  type VerifyOptions,
} from './inspect/contents.ts';
import { type Discarded, type DiscardScope, discard } from './inspect/discard.ts';
import { findMissing, type MissingRange } from './inspect/incomplete.ts';
import {
  type CachedObject,
  type CachedVolume,
  type ListedUnit,
  type ListSettings,
  listObjects,
  listObjectUnits,
  listVolumes,
} from './inspect/listing.ts';
import type { Pin, VolumeState } from './objects/objects.ts';
import type { SharedCache } from './thread-reader.ts';

/** The name of the row, of kind `setting`, that keeps the lifetime counters. */
export const COUNTERS_ROW = 'counters';
/** How often the lifetime counters are saved. */
const COUNTERS_MS = 60_000;

export class Cache {
  readonly #core: Core;
  readonly #keys: CacheKeys;
  readonly #lifetime: Lifetime;
  readonly #shutdown: Shutdown;
  readonly #dirtyIntake: DirtyIntake;
  readonly #writeBehind: WriteBehind;
  readonly #volumes = new Map<string, CacheVolume>();
  readonly #timer: NodeJS.Timeout | undefined;
  #maintaining: Promise<void> | undefined;
  #countersSavedMs: number;
  /** Calls under way that change the folder. Closing waits for them. */
  readonly #pendingWork = new PendingWork();

  /** @internal Call `openCache` instead. */
  constructor(core: Core, keys: CacheKeys, lock: OwnerLock, lifetime: Lifetime) {
    this.#core = core;
    this.#keys = keys;
    this.#lifetime = lifetime;
    this.#countersSavedMs = core.context.nowMs();
    this.#writeBehind = new WriteBehind(core);
    this.#dirtyIntake = new DirtyIntake(core.dirty, core.admission, core.objects, id => this.#stateOf(id));
    this.#shutdown = new Shutdown(core, keys, lock, {
      stop: () => this.#stop(),
      saveCounters: () => this.#saveCounters(),
    });
    core.objects.pins.resume();
    const { maintenanceMs } = core.context.settings;
    if (maintenanceMs > 0) {
      this.#timer = setInterval(() => void this.maintain(), maintenanceMs);
      this.#timer.unref();
    }
  }

  /** The id of this cache, and of the volume that `PlainCache` seals for. 16 bytes. */
  get id(): Uint8Array {
    return this.#keys.keyring.volumeId;
  }

  /** The cache's keys, with which `PlainCache` seals. They stay the cache's: do not destroy them. */
  get keys(): CacheKeys {
    return this.#keys;
  }

  /**
   * Returns one volume's part of the cache. EINVAL unless the id has 16 bytes, EFULL after 4,096 volumes,
   * ECLOSED.
   */
  volume(volumeId: Uint8Array): CacheVolume {
    const state = this.#stateOf(volumeId);
    const key = toHex(state.id);
    const known = this.#volumes.get(key);
    if (known !== undefined) return known;
    const volume = new CacheVolume(this.#core, state, this.#writeBehind);
    this.#volumes.set(key, volume);
    return volume;
  }

  #stateOf(volumeId: Uint8Array): VolumeState {
    this.#core.requireOpen();
    const state = this.#core.objects.volume(volumeId);
    state.isInUse = true;
    return state;
  }

  /**
   * Keeps units that are not on the server yet. Resolves with the batch's id when all of them are on the
   * disk. From then on `get` finds them, and they are there after any crash until they are released.
   *
   * - The units' bytes must not change until the call has settled. Ids and payload are copied at once.
   * - An abort counts while the batch waits for its turn. A batch that is being written is kept all the same,
   *   and the call resolves with its id.
   * - EINVAL, EFULL, EIO, EDENIED, ECLOSED, or the signal's reason; nothing was kept then.
   */
  async appendDirty(batch: DirtyBatch, options: CallOptions = {}): Promise<number> {
    requireOptions('options', options);
    return await this.#pendingWork.add(this.#appendDirty(batch, options.signal));
  }

  async #appendDirty(batch: DirtyBatch, signal: AbortSignal | undefined): Promise<number> {
    this.#core.requireOpen();
    return this.#dirtyIntake.append(batch, signal);
  }

  /**
   * Releases batches, because their units are on the server now: the units are clean from now on. Ignores
   * unknown ids. A power cut may undo a release; then the batch is listed again, and must be released again.
   * ECLOSED, or the signal's reason; some may be released then.
   */
  async releaseDirty(ids: Iterable<number>, options: CallOptions = {}): Promise<void> {
    requireOptions('options', options);
    const checked = toBatchIds(ids);
    await this.#pendingWork.add(this.#releaseDirty(checked, options.signal));
  }

  async #releaseDirty(ids: Iterable<number>, signal: AbortSignal | undefined): Promise<void> {
    this.#core.requireOpen();
    await this.#core.dirty.release(ids, signal);
  }

  /**
   * Notes for {@link ledger} that batches are being sent, or no longer are. Ignores unknown ids. Forgotten
   * when the cache is closed.
   */
  markQueued(ids: Iterable<number>, isQueued = true): void {
    this.#core.requireOpen();
    requireFlag('isQueued', isQueued);
    this.#core.dirty.markQueued(toBatchIds(ids), isQueued);
  }

  /** Returns how much of each volume is dirty, is being sent, and was released, in no order. */
  ledger(): LedgerEntry[] {
    this.#core.requireOpen();
    return this.#core.dirty.ledger();
  }

  /**
   * Reads one unit of a dirty batch, even if a newer batch has the same unit. Resolves with its length; 0
   * when the batch is released. EINVAL when there is no such unit or `into` is too small, EIO, EAUTH,
   * ECLOSED.
   *
   * @param position the unit's position in the batch, from 0 on.
   */
  async readDirty(id: number, position: number, into: Uint8Array): Promise<number> {
    requireInteger('id', id);
    requireInteger('position', position);
    requireBytes('into', into);
    return await this.#pendingWork.add(this.#readDirty(id, position, into));
  }

  async #readDirty(id: number, position: number, into: Uint8Array): Promise<number> {
    this.#core.requireOpen();
    return this.#core.dirty.readUnit(id, position, into);
  }

  /** Lists every batch that is not released, oldest first. EIO or EAUTH when one cannot be read, ECLOSED. */
  async *listDirty(): AsyncGenerator<ListedBatch> {
    this.#core.requireOpen();
    yield* this.#dirtyIntake.list(() => this.#core.requireOpen());
  }

  /** Returns the pins, as they were set. */
  pins(): Pin[] {
    this.#core.requireOpen();
    return this.#core.objects.pins.list();
  }

  /**
   * Lists the units that pinned objects still lack. Only objects whose unit count is known, from the pin or
   * the cookie, are looked at. Works in bounded steps; a long range comes in parts of 2^20 units. ECLOSED.
   */
  incomplete(): AsyncGenerator<MissingRange> {
    this.#core.requireOpen();
    return findMissing(this.#core);
  }

  /** Invalidates all clean units of all volumes. */
  invalidateAll(): void {
    this.#core.requireOpen();
    for (const volume of this.#core.objects.volumes()) this.#core.invalidator.invalidateVolume(volume);
  }

  /** The settings that hold now, each as it was given, remembered, or derived from the budget. */
  get settings(): CheckedSettings {
    return this.#core.context.settings;
  }

  get statistics(): CacheStatistics {
    const { unitIndex, zones, dirty, indexBytes, isClosed, context } = this.#core;
    const { counters, settings, health } = context;
    const count = { small: 0, main: 0, pinned: 0, dirty: 0 };
    for (const zone of zones.all()) if (!zone.isDead) count[zone.queue] += 1;
    return {
      ...counters,
      lifetime: this.#lifetime.total(),
      dropped: { ...counters.dropped },
      problems: { ...counters.problems },
      state: isClosed ? 'closed' : health.isUnwell ? 'away' : 'ready',
      units: unitIndex.count,
      unitsMax: settings.unitsMax,
      bytes: zones.totalBytes,
      budgetBytes: settings.budgetBytes,
      zones: count,
      queuedUnits: this.#writeBehind.units,
      queuedBytes: this.#writeBehind.bytes,
      dirtyBatches: dirty.batchCount,
      dirtyUnits: dirty.unitCount,
      dirtyBytes: dirty.unitBytes,
      indexBytes,
    };
  }

  /**
   * Shares the index with other threads of this process, which read hits by a `ThreadReader` until the cache
   * is closed. From then on the index counts as changed, as those threads count hits in it: closing takes a
   * snapshot.
   */
  share(): SharedCache {
    this.#core.requireOpen();
    const { unitIndex, zones } = this.#core;
    unitIndex.changes += 1;
    const { words, bucketCount } = unitIndex.table;
    return { words, bucketCount, slots: zones.slots };
  }

  /** Lists every clean unit, in no order, for tools. System errors as they come, ECLOSED. */
  contents(): AsyncGenerator<CachedUnit> {
    this.#core.requireOpen();
    return listUnits(this.#core);
  }

  /** Returns the ids of all volumes that the cache knows, also of those without units. */
  volumeIds(): Uint8Array[] {
    this.#core.requireOpen();
    return this.#core.objects.volumes().map(({ id }) => new Uint8Array(id));
  }

  /** Returns the volumes with units in the cache, sorted by id. Otherwise as {@link objects}. */
  async contentsByVolume(settings: Pick<ListSettings, 'signal'> = {}): Promise<CachedVolume[]> {
    requireOptions('settings', settings);
    const { signal } = settings;
    this.#core.requireOpen();
    return await listVolumes(this.#core, signal);
  }

  /**
   * Lists the objects of a volume with units in the cache, sorted by id. Memory is bounded: the lists of all
   * zones are looked through once for each 131,072 objects. System errors as they come, ECLOSED.
   */
  objects(volumeId: Uint8Array, settings: ListSettings = {}): AsyncGenerator<CachedObject> {
    requireBytes('volumeId', volumeId, ID_BYTES);
    checkListSettings(settings);
    this.#core.requireOpen();
    return listObjects(this.#core, volumeId, settings);
  }

  /** Lists the units of an object, sorted by index. Otherwise as {@link objects}. */
  units(
    volumeId: Uint8Array,
    objectId: Uint8Array,
    settings: Omit<ListSettings, 'idStart'> = {},
  ): AsyncGenerator<ListedUnit> {
    requireBytes('volumeId', volumeId, ID_BYTES);
    requireBytes('objectId', objectId, ID_BYTES);
    checkListSettings(settings);
    this.#core.requireOpen();
    return listObjectUnits(this.#core, volumeId, objectId, settings);
  }

  /**
   * Drops the clean units of an object, of a volume, or of everything, and frees their room on the disk at
   * once. Dirty units stay. Pinned units stay unless `pinnedToo` is true. Rejects only with EINVAL and
   * ECLOSED.
   */
  async discard(scope: DiscardScope = {}): Promise<Discarded> {
    requireObject('scope', scope);
    if (scope.volumeId !== undefined) requireBytes('scope.volumeId', scope.volumeId, ID_BYTES);
    if (scope.objectId !== undefined) requireBytes('scope.objectId', scope.objectId, ID_BYTES);
    requireFlag('scope.pinnedToo', scope.pinnedToo);
    this.#core.requireOpen();
    requireArgument(
      scope.objectId === undefined || scope.volumeId !== undefined,
      'an object can only be dropped from a volume',
    );
    await this.#writeBehind.idle();
    return discard(this.#core, scope);
  }

  /** Reads everything, and yields the damage that it finds. System errors as they come, ECLOSED. */
  verify(options: VerifyOptions = {}): AsyncGenerator<Damage> {
    requireOptions('options', options);
    requireFlag('options.repair', options.repair);
    this.#core.requireOpen();
    return findDamage(this.#core, options);
  }

  /**
   * Writes what was offered, takes a snapshot of the index, and syncs the database. Rejects only with
   * ECLOSED, or at once with the signal's reason; the step that is under way then still ends, and no other
   * begins.
   */
  async flush(options: CallOptions = {}): Promise<void> {
    requireOptions('options', options);
    const { signal } = options;
    await abortable(this.#pendingWork.add(this.#flush(signal)), signal);
  }

  async #flush(signal: AbortSignal | undefined): Promise<void> {
    this.#core.requireOpen();
    signal?.throwIfAborted();
    await this.#writeBehind.idle();
    signal?.throwIfAborted();
    await this.#core.maintenance.snapshot();
    signal?.throwIfAborted();
    this.#saveCounters();
    this.#core.context.rows.flush();
  }

  /** Does a round of maintenance, as the cache does by itself every `maintenanceMs`. Never rejects. */
  maintain(): Promise<void> {
    this.#maintaining ??= this.#core.maintenance.maintain().finally(() => {
      this.#maintaining = undefined;
      if (Math.abs(this.#core.context.nowMs() - this.#countersSavedMs) >= COUNTERS_MS) this.#saveCounters();
    });
    return this.#maintaining;
  }

  /**
   * Replaces the ways to open the cache, and gives it new keys for what it seals from now on. The old secrets
   * do not open it any more. EINVAL when the cache's key is in memory only, ECLOSED; EIO, EFULL or EDENIED
   * when the disk fails: then the cache opens with the old secrets or the new ones.
   */
  changeKey(slots: readonly { readonly label: string; readonly secret: NewSecret }[]): Promise<void> {
    return this.#pendingWork.add(this.#changeKey(slots));
  }

  async #changeKey(slots: readonly { readonly label: string; readonly secret: NewSecret }[]): Promise<void> {
    requireList('slots', slots);
    for (const slot of slots) requireObject('a slot', slot);
    this.#core.requireOpen();
    const { seals, rows, folder } = this.#core.context;
    const secrets = slots.map(({ secret }) => secret satisfies Secret);
    try {
      await this.#keys.change(slots, secrets, keyring => {
        seals.replaceKeyring(keyring);
      });
      await rows.resealAll();
    } catch (error) {
      throw Health.errorOf(`the key of the cache in ${folder} could not be changed`, error);
    }
  }

  /**
   * Destroys the key, then removes everything else, and closes. EINVAL while there are dirty batches, unless
   * `dirtyToo` is true. See `docs/CACHE.md`, "At rest", for what this does not protect from.
   */
  async wipe(options: { readonly dirtyToo?: boolean } = {}): Promise<void> {
    requireObject('options', options);
    const { dirtyToo = false } = options;
    requireFlag('options.dirtyToo', dirtyToo);
    await this.#shutdown.wipe(dirtyToo);
  }

  /** Writes what was offered, ends open zones, takes a snapshot, and releases the folder. Never rejects. */
  close(): Promise<void> {
    return this.#shutdown.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writeBehind.close();
    await this.#maintaining;
    await this.#core.objects.pins.close();
    await this.#core.rowSweep.close();
    await this.#pendingWork.idle();
    await this.#keys.idle();
    await this.#core.settle();
  }

  #saveCounters(): void {
    const { rows, fingerprinter, nowMs } = this.#core.context;
    this.#countersSavedMs = nowMs();
    rows.put('setting', fingerprinter.name(COUNTERS_ROW), this.#lifetime.encode());
  }
}

/** Returns a copy of the ids of dirty batches. */
function toBatchIds(ids: Iterable<number>): number[] {
  requireIterable('ids', ids);
  return Array.from(ids, id => {
    requireInteger('id', id);
    return id;
  });
}

function checkListSettings(settings: ListSettings): void {
  requireOptions('settings', settings);
  const { idStart, atOnce } = settings;
  if (idStart !== undefined) {
    requireArgument(
      typeof idStart === 'string' && /^[0-9a-f]*$/.test(idStart),
      `settings.idStart must be hexadecimal digits, not ${shownValue(idStart)}`,
    );
  }
  if (atOnce !== undefined) requireInteger('settings.atOnce', atOnce, 1);
}

/**
 * The local cache of sealed units: `openCache` in `open.ts` makes one. It keeps units under volume id, object id and unit index, and
 * hands them out only with the tag that the caller expects. It never opens them. `docs/CACHE.md` describes what it does and what
 * lies in its folder.
 */

import { abortable } from '../base/abortable.ts';
import { toHex } from '../base/bytes.ts';
import type { CallOptions } from '../base/call-options.ts';
import { requireArgument } from '../base/errors.ts';
import type { NewSecret, Secret } from '../keys/secret.ts';
import type { CacheKeys } from './base/cache-keys.ts';
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

/** A row of kind `setting`. */
export const COUNTERS_ROW = 'counters';
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
  /** Calls that change the folder, and that closing waits for. */
  readonly #pendingWork = new PendingWork();

  /** @internal `openCache` is the way in. */
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

  /** 16 bytes: the id of this cache, and of the volume that plain data is sealed for. */
  get id(): Uint8Array {
    return this.#keys.keyring.volumeId;
  }

  /** The cache's own keys, for sealing plain data; still the cache's. */
  get keys(): CacheKeys {
    return this.#keys;
  }

  /** One volume's part. EINVAL unless the id has 16 bytes, EFULL after 4,096 volumes, ECLOSED. */
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
   * Keeps units that are not on the server yet. Resolves with the batch's id when all of them are on the disk; from then on `get`
   * finds them, and they are there after any crash until they are released. EINVAL, EFULL, EIO, EDENIED, ECLOSED, or the signal's
   * reason: nothing was kept.
   *
   * The units' bytes have to hold still until the call has settled, and are not read after that; ids and payload are copied at once. An
   * abort counts as long as the batch waits for its turn; once it is being written, the call goes on as if there had been none, and
   * resolves with the id.
   */
  appendDirty(batch: DirtyBatch, { signal }: CallOptions = {}): Promise<number> {
    return this.#pendingWork.add(this.#appendDirty(batch, signal));
  }

  async #appendDirty(batch: DirtyBatch, signal: AbortSignal | undefined): Promise<number> {
    this.#core.requireOpen();
    return this.#dirtyIntake.append(batch, signal);
  }

  /**
   * The units of these batches are on the server: they are clean from now on. Unknown ids are ignored. A release that a power cut
   * undoes is listed again: releasing has to be repeatable. ECLOSED, or the signal's reason: then some may be released.
   */
  releaseDirty(ids: Iterable<number>, { signal }: CallOptions = {}): Promise<void> {
    return this.#pendingWork.add(this.#releaseDirty(ids, signal));
  }

  async #releaseDirty(ids: Iterable<number>, signal: AbortSignal | undefined): Promise<void> {
    this.#core.requireOpen();
    await this.#core.dirty.release(ids, signal);
  }

  /**
   * Notes, for {@link ledger}, that these batches are being sent, or no longer are. Unknown ids are ignored. Forgotten when
   * the cache is closed.
   */
  markQueued(ids: Iterable<number>, isQueued = true): void {
    this.#core.requireOpen();
    this.#core.dirty.markQueued(ids, isQueued);
  }

  /** Returns how much of each volume is dirty, being sent, and released, in no order. */
  ledger(): LedgerEntry[] {
    this.#core.requireOpen();
    return this.#core.dirty.ledger();
  }

  /**
   * Reads one unit of a dirty batch, also where `get` finds a newer one. Resolves with its length; 0 when the batch is released.
   * EINVAL when there is no such unit or `into` is too small, EIO, EAUTH.
   *
   * @param position among the units of the batch.
   */
  readDirty(id: number, position: number, into: Uint8Array): Promise<number> {
    return this.#pendingWork.add(this.#readDirty(id, position, into));
  }

  async #readDirty(id: number, position: number, into: Uint8Array): Promise<number> {
    this.#core.requireOpen();
    return this.#core.dirty.readUnit(id, position, into);
  }

  /** Every batch that is not released, oldest first. EIO or EAUTH where one cannot be read, ECLOSED. */
  async *listDirty(): AsyncGenerator<ListedBatch> {
    this.#core.requireOpen();
    yield* this.#dirtyIntake.list(() => this.#core.requireOpen());
  }

  /** Lists the pins, as they were given. */
  pins(): Pin[] {
    this.#core.requireOpen();
    return this.#core.objects.pins.list();
  }

  /**
   * Lists the units that pinned objects still lack. Only objects whose unit count is known, from the pin or the cookie, are
   * looked at. Works in bounded steps; a long range comes in parts of 2^20 units. ECLOSED.
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

  /** What holds now: what was given, remembered, or follows from the budget. */
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
   * Shares the index with other threads of this process, which read hits by a `ThreadReader` until the cache is closed.
   * From then on the index counts as changed, as those threads count hits in it: closing takes a snapshot.
   */
  share(): SharedCache {
    const { unitIndex, zones } = this.#core;
    unitIndex.changes += 1;
    const { words, bucketCount } = unitIndex.table;
    return { words, bucketCount, slots: zones.slots };
  }

  /** Every clean unit that is there, in no order; for tools. System errors as they come, ECLOSED. */
  contents(): AsyncGenerator<CachedUnit> {
    this.#core.requireOpen();
    return listUnits(this.#core);
  }

  /** Ids of the volumes that the cache knows, whether anything of them is there or not. */
  volumeIds(): Uint8Array[] {
    this.#core.requireOpen();
    return this.#core.objects.volumes().map(({ id }) => new Uint8Array(id));
  }

  /** Volumes of which units are there, sorted by id; as {@link objects}. */
  contentsByVolume({ signal }: Pick<ListSettings, 'signal'> = {}): Promise<CachedVolume[]> {
    this.#core.requireOpen();
    return listVolumes(this.#core, signal);
  }

  /**
   * Objects of a volume of which units are there, sorted by id. Looks through the lists of all zones, once for each 131,072
   * objects: however many there are, memory is bounded. System errors as they come.
   */
  objects(volumeId: Uint8Array, settings: ListSettings = {}): AsyncGenerator<CachedObject> {
    this.#core.requireOpen();
    return listObjects(this.#core, volumeId, settings);
  }

  /** Units of an object, sorted by index; as {@link objects}. */
  units(
    volumeId: Uint8Array,
    objectId: Uint8Array,
    settings: Omit<ListSettings, 'idStart'> = {},
  ): AsyncGenerator<ListedUnit> {
    this.#core.requireOpen();
    return listObjectUnits(this.#core, volumeId, objectId, settings);
  }

  /**
   * Drops clean data and gives its room back at once: of an object, a volume, or everything. Dirty units stay, pinned ones unless
   * `pinnedToo` says otherwise. Never rejects but with EINVAL, ECLOSED.
   */
  async discard(scope: DiscardScope = {}): Promise<Discarded> {
    this.#core.requireOpen();
    requireArgument(
      scope.objectId === undefined || scope.volumeId !== undefined,
      'an object can only be dropped from a volume',
    );
    await this.#writeBehind.idle();
    return discard(this.#core, scope);
  }

  /** Reads everything, and yields what is damaged. */
  verify(options: VerifyOptions = {}): AsyncGenerator<Damage> {
    this.#core.requireOpen();
    return findDamage(this.#core, options);
  }

  /**
   * Writes what was offered, takes a snapshot of the index, syncs the database. Never rejects but with ECLOSED, or as soon as the signal
   * aborts with its reason: the step that was under way goes on then, and no other is begun.
   */
  flush({ signal }: CallOptions = {}): Promise<void> {
    return abortable(this.#pendingWork.add(this.#flush(signal)), signal);
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

  /** What is done every `maintenanceMs` anyway. Never rejects. */
  maintain(): Promise<void> {
    this.#maintaining ??= this.#core.maintenance.maintain().finally(() => {
      this.#maintaining = undefined;
      if (Math.abs(this.#core.context.nowMs() - this.#countersSavedMs) >= COUNTERS_MS) this.#saveCounters();
    });
    return this.#maintaining;
  }

  /**
   * New keys for what the cache seals from now on, and new ways to open it: the old ones open it no more. EINVAL when it has no
   * header, as its key is in memory only.
   */
  changeKey(slots: readonly { readonly label: string; readonly secret: NewSecret }[]): Promise<void> {
    return this.#pendingWork.add(this.#changeKey(slots));
  }

  async #changeKey(slots: readonly { readonly label: string; readonly secret: NewSecret }[]): Promise<void> {
    this.#core.requireOpen();
    const { seals, rows } = this.#core.context;
    const secrets = slots.map(({ secret }) => secret satisfies Secret);
    await this.#keys.change(slots, secrets, keyring => {
      seals.replaceKeyring(keyring);
    });
    await rows.resealAll();
  }

  /**
   * Destroys the key, then everything else, and closes. EINVAL while there is dirty data, unless it may go, too. What that does not
   * protect from is in `docs/CACHE.md`, "At rest".
   */
  wipe({ dirtyToo = false }: { readonly dirtyToo?: boolean } = {}): Promise<void> {
    return this.#shutdown.wipe(dirtyToo);
  }

  /** Writes what was offered, ends open zones, takes a snapshot, lets go of the folder. Never rejects. */
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

/**
 * The local cache of sealed units: `openCache` in `open.ts` makes one. It keeps units under volume id, object id and unit index, and
 * hands them out only with the tag that the caller expects. It never opens them. `docs/CACHE.md` describes what it does and what
 * lies in its folder.
 */

import { toHex } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import type { NewSecret, Secret } from '../keys/secret.ts';
import { type CacheKeys, MEMORY_MARK_PATH, WIPED_HEADER_PATH } from './cache-keys.ts';
import { CacheVolume, type UnitToPut } from './cache-volume.ts';
import { type CachedUnit, type Damage, findDamage, listUnits, type VerifyOptions } from './contents.ts';
import type { Core } from './core.ts';
import { BATCH_UNITS_MAX, PAYLOAD_BYTES_MAX } from './dirty-format.ts';
import { type Discarded, type DiscardScope, discard } from './discard.ts';
import { Health } from './health.ts';
import { findMissing, type MissingRange } from './incomplete.ts';
import type { LedgerEntry } from './ledger.ts';
import {
  type CachedObject,
  type CachedVolume,
  type ListedUnit,
  type ListSettings,
  listObjects,
  listObjectUnits,
  listVolumes,
} from './listing.ts';
import type { Pin } from './objects.ts';
import type { OwnerLock } from './owner-lock.ts';
import { REGION_FOLDERS } from './regions.ts';
import type { CheckedSettings } from './settings.ts';
import type { CacheStatistics, Lifetime } from './statistics.ts';
import { isSealedUnit } from './storing.ts';
import type { SharedCache } from './thread-reader.ts';
import { UnderWay } from './under-way.ts';
import { WriteBehind } from './write-behind.ts';

/** Units that are not on the server yet, kept together or not at all. */
export interface DirtyBatch {
  readonly units: readonly (UnitToPut & { /** 16 bytes. */ readonly volumeId: Uint8Array })[];
  /** The caller's own, at most 64 KiB; sealed. */
  readonly payload?: Uint8Array;
}

/** A batch that was acknowledged and is not released. */
export interface ListedBatch {
  readonly id: number;
  /** When, in milliseconds since 1970, by the clock of then. */
  readonly appendedMs: number;
  readonly payload: Uint8Array;
  readonly units: readonly {
    readonly volumeId: Uint8Array;
    readonly objectId: Uint8Array;
    readonly index: number;
    readonly tag: Uint8Array;
    readonly lengthBytes: number;
  }[];
}

/** A row of kind `setting`. */
export const COUNTERS_ROW = 'counters';
const COUNTERS_MS = 60_000;
/** Clean regions that go for a dirty batch on a full disk. */
const FULL_TRIES_MAX = 8;

const WIPED_PATHS = [
  'index',
  'cache.db',
  'cache.db-wal',
  'cache.db-journal',
  'cache.db-shm',
  'owner',
  MEMORY_MARK_PATH,
  // Last: as long as it is there, everything else may go.
  WIPED_HEADER_PATH,
] as const;

export class Cache {
  readonly #core: Core;
  readonly #keys: CacheKeys;
  readonly #lock: OwnerLock;
  readonly #lifetime: Lifetime;
  readonly #writeBehind: WriteBehind;
  readonly #volumes = new Map<string, CacheVolume>();
  readonly #timer: NodeJS.Timeout | undefined;
  #maintaining: Promise<void> | undefined;
  #countersSavedMs: number;
  #closing: Promise<void> | undefined;
  /** Calls that change the folder, and that closing waits for. */
  readonly #underWay = new UnderWay();

  /** @internal `openCache` is the way in. */
  constructor(core: Core, keys: CacheKeys, lock: OwnerLock, lifetime: Lifetime) {
    this.#core = core;
    this.#keys = keys;
    this.#lock = lock;
    this.#lifetime = lifetime;
    this.#countersSavedMs = core.nowMs();
    this.#writeBehind = new WriteBehind(core);
    core.requireOpen = () => {
      this.#requireOpen();
    };
    core.objects.pins.resume();
    const { maintenanceMs } = core.settings;
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
    this.#requireOpen();
    const state = this.#core.objects.volume(volumeId);
    const key = toHex(state.id);
    const known = this.#volumes.get(key);
    if (known !== undefined) return known;
    state.isInUse = true;
    const volume = new CacheVolume(this.#core, state, this.#writeBehind, () => this.#requireOpen());
    this.#volumes.set(key, volume);
    return volume;
  }

  /**
   * Keeps units that are not on the server yet. Resolves with the batch's id when all of them are on the disk; from then on `get`
   * finds them, and they are there after any crash until they are released. EINVAL, EFULL, EIO, EDENIED, ECLOSED: nothing was kept.
   */
  appendDirty(batch: DirtyBatch): Promise<number> {
    return this.#underWay.add(this.#appendDirty(batch));
  }

  async #appendDirty({ units, payload = new Uint8Array(0) }: DirtyBatch): Promise<number> {
    this.#requireOpen();
    requireArgument(
      payload.byteLength <= PAYLOAD_BYTES_MAX,
      `a payload must be at most 64 KiB, not ${payload.byteLength} bytes`,
    );
    requireArgument(
      units.length <= BATCH_UNITS_MAX,
      `a batch holds at most ${BATCH_UNITS_MAX} units, not ${units.length}`,
    );
    const dirtyUnits = units.map(unit => {
      requireArgument(isSealedUnit(unit.bytes), `unit ${unit.index}: its bytes are no sealed unit`);
      const [incoming] = this.volume(unit.volumeId).incoming([unit]);
      if (incoming === undefined) throw new NetsealError('EBUG', 'a unit got lost');
      return incoming;
    });
    const { dirty, room } = this.#core;
    const copy = new Uint8Array(payload);
    for (let tries = 1; ; tries += 1) {
      try {
        return await dirty.append(dirtyUnits, copy);
      } catch (error) {
        const isFull = error instanceof NetsealError && error.code === 'EFULL';
        // What is not on the server yet is worth more than what is.
        if (!isFull || tries > FULL_TRIES_MAX || !(await room.giveUpOne())) throw error;
      }
    }
  }

  /**
   * The units of these batches are on the server: they are clean from now on. Unknown ids are ignored. A release that a power cut
   * undoes is listed again: releasing has to be repeatable.
   */
  releaseDirty(ids: Iterable<number>): Promise<void> {
    return this.#underWay.add(this.#releaseDirty(ids));
  }

  async #releaseDirty(ids: Iterable<number>): Promise<void> {
    this.#requireOpen();
    await this.#core.dirty.release(ids);
  }

  /**
   * Somebody has taken these batches up for sending, or has put them back. Unknown ids are ignored. For {@link ledger}; forgotten when
   * the cache is closed.
   */
  markQueued(ids: Iterable<number>, isQueued = true): void {
    this.#requireOpen();
    this.#core.dirty.markQueued(ids, isQueued);
  }

  /** What of each volume is dirty, being sent, and released. In no order. */
  ledger(): LedgerEntry[] {
    this.#requireOpen();
    return this.#core.dirty.ledger();
  }

  /**
   * Reads one unit of a dirty batch, also where `get` finds a newer one. Resolves with its length; 0 when the batch is released.
   * EINVAL when there is no such unit or `into` is too small, EIO, EAUTH.
   *
   * @param position among the units of the batch.
   */
  readDirty(id: number, position: number, into: Uint8Array): Promise<number> {
    return this.#underWay.add(this.#readDirty(id, position, into));
  }

  async #readDirty(id: number, position: number, into: Uint8Array): Promise<number> {
    this.#requireOpen();
    return this.#core.dirty.readUnit(id, position, into);
  }

  /** Every batch that is not released, oldest first. EIO or EAUTH where one cannot be read. */
  async *listDirty(): AsyncGenerator<ListedBatch> {
    this.#requireOpen();
    for (const id of this.#core.dirty.ids()) {
      const head = await this.#core.dirty.describe(id);
      if (head === undefined) continue;
      const { appendedMs, payload, units } = head;
      yield { id, appendedMs, payload, units };
    }
  }

  pins(): Pin[] {
    return this.#core.objects.pins.list();
  }

  /**
   * What is not there of pinned objects of which the pin or the cookie says how many units they have. Looks in bounded steps; of long
   * ranges it yields parts of 2^20 units. ECLOSED.
   */
  incomplete(): AsyncGenerator<MissingRange> {
    this.#requireOpen();
    return findMissing(this.#core);
  }

  /** Nothing clean is found any more, of any volume. */
  invalidateAll(): void {
    this.#requireOpen();
    for (const volume of this.#core.objects.volumes()) this.#core.invalidateVolume(volume);
  }

  /** What holds now: what was given, remembered, or follows from the budget. */
  get settings(): CheckedSettings {
    return this.#core.settings;
  }

  get statistics(): CacheStatistics {
    const { counters, settings, places, regions, dirty, health, indexBytes } = this.#core;
    const count = { small: 0, main: 0, pinned: 0, dirty: 0 };
    for (const region of regions.all()) if (!region.isDead) count[region.queue] += 1;
    return {
      ...counters,
      lifetime: this.#lifetime.total(),
      dropped: { ...counters.dropped },
      problems: { ...counters.problems },
      state: this.#closing !== undefined ? 'closed' : health.isUnwell ? 'away' : 'ready',
      units: places.count,
      unitsMax: settings.unitsMax,
      bytes: regions.totalBytes,
      budgetBytes: settings.budgetBytes,
      regions: count,
      queuedUnits: this.#writeBehind.units,
      queuedBytes: this.#writeBehind.bytes,
      dirtyBatches: dirty.batchCount,
      dirtyUnits: dirty.unitCount,
      dirtyBytes: dirty.unitBytes,
      indexBytes,
    };
  }

  /** What a thread of this process needs to read hits by itself, until the cache is closed. */
  get shared(): SharedCache {
    const { places, regions } = this.#core;
    // Other threads count hits where this one does not see it.
    places.changes += 1;
    const { words, bucketCount } = places.table;
    return { words, bucketCount, slots: regions.slots };
  }

  /** Every clean unit that is there, in no order; for tools. System errors as they come, ECLOSED. */
  contents(): AsyncGenerator<CachedUnit> {
    this.#requireOpen();
    return listUnits(this.#core);
  }

  /** Ids of the volumes that the cache knows, whether anything of them is there or not. */
  volumeIds(): Uint8Array[] {
    this.#requireOpen();
    return this.#core.objects.volumes().map(({ id }) => new Uint8Array(id));
  }

  /** Volumes of which units are there, sorted by id; as {@link objects}. */
  contentsByVolume({ signal }: Pick<ListSettings, 'signal'> = {}): Promise<CachedVolume[]> {
    this.#requireOpen();
    return listVolumes(this.#core, signal);
  }

  /**
   * Objects of a volume of which units are there, sorted by id. Looks through the lists of all regions, once for each 131,072
   * objects: however many there are, memory is bounded. System errors as they come.
   */
  objects(volumeId: Uint8Array, settings: ListSettings = {}): AsyncGenerator<CachedObject> {
    this.#requireOpen();
    return listObjects(this.#core, volumeId, settings);
  }

  /** Units of an object, sorted by index; as {@link objects}. */
  units(
    volumeId: Uint8Array,
    objectId: Uint8Array,
    settings: Omit<ListSettings, 'idStart'> = {},
  ): AsyncGenerator<ListedUnit> {
    this.#requireOpen();
    return listObjectUnits(this.#core, volumeId, objectId, settings);
  }

  /**
   * Drops clean data and gives its room back at once: of an object, a volume, or everything. Dirty units stay, pinned ones unless
   * `pinnedToo` says otherwise. Never rejects but with EINVAL, ECLOSED.
   */
  async discard(scope: DiscardScope = {}): Promise<Discarded> {
    this.#requireOpen();
    requireArgument(
      scope.objectId === undefined || scope.volumeId !== undefined,
      'an object can only be dropped from a volume',
    );
    await this.#writeBehind.idle();
    return discard(this.#core, scope);
  }

  /** Reads everything, and yields what is damaged. */
  verify(options: VerifyOptions = {}): AsyncGenerator<Damage> {
    this.#requireOpen();
    return findDamage(this.#core, options);
  }

  /** Writes what was offered, takes a snapshot of the index, syncs the database. Never rejects but with ECLOSED. */
  flush(): Promise<void> {
    return this.#underWay.add(this.#flush());
  }

  async #flush(): Promise<void> {
    this.#requireOpen();
    await this.#writeBehind.idle();
    await this.#core.upkeep.snapshot();
    this.#saveCounters();
    this.#core.records.flush();
  }

  /** What is done every `maintenanceMs` anyway. Never rejects. */
  maintain(): Promise<void> {
    this.#maintaining ??= this.#core.upkeep.maintain().finally(() => {
      this.#maintaining = undefined;
      if (Math.abs(this.#core.nowMs() - this.#countersSavedMs) >= COUNTERS_MS) this.#saveCounters();
    });
    return this.#maintaining;
  }

  /**
   * New keys for what the cache seals from now on, and new ways to open it: the old ones open it no more. EINVAL when it has no
   * header, as its key is in memory only.
   */
  changeKey(slots: readonly { readonly label: string; readonly secret: NewSecret }[]): Promise<void> {
    return this.#underWay.add(this.#changeKey(slots));
  }

  async #changeKey(slots: readonly { readonly label: string; readonly secret: NewSecret }[]): Promise<void> {
    this.#requireOpen();
    const { seals, records } = this.#core;
    const secrets = slots.map(({ secret }) => secret satisfies Secret);
    await this.#keys.change(slots, secrets, keyring => {
      seals.replaceKeyring(keyring);
    });
    await records.resealAll();
  }

  /**
   * Destroys the key, then everything else, and closes. EINVAL while there is dirty data, unless it may go, too. What that does not
   * protect from is in `docs/CACHE.md`, "At rest".
   */
  async wipe({ dirtyToo = false }: { readonly dirtyToo?: boolean } = {}): Promise<void> {
    this.#requireOpen();
    this.#requireNoDirty(dirtyToo);
    const wiping = this.#wipe(dirtyToo);
    this.#closing = wiping.catch(() => undefined);
    await wiping;
  }

  async #wipe(dirtyToo: boolean): Promise<void> {
    const { dirty, regions, files, lanes } = this.#core;
    await this.#stop();
    try {
      // Some may have been on their way.
      this.#requireNoDirty(dirtyToo);
      await this.#keys.destroyHeader();
    } catch (error) {
      await this.#finish();
      throw Health.errorOf('the key of the cache could not be destroyed', error);
    }
    dirty.forget();
    for (const lane of Object.values(lanes)) if (lane.region !== undefined) lane.abandon(lane.region);
    for (const region of regions.all()) await regions.giveUp(region);
    await this.#end(async () => {
      // Before the last trace of why they could go.
      await files.syncFolder(REGION_FOLDERS.dirty).catch(() => undefined);
      for (const path of WIPED_PATHS) await files.remove(path).catch(() => undefined);
    });
  }

  #requireNoDirty(dirtyToo: boolean): void {
    const { batchCount } = this.#core.dirty;
    requireArgument(
      dirtyToo || batchCount === 0,
      `${batchCount} batches of the cache are not on the server yet`,
    );
  }

  /** Writes what was offered, ends open regions, takes a snapshot, lets go of the folder. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#stop().then(() => this.#finish());
    return this.#closing;
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
    await this.#underWay.idle();
    await this.#keys.idle();
    await this.#core.settle();
  }

  async #finish(): Promise<void> {
    for (const lane of Object.values(this.#core.lanes)) await lane.finish();
    // Having looked at a large cache is not to cost writing its index.
    if (!this.#core.upkeep.isSnapshotCurrent) await this.#core.upkeep.snapshot();
    await this.#end();
  }

  /** @param last what is to be done when nothing is open any more, and nobody else may open it yet. */
  async #end(last: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    this.#saveCounters();
    this.#core.records.flush();
    this.#core.records.close();
    await this.#core.regions.closeAll();
    await last();
    this.#core.seals.destroy();
    this.#keys.destroy();
    this.#lock.release();
  }

  #saveCounters(): void {
    const { records, fingerprinter, nowMs } = this.#core;
    this.#countersSavedMs = nowMs();
    records.put('setting', fingerprinter.name(COUNTERS_ROW), this.#lifetime.encode());
  }

  #requireOpen(): void {
    if (this.#closing !== undefined) throw new NetsealError('ECLOSED', 'the cache is closed');
  }
}

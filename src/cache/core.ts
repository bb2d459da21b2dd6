/**
 * A cache's parts, put together, and what several of them are needed for: storing units, invalidating, maintenance. `cache.ts` is
 * what applications see of it.
 *
 * Invariants
 *   1. A unit is in the index only when all of it was written, and handed out only when length and tag are those asked for.
 *   2. The index is changed through `places` alone, and only on this thread.
 *   3. Dirty units are in dirty regions, which nothing but `dirty` gives up; pinned ones are never given up without a copy.
 *   4. Nothing here fails a caller that reads or stores clean units: what does not work is a miss, or dropped and counted.
 */
import { NetsealError } from '../base/errors.ts';
import { roundUp } from '../base/geometry.ts';
import {
  HEADER_BYTES,
  peekHeader,
  RECORD_KINDS,
  RECORD_OVERHEAD_BYTES,
  recordTag,
} from '../unit/record-format.ts';
import { Dirty } from './dirty.ts';
import { type CacheFiles, ShortFileError } from './files.ts';
import { type Fingerprinter, fingerprintOf, newFingerprint, type Prefix } from './fingerprints.ts';
import { Ghosts } from './ghosts.ts';
import { type Health, problemKindOf } from './health.ts';
import { createTable, ENTRY_DIRTY, ENTRY_PINNED, type Fingerprint, GRANULE_BYTES } from './index-table.ts';
import { Lane, type UnitToStore } from './lane.ts';
import type { Coherency } from './object-rows.ts';
import { type ObjectState, Objects, type VolumeState } from './objects.ts';
import { hasTag, Places, tagWords } from './places.ts';
import { Reads } from './reads.ts';
import { Reclaim } from './reclaim.ts';
import type { Records } from './records.ts';
import type { RegionQueue } from './region-format.ts';
import { REGION_FOLDERS, type Region, Regions } from './regions.ts';
import { Room } from './room.ts';
import { RowSweep } from './row-sweep.ts';
import type { Seals } from './seals.ts';
import type { CheckedSettings } from './settings.ts';
import { Shares } from './shares.ts';
import { writeSnapshot } from './snapshot.ts';
import type { CacheEvent, Counters, DropReason, ProblemKind } from './statistics.ts';
import { UnderWay } from './under-way.ts';

/** What a cache is built of. */
export interface CoreParts {
  readonly settings: CheckedSettings;
  readonly files: CacheFiles;
  readonly seals: Seals;
  readonly records: Records;
  readonly fingerprinter: Fingerprinter;
  readonly health: Health;
  readonly counters: Counters;
  readonly nowMs: () => number;
  readonly onEvent: (event: CacheEvent) => void;
}

/** A unit as it comes. */
export interface IncomingUnit {
  readonly object: ObjectState;
  readonly index: number;
  readonly bytes: Uint8Array;
  /** When it came, if that was not now: what was invalidated since is not stored. */
  readonly since?: Since;
}

/** A moment, as invalidations see it. */
export interface Since {
  readonly prefix: Prefix;
  readonly stamp: number;
}

type CleanQueue = Exclude<RegionQueue, 'dirty'>;

/** More units than this are dropped one by one only after a whole object: asking the index for each would take too long. */
const RANGE_UNITS_MAX = 65_536;
const PROBE_PATH = `${REGION_FOLDERS.clean}/probe`;

export class Core {
  readonly settings: CheckedSettings;
  readonly files: CacheFiles;
  readonly seals: Seals;
  readonly records: Records;
  readonly fingerprinter: Fingerprinter;
  readonly health: Health;
  readonly counters: Counters;
  readonly regions: Regions;
  readonly objects: Objects;
  readonly places: Places;
  readonly reads: Reads;
  readonly dirty: Dirty;
  readonly reclaim: Reclaim;
  readonly room: Room;
  readonly lanes: Readonly<Record<CleanQueue, Lane>>;
  readonly nowMs: () => number;
  readonly rowSweep: RowSweep;
  readonly #onEvent: (event: CacheEvent) => void;
  readonly #fingerprint: Fingerprint = newFingerprint();
  /** Ranges that were invalidated while units were on their way. */
  #ranges: { readonly key: string; readonly from: number; readonly to: number; readonly stamp: number }[] =
    [];
  #stamp = 0;
  /** How many units are on their way since each stamp, oldest first. */
  readonly #onTheWay = new Map<number, number>();
  readonly #underWay = new UnderWay();
  readonly #shares: Shares;
  #isClosing = false;
  #filledRegions = 0;
  #snapshot: Promise<boolean> | undefined;
  /** Of what there was when the snapshot on the disk was made. */
  #snapshotStamp: string | undefined;
  /** False when the folder is not there any more, or another one is. */
  hasFolder: () => boolean = () => true;
  /** What has to be put back when the folder was lost. */
  restoreFolder: () => Promise<void> = () => Promise.resolve();

  constructor(parts: CoreParts) {
    const { settings, files, seals, records, fingerprinter, health, counters, nowMs, onEvent } = parts;
    this.settings = settings;
    this.files = files;
    this.seals = seals;
    this.records = records;
    this.fingerprinter = fingerprinter;
    this.health = health;
    this.counters = counters;
    this.nowMs = nowMs;
    this.#onEvent = onEvent;
    this.regions = new Regions(files);
    this.objects = new Objects(records, fingerprinter, nowMs);
    const table = createTable(settings.unitsMax);
    const { regions, objects } = this;
    this.places = new Places(table, new Ghosts(settings.unitsMax), regions, objects, counters);
    const { places } = this;
    this.lanes = { small: this.#lane('small'), main: this.#lane('main'), pinned: this.#lane('pinned') };
    const note = (error: unknown): void => {
      health.note(error);
    };
    const filled = (): void => {
      this.#filledRegions += 1;
    };
    const { regionBytes } = settings;
    this.dirty = new Dirty({
      files,
      regions,
      places,
      objects,
      seals,
      records,
      fingerprinter,
      regionBytes,
      nowMs,
      // A folder that has gone is found again by who looks for it.
      note: error => {
        if (problemKindOf(error) === 'gone') health.fail(error);
        else health.note(error);
      },
      filled,
      hasFolder: () => this.hasFolder(),
    });
    this.reclaim = new Reclaim({
      regions,
      places,
      objects,
      seals,
      main: this.lanes.main,
      pinned: this.lanes.pinned,
      counters,
      smallBytesMax: (settings.budgetBytes * settings.smallPercent) / 100,
      onEvent,
      note,
    });
    this.rowSweep = new RowSweep(records, objects, this.dirty, settings.rowsMax);
    this.objects.loosened = () => {
      this.reclaim.loosenPinned();
    };
    this.room = new Room(settings, files, regions, this.reclaim, nowMs);
    this.#shares = new Shares(places, regions, counters);
    this.reads = new Reads(places, regions, objects, counters, settings.readsOnThisThread, (region, error) =>
      this.#readFailed(region, error),
    );
  }

  /** Bytes of the index in memory. */
  get indexBytes(): number {
    return this.places.table.words.byteLength + this.settings.unitsMax * 4;
  }

  drop(reason: DropReason, count: number): void {
    this.counters.dropped[reason] += count;
  }

  /** Resolves when nothing is stored or given up any more; what has not been stored by then is dropped. For closing. */
  async settle(): Promise<void> {
    this.#isClosing = true;
    await this.#underWay.idle();
    await this.room.idle();
    for (const lane of Object.values(this.lanes)) await lane.idle();
    await this.dirty.finish();
  }

  /** Call it when a unit comes that is stored later, and {@link forget} when it is. */
  remember({ prefix }: ObjectState): Since {
    this.#arrive(1);
    return { prefix, stamp: this.#stamp };
  }

  forget({ stamp }: Since): void {
    this.#leave(stamp, 1);
  }

  #arrive(count: number): void {
    this.#onTheWay.set(this.#stamp, (this.#onTheWay.get(this.#stamp) ?? 0) + count);
  }

  #leave(stamp: number, count: number): void {
    const left = (this.#onTheWay.get(stamp) ?? 0) - count;
    if (left > 0) {
      this.#onTheWay.set(stamp, left);
      return;
    }
    this.#onTheWay.delete(stamp);
    const [oldest = Number.POSITIVE_INFINITY] = this.#onTheWay.keys();
    const kept = this.#ranges.findIndex(range => range.stamp > oldest);
    this.#ranges = kept < 0 ? [] : this.#ranges.slice(kept);
  }

  /** Stores clean units. Resolves with how many, when none of the bytes is needed any more. Never rejects. */
  store(units: readonly IncomingUnit[]): Promise<number> {
    return this.#underWay.add(this.#store(units));
  }

  async #store(units: readonly IncomingUnit[]): Promise<number> {
    if (this.health.isAway) {
      this.drop('away', units.length);
      return 0;
    }
    const stamp = this.#stamp;
    this.#arrive(1);
    try {
      let storedCount = 0;
      const sorted = this.#sort(units.filter(unit => this.#isWanted(unit)));
      for (const queue of ['small', 'main', 'pinned'] as const) {
        for (const some of portions(sorted[queue], this.settings.regionBytes)) {
          storedCount += await this.#append(queue, some);
        }
      }
      return storedCount;
    } finally {
      this.#leave(stamp, 1);
    }
  }

  async #append(queue: CleanQueue, units: readonly UnitToStore[]): Promise<number> {
    const bytes = units.reduce((sum, unit) => sum + paddedBytes(unit), 0);
    if (this.#isClosing || !(await this.room.enter(bytes))) {
      this.drop('space', units.length);
      return 0;
    }
    const count = await this.lanes[queue].append(units);
    this.room.leave(bytes);
    if (count < units.length) this.drop(this.health.isAway ? 'failed' : 'space', units.length - count);
    return count;
  }

  /** What comes next finds room. */
  #dropForShare(volume: VolumeState): void {
    this.drop('share', 1);
    if (!this.#isClosing) void this.#underWay.add(this.#shares.trim(volume));
  }

  /** False for what was invalidated between coming and now. */
  #isWanted({ object, index, since }: IncomingUnit): boolean {
    if (since === undefined || !this.#isInvalidated({ object, index, ...since })) return true;
    this.drop('invalidated', 1);
    return false;
  }

  /** Which queue each unit goes to; without those that cannot be kept, or are there already. */
  #sort(units: readonly IncomingUnit[]): Record<CleanQueue, UnitToStore[]> {
    const sorted: Record<CleanQueue, UnitToStore[]> = { small: [], main: [], pinned: [] };
    for (const unit of units) {
      const { object, index, bytes } = unit;
      if (!isSealedUnit(bytes)) {
        this.drop('unsuitable', 1);
        continue;
      }
      const { prefix, stamp } = unit.since ?? { prefix: object.prefix, stamp: this.#stamp };
      const fingerprint = fingerprintOf(prefix, index, this.#fingerprint);
      const found = this.places.find(fingerprint);
      if (found !== undefined && hasTag(found.entry, recordTag(bytes))) {
        this.counters.alreadyThere += 1;
        continue;
      }
      if (found !== undefined && (found.entry.flags & ENTRY_DIRTY) !== 0) {
        this.drop('dirty', 1);
        continue;
      }
      const { volume } = object;
      if (!object.pin && volume.liveBytes + bytes.byteLength > volume.shareBytes) {
        this.#dropForShare(volume);
        continue;
      }
      const queue = object.pin ? 'pinned' : this.places.ghosts.take(fingerprint) ? 'main' : 'small';
      sorted[queue].push({ object, prefix, index, bytes, stamp });
    }
    return sorted;
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
    this.#stamp += 1;
    this.objects.invalidations += 1;
    if (this.#onTheWay.size > 0) this.#ranges.push({ key: object.key, from, to, stamp: this.#stamp });
    for (let index = from; index < to; index += 1) {
      const fingerprint = fingerprintOf(object.prefix, index, this.#fingerprint);
      const found = this.places.find(fingerprint);
      if (found !== undefined && (found.entry.flags & ENTRY_DIRTY) === 0)
        this.places.remove(fingerprint, found);
    }
  }

  has(prefix: Prefix, index: number, expectedTag: Uint8Array | undefined): boolean {
    const found = this.places.find(fingerprintOf(prefix, index, this.#fingerprint));
    return found !== undefined && (expectedTag === undefined || hasTag(found.entry, expectedTag));
  }

  /**
   * What is to be done now and then: closes what is not read any more, looks at the disk, tries again after a failure, writes what
   * could not be written, takes a snapshot when one is due. Never rejects.
   */
  async maintain(): Promise<void> {
    await this.regions.sweep();
    if (this.health.isUnwell) {
      if (!this.health.isAway) await this.probe();
      return;
    }
    if (!this.hasFolder()) {
      this.health.fail(new NetsealError('ENOENT', 'the folder of the cache is gone, or is another one now'));
      // What is open lies in the folder that was.
      for (const lane of Object.values(this.lanes)) await lane.finish();
      this.dirty.renew();
      return;
    }
    await this.room.maintain();
    this.places.sweep();
    await this.rowSweep.run();
    if (this.records.unsavedCount > 0 || this.records.isFlushDue) this.records.flush();
    if (this.#filledRegions >= this.settings.snapshotRegions) await this.snapshot();
  }

  /** Finds out whether the folder can be written to again. */
  async probe(): Promise<boolean> {
    try {
      await this.#makeFolders();
      const file = await this.files.open(PROBE_PATH, 'create');
      try {
        if ((await file.write([new Uint8Array(4096)], 0)) !== 4096) throw new Error('short write');
      } finally {
        await file.close();
      }
      await this.files.remove(PROBE_PATH);
      this.dirty.renew();
      this.health.succeed();
      return true;
    } catch (error) {
      this.health.fail(error);
      return false;
    }
  }

  async #makeFolders(): Promise<void> {
    this.#snapshotStamp = undefined;
    await this.files.makeFolder('');
    // First, as somebody else may have a cache there by now.
    await this.restoreFolder();
    for (const folder of Object.values(REGION_FOLDERS)) await this.files.makeFolder(folder);
    await this.files.syncFolder('');
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
    return `${this.places.changes}/${this.regions.version}`;
  }

  /** Takes a snapshot of the index, one at a time. False when that did not work. Never rejects. */
  snapshot(): Promise<boolean> {
    this.#snapshot ??= this.#takeSnapshot().finally(() => {
      this.#snapshot = undefined;
    });
    return this.#snapshot;
  }

  async #takeSnapshot(): Promise<boolean> {
    if (!this.hasFolder()) return false;
    this.#filledRegions = 0;
    const stamp = this.#stampNow();
    // What fills meanwhile is read from its footer.
    const covered = this.regions
      .all()
      .filter(
        ({ isFull, isDead, list, queue }) => isFull && !isDead && list === undefined && queue !== 'dirty',
      );
    try {
      await writeSnapshot(this.files, this.seals, this.places.table, covered);
      this.counters.snapshots += 1;
      this.#snapshotStamp = stamp;
      this.#onEvent({ type: 'snapshot', units: this.places.count });
      return true;
    } catch (error) {
      this.health.note(error);
      return false;
    }
  }

  #lane(queue: CleanQueue): Lane {
    const { regions, seals, settings } = this;
    return new Lane({
      regions,
      seals,
      regionBytes: settings.regionBytes,
      openRegion: () => this.#openRegion(queue),
      stored: (unit, region, offsetBytes) => this.#stored(unit, region, offsetBytes),
      failed: error => this.#writeFailed(error),
      filled: () => {
        this.#filledRegions += 1;
      },
    });
  }

  async #openRegion(queue: CleanQueue): Promise<Region | undefined> {
    if (this.health.isAway) return undefined;
    try {
      if (this.health.isUnwell) await this.#makeFolders();
      return await this.regions.create(queue);
    } catch (error) {
      this.#writeFailed(error);
      return undefined;
    }
  }

  #stored(unit: UnitToStore, region: Region, offsetBytes: number): void {
    this.health.succeed();
    const { object, prefix, index, bytes, from } = unit;
    const fingerprint = fingerprintOf(prefix, index, this.#fingerprint);
    const flags = region.queue === 'pinned' ? ENTRY_PINNED : 0;
    const place = { regionId: region.id, offsetBytes, lengthBytes: bytes.byteLength, flags };
    if (from !== undefined) {
      this.counters.reinsertedBytes += bytes.byteLength;
      const found = this.places.find(fingerprint);
      const { entry } = from;
      const isWhere =
        found?.entry.regionId === entry.regionId && found.entry.offsetBytes === entry.offsetBytes;
      // Otherwise it was replaced or invalidated while it was being moved.
      const hits = Math.max(0, entry.hits - 1);
      if (found !== undefined && isWhere)
        this.places.replace(fingerprint, found, { ...entry, ...place, hits });
      return;
    }
    if (this.#isInvalidated(unit)) {
      this.drop('invalidated', 1);
      return;
    }
    const volumeNumber = object.volume.number;
    if (
      !this.places.insert(fingerprint, { ...tagWords(recordTag(bytes)), ...place, hits: 0, volumeNumber })
    ) {
      this.drop('dirty', 1);
      return;
    }
    this.counters.stored += 1;
    this.counters.storedBytes += bytes.byteLength;
  }

  #isInvalidated({ object, prefix, index, stamp = 0 }: Omit<UnitToStore, 'bytes'>): boolean {
    if (!this.objects.isCurrent(object, prefix)) return true;
    return this.#ranges.some(
      range => range.stamp > stamp && range.key === object.key && index >= range.from && index < range.to,
    );
  }

  #writeFailed(error: unknown): void {
    if (this.health.fail(error) !== 'full' || this.#isClosing) return;
    void this.#underWay.add(this.room.giveUpOne()).catch(() => undefined);
  }

  #readFailed(region: Region, error: unknown): void {
    const kind: ProblemKind = this.health.note(error);
    // Not there, or not all of it: it will not be better the next time. Dirty data is not given up for that.
    const isHopeless = kind === 'gone' || error instanceof ShortFileError;
    if (isHopeless && region.isFull && region.queue !== 'dirty')
      void this.#underWay.add(this.regions.giveUp(region));
  }
}

function* portions(units: readonly UnitToStore[], bytesMax: number): Generator<readonly UnitToStore[]> {
  let from = 0;
  let bytes = 0;
  for (const [at, unit] of units.entries()) {
    const unitBytes = paddedBytes(unit);
    if (at > from && bytes + unitBytes > bytesMax) {
      yield units.slice(from, at);
      from = at;
      bytes = 0;
    }
    bytes += unitBytes;
  }
  if (from < units.length) yield units.slice(from);
}

function paddedBytes({ bytes }: UnitToStore): number {
  return roundUp(bytes.byteLength, GRANULE_BYTES);
}

/** Whether these bytes look like one whole sealed unit. */
export function isSealedUnit(bytes: Uint8Array): boolean {
  if (bytes.byteLength < RECORD_OVERHEAD_BYTES) return false;
  try {
    const header = peekHeader(bytes.subarray(0, HEADER_BYTES));
    return header.kind === RECORD_KINDS.unit && header.sealedLengthBytes === bytes.byteLength;
  } catch (error) {
    if (error instanceof NetsealError) return false;
    throw error;
  }
}

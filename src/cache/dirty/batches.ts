/**
 * The dirty batches of a cache: units that no server has yet. A batch is kept as a whole or not at all. After
 * any crash it is found again, until it is released, which means that a server has its units. This file keeps
 * the list of batches. The other files of the folder:
 *
 *   intake     checks batches that callers append    units      which dirty unit of a place is found
 *   journal    puts them in order, and syncs them    released   which batches in dirty zones are released
 *   writing    writes them                           cleanup    makes zones clean when all is released
 *   scan       finds them again after a crash        ids        numbers batches
 *   format     the bytes of a dirty zone             ledger     sums for each volume
 */
import { toHex, viewOf } from '../../base/bytes.ts';
import { NetsealError } from '../../base/errors.ts';
import { giveTurn } from '../../base/turns.ts';
import { HEADER_BYTES, RECORD_KINDS, RECORD_MAGIC, TAG_BYTES } from '../../unit/record-format.ts';
import { type CacheFile, readFully } from '../base/files.ts';
import { Health, problemKindOf } from '../base/health.ts';
import type { Seals } from '../base/seals.ts';
import { tagWords, type UnitIndex } from '../clean/unit-index.ts';
import type { Objects } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { Zone, Zones } from '../zones/zones.ts';
import { DirtyCleanup } from './cleanup.ts';
import { type BatchHeader, decodeBatchHeader } from './format.ts';
import { BatchIds, clampClockMs } from './ids.ts';
import { DirtyJournal } from './journal.ts';
import { DurableTotals, type LedgerEntry, makeLedger, type VolumeShare } from './ledger.ts';
import { Released } from './released.ts';
import { type FoundBatch, findBatches, isWhole } from './scan.ts';
import { DirtyUnits, type HeldUnit } from './units.ts';
import type { DirtyUnit, WrittenBatch } from './writing.ts';

/** A batch that was acknowledged and is not released. */
interface Batch {
  readonly id: number;
  /** The id in its header. It is another than `id` only when two batches were found under one id. */
  readonly writtenId: number;
  readonly appendedMs: number;
  readonly zone: Zone;
  readonly offsetBytes: number;
  readonly headerBytes: number;
  readonly units: readonly HeldUnit[];
  readonly shares: readonly VolumeShare[];
  isQueued: boolean;
}

/** A batch that an earlier opening of the cache wrote, and that this one has not listed yet. */
interface Adopted {
  readonly zone: Zone;
  readonly found: FoundBatch;
}

/** After releasing this many units, the rest of the program gets its turn. */
const STEP_UNITS = 4096;

export class DirtyBatches {
  readonly #context: CacheContext;
  readonly #zones: Zones;
  readonly #objects: Objects;
  readonly #journal: DirtyJournal;
  readonly #cleanup: DirtyCleanup;
  readonly #units: DirtyUnits;
  readonly #released: Released;
  readonly #totals: DurableTotals;
  readonly #ids: BatchIds;
  /** By id, oldest first. */
  readonly #batches = new Map<number, Batch>();
  /** How many batches of each zone are not released. When it is 0, the zone goes to `#cleanup`. */
  readonly #held = new Map<Zone, number>();
  #adopted: Adopted[] = [];
  #unitCount = 0;
  #unitBytes = 0;

  constructor(context: CacheContext, zones: Zones, objects: Objects, unitIndex: UnitIndex) {
    const { rows, fingerprinter } = context;
    this.#context = context;
    this.#zones = zones;
    this.#objects = objects;
    this.#units = new DirtyUnits(objects, unitIndex);
    this.#released = new Released(rows, fingerprinter);
    this.#totals = new DurableTotals(rows, fingerprinter);
    this.#ids = new BatchIds(rows, fingerprinter, context.nowMs());
    this.#ids.skip(this.#released.idMax);
    const note = (error: unknown): void => this.#note(error);
    this.#cleanup = new DirtyCleanup(context, zones, objects, unitIndex, {
      note,
      gone: zone => this.#released.forget(zone.name),
    });
    this.#journal = new DirtyJournal(context, zones, {
      takeId: () => this.#ids.take(),
      acknowledged: batch => this.#acknowledged(batch),
      leftBehind: (zone, ids) => rows.saveAll(this.#released.mark(zone.name, ids)),
      ended: zone => this.#settle(zone),
      failed: note,
    });
  }

  /**
   * Reports a failure. If it says that the folder is gone, the cache steps aside until the folder is back.
   */
  #note(error: unknown): void {
    const { health } = this.#context;
    if (problemKindOf(error) === 'gone') health.fail(error);
    else health.note(error);
  }

  get batchCount(): number {
    return this.#batches.size;
  }

  get unitCount(): number {
    return this.#unitCount;
  }

  get unitBytes(): number {
    return this.#unitBytes;
  }

  /** Keeps units as one batch; see {@link DirtyJournal.append}. */
  append(units: readonly DirtyUnit[], payload: Uint8Array, signal?: AbortSignal): Promise<number> {
    return this.#journal.append(units, payload, signal);
  }

  /** Takes a new zone for the next batch, because the folder may be another one than before. */
  renew(): void {
    this.#journal.renew();
  }

  /** Ends the open zone, and waits for all that is under way, for closing. */
  async finish(): Promise<void> {
    await this.#journal.finish();
    await this.#cleanup.idle();
  }

  has(id: number): boolean {
    return this.#batches.has(id);
  }

  /** Returns the ids of all batches, oldest first. */
  ids(): number[] {
    return [...this.#batches.keys()];
  }

  /** Reads a batch's header from the disk. Undefined when the batch is released. EIO, EAUTH. */
  async describe(id: number): Promise<BatchHeader | undefined> {
    return this.#read(id, async (file, { zone, offsetBytes, headerBytes }) => {
      const sealed = new Uint8Array(headerBytes);
      await readFully(file, sealed, offsetBytes);
      return decodeBatchHeader(this.#context.seals, zone.name, offsetBytes, sealed);
    });
  }

  /** Reads a batch. False when it is not as it was written; true as well when it is released. */
  async check(id: number): Promise<boolean> {
    try {
      const header = await this.describe(id);
      const isSound = await this.#read(id, async (file, { offsetBytes }) => {
        return header === undefined || (await isWhole(file, offsetBytes, header));
      });
      return isSound ?? true;
    } catch {
      return false;
    }
  }

  /**
   * Reads one unit of a batch, even if a newer batch has the same unit. Resolves with its length; 0 when the
   * batch is released. EINVAL when there is no such unit, or `into` is too small; EIO, EAUTH.
   *
   * @param position the unit's position in the batch, from 0 on.
   */
  async readUnit(id: number, position: number, into: Uint8Array): Promise<number> {
    const lengthBytes = await this.#read(id, async (file, { units }) => {
      const unit = units[position];
      if (unit === undefined || unit.lengthBytes > into.byteLength)
        throw new NetsealError('EINVAL', `dirty batch ${id}: no unit ${position} that fits`);
      const bytes = into.subarray(0, unit.lengthBytes);
      await readFully(file, bytes, unit.offsetBytes);
      const { tagLow, tagHigh } = tagWords(bytes.subarray(bytes.byteLength - TAG_BYTES));
      if (tagLow !== unit.tagLow || tagHigh !== unit.tagHigh)
        throw new NetsealError('EAUTH', `unit ${position} is not as it was written`);
      return unit.lengthBytes;
    });
    return lengthBytes ?? 0;
  }

  /** Does `action` while the batch's zone is pinned. Undefined when the batch is released. */
  async #read<Result>(
    id: number,
    action: (file: CacheFile, batch: Batch) => Promise<Result>,
  ): Promise<Result | undefined> {
    const batch = this.#batches.get(id);
    const zones = this.#zones;
    if (batch === undefined || !zones.pin(batch.zone)) return undefined;
    try {
      return await action(await zones.fileOf(batch.zone), batch);
    } catch (error) {
      throw Health.errorOf(`dirty batch ${id} of the cache in ${this.#context.folder} cannot be read`, error);
    } finally {
      zones.unpin(batch.zone);
    }
  }

  /**
   * Releases batches: a server has their units. Ignores unknown ids. Rejects only with the signal's reason;
   * some may be released then.
   */
  async release(ids: Iterable<number>, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    let step: Batch[] = [];
    let unitCount = 0;
    for (const id of new Set(ids)) {
      const batch = this.#batches.get(id);
      if (batch === undefined) continue;
      step.push(batch);
      unitCount += 1 + batch.units.length;
      if (unitCount < STEP_UNITS) continue;
      this.#releaseAll(step);
      step = [];
      unitCount = 0;
      await giveTurn();
      signal?.throwIfAborted();
    }
    this.#releaseAll(step);
  }

  #releaseAll(some: readonly Batch[]): void {
    // Another call may have released some of them during a turn.
    const batches = some.filter(({ id }) => this.#batches.has(id));
    if (batches.length === 0) return;
    const byZone = Map.groupBy(batches, ({ zone }) => zone);
    const { rows, nowMs } = this.#context;
    // In one transaction: a process that dies must keep both the release and its share of the sums, or
    // neither.
    rows.saveAll([
      ...[...byZone].flatMap(([{ name }, own]) =>
        this.#released.mark(
          name,
          own.map(({ writtenId }) => writtenId),
        ),
      ),
      ...this.#totals.add(
        batches.map(({ shares }) => shares),
        clampClockMs(nowMs()),
      ),
    ]);
    for (const { id, units } of batches) {
      this.#batches.delete(id);
      this.#unitCount -= units.length;
      for (const unit of units) {
        this.#unitBytes -= unit.lengthBytes;
        this.#units.release(unit);
      }
    }
    for (const [zone, own] of byZone) {
      this.#held.set(zone, (this.#held.get(zone) ?? 0) - own.length);
      this.#settle(zone);
    }
  }

  /** Notes that batches are being sent to a server, or no longer are. Ignores unknown ids. */
  markQueued(ids: Iterable<number>, isQueued: boolean): void {
    for (const id of ids) {
      const batch = this.#batches.get(id);
      if (batch !== undefined) batch.isQueued = isQueued;
    }
  }

  ledger(): LedgerEntry[] {
    return makeLedger(this.#batches.values(), this.#totals.all());
  }

  /** True when any batch has units of the object. @param key its {@link ObjectState.key}. */
  hasObject(key: string): boolean {
    return this.#units.hasObject(key);
  }

  /** Enters the dirty units of an object, or of a volume, into the index again, after an invalidation. */
  reindex(volumeId: Uint8Array, objectId: Uint8Array | undefined): void {
    this.#units.reindex(volumeId, objectId);
  }

  /**
   * Takes over a zone that an earlier opening wrote. Its batches are listed by {@link adoptEnd}, after all
   * zones. EKEY when the zone was sealed with newer keys than those of this opening. System errors as they
   * come.
   */
  async adopt(zone: Zone): Promise<void> {
    const { seals } = this.#context;
    const file = await this.#zones.fileOf(zone);
    zone.fileBytes = await file.size();
    const { batches, batchIdMax } = await findBatches(seals, zone.name, file, zone.fileBytes, error =>
      this.#note(error),
    );
    if (batches.length === 0) await requireKnownEpoch(seals, file, zone.fileBytes);
    this.#ids.skip(batchIdMax);
    this.#held.set(zone, 0);
    for (const found of batches) {
      zone.endBytes = found.offsetBytes + found.header.lengthBytes;
      if (!this.#released.has(zone.name, found.header.batchId)) this.#adopted.push({ zone, found });
    }
  }

  /**
   * Lists the batches of all adopted zones, oldest first, so that the newest unit of each place is found.
   *
   * @param isComplete true when every dirty zone was adopted: then what is noted about other zones is
   *   forgotten.
   */
  async adoptEnd(isComplete: boolean): Promise<void> {
    const adopted = this.#adopted.sort(
      (left, right) => left.found.header.batchId - right.found.header.batchId,
    );
    this.#adopted = [];
    const doubles: Adopted[] = [];
    for (const each of adopted) {
      if (this.#batches.has(each.found.header.batchId)) doubles.push(each);
      else this.#listFound(each, each.found.header.batchId);
    }
    // An id can come twice only after the last ids were lost. Neither batch must hide the other.
    for (const each of doubles) this.#listFound(each, this.#ids.take());
    const empty = [...this.#held].filter(([, count]) => count === 0).map(([zone]) => zone);
    for (const zone of empty) this.#held.delete(zone);
    const areGone = await this.#cleanup.drop(empty);
    if (isComplete && areGone)
      this.#released.forgetAllBut(new Set([...this.#held.keys()].map(({ name }) => toHex(name))));
  }

  #listFound({ zone, found }: Adopted, id: number): void {
    const { offsetBytes, headerBytes, header } = found;
    const objects = this.#objects;
    const units = header.units.map(unit =>
      this.#units.add(objects.object(objects.volume(unit.volumeId), unit.objectId), {
        ...tagWords(unit.tag),
        index: unit.index,
        zone,
        offsetBytes: offsetBytes + unit.offsetBytes,
        lengthBytes: unit.lengthBytes,
      }),
    );
    const { batchId: writtenId, appendedMs } = header;
    this.#list({ id, writtenId, appendedMs, zone, offsetBytes, headerBytes }, units);
  }

  #acknowledged({ id, appendedMs, zone, offsetBytes, headerBytes, units }: WrittenBatch): void {
    const objects = this.#objects;
    const held = units.map(({ object, index, bytes, offsetBytes: unitAt }) =>
      this.#units.add(objects.object(object.volume, object.id), {
        ...tagWords(bytes.subarray(bytes.byteLength - TAG_BYTES)),
        index,
        zone,
        offsetBytes: offsetBytes + unitAt,
        lengthBytes: bytes.byteLength,
      }),
    );
    this.#list({ id, writtenId: id, appendedMs, zone, offsetBytes, headerBytes }, held);
  }

  #list(place: Omit<Batch, 'units' | 'shares' | 'isQueued'>, units: readonly HeldUnit[]): void {
    this.#batches.set(place.id, { ...place, units, shares: sharesOf(units), isQueued: false });
    this.#held.set(place.zone, (this.#held.get(place.zone) ?? 0) + 1);
    this.#unitCount += units.length;
    for (const { lengthBytes } of units) this.#unitBytes += lengthBytes;
  }

  /** Makes a zone a clean one if it is full and all its batches are released. Does so once for each zone. */
  #settle(zone: Zone): void {
    if (!zone.isFull || (this.#held.get(zone) ?? 0) > 0) return;
    this.#held.delete(zone);
    this.#cleanup.add(zone);
  }

  /** Forgets all batches. The disk is not touched. */
  forget(): void {
    this.#batches.clear();
    this.#held.clear();
    this.#units.clear();
    this.#unitCount = 0;
    this.#unitBytes = 0;
  }
}

function sharesOf(units: readonly HeldUnit[]): VolumeShare[] {
  const shares = new Map<Uint8Array, { volumeId: Uint8Array; units: number; bytes: number }>();
  for (const { object, lengthBytes } of units) {
    const { id } = object.volume;
    const share = shares.get(id) ?? { volumeId: id, units: 0, bytes: 0 };
    share.units += 1;
    share.bytes += lengthBytes;
    shares.set(id, share);
  }
  return [...shares.values()];
}

/**
 * EKEY when the zone's first batch header was sealed with a later epoch's key than the cache's header has.
 * The right header may be put back, so the zone must not be taken for one without batches.
 */
async function requireKnownEpoch(seals: Seals, file: CacheFile, fileBytes: number): Promise<void> {
  if (fileBytes < HEADER_BYTES) return;
  const start = new Uint8Array(HEADER_BYTES);
  await readFully(file, start, 0);
  const isBatchHeader =
    start[5] === RECORD_KINDS.journalRecord && viewOf(start).getUint32(0, true) === RECORD_MAGIC;
  // Bytes 8 to 11 are the epoch. `peekHeader` would throw for a torn header.
  if (isBatchHeader && viewOf(start).getUint32(8, true) > seals.newestEpoch) {
    throw new NetsealError(
      'EKEY',
      'there is dirty data of a newer header of this cache than the one that is there',
    );
  }
}

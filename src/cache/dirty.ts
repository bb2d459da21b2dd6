/**
 * Dirty intake: units that are not on the server yet, in regions of their own. A batch is on the disk, as a whole, before its
 * `append` resolves; it stays, and is found again after any crash, until it is released.
 *
 * Batches that come while one is being synced share the next sync. After a failure the region is left as it was before: nothing is
 * ever written behind what may be torn.
 *
 *   append() ──▶ waiting ──▶ written ──fdatasync──▶ listed, in the index ──release()──▶ clean, as any other unit
 *                                └─ failure ─▶ cut off again, append() rejects
 */
import { crc32 } from 'node:zlib';
import { NetsealError } from '../base/errors.ts';
import { roundUp } from '../base/geometry.ts';
import { recordTag } from '../unit/record-format.ts';
import {
  type DirtyHead,
  type DirtyUnitPlace,
  decodeDirtyHead,
  encodeDirtyHead,
  headRoomBytes,
} from './dirty-format.ts';
import { isWhole, readHeads } from './dirty-scan.ts';
import { type CacheFile, type CacheFiles, readFully, writeFully } from './files.ts';
import { fingerprintOf, newFingerprint } from './fingerprints.ts';
import { Health } from './health.ts';
import { ENTRY_DIRTY, type Fingerprint, GRANULE_BYTES } from './index-table.ts';
import { endRegion } from './lane.ts';
import type { ObjectState, Objects } from './objects.ts';
import { latin1 } from './pins.ts';
import { type Places, tagWords } from './places.ts';
import { RegionList } from './region-format.ts';
import { REGION_FOLDERS, type Region, type Regions } from './regions.ts';
import type { Seals } from './seals.ts';

export interface DirtyUnit {
  readonly object: ObjectState;
  readonly index: number;
  /** The sealed record. */
  readonly bytes: Uint8Array;
}

export interface DirtyParts {
  readonly files: CacheFiles;
  readonly regions: Regions;
  readonly places: Places;
  readonly objects: Objects;
  readonly seals: Seals;
  readonly regionBytes: number;
  readonly note: (error: unknown) => void;
  readonly filled: () => void;
}

/** A batch that was acknowledged and is not released. */
interface Batch {
  readonly id: number;
  readonly region: Region;
  readonly offsetBytes: number;
  readonly headBytes: number;
  readonly units: readonly DirtyUnitPlace[];
}

interface Waiting {
  readonly units: readonly DirtyUnit[];
  readonly payload: Uint8Array;
  readonly resolve: (batchId: number) => void;
  readonly reject: (error: unknown) => void;
}

/** A batch that is written and not synced. */
interface Written {
  readonly waiting: Waiting;
  readonly batch: Batch;
}

const GROUP_BYTES_MAX = 16 * 1024 * 1024;
const ZEROS = new Uint8Array(GRANULE_BYTES);

export class Dirty {
  readonly #parts: DirtyParts;
  readonly #batches = new Map<number, Batch>();
  readonly #waiting: Waiting[] = [];
  readonly #fingerprint: Fingerprint = newFingerprint();
  #nextId = 1;
  #region: Region | undefined;
  #syncedBytes = 0;
  #running: Promise<void> | undefined;
  #unitCount = 0;
  #unitBytes = 0;
  /** Of batches up to this id. Released ones may still be in it. */
  #objectKeys = new Set<string>();
  #objectKeysAt = 0;

  constructor(parts: DirtyParts) {
    this.#parts = parts;
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

  /** Resolves with the batch's id when it is on the disk. EFULL, EIO, EDENIED: then it is not there. */
  append(units: readonly DirtyUnit[], payload: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ units, payload, resolve, reject });
      this.#start();
    });
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      // Who came after the last look, and before this.
      if (this.#waiting.length > 0) this.#start();
    });
  }

  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Ids of batches, oldest first. */
  ids(): number[] {
    return [...this.#batches.keys()].sort((left, right) => left - right);
  }

  /** What a batch holds, read again from the disk; undefined when it is released. EIO, EAUTH. */
  async describe(id: number): Promise<DirtyHead | undefined> {
    const batch = this.#batches.get(id);
    if (batch === undefined) return undefined;
    const { regions, seals } = this.#parts;
    const { region } = batch;
    if (!regions.pin(region)) return undefined;
    try {
      const file = await regions.fileOf(region);
      const sealed = new Uint8Array(batch.headBytes);
      await readFully(file, sealed, batch.offsetBytes);
      return decodeDirtyHead(seals, region.name, batch.offsetBytes, sealed);
    } catch (error) {
      throw Health.errorOf(`dirty batch ${id} cannot be read`, error);
    } finally {
      regions.unpin(region);
    }
  }

  /** Whether a batch is as it was written, or has been released. */
  async check(id: number): Promise<boolean> {
    const batch = this.#batches.get(id);
    if (batch === undefined || !this.#parts.regions.pin(batch.region)) return true;
    try {
      const head = await this.describe(id);
      const file = await this.#parts.regions.fileOf(batch.region);
      return head === undefined || (await isWhole(file, batch.offsetBytes, head));
    } catch {
      return false;
    } finally {
      this.#parts.regions.unpin(batch.region);
    }
  }

  /** The units of these batches are on the server. Unknown ids are ignored. Returns those that were known. */
  async release(ids: Iterable<number>): Promise<number[]> {
    const released: number[] = [];
    const touched = new Set<Region>();
    for (const id of ids) {
      const batch = this.#batches.get(id);
      if (batch === undefined) continue;
      this.#batches.delete(id);
      this.#unitCount -= batch.units.length;
      for (const unit of batch.units) {
        this.#unitBytes -= unit.lengthBytes;
        this.#markClean(batch, unit);
      }
      touched.add(batch.region);
      released.push(id);
    }
    for (const region of touched) await this.#settle(region);
    return released;
  }

  /** Objects that batches have units of, by {@link ObjectState.key}. The set changes with the batches; do not change it. */
  objectKeys(): ReadonlySet<string> {
    if (this.#objectKeysAt !== this.#nextId) {
      this.#objectKeysAt = this.#nextId;
      this.#objectKeys = new Set();
      for (const { units } of this.#batches.values())
        for (const { volumeId, objectId } of units) this.#objectKeys.add(latin1(volumeId) + latin1(objectId));
    }
    return this.#objectKeys;
  }

  /** Puts the dirty units of an object, a volume or all back into the index, the later over the earlier. */
  reindex(volumeId: Uint8Array | undefined, objectId: Uint8Array | undefined): void {
    for (const id of this.ids()) {
      const batch = this.#batches.get(id);
      for (const unit of batch?.units ?? []) {
        const isOf =
          (volumeId === undefined || Buffer.compare(unit.volumeId, volumeId) === 0) &&
          (objectId === undefined || Buffer.compare(unit.objectId, objectId) === 0);
        if (batch !== undefined && isOf) this.#index(batch, unit);
      }
    }
  }

  /**
   * Takes over a region of an earlier session.
   *
   * @param isReleased for batches that were released before.
   * @returns how many batches it holds that are not. System errors as they come.
   */
  async adopt(region: Region, isReleased: (id: number) => boolean): Promise<number> {
    const { regions } = this.#parts;
    const file = await regions.fileOf(region);
    const fileBytes = await file.size();
    region.fileBytes = fileBytes;
    const { heads, gaps } = await readHeads(this.#parts.seals, region.name, file, fileBytes);
    const syncedBytes = Math.max(0, ...heads.map(({ head }) => head.syncedBytes));
    const torn = gaps.find(gap => gap >= syncedBytes) ?? Number.POSITIVE_INFINITY;
    if (gaps.some(gap => gap < syncedBytes)) {
      this.#parts.note(new NetsealError('EFORMAT', 'a region of dirty data is damaged: some of it is lost'));
    }
    let count = 0;
    for (const { offsetBytes, headBytes, head } of heads) {
      // Nothing behind it was acknowledged.
      if (offsetBytes > torn) break;
      // What was synced before a later one was written is whole; of the rest nobody knows.
      if (offsetBytes >= syncedBytes && !(await isWhole(file, offsetBytes, head))) break;
      this.#nextId = Math.max(this.#nextId, head.batchId + 1);
      region.endBytes = offsetBytes + head.lengthBytes;
      if (isReleased(head.batchId)) continue;
      this.#list({ id: head.batchId, region, offsetBytes, headBytes, units: head.units });
      count += 1;
    }
    return count;
  }

  /** Ids are never used twice, also when all regions of earlier ones are gone. */
  skipIds(nextId: number): void {
    this.#nextId = Math.max(this.#nextId, nextId);
  }

  get nextId(): number {
    return this.#nextId;
  }

  /** Lets go of everything; what is on the disk stays. */
  forget(): void {
    this.#batches.clear();
    this.#region = undefined;
    this.#unitCount = 0;
    this.#unitBytes = 0;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group: Written[] = [];
      let current: Waiting | undefined;
      try {
        let groupBytes = 0;
        while (this.#waiting.length > 0 && groupBytes < GROUP_BYTES_MAX) {
          current = this.#waiting.shift();
          if (current === undefined) break;
          const lengthBytes = lengthOf(current);
          const region = this.#region;
          if (region !== undefined && group.length > 0 && !this.#fits(region, lengthBytes)) {
            this.#waiting.unshift(current);
            current = undefined;
            break;
          }
          group.push(await this.#write(current));
          current = undefined;
          groupBytes += lengthBytes;
        }
        await this.#region?.file?.sync();
        this.#acknowledge(group);
      } catch (error) {
        await this.#fail(error, [
          ...group.map(({ waiting }) => waiting),
          ...(current === undefined ? [] : [current]),
        ]);
      }
    }
  }

  #fits(region: Region, lengthBytes: number): boolean {
    return region.endBytes === 0 || region.endBytes + lengthBytes <= this.#parts.regionBytes;
  }

  async #regionFor(lengthBytes: number): Promise<{ region: Region; file: CacheFile }> {
    let region = this.#region;
    if (region === undefined || !this.#fits(region, lengthBytes)) {
      await this.#endRegion();
      region = await this.#parts.regions.create('dirty');
      this.#region = region;
      this.#syncedBytes = 0;
      await this.#parts.files.syncFolder(REGION_FOLDERS.dirty);
    }
    if (region.file === undefined) throw new NetsealError('EBUG', 'the open dirty region has no file');
    return { region, file: region.file };
  }

  async #write(waiting: Waiting): Promise<Written> {
    const { seals } = this.#parts;
    const { region, file } = await this.#regionFor(lengthOf(waiting));
    const offsetBytes = region.endBytes;
    const headBytes = headRoomBytes(waiting.units.length, waiting.payload.byteLength);
    const parts: Uint8Array[] = [];
    let at = headBytes;
    const places: { unit: DirtyUnit; offsetBytes: number }[] = [];
    for (const unit of waiting.units) {
      const { byteLength } = unit.bytes;
      places.push({ unit, offsetBytes: at });
      const paddedBytes = roundUp(byteLength, GRANULE_BYTES);
      parts.push(unit.bytes);
      if (paddedBytes > byteLength) parts.push(ZEROS.subarray(0, paddedBytes - byteLength));
      at += paddedBytes;
    }
    const writing = writeFully(file, parts, offsetBytes + headBytes);
    // While the system writes.
    const units = places.map(({ unit, offsetBytes: unitOffset }): DirtyUnitPlace => {
      const { object, index, bytes } = unit;
      return {
        volumeId: object.volume.id,
        objectId: object.id,
        index,
        tag: new Uint8Array(recordTag(bytes)),
        offsetBytes: unitOffset,
        lengthBytes: bytes.byteLength,
        crc32: crc32(bytes),
      };
    });
    await writing;
    const id = this.#nextId;
    this.#nextId += 1;
    const head: DirtyHead = {
      batchId: id,
      units,
      payload: waiting.payload,
      lengthBytes: at,
      syncedBytes: this.#syncedBytes,
    };
    await writeFully(file, [encodeDirtyHead(seals, region.name, offsetBytes, head)], offsetBytes);
    region.endBytes = offsetBytes + at;
    region.fileBytes = region.endBytes;
    return { waiting, batch: { id, region, offsetBytes, headBytes, units } };
  }

  #acknowledge(group: readonly Written[]): void {
    this.#syncedBytes = this.#region?.endBytes ?? 0;
    for (const { waiting, batch } of group) {
      this.#list(batch);
      waiting.resolve(batch.id);
    }
  }

  #list(batch: Batch): void {
    this.#batches.set(batch.id, batch);
    this.#unitCount += batch.units.length;
    for (const unit of batch.units) {
      this.#unitBytes += unit.lengthBytes;
      this.#index(batch, unit);
    }
  }

  #index(batch: Batch, unit: DirtyUnitPlace): void {
    const { objects, places } = this.#parts;
    const object = objects.object(objects.volume(unit.volumeId), unit.objectId);
    objects.keep(object);
    places.insert(fingerprintOf(object.prefix, unit.index, this.#fingerprint), {
      ...tagWords(unit.tag),
      regionId: batch.region.id,
      offsetBytes: batch.offsetBytes + unit.offsetBytes,
      lengthBytes: unit.lengthBytes,
      hits: 0,
      flags: ENTRY_DIRTY,
      volumeNumber: object.volume.number,
    });
  }

  #markClean(batch: Batch, unit: DirtyUnitPlace): void {
    const { objects, places } = this.#parts;
    const object = objects.object(objects.volume(unit.volumeId), unit.objectId);
    const fingerprint = fingerprintOf(object.prefix, unit.index, this.#fingerprint);
    const found = places.find(fingerprint);
    if (found?.entry.regionId !== batch.region.id) return;
    if (found.entry.offsetBytes !== batch.offsetBytes + unit.offsetBytes) return;
    places.replace(fingerprint, found, { ...found.entry, flags: 0 });
  }

  /** Nothing that was not acknowledged is to be found later. */
  async #fail(error: unknown, failed: readonly Waiting[]): Promise<void> {
    this.#parts.note(error);
    const region = this.#region;
    if (region !== undefined) {
      region.endBytes = this.#syncedBytes;
      await region.file?.truncate(this.#syncedBytes).catch(() => undefined);
      await region.file?.sync().catch(() => undefined);
      await this.#endRegion();
    }
    const reason = Health.errorOf('the cache could not keep dirty data', error);
    for (const waiting of failed) waiting.reject(reason);
  }

  async #endRegion(): Promise<void> {
    const region = this.#region;
    if (region === undefined) return;
    this.#region = undefined;
    region.list = undefined;
    this.#parts.regions.finish(region);
    await this.#settle(region);
  }

  /** A full region without dirty batches becomes a clean one. */
  async #settle(region: Region): Promise<void> {
    if (!region.isFull || region.isDead) return;
    for (const batch of this.#batches.values()) if (batch.region === region) return;
    const { regions } = this.#parts;
    if (region.liveBytes === 0) {
      await regions.giveUp(region);
      return;
    }
    try {
      await this.#makeClean(region);
    } catch (error) {
      this.#parts.note(error);
      await regions.giveUp(region);
    }
  }

  async #makeClean(region: Region): Promise<void> {
    const { files, regions, places, seals, objects, note, filled } = this.#parts;
    const file = await files.open(region.path, 'write');
    const list = new RegionList();
    try {
      const { heads } = await readHeads(seals, region.name, file, region.endBytes);
      for (const { offsetBytes, head } of heads) {
        for (const unit of head.units) {
          const object = objects.object(objects.volume(unit.volumeId), unit.objectId);
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

function lengthOf({ units, payload }: Waiting): number {
  let bytes = headRoomBytes(units.length, payload.byteLength);
  for (const unit of units) bytes += roundUp(unit.bytes.byteLength, GRANULE_BYTES);
  return bytes;
}

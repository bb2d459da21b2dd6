/**
 * Writes dirty batches, one after another, to a region of its own; a batch is on the disk, as a whole, before `append` resolves.
 *
 *   append() ──▶ waiting ──▶ laid out ──write──▶ written ──fdatasync──▶ acknowledged
 *                                └──────── failure ─────────▶ cut off again, append() rejects
 *
 * 1. Batches that come while others are being synced share the next sync: a group.
 * 2. A head says up to where the region was synced when it was written. What lies before that is whole; the rest may be torn, in any
 *    order, by a power cut.
 * 3. Nothing is ever written behind what may be torn: after a failure the region is cut back to its last sync, and ends.
 * 4. A region's name is on the disk before its first batch is acknowledged.
 */
import { crc32 } from 'node:zlib';
import { NetsealError } from '../base/errors.ts';
import { roundUp } from '../base/geometry.ts';
import { recordTag } from '../unit/record-format.ts';
import { type DirtyUnitPlace, encodeDirtyHead, headRoomBytes } from './dirty-format.ts';
import { soberMs } from './dirty-ids.ts';
import { type CacheFile, type CacheFiles, WRITE_BYTES_MAX, writeFully } from './files.ts';
import { Health } from './health.ts';
import { GRANULE_BYTES } from './index-table.ts';
import type { ObjectState } from './objects.ts';
import { REGION_FOLDERS, type Region, type Regions } from './regions.ts';
import type { Seals } from './seals.ts';

export interface DirtyUnit {
  readonly object: ObjectState;
  readonly index: number;
  /** The sealed record. Holds still until the batch is on the disk. */
  readonly bytes: Uint8Array;
}

/** A batch with its place. */
export interface WrittenBatch {
  readonly id: number;
  readonly appendedMs: number;
  readonly region: Region;
  readonly offsetBytes: number;
  readonly headBytes: number;
  readonly units: readonly (DirtyUnit & { /** Within the batch. */ readonly offsetBytes: number })[];
}

export interface JournalHost {
  readonly files: CacheFiles;
  readonly regions: Regions;
  readonly seals: Seals;
  readonly regionBytes: number;
  readonly nowMs: () => number;
  /** False when the folder is not there any more, or another one is: what lies there is lost. */
  hasFolder(): boolean;
  /** An id that no batch has had. */
  takeId(): number;
  /** In the order of ids, just before `append` resolves. */
  acknowledged(batch: WrittenBatch): void;
  /** What was not acknowledged may be found in the region all the same. */
  leftBehind(region: Region, ids: readonly number[]): void;
  /** Nothing more is written to the region. */
  ended(region: Region): void;
  failed(error: unknown): void;
}

interface Waiting {
  readonly units: readonly DirtyUnit[];
  readonly payload: Uint8Array;
  readonly lengthBytes: number;
  readonly resolve: (batchId: number) => void;
  readonly reject: (error: unknown) => void;
}

interface Planned {
  readonly waiting: Waiting;
  readonly batch: WrittenBatch;
}

const GROUP_BYTES_MAX = 16 * 1024 * 1024;
/** The checksums of larger batches are made while their units are being written. */
const AT_ONCE_BYTES_MAX = 256 * 1024;
const ZEROS = new Uint8Array(GRANULE_BYTES);
const NO_BYTES = new Uint8Array(0);

export class DirtyJournal {
  readonly #host: JournalHost;
  readonly #waiting: Waiting[] = [];
  #region: Region | undefined;
  /** Where the next batch goes; the region's own `endBytes` is what is synced. */
  #endBytes = 0;
  /** A region that was made ahead. */
  #spare: Promise<Region | undefined> | undefined;
  #running: Promise<void> | undefined;
  #mustEnd = false;
  #areParentsSynced = false;

  constructor(host: JournalHost) {
    this.#host = host;
  }

  /** Resolves with the batch's id when it is on the disk. EFULL, EIO, EDENIED: then it is not there. */
  append(units: readonly DirtyUnit[], payload: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ units, payload, lengthBytes: lengthOf(units, payload), resolve, reject });
      this.#start();
    });
  }

  /** Takes another region for the next batch: the folder of this one may have been exchanged. */
  renew(): void {
    this.#mustEnd = true;
  }

  /** Ends the open region. Nothing is appended any more, or this has to be called again. */
  async finish(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    await this.#endRegion(true);
    await this.#dropSpare();
  }

  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    await this.#spare;
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      // Who came after the last look, and before this.
      if (this.#waiting.length > 0) this.#start();
    });
  }

  async #run(): Promise<void> {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const group: Planned[] = [];
      try {
        const { region, file } = await this.#regionFor(first.lengthBytes);
        this.#layOut(region, group);
        await this.#write(file, group);
        await file.sync();
        this.#requireFolder();
        this.#acknowledge(region, group);
      } catch (error) {
        if (group.length === 0) this.#waiting.shift();
        await this.#fail(error, group, first);
      }
    }
  }

  #requireFolder(): void {
    if (this.#host.hasFolder()) return;
    const gone = new Error('the folder of the cache is gone, or is another one now');
    throw Object.assign(gone, { code: 'ENOENT' });
  }

  async #regionFor(lengthBytes: number): Promise<{ region: Region; file: CacheFile }> {
    if (this.#region !== undefined && (this.#mustEnd || !this.#fits(lengthBytes)))
      await this.#endRegion(true);
    if (this.#mustEnd) await this.#dropSpare();
    this.#mustEnd = false;
    this.#region ??= await this.#nextRegion();
    const { file } = this.#region;
    if (file === undefined) throw new NetsealError('EBUG', 'the open dirty region has no file');
    return { region: this.#region, file };
  }

  #fits(lengthBytes: number): boolean {
    return this.#endBytes === 0 || this.#endBytes + lengthBytes <= this.#host.regionBytes;
  }

  async #nextRegion(): Promise<Region> {
    const spare = await this.#spare;
    this.#spare = undefined;
    this.#endBytes = 0;
    return spare ?? this.#createRegion();
  }

  async #createRegion(): Promise<Region> {
    const { regions, files } = this.#host;
    const region = await regions.create('dirty');
    region.list = undefined;
    try {
      await files.syncFolder(REGION_FOLDERS.dirty);
      if (!this.#areParentsSynced) await files.syncFolder('');
      this.#areParentsSynced = true;
    } catch (error) {
      await regions.giveUp(region);
      throw error;
    }
    return region;
  }

  /** While there is room in this region yet. */
  #prepareSpare(): void {
    if (this.#spare !== undefined || this.#endBytes < this.#host.regionBytes / 2) return;
    this.#spare = this.#createRegion().catch(() => undefined);
  }

  async #dropSpare(): Promise<void> {
    const spare = await this.#spare;
    this.#spare = undefined;
    if (spare !== undefined) await this.#host.regions.giveUp(spare);
  }

  /** Takes up what waits, as far as it fits. */
  #layOut(region: Region, group: Planned[]): void {
    let groupBytes = 0;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const isFirst = group.length === 0;
      if (!isFirst && (groupBytes >= GROUP_BYTES_MAX || !this.#fits(next.lengthBytes))) return;
      const headBytes = headRoomBytes(next.units.length, next.payload.byteLength);
      let at = headBytes;
      const units = next.units.map(unit => {
        const offsetBytes = at;
        at += roundUp(unit.bytes.byteLength, GRANULE_BYTES);
        return { ...unit, offsetBytes };
      });
      const batch: WrittenBatch = {
        id: this.#host.takeId(),
        appendedMs: soberMs(this.#host.nowMs()),
        region,
        offsetBytes: this.#endBytes,
        headBytes,
        units,
      };
      group.push({ waiting: next, batch });
      this.#waiting.shift();
      this.#endBytes += next.lengthBytes;
      groupBytes += next.lengthBytes;
    }
  }

  async #write(file: CacheFile, group: readonly Planned[]): Promise<void> {
    let parts: Uint8Array[] = [];
    let startBytes = 0;
    const flush = async (): Promise<void> => {
      for (const { part, offsetBytes } of portions(parts, startBytes))
        await writeFully(file, part, offsetBytes);
      parts = [];
    };
    for (const { waiting, batch } of group) {
      if (waiting.lengthBytes > AT_ONCE_BYTES_MAX) {
        await flush();
        await this.#writeLarge(file, waiting, batch);
        continue;
      }
      if (parts.length === 0) startBytes = batch.offsetBytes;
      const sums = batch.units.map(({ bytes }) => crc32(bytes));
      parts.push(this.#head(waiting, batch, sums), ...paddedUnits(batch));
      if (batch.offsetBytes + waiting.lengthBytes - startBytes >= WRITE_BYTES_MAX) await flush();
    }
    await flush();
  }

  /** The units first, with their checksums made meanwhile. */
  async #writeLarge(file: CacheFile, waiting: Waiting, batch: WrittenBatch): Promise<void> {
    const { units, headBytes } = batch;
    const sums: number[] = [];
    for (const { part, offsetBytes, endBytes } of portions(
      paddedUnits(batch),
      batch.offsetBytes + headBytes,
    )) {
      const writing = writeFully(file, part, offsetBytes);
      for (let unit = units[sums.length]; unit !== undefined; unit = units[sums.length]) {
        if (batch.offsetBytes + unit.offsetBytes >= endBytes) break;
        sums.push(crc32(unit.bytes));
      }
      await writing;
    }
    await writeFully(file, [this.#head(waiting, batch, sums)], batch.offsetBytes);
  }

  #head(waiting: Waiting, batch: WrittenBatch, sums: readonly number[]): Uint8Array {
    const { region, offsetBytes, id, appendedMs } = batch;
    const units = batch.units.map(
      ({ object, index, bytes, offsetBytes: unitAt }, position): DirtyUnitPlace => ({
        volumeId: object.volume.id,
        objectId: object.id,
        index,
        tag: recordTag(bytes),
        offsetBytes: unitAt,
        lengthBytes: bytes.byteLength,
        crc32: sums[position] ?? 0,
      }),
    );
    return encodeDirtyHead(this.#host.seals, region.name, offsetBytes, {
      batchId: id,
      appendedMs,
      isEndMark: false,
      units,
      payload: waiting.payload,
      lengthBytes: waiting.lengthBytes,
      syncedBytes: region.endBytes,
    });
  }

  #acknowledge(region: Region, group: readonly Planned[]): void {
    region.endBytes = this.#endBytes;
    region.fileBytes = this.#endBytes;
    for (const { waiting, batch } of group) {
      this.#host.acknowledged(batch);
      waiting.resolve(batch.id);
    }
    this.#prepareSpare();
  }

  /** Nothing that was not acknowledged is to be found later. */
  async #fail(error: unknown, group: readonly Planned[], first: Waiting): Promise<void> {
    const { failed, leftBehind } = this.#host;
    failed(error);
    // The spare one may not be any better.
    this.#mustEnd = true;
    const region = this.#region;
    if (region !== undefined) {
      try {
        await region.file?.truncate(region.endBytes);
        await region.file?.sync();
      } catch {
        const ids = group.map(({ batch }) => batch.id);
        leftBehind(region, ids);
      }
      await this.#endRegion(false);
    }
    const reason = Health.errorOf('the cache could not keep dirty data', error);
    if (group.length === 0) first.reject(reason);
    for (const { waiting } of group) waiting.reject(reason);
  }

  async #endRegion(isSound: boolean): Promise<void> {
    const region = this.#region;
    if (region === undefined) return;
    if (isSound && region.endBytes > 0) await this.#writeEndMark(region);
    this.#region = undefined;
    this.#host.regions.finish(region);
    this.#host.ended(region);
  }

  /** All of the region is synced: the next opening need not read its last group. Not synced; without it, it is read. */
  async #writeEndMark(region: Region): Promise<void> {
    const { endBytes, file, name } = region;
    const lengthBytes = headRoomBytes(0, 0);
    const mark = encodeDirtyHead(this.#host.seals, name, endBytes, {
      batchId: 0,
      appendedMs: 0,
      isEndMark: true,
      units: [],
      payload: NO_BYTES,
      lengthBytes,
      syncedBytes: endBytes,
    });
    try {
      if (file !== undefined) await writeFully(file, [mark], endBytes);
      region.fileBytes = endBytes + lengthBytes;
    } catch (error) {
      this.#host.failed(error);
    }
  }
}

function lengthOf(units: readonly DirtyUnit[], payload: Uint8Array): number {
  let bytes = headRoomBytes(units.length, payload.byteLength);
  for (const unit of units) bytes += roundUp(unit.bytes.byteLength, GRANULE_BYTES);
  return bytes;
}

function paddedUnits({ units }: WrittenBatch): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (const { bytes } of units) {
    const rest = roundUp(bytes.byteLength, GRANULE_BYTES) - bytes.byteLength;
    parts.push(bytes);
    if (rest > 0) parts.push(ZEROS.subarray(0, rest));
  }
  return parts;
}

/** Cuts what lies at `startBytes` into writes of at most {@link WRITE_BYTES_MAX}. */
function* portions(
  parts: readonly Uint8Array[],
  startBytes: number,
): Generator<{ readonly part: Uint8Array[]; readonly offsetBytes: number; readonly endBytes: number }> {
  let part: Uint8Array[] = [];
  let offsetBytes = startBytes;
  let endBytes = startBytes;
  for (const bytes of parts) {
    for (let from = 0; from < bytes.byteLength; ) {
      const piece = bytes.subarray(from, from + WRITE_BYTES_MAX - (endBytes - offsetBytes));
      part.push(piece);
      from += piece.byteLength;
      endBytes += piece.byteLength;
      if (endBytes - offsetBytes < WRITE_BYTES_MAX) continue;
      yield { part, offsetBytes, endBytes };
      part = [];
      offsetBytes = endBytes;
    }
  }
  if (part.length > 0) yield { part, offsetBytes, endBytes };
}

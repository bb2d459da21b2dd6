/**
 * Writes dirty batches to dirty zones, one after another. The whole batch is on the disk before `append`
 * resolves.
 *
 *   append() ──▶ waiting ──▶ laid out ──write──▶ written ──fdatasync──▶ acknowledged
 *                 │              └──────── failure ─────────▶ cut off again, append() rejects
 *                 └─ abort ─▶ taken back, append() rejects
 *
 * 1. Batches that come while others are being synced form a group: they share the next sync.
 * 2. A batch header says how much of the zone was synced when the header was written. That much is whole
 *    after a power cut. Any part of the rest may be torn.
 * 3. Nothing is written behind what may be torn: after a failure the zone is cut back to its last sync, and
 *    ended.
 * 4. A zone's name is on the disk before its first batch is acknowledged.
 */
import { DrainLoop } from '../../base/drain-loop.ts';
import { NetsealError } from '../../base/errors.ts';
import { roundUp } from '../../base/geometry.ts';
import { type CacheFile, writeFully } from '../base/files.ts';
import { Health } from '../base/health.ts';
import { dirtyZoneBytes } from '../base/settings.ts';
import { GRANULE_BYTES } from '../index/index-table.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { ZONE_FOLDERS, type Zone, type Zones } from '../zones/zones.ts';
import { batchHeaderBytes, encodeBatchHeader } from './format.ts';
import { clampClockMs } from './ids.ts';
import {
  type BatchToWrite,
  type DirtyUnit,
  type PlannedBatch,
  type WrittenBatch,
  writeBatches,
} from './writing.ts';

export interface JournalCalls {
  /** Returns an id that no batch has had. */
  readonly takeId: () => number;
  /** Called just before `append` resolves, in the order of ids. */
  readonly acknowledged: (batch: WrittenBatch) => void;
  /**
   * Called after a failure when these batches, which were not acknowledged, could not be cut off the zone.
   */
  readonly leftBehind: (zone: Zone, ids: readonly number[]) => void;
  /** Called when nothing more will be written to the zone. */
  readonly ended: (zone: Zone) => void;
  /** Called when a write, a sync or an end mark failed. */
  readonly failed: (error: unknown) => void;
}

/** A batch of a call of `append`. */
interface Waiting extends BatchToWrite {
  readonly resolve: (batchId: number) => void;
  readonly reject: (error: unknown) => void;
}

interface Planned extends PlannedBatch {
  readonly waiting: Waiting;
}

/** A group takes no further batch once it has this length. */
const GROUP_BYTES_MAX = 16 * 1024 * 1024;
const NO_BYTES = new Uint8Array(0);

export class DirtyJournal {
  readonly #context: CacheContext;
  readonly #zones: Zones;
  readonly #calls: JournalCalls;
  readonly #zoneBytes: number;
  readonly #waiting: Waiting[] = [];
  readonly #loop = new DrainLoop(
    () => this.#waiting.length > 0,
    () => this.#writeWaiting(),
  );
  #zone: Zone | undefined;
  /**
   * Where the next batch goes. `zone.endBytes` is smaller while batches are being written: it says what is
   * synced.
   */
  #endBytes = 0;
  /** The next zone, made before it is needed. */
  #spare: Promise<Zone | undefined> | undefined;
  /** True when the next batch must go to a new zone. */
  #mustEnd = false;
  #areParentsSynced = false;

  constructor(context: CacheContext, zones: Zones, calls: JournalCalls) {
    this.#context = context;
    this.#zones = zones;
    this.#calls = calls;
    this.#zoneBytes = dirtyZoneBytes(context.settings);
  }

  /**
   * Keeps a batch. Resolves with its id when it is on the disk. EFULL, EIO, EDENIED, or the signal's reason:
   * then it is not. An abort counts only until the batch is laid out.
   */
  append(units: readonly DirtyUnit[], payload: Uint8Array, signal?: AbortSignal): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    if (signal?.aborted === true) {
      reject(signal.reason);
      return promise;
    }
    const waiting: Waiting = { units, payload, lengthBytes: lengthOf(units, payload), resolve, reject };
    this.#waiting.push(waiting);
    this.#loop.start();
    if (signal === undefined) return promise;
    const abort = (): void => {
      if (this.#takeBack(waiting)) reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', abort));
  }

  /** Takes a batch out of the queue. False when it is not there any more. */
  #takeBack(waiting: Waiting): boolean {
    const at = this.#waiting.indexOf(waiting);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at >= 0;
  }

  /** Takes a new zone for the next batch, because the folder of this one may have been replaced. */
  renew(): void {
    this.#mustEnd = true;
  }

  /** Writes what waits, and ends the open zone. Call it when nothing more is appended. */
  async finish(): Promise<void> {
    await this.#loop.idle();
    await this.#endZone(true);
    await this.#dropSpare();
  }

  async idle(): Promise<void> {
    await this.#loop.idle();
    await this.#spare;
  }

  async #writeWaiting(): Promise<void> {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const group: Planned[] = [];
      try {
        const { zone, file } = await this.#zoneFor(first.lengthBytes);
        // `first` may have been taken back meanwhile, and the batch that is first now may need another zone.
        if (this.#waiting[0] !== first) continue;
        this.#layOut(zone, group);
        await writeBatches(this.#context.seals, file, group);
        await file.sync();
        this.#requireFolder();
        this.#acknowledge(zone, group);
      } catch (error) {
        if (group.length === 0) this.#takeBack(first);
        await this.#fail(error, group, first);
      }
    }
  }

  /** Throws when the folder is not the cache's any more: a batch in it would be lost. */
  #requireFolder(): void {
    if (this.#context.hasFolder()) return;
    // Made to look like a system error, so that `Health` counts it as one and the caller gets EIO.
    const gone = new Error('the folder of the cache is gone, or is another one now');
    throw Object.assign(gone, { code: 'ENOENT', syscall: 'stat' });
  }

  async #zoneFor(lengthBytes: number): Promise<{ zone: Zone; file: CacheFile }> {
    if (this.#zone !== undefined && (this.#mustEnd || !this.#fits(lengthBytes))) await this.#endZone(true);
    if (this.#mustEnd) await this.#dropSpare();
    this.#mustEnd = false;
    this.#zone ??= await this.#nextZone();
    const { file } = this.#zone;
    if (file === undefined) throw new NetsealError('EBUG', 'the open dirty zone has no file');
    return { zone: this.#zone, file };
  }

  #fits(lengthBytes: number): boolean {
    return this.#endBytes === 0 || this.#endBytes + lengthBytes <= this.#zoneBytes;
  }

  async #nextZone(): Promise<Zone> {
    const spare = await this.#spare;
    this.#spare = undefined;
    this.#endBytes = 0;
    return spare ?? this.#createZone();
  }

  async #createZone(): Promise<Zone> {
    const { files } = this.#context;
    const zones = this.#zones;
    const zone = await zones.create('dirty');
    zone.list = undefined;
    try {
      await files.syncFolder(ZONE_FOLDERS.dirty);
      if (!this.#areParentsSynced) await files.syncFolder('');
      this.#areParentsSynced = true;
    } catch (error) {
      await zones.giveUp(zone);
      throw error;
    }
    return zone;
  }

  /** Makes the next zone once this one is half full, so that no batch waits for it. */
  #prepareSpare(): void {
    if (this.#spare !== undefined || this.#endBytes < this.#zoneBytes / 2) return;
    this.#spare = this.#createZone().catch(() => undefined);
  }

  async #dropSpare(): Promise<void> {
    const spare = await this.#spare;
    this.#spare = undefined;
    if (spare !== undefined) await this.#zones.giveUp(spare);
  }

  /**
   * Moves batches from the queue to `group`, with their places, as many as fit into the zone and one group.
   */
  #layOut(zone: Zone, group: Planned[]): void {
    let groupBytes = 0;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const isFirst = group.length === 0;
      if (!isFirst && (groupBytes >= GROUP_BYTES_MAX || !this.#fits(next.lengthBytes))) return;
      const headerBytes = batchHeaderBytes(next.units.length, next.payload.byteLength);
      let at = headerBytes;
      const units = next.units.map(unit => {
        const offsetBytes = at;
        at += roundUp(unit.bytes.byteLength, GRANULE_BYTES);
        return { ...unit, offsetBytes };
      });
      const batch: WrittenBatch = {
        id: this.#calls.takeId(),
        appendedMs: clampClockMs(this.#context.nowMs()),
        zone,
        offsetBytes: this.#endBytes,
        headerBytes,
        units,
      };
      group.push({ waiting: next, batch });
      this.#waiting.shift();
      this.#endBytes += next.lengthBytes;
      groupBytes += next.lengthBytes;
    }
  }

  #acknowledge(zone: Zone, group: readonly Planned[]): void {
    zone.endBytes = this.#endBytes;
    zone.fileBytes = this.#endBytes;
    for (const { waiting, batch } of group) {
      this.#calls.acknowledged(batch);
      waiting.resolve(batch.id);
    }
    this.#prepareSpare();
  }

  /** Ends the zone after a failure, and makes sure that no batch of the group is found in it later. */
  async #fail(error: unknown, group: readonly Planned[], first: Waiting): Promise<void> {
    const { failed, leftBehind } = this.#calls;
    failed(error);
    // The spare zone may fail in the same way, so it is dropped.
    this.#mustEnd = true;
    const zone = this.#zone;
    if (zone !== undefined) {
      try {
        await zone.file?.truncate(zone.endBytes);
        await zone.file?.sync();
      } catch {
        const ids = group.map(({ batch }) => batch.id);
        leftBehind(zone, ids);
      }
      await this.#endZone(false);
    }
    const reason = Health.errorOf(`the cache in ${this.#context.folder} could not keep dirty data`, error);
    if (group.length === 0) first.reject(reason);
    for (const { waiting } of group) waiting.reject(reason);
  }

  async #endZone(isSound: boolean): Promise<void> {
    const zone = this.#zone;
    if (zone === undefined) return;
    if (isSound && zone.endBytes > 0) await this.#writeEndMark(zone);
    this.#zone = undefined;
    this.#zones.finish(zone);
    this.#calls.ended(zone);
  }

  /**
   * Writes the mark that says that the whole zone is synced. It spares the next opening from reading the
   * units of the last group. The mark itself is not synced: without it, they are read.
   */
  async #writeEndMark(zone: Zone): Promise<void> {
    const { endBytes, file, name } = zone;
    const lengthBytes = batchHeaderBytes(0, 0);
    const mark = encodeBatchHeader(this.#context.seals, name, endBytes, {
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
      zone.fileBytes = endBytes + lengthBytes;
    } catch (error) {
      this.#calls.failed(error);
    }
  }
}

function lengthOf(units: readonly DirtyUnit[], payload: Uint8Array): number {
  let bytes = batchHeaderBytes(units.length, payload.byteLength);
  for (const unit of units) bytes += roundUp(unit.bytes.byteLength, GRANULE_BYTES);
  return bytes;
}

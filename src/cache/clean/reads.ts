/**
 * Reads units: looks them up, pins their zones, reads straight into the caller's memory, and compares length and tag
 * with those asked for. Anything else is a miss.
 *
 * Where a read is done:
 *
 * - Small reads are done on this thread as long as data comes out of the page cache: a thread pool costs four times
 *   as much.
 * - Of large reads this thread does its part while the pool's threads do theirs.
 * - A read that took as long as a disk takes sends the next ones to the pool for a while, and for twice as long when
 *   it happens again.
 */
import { availableParallelism } from 'node:os';
import { giveTurn } from '../../base/turns.ts';
import { recordTag, TAG_BYTES } from '../../unit/record-format.ts';
import { type CacheFile, readFully, ShortFileError } from '../base/files.ts';
import { endsWithTag, isWholeRecord } from '../base/record-check.ts';
import type { Counters } from '../base/statistics.ts';
import { fingerprintOf, newFingerprint, type Prefix } from '../index/fingerprints.ts';
import { ENTRY_DIRTY, type Entry, type Fingerprint } from '../index/index-table.ts';
import type { ObjectState, Objects } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { Zone, Zones } from '../zones/zones.ts';
import { hasTag, type UnitIndex } from './unit-index.ts';

/** A unit to be read. */
export interface UnitToRead {
  readonly object: ObjectState;
  readonly index: number;
  /** 16 bytes: the version that it must be; undefined for any, which only who seals here may ask for. */
  readonly expectedTag: Uint8Array | undefined;
  /** At least as long as the record. */
  readonly into: Uint8Array;
}

interface Plan {
  readonly position: number;
  readonly unit: UnitToRead;
  readonly prefix: Prefix;
  readonly zone: Zone;
  readonly entry: Entry;
  /** How many there had been when this was planned. */
  readonly invalidations: number;
}

/** Neighbours that are read at once. */
interface Stretch {
  readonly zone: Zone;
  readonly plans: Plan[];
  readonly offsetBytes: number;
  lengthBytes: number;
}

const SMALL_BYTES_MAX = 32 * 1024;
const GAP_BYTES_MAX = 4 * 1024;
const STRETCH_BYTES_MAX = 256 * 1024;
const HERE_BYTES_MAX = 1024 * 1024;
const STRETCHES_AT_ONCE = 16;
/** Longer than any read from memory takes, shorter than any from a disk; and for each byte, as if memory did 1 GB/s. */
const SLOW_READ_MS = 0.25;
const SLOW_READ_MS_PER_BYTE = 1e-6;
const POOL_TIME_MS = 100;
const POOL_TIME_MS_MAX = 60_000;
/**
 * After so many fast reads one that is slow is the first again. It changes nothing, unless it took as long as only a disk does: the
 * system may have had this thread wait for a processor.
 */
const FAST_READS = 64;
const DISK_READ_MS = 20;
/** Others get their turn after so long. */
const TURN_MS = 1;
/** Large reads that go to the pool for each that is done here: it has four threads, unless told otherwise. */
const POOL_SHARE: number = Math.min(4, availableParallelism() - 1);

export class Reads {
  readonly #unitIndex: UnitIndex;
  readonly #zones: Zones;
  readonly #objects: Objects;
  readonly #counters: Counters;
  readonly #mayReadHere: boolean;
  readonly #onFailure: (zone: Zone, error: unknown) => void;
  readonly #fingerprint: Fingerprint = newFingerprint();
  /** For stretches of small units that are read here. */
  readonly #scratch = Buffer.allocUnsafeSlow(STRETCH_BYTES_MAX);
  #poolUntilMs = 0;
  #slowReads = 0;
  #fastReads = 0;
  /** Large reads that have gone to the pool since the last that was done here. */
  #poolStretches = 0;

  constructor(
    { settings, counters }: CacheContext,
    zones: Zones,
    objects: Objects,
    unitIndex: UnitIndex,
    onFailure: (zone: Zone, error: unknown) => void,
  ) {
    this.#unitIndex = unitIndex;
    this.#zones = zones;
    this.#objects = objects;
    this.#counters = counters;
    this.#mayReadHere = settings.readsOnThisThread;
    this.#onFailure = onFailure;
  }

  /**
   * Reads units; resolves with the length of each, 0 for a miss. What is in a buffer after a miss is undefined. Rejects only with
   * the signal's reason, and when no read is under way any more.
   */
  async read(units: readonly UnitToRead[], signal?: AbortSignal): Promise<number[]> {
    signal?.throwIfAborted();
    const lengths = new Array<number>(units.length).fill(0);
    const stretches = this.#plan(units);
    try {
      await this.#readStretches(stretches, lengths, signal);
    } finally {
      for (const { zone, plans } of stretches) for (const _ of plans) this.#zones.unpin(zone);
    }
    signal?.throwIfAborted();
    this.#count(lengths);
    return lengths;
  }

  #count(lengths: readonly number[]): void {
    for (const lengthBytes of lengths) {
      if (lengthBytes === 0) {
        this.#counters.misses += 1;
      } else {
        this.#counters.hits += 1;
        this.#counters.hitBytes += lengthBytes;
      }
    }
  }

  /** What there is, by zone and offset, every plan with a pin on its zone. */
  #plan(units: readonly UnitToRead[]): Stretch[] {
    const plans: Plan[] = [];
    for (const [position, unit] of units.entries()) {
      const plan = this.#planOne(position, unit);
      if (plan !== undefined) plans.push(plan);
    }
    if (plans.length > 1) plans.sort(byPlace);
    const stretches: Stretch[] = [];
    for (const plan of plans) {
      const last = stretches.at(-1);
      if (last !== undefined && joins(last, plan)) {
        last.plans.push(plan);
        last.lengthBytes = plan.entry.offsetBytes + plan.entry.lengthBytes - last.offsetBytes;
      } else {
        const { offsetBytes, lengthBytes } = plan.entry;
        stretches.push({ zone: plan.zone, plans: [plan], offsetBytes, lengthBytes });
      }
    }
    return stretches;
  }

  #planOne(position: number, unit: UnitToRead): Plan | undefined {
    const { object, index, expectedTag, into } = unit;
    const { prefix } = object;
    const found = this.#unitIndex.find(fingerprintOf(prefix, index, this.#fingerprint));
    if (found === undefined) return undefined;
    const { entry } = found;
    if (expectedTag !== undefined && !hasTag(entry, expectedTag)) {
      this.#counters.otherVersions += 1;
      return undefined;
    }
    if (entry.lengthBytes > into.byteLength || entry.lengthBytes < TAG_BYTES) return undefined;
    const zone = this.#zones.get(entry.zoneId);
    if (zone === undefined || !this.#zones.pin(zone)) return undefined;
    this.#unitIndex.countHit(found);
    return { position, unit, prefix, zone, entry, invalidations: this.#objects.invalidations };
  }

  async #readStretches(
    stretches: readonly Stretch[],
    lengths: number[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const under = new Set<Promise<void>>();
    let turnStartMs = performance.now();
    for (const stretch of stretches) {
      if (signal?.aborted === true) break;
      const { file } = stretch.zone;
      if (file !== undefined && this.#isHereBest(stretch, turnStartMs, under.size)) {
        turnStartMs = await this.#readHere(stretch, file, lengths, turnStartMs);
        continue;
      }
      if (under.size >= STRETCHES_AT_ONCE) await Promise.race(under);
      const reading: Promise<void> = this.#readInPool(stretch, lengths).then(
        () => void under.delete(reading),
      );
      under.add(reading);
    }
    if (under.size > 0) await Promise.all(under);
  }

  #isHereBest({ plans, lengthBytes }: Stretch, nowMs: number, inPool: number): boolean {
    if (!this.#mayReadHere || lengthBytes > HERE_BYTES_MAX || nowMs < this.#poolUntilMs) return false;
    if (isSmall(plans[0])) return true;
    if (this.#poolStretches < POOL_SHARE && inPool < STRETCHES_AT_ONCE) {
      this.#poolStretches += 1;
      return false;
    }
    this.#poolStretches = 0;
    return true;
  }

  /** Returns when the present turn began. */
  async #readHere(
    stretch: Stretch,
    file: CacheFile,
    lengths: number[],
    turnStartMs: number,
  ): Promise<number> {
    const startMs = performance.now();
    try {
      const isOne = stretch.plans.length === 1;
      const target = isOne ? targetOf(stretch) : this.#scratch.subarray(0, stretch.lengthBytes);
      for (let done = 0; done < target.byteLength; ) {
        const count = file.readNow(done === 0 ? target : target.subarray(done), stretch.offsetBytes + done);
        if (count === 0) throw new ShortFileError('a zone of the cache is cut short');
        done += count;
      }
      this.#take(stretch, target, lengths);
    } catch (error) {
      this.#onFailure(stretch.zone, error);
    }
    const nowMs = performance.now();
    this.#judgeSpeed(stretch, nowMs - startMs, nowMs);
    if (nowMs - turnStartMs < TURN_MS) return turnStartMs;
    await giveTurn();
    return performance.now();
  }

  #judgeSpeed({ lengthBytes }: Stretch, tookMs: number, nowMs: number): void {
    if (tookMs <= SLOW_READ_MS + SLOW_READ_MS_PER_BYTE * lengthBytes) {
      this.#fastReads += 1;
      return;
    }
    const isFirst = this.#fastReads >= FAST_READS;
    this.#slowReads = isFirst ? 0 : this.#slowReads + 1;
    this.#fastReads = 0;
    if (isFirst && tookMs < DISK_READ_MS) return;
    const poolMs = Math.max(POOL_TIME_MS, tookMs) * 2 ** Math.min(this.#slowReads, 20);
    this.#poolUntilMs = nowMs + Math.min(POOL_TIME_MS_MAX, poolMs);
  }

  async #readInPool(stretch: Stretch, lengths: number[]): Promise<void> {
    try {
      const file = stretch.zone.file ?? (await this.#zones.fileOf(stretch.zone));
      const target = targetOf(stretch);
      const count = await file.read(target, stretch.offsetBytes);
      if (count < target.byteLength)
        await readFully(file, target.subarray(count), stretch.offsetBytes + count);
      this.#take(stretch, target, lengths);
    } catch (error) {
      this.#onFailure(stretch.zone, error);
    }
  }

  /** Checks what was read, and hands it out. */
  #take(stretch: Stretch, target: Uint8Array, lengths: number[]): void {
    for (const plan of stretch.plans) {
      const { unit, entry, position } = plan;
      const bytes = unit.into.subarray(0, entry.lengthBytes);
      if (stretch.plans.length > 1) {
        const from = entry.offsetBytes - stretch.offsetBytes;
        bytes.set(target.subarray(from, from + entry.lengthBytes));
      }
      if (!isExpected(bytes, entry, unit.expectedTag)) this.#dropDamaged(plan);
      else if (this.#isStillValid(plan)) lengths[position] = entry.lengthBytes;
    }
  }

  /** It may have been invalidated while it was read. Being moved to another zone is no reason to drop it. */
  #isStillValid({ unit, prefix, entry, invalidations }: Plan): boolean {
    if (this.#objects.invalidations === invalidations) return true;
    if (!this.#objects.isCurrent(unit.object, prefix)) return false;
    const now = this.#unitIndex.find(fingerprintOf(prefix, unit.index, this.#fingerprint));
    return now !== undefined && now.entry.tagLow === entry.tagLow && now.entry.tagHigh === entry.tagHigh;
  }

  #dropDamaged({ unit, prefix, entry }: Plan): void {
    const fingerprint = fingerprintOf(prefix, unit.index, this.#fingerprint);
    const now = this.#unitIndex.find(fingerprint);
    const isSame = now?.entry.zoneId === entry.zoneId && now.entry.offsetBytes === entry.offsetBytes;
    // What is dirty stays listed and in its place: it may be read the next time, and nothing clean may take it.
    if (now !== undefined && isSame && (entry.flags & ENTRY_DIRTY) === 0)
      this.#unitIndex.remove(fingerprint, now);
    this.#counters.problems.damaged += 1;
  }
}

function isSmall(plan: Plan | undefined): boolean {
  return plan !== undefined && plan.entry.lengthBytes <= SMALL_BYTES_MAX;
}

function byPlace(left: Plan, right: Plan): number {
  return left.zone.id - right.zone.id || left.entry.offsetBytes - right.entry.offsetBytes;
}

function joins(stretch: Stretch, plan: Plan): boolean {
  const gapBytes = plan.entry.offsetBytes - (stretch.offsetBytes + stretch.lengthBytes);
  return (
    stretch.zone === plan.zone &&
    isSmall(plan) &&
    isSmall(stretch.plans[0]) &&
    gapBytes >= 0 &&
    gapBytes <= GAP_BYTES_MAX &&
    stretch.lengthBytes + gapBytes + plan.entry.lengthBytes <= STRETCH_BYTES_MAX
  );
}

/** Where a stretch is read to: the caller's own memory, unless several units are cut out of it. */
function targetOf({ plans, lengthBytes }: Stretch): Uint8Array {
  const [first] = plans;
  if (first !== undefined && plans.length === 1) return first.unit.into.subarray(0, lengthBytes);
  return Buffer.allocUnsafeSlow(lengthBytes);
}

/** Whether these bytes look like the record that is looked for: without an expected tag, the one that the entry means. */
function isExpected(bytes: Uint8Array, entry: Entry, expectedTag: Uint8Array | undefined): boolean {
  if (!isWholeRecord(bytes)) return false;
  return expectedTag === undefined ? hasTag(entry, recordTag(bytes)) : endsWithTag(bytes, expectedTag);
}

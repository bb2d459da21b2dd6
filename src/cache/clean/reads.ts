/**
 * Reading units: look up, pin the zones, read straight into the caller's memory, compare length and tag with what was asked
 * for. Whatever is not exactly that is a miss.
 *
 * While data comes out of the page cache, small reads are done on this thread: going by way of a thread pool costs them four times
 * as much. Of larger ones this thread does its part while the pool's threads do theirs. A read that took long enough to have come
 * from a disk sends the next ones to the pool for a while, and for twice as long when it happens again.
 */
import { availableParallelism } from 'node:os';
import { u32At } from '../../base/bytes.ts';
import { giveTurn } from '../../base/turns.ts';
import { RECORD_MAGIC, TAG_BYTES } from '../../unit/record-format.ts';
import { type CacheFile, readFully, ShortFileError } from '../base/files.ts';
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
interface ReadRun {
  readonly zone: Zone;
  readonly plans: Plan[];
  readonly offsetBytes: number;
  lengthBytes: number;
}

const SMALL_BYTES_MAX = 32 * 1024;
const GAP_BYTES_MAX = 4 * 1024;
const RUN_BYTES_MAX = 256 * 1024;
const HERE_BYTES_MAX = 1024 * 1024;
const RUNS_AT_ONCE = 16;
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
  /** For runs of small units that are read here. */
  readonly #scratch = Buffer.allocUnsafeSlow(RUN_BYTES_MAX);
  #poolUntilMs = 0;
  #slowReads = 0;
  #fastReads = 0;
  /** Large reads that have gone to the pool since the last that was done here. */
  #poolRuns = 0;

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
    const runs = this.#plan(units);
    try {
      await this.#readRuns(runs, lengths, signal);
    } finally {
      for (const { zone, plans } of runs) for (const _ of plans) this.#zones.unpin(zone);
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
  #plan(units: readonly UnitToRead[]): ReadRun[] {
    const plans: Plan[] = [];
    for (const [position, unit] of units.entries()) {
      const plan = this.#planOne(position, unit);
      if (plan !== undefined) plans.push(plan);
    }
    if (plans.length > 1) plans.sort(byPlace);
    const runs: ReadRun[] = [];
    for (const plan of plans) {
      const last = runs.at(-1);
      if (last !== undefined && joins(last, plan)) {
        last.plans.push(plan);
        last.lengthBytes = plan.entry.offsetBytes + plan.entry.lengthBytes - last.offsetBytes;
      } else {
        const { offsetBytes, lengthBytes } = plan.entry;
        runs.push({ zone: plan.zone, plans: [plan], offsetBytes, lengthBytes });
      }
    }
    return runs;
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

  async #readRuns(
    runs: readonly ReadRun[],
    lengths: number[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const under = new Set<Promise<void>>();
    let turnStartMs = performance.now();
    for (const run of runs) {
      if (signal?.aborted === true) break;
      const { file } = run.zone;
      if (file !== undefined && this.#isHereBest(run, turnStartMs, under.size)) {
        turnStartMs = await this.#readHere(run, file, lengths, turnStartMs);
        continue;
      }
      if (under.size >= RUNS_AT_ONCE) await Promise.race(under);
      const reading: Promise<void> = this.#readInPool(run, lengths).then(() => void under.delete(reading));
      under.add(reading);
    }
    if (under.size > 0) await Promise.all(under);
  }

  #isHereBest({ plans, lengthBytes }: ReadRun, nowMs: number, inPool: number): boolean {
    if (!this.#mayReadHere || lengthBytes > HERE_BYTES_MAX || nowMs < this.#poolUntilMs) return false;
    if (isSmall(plans[0])) return true;
    if (this.#poolRuns < POOL_SHARE && inPool < RUNS_AT_ONCE) {
      this.#poolRuns += 1;
      return false;
    }
    this.#poolRuns = 0;
    return true;
  }

  /** Returns when the present turn began. */
  async #readHere(run: ReadRun, file: CacheFile, lengths: number[], turnStartMs: number): Promise<number> {
    const startMs = performance.now();
    try {
      const isOne = run.plans.length === 1;
      const target = isOne ? targetOf(run) : this.#scratch.subarray(0, run.lengthBytes);
      for (let done = 0; done < target.byteLength; ) {
        const count = file.readNow(done === 0 ? target : target.subarray(done), run.offsetBytes + done);
        if (count === 0) throw new ShortFileError('a zone of the cache is cut short');
        done += count;
      }
      this.#take(run, target, lengths);
    } catch (error) {
      this.#onFailure(run.zone, error);
    }
    const nowMs = performance.now();
    this.#judgeSpeed(run, nowMs - startMs, nowMs);
    if (nowMs - turnStartMs < TURN_MS) return turnStartMs;
    await giveTurn();
    return performance.now();
  }

  #judgeSpeed({ lengthBytes }: ReadRun, tookMs: number, nowMs: number): void {
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

  async #readInPool(run: ReadRun, lengths: number[]): Promise<void> {
    try {
      const file = run.zone.file ?? (await this.#zones.fileOf(run.zone));
      const target = targetOf(run);
      const count = await file.read(target, run.offsetBytes);
      if (count < target.byteLength) await readFully(file, target.subarray(count), run.offsetBytes + count);
      this.#take(run, target, lengths);
    } catch (error) {
      this.#onFailure(run.zone, error);
    }
  }

  /** Checks what was read, and hands it out. */
  #take(run: ReadRun, target: Uint8Array, lengths: number[]): void {
    for (const plan of run.plans) {
      const { unit, entry, position } = plan;
      const bytes = unit.into.subarray(0, entry.lengthBytes);
      if (run.plans.length > 1) {
        const from = entry.offsetBytes - run.offsetBytes;
        bytes.set(target.subarray(from, from + entry.lengthBytes));
      }
      if (!isRecord(bytes, entry, unit.expectedTag)) this.#dropDamaged(plan);
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

function joins(run: ReadRun, plan: Plan): boolean {
  const gapBytes = plan.entry.offsetBytes - (run.offsetBytes + run.lengthBytes);
  return (
    run.zone === plan.zone &&
    isSmall(plan) &&
    isSmall(run.plans[0]) &&
    gapBytes >= 0 &&
    gapBytes <= GAP_BYTES_MAX &&
    run.lengthBytes + gapBytes + plan.entry.lengthBytes <= RUN_BYTES_MAX
  );
}

/** Where a run is read to: the caller's own memory, unless several units are cut out of it. */
function targetOf({ plans, lengthBytes }: ReadRun): Uint8Array {
  const [first] = plans;
  if (first !== undefined && plans.length === 1) return first.unit.into.subarray(0, lengthBytes);
  return Buffer.allocUnsafeSlow(lengthBytes);
}

/** Whether these bytes begin and end as the record that is looked for. Whether they are it, only opening them can tell. */
function isRecord(bytes: Uint8Array, entry: Entry, expectedTag: Uint8Array | undefined): boolean {
  if (u32At(bytes, 0) !== RECORD_MAGIC || u32At(bytes, 12) !== bytes.byteLength) return false;
  const tag = bytes.subarray(bytes.byteLength - TAG_BYTES);
  if (expectedTag === undefined) return hasTag(entry, tag);
  for (let at = 0; at < TAG_BYTES; at += 1) if (tag[at] !== expectedTag[at]) return false;
  return true;
}

/**
 * Reads units: looks them up, pins their zones, reads them into the caller's memory, and compares length and
 * tag with those asked for. Anything else is a miss.
 *
 * Small units that lie close together in a zone are read as one *stretch*. Each stretch is read either
 * "here", blocking this thread, or by Node's pool of file threads:
 *
 * - Small stretches are read here as long as their data comes out of the page cache: the pool takes four
 *   times as long.
 * - Large ones are shared out: one here for every few that the pool reads meanwhile. One alone is read here.
 * - After a read that took as long as a disk takes, all go to the pool for a while; for twice as long each
 *   time that happens again.
 */
import { availableParallelism } from 'node:os';
import { copyBytes } from '../../base/bytes.ts';
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
  /**
   * The tag of the version to read, 16 bytes. Undefined for any version: only for callers that seal their own
   * units.
   */
  readonly expectedTag: Uint8Array | undefined;
  /** Where the record goes. A record that is longer than this is a miss. */
  readonly into: Uint8Array;
}

/** A unit that the index has, with the place to read it from. Its zone is pinned. */
interface Plan {
  /** The unit's position among those that were asked for. */
  readonly position: number;
  readonly unit: UnitToRead;
  readonly prefix: Prefix;
  readonly zone: Zone;
  readonly entry: Entry;
  /**
   * `objects.invalidations` when this was planned. If it differs after the read, something was invalidated
   * meanwhile.
   */
  readonly invalidations: number;
}

/** A part of a zone that is read at once: one unit, or several small ones that are neighbours. */
interface Stretch {
  readonly zone: Zone;
  readonly plans: Plan[];
  readonly offsetBytes: number;
  lengthBytes: number;
}

/** The longest unit that counts as small: such units are joined, and read here. */
const SMALL_BYTES_MAX = 32 * 1024;
/** The longest gap between two units of one stretch. Its bytes are read along. */
const GAP_BYTES_MAX = 4 * 1024;
/** The longest stretch of several units. */
const STRETCH_BYTES_MAX = 256 * 1024;
/** Longer stretches always go to the pool. */
const HERE_BYTES_MAX = 1024 * 1024;
/** How many stretches of one call are in the pool at a time. */
const STRETCHES_AT_ONCE = 16;
/**
 * A read is slow when it takes longer than the sum of these two: longer than a read from memory takes, and
 * not as long as one from a disk. The second allows for a memory of 1 GB/s.
 */
const SLOW_READ_MS = 0.25;
const SLOW_READ_MS_PER_BYTE = 1e-6;
/** For how long everything goes to the pool after a slow read; at least as long as the read took. */
const POOL_TIME_MS = 100;
const POOL_TIME_MS_MAX = 60_000;
/**
 * A slow read after this many fast ones counts as the first. It is forgiven if it took less than
 * `DISK_READ_MS`: the system may have given the processor to another process.
 */
const FAST_READS = 64;
const DISK_READ_MS = 20;
/** After this time, the rest of the program gets its turn. */
const TURN_MS = 1;
/** How many large reads go to the pool for each that is done here. The pool has four threads by default. */
const POOL_SHARE: number = Math.min(4, availableParallelism() - 1);

export class Reads {
  readonly #unitIndex: UnitIndex;
  readonly #zones: Zones;
  readonly #objects: Objects;
  readonly #counters: Counters;
  readonly #monotonicMs: () => number;
  readonly #mayReadHere: boolean;
  readonly #onFailure: (zone: Zone, error: unknown) => void;
  readonly #fingerprint: Fingerprint = newFingerprint();
  /** Takes stretches of several units that are read here, before the units are copied out. */
  readonly #scratch = Buffer.allocUnsafeSlow(STRETCH_BYTES_MAX);
  /** Until when everything goes to the pool, by `monotonicMs`. */
  #poolUntilMs = 0;
  /** How many slow reads came after the last one that counted as the first. */
  #slowReads = 0;
  /** How many fast reads came after the last slow one. */
  #fastReads = 0;
  /** How many large stretches have gone to the pool since the last that was read here. */
  #poolStretches = 0;
  /** Calls of `read` that have not ended. */
  #calls = 0;

  constructor(
    { settings, counters, monotonicMs }: CacheContext,
    zones: Zones,
    objects: Objects,
    unitIndex: UnitIndex,
    onFailure: (zone: Zone, error: unknown) => void,
  ) {
    this.#unitIndex = unitIndex;
    this.#zones = zones;
    this.#objects = objects;
    this.#counters = counters;
    this.#monotonicMs = monotonicMs;
    this.#mayReadHere = settings.readsOnThisThread;
    this.#onFailure = onFailure;
  }

  /**
   * Reads units. Resolves with the length of each, 0 for a miss; a buffer's content after a miss is
   * undefined. Rejects only with the signal's reason, once no read is under way.
   */
  async read(units: readonly UnitToRead[], signal?: AbortSignal): Promise<number[]> {
    signal?.throwIfAborted();
    const lengths = new Array<number>(units.length).fill(0);
    const stretches = this.#plan(units);
    this.#calls += 1;
    try {
      await this.#readStretches(stretches, lengths, signal);
    } finally {
      this.#calls -= 1;
      for (const { zone, plans } of stretches) for (const _ of plans) this.#zones.unpin(zone);
    }
    signal?.throwIfAborted();
    this.#count(lengths);
    return lengths;
  }

  /** Takes a version of a unit out of the index that its reader could not open, unless it is dirty. */
  drop(prefix: Prefix, index: number, tag: Uint8Array): void {
    const fingerprint = fingerprintOf(prefix, index, this.#fingerprint);
    const now = this.#unitIndex.find(fingerprint);
    if (now === undefined || !hasTag(now.entry, tag)) return;
    if ((now.entry.flags & ENTRY_DIRTY) === 0) this.#unitIndex.remove(fingerprint, now);
    this.#counters.problems.damaged += 1;
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

  /**
   * Looks units up, and returns the stretches to read, by zone and offset. Pins a zone once for each unit.
   */
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
    let turnStartMs = this.#monotonicMs();
    for (const stretch of stretches) {
      if (signal?.aborted === true) break;
      const { file } = stretch.zone;
      const now = { inPool: under.size, isAlone: this.#calls === 1 && stretches.length === 1 };
      if (file !== undefined && this.#isHereBest(stretch, turnStartMs, now)) {
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

  /**
   * Decides whether a stretch is read on this thread.
   *
   * @param inPool how many of this call are in the pool.
   * @param isAlone true when nothing else is read: then nothing is gained by sharing.
   */
  #isHereBest(
    { plans, lengthBytes }: Stretch,
    nowMs: number,
    { inPool, isAlone }: { readonly inPool: number; readonly isAlone: boolean },
  ): boolean {
    if (!this.#mayReadHere || lengthBytes > HERE_BYTES_MAX || nowMs < this.#poolUntilMs) return false;
    if (isSmall(plans[0]) || isAlone) return true;
    if (this.#poolStretches < POOL_SHARE && inPool < STRETCHES_AT_ONCE) {
      this.#poolStretches += 1;
      return false;
    }
    this.#poolStretches = 0;
    return true;
  }

  /** Reads a stretch on this thread. Returns when the present turn began. */
  async #readHere(
    stretch: Stretch,
    file: CacheFile,
    lengths: number[],
    turnStartMs: number,
  ): Promise<number> {
    const startMs = this.#monotonicMs();
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
    const nowMs = this.#monotonicMs();
    this.#judgeSpeed(stretch, nowMs - startMs, nowMs);
    if (nowMs - turnStartMs < TURN_MS) return turnStartMs;
    await giveTurn();
    return this.#monotonicMs();
  }

  /** Sends the next reads to the pool if this one was slow. */
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

  /** Copies units out of a stretch that was read, checks them, and enters their lengths. */
  #take(stretch: Stretch, target: Uint8Array, lengths: number[]): void {
    for (const plan of stretch.plans) {
      const { unit, entry, position } = plan;
      const bytes = unit.into.subarray(0, entry.lengthBytes);
      if (stretch.plans.length > 1) {
        const from = entry.offsetBytes - stretch.offsetBytes;
        copyBytes(target.subarray(from, from + entry.lengthBytes), bytes);
      }
      if (!isExpected(bytes, entry, unit.expectedTag)) this.#dropDamaged(plan);
      else if (this.#isStillValid(plan)) lengths[position] = entry.lengthBytes;
    }
  }

  /**
   * False when the unit was invalidated while it was read. It stays valid when it was only moved to another
   * zone.
   */
  #isStillValid({ unit, prefix, entry, invalidations }: Plan): boolean {
    if (this.#objects.invalidations === invalidations) return true;
    if (!this.#objects.isCurrent(unit.object, prefix)) return false;
    const now = this.#unitIndex.find(fingerprintOf(prefix, unit.index, this.#fingerprint));
    return now !== undefined && now.entry.tagLow === entry.tagLow && now.entry.tagHigh === entry.tagHigh;
  }

  /** Takes a unit out of the index whose bytes are not the record that the entry says. */
  #dropDamaged({ unit, prefix, entry }: Plan): void {
    const fingerprint = fingerprintOf(prefix, unit.index, this.#fingerprint);
    const now = this.#unitIndex.find(fingerprint);
    const isSame = now?.entry.zoneId === entry.zoneId && now.entry.offsetBytes === entry.offsetBytes;
    // A dirty unit stays in the index: it may be readable the next time, and no clean unit may take its
    // place.
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

/** Returns where to read a stretch to: the caller's memory for one unit, new memory for several. */
function targetOf({ plans, lengthBytes }: Stretch): Uint8Array {
  const [first] = plans;
  if (first !== undefined && plans.length === 1) return first.unit.into.subarray(0, lengthBytes);
  return Buffer.allocUnsafeSlow(lengthBytes);
}

/**
 * True when the bytes look like the record that was asked for; without an expected tag, like that of the
 * entry.
 */
function isExpected(bytes: Uint8Array, entry: Entry, expectedTag: Uint8Array | undefined): boolean {
  if (!isWholeRecord(bytes)) return false;
  return expectedTag === undefined ? hasTag(entry, recordTag(bytes)) : endsWithTag(bytes, expectedTag);
}

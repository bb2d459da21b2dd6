/**
 * What the server has of an open file: which record each unit is, and whether another client has changed it.
 *
 *   fresh ──a second passes──▶ stale ──`beFresh`: state──▶ fresh                  (the same version)
 *                                                  └─────▶ locate ──▶ fresh       (another's version, adopted)
 *
 * Invariants
 *   1. The server is asked for the state of a file only while the file has no changes here. Nobody begins to
 *      write until the answer has come. A file with changes learns of another version at its commit.
 *   2. A version is adopted in one turn. In that turn the size and the receipts change, and pages whose units
 *      have other records now are dropped. Until then everything here is of the old version.
 *   3. The server may have told of a version that is not adopted here. A file without changes adopts it
 *      before anything is located. A file with changes goes on with the version that its changes were made
 *      on, or it could not be flushed any more. The server keeps that version until the commit has found out:
 *      see `rebase.ts`.
 *   4. An answer of `locate` is used only if no call of `state` was under way while it was awaited.
 */

import { abortable } from '../base/abortable.ts';
import { codeOf } from '../base/errors.ts';
import { roundUp, sizeToUnitCount } from '../base/geometry.ts';
import { giveTurn } from '../base/turns.ts';
import { isSameRecord } from './fetch.ts';
import { GRANULE_BYTES } from './pages/pages.ts';
import type { FileParts } from './parts.ts';
import type { FileState, Receipt } from './server.ts';

/** Receipts are asked for in windows of so many units, and in calls of so many windows at most. */
const WINDOW_UNITS = 64;
const LOCATE_UNITS_MAX = 1024;

/** The receipts that the server told of a window of units. */
interface Located {
  readonly fromUnit: number;
  readonly receipts: readonly (Receipt | undefined)[];
}

export class Base<Handle> {
  readonly #parts: FileParts<Handle>;
  #freshUntilMs: number;
  /** The call of `state` that is under way, with what follows from it. */
  #asking: Promise<void> | undefined;
  /** Counts the beginnings and ends of calls of `state`. */
  #askCount = 0;
  /** The server has told of a version that is not the one here. */
  #isBehind = false;

  constructor(parts: FileParts<Handle>) {
    this.#parts = parts;
    this.#freshUntilMs = freshUntil(parts);
  }

  /** Makes sure that the file is as the server had it just now, unless it has changes here. */
  async beFresh(signal?: AbortSignal): Promise<void> {
    if (this.isFresh) return;
    await abortable(this.#asking ?? this.#begin(state => this.adopt(state)), signal);
  }

  /** True when {@link beFresh} has nothing to do. */
  get isFresh(): boolean {
    const { netfs, regions } = this.#parts;
    if (this.#asking !== undefined) return false;
    return netfs.scheduler.now() < this.#freshUntilMs || !regions.isClean || regions.writerCount > 0;
  }

  /** Asks the server again, because what it told may be out of date. A file with changes is not asked for. */
  async refresh(signal?: AbortSignal): Promise<void> {
    this.#freshUntilMs = Number.NEGATIVE_INFINITY;
    await this.beFresh(signal);
  }

  /**
   * Resolves when the call of `state` that is under way has ended, even if it failed. Another one may have
   * begun by the time that the caller goes on: look at {@link isAsking} again.
   */
  async settled(signal?: AbortSignal): Promise<void> {
    const ended = (this.#asking ?? Promise.resolve()).catch(() => undefined);
    await abortable(ended, signal);
  }

  /** True while a call of `state` is under way. Nobody may begin to write then. */
  get isAsking(): boolean {
    return this.#asking !== undefined;
  }

  /** Notes that the server has just told the file's version: by a commit, or an answer that was adopted. */
  wasTold(): void {
    this.#freshUntilMs = freshUntil(this.#parts);
  }

  /**
   * Asks the server which records these units are, and tells `layers`. Call `layers.find` in the turn in
   * which this resolves: later locates may push receipts out again. If a unit is still unknown then, call
   * this again.
   */
  async locate(units: readonly number[], signal?: AbortSignal): Promise<void> {
    const { regions } = this.#parts;
    for (;;) {
      while (this.isAsking) await this.settled(signal);
      if (!this.#isBehind || !regions.isClean || regions.writerCount > 0) break;
      await this.refresh(signal);
    }
    const { version, sizeBytes } = regions.layers.committed;
    const askCount = this.#askCount;
    const windows = windowsOf(units, sizeToUnitCount(sizeBytes, regions.unitSizeBytes));
    const locating = Promise.all(windows.map(window => this.#locate(window, version, signal)));
    const isOvertaken = (): boolean =>
      this.isAsking || askCount !== this.#askCount || regions.layers.committed.version !== version;
    const located = await locating.catch(async error => {
      // The server locates units of two versions only: the newest that it has told, and the one that this
      // file stood on then. ECONFLICT may mean that a commit has succeeded and its answer is still on its
      // way.
      if (codeOf(error) === 'ECONFLICT' && !isOvertaken()) await giveTurn();
      if (codeOf(error) !== 'ECONFLICT' || !isOvertaken()) throw error;
    });
    // The units stay unknown to `layers`, so the caller asks again.
    if (located === undefined || isOvertaken()) return;
    for (const { fromUnit, receipts } of located) regions.layers.learn(version, fromUnit, receipts);
  }

  /**
   * Returns which records units are at a version. It must be the one that the server told last, or the one
   * that this file stands on. Units beyond the version's end are left out. The caller makes sure that no
   * other call of `state` or `commit` is answered meanwhile.
   */
  async locateAt(
    { version, sizeBytes }: FileState,
    units: readonly number[],
  ): Promise<Map<number, Receipt | undefined>> {
    const unitCount = sizeToUnitCount(sizeBytes, this.#parts.regions.unitSizeBytes);
    const found = new Map<number, Receipt | undefined>();
    for (const window of windowsOf(units, unitCount)) {
      const { fromUnit, receipts } = await this.#locate(window, version);
      for (const [at, receipt] of receipts.entries()) found.set(fromUnit + at, receipt);
    }
    return found;
  }

  /**
   * Calls `state`, and runs `then` with the answer. Until `then` has ended, nobody else learns of the answer,
   * begins to write, or calls {@link locate}.
   */
  async ask(then: (state: FileState) => Promise<void>): Promise<void> {
    while (this.isAsking) await this.settled();
    await this.#begin(then);
  }

  #begin(then: (state: FileState) => Promise<void>): Promise<void> {
    this.#askCount += 1;
    const asking = this.#ask(then).finally(() => {
      this.#askCount += 1;
      this.#asking = undefined;
    });
    this.#asking = asking;
    return asking;
  }

  async #ask(then: (state: FileState) => Promise<void>): Promise<void> {
    const { server, handle, regions } = this.#parts;
    const state = await server.state(handle, { standsOn: regions.layers.committed.version });
    this.#isBehind = state.version !== regions.layers.committed.version;
    await then(state);
    this.#isBehind = state.version !== regions.layers.committed.version;
    if (!this.#isBehind) this.wasTold();
  }

  /**
   * Makes `state` the version that the file and its pending changes stand on. Call it only from the function
   * that {@link ask} runs.
   */
  async adopt(state: FileState): Promise<void> {
    const { pages, regions } = this.#parts;
    const { layers, unitSizeBytes } = regions;
    const { version } = layers.committed;
    if (state.version === version) {
      // The version is the same, but known receipts may name places that records have left: forget them.
      layers.rebase(state);
      return;
    }
    const before = new Map([...this.#cachedUnits()].map(unit => [unit, layers.find(unit)]));
    const now = await this.locateAt(state, [...before.keys()]);
    const { sizeBytes } = regions;
    layers.rebase(state);
    // The units are listed again: more pages may have been filled while `locateAt` was awaited.
    for (const unit of this.#cachedUnits()) {
      const was = before.get(unit) ?? 'unknown';
      const is = now.get(unit);
      const isSame =
        was === 'hole' ? is === undefined : was !== 'unknown' && is !== undefined && isSameRecord(was, is);
      if (isSame) continue;
      pages.dropClean({ fromBytes: unit * unitSizeBytes, toBytes: (unit + 1) * unitSizeBytes });
    }
    if (regions.sizeBytes < sizeBytes) pages.truncate(regions.sizeBytes);
    for (const [unit, receipt] of now) layers.learn(state.version, unit, [receipt]);
  }

  /** Returns the units that have cached pages which are not held, and so could be dropped. */
  #cachedUnits(): Set<number> {
    const { pages, regions } = this.#parts;
    const units = new Set<number>();
    const all = { fromBytes: 0, toBytes: roundUp(regions.sizeBytes, GRANULE_BYTES) };
    for (const { fromBytes, toBytes } of pages.clean(all)) {
      const end = sizeToUnitCount(toBytes, regions.unitSizeBytes);
      for (let unit = Math.floor(fromBytes / regions.unitSizeBytes); unit < end; unit += 1) units.add(unit);
    }
    return units;
  }

  async #locate({ fromUnit, toUnit }: UnitRange, version: string, signal?: AbortSignal): Promise<Located> {
    const { server, handle } = this.#parts;
    return { fromUnit, receipts: await server.locate(handle, fromUnit, toUnit, { version, signal }) };
  }
}

function freshUntil<Handle>({ netfs }: FileParts<Handle>): number {
  return netfs.scheduler.now() + netfs.freshMs;
}

interface UnitRange {
  readonly fromUnit: number;
  readonly toUnit: number;
}

/** Returns windows that hold these units, those beyond `unitCount` left out. */
function windowsOf(units: readonly number[], unitCount: number): UnitRange[] {
  const windows: { fromUnit: number; toUnit: number }[] = [];
  for (const unit of [...units].sort((left, right) => left - right)) {
    const last = windows.at(-1);
    if (unit >= unitCount || (last !== undefined && unit < last.toUnit)) continue;
    const fromUnit = unit - (unit % WINDOW_UNITS);
    const toUnit = Math.min(unitCount, fromUnit + WINDOW_UNITS);
    if (last?.toUnit === fromUnit && toUnit - last.fromUnit <= LOCATE_UNITS_MAX) last.toUnit = toUnit;
    else windows.push({ fromUnit, toUnit });
  }
  return windows;
}

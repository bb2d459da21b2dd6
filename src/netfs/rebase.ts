/**
 * What happens when a commit finds that another client has changed the file.
 *
 *   held:      no write begins; the writes under way end
 *   flushed:   all changes are placed, in one closed group; they still stand on the old version
 *   compared:  for each unit that this client has changed: has another client given it a new record?
 *     none has ──▶ rebased: the changes stand on the new version, and are committed on it
 *     one has  ──▶ stashed: the changes become a file beside this one; this file is the other client's
 *
 * The file may have been changed by a commit of this client whose answer was lost. So records whose tags that
 * commit has sent are no conflict.
 *
 * Invariants
 *   1. Until the conflict is resolved, the server can still locate units of the old version, the one that the
 *      changes stand on. So a resolution that is interrupted can begin anew.
 *   2. Nothing is dropped before it is in the stash.
 */

import { NetsealError } from '../base/errors.ts';
import { sizeToUnitCount } from '../base/geometry.ts';
import type { Base } from './base.ts';
import { isSameRecord } from './fetch.ts';
import type { Flusher } from './flush.ts';
import type { Gate } from './gate.ts';
import type { FileParts } from './parts.ts';
import type { Group } from './regions/region.ts';
import type { CommitSub, FileState, Receipt } from './server.ts';

/**
 * Makes a file beside this one, with the content that this one would have after the commit. The commit's
 * `ifVersion` names the version that the changes stand on. The server still keeps that version.
 */
export type Stash<Handle> = (handle: Handle, sub: CommitSub) => Promise<unknown>;

/** A {@link Stash} that is bound to one file. */
export type BoundStash = (sub: CommitSub) => Promise<unknown>;

/** More units than this are not compared one by one: then the changes count as overlapping. */
const COMPARED_UNITS_MAX: number = 2 ** 20;

type Receipts = ReadonlyMap<number, Receipt | undefined>;

/** What the resolution needs of the commit that has found the conflict. */
export interface Resolving {
  /** Puts everything that is not committed into one closed group. */
  closeAll(): Group | undefined;
  /** Called in the turn in which all changes were dropped, because they are in the stash. */
  onDropped(): void;
}

export class Rebase<Handle> {
  readonly #parts: FileParts<Handle>;
  readonly #base: Base<Handle>;
  readonly #flusher: Flusher<Handle>;
  readonly #gate: Gate;
  readonly #stash: BoundStash | undefined;
  /** Commits whose answers were lost: they may have happened. */
  #uncertain: CommitSub[] = [];

  constructor(
    parts: FileParts<Handle>,
    base: Base<Handle>,
    flusher: Flusher<Handle>,
    gate: Gate,
    stash: BoundStash | undefined,
  ) {
    this.#parts = parts;
    this.#base = base;
    this.#flusher = flusher;
    this.#gate = gate;
    this.#stash = stash;
  }

  /** Notes a commit whose answer was lost. */
  mayHaveHappened(sub: CommitSub): void {
    // A repeated commit is noted once. Different ones are all kept: each of them may have happened.
    if (!this.#uncertain.some(sent => isSameCommit(sent, sub))) this.#uncertain.push(sub);
  }

  /** Notes that a commit has succeeded. Earlier commits are not uncertain any more. */
  committed(): void {
    this.#uncertain = [];
  }

  /** Notes that all changes were dropped. Earlier lost commits must not excuse conflicts of later changes. */
  discarded(): void {
    this.#uncertain = [];
  }

  /**
   * Resolves the conflict.
   *
   * Afterwards the changes stand on the new version, or they are in the stash and were dropped here.
   *
   * @param isGivenUp true after too many rebases in a row: then it only rejects.
   *
   * Rejects with ECONFLICT when the changes overlap and there is no stash, or when `isGivenUp`; and with the
   * error of flushing, asking or stashing. All changes are kept then.
   */
  async resolve({ closeAll, onDropped }: Resolving, isGivenUp: boolean): Promise<void> {
    if (isGivenUp) throw conflictError('others change this file again and again: try later');
    const { regions } = this.#parts;
    const open = this.#gate.close();
    try {
      while (regions.writerCount > 0) await this.#flusher.changed;
      const group = closeAll();
      if (group === undefined) return;
      await this.#flusher.flushGroup(group);
      // If the group was folded meanwhile, the next commit finds the conflict again and comes back here.
      if (group.state === 'closed') await this.#compare(group, onDropped);
    } finally {
      open();
    }
  }

  /** Gives all changes to `save`, and keeps them; see `Committer.saveAs`. */
  async saveAs(closeAll: () => Group | undefined, mtimeNs: bigint, save: BoundStash): Promise<void> {
    const { regions } = this.#parts;
    const open = this.#gate.close();
    try {
      while (regions.writerCount > 0) await this.#flusher.changed;
      const group = closeAll();
      if (group !== undefined) await this.#flusher.flushGroup(group);
      if (group !== undefined && group.state !== 'closed') {
        throw new NetsealError('EUNAVAILABLE', 'an upload failed meanwhile: try again');
      }
      const { version, sizeBytes } = regions.layers.committed;
      const nothing = { receipts: new Map(), sizeBytes, cutBytes: sizeBytes, ifVersion: version };
      await save({ ...(group === undefined ? nothing : regions.toCommit(group)), mtimeNs });
    } finally {
      open();
    }
  }

  async #compare(group: Group, onDropped: () => void): Promise<void> {
    const { regions } = this.#parts;
    const { unitSizeBytes } = regions;
    const sub = regions.toCommit(group);
    const old = regions.layers.committed;
    const { units, isAll } = changedUnits(sub, old.sizeBytes, unitSizeBytes);
    const before = await this.#base.locateAt(old, units);
    await this.#base.ask(async state => {
      const now = await this.#base.locateAt(state, units);
      const isDisjoint =
        isAll && units.every(unit => this.#isUntouched(unit, before, now)) && this.#isSizeFree(old, state);
      if (isDisjoint) {
        await this.#base.adopt(state);
      } else {
        await this.#putAside(sub, state, onDropped);
      }
      this.#uncertain = [];
    });
  }

  /** True when nobody else has changed the unit. */
  #isUntouched(unit: number, before: Receipts, now: Receipts): boolean {
    const is = now.get(unit);
    if (isSame(before.get(unit), is)) return true;
    const startBytes = unit * this.#parts.regions.unitSizeBytes;
    return this.#uncertain.some(({ receipts, cutBytes }) => {
      if (receipts.has(unit)) return isSame(receipts.get(unit), is);
      return startBytes >= cutBytes && is === undefined;
    });
  }

  /** True when the other client's size does not contradict a size that was set here. */
  #isSizeFree(old: FileState, { sizeBytes }: FileState): boolean {
    if (!this.#parts.regions.layers.isSizeSet) return true;
    return sizeBytes === old.sizeBytes || this.#uncertain.some(sent => sent.sizeBytes === sizeBytes);
  }

  /** Stashes the changes, and drops them here. */
  async #putAside(sub: Omit<CommitSub, 'signal'>, state: FileState, onDropped: () => void): Promise<void> {
    if (this.#stash === undefined) {
      throw conflictError(
        'another client has changed what was changed here: discard it, or write it elsewhere',
      );
    }
    await this.#stash(sub);
    const { errors } = this.#parts;
    dropChanges(this.#parts);
    onDropped();
    this.#parts.regions.layers.rebase(state);
    errors.record(
      conflictError('another client has changed what was changed here, which is now in a file beside it'),
    );
  }
}

/** Drops all changes of a file, in one turn. There must be no writer, and no commit under way. */
export function dropChanges<Handle>({ regions, pages }: FileParts<Handle>): void {
  if (regions.oldestClosed !== undefined) regions.fold(regions.oldestClosed);
  const writer = regions.reserve('truncate', 0);
  if (writer.state !== 'active') {
    regions.abort(writer, conflictError('in the way'));
    throw new NetsealError('EBUG', 'changes are dropped while somebody writes');
  }
  regions.discard(writer);
  pages.truncate(0);
}

/** Lists the units that a commit changes. `isAll` is false when they are too many to list. */
function changedUnits(
  { receipts, cutBytes }: Pick<CommitSub, 'receipts' | 'cutBytes'>,
  oldSizeBytes: number,
  unitSizeBytes: number,
): { readonly units: readonly number[]; readonly isAll: boolean } {
  const units = new Set(receipts.keys());
  const first = Math.floor(cutBytes / unitSizeBytes);
  const end = cutBytes < oldSizeBytes ? sizeToUnitCount(oldSizeBytes, unitSizeBytes) : first;
  const isAll = end - first <= COMPARED_UNITS_MAX;
  for (let unit = first; isAll && unit < end; unit += 1) units.add(unit);
  return { units: [...units], isAll };
}

function isSame(one: Receipt | undefined, other: Receipt | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return isSameRecord(one, other);
}

function conflictError(message: string): NetsealError {
  return new NetsealError('ECONFLICT', message);
}

/** True when both commits make the same change to the same version. */
function isSameCommit(one: CommitSub, other: CommitSub): boolean {
  return (
    one.ifVersion === other.ifVersion &&
    one.sizeBytes === other.sizeBytes &&
    one.cutBytes === other.cutBytes &&
    one.receipts.size === other.receipts.size &&
    [...one.receipts].every(
      ([unit, receipt]) => other.receipts.has(unit) && isSame(receipt, other.receipts.get(unit)),
    )
  );
}

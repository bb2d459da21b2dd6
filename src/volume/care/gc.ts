/**
 * Garbage collection: deletes the objects that nothing refers to, while clients go on working. `docs/GC.md`
 * says why that is safe. One pass:
 *
 *   read the candidate lists ──▶ take a cut: which objects are referred to? ──▶ list those that are not
 *     ──▶ delete the candidates that every list has had for longer than the grace ──▶ compact
 *
 * Invariants
 *   1. A pass deletes no object that its cut refers to. It deletes nothing at all when something could not be
 *      read.
 *   2. A pass deletes an object only if all lists have it, from a list older than the grace to the newest,
 *      and all say that it was written at the same time: it was not rewritten in between.
 *   3. The age of a list is measured on the store's clock, from after the cut of its pass to before the cut
 *      of this pass. A list's time is later than everything its pass has read, even with a coarse or wrong
 *      clock.
 *   4. While files are open, a pass deletes no object that was referred to at any time since the first of
 *      them was opened. A list that has the object, and is older than that opening, proves that. But it
 *      counts only if the object was by then too old for a commit to refer to it without rewriting it.
 *   5. Before a pass deletes anything, it publishes an order and looks at the volume again.
 *   6. A pass deletes nothing while the store holds something under `snap/`: it cannot read what that refers
 *      to.
 *   7. A pass writes nothing while the two clocks differ by more than an hour. If the time of a stored list
 *      lies in the future, the pass begins anew: no stored list counts.
 */

import {
  requireCallback,
  requireFlag,
  requireInstance,
  requireNumber,
  requireObject,
  requireOptions,
} from '../../base/arguments.ts';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { inParallel } from '../../base/in-parallel.ts';
import { listAll } from '../../server/list-all.ts';
import type { CandidateList } from '../../server/sealed/gc-format.ts';
import { inodeKey, SNAPSHOT_PREFIX, segmentKey, storedKey } from '../../server/sealed/object-keys.ts';
import type { ObjectStore } from '../../server/store.ts';
import { takeEphemeralHeads } from '../history/ephemeral-heads.ts';
import { dropOldHeads, mergeHeads, protectedSinceMs, redateHeads } from '../history/heads.ts';
import { dropOldOrders, publishOrder } from '../session/gc-orders.ts';
import { requireWritable } from '../session/volume-settings.ts';
import { Volume } from '../volume.ts';
import { type CompactionReport, compactSegments } from './compact.ts';
import {
  addsNothing,
  candidateSinceMs,
  readStoredLists,
  type StoredList,
  storeList,
  superfluousLists,
} from './gc-candidates.ts';
import { CLOCKS_APART_MS_MAX, type Clocks, isAhead, readClocks, requireClocksAgree } from './gc-clocks.ts';
import { type Cut, type CutTaker, type ListedObject, takeCut } from './gc-cut.ts';
import { type DeleteFailure, Deletions } from './gc-deletions.ts';
import type { Lost } from './walk.ts';

export interface GcOptions {
  /** Reports what a pass would do, and changes nothing. */
  readonly dryRun?: boolean | undefined;
  /**
   * Default: the volume's. A grace shorter than that of some client is safe only while that client does not
   * write.
   */
  readonly graceMs?: number | undefined;
  /**
   * Keeps everything that was referred to at this time or later; ms since 1970, store's clock. Whatever open
   * files of any session may still read is kept in any case.
   */
  readonly protectedSinceMs?: number | undefined;
  /** Whether to move the live records out of segments that are mostly garbage. Default true. */
  readonly compact?: boolean | undefined;
  /** The most that compaction copies. Default 1 GiB. */
  readonly copyBytesMax?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called often. */
  readonly onProgress?: ((progress: GcProgress) => void) | undefined;
}

export interface GcProgress {
  readonly phase: 'reading' | 'deleting' | 'compacting';
  /** In objects and nodes while reading, in objects while deleting, in bytes copied while compacting. */
  readonly done: number;
  /** Undefined while reading: how much there is is not known. */
  readonly total: number | undefined;
}

export interface Amount {
  readonly objects: number;
  readonly bytes: number;
}

export interface GcReport {
  readonly live: Amount;
  readonly deleted: Amount;
  /**
   * Candidates that may be deleted now, and were not: it was a dry run, damage stopped the pass, or the store
   * refused.
   */
  readonly deletable: Amount;
  /** Candidates whose grace has not passed yet. */
  readonly waiting: Amount & {
    /** When the first of them may be deleted, and the last; ms since 1970, store's clock. */
    readonly firstDueMs: number | undefined;
    readonly lastDueMs: number | undefined;
  };
  /** Candidates whose grace has passed, but which open files may still read. */
  readonly held: Amount;
  /** Inodes and nodes that could not be read. If there are any, nothing was deleted. */
  readonly lost: readonly Lost[];
  /** Segments that are referred to and are not in the store. If there are any, nothing was deleted. */
  readonly missingSegments: readonly Id[];
  readonly compaction: CompactionReport | undefined;
  /** Objects that the store did not delete: candidates, lists, orders and heads. */
  readonly failures: readonly DeleteFailure[];
  /**
   * True when earlier lists were made under a clock that was ahead. They do not count, so the grace of all
   * candidates begins anew.
   */
  readonly beginsAnew: boolean;
  /** By how much the store's clock is ahead of this machine's; negative when it is behind. */
  readonly storeAheadMs: number;
  /** When the pass began, by the earlier of the store's clock and this machine's; ms since 1970. */
  readonly startedAtMs: number;
}

export const COPY_BYTES_MAX_DEFAULT: number = 1024 ** 3;
const NEVER: number = Number.POSITIVE_INFINITY;
const DELETES_MAX = 16;
/**
 * The age, in graces, from which no commit refers to an object as it is. A commit that needs the object
 * rewrites it first, which gives it a new time; see `keep-young.ts`.
 */
const COMMITTED_GRACES = 0.75;
const ORDER_MS_MIN: number = 10 * 60 * 1000;

type Kind = 'segments' | 'inodes';
const KINDS: readonly Kind[] = ['segments', 'inodes'];

/** An object that nothing refers to. */
interface Candidate extends ListedObject {
  readonly kind: Kind;
  readonly id: Id;
  /**
   * The time of the oldest list from which on every list has the object; undefined when the newest list does
   * not have it.
   */
  readonly sinceMs: number | undefined;
  /**
   * Like `sinceMs`, but counts only lists from a time when the object was older than {@link
   * COMMITTED_GRACES}. From then on nothing can have referred to it.
   */
  readonly settledMs: number | undefined;
}

/**
 * Does one pass. Whatever error it ends with, no object that is referred to was deleted. Errors:
 *
 * - ECONFLICT: the volume changes too fast for a consistent cut.
 * - EUNSUPPORTED: the store's lists are not consistent; it holds snapshots of a newer netseal; or the volume
 *   can only be read, and it is no dry run.
 * - EFORK: clients have different histories.
 * - EFULL: the store has no room for the note of what is to be deleted.
 * - EUNAVAILABLE: this machine's clock and the store's differ by more than an hour, and it is no dry run.
 * - What the store throws; the signal's reason.
 */
export async function collectGarbage(volume: Volume, options: GcOptions = {}): Promise<GcReport> {
  checkArguments(volume, options);
  const { dryRun = false, graceMs = volume.session.graceMs, signal, onProgress } = options;
  const { sealing } = volume.session;
  await requireCollectable(volume, dryRun, signal);
  const clocks = await readClocks(volume.session, signal);
  const { earlierMs: startedAtMs, storeAheadMs } = clocks;
  if (!dryRun) requireClocksAgree(clocks);
  const deletions = new Deletions(sealing.store, volume.settings.keys, signal);
  const { forks } = await mergeHeads(volume.session, signal);
  // When two clients have different histories, gc cannot tell what is garbage.
  if (forks[0] !== undefined) throw forks[0].error;
  const isAheadNow = (timeMs: number): boolean => isAhead(clocks, timeMs);
  const attempt: Deletions['attempt'] = (key, work) => deletions.attempt(key, work);
  if (!dryRun) await redateHeads(volume.session, isAheadNow, { attempt, signal });
  const heldSinceMs = await protectedSinceMs(volume.session, signal);
  const { lists: stored, unreadable } = await readStoredLists(sealing, signal);
  const beginsAnew = stored.some(({ timeMs }) => isAheadNow(timeMs));
  const lists = beginsAnew ? [] : stored;
  const common = { startedAtMs, storeAheadMs, beginsAnew, failures: deletions.failures };
  const cut = await takeCut(volume, {
    signal,
    onProgress: done => onProgress?.({ phase: 'reading', done, total: undefined }),
  });
  const live = liveAmount(cut);
  const missingSegments = [...cut.liveBytes.keys()].filter(id => !cut.segments.has(id));
  if (cut.lost.length > 0 || missingSegments.length > 0) {
    return { ...NOTHING_DONE, ...common, live, lost: shownLost(volume, cut), missingSegments };
  }
  const countsFromMs = startedAtMs - graceMs;
  const candidates = findCandidates(cut, lists, graceMs, clocks);
  const openSinceMs = Math.min(heldSinceMs ?? NEVER, options.protectedSinceMs ?? NEVER);
  const { deletable, held, waiting } = sortCandidates(candidates, countsFromMs, openSinceMs);

  const clocksAfter = await readClocks(volume.session, signal);
  if (!dryRun) requireClocksAgree(clocksAfter);
  const listTimeMs = Math.max(clocksAfter.laterMs, (lists[0]?.timeMs ?? -1) + 1);
  const report: GcReport = {
    ...NOTHING_DONE,
    live,
    deletable: amountOf(deletable),
    waiting: waitOf(waiting, listTimeMs, graceMs),
    held: amountOf(held),
    ...common,
  };
  if (dryRun) return report;

  const list = listOf(listTimeMs, candidates);
  const isThere = (kind: Kind, id: Id): boolean => cut[kind].has(id);
  const isNew =
    !addsNothing(lists[0], list, isThere) ||
    held.some(({ settledMs }) => settledMs === undefined) ||
    waiting.some(({ sinceMs }) => sinceMs === undefined);
  const allLists = isNew ? [await noting(storeList(sealing, list, signal)), ...lists] : lists;
  const forgotten = beginsAnew ? stored : [];
  const unneeded = [...superfluousLists(allLists, countsFromMs), ...forgotten];
  const drop: Deletions['delete'] = key => deletions.delete(key);
  await dropOldHeads(volume.session, { drop, signal });
  await takeEphemeralHeads(volume.session, drop, { attempt, signal });
  const orderOptions = { isAhead: isAheadNow, nowMs: clocks.laterMs, drop, signal };
  await dropOldOrders(sealing, startedAtMs - 2 * orderMs(graceMs), orderOptions);

  const deleted = await deleteAll(volume, cut, deletable, graceMs, deletions, options);
  const nothingIsLeft = deleted.size === candidates.length;
  await dropLists(nothingIsLeft ? [...allLists, ...forgotten] : unneeded, deletions);
  for (const key of unreadable) await deletions.delete(key);
  const failedKeys = new Set(deletions.failures.map(({ key }) => key));
  const spared = deletable.filter(object => !deleted.has(object));
  const refused = spared.filter(object => failedKeys.has(storedKey(keyOf(object), volume.settings.keys)));
  const compaction =
    options.compact === false || cut.lost.length > 0
      ? undefined
      : await compactSegments(volume, cut, {
          olderThanMs: countsFromMs,
          copyBytesMax: options.copyBytesMax ?? COPY_BYTES_MAX_DEFAULT,
          signal,
          onProgress: (done, total) => onProgress?.({ phase: 'compacting', done, total }),
        });
  return {
    ...report,
    lost: shownLost(volume, cut),
    deleted: amountOf([...deleted]),
    deletable: amountOf(cut.lost.length > 0 ? spared : refused),
    compaction,
  };
}

const NOTHING: Amount = { objects: 0, bytes: 0 };
const NOTHING_DONE = {
  deleted: NOTHING,
  deletable: NOTHING,
  waiting: { ...NOTHING, firstDueMs: undefined, lastDueMs: undefined },
  held: NOTHING,
  lost: [],
  missingSegments: [],
  compaction: undefined,
} as const;

/** Waits for a note of what is to be deleted. When a full store refuses it, the error says what gc needs. */
async function noting<Result>(writing: Promise<Result>): Promise<Result> {
  try {
    return await writing;
  } catch (error) {
    if (!isNetsealError(error) || error.code !== 'EFULL') throw error;
    throw new NetsealError(
      'EFULL',
      `gc must note what it will delete before it deletes it, and there is no room even for that: free some KiB of the store's disk, outside of the store, and run gc again: ${error.message}`,
      { cause: error },
    );
  }
}

/** Drops lists, oldest first. So if this is interrupted, no candidate looks older than it is. */
async function dropLists(lists: readonly StoredList[], deletions: Deletions): Promise<void> {
  const sorted = [...lists].sort((left, right) => left.timeMs - right.timeMs);
  for (const key of sorted.flatMap(({ keys }) => keys)) {
    // If an older list cannot be dropped, the newer ones stay as well.
    if (!(await deletions.delete(key))) return;
  }
}

/** Tells which candidates may be deleted, which open files may still read, and which must wait. */
function sortCandidates(
  candidates: readonly Candidate[],
  countsFromMs: number,
  openSinceMs: number,
): Record<'deletable' | 'held' | 'waiting', Candidate[]> {
  const isRipe = ({ sinceMs = NEVER }: Candidate): boolean => sinceMs <= countsFromMs;
  const isHeld = ({ settledMs = NEVER }: Candidate): boolean =>
    openSinceMs < NEVER && settledMs >= openSinceMs;
  const ripe = candidates.filter(isRipe);
  return {
    deletable: ripe.filter(object => !isHeld(object)),
    held: ripe.filter(isHeld),
    waiting: candidates.filter(object => !isRipe(object)),
  };
}

/**
 * Tells how much has to wait, and until when.
 *
 * @param listTimeMs the time of this pass's list.
 */
function waitOf(waiting: readonly Candidate[], listTimeMs: number, graceMs: number): GcReport['waiting'] {
  const due = waiting.map(({ sinceMs = listTimeMs }) => sinceMs + graceMs);
  return {
    ...amountOf(waiting),
    firstDueMs: due.length === 0 ? undefined : due.reduce((least, time) => Math.min(least, time)),
    lastDueMs: due.length === 0 ? undefined : due.reduce((most, time) => Math.max(most, time)),
  };
}

function findCandidates(
  cut: Cut,
  lists: readonly StoredList[],
  graceMs: number,
  clocks: Clocks,
): Candidate[] {
  return KINDS.flatMap(kind =>
    [...cut[kind]]
      .filter(([id]) => !isLive(cut, kind, id))
      .map(([id, object]) => {
        const { modifiedAtMs } = object;
        const isWrong = isAhead(clocks, modifiedAtMs);
        // If a list is older than an object that it has, its clock was behind: the list does not count.
        const countsFromMs = isWrong ? 0 : modifiedAtMs - CLOCKS_APART_MS_MAX;
        const sinceMs = candidateSinceMs(lists, kind, id, modifiedAtMs, countsFromMs);
        // If the object's own time lies in the future, all that is known is that the first list has it.
        const writtenByMs = isWrong ? (sinceMs ?? NEVER) : modifiedAtMs;
        const settledFromMs = writtenByMs + COMMITTED_GRACES * graceMs;
        const settledMs = candidateSinceMs(lists, kind, id, modifiedAtMs, settledFromMs);
        return { ...object, kind, id, sinceMs, settledMs };
      }),
  );
}

function isLive({ liveBytes, liveInodes }: Cut, kind: Kind, id: Id): boolean {
  return kind === 'segments' ? liveBytes.has(id) : liveInodes.has(id);
}

function keyOf({ kind, id }: Candidate): string {
  return kind === 'segments' ? segmentKey(id) : inodeKey(id);
}

/** Returns what is lost, with the keys under which the store has, or had, the objects. */
function shownLost({ settings }: Volume, { lost }: Cut): Lost[] {
  return lost.map(one => ({ ...one, key: storedKey(one.key, settings.keys) }));
}

function listOf(timeMs: number, candidates: readonly Candidate[]): CandidateList {
  const of = (wanted: Kind): Map<Id, number> =>
    new Map(
      candidates.filter(({ kind }) => kind === wanted).map(({ id, modifiedAtMs }) => [id, modifiedAtMs]),
    );
  return { timeMs, segments: of('segments'), inodes: of('inodes') };
}

/**
 * Publishes an order, looks again, deletes what still is a candidate, withdraws the order. Returns what was
 * deleted.
 */
async function deleteAll(
  volume: Volume,
  cut: CutTaker,
  deletable: readonly Candidate[],
  graceMs: number,
  deletions: Deletions,
  { signal, onProgress }: GcOptions,
): Promise<ReadonlySet<Candidate>> {
  const deleted = new Set<Candidate>();
  if (deletable.length === 0) return deleted;
  const { sealing, nowMs } = volume.session;
  const { store } = sealing;
  const orderedHereAtMs = nowMs();
  const orderedAtMs = Math.trunc(await store.now({ signal }));
  const order = await noting(publishOrder(sealing, listOf(orderedAtMs, deletable), signal));
  await cut.settle();
  try {
    // A client that makes a snapshot looks at the orders afterwards. So either this pass sees the snapshot,
    // or that client sees the order.
    await requireNoSnapshots(sealing.store, signal);
  } catch (error) {
    await deletions.delete(order);
    throw error;
  }
  if (cut.lost.length === 0) {
    await inParallel(deletable, DELETES_MAX, async object => {
      const { kind, id, modifiedAtMs } = object;
      if (isLive(cut, kind, id) || cut[kind].get(id)?.modifiedAtMs !== modifiedAtMs) return;
      // Deleting has taken so long that others may take this pass for dead and have dropped its order.
      if (nowMs() - orderedHereAtMs > orderMs(graceMs)) return;
      if (!(await deletions.delete(keyOf(object)))) return;
      deleted.add(object);
      onProgress?.({ phase: 'deleting', done: deleted.size, total: deletable.length });
    });
  }
  await deletions.delete(order);
  return deleted;
}

/** Throws EUNSUPPORTED when this netseal cannot do a pass. */
async function requireCollectable(
  { settings, session }: Volume,
  dryRun: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!dryRun) requireWritable(settings);
  await requireNoSnapshots(session.sealing.store, signal);
}

/** Throws EUNSUPPORTED when there is a snapshot: what it refers to is not known to this netseal. */
export async function requireNoSnapshots(store: ObjectStore, signal: AbortSignal | undefined): Promise<void> {
  for await (const { key } of listAll(store, SNAPSHOT_PREFIX, signal)) {
    throw new NetsealError(
      'EUNSUPPORTED',
      `the store has snapshots (${key}), which only a newer netseal can read: use that for gc`,
    );
  }
}

/** Returns for how long a pass may delete by its order. After twice that, others take the pass for dead. */
function orderMs(graceMs: number): number {
  return Math.max(graceMs / 2, ORDER_MS_MIN);
}

function liveAmount(cut: Cut): Amount {
  const live = KINDS.flatMap(kind => [...cut[kind]].filter(([id]) => isLive(cut, kind, id)));
  return amountOf(live.map(([, object]) => object));
}

function amountOf(objects: readonly ListedObject[]): Amount {
  return { objects: objects.length, bytes: objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
}

function checkArguments(volume: Volume, options: GcOptions): void {
  requireInstance('volume', volume, Volume);
  requireObject('options', options);
  requireOptions('options', options);
  const { dryRun, compact, graceMs, protectedSinceMs, copyBytesMax, onProgress } = options;
  requireFlag('options.dryRun', dryRun);
  requireFlag('options.compact', compact);
  for (const [name, value] of Object.entries({ graceMs, protectedSinceMs, copyBytesMax })) {
    if (value !== undefined) requireNumber(`options.${name}`, value, 0, Number.POSITIVE_INFINITY);
  }
  requireCallback('options.onProgress', onProgress);
}

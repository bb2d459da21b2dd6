/**
 * Deletes what nothing refers to, beside running clients. `docs/LAYOUT.md`, "Garbage", says why that is safe.
 *
 *   read marks ──▶ cut: what is referred to ──▶ mark what is not ──▶ delete what an old mark had as well ──▶ compact
 *
 * Invariants
 *   1. Nothing is deleted that the cut of this run refers to, or when anything could not be read.
 *   2. Nothing is deleted that was not in all marks since one that is older than the grace, written at the same time.
 *   3. The age of a mark is measured on the server's clock, from after its own cut to before the cut of this run. A mark is
 *      later than all that its run has read, however coarse or wrong the clock.
 *   4. While files are open, nothing is deleted that was referred to since the first of them was: a mark tells that only of what
 *      was too old by then to be committed as it was.
 *   5. Before anything is deleted an order says so, and the volume is looked at again.
 */

import { inParallel } from '../../base/in-parallel.ts';
import type { GcNote } from '../../server/sealed/gc-format.ts';
import { type Id, inodeKey, segmentKey } from '../../server/sealed/ids.ts';
import { dropOldHeads, mergeHeads, protectedSinceMs } from '../history/heads.ts';
import { publishOrder, readOrders, withdrawOrder } from '../session/gc-orders.ts';
import type { Volume } from '../volume.ts';
import { type CompactionReport, compactSegments } from './compact.ts';
import {
  putMark,
  readMarks,
  type StoredMark,
  saysTheSame,
  superfluousMarks,
  waitingSinceMs,
} from './gc-candidates.ts';
import { type Cut, type CutTaker, type ListedObject, takeCut } from './gc-cut.ts';
import type { Lost } from './walk.ts';

export interface GcOptions {
  /** Says what would be done, and changes nothing. */
  readonly dryRun?: boolean | undefined;
  /** Default: the volume's. Shorter than that of any client that writes, it is safe only while nobody writes. */
  readonly graceMs?: number | undefined;
  /** Marks taken later do not count; server's clock. In any case when the first file was opened that sessions still have open. */
  readonly protectedSinceMs?: number | undefined;
  /** Moves what is left in segments that are mostly garbage. Default true. */
  readonly compact?: boolean | undefined;
  /** Compaction copies no more. Default 1 GiB. */
  readonly copyBytesMax?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** May be called often. */
  readonly onProgress?: ((progress: GcProgress) => void) | undefined;
}

export interface GcProgress {
  readonly phase: 'reading' | 'deleting' | 'compacting';
  /** Objects and nodes read; objects deleted; bytes copied. */
  readonly done: number;
  /** Undefined while nobody knows. */
  readonly total: number | undefined;
}

export interface Amount {
  readonly objects: number;
  readonly bytes: number;
}

export interface GcReport {
  readonly live: Amount;
  readonly deleted: Amount;
  /** What may be deleted now: what a dry run leaves, or a run that was not allowed to go on. */
  readonly deletable: Amount;
  /** Waits for its grace to pass. */
  readonly waiting: Amount & {
    /** When the first of it may be deleted, and the last; ms since 1970, server's clock. */
    readonly firstDueMs: number | undefined;
    readonly lastDueMs: number | undefined;
  };
  /** Its grace has passed, and sessions may still read it. */
  readonly held: Amount;
  /** What could not be read: then nothing was deleted. */
  readonly lost: readonly Lost[];
  /** Segments that files or folders refer to, and that are not there: then nothing was deleted either. */
  readonly missingSegments: readonly Id[];
  readonly compaction: CompactionReport | undefined;
  /** The server's time when the run began. */
  readonly startedAtMs: number;
}

export const COPY_BYTES_MAX_DEFAULT: number = 1024 ** 3;
const NEVER: number = Number.POSITIVE_INFINITY;
const DELETES_MAX = 16;
/** In graces: what nothing refers to for so long after it was written is written anew before a commit, see `keep-young.ts`. */
const COMMITTED_GRACES = 0.75;
const ORDER_MS_MIN: number = 10 * 60 * 1000;

type Kind = 'segments' | 'inodes';
const KINDS: readonly Kind[] = ['segments', 'inodes'];

/** An object that nothing refers to. */
interface Garbage extends ListedObject {
  readonly kind: Kind;
  readonly id: Id;
  /** Since when marks have had it; undefined when none has. */
  readonly sinceMs: number | undefined;
  /** Likewise, and nobody can have referred to it in between: it was too old to be committed as it was. */
  readonly settledMs: number | undefined;
}

/**
 * One run. ECONFLICT when the volume changes too fast to be looked at; EUNSUPPORTED when the store's lists are not
 * consistent; EFORK when clients
 * saw different histories; what the store throws; the signal's reason. Whatever it ends with, nothing that is referred to was deleted.
 */
export async function collectGarbage(volume: Volume, options: GcOptions = {}): Promise<GcReport> {
  const { dryRun = false, graceMs = volume.session.graceMs, signal, onProgress } = options;
  const { store } = volume.session.sealing;
  const { sealing } = volume.session;
  const startedAtMs = await earlierNowMs(volume, signal);
  const { forks } = await mergeHeads(volume.session, signal);
  // What two clients see differently nobody can tell garbage from.
  if (forks[0] !== undefined) throw forks[0].error;
  const heldSinceMs = await protectedSinceMs(volume.session, signal);
  const { marks, unreadable } = await readMarks(sealing, signal);
  const cut = await takeCut(volume, {
    signal,
    onProgress: done => onProgress?.({ phase: 'reading', done, total: undefined }),
  });
  const live = liveAmount(cut);
  const missingSegments = [...cut.liveBytes.keys()].filter(id => !cut.segments.has(id));
  if (cut.lost.length > 0 || missingSegments.length > 0) {
    return { ...NOTHING_DONE, live, lost: cut.lost, missingSegments, startedAtMs };
  }
  const countsFromMs = startedAtMs - graceMs;
  const garbage = findGarbage(cut, marks, graceMs);
  const ripe = garbage.filter(({ sinceMs }) => sinceMs !== undefined && sinceMs <= countsFromMs);
  const openSinceMs = Math.min(heldSinceMs ?? NEVER, options.protectedSinceMs ?? NEVER);
  const isHeld = ({ settledMs = NEVER }: Garbage): boolean => openSinceMs < NEVER && settledMs >= openSinceMs;
  const deletable = ripe.filter(object => !isHeld(object));
  const held = ripe.filter(isHeld);
  const waiting = garbage.filter(({ sinceMs }) => sinceMs === undefined || sinceMs > countsFromMs);

  const markTimeMs = Math.max(await laterNowMs(volume, signal), (marks[0]?.timeMs ?? -1) + 1);
  const due = waiting.map(({ sinceMs = markTimeMs }) => sinceMs + graceMs);
  const report: GcReport = {
    ...NOTHING_DONE,
    live,
    deletable: amountOf(deletable),
    waiting: {
      ...amountOf(waiting),
      firstDueMs: due.length === 0 ? undefined : due.reduce((least, time) => Math.min(least, time)),
      lastDueMs: due.length === 0 ? undefined : due.reduce((most, time) => Math.max(most, time)),
    },
    held: amountOf(held),
    startedAtMs,
  };
  if (dryRun) return report;

  const note = noteOf(markTimeMs, garbage);
  const isThere = (kind: Kind, id: Id): boolean => cut[kind].has(id);
  const isNew =
    !saysTheSame(marks[0], note, isThere) || held.some(({ settledMs }) => settledMs === undefined);
  const allMarks = isNew ? [await putMark(sealing, note, signal), ...marks] : marks;
  const unneeded = superfluousMarks(allMarks, countsFromMs);
  await dropOldHeads(volume.session, signal === undefined ? {} : { signal });
  await dropOldOrders(volume, startedAtMs - 2 * orderMs(graceMs), signal);

  const deleted = await deleteAll(volume, cut, deletable, graceMs, options);
  const isEmpty = deleted.size === garbage.length;
  // Oldest first: wherever this ends, nothing has waited for longer than before.
  const dropped = (isEmpty ? [...allMarks] : unneeded).sort((left, right) => left.timeMs - right.timeMs);
  for (const key of [...dropped.flatMap(({ keys }) => keys), ...unreadable])
    await store.delete(key, { signal });
  const spared = deletable.filter(object => !deleted.has(object));
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
    lost: cut.lost,
    deleted: amountOf([...deleted]),
    deletable: amountOf(cut.lost.length > 0 ? spared : []),
    compaction,
  };
}

/** By whichever clock is behind, the server's or ours: one that jumps ahead must not let a grace pass. */
async function earlierNowMs({ session }: Volume, signal: AbortSignal | undefined): Promise<number> {
  const serverMs = await session.sealing.store.now({ signal });
  return Math.trunc(Math.min(serverMs, session.nowMs()));
}

/** By whichever clock is ahead: what a mark is dated by. */
async function laterNowMs({ session }: Volume, signal: AbortSignal | undefined): Promise<number> {
  const serverMs = await session.sealing.store.now({ signal });
  return Math.trunc(Math.max(serverMs, session.nowMs()));
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

function findGarbage(cut: Cut, marks: readonly StoredMark[], graceMs: number): Garbage[] {
  return KINDS.flatMap(kind =>
    [...cut[kind]]
      .filter(([id]) => !isLive(cut, kind, id))
      .map(([id, object]) => {
        const { modifiedAtMs } = object;
        const sinceMs = waitingSinceMs(marks, kind, id, modifiedAtMs);
        const settledMs = waitingSinceMs(
          marks,
          kind,
          id,
          modifiedAtMs,
          modifiedAtMs + COMMITTED_GRACES * graceMs,
        );
        return { ...object, kind, id, sinceMs, settledMs };
      }),
  );
}

function isLive({ liveBytes, liveInodes }: Cut, kind: Kind, id: Id): boolean {
  return kind === 'segments' ? liveBytes.has(id) : liveInodes.has(id);
}

function noteOf(timeMs: number, garbage: readonly Garbage[]): GcNote {
  const of = (wanted: Kind): Map<Id, number> =>
    new Map(garbage.filter(({ kind }) => kind === wanted).map(({ id, modifiedAtMs }) => [id, modifiedAtMs]));
  return { timeMs, segments: of('segments'), inodes: of('inodes') };
}

/** Orders, looks again, deletes. Returns what was deleted. */
async function deleteAll(
  volume: Volume,
  cut: CutTaker,
  deletable: readonly Garbage[],
  graceMs: number,
  { signal, onProgress }: GcOptions,
): Promise<ReadonlySet<Garbage>> {
  const deleted = new Set<Garbage>();
  if (deletable.length === 0) return deleted;
  const { sealing, nowMs } = volume.session;
  const { store } = sealing;
  const orderedHereAtMs = nowMs();
  const orderedAtMs = Math.trunc(await store.now({ signal }));
  const order = await publishOrder(sealing, noteOf(orderedAtMs, deletable), signal);
  await cut.settle();
  if (cut.lost.length === 0) {
    await inParallel(deletable, DELETES_MAX, async object => {
      const { kind, id, modifiedAtMs } = object;
      if (isLive(cut, kind, id) || cut[kind].get(id)?.modifiedAtMs !== modifiedAtMs) return;
      // Others may have dropped the order by now, as of somebody who is gone.
      if (nowMs() - orderedHereAtMs > orderMs(graceMs)) return;
      await store.delete(kind === 'segments' ? segmentKey(id) : inodeKey(id), { signal });
      deleted.add(object);
      onProgress?.({ phase: 'deleting', done: deleted.size, total: deletable.length });
    });
  }
  await withdrawOrder(sealing, order);
  return deleted;
}

/** For so long an order may be carried out; after twice that its maker is taken for dead. */
function orderMs(graceMs: number): number {
  return Math.max(graceMs / 2, ORDER_MS_MIN);
}

/** Of runs that did not come to their end. */
async function dropOldOrders(
  volume: Volume,
  beforeMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { sealing } = volume.session;
  for (const { key, note } of await readOrders(sealing, signal)) {
    if (note.timeMs < beforeMs) await withdrawOrder(sealing, key);
  }
}

function liveAmount(cut: Cut): Amount {
  const live = KINDS.flatMap(kind => [...cut[kind]].filter(([id]) => isLive(cut, kind, id)));
  return amountOf(live.map(([, object]) => object));
}

function amountOf(objects: readonly ListedObject[]): Amount {
  return { objects: objects.length, bytes: objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
}

/**
 * The candidate lists in the store. Each says what one pass of gc found unreferenced; together they say since
 * when an object has been unreferenced without a break.
 */
import { isNetsealError } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { CandidateList } from '../../server/sealed/gc-format.ts';
import { candidateListIds, putCandidateList, readCandidateList } from '../../server/sealed/gc-objects.ts';
import { CANDIDATES_PREFIX } from '../../server/sealed/object-keys.ts';
import type { Sealing } from '../../server/sealed/sealing.ts';

/** A list that the store keeps. */
export interface StoredList extends CandidateList {
  /** The objects that hold it. Several when concurrent passes stored lists of the same time. */
  readonly keys: readonly string[];
}

/** How many lists are kept that are younger than the grace. */
export const YOUNG_LISTS_MAX = 8;

/**
 * Returns the lists, newest first, no two of the same time. `unreadable` has the keys of damaged lists, which
 * count for nothing. Errors: the store's.
 */
export async function readStoredLists(
  sealing: Sealing,
  signal?: AbortSignal,
): Promise<{ lists: StoredList[]; unreadable: string[] }> {
  const lists: StoredList[] = [];
  const unreadable: string[] = [];
  for (const id of await candidateListIds(sealing, CANDIDATES_PREFIX, signal)) {
    const key = CANDIDATES_PREFIX + id;
    try {
      lists.push({ keys: [key], ...(await readCandidateList(sealing, key, id, signal)) });
    } catch (error) {
      if (!isNetsealError(error) || !UNREADABLE.has(error.code)) throw error;
      // A missing list was dropped by another gc since they were listed.
      if (error.code !== 'EMISSING') unreadable.push(key);
    }
  }
  lists.sort((left, right) => right.timeMs - left.timeMs);
  return { lists: joinTies(lists), unreadable };
}

/** A session that was opened before a rekey may leave a list whose epoch has been dropped: EKEY. */
const UNREADABLE: ReadonlySet<string> = new Set(['EMISSING', 'EAUTH', 'EFORMAT', 'ETRUNCATED', 'EKEY']);

/**
 * Joins lists of the same time. Their order is unknown, so the joined list has only the candidates that both
 * have.
 */
function joinTies(lists: readonly StoredList[]): StoredList[] {
  const joined: StoredList[] = [];
  for (const list of lists) {
    const last = joined.at(-1);
    if (last?.timeMs !== list.timeMs) joined.push(list);
    else {
      joined[joined.length - 1] = {
        keys: [...last.keys, ...list.keys],
        timeMs: list.timeMs,
        segments: inBoth(last.segments, list.segments),
        inodes: inBoth(last.inodes, list.inodes),
      };
    }
  }
  return joined;
}

function inBoth(one: ReadonlyMap<Id, number>, other: ReadonlyMap<Id, number>): Map<Id, number> {
  return new Map([...one].filter(([id, modifiedAtMs]) => other.get(id) === modifiedAtMs));
}

/** Puts a list under a new id. Errors: the store's. */
export async function storeList(
  sealing: Sealing,
  list: CandidateList,
  signal?: AbortSignal,
): Promise<StoredList> {
  const id = randomId();
  const key = CANDIDATES_PREFIX + id;
  await putCandidateList(sealing, key, id, list, signal);
  return { keys: [key], ...list };
}

/**
 * Returns since when every list has the object, written at the same time: the time of the oldest list of that
 * unbroken row. Undefined when the newest list lacks it.
 *
 * @param lists newest first.
 * @param fromMs older lists do not count.
 */
export function candidateSinceMs(
  lists: readonly StoredList[],
  kind: 'segments' | 'inodes',
  id: Id,
  modifiedAtMs: number,
  fromMs = 0,
): number | undefined {
  let since: number | undefined;
  for (const list of lists) {
    if (list.timeMs < fromMs || list[kind].get(id) !== modifiedAtMs) break;
    since = list.timeMs;
  }
  return since;
}

/**
 * True when the list `now` need not be stored, as it would say no more than `newest`: it has no new
 * candidates, and every candidate of `newest` still is one or has been deleted.
 */
export function addsNothing(
  newest: CandidateList | undefined,
  now: Pick<CandidateList, 'segments' | 'inodes'>,
  isThere: (kind: 'segments' | 'inodes', id: Id) => boolean,
): boolean {
  if (newest === undefined) return now.segments.size === 0 && now.inodes.size === 0;
  return (['segments', 'inodes'] as const).every(kind => {
    const isKnown = [...now[kind]].every(([id, modifiedAtMs]) => newest[kind].get(id) === modifiedAtMs);
    return isKnown && [...newest[kind].keys()].every(id => now[kind].has(id) || !isThere(kind, id));
  });
}

/**
 * Returns the lists that are no longer needed:
 *
 * - Of the lists older than the grace, all but the newest.
 * - Of the younger ones, those whose neighbours are closest together, until `youngMax` are left. The oldest
 *   of them stays: it will be the next to be older than the grace.
 *
 * @param lists newest first.
 */
export function superfluousLists(
  lists: readonly StoredList[],
  graceEndMs: number,
  youngMax: number = YOUNG_LISTS_MAX,
): StoredList[] {
  const old = lists.filter(({ timeMs }) => timeMs <= graceEndMs);
  const young = lists.filter(({ timeMs }) => timeMs > graceEndMs);
  const dropped = old.slice(1);
  while (young.length > youngMax) {
    let least = 1;
    for (let at = 1; at < young.length - 1; at += 1) if (gapAt(young, at) < gapAt(young, least)) least = at;
    dropped.push(...young.splice(least, 1));
  }
  return dropped;
}

/** Returns the time in ms between the two neighbours of a list: the gap that dropping it would leave. */
function gapAt(lists: readonly StoredList[], at: number): number {
  return (lists[at - 1]?.timeMs ?? 0) - (lists[at + 1]?.timeMs ?? 0);
}

/** Marks: what earlier runs of a gc found unreferenced, and since when without a break. */
import { isNetsealError } from '../../base/errors.ts';

import type { GcNote } from '../../server/sealed/gc-format.ts';
import { listGcNotes, putGcNote, readGcNote } from '../../server/sealed/gc-notes.ts';
import { type Id, MARK_PREFIX, randomId } from '../../server/sealed/ids.ts';
import type { Sealing } from '../../server/sealed/sealing.ts';

/** A mark that the store keeps. */
export interface StoredMark extends GcNote {
  /** Several where runs beside one another made marks at the same time. */
  readonly keys: readonly string[];
}

/** Younger than the grace, this many are kept. */
export const YOUNG_MARKS_MAX = 8;

/** Newest first, no two of one time. Marks that cannot be read count for nothing: `unreadable` has their keys. */
export async function readMarks(
  sealing: Sealing,
  signal?: AbortSignal,
): Promise<{ marks: StoredMark[]; unreadable: string[] }> {
  const marks: StoredMark[] = [];
  const unreadable: string[] = [];
  for (const id of await listGcNotes(sealing, MARK_PREFIX, signal)) {
    const key = MARK_PREFIX + id;
    try {
      marks.push({ keys: [key], ...(await readGcNote(sealing, key, id, signal)) });
    } catch (error) {
      if (!isNetsealError(error) || !UNREADABLE.has(error.code)) throw error;
      // Another gc may have dropped it meanwhile.
      if (error.code !== 'EMISSING') unreadable.push(key);
    }
  }
  marks.sort((left, right) => right.timeMs - left.timeMs);
  return { marks: joinTies(marks), unreadable };
}

/** Nobody knows which of two marks of one time came first: what only one of them has, no mark of that time has. */
function joinTies(marks: readonly StoredMark[]): StoredMark[] {
  const joined: StoredMark[] = [];
  for (const mark of marks) {
    const last = joined.at(-1);
    if (last?.timeMs !== mark.timeMs) joined.push(mark);
    else {
      joined[joined.length - 1] = {
        keys: [...last.keys, ...mark.keys],
        timeMs: mark.timeMs,
        segments: inBoth(last.segments, mark.segments),
        inodes: inBoth(last.inodes, mark.inodes),
      };
    }
  }
  return joined;
}

function inBoth(one: ReadonlyMap<Id, number>, other: ReadonlyMap<Id, number>): Map<Id, number> {
  return new Map([...one].filter(([id, modifiedAtMs]) => other.get(id) === modifiedAtMs));
}

const UNREADABLE: ReadonlySet<string> = new Set(['EMISSING', 'EAUTH', 'EFORMAT', 'ETRUNCATED']);

export async function putMark(sealing: Sealing, note: GcNote, signal?: AbortSignal): Promise<StoredMark> {
  const id = randomId();
  const key = MARK_PREFIX + id;
  await putGcNote(sealing, key, id, note, signal);
  return { keys: [key], ...note };
}

/**
 * Since when an object has been a candidate of all marks, as it is now: the time of the oldest of them; undefined when the
 * newest does not have it.
 *
 * @param marks newest first.
 * @param fromMs older marks do not count.
 */
export function waitingSinceMs(
  marks: readonly StoredMark[],
  kind: 'segments' | 'inodes',
  id: Id,
  modifiedAtMs: number,
  fromMs = 0,
): number | undefined {
  let since: number | undefined;
  for (const mark of marks) {
    if (mark.timeMs < fromMs || mark[kind].get(id) !== modifiedAtMs) break;
    since = mark.timeMs;
  }
  return since;
}

/** True when a new mark of `now` would say what `newest` says: nothing came, and nothing is in use again. */
export function saysTheSame(
  newest: GcNote | undefined,
  now: Pick<GcNote, 'segments' | 'inodes'>,
  isThere: (kind: 'segments' | 'inodes', id: Id) => boolean,
): boolean {
  if (newest === undefined) return now.segments.size === 0 && now.inodes.size === 0;
  return (['segments', 'inodes'] as const).every(kind => {
    const isKnown = [...now[kind]].every(([id, modifiedAtMs]) => newest[kind].get(id) === modifiedAtMs);
    return isKnown && [...newest[kind].keys()].every(id => now[kind].has(id) || !isThere(kind, id));
  });
}

/**
 * Which marks are not needed any more: those older than the newest that is older than the grace, and of the younger ones
 * those that leave the smallest gaps, until few enough are left. The oldest young one stays: it is the next to count.
 *
 * @param marks newest first.
 */
export function superfluousMarks(
  marks: readonly StoredMark[],
  graceEndMs: number,
  youngMax: number = YOUNG_MARKS_MAX,
): StoredMark[] {
  const old = marks.filter(({ timeMs }) => timeMs <= graceEndMs);
  const young = marks.filter(({ timeMs }) => timeMs > graceEndMs);
  const dropped = old.slice(1);
  while (young.length > youngMax) {
    let least = 1;
    for (let at = 1; at < young.length - 1; at += 1) if (gapAt(young, at) < gapAt(young, least)) least = at;
    dropped.push(...young.splice(least, 1));
  }
  return dropped;
}

/** How far apart the neighbours of a mark are. */
function gapAt(marks: readonly StoredMark[], at: number): number {
  return (marks[at - 1]?.timeMs ?? 0) - (marks[at + 1]?.timeMs ?? 0);
}

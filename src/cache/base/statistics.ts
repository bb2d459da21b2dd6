/** The counters of a cache: since it was opened, and over its whole life. */

/** Why a unit was not kept. */
export type DropReason =
  /** The write-behind queue was full. */
  | 'queue'
  /** The cache stepped aside after a failure. */
  | 'away'
  /** The write failed. */
  | 'failed'
  /** The disk is too full, and nothing could be given up. */
  | 'space'
  /** Its volume has used up its share. */
  | 'share'
  /** It is no sealed record, or longer than a zone may be. */
  | 'unsuitable'
  /** The cache has a dirty version of it. */
  | 'dirty'
  /** It was invalidated while it was being written, or the cache was closed. */
  | 'invalidated';

/** The kind of a problem. */
export type ProblemKind = 'full' | 'io' | 'gone' | 'denied' | 'damaged' | 'database';

export interface Counters {
  hits: number;
  hitBytes: number;
  misses: number;
  /** Misses for which the cache had another version of the unit. */
  otherVersions: number;
  /** Units written, by `put` and `offer`. */
  stored: number;
  storedBytes: number;
  /** Units that came again with the same tag, and were not written. */
  alreadyThere: number;
  reclaimedZones: number;
  /** Units that reclaim gave up. `reinserted` are those that it copied to another zone. */
  evicted: number;
  reinserted: number;
  reinsertedBytes: number;
  /**
   * Units that lost their place in the index to another, with room on the disk. Many of them: the index is
   * too small.
   */
  displaced: number;
  snapshots: number;
  dropped: Record<DropReason, number>;
  problems: Record<ProblemKind, number>;
}

export function newCounters(): Counters {
  return {
    hits: 0,
    hitBytes: 0,
    misses: 0,
    otherVersions: 0,
    stored: 0,
    storedBytes: 0,
    alreadyThere: 0,
    reclaimedZones: 0,
    evicted: 0,
    reinserted: 0,
    reinsertedBytes: 0,
    displaced: 0,
    snapshots: 0,
    dropped: {
      queue: 0,
      away: 0,
      failed: 0,
      space: 0,
      share: 0,
      unsuitable: 0,
      dirty: 0,
      invalidated: 0,
    },
    problems: { full: 0, io: 0, gone: 0, denied: 0, damaged: 0, database: 0 },
  };
}

/** The counters of a cache over all openings. */
export interface LifetimeCounters extends Readonly<Counters> {
  /** When counting began, in ms since 1970: when the cache was made, or after its database was lost. */
  readonly sinceMs: number;
}

/**
 * Adds the counters of earlier openings to those of this one. A process that is killed loses what it counted
 * in its last minute.
 */
export class Lifetime {
  readonly #before: Counters;
  readonly #now: Counters;
  readonly #sinceMs: number;

  /**
   * @param saved what {@link encode} returned in an earlier process. When it is undefined or unreadable,
   *   counting begins at `nowMs`.
   */
  constructor(saved: Uint8Array | undefined, now: Counters, nowMs: number) {
    const before = saved === undefined ? undefined : decodeCounters(saved);
    this.#before = before?.counters ?? newCounters();
    this.#sinceMs = before?.sinceMs ?? nowMs;
    this.#now = now;
  }

  total(): LifetimeCounters {
    const { dropped, problems, ...rest } = this.#before;
    return {
      ...addUp(rest, this.#now),
      dropped: addUp(dropped, this.#now.dropped),
      problems: addUp(problems, this.#now.problems),
      sinceMs: this.#sinceMs,
    };
  }

  encode(): Uint8Array {
    return Buffer.from(JSON.stringify(this.total()));
  }
}

function addUp<Name extends string>(
  before: Readonly<Record<Name, number>>,
  now: Readonly<Record<NoInfer<Name>, number>>,
): Record<Name, number> {
  const sum: Record<Name, number> = { ...before };
  for (const name of Object.keys(before) as Name[]) sum[name] += now[name];
  return sum;
}

function decodeCounters(
  bytes: Uint8Array,
): { readonly counters: Counters; readonly sinceMs: number } | undefined {
  let saved: Partial<LifetimeCounters>;
  try {
    saved = JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<LifetimeCounters>;
  } catch {
    return undefined;
  }
  const { dropped, problems, ...rest } = newCounters();
  const counters = {
    ...takeNumbers(rest, saved),
    dropped: takeNumbers(dropped, saved.dropped),
    problems: takeNumbers(problems, saved.problems),
  };
  return { counters, sinceMs: Number(saved.sinceMs ?? 0) };
}

/** Reads the counters of these names. Those that an older version did not have are 0. */
function takeNumbers<Name extends string>(
  zeros: Readonly<Record<Name, number>>,
  saved: { readonly [Key in NoInfer<Name>]?: unknown } = {},
): Record<Name, number> {
  const numbers: Record<Name, number> = { ...zeros };
  for (const name of Object.keys(zeros) as Name[]) {
    const value = saved[name];
    if (typeof value === 'number' && Number.isFinite(value)) numbers[name] = value;
  }
  return numbers;
}

/** What a cache holds, and what it has done since it was opened. */
export interface CacheStatistics extends Readonly<Counters> {
  readonly lifetime: LifetimeCounters;
  readonly state: 'ready' | 'away' | 'closed';
  readonly units: number;
  readonly unitsMax: number;
  /** Bytes of all zones on the disk. The index comes on top. */
  readonly bytes: number;
  readonly budgetBytes: number;
  readonly zones: Readonly<Record<'small' | 'main' | 'pinned' | 'dirty', number>>;
  readonly queuedUnits: number;
  readonly queuedBytes: number;
  readonly dirtyBatches: number;
  readonly dirtyUnits: number;
  readonly dirtyBytes: number;
  readonly indexBytes: number;
}

/** An event that an operator may want to know of as it happens. */
export type CacheEvent =
  | { readonly type: 'reclaimed'; readonly evicted: number; readonly reinserted: number }
  | { readonly type: 'snapshot'; readonly units: number }
  | { readonly type: 'away'; readonly kind: ProblemKind; readonly error: unknown }
  | { readonly type: 'back' };

/** What a cache counts. */

/** Why a unit was not kept. */
export type DropReason =
  /** The write-behind queue was full. */
  | 'queue'
  /** The cache stepped aside after a failure. */
  | 'away'
  /** The write failed. */
  | 'failed'
  /** The disk has no room for others; nothing could be given up. */
  | 'space'
  /** Its volume has its share already. */
  | 'share'
  /** No sealed record, or longer than a region may be. */
  | 'unsuitable'
  /** There is a version of it that is not on the server yet. */
  | 'dirty'
  /** Invalidated while it was being written, or the cache was closed. */
  | 'invalidated';

/** What kind of thing went wrong. */
export type ProblemKind = 'full' | 'io' | 'gone' | 'denied' | 'damaged' | 'database';

export interface Counters {
  hits: number;
  hitBytes: number;
  misses: number;
  /** Of the misses: the version that is there is another one. */
  otherVersions: number;
  /** Units written, of either kind of intake. */
  stored: number;
  storedBytes: number;
  /** Offered again with the same tag: nothing was done. */
  alreadyThere: number;
  reclaimedRegions: number;
  /** Units that reclaim gave up, and those it carried on. */
  evicted: number;
  reinserted: number;
  reinsertedBytes: number;
  /** Entries that lost their place to another although there was room on the disk: the index is too small. */
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
    reclaimedRegions: 0,
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

/** What a cache holds and has done. */
export interface CacheStatistics extends Readonly<Counters> {
  readonly state: 'ready' | 'away' | 'closed';
  readonly units: number;
  readonly unitsMax: number;
  /** On the disk, without the index. */
  readonly bytes: number;
  readonly budgetBytes: number;
  readonly regions: Readonly<Record<'small' | 'main' | 'pinned' | 'dirty', number>>;
  readonly queuedUnits: number;
  readonly queuedBytes: number;
  readonly dirtyBatches: number;
  readonly dirtyUnits: number;
  readonly dirtyBytes: number;
  readonly indexBytes: number;
}

/** Something that an operator may want to know as it happens. */
export type CacheEvent =
  | { readonly type: 'reclaimed'; readonly evicted: number; readonly reinserted: number }
  | { readonly type: 'snapshot'; readonly units: number }
  | { readonly type: 'away'; readonly kind: ProblemKind; readonly error: unknown }
  | { readonly type: 'back' };

/** The records that `regions.ts` keeps. Only it changes them. */
import type { Receipt } from '../server.ts';
import type { Layer } from './layers.ts';
import type { Spans } from './spans.ts';

/**
 * The state of a writer: `pending`, `reserved`, `active`, then `ended` or `aborted`. The bytes of a writer
 * that has ended belong to the dirty regions of their units.
 */
export type WriterState = 'pending' | 'reserved' | 'active' | 'ended' | 'aborted';

/**
 * What a writer does. `dsync` is an ordinary write whose caller commits when it has ended. `truncate` sets
 * the size to `fromBytes`, and excludes all others from there on.
 */
export type WriterType = 'ordinary' | 'dsync' | 'truncate';

/** A write, from its start until all of its bytes are in pages. */
export interface Writer {
  /** Ascending in the order of arrival. */
  readonly id: number;
  readonly type: WriterType;
  /** The range asked for. A truncate's has no end. */
  readonly fromBytes: number;
  readonly toBytes: number;
  /** The range rounded out to units. */
  readonly fromUnit: number;
  readonly toUnit: number;
  state: WriterState;
  /** How far its bytes are in pages. */
  dirtyToBytes: number;
  /** Set once it is active, and kept afterwards. */
  group: Group | undefined;
  /** Told when it becomes active. */
  wake: ((error?: unknown) => void) | undefined;
}

/**
 * `open`: takes writes. `closed`: takes no more writers, and will be committed. Then `committed`, or `folded`
 * into the open group after a failure, or `discarded`.
 */
export type GroupState = 'open' | 'closed' | 'committed' | 'folded' | 'discarded';

/** Changes of one file that are committed together. */
export interface Group {
  /** Ascending in the order of their beginnings. */
  readonly id: number;
  readonly layer: Layer;
  readonly writers: Set<Writer>;
  /** In the order in which they became dirty. */
  readonly dirty: Set<DirtyRegion>;
  /** All flushes of the group whose bytes are not durable yet. */
  readonly flushes: Set<Flush>;
  /** How many of these flushes have no placed record yet. */
  unplacedCount: number;
  state: GroupState;
  /** Told when everything is placed, and when the group is folded or discarded. */
  readonly waiters: Set<() => void>;
}

/** The dirty bytes of one unit: they lie in pages only. */
export interface DirtyRegion {
  readonly unit: number;
  group: Group;
  /** Offsets in the unit. */
  readonly spans: Spans;
  /**
   * The unit's base is zeros from this offset in the unit on, because a truncate cut it there. Infinity when
   * none did. The base is what the unit is without the spans.
   */
  zeroFromBytes: number;
}

/**
 * `copied`: the bytes hold still outside the pages. `placed`: reads find the record. `uploaded`: it is
 * durable. `failed`: the bytes are dirty again, or in a newer flush. `dropped`: a truncate removed the unit.
 */
export type FlushState = 'copied' | 'placed' | 'uploaded' | 'failed' | 'dropped';

/** What was dirty in a unit, on its way to the server. */
export interface Flush {
  readonly unit: number;
  group: Group;
  /**
   * What becomes dirty again if the flush fails: offsets in the unit. The pages keep these bytes until it has
   * ended. Empty once a newer flush of the unit is placed, which has taken them over.
   */
  readonly spans: Spans;
  /** From here on in the unit, the base that was found when this flush began counts as zeros. */
  readonly zeroFromBytes: number;
  /** What the dirty region's `zeroFromBytes` becomes if the flush fails. */
  cutAgainBytes: number;
  state: FlushState;
  /** From `placed` on; undefined for a hole. */
  receipt: Receipt | undefined;
  /**
   * Set when an older record of the unit, which this flush may be based on, was lost. If the base cannot be
   * read, then `failed`, and there is nothing new to tell.
   */
  isBaseLost: boolean;
  /**
   * Set when a truncate of a later group has removed the unit: the record counts in this flush's group only.
   */
  isCutOff: boolean;
}

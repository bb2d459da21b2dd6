/**
 * Miss ratios of the cache and of what it is held against. A policy gets as many units as fit into the budget if there were nothing
 * but units: footers, zones that are filling, and the zone that is kept free are the cache's own loss.
 */
import { POLICIES, type PolicyName } from './policies.ts';
import { runTrace, UNIT_BYTES } from './real-cache.ts';
import type { Trace, TraceName } from './traces.ts';

/** The part of accesses that missed, without the first quarter of the trace, in which caches fill. */
export type MissRatio = number;

export interface Result {
  readonly trace: TraceName;
  /** Budget, in percent of the trace's working set. */
  readonly sizePercent: number;
  readonly unitCount: number;
  readonly policies: Readonly<Record<PolicyName, MissRatio>>;
  readonly cache: CacheResult;
}

export interface CacheResult {
  readonly missRatio: MissRatio;
  /** Units that it held in the end. */
  readonly unitCount: number;
  /** What S3-FIFO misses that holds as many: what is left of the difference is not due to room. */
  readonly s3OfSameUnits: MissRatio;
  readonly zoneBytes: number;
  /** Bytes copied within the cache, for each byte stored. */
  readonly copied: number;
}

/** What S3-FIFO may reduce misses by more than this cache, in parts of LRU's misses. */
export const TOLERANCE = 0.02;
/** Of a unit, and of a zone: about. */
const FOOTER_BYTES = 48;
const FOOTER_HEAD_BYTES = 512;

export function measurePolicies(trace: Trace, sizePercent: number): Result['policies'] {
  const measure = (name: PolicyName): MissRatio =>
    measurePolicy(name, trace, unitCountOf(trace, sizePercent));
  return { FIFO: measure('FIFO'), LRU: measure('LRU'), 'S3-FIFO': measure('S3-FIFO') };
}

function measurePolicy(name: PolicyName, { accesses }: Trace, unitCount: number): MissRatio {
  const policy = POLICIES[name](unitCount);
  return missRatioOf(accesses.map(unit => policy.access(unit)));
}

/** @param zonePart how many zones make up the budget; undefined for the cache's default. */
export async function measureCache(
  folder: string,
  trace: Trace,
  sizePercent: number,
  zonePart?: number,
): Promise<CacheResult> {
  const unitsMax = unitCountOf(trace, sizePercent);
  const budgetBytes = unitsMax * UNIT_BYTES;
  // Whole units and their footer, so that the end of a zone is not wasted.
  const zoneBytes = (UNIT_BYTES + FOOTER_BYTES) * Math.ceil(unitsMax / (zonePart ?? 1)) + FOOTER_HEAD_BYTES;
  const settings = { budgetBytes, unitsMax, ...(zonePart === undefined ? {} : { zoneBytes }) };
  const run = await runTrace(folder, settings, trace.accesses);
  const { storedBytes, reinsertedBytes, units } = run.statistics;
  return {
    missRatio: missRatioOf(run.hits),
    unitCount: units,
    s3OfSameUnits: measurePolicy('S3-FIFO', trace, units),
    zoneBytes: run.zoneBytes,
    copied: reinsertedBytes / storedBytes,
  };
}

export function unitCountOf({ workingSet }: Trace, sizePercent: number): number {
  return Math.floor((workingSet * sizePercent) / 100);
}

/** The part of LRU's misses that are none here: what S3-FIFO's authors report. */
export function reductionOf(missRatio: MissRatio, { LRU }: Result['policies']): number {
  return (LRU - missRatio) / LRU;
}

/** What this cache reduces misses by, less what S3-FIFO of as many units does. */
export function leadOf({ missRatio, s3OfSameUnits }: CacheResult, policies: Result['policies']): number {
  return reductionOf(missRatio, policies) - reductionOf(s3OfSameUnits, policies);
}

function missRatioOf(hits: readonly boolean[]): MissRatio {
  const counted = hits.slice(hits.length >> 2);
  return counted.filter(isHit => !isHit).length / counted.length;
}

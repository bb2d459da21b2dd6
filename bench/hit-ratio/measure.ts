/**
 * Measures miss ratios of the cache and of the policies it is compared with. A policy gets as many units as
 * would fit into the budget alone. The cache also needs footers, zones that are filling, and a free zone; that
 * is its own loss.
 */
import { POLICIES, type PolicyName } from './policies.ts';
import { runTrace, UNIT_BYTES } from './real-cache.ts';
import type { Trace, TraceName } from './traces.ts';

/** Misses per access. The first quarter of the trace, in which caches fill, is not counted. */
export type MissRatio = number;

export interface Result {
  readonly trace: TraceName;
  /** The budget in percent of the trace's working set. */
  readonly sizePercent: number;
  readonly unitCount: number;
  readonly policies: Readonly<Record<PolicyName, MissRatio>>;
  readonly cache: CacheResult;
}

export interface CacheResult {
  readonly missRatio: MissRatio;
  /** Units that the cache held in the end. */
  readonly unitCount: number;
  /** The misses of S3-FIFO with that many units. The rest of the difference is not due to room. */
  readonly s3OfSameUnits: MissRatio;
  readonly zoneBytes: number;
  /** Bytes copied within the cache for each byte stored. */
  readonly copied: number;
}

/** How much more than this cache S3-FIFO may reduce misses, as a part of LRU's misses. */
export const TOLERANCE = 0.02;
/** About the bytes of a unit, and of a zone. */
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

/** @param zonePart the number of zones in the budget; undefined for the cache's default. */
export async function measureCache(
  folder: string,
  trace: Trace,
  sizePercent: number,
  zonePart?: number,
): Promise<CacheResult> {
  const unitsMax = unitCountOf(trace, sizePercent);
  const budgetBytes = unitsMax * UNIT_BYTES;
  // A zone holds whole units and their footer, so that no room is wasted at its end.
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

/** The reduction of LRU's misses, as the authors of S3-FIFO report it. */
export function reductionOf(missRatio: MissRatio, { LRU }: Result['policies']): number {
  return (LRU - missRatio) / LRU;
}

/** This cache's reduction of misses, less that of S3-FIFO with as many units. */
export function leadOf({ missRatio, s3OfSameUnits }: CacheResult, policies: Result['policies']): number {
  return reductionOf(missRatio, policies) - reductionOf(s3OfSameUnits, policies);
}

function missRatioOf(hits: readonly boolean[]): MissRatio {
  const counted = hits.slice(hits.length >> 2);
  return counted.filter(isHit => !isHit).length / counted.length;
}

/**
 * The cost model: from measured units to what a caller waits for over a given link. `docs/BENCH.md`, "The cost model",
 * explains it and works an example. Pure arithmetic; times in ms.
 */
import { KIB, MIB } from '../base/geometry.ts';
import { type Link, transferMs } from './link.ts';
import { type Measured, ratioOf, type SampleResult } from './results.ts';

/** The size of a random access. */
export const ACCESS_BYTES: number = 4 * KIB;
/** Sequential work asks for ranges of at least this much, plain ... */
export const SEQUENTIAL_REQUEST_BYTES: number = 8 * MIB;
/** ... and keeps this many requests under way. */
export const SEQUENTIAL_REQUESTS_IN_FLIGHT = 4;

/** Latency of one access and how many times its size goes over the link for it. */
export interface AccessCost {
  readonly ms: number;
  readonly transferredBytes: number;
  /** transferredBytes / 4096. */
  readonly amplification: number;
}

export interface Costs {
  /** A random 4 KiB from the server, nothing cached. */
  readonly read: AccessCost;
  /** An aligned 4 KiB written and committed, nothing cached. */
  readonly overwrite: AccessCost;
  /** Time for one MiB of plain bytes in a long transfer. */
  readonly sequentialReadMsPerMiB: number;
  readonly sequentialWriteMsPerMiB: number;
}

type UnitCosts = Pick<Measured, 'recordBytes' | 'sealUnitMs' | 'openUnitMs'>;

/** One round trip, the unit's record, and opening it. Nothing for a hole: the extent map says that it is one. */
export function readCost(link: Link, unit: UnitCosts): AccessCost {
  if (unit.recordBytes === 0) return access(0, 0);
  const ms = link.roundTripMs + transferMs(link, unit.recordBytes) + unit.openUnitMs;
  return access(ms, unit.recordBytes);
}

/**
 * Reading the unit that the write falls into, unless the write covers it; sealing it; uploading the record (a round
 * trip); committing (another).
 */
export function overwriteCost(link: Link, unit: UnitCosts, unitSizeBytes: number): AccessCost {
  const base = unitSizeBytes <= ACCESS_BYTES ? access(0, 0) : readCost(link, unit);
  const uploadMs = link.roundTripMs + transferMs(link, unit.recordBytes);
  const ms = base.ms + unit.sealUnitMs + uploadMs + link.roundTripMs;
  return access(ms, base.transferredBytes + unit.recordBytes);
}

function access(ms: number, transferredBytes: number): AccessCost {
  return { ms, transferredBytes, amplification: transferredBytes / ACCESS_BYTES };
}

/** The slower of link and processor, as they work side by side, and this MiB's share of the round trips. */
export function sequentialMsPerMiB(
  link: Link,
  ratio: number,
  bytesPerSecond: number,
  unitSizeBytes: number,
): number {
  const linkMs = transferMs(link, MIB / ratio);
  const workMs = bytesPerSecond > 0 ? (MIB / bytesPerSecond) * 1000 : 0;
  const requestBytes = Math.max(unitSizeBytes, SEQUENTIAL_REQUEST_BYTES);
  const roundTripsMs = ratio === Infinity ? 0 : link.roundTripMs / SEQUENTIAL_REQUESTS_IN_FLIGHT;
  return Math.max(linkMs, workMs) + (roundTripsMs * MIB) / requestBytes;
}

/** All costs of a setting on one sample. */
export function costsOf(link: Link, measured: Measured, unitSizeBytes: number): Costs {
  const ratio = ratioOf(measured);
  return {
    read: readCost(link, measured),
    overwrite: overwriteCost(link, measured, unitSizeBytes),
    sequentialReadMsPerMiB: sequentialMsPerMiB(link, ratio, measured.openBytesPerSecond, unitSizeBytes),
    sequentialWriteMsPerMiB: sequentialMsPerMiB(link, ratio, measured.sealBytesPerSecond, unitSizeBytes),
  };
}

/** A setting over all samples together. */
export interface Summary {
  readonly sealBytesPerSecond: number;
  readonly openBytesPerSecond: number;
  /** Of the files, not of what was sampled of them. */
  readonly plainBytes: number;
  readonly storedBytes: number;
  readonly ratio: number;
  readonly unitCount: number;
  readonly holeCount: number;
  readonly costs: Costs;
}

/**
 * Adds samples up, each counted by the size of its files: times per byte for throughput, random accesses by where a
 * random stored byte lies.
 */
export function summarise(link: Link, samples: readonly SampleResult[], unitSizeBytes: number): Summary {
  const sum = (value: (sample: SampleResult) => number): number =>
    samples.reduce((total, sample) => total + value(sample) * sample.weight, 0);
  const plainBytes = sum(sample => sample.plainBytes);
  const storedBytes = sum(sample => sample.storedBytes);
  const denseBytes = sum(sample => sample.plainBytes - sample.holeBytes);
  const costs = new Map(samples.map(sample => [sample, costsOf(link, sample, unitSizeBytes)]));

  const perByte = (value: (costs: Costs) => number): number =>
    sum(sample => value(costs.get(sample) ?? NO_COSTS) * sample.plainBytes) / plainBytes;
  // Where there is nothing but holes, that is where accesses fall.
  const accessedBytes = (sample: SampleResult): number =>
    denseBytes === 0 ? sample.plainBytes : sample.plainBytes - sample.holeBytes;
  const perAccess = (value: (costs: Costs) => number): number =>
    sum(sample => value(costs.get(sample) ?? NO_COSTS) * accessedBytes(sample)) / (denseBytes || plainBytes);

  return {
    sealBytesPerSecond: plainBytes / sum(sample => sample.plainBytes / sample.sealBytesPerSecond),
    openBytesPerSecond: plainBytes / sum(sample => sample.plainBytes / sample.openBytesPerSecond),
    plainBytes,
    storedBytes,
    ratio: ratioOf({ plainBytes, storedBytes }),
    unitCount: Math.round(sum(sample => sample.unitCount)),
    holeCount: Math.round(sum(sample => sample.holeCount)),
    costs: {
      read: access(
        perAccess(cost => cost.read.ms),
        perAccess(cost => cost.read.transferredBytes),
      ),
      overwrite: access(
        perAccess(cost => cost.overwrite.ms),
        perAccess(cost => cost.overwrite.transferredBytes),
      ),
      sequentialReadMsPerMiB: perByte(cost => cost.sequentialReadMsPerMiB),
      sequentialWriteMsPerMiB: perByte(cost => cost.sequentialWriteMsPerMiB),
    },
  };
}

const NOTHING: AccessCost = { ms: 0, transferredBytes: 0, amplification: 0 };
const NO_COSTS: Costs = {
  read: NOTHING,
  overwrite: NOTHING,
  sequentialReadMsPerMiB: 0,
  sequentialWriteMsPerMiB: 0,
};

/**
 * The cost model: computes how long a caller waits over a given link, from the times that were measured for
 * units. `docs/BENCH.md`, "The cost model", explains it with an example. Pure arithmetic; times are in ms.
 */
import { KIB, MIB } from '../base/geometry.ts';
import { type Link, transferMs } from './link.ts';
import { type Measured, ratioOf, type SampleResult, type Spread, spreadOf } from './results.ts';

/** The size of a random access. */
export const ACCESS_BYTES: number = 4 * KIB;
/** The plain bytes in one request of a long transfer, unless a unit is larger. */
export const SEQUENTIAL_REQUEST_BYTES: number = 8 * MIB;
/** The number of requests that a long transfer keeps under way. */
export const SEQUENTIAL_REQUESTS_IN_FLIGHT = 4;

/** The cost of one access of 4 KiB. */
export interface AccessCost {
  readonly ms: number;
  /** The bytes that go over the link for it. */
  readonly transferredBytes: number;
  /** `transferredBytes` / 4096. */
  readonly amplification: number;
}

export interface Costs {
  /** A read of 4 KiB at a random place, with nothing cached. */
  readonly read: AccessCost;
  /** A write of 4 aligned KiB at a random place, and its commit, with nothing cached. */
  readonly overwrite: AccessCost;
  /** Times for one MiB of plain bytes in a long transfer. */
  readonly sequentialReadMsPerMiB: number;
  readonly sequentialWriteMsPerMiB: number;
}

type UnitCosts = Pick<Measured, 'recordBytes' | 'sealUnitMs' | 'openUnitMs'>;

/**
 * Returns the cost of a read: one round trip, the transfer of the unit's record, and opening it. A hole costs
 * nothing.
 */
export function readCost(link: Link, unit: UnitCosts): AccessCost {
  if (unit.recordBytes === 0) return access(0, 0);
  const ms = link.roundTripMs + transferMs(link, unit.recordBytes) + unit.openUnitMs;
  return access(ms, unit.recordBytes);
}

/**
 * Returns the cost of an overwrite. It reads the unit that the write falls into (unless the write covers all
 * of it), seals it, uploads its record (one round trip), and commits (another one).
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

/**
 * Returns the time of a long transfer for each MiB of plain bytes. Link and processor work at the same time,
 * so the slower one counts; this MiB's share of the round trips is added.
 *
 * @param ratio plain bytes for each stored byte; Infinity when nothing is stored.
 * @param bytesPerSecond plain bytes that the pipeline seals or opens in a second; 0 if unknown.
 */
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

/** Returns all costs of a setting on one sample. */
export function costsOf(link: Link, measured: Measured, unitSizeBytes: number): Costs {
  const ratio = ratioOf(measured);
  return {
    read: readCost(link, measured),
    overwrite: overwriteCost(link, measured, unitSizeBytes),
    sequentialReadMsPerMiB: sequentialMsPerMiB(link, ratio, measured.openBytesPerSecond, unitSizeBytes),
    sequentialWriteMsPerMiB: sequentialMsPerMiB(link, ratio, measured.sealBytesPerSecond, unitSizeBytes),
  };
}

/**
 * The results of a setting on all samples together. Sizes and counts are those of the whole files, not of
 * samples.
 */
export interface Summary {
  readonly sealBytesPerSecond: number;
  readonly openBytesPerSecond: number;
  /** As if the slowest, or the fastest, rounds of all samples had come together. */
  readonly sealSpread: Spread;
  readonly openSpread: Spread;
  readonly plainBytes: number;
  readonly storedBytes: number;
  readonly ratio: number;
  readonly unitCount: number;
  readonly holeCount: number;
  readonly costs: Costs;
}

/**
 * Adds up the results on all samples. Each sample counts by the size of its files. Throughputs are averaged
 * as times for each byte. Costs of random accesses are averaged over the bytes outside of holes.
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
  // When all data is holes, accesses are to holes.
  const accessedBytes = (sample: SampleResult): number =>
    denseBytes === 0 ? sample.plainBytes : sample.plainBytes - sample.holeBytes;
  const perAccess = (value: (costs: Costs) => number): number =>
    sum(sample => value(costs.get(sample) ?? NO_COSTS) * accessedBytes(sample)) / (denseBytes || plainBytes);

  const throughput = (rate: (sample: SampleResult) => number): number =>
    plainBytes / sum(sample => sample.plainBytes / rate(sample));
  const spread = (rates: (sample: SampleResult) => readonly number[]): Spread => ({
    slowest: throughput(sample => spreadOf(rates(sample)).slowest),
    fastest: throughput(sample => spreadOf(rates(sample)).fastest),
  });

  return {
    sealBytesPerSecond: throughput(sample => sample.sealBytesPerSecond),
    openBytesPerSecond: throughput(sample => sample.openBytesPerSecond),
    sealSpread: spread(sample => sample.sealRates),
    openSpread: spread(sample => sample.openRates),
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

/** What was measured, per setting and sample, and how samples add up. Pure. */
import type { ProviderReport } from '../unit/providers.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import type { BenchSetting } from './settings.ts';

/** One setting on one sample, as measured. */
export interface Measured {
  /** Plain bytes a second through the pipeline, one value a timed round. */
  readonly sealRates: readonly number[];
  readonly openRates: readonly number[];
  /** Medians of the rounds. */
  readonly sealBytesPerSecond: number;
  readonly openBytesPerSecond: number;
  /** Median time of one unit alone on the calling thread; 0 when all are holes. */
  readonly sealUnitMs: number;
  readonly openUnitMs: number;
  /** What was sealed to find the sizes: the whole sample. */
  readonly plainBytes: number;
  /** Its records, with their overhead and padding. */
  readonly storedBytes: number;
  readonly unitCount: number;
  /** All-zero units, for which nothing is stored. */
  readonly holeCount: number;
  readonly holeBytes: number;
  /** The record that a random byte outside holes lies in, on average; 0 when all units are holes. */
  readonly recordBytes: number;
}

export interface SampleResult extends Measured {
  readonly sample: string;
  /** Files' bytes for each sampled byte: what the sample counts for. */
  readonly weight: number;
}

export interface SettingResult {
  readonly setting: BenchSetting;
  readonly providers: ProviderReport;
  readonly samples: readonly SampleResult[];
}

/** The middle value, or the mean of the two in the middle; 0 for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? 0;
  return Number.isInteger(middle) ? (upper + (sorted[middle - 1] ?? upper)) / 2 : upper;
}

/** Plain bytes for each stored byte; Infinity when nothing is stored. */
export function ratioOf({ plainBytes, storedBytes }: Pick<Measured, 'plainBytes' | 'storedBytes'>): number {
  return plainBytes / storedBytes;
}

/**
 * Memory that a setting needs at the least, computed: for each thread one plain unit, its sealed record, the
 * sealer's plaintext and the codec's output.
 */
export function workingBytes(setting: BenchSetting, threadCount: number): number {
  const recordBytes = sealedBytesMax(setting.unitSizeBytes, setting.blockSizeBytes);
  const codecBytes = setting.codec.codec === 'stored' ? 0 : setting.unitSizeBytes;
  return Math.max(1, threadCount) * (setting.unitSizeBytes + 2 * recordBytes + codecBytes);
}
